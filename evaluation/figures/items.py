"""Distributions of single items: what a model holds possible, what people said, what is true."""

import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from transformers import AutoConfig

from common.digests import weights_digest
from evaluation.data import load_rows, premise_keys
from evaluation.figures.style import MODEL, PAGE, PRINTED, TRUTH, label_left
from evaluation.prediction_files import EvaluationRun
from evaluation.predictors.checkpoints import CLUEPredictor, answer_format
from evaluation.predictors.prediction import INTERVAL_MASS
from modeling_clue.checkpoint_parts import read
from modeling_clue.confidence import bin_values
from modeling_clue.modalities import PART_COLUMNS, parts_of_row


# What the model says now may differ from what it said then by the rounding of other batches, bfloat16's included.
TOLERANCE = 0.02
# Characters of a premise or a hypothesis that are shown.
LONGEST = 240
BARS = "#7fb8d8"
LOOKS = {
    "target": {"marker": "D", "color": TRUTH, "markersize": 4},
    "people": {"marker": "v", "color": "k", "markersize": 3.5, "markerfacecolor": "none", "markeredgewidth": 0.8},
    "teachers": {"marker": "x", "color": "0.35", "markersize": 3.5, "markeredgewidth": 0.9},
}


@dataclass(frozen=True)
class Item:
    """
    One row, the distribution over the confidence bins (`values`) that a model gives for it, and what others say.

    The premise is its text, or the name of its clip. What each person and each answer of a teacher said may be empty.
    """

    id: str
    premise: str
    hypothesis: str
    values: np.ndarray
    distribution: np.ndarray
    prediction: float
    interval: list[float]
    target: float
    people: list[float]
    teachers: list[float]


def read_items(run: EvaluationRun, ids: list[str], checkpoint: Path, dataset: str | None = None) -> list[Item]:
    """
    Asks the checkpoint of an evaluation about some of its rows again, for the whole distributions.

    The checkpoint is named anew, since it brings code of its own, which a folder of predictions must not choose; and
    so may be the dataset, if it has been moved.

    Raises:
        `ValueError`: if checkpoint or rows are not those of the evaluation, the model's answers are not what it said
            then, or it gives no distribution.
    """
    settings = run.settings
    saved = {row["id"]: row for row in run.predictions}
    if unknown := [name for name in ids if name not in saved]:
        raise ValueError(
            f"{run.folder} has no row {', '.join(unknown)}; its ids are such as {run.predictions[0]['id']}."
        )
    if settings.get("predictor", "auto") != "auto":
        raise ValueError(f"{run.folder} is of the predictor {settings['predictor']}: only CLUE gives a distribution.")
    if weights_digest(checkpoint) != settings["weights"]:
        raise ValueError(f"--model {checkpoint} has other weights than the model of {run.folder}.")
    config = read(AutoConfig, checkpoint, trust_remote_code=True)
    if config.to_dict().get("calibration") != settings.get("calibration"):
        raise ValueError(f"--model {checkpoint} has another calibration than when {run.folder} was evaluated.")
    if answer_format(checkpoint, config) is not None:
        raise ValueError(f"--model {checkpoint} writes its answers: there is no distribution to draw.")
    rows = load_rows(dataset or settings["dataset"], settings["config"], settings["split"])
    place = {name: index for index, name in enumerate(rows["id"][:])}
    if gone := [name for name in ids if name not in place]:
        raise ValueError(f"{dataset or settings['dataset']} no longer has row {', '.join(gone)}: it was built anew.")
    rows = rows.select([place[name] for name in ids])
    predictor = CLUEPredictor(checkpoint)
    items = []
    for row, key in zip(rows, premise_keys(rows), strict=True):
        before = saved[row["id"]]
        if (key, row["hypothesis"], row["probability"]) != (before["premise"], before["hypothesis"], before["target"]):
            raise ValueError(f"Row {row['id']} is not what it was when {run.folder} was evaluated: evaluate it anew.")
        distribution, prediction = _ask(predictor, row)
        if abs(prediction - before["prediction"]) > TOLERANCE:
            raise ValueError(
                f"Row {row['id']}: the model says {prediction:.4f}, {run.folder} holds {before['prediction']:.4f}."
            )
        items.append(
            Item(
                id=row["id"],
                premise=_in_words(row),
                hypothesis=row["hypothesis"],
                values=bin_values(len(distribution)).numpy(),
                distribution=distribution,
                prediction=before["prediction"],
                interval=before["interval"],
                target=row["probability"],
                people=row["human_probabilities"] or [],
                teachers=row["teacher_probabilities"] or [],
            )
        )
    return items


