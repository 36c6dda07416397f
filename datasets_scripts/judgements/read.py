"""
Reads the answers of annotators, checks them, and brings them together.

A judgement is a row of a CSV, TSV or Parquet file or a line of a JSONL file: `annotator`, `item`, `probability` (0 to
100, per cent), `evidence` (the senses that informed it: audio, video, text), `note`, and what the item is: `claim`,
`video`, `topic`.
Only the first three must be there. In CSV, evidence is joined with ";". No evidence is not the same as no answer: `[]`
or an empty CSV field says that nothing informed the annotator, `null` or no such column that nobody asked.
"""

import argparse
import itertools
import math
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import InputError
from datasets_scripts.building.drafts import Problem
from datasets_scripts.judgements.scale import Scale
from datasets_scripts.schema import SENSES, is_evidence, name_of, one_form
from datasets_scripts.tables import DELIMITERS, column_names, columns_there, read_table


TOGETHER = "all together"
REQUIRED = ("annotator", "item", "probability")
FACTS = ("claim", "video", "topic")
COLUMNS = (*REQUIRED, "evidence", "note", *FACTS)


@dataclass(frozen=True)
class Judgement:
    """The probability, in [0, 1], that one annotator gave to one item."""

    place: str  # "raw.csv row 17"; the header of a CSV file is row 1
    annotator: str
    item: str
    probability: float
    evidence: tuple[str, ...] | None  # the senses that informed it, sorted; `None` if the annotator was not asked
    note: str | None
    facts: dict[str, str]  # the item's `claim`, `video` and `topic`, or some of them


@dataclass(frozen=True)
class Reading:
    """The good judgements of some files, in their order, and notes on the others."""

    judgements: list[Judgement]
    skipped: list[str]  # a complaint for each line that was left out
    ignored: list[str]  # columns that mean nothing here, sorted
    doubtful: list[str]  # annotators whose only answer above 0 is not above 1 %, sorted: it may be a fraction


def read_judgements(paths: list[Path], on_error: str = "stop", percent: bool = False) -> Reading:
    """
    Reads raw judgements and checks them, one by one and against each other.

    Args:
        paths (`list[Path]`): CSV, TSV, JSONL and Parquet files.
        on_error (`str`, *optional*, defaults to `"stop"`):
            `"stop"` refuses files with any bad line, `"skip"` leaves bad lines out and lists them.
        percent (`bool`, *optional*, defaults to `False`): Whether even answers that look like fractions are per cent.
    """
    judgements, complaints, ignored = [], [], set()
    judged, of_item, item_of = {}, {}, {}
    for path in paths:
        for place, record in _records(path):
            if isinstance(record, str):
                complaints.append(f"{place}: {record}")
                continue
            ignored |= record.keys() - set(COLUMNS)
            found = _complaints(record)
            if not found:
                judgement = _to_judgement(place, record)
                found = _conflicts(judgement, judged, of_item, item_of)
            if found:
                complaints.append(f"{place}: " + "; ".join(found))
                continue
            judgements.append(judgement)
            judged[judgement.annotator, judgement.item] = place
            # One judgement may leave out what another has.
            facts = {name: (fact, place) for name, fact in judgement.facts.items()}
            of_item[judgement.item] = facts | of_item.get(judgement.item, {})
            if pair := _pair(judgement):
                item_of.setdefault(pair, (judgement.item, place))
    if complaints and on_error == "stop":
        heading = f"bad judgements ({len(complaints)}): correct them, or leave them out: --on-error skip"
        raise InputError("\n  ".join([heading, *complaints]))
    if not judgements:
        raise InputError(f"no judgement in {', '.join(map(str, paths))}, {len(complaints)} bad ones aside")
    doubtful = [] if percent else _check_scale(judgements)
    return Reading(judgements, complaints, sorted(ignored), doubtful)


