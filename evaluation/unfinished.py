"""
Predictions that are being made: whatever is killed, what was written is kept, and nothing is scored twice.

Each process appends to a file of its own, `predictions.jsonl.partial`, `predictions.jsonl.1.partial` ... When every
row is in one of them, the main process puts them into `predictions.jsonl`, in the order of the split.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate import PartialState

from evaluation.report import write_text


FINISHED = "predictions.jsonl"


@contextmanager
def only_run(out: Path, processes: PartialState) -> Iterator[None]:
    """
    One evaluation at a time writes to a folder. Each of its processes holds the lock, until it ends: one that outlived
    its launcher keeps the next evaluation out.

    Args:
        out (`Path`): The folder.
        processes (`PartialState`): Those of this evaluation.

    Raises:
        `ValueError`: if a process of another one is at it.
    """
    with _opened(out) as handle:
        try:
            if processes.is_main_process:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody else has it
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"Another evaluation is writing to {out}: wait for it, or end its processes (those of a launcher that "
                "was killed may still be there)."
            ) from error
        processes.wait_for_everyone()
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield


def check_settings(out: Path, settings: dict) -> None:
    """
    Writes `settings.json`, or compares with the one that is there.

    Raises:
        `ValueError`: if the folder holds predictions made with other settings.
    """
    path = out / "settings.json"
    if not path.exists():
        write_text(path, json.dumps(settings, indent=2) + "\n")
        return
    before = json.loads(path.read_text())
    differ = [
        f"{key} was {before.get(key)}, is {settings.get(key)}"
        for key in settings | before
        if before.get(key) != settings.get(key)
    ]
    if differ:
        raise ValueError(
            f"{out} holds predictions made with other settings ({'; '.join(differ)}). "
            "Give another --output-dir, or remove that folder to evaluate anew."
        )


def read_predictions(out: Path, asked: dict[str, dict]) -> dict[str, dict]:
    """
    Reads the predictions written so far, by however many processes, and cuts off last lines torn by a kill.

    Args:
        out (`Path`): The folder.
        asked (`dict[str, dict]`): The rows that are evaluated by id: what each asks, and its answer is measured by.

    Returns:
        `dict[str, dict]`: predictions by id.

    Raises:
        `ValueError`: if a row is there twice, is none of the split's, or was another when it was predicted.
    """
    finished = out / FINISHED
    done = {}
    for path in [finished] if finished.exists() else _partial_files(out):
        for answer in _whole_lines(path):
            name = answer["id"]
            if name in done or name not in asked:
                what = "twice" if name in done else "but not in the split"
                raise ValueError(f"Row {name} is in {path} {what}: remove the folder to evaluate anew.")
            differ = [what for what, value in asked[name].items() if answer.get(what) != value]
            if differ:
                raise ValueError(
                    f"Row {name} is in {path} with another {', '.join(differ)}: the dataset was changed since. Give "
                    "another --output-dir, or remove that folder to evaluate anew."
                )
            done[name] = answer
    return done


def append_predictions(out: Path, process: int, batches: Iterable[list[dict]]) -> Iterator[list[dict]]:
    """
    Writes predictions as they are made, whole batches at a time, synced to disk.

    Args:
        out (`Path`): The folder.
        process (`int`): The index of this process, which no other writes for.
        batches (`Iterable[list[dict]]`): The predictions.

    Yields:
        `list[dict]`: each batch, once it is on disk.
    """
    name = f"{FINISHED}.{process}.partial" if process else f"{FINISHED}.partial"
    with open(out / name, "ab") as file:
        for answers in batches:
            file.write("".join(json.dumps(answer) + "\n" for answer in answers).encode())
            file.flush()
            os.fsync(file.fileno())
            yield answers


def finish_predictions(out: Path, asked: dict[str, dict]) -> list[dict]:
    """
    Makes one file of what all processes have written, when every row is there; it may be there already.

    Args:
        out (`Path`): The folder.
        asked (`dict[str, dict]`): The rows, as in [`read_predictions`], in the order of the split.

    Returns:
        `list[dict]`: the predictions in that order.
    """
    done = read_predictions(out, asked)
    predictions = [done[name] for name in asked]
    if not (out / FINISHED).exists():
        whole = out / f"{FINISHED}.whole"  # `.partial` is what was made and not yet kept elsewhere
        with open(whole, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(answer) + "\n" for answer in predictions)
            file.flush()
            os.fsync(file.fileno())
        whole.replace(out / FINISHED)
    for path in _partial_files(out):
        path.unlink()
    return predictions


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


def _partial_files(out: Path) -> list[Path]:
    return sorted(out.glob(f"{FINISHED}*.partial"))


def _whole_lines(path: Path) -> Iterator[dict]:
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    return map(json.loads, whole.splitlines())
