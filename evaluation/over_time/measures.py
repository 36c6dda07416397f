"""How far belief over time is from the exact probability, and how early the last answer is reached."""

import numpy as np

from evaluation.metrics.uncertain_inference.measures import RESAMPLES, measure
from evaluation.over_time.curves import Curve
from evaluation.stress.statistics import ratio_interval


# Shares of a premise; a bin holds its upper edge.
BINS = 5
# An answer has been reached from the first time on from which it stays this near to its last value.
NEAR = 0.1
MEASURES = ("mse", "ece", "mae")


def analyse(curves: list[Curve], resamples: int = RESAMPLES) -> list[dict]:
    """
    Measures each set of each modality, in the order in which they come.

    Returns:
        `list[dict]`: of each set `set`, `modality`; numbers of `premises`, `curves`, `answers` (times of curves), and
        `left_out` of those, where a prefix has no truth; `all`, `end` and `bins`, each with `n`, the `share` of the
        premise at which the answers are on average, measures with intervals over premises, and `constant_mse`, the
        error of one who always gives the mean truth; and `reached`, as [`reached`] returns it.
    """
    groups: dict[tuple[str, str], list[Curve]] = {}
    for curve in curves:
        groups.setdefault((curve.modality, curve.set), []).append(curve)
    return [
        {"modality": modality, "set": name} | _measure_set(group, resamples)
        for (modality, name), group in groups.items()
    ]


def _measure_set(curves: list[Curve], resamples: int) -> dict:
    numbers = np.unique([curve.premise for curve in curves], return_inverse=True)[1].reshape(-1)
    # One row an answer with a truth: premise, share, prediction, truth.
    rows = np.array(
        [
            (number, curve.shares[place], curve.prediction[place], curve.truth[place])
            for number, curve in zip(numbers, curves, strict=True)
            for place in curve.defined
        ]
    ).reshape(-1, 4)
    answers = sum(len(curve.times) for curve in curves)
    # A share of exactly 0.2 is in the first bin, whatever its last digit.
    bins = np.ceil(rows[:, 1] * BINS - 1e-9).astype(int) - 1
    return {
        "premises": int(numbers.max()) + 1,
        "curves": len(curves),
        "answers": answers,
        "left_out": answers - len(rows),
        "all": _measure_rows(rows, resamples),
        "end": _measure_rows(rows[rows[:, 1] == 1], resamples),
        "bins": [
            {"low": number / BINS, "high": (number + 1) / BINS} | _measure_rows(rows[bins == number], resamples)
            for number in range(BINS)
        ],
        "reached": reached(curves, numbers, resamples),
    }


def _measure_rows(rows: np.ndarray, resamples: int) -> dict:
    if not len(rows):
        unknown = {"value": None, "interval": None}
        return {"n": 0, "share": None, **dict.fromkeys(MEASURES, unknown), "constant_mse": None}
    premises, shares, predictions, truths = rows.T
    found = measure(predictions, truths, clusters=premises, only=MEASURES, resamples=resamples)
    results = {name: {key: found[name][key] for key in ("value", "interval")} for name in MEASURES}
    return {"n": len(rows), "share": float(shares.mean()), **results, "constant_mse": float(truths.var())}


def reached_at(values: np.ndarray, shares: np.ndarray) -> float:
    """Returns the first of the shares `(t,)` from which on values `(t,)` stay within 0.1 of the last of them."""
    far = np.flatnonzero(np.abs(values - values[-1]) > NEAR + 1e-9)
    return float(shares[far[-1] + 1] if len(far) else shares[0])


def reached(curves: list[Curve], numbers: np.ndarray, resamples: int = RESAMPLES) -> dict:
    """
    Returns at which share of the premise the last answer is reached, by the model and by the truth, on average.

    Both are looked at where there is a truth; a curve without any is left out.

    Args:
        curves (`list[Curve]`): Of one set.
        numbers (`np.ndarray` of shape `(curves,)`): The premise of each, from 0.
        resamples (`int`): Of the intervals over premises; 0 for none.

    Returns:
        `dict`: `n`; `model`, `truth` and `later` (model less truth), each with `value` and `interval`.
    """
    found = []
    for number, curve in zip(numbers, curves, strict=True):
        places = curve.defined
        if len(places):
            shares = curve.shares[places]
            truth = np.array([curve.truth[place] for place in places], dtype=float)
            model = np.array(curve.prediction)[places]
            found.append((number, reached_at(model, shares), reached_at(truth, shares)))
    if not found:
        return {"n": 0, **dict.fromkeys(("model", "truth", "later"), {"value": None, "interval": None})}
    clusters, model, truth = np.array(found).T
    premises = np.unique(clusters, return_inverse=True)[1].reshape(-1)
    counts = np.bincount(premises).astype(float)
    return {"n": len(found)} | {
        name: {
            "value": float(values.mean()),
            "interval": ratio_interval(np.bincount(premises, values), counts) if resamples else None,
        }
        for name, values in (("model", model), ("truth", truth), ("later", model - truth))
    }
