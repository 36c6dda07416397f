"""
UNLI (Chen et al., 2020): human probabilities for premise-hypothesis pairs of SNLI, from its published CSV files.

Columns: id, pre (premise), hyp (hypothesis), nli (0 contradiction, 1 neutral, 2 entailment), unli (probability).
"""

import csv
from pathlib import Path

import numpy as np

from datasets_scripts.schema import BuildError


COLUMNS = ("id", "pre", "hyp", "nli", "unli")
PUBLISHED_FILES = {"train": "train.csv", "validation": "dev.csv", "test": "test.csv"}
DEV_SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
# A neutral hypothesis is neither true nor false.
LABELS = {"0": 0, "1": None, "2": 1}
MOST_COMPLAINTS = 20


def unli_splits(raw: Path, seed: int) -> dict[str, list[dict]]:
    """
    The rows of UNLI: the published splits where all three files are there, else a split of the development set.

    Args:
        raw (`Path`): A folder with `dev.csv`, or with `train.csv`, `dev.csv` and `test.csv`.
        seed (`int`): Shuffles the premises before the development set is split.

    Returns:
        `dict[str, list[dict]]`: the rows of each split.

    Raises:
        `BuildError`: if files are missing or hold bad rows; the message names them.
    """
    there = {split for split, file in PUBLISHED_FILES.items() if (raw / file).is_file()}
    if there == set(PUBLISHED_FILES):
        return {split: read_rows(raw / file) for split, file in PUBLISHED_FILES.items()}
    if there == {"validation"}:
        return split_by_premise(read_rows(raw / "dev.csv"), seed)
    found = sorted(PUBLISHED_FILES[split] for split in there) or "none of them"
    raise BuildError(f"--raw {raw} must hold dev.csv alone or train.csv, dev.csv and test.csv: found {found}")


def read_rows(path: Path) -> list[dict]:
    """
    Reads one CSV file of UNLI.

    Args:
        path (`Path`): The file.

    Returns:
        `list[dict]`: one row of the schema for each row of the file, in its order.

    Raises:
        `BuildError`: if it can't be read, columns are missing, or rows are doubled, empty or out of range; all by
            their number, the header being row 1.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = set(COLUMNS) - set(reader.fieldnames or ())
            if missing:
                raise BuildError(f"{path} lacks the columns {sorted(missing)}: it has {reader.fieldnames or 'none'}")
            records = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise BuildError(f"{path} is no CSV file in UTF-8: {error}") from error
    rows, complaints, pairs, ids = [], [], {}, {}
    for number, record in enumerate(records, start=2):
        texts = {name: " ".join((record[name] or "").split()) for name in COLUMNS}
        # Under `None` are fields that have no column: a comma too many, such as one that is not quoted.
        surplus = ["more fields than columns"] if None in record else []
        complaints += [f"row {number}: {complaint}" for complaint in surplus + _complaints(texts)]
        for kind, key, seen in (("pair", (texts["pre"], texts["hyp"]), pairs), ("id", texts["id"], ids)):
            if seen.setdefault(key, number) != number:
                complaints.append(f"row {number}: the same {kind} as row {seen[key]}")
        if not complaints:
            rows.append(_row(path.stem, texts))
    if complaints:
        more = len(complaints) - MOST_COMPLAINTS
        listed = complaints[:MOST_COMPLAINTS] + ([f"and {more} more"] if more > 0 else [])
        raise BuildError("\n  ".join([f"{path} has bad rows, correct or remove them:", *listed]))
    return rows


def split_by_premise(rows: list[dict], seed: int) -> dict[str, list[dict]]:
    """
    Splits rows 80/10/10 by premise: all hypotheses about a premise fall into one split.

    Args:
        rows (`list[dict]`): Rows of the schema, in any order.
        seed (`int`): Shuffles the premises.

    Returns:
        `dict[str, list[dict]]`: the rows of each split, premise by premise in shuffled order.
    """
    by_premise = {}
    for row in rows:
        by_premise.setdefault(row["premise"], []).append(row)
    premises = list(by_premise)
    order = np.random.default_rng(seed).permutation(len(premises))
    ends = np.rint(np.cumsum(list(DEV_SHARES.values())) * len(premises)).astype(int)
    parts = zip(DEV_SHARES, np.split(order, ends[:-1]), strict=True)
    return {split: [row for k in part for row in by_premise[premises[k]]] for split, part in parts}


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
    return {
        "id": f"unli-{file}-{texts['id']}",
        "source": "unli",
        "modality": "text",
        "premise": texts["pre"],
        "audio": None,
        "video": None,
        "hypothesis": texts["hyp"],
        "probability": float(texts["unli"]),
        "label": LABELS[texts["nli"]],
        "probability_source": "human",
        # Published is the mean of the judgments, not the judgments.
        "human_probabilities": None,
        "teacher_probabilities": None,
        "evidence": ["text"],
        "topic": None,
        "context": None,
    }
