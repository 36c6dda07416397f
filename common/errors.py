"""Defines the error for wrong input."""


class InputError(ValueError):
    """Says what is wrong with what was asked for, and what to do."""
