"""Finds the clips of a source below a folder, however its archives were unpacked and its tables spell their names."""

import os
import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from common.errors import InputError
from datasets_scripts.schema import one_form


ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://|(file|data):", re.IGNORECASE)


def files_below(folder: Path, suffixes: tuple[str, ...], option: str) -> list[Path]:
    """
    All media files below a folder, links followed, hidden files left out.

    Args:
        folder (`Path`): The folder.
        suffixes (`tuple[str, ...]`): The endings to look for, in lower case with their dot.
        option (`str`): The option that named the folder, for the error.

    Returns:
        `list[Path]`: the files, sorted.

    Raises:
        `InputError`: if there is no such folder, or no such file in it.
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


class NamedFiles:
    """
    Media files below a folder by the names that a source may mean them by.

    Args:
        folder (`Path`), suffixes (`tuple[str, ...]`), option (`str`): As of [`files_below`].
        key (`Callable[[str], str]`, *optional*): What all names of one file have in common; by default a name without
            its ending.
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
    """
    Returns the file that a name means, or `None`.

    Args:
        paths (`list[Path]`): Those that it may mean.
        name (`str`): The name, for the error.

    Raises:
        `InputError`: if there are several.
    """
    if len(paths) > 1:
        raise InputError(f"{' and '.join(map(str, paths))} may both be meant by {name!r}: leave one")
    return paths[0] if paths else None


class MediaRoot:
    """
    A folder with clips that a table names. A name leads to nothing but what lies below the folder.

    Args:
        folder (`Path`): The folder.
    """

    def __init__(self, folder: Path):
        self.folder = Path(os.path.realpath(folder))
        self._entries: dict[Path, dict[str, list[str]]] = {}

    def key(self, name: str) -> str:
        """
        The path of a clip, from the folder on, as it is on disk.

        A name in other case or with other accents (composed, decomposed) and one with back slashes is that of a clip
        too, if it can be that of one only and there is none of that very name.

        Args:
            name (`str`): What the table calls it.

        Returns:
            `str`: the path; where there is no such file, that which the name tells.

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
        """Where the clip of a key lies, links followed."""
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
