"""The look of all figures, panels that stay readable however many there are, and how a figure is written."""

import textwrap
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from numpy.typing import ArrayLike

from common.files import replacing


# Okabe and Ito's colours, which the colour-blind tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MODEL, TRUTH = COLOURS[:2]
LINES = ("-", "--", "-.", ":")
# Inches: a column and the whole width of a two-column page, at which text is to be read.
COLUMN, PAGE = 3.3, 6.8
# Panels beside each other: more could not be read at the width of a page.
MOST_COLUMNS = 4
# Inches of a line of a title.
LINE = 0.135
# For figures that are printed at their own size.
PRINTED = {
    **dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize"), 8),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), 7),
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.6),
    **{"legend.fontsize": 7.5, "figure.titlesize": 9, "lines.linewidth": 1.3},
}
# Where a description is kept, and what else would differ from run to run: dates, names of an SVG's parts, versions.
FORMATS = {
    ".png": ("Description", ("Software",)),
    ".svg": ("Description", ("Date", "Creator")),
    ".pdf": ("Subject", ("CreationDate", "Creator", "Producer")),
}


def save_figure(figure: Figure, path: Path, description: str | None = None, dpi: int = 200) -> None:
    """Writes a figure as a `.png`, `.svg` or `.pdf` file, whole, the same bytes each time; keeps its description."""
    key, dropped = FORMATS[path.suffix]
    metadata = dict.fromkeys(dropped) | ({} if description is None else {key: description})
    with replacing(path) as partial, rc_context({"svg.hashsalt": "clue", "pdf.fonttype": 42}):
        figure.savefig(partial, format=path.suffix[1:], dpi=dpi, metadata=metadata)


def prediction_histogram(predictions: ArrayLike, targets: ArrayLike, path: Path, title: str) -> None:
    """Draws how often each probability was predicted, over how often it was true, into a PNG file."""
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


def panel_grid(
    names: list[str], height: float, ratios: tuple[int, ...] = (1,), extra: float = 0.0
) -> tuple[Figure, np.ndarray]:
    """
    Makes a figure of panels: one is as wide as a column, two and more share the page.

    Returns the figure and its axes, `(names, ratios)`: ratios are the relative heights of the axes of a panel, which
    stand above each other. A long name makes the figure taller, not its axes smaller. Height is a panel's, in inches,
    extra what stands outside of the panels.
    """
    count = len(names)
    columns = count if count <= MOST_COLUMNS else MOST_COLUMNS if count % 3 else 3
    lines = -(-count // columns)
    width = COLUMN if columns == 1 else PAGE * (0.75 if columns == 2 else 1)
    further = [wrapped(name, count).count("\n") for name in names]
    extra += LINE * sum(max(further[first : first + columns]) for first in range(0, count, columns))
    figure = Figure(figsize=(width, height * lines + extra), layout="constrained")
    heights = {"height_ratios": ratios * lines}
    axes = figure.subplots(lines * len(ratios), columns, sharex=True, squeeze=False, gridspec_kw=heights)
    # (lines, parts, columns) -> (panels, parts)
    panels = axes.reshape(lines, len(ratios), columns).swapaxes(1, 2).reshape(-1, len(ratios))
    for unused in panels[count:].flat:
        unused.remove()
    # The last panel of a column may stand above an empty place: it has the ticks' labels then.
    for panel in panels[max(0, count - columns) : count]:
        panel[-1].tick_params(labelbottom=True)
    return figure, panels[:count]


def label_panels(figure: Figure, axes: Axes, label: str) -> None:
    """Names what all panels share: the horizontal axis beneath them, and what is drawn above, where it hides none."""
    figure.supxlabel(label, fontsize=8)
    handles, labels = axes.get_legend_handles_labels()
    ncols = len(labels) if figure.get_figwidth() > COLUMN + 1 else 2
    figure.legend(handles, labels, loc="outside upper center", ncols=ncols, frameon=False, columnspacing=1.4)


def label_left(axes: Axes, label: str, shared: bool = False) -> None:
    """Names the vertical axis at the left end of a line of panels; further on, a shared scale has no numbers."""
    if axes.get_subplotspec().is_first_col():
        axes.set_ylabel(label)
    elif shared:
        axes.tick_params(labelleft=False)


def draw_grid(axes: Axes) -> None:
    """Draws pale lines behind everything else."""
    axes.grid(color="0.92", linewidth=0.5)
    axes.set_axisbelow(True)


def wrapped(text: str, count: int) -> str:
    """Breaks a title into lines that are no wider than one of `count` panels."""
    return textwrap.fill(" ".join(text.split()), 22 if count > 2 else 44, break_long_words=True)
