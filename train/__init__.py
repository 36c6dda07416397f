"""Trains CLUE: `accelerate launch train/sft.py --config train/recipes/<name>.yaml`."""
