"""
UNLI (Chen et al., 2020): human probabilities for premise-hypothesis pairs of SNLI, from its published CSV files, or as
the same in JSONL.

Of CSV: id, pre (premise), hyp (hypothesis), nli (0 contradiction, 1 neutral, 2 entailment), unli (probability); of
JSONL: premise, hypothesis, label (probability).
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from common.errors import InputError
from datasets_scripts.building.drafts import Draft, Problem, new_row
from datasets_scripts.schema import SPLITS, is_probability, is_text, name_of, one_form
from datasets_scripts.sources.facts import Facts
from datasets_scripts.tables import read_table


DESCRIPTION = "human probabilities for text, from the published CSVs or as JSONL"
FACTS = Facts(
    title="UNLI",
    what="Premise-hypothesis pairs of SNLI (captions of photographs) with people's judgements on a sliding scale.",
    url="https://arxiv.org/abs/1909.03042",
    licences=("cc-by-sa-4.0",),
    terms="texts and judgements, derived from SNLI, which has the same licence",
    labels=(
        "The probability is the published one, a mean of several crowd workers; their single answers are not "
        "published. The label is SNLI's: entailment 1, contradiction 0, neutral none; rows from JSONL have none. Rows "
        "whose id begins with `unli-dev-` or `unli-validation-` are of UNLI's development set, in whatever split they "
        "are here."
    ),
    limits=(
        "UNLI's premises are one-line captions, and SNLI's known habits (words that give a contradiction away) "
        "come along."
    ),
    citation=(
        "Tongfei Chen, Zhengping Jiang, Adam Poliak, Keisuke Sakaguchi and Benjamin Van Durme (2020): Uncertain "
        "Natural Language Inference. ACL."
    ),
    extends="extended|snli",
    people="crowdsourced",
    configs=r"unli",
)

COLUMNS = ("id", "pre", "hyp", "nli", "unli")
KEYS = ("premise", "hypothesis", "label")
LAYOUTS = (
    {"train": "train.csv", "validation": "dev.csv", "test": "test.csv"},
    {split: f"{split}.jsonl" for split in SPLITS},
)
DEV_SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
# A neutral hypothesis is neither true nor false.
LABELS = {"0": 0, "1": None, "2": 1}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this source."""
    parser.add_argument(
        "--raw", type=Path, required=True, help="the folder with dev.csv, or with all three files, as CSV or JSONL"
    )


def configs(options: argparse.Namespace) -> dict[str, dict[str, Iterable[Draft | Problem]]]:
    """Returns the drafts of the published splits if all three files are there, else a split of the development set."""
    raw = options.raw
    there = {file for files in LAYOUTS for file in files.values() if (raw / file).is_file()}
    for files in LAYOUTS:
        if there == set(files.values()):
            return {"unli": {split: read_rows(raw / file) for split, file in files.items()}}
    if there == {"dev.csv"}:
        return {"unli": _split_by_premise(read_rows(raw / "dev.csv"), options.seed)}
    layouts = " or ".join(", ".join(files.values()) for files in LAYOUTS)
    found = sorted(there) or "none of them"
    raise InputError(f"--raw {raw} must hold dev.csv alone, or all of {layouts}, and no others: found {found}")


def read_rows(path: Path) -> Iterator[Draft | Problem]:
    """Yields a draft or a problem for each row of a file, in its order; the header of CSV is row 1."""
    if path.suffix == ".jsonl":
        yield from _read_jsonl(path)
        return
    for record in read_table(path, COLUMNS, lambda values: not _complaints(_texts(values))):
        if isinstance(record, Problem):
            yield record
            continue
        texts = _texts(record.values)
        if complaints := _complaints(texts):
            yield Problem(record.place, "row", "; ".join(complaints))
            continue
        name, probability, label = texts["id"], float(texts["unli"]), LABELS[texts["nli"]]
        yield Draft(record.place, _row(path, name, texts["pre"], texts["hyp"], probability, label))


def _read_jsonl(path: Path) -> Iterator[Draft | Problem]:
    for record in read_table(path, KEYS):
        if isinstance(record, Problem):
            yield record
            continue
        premise, hypothesis, probability = (record.values[key] for key in KEYS)
        found = [
            f"{key} must be a text, got {record.values[key]!r:.80}"
            for key in KEYS[:2]
            if not is_text(record.values[key])
        ]
        if not is_probability(probability):
            found.append(f"label must be a number in [0, 1], got {probability!r:.80}")
        if found:
            yield Problem(record.place, "row", "; ".join(found))
            continue
        texts = one_form(premise), one_form(hypothesis)
        yield Draft(record.place, _row(path, str(record.number), *texts, float(probability), None))


def _row(path: Path, name: str, premise: str, hypothesis: str, probability: float, label: int | None) -> dict:
    # Published is the mean of the judgements, not the judgements: `human_probabilities` stays empty.
    return new_row(
        id=f"unli-{path.stem}-{name}",
        source="unli",
        modality="text",
        premise=premise,
        hypothesis=hypothesis,
        probability=probability,
        label=label,
        probability_source="human",
        evidence=["text"],
    )


def _split_by_premise(drafts: Iterable[Draft | Problem], seed: int) -> dict[str, list[Draft | Problem]]:
    """Splits rows 80/10/10 in shuffled order, all of a premise into one split; problems go to the training split."""
    problems, by_premise = [], {}
    for draft in drafts:
        same = problems if isinstance(draft, Problem) else by_premise.setdefault(draft.row["premise"], [])
        same.append(draft)
    groups = list(by_premise.values())
    order = np.random.default_rng(seed).permutation(len(groups))
    ends = np.rint(np.cumsum(list(DEV_SHARES.values())) * len(groups)).astype(int)
    parts = zip(DEV_SHARES, np.split(order, ends[:-1]), strict=True)
    splits = {split: [draft for k in part for draft in groups[k]] for split, part in parts}
    return splits | {"train": problems + splits["train"]}


def _texts(values: dict[str, str]) -> dict[str, str]:
    texts = {name: one_form(text) for name, text in values.items()}
    return texts | {"nli": name_of(texts["nli"])}


def _complaints(texts: dict[str, str]) -> list[str]:
    found = [f"{name} is empty" for name in COLUMNS if not texts[name]]
    if texts["nli"] and texts["nli"] not in LABELS:
        found.append(f"nli must be one of {list(LABELS)}, got {texts['nli']!r}")
    if texts["unli"]:
        try:
            inside = 0 <= float(texts["unli"]) <= 1
        except ValueError:
            inside = False
        if not inside:
            found.append(f"unli must be a number in [0, 1], got {texts['unli']!r}")
    return found
