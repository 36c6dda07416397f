"""
Tables of all kinds, record by record: CSV, TSV, JSONL and Parquet files of any length in little memory.

A record that can't be read is a problem of its own, and the ones after it go on. Numbers of rows are those a person
sees: in CSV and TSV records are counted, the header being row 1 and a record with line breaks in quotes one row; in
JSONL the number is that of the line; in Parquet the first row is row 1.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datasets_scripts.building.drafts import Problem
from datasets_scripts.schema import BuildError


DELIMITERS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*DELIMITERS, ".jsonl", ".parquet")
# JSONL has no header: what its columns are is told by as many records.
RECORDS_THAT_TELL = 1000
ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Record:
    """
    A row of a table.

    Args:
        place (`str`): Where it is, in a person's words: `"pairs.csv row 17"`.
        number (`int`): Its number.
        values (`dict[str, Any]`): The columns asked for; `None` where a JSONL record has no such key.
    """

    place: str
    number: int
    values: dict[str, Any]


def column_names(table: Path) -> list[str]:
    """
    The columns of a table.

    Args:
        table (`Path`): The file; its ending says of what kind it is.

    Returns:
        `list[str]`: their names in order. Of a JSONL file, the keys of its first 1000 records.

    Raises:
        `BuildError`: if it is missing, of no known kind, or can't be read.
    """
    suffix = _suffix(table)
    try:
        if suffix == ".parquet":
            with pq.ParquetFile(table) as file:
                return file.schema_arrow.names
        if suffix == ".jsonl":
            return list(_first_keys(table))
        with _opened(table) as lines:
            return _header(table, csv.reader(lines, delimiter=DELIMITERS[suffix], strict=True))
    except (OSError, pa.ArrowException) as error:
        raise BuildError(f"{table} can't be read: {error}") from error


def read_table(table: Path, columns: list[str]) -> Iterator[Record | Problem]:
    """
    Reads a table.

    Args:
        table (`Path`): The file; its ending says of what kind it is.
        columns (`list[str]`): Which columns to give.

    Returns:
        `Iterator[Record | Problem]`: the rows in their order, with a problem in place of each that can't be read.

    Raises:
        `BuildError`: if the file can't be read at all.
    """
    suffix = _suffix(table)
    try:
        if suffix == ".parquet":
            yield from _read_parquet(table, columns)
        elif suffix == ".jsonl":
            yield from _read_jsonl(table, columns)
        else:
            yield from _read_delimited(table, columns, DELIMITERS[suffix])
    except (OSError, pa.ArrowException) as error:
        raise BuildError(f"{table} can't be read: {error}") from error


def _suffix(table: Path) -> str:
    suffix = table.suffix.lower()
    if suffix not in SUFFIXES:
        raise BuildError(f"{table} is none of the kinds of tables that are read: {', '.join(SUFFIXES)}")
    return suffix


# --- CSV and TSV ----------------------------------------------------------------------------------


def _opened(table: Path):
    # Bytes that are no UTF-8 become surrogates, which `_is_text` finds in the one record that has them.
    return table.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _is_text(text: str) -> bool:
    """Whether it can be written as UTF-8."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _header(table: Path, reader) -> list[str]:
    try:
        names = next(reader, [])
    except csv.Error as error:
        raise BuildError(f"the header of {table} can't be read ({error}): is it a table in UTF-8?") from error
    if not names or not _is_text("".join(names)):
        raise BuildError(f"{table} must begin with a row of column names in UTF-8")
    return names


def _read_delimited(table: Path, columns: list[str], delimiter: str) -> Iterator[Record | Problem]:
    with _opened(table) as lines:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        header = _header(table, reader)
        places = [(column, header.index(column)) for column in columns]
        number = 1
        while True:
            number += 1
            place = f"{table.name} row {number}"
            try:
                fields = next(reader, None)
            except csv.Error as error:
                # The reader goes on with the next line.
                yield Problem(place, "row", f"is malformed at line {reader.line_num} of the file: {error}")
                continue
            if fields is None:
                return
            if len(fields) == len(header):
                if _is_text("".join(fields)):
                    yield Record(place, number, {column: fields[index] for column, index in places})
                else:
                    yield Problem(place, "row", "holds bytes that are no UTF-8")
            elif fields:  # else an empty line, which is no row though it is counted
                complaint = f"has {len(fields)} fields, the header {len(header)}: are quotation marks missing?"
                yield Problem(place, "row", complaint)


# --- JSONL ----------------------------------------------------------------------------------------


def _read_objects(table: Path) -> Iterator[tuple[int, dict | str]]:
    """The number of each line with what it holds, or what is wrong with it; empty lines aside."""
    with table.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                if not text.strip():
                    continue
                found = json.loads(text)
            except UnicodeDecodeError:
                yield number, "holds bytes that are no UTF-8"
            except (ValueError, RecursionError) as error:
                yield number, f"is no JSON: {error}"
            else:
                yield number, found if isinstance(found, dict) else "is no JSON object"


def _first_keys(table: Path) -> dict[str, None]:
    keys = {}
    for number, found in _read_objects(table):
        if isinstance(found, dict):
            keys |= dict.fromkeys(found)
        if number >= RECORDS_THAT_TELL:
            break
    return keys


def _read_jsonl(table: Path, columns: list[str]) -> Iterator[Record | Problem]:
    for number, found in _read_objects(table):
        place = f"{table.name} row {number}"
        if isinstance(found, str):
            yield Problem(place, "row", found)
            continue
        values = {column: found.get(column) for column in columns}
        # JSON can escape half of a character.
        if all(_is_text(value) for value in values.values() if isinstance(value, str)):
            yield Record(place, number, values)
        else:
            yield Problem(place, "row", "holds half a character (an escape from \\ud800 to \\udfff)")


# --- Parquet --------------------------------------------------------------------------------------


def _read_parquet(table: Path, columns: list[str]) -> Iterator[Record | Problem]:
    # Without these two, pages of a whole row group, often all rows, would be held at once.
    with pq.ParquetFile(table, pre_buffer=False, buffer_size=1 << 20) as file:
        end = 0
        for group in range(file.num_row_groups):
            done, end = end, end + file.metadata.row_group(group).num_rows
            try:
                for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=columns):
                    for number, values in enumerate(_values(batch), start=done + 1):
                        place = f"{table.name} row {number}"
                        is_read = isinstance(values, dict)
                        yield Record(place, number, values) if is_read else Problem(place, "row", values)
                    done += len(batch)
            except (OSError, pa.ArrowException) as error:
                yield Problem(f"{table.name} rows {done + 1} to {end}", "row", f"can't be read: {error}")


def _values(batch: pa.RecordBatch) -> list[dict | str]:
    """The values of each row, or what is wrong with them."""
    try:
        return batch.to_pylist()
    except ValueError as error:  # a text that is no UTF-8; the other rows are read one by one
        return [_values(batch.slice(row, 1))[0] for row in range(len(batch))] if len(batch) > 1 else [str(error)]
