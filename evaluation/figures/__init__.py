"""The figures of the paper, and those that show where a model can be trusted: `python -m evaluation.figures`."""
