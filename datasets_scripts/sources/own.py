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
"""

import argparse
import functools
import hashlib
import io
import itertools
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

from common.errors import InputError
from datasets_scripts.building.clips import MediaRoot
from datasets_scripts.building.drafts import Clip, Draft, Problem, new_row
from datasets_scripts.judgements.scale import Scale
from datasets_scripts.schema import PROBABILITY_SOURCES, SPLITS, name_of, one_form
from datasets_scripts.tables import Record, column_names, columns_there, holds_clips, read_table
from modeling_clue.media import MediaError, has_audio, probe_modality
from modeling_clue.modalities import MODALITIES, TABLE


DESCRIPTION = "pairs of your own: a CSV, TSV, JSONL or Parquet table, with a folder of clips"

DEFAULT_SHARES = (0.8, 0.1, 0.1)
SPLIT_NAMES = {**{split: split for split in SPLITS}, "dev": "validation", "val": "validation", "valid": "validation"}
TRUTHS = {"true": 1, "false": 0}
NAMES_OF_OTHERS = r"unli|(urn|wikivideo)-.*|clotho.*"
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
# Rows about one clip mostly stand together: as many clips are remembered with what they hold.
CLIPS_REMEMBERED = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this source."""
    parser.add_argument(
        "--dataset-config",
        dest="name",
        type=_config_name,
        required=True,
        metavar="NAME",
        help="what to call the config, e.g. my-clips",
    )
    parser.add_argument("--table", type=Path, nargs="+", required=True, help="one or more tables, read in this order")
    parser.add_argument("--media-root", type=Path, help="the folder that media paths start from, and never leave")

    columns = parser.add_argument_group("columns")
    columns.add_argument("--hypothesis-column", required=True)
    columns.add_argument("--premise-column", help="text premises")
    columns.add_argument(
        "--media-column", help="paths of sound or video files below --media-root, or (in Parquet) their bytes"
    )
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
        `InputError`: if options contradict one another, a table, folder or column is missing, or a split would be
            empty.
    """
    _check_options(options)
    columns = _check_columns(options)
    _check_scale(options, columns)
    clips = _Clips(options.media_root)
    assign = _assignment(options, clips)
    there = _splits_there(options, columns, assign)
    # What is wrong with rows that are of no split is told once, with the first.
    splits = {split: _drafts(options, columns, clips, assign, split, split == there[0]) for split in there}
    return {options.name: splits}


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
            raise InputError(complaint)

    text, media = options.premise_column, options.media_column
    check(text or media, "there is no premise: pass --premise-column, --media-column or both")
    check(options.probability_column or options.label_column, "pass --probability-column, --label-column or both")
    are_inside = media and all(holds_clips(table, media) for table in options.table)
    together = bool(media) == bool(options.media_root) or are_inside
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
            raise InputError(f"{table} lacks {named}: {columns_there(table, there)}")
    return list(dict.fromkeys(asked.values()))


def _check_scale(options: argparse.Namespace, columns: list[str]) -> None:
    """Refuses fractions among numbers that are per cent, and numbers in per cent alone that are said to be none."""
    votes = options.human_probabilities_column
    for column in filter(None, (options.probability_column, votes)):
        scale, has_signs = Scale(), False
        for _, record in _records(options, [name for name in columns if name != options.media_column]):
            if isinstance(record, Problem):
                continue
            for value in (
                _Cells(record.values).read(column, _json_list if column == votes else lambda one: [one]) or ()
            ):
                # A sign tells which a number is.
                if isinstance(value, str) and value.rstrip().endswith("%"):
                    has_signs = True
                elif (fraction := _Cells({column: value}).read(column, _per_cent)) is not None:
                    scale.add(100 * fraction)
        if not options.percent:
            if scale.is_per_cent:
                raise InputError(
                    f"{column} goes up to {scale.highest:g}, and more numbers are above 1 than between 0 and 1: pass "
                    "--percent if they are per cent"
                )
        elif scale.is_mixed or (scale.is_fractions and has_signs):
            shown = ", ".join(f"{number:g}" for number in scale.below_1[:3])
            raise InputError(
                f"{column} has per cent and fractions, such as {shown or 1}: multiply the fractions by 100; if "
                "all are per cent, divide all by 100 and leave out --percent"
            )


def _records(options: argparse.Namespace, columns: list[str]) -> Iterator[tuple[Path, Record | Problem]]:
    """The rows of all tables, each with its table."""
    for table in options.table:
        for record in read_table(table, columns, functools.partial(_is_row, options)):
            yield table, record


# --- splits ---------------------------------------------------------------------------------------


def _assignment(options: argparse.Namespace, clips: "_Clips") -> Callable[[dict], str]:
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
        chance = _chance(options.seed, _group(values, options, clips))
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


def _group(values: dict, options: argparse.Namespace, clips: "_Clips") -> str:
    """What must stay together: the value of `--split-by`, or the premise."""
    if options.split_by is not None:
        group = values[options.split_by]
        if _is_empty(group):
            raise ValueError(f"{options.split_by} is empty: it must say what the row belongs to")
        try:
            return name_of(group)
        except ValueError as error:
            raise ValueError(f"{options.split_by} {error}") from error
    stated = options.modality if options.modality_column is None else values[options.modality_column]
    if options.media_column is None or str(stated).strip() == "text" or _is_empty(values[options.media_column]):
        return one_form(str(values[options.premise_column])) if options.premise_column else ""
    return clips.group(values[options.media_column])


def _splits_there(options: argparse.Namespace, columns: list[str], assign: Callable[[dict], str]) -> list[str]:
    """The splits that have rows; reading ends as soon as all have one."""
    if options.split:
        return [options.split]
    possible = SPLITS
    if not options.split_column:
        possible = [split for split, share in zip(SPLITS, options.shares or DEFAULT_SHARES, strict=True) if share]
    found = set()
    for _, record in _records(options, columns):
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
        raise InputError(f"no row of {', '.join(map(str, options.table))} can be read or belongs to a split")
    if not options.split_column:
        raise InputError(
            f"by chance no row came into {' or '.join(missing)}, there are too few groups: "
            "pass --shares with 0 there, another --seed, --split-column or --split"
        )
    return [split for split in possible if split in found]


# --- rows -----------------------------------------------------------------------------------------


def _drafts(
    options: argparse.Namespace,
    columns: list[str],
    clips: "_Clips",
    assign: Callable[[dict], str],
    split: str,
    is_first: bool,
) -> Iterator[Draft | Problem]:
    """The rows of one split in their order, and, with the first split, the problems of rows that are of none."""
    for table, record in _records(options, columns):
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
            yield _draft(options, f"{options.name}-{table.stem}-{record.number}", record, clips)


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


def _draft(options: argparse.Namespace, default_id: str, record: Record, clips: "_Clips") -> Draft | Problem:
    cells = _Cells(record.values)
    row = _columns(options, cells)
    modality, premise, media_complaint = _premise(options, cells, clips)
    complaints = cells.complaints + ([media_complaint] if media_complaint else [])
    if complaints:
        return Problem(record.place, "row" if cells.complaints else "media", "; ".join(complaints))
    row |= {} if options.id_column else {"id": default_id}
    return Draft(record.place, row | {"modality": modality, TABLE[modality].column: premise})


def _columns(options: argparse.Namespace, cells: _Cells) -> dict:
    """All of a row but its premise, and its id if that is made up."""
    number = _per_cent if options.percent else _number
    label = cells.read(options.label_column, _label)
    probability, source = cells.read(options.probability_column, number), options.probability_source
    row = new_row(
        id=cells.read(options.id_column, _text),
        source=options.name,
        hypothesis=cells.read(options.hypothesis_column, _text),
        label=label,
        human_probabilities=cells.read(
            options.human_probabilities_column, lambda value: [number(one) for one in _json_list(value)]
        ),
        evidence=cells.read(options.evidence_column, _evidence),
        topic=cells.read(options.topic_column, _text),
        context=cells.read(options.context_column, _text),
    )
    if probability is None and not cells.complaints:
        if label is None:
            cells.complaints.append("there is neither a probability nor a label")
        else:
            probability, source = float(label), "label"
    return row | {"probability": probability, "probability_source": source}


def _is_row(options: argparse.Namespace, values: dict) -> bool:
    cells = _Cells(values)
    row = _columns(options, cells)
    return not cells.complaints and row["hypothesis"] is not None and 0 <= row["probability"] <= 1


def _premise(options: argparse.Namespace, cells: _Cells, clips: "_Clips") -> tuple[str | None, str | Clip | None, str]:
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
        clip = clips.find(cells.values[options.media_column])
    except ValueError as error:
        return None, None, f"{options.media_column} {error}"
    found, complaint = clips.judge(clip)
    if modality is None:
        return None if found is None else "audio" if found == "audio" else "video", clip, complaint
    if modality == "audio":
        # Of a video only the sound is taken: its pictures are not for those who only listen.
        return modality, replace(clip, sound_only=found in ("video", "audiovisual")), ""
    # One clip may be the premise of several modalities, and is stored, which checks it wholly, for the first of them.
    # A file that can't be judged can't be stored either, which is where it is told.
    if found not in (None, modality, "audiovisual"):
        wanted = "pictures" if found == "audio" else "sound"
        return modality, None, f"{clip.path} has no {wanted}, which modality {modality} needs"
    return modality, clip, ""


class _Clips:
    """
    The clips that tables name, or hold themselves.

    Args:
        root (`Path`, *optional*): The folder that names start from.
    """

    def __init__(self, root: Path | None):
        self._root = root and MediaRoot(root)
        self._named = functools.lru_cache(CLIPS_REMEMBERED)(self._named)
        self._judged = functools.lru_cache(CLIPS_REMEMBERED)(_judge)

    def find(self, value: Any) -> Clip:
        """The clip of a cell: a path, bytes, or `{"bytes", "path"}`. A `ValueError` says what is wrong with it."""
        content, name = value, value
        if isinstance(value, dict):
            content, name = value.get("bytes"), value.get("path")
            if content is name is None:
                raise ValueError(f"must be a path or a clip's bytes, got {reprlib.repr(value)}")
        if not isinstance(content, bytes):
            return self._named(_stripped(name))
        suffix = PurePosixPath(name).suffix.lower() if isinstance(name, str) else ""
        suffix = suffix if suffix[1:].isalnum() else _suffix_of(content)
        key = hashlib.sha256(content).hexdigest()[:32] + suffix
        return Clip(Path(key), key, content=content)

    def group(self, value: Any) -> str:
        """What rows about the same clip have in common."""
        try:
            return self.find(value).key
        except ValueError:  # told when the row is read to be written
            return str(value).strip()

    def judge(self, clip: Clip) -> tuple[str | None, str]:
        """The modality of all that a clip holds, and what is wrong with it."""
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


def _suffix_of(content: bytes) -> str:
    """The ending of a clip that has no name."""
    try:
        kind = soundfile.info(io.BytesIO(content)).format.lower()
    except soundfile.LibsndfileError:
        return ".mp4" if content[4:8] == b"ftyp" else ".mkv"
    return ".wav" if kind == "wavex" else f".{kind}"


# --- values ---------------------------------------------------------------------------------------


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
