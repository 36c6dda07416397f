"""
Tables of all kinds, record by record: CSV, TSV, JSONL and Parquet files of any length in little memory.

A record that can't be read is a problem of its own, and the ones after it go on. Numbers of rows are those a person
sees: in CSV and TSV records are counted, the header being row 1 and a record with line breaks in quotes one row; in
JSONL the number is that of the line; in Parquet the first row is row 1.
"""

import csv
import itertools
import re
import sys
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from common.errors import InputError
from common.files import read_objects
from datasets_scripts.building.drafts import Problem


DELIMITERS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*DELIMITERS, ".jsonl", ".parquet")
SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars (|)"}
# JSONL has no header: its columns are the keys of as many records.
RECORDS_FOR_COLUMNS = 1000
ROWS_AT_ONCE = 1024
# Of rows that hold whole clips.
CLIPS_AT_ONCE = 8
QUOTED = re.compile(r'"[^"]*(?:""[^"]*)*"')
# A cell may be a transcript or a book; the library would break it off at 131,072 characters.
csv.field_size_limit(sys.maxsize)


@dataclass(frozen=True)
class Record:
    """A row of a table: its place (`"pairs.csv row 17"`), its number, and the columns asked for; `None` where a JSONL
    record has no such key."""

    place: str
    number: int
    values: dict[str, Any]


def column_names(table: Path) -> list[str]:
    """Returns the names of a table's columns in order; of a JSONL file, the keys of its first 1000 records."""
    suffix = _suffix(table)
    with _readable(table):
        if suffix == ".parquet":
            return pq.read_schema(table).names
        if suffix == ".jsonl":
            first = itertools.takewhile(lambda one: one[0] <= RECORDS_FOR_COLUMNS, read_objects(table))
            return list(dict.fromkeys(key for _, found in first if isinstance(found, dict) for key in found))
        with _opened(table) as lines:
            return _header(table, lines, DELIMITERS[suffix])


def columns_there(table: Path, there: list[str]) -> str:
    """Tells what columns are `there` in a table, for an error about those it lacks, and if others separate them than
    the ending of the file says."""
    found, text = f"it has {there!r:.1000}", "".join(there)
    delimiter, other = DELIMITERS.get(table.suffix.lower()), max(SEPARATORS, key=text.count)
    if delimiter in (None, other) or other not in text:
        return found
    return f"{found}, which look separated by {SEPARATORS[other]}: save it anew, with {SEPARATORS[delimiter]}"


def read_table(
    table: Path, columns: Iterable[str] | None = None, is_row: Callable[[dict], bool] = lambda values: True
) -> Iterator[Record | Problem]:
    """
    Yields the rows of a table in their order, with a problem in place of each that can't be read. A file that can't be
    read at all, lacks a column, or has several of one name, is an `InputError`.

    Args:
        table (`Path`): The file; its ending says of what kind it is.
        columns (`Iterable[str]`, *optional*): Which columns to read; all there are if not given.
        is_row (`Callable[[dict], bool]`, *optional*):
            Returns whether values can be those of a row. So a quotation mark that is never closed, after which the
            rows up to some later mark look like one cell, is found out from a cell that has line breaks in it.
    """
    suffix = _suffix(table)
    columns = None if columns is None else list(columns)
    with _readable(table):
        if suffix == ".parquet":
            yield from _read_parquet(table, columns)
        elif suffix == ".jsonl":
            yield from _read_jsonl(table, columns)
        else:
            yield from _read_delimited(table, columns, DELIMITERS[suffix], is_row)


