"""
Puts the vote of a teacher's answers in the place of labels (section 3.1 of the paper), as a new config.

```
python -m datasets_scripts.teacher label --dataset umui --dataset-config clotho --answers answers
python -m datasets_scripts.teacher label --dataset umui --dataset-config clotho --answers answers --vote majority \
    --drop-disagreeing --splits train validation --to clotho-majority
python -m datasets_scripts.teacher label --dataset umui --dataset-config wikivideo-video --answers answers \
    --ratio 1:2 --to wikivideo-video-1to2
```

Answers belong to what was asked, the premise (the content of a clip), hypothesis and prompt, whatever the row is
called now: one that was edited since has none. A row gets the vote if its split is one of `--splits`, its probability
only stands for a label (`probability_source` is "label") and at least `--min-valid` of its answers have a probability.
Then its `probability` is the vote, its `probability_source` "teacher" and its `teacher_probabilities` the answers that
have one, in their order; its `label` stays. All other rows stay as they are: probabilities of people and exact ones
always, those of an earlier teacher unless `--overwrite` is given. Rows that should have got a vote and didn't are
listed in `<dataset>/<to>.unlabelled.csv`, with the reasons.

The new config has the clips of the old one, stored once. With `--ratio` its training split is thinned to a ratio of
table 4, as `build --ratio` does it: a teacher is asked once about all pairs, for every ratio.
"""

import argparse
import csv
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from chat.answers import summarise
from chat.messages import questions
from common.cli import ArgumentParser, in_words, positive, seed
from common.digests import digest
from common.errors import InputError
from common.files import replacing
from datasets_scripts.building.drafts import Draft
from datasets_scripts.building.folder import check_free
from datasets_scripts.building.ratio import parse_ratio
from datasets_scripts.building.writer import MEDIA_COLUMNS, write_config
from datasets_scripts.load import load_split
from datasets_scripts.releasing.summary import summarise_config
from datasets_scripts.schema import SPLITS
from datasets_scripts.teachers.answer_files import Answers, by_question, read_answers


VOTES = ("mean", "majority")
# What becomes of a row. Nothing is told of single rows that are labelled or need no label.
LABELLED = "labelled"
NO_LABEL_NEEDED = "with a probability of their own"
TOO_FEW = "too few valid answers"
NOT_ANSWERED = "not answered"
DROPPED = "dropped: the teacher contradicts the label"
OUTCOMES = (LABELLED, NO_LABEL_NEEDED, TOO_FEW, NOT_ANSWERED, DROPPED)
REPORT_COLUMNS = ("split", "id", "outcome", "valid", "asked", "vote", "label", "reasons")
CONFIG_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Rules:
    """
    How answers become a probability.

    Args:
        vote (`str`, *optional*, defaults to `"mean"`): `"mean"` or `"majority"`, as [`summarise`] gives them.
        min_valid (`int`, *optional*, defaults to 3): How many answers with a probability a vote needs.
        drop_disagreeing (`bool`, *optional*, defaults to `False`): Whether a row is left out whose vote is on the
            other side of 0.5 than its label. A vote of exactly 0.5 is on neither side.
        overwrite (`bool`, *optional*, defaults to `False`): Whether an earlier teacher's probability is replaced.
    """

    vote: str = "mean"
    min_valid: int = 3
    drop_disagreeing: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Outcome:
    """
    What became of a row.

    Args:
        row (`dict`): The row, changed if it was labelled.
        kind (`str`): One of `OUTCOMES`. A row that was dropped is not to be written.
        answers (`Answers`, *optional*): The teacher's answers, where it has them.
        vote (`float`, *optional*): Their vote, where they are enough.
    """

    row: dict
    kind: str
    answers: Answers | None = None
    vote: float | None = None


def apply_answers(
    asked: Iterable[tuple[str, dict]], answers: Mapping[str, Answers], rules: Rules
) -> Iterator[Outcome]:
    """
    Votes on rows, one by one.

    Args:
        asked (`Iterable[tuple[str, dict]]`): Rows of the schema, each with the question that it asks.
        answers (`Mapping[str, Answers]`): The teacher's answers, by question.
        rules (`Rules`): How answers become a probability.

    Yields:
        `Outcome`: one for each row, in their order.
    """
    replaced = ("label", "teacher") if rules.overwrite else ("label",)
    for question, row in asked:
        found = answers.get(question)
        if row["probability_source"] not in replaced:
            yield Outcome(row, NO_LABEL_NEEDED, found)
        elif found is None:
            yield Outcome(row, NOT_ANSWERED)
        else:
            yield _vote(row, found, rules)


