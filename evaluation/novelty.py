"""
Finds what counts as known: how far from each other the premises and the hypotheses of a split lie.

Of the split, premises and hypotheses are means of the language model's inputs (`modeling_clue/novelty.py`). Distances
are taken out of fold: a fifth of the premises is measured against the others. The limit is the largest of these
distances, a premise counting as one by its furthest row, or, where there are enough premises, the conformal quantile
beyond which a share of new premises lies. No label is used, and no example of what is not known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

import numpy as np
import torch
from numpy.typing import ArrayLike

from evaluation.data import shuffled_premises
from modeling_clue.novelty import FIELDS, SIDES, distances, novelty_of


FOLDS = 5
# With fewer premises there is no telling how far apart they lie.
FEWEST_PREMISES = 20
MAX_DIRECTIONS = 64
# Added to variances, along some of which nothing differs: shares of their mean and of the mean square of the inputs.
RIDGE, LEAST = 1e-4, 1e-6


@dataclass
class Inputs:
    """Holds the means of the language model's inputs, `(n, hidden_size)` each, of n rows."""

    premise: torch.Tensor
    hypothesis: torch.Tensor

    def __getitem__(self, rows: np.ndarray) -> "Inputs":
        chosen = torch.as_tensor(rows)
        return Inputs(self.premise[chosen], self.hypothesis[chosen])


@dataclass
class FittedNovelty:
    """Holds the novelty part of a calibration and its tensors, named as of all premises or of a modality."""

    part: dict
    tensors: dict[str, torch.Tensor]
    scope: str

    def of(self, inputs: Inputs) -> torch.Tensor:
        """Returns the novelty of rows, `(n,)`."""
        n = len(inputs.premise)
        # Each row a premise of its own; the modality is that of all, or there is none.
        parts = {"novelty": self.part} if self.scope == "all" else {self.scope: {"novelty": self.part}}
        return novelty_of(inputs.premise, inputs.hypothesis, [1] * n, [self.scope] * n, parts, self.tensors)


def fit_novelty(
    inputs: Inputs, keys: ArrayLike, share: float, scope: str = "all", sides: Sequence[str] = SIDES
) -> FittedNovelty:
    """
    Finds the novelty part of a calibration.

    Args:
        inputs (`Inputs`): Of the rows to fit to.
        keys (`np.ndarray` of shape `(n,)`): The premise of each row.
        share (`float`): Of new premises like these, the share that may lie beyond a limit, by itself or by any of its
            hypotheses; with fewer than 2 / share premises (1 / share for one side) the furthest one is the limit.
        scope (`str`): A modality, or `"all"`.
        sides (`Sequence[str]`): What is to be known: the premise, the hypothesis, or both.

    Raises:
        `ValueError`: if there are too few premises.
    """
    keys = np.asarray(keys)
    order = {key: place for place, key in enumerate(shuffled_premises(keys.tolist()))}
    premises = np.array([order[key] for key in keys.tolist()])
    if len(order) < FEWEST_PREMISES:
        raise ValueError(
            f"Novelty takes {FEWEST_PREMISES} premises to fit to, there are {len(order)}: name a larger split."
        )
    part, tensors = {}, {}
    for side in sides:
        # A premise is one point, however many rows are about it.
        rows = np.unique(premises, return_index=True)[1] if side == "premise" else np.arange(len(premises))
        means, of = getattr(inputs, side)[torch.as_tensor(rows)], premises[rows]
        furthest = np.zeros(len(order))
        for fold in range(FOLDS):
            out = of % FOLDS == fold
            region = fit_region(means[torch.as_tensor(~out)])
            np.maximum.at(furthest, of[out], distances(means[torch.as_tensor(out)], region).double().numpy())
        # Of two sides half of the share for either.
        beyond = floor(round((len(order) + 1) * share / len(sides), 9))
        part[side] = float(np.sort(furthest)[::-1][max(beyond, 1) - 1])
        tensors |= {f"{scope}.{side}.{name}": tensor for name, tensor in fit_region(means).items()}
    part["share"] = max(share, len(sides) / (len(order) + 1))
    return FittedNovelty(part, tensors, scope)


def fit_region(means: torch.Tensor) -> dict[str, torch.Tensor]:
    """
    Returns mean, directions and variances of points, as `modeling_clue.novelty.distances` takes them, in float32.

    Args:
        means (`torch.Tensor` of shape `(n, hidden_size)`): The points. Directions are at most half as many.
    """
    points = means.double()
    mean = points.mean(dim=0)
    covariance = torch.cov(points.T)
    # The last eigenvalues come first, and may be less than nothing by a rounding.
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    number = min(MAX_DIRECTIONS, len(points) // 2, len(values) - 1)
    ridge = RIDGE * values.mean() + LEAST * (points**2).mean()
    variances = torch.cat((values[:number], values[number:].mean()[None])) + ridge
    found = (mean, vectors[:, :number].T.contiguous(), variances)
    return {name: tensor.float() for name, tensor in zip(FIELDS, found, strict=True)}
