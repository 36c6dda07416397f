"""Types of command-line values that several scripts take."""

import argparse
import json
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
