"""How long to wait before a request is repeated."""

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


LONGEST_SECONDS = 60.0


def waiting_seconds(attempt: int, base: float, retry_after: str | None = None) -> float:
    """
    Returns the pause before the next attempt: doubled each time, half of it at random so that clients don't return at
    once.

    Args:
        attempt (`int`): How many attempts have failed, from 1.
        base (`float`): Seconds of the first pause at most.
        retry_after (`str`, *optional*): The `Retry-After` header: the pause is not shorter, nor longer than a minute.
    """
    longest = min(base * 2 ** min(attempt - 1, 30), LONGEST_SECONDS)
    pause = random.uniform(longest / 2, longest)
    # In this order, since "nan" asks for nothing.
    return min(max(pause, _seconds_asked_for(retry_after or "0")), LONGEST_SECONDS)


def _seconds_asked_for(retry_after: str) -> float:
    """Returns the seconds that a number or a date asks for, a date without a zone being in UTC; else 0."""
    try:
        return float(retry_after)
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    return ((until if until.tzinfo else until.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
