"""Rows of a UMUI dataset for evaluation, the premises they share, and digests that tell one set from another."""

import hashlib
from collections import Counter
from functools import cache
from pathlib import Path

from datasets import Dataset

from datasets_scripts.digests import digest, file_digest
from datasets_scripts.load import load_split


def load_rows(dataset: str, config: str, split: str) -> Dataset:
    """
    Loads one split with its media undecoded, as `{"bytes", "path"}`.

    Args:
        dataset (`str`): A UMUI folder, or its name on the Hub.
        config (`str`): Name of the configuration, `"urn-audio"`.
        split (`str`): Name of the split, `"test"`.

    Returns:
        `datasets.Dataset`: the rows, premise-hypothesis pairs.

    Raises:
        `FileNotFoundError`: if `dataset` is neither a folder nor looks like a name on the Hub.
        `ValueError`: if there is no such configuration or split, ids repeat or a row has no probability to
            compare with.
    """
    rows = load_split(dataset, config, split)
    ids = rows["id"][:]
    if len(set(ids)) < len(ids):
        repeated = [name for name, count in Counter(ids).most_common(5) if count > 1]
        raise ValueError(f"Ids of {dataset} {config} {split} must be unique; repeated: {', '.join(repeated)}.")
    untold = [name for name, probability in zip(ids, rows["probability"][:], strict=True) if probability is None]
    if untold:
        raise ValueError(
            f"{len(untold)} rows of {dataset} {config} {split} have no probability to evaluate against, "
            f"the first of them {untold[0]}. Filter them out of the split."
        )
    return rows


def premise_keys(rows: Dataset) -> list[str]:
    """
    Names the premise of each row, so that rows with equal names share a premise.

    Args:
        rows (`datasets.Dataset`): Rows as `load_rows` gives them.

    Returns:
        `list[str]`: one name for each row, a digest of its modality, its text and the content of its file: the same
        wherever the dataset lies, another when a clip is rendered anew.
    """
    columns = [column for column in ("modality", "premise", "audio", "video") if column in rows.features]
    return [digest([_identity(row[column]) for column in columns]) for row in rows.select_columns(columns)]


def hold_out_premises(rows: Dataset) -> tuple[Dataset, Dataset]:
    """
    Sets a tenth of the premises aside, at least one and the same ones each time.

    Args:
        rows (`datasets.Dataset`): Rows as `load_rows` gives them, about two premises or more.

    Returns:
        `tuple[datasets.Dataset, datasets.Dataset]`: the rows about nine tenths of the premises, and the others.

    Raises:
        `ValueError`: if there is only one premise.
    """
    keys = premise_keys(rows)
    # In the order of their hashes, which has nothing to do with what they are.
    premises = sorted(set(keys), key=digest)
    if len(premises) < 2:
        raise ValueError("The training split is about one premise: none can be held out. Add a validation split.")
    held_out = set(premises[: max(1, len(premises) // 10)])
    aside = [key in held_out for key in keys]
    return tuple(rows.select([k for k, out in enumerate(aside) if out == wanted]) for wanted in (False, True))


def rows_digest(rows: Dataset, keys: list[str]) -> str:
    """A digest of all that is asked and compared: ids, premises by their `keys`, hypotheses and probabilities."""
    return digest([rows["id"][:], keys, rows["hypothesis"][:], rows["probability"][:]])


@cache
def _file_digest(path: str, changed: int) -> str:
    # Many rows share a file: it is read once, until it changes.
    return file_digest(path)


def _identity(value: str | dict | None) -> str | None:
    if not isinstance(value, dict):
        return value
    if value["bytes"] is not None:
        return hashlib.sha256(value["bytes"]).hexdigest()
    return _file_digest(value["path"], Path(value["path"]).stat().st_mtime_ns)
