"""Reads predictions that others have written to a file, and joins them to rows by premise and hypothesis.

The forms are those of the paper's authors: JSON lines as their scorer writes them, {prob, path, claim} of a clip and
{prob, sentence, claim} of a text; or JSON, {group: [{path, claim, answer}]}, in which an answer is a text that holds
the probability. Whatever else a record has, such as `probability` and `label` of the pair, is not looked at.
"""

import json
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from chat.answers import parse_answer
from common.cli import counted
from common.digests import digest
from common.errors import InputError
from common.files import read_objects
from datasets_scripts.schema import PART_CLIPS, is_probability, is_text, one_form
from datasets_scripts.sources.restore import stored_names
from evaluation.data import load_rows
from evaluation.predictors.choose import ChosenPredictor, register_predictor
from evaluation.predictors.prediction import Predictor, WrittenPrediction


NOT_THERE = "no prediction in the file"
# What a row is known by: its premise, as a text or by the name of its stored clip, and its hypothesis.
COLUMNS = ["premise", "audio", "video", PART_CLIPS, "hypothesis"]
Pair = tuple[str, str]


@register_predictor("recorded", model=False)
def recorded(args: Namespace, dataset: str) -> ChosenPredictor:
    """Chooses the predictions of a file about the rows of the split; prints how many join them."""
    if args.answers is None:
        raise ValueError("--predictor recorded needs --answers: the file with the predictions.")
    records = [read_record(place, record) for place, record in read_records(args.answers)]
    asked = {pair_of(row) for row in load_rows(dataset, args.dataset_config, args.split).select_columns(COLUMNS)}
    found: dict[Pair, Recorded] = {}
    joined = set()
    for record in records:
        for pair in record.pairs & asked:
            joined.add(record.place)
            first = found.setdefault(pair, record)
            if first.prediction.probability != record.prediction.probability:
                raise InputError(
                    f"--answers {args.answers}: {first.place} and {record.place} predict {pair[1]!r} twice"
                )
    where = f"{args.dataset_config} {args.split}"
    if not found:
        raise InputError(f"--answers {args.answers}: none of {counted(len(records), 'prediction')} is about {where}")
    print(
        f"{args.answers}: {len(joined):,} of {counted(len(records), 'prediction')} joined to {where}, "
        f"{len(asked) - len(found):,} of its {counted(len(asked), 'pair')} have none"
    )
    given = sorted([*pair, record.prediction.probability] for pair, record in found.items())
    return ChosenPredictor(
        f"recorded-{args.answers.resolve().stem}",
        {"predictor": "recorded", "model": None, "answers": str(args.answers), "answers_digest": digest(given)},
        lambda: RecordedPredictor({pair: record.prediction for pair, record in found.items()}),
    )


def pair_of(row: dict) -> Pair:
    """Returns what a row's prediction is found by."""
    clip = row["audio"] or row["video"] or next(iter(row[PART_CLIPS] or ()), None)
    premise = one_form(row["premise"]) if clip is None else PurePosixPath(clip["path"]).name
    return premise, one_form(row["hypothesis"])


@dataclass(frozen=True)
class Recorded:
    """A prediction, and the pairs that it may be about: the stored clip's name depends on the build."""

    place: str
    pairs: frozenset[Pair]
    prediction: WrittenPrediction


def read_records(file: Path) -> Iterator[tuple[str, object]]:
    """Yields the records of a file, each with its place; raises an `InputError` if it is of neither form."""
    try:
        if file.suffix == ".json":
            content = json.loads(file.read_text(encoding="utf-8-sig"))
            groups = content.items() if isinstance(content, dict) else [("", content)]
            for group, records in groups:
                if not isinstance(records, list):
                    raise InputError(f"--answers {file}, {group!r}: must be a list of predictions")
                yield from ((f"{file.name}, {group!r} item {number}", one) for number, one in enumerate(records, 1))
        else:
            yield from ((f"{file.name} line {number}", record) for number, record in read_objects(file))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"--answers {file} can't be read as JSON or JSON lines: {error}") from error


def read_record(place: str, record: object) -> Recorded:
    """Reads a prediction; raises an `InputError` that says what it lacks."""
    if not isinstance(record, dict):
        raise InputError(f"{place}: {record if isinstance(record, str) else 'is no JSON object'}")
    claim, sentence, path = (record.get(key) for key in ("claim", "sentence", "path"))
    if not is_text(claim) or not (is_text(sentence) or is_text(path)):
        raise InputError(f"{place}: needs a claim, and the path of a clip or a sentence as its premise")
    if is_text(path):
        clip = PurePosixPath(path.strip().replace("\\", "/"))
        premises = {clip.name, *stored_names(clip)}  # as a dataset calls it, or as it lay for others
    else:
        premises = {one_form(sentence)}
    pairs = frozenset((premise, one_form(claim)) for premise in premises)
    return Recorded(place, pairs, _prediction(place, record))


def _prediction(place: str, record: dict) -> WrittenPrediction:
    if is_probability(record.get("prob")):
        return WrittenPrediction(float(record["prob"]), f"{record['prob']}", None)
    if "prob" in record or not isinstance(record.get("answer"), str):
        given = record.get("prob", record.get("answer"))
        raise InputError(f"{place}: needs a prob in [0, 1], or an answer that is a text, got {given!r:.80}")
    parsed = parse_answer(record["answer"])
    return WrittenPrediction(parsed.probability, record["answer"], parsed.reason)


@dataclass
class RecordedPredictor(Predictor):
    """Looks up the prediction about each row."""

    found: dict[Pair, WrittenPrediction]

    def answer(self, prepared: list[dict]) -> list[WrittenPrediction]:
        return [self.found.get(pair_of(row)) or WrittenPrediction(None, "", NOT_THERE) for row in prepared]
