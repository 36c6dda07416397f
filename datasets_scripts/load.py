"""Reads a split of UMUI for training and evaluation: typed columns, media undecoded, rows as they are on disk now."""

import json
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ArrowBasedBuilder, Dataset, DatasetBuilder, Features, IterableDataset, Video, load_dataset_builder
from datasets import config as datasets_config
from datasets.builder import Key
from datasets.data_files import DataFilesDict, sanitize_patterns
from datasets.fingerprint import Hasher
from datasets.packaged_modules.folder_based_builder.folder_based_builder import FolderBasedBuilder
from datasets.packaged_modules.parquet.parquet import Parquet
from datasets.packaged_modules.videofolder.videofolder import VideoFolder
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, HfFileSystem, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError

from common.errors import InputError
from datasets_scripts.schema import (
    CLIP_NAME_COLUMNS,
    FEATURES,
    LATER_COLUMNS,
    MEDIA_COLUMNS,
    PART_CLIP_NAMES,
    PART_CLIPS,
    ROWS_FILE,
)


# Clips can be streamed as `Video` only: without torchcodec, `Audio` refuses even a file that it isn't to decode.
STREAMED_FEATURES = Features(FEATURES | {name: Video(decode=False) for name in MEDIA_COLUMNS})
# Hypotheses about one clip follow each other: it is fetched for the first of them.
CLIPS_KEPT = 4


class _MediaTables(ArrowBasedBuilder, VideoFolder):
    """Reads folders with media a table at a time, where the library's loader goes through them row by row."""

    def _generate_tables(self, files, metadata_files, add_metadata, add_labels) -> Iterator[tuple[Key, pa.Table]]:
        for shard, (original, _, metadata) in enumerate(metadata_files):
            ending = os.path.splitext(original or metadata)[1]
            for number, table in enumerate(self._read_metadata(metadata, metadata_ext=ending)):
                for name in [name for name, feature in self.info.features.items() if isinstance(feature, Video)]:
                    source = next(key for key in ("file_name", f"{name}_file_name") if key in table.column_names)
                    clips = _clips(table[source].combine_chunks(), os.path.dirname(metadata))
                    table = table.drop_columns([key for key in (name, source) if key in table.column_names])
                    table = table.append_column(name, clips)
                if PART_CLIP_NAMES in table.column_names:
                    names = table[PART_CLIP_NAMES].combine_chunks()
                    clips = pa.ListArray.from_arrays(names.offsets, _clips(names.values, os.path.dirname(metadata)))
                    columns = [name for name in (PART_CLIPS, PART_CLIP_NAMES) if name in table.column_names]
                    table = table.drop_columns(columns).append_column(PART_CLIPS, clips)
                yield Key(shard, number), table


def _clips(names: pa.Array, folder: str) -> pa.Array:
    """Places the clips that a table names, as a column of `Video` stores them; refuses a name that leads elsewhere."""
    names = names.dictionary_encode()
    paths = []
    for name in names.dictionary.to_pylist():
        path = os.path.normpath(name).replace("\\", "/")
        if "://" in name or os.path.isabs(name) or path.split("/")[0] == "..":
            raise ValueError(f"{folder}: the clip {name!r} must lie in this folder")
        paths.append(os.path.join(folder, path))
    places = pa.array(paths, pa.string()).take(names.indices)
    return pa.StructArray.from_arrays(
        [pa.nulls(len(places), pa.binary()), places], ["bytes", "path"], mask=places.is_null()
    )


