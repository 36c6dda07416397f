"""Prepares a release on the Hub: the card, and the rows as they go."""
