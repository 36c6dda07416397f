"""Finds the clips of a source below a folder, however its archives were unpacked."""

import os
from pathlib import Path

from datasets_scripts.schema import BuildError


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
        `BuildError`: if there is no such folder, or no such file in it.
    """
    if not folder.is_dir():
        raise BuildError(f"{option} {folder} is not a folder")
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
        raise BuildError(f"{option} {folder} holds no file that ends in {', '.join(suffixes)}")
    return sorted(found)
