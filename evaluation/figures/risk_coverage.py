"""Risk-coverage curves: the error that is left when the least certain answers are deferred to a person."""

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from common.cli import counted
from evaluation.figures.style import (
    COLOURS,
    LINES,
    MODEL,
    PRINTED,
    TRUTH,
    draw_grid,
    label_left,
    label_panels,
    panel_grid,
    wrapped,
)
from evaluation.metrics.uncertain_inference.measures import LEVEL, RESAMPLES, bootstrap_interval, cluster_weights
from evaluation.prediction_files import EvaluationRun
from evaluation.tables import short, with_interval


# Shares of the rows at which curves are drawn.
COVERAGES = np.arange(1, 101) / 100
RISKS = {"squared": "mean squared error", "decision": "share of wrong decisions"}
# How uncertain a row is: a name, and a number that grows with it.
UNCERTAINTIES = {
    "standard_deviation": ("standard deviation", lambda row: row["standard_deviation"]),
    "entropy": ("entropy", lambda row: row["entropy"]),
    "interval": ("interval width", lambda row: row["interval"][1] - row["interval"][0]),
    "probability": ("nearness to 0.5", lambda row: 0.5 - abs(row["prediction"] - 0.5)),
}
# All but that of the truth.
CURVES = (MODEL, *COLOURS[2:])
# Where no risk is above the first, the axis ends at the second.
ROUNDING, LEAST = 1e-12, 0.001


