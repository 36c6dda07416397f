"""
The answers on disk: a folder with one JSONL file a task, to which finished pairs are added.

A line is written in one go when its pair is finished, so what a killed run leaves behind is whole lines and perhaps
the beginning of one, which is cut off before the next run adds to the file.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from chat.failures import RunStoppedError
from common import files


@contextmanager
def locked(shard: Path) -> Iterator[Callable[[Iterable[dict]], None]]:
    """
    Opens a shard to add to, for one process alone, and cuts off the line that a killed one did not finish.

    Args:
        shard (`Path`): The file; made if it isn't there.

    Yields:
        `Callable[[Iterable[dict]], None]`: adds finished pairs.

    Raises:
        `RunStoppedError`: if another process is writing to it.
    """
    taken = RunStoppedError(f"{shard} is written by another run: wait for it, or end it")
    with files.locked(shard.with_name(f".{shard.name}.lock"), taken), files.journal(shard) as add:
        yield add


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
        yield from files.read_journal(shard)


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
        with locked(shard), files.replacing(shard) as partial, partial.open("w", encoding="utf-8") as new:
            for pair in files.read_journal(shard):
                other = change(pair)
                changed += other != pair
                new.write("" if other is None else json.dumps(other) + "\n")
    return changed
