"""Small multiples: how many go beside each other, and titles that fit them."""

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.plots import COLUMN, PAGE


# Panels beside each other: more could not be read at the width of a page.
MOST_COLUMNS = 4
# Inches of a line of a title.
LINE = 0.135


def grid(
    names: list[str], height: float, ratios: tuple[int, ...] = (1,), extra: float = 0.0
) -> tuple[Figure, np.ndarray]:
    """
    A figure of panels: one is as wide as a column, two and more share the page.

    Args:
        names (`list[str]`): What each panel is of, which its title begins with: a long name makes the figure taller,
            not its axes smaller.
        height (`float`): Height of a panel in inches.
        ratios (`tuple[int, ...]`, *optional*): Relative heights of the axes of a panel, which stand above each other.
        extra (`float`, *optional*): Inches for what stands outside of the panels.

    Returns:
        `tuple[Figure, np.ndarray]`: the figure, and its axes of shape `(len(names), len(ratios))`.
    """
    count = len(names)
    columns = count if count <= MOST_COLUMNS else MOST_COLUMNS if count % 3 else 3
    lines = -(-count // columns)
    width = COLUMN if columns == 1 else PAGE * (0.75 if columns == 2 else 1)
    further = [wrapped(name, count).count("\n") for name in names]
    extra += LINE * sum(max(further[first : first + columns]) for first in range(0, count, columns))
    figure = Figure(figsize=(width, height * lines + extra), layout="constrained")
    axes = figure.subplots(
        lines * len(ratios),
        columns,
        sharex=True,
        squeeze=False,
        gridspec_kw={"height_ratios": ratios * lines},
    )
    # (lines, parts, columns) -> (panels, parts)
    panels = axes.reshape(lines, len(ratios), columns).swapaxes(1, 2).reshape(-1, len(ratios))
    for panel in panels[count:]:
        for unused in panel:
            unused.remove()
    # The last panel of a column may stand above an empty place: it has the ticks' labels then.
    for panel in panels[max(0, count - columns) : count]:
        panel[-1].tick_params(labelbottom=True)
    return figure, panels[:count]


def name_parts(figure: Figure, axes: Axes, label: str) -> None:
    """Names what all panels share: the horizontal axis beneath them, and what is drawn above, where it hides none."""
    figure.supxlabel(label, fontsize=8)
    handles, labels = axes.get_legend_handles_labels()
    wide = figure.get_figwidth() > COLUMN + 1
    figure.legend(
        handles, labels, loc="outside upper center", ncols=len(labels) if wide else 2, frameon=False, columnspacing=1.4
    )


def is_first(axes: Axes) -> bool:
    """Whether a panel stands at the left end of its line, where the vertical axis has its name."""
    return axes.get_subplotspec().is_first_col()


def wrapped(text: str, count: int) -> str:
    """A title in lines that are no wider than one of `count` panels."""
    return textwrap.fill(" ".join(text.split()), 22 if count > 2 else 44, break_long_words=True)