@contextmanager
def _readable(table: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{table} can't be read: {error}") from error


def _suffix(table: Path) -> str:
    suffix = table.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{table} is none of the kinds of tables that are read: {', '.join(SUFFIXES)}")
    return suffix


def _chosen(table: Path, there: list[str], columns: list[str] | None) -> list[str]:
    """Returns the columns asked for, each of which must be there once."""
    columns = there if columns is None else columns
    if missing := sorted(set(columns) - set(there)):
        raise InputError(f"{table} lacks the columns {missing}: {columns_there(table, there)}")
    if doubled := sorted(name for name, times in Counter(there).items() if times > 1 and name in columns):
        raise InputError(f"{table} has several columns called {doubled}: rename them")
    return columns


# --- CSV and TSV ----------------------------------------------------------------------------------


def _opened(table: Path):
    # Bytes that are no UTF-8 become surrogates, which `_is_text` finds in the one record that has them.
    return table.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _is_text(text: str) -> bool:
    """Returns whether a text can be written as UTF-8."""
    return text.isascii() or not re.search("[\ud800-\udfff]", text)


def _header(table: Path, lines: Iterable[str], delimiter: str) -> list[str]:
    try:
        names = next(csv.reader(lines, delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise InputError(
            f"the header of {table} can't be read ({error}): is a quotation mark in it not closed, or is it no table "
            "in UTF-8?"
        ) from error
    text = "".join(names)
    if not names or not _is_text(text) or "\0" in text:
        raise InputError(f"{table} must begin with a row of column names in UTF-8: save it anew, with that encoding")
    return names


class _Lines:
    """Reads the lines of a file. Those of the record at hand are kept, and can be given back to be read again."""

    def __init__(self, file: Iterator[str]):
        self._file, self._again = file, deque()
        self.before, self.taken = 0, []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.taken.append(self._again.popleft() if self._again else next(self._file))
        return self.taken[-1]

    def finish(self, count: int) -> None:
        """Ends the record after as many of its lines."""
        self._again.extendleft(reversed(self.taken[count:]))
        self.before += count
        self.taken = []


class _Opening(NamedTuple):
    """A quoted cell that does not end in its line, or not at a separator: from which line of the record to which."""

    first: int
    last: int
    cells: list[str]  # what is before it in the record
    text: str  # what is from its quotation mark to the end of the line


def _read_delimited(
    table: Path, columns: list[str] | None, delimiter: str, is_row: Callable[[dict], bool]
) -> Iterator[Record | Problem]:
    with _opened(table) as file:
        lines = _Lines(file)
        header = _header(table, lines, delimiter)
        head = lines.taken
        lines.finish(len(head))
        indices = {column: header.index(column) for column in _chosen(table, header, columns)}

        def values(cells: list[str]) -> dict[str, str]:
            return {column: cells[index] for column, index in indices.items()}

        marks = _Marks(len(header), delimiter, lambda cells: is_row(values(cells)))
        if marks.ends_in_row(head):
            raise InputError(f"the header of {table} has a quotation mark that is not closed: rows are read as a name")
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        for number in itertools.count(2):
            place = f"{table.name} row {number}"
            try:
                fields = next(reader, None)
            except csv.Error:
                fields = []
            if fields is None:
                return
            record, end = lines.taken, len(lines.taken)
            # An empty line is no row, though it is counted.
            found = marks.find_unclosed(record, fields) if len(record) > 1 or len(fields) != len(header) else None
            if found:
                opening, end = found
                column = header[len(opening.cells)] if len(opening.cells) < len(header) else len(opening.cells) + 1
                complaint = (
                    f"is malformed: the quotation mark at line {lines.before + opening.first + 1} of the file, column "
                    f"{column!r}, is not closed where its cell ends: close it, or write it twice if it is a part of "
                    "the text"
                )
                yield Problem(place, "row", complaint + f" ({end} lines are left out)" * (end > 1))
            elif len(fields) == len(header):
                text = "".join(fields)
                if _is_text(text) and "\0" not in text:
                    yield Record(place, number, values(fields))
                else:
                    yield Problem(place, "row", "holds bytes that are no UTF-8 text: save the table in that encoding")
            elif fields:
                complaint = f"has {len(fields)} fields, the header {len(header)}: are quotation marks missing?"
                yield Problem(place, "row", complaint)
            lines.finish(end)


class _Marks:
    """
    Finds quotation marks that are never closed: what follows, up to some other mark, is read as if it were one cell.

    A cell may have line breaks in it, so this is seen from what the lines would be if the mark were a character: rows.
    In prose, unlike in tables, a separator is followed by a blank.
    """

    def __init__(self, width: int, delimiter: str, is_row: Callable[[list[str]], bool]):
        self._width, self._delimiter, self._is_row = width, delimiter, is_row
        self._unquoted = re.compile(f"[^{re.escape(delimiter)}\r\n]*")

    def find_unclosed(self, record: list[str], fields: list[str]) -> tuple[_Opening, int] | None:
        """Returns the cell of a record's lines whose quotation mark is never closed, and how many lines are of its
        row; `fields` are what the lines were read as, none where they are no record."""
        openings = self._openings(record)
        if len(fields) == self._width:
            openings = [opening for opening in openings[:1] if self._swallows_rows(opening, record)]
        # The mark that leaves most lines to be read as rows; of two in one row the latter.
        ends = [(opening, self._row_end(opening, record)) for opening in openings[::-1]]
        found = min(ends, key=lambda pair: pair[1], default=None)
        # A row that has too few or too many cells may have a good one of several lines.
        return None if found and fields and found[1] == len(record) else found

    def ends_in_row(self, header: list[str]) -> bool:
        """Returns whether the last line of a header of several is a row: a name in it must have swallowed rows."""
        openings = self._openings(header) if len(header) > 1 else []
        last = [self._joined(self._split(header[-1]), len(opening.cells)) for opening in openings]
        return any(cells and self._is_row(cells) for cells in last)

    def _openings(self, record: list[str]) -> list[_Opening]:
        text, starts = "".join(record), [0, *itertools.accumulate(map(len, record))]
        found, cells, place = [], [], 0
        while place < len(text):
            if text[place] == '"':
                quoted = QUOTED.match(text, place)
                end = quoted.end() if quoted else len(text)
                first, last = bisect_right(starts, place) - 1, bisect_right(starts, end - 1) - 1
                is_closed = bool(quoted) and text[end : end + 1] in ("", self._delimiter, "\r", "\n")
                if not is_closed or last > first:
                    found.append(_Opening(first, last, list(cells), text[place : starts[first + 1]]))
                if not is_closed:
                    break
                cells.append(text[place + 1 : end - 1].replace('""', '"'))
            else:
                end = self._unquoted.match(text, place).end()
                cells.append(text[place:end])
            if text[end : end + 1] != self._delimiter:
                break
            place = end + 1
        return found

    def _row_end(self, opening: _Opening, record: list[str]) -> int:
        """Returns how many lines are of a row with a quotation mark that is a character."""
        cells, long_enough = [*opening.cells, ""], 0
        after = self._width - len(cells)
        for end, line in enumerate([opening.text, *record[opening.first + 1 :]], start=opening.first + 1):
            # A line break is within a cell.
            first, *others = line.rstrip("\r\n").split(self._delimiter)
            cells[-1] += first
            cells += others
            if len(cells) < self._width:
                continue
            if len(cells) > self._width and end > opening.first + 1 and self._is_row_alone(line):
                # The row was cut short before.
                return end - 1
            if _is_unspaced(cells[len(cells) - after :]):
                return end
            long_enough = long_enough or end
        return long_enough or len(record)

    def _swallows_rows(self, opening: _Opening, record: list[str]) -> bool:
        """Returns whether the lines of a good record are as many rows, but for quotation marks."""
        column = len(opening.cells)
        first = self._joined([*opening.cells, *opening.text.rstrip("\r\n").split(self._delimiter)], column)
        last = self._joined(self._split(record[opening.last]), column)
        if not first or not last or not _is_unspaced(first[column + 1 :] + last[1:column]):
            return False
        between = [line for line in record[1 : opening.last] if line.strip()]
        return self._is_row(first) and self._is_row(last) and (not between or any(map(self._is_row_alone, between)))

    def _joined(self, cells: list[str], column: int) -> list[str]:
        """Returns the cells of a row whose text in a column may have separators in it; none if they are no row."""
        more = len(cells) - self._width
        if more < 0:
            return []
        return [*cells[:column], self._delimiter.join(cells[column : column + more + 1]), *cells[column + more + 1 :]]

    def _split(self, line: str) -> list[str]:
        return next(csv.reader([line], delimiter=self._delimiter), [])

    def _is_row_alone(self, line: str) -> bool:
        cells = self._split(line)
        return len(cells) == self._width and _is_unspaced(cells[1:]) and self._is_row(cells)


def _is_unspaced(cells: list[str]) -> bool:
    return not any(cell[:1].isspace() for cell in cells)


# --- JSONL ----------------------------------------------------------------------------------------


def _read_jsonl(table: Path, columns: list[str] | None) -> Iterator[Record | Problem]:
    for number, found in read_objects(table):
        place = f"{table.name} row {number}"
        if isinstance(found, str):
            yield Problem(place, "row", found)
            continue
        values = found if columns is None else {column: found.get(column) for column in columns}
        # JSON can escape half of a character.
        if all(_is_text(value) for value in values.values() if isinstance(value, str)):
            yield Record(place, number, values)
        else:
            yield Problem(place, "row", "holds half a character (an escape from \\ud800 to \\udfff)")


# --- Parquet --------------------------------------------------------------------------------------


def holds_clips(table: Path, column: str) -> bool:
    """Returns whether a column of a Parquet table has clips themselves: bytes, or `{"bytes", "path"}`."""
    if _suffix(table) != ".parquet":
        return False
    with _readable(table):
        schema = pq.read_schema(table)
    return column in schema.names and _is_clip(schema.field(column).type)


def _is_clip(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def _read_parquet(table: Path, columns: list[str] | None) -> Iterator[Record | Problem]:
    # Without these two, pages of a whole row group, often all rows, would be held at once.
    with pq.ParquetFile(table, pre_buffer=False, buffer_size=1 << 20) as file:
        columns = _chosen(table, file.schema_arrow.names, columns)
        has_clips = any(_is_clip(file.schema_arrow.field(column).type) for column in columns)
        at_once = CLIPS_AT_ONCE if has_clips else ROWS_AT_ONCE
        end = 0
        for group in range(file.num_row_groups):
            done, end = end, end + file.metadata.row_group(group).num_rows
            try:
                for batch in file.iter_batches(at_once, row_groups=[group], columns=columns):
                    for number, values in enumerate(_values(batch), start=done + 1):
                        place = f"{table.name} row {number}"
                        is_read = isinstance(values, dict)
                        yield Record(place, number, values) if is_read else Problem(place, "row", values)
                    done += len(batch)
            except (OSError, pa.ArrowException) as error:
                yield Problem(f"{table.name} rows {done + 1} to {end}", "row", f"can't be read: {error}")


def _values(batch: pa.RecordBatch) -> list[dict | str]:
    """Returns the values of each row, or what is wrong with them."""
    try:
        return batch.to_pylist()
    except ValueError as error:  # a text that is no UTF-8; the other rows are read one by one
        return [_values(batch.slice(row, 1))[0] for row in range(len(batch))] if len(batch) > 1 else [str(error)]
