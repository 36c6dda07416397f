"""Figures of a report, as PNG files: a reliability diagram and a histogram of predictions."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from numpy.typing import ArrayLike


MODEL = "#1f5fa8"
TRUTH = "#d9822b"


def reliability_diagram(bins: list[dict], path: str | Path, title: str) -> None:
    """
    Draws the mean target against the mean prediction of each bin, above the number of rows in it.

    Args:
        bins (`list[dict]`): Bins as `evaluation.calibration.reliability` gives them.
        path (`str` or `Path`): The PNG file to write.
        title (`str`): Title of the figure.
    """
    figure = Figure(figsize=(5.2, 6.2), layout="constrained")
    diagram, counts = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [4, 1]})
    full = [b for b in bins if b["n"]]
    diagram.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1, label="calibrated")
    diagram.vlines(
        [b["prediction"] for b in full],
        [b["prediction"] for b in full],
        [b["target"] for b in full],
        color=TRUTH,
        linewidth=3,
        label="gap",
    )
    diagram.plot([b["prediction"] for b in full], [b["target"] for b in full], "o-", color=MODEL, label="model")
    diagram.set(ylabel="mean target", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title=title)
    diagram.legend(loc="upper left", frameon=False)
    widths = [b["high"] - b["low"] for b in bins]
    bars = counts.bar(
        [b["low"] for b in bins], [b["n"] for b in bins], widths, align="edge", color=MODEL, edgecolor="w"
    )
    counts.bar_label(bars, [f"{b['n']:,}" for b in bins], fontsize=7, padding=1)
    counts.set(xlabel="prediction", ylabel="rows", xticks=np.linspace(0, 1, 11))
    counts.margins(y=0.25)
    _count_rows(counts)
    _write(figure, path)


def prediction_histogram(predictions: ArrayLike, targets: ArrayLike, path: str | Path, title: str) -> None:
    """
    Draws how often each probability was predicted, over how often it was true.

    Args:
        predictions (`np.ndarray` of shape `(n,)`): Predicted probabilities.
        targets (`np.ndarray` of shape `(n,)`): Human or exact probabilities.
        path (`str` or `Path`): The PNG file to write.
        title (`str`): Title of the figure.
    """
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    edges = np.linspace(0, 1, 41)
    axes.hist(targets, edges, color=TRUTH, alpha=0.45, label="targets")
    axes.hist(predictions, edges, color=MODEL, histtype="step", linewidth=1.6, label="predictions")
    axes.set(xlabel="probability", ylabel="rows", xlim=(-0.02, 1.02), title=title)
    _count_rows(axes)
    # Below the axes: anywhere inside them it would hide bars.
    figure.legend(frameon=False, loc="outside lower center", ncols=2)
    _write(figure, path)


def _count_rows(axes: Axes) -> None:
    axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _write(figure: Figure, path: str | Path) -> None:
    FigureCanvasAgg(figure)
    partial = Path(f"{path}.partial")
    figure.savefig(partial, format="png", dpi=130)
    partial.replace(path)
