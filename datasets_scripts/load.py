"""Reads a split of UMUI for training and evaluation: typed columns, media undecoded, rows as they are on disk now."""

from pathlib import Path

from datasets import Dataset, load_dataset, load_dataset_builder
from datasets import config as datasets_config
from datasets.fingerprint import Hasher
from datasets.packaged_modules.audiofolder.audiofolder import AudioFolder

from datasets_scripts.schema import FEATURES


def load_split(dataset: str, config: str, split: str) -> Dataset:
    """
    Loads one split with exactly the columns of `FEATURES`.

    Args:
        dataset (`str`): A dataset folder, or a repository on the Hub (`"org/name"`).
        config (`str`): The config, e.g. `"urn-audio"`.
        split (`str`): `"train"`, `"validation"` or `"test"`.

    Returns:
        `datasets.Dataset`: one row a premise-hypothesis pair; `audio` and `video` are `{"bytes", "path"}` or `None`.

    Raises:
        `FileNotFoundError`: if there is no such folder.
        `ValueError`: if there is no such config or split, or a column is missing; the message names those there are.
    """
    is_folder = Path(dataset).is_dir()
    if is_folder:
        # A full path: `datasets` would take a folder named "text" or "json" for its loader of that name.
        dataset = str(Path(dataset).resolve())
    elif dataset.count("/") != 1:
        raise FileNotFoundError(f"no dataset folder {dataset!r}: build one with python -m datasets_scripts.build")
    builder = load_dataset_builder(dataset, config)
    files = builder.config.data_files
    if split not in files:
        raise ValueError(f"{dataset}, {config} has no split {split!r}: it has {sorted(files)}")
    # The library's own cache (5.2) knows a folder by its name and README, not by where it is or what is in it, and
    # would give the rows of an earlier build. The hash of its files is one of their paths and times.
    cache = str(Path(datasets_config.HF_DATASETS_CACHE) / Hasher.hash(files)) if is_folder else None
    if isinstance(builder, AudioFolder):
        # The loader of a dataset without video needs torchcodec even to pass a path on; the video loader does not.
        rows = load_dataset("videofolder", data_files={split: files[split]}, split=split, cache_dir=cache)
    else:
        rows = load_dataset(dataset, config, split=split, cache_dir=cache)
    missing = [name for name in FEATURES if name not in rows.column_names]
    if missing:
        raise ValueError(f"{dataset}, {config} lacks the columns {missing}: it has {rows.column_names}")
    return rows.select_columns(list(FEATURES)).cast(FEATURES)
