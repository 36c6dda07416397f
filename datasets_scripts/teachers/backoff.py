"""How long to wait before a request is repeated."""

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


LONGEST_SECONDS = 60.0


def waiting_seconds(attempt: int, base: float, retry_after: str | None = None) -> float:
    """
    The pause before the next attempt: doubled each time, half of it at random so that clients don't return at once.

    Args:
        attempt (`int`): How many attempts have failed, from 1.
        base (`float`): Seconds of the first pause at most; each further one is twice as long.
        retry_after (`str`, *optional*):
            The `Retry-After` header: seconds or a date. The pause is not shorter than that, nor longer than a minute.

    Returns:
        `float`: seconds, from 0 to `LONGEST_SECONDS`.
    """
    longest = min(base * 2 ** min(attempt - 1, 30), LONGEST_SECONDS)
    pause = random.uniform(longest / 2, longest)
    return min(max(pause, _asked_for(retry_after)), LONGEST_SECONDS)


def _asked_for(retry_after: str | None) -> float:
    if retry_after is None:
        return 0.0
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            until = parsedate_to_datetime(retry_after)
        except ValueError:
            return 0.0
        # A date without a zone is in UTC.
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        seconds = (until - datetime.now(UTC)).total_seconds()
    # Comparisons with NaN are false: "nan" asks for nothing.
    return seconds if seconds > 0 else 0.0
