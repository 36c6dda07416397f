"""Keeps predictions as they are made: a kill loses nothing that was written, and nothing is scored twice.

Each process appends to a file of its own, `predictions.jsonl.partial`, `predictions.jsonl.1.partial` ... When every
row is in one of them, the main process puts them into `predictions.jsonl`, in the order of the split.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from accelerate import PartialState
from tqdm.auto import tqdm

from common.files import differences, journal, locked, read_journal, write_text


FINISHED = "predictions.jsonl"
LOCK = ".lock"


@contextmanager
def lock_output_dir(out: Path, processes: PartialState) -> Iterator[None]:
    """Lets one evaluation at a time write to a folder. Each process holds a lock, so that one that outlived its
    launcher keeps the next evaluation out."""
    taken = ValueError(
        f"Another evaluation is writing to {out}: wait for it, or end its processes (those of a launcher that was "
        "killed may still be there)."
    )
    with ExitStack() as held:
        if processes.is_main_process:
            held.enter_context(locked(out / LOCK, taken))
            for other in out.glob(f"{LOCK}.*"):
                with locked(other, taken):
                    pass
        processes.wait_for_everyone()
        if not processes.is_main_process:
            held.enter_context(locked(out / f"{LOCK}.{processes.process_index}", taken))
        yield


def output_folder(path: str | Path) -> Path:
    """Returns the path of `--output-dir`, whether or not it is there; a `ValueError` if it is a file."""
    out = Path(path)
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: give another --output-dir, a folder.")
    return out


def ask_about(
    load: Callable[[], Any],
    ask: Callable[[Any, Any, Path], list[dict]],
    suite: Mapping[str, Any],
    out: Path,
    file: str,
    settings: dict,
) -> list[dict]:
    """
    Returns the answers about a suite in its order, going on from what an interrupted run has kept in a folder.

    Args:
        load (`Callable`): Loads the pipeline; called only if premises are left to ask about.
        ask (`Callable`): Asks the pipeline about one premise, whose clip it writes into the folder it is given;
            returns rows that JSON can hold, one at least, with the premise's name as `premise`.
        suite (`Mapping[str, Any]`): The premises with their hypotheses, by name.
        out (`Path`): The folder, made if need be; clips are written into its `media`.
        file (`str`): Name of the file there that keeps the rows.
        settings (`dict`): What the answers depend on, kept in `settings.json` beside them.

    Raises:
        ValueError: if the folder holds answers of other settings, or another run is writing to it.
    """
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / LOCK, ValueError(f"Another evaluation is writing to {out}: wait for it, or end it.")):
        check_settings(out, settings)
        path, kept = out / file, {}
        for row in read_journal(path) if path.exists() else ():
            kept.setdefault(row["premise"], []).append(row)
        left = [name for name in suite if name not in kept]
        if kept and left:
            print(f"{out} holds {len(kept):,} of {len(suite):,} premises already: going on with the others.")
        if left:
            media = out / "media"
            media.mkdir(exist_ok=True)
            pipeline = load()
            with journal(path) as add:
                for name in tqdm(left, unit="premise"):
                    kept[name] = ask(pipeline, suite[name], media)
                    add(kept[name])
    return [row for name in suite for row in kept[name]]


def check_settings(out: Path, settings: dict) -> None:
    """Writes `settings.json`, or compares it with the one that is there."""
    path = out / "settings.json"
    if not path.exists():
        write_text(path, json.dumps(settings, indent=2) + "\n")
        return
    if changes := differences(json.loads(path.read_text()), settings):
        raise ValueError(
            f"{out} holds predictions made with other settings ({changes}). "
            "Give another --output-dir, or remove that folder to evaluate anew."
        )


def read_predictions(out: Path, asked: dict[str, dict]) -> dict[str, dict]:
    """Reads the predictions of all processes so far by id. Refuses a row that is there twice, is not in the split, or
    has changed since: `asked` has, by id, what each row asks and its answer is measured by."""
    finished = out / FINISHED
    done = {}
    for path in [finished] if finished.exists() else _partial_files(out):
        for answer in read_journal(path):
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
    """Writes predictions as they are made, to a file of this process, and yields each batch once it is on disk."""
    name = f"{FINISHED}.{process}.partial" if process else f"{FINISHED}.partial"
    with journal(out / name) as add:
        for answers in batches:
            add(answers)
            yield answers


def finish_predictions(out: Path, asked: dict[str, dict]) -> list[dict]:
    """Makes one file of what all processes have written, if need be, and returns it in the order of `asked`."""
    done = read_predictions(out, asked)
    predictions = [done[name] for name in asked]
    if not (out / FINISHED).exists():
        write_text(out / FINISHED, "".join(json.dumps(answer) + "\n" for answer in predictions), synced=True)
    for path in _partial_files(out):
        path.unlink()
    return predictions


def _partial_files(out: Path) -> list[Path]:
    return sorted(out.glob(f"{FINISHED}*.partial"))
