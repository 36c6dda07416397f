"""Digests values, files, clips, and the weights of a checkpoint, to tell whether two are the same."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path


# What training leaves in the folder of a checkpoint that is no part of the model.
NOT_THE_MODEL = ("trainer_state.json", "manifest.json")


def digest(value: object) -> str:
    """Returns the first 16 hexadecimal digits of the SHA-256 of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def file_digest(path: str | Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def clip_digest(clip: Mapping) -> str:
    """Returns the SHA-256 of a clip's content (`{"bytes", "path"}`) in hexadecimal; an unchanged file is read once."""
    return _digest_once(clip["path"]) if clip["bytes"] is None else hashlib.sha256(clip["bytes"]).hexdigest()


def _digest_once(path: str | Path) -> str:
    found = Path(path).stat()
    # Not the time of modification: a build takes over that of the raw file.
    return _unchanged_file_digest(str(path), found.st_ino, found.st_ctime_ns, found.st_size)


@cache
def _unchanged_file_digest(path: str, number: int, changed: int, size: int) -> str:
    return file_digest(path)


def weights_digest(checkpoint: str | Path) -> str:
    """Returns 16 hexadecimal digits for a checkpoint folder's configuration, tokenizer, processor and weights, the
    same for a copy of the folder or from the Hub; a `ValueError` if it has no weights. An unchanged file is
    read once."""
    files = [path for path in Path(checkpoint).iterdir() if path.suffix in (".json", ".safetensors")]
    if not any(path.suffix == ".safetensors" for path in files):
        raise ValueError(f"{checkpoint} is no checkpoint: there are no .safetensors weights in it.")
    return digest([[path.name, _digest_once(path)] for path in sorted(files) if path.name not in NOT_THE_MODEL])
