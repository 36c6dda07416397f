"""The error that a learner keeps who fits its training target perfectly."""

import numpy as np
import torch
from numpy.typing import ArrayLike

from chat.answers import parse_answer
from modeling_clue.confidence import central_interval, expectation, standard_deviation, target_distribution


def perfect_predictions(target: str, probabilities: ArrayLike, num_bins: int, sigma: float) -> np.ndarray:
    """
    What a model predicts that has learnt its target without error: the mean of the target's own distribution.

    The Gaussian target of the paper (section 3.2) is cut off at 0 and 1, so its mean is not the probability it stands
    for: 0.037 for 0 with sigma 0.05. Its error against the true probabilities is a floor that no training gets under.

    Args:
        target (`str`): `"gaussian"`, `"mean_preserving"`, or `"mse"`, whose optimum is the probability itself.
        probabilities (`np.ndarray` of shape `(n,)`): The true probabilities.
        num_bins (`int`): Number of confidence bins.
        sigma (`float`): Width of the target.

    Returns:
        `np.ndarray` of shape `(n,)`: the predictions, in [0, 1].
    """
    probabilities = np.asarray(probabilities, dtype=float)
    if target == "mse":
        return probabilities
    labels = torch.tensor(probabilities, dtype=torch.float32)
    means = expectation(target_distribution(target, labels, num_bins, sigma))
    return means.double().clamp(0, 1).numpy()


def perfect_distributions(
    target: str, probabilities: ArrayLike, num_bins: int, sigma: float, mass: float
) -> dict[str, np.ndarray]:
    """
    The spread of what a model predicts that has learnt its target without error.

    Args:
        target (`str`): `"gaussian"`, `"mean_preserving"`, or `"mse"`, which leaves the spread open.
        probabilities (`np.ndarray` of shape `(n,)`): The true probabilities.
        num_bins (`int`): Number of confidence bins.
        sigma (`float`): Width of the target.
        mass (`float`): Share of the distribution in the interval.

    Returns:
        `dict[str, np.ndarray]`: `standard_deviation` and `entropy` of shape `(n,)`, `interval` of shape `(n, 2)`, as
        the measures of distributions take them; nothing for `"mse"`.
    """
    if target == "mse":
        return {}
    labels = torch.tensor(np.asarray(probabilities, dtype=float), dtype=torch.float32)
    distributions = target_distribution(target, labels, num_bins, sigma)
    return {
        "standard_deviation": standard_deviation(distributions).numpy(),
        "entropy": torch.special.entr(distributions).sum(-1).numpy(),
        "interval": central_interval(distributions, mass).numpy(),
    }


def written_predictions(answer: str, probabilities: ArrayLike) -> np.ndarray:
    """
    What a model predicts that writes each probability without error: what its format leaves of it.

    Args:
        answer (`str`): The format, as `evaluation.predictors.checkpoints.answer_format` gives it.
        probabilities (`np.ndarray` of shape `(n,)`): The true probabilities.

    Returns:
        `np.ndarray` of shape `(n,)`: the predictions, in [0, 1].
    """
    texts = [answer.format(probability=probability) for probability in probabilities]
    return np.array([parse_answer(text).probability for text in texts])