def _vote(row: dict, answers: Answers, rules: Rules) -> Outcome:
    summary = summarise(answers.parsed)
    if summary.valid < rules.min_valid:
        return Outcome(row, TOO_FEW, answers)
    vote = summary.mean if rules.vote == "mean" else summary.majority
    if rules.drop_disagreeing and row["label"] is not None and (vote - 0.5) * (row["label"] - 0.5) < 0:
        return Outcome(row, DROPPED, answers, vote)
    changed = {"probability": vote, "probability_source": "teacher", "teacher_probabilities": answers.valid}
    return Outcome(row | changed, LABELLED, answers, vote)


class UnlabelledReport:
    """
    Lists the rows that should have got a vote and have none, counts what became of all, and notes whose answers there
    were.

    Args:
        file (`Path`): The CSV file to write.
    """

    def __init__(self, file: Path):
        self.counts: dict[str, Counter[str]] = {}
        self.found: set[str] = set()
        self._file = file.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(REPORT_COLUMNS)

    def add(self, split: str, outcome: Outcome) -> None:
        """Counts a row, and lists it if need be."""
        self.counts.setdefault(split, Counter())[outcome.kind] += 1
        if outcome.answers:
            self.found.add(outcome.answers.question)
        if outcome.kind in (LABELLED, NO_LABEL_NEEDED):
            return
        parsed = outcome.answers.parsed if outcome.answers else ()
        # Reasons can be long and are sent by servers: in words, once each, with how often.
        reasons = Counter(answer.reason for answer in parsed if answer.reason is not None)
        told = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common())
        valid = len(outcome.answers.valid) if outcome.answers else 0
        row = outcome.row
        self._writer.writerow([split, row["id"], outcome.kind, valid, len(parsed), outcome.vote, row["label"], told])

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def check_target(dataset: Path, config: str, to: str, overwrite: bool) -> None:
    """
    Makes sure that `to` may be written, before any work is done.

    Raises:
        `InputError`: if it is no name, that of the config with the labels, or taken.
    """
    for name in (config, to):
        if not CONFIG_NAME.fullmatch(name):
            raise InputError(f"a config is called by letters, digits, dots, dashes and underscores, not {name!r}")
    if to == config:
        raise InputError(f"--to {to} is the config with the labels, which would be lost: name another")
    check_free(dataset, to, overwrite)


def label_config(
    dataset: Path,
    config: str,
    answers: Mapping[str, Answers],
    to: str,
    splits: Iterable[str],
    rules: Rules,
    plan: dict,
    ratio: float | None = None,
    seed: int = 0,
) -> UnlabelledReport:
    """
    Writes a config with the teacher's votes.

    Args:
        dataset (`Path`): The dataset folder.
        config (`str`): The config with the labels.
        answers (`Mapping[str, Answers]`): The teacher's answers by question.
        to (`str`): The name of the new config, good by [`check_target`].
        splits (`Iterable[str]`): The splits to label; the others are taken over as they are.
        rules (`Rules`): How answers become a probability.
        plan (`dict`): What else to note in the new config's `build.json`.
        ratio (`float`, *optional*): Negatives for each positive in the training split; all there are if not given.
        seed (`int`, *optional*, defaults to 0): Draws the negatives.

    Returns:
        `UnlabelledReport`: how many rows of each split had which of `OUTCOMES`, before any were thinned, and which
        questions they had answers to.

    Raises:
        `InputError`: if it can't be done as asked, or not one row of a split could be labelled.
    """
    old = summarise_config(dataset, config).build
    missing = [split for split in splits if split not in old["splits"]]
    if missing:
        raise InputError(f"{config} has no split {', '.join(missing)}: it has {', '.join(old['splits'])}")
    if ratio is not None and "train" not in old["splits"]:
        raise InputError(f"--ratio is for the training split, and {config} has none: leave it out")
    # The source stays: with it go licence and limits. How the labels came about is part of how the votes did.
    plan = {"source": old["source"], "config": config, "built_with": old["options"]} | plan
    if ratio is None:
        plan["ratio"] = old["ratio"]
    with replacing(dataset / f"{to}.unlabelled.csv") as file, closing(UnlabelledReport(file)) as report:
        drafts = {}
        for split in old["splits"]:
            drafts[split] = _drafts(dataset, config, split, answers, rules if split in splits else None, report)
        write_config(dataset, to, drafts, plan, overwrite=rules.overwrite, ratio=ratio, seed=seed)
    return report


def _drafts(
    dataset: Path,
    config: str,
    split: str,
    answers: Mapping[str, Answers],
    rules: Rules | None,
    report: UnlabelledReport,
) -> Callable[[Path], Iterator[Draft]]:
    """What `write_config` reads a split by; without rules rows are taken over."""

    def read(folder: Path) -> Iterator[Draft]:
        rows = load_split(str(dataset), config, split)
        old = dataset / config / split
        if rules is None:
            for number, row in enumerate(rows, start=1):
                yield Draft(f"{config}, {split}, row {number}", _own_media(row, old, folder))
            return
        for number, outcome in enumerate(apply_answers(questions(rows), answers, rules), start=1):
            report.add(split, outcome)
            if outcome.kind != DROPPED:
                yield Draft(f"{config}, {split}, row {number}", _own_media(outcome.row, old, folder))
        counts = report.counts[split]
        if not counts[LABELLED]:
            raise InputError(
                f"not one row of {config}, {split} can be labelled: {_told(counts)}. Rows that were edited, or whose "
                "clips were, have to be asked about anew: python -m datasets_scripts.teacher ask"
            )

    return read


