"""
The dataset folder on disk: what `load_dataset("umui", "<config>")` reads.

A config is a folder: `umui/<config>/<split>/metadata.parquet` and, for sound and video, the clips in `media/` beside
it. A clip with fifty hypotheses is stored once. The YAML at the head of `umui/README.md` names configs and splits.
"""

import hashlib
import shutil
from contextlib import contextmanager
from pathlib import Path

import yaml
from datasets.packaged_modules.videofolder.videofolder import VideoFolder

from common.digests import file_digest
from common.errors import InputError
from common.files import locked, write_text
from datasets_scripts.schema import SPLITS


CARD = Path(__file__).with_name("folder_card.md")


class FolderError(InputError):
    """The dataset folder is not in a state that a config can be written to."""


def check_free(out: Path, config: str, overwrite: bool) -> None:
    """
    Makes sure that `config` may be written, before any work is done.

    Raises:
        `FolderError`: if the config exists and is not to be overwritten, or the folder's README can't be extended.
    """
    for place in (out, *out.parents):
        if place.exists() and not place.is_dir():
            raise FolderError(f"{place} is a file: pass another --output-dir")
    there = (out / config).exists() or _aside(out, config).exists()
    if there and not overwrite:
        raise FolderError(f"{out / config} exists already: pass --overwrite to build it anew, or another --output-dir")
    _read_card(out)


@contextmanager
def folder_lock(out: Path):
    """
    One build at a time writes to a dataset folder: they share its README.

    Raises:
        `FolderError`: if another one is at it.
    """
    with locked(out / ".lock", FolderError(f"another build is writing to {out}: wait for it to end")):
        yield


def put_in_place(out: Path, config: str, folder: Path) -> None:
    """Makes the finished `folder` the config of that name, in place of an earlier one, and names it in the README."""
    if (out / config).exists():
        (out / config).rename(_aside(out, config))
    folder.rename(out / config)
    _add_to_card(out, config)
    shutil.rmtree(_aside(out, config), ignore_errors=True)


def recover(out: Path, config: str) -> None:
    """Mends what a kill in the middle of [`put_in_place`] left: the earlier config aside, or a new one not named."""
    aside = _aside(out, config)
    if aside.exists() and not (out / config).exists():
        aside.rename(out / config)
    named = any(entry["config_name"] == config for entry in _read_card(out)[0]["configs"])
    if (out / config).exists() and (aside.exists() or not named):
        _add_to_card(out, config)
    shutil.rmtree(aside, ignore_errors=True)


def _aside(out: Path, config: str) -> Path:
    return out / f".{config}.replaced"


def _digest(folder: Path) -> str:
    """A hash of the names and contents of all files."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(file.relative_to(folder).as_posix().encode())
        digest.update(bytes.fromhex(file_digest(file)))
    return digest.hexdigest()[:16]


def _read_card(out: Path) -> tuple[dict, str]:
    path = out / "README.md"
    if not path.exists():
        return {"pretty_name": "UMUI", "configs": []}, "\n" + CARD.read_text(encoding="utf-8")
    text = path.read_text(encoding="utf-8")
    parts = text.split("---\n", 2)
    if len(parts) != 3 or parts[0]:
        raise FolderError(
            f"{path} has no YAML front matter between two lines of ---: add it, or pass another --output-dir"
        )
    try:
        front = yaml.safe_load(parts[1])
    except yaml.YAMLError as error:
        raise FolderError(f"the YAML front matter of {path} is broken: {error}") from error
    configs = front.get("configs", []) if isinstance(front, dict) else None
    if not isinstance(configs, list) or not all("config_name" in config for config in configs):
        raise FolderError(
            f"the YAML front matter of {path} is not a mapping with a list of configs, each with its name"
        )
    return {"configs": [], **front}, parts[2]


def _add_to_card(out: Path, config: str) -> None:
    front, body = _read_card(out)
    splits = [split for split in SPLITS if (out / config / split).is_dir()]
    suffixes = sorted({file.suffix for file in (out / config).glob("*/media/*")})
    data_files = [
        {
            "split": split,
            "path": [f"{config}/{split}/metadata.parquet", *(f"{config}/{split}/media/*{end}" for end in suffixes)],
        }
        for split in splits
    ]
    # `datasets` (5.2) caches a folder under its name and this text alone: without the digest, `load_dataset` would go
    # on giving the rows of an earlier build.
    entry = {"config_name": config, "description": f"sha256 {_digest(out / config)}", "data_files": data_files}
    if suffixes:
        # From the Hub, `datasets` (5.2) would else decode clips as it streams, before they can be cast.
        entry["decode_num_threads"] = 0
    others = [other for other in front["configs"] if other["config_name"] != config]
    replaced = [other for other in front["configs"] if other["config_name"] == config]
    if not others or any(other.get("default") for other in replaced):
        entry["default"] = True
    # `datasets` takes one loader for all configs, by the files of the first: the one for video reads the others too.
    front["configs"] = sorted([*others, entry], key=_loader_rank)
    write_text(out / "README.md", f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n{body}")


def _loader_rank(config: dict) -> tuple[int, str]:
    files = str(config["data_files"])
    has_video = any(f"media/*{suffix}'" in files for suffix in VideoFolder.EXTENSIONS)
    return (0 if has_video else 1 if "/media/" in files else 2), config["config_name"]
