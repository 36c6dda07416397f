# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Rows of a UMUI dataset for evaluation, the premises they share, and digests that tell one set from another."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import datasets
from datasets.packaged_modules.audiofolder.audiofolder import AudioFolder


def load_rows(dataset, config, split):
    """Loads one split with its media undecoded, as `{"bytes", "path"}`.

    Args:
        dataset (`str`): a UMUI folder, or its name on the Hub.
        config (`str`): name of the configuration, `"urn-audio"`.
        split (`str`): name of the split, `"test"`.

    Returns:
        `datasets.Dataset`: the rows, premise-hypothesis pairs.

    Raises:
        FileNotFoundError: if `dataset` is neither a folder nor looks like a name on the Hub.
        ValueError: if there is no such configuration or split, ids repeat or a row has no probability to compare with.
    """
    if not Path(dataset).is_dir() and dataset.count("/") != 1:
        raise FileNotFoundError(
            f"There is no dataset folder {dataset}: build one with python -m datasets_scripts.build."
        )
    cache = cache_folder(dataset)
    builder = datasets.load_dataset_builder(dataset, config, cache_dir=cache)
    if split not in builder.config.data_files:
        splits = ", ".join(builder.config.data_files)
        raise ValueError(f"{dataset} {config} has no split {split!r}: it has {splits}.")
    if isinstance(builder, AudioFolder):
        # The loader of a dataset without video needs torchcodec even to pass a path on; the video loader does not.
        files = {split: builder.config.data_files[split]}
        rows = datasets.load_dataset("videofolder", data_files=files, split=split, cache_dir=cache)
    else:
        rows = datasets.load_dataset(dataset, config, split=split, cache_dir=cache)
    for column, feature in rows.features.items():
        if isinstance(feature, (datasets.Audio, datasets.Video)):
            rows = rows.cast_column(column, type(feature)(decode=False))
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


def cache_folder(dataset):
    """Where `datasets` keeps its copy of a dataset: a place of its own for each folder and each state of it.

    The library's own key (5.2) holds the folder's name and the patterns of its README, but neither where the folder is
    nor what is in it: rows of an earlier build, or of another folder of the same name, would be read in silence.

    Args:
        dataset (`str`): a UMUI folder, or its name on the Hub.

    Returns:
        `str` or `None`: the cache for a folder on disk; `None`, the library's default, for a name on the Hub, whose
        key holds the commit.
    """
    folder = Path(dataset)
    if not folder.is_dir():
        return None
    files = sorted([folder / "README.md", *folder.rglob("*.parquet")])
    state = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files if file.exists()]
    return str(Path(datasets.config.HF_DATASETS_CACHE) / f"folder-{digest([str(folder.resolve()), state])}")


def premise_keys(rows):
    """Names the premise of each row, so that rows with equal names share a premise.

    Args:
        rows (`datasets.Dataset`): rows as `load_rows` gives them.

    Returns:
        `list[str]`: one name for each row, a digest of its modality, text and media. A file on disk is known by its
        path, bytes by themselves.
    """
    columns = [column for column in ("modality", "premise", "audio", "video") if column in rows.features]
    return [digest([_identity(row[column]) for column in columns]) for row in rows.select_columns(columns)]


def rows_digest(rows):
    """A digest of the ids, hypotheses and probabilities, which differs for every other split or rebuilt dataset."""
    return digest([rows["id"][:], rows["hypothesis"][:], rows["probability"][:]])


def digest(value):
    """The first 16 hexadecimal digits of the SHA-256 of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def file_digest(path):
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _identity(value):
    if not isinstance(value, dict):
        return value
    return value["path"] if value["bytes"] is None else hashlib.sha256(value["bytes"]).hexdigest()
