"""
The answers on disk: a folder with one JSONL file a task, to which finished pairs are added.

A line is written in one go when its pair is finished, so what a killed run leaves behind is whole lines and perhaps
the beginning of one, which is cut off before the next run adds to the file.
"""

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from chat.failures import RunStoppedError


@contextmanager
def locked(shard: Path) -> Iterator[BinaryIO]:
    """
    Opens a shard to add to, for one process alone, and cuts off the line that a killed one did not finish.

    Args:
        shard (`Path`): The file; made if it isn't there.

    Raises:
        `RunStoppedError`: if another process is writing to it.
    """
    with shard.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunStoppedError(f"{shard} is written by another run: wait for it, or end it") from error
        file.seek(0)
        file.truncate(sum(len(line) for line in file if line.endswith(b"\n")))
        yield file


def add_pair(file: BinaryIO, pair: dict) -> None:
    """Adds a finished pair to a shard, where it outlives the process."""
    # Escaped: a server may send halves of surrogate pairs, which UTF-8 can't hold.
    file.write(json.dumps(pair).encode("ascii") + b"\n")
    file.flush()


def shards(folder: Path) -> list[Path]:
    """The files with answers."""
    return sorted(folder.glob("*.jsonl"))


def finished_pairs(folder: Path) -> Iterator[dict]:
    """
    Reads the finished pairs.

    Args:
        folder (`Path`): The folder with the shards. A line without an end is not finished.

    Yields:
        `dict`: `id`, `config`, `split`, `question`, `hypothesis`, `settings`, `answers`; see `answer_files`.
    """
    for shard in shards(folder):
        with shard.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    continue
                try:
                    yield json.loads(line)
                except json.JSONDecodeError as error:
                    raise RunStoppedError(f"{shard}, line {number}: not JSON; remove the line: {error}") from error


def change_pairs(folder: Path, change: Callable[[dict], dict | None]) -> int:
    """
    Changes finished pairs where they stand.

    Args:
        folder (`Path`): The folder with the shards.
        change (`Callable[[dict], dict | None]`): What a pair becomes; `None` removes it, so that it is asked again.

    Returns:
        `int`: how many pairs were changed or removed.
    """
    changed = 0
    for shard in shards(folder):
        partial = shard.with_suffix(".partial")
        with locked(shard), shard.open(encoding="utf-8") as old, partial.open("w", encoding="utf-8") as new:
            for line in old:
                pair = json.loads(line)
                other = change(pair)
                changed += other != pair
                new.write("" if other is None else json.dumps(other) + "\n")
        partial.replace(shard)
    return changed
