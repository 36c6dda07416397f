"""
Certifies which answers can be used alone: those of a confidence at which no more are wrong than promised.

A threshold tau acts on the decisions of at least this confidence. Let a_i be 1 where row i is acted on, else 0, and
l_i in [0, 1] its error. The promise is that with a premise drawn at random, and one of its rows, the error rate of
what is acted on, E[a l] / E[a], is at most alpha: that the mean over premises of Z = mean_i a_i (l_i - alpha) is 0 or
less. Rows of a premise depend on each other; the means Z of premises, each in [-alpha, 1 - alpha], do not.

- That E[Z] > 0 is tested by betting against it: if it is, the product over premises of 1 - lambda Z is 1 or less on
  average, and so is its mean over several lambda; it ever reaches 1 / (1 - confidence), on the way through the
  premises, with a probability of 1 - confidence at most (Waudby-Smith and Ramdas, *Estimating means of bounded random
  variables by betting*, JRSS B, 2024). Premises that nothing is acted on in have Z = 0 and cost nothing.
- Where each premise has one row, and that is right or wrong, the test is the exact binomial one (Clopper and Pearson,
  1934), as in selective prediction with a guaranteed risk (Geifman and El-Yaniv, 2017).

Thresholds are tested one after the other, each less strict than the one before, until one fails: their order is fixed
before on other premises, so that each is tested at the full level (fixed-sequence testing; Angelopoulos, Bates,
Candès, Jordan and Lei, *Learn then test*, 2021). The promise needs no probability that is calibrated.
"""

from dataclasses import dataclass
from itertools import count
from math import ceil, log

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import logsumexp
from scipy.stats import binom

from evaluation.data import shuffled_premises
from modeling_clue.automation import acts, decision_confidence


# Thresholds that are tried, by the share of the rows that they act on.
THRESHOLDS = 50
# Bets that wealth is the mean of, as shares of the largest: dense at the ends, where few or almost too many are wrong.
BETS = np.sin(np.pi * (2 * np.arange(1, 21) - 1) / 80) ** 2


@dataclass(frozen=True)
class Promise:
    """Holds what is to be certified; `error` is one of `modeling_clue.automation.ERRORS`."""

    error_rate: float = 0.1
    confidence: float = 0.95
    error: str = "truth"


def decision_errors(probabilities: ArrayLike, targets: ArrayLike, error: str) -> np.ndarray:
    """
    Returns how wrong it is to decide yes where the probability is 0.5 or more, and no elsewhere: `(n,)`, in [0, 1].

    Args:
        probabilities (`np.ndarray` of shape `(n,)`): Predicted probabilities.
        targets (`np.ndarray` of shape `(n,)`): Human or exact probabilities, or binary labels.
        error (`str`): `"truth"`, the chance that the decision is wrong if the hypothesis is true with the target's
            probability, which is 0.5 for a target of 0.5, whatever is decided; or `"side"`, 1 where the target is on
            the other side of 0.5, and where it is 0.5, since neither decision is right then.
    """
    targets = np.asarray(targets, dtype=float)
    wrong = np.where(np.asarray(probabilities) >= 0.5, 1 - targets, targets)
    return wrong if error == "truth" else (wrong >= 0.5).astype(float)


def log_p_by_betting(excess: np.ndarray, error_rate: float) -> np.ndarray:
    """
    Returns the logarithm of the p-value of an error rate above the one promised: one by the most wealth ever made.

    Args:
        excess (`np.ndarray` of shape `(premises, T)`): Z at the top of this file, for each of T thresholds, in an
            order that has nothing to do with their values.
        error_rate (`float`): Promised.

    Returns:
        `np.ndarray` of shape `(T,)`.
    """
    wealth = np.full(excess.shape, -np.inf)
    for bet in BETS:
        wealth = np.logaddexp(wealth, np.log1p(-bet / (1 - error_rate) * excess).cumsum(axis=0))
    return np.minimum(0, log(len(BETS)) - wealth.max(axis=0))


def log_p_exact(taken: np.ndarray, wrong: np.ndarray, error_rate: float) -> np.ndarray:
    """
    Returns the logarithm of the same p-value by the binomial distribution, of independent rows, right or wrong.

    Args:
        taken (`np.ndarray` of shape `(n, T)`), wrong (`np.ndarray` of shape `(n, 1)`): Which rows are acted on at each
            of T thresholds, and which are wrong.
        error_rate (`float`): Promised.

    Returns:
        `np.ndarray` of shape `(T,)`.
    """
    return binom.logcdf((taken * wrong).sum(axis=0), taken.sum(axis=0), error_rate)


def premises_needed(promise: Promise, exact: bool) -> int:
    """Returns how many premises the promise takes if nothing is wrong and everything is acted on."""
    level = log(1 - promise.confidence)
    least = ceil(level / log(1 - promise.error_rate))
    if exact:
        return least
    growth = np.log1p(BETS * promise.error_rate / (1 - promise.error_rate))
    return next(premises for premises in count(least) if log(len(BETS)) - logsumexp(premises * growth) <= level)


