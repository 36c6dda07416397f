"""Parses command lines, checks values of options, ends a command whose input is wrong, and writes counts."""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


# What options were called, and are called now: of several, whichever the command has.
OLD_OPTIONS = {
    "--answers": ("--num-answers",),
    "--base_model": ("--base-model",),
    "--bootstrap": ("--resamples",),
    "--checkpoint": ("--model",),
    "--compare-on": ("--compare-split",),
    "--config": ("--dataset-config",),
    "--configs": ("--dataset-configs",),
    "--from": ("--dataset",),
    "--hypotheses": ("--hypotheses-per-premise",),
    "--local": ("--model",),
    "--name": ("--dataset-config",),
    "--out": ("--output-dir", "--output"),
    "--raw": ("--annotations",),
    "--recipe": ("--config",),
}


class ArgumentParser(argparse.ArgumentParser):
    """Takes options as they are spelled, never a part of one, and names the new spelling of an old one."""

    def __init__(self, **settings):
        super().__init__(allow_abbrev=False, **settings)

    def parse_known_args(self, args=None, namespace=None):
        """Ends the command, before any other error, where an option has another name now."""
        known = self._option_string_actions
        for word in sys.argv[1:] if args is None else args:
            old = word.partition("=")[0]
            new = [option for option in OLD_OPTIONS.get(old, ()) if option in known]
            if new and old not in known:
                self.error(f"{old} is now {new[0]}")
        return super().parse_known_args(args, namespace)


def positive_int(text: str) -> int:
    """Reads a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def non_negative_int(text: str) -> int:
    """Reads a whole number of at least 0."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must not be negative, got {number}")
    return number


# What a seed may be.
seed = non_negative_int


def non_negative_float(text: str) -> float:
    """Reads a finite number of at least 0."""
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number from 0, got {text}")
    return number


def positive_float(text: str) -> float:
    """Reads a finite number above 0."""
    number = non_negative_float(text)
    if number == 0:
        raise argparse.ArgumentTypeError("must be above 0")
    return number


def unit_float(text: str) -> float:
    """Reads a number in [0, 1]: a probability, a share."""
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"must be in [0, 1], got {text}")
    return number


def json_object(text: str) -> dict:
    """Reads a JSON object."""
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise argparse.ArgumentTypeError("must be a JSON object")
    return fields


def config_name(text: str) -> str:
    """Reads the name of a dataset's config, or the end of one."""
    if len(text) > 100 or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", text):
        raise argparse.ArgumentTypeError(
            f"must be up to 100 small letters and digits, with hyphens between them, got {text!r}"
        )
    return text


def named_path(text: str) -> tuple[str, Path]:
    """Reads `NAME=PATH`; the name holds no `=`, the path may."""
    name, equals, path = text.partition("=")
    name = " ".join(name.split())
    if not name or not equals or not path:
        raise argparse.ArgumentTypeError(f"must be NAME=PATH, got {text!r}")
    return name, Path(path)


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Ends a command whose input is wrong with the message alone; `python -X dev` shows the traceback."""
    try:
        yield
    except (ValueError, OSError) as error:
        if sys.flags.dev_mode:
            raise
        sys.exit(f"error: {error}")


def refuse_old(arguments: list[str] | None, old: dict[str, str]) -> None:
    """Ends a command line (by default that of the process) whose command has another name now, with that name."""
    command = (sys.argv[1:] if arguments is None else arguments)[:1]
    if command and command[0] in old:
        sys.exit(f"error: {command[0]} is now {old[command[0]]}")


def counted(number: int, thing: str) -> str:
    """Returns a number of things as people read it: `1 row`, `3,600 rows`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