def _in_words(row: dict) -> str:
    """Returns a text, the name of a clip, or both of a combination's parts."""
    parts = parts_of_row(row) if row["parts"] else [{**row, "text": row["premise"]}]
    return "; ".join(
        part["text"] or f"{part['modality']}, {Path(part[PART_COLUMNS[part['modality']]]['path'] or '').name}"
        for part in parts
    )


@torch.inference_mode()
def _ask(predictor: CLUEPredictor, row: dict) -> tuple[np.ndarray, float]:
    (one,) = predictor.prepare([row])
    output = predictor.model(**one.inputs.to(predictor.model.device))
    return output.distribution[0].cpu().numpy(), float(output.probability[0])


@rc_context(PRINTED)
def draw_items(items: list[Item]) -> tuple[Figure, str]:
    """Draws the distribution of each item, two panels beside each other; says in words what it shows."""
    columns = min(len(items), 2)
    lines = -(-len(items) // columns)
    characters = 58
    titles = [_title(item, characters) for item in items]
    tallest = max(title.count("\n") + 1 for title in titles)
    figure = Figure(
        figsize=(PAGE * columns / 2 + 0.2 * (columns == 1), (1.55 + 0.13 * tallest) * lines + 0.45),
        layout="constrained",
    )
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True).reshape(-1)
    words = ["Distributions over the confidence bins, with the model's probability and the target."]
    drawn = set()
    for item, title, axes in zip(items, titles, grid, strict=False):
        step = item.values[1] - item.values[0]
        axes.bar(item.values, item.distribution, step, color=BARS, linewidth=0)
        top = 1.4 * item.distribution.max()
        axes.axvspan(*item.interval, color=MODEL, alpha=0.1, linewidth=0, zorder=0)
        axes.vlines(item.prediction, 0, 0.76 * top, color="k", linewidth=0.9)
        # Above the distribution, each at a height of its own: on one probability they would hide each other.
        for kind, given, height in (
            ("target", [item.target], 0.78),
            ("teachers", item.teachers, 0.86),
            ("people", item.people, 0.94),
        ):
            if given:
                drawn.add(kind)
                places, counts = np.unique(np.round(given, 3), return_counts=True)
                axes.plot(places, np.full(len(places), height * top), linestyle="", **LOOKS[kind])
                for place, count in zip(places[counts > 1], counts[counts > 1], strict=True):
                    spot = {"xytext": (3, 0), "textcoords": "offset points", "va": "center", "fontsize": 6}
                    axes.annotate(f"×{count}", (place, height * top), **spot)
        axes.set(xlim=(-0.03, 1.03), ylim=(0, top))
        axes.set_title(title, loc="left", fontsize=7.5, parse_math=False)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        label_left(axes, "probability of bin")
        judged = "".join(
            f"; {kind}: {', '.join(f'{value:.2f}' for value in given)}"
            for kind, given in (("people", item.people), ("teacher", item.teachers))
            if given
        )
        words.append(
            f"{item.id}: {' '.join(title.split())}: predicted {item.prediction:.3f}, {INTERVAL_MASS:.0%} of the "
            f"distribution from {item.interval[0]:.3f} to {item.interval[1]:.3f}; target {item.target:.3f}{judged}."
        )
    for axes in grid[len(items) :]:
        axes.remove()
    for axes in grid[max(0, len(items) - columns) : len(items)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel("probability of the hypothesis", fontsize=8)
    handles = [
        Patch(facecolor=BARS, label="distribution"),
        Patch(facecolor=MODEL, alpha=0.1, label=f"its central {INTERVAL_MASS:.0%}".replace("%", " %")),
        Line2D([], [], color="k", linewidth=0.9, label="prediction"),
        *(Line2D([], [], linestyle="", label=kind, **look) for kind, look in LOOKS.items() if kind in drawn),
    ]
    ncols = len(handles) if columns == 2 else 3
    figure.legend(handles=handles, loc="outside upper center", ncols=ncols, frameon=False, columnspacing=1.4)
    return figure, "\n".join(words)


def _title(item: Item, characters: int) -> str:
    return "\n".join(
        textwrap.fill(textwrap.shorten(text, LONGEST, placeholder=" …"), characters)
        for text in (item.premise, f"→ {item.hypothesis}")
    )
