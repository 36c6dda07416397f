"""The look of all figures and how they are written; and the histogram of a report."""

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from numpy.typing import ArrayLike

from common.files import replacing


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
    with replacing(path) as partial, rc_context({"svg.hashsalt": "clue", "pdf.fonttype": 42}):
        figure.savefig(partial, format=path.suffix[1:], dpi=dpi, metadata=metadata)


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
    axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    # Below the axes: anywhere inside them it would hide bars.
    figure.legend(frameon=False, loc="outside lower center", ncols=2)
    save_figure(figure, path, dpi=130)
