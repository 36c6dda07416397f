"""
How good teachers are on items that several people judged (tables 1 and 5 of the paper).

```
python -m datasets_scripts.teacher quality --answers vl=answers-vl omni=answers-omni.jsonl \
    --judgements judgements.jsonl --out quality
```

`--judgements` is what `datasets_scripts.annotations aggregate` writes; a pair's answers belong to the item that its id
names, and its hypothesis must be the item's claim, where both are told. Only items that at least two people judged
count, against the mean of what these said.

Every teacher has a row for each way to vote: `1`, its first answer alone; `N-majority` and `N-mean`, as
`answers.summarise` defines them, N being the number of answers to a pair in the file. An item is
missing from a row if its answers give no vote there (the first can't be read, or none can): that is a number of its
own, and never the probability 0. The measures of a row are taken over the other items:

- accuracy: the share of items on which vote and people are on the same side of 0.5, a vote of 0.5 being "true". Items
  on which people's mean is exactly 0.5 have no side and are left out of it; their number is given.
- MSE: the mean of (vote - people's mean)^2.
- alpha: Krippendorff's, for interval data, of two coders: the teacher, whose values are the votes, and the people,
  whose values are the means.

Intervals are 95% percentile bootstrap intervals over items. The paper's own numbers stand beside them for reference.
"""

import argparse
import json
import math
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets_scripts.arguments import positive, seed
from datasets_scripts.judgements.agreement import CONFIDENCE, histogram
from datasets_scripts.schema import BuildError
from datasets_scripts.teachers.answer_files import Answers, read_answers
from datasets_scripts.teachers.measures import measure, votes_of
from datasets_scripts.teachers.tables import write_report


@dataclass(frozen=True)
class Item:
    """
    What people said of an item.

    Args:
        probabilities (`list[float]`): Their judgements.
        claim (`str`, *optional*): What they judged.
        video (`str`, *optional*): By what.
    """

    probabilities: list[float]
    claim: str | None
    video: str | None

    @property
    def mean(self) -> float:
        """The mean of the judgements."""
        return math.fsum(self.probabilities) / len(self.probabilities)


def read_people(path: Path) -> dict[str, Item]:
    """
    Reads aggregated judgements.

    Args:
        path (`Path`): JSONL, as `datasets_scripts.annotations aggregate` writes it.

    Returns:
        `dict[str, Item]`: the items by name.

    Raises:
        `BuildError`: if it can't be read; bad lines are all named.
    """
    people: dict[str, Item] = {}
    lines: dict[str, int] = {}
    complaints = []
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                    item, values = record["item"], record["human_probabilities"]
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    complaints.append(f"line {number}: no object with item and human_probabilities: {error!r}")
                    continue
                if not isinstance(item, str) or not isinstance(values, list) or not all(map(_is_probability, values)):
                    complaints.append(f"line {number}: item must be a string, human_probabilities numbers from 0 to 1")
                elif not isinstance(record.get("claim"), (str, type(None))):
                    complaints.append(f"line {number}: claim must be a string, got {record['claim']!r:.80}")
                elif lines.setdefault(item, number) != number:
                    complaints.append(f"line {number}: item {item!r} was there before, in line {lines[item]}")
                else:
                    people[item] = Item(values, record.get("claim"), record.get("video"))
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError(f"--judgements {path} can't be read: {error}") from error
    if complaints:
        raise BuildError("\n  ".join([f"--judgements {path} has {len(complaints)} bad lines:", *complaints]))
    return people


def match(answers: list[Answers], people: dict[str, Item], name: str) -> dict[str, Answers]:
    """
    Finds the answers about each item.

    Args:
        answers (`list[Answers]`): A teacher's answers.
        people (`dict[str, Item]`): What the people judged.
        name (`str`): The teacher's, for errors.

    Returns:
        `dict[str, Answers]`: answers by item, in the order of the judgements, for the items it was asked about.

    Raises:
        `BuildError`: if an item is that of two pairs, or of one with another hypothesis, or none has answers.
    """
    found: dict[str, Answers] = {}
    others: dict[str, Answers] = {}
    for pair in answers:
        if pair.id not in people:
            continue
        if not _same(pair.hypothesis, people[pair.id].claim):
            others[pair.id] = pair
        elif found.setdefault(pair.id, pair) is not pair:
            raise BuildError(
                f"--answers {name}: item {pair.id!r} is answered in {found[pair.id].place} and, for another config, "
                f"split or clip, in {pair.place}: leave one of them out"
            )
    for item in others.keys() - found.keys():
        raise BuildError(
            f"--answers {name}: {others[item].place} is about {others[item].hypothesis!r}, but people judged "
            f"{people[item].claim!r} as item {item!r}: ask the teacher about the build that they judged"
        )
    if not found:
        raise BuildError(
            f"--answers {name}: no answered pair is an item of --judgements: the ids are such as "
            f"{answers[0].id!r}, the items such as {next(iter(people), None)!r}"
        )
    return {item: found[item] for item in people if item in found}


