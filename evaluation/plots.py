"""The look of all figures and how they are written; and those of a report, a reliability diagram and a histogram."""

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from numpy.typing import ArrayLike


# Okabe and Ito's colours, which the colour-blind tell apart.
MODEL = "#0072b2"
TRUTH = "#d55e00"
COLOURS = (MODEL, "#009e73", "#cc79a7", "#e69f00")
# Inches: a column and the whole width of a two-column page, at which text is to be read.
COLUMN, PAGE = 3.3, 6.8
# For figures that are printed at their own size.
PRINTED = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7.5,
    "figure.titlesize": 9,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.3,
}
# What else would differ from run to run: dates, random names of an SVG's parts, versions.
FORMATS = {
    ".png": ("Description", ("Software",)),
    ".svg": ("Description", ("Date", "Creator")),
    ".pdf": ("Subject", ("CreationDate", "Creator", "Producer")),
}


def save_figure(figure: Figure, path: str | Path, alt: str | None = None, dpi: int = 200) -> None:
    """
    Writes a figure through a temporary name, the same bytes each time.

    Args:
        figure (`Figure`): The figure.
        path (`str` or `Path`): The file to write, `.png`, `.svg` or `.pdf`.
        alt (`str`, *optional*): What it shows, in words: kept in the file's metadata.
        dpi (`int`, defaults to 200): Pixels an inch of a PNG file.

    Raises:
        `ValueError`: if the file's ending is another.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ValueError(f"{path} must end in {', '.join(FORMATS)}.")
    described, dropped = FORMATS[path.suffix]
    metadata = dict.fromkeys(dropped) | ({} if alt is None else {described: alt})
    partial = Path(f"{path}.partial")
    with rc_context({"svg.hashsalt": "clue", "pdf.fonttype": 42}):
        figure.savefig(partial, format=path.suffix[1:], dpi=dpi, metadata=metadata)
    partial.replace(path)


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
    diagram.set(ylabel="mean target", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    diagram.set_title(title, parse_math=False)
    widths = [b["high"] - b["low"] for b in bins]
    bars = counts.bar(
        [b["low"] for b in bins], [b["n"] for b in bins], widths, align="edge", color=MODEL, edgecolor="w"
    )
    counts.bar_label(bars, [f"{b['n']:,}" for b in bins], fontsize=7, padding=1)
    counts.set(xlabel="prediction", ylabel="rows", xticks=np.linspace(0, 1, 11))
    counts.margins(y=0.25)
    _count_rows(counts)
    # Below the axes: inside them it would hide the bins of a model that says too little.
    figure.legend(*diagram.get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=3)
    save_figure(figure, path, dpi=130)


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
    axes.set(xlabel="probability", ylabel="rows", xlim=(-0.02, 1.02))
    axes.set_title(title, parse_math=False)
    _count_rows(axes)
    # Below the axes: anywhere inside them it would hide bars.
    figure.legend(frameon=False, loc="outside lower center", ncols=2)
    save_figure(figure, path, dpi=130)


def _count_rows(axes: Axes) -> None:
    axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
