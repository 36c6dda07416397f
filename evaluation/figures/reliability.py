"""Reliability diagrams of several runs on one sheet, with an interval for each bin."""

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from common.cli import counted
from evaluation.figures.style import MODEL, PRINTED, TRUTH, draw_grid, label_left, label_panels, panel_grid, wrapped
from evaluation.metrics.uncertain_inference.calibration_errors import (
    NUM_BINS,
    bin_index,
    equal_mass_calibration_error,
    expected_calibration_error,
    in_bins,
)
from evaluation.metrics.uncertain_inference.measures import LEVEL, RESAMPLES, bootstrap_interval, cluster_weights
from evaluation.prediction_files import EvaluationRun
from evaluation.tables import with_interval


# Bars of the histogram beneath.
BARS = 20


def equal_mass_index(predictions: np.ndarray, num_bins: int) -> np.ndarray:
    """
    Returns the bin of each prediction, from 0, as [`equal_mass_calibration_error`] forms them; equal ones share one.

    Bins that a large group of equal predictions runs across hold none.
    """
    _, inverse, counts = np.unique(predictions, return_inverse=True, return_counts=True)
    after = np.cumsum(counts)
    twice_rank = 2 * after - counts
    return ((twice_rank * num_bins) // (2 * len(predictions)))[inverse]


def reliability(
    predictions: ArrayLike,
    targets: ArrayLike,
    clusters: Sequence,
    num_bins: int = NUM_BINS,
    equal_mass: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[list[dict], dict]:
    """
    Describes the bins of a reliability diagram and its calibration error, with 95 % bootstrap intervals over premises.

    Bins are equal in width, or hold as many rows each; the clusters are the rows' premises; without resamples there
    are no intervals.

    Returns:
        `tuple[list[dict], dict]`: of each bin `n`, the means `prediction` and `target`, `None` in an empty one, and
        `gap`, the interval of mean target - mean prediction (`None` in a bin about one premise: it tells nothing of
        others); and `value` and `interval` of the calibration error.
    """
    predictions, targets = np.asarray(predictions, dtype=float), np.asarray(targets, dtype=float)
    clusters = np.unique(clusters, return_inverse=True)[1].reshape(-1)
    index = equal_mass_index(predictions, num_bins) if equal_mass else bin_index(predictions, num_bins)
    error = equal_mass_calibration_error if equal_mass else expected_calibration_error
    inside = in_bins(index, num_bins)
    difference = inside * (targets - predictions)[:, None]
    gaps, errors = [], []
    if resamples and clusters.max() > 0:
        for weights in cluster_weights(clusters, resamples, seed):
            rows = weights @ inside
            gaps.append(np.divide(weights @ difference, rows, out=np.full(rows.shape, np.nan), where=rows > 0))
            errors.append(error(predictions, targets, weights, num_bins))
    bins = []
    for k in range(num_bins):
        rows = index == k
        prediction = target = gap = None
        if rows.any():
            prediction, target = float(predictions[rows].mean()), float(targets[rows].mean())
        if gaps and len(np.unique(clusters[rows])) > 1:
            drawn = np.concatenate([chunk[:, k] for chunk in gaps])
            gap = bootstrap_interval(target - prediction, drawn, LEVEL, (-1.0, 1.0))
        bins.append({"n": int(rows.sum()), "prediction": prediction, "target": target, "gap": gap})
    value = float(error(predictions, targets, np.ones((1, len(predictions))), num_bins)[0])
    interval = bootstrap_interval(value, np.concatenate(errors), LEVEL, (0.0, 1.0)) if errors else None
    return bins, {"value": value, "interval": interval}


@rc_context(PRINTED)
def draw_reliability(
    runs: list[EvaluationRun],
    num_bins: int = NUM_BINS,
    equal_mass: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[Figure, str]:
    """Draws a diagram of each run, its gaps and a histogram; says what it shows. Options as [`reliability`]."""
    name = "equal-mass ECE" if equal_mass else "ECE"
    figure, panels = panel_grid([run.name for run in runs], 3.6 if len(runs) > 1 else 5.2, (9, 5, 3), extra=0.35)
    words = [
        f"Reliability diagrams of {'; '.join(run.name for run in runs)}. Mean target against mean prediction in "
        f"{num_bins} bins of equal {'mass' if equal_mass else 'width'}; beneath, the gap between the two with "
        f"{LEVEL:.0%} intervals over premises, and how often each probability was predicted."
    ]
    ticks, labels = [0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"]
    widest = most = 0.0
    for run, (diagram, gaps, counts) in zip(runs, panels, strict=True):
        columns = {key: [row[key] for row in run.measurable] for key in ("prediction", "target", "premise")}
        bins, error = reliability(
            columns["prediction"], columns["target"], columns["premise"], num_bins, equal_mass, resamples, seed
        )
        bins = [b for b in bins if b["n"]]
        at = np.array([b["prediction"] for b in bins])
        gap = np.array([b["target"] - b["prediction"] for b in bins])
        # A bin without an interval has none of any width.
        ends = np.array([b["gap"] or (g, g) for b, g in zip(bins, gap, strict=True)])
        look = {"marker": "o", "linestyle": "", "color": MODEL, "markersize": 3.2, "zorder": 3}
        diagram.plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=0.9, label="calibrated", zorder=1)
        diagram.vlines(at, *(at + ends.T), color=TRUTH, linewidth=2, label=f"{LEVEL * 100:.0f} % interval", zorder=2)
        diagram.plot(at, at + gap, label="bin", **look)
        diagram.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        diagram.set_yticks(ticks, labels)
        gaps.axhline(0, color="0.5", linestyle="--", linewidth=0.9, zorder=1)
        gaps.vlines(at, *ends.T, color=TRUTH, linewidth=2, zorder=2)
        gaps.plot(at, gap, **look)
        widest = max(widest, np.abs(ends).max(), np.abs(gap).max())
        shares = np.bincount(bin_index(np.array(columns["prediction"]), BARS), minlength=BARS) / len(run.measurable)
        counts.bar(np.arange(BARS) / BARS, shares, 1 / BARS, align="edge", color=MODEL, edgecolor="w", linewidth=0.4)
        counts.set_xticks(ticks, labels)
        counts.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        most = max(most, shares.max())
        for axes, title in ((diagram, "mean target"), (gaps, "target −\nprediction"), (counts, "rows")):
            draw_grid(axes)
            label_left(axes, title, shared=True)
        value = with_interval(error)
        line = value.replace(" [", "\n[") if len(runs) > 2 else value
        diagram.set_title(f"{wrapped(run.name, len(runs))}\n{_rows(run)}\n{name} {line}", parse_math=False)
        worst = bins[np.abs(gap).argmax()]
        words.append(
            f"{run.name}: {name} {value}, {_rows(run)}; the largest gap is where {worst['prediction']:.2f} is "
            f"predicted: the mean target there is {worst['target']:.2f} ({counted(worst['n'], 'row')})."
        )
    for _, gaps, counts in panels:
        gaps.set_ylim(-1.1 * max(widest, 0.001), 1.1 * max(widest, 0.001))
        counts.set_ylim(0, 1.08 * most)
    label_panels(figure, panels[0][0], "prediction (probability)")
    return figure, "\n".join(words)


def _rows(run: EvaluationRun) -> str:
    missing = len(run.predictions) - len(run.measurable)
    return counted(len(run.measurable), "row") + (f", {missing:,} without a number" if missing else "")
