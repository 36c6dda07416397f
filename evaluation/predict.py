"""Scores a split in batches of premises: the next is decoded while the model is at one, and each is kept as it is
made."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain, islice
from math import isnan
from pathlib import Path
from typing import Any

from accelerate import PartialState
from datasets import Dataset
from tqdm.auto import tqdm

from evaluation.predictors.prediction import AnyPrediction, Predictor
from evaluation.processes import compute_on_main
from evaluation.unfinished import (
    append_predictions,
    check_settings,
    finish_predictions,
    lock_output_dir,
    read_predictions,
)


# What a prediction is about beside its premise, by what it is called there, and the columns of rows that have it.
ASKED = {"hypothesis": "hypothesis", "target": "probability", "label": "label"}


def predict_split(
    make_predictor: Callable[[], Predictor],
    rows: Dataset,
    keys: list[str],
    out: Path,
    settings: dict,
    batch_size: int,
    processes: PartialState,
    rows_at_once: int | None = None,
) -> list[dict]:
    """Scores every row once, going on from what an interrupted run has written, whatever number of processes it had.

    Processes take turns at the batches, and keep what they make in files of their own; `predictions.jsonl` is there
    once it holds every row. Each process has to call this function.

    Args:
        make_predictor (`Callable`): Loads what scores them; called only if rows are left to score.
        rows (`datasets.Dataset`): Rows of [`~evaluation.data.load_rows`].
        keys (`list[str]`): The premise of each row.
        out (`Path`): Folder of the predictions, on a disk that all processes share.
        settings (`dict`): What the predictions depend on, kept in `settings.json` beside them.
        batch_size (`int`): Premises scored together.
        processes (`PartialState`): Those that score them.
        rows_at_once (`int`, *optional*): Most rows about a premise that are scored together.

    Returns:
        `list[dict]`: the predictions, in the order of the rows; on other processes than the main one, nothing.

    Raises:
        `ValueError`: if the folder holds predictions made with other settings, another run is writing to it, or a
            row cannot be scored.
    """
    columns = {"premise": keys} | {name: rows[column][:] for name, column in ASKED.items()}
    ids = rows["id"][:]
    asked = {
        name: dict(zip(columns, values, strict=True)) for name, *values in zip(ids, *columns.values(), strict=True)
    }

    def missing() -> list[int]:
        check_settings(out, settings)
        done = read_predictions(out, asked)
        return [index for index, name in enumerate(ids) if name not in done]

    with lock_output_dir(out, processes):
        left = compute_on_main(processes, missing)
        if processes.is_main_process and 0 < len(left) < len(ids):
            print(f"{out} holds {len(ids) - len(left):,} of {len(ids):,} rows already: going on with the others.")
        batches = make_batches(left, keys, batch_size, rows_at_once)
        batches = batches[processes.process_index :: processes.num_processes]
        if batches:
            scored = append_predictions(
                out, processes.process_index, score_batches(make_predictor(), rows, batches, keys)
            )
            share = f"process 1 of {processes.num_processes}" if processes.num_processes > 1 else None
            total, quiet = sum(map(len, batches)), None if processes.is_main_process else True
            with tqdm(desc=share, total=total, unit="hypotheses", disable=quiet) as bar:
                for answers in scored:
                    bar.update(len(answers))
        processes.wait_for_everyone()
        return finish_predictions(out, asked) if processes.is_main_process else []


def make_batches(
    indices: list[int], keys: list[str], batch_size: int, rows_at_once: int | None = None
) -> list[list[int]]:
    """Groups the rows `indices` by premise, and premises into batches, one with more rows than fit as several."""
    by_premise = {}
    for index in indices:
        by_premise.setdefault(keys[index], []).append(index)
    passes = [
        group[start : start + (rows_at_once or len(group))]
        for group in by_premise.values()
        for start in range(0, len(group), rows_at_once or len(group))
    ]
    return [list(chain(*passes[start : start + batch_size])) for start in range(0, len(passes), batch_size)]


def score_batches(
    predictor: Predictor, rows: Dataset | list[dict], batches: Iterable[list[int]], keys: list[str]
) -> Iterator[list[dict]]:
    """Yields the predictions of each batch, a JSON-ready `dict` a row; errors name the rows that can't be scored."""

    def read(batch: list[int]) -> tuple[list[dict], Any]:
        chosen = [rows[index] for index in batch]
        with name_rows_in_errors(chosen, [keys[index] for index in batch]):
            return chosen, predictor.prepare(chosen)

    for batch, (chosen, prepared) in prefetch(read, batches):
        about = [keys[index] for index in batch]
        with name_rows_in_errors(chosen, about):
            answers = predictor.answer(prepared)
        yield as_rows(chosen, about, answers)


def prefetch(prepare: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Yields items with what `prepare` makes of each on another thread, where it is one item ahead and no further."""
    waiting = iter(items)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prepare") as thread:
        ahead = [(item, thread.submit(prepare, item)) for item in islice(waiting, 1)]
        try:
            while ahead:
                item, future = ahead.pop()
                prepared = future.result()
                ahead += [(following, thread.submit(prepare, following)) for following in islice(waiting, 1)]
                yield item, prepared
                del prepared, future  # before the next but one is made
        finally:
            for _, future in ahead:
                future.cancel()


@contextmanager
def name_rows_in_errors(chosen: list[dict], about: list[str]) -> Iterator[None]:
    """Names the first row of each premise in an error."""
    first = {key: row["id"] for key, row in zip(reversed(about), reversed(chosen), strict=True)}
    names = ", ".join(first[key] for key in dict.fromkeys(about))
    try:
        yield
    except ValueError as error:
        raise ValueError(f"The premises of rows {names} could not be scored: {error}") from error
    except Exception as error:
        error.add_note(f"It happened while the premises of rows {names} were scored.")
        raise


def as_rows(chosen: list[dict], about: list[str], answers: list[AnyPrediction]) -> list[dict]:
    """Returns the predictions of a batch as they are written, each with its premise, by `about`."""
    answered = [(row, key, asdict(answer)) for row, key, answer in zip(chosen, about, answers, strict=True)]
    missing = [row["id"] for row, _, a in answered if a["probability"] is not None and isnan(a["probability"])]
    if missing:
        raise ValueError(
            f"The model's probability is not a number for rows {', '.join(missing)}: look at its weights."
        )
    return [
        {
            "id": row["id"],
            "premise": key,
            "hypothesis": row["hypothesis"],
            "prediction": answer.pop("probability"),
            **answer,
            "target": row["probability"],
            "label": row["label"],
        }
        for row, key, answer in answered
    ]
