"""
A folder of one's own: tables (CSV, TSV, JSONL, Parquet) whose columns are named by options, and the clips they name.

```
python -m datasets_scripts.build own --dataset-config my-clips --table pairs.csv --media-root clips \\
    --media-column file --hypothesis-column sentence --probability-column p --split-by recording --output-dir umui
```

Rows are split by the table itself (`--split-column`), not at all (`--split test`), or by chance: all rows of a group
(`--split-by`; else the premise) fall into one split, which depends on the seed and on the group's name alone. So a row
that is added later moves no other, and nothing but the row at hand is in memory; in return `--shares` are only met
approximately, as by a die that is thrown for each group.

A premise may be a combination: `--part-columns story=text clip=audiovisual` reads a text before each clip.
"""

import argparse
import functools
import hashlib
import io
import json
import math
import os
import re
import reprlib
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any

import soundfile

from common.cli import config_name
from common.errors import InputError
from datasets_scripts.building.clips import MediaRoot
from datasets_scripts.building.drafts import Clip, Draft, Problem, new_row
from datasets_scripts.building.split import DEFAULT_SHARES, split_by_chance
from datasets_scripts.judgements.scale import Scale
from datasets_scripts.schema import PROBABILITY_SOURCES, SPLITS, combination, name_of, one_form
from datasets_scripts.tables import Record, column_names, columns_there, holds_clips, read_table
from modeling_clue.media import MediaError, has_audio, probe_modality
from modeling_clue.modalities import MODALITIES, PART_COLUMNS, TABLE


DESCRIPTION = "pairs of your own: a CSV, TSV, JSONL or Parquet table, with a folder of clips"
# Whoever releases the config states them.
FACTS = None

