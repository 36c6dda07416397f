"""Tests and intervals over premises, for a few dozen of them: nothing is taken to be normal."""

from functools import lru_cache

import numpy as np

from evaluation.metrics.uncertain_inference.measures import LEVEL, RESAMPLES, bootstrap_interval, cluster_weights


# The least p-value, times the tests of a report, must be below the level of significance.
FLIPS = 19_999
# What is left of a difference of equal numbers after rounding.
DECIMALS = 12
# Made at once; and enough for the mean of what chance explains.
DEALS = 200


def sign_flip(values: np.ndarray, alternative: str) -> float:
    """
    Returns the p-value of a mean of zero: how often it is as large with random signs, in 19,999 draws of them.

    Args:
        values (`np.ndarray` of shape `(premises,)`): A value for each premise, such as the error in one cell less
            that in another. NaN is left out.
        alternative (`str`): `"greater"`, `"less"` or `"two-sided"`.
    """
    values = np.round(values[~np.isnan(values)], DECIMALS)
    if not values.any():
        return 1.0
    # Rounding: as much is as much.
    slack = 1e-9 * np.abs(values).sum()
    observed, drawn = values.sum(), _signs(len(values)) @ values
    above = (1 + (drawn >= observed - slack).sum()) / (FLIPS + 1)
    below = (1 + (drawn <= observed + slack).sum()) / (FLIPS + 1)
    return float({"greater": above, "less": below, "two-sided": min(1.0, 2 * min(above, below))}[alternative])


@lru_cache(maxsize=4)
def _signs(number: int) -> np.ndarray:
    return np.random.default_rng(0).choice((-1.0, 1.0), (FLIPS, number))


def holm(p_values: list[float]) -> list[float]:
    """Adjusts the p-values of a family of tests, so that one false finding among all is as seldom (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    stepped = np.asarray(p_values)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted.tolist()


def by_premise(values: np.ndarray, numbers: np.ndarray, premises: int) -> np.ndarray:
    """Returns the mean over the rows of each premise, `(premises,)`, NaN for one without rows."""
    rows = np.bincount(numbers, minlength=premises)
    sums = np.bincount(numbers, values, minlength=premises)
    return np.divide(sums, rows, out=np.full(premises, np.nan), where=rows > 0)


def centred(values: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Subtracts the mean of their kind from values: what is left, who sees the kind alone can't know."""
    _, inverse = np.unique(kinds, return_inverse=True)
    return values - (np.bincount(inverse, values) / np.bincount(inverse))[inverse]


def ratio_interval(above: np.ndarray, below: np.ndarray) -> list[float] | None:
    """Returns the bootstrap interval of `sum(above) / sum(below)` over premises; `None` for a single one."""
    if len(above) < 2:
        return None
    weights = np.concatenate(list(cluster_weights(np.arange(len(above)), RESAMPLES, 0)))
    weights = weights[weights @ below > 0]
    ratios = (weights @ above) / (weights @ below)
    return bootstrap_interval(above.sum() / below.sum(), ratios, LEVEL, (-np.inf, np.inf))


def nuisance_effect(
    residuals: np.ndarray, numbers: np.ndarray, terms: np.ndarray, nuisance: np.ndarray
) -> tuple[float, float]:
    """
    Estimates and tests how far answers move with shares of a premise that they should not depend on.

    Each term of a hypothesis may follow each share in its own way. Shares are dealt anew among the premises, from
    which they are independent by design: the test is exact.

    Args:
        residuals (`np.ndarray` of shape `(rows,)`): What the truth leaves of the answers.
        numbers (`np.ndarray` of shape `(rows,)`): The premise of each row, from 0.
        terms (`np.ndarray` of shape `(rows, terms)`): 1 for the terms of each hypothesis, else 0.
        nuisance (`np.ndarray` of shape `(premises, shares)`): The shares of each premise.

    Returns:
        `tuple[float, float]`: the standard deviation of the answers beyond chance, as a probability; and the p-value.
    """
    residuals = np.round(residuals, DECIMALS)
    if not residuals.any():
        return 0.0, 1.0
    rng = np.random.default_rng(0)
    # One share follows from the others; and what a term has in all premises is not of the shares.
    shares = (nuisance - nuisance.mean(axis=0))[:, 1:]
    # The test: how far the sums of the residuals by premise and term go along with the shares.
    sums = np.zeros((len(shares), terms.shape[1]))
    np.add.at(sums, numbers, terms * residuals[:, None])

    def covariance(dealt: np.ndarray) -> np.ndarray:
        return ((np.swapaxes(dealt, 1, 2) @ sums) ** 2).sum(axis=(1, 2))

    def deal(number: int) -> np.ndarray:
        return shares[np.argsort(rng.random((number, len(shares))), axis=1)]

    observed = covariance(shares[None])[0]
    by_chance = np.concatenate([covariance(deal(min(DEALS, FLIPS - k))) for k in range(0, FLIPS, DEALS)])
    p = float((1 + (by_chance >= observed * (1 - 1e-9)).sum()) / (FLIPS + 1))

    def explained(dealt: np.ndarray) -> np.ndarray:
        """Returns R squared of a regression on shares (deals, premises, shares)."""
        design = np.einsum("rt,drs->drts", terms, dealt[:, numbers]).reshape(len(dealt), len(residuals), -1)
        basis, _ = np.linalg.qr(design)
        return ((np.einsum("drk,r->dk", basis, residuals)) ** 2).sum(axis=1) / (residuals**2).sum()

    beyond = explained(shares[None])[0] - explained(deal(DEALS)).mean()
    return float(np.sqrt(max(0.0, beyond) * (residuals**2).mean())), p
