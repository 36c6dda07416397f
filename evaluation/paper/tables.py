"""Tables 2, 3, 4, 7 and 8 of the paper, from evaluations."""

from pathlib import Path

import numpy as np
import torch

from datasets_scripts.paper_numbers import paper_numbers, paper_title
from evaluation.calibration import fit_temperature
from evaluation.metrics.uncertain_inference.measures import CLIP, measure
from evaluation.paper.entries import DATA, Entry, read_entries
from evaluation.paper.layout import INTERVALS, Column, Row, Table, lay_out


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
    Makes table 2, 3, 4, 7 or 8 of predictors (table 4: training ratios), each a name and the folder of an evaluation.

    For table 7, `fitted_on` are evaluations on another split to fit temperatures to.

    Raises:
        `ValueError`: if the evaluations can't stand in one table.
    """
    entries = read_entries(named)
    temperatures = _temperatures(entries, read_entries(fitted_on))
    columns = COLUMNS[table]
    head = "ratio" if table == 4 else "predictor"
    rows = []
    for entry in entries:
        settings, predictions = entry.run.settings, entry.run.predictions
        premises = len({row["premise"] for row in predictions})
        row = Row(
            names={head: entry.name, "data": entry.data},
            counts={"rows": len(predictions), "premises": premises, "without number": entry.without_number},
            results=_measured(entry, columns, resamples, seed),
            facts={
                **{key: str(settings.get(key) or "") for key in ("model", "weights", "config", "split")},
                **{"rows digest": settings["rows"], "folder": str(entry.run.folder)},
            },
        )
        if table == 7:
            temperature = temperatures.get((entry.name, entry.data))
            row.counts["temperature"] = temperature or entry.temperature
            if temperature is not None:
                row.results.update({f"{name} before": result for name, result in row.results.items()})
                row.results.update(_measured(entry, columns, resamples, seed, temperature))
        rows.append(row)
    notes = [INTERVALS.format(resamples, seed), MISSING, REFERENCE]
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


def _measured(
    entry: Entry, columns: list[Column], resamples: int, seed: int, temperature: float | None = None
) -> dict[str, dict]:
    """Measures an evaluation over its rows with a number, log odds divided by a temperature if one is given."""
    rows = entry.run.measurable
    if not rows:
        raise ValueError(f"{entry.place}: none of its {len(entry.run.predictions)} rows has a number to measure.")
    predictions = np.array([row["prediction"] for row in rows], dtype=float)
    if temperature is not None:
        p = np.clip(predictions, CLIP, 1 - CLIP)
        predictions = 1 / (1 + np.exp(-(np.log(p) - np.log1p(-p)) / temperature))
    return measure(
        predictions,
        [row["target"] for row in rows],
        labels_of(rows),
        clusters=[row["premise"] for row in rows],
        ids=[row["id"] for row in rows],
        resamples=resamples,
        seed=seed,
        only=list(dict.fromkeys(column.measure for column in columns)),
    )


def labels_of(rows: list[dict]) -> np.ndarray | None:
    """Returns the label of each row, `(n,)`; `None` if a row has none."""
    labels = [row.get("label") for row in rows]
    return None if any(label is None for label in labels) else np.array(labels)


def _temperatures(entries: list[Entry], fitted_on: list[Entry]) -> dict[tuple[str, str], float]:
    """Fits a temperature for each predictor and data."""
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
            temperatures[entry.name, entry.data] = fit_temperature(logits, [row["target"] for row in rows])
        except ValueError as error:
            raise ValueError(f"--fit {entry.place}: {error}") from error
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


def _with_paper(table: int, rows: list[Row], columns: list[Column], head: str) -> list[Row]:
    """Adds the paper's numbers and rows, and returns all in the paper's order; other rows follow."""
    paper = {}
    for (name, column), number in paper_numbers(table).items():
        data, name_of_measure = column.split(" ")
        paper.setdefault((name, data), {})[name_of_measure] = number
    ours = {(row.names[head], row.names["data"]): row for row in rows}
    data = list(DATA.values())
    # All data of a predictor together: the paper's order of both, then the order of the command line.
    predictors = list(dict.fromkeys(name for name, _ in [*paper, *ours]))
    places = sorted(
        dict.fromkeys([*paper, *ours]),
        key=lambda place: (predictors.index(place[0]), data.index(place[1]) if place[1] in data else len(data)),
    )
    rows = [ours.get(place) or Row(names={head: place[0], "data": place[1]}) for place in places]
    for place, row in zip(places, rows, strict=True):
        row.paper.update(paper.get(place, {}))
    return rows
