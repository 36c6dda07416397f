"""
Clips on their way into the dataset: found below a folder, however its archives were unpacked and its tables spell
their names; decoded to see that they can be, stored, and hashed.
"""

import os
import posixpath
import re
import shutil
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

import soundfile

from common.digests import file_digest
from common.errors import InputError
from common.files import replacing
from datasets_scripts.building.drafts import Clip
from datasets_scripts.schema import one_form
from modeling_clue.media import MediaError, load_audio, load_video
from modeling_clue.media_image import load_image


IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
SAMPLING_RATE = 16_000
# Enough to decode in the first and in the last part of a clip, few enough to hold several videos at once in memory.
CHECKED_FRAMES = 8
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://|(file|data):", re.IGNORECASE)


class ClipError(ValueError):
    """A clip can't be a premise. The message names the file and what is wrong with it."""


def store_clip(clip: Clip, modality: str, target: Path) -> str:
    """
    Checks a raw clip by decoding it, stores a copy, or its sound, at `target`, and returns the SHA-256 of its content.

    Sound is decoded wholly; of pictures, a few frames spread over the whole video, after all packets were counted
    against the length that the file declares. The copy is independent of the raw file and has its modification time:
    a `target` with the same time (and, for a copy, the same size) was stored by an earlier, interrupted build, and is
    not made anew. Different targets may be stored by several threads at once.

    Args:
        clip (`Clip`): The raw file. With `sound_only`, its sound is stored as FLAC (16 kHz, mono, 16 bit).
        modality (`str`): `"audio"`, `"video"`, `"audiovisual"` or `"image"`: what the clip must hold.
        target (`Path`): Where to store it, in a folder that exists.

    Raises:
        `ClipError`: if the file is missing, is no regular file, is empty, unreadable, damaged or truncated, lacks the
            pictures or the sound that `modality` wants, or changes meanwhile.
    """
    if clip.content is not None:
        return _store_content(clip, modality, target)
    before = _stat(clip.path)
    there = target.stat() if target.is_file() else None
    same = there and there.st_mtime_ns == before.st_mtime_ns and (clip.sound_only or there.st_size == before.st_size)
    if not same:
        with replacing(target) as partial:
            _check_and_write(clip, modality, partial)
            os.utime(partial, ns=(before.st_atime_ns, before.st_mtime_ns))
    try:
        digest = file_digest(clip.path)
    except OSError as error:
        raise ClipError(f"{clip.path} cannot be read: {error.strerror}") from error
    after = _stat(clip.path)
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        # The copy may be a mixture of both, and the digest that of neither.
        target.unlink(missing_ok=True)
        raise ClipError(f"{clip.path} was changed while it was read: build again")
    return digest


def _store_content(clip: Clip, modality: str, target: Path) -> str:
    """Stores a clip that is no file by way of one."""
    raw = target.with_name(f".{target.name}.raw")
    try:
        raw.write_bytes(clip.content)
        # The key stands for the content: what an earlier build stored under it is the same.
        os.utime(raw, ns=(0, 0))
        return store_clip(Clip(raw, clip.key, clip.sound_only), modality, target)
    except ClipError as error:
        raise ClipError(str(error).replace(str(raw), str(clip.path))) from error
    finally:
        raw.unlink(missing_ok=True)


def _stat(path: Path) -> os.stat_result:
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise ClipError(f"{path} does not exist") from error
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        raise ClipError(f"{path} cannot be read: {error}") from error
    if stat.S_ISDIR(found.st_mode):
        raise ClipError(f"{path} is a folder, not a clip")
    if not stat.S_ISREG(found.st_mode):
        # Opening a pipe would wait for ever.
        raise ClipError(f"{path} is no regular file")
    if found.st_size == 0:
        raise ClipError(f"{path} is empty (0 bytes)")
    return found


