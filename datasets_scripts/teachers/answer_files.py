"""
Reads the answers of a teacher: a JSONL file, or a folder of shards (`.jsonl`, `.jsonl.gz`), a line a finished pair.

`{"id": ..., "config": ..., "split": ..., "question": ..., "hypothesis": ..., "settings": ..., "answers": [{"text":
..., "probability": ..., "reason": ...}, ...]}`, answers in the order in which they were asked for; `reason` says why
one has no probability. Further fields are not read.

What `id`, `config` and `split` name may have become another pair since. What was asked is told by `question`, the
digest of premise and prompt that `messages.question` gives for a row; `settings` is one of how it was asked. A file
that `datasets_scripts.teacher ask` did not write may lack these and `hypothesis`: it can be compared with people's
judgements of the same ids, but rows of a dataset need the question.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from chat.answers import Parsed
from common.errors import InputError
from common.files import read_objects
from datasets_scripts.schema import is_probability


# Beside answers: how they were asked for, so that those of different teachers are never mixed.
RECORD = "asked.json"
ENDINGS = (".jsonl", ".jsonl.gz")
MOST_COMPLAINTS = 20


@dataclass(frozen=True, slots=True)
class Answers:
    """Holds all answers to one pair."""

    file: Path
    line: int  # from 1
    # What the pair was called when it was asked about.
    id: str
    config: str
    split: str
    question: str | None  # the digest of what was asked
    hypothesis: str | None
    settings: str | None  # the digest of how it was asked
    parsed: tuple[Parsed, ...]  # in the order in which they were asked for

    @property
    def place(self) -> str:
        """Returns file and line, for messages."""
        return f"{self.file} line {self.line}"

    @property
    def valid(self) -> list[float]:
        """Returns the probabilities of the answers that have one, in their order."""
        return [answer.probability for answer in self.parsed if answer.probability is not None]


def read_answers(path: Path) -> list[Answers]:
    """
    Reads all pairs of a `.jsonl` or `.jsonl.gz` file, or of those in a folder, in the order of files and lines.

    Raises:
        `InputError`: if there is no such file, a line is bad (all are counted, the first ones named), a pair has more
            than one line, there is none, or they were asked for with different settings.
    """
    pairs: dict[object, Answers] = {}
    # A teacher gives few different answers: each is held in memory once.
    known: dict[Parsed, Parsed] = {}
    complaints = []
    for file in _files(path):
        for number, record in _records(file):
            if complaint := record if isinstance(record, str) else _complaint(record):
                complaints.append(f"{file} line {number}: {complaint}")
                continue
            parsed = tuple(Parsed(answer["probability"], answer.get("reason")) for answer in record["answers"])
            answers = Answers(
                file,
                number,
                **{name: record.get(name) for name in ("id", "question", "hypothesis")},
                **{name: record.get(name) and sys.intern(record[name]) for name in ("config", "split", "settings")},
                parsed=tuple(known.setdefault(one, one) for one in parsed),
            )
            key = (answers.config, answers.split, answers.id)
            first = pairs.setdefault(answers.question or key, answers)
            if first is not answers:
                complaints.append(f"{answers.place}: {key} was answered before, in {first.place}: remove one of them")
            before = next(iter(pairs.values()))
            if answers.settings != before.settings:
                complaints.append(
                    f"{answers.place}: was asked for with other settings than {before.place}, or one of them doesn't "
                    "tell its own: keep answers of different teachers apart"
                )
    if complaints:
        more = len(complaints) - MOST_COMPLAINTS
        listed = complaints[:MOST_COMPLAINTS] + ([f"and {more} more"] if more > 0 else [])
        raise InputError("\n  ".join([f"{path} has {len(complaints)} bad lines:", *listed]))
    if not pairs:
        raise InputError(f"{path} holds no answers: ask the teacher first, python -m datasets_scripts.teacher ask")
    return list(pairs.values())


def by_question(answers: list[Answers]) -> dict[str, Answers]:
    """
    Finds answers by what was asked, as rows of a dataset get them.

    Raises:
        `InputError`: if one of them doesn't tell what was asked.
    """
    for one in answers:
        if one.question is None:
            raise InputError(
                f"{one.place} doesn't say what was asked (question), so its row can't be known for certain: an id may "
                "have become another pair's. Ask the teacher anew: python -m datasets_scripts.teacher ask"
            )
    return {one.question: one for one in answers}


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.name.endswith(ENDINGS) and file.is_file())
        if not files:
            raise InputError(f"{path} holds no file that ends in {' or '.join(ENDINGS)}")
        return files
    if not path.is_file():
        raise InputError(f"there is no file or folder {path}")
    if not path.name.endswith(ENDINGS):
        raise InputError(f"{path} must end in {' or '.join(ENDINGS)}, or be a folder of such files")
    return [path]


def _records(file: Path) -> Iterator[tuple[int, dict | str]]:
    """Yields the objects of lines with their numbers, or what is wrong; last, why the file can't be read further."""
    number = 0
    try:
        for number, record in tqdm(read_objects(file), file.name, unit=" pairs", mininterval=0.5, disable=None):
            yield number, record
    except OSError as error:
        yield number + 1, f"can't be read: {error}"


def _complaint(record: dict) -> str | None:
    """Returns what is wrong with the record of a line."""
    for name in ("id", "config", "split"):
        if not isinstance(record.get(name), str) or not record[name]:
            return f"{name} must be a non-empty string, got {record.get(name)!r}"
    for name in ("question", "hypothesis", "settings"):
        if name in record and (not isinstance(record[name], str) or not record[name]):
            return f"{name} must be a non-empty string, got {record[name]!r}"
    answers = record.get("answers")
    if not isinstance(answers, list) or not answers:
        return f"answers must be a list with at least one answer, got {answers!r:.80}"
    for number, answer in enumerate(answers, start=1):
        if complaint := _answer_complaint(answer):
            return f"answer {number}: {complaint}"
    return None


def _answer_complaint(answer: object) -> str | None:
    if not isinstance(answer, dict) or "probability" not in answer:
        return f"must be an object with a probability, got {answer!r:.80}"
    probability, reason = answer["probability"], answer.get("reason")
    if probability is None:
        if not isinstance(reason, str) or not reason:
            return f"has neither a probability nor a reason why not, got {reason!r:.80}"
        return None
    if not is_probability(probability):
        return f"probability must be null or a number from 0 to 1, got {probability!r:.80}"
    if reason is not None:
        return f"has a probability and a reason why it has none: {reason!r:.80}"
    return None
