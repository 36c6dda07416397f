"""The error that a learner keeps who fits its training target perfectly."""

import numpy as np
import torch
from numpy.typing import ArrayLike

from chat.answers import parse_answer
from evaluation.metrics.uncertain_inference.measures import histogram
from modeling_clue.confidence import central_interval, expectation, standard_deviation, target_distribution


def perfect_predictions(target: str, probabilities: ArrayLike, num_bins: int, sigma: float) -> np.ndarray:
    """
    Predicts what a model does that has learnt its target without error: the mean of the target's own distribution.

    The Gaussian target of the paper (section 3.2) is cut off at 0 and 1, so its mean is not the probability it stands
    for: 0.037 for 0 with sigma 0.05. Its error against the true probabilities is a floor that no training gets under.

    Args:
        target (`str`): `"gaussian"`, `"mean_preserving"`, or `"mse"`, whose optimum is the probability itself.
        probabilities (`np.ndarray` of shape `(n,)`): The true probabilities.
        num_bins (`int`), sigma (`float`): Number of confidence bins, and width of the target.
    """
    if target == "mse":
        return np.asarray(probabilities, dtype=float)
    means = expectation(_distributions(target, probabilities, num_bins, sigma))
    return means.double().clamp(0, 1).numpy()


def perfect_distributions(
    target: str, probabilities: ArrayLike, num_bins: int, sigma: float, mass: float
) -> dict[str, np.ndarray]:
    """
    Describes the spread of such a model's distributions, as the measures take it, with intervals that hold `mass`.

    Nothing for `"mse"`, which leaves the spread open.
    """
    if target == "mse":
        return {}
    distributions = _distributions(target, probabilities, num_bins, sigma)
    return {
        "standard_deviation": standard_deviation(distributions).numpy(),
        "entropy": torch.special.entr(distributions).sum(-1).numpy(),
        "interval": central_interval(distributions, mass).numpy(),
        "histogram": histogram(distributions),
    }


def written_predictions(answer: str, probabilities: ArrayLike) -> np.ndarray:
    """Predicts what is left of each probability when it is written in the format of an answer and read again."""
    texts = [answer.format(probability=probability) for probability in probabilities]
    return np.array([parse_answer(text).probability for text in texts])


def _distributions(target: str, probabilities: ArrayLike, num_bins: int, sigma: float) -> torch.Tensor:
    labels = torch.tensor(np.asarray(probabilities, dtype=float), dtype=torch.float32)
    return target_distribution(target, labels, num_bins, sigma)
