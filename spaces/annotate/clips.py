"""Gives each clip of a dataset a file, under a name by which browsers know what it is."""

import hashlib
from pathlib import Path


# The document type in the header of a Matroska file.
WEBM = b"\x42\x82\x84webm"


def file_for(value: dict, name: str, clips: Path) -> str:
    """Returns the path of a clip, which is written if the dataset has no file for it; `name` is for one without."""
    if not value["bytes"]:
        # Not resolved: a link into the Hub's cache leads to a file without its name.
        return str(_as_webm(Path(value["path"]).absolute(), clips))
    # The content names the folder: two clips of one name stay two.
    folder = clips / _digest(value["bytes"])
    file = folder / Path(value["path"] or name).name
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(file.name + ".partial")
        partial.write_bytes(value["bytes"])
        partial.replace(file)
    return str(_as_webm(file.absolute(), clips))


def _as_webm(clip: Path, clips: Path) -> Path:
    """Links a WebM to its own name, by which browsers know it: datasets store it by that of Matroska."""
    if clip.suffix != ".mkv":
        return clip
    with clip.open("rb") as file:
        if WEBM not in file.read(64):
            return clip
    link = clips / _digest(str(clip).encode()) / f"{clip.stem}.webm"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(clip)
    return link


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
