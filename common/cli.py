"""What commands share: types of their options, how one ends whose input is wrong, and counts in words."""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def positive(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def whole(text: str) -> int:
    """A whole number of at least 0."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must not be negative, got {number}")
    return number


# What a seed may be.
seed = whole


def not_negative(text: str) -> float:
    """A finite number of at least 0."""
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number from 0, got {text}")
    return number


def above_zero(text: str) -> float:
    """A finite number above 0."""
    number = not_negative(text)
    if number == 0:
        raise argparse.ArgumentTypeError("must be above 0")
    return number


def json_object(text: str) -> dict:
    """A JSON object."""
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise argparse.ArgumentTypeError("must be a JSON object")
    return fields


def named_path(text: str) -> tuple[str, Path]:
    """`NAME=PATH`; the name holds no `=`, the path may."""
    name, equals, path = text.partition("=")
    name = " ".join(name.split())
    if not name or not equals or not path:
        raise argparse.ArgumentTypeError(f"must be NAME=PATH, got {text!r}")
    return name, Path(path)


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
