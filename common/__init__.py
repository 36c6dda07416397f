"""Holds what commands of every folder share: options and errors, files, digests, cards, and the Hub."""
