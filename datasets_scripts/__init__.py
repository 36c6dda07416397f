"""Builders of the UMUI dataset: premise-hypothesis pairs with a probability, from several sources."""