def _own_media(row: dict, old: Path, new: Path) -> dict:
    """The row with its clip as a file of the new split: the same file under a second name, so it takes no space."""
    for column in MEDIA_COLUMNS:
        if row[column] is None:
            continue
        file = Path(row[column]["path"])
        if file.resolve().parent != (old / "media").resolve():
            raise InputError(f"row {row['id']}: the clip {file} is not in {old / 'media'}: build the config anew")
        row = row | {column: f"media/{file.name}"}
        linked = new / row[column]
        if not (linked.exists() and linked.samefile(file)):
            linked.unlink(missing_ok=True)
            os.link(file, linked)
    return row


def _teacher(path: Path, settings: str | None) -> dict:
    """What `datasets_scripts.teacher` noted beside the answers of how it asked; nothing where it has not."""
    file = path / "asked.json"
    if not file.is_file():
        return {}
    try:
        asked = json.loads(file.read_text(encoding="utf-8"))
        teacher = {name: asked[name] for name in ("model", "answers", "temperature", "seed")}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} can't be read, which says who was asked: {error!r}") from error
    if digest(asked) != settings:
        raise InputError(
            f"{file} doesn't tell how the answers beside it were asked for: put that of their --output-dir there"
        )
    # Of a local model only the name is kept, not where it lay.
    local = str(teacher["model"]).startswith(("/", ".", "~")) or Path(str(teacher["model"])).is_dir()
    return teacher | {"model": Path(teacher["model"]).name if local else teacher["model"]}


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[kind]} {kind}" for kind in OUTCOMES if counts[kind]) or "it has no rows"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ArgumentParser(prog="python -m datasets_scripts.teacher label", description=__doc__.splitlines()[1])
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset folder, e.g. umui")
    parser.add_argument("--dataset-config", required=True, help="the config whose labels are replaced, e.g. clotho")
    parser.add_argument("--answers", type=Path, required=True, help="a .jsonl(.gz) file, or a folder of them")
    parser.add_argument("--to", help="the new config (default: <config>-teacher)")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=["train"], help="default: train")
    parser.add_argument("--vote", choices=VOTES, default="mean", help="default: %(default)s")
    parser.add_argument("--min-valid", type=positive, default=3, help="answers a vote needs (default: %(default)s)")
    parser.add_argument(
        "--drop-disagreeing", action="store_true", help="leave out rows whose vote contradicts their label"
    )
    parser.add_argument(
        "--ratio",
        type=parse_ratio,
        default="full",
        help="positives to negatives in the training split: 1:0.5, 1:1, 1:2, 1:3, or full (default)",
    )
    parser.add_argument("--seed", type=seed, default=0, help="draws the negatives of --ratio (default: %(default)s)")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the config --to, and probabilities of an earlier teacher"
    )
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    """
    Labels a config and tells what became of its rows.

    Raises:
        `InputError`: if it can't be done as asked.
    """
    to = options.to or f"{options.dataset_config}-teacher"
    check_target(options.dataset, options.dataset_config, to, options.overwrite)
    answers = by_question(read_answers(options.answers))
    rules = Rules(options.vote, options.min_valid, options.drop_disagreeing, options.overwrite)
    names = ("splits", "vote", "min_valid", "drop_disagreeing", "answers")
    settings = next(iter(answers.values())).settings
    plan = {"labelled_by": _teacher(options.answers, settings), **{name: vars(options)[name] for name in names}}
    if options.ratio is not None:
        plan["seed"] = options.seed
    report = label_config(
        *(options.dataset, options.dataset_config, answers, to, options.splits, rules, plan),
        *(options.ratio, options.seed),
    )
    others = Counter((one.config, one.split) for name, one in answers.items() if name not in report.found)
    for (config, split), count in sorted(others.items()):
        print(f"not used: answers to {count} pairs of {config}, {split} that are in none of these rows")
    for split in options.splits:
        print(f"{to}, {split}: {_told(report.counts[split])}")
    listed = sum(sum(count.values()) - count[LABELLED] - count[NO_LABEL_NEEDED] for count in report.counts.values())
    if listed:
        print(f"{listed} rows that should have been labelled and were not: see {options.dataset / to}.unlabelled.csv")


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    with in_words():
        run(parse_arguments(arguments))
