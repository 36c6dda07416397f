"""Loads rows of a UMUI dataset for evaluation, names the premises they share, and digests what tells sets apart."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from datasets import Dataset

from common.digests import clip_digest, digest
from datasets_scripts.load import load_split, read_build
from datasets_scripts.schema import PART_CLIPS, PREMISE_COLUMNS


def load_rows(dataset: str, config: str, split: str) -> Dataset:
    """Loads one split with its media undecoded, as `{"bytes", "path"}`.

    Args:
        dataset (`str`): A UMUI folder, or its name on the Hub.
        config (`str`): Name of the configuration, `"urn-audio"`.
        split (`str`): Name of the split, `"test"`.

    Returns:
        `datasets.Dataset`: the rows, premise-hypothesis pairs.

    Raises:
        `FileNotFoundError`: if `dataset` is neither a folder nor looks like a name on the Hub.
        `ValueError`: if there is no such configuration or split, ids repeat, or a row has no probability to
            compare with or one outside of [0, 1].
    """
    rows, without = load_judged(dataset, config, split)
    ids = rows["id"][:]
    if len(set(ids)) < len(ids):
        repeated = [name for name, count in Counter(ids).most_common(5) if count > 1]
        raise ValueError(f"Ids of {dataset} {config} {split} must be unique; repeated: {', '.join(repeated)}.")
    if without:
        raise ValueError(
            f"{len(without)} rows of {dataset} {config} {split} have no probability to evaluate against, "
            f"the first of them {without[0]}. Filter them out of the split."
        )
    return rows


def load_judged(dataset: str, config: str, split: str) -> tuple[Dataset, list[str]]:
    """Loads the rows of a split that have a probability, and the ids of the others; raises as [`load_rows`]."""
    rows = load_split(dataset, config, split)
    probabilities = np.array(rows["probability"][:], dtype=float)
    outside = np.flatnonzero((probabilities < 0) | (probabilities > 1))
    if len(outside):
        first = rows[int(outside[0])]
        raise ValueError(
            f"{len(outside)} rows of {dataset} {config} {split} have a probability outside of [0, 1], the first of "
            f"them {first['id']}: {first['probability']:g}. Correct them, or build the config anew."
        )
    without = np.isnan(probabilities)
    if not without.any():
        return rows, []
    return rows.select(np.flatnonzero(~without)), rows.select(np.flatnonzero(without))["id"][:]


def premise_keys(rows: Dataset) -> list[str]:
    """Names each row's premise by a digest of its modality, text and file, the same wherever the dataset lies."""
    columns = [column for column in PREMISE_COLUMNS if column in rows.features]
    return [digest(_premise_identity(row)) for row in rows.select_columns(columns)]


def _premise_identity(row: dict) -> list:
    parts, clips = row.pop("parts", None), row.pop(PART_CLIPS, None)
    identity = [_identity(value) for value in row.values()]
    if parts:
        identity += [[[part["modality"], part["text"]] for part in parts], [clip_digest(clip) for clip in clips]]
    return identity


def shuffled_premises(keys: Iterable[str]) -> list[str]:
    """Sorts the distinct keys of premises into an order that is always the same and unrelated to them."""
    return sorted(set(keys), key=digest)


def about_other_premises(rows: Dataset, others: Dataset) -> Dataset:
    """Leaves out the rows about a premise that `others` are about too, by whatever senses a clip is judged."""
    known = [content for contents in _contents(others) for content in contents]
    sizes, identities = {_size(content) for content in known}, {_identity(content) for content in known}
    # Only a file of a known size need be read.
    apart = [
        place
        for place, contents in enumerate(_contents(rows))
        if all(_size(content) not in sizes or _identity(content) not in identities for content in contents)
    ]
    return rows if len(apart) == len(rows) else rows.select(apart)


def describe(dataset: str, config: str, rows: Dataset) -> dict:
    """Describes rows, whatever their config is called: their `sources`, `modalities` and `probability_sources`, and of
    the training split the `ratio` and the `teacher` in `build.json`; `None` for what nothing tells."""
    build = read_build(dataset, config) or {}
    values = {name: sorted(set(rows[name][:]) - {None}) for name in ("source", "modality", "probability_source")}
    restored = build.get("source") in ("restore", "published")  # of which only the rows tell what it was
    return {
        "sources": values["source"] if restored or "source" not in build else [build["source"]],
        "modalities": values["modality"],
        "probability_sources": values["probability_source"],
        "ratio": None if build.get("source") == "restore" else build.get("ratio"),
        "teacher": build.get("options", {}).get("labelled_by"),
    }


def rows_digest(rows: Dataset, keys: list[str]) -> str:
    """Digests all that is asked and compared: ids, premises by their `keys`, hypotheses and probabilities."""
    return digest([rows["id"][:], keys, rows["hypothesis"][:], rows["probability"][:]])


def without_context(rows: Dataset) -> Dataset:
    """Removes what rows say in words about what they are: their `context`."""
    return rows.remove_columns("context").add_column("context", [None] * len(rows), feature=rows.features["context"])


def _contents(rows: Dataset) -> Iterator[list[str | dict]]:
    """Yields what the premise of each row is known by: its text or clip, or all clips of a combination, whose texts
    may be those of many."""
    for row in rows.select_columns(["premise", "audio", "video", PART_CLIPS]):
        yield row[PART_CLIPS] or [row["premise"] or row["audio"] or row["video"]]


def _size(value: str | dict | None) -> int:
    if not isinstance(value, dict):
        return len(value or "")
    return len(value["bytes"]) if value["bytes"] is not None else Path(value["path"]).stat().st_size


def _identity(value: str | dict | None) -> str | None:
    return clip_digest(value) if isinstance(value, dict) else value