def _check_and_write(clip: Clip, modality: str, partial: Path) -> None:
    try:
        if modality == "image":
            load_image(clip.path)
        if modality in ("video", "audiovisual"):
            load_video(clip.path, fps=CHECKED_FRAMES, max_frames=CHECKED_FRAMES)
        # Of a video without its sound, the sound may be whatever it is, or none.
        sound = load_audio(clip.path, sampling_rate=SAMPLING_RATE) if modality in ("audio", "audiovisual") else None
    except MediaError as error:
        raise ClipError(str(error)) from error
    if clip.sound_only:
        soundfile.write(partial, sound.waveform, SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    else:
        shutil.copyfile(clip.path, partial)


def files_below(folder: Path, suffixes: tuple[str, ...], option: str) -> list[Path]:
    """
    Returns all media files below a folder, sorted, links followed, hidden files left out.

    Args:
        folder (`Path`): The folder.
        suffixes (`tuple[str, ...]`): The endings to look for, in lower case with their dot.
        option (`str`): The option that named the folder, for the error if there is no such folder or file.
    """
    if not folder.is_dir():
        raise InputError(f"{option} {folder} is not a folder")
    found, visited = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        # A link may lead back up: each folder is visited once.
        real = os.path.realpath(place)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        found += [Path(place, name) for name in names if not name.startswith(".") and name.lower().endswith(suffixes)]
    if not found:
        raise InputError(f"{option} {folder} holds no file that ends in {', '.join(suffixes)}")
    return sorted(found)


def files_by_class(
    folder: Path, suffixes: tuple[str, ...], needed: Iterable[str], others: str
) -> dict[str, list[Path]]:
    """
    Returns the media files below each folder of `--clips`, one folder a class.

    Args:
        folder (`Path`), suffixes (`tuple[str, ...]`): As of [`files_below`].
        needed (`Iterable[str]`): The classes that must be there.
        others (`str`): A regular expression of the names of those that may be there too.
    """
    found: dict[str, list[Path]] = {}
    for path in files_below(folder, suffixes, "--clips"):
        name, *below = path.relative_to(folder).parts
        if not below or not (name in needed or re.fullmatch(others, name)):
            raise InputError(f"--clips {folder} holds {name}, which is no folder of a class: put it elsewhere")
        found.setdefault(name, []).append(path)
    if missing := [name for name in needed if name not in found]:
        raise InputError(f"--clips {folder} has no clips in the folders {', '.join(missing)}")
    return found


class NamedFiles:
    """
    Finds media files below a folder by the names that a source may mean them by.

    Args:
        folder (`Path`), suffixes (`tuple[str, ...]`), option (`str`): As of [`files_below`].
        key (`Callable[[str], str]`, *optional*): Gives what all names of one file have in common; by default a name
            without its ending.
    """

    def __init__(
        self, folder: Path, suffixes: tuple[str, ...], option: str, key: Callable[[str], str] = lambda name: name
    ):
        self.folder, self._key, self._files = folder, key, {}
        for path in files_below(folder, suffixes, option):
            self._files.setdefault(key(path.stem), []).append(path)

    def find_all(self, name: str) -> list[Path]:
        """Returns all files that a name, which has no ending, may mean."""
        return self._files.get(self._key(name), [])

    def find(self, name: str) -> Path | None:
        """Returns the file that a name means; `None` if there is none, an error if there are several."""
        return only_one(self.find_all(name), name)


def only_one(paths: list[Path], name: str) -> Path | None:
    """Returns the one of `paths` that a name means, or `None`; several are an error."""
    if len(paths) > 1:
        raise InputError(f"{' and '.join(map(str, paths))} may both be meant by {name!r}: leave one")
    return paths[0] if paths else None


class MediaRoot:
    """Finds the clips that a table names in a folder. A name leads to nothing but what lies below the folder."""

    def __init__(self, folder: Path):
        self.folder = Path(os.path.realpath(folder))
        self._entries: dict[Path, dict[str, list[str]]] = {}

    def key(self, name: str) -> str:
        """
        Returns the path of a clip, from the folder on, as it is on disk; that which the name tells if it isn't there.

        A name in other case or with other accents (composed, decomposed) and one with back slashes is that of a clip
        too, if it can be that of one only and there is none of that very name.

        Raises:
            `ValueError`: if it is an address or leads out of the folder, or several files may be meant.
        """
        slashed = name.replace("\\", "/")
        if ADDRESS.match(name):
            raise ValueError(f"must be a path below --media-root, got an address: {name!r:.200}")
        if slashed.startswith("/") or re.match("[a-z]:/", slashed, re.IGNORECASE) or ".." in slashed.split("/"):
            raise ValueError(f"must be a path below --media-root, without .., got {name!r:.200}")
        if "\0" in name:
            raise ValueError(f"must be a path, got {name!r:.200}")
        path = posixpath.normpath(name)
        if not os.path.lexists(self.folder / path):
            path, found = posixpath.normpath(slashed), ""
            for part in path.split("/"):
                found = posixpath.join(found, self._entry(found, part))
            path = found
        self._check(path)
        return path

    def path(self, key: str) -> Path:
        """Returns where the clip of a key lies, links followed."""
        return Path(os.path.realpath(self.folder / key))

    def _entry(self, folder: str, name: str) -> str:
        place = self.folder / folder
        if os.path.lexists(place / name):
            return name
        self._check(folder)
        if place not in self._entries:
            entries = self._entries[place] = {}
            for entry in os.listdir(place) if place.is_dir() else ():
                entries.setdefault(one_form(entry).casefold(), []).append(entry)
        alike = self._entries[place].get(one_form(name).casefold(), [])
        alike = [entry for entry in alike if one_form(entry) == one_form(name)] or alike
        if len(alike) > 1:
            raise ValueError(f"may be {' or '.join(map(repr, sorted(alike)))}, got {name!r}: write it as the file is")
        return alike[0] if alike else name

    def _check(self, key: str) -> None:
        # A link may lead out of the folder, and the table's author need not be the folder's: only those of the Hub's
        # cache do so by design, from a snapshot to the blobs beside it.
        real = self.path(key)
        caches = [place.parent for place in (self.folder / key).parents if place.name == "snapshots"]
        if not any(real.is_relative_to(place) for place in (self.folder, *(cache / "blobs" for cache in caches))):
            raise ValueError(
                f"must be a path below --media-root, but {key!r} is a link that leads out of it: put a copy in its "
                "place, or pass a folder that holds both"
            )
