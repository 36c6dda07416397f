"""
Human judgements: from what each annotator said to one probability an item, and how far the annotators agree.

```
python -m datasets_scripts.annotations aggregate --raw ann.csv ben.jsonl --out judgements.jsonl
python -m datasets_scripts.annotations agreement --raw ann.csv ben.jsonl --items pilot.txt --out agreement
```

A judgement is a row of a CSV file or a line of a JSONL file: `annotator`, `item`, `probability` (0 to 100, per cent),
`evidence` (the senses that informed it: audio, video, text), `note`, and what the item is: `claim`, `video`, `topic`.
Only the first three must be there. In CSV, evidence is joined with ";". No evidence is not the same as no answer: `[]`
or an empty CSV field says that nothing informed the annotator, `null` or no such column that nobody asked.
"""

import argparse
import csv
import json
import math
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets_scripts.arguments import positive, seed
from datasets_scripts.judgements.agreement import agreement_report, write_agreement
from datasets_scripts.schema import SENSES, BuildError


REQUIRED = ("annotator", "item", "probability")
FACTS = ("claim", "video", "topic")
COLUMNS = (*REQUIRED, "evidence", "note", *FACTS)


@dataclass(frozen=True)
class Judgement:
    """
    What one annotator said about one item.

    Args:
        place (`str`): Where it stands, e.g. `"raw.csv row 17"`; the header of a CSV file is row 1.
        annotator (`str`): Who said it.
        item (`str`): What it is about.
        probability (`float`): In [0, 1].
        evidence (`tuple[str, ...]`, *optional*):
            The senses that informed it, sorted; empty if none did, `None` if the annotator was not asked.
        note (`str`, *optional*): The annotator's remark.
        facts (`dict[str, str]`): What it tells of the item: its `claim`, `video` and `topic`, or some of them.
    """

    place: str
    annotator: str
    item: str
    probability: float
    evidence: tuple[str, ...] | None
    note: str | None
    facts: dict[str, str]


@dataclass(frozen=True)
class Reading:
    """
    What some files hold.

    Args:
        judgements (`list[Judgement]`): The good ones, in the order of the files.
        skipped (`list[str]`): One complaint for each line that was left out.
        ignored (`list[str]`): Names of columns that mean nothing here, sorted.
    """

    judgements: list[Judgement]
    skipped: list[str]
    ignored: list[str]


def read_judgements(paths: list[Path], on_error: str = "stop") -> Reading:
    """
    Reads raw judgements and checks them, one by one and against each other.

    Args:
        paths (`list[Path]`): CSV and JSONL files, UTF-8.
        on_error (`str`, *optional*, defaults to `"stop"`):
            `"stop"` refuses files with any bad line, `"skip"` leaves bad lines out and lists them.

    Returns:
        [`Reading`]: the judgements and what was left out.

    Raises:
        `BuildError`: if a file can't be read or lacks columns; if lines are bad (all are named), unless they are to be
            skipped; if nothing is left; if an annotator gives fractions instead of per cent.
    """
    judgements, complaints, ignored = [], [], set()
    judged, of_item, item_of = {}, {}, {}
    for path in paths:
        for row, record in _records(path):
            place = f"{path} row {row}"
            if isinstance(record, str):
                complaints.append(f"{place}: {record}")
                continue
            ignored |= record.keys() - set(COLUMNS)
            found = _complaints(record)
            if not found:
                judgement = _judgement(place, record)
                found = _conflicts(judgement, judged, of_item, item_of)
            if found:
                complaints.append(f"{place}: " + "; ".join(found))
                continue
            judgements.append(judgement)
            judged[judgement.annotator, judgement.item] = place
            # One judgement may leave out what another tells.
            told = {name: (fact, place) for name, fact in judgement.facts.items()}
            of_item[judgement.item] = told | of_item.get(judgement.item, {})
            if pair := _pair(judgement):
                item_of.setdefault(pair, (judgement.item, place))
    if complaints and on_error == "stop":
        raise BuildError(
            "\n  ".join(
                [f"bad judgements ({len(complaints)}): correct them, or leave them out: --on-error skip", *complaints]
            )
        )
    if not judgements:
        raise BuildError(f"no judgement in {', '.join(map(str, paths))}, {len(complaints)} bad ones aside")
    _refuse_fractions(judgements)
    return Reading(judgements, complaints, sorted(ignored))


