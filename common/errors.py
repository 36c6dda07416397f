"""The error for wrong input, in words that say what to do."""


class InputError(ValueError):
    """What was asked for can't be done; the message says what is wrong and what to do."""
