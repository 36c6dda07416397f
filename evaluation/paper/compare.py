"""Paired comparisons: how far apart two predictors are on the same rows, and whether chance explains it."""

from itertools import combinations
from pathlib import Path

import numpy as np

from evaluation.metrics.uncertain_inference.measures import LEVEL, MEASURES, bootstrap_interval, cluster_weights
from evaluation.paper.entries import Entry, read_entries
from evaluation.paper.layout import Table
from evaluation.paper.tables import labels_of
from evaluation.stress.findings import SIGNIFICANCE
from evaluation.stress.statistics import holm
from evaluation.tables import short, with_interval


MAIN = ("mse", "ece", "nll")
HEADER = [
    *("data", "measure", "A", "B", "rows", "premises", "without number in A", "in B", "A's value", "B's value"),
    *("A - B [95%]", "p", "p (Holm)"),
]


def compare(named: list[tuple[str, Path]], measures: list[str], resamples: int, seed: int) -> Table:
    """
    Compares every two predictors, each a name and the folder of an evaluation, on all data that both have.

    The p values are corrected over all comparisons of the table.

    Raises:
        `ValueError`: if no two evaluations are on one data set, or these are not about the same rows.
    """
    entries = read_entries(named)
    pairs = [(a, b) for a, b in combinations(entries, 2) if a.data == b.data]
    if not pairs:
        places = "; ".join(f"{entry.place} on {entry.data}" for entry in entries)
        raise ValueError(f"No two predictors were evaluated on the same data: {places}.")
    records = [record for a, b in pairs for record in _records(a, b, measures, resamples, seed)]
    tested = [record for record in records if record["p"] is not None]
    for record, p in zip(tested, holm([record["p"] for record in tested]), strict=True):
        record["p (Holm)"] = p
    cells = []
    for record in records:
        difference = {"value": record["A - B"], "interval": [record["A - B low"], record["A - B high"]]}
        if record["A - B low"] is None:
            difference["interval"] = None
        numbers = [short(record[head]) for head in ("A's value", "B's value", "p", "p (Holm)")]
        counts = [f"{record[head]:,}" for head in HEADER[4:8]]
        names = [record[head] for head in HEADER[:4]]
        cells.append([*names, *counts, *numbers[:2], with_interval(difference, short), *numbers[2:]])
    notes = [
        "Only rows on which both predictors have a number are compared, so a predictor that gives none on what is "
        "hard is not the better for it here; rows without one are counted.",
        f"In brackets: 95% of {resamples:,} bootstrap resamples of whole premises, the same for both predictors, seed "
        f"{seed}. p: how often the difference of a resample is as far from their mean as 0 is from the difference "
        "found, two-sided. With fewer than about 20 premises both are rough.",
        f"p (Holm): corrected over the {len(tested)} comparisons of this table (Holm 1979).",
        *(entry.provenance for entry in entries),
    ]
    least = len(tested) / (resamples + 1)
    if least >= SIGNIFICANCE:
        limit = short(min(1, least))
        notes.insert(3, f"{resamples:,} resamples give no p (Holm) below {limit}: ask for more (--resamples).")
    return Table("compare", "Paired comparisons of predictors", HEADER, cells, 4, records, notes)


def paired_difference(
    first: np.ndarray,
    second: np.ndarray,
    targets: np.ndarray,
    labels: np.ndarray | None,
    clusters: np.ndarray,
    name: str,
    resamples: int,
    seed: int,
) -> dict:
    """
    Compares a measure `name` of two predictors of the same rows, `(n,)` each, over resamples of whole clusters.

    Returns:
        `dict`: `rows`, `premises`, the `values` of both, their `difference` and its `interval`, and `p`; `None` where
        undefined.

    Raises:
        `ValueError`: if the measure needs labels, and there are none, or there is no row for it.
    """
    function, against, (low, high) = MEASURES[name]
    if against == "label" and labels is None:
        raise ValueError(f"{name} is against labels, and not every row has one.")
    truth = targets if against == "probability" or labels is None else labels
    # As evaluation.metrics has it: on a probability of 0.5 neither decision is right.
    kept = truth != 0.5 if against == "decision" else np.ones(len(truth), dtype=bool)
    first, second, truth = first[kept], second[kept], truth[kept]
    if not len(truth):
        raise ValueError(f"no row is left to compare by {name}.")
    numbers = np.unique(clusters[kept], return_inverse=True)[1].reshape(-1)
    values = [float(function(given, truth, np.ones((1, len(truth))))[0]) for given in (first, second)]
    difference = values[0] - values[1]
    result = {"rows": len(truth), "premises": int(numbers.max()) + 1, "values": values, "difference": difference}
    result |= {"interval": None, "p": None}
    if np.isnan(difference) or result["premises"] < 2:
        return result
    resampled = cluster_weights(numbers, resamples, seed)
    drawn = [function(first, truth, weights) - function(second, truth, weights) for weights in resampled]
    drawn = np.concatenate(drawn)
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return result
    result["interval"] = bootstrap_interval(difference, drawn, LEVEL, (low - high, high - low))
    # Rounding: as far is as far, and equal predictors differ by nothing.
    as_far = np.abs(drawn - drawn.mean()) >= abs(difference) - 1e-12
    return result | {"p": float((1 + as_far.sum()) / (len(drawn) + 1))}


def _records(a: Entry, b: Entry, measures: list[str], resamples: int, seed: int) -> list[dict]:
    of_b = {row["id"]: row for row in b.run.measurable}
    pairs = [(row, of_b[row["id"]]) for row in a.run.measurable if row["id"] in of_b]
    if not pairs:
        raise ValueError(f"{a.place} and {b.place}: there is no row on which both have a number.")
    numbers = [[row["prediction"], other["prediction"], row["target"]] for row, other in pairs]
    labels, premises = labels_of([row for row, _ in pairs]), np.array([row["premise"] for row, _ in pairs])
    columns = (*np.array(numbers, dtype=float).T, labels, premises)
    records = []
    for name in measures:
        try:
            found = paired_difference(*columns, name, resamples, seed)
        except ValueError as error:
            raise ValueError(f"{a.place} and {b.place}: {error}") from error
        low, high = found["interval"] or (None, None)
        values = [None if np.isnan(value) else value for value in (*found["values"], found["difference"])]
        records.append(
            {
                **{"data": a.data, "measure": name, "A": a.name, "B": b.name},
                **{"rows": found["rows"], "premises": found["premises"]},
                **{"without number in A": a.without_number, "in B": b.without_number},
                **{"A's value": values[0], "B's value": values[1]},
                **{"A - B": values[2], "A - B low": low, "A - B high": high, "p": found["p"], "p (Holm)": None},
            }
        )
    return records