SPLIT_NAMES = {**{split: split for split in SPLITS}, "dev": "validation", "val": "validation", "valid": "validation"}
TRUTHS = {"true": 1, "false": 0}
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
# Rows about one clip mostly stand together: as many clips are remembered with what they hold.
CLIPS_REMEMBERED = 4096
COLUMNS = {
    "hypothesis": None,
    "premise": "text premises",
    "media": "paths of sound or video files below --media-root, or (in Parquet) their bytes",
    "probability": "in [0, 1]; with --percent in per cent",
    "label": "0, 1, false, true or empty; gives the probability where there is none",
    "human-probabilities": "every annotator's number: a list (in CSV, of JSON)",
    "id": "default: <name>-<table>-<row number>",
    "topic": None,
    "context": None,
    "evidence": "out of text, audio, video: a list (in CSV, joined by ;)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this source."""
    parser.add_argument(
        "--dataset-config",
        dest="name",
        type=config_name,
        required=True,
        metavar="NAME",
        help="what to call the config, e.g. my-clips",
    )
    parser.add_argument("--table", type=Path, nargs="+", required=True, help="one or more tables, read in this order")
    parser.add_argument("--media-root", type=Path, help="the folder that media paths start from, and never leave")

    columns = parser.add_argument_group("columns")
    for name, explained in COLUMNS.items():
        columns.add_argument(f"--{name}-column", required=name == "hypothesis", help=explained)

    columns.add_argument(
        "--part-columns",
        nargs="+",
        type=_part_column,
        metavar="COLUMN=KIND",
        help="instead of the premise's and the media column: columns that make a combination together, in their "
        f"order, each of which is {', '.join(PART_COLUMNS)}, such as story=text clip=audiovisual. A row may lack a "
        "text, but no clip",
    )
    modality = parser.add_mutually_exclusive_group()
    modality.add_argument(
        "--modality",
        choices=MODALITIES,
        help="of all premises. By default a row without a file is text, and a file is judged by its content: pictures "
        "make it video. Video with its sound (audiovisual), or the sound of a video (audio), must be asked for",
    )
    modality.add_argument("--modality-column", help="the same, row by row")

    split = parser.add_mutually_exclusive_group()
    split.add_argument("--split", choices=SPLITS, help="put all rows into one split")
    split.add_argument("--split-column", help="train, validation (or dev, val, valid) or test, row by row")
    split.add_argument(
        "--split-by", help="split by chance, all rows with one value of this column together (default: one premise)"
    )
    parser.add_argument(
        "--shares",
        type=float,
        nargs=3,
        metavar=("TRAIN", "VALIDATION", "TEST"),
        help="how much of a split by chance goes where, approximately (default: 0.8 0.1 0.1)",
    )
    parser.add_argument("--percent", action="store_true", help="probabilities are in per cent, with %% or without")
    parser.add_argument(
        "--probability-source",
        choices=PROBABILITY_SOURCES,
        default="human",
        help="where the probabilities come from (default: %(default)s); one taken from a label is always label",
    )


def _part_column(text: str) -> tuple[str, str]:
    column, _, kind = text.rpartition("=")
    if not column or kind not in PART_COLUMNS:
        raise argparse.ArgumentTypeError(f"must be COLUMN=KIND, KIND one of {', '.join(PART_COLUMNS)}, got {text!r}")
    return column, kind


def configs(options: argparse.Namespace) -> dict[str, dict[str, Iterator[Draft | Problem]]]:
    """Returns the drafts of each split of the one config; each split reads the tables anew."""
    _check_options(options)
    tables = _Tables(options)
    tables.check_scale()
    there = tables.splits()
    # Problems of rows that are of no split are reported once, with the first.
    return {options.name: {split: tables.drafts(split, split == there[0]) for split in there}}


def _check_options(options: argparse.Namespace) -> None:
    def check(holds: bool, complaint: str) -> None:
        if not holds:
            raise InputError(complaint)

    text, media, parts = options.premise_column, options.media_column, options.part_columns
    if parts:
        fixed = {"--premise-column": text, "--media-column": media, "--modality": options.modality}
        given = [name for name, value in (fixed | {"--modality-column": options.modality_column}).items() if value]
        check(not given, f"--part-columns say all that a premise is: leave out {', '.join(given)}")
        columns = [column for column, _ in parts]
        doubled = sorted({column for column in columns if columns.count(column) > 1})
        check(not doubled, f"--part-columns name {', '.join(doubled)} twice")
        check({kind for _, kind in parts} != {"text"}, "--part-columns that are all text are one text: join them")
        files = [column for column, kind in parts if kind != "text"]
        are_inside = all(holds_clips(table, column) for table in options.table for column in files)
        check(bool(options.media_root) or are_inside, "--part-columns with files need --media-root, their folder")
    else:
        check(text or media, "there is no premise: pass --premise-column, --media-column or both, or --part-columns")
    check(options.probability_column or options.label_column, "pass --probability-column, --label-column or both")
    are_inside = media and all(holds_clips(table, media) for table in options.table)
    together = parts or bool(media) == bool(options.media_root) or are_inside
    check(together, "--media-column and --media-root go together: pass both or neither")
    if options.modality is not None:
        needed = "--premise-column" if options.modality == "text" else "--media-column"
        check(text if options.modality == "text" else media, f"--modality {options.modality} needs {needed}")
        check(not (text and media), f"--modality {options.modality} has its premises in {needed}: leave out the other")
    if options.media_root:
        check(options.media_root.is_dir(), f"--media-root {options.media_root} is not a folder")
    if options.shares is not None:
        check(not options.split and not options.split_column, "--shares is for a split by chance: leave it out")
        fits = all(share >= 0 for share in options.shares) and math.isclose(sum(options.shares), 1, abs_tol=1e-6)
        check(fits, f"--shares must be three numbers that make 1, got {options.shares}")
    stems = [table.stem for table in options.table]
    doubled = sorted({stem for stem in stems if stems.count(stem) > 1})
    check(not doubled, f"several tables are called {doubled}, which ids and reports go by: rename them")


class _Tables:
    """Reads the tables of a config: which split a row is of, and its draft."""

    def __init__(self, options: argparse.Namespace):
        self.options, self.clips = options, _Clips(options.media_root)
        asked = [
            (f"--{name.replace('_', '-')}", column)
            for name, column in vars(options).items()
            if column is not None and (name.endswith("_column") or name == "split_by")
        ]
        asked += [("--part-columns", column) for column, _ in options.part_columns or ()]
        for table in options.table:
            there = column_names(table)
            if missing := [f"{option} {column!r}" for option, column in asked if column not in there]:
                raise InputError(f"{table} lacks {', '.join(missing)}: {columns_there(table, there)}")
        self.columns = list(dict.fromkeys(column for _, column in asked))
        self.media_columns = [column for column, kind in options.part_columns or () if kind != "text"]
        if options.media_column is not None:
            self.media_columns.append(options.media_column)
        shares = dict(zip(SPLITS, options.shares, strict=True)) if options.shares else DEFAULT_SHARES
        # A share of 0 gets nothing, even at the very end.
        self.shares = {split: share for split, share in shares.items() if share}

    def records(self, *without: str) -> Iterator[tuple[Path, Record | Problem]]:
        """Yields the rows of all tables, each with its table."""
        columns = [column for column in self.columns if column not in without]
        for table in self.options.table:
            for record in read_table(table, columns, self._is_row):
                yield table, record

    def check_scale(self) -> None:
        """Refuses fractions among numbers in per cent, and numbers that are all in per cent without --percent."""
        votes = self.options.human_probabilities_column
        for column in filter(None, (self.options.probability_column, votes)):
            scale, has_signs = Scale(), False
            for _, record in self.records(*self.media_columns):
                if isinstance(record, Problem):
                    continue
                parse = _json_list if column == votes else lambda one: [one]
                for value in _Cells(record.values).read(column, parse) or ():
                    # A sign leaves no doubt.
                    if isinstance(value, str) and value.rstrip().endswith("%"):
                        has_signs = True
                    elif (fraction := _Cells({column: value}).read(column, _per_cent)) is not None:
                        scale.add(100 * fraction)
            if not self.options.percent:
                if scale.is_per_cent:
                    raise InputError(
                        f"{column} goes up to {scale.highest:g}, and more numbers are above 1 than between 0 and 1: "
                        "pass --percent if they are per cent"
                    )
            elif scale.is_mixed or (scale.is_fractions and has_signs):
                shown = ", ".join(f"{number:g}" for number in scale.below_1[:3])
                raise InputError(
                    f"{column} has per cent and fractions, such as {shown or 1}: multiply the fractions by 100; if "
                    "all are per cent, divide all by 100 and leave out --percent"
                )

    def splits(self) -> list[str]:
        """Returns the splits that have rows; reading ends as soon as all have one."""
        options, found = self.options, set()
        if options.split:
            return [options.split]
        possible = SPLITS if options.split_column else list(self.shares)
        for _, record in self.records():
            if isinstance(record, Problem):
                continue
            try:
                found.add(self._split_of(record.values))
            except ValueError:  # reported when the row is read to be written
                continue
            if len(found) == len(possible):
                break
        if not found:
            raise InputError(f"no row of {', '.join(map(str, options.table))} can be read or belongs to a split")
        missing = [split for split in possible if split not in found]
        if missing and not options.split_column:
            raise InputError(
                f"by chance no row came into {' or '.join(missing)}, there are too few groups: "
                "pass --shares with 0 there, another --seed, --split-column or --split"
            )
        return [split for split in possible if split in found]

    def _split_of(self, values: dict) -> str:
        """Returns the split of a row; a `ValueError` says why it is of none."""
        options = self.options
        if options.split:
            return options.split
        if column := options.split_column:
            name = values[column].strip().lower() if isinstance(values[column], str) else None
            if name not in SPLIT_NAMES:
                raise ValueError(f"{column} must be one of {list(SPLIT_NAMES)}, got {reprlib.repr(values[column])}")
            return SPLIT_NAMES[name]
        return split_by_chance(self._group_of(values), options.seed, self.shares)

    def _group_of(self, values: dict) -> str:
        """Returns what must stay together: the value of `--split-by`, or the premise."""
        options = self.options
        if options.split_by is not None:
            group = values[options.split_by]
            if _is_empty(group):
                raise ValueError(f"{options.split_by} is empty: it must say what the row belongs to")
            try:
                return name_of(group)
            except ValueError as error:
                raise ValueError(f"{options.split_by} {error}") from error
        if options.part_columns:
            return json.dumps([self._part_key(values[column], kind) for column, kind in options.part_columns])
        stated = options.modality if options.modality_column is None else values[options.modality_column]
        if options.media_column is None or str(stated).strip() == "text" or _is_empty(values[options.media_column]):
            return one_form(str(values[options.premise_column])) if options.premise_column else ""
        return self._part_key(values[options.media_column], "media")

    def _part_key(self, value: Any, kind: str) -> str:
        """Returns what a text or a clip is known by."""
        if kind == "text":
            return "" if _is_empty(value) else one_form(str(value))
        try:
            return self.clips.find(value).key
        except ValueError:  # reported when the row is read to be written
            return str(value).strip()

    def drafts(self, split: str, is_first: bool) -> Iterator[Draft | Problem]:
        """Yields the rows of a split in their order, and, with the first, the problems of rows that are of none."""
        for table, record in self.records():
            if isinstance(record, Problem):
                if is_first:
                    yield record
                continue
            try:
                its_split = self._split_of(record.values)
            except ValueError as error:
                if is_first:
                    yield Problem(record.place, "split", str(error))
                continue
            if its_split == split:
                yield self._draft(f"{self.options.name}-{table.stem}-{record.number}", record)

    def _draft(self, default_id: str, record: Record) -> Draft | Problem:
        cells, complaints = _Cells(record.values), []
        row = self._row(cells) | ({} if self.options.id_column else {"id": default_id})
        try:
            row |= self._premise(cells)
        except ValueError as error:
            complaints = [str(error)]
        if complaints := cells.complaints + complaints:
            return Problem(record.place, "row" if cells.complaints else "media", "; ".join(complaints))
        return Draft(record.place, row)

    def _row(self, cells: "_Cells") -> dict:
        """Returns all of a row but its premise, and its id if that is made up."""
        number = _per_cent if self.options.percent else _number
        parsers = {
            "label": _label,
            "probability": number,
            "id": _text,
            "hypothesis": _text,
            "human_probabilities": lambda value: [number(one) for one in _json_list(value)],
            "evidence": _evidence,
            "topic": _text,
            "context": _text,
        }
        found = {name: cells.read(getattr(self.options, f"{name}_column"), parse) for name, parse in parsers.items()}
        row = new_row(source=self.options.name, probability_source=self.options.probability_source, **found)
        if row["probability"] is None and not cells.complaints:
            if row["label"] is None:
                cells.complaints.append("there is neither a probability nor a label")
            else:
                row |= {"probability": float(row["label"]), "probability_source": "label"}
        return row

    def _is_row(self, values: dict) -> bool:
        cells = _Cells(values)
        row = self._row(cells)
        return not cells.complaints and row["hypothesis"] is not None and 0 <= row["probability"] <= 1

    def _premise(self, cells: "_Cells") -> dict:
        """Returns the columns of the modality and the premise; a `ValueError` says what is wrong with its clip."""
        options, modality = self.options, self.options.modality
        if options.part_columns:
            return self._combination(cells)
        if options.modality_column is not None:
            modality = cells.read(options.modality_column, _modality)
            if modality is None:
                if _is_empty(cells.values[options.modality_column]):
                    cells.complaints.append(f"{options.modality_column} is empty")
                return {}
        has_text = options.premise_column is not None and not _is_empty(cells.values[options.premise_column])
        has_media = options.media_column is not None and not _is_empty(cells.values[options.media_column])
        if modality is None and has_text == has_media:
            found = "both a text and a file" if has_text else "neither a text nor a file"
            cells.complaints.append(f"there is {found} for a premise")
            return {}
        if modality == "text" or (modality is None and has_text):
            return {"modality": "text", "premise": cells.read(options.premise_column, _text)}
        if not has_media:
            raise ValueError(f"a premise of modality {modality} needs a file")
        modality, clip = self._clip(cells.values[options.media_column], options.media_column, modality)
        return {"modality": modality, TABLE[modality].column: clip}

    def _combination(self, cells: "_Cells") -> dict:
        """Returns the columns of a premise of parts, or of the one part that a row has."""
        parts = []
        for column, kind in self.options.part_columns:
            if kind == "text":
                text = cells.read(column, _text)
                parts += [] if text is None else [(kind, text)]
            elif _is_empty(cells.values[column]):
                raise ValueError(f"{column} is empty: a premise needs its {kind}")
            elif kind == "image":
                parts.append((kind, self._found(cells.values[column], column)))
            else:
                parts.append(self._clip(cells.values[column], column, kind))
        ((kind, content), *others) = parts
        if others or kind == "image":
            return combination(*parts)
        return {"modality": kind, TABLE[kind].column: content}

    def _found(self, value: Any, column: str) -> Clip:
        try:
            return self.clips.find(value)
        except ValueError as error:
            raise ValueError(f"{column} {error}") from error

    def _clip(self, value: Any, column: str, modality: str | None) -> tuple[str, Clip]:
        """Returns the clip of a cell and its modality, by its content if none is given."""
        clip = self._found(value, column)
        found, complaint = self.clips.judge(clip)
        if modality is None:
            if found is None:
                raise ValueError(complaint)
            modality = "audio" if found == "audio" else "video"
        elif modality == "audio":
            # Of a video only the sound is taken: its pictures are not for those who only listen.
            clip = replace(clip, sound_only=found in ("video", "audiovisual"))
        # One clip may be the premise of several modalities, and is stored, which checks it wholly, for the first of
        # them. A file that can't be judged can't be stored either, which is where it is reported.
        elif found not in (None, modality, "audiovisual"):
            wanted = "pictures" if found == "audio" else "sound"
            raise ValueError(f"{clip.path} has no {wanted}, which modality {modality} needs")
        return modality, clip


class _Cells:
    """Reads the values of a record one by one; what can't be read is kept as complaints."""

    def __init__(self, values: dict):
        self.values = values
        self.complaints: list[str] = []

    def read(self, column: str | None, parse: Callable[[Any], Any]) -> Any:
        """Returns the parsed value; `None` without such a column, and if nothing in it can be read."""
        if column is None or _is_empty(self.values[column]):
            return None
        try:
            return parse(self.values[column])
        except ValueError as error:
            self.complaints.append(f"{column} {error}")
            return None


class _Clips:
    """Finds the clips that tables name, below the folder that names start from, or hold themselves."""

    def __init__(self, root: Path | None):
        self._root = root and MediaRoot(root)
        self._named = functools.lru_cache(CLIPS_REMEMBERED)(self._named)
        self._judged = functools.lru_cache(CLIPS_REMEMBERED)(_judge)

    def find(self, value: Any) -> Clip:
        """Returns the clip of a cell: a path, bytes, or `{"bytes", "path"}`. A `ValueError` says what is wrong."""
        content, name = value, value
        if isinstance(value, dict):
            content, name = value.get("bytes"), value.get("path")
            if content is name is None:
                raise ValueError(f"must be a path or a clip's bytes, got {reprlib.repr(value)}")
        if not isinstance(content, bytes):
            return self._named(_stripped(name))
        suffix = PurePosixPath(name).suffix.lower() if isinstance(name, str) else ""
        if not suffix[1:].isalnum():
            try:
                kind = soundfile.info(io.BytesIO(content)).format.lower()
                suffix = ".wav" if kind == "wavex" else f".{kind}"
            except soundfile.LibsndfileError:
                suffix = ".mp4" if content[4:8] == b"ftyp" else ".mkv"
        key = hashlib.sha256(content).hexdigest()[:32] + suffix
        return Clip(Path(key), key, content=content)

    def judge(self, clip: Clip) -> tuple[str | None, str]:
        """Returns the modality of all that a clip holds, and what is wrong with it."""
        return self._judged(clip.path) if clip.content is None else _judge(clip.path, clip.content)

    def _named(self, name: str) -> Clip:
        if self._root is None:
            raise ValueError(f"must hold the clip itself, got the path {name!r:.200}: pass --media-root")
        key = self._root.key(name)
        return Clip(self._root.path(key), key)


def _judge(path: Path, content: bytes | None = None) -> tuple[str | None, str]:
    # Opening a pipe would wait for ever.
    if content is None and not os.path.isfile(path):
        return None, f"{path} is missing or no regular file"
    source = path if content is None else content
    try:
        found = probe_modality(source, name=str(path))
        return ("audiovisual" if found == "video" and has_audio(source, name=str(path)) else found), ""
    except MediaError as error:
        return None, str(error)


def _is_empty(value: Any) -> bool:
    if isinstance(value, dict):
        return all(part is None for part in value.values())
    return value is None or (isinstance(value, str) and not value.strip())


def _text(value: Any) -> str:
    return unicodedata.normalize("NFC", _stripped(value))


def _stripped(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"must be text, got {reprlib.repr(value)}")


def _number(value: Any, percent: bool = False) -> float:
    if isinstance(value, str):
        text = value.strip()
        if text.endswith("%") and not percent:
            raise ValueError(f"is in per cent, pass --percent if all are: got {text!r}")
        text = text.removesuffix("%").rstrip() if percent else text
        if not NUMBER.fullmatch(text):
            raise ValueError(f"must be a number such as 0.85, got {reprlib.repr(value)}")
        value = float(text)
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise ValueError(f"must be a number, got {reprlib.repr(value)}")
    try:
        return float(value) / 100 if percent else float(value)
    except OverflowError as error:
        raise ValueError(f"must be a number in [0, 1], got one of {len(str(value))} digits") from error


_per_cent = functools.partial(_number, percent=True)


def _label(value: Any) -> int:
    label = value
    if isinstance(value, str):
        text = value.strip().lower()
        label = TRUTHS.get(text, float(text) if NUMBER.fullmatch(text) else None)
    # True and 1.0 are equal to 1.
    if not isinstance(label, (bool, int, float, Decimal)) or label not in (0, 1):
        raise ValueError(f"must be 0, 1, false, true or empty, got {reprlib.repr(value)}")
    return int(label)


def _modality(value: Any) -> str:
    modality = _text(value)
    if modality not in MODALITIES:
        raise ValueError(f"must be one of {list(MODALITIES)}, got {reprlib.repr(value)}")
    return modality


def _json_list(value: Any) -> list:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"must be a JSON list, got {reprlib.repr(value)}") from error
    if not isinstance(value, list):
        raise ValueError(f"must be a list, got {reprlib.repr(value)}")
    return value


def _evidence(value: Any) -> list[str]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(";")]
    return [_text(one) for one in _json_list(value)]
