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
from common.cli import ArgumentParser, exit_on_error, positive_int, seed
from common.digests import digest
from common.errors import InputError
from common.files import replacing
from datasets_scripts.building.drafts import Draft
from datasets_scripts.building.folder import check_free
from datasets_scripts.building.ratio import parse_ratio
from datasets_scripts.building.writer import write_config
from datasets_scripts.load import load_split
from datasets_scripts.releasing.summary import summarise_config
from datasets_scripts.schema import MEDIA_COLUMNS, PART_CLIPS, SPLITS
from datasets_scripts.teachers.answer_files import RECORD, Answers, by_question, read_answers


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
    """Says how answers become a probability."""

    vote: str = "mean"  # or "majority", as `summarise` gives them
    min_valid: int = 3  # answers with a probability that a vote needs
    # Leave out a row whose vote is on the other side of 0.5 than its label; exactly 0.5 is on neither side.
    drop_disagreeing: bool = False
    overwrite: bool = False  # replace an earlier teacher's probability


@dataclass(frozen=True)
class Outcome:
    """Says what became of a row."""

    row: dict  # changed if it was labelled
    kind: str  # one of `OUTCOMES`; a row that was dropped is not to be written
    answers: Answers | None = None
    vote: float | None = None  # where the answers are enough


def apply_answers(
    asked: Iterable[tuple[str, dict]], answers: Mapping[str, Answers], rules: Rules
) -> Iterator[Outcome]:
    """Votes on rows, each with the question that it asks, by the answers to it; yields an outcome each, in order."""
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
    # What was known of the premise and its beginnings is not the teacher's view of them.
    changed |= {"teacher_distribution": None, "prefixes": []}
    return Outcome(row | changed, LABELLED, answers, vote)


class UnlabelledReport:
    """Lists in a CSV file the rows that should have got a vote and have none; counts what became of all rows."""

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
        shown = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common())
        valid = len(outcome.answers.valid) if outcome.answers else 0
        row = outcome.row
        self._writer.writerow([split, row["id"], outcome.kind, valid, len(parsed), outcome.vote, row["label"], shown])

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _drafts(
    dataset: Path,
    config: str,
    split: str,
    answers: Mapping[str, Answers],
    rules: Rules | None,
    report: UnlabelledReport,
) -> Callable[[Path], Iterator[Draft]]:
    """Returns what `write_config` reads a split by; without rules rows are taken over."""

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
                f"not one row of {config}, {split} can be labelled: {_words(counts)}. Rows that were edited, or whose "
                "clips were, have to be asked about anew: python -m datasets_scripts.teacher ask"
            )

    return read


def _own_media(row: dict, old: Path, new: Path) -> dict:
    """Returns the row with its clips in the new split: the same files under second names, so they take no space."""
    media = {column: row[column] and _linked(row[column], row, old, new) for column in MEDIA_COLUMNS}
    return row | media | {PART_CLIPS: [_linked(clip, row, old, new) for clip in row[PART_CLIPS]]}


def _linked(clip: dict, row: dict, old: Path, new: Path) -> str:
    file = Path(clip["path"])
    if file.resolve().parent != (old / "media").resolve():
        raise InputError(f"row {row['id']}: the clip {file} is not in {old / 'media'}: build the config anew")
    linked = new / "media" / file.name
    if not (linked.exists() and linked.samefile(file)):
        linked.unlink(missing_ok=True)
        os.link(file, linked)
    return f"media/{file.name}"


def _teacher(path: Path, settings: str | None) -> dict:
    """Returns what `datasets_scripts.teacher` noted beside the answers of how it asked; nothing where it has not."""
    file = path / RECORD
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


def _words(counts: Counter[str]) -> str:
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
    parser.add_argument(
        "--min-valid", type=positive_int, default=3, help="answers a vote needs (default: %(default)s)"
    )
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
    """Writes a config with the teacher's votes and tells what became of its rows."""
    dataset, config = options.dataset, options.dataset_config
    to = options.to or f"{config}-teacher"
    for name in (config, to):
        if not CONFIG_NAME.fullmatch(name):
            raise InputError(f"a config is called by letters, digits, dots, dashes and underscores, not {name!r}")
    if to == config:
        raise InputError(f"--to {to} is the config with the labels, which would be lost: name another")
    check_free(dataset, to, options.overwrite)
    answers = by_question(read_answers(options.answers))
    rules = Rules(options.vote, options.min_valid, options.drop_disagreeing, options.overwrite)
    teacher = _teacher(options.answers, next(iter(answers.values())).settings)
    old = summarise_config(dataset, config).build
    missing = [split for split in options.splits if split not in old["splits"]]
    if missing:
        raise InputError(f"{config} has no split {', '.join(missing)}: it has {', '.join(old['splits'])}")
    if options.ratio is not None and "train" not in old["splits"]:
        raise InputError(f"--ratio is for the training split, and {config} has none: leave it out")
    # The source stays: with it go licence and limits. How the labels came about is part of how the votes did.
    plan = {"source": old["source"], "config": config, "built_with": old["options"], "labelled_by": teacher}
    plan |= {name: vars(options)[name] for name in ("splits", "vote", "min_valid", "drop_disagreeing", "answers")}
    plan |= {"ratio": old["ratio"]} if options.ratio is None else {"seed": options.seed}
    with replacing(dataset / f"{to}.unlabelled.csv") as file, closing(UnlabelledReport(file)) as report:
        drafts = {
            split: _drafts(dataset, config, split, answers, rules if split in options.splits else None, report)
            for split in old["splits"]
        }
        write_config(dataset, to, drafts, plan, overwrite=options.overwrite, ratio=options.ratio, seed=options.seed)
    others = Counter((one.config, one.split) for name, one in answers.items() if name not in report.found)
    for (other, split), count in sorted(others.items()):
        print(f"not used: answers to {count} pairs of {other}, {split} that are in none of these rows")
    for split in options.splits:
        print(f"{to}, {split}: {_words(report.counts[split])}")
    listed = sum(sum(count.values()) - count[LABELLED] - count[NO_LABEL_NEEDED] for count in report.counts.values())
    if listed:
        print(f"{listed} rows that should have been labelled and were not: see {dataset / to}.unlabelled.csv")


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    with exit_on_error():
        run(parse_arguments(arguments))
