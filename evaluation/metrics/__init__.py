"""Modules for the `evaluate` library; each folder also loads on its own with `evaluate.load(folder)`."""
