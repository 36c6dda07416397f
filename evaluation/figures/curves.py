"""The curves of training runs, read from the Trainer's logs, and what can be said about them in numbers."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import sort_checkpoints

from modeling_clue.processing_clue import MODALITIES
from train.logs import MIXED


# Width of the running means, as a share of the steps.
WINDOW = 1 / 30
# Share of the steps, at the end, whose mean is the final loss.
FINAL = 1 / 10
ALL = "all"


@dataclass
class Curve:
    """One quantity of a run over its steps.

    Args:
        steps (`np.ndarray` of shape `(n,)`): Steps it is known at, ascending.
        values (`np.ndarray` of shape `(n,)`): Its values there.
    """

    steps: np.ndarray
    values: np.ndarray

    def running_mean(self, at: np.ndarray, window: float) -> np.ndarray:
        """Averages the values around steps.

        Args:
            at (`np.ndarray` of shape `(m,)`): The steps.
            window (`float`): Number of steps whose values are averaged, half of them on either side.

        Returns:
            `np.ndarray` of shape `(m,)`: The means; NaN where there is no value near.
        """
        first = np.searchsorted(self.steps, at - window / 2, side="left")
        last = np.searchsorted(self.steps, at + window / 2, side="right")
        sums = np.concatenate([[0.0], np.cumsum(self.values)])
        counts = last - first
        return np.where(counts > 0, (sums[last] - sums[first]) / np.maximum(counts, 1), np.nan)


@dataclass
class Run:
    """The logs of one run.

    Args:
        name (`str`): Name of its folder.
        label (`str`): Its setting: runs with the same label differ in their seeds alone.
        steps (`int`): Number of its steps.
        loss, grad_norm (`dict[str, Curve]`):
            Curves by modality; `"all"` is every step. Gradient norms of steps of several modalities are `"mixed"`.
        validation (`dict[str, float]`): The metrics of its last evaluation; empty if there was none.
    """

    name: str
    label: str
    steps: int
    loss: dict[str, Curve]
    grad_norm: dict[str, Curve]
    validation: dict[str, float]

    @property
    def window(self) -> float:
        """Width of its running means, in steps."""
        return WINDOW * self.steps

    def residuals(self, modality: str) -> np.ndarray:
        """The logged losses, less their running mean."""
        loss = self.loss[modality]
        return loss.values - loss.running_mean(loss.steps, self.window)

    def smooth_loss(self, modality: str) -> Curve:
        """The running mean of a loss, at each step of the run."""
        at = self.loss[ALL].steps
        return Curve(at, self.loss[modality].running_mean(at, self.window))


def read_run(folder: str | Path, label: str | None = None) -> Run:
    """Reads the logs of a run.

    Args:
        folder (`str` or `Path`): Output folder of the run, finished or not, or one of its checkpoints.
        label (`str`, *optional*): Its setting; the folder's name without the number at its end by default.

    Returns:
        [`Run`]: Its curves.

    Raises:
        ValueError: if there are no logs of training in it.
    """
    folder = Path(folder)
    history = newest_history(folder)
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


def newest_history(folder: Path) -> list[dict]:
    """Reads the longest logs of a run: those at its end, or of its newest checkpoint.

    Args:
        folder (`Path`): Output folder of the run.

    Returns:
        `list[dict]`: The Trainer's `log_history`.

    Raises:
        ValueError: if the folder or the logs are not there, or a file of them is torn.
    """
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
    """Chooses the loss that the settings race to: the final loss of the one that ends highest.

    Args:
        runs (`list[Run]`): All runs.

    Returns:
        `dict[str, float]`: The level by modality, with two digits, rounded up.
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
    """Puts a run in numbers.

    Args:
        run ([`Run`]): The run.
        levels (`dict[str, float]`): By modality, the loss whose first reaching is looked for.

    Returns:
        `dict[str, dict[str, float]]`: By modality: `final_loss`, `fluctuation` (standard deviation of the logged
        losses around their running mean), `fluctuation_apart` (of all steps, each around the mean of its modality,
        where every step has one), `grad_norm` and `grad_norm_p95` (mean and 95th percentile), `steps_to_level`
        (first step at which the running mean is at the level), `validation_loss` and `validation_mse`; each only if
        known.
    """
    summary = {}
    for modality in run.loss:
        numbers = {
            "final_loss": final_loss(run, modality),
            "fluctuation": float(np.std(run.residuals(modality))),
        }
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
