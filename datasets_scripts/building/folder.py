"""
Keeps the dataset folder on disk, which `load_dataset("umui", "<config>")` reads.

A config is a folder: `umui/<config>/<split>/metadata.parquet` and, for sound and video, the clips in `media/` beside
it. A clip with fifty hypotheses is stored once. The YAML at the head of `umui/README.md` names configs and splits.
"""

import hashlib
import shutil
from contextlib import AbstractContextManager
from pathlib import Path

import yaml
from datasets.packaged_modules.videofolder.videofolder import VideoFolder

from common.digests import file_digest
from common.errors import InputError
from common.files import locked, write_text
from datasets_scripts.schema import ROWS_FILE, SPLITS


CARD = Path(__file__).with_name("folder_card.md")


def check_free(out: Path, config: str, overwrite: bool) -> None:
    """Raises an `InputError`, before any work is done, if the config is there already or can't be written."""
    for place in (out, *out.parents):
        if place.exists() and not place.is_dir():
            raise InputError(f"{place} is a file: pass another --output-dir")
    if not overwrite and ((out / config).exists() or _backup(out, config).exists()):
        raise InputError(f"{out / config} exists already: pass --overwrite to build it anew, or another --output-dir")
    _read_card(out)


def folder_lock(out: Path) -> AbstractContextManager[None]:
    """Returns the lock of a dataset folder, to which one build at a time writes: they share its README."""
    return locked(out / ".lock", InputError(f"another build is writing to {out}: wait for it to end"))


def replace_config(out: Path, config: str, folder: Path) -> None:
    """Makes the finished `folder` the config of that name, in place of an earlier one, and names it in the README."""
    if (out / config).exists():
        (out / config).rename(_backup(out, config))
    folder.rename(out / config)
    _add_to_card(out, config)
    shutil.rmtree(_backup(out, config), ignore_errors=True)


def recover(out: Path, config: str) -> None:
    """Mends what a kill in the middle of [`replace_config`] left: the earlier config moved, or a new one not named."""
    backup = _backup(out, config)
    if backup.exists() and not (out / config).exists():
        backup.rename(out / config)
    named = any(entry["config_name"] == config for entry in _read_card(out)[0]["configs"])
    if (out / config).exists() and (backup.exists() or not named):
        _add_to_card(out, config)
    shutil.rmtree(backup, ignore_errors=True)


def _backup(out: Path, config: str) -> Path:
    return out / f".{config}.replaced"


def _digest(folder: Path) -> str:
    """Returns a hash of the names and contents of all files."""
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
        raise InputError(
            f"{path} has no YAML front matter between two lines of ---: add it, or pass another --output-dir"
        )
    try:
        front = yaml.safe_load(parts[1])
    except yaml.YAMLError as error:
        raise InputError(f"the YAML front matter of {path} is broken: {error}") from error
    configs = front.get("configs", []) if isinstance(front, dict) else None
    if not isinstance(configs, list) or not all("config_name" in config for config in configs):
        raise InputError(
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
            "path": [f"{config}/{split}/{ROWS_FILE}", *(f"{config}/{split}/media/*{end}" for end in suffixes)],
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