def load_split(dataset: str, config: str, split: str) -> Dataset:
    """
    Loads one split with exactly the columns of `FEATURES`.

    Of a repository, only the clips of this split are downloaded; they are then local files, as those of a folder.

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
    builder = _split_builder(dataset, config, split)
    builder.download_and_prepare()
    rows = builder.as_dataset(split=split)
    for name, value in LATER_COLUMNS.items():
        if name not in rows.column_names:
            rows = rows.add_column(name, [value] * len(rows), feature=FEATURES[name])
    missing = [name for name in FEATURES if name not in rows.column_names]
    if missing:
        raise ValueError(f"{dataset}, {config} lacks the columns {missing}: it has {rows.column_names}")
    rows = rows.select_columns(list(FEATURES))
    # Casting rewrites every row: those of tables alone, without clips beside them, have their types already.
    return rows if rows.features == FEATURES else rows.cast(FEATURES)


def split_names(dataset: str, config: str) -> list[str]:
    """Returns the splits that a config has (not every source has a validation split); fails as [`load_split`]."""
    return list(_built_files(dataset, config) or _builder(dataset, config).config.data_files)


def stream_split(dataset: str, config: str, split: str) -> IterableDataset:
    """
    Streams one split: rows come at once and nothing is kept on disk, for a look at a split too large to download.

    Arguments and errors are those of [`load_split`], and so are the rows, with the content of each clip in `bytes`.
    """
    rows = _split_builder(dataset, config, split).as_streaming_dataset(split=split)
    for column in MEDIA_COLUMNS:
        rows = rows.cast_column(column, Video(decode=False))
    if PART_CLIPS in rows.column_names:
        rows = rows.cast_column(PART_CLIPS, FEATURES[PART_CLIPS])
    there = [name for name in FEATURES if name not in LATER_COLUMNS or name in rows.column_names]
    return rows.select_columns(there).map(_with_content, features=STREAMED_FEATURES)


def read_build(dataset: str, config: str) -> dict | None:
    """
    Reads `build.json`, in which a build notes how it made a config, and which goes to the Hub with it.

    Args:
        dataset (`str`), config (`str`): As in [`load_split`].

    Returns:
        `dict` or `None`: `None` where there is no such file.

    Raises:
        `InputError`: if it can't be read, or holds no object.
    """
    path = Path(dataset) / config / "build.json"
    if not Path(dataset).is_dir():
        try:
            path = Path(hf_hub_download(dataset, f"{config}/build.json", repo_type="dataset"))
        except EntryNotFoundError:
            return None
    if not path.is_file():
        return None
    try:
        build = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read, which tells how {config} was built: {error}") from error
    if not isinstance(build, dict):
        raise InputError(f"{path} must hold a JSON object, which tells how {config} was built.")
    return build


def dataset_revision(dataset: str, config: str) -> str | None:
    """Returns the commit of a dataset on the Hub that is loaded; `None` for a folder."""
    return None if Path(dataset).is_dir() else _builder(dataset, config).hash


def _builder(dataset: str, config: str) -> DatasetBuilder:
    if Path(dataset).is_dir():
        # A full path: `datasets` would take a folder named "text" or "json" for its loader of that name.
        dataset = str(Path(dataset).resolve())
    elif dataset.count("/") != 1:
        raise FileNotFoundError(f"no dataset folder {dataset!r}: build one with python -m datasets_scripts.build")
    return load_dataset_builder(dataset, config)


def _built_files(dataset: str, config: str) -> DataFilesDict | None:
    """
    Returns the tables of a config that a build wrote into a folder, by split; `None` for all else.

    Its clips are named in the tables: `datasets` would look at each of them, of every split, before a row is read.
    """
    card = Path(dataset) / "README.md"
    if not card.is_file():
        return None
    facts = MetadataConfigs.from_dataset_card_data(DatasetCard.load(card).data).get(config, {})
    splits = sanitize_patterns(facts.get("data_files", {}))
    tables = {split: [path for path in paths if Path(path).name == ROWS_FILE] for split, paths in splits.items()}
    for paths in tables.values():
        file = card.parent / "".join(paths)
        if len(paths) != 1 or not file.is_file() or not {*CLIP_NAME_COLUMNS} <= set(pq.read_schema(file).names):
            return None
    return DataFilesDict.from_patterns(tables, base_path=str(card.parent.resolve())) if tables else None


def _split_builder(dataset: str, config: str, split: str) -> DatasetBuilder:
    """Returns what `datasets` would load the config with, for this split alone."""
    files, base_path = _built_files(dataset, config), str(Path(dataset).resolve())
    builder = _builder(dataset, config) if files is None else None
    if builder is not None:
        files, base_path = builder.config.data_files, builder.base_path
    if split not in files:
        raise ValueError(f"{dataset}, {config} has no split {split!r}: it has {sorted(files)}")
    if builder is not None and not isinstance(builder, (FolderBasedBuilder, Parquet)):
        raise ValueError(f"{dataset} is a dataset of {builder.name} files, not one of this layout")
    files = DataFilesDict({split: files[split]})
    # The library's own cache (5.2) knows a folder by its name and README, not by where it is or what is in it, and
    # would give the rows of an earlier build. The hash of its files is one of their paths and times.
    cache = str(Path(datasets_config.HF_DATASETS_CACHE) / Hasher.hash(files))
    if isinstance(builder, Parquet):
        return Parquet(cache_dir=cache, base_path=base_path, data_files=files)
    # The loader of a dataset without video needs torchcodec even to pass a path on; the video loader does not. Nor
    # when it streams from the Hub, where it would decode clips before anyone can say that they shall be left alone.
    return _MediaTables(cache_dir=cache, base_path=base_path, data_files=files, decode_num_threads=0)


def _with_content(row: dict) -> dict:
    row = LATER_COLUMNS | row
    media = {name: _whole(row[name]) for name in MEDIA_COLUMNS}
    return row | media | {PART_CLIPS: [_whole(clip) for clip in row[PART_CLIPS] or []]}


def _whole(clip: dict | None) -> dict | None:
    return clip if clip is None or clip["bytes"] is not None else clip | {"bytes": _content(clip["path"])}


@lru_cache(maxsize=CLIPS_KEPT)
def _content(path: str) -> bytes:
    return HfFileSystem().cat_file(path) if path.startswith("hf://") else Path(path).read_bytes()
