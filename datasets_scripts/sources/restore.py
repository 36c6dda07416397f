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
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath
from typing import NamedTuple

from huggingface_hub import HfApi

from common.errors import InputError
from common.hub import explain_hub_errors
from datasets_scripts.building.clips import IMAGE_SUFFIXES, files_below, only_one
from datasets_scripts.building.drafts import Clip, Draft, Problem, stored_name
from datasets_scripts.releasing.labels_only import CLIP_COLUMN
from datasets_scripts.schema import FEATURES, MEDIA_COLUMNS, PART_CLIP_NAMES, PART_CLIPS, ROWS_FILE, SPLITS
from datasets_scripts.tables import Record, column_names, read_table
from modeling_clue.modalities import TABLE


DESCRIPTION = "a config released as labels, joined with clips of your own"
# They are those of the source that was released.
FACTS = None

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
    """Returns the drafts of each split of the config asked for; read them once."""
    if options.config != PurePosixPath(options.config).name or options.config.startswith("."):
        raise InputError(f"--dataset-config {options.config} is no name of a config")
    files = _fetch(options.origin, options.config, options.revision)
    for file in files.values():
        if CLIP_COLUMN not in column_names(file):
            raise InputError(f"{options.config} was not released as labels without clips: load it as it is")
    names = {name for file in files.values() for name in _names_in(file)}
    clips = ClipFinder(options.clips, names)
    return {options.config: {split: _drafts(split, file, clips) for split, file in files.items()}}


def _names_in(file: Path) -> Iterator[str]:
    """Yields the names of all clips of a table."""
    named = [name for name in (CLIP_COLUMN, PART_CLIP_NAMES) if name in column_names(file)]
    for record in read_table(file, named):
        if isinstance(record, Record):
            yield record.values[CLIP_COLUMN]
            yield from record.values.get(PART_CLIP_NAMES) or []


class Candidate(NamedTuple):
    """A file that may be a clip."""

    path: PurePath
    key: str  # the name it would have in the source
    kind: str  # "image", "audio" or "video"
    rank: tuple[bool, bool, int]  # how far-fetched: another ending, a folder it isn't in, how many folders left out


class ClipFinder:
    """Finds clips below a folder, at any depth, by the names they were stored under."""

    def __init__(self, folder: Path, names: set[str]):
        self.folder = folder
        self._found: dict[str, list[Candidate]] = {}
        for path in files_below(folder, SOUND_SUFFIXES + VIDEO_SUFFIXES + IMAGE_SUFFIXES, "--clips"):
            for name, candidate in _candidates(path, path.relative_to(folder)):
                if name in names:
                    self._found.setdefault(name, []).append(candidate)

    def find(self, name: str, modality: str) -> Clip:
        """Returns the clip of a stored name, for a modality or a picture; its file isn't there if none was found,
        several are an error."""
        kinds = {"audio": ("audio", "video"), "image": ("image",)}.get(modality, ("video",))
        fit = [one for one in self._found.get(name, ()) if one.kind in kinds]
        if not fit:
            return Clip(self.folder / name, name)
        best = min(one.rank for one in fit)
        by_path = {one.path: one for one in fit if one.rank == best}
        one = by_path[only_one(list(by_path), name)]
        return Clip(one.path, one.key, sound_only=modality == "audio" and one.kind == "video")


def _drafts(split: str, file: Path, clips: ClipFinder) -> Iterator[Draft | Problem]:
    """Yields the released rows of a split with their clips."""
    # Its columns of clips are empty; rows that held some would be read a few at a time.
    for record in read_table(file, [name for name in column_names(file) if name not in (*MEDIA_COLUMNS, PART_CLIPS)]):
        if isinstance(record, Problem):
            yield replace(record, place=f"{split}, {record.place}")
            continue
        place = f"{split} row {record.number}, {record.values['id']!r}"
        row = {name: record.values.get(name) for name in FEATURES}
        try:
            if row["parts"]:
                kinds = [part["modality"] for part in row["parts"] if part["modality"] != "text"]
                names = record.values[PART_CLIP_NAMES]
                row[PART_CLIPS] = [_find(clips, *pair) for pair in zip(names, kinds, strict=True)]
            else:
                column = TABLE.get(row["modality"], TABLE["audio"]).column
                row[column] = _find(clips, record.values[CLIP_COLUMN], row["modality"])
        except InputError as error:
            yield Problem(place, "media", str(error))
            continue
        except ValueError as error:
            yield Problem(place, "row", str(error))
            continue
        yield Draft(place, row)


def _find(clips: ClipFinder, name: object, modality: str) -> Clip:
    if not isinstance(name, str) or not name or name[0] == "." or "\\" in name or PurePosixPath(name).name != name:
        raise ValueError(f"clip must be a file name, got {name!r}")
    return clips.find(name, modality)


def _candidates(path: PurePath, relative: PurePath) -> Iterator[tuple[str, Candidate]]:
    """Yields every name that a file may have been stored under, with what it would be then."""
    own = path.suffix.lower()
    kind = "video" if own in VIDEO_SUFFIXES else "image" if own in IMAGE_SUFFIXES else "audio"
    family = IMAGE_SUFFIXES if kind == "image" else SOUND_SUFFIXES + VIDEO_SUFFIXES
    others = [suffix for suffix in family if suffix != own]
    for dropped in range(len(relative.parts)):
        tail = PurePosixPath(*relative.parts[dropped:])
        for folder in SOURCE_FOLDERS:
            # The ending is part of the name's hash: others have to be tried one by one.
            for suffix in (path.suffix, *others):
                rank = (suffix != path.suffix, bool(folder), dropped)
                candidate = Candidate(path, f"{folder}{tail}", kind, rank)
                asked = f"{folder}{tail.with_suffix('')}{suffix}"
                # A file system may have parted letters from their accents, or joined them.
                for name in {asked, *(unicodedata.normalize(form, asked) for form in ("NFC", "NFD"))}:
                    yield stored_name(name), candidate
                    if suffix.lower() in VIDEO_SUFFIXES:
                        yield stored_name(name, sound_only=True), candidate


def stored_names(path: PurePosixPath) -> Iterator[str]:
    """Yields every name that a dataset may have stored a clip under, by where the clip lay for others."""
    relative = PurePosixPath(*(part for part in path.parts if part not in (path.anchor, "..")))
    yield from (name for name, _ in _candidates(path, relative))


def _fetch(origin: str, config: str, revision: str) -> dict[str, Path]:
    """Returns the table of each split that the config has, in a folder or on the Hub."""
    wanted = {split: f"{config}/{split}/{ROWS_FILE}" for split in SPLITS}
    if Path(origin).is_dir():
        files = {split: Path(origin, path) for split, path in wanted.items() if Path(origin, path).is_file()}
    elif origin.count("/") == 1:
        api, where = HfApi(), {"repo_id": origin, "repo_type": "dataset"}
        with explain_hub_errors(origin):
            # One commit for all: a release may be going on.
            where["revision"] = api.repo_info(**where, revision=revision).sha
            there = {entry.path for entry in api.get_paths_info(paths=list(wanted.values()), **where)}
            files = {
                split: Path(api.hf_hub_download(filename=path, **where))
                for split, path in wanted.items()
                if path in there
            }
    else:
        raise InputError(f"--dataset {origin} is neither a folder nor ORG/NAME on the Hub")
    if not files:
        raise InputError(f"{origin} has no config {config}")
    return files
