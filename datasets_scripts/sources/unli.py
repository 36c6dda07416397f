"""
UNLI (Chen et al., 2020): human probabilities for premise-hypothesis pairs of SNLI, from its published CSV files.

Columns: id, pre (premise), hyp (hypothesis), nli (0 contradiction, 1 neutral, 2 entailment), unli (probability).
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common.errors import InputError
from datasets_scripts.building.drafts import Draft, Problem, new_row
from datasets_scripts.schema import name_of, one_form
from datasets_scripts.tables import read_table


DESCRIPTION = "human probabilities for text, from the published CSVs"
COLUMNS = ("id", "pre", "hyp", "nli", "unli")
PUBLISHED_FILES = {"train": "train.csv", "validation": "dev.csv", "test": "test.csv"}
DEV_SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
# A neutral hypothesis is neither true nor false.
LABELS = {"0": 0, "1": None, "2": 1}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this source."""
    parser.add_argument("--raw", type=Path, required=True, help="the folder with dev.csv, or with all three files")


def configs(options: argparse.Namespace) -> dict[str, dict[str, Iterator[Draft | Problem]]]:
    """
    The config `unli`: the published splits where all three files are there, else a split of the development set.

    Args:
        options (`argparse.Namespace`): `raw`, a folder with `dev.csv`, or with `train.csv`, `dev.csv` and `test.csv`;
            and `seed`, which shuffles the premises before the development set is split.

    Returns:
        `dict[str, dict[str, Iterator[Draft | Problem]]]`: the drafts of each split.

    Raises:
        `InputError`: if files or columns are missing; the message names them.
    """
    raw = options.raw
    there = {split for split, file in PUBLISHED_FILES.items() if (raw / file).is_file()}
    if there == set(PUBLISHED_FILES):
        return {"unli": {split: read_rows(raw / file) for split, file in PUBLISHED_FILES.items()}}
    if there == {"validation"}:
        return {"unli": split_by_premise(list(read_rows(raw / "dev.csv")), options.seed)}
    found = sorted(PUBLISHED_FILES[split] for split in there) or "none of them"
    raise InputError(f"--raw {raw} must hold dev.csv alone or train.csv, dev.csv and test.csv: found {found}")


def read_rows(path: Path) -> Iterator[Draft | Problem]:
    """
    Reads one CSV file of UNLI, row by row.

    Args:
        path (`Path`): The file.

    Returns:
        `Iterator[Draft | Problem]`: one for each row of the file, in its order; the header is row 1.

    Raises:
        `InputError`: if it can't be read, or columns are missing.
    """
    for record in read_table(path, COLUMNS, lambda values: not _complaints(_texts(values))):
        if isinstance(record, Problem):
            yield record
            continue
        texts = _texts(record.values)
        if complaints := _complaints(texts):
            yield Problem(record.place, "row", "; ".join(complaints))
        else:
            yield Draft(record.place, _row(path.stem, texts))


def split_by_premise(drafts: list[Draft | Problem], seed: int) -> dict[str, list[Draft | Problem]]:
    """
    Splits rows 80/10/10 by premise: all hypotheses about a premise fall into one split.

    Args:
        drafts (`list[Draft | Problem]`): In any order; problems go to the training split, where they are reported.
        seed (`int`): Shuffles the premises.

    Returns:
        `dict[str, list[Draft | Problem]]`: the drafts of each split, premise by premise in shuffled order.
    """
    problems = [draft for draft in drafts if isinstance(draft, Problem)]
    by_premise = {}
    for draft in drafts:
        if isinstance(draft, Draft):
            by_premise.setdefault(draft.row["premise"], []).append(draft)
    premises = list(by_premise)
    order = np.random.default_rng(seed).permutation(len(premises))
    ends = np.rint(np.cumsum(list(DEV_SHARES.values())) * len(premises)).astype(int)
    parts = zip(DEV_SHARES, np.split(order, ends[:-1]), strict=True)
    splits = {split: [draft for k in part for draft in by_premise[premises[k]]] for split, part in parts}
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


def _row(file: str, texts: dict[str, str]) -> dict:
    # Published is the mean of the judgments, not the judgments: `human_probabilities` stays empty.
    return new_row(
        id=f"unli-{file}-{texts['id']}",
        source="unli",
        modality="text",
        premise=texts["pre"],
        hypothesis=texts["hyp"],
        probability=float(texts["unli"]),
        label=LABELS[texts["nli"]],
        probability_source="human",
        evidence=["text"],
    )
