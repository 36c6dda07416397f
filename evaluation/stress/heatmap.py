"""The heat map of a stress test: the error of each modality at each level of each knob."""

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from evaluation.figures.style import save_figure


# The darkest colour stands for this error or more: what a predictor has that always says 0.5.
DARKEST = 0.4
# Of a title, that are sure to fit an inch.
LETTERS = 7


def heat_map(cells: list[dict], path: Path, title: str) -> None:
    """Draws the mean absolute error of cells by modality and knob level, with its number, as a PNG file."""
    modalities = list(dict.fromkeys(cell["modality"] for cell in cells))
    # The modality with most knobs has the columns of all.
    names = list(dict.fromkeys(cell["cell"] for cell in sorted(cells, key=lambda cell: cell["knob"] == "sense")))
    knobs = [next(cell["knob"] for cell in cells if cell["cell"] == name) for name in names]
    errors = np.full((len(modalities), len(names)), np.nan)
    for cell in cells:
        if cell["mae"] is not None:
            errors[modalities.index(cell["modality"]), names.index(cell["cell"])] = cell["mae"]["value"]
    figure = Figure(figsize=(3.2 + 0.72 * len(names), 1.9 + 0.55 * len(modalities)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(np.ma.masked_invalid(errors), cmap="YlOrRd", vmin=0, vmax=DARKEST, aspect="auto")
    axes.set_facecolor("0.93")
    for (row, column), value in np.ndenumerate(errors):
        if not np.isnan(value):
            colour = "w" if value > 0.6 * DARKEST else "k"
            axes.text(column, row, f"{value:.3f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_yticks(range(len(modalities)), modalities)
    levels = [name.partition("=")[2] or name for name in names]
    axes.set_xticks(range(len(names)), levels)
    axes.tick_params(length=0)
    for column in range(1, len(names)):
        if knobs[column] != knobs[column - 1]:
            axes.axvline(column - 0.5, color="w", linewidth=4)
    for knob in dict.fromkeys(knobs):
        if knob != "base":
            places = [column for column, name in enumerate(knobs) if name == knob]
            axes.text(np.mean(places), -0.62, knob, ha="center", va="bottom", fontsize=10)
    axes.spines[:].set_visible(False)
    lines = textwrap.fill(title, int(LETTERS * figure.get_figwidth()))
    axes.set_title(lines, pad=30, fontsize=11, parse_math=False)
    figure.colorbar(image, ax=axes, label="mean absolute error", extend="max")
    save_figure(figure, path, dpi=130)