def aggregate(judgements: list[Judgement]) -> list[dict]:
    """
    Brings the judgements of each item together, every annotator's number kept.

    Args:
        judgements (`list[Judgement]`): As [`read_judgements`] gives them.

    Returns:
        `list[dict]`: one record an item, in the order of the items' names: its facts; `probability` (the mean);
        `human_probabilities`, `annotators` and `notes` (a note or `None` each), all in the order of the annotators'
        names; `evidence` (every sense that informed anybody, sorted; `None` unless all were asked) and
        `evidence_votes` (how many of those asked named each).
    """
    by_item = {}
    for judgement in sorted(judgements, key=lambda one: (one.item, one.annotator)):
        by_item.setdefault(judgement.item, []).append(judgement)
    return [_aggregate_item(item, given) for item, given in by_item.items()]


def judgement_matrix(judgements: list[Judgement]) -> tuple[np.ndarray, list[str], list[str]]:
    """
    Lays judgements out as a matrix.

    Args:
        judgements (`list[Judgement]`): As [`read_judgements`] gives them.

    Returns:
        `tuple[np.ndarray, list[str], list[str]]`: probabilities of shape `(items, annotators)` with NaN where an
        annotator skipped an item; the items; the annotators; both sorted by name.
    """
    items = sorted({judgement.item for judgement in judgements})
    annotators = sorted({judgement.annotator for judgement in judgements})
    row = {item: i for i, item in enumerate(items)}
    column = {annotator: i for i, annotator in enumerate(annotators)}
    matrix = np.full((len(items), len(annotators)), np.nan)
    for judgement in judgements:
        matrix[row[judgement.item], column[judgement.annotator]] = judgement.probability
    return matrix, items, annotators


def _records(path: Path) -> Iterator[tuple[int, dict | str]]:
    """Each row's number with its values as JSON has them, or with what is wrong with it."""
    kinds = {".csv": _csv_records, ".jsonl": _jsonl_records}
    if path.suffix.lower() not in kinds:
        raise BuildError(f"--raw {path}: must end in .csv or .jsonl")
    if not path.is_file():
        raise BuildError(f"--raw {path}: there is no such file")
    try:
        yield from kinds[path.suffix.lower()](path)
    except UnicodeDecodeError as error:
        raise BuildError(f"--raw {path} is not in UTF-8: {error}") from error


