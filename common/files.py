"""Writes files that outlive a kill: whole or not there, by one process alone, or a line at a time; reads JSON
lines."""

import gzip
import json
import mmap
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from common.errors import InputError


@contextmanager
def replacing(path: str | Path, synced: bool = False) -> Iterator[Path]:
    """Gives another name to write a file or a folder under, and renames it to `path` once written.

    Nobody finds half of it: what was there stays until then, and if the writing fails. What is linked to the earlier
    file stays as it was.

    Args:
        path (`str` or `Path`): The file, or a folder that isn't there yet.
        synced (`bool`, *optional*, defaults to `False`): Outlive a failure of the machine too.

    Yields:
        `Path`: a hidden name beside it. What a killed process left there is gone.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    _remove(partial)
    try:
        yield partial
        if synced:
            sync(partial)
        partial.replace(path)
    except BaseException:
        _remove(partial)
        raise
    if synced:
        sync(path.parent)


def write_text(path: str | Path, text: str, synced: bool = False) -> None:
    """Writes a text file as a whole, see [`replacing`]; line breaks stay as they are."""
    with replacing(path, synced) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def sync(*paths: Path) -> None:
    """Brings files, and the names in folders, to the disk: a rename must not outlive what it renamed."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, error: Exception) -> Iterator[None]:
    """Holds a lock, which goes with the process that holds it, however that ends.

    Args:
        path (`Path`): The lock's file, which only a kill leaves behind.
        error (`Exception`): What to raise if it is held already.
    """
    lock = FileLock(path, blocking=False)
    try:
        lock.acquire()
    except Timeout as timeout:
        raise error from timeout
    try:
        yield
    finally:
        # While it is held: whoever opened it meanwhile sees that it is gone, and asks anew.
        path.unlink(missing_ok=True)
        lock.release()


@contextmanager
def journal(path: Path) -> Iterator[Callable[[Iterable[dict]], None]]:
    """Opens a file of JSON lines, which one process at a time adds to; cuts off a last line that a kill left
    unfinished.

    Yields:
        `Callable[[Iterable[dict]], None]`: adds objects, which are on disk when it returns.
    """
    with path.open("a+b") as file:
        if file.seek(0, os.SEEK_END):
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                end = content.rfind(b"\n") + 1
            file.truncate(end)

        def add(objects: Iterable[dict]) -> None:
            # Escaped: a text may hold half of a character, which UTF-8 can't.
            file.write("".join(json.dumps(one) + "\n" for one in objects).encode("ascii"))
            file.flush()
            os.fsync(file.fileno())

        yield add


def read_journal(path: Path) -> Iterator[dict]:
    """Reads what was added to a [`journal`], maybe by another process still; an `InputError` at what is no object."""
    for number, found in read_objects(path, whole_lines=True):
        if isinstance(found, str):
            raise InputError(f"{path} line {number} {found}: remove the line, and what it told is made anew")
        yield found


def read_objects(path: Path, whole_lines: bool = False) -> Iterator[tuple[int, dict | str]]:
    """Reads a file of JSON lines, compressed if it ends in `.gz`, empty lines aside.

    Args:
        path (`Path`): The file.
        whole_lines (`bool`, *optional*, defaults to `False`): Leave out a last line that has no end.

    Yields:
        `tuple[int, dict | str]`: the number of each line with the object it holds, or with what is wrong with it.
    """
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as lines:
        for number, line in enumerate(_lines(lines), start=1):
            ended = line.endswith(b"\n")
            if whole_lines and not ended:
                return
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                if not text.strip():
                    continue
                found = json.loads(text)
            except UnicodeDecodeError:
                yield number, "holds bytes that are no UTF-8"
            except (ValueError, RecursionError) as error:
                yield number, f"is no JSON: {error}{'' if ended else ' (the line has no end: was it written whole?)'}"
            else:
                yield number, found if isinstance(found, dict) else "is no JSON object"


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    try:
        yield from file
    except (EOFError, zlib.error) as error:  # of a compressed file that is torn or broken
        raise OSError(f"{file.name}: {error}") from error


def differences(before: dict, now: dict) -> str:
    """Tells how settings differ from those kept before: `seed was 1 and is 2; ...`, or nothing."""
    return "; ".join(
        f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
        for name in now | before
        if before.get(name) != now.get(name)
    )
