"""Heat maps of the agreement of annotators, pair by pair (figure 3 of the paper)."""

import math

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure


# Title and colours of each heat map, and its range; an open end is that of the values.
MAPS = {
    "pearson": ("Pearson correlation", "RdBu", -1, 1),
    "mse": ("Mean squared error", "YlOrRd", 0, None),
    "js_distance": ("Jensen-Shannon distance", "YlOrRd", 0, 1),
    "spearman": ("Spearman correlation", "RdBu", -1, 1),
}
UNDEFINED = "0.85"
LONGEST_NAME = 24
# With more annotators than this, numbers in the cells could not be read.
MOST_NUMBERS = 20


def draw_heatmaps(report: dict) -> Figure:
    """Draws one heat map a measure, annotators by annotators, of a report of `evaluation.agreement`."""
    names = [_short(person["name"]) for person in report["annotators"]]
    index = {person["name"]: i for i, person in enumerate(report["annotators"])}
    room = 0.07 * max(map(len, names))
    # Inches: a cell has room for a number, and without numbers for a name's height.
    side = max(0.48 * len(names), 2.2) if len(names) <= MOST_NUMBERS else min(0.16 * len(names), 16)
    figure = Figure(figsize=(2 * (side + room + 1.3), 2 * (side + room + 0.7) + 0.4), layout="constrained")
    for axes, (measure, look) in zip(figure.subplots(2, 2).flat, MAPS.items(), strict=True):
        values = np.full((len(names), len(names)), np.nan)
        for pair in report["pairs"]:
            i, j = index[pair["first"]], index[pair["second"]]
            values[i, j] = values[j, i] = pair[measure]
        _draw_map(figure, axes, values, names, *look)
    common = [pair["n"] for pair in report["pairs"] if pair["first"] != pair["second"]]
    if common:
        counts = f"{min(common):,}" if min(common) == max(common) else f"{min(common):,} to {max(common):,}"
        figure.suptitle(f"Agreement of pairs of annotators, over the {counts} items that both judged", fontsize=11)
    else:
        figure.suptitle("One annotator: there is no pair", fontsize=11)
    return figure


def _draw_map(
    figure: Figure, axes: Axes, values: np.ndarray, names: list[str], title: str, colours: str, low: float, high: float
) -> None:
    if high is None:
        # Without any error there would be no range.
        high = max(np.nanmax(values, initial=0), 0.01)
    colour_map = colormaps[colours].with_extremes(bad=UNDEFINED)
    image = axes.imshow(np.ma.masked_invalid(values), cmap=colour_map, vmin=low, vmax=high)
    places = range(len(names))
    small = 8 if len(names) <= MOST_NUMBERS else 6
    axes.set_title(title, fontsize=10)
    axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor", fontsize=small, parse_math=False)
    axes.set_yticks(places, names, fontsize=small, parse_math=False)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, shrink=0.8).ax.tick_params(labelsize=7)
    if len(names) > MOST_NUMBERS:
        return
    for i in places:
        for j in places:
            value = values[i, j]
            text = "n/a" if math.isnan(value) else f"{value:.2f}" if low < 0 else f"{value:.3f}"
            red, green, blue, _ = image.cmap(image.norm(value)) if not math.isnan(value) else (1, 1, 1, 1)
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
            axes.text(j, i, text, ha="center", va="center", fontsize=8, color="w" if dark else "k")


def _short(name: str) -> str:
    plain = " ".join(name.split())
    return plain if len(plain) <= LONGEST_NAME else f"{plain[: LONGEST_NAME - 9]}…{plain[-8:]}"
