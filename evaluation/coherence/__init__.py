"""Whether the probabilities that a predictor gives to related hypotheses fit together."""
