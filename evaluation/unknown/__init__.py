"""What a checkpoint answers where it was not made to: its spread inside and outside of the urn world."""
