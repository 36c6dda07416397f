"""What several people said of items, and what a teacher answered about each of them."""

import math
from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from common.files import read_objects
from datasets_scripts.schema import is_probability, one_form
from datasets_scripts.teachers.answer_files import Answers


@dataclass(frozen=True)
class Item:
    """What people said of an item: their judgements, of which claim, and by which video, where that is told."""

    probabilities: list[float]
    claim: str | None
    video: str | None

    @property
    def mean(self) -> float:
        """Returns the mean of the judgements."""
        return math.fsum(self.probabilities) / len(self.probabilities)


def read_people(path: Path) -> dict[str, Item]:
    """Reads aggregated judgements, as `datasets_scripts.annotations aggregate` writes them; names all bad lines."""
    people: dict[str, Item] = {}
    lines: dict[str, int] = {}
    complaints = []
    try:
        for number, record in read_objects(path):
            if isinstance(record, str):
                complaints.append(f"line {number}: {record}")
                continue
            item, values = record.get("item"), record.get("human_probabilities")
            if not isinstance(item, str) or not isinstance(values, list) or not all(map(is_probability, values)):
                complaints.append(f"line {number}: item must be a string, human_probabilities numbers from 0 to 1")
            elif not isinstance(record.get("claim"), (str, type(None))):
                complaints.append(f"line {number}: claim must be a string, got {record['claim']!r:.80}")
            elif lines.setdefault(item, number) != number:
                complaints.append(f"line {number}: item {item!r} was there before, in line {lines[item]}")
            else:
                people[item] = Item(values, record.get("claim"), record.get("video"))
    except OSError as error:
        raise InputError(f"--judgements {path} can't be read: {error}") from error
    if complaints:
        raise InputError("\n  ".join([f"--judgements {path} has {len(complaints)} bad lines:", *complaints]))
    return people


def judged_by_two(path: Path) -> tuple[dict[str, Item], int]:
    """
    Reads the items that at least two people judged, against which teachers are measured; and counts all items.

    Raises:
        `InputError`: if the file can't be read, or there are no such items.
    """
    judged = read_people(path)
    people = {name: item for name, item in judged.items() if len(item.probabilities) >= 2}
    if not people:
        raise InputError(f"--judgements {path}: none of {len(judged)} items was judged by two people")
    return people, len(judged)


def premise_of(item: str, video: str | None) -> str:
    """Names an item's premise: its video, or, where none is told, the item alone."""
    return f"item {item}" if video is None else f"video {video}"


def match(answers: list[Answers], people: dict[str, Item], name: str) -> dict[str, Answers]:
    """
    Finds a teacher's answers about each item that it was asked about, in the order of the judgements.

    Raises:
        `InputError`: if an item is that of two pairs, or of one with another hypothesis, or none has answers.
    """
    found: dict[str, Answers] = {}
    others: dict[str, Answers] = {}
    for pair in answers:
        if pair.id not in people:
            continue
        if not _same(pair.hypothesis, people[pair.id].claim):
            others[pair.id] = pair
        elif found.setdefault(pair.id, pair) is not pair:
            raise InputError(
                f"--answers {name}: item {pair.id!r} is answered in {found[pair.id].place} and, for another config, "
                f"split or clip, in {pair.place}: leave one of them out"
            )
    for item in others.keys() - found.keys():
        raise InputError(
            f"--answers {name}: {others[item].place} is about {others[item].hypothesis!r}, but people judged "
            f"{people[item].claim!r} as item {item!r}: ask the teacher about the build that they judged"
        )
    if not found:
        raise InputError(
            f"--answers {name}: no answered pair is an item of --judgements: the ids are such as "
            f"{answers[0].id!r}, the items such as {next(iter(people), None)!r}"
        )
    return {item: found[item] for item in people if item in found}


def _same(hypothesis: str | None, claim: str | None) -> bool:
    """Compares two texts, as far as they are told: judgements come without doubled blanks."""
    texts = {one_form(text) for text in (hypothesis, claim) if text is not None}
    return len(texts) < 2
