"""
Joins a config that was released as labels, without its clips, with clips of one's own.

A released row names its clip as the dataset stored it: a name made from the clip's path in its source. A file below
`--clips` is that clip if its own path, or the end of it, makes that name: `development/Night rain.wav` below `DIR`
does what it did when the config was built. Files that were converted (FLAC for WAV) are found by the same name with
another ending, and the sound of a video is taken where the premise is a sound. Everything else of a row, what people
and teachers said included, is as it was released.
"""

import argparse
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import HfApi

from common.errors import InputError
from common.hub import explain_hub_errors
from datasets_scripts.building.clips import files_below, only_one
from datasets_scripts.building.drafts import Clip, Draft, Problem, stored_name
from datasets_scripts.releasing.labels_only import CLIP_COLUMN
from datasets_scripts.schema import FEATURES, SPLITS
from modeling_clue.modalities import TABLE


DESCRIPTION = "a config released as labels, joined with clips of your own"

SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus")
VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".mpg")
# Folders that a source's own archives unpack to, and which its clips' names begin with.
SOURCE_FOLDERS = ("", "development/", "validation/", "evaluation/")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this source."""
    parser.add_argument(
        "--dataset", dest="origin", required=True, help="ORG/NAME on the Hub, or a folder of that layout"
    )
    parser.add_argument("--dataset-config", dest="config", required=True, help="the config, e.g. clotho")
    parser.add_argument("--clips", type=Path, required=True, help="the folder with the clips, at any depth")
    parser.add_argument("--revision", default="main", help="the branch or commit on the Hub (default: %(default)s)")


def configs(options: argparse.Namespace) -> dict[str, dict[str, Iterable[Draft | Problem]]]:
    """
    The config asked for.

    Args:
        options (`argparse.Namespace`): The options of [`add_arguments`].

    Returns:
        `dict[str, dict[str, Iterable[Draft | Problem]]]`: the drafts of each split; read them once.

    Raises:
        `InputError`: if there is no such config, or it has its clips; or there is no folder with clips.
    """
    if options.config != PurePosixPath(options.config).name or options.config.startswith("."):
        raise InputError(f"--dataset-config {options.config} is no name of a config")
    files = _fetch(options.origin, options.config, options.revision)
    for file in files.values():
        _check(file, options.config)
    names = {name for file in files.values() for name in _clip_names(file)}
    clips = ClipFinder(options.clips, names)
    return {options.config: {split: drafts(file, clips) for split, file in files.items()}}


@dataclass(frozen=True)
class Candidate:
    """
    A file that may be a clip.

    Args:
        path (`Path`): The file.
        key (`str`): The name it would have in the source.
        is_video (`bool`): Whether it is a video.
        rank (`tuple[bool, bool, int]`): How far-fetched that is: by another ending, by a folder that it isn't in, by
            how many folders left out.
    """

    path: Path
    key: str
    is_video: bool
    rank: tuple[bool, bool, int]


class ClipFinder:
    """
    Finds clips by the names they were stored under.

    Args:
        folder (`Path`): Where to look, at any depth.
        names (`set[str]`): The stored names.

    Raises:
        `InputError`: if there is no such folder, or no clip in it.
    """

    def __init__(self, folder: Path, names: set[str]):
        self.folder = folder
        self._found: dict[str, list[Candidate]] = {}
        for path in files_below(folder, SOUND_SUFFIXES + VIDEO_SUFFIXES, "--clips"):
            for name, candidate in _candidates(path, path.relative_to(folder)):
                if name in names:
                    self._found.setdefault(name, []).append(candidate)

    def find(self, name: str, modality: str) -> Clip:
        """
        Finds a clip.

        Args:
            name (`str`): Its stored name.
            modality (`str`): What it is a premise of.

        Returns:
            `Clip`: it; one whose file isn't there if there is none.

        Raises:
            `InputError`: if several files may be meant.
        """
        fit = [one for one in self._found.get(name, ()) if modality == "audio" or one.is_video]
        if not fit:
            return Clip(self.folder / name, name)
        best = min(one.rank for one in fit)
        by_path = {one.path: one for one in fit if one.rank == best}
        one = by_path[only_one(list(by_path), name)]
        return Clip(one.path, one.key, sound_only=modality == "audio" and one.is_video)


def drafts(file: Path, clips: ClipFinder) -> Iterator[Draft | Problem]:
    """
    The rows of a split with their clips.

    Args:
        file (`Path`): The released `metadata.parquet`.
        clips (`ClipFinder`): The clips.

    Returns:
        `Iterator[Draft | Problem]`: the drafts, in order; a problem where several files may be a row's clip.
    """
    number = 0
    with pq.ParquetFile(file) as rows:
        for batch in rows.iter_batches():
            for record in batch.to_pylist():
                number += 1
                place = f"{file.parent.name} row {number}, {record['id']!r}"
                row = {name: record.get(name) for name in FEATURES}
                name = record[CLIP_COLUMN]
                if not _is_plain(name):
                    yield Problem(place, "row", f"clip must be a file name, got {name!r}")
                    continue
                try:
                    row[TABLE.get(row["modality"], TABLE["audio"]).column] = clips.find(name, row["modality"])
                except InputError as error:
                    yield Problem(place, "media", str(error))
                    continue
                yield Draft(place, row)


def _candidates(path: Path, relative: Path) -> Iterator[tuple[str, Candidate]]:
    """Every name that a file may have been stored under, with what it would be then."""
    is_video = path.suffix.lower() in VIDEO_SUFFIXES
    others = [suffix for suffix in SOUND_SUFFIXES + VIDEO_SUFFIXES if suffix != path.suffix.lower()]
    for dropped in range(len(relative.parts)):
        tail = PurePosixPath(*relative.parts[dropped:])
        for folder in SOURCE_FOLDERS:
            key = f"{folder}{tail}"
            # The ending is part of the name's hash: others have to be tried one by one.
            for suffix in (path.suffix, *others):
                candidate = Candidate(path, key, is_video, (suffix != path.suffix, bool(folder), dropped))
                asked = f"{folder}{tail.with_suffix('')}{suffix}"
                # A file system may have parted letters from their accents, or joined them.
                for name in {asked, *(unicodedata.normalize(form, asked) for form in ("NFC", "NFD"))}:
                    yield stored_name(name), candidate
                    if suffix.lower() in VIDEO_SUFFIXES:
                        yield stored_name(name, sound_only=True), candidate


def _is_plain(name) -> bool:
    if not isinstance(name, str) or not name or name.startswith("."):
        return False
    return PurePosixPath(name).name == name and "\\" not in name


def _clip_names(file: Path) -> Iterator[str]:
    with pq.ParquetFile(file) as rows:
        for batch in rows.iter_batches(columns=[CLIP_COLUMN]):
            yield from batch[CLIP_COLUMN].drop_null().unique().to_pylist()


def _check(file: Path, config: str) -> None:
    try:
        with pq.ParquetFile(file) as rows:
            names = rows.schema_arrow.names
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{file} can't be read: {error}") from error
    if CLIP_COLUMN not in names:
        raise InputError(f"{config} was not released as labels without clips: load it as it is")


def _fetch(origin: str, config: str, revision: str) -> dict[str, Path]:
    folder = Path(origin)
    if folder.is_dir():
        files = {split: folder / config / split / "metadata.parquet" for split in SPLITS}
        files = {split: file for split, file in files.items() if file.is_file()}
    elif origin.count("/") == 1:
        files = _download(origin, config, revision)
    else:
        raise InputError(f"--dataset {origin} is neither a folder nor ORG/NAME on the Hub")
    if not files:
        raise InputError(f"{origin} has no config {config}")
    return files


def _download(repo: str, config: str, revision: str) -> dict[str, Path]:
    api = HfApi()
    with explain_hub_errors(repo):
        # One commit for all: a release may be going on.
        commit = api.repo_info(repo, repo_type="dataset", revision=revision).sha
        wanted = {split: f"{config}/{split}/metadata.parquet" for split in SPLITS}
        there = {
            entry.path
            for entry in api.get_paths_info(repo, list(wanted.values()), revision=commit, repo_type="dataset")
        }
        return {
            split: Path(api.hf_hub_download(repo, path, revision=commit, repo_type="dataset"))
            for split, path in wanted.items()
            if path in there
        }
