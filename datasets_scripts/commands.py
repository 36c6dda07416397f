"""What all commands say alike: how one ends whose input is wrong, and how many there are of a thing."""

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


def refuse_old(arguments: list[str] | None, old: dict[str, str]) -> None:
    """Ends a command line (by default that of the process) whose command has another name now, and tells it."""
    command = (sys.argv[1:] if arguments is None else arguments)[:1]
    if command and command[0] in old:
        sys.exit(f"error: {command[0]} is now {old[command[0]]}")


def counted(number: int, thing: str) -> str:
    """Returns a number of things as people read it: `1 row`, `3,600 rows`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
