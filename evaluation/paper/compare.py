"""Paired comparisons: how far apart two predictors are on the same rows, and whether chance explains it."""

from itertools import combinations
from pathlib import Path

import numpy as np

from evaluation.metrics.uncertain_inference.measures import LEVEL, MEASURES, bootstrap_interval, cluster_weights
from evaluation.paper.entries import Entry, read_entries
from evaluation.paper.layout import Table, short
from evaluation.paper.tables import labels_of
from evaluation.stress.findings import SIGNIFICANCE
from evaluation.stress.statistics import holm


MAIN = ("mse", "ece", "nll")
HEADER = [
    *("data", "measure", "A", "B", "rows", "premises", "without number in A", "in B", "A's value", "B's value"),
    *("A - B [95%]", "p", "p (Holm)"),
]


def compare(named: list[tuple[str, Path]], measures: list[str], resamples: int, seed: int) -> Table:
    """
    Compares every two predictors on all data that both were evaluated on.

    Args:
        named (`list[tuple[str, Path]]`): Predictors, each with the folder of an evaluation.
        measures (`list[str]`): Names of measures.
        resamples (`int`): Bootstrap resamples.
        seed (`int`): Their seed.

    Returns:
        `Table`: a row for each comparison; its p values are corrected over all of them.

    Raises:
        `ValueError`: if no two evaluations are on one data set, or these are not about the same rows.
    """
    entries = read_entries(named)
    pairs = [(a, b) for a, b in combinations(entries, 2) if a.data == b.data]
    if not pairs:
        told = "; ".join(f"{entry.place} on {entry.data}" for entry in entries)
        raise ValueError(f"No two predictors were evaluated on the same data: {told}.")
    records = [record for a, b in pairs for record in _records(a, b, measures, resamples, seed)]
    tested = [record for record in records if record["p"] != ""]
    for record, p in zip(tested, holm([record["p"] for record in tested]), strict=True):
        record["p (Holm)"] = p
    shown = [
        [
            *(record[head] for head in HEADER[:4]),
            *(f"{record[head]:,}" for head in HEADER[4:8]),
            *(_shown(record[head]) for head in HEADER[8:10]),
            _difference(record),
            *(_shown(record[head]) for head in HEADER[11:]),
        ]
        for record in records
    ]
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
        told = f"{resamples:,} resamples give no p (Holm) below {short(min(1, least))}: ask for more (--resamples)."
        notes.insert(3, told)
    return Table("compare", "Paired comparisons of predictors", HEADER, shown, 4, records, notes)


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
    The difference of a measure between two predictors of the same rows.

    Args:
        first (`np.ndarray` of shape `(n,)`): Predictions of one.
        second (`np.ndarray` of shape `(n,)`): Predictions of the other.
        targets (`np.ndarray` of shape `(n,)`): Human or exact probabilities.
        labels (`np.ndarray` of shape `(n,)`, *optional*): Binary labels.
        clusters (`np.ndarray` of shape `(n,)`): The premise of each row.
        name (`str`): The measure.
        resamples (`int`): Bootstrap resamples of whole premises, drawn once for both predictors.
        seed (`int`): Their seed.

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
    everything = np.ones((1, len(truth)))
    values = [float(function(given, truth, everything)[0]) for given in (first, second)]
    result = {"rows": len(truth), "premises": int(numbers.max()) + 1, "values": values}
    difference = values[0] - values[1]
    result |= {"difference": difference, "interval": None, "p": None}
    if np.isnan(difference) or result["premises"] < 2:
        return result
    drawn = np.concatenate(
        [
            function(first, truth, weights) - function(second, truth, weights)
            for weights in cluster_weights(numbers, resamples, seed)
        ]
    )
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return result
    result["interval"] = bootstrap_interval(difference, drawn, LEVEL, (low - high, high - low))
    # Rounding: as far is as far, and equal predictors differ by nothing.
    as_far = np.abs(drawn - drawn.mean()) >= abs(difference) - 1e-12
    result["p"] = float((1 + as_far.sum()) / (len(drawn) + 1))
    return result


def _records(a: Entry, b: Entry, measures: list[str], resamples: int, seed: int) -> list[dict]:
    of_b = {row["id"]: row for row in b.run.measurable}
    rows = [row for row in a.run.measurable if row["id"] in of_b]
    if not rows:
        raise ValueError(f"{a.place} and {b.place}: there is no row on which both have a number.")
    columns = (
        np.array([row["prediction"] for row in rows], dtype=float),
        np.array([of_b[row["id"]]["prediction"] for row in rows], dtype=float),
        np.array([row["target"] for row in rows], dtype=float),
        labels_of(rows),
        np.array([row["premise"] for row in rows]),
    )
    records = []
    for name in measures:
        try:
            found = paired_difference(*columns, name, resamples, seed)
        except ValueError as error:
            raise ValueError(f"{a.place} and {b.place}: {error}") from error
        low, high = found["interval"] or (None, None)
        values = [None if np.isnan(value) else value for value in (*found["values"], found["difference"])]
        record = {
            **{"data": a.data, "measure": name, "A": a.name, "B": b.name},
            **{"rows": found["rows"], "premises": found["premises"]},
            **{"without number in A": a.without_number, "in B": b.without_number},
            **{"A's value": values[0], "B's value": values[1]},
            **{"A - B": values[2], "A - B low": low, "A - B high": high, "p": found["p"], "p (Holm)": None},
        }
        records.append({head: "" if cell is None else cell for head, cell in record.items()})
    return records


def _difference(record: dict) -> str:
    value, low, high = (_shown(record[head]) for head in ("A - B", "A - B low", "A - B high"))
    return value if low == "-" else f"{value} [{low}, {high}]"


def _shown(value) -> str:
    return "-" if value == "" else short(value)
