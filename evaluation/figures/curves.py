"""The curves of training runs, read from the Trainer's logs, and what can be said about them in numbers."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import sort_checkpoints

from modeling_clue.modalities import MIXED, MODALITIES


# Width of the running means, as a share of the steps.
WINDOW = 1 / 30
# Share of the steps, at the end, whose mean is the final loss.
FINAL = 1 / 10
ALL = "all"


@dataclass
class Curve:
    """One quantity of a run: its values at ascending steps, `(n,)` each."""

    steps: np.ndarray
    values: np.ndarray

    def running_mean(self, at: np.ndarray, window: float) -> np.ndarray:
        """Averages the values of `window` steps around each of `at`, half on either side; NaN where there is none."""
        first = np.searchsorted(self.steps, at - window / 2, side="left")
        last = np.searchsorted(self.steps, at + window / 2, side="right")
        sums = np.concatenate([[0.0], np.cumsum(self.values)])
        counts = last - first
        return np.where(counts > 0, (sums[last] - sums[first]) / np.maximum(counts, 1), np.nan)


@dataclass
class Run:
    """The logs of one run; runs with the same label differ in their seeds alone.

    Curves are by modality; `"all"` is every step. Gradient norms of steps of several modalities are `"mixed"`.
    `validation` are the metrics of its last evaluation; empty if there was none.
    """

    name: str
    label: str
    steps: int
    loss: dict[str, Curve]
    grad_norm: dict[str, Curve]
    validation: dict[str, float]

    @property
    def window(self) -> float:
        """Returns the width of its running means, in steps."""
        return WINDOW * self.steps

    def residuals(self, modality: str) -> np.ndarray:
        """Returns the logged losses, less their running mean."""
        loss = self.loss[modality]
        return loss.values - loss.running_mean(loss.steps, self.window)

    def smooth_loss(self, modality: str) -> Curve:
        """Returns the running mean of a loss, at each step of the run."""
        at = self.loss[ALL].steps
        return Curve(at, self.loss[modality].running_mean(at, self.window))


def read_run(folder: str | Path, label: str | None = None) -> Run:
    """Reads the logs of a run, finished or not, or of one of its checkpoints.

    Its setting is by default the folder's name without the number at its end.

    Raises:
        ValueError: if there are no logs of training in it.
    """
    folder = Path(folder)
    history = _newest_history(folder)
    entries = [entry for entry in history if "loss" in entry]
    if not entries:
        raise ValueError(f"{folder} has no training loss in its logs: train with `--logging-strategy steps`.")

    def curve(key: str) -> Curve | None:
        points = [(entry["step"], entry[key]) for entry in entries if entry.get(key) is not None]
        return Curve(*map(np.array, zip(*points, strict=True))) if points else None

    names = [(ALL, ""), *((name, f"_{name}") for name in (*MODALITIES, MIXED))]
    evaluations = [entry for entry in history if "eval_loss" in entry]
    name = folder.resolve().name
    return Run(
        name=name,
        label=re.sub(r"[-_]\d+$", "", name) if label is None else label,
        steps=entries[-1]["step"],
        loss={name: found for name, suffix in names if (found := curve(f"loss{suffix}"))},
        grad_norm={name: found for name, suffix in names if (found := curve(f"grad_norm{suffix}"))},
        validation=evaluations[-1] if evaluations else {},
    )


def _newest_history(folder: Path) -> list[dict]:
    """Reads the longest `log_history` of a run: that at its end, or of its newest checkpoint."""
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}: name the `output_dir` of a run.")
    files = [place / TRAINER_STATE_NAME for place in (folder, *map(Path, sort_checkpoints(str(folder))))]
    states = []
    for file in filter(Path.is_file, files):
        try:
            states.append(json.loads(file.read_text()))
        except json.JSONDecodeError as error:
            raise ValueError(f"{file} is torn ({error}): remove that checkpoint.") from error
    if not states:
        raise ValueError(
            f"{folder} has no {TRAINER_STATE_NAME}, nor a checkpoint with one: it is no run, or too young."
        )
    return max(states, key=lambda state: state["global_step"])["log_history"]


def loss_levels(runs: list[Run]) -> dict[str, float]:
    """Chooses the loss by modality that the settings race to: the final one of the setting that ends highest.

    It has two digits, rounded up.
    """
    levels = {}
    for modality in modalities_of(runs):
        finals = {}
        for run in runs:
            if modality in run.loss:
                finals.setdefault(run.label, []).append(final_loss(run, modality))
        worst = max(np.mean(values) for values in finals.values())
        unit = 10.0 ** (np.floor(np.log10(worst)) - 1)
        levels[modality] = float(np.ceil(round(worst / unit, 6)) * unit)
    return levels


def modalities_of(runs: list[Run]) -> list[str]:
    """Lists the modalities that any of the runs has a loss of, after `"all"`."""
    return [name for name in (ALL, *MODALITIES) if any(name in run.loss for run in runs)]


def final_loss(run: Run, modality: str) -> float:
    """Averages a loss over the last tenth of a run's steps."""
    curve = run.loss[modality]
    return float(curve.values[curve.steps > run.steps * (1 - FINAL)].mean())


def summarize(run: Run, levels: dict[str, float]) -> dict[str, dict[str, float]]:
    """Puts a run in numbers, by modality; each only if known.

    `fluctuation` is the standard deviation of the logged losses around their running mean, `fluctuation_apart` that of
    all steps, each around the mean of its modality, where every step has one; `grad_norm_p95` a percentile;
    `steps_to_level` the first step at which the running mean is at the level.
    """
    summary = {}
    for modality in run.loss:
        numbers = {"final_loss": final_loss(run, modality), "fluctuation": float(np.std(run.residuals(modality)))}
        if modality in run.grad_norm:
            norms = run.grad_norm[modality].values
            numbers |= {"grad_norm": float(norms.mean()), "grad_norm_p95": float(np.percentile(norms, 95))}
        smooth = run.smooth_loss(modality)
        reached = smooth.steps[smooth.values <= levels[modality]]
        if len(reached):
            numbers["steps_to_level"] = float(reached[0])
        if modality == ALL and len(run.loss) > 1 and MIXED not in run.grad_norm:
            apart = [run.residuals(name) for name in run.loss if name != ALL]
            numbers["fluctuation_apart"] = float(np.std(np.concatenate(apart)))
        suffix = "" if modality == ALL else f"_{modality}"
        for name in ("loss", "mse"):
            if f"eval_{name}{suffix}" in run.validation:
                numbers[f"validation_{name}"] = run.validation[f"eval_{name}{suffix}"]
        summary[modality] = numbers
    return summary
