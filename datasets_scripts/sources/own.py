"""
A folder of one's own: tables (CSV, TSV, JSONL, Parquet) whose columns are named by options, and the clips they name.

```
python -m datasets_scripts.build own --name my-clips --table pairs.csv --media-root clips --media-column file \\
    --hypothesis-column sentence --probability-column p --split-by recording --out umui
```

Rows are split by the table itself (`--split-column`), not at all (`--split test`), or by chance: all rows of a group
(`--split-by`; else the premise) fall into one split, which depends on the seed and on the group's name alone. So a row
that is added later moves no other, and nothing but the row at hand is in memory; in return `--shares` are only met
approximately, as by a die that is thrown for each group.
"""

import argparse
import functools
import hashlib
import itertools
import json
import math
import os
import posixpath
import re
import reprlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from datasets_scripts.building.drafts import Clip, Draft, Problem, new_row
from datasets_scripts.schema import MODALITIES, PREMISE_COLUMN, PROBABILITY_SOURCES, SPLITS, BuildError
from datasets_scripts.sources.own_tables import Record, column_names, read_table
from modeling_clue.media import MediaError, has_audio, probe_modality


DESCRIPTION = "pairs of your own: a CSV, TSV, JSONL or Parquet table, with a folder of clips"

DEFAULT_SHARES = (0.8, 0.1, 0.1)
SPLIT_NAMES = {**{split: split for split in SPLITS}, "dev": "validation", "val": "validation", "valid": "validation"}
LABELS = {"1": 1, "true": 1, "0": 0, "false": 0}
NAMES_OF_OTHERS = r"unli|(urn|wikivideo)-.*|clotho.*"
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
# Rows about one clip mostly stand together: as many clips are remembered with what they hold.
CLIPS_REMEMBERED = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this source."""
    parser.add_argument("--name", type=_config_name, required=True, help="what to call the config, e.g. my-clips")
    parser.add_argument("--table", type=Path, nargs="+", required=True, help="one or more tables, read in this order")
    parser.add_argument("--media-root", type=Path, help="the folder that media paths start from, and never leave")

    columns = parser.add_argument_group("columns")
    columns.add_argument("--hypothesis-column", required=True)
    columns.add_argument("--premise-column", help="text premises")
    columns.add_argument("--media-column", help="paths of sound or video files below --media-root")
    columns.add_argument("--probability-column", help="in [0, 1]; with --percent in per cent")
    columns.add_argument(
        "--label-column", help="0, 1, false, true or empty; gives the probability where there is none"
    )
    columns.add_argument("--human-probabilities-column", help="every annotator's number: a list (in CSV, of JSON)")
    columns.add_argument("--id-column", help="default: <name>-<table>-<row number>")
    columns.add_argument("--topic-column")
    columns.add_argument("--context-column")
    columns.add_argument("--evidence-column", help="out of text, audio, video: a list (in CSV, joined by ;)")

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


def configs(options: argparse.Namespace) -> dict[str, dict[str, Iterator[Draft | Problem]]]:
    """
    The one config asked for.

    Args:
        options (`argparse.Namespace`): The options of [`add_arguments`], and `seed`.

    Returns:
        `dict[str, dict[str, Iterator[Draft | Problem]]]`: the drafts of each split; each reads the tables anew, and
        every problem is in one split only.

    Raises:
        `BuildError`: if options contradict one another, a table, folder or column is missing, or a split would be
            empty.
    """
    _check_options(options)
    columns = _check_columns(options)
    assign = _assignment(options)
    there = _splits_there(options, columns, assign)
    # What is wrong with rows that are of no split is told once, with the first.
    return {options.name: {split: _drafts(options, columns, assign, split, split == there[0]) for split in there}}


# --- options --------------------------------------------------------------------------------------


def _config_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]{1,100}", text):
        raise argparse.ArgumentTypeError(f"must be small letters, digits and -, got {text!r}")
    if re.fullmatch(NAMES_OF_OTHERS, text):
        raise argparse.ArgumentTypeError(f"{text!r} is a name of another source: take one of your own")
    return text


def _check_options(options: argparse.Namespace) -> None:
    def check(holds: bool, complaint: str) -> None:
        if not holds:
            raise BuildError(complaint)

    text, media = options.premise_column, options.media_column
    check(text or media, "there is no premise: pass --premise-column, --media-column or both")
    check(options.probability_column or options.label_column, "pass --probability-column, --label-column or both")
    check(bool(media) == bool(options.media_root), "--media-column and --media-root go together: pass both or neither")
    if options.modality is not None:
        needed = "--premise-column" if options.modality == "text" else "--media-column"
        check(text if options.modality == "text" else media, f"--modality {options.modality} needs {needed}")
        check(not (text and media), f"--modality {options.modality} has its premises in {needed}: leave out the other")
    if media:
        check(options.media_root.is_dir(), f"--media-root {options.media_root} is not a folder")
    if options.shares is not None:
        check(not options.split and not options.split_column, "--shares is for a split by chance: leave it out")
        fits = all(share >= 0 for share in options.shares) and math.isclose(sum(options.shares), 1, abs_tol=1e-6)
        check(fits, f"--shares must be three numbers that make 1, got {options.shares}")
    stems = [table.stem for table in options.table]
    doubled = sorted({stem for stem in stems if stems.count(stem) > 1})
    check(not doubled, f"several tables are called {doubled}, which ids and reports go by: rename them")


def _check_columns(options: argparse.Namespace) -> list[str]:
    """The columns that are asked for, each once."""
    asked = {
        f"--{name.replace('_', '-')}": column
        for name, column in vars(options).items()
        if column is not None and (name.endswith("_column") or name == "split_by")
    }
    for table in options.table:
        there = column_names(table)
        missing = {option: column for option, column in asked.items() if column not in there}
        if missing:
            named = ", ".join(f"{option} {column!r}" for option, column in missing.items())
            raise BuildError(f"{table} lacks {named}: its columns are {there}")
        doubled = sorted({column for column in asked.values() if there.count(column) > 1})
        if doubled:
            raise BuildError(f"{table} has several columns called {doubled}: rename them")
    return list(dict.fromkeys(asked.values()))


# --- splits ---------------------------------------------------------------------------------------


def _assignment(options: argparse.Namespace) -> Callable[[dict], str]:
    """A function that tells the split of a record's values, or raises a `ValueError` that says why there is none."""
    if options.split:
        return lambda values: options.split
    if options.split_column:
        return lambda values: _named_split(values[options.split_column], options.split_column)
    shares = options.shares or DEFAULT_SHARES
    # A share of 0 gets nothing, even at the very end.
    ends = zip(itertools.accumulate(shares), SPLITS, shares, strict=True)
    bounds = [(end, split) for end, split, share in ends if share]

    def assign(values: dict) -> str:
        chance = _chance(options.seed, _group(values, options))
        return next((split for end, split in bounds if chance < end), bounds[-1][1])

    return assign


