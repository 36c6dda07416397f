"""Tables 2, 3, 4, 7 and 8 of the paper, from evaluations."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from datasets_scripts.paper_numbers import paper_numbers, paper_title
from evaluation.calibration import fit_temperature
from evaluation.metrics.uncertain_inference.measures import CLIP, measure
from evaluation.paper.entries import DATA, Entry, read_entries
from evaluation.paper.layout import Column, Row, Table, lay_out


ACCURACY, MSE = Column("accuracy", "accuracy x100", 100), Column("mse", "MSE x100", 100)
COLUMNS = {
    2: [ACCURACY],
    3: [MSE],
    4: [Column("mse", "MSE"), Column("accuracy", "accuracy"), Column("f1", "F1")],
    7: [
        ACCURACY,
        Column("accuracy", "accuracy x100 before", 100, "accuracy before", in_paper=False),
        Column("mse", "MSE x100", 100, in_paper=False),
        Column("mse", "MSE x100 before", 100, "mse before", in_paper=False),
    ],
    8: [Column("mse", "MSE"), Column("nll", "NLL"), Column("ece", "ECE")],
}
MISSING = (
    "Rows without a number (answers that could not be read, or were not given) are counted and in no measure: never 0."
)
REFERENCE = (
    "paper: what the paper prints for a predictor and data of the same name, by its own models on its own rows: a "
    "reference, no competitor. Rows with dashes are the paper's alone."
)
DECISION = "Accuracy and F1 are of p >= 0.5, against labels where every row has one, else against probabilities > 0.5."


def make_table(
    table: int, named: list[tuple[str, Path]], fitted_on: list[tuple[str, Path]], resamples: int, seed: int
) -> Table:
    """
    Makes table 2, 3, 4, 7 or 8.

    Args:
        table (`int`): Its number.
        named (`list[tuple[str, Path]]`): Predictors (table 4: training ratios), each with the folder of an evaluation.
        fitted_on (`list[tuple[str, Path]]`): For table 7, evaluations on another split to fit temperatures to.
        resamples (`int`): Bootstrap resamples.
        seed (`int`): Their seed.

    Returns:
        `Table`: the table.

    Raises:
        `ValueError`: if the evaluations can't stand in one table.
    """
    entries = read_entries(named)
    temperatures = _temperatures(entries, read_entries(fitted_on))
    columns = COLUMNS[table]
    head = "ratio" if table == 4 else "predictor"
    rows = []
    for entry in entries:
        facts = {
            key: str(entry.run.settings.get(key) or "") for key in ("model", "weights", "config", "split", "rows")
        }
        facts["rows digest"] = facts.pop("rows")
        rows.append(
            Row(
                names={head: entry.name, "data": entry.data},
                counts=_counts(entry),
                results=measured(entry, columns, resamples, seed),
                facts=facts | {"folder": str(entry.run.folder)},
            )
        )
        if table == 7:
            _scale(rows[-1], entry, temperatures.get((entry.name, entry.data)), columns, resamples, seed)
    notes = [_how(resamples, seed), MISSING, REFERENCE]
    if table in (2, 4, 7):
        notes.append(DECISION)
    if table == 7:
        notes.append(
            "temperature: of the log odds, fitted by cross-entropy to another split (--fit); one that a checkpoint "
            "applies itself has no values before. Dividing log odds moves no probability across 0.5 and so changes no "
            "decision, although the paper's tables 2 and 7 differ for its baselines."
        )
    notes += [entry.provenance for entry in entries]
    rows = _with_paper(table, rows, columns, head)
    return lay_out(f"table{table}", f"Table {table}: {paper_title(table)}", rows, columns, notes)


def measured(
    entry: Entry,
    columns: list[Column],
    resamples: int,
    seed: int,
    change: Callable[[np.ndarray], np.ndarray] = lambda predictions: predictions,
) -> dict[str, dict]:
    """
    Measures one evaluation over its rows with a number.

    Args:
        entry (`Entry`): The evaluation.
        columns (`list[Column]`): The measures.
        resamples (`int`): Bootstrap resamples of whole premises.
        seed (`int`): Their seed.
        change (`Callable`): What is done to the predictions `(n,)` first; nothing by default.

    Returns:
        `dict[str, dict]`: measures by name.

    Raises:
        `ValueError`: if no row has a number.
    """
    rows = entry.run.measurable
    if not rows:
        raise ValueError(f"{entry.place}: none of its {len(entry.run.predictions)} rows has a number to measure.")
    return measure(
        change(np.array([row["prediction"] for row in rows], dtype=float)),
        [row["target"] for row in rows],
        labels_of(rows),
        clusters=[row["premise"] for row in rows],
        ids=[row["id"] for row in rows],
        resamples=resamples,
        seed=seed,
        only=list(dict.fromkeys(column.measure for column in columns)),
    )


def labels_of(rows: list[dict]) -> np.ndarray | None:
    """The label of each row, `(n,)`; `None` if a row has none."""
    labels = [row.get("label") for row in rows]
    return None if any(label is None for label in labels) else np.array(labels)


def _counts(entry: Entry) -> dict[str, int]:
    predictions = entry.run.predictions
    premises = len({row["premise"] for row in predictions})
    return {"rows": len(predictions), "premises": premises, "without number": entry.without_number}


def _temperatures(entries: list[Entry], fitted_on: list[Entry]) -> dict[tuple[str, str], float]:
    """Temperatures by predictor and data."""
    known = {(entry.name, entry.data): entry for entry in entries}
    temperatures = {}
    for entry in fitted_on:
        scaled = known.get((entry.name, entry.data))
        if scaled is None:
            raise ValueError(f"--fit {entry.place}: --predictions has no {entry.name} on {entry.data} to be scaled.")
        _check_apart(scaled, entry)
        rows = entry.run.measurable
        if not rows:
            raise ValueError(f"--fit {entry.place}: none of its rows has a number to fit to.")
        # The log odds of two bins, 0 and 1, whose expectation is the prediction.
        p = np.clip([row["prediction"] for row in rows], CLIP, 1 - CLIP)
        logits = torch.tensor(np.log(np.stack([1 - p, p], axis=1)))
        try:
            temperature = fit_temperature(logits, [row["target"] for row in rows])
        except ValueError as error:
            raise ValueError(f"--fit {entry.place}: {error}") from error
        temperatures[entry.name, entry.data] = temperature
    return temperatures


def _check_apart(scaled: Entry, fitted_on: Entry) -> None:
    settings, others = scaled.run.settings, fitted_on.run.settings
    # A teacher's answers to other rows are others, and their backgrounds.
    rows = ("dataset", "config", "split", "rows", "contexts", "answers", "answers_digest")
    differ = [key for key in settings | others if key not in rows and settings.get(key) != others.get(key)]
    if differ:
        raise ValueError(f"--fit {fitted_on.place} is of another predictor than {scaled.place}: {', '.join(differ)}.")
    shared = {row["premise"] for row in scaled.run.predictions} & {row["premise"] for row in fitted_on.run.predictions}
    if shared:
        raise ValueError(
            f"--fit {fitted_on.place} shares {len(shared)} premises with {scaled.place}: a temperature must be fitted "
            "to others than it is measured on."
        )


def _scale(
    row: Row, entry: Entry, temperature: float | None, columns: list[Column], resamples: int, seed: int
) -> None:
    """Puts the measures with temperature into a row of table 7, and what they were before beside them."""
    if temperature is None:
        row.counts["temperature"] = (entry.run.settings.get("calibration") or {}).get("temperature")
        return
    row.counts["temperature"] = temperature
    row.results.update({f"{name} before": result for name, result in list(row.results.items())})

    def scaled(predictions: np.ndarray) -> np.ndarray:
        p = np.clip(predictions, CLIP, 1 - CLIP)
        return 1 / (1 + np.exp(-(np.log(p) - np.log1p(-p)) / temperature))

    row.results.update(measured(entry, columns, resamples, seed, scaled))


def _with_paper(table: int, rows: list[Row], columns: list[Column], head: str) -> list[Row]:
    """The rows with the paper's numbers, and the paper's that have none of ours, in its order; other rows follow."""
    paper = {}
    for (name, column), number in paper_numbers(table).items():
        data, name_of_measure = column.split(" ")
        paper.setdefault((name, data), {})[name_of_measure] = number
    ours = {(row.names[head], row.names["data"]): row for row in rows}
    data = list(DATA.values())
    # All data of a predictor together: the paper's order of both, then the order of the command line.
    predictors = list(dict.fromkeys([*(name for name, _ in paper), *(row.names[head] for row in rows)]))
    places = sorted(
        dict.fromkeys([*paper, *ours]),
        key=lambda place: (predictors.index(place[0]), data.index(place[1]) if place[1] in data else len(data)),
    )
    result = []
    for place in places:
        row = ours.get(place, Row(names={head: place[0], "data": place[1]}))
        row.paper.update(paper.get(place, {}))
        result.append(row)
    return result


def _how(resamples: int, seed: int) -> str:
    return (
        f"In brackets: 95% of {resamples:,} bootstrap resamples of whole premises, seed {seed}; none for one premise."
    )