def _kept(losses: np.ndarray, uncertainties: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums up rows and their loss, `(B, groups + 1)` each, from the most certain on; equal rows come at once."""
    order = np.argsort(uncertainties, kind="stable")
    starts = np.flatnonzero(np.diff(uncertainties[order], prepend=-np.inf))
    sums = [
        np.cumsum(np.add.reduceat(values[:, order], starts, axis=1), axis=1) for values in (weights, weights * losses)
    ]
    return tuple(np.pad(values, ((0, 0), (1, 0))) for values in sums)


def risks_at(
    losses: np.ndarray, uncertainties: np.ndarray, weights: np.ndarray, coverages: np.ndarray = COVERAGES
) -> np.ndarray:
    """
    Averages the loss of the most certain rows at each coverage, `(B, m)`, for `weights` `(B, n)` of the rows.

    Rows that are equally certain are kept in random order, on average.
    """
    rows, sums = _kept(losses, uncertainties, weights)
    kept = coverages * rows[:, -1:]
    return np.stack([np.interp(k, r, s) / k for k, r, s in zip(kept, rows, sums, strict=True)])


def area_under_risk(losses: np.ndarray, uncertainties: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """
    Returns the area under the risk-coverage curve (AURC), `(B,)`: the mean of the risks of the k most certain rows.

    Geifman, Uziel and El-Yaniv (2019). Rows that are equally certain count as in random order, on average: with j
    rows before them, of summed loss S, and a mean loss m of their own, the risk of the first k is m + (S - j m) / k.
    """
    rows, sums = _kept(losses, uncertainties, weights)
    counts = np.rint(rows).astype(int)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, counts[:, -1].max() + 1))])
    size = np.diff(rows, axis=1)
    mean = np.divide(np.diff(sums, axis=1), size, out=np.zeros_like(size), where=size > 0)
    steps = np.diff(harmonic[counts], axis=1)
    return (mean * size + (sums[:, :-1] - rows[:, :-1] * mean) * steps).sum(axis=1) / rows[:, -1]


def losses_of(rows: list[dict], risk: str) -> tuple[np.ndarray, list[dict]]:
    """
    Returns losses and the rows that they are of, among predictions that are numbers.

    The risk is `"squared"`, against the target; or `"decision"`, 1 where prediction and label (where all rows have
    one, else the target) are on different sides of 0.5. A target of 0.5 has no side: without labels such rows are left
    out, as by the accuracy.
    """
    if risk == "squared":
        return np.array([(row["prediction"] - row["target"]) ** 2 for row in rows]), rows
    if all(row.get("label") is not None for row in rows):
        truths = [row["label"] for row in rows]
    else:
        rows = [row for row in rows if row["target"] != 0.5]
        truths = [row["target"] for row in rows]
    decided = [(row["prediction"] >= 0.5) != (truth > 0.5) for row, truth in zip(rows, truths, strict=True)]
    return np.array(decided, dtype=float), rows


def deferral(run: EvaluationRun, by: str, risk: str = "squared", resamples: int = RESAMPLES, seed: int = 0) -> dict:
    """
    Computes what deferring the least certain answers of a run, by one of `UNCERTAINTIES`, leaves of its error.

    Returns:
        `dict`: `n`; at `COVERAGES` the `risk`, its `band` (low, high), and the `oracle`'s, which defers the largest
        errors; the areas `aurc`, with its `interval`, and `aurc_oracle`; and `all`, the risk without deferring, which
        is also that of a random order at any coverage, and its area.

    Raises:
        `ValueError`: if the rows have no such uncertainty, or none can be decided.
    """
    losses, rows = losses_of(run.measurable, risk)
    if not rows:
        raise ValueError(
            f"{run.folder}: every target is exactly 0.5, where no decision is wrong: take squared errors."
        )
    column = "prediction" if by == "probability" else by
    lacking = next((row for row in rows if row.get(column) is None), None)
    if lacking is not None:
        raise ValueError(
            f"{run.folder}: row {lacking['id']} has no {column}: only CLUE gives a distribution, and evaluations of "
            "before lack some columns. Give --by probability, or evaluate anew."
        )
    uncertainties = np.array([UNCERTAINTIES[by][1](row) for row in rows], dtype=float)
    once = np.ones((1, len(rows)))
    clusters = np.unique([row["premise"] for row in rows], return_inverse=True)[1].reshape(-1)
    found = {
        "n": len(rows),
        "risk": risks_at(losses, uncertainties, once)[0],
        "oracle": risks_at(losses, losses, once)[0],
        "aurc": float(area_under_risk(losses, uncertainties, once)[0]),
        "aurc_oracle": float(area_under_risk(losses, losses, once)[0]),
        "all": float(losses.mean()),
        "band": None,
        "interval": None,
    }
    if clusters.max() > 0 and resamples:
        curves, areas = [], []
        for weights in cluster_weights(clusters, resamples, seed):
            curves.append(risks_at(losses, uncertainties, weights))
            areas.append(area_under_risk(losses, uncertainties, weights))
        tail = (1 - LEVEL) / 2
        found["band"] = np.quantile(np.concatenate(curves), [tail, 1 - tail], axis=0)
        found["interval"] = bootstrap_interval(found["aurc"], np.concatenate(areas), LEVEL, (0.0, np.inf))
    return found


@rc_context(PRINTED)
def draw_risk_coverage(
    runs: list[EvaluationRun], by: list[str], risk: str = "squared", resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Figure, str]:
    """Draws a panel of risk-coverage curves for each run; says in words what it shows. Options as [`deferral`]."""
    figure, panels = panel_grid(
        [run.name for run in runs], 2.0 if len(runs) > 1 else 2.5, extra=0.35 + 0.15 * (len(by) > 2)
    )
    words = [
        f"Risk-coverage curves of {'; '.join(run.name for run in runs)}. The {RISKS[risk]} of the most certain "
        f"answers against the share of answers kept, with {LEVEL:.0%} bands over premises, between that of deferring "
        "at random and of deferring the largest errors first."
    ]
    for run, (axes,) in zip(runs, panels, strict=True):
        areas, highest = [], 0.0
        for place, name in enumerate(by):
            found = deferral(run, name, risk, resamples, seed)
            look = {"color": CURVES[place], "zorder": 3 - place / 10}
            if found["band"] is not None:
                axes.fill_between(COVERAGES, *found["band"], alpha=0.2, linewidth=0, **look)
            axes.plot(COVERAGES, found["risk"], linestyle=LINES[place], label=UNCERTAINTIES[name][0], **look)
            areas.append(with_interval({"value": found["aurc"], "interval": found["interval"]}, short))
            highest = max(highest, found["risk"].max())
            words.append(
                f"{run.name}, by {UNCERTAINTIES[name][0]}: AURC {areas[-1]}; at random {found['all']:.4g}, at best "
                f"{found['aurc_oracle']:.4g}. Deferring the least certain tenth leaves "
                f"{found['risk'][89]:.4g} of {found['all']:.4g}, deferring half of them {found['risk'][49]:.4g} "
                f"({counted(found['n'], 'row')})."
            )
        axes.axhline(found["all"], color="0.45", linestyle=(0, (1, 1.5)), linewidth=1, label="random order", zorder=1)
        axes.plot(COVERAGES, found["oracle"], color=TRUTH, linewidth=1, label="largest errors first", zorder=2)
        axes.set_xlim(0, 1)
        # Of errors of nothing but rounding, the axis would show the rounding.
        axes.set_ylim(0, None if highest > ROUNDING else LEAST)
        axes.set_xticks([0, 0.5, 1] if len(runs) > 2 else [0, 0.25, 0.5, 0.75, 1])
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        draw_grid(axes)
        # The interval has a line of its own where it would run into the next panel.
        line = areas[0].replace(" [", "\n[") if len(runs) > 2 else areas[0]
        axes.set_title(wrapped(run.name, len(runs)) + (f"\nAURC {line}" if len(by) == 1 else ""), parse_math=False)
        label_left(axes, RISKS[risk])
    label_panels(figure, panels[0][0], "answers kept, the most certain first")
    return figure, "\n".join(words)
