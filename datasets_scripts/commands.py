"""How a command ends whose input is wrong."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def in_words() -> Iterator[None]:
    """Ends a command whose input is wrong with the message alone; `python -X dev` shows the traceback."""
    try:
        yield
    except (ValueError, OSError) as error:
        if sys.flags.dev_mode:
            raise
        sys.exit(f"error: {error}")
