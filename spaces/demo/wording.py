"""Writes numbers as people say them."""


def percent(share: float) -> str:
    """Formats a share: never 0 % or 100 % for what is merely close to it."""
    if 0 < share < 0.01:
        return "under 1 %"
    if 0.99 < share < 1:
        return "over 99 %"
    return f"{share:.0%}".replace("%", " %")


def unbroken(text: str) -> str:
    """Keeps numbers and their per cent signs on one line."""
    return text.replace(" %", "\u00a0%")


def seconds(time: float) -> str:
    """Formats a time of a clip."""
    return f"{round(time, 2):g} s"