def aggregate(judgements: list[Judgement]) -> list[dict]:
    """
    Brings the judgements of each item together, every annotator's number kept.

    Returns:
        `list[dict]`: one record an item, in the order of the items' names: its facts; `probability` (the mean);
        `human_probabilities`, `annotators` and `notes` (a note or `None` each), all in the order of the annotators'
        names; `evidence` (every sense that informed anybody, sorted; `None` unless all were asked) and
        `evidence_votes` (how many of those asked named each).
    """
    records = []
    ordered = sorted(judgements, key=lambda one: (one.item, one.annotator))
    for item, same in itertools.groupby(ordered, lambda one: one.item):
        given = list(same)
        probabilities = [judgement.probability for judgement in given]
        asked = [judgement.evidence for judgement in given if judgement.evidence is not None]
        votes = Counter(sense for senses in asked for sense in senses)
        facts = {name: fact for judgement in given for name, fact in judgement.facts.items()}
        records.append(
            {
                "item": item,
                **{name: facts.get(name) for name in FACTS},
                "probability": math.fsum(probabilities) / len(probabilities),
                "human_probabilities": probabilities,
                "annotators": [judgement.annotator for judgement in given],
                # What informed those who were not asked could be anything: the union is unknown too.
                "evidence": sorted(votes) if len(asked) == len(given) else None,
                "evidence_votes": dict(sorted(votes.items())),
                "notes": [judgement.note for judgement in given],
            }
        )
    return records


def judgement_matrix(judgements: list[Judgement]) -> tuple[np.ndarray, list[str], list[str]]:
    """
    Returns probabilities of shape `(items, annotators)` with NaN where an annotator skipped an item; the items; the
    annotators; both sorted by name.
    """
    items, rows = np.unique([judgement.item for judgement in judgements], return_inverse=True)
    annotators, columns = np.unique([judgement.annotator for judgement in judgements], return_inverse=True)
    matrix = np.full((len(items), len(annotators)), np.nan)
    matrix[rows, columns] = [judgement.probability for judgement in judgements]
    return matrix, items.tolist(), annotators.tolist()


def _records(path: Path) -> Iterator[tuple[str, dict | str]]:
    """Yields each row's place with its values as JSON has them, or with what is wrong with it."""
    names = [name.strip() for name in column_names(path)]
    if path.suffix.lower() != ".jsonl" and (missing := [name for name in REQUIRED if name not in names]):
        raise InputError(f"--annotations {path} lacks the columns {missing}: {columns_there(path, names)}")
    typed = _typed if path.suffix.lower() in DELIMITERS else dict
    for record in read_table(path, is_row=lambda values: not _complaints(_typed(values))):
        place = str(path.parent / record.place)
        yield place, record.complaint if isinstance(record, Problem) else typed(record.values)


def _typed(values: dict[str, str]) -> dict:
    fields = {name.strip(): text for name, text in values.items()}
    record = {name: text if text.strip() else None for name, text in fields.items()}
    if "evidence" in fields:
        record["evidence"] = [sense.strip() for sense in fields["evidence"].split(";") if sense.strip()]
    try:
        record["probability"] = float(fields["probability"])
    except ValueError:
        # What is no number stays as it is, and is reported with the rest.
        pass
    return record


def _complaints(record: dict) -> list[str]:
    """Returns everything that is wrong with a record by itself."""
    found = []
    for name in ("annotator", "item"):
        try:
            is_name = type(record.get(name)) in (str, int, float) and name_of(record[name]) != ""
        except ValueError:
            is_name = False
        if not is_name:
            found.append(f"{name} must be a non-empty string, got {record.get(name)!r}")
    probability = record.get("probability")
    is_number = isinstance(probability, (int, float)) and not isinstance(probability, bool)
    # A comparison with NaN is false: NaN is refused too.
    if not is_number or not 0 <= probability <= 100:
        found.append(f"probability must be a number from 0 to 100 (per cent), got {probability!r}")
    evidence = record.get("evidence")
    if evidence is not None and not is_evidence(evidence):
        found.append(f"evidence must be a list out of {', '.join(SENSES)}, got {evidence!r}")
    for name in ("note", *FACTS):
        if not isinstance(record.get(name), (str, type(None))):
            found.append(f"{name} must be a string, got {record[name]!r}")
    return found


def _to_judgement(place: str, record: dict) -> Judgement:
    evidence = record.get("evidence")
    texts = {name: record[name] for name in ("note", *FACTS) if record.get(name) and record[name].strip()}
    return Judgement(
        place=place,
        annotator=name_of(record["annotator"]),
        item=name_of(record["item"]),
        probability=record["probability"] / 100,
        evidence=None if evidence is None else tuple(sorted(set(evidence))),
        note=texts.pop("note", None),
        # A claim with two spaces is the same claim, here as in a build.
        facts={name: one_form(text) for name, text in texts.items()},
    )