def _same(hypothesis: str | None, claim: str | None) -> bool:
    """Whether both are one text, as far as they are told: judgements come without doubled blanks."""
    texts = {" ".join(unicodedata.normalize("NFC", text).split()) for text in (hypothesis, claim) if text is not None}
    return len(texts) < 2


def report_on(answers: dict[str, Path], judgements: Path, resamples: int, random_seed: int) -> dict:
    """
    Measures all teachers.

    Args:
        answers (`dict[str, Path]`): Files or folders of answers by the teacher's name.
        judgements (`Path`): Aggregated judgements.
        resamples (`int`): Bootstrap resamples.
        random_seed (`int`): Their seed.

    Returns:
        `dict`: `items` (`judged`, `judged_by_two`), `teachers` (of each: `items`, `not_asked`, `asked_beside`,
        `fewest_answers`, `most_answers`, `unreadable_answers`), `rows` (`list[Row]`), `distributions` (of people's
        and of each teacher's single answers: `name`, `n`, `histogram`), `resamples`, `seed`, `confidence`.

    Raises:
        `BuildError`: if a file is no good, or there are no items to measure on.
    """
    judged = read_people(judgements)
    people = {name: item for name, item in judged.items() if len(item.probabilities) >= 2}
    if not people:
        raise BuildError(f"--judgements {judgements}: none of {len(judged)} items was judged by two people")
    teachers, rows = {}, []
    distributions = [_distribution("people", [value for item in people.values() for value in item.probabilities])]
    for name, path in answers.items():
        read = read_answers(path)
        found = match(read, people, name)
        given = [pair.parsed for pair in found.values()]
        targets = np.array([people[item].mean for item in found])
        teachers[name] = {
            "items": len(found),
            "not_asked": len(people) - len(found),
            "asked_beside": len(read) - len(found),
            "fewest_answers": min(map(len, given)),
            "most_answers": max(map(len, given)),
            "unreadable_answers": sum(answer.probability is None for one in given for answer in one),
        }
        numbers = [answer.probability for one in given for answer in one if answer.probability is not None]
        distributions.append(_distribution(name, numbers))
        for votes, values in votes_of(given).items():
            rows.append(measure(name, votes, values, targets, resamples, random_seed))
    return {
        "items": {"judged": len(judged), "judged_by_two": len(people)},
        "teachers": teachers,
        "rows": rows,
        "distributions": distributions,
        "resamples": resamples,
        "seed": random_seed,
        "confidence": CONFIDENCE,
    }


def _distribution(name: str, probabilities: list[float]) -> dict:
    counts = histogram(np.array(probabilities, float))
    return {"name": name, "n": len(probabilities), "histogram": counts.tolist()}


def _is_probability(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _named_file(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not name or not equals or not path:
        raise argparse.ArgumentTypeError(f"must be NAME=FILE, got {text!r}")
    return name, Path(path)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m datasets_scripts.teacher quality", description=__doc__.splitlines()[1]
    )
    parser.add_argument(
        "--answers", type=_named_file, nargs="+", required=True, metavar="NAME=FILE", help="a teacher's answers"
    )
    parser.add_argument("--judgements", type=Path, required=True, metavar="FILE", help="aggregated judgements")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder for the report")
    parser.add_argument("--bootstrap", type=positive, default=2000, help="resamples (default: %(default)s)")
    parser.add_argument("--seed", type=seed, default=0, help="default: %(default)s")
    options = parser.parse_args(arguments)
    if len({name for name, _ in options.answers}) < len(options.answers):
        parser.error("--answers: two teachers have the same name")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    options = parse_arguments(arguments)
    try:
        if options.out.exists() and not options.out.is_dir():
            raise BuildError(f"--out {options.out} is a file: name a folder")
        report = report_on(dict(options.answers), options.judgements, options.bootstrap, options.seed)
        print(write_report(report, options.out), end="")
    except BuildError as error:
        sys.exit(f"error: {error}")