def _csv_records(path: Path) -> Iterator[tuple[int, dict | str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        # Not a DictReader: it passes over blank rows, and the numbers of all that follow would be wrong.
        reader = csv.reader(file)
        try:
            header = [name.strip() for name in next(reader, [])]
            missing = [name for name in REQUIRED if name not in header]
            doubled = sorted(name for name, times in Counter(header).items() if times > 1)
            if missing or doubled:
                raise BuildError(f"--raw {path}: missing columns {missing}, doubled columns {doubled}, got {header}")
            for row, fields in enumerate(reader, start=2):
                if fields and len(fields) != len(header):
                    yield row, f"{len(fields)} fields under {len(header)} columns: is a comma not quoted?"
                elif fields:
                    yield row, _typed(dict(zip(header, fields, strict=True)))
        except csv.Error as error:
            raise BuildError(f"--raw {path} line {reader.line_num} is no CSV: {error}") from error


def _typed(fields: dict[str, str]) -> dict:
    record = {name: text if text.strip() else None for name, text in fields.items()}
    if "evidence" in fields:
        record["evidence"] = [sense.strip() for sense in fields["evidence"].split(";") if sense.strip()]
    try:
        record["probability"] = float(fields["probability"])
    except ValueError:
        # What is no number stays as it is, and is reported with the rest.
        pass
    return record


def _jsonl_records(path: Path) -> Iterator[tuple[int, dict | str]]:
    with path.open(encoding="utf-8-sig") as file:
        for row, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield row, f"no JSON: {error}"
                continue
            yield row, record if isinstance(record, dict) else f"must be an object, got {line.strip():.80}"


def _complaints(record: dict) -> list[str]:
    """What is wrong with a record by itself."""
    found = []
    for name in ("annotator", "item"):
        if not isinstance(record.get(name), str) or not record[name].strip():
            found.append(f"{name} must be a non-empty string, got {record.get(name)!r}")
    probability = record.get("probability")
    is_number = isinstance(probability, (int, float)) and not isinstance(probability, bool)
    # A comparison with NaN is false: NaN is refused too.
    if not is_number or not 0 <= probability <= 100:
        found.append(f"probability must be a number from 0 to 100 (per cent), got {probability!r}")
    evidence = record.get("evidence")
    if evidence is not None and not (isinstance(evidence, list) and all(sense in SENSES for sense in evidence)):
        found.append(f"evidence must be a list out of {', '.join(SENSES)}, got {evidence!r}")
    for name in ("note", *FACTS):
        if not isinstance(record.get(name), (str, type(None))):
            found.append(f"{name} must be a string, got {record[name]!r}")
    # JSON can spell halves of characters, which no file in UTF-8 can hold.
    texts = [record.get(name) for name in COLUMNS if isinstance(record.get(name), str)]
    if any("\ud800" <= character <= "\udfff" for text in texts for character in text):
        found.append("half a character (a lone surrogate)")
    return found


def _judgement(place: str, record: dict) -> Judgement:
    evidence = record.get("evidence")
    texts = {name: record[name] for name in ("note", *FACTS) if record.get(name) and record[name].strip()}
    return Judgement(
        place=place,
        annotator=record["annotator"].strip(),
        item=record["item"].strip(),
        probability=record["probability"] / 100,
        evidence=None if evidence is None else tuple(sorted(set(evidence))),
        note=texts.pop("note", None),
        # A claim with two spaces is the same claim, here as in a build.
        facts={name: " ".join(text.split()) for name, text in texts.items()},
    )


def _pair(judgement: Judgement) -> tuple | None:
    facts = judgement.facts
    return tuple(facts.get(name) for name in FACTS) if {"claim", "video"} <= facts.keys() else None


def _conflicts(judgement: Judgement, judged: dict, of_item: dict, item_of: dict) -> list[str]:
    """What is wrong with a judgement beside those before it."""
    found = []
    key = judgement.annotator, judgement.item
    if key in judged:
        found.append(
            f"{judgement.annotator!r} has judged item {judgement.item!r} before, in {judged[key]}: keep the one that "
            "holds (--on-error skip keeps the first)"
        )
    for name, (value, place) in of_item.get(judgement.item, {}).items():
        told = judgement.facts.get(name, value)
        if told != value:
            found.append(f"the {name} of item {judgement.item!r} is {told!r}, but {value!r} in {place}: make them one")
    item, place = item_of.get(_pair(judgement), (judgement.item, None))
    if item != judgement.item:
        found.append(f"claim and video are those of item {item!r} in {place}: give both one item")
    return found


def _refuse_fractions(judgements: list[Judgement]) -> None:
    by_annotator = {}
    for judgement in judgements:
        by_annotator.setdefault(judgement.annotator, set()).add(judgement.probability * 100)
    # Somebody who never goes above 1 % and has several shades below it gives fractions.
    suspects = {
        name: sorted(value for value in values if 0 < value < 1)
        for name, values in sorted(by_annotator.items())
        if max(values) <= 1 and sum(0 < value < 1 for value in values) >= 2
    }
    if suspects:
        shown = "; ".join(f"{name!r}: {', '.join(f'{v:g}' for v in few[:3])}" for name, few in suspects.items())
        raise BuildError(
            f"probabilities are per cent, but some annotators only answer between 0 and 1 ({shown}): multiply theirs "
            "by 100"
        )


def _aggregate_item(item: str, given: list[Judgement]) -> dict:
    """One record from the judgements of one item, which are in the order of the annotators' names."""
    probabilities = [judgement.probability for judgement in given]
    asked = [judgement.evidence for judgement in given if judgement.evidence is not None]
    votes = Counter(sense for senses in asked for sense in senses)
    facts = {name: fact for judgement in given for name, fact in judgement.facts.items()}
    return {
        "item": item,
        **{name: facts.get(name) for name in FACTS},
        "probability": math.fsum(probabilities) / len(probabilities),
        "human_probabilities": probabilities,
        "annotators": [judgement.annotator for judgement in given],
        # What informed those who were not asked is unknown: it could be anything, so the union is unknown too.
        "evidence": sorted(votes) if len(asked) == len(given) else None,
        "evidence_votes": dict(sorted(votes.items())),
        "notes": [judgement.note for judgement in given],
    }


def _read_items(path: Path, judgements: list[Judgement]) -> set[str]:
    """Names of items, one a line, all of them judged by somebody."""
    try:
        items = {line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()}
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError(f"--items {path} can't be read as text in UTF-8: {error}") from error
    if not items:
        raise BuildError(f"--items {path} names no item: write one a line")
    if unknown := sorted(items - {judgement.item for judgement in judgements}):
        listed = "\n  ".join(unknown)
        raise BuildError(f"--items {path}: nobody judged {len(unknown)} of {len(items)} items:\n  {listed}")
    return items


def _write_lines(records: list[dict], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(out)


def _read_and_tell(options: argparse.Namespace) -> list[Judgement]:
    reading = read_judgements(options.raw, options.on_error)
    if reading.skipped:
        print("\n  ".join([f"skipped {len(reading.skipped)} bad judgements:", *reading.skipped]), file=sys.stderr)
    if reading.ignored:
        print(f"ignored columns: {', '.join(reading.ignored)}", file=sys.stderr)
    return reading.judgements


def _run_aggregate(options: argparse.Namespace) -> None:
    if options.out.is_dir() or options.out.resolve() in [path.resolve() for path in options.raw]:
        raise BuildError(f"--out {options.out} is a folder or one of the raw files: name another file")
    judgements = _read_and_tell(options)
    records = aggregate(judgements)
    _write_lines(records, options.out)
    people = Counter(judgement.annotator for judgement in judgements)
    alone = sum(len(record["annotators"]) == 1 for record in records)
    print(f"{options.out}: {len(records)} items from {len(judgements)} judgements, {alone} judged by one annotator")
    print("judgements: " + ", ".join(f"{name} {people[name]}" for name in sorted(people)))


def _run_agreement(options: argparse.Namespace) -> None:
    if options.out.exists() and not options.out.is_dir():
        raise BuildError(f"--out {options.out} is a file: name a folder")
    judgements = _read_and_tell(options)
    if options.items:
        pilot = _read_items(options.items, judgements)
        judgements = [judgement for judgement in judgements if judgement.item in pilot]
    matrix, _, annotators = judgement_matrix(judgements)
    report = agreement_report(matrix, annotators, options.bootstrap, options.seed)
    print(write_agreement(report, options.out), end="")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m datasets_scripts.annotations", description=__doc__.splitlines()[1]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--raw", type=Path, nargs="+", required=True, metavar="FILE", help="judgements, CSV or JSONL")
    common.add_argument(
        "--on-error", choices=("stop", "skip"), default="stop", help="bad judgements (default: %(default)s)"
    )
    one = commands.add_parser("aggregate", parents=[common], help="one probability an item, as JSONL")
    one.add_argument("--out", type=Path, required=True, metavar="FILE", help="the JSONL file; it is replaced")
    two = commands.add_parser("agreement", parents=[common], help="how far annotators agree, as tables and figures")
    two.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder for the report")
    two.add_argument("--items", type=Path, metavar="FILE", help="only these items, one a line (default: all)")
    two.add_argument("--bootstrap", type=positive, default=2000, help="resamples (default: %(default)s)")
    two.add_argument("--seed", type=seed, default=0, help="default: %(default)s")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    options = parse_arguments(arguments)
    try:
        _run_aggregate(options) if options.command == "aggregate" else _run_agreement(options)
    except BuildError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
