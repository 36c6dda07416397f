"""
The dataset folder on disk: what `load_dataset("umui", "<config>")` reads.

A config is a folder: `umui/<config>/<split>/metadata.parquet` and, for sound and video, the clips in `media/` beside
it. A clip with fifty hypotheses is stored once. The YAML at the head of `umui/README.md` names configs and splits.
"""

import hashlib
import shutil
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from datasets import Features, Value

from datasets_scripts.schema import FEATURES, SPLITS, BuildError, validate_row


CARD = """
# UMUI

Premises (a text, an audio clip, a video, or a video with its sound), hypotheses about them, and the probability that
each hypothesis is true. One row is one premise-hypothesis pair.

```python
from datasets import load_dataset

load_dataset("umui", "urn-audio", split="test")
```

The configs `urn-*` are generated and their probabilities exact; those of `unli` are human judgments. Media columns
hold files: cast them with `Audio(decode=False)` and `Video(decode=False)` to get at the file without a decoder. An
audiovisual premise has its sound in its video file. `python -m datasets_scripts.build` extends this folder.

`datasets` picks one loader for all configs, by the files of the first one listed above: a config with video comes
first where there is one. A folder with sound but no video needs torchcodec to be loaded.
"""


class FolderError(BuildError):
    """The dataset folder is not in a state that a config can be written to."""


def check_free(out: Path, config: str, overwrite: bool) -> None:
    """
    Makes sure that `config` may be written, before any work is done.

    Raises:
        `FolderError`: if the config exists and is not to be overwritten, or the folder's README can't be extended.
    """
    for place in (out, *out.parents):
        if place.exists() and not place.is_dir():
            raise FolderError(f"{place} is a file: pass another --out")
    if (out / config).exists() and not overwrite:
        raise FolderError(f"{out / config} exists already: pass --overwrite to build it anew, or another --out")
    _read_card(out)


def write_config(out: Path, config: str, fill: Callable[[Path], dict[str, list[dict]]]) -> dict[str, int]:
    """
    Writes one config as a whole, or nothing, and names it in the README.

    Args:
        out (`Path`): The dataset folder; made if it isn't there.
        config (`str`): The config's name; a config of that name is replaced.
        fill (`Callable[[Path], dict[str, list[dict]]]`): Gets a temporary folder, writes clips to `<split>/media/` in
            it, and returns the rows of each split.

    Returns:
        `dict[str, int]`: how many rows each split has.
    """
    out.mkdir(parents=True, exist_ok=True)
    with _temporary(out / f".{config}.partial") as folder:
        splits = fill(folder)
        for split in SPLITS:
            _write_split(folder / split, splits[split])
        suffixes = sorted({file.suffix for file in folder.glob("*/media/*")})
        digest = _digest(folder)
        with _temporary(out / f".{config}.replaced") as old:
            if (out / config).exists():
                (out / config).rename(old / config)
            folder.rename(out / config)
    _add_to_card(out, config, suffixes, digest)
    return {split: len(splits[split]) for split in SPLITS}


@contextmanager
def _temporary(folder: Path):
    # What an interrupted build left behind is of no use: clips are written faster than they are checked.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_split(folder: Path, rows: list[dict]) -> None:
    if not rows:
        raise FolderError(f"the {folder.name} split would be empty: `datasets` can't load a split without rows")
    for row in rows:
        validate_row(row, f"row {row['id']}")
    media = [column for column in ("audio", "video") if rows[0][column] is not None]
    columns = {name: [row[name] for row in rows] for name in FEATURES if name not in media}
    kinds = {name: FEATURES[name] for name in columns}
    # The loader of media folders turns `audio_file_name` into `audio` and wants at least one column of that kind: a
    # text config has an empty one, so that all configs load with the same columns.
    for name in media or ["video"]:
        columns[f"{name}_file_name"] = [row[name] for row in rows]
        kinds[f"{name}_file_name"] = Value("string")
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns, schema=Features(kinds).arrow_schema), folder / "metadata.parquet")


def _digest(folder: Path) -> str:
    """A hash of the names and contents of all files."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(file.relative_to(folder).as_posix().encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _read_card(out: Path) -> tuple[dict, str]:
    path = out / "README.md"
    if not path.exists():
        return {"pretty_name": "UMUI", "configs": []}, CARD
    text = path.read_text(encoding="utf-8")
    parts = text.split("---\n", 2)
    if len(parts) != 3 or parts[0]:
        raise FolderError(f"{path} has no YAML front matter between two lines of ---: add it, or pass another --out")
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


def _add_to_card(out: Path, config: str, suffixes: list[str], digest: str) -> None:
    front, body = _read_card(out)
    data_files = [
        {
            "split": split,
            "path": [f"{config}/{split}/metadata.parquet", *(f"{config}/{split}/media/*{end}" for end in suffixes)],
        }
        for split in SPLITS
    ]
    # `datasets` (5.2) caches a folder under its name and this text alone: without the digest, `load_dataset` would go
    # on giving the rows of an earlier build.
    entry = {"config_name": config, "description": f"sha256 {digest}", "data_files": data_files}
    others = [other for other in front["configs"] if other["config_name"] != config]
    replaced = [other for other in front["configs"] if other["config_name"] == config]
    if not others or any(other.get("default") for other in replaced):
        entry["default"] = True
    # `datasets` takes one loader for all configs, by the files of the first: the one for video reads the others too.
    front["configs"] = sorted([*others, entry], key=_loader_rank)
    text = f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n{body}"
    partial = out / ".README.md.partial"
    partial.write_text(text, encoding="utf-8")
    partial.replace(out / "README.md")


def _loader_rank(config: dict) -> tuple[int, str]:
    files = str(config["data_files"])
    return (0 if ".mp4" in files else 1 if "/media/" in files else 2), config["config_name"]
