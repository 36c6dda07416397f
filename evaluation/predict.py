"""Every row of a split scored once, written as it is made, so that a killed evaluation goes on."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from math import isnan
from pathlib import Path
from typing import Any

from accelerate import PartialState
from datasets import Dataset
from tqdm.auto import tqdm

from evaluation.predictors import AnyPrediction, Predictor, TwoStagePredictor
from evaluation.processes import told_by_main
from evaluation.unfinished import append_predictions, check_settings, finish_predictions, only_run, read_predictions


# Claims of one premise that go through the model together; more of them are scored in several passes.
HYPOTHESES_PER_PASS = 64
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
) -> list[dict]:
    """
    Scores every row once, going on from what an interrupted run has written, whatever number of processes it had.

    Processes take turns at the batches, and keep what they make in files of their own. The file `predictions.jsonl` is
    there when it holds every row.

    Args:
        make_predictor (`Callable`): Loads what scores them; called only if rows are left to score.
        rows (`datasets.Dataset`): Rows as `evaluation.data.load_rows` gives them.
        keys (`list[str]`): The premise of each row.
        out (`Path`): Folder of the predictions, on a disk that all processes share.
        settings (`dict`): What the predictions depend on, kept in `settings.json` beside them.
        batch_size (`int`): Premises scored together.
        processes (`PartialState`): Those that score them; each has to call this function.

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

    with only_run(out, processes):
        left = told_by_main(processes, missing)
        if processes.is_main_process and 0 < len(left) < len(ids):
            print(f"{out} holds {len(ids) - len(left):,} of {len(ids):,} rows already: going on with the others.")
        batches = make_batches(left, keys, batch_size)[processes.process_index :: processes.num_processes]
        if batches:
            scored = append_predictions(
                out, processes.process_index, score_batches(make_predictor(), rows, batches, keys)
            )
            share = f"process 1 of {processes.num_processes}" if processes.num_processes > 1 else None
            total = sum(len(group) for batch in batches for group in batch)
            with tqdm(
                desc=share, total=total, unit="hypotheses", disable=None if processes.is_main_process else True
            ) as bar:
                for answers in scored:
                    bar.update(len(answers))
        processes.wait_for_everyone()
        return finish_predictions(out, asked) if processes.is_main_process else []


def make_batches(indices: list[int], keys: list[str], batch_size: int) -> list[list[list[int]]]:
    """
    Groups rows by premise, and premises into batches.

    Args:
        indices (`list[int]`): Rows to score.
        keys (`list[str]`): The premise of each row of the split.
        batch_size (`int`): Premises in a batch.

    Returns:
        `list[list[list[int]]]`: for each batch the rows of each of its premises.
    """
    by_premise = {}
    for index in indices:
        by_premise.setdefault(keys[index], []).append(index)
    passes = [
        group[start : start + HYPOTHESES_PER_PASS]
        for group in by_premise.values()
        for start in range(0, len(group), HYPOTHESES_PER_PASS)
    ]
    return [passes[start : start + batch_size] for start in range(0, len(passes), batch_size)]


def score_batches(
    predictor: Predictor, rows: Dataset | list[dict], batches: Iterable[list[list[int]]], keys: list[str]
) -> Iterator[list[dict]]:
    """
    Scores batches one after another; the media of the next are decoded while the model is at one.

    Args:
        predictor (`Predictor`): What scores them; one in two stages has its batches prepared on another thread.
        rows (`datasets.Dataset`): The rows of the split.
        batches (`Iterable[list[list[int]]]`): As `make_batches` gives them.
        keys (`list[str]`): The premise of each row.

    Yields:
        `list[dict]`: the predictions of a batch, a JSON-ready `dict` for each row.

    Raises:
        `ValueError`: if a row cannot be scored. Any other error has a note that names the rows it came of.
    """

    def read(batch: list[list[int]]) -> tuple[list[list[dict]], Any]:
        chosen = [[rows[index] for index in group] for group in batch]
        if not isinstance(predictor, TwoStagePredictor):
            return chosen, ([group[0] for group in chosen], [[row["hypothesis"] for row in group] for group in chosen])
        with naming(chosen):
            return chosen, predictor.prepare_rows(chosen)

    for batch, (chosen, prepared) in one_ahead(read, batches):
        with naming(chosen):
            if isinstance(predictor, TwoStagePredictor):
                answers = predictor.answer(prepared)
            else:
                answers = predictor.predict(*prepared)
        yield as_rows(chosen, [[keys[index] for index in group] for group in batch], answers)


def one_ahead(prepare: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """
    Applies `prepare` on another thread, to one item more than has been asked for, never further ahead.

    Args:
        prepare (`Callable`): What to do with each item; its errors come up where its item would.
        items (`Iterable`): The items.

    Yields:
        `tuple`: an item, and what `prepare` made of it.
    """
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
def naming(chosen: list[list[dict]]) -> Iterator[None]:
    """An error within it names the premises' rows, `chosen`."""
    names = ", ".join(group[0]["id"] for group in chosen)
    try:
        yield
    except ValueError as error:
        raise ValueError(f"The premises of rows {names} could not be scored: {error}") from error
    except Exception as error:
        error.add_note(f"It happened while the premises of rows {names} were scored.")
        raise


def as_rows(chosen: list[list[dict]], keys: list[list[str]], answers: list[list[AnyPrediction]]) -> list[dict]:
    """The predictions of one batch as they are written, for each row a `dict` with its premise from `keys`."""
    answered = [
        (row, key, asdict(answer))
        for group, names, replies in zip(chosen, keys, answers, strict=True)
        for row, key, answer in zip(group, names, replies, strict=True)
    ]
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
