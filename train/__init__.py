"""Training of CLUE: `accelerate launch train/sft.py --config train/recipes/<name>.yaml`."""
