"""
Training loss and gradient norm by modality of runs side by side (figure 5 of the paper).

Runs of one setting, named `SETTING-SEED` or given the same `--label`, are one curve: the mean of their running means,
in a band from the lowest to the highest. Pale behind it are the logged values of the first of them. The gradient norm
of a step of several modalities belongs to none of them, and is drawn beside that of each.
"""

import warnings

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from evaluation.figures.curves import ALL, FINAL, Curve, Run, final_loss, loss_levels, modalities_of, summarize
from evaluation.figures.style import COLOURS, LINES, PAGE, PRINTED
from evaluation.tables import csv_table, markdown_table
from modeling_clue.modalities import MIXED


# A curve that spans more than this factor is drawn on a logarithmic scale.
WIDE = 5
COLUMNS = {
    "final_loss": "final loss",
    "fluctuation": "fluctuation",
    "fluctuation_apart": "around its modality's mean",
    "grad_norm": "gradient norm",
    "grad_norm_p95": "95 % of norms below",
    "steps_to_level": "steps to level",
    "validation_loss": "validation loss",
    "validation_mse": "validation MSE",
}


@rc_context(PRINTED)
def draw_batching(runs: list[Run]) -> tuple[Figure, str]:
    """Draws a column for all steps and one for each modality, loss above gradient norm; says what it shows."""
    columns = modalities_of(runs)
    groups = by_label(runs)
    figure = Figure(figsize=(PAGE, 3.6), layout="constrained")
    grid = figure.subplots(2, len(columns), sharex=True, sharey="row", squeeze=False)
    for row, (title, curves_of) in enumerate([("training loss", _loss), ("gradient norm", _grad_norm)]):
        spans = []
        for axes, modality in zip(grid[row], columns, strict=True):
            for index, members in enumerate(groups.values()):
                curves = [(run, curve) for run in members if (curve := curves_of(run, modality)) is not None]
                if curves:
                    look = {"color": COLOURS[index % len(COLOURS)], "linestyle": LINES[index % len(LINES)]}
                    spans.append(_draw_group(axes, curves, look))
            axes.grid(color="0.9", linewidth=0.6)
            axes.set_axisbelow(True)
        grid[row, 0].set_ylabel(title)
        low, high = min(span[0] for span in spans), max(span[1] for span in spans)
        if low > 0 and high > WIDE * low:
            grid[row, 0].set_yscale("log")
            grid[row, 0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            grid[row, 0].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            grid[row, 0].yaxis.set_minor_formatter(NullFormatter())
        grid[row, 0].set_ylim(low, high)
    for axes, modality in zip(grid[0], columns, strict=True):
        axes.set_title("all steps" if modality == ALL else modality)
    for axes in figure.axes:
        axes.xaxis.set_major_locator(MaxNLocator(2))
    figure.supxlabel("step", fontsize=8)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    names = [f"{label} ({len(members)} seeds)" if len(members) > 1 else label for label, members in groups.items()]
    figure.legend(handles, names, loc="outside upper center", ncols=len(labels), frameon=False)
    words = ["Training loss and gradient norm over the steps, of all steps and by modality; final losses:"]
    for label, members in groups.items():
        for modality in modalities_of(members):
            finals = [final_loss(run, modality) for run in members if modality in run.loss]
            words.append(f"{label}, {modality}: {', '.join(f'{value:.4g}' for value in finals)}.")
    return figure, "\n".join(words)


def _loss(run: Run, modality: str) -> Curve | None:
    return run.loss.get(modality)


def _grad_norm(run: Run, modality: str) -> Curve | None:
    """Returns the norms of a modality's steps, else of mixed ones, to compare with."""
    return run.grad_norm.get(modality, run.grad_norm.get(MIXED))


def _draw_group(axes: Axes, curves: list[tuple[Run, Curve]], look: dict) -> tuple[float, float]:
    """Draws one setting, and returns its lowest and highest value, but for the outermost."""
    steps = np.unique(np.concatenate([curve.steps for _, curve in curves]))
    means = np.stack([curve.running_mean(steps, run.window) for run, curve in curves])
    first = curves[0][1]
    axes.plot(first.steps, first.values, color=look["color"], alpha=0.18, linewidth=0.5, antialiased=False, zorder=1)
    with warnings.catch_warnings():
        # A step that no seed has a value near is a gap in the curve.
        warnings.simplefilter("ignore", RuntimeWarning)
        mean, low, high = np.nanmean(means, 0), np.nanmin(means, 0), np.nanmax(means, 0)
    axes.fill_between(steps, low, high, color=look["color"], alpha=0.3, linewidth=0, zorder=2)
    axes.plot(steps, mean, linewidth=1.6, label="setting", zorder=3, **look)
    outer = np.percentile(first.values, [2, 98])
    return float(min(np.nanmin(low), outer[0])), float(max(np.nanmax(high), outer[1]))


def by_label(runs: list[Run]) -> dict[str, list[Run]]:
    """Groups the runs by their settings, in the order in which they were named."""
    groups = {}
    for run in runs:
        groups.setdefault(run.label, []).append(run)
    return groups


def logged_values(runs: list[Run]) -> str:
    """Returns the logged values as CSV: a line for each run, step and modality."""
    rows = []
    for run in runs:
        for modality in (*modalities_of([run]), MIXED):
            points = {}
            for column, curves in (("loss", run.loss), ("grad_norm", run.grad_norm)):
                if modality in curves:
                    for step, value in zip(curves[modality].steps, curves[modality].values, strict=True):
                        points.setdefault(int(step), {"loss": None, "grad_norm": None})[column] = float(value)
            place = {"setting": run.label, "run": run.name, "modality": modality}
            rows += [{**place, "step": step, **points[step]} for step in sorted(points)]
    return csv_table(rows, "\r\n")


def summary_table(runs: list[Run]) -> str:
    """Lays out the settings in Markdown, the mean over the seeds and in brackets each of them, and explains it."""
    levels = loss_levels(runs)
    summaries = {run.name: summarize(run, levels) for run in runs}
    known = {name for summary in summaries.values() for numbers in summary.values() for name in numbers}
    columns = {name: title for name, title in COLUMNS.items() if name in known}
    rows = []
    for modality in modalities_of(runs):
        for label, members in by_label(runs).items():
            summary = [summaries[run.name][modality] for run in members if modality in summaries[run.name]]
            cells = [_cell([numbers.get(name) for numbers in summary]) for name in columns]
            rows.append([modality, label, *cells])
    race = ", ".join(f"{modality} {level:.2g}" for modality, level in levels.items())
    steps = ", ".join(f"{run.name} {run.steps:,}" for run in runs)
    return (
        f"{markdown_table(['modality', 'setting', *columns.values()], rows, words=2)}\n\n"
        f"Mean over the seeds (each of them). Final loss: mean over the last {FINAL:.0%} of the steps. Fluctuation: "
        f"standard deviation of the logged losses around their running mean over {runs[0].window:.0f} steps. "
        f"Level: {race}; the first step at which the running mean is there. Steps: {steps}.\n"
    )


def _cell(values: list[float | None]) -> str:
    """Shows the mean of the seeds and each of them; a dash for one that has no such number."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    each = ["–" if value is None else _number(value) for value in values]
    if len(values) == 1:
        return each[0]
    return f"{_number(np.mean(known)) if len(known) == len(values) else '–'} ({', '.join(each)})"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
