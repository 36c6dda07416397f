"""Reads a split of UMUI for training and evaluation: typed columns, media undecoded."""

from pathlib import Path

from datasets import Dataset, load_dataset, load_dataset_builder
from datasets.packaged_modules.audiofolder.audiofolder import AudioFolder

from datasets_scripts.schema import FEATURES


def load_split(dataset: str, config: str, split: str) -> Dataset:
    """
    Loads one split with exactly the columns of `FEATURES`.

    Args:
        dataset (`str`):
            A dataset folder, or a repository on the Hub (`"org/name"`).
        config (`str`):
            The config, e.g. `"urn-audio"`.
        split (`str`):
            `"train"`, `"validation"` or `"test"`.

    Returns:
        `datasets.Dataset`: one row a premise-hypothesis pair; `audio` and `video` are `{"bytes", "path"}` or `None`.

    Raises:
        `FileNotFoundError`: if there is no such folder.
        `ValueError`: if there is no such config or split; the message names those there are.
    """
    if Path(dataset).is_dir():
        # A full path: `datasets` would take a folder named "text" or "json" for its loader of that name.
        dataset = str(Path(dataset).resolve())
    elif dataset.count("/") != 1:
        raise FileNotFoundError(f"no dataset folder {dataset!r}: build one with python -m datasets_scripts.build")
    builder = load_dataset_builder(dataset, config)
    if split not in builder.config.data_files:
        raise ValueError(f"{dataset}, {config} has no split {split!r}: it has {sorted(builder.config.data_files)}")
    if isinstance(builder, AudioFolder):
        # The loader of a dataset without video needs torchcodec even to pass a path on; the video loader does not.
        rows = load_dataset("videofolder", data_files={split: builder.config.data_files[split]}, split=split)
    else:
        rows = load_dataset(dataset, config, split=split)
    return rows.select_columns(list(FEATURES)).cast(FEATURES)
