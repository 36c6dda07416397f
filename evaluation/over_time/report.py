"""The files of a report over time: report.json, report.md and its figure."""

import json
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from common.cli import counted
from common.files import write_text
from evaluation.figures.style import (
    COLOURS,
    LINES,
    PRINTED,
    draw_grid,
    label_left,
    label_panels,
    panel_grid,
    save_figure,
)
from evaluation.metrics.uncertain_inference.measures import RESAMPLES
from evaluation.over_time.measures import NEAR
from evaluation.tables import markdown_table, number, with_interval


def write_time_report(report: dict, out: Path) -> None:
    """Writes all files of a report as `evaluation.over_time` makes it."""
    figure, words = draw_errors(report["sets"])
    save_figure(figure, out / "over_time.png", words)
    write_text(out / "report.json", json.dumps(report, indent=2) + "\n")
    sets = report["sets"]
    premises, left_out = sum(of["premises"] for of in sets), sum(of["left_out"] for of in sets)
    write_text(
        out / "report.md",
        f"""# {report["name"]}, belief over time

Suite `{report["suite"]["options"]["version"]}`, digest `{report["suite"]["digest"]}`: {counted(premises, "premise")},
each at every time at which the checkpoint can tell its belief, against the exact probability given what came up to
there. In no measure are {left_out:,} of {sum(of["answers"] for of in sets):,} answers, at times at which there is no
truth: nothing was said of the urn yet, it was taken back, or a ball or a beep was torn.

{time_tables(report)}

![error over time](over_time.png)
""",
    )


def time_tables(report: dict) -> str:
    """Lays out the measures of each set, when its answers are reached, and its error by share of the premise."""
    sets = report["sets"]
    table = [
        [
            *_title(of),
            f"{of['all']['n']:,}",
            f"{of['left_out']:,}",
            *(with_interval(of[part][name]) for part in ("all", "end") for name in ("mse", "ece")),
            number(of["all"]["constant_mse"]),
        ]
        for of in sets
    ]
    header = ["set", "answers", "left out", "MSE [95%]", "ECE [95%]", "MSE at the end", "ECE at the end", "constant"]
    early = [
        [*_title(of), *(with_interval(of["reached"][name], lambda value: number(value, 3)) for name in WHO)]
        for of in sets
    ]
    shares = [
        [*_title(of), *(f"{number(part['mse']['value'])} / {number(part['ece']['value'])}" for part in of["bins"])]
        for of in sets
    ]
    edges = [f"to {part['high']:.0%}" for part in sets[0]["bins"]]
    return f"""{markdown_table(header, table)}

Intervals hold 95% of {RESAMPLES:,} resamples of whole premises. `constant` is the MSE of the set's mean truth.

Share of the premise after which an answer stays within {NEAR} of its last value, on average:

{markdown_table(["set", "model [95%]", "truth [95%]", "model less truth [95%]"], early)}

MSE / ECE by share of the premise; a dash where no time falls:

{markdown_table(["set", *edges], shares)}"""


WHO = ("model", "truth", "later")


def _title(of: dict) -> list[str]:
    return [f"{of['modality']} {of['set']}"]


@rc_context(PRINTED)
def draw_errors(sets: list[dict]) -> tuple[Figure, str]:
    """Draws the MSE of each set against the share of the premise, a panel a modality; says in words what it shows."""
    modalities = list(dict.fromkeys(of["modality"] for of in sets))
    names = list(dict.fromkeys(of["set"] for of in sets))
    figure, panels = panel_grid(modalities, 2.0 if len(modalities) > 1 else 2.5, extra=0.35)
    words = ["Mean squared error against the exact probability of the prefix, by share of the premise."]
    for modality, (axes,) in zip(modalities, panels, strict=True):
        for of in (one for one in sets if one["modality"] == modality):
            place = names.index(of["set"])
            look = {"color": COLOURS[place], "linestyle": LINES[place], "zorder": 3 - place / 10}
            parts = [part for part in of["bins"] if part["n"]]
            shares = [part["share"] for part in parts]
            errors = [part["mse"]["value"] for part in parts]
            axes.plot(shares, errors, marker="o", markersize=2.5, label=of["set"], **look)
            if all(part["mse"]["interval"] for part in parts):
                low, high = zip(*(part["mse"]["interval"] for part in parts), strict=True)
                axes.fill_between(shares, low, high, color=look["color"], alpha=0.15, linewidth=0)
            told = ", ".join(f"{error:.4f} at {share:.0%}" for share, error in zip(shares, errors, strict=True))
            words.append(f"{modality}, {of['set']}: {told}.")
        axes.set_title(modality)
        axes.set(xlim=(0, 1.03))
        axes.set_ylim(bottom=0)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        draw_grid(axes)
        label_left(axes, "MSE")
    # The panel with most lines has the names of all.
    fullest = max((axes for (axes,) in panels), key=lambda axes: len(axes.lines))
    label_panels(figure, fullest, "share of the premise")
    return figure, "\n".join(words)
