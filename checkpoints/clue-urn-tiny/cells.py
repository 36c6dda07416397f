# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Reads what callers hand over, rows and columns of `datasets`, pandas and numpy among it, as plain Python."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def plain(cell: Any) -> Any:
    """Unwraps a cell of a table: None for NaN, NA and NaT, the scalar for an array of no dimensions."""
    if isinstance(cell, dict):
        return {key: plain(value) for key, value in cell.items()}
    if isinstance(cell, np.ndarray) and cell.ndim == 0:
        cell = cell.item()
    # NaN and numpy's NaT are not equal to themselves.
    if is_pandas(cell, "NAType", "NaTType") or (isinstance(cell, (float, np.number, np.datetime64)) and cell != cell):
        return None
    return cell


def as_row(value: Any) -> dict | None:
    """Converts a `dict`, or a row of pandas or numpy's records, to a `dict` of plain cells; None for all else, also
    for a pandas column."""
    if isinstance(value, np.void) and value.dtype.names:
        value = {name: value[name] for name in value.dtype.names}
    if isinstance(value, Mapping) or (
        is_pandas(value, "Series") and not {"text", "premise", "audio", "video"}.isdisjoint(value.index)
    ):
        return {key: plain(cell) for key, cell in value.items()}
    return None


def as_list(values: Any) -> list | None:
    """Converts a list, a table column or an array of texts or rows to a list of plain cells; None for all else."""
    if isinstance(values, np.ndarray):
        several = values.ndim > 0 and values.dtype.kind in "OTUV"
    else:
        several = isinstance(values, Sequence) or is_pandas(values, "Series", "Index", "ExtensionArray")
    if not several or isinstance(values, (str, bytes, bytearray, memoryview)):
        return None
    return [plain(value) for value in values]


def is_pandas(value: Any, *names: str) -> bool:
    """Recognizes instances of these pandas classes without importing pandas, which need not be installed."""
    return any(cls.__name__ in names and cls.__module__.split(".")[0] == "pandas" for cls in type(value).__mro__)


def is_empty(cell: Any) -> bool:
    """Recognizes a plain cell that is None or nothing but blanks."""
    return cell is None or (isinstance(cell, str) and not cell.strip())