def certify(
    probabilities: torch.Tensor,
    targets: ArrayLike,
    keys: ArrayLike,
    pilot: np.ndarray,
    promise: Promise,
    novelty: torch.Tensor | None = None,
) -> dict:
    """
    Finds the automation part of a calibration.

    Args:
        probabilities (`torch.Tensor` of shape `(n,)`): Calibrated probabilities.
        targets (`np.ndarray` of shape `(n,)`): Human or exact probabilities, or binary labels.
        keys (`np.ndarray` of shape `(n,)`): The premise of each row.
        pilot (`np.ndarray` of shape `(n,)`): Which rows choose the thresholds, and may have been fitted to; the
            others, about other premises, certify one.
        promise (`Promise`): What is to be certified.
        novelty (`torch.Tensor` of shape `(n,)`, *optional*): Of the rows, none of which is acted on above 0.

    Returns:
        `dict`: as `modeling_clue.automation` describes it; `threshold` is `None` if the first one failed.

    Raises:
        `ValueError`: if there are too few premises to certify anything.
    """
    # By digests, in whose order premises are betted on.
    order = {key: place for place, key in enumerate(shuffled_premises(np.asarray(keys).tolist()))}
    premises = np.array([order[key] for key in np.asarray(keys).tolist()])
    errors = decision_errors(probabilities.double().numpy(), targets, promise.error)
    exact = len(order) == len(premises) and np.isin(errors, (0, 1)).all()
    needed, there = premises_needed(promise, exact), len(set(premises[~pilot]))
    if there < needed or not pilot.any():
        raise ValueError(
            f"An error rate of {promise.error_rate:g} promised with a confidence of {promise.confidence:g} takes "
            f"{needed} premises to certify it on, even if no decision is wrong, and others to choose thresholds on: "
            f"there are {there} and {len(set(premises[pilot]))}."
        )
    confidences = decision_confidence(probabilities).double().numpy()
    known = np.ones(len(confidences), dtype=bool) if novelty is None else (novelty == 0).numpy()
    thresholds = _candidates(confidences[pilot])

    def log_p(rows: np.ndarray, tried: np.ndarray) -> np.ndarray:
        taken, wrong = (confidences[rows, None] >= tried) & known[rows, None], errors[rows, None]
        if exact:
            return log_p_exact(taken, wrong, promise.error_rate)
        excess = premise_means(taken * (wrong - promise.error_rate), premises[rows])
        return log_p_by_betting(excess, promise.error_rate)

    # Where the pilot's evidence is strongest a test is likeliest to pass.
    start = int(log_p(pilot, thresholds).argmin())
    passed = log_p(~pilot, thresholds[start:]) <= log(1 - promise.confidence)
    last = len(passed) if passed.all() else int(passed.argmin())
    threshold = float(thresholds[start + last - 1]) if last else None
    part = {
        "threshold": threshold,
        "error_rate": promise.error_rate,
        "confidence": promise.confidence,
        "error": promise.error,
    }
    of_rest = None if novelty is None else novelty[~pilot]
    part["share"] = acted_on(probabilities[~pilot], np.asarray(targets)[~pilot], premises[~pilot], part, of_rest)[0]
    return part


def acted_on(
    probabilities: torch.Tensor,
    targets: ArrayLike,
    keys: ArrayLike,
    part: dict,
    novelty: torch.Tensor | None = None,
) -> tuple[float, float]:
    """
    Measures the share that is acted on, and the error rate of it (NaN if that is none), a premise counting as one.

    Arguments as those of [`certify`], and the automation part.
    """
    taken = acts(probabilities, {"automation": part}, novelty).numpy().astype(float)
    errors = decision_errors(probabilities.double().numpy(), targets, part["error"])
    share, wrong = premise_means(np.stack([taken, taken * errors], axis=1), keys).mean(axis=0)
    return float(share), float(wrong / share) if share else float("nan")


def premise_means(values: np.ndarray, keys: ArrayLike) -> np.ndarray:
    """Returns the mean of each column over the rows of each premise: `(n, T)` -> `(premises, T)`."""
    _, premise, counts = np.unique(np.asarray(keys), return_inverse=True, return_counts=True)
    order = premise.argsort(kind="stable")
    starts = np.concatenate([[0], counts.cumsum()[:-1]])
    return np.add.reduceat(values[order], starts, axis=0) / counts[:, None]


def _candidates(confidences: np.ndarray) -> np.ndarray:
    """Returns thresholds that act on growing shares of these confidences, the last one on everything."""
    ordered = np.sort(confidences)[::-1]
    wanted = ordered[np.ceil(np.arange(1, THRESHOLDS + 1) / THRESHOLDS * len(ordered)).astype(int) - 1]
    # Half-way between confidences: the last digit of one, which depends on the batch, must not decide.
    distinct = np.unique(confidences.round(6))
    edges = np.concatenate([[0.5], (distinct[1:] + distinct[:-1]) / 2])
    return np.unique(edges[np.searchsorted(edges, wanted, side="right") - 1])[::-1]