def _named_split(value: Any, column: str) -> str:
    split = SPLIT_NAMES.get(value.strip().lower()) if isinstance(value, str) else None
    if split is None:
        raise ValueError(f"{column} must be one of {list(SPLIT_NAMES)}, got {reprlib.repr(value)}")
    return split


def _chance(seed: int, group: str) -> float:
    """A number in [0, 1) that looks drawn at random, but belongs to this seed and group."""
    digest = hashlib.blake2b(f"{seed} {group}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def _group(values: dict, options: argparse.Namespace) -> str:
    """What must stay together: the value of `--split-by`, or the premise."""
    if options.split_by is not None:
        group = values[options.split_by]
        if _is_empty(group):
            raise ValueError(f"{options.split_by} is empty: it must say what the row belongs to")
        return str(group).strip()
    stated = options.modality if options.modality_column is None else values[options.modality_column]
    if options.media_column is None or str(stated).strip() == "text" or _is_empty(values[options.media_column]):
        # Written with other white space it is the same text.
        return " ".join(str(values[options.premise_column]).split()) if options.premise_column else ""
    return posixpath.normpath(str(values[options.media_column]).strip())


def _splits_there(options: argparse.Namespace, columns: list[str], assign: Callable[[dict], str]) -> list[str]:
    """The splits that have rows; reading ends as soon as all have one."""
    if options.split:
        return [options.split]
    possible = SPLITS
    if not options.split_column:
        possible = [split for split, share in zip(SPLITS, options.shares or DEFAULT_SHARES, strict=True) if share]
    found = set()
    for table in options.table:
        for record in read_table(table, columns):
            if isinstance(record, Problem):
                continue
            try:
                found.add(assign(record.values))
            except ValueError:  # told when the row is read to be written
                continue
            if len(found) == len(possible):
                return list(possible)
    missing = [split for split in possible if split not in found]
    if not found:
        raise BuildError(f"no row of {', '.join(map(str, options.table))} can be read or belongs to a split")
    if not options.split_column:
        raise BuildError(
            f"by chance no row came into {' or '.join(missing)}, there are too few groups: "
            "pass --shares with 0 there, another --seed, --split-column or --split"
        )
    return [split for split in possible if split in found]


# --- rows -----------------------------------------------------------------------------------------


def _drafts(
    options: argparse.Namespace, columns: list[str], assign: Callable[[dict], str], split: str, is_first: bool
) -> Iterator[Draft | Problem]:
    """The rows of one split in their order, and, with the first split, the problems of rows that are of none."""
    judge = functools.lru_cache(CLIPS_REMEMBERED)(_judge)
    for table in options.table:
        for record in read_table(table, columns):
            if isinstance(record, Problem):
                if is_first:
                    yield record
                continue
            try:
                its_split = assign(record.values)
            except ValueError as error:
                if is_first:
                    yield Problem(record.place, "split", str(error))
                continue
            if its_split == split:
                yield _draft(options, f"{options.name}-{table.stem}-{record.number}", record, judge)


class _Cells:
    """The values of a record, read one by one; what can't be read is kept as complaints."""

    def __init__(self, values: dict):
        self.values = values
        self.complaints: list[str] = []

    def read(self, column: str | None, parse: Callable[[Any], Any]) -> Any:
        """The parsed value; `None` where there is no such column, or nothing in it, or nothing that can be read."""
        if column is None or _is_empty(self.values[column]):
            return None
        try:
            return parse(self.values[column])
        except ValueError as error:
            self.complaints.append(f"{column} {error}")
            return None


def _draft(
    options: argparse.Namespace, default_id: str, record: Record, judge: Callable[[Path], tuple[str | None, str]]
) -> Draft | Problem:
    cells = _Cells(record.values)
    number = functools.partial(_number, percent=options.percent)
    label = cells.read(options.label_column, _label)
    probability, source = cells.read(options.probability_column, number), options.probability_source
    human = cells.read(options.human_probabilities_column, lambda value: [number(one) for one in _json_list(value)])
    row = new_row(
        id=cells.read(options.id_column, _text) if options.id_column else default_id,
        source=options.name,
        hypothesis=cells.read(options.hypothesis_column, _text),
        label=label,
        human_probabilities=human,
        evidence=cells.read(options.evidence_column, _evidence),
        topic=cells.read(options.topic_column, _text),
        context=cells.read(options.context_column, _text),
    )
    if probability is None and not cells.complaints:
        if label is None:
            cells.complaints.append("there is neither a probability nor a label")
        else:
            probability, source = float(label), "label"
    modality, premise, media_complaint = _premise(options, cells, judge)
    complaints = cells.complaints + ([media_complaint] if media_complaint else [])
    if complaints:
        return Problem(record.place, "row" if cells.complaints else "media", "; ".join(complaints))
    row |= {"probability": probability, "probability_source": source, "modality": modality}
    return Draft(record.place, row | {PREMISE_COLUMN[modality]: premise})


def _premise(
    options: argparse.Namespace, cells: _Cells, judge: Callable[[Path], tuple[str | None, str]]
) -> tuple[str | None, str | Clip | None, str]:
    """The modality, the premise, and what is wrong with the clip."""
    modality = options.modality
    if options.modality_column is not None:
        modality = cells.read(options.modality_column, _modality)
        if modality is None:
            if _is_empty(cells.values[options.modality_column]):
                cells.complaints.append(f"{options.modality_column} is empty")
            return None, None, ""
    has_text = options.premise_column is not None and not _is_empty(cells.values[options.premise_column])
    has_media = options.media_column is not None and not _is_empty(cells.values[options.media_column])
    if modality is None and has_text == has_media:
        found = "both a text and a file" if has_text else "neither a text nor a file"
        cells.complaints.append(f"there is {found} for a premise")
        return None, None, ""
    if modality == "text" or (modality is None and has_text):
        return "text", cells.read(options.premise_column, _text), ""
    if not has_media:
        return None, None, f"a premise of modality {modality} needs a file"
    try:
        key = _key(cells.values[options.media_column])
        path = _inside(options.media_root, key)
    except ValueError as error:
        return None, None, f"{options.media_column} {error}"
    found, complaint = judge(path)
    if modality is None:
        return None if found is None else "audio" if found == "audio" else "video", Clip(path, key), complaint
    if modality == "audio":
        # Of a video only the sound is taken: its pictures are not for those who only listen.
        return modality, Clip(path, key, sound_only=found in ("video", "audiovisual")), ""
    # One clip may be the premise of several modalities, and is stored, which checks it wholly, for the first of them.
    # A file that can't be judged can't be stored either, which is where it is told.
    if found not in (None, modality, "audiovisual"):
        wanted = "pictures" if found == "audio" else "sound"
        return modality, None, f"{path} has no {wanted}, which modality {modality} needs"
    return modality, Clip(path, key), ""


def _judge(path: Path) -> tuple[str | None, str]:
    """The modality of all that a clip holds, and what is wrong with it."""
    # Opening a pipe would wait for ever.
    if not os.path.isfile(path):
        return None, f"{path} is missing or no regular file"
    try:
        found = probe_modality(path)
        return ("audiovisual" if found == "video" and has_audio(path) else found), ""
    except MediaError as error:
        return None, str(error)


def _key(value: Any) -> str:
    path = _text(value)
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"must be a path below --media-root, without .., got {path!r}")
    if "\0" in path:
        raise ValueError(f"must be a path, got {path!r}")
    return posixpath.normpath(path)


def _inside(root: Path, key: str) -> Path:
    # Links are followed to where they end: one may lead out of the folder.
    real_root, real = os.path.realpath(root), os.path.realpath(root / key)
    if os.path.commonpath([real_root, real]) != real_root:
        raise ValueError(f"must be a path below --media-root, but {key!r} is a link that leads out of it")
    return Path(real)


# --- values ---------------------------------------------------------------------------------------


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"must be text, got {reprlib.repr(value)}")


def _number(value: Any, percent: bool) -> float:
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


def _label(value: Any) -> int:
    label = LABELS.get(value.strip().lower()) if isinstance(value, str) else None
    # True and 1.0 are equal to 1.
    if isinstance(value, (bool, int, float)) and value in (0, 1):
        label = int(value)
    if label is None:
        raise ValueError(f"must be 0, 1, false, true or empty, got {reprlib.repr(value)}")
    return label


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
