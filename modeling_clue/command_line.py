# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Ends a command of this package whose input is wrong: it imports nothing of the project's others."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Ends a command whose input is wrong with the message alone."""
    try:
        yield
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
