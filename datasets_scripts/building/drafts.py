"""Drafts of rows, the clips they are about and the problems met on the way: all that a source hands to the writer."""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from datasets.packaged_modules.videofolder.videofolder import VideoFolder

from datasets_scripts.schema import FEATURES


SYNONYMS = {".mpg": ".mpeg", ".webm": ".mkv", ".m4v": ".mp4", ".qt": ".mov"}


@dataclass(frozen=True)
class Clip:
    """Names the sound or video of a premise, to be stored in the dataset once."""

    path: Path  # the raw file
    key: str  # its name in the source, unique there, e.g. "birds/morning 1.wav"; with it goes `stored_name`
    sound_only: bool = False  # store the sound track of a video, as FLAC (16 kHz, mono)
    # The clip itself, if it is no file; its key then belongs to no other content, and `path` is but a name.
    content: bytes | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Draft:
    """Holds a row about to be written."""

    place: str  # where it comes from, in a person's words: "dev.csv row 17"; a header is row 1
    # The columns of `FEATURES`; `audio` and `video` are a `Clip`, the path of a file that lies in the split's folder
    # already, or `None`.
    row: dict


@dataclass(frozen=True)
class Problem:
    """
    Says what is wrong at a place, as in [`Draft`], and what to do where that isn't plain.

    Of its kinds, `"row"` does not fit the schema or can't be read, `"media"` is a clip that is missing or unreadable,
    `"duplicate"` a pair or an id that was there before, `"split"` a premise of another split, `"join"` a record that
    fits no row.
    """

    place: str
    kind: Literal["row", "media", "duplicate", "split", "join"]
    complaint: str


def stored_suffix(suffix: str) -> str:
    """
    Returns the ending in the dataset of a raw file's clip (`".flac"`): one that `datasets` fetches from the Hub.

    The library's video loader (5.2) reads all configs and fetches only files whose last or last but one ending it
    knows; others are silently missing once the dataset is on the Hub. A sound is `x.mkv.flac` therefore, WebM goes by
    the name of the Matroska that it is.
    """
    suffix = SYNONYMS.get(suffix.lower(), suffix.lower())
    return suffix if suffix in VideoFolder.EXTENSIONS else f".mkv{suffix}"


def new_row(**columns) -> dict:
    """Returns a row of the schema with `None` in all columns that aren't given."""
    return dict.fromkeys(FEATURES) | columns


def stored_name(key: str, sound_only: bool = False) -> str:
    """
    Returns the name of a clip in the dataset by its key in the source: good in any path and address, never shared.

    It has the plain letters of the key, eight digits of its hash where there are others, and the ending of
    [`stored_suffix`].
    """
    path = PurePosixPath(key)
    stem = str(path.with_suffix("")).replace("/", "__")
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", stem)[:100].strip("_")
    suffix = stored_suffix(".flac" if sound_only else path.suffix)
    # Told apart are keys that would come to the same name: by other letters, another ending, or the sound of a video.
    if f"{plain}{path.suffix}" == key and not sound_only and suffix.endswith(path.suffix):
        return f"{plain}{suffix}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:8]
    return f"{plain}-{digest}{suffix}".lstrip("-")