def _pair(judgement: Judgement) -> tuple | None:
    facts = judgement.facts
    return tuple(facts.get(name) for name in FACTS) if {"claim", "video"} <= facts.keys() else None


def _conflicts(judgement: Judgement, judged: dict, of_item: dict, item_of: dict) -> list[str]:
    """Returns how a judgement contradicts those before it."""
    found, annotator, item = [], judgement.annotator, judgement.item
    if before := judged.get((annotator, item)):
        found.append(
            f"{annotator!r} has judged item {item!r} before, in {before}: keep the one that holds (--on-error skip "
            "keeps the first)"
        )
    for name, (value, place) in of_item.get(item, {}).items():
        fact = judgement.facts.get(name, value)
        if fact != value:
            found.append(f"the {name} of item {item!r} is {fact!r}, but {value!r} in {place}: make them one")
    other, place = item_of.get(_pair(judgement), (item, None))
    if other != item:
        found.append(f"claim and video are those of item {other!r} in {place}: give both one item")
    return found


def _check_scale(judgements: list[Judgement]) -> list[str]:
    """Refuses fractions, of one annotator or of all together; returns the names of those who may have given one."""
    scales: dict[str, Scale] = {}
    for judgement in judgements:
        for name in (repr(judgement.annotator), TOGETHER):
            scales.setdefault(name, Scale()).add(judgement.probability * 100)
    suspects = {
        name: f"{', '.join(f'{value:g}' for value in scale.below_1[:3]) or 1}, at most {scale.highest:g}"
        for name, scale in sorted(scales.items())
        if scale.is_mixed or (scale.is_fractions and scale.up_to_1 > 1)
    }
    if len(suspects) > 1:
        suspects.pop(TOGETHER, None)
    if suspects:
        shown = "; ".join(f"{name}: {few}" for name, few in suspects.items())
        raise InputError(
            f"probabilities are per cent, but some annotators answer between 0 and 1 ({shown}): multiply these "
            "answers by 100, or pass --percent if they are per cent all the same"
        )
    return sorted(name for name, scale in scales.items() if scale.is_fractions and name != TOGETHER)


def _read_items(path: Path, judgements: list[Judgement]) -> set[str]:
    """Reads names of items, one a line; each must have been judged by somebody."""
    try:
        items = {name_of(line) for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--items {path} can't be read as text in UTF-8: {error}") from error
    if not items:
        raise InputError(f"--items {path} names no item: write one a line")
    if unknown := sorted(items - {judgement.item for judgement in judgements}):
        listed = "\n  ".join(unknown)
        raise InputError(f"--items {path}: nobody judged {len(unknown)} of {len(items)} items:\n  {listed}")
    return items


def read_and_tell(options: argparse.Namespace) -> list[Judgement]:
    """Reads the judgements that the [`add_raw_options`] name, and prints what is left out or doubtful."""
    reading = read_judgements(options.annotations, options.on_error, options.percent)
    if reading.skipped:
        print("\n  ".join([f"skipped {len(reading.skipped)} bad judgements:", *reading.skipped]), file=sys.stderr)
    if reading.doubtful:
        names = ", ".join(reading.doubtful)
        print(f"warning: only answers of up to 1 % are from {names}: are they fractions?", file=sys.stderr)
    if reading.ignored:
        print(f"ignored columns: {', '.join(reading.ignored)}", file=sys.stderr)
    if options.items is None:
        return reading.judgements
    some = _read_items(options.items, reading.judgements)
    return [judgement for judgement in reading.judgements if judgement.item in some]


def add_raw_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that name judgements."""
    parser.add_argument("--annotations", type=Path, nargs="+", required=True, help="tables of judgements")
    parser.add_argument("--items", type=Path, metavar="FILE", help="only these items, one a line (default: all)")
    parser.add_argument(
        "--on-error", choices=("stop", "skip"), default="stop", help="bad judgements (default: %(default)s)"
    )
    parser.add_argument(
        "--percent", action="store_true", help="take answers from 0 to 1 as per cent, whatever they look like"
    )
