"""What a release on the Hub is made of: the card, the rows as they go, the repository."""
