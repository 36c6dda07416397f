"""
Fits post-hoc calibration: a temperature, an isotonic map, a conformal quantile, a threshold for automation.

What each promises, and what it did on the urn world, is in `evaluation/posthoc.md`.
"""

from math import ceil, exp, log

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from sklearn.isotonic import IsotonicRegression
from torch.nn.functional import binary_cross_entropy

from evaluation.automation import Promise, certify
from evaluation.data import shuffled_premises
from modeling_clue.confidence import bin_values, expectation
from modeling_clue.posthoc import calibrated_distribution, calibrated_probability, check_calibration, conformal_scale


# Temperatures that are tried lie between the inverse of this and this.
MAX_TEMPERATURE = 20.0
# Methods that change the probability, and those that promise something of it.
MAPS, PROMISES = {"temperature", "isotonic"}, {"conformal", "automation"}
# Of the premises, to choose thresholds for automation on where no other method needs them.
PILOT = 0.25


def fit(
    logits: torch.Tensor,
    targets: ArrayLike,
    keys: list[str],
    methods: list[str],
    coverage: float = 0.9,
    promise: Promise | None = None,
    novelty: tuple[dict, torch.Tensor] | None = None,
) -> dict:
    """
    Fits temperature, isotonic map, conformal quantile and automation, in this order, as far as they are asked for.

    The conformal quantile and automation keep their promises only on premises that the probability was not fitted to:
    with temperature or the isotonic map beside them, half of the premises are for these and half for the promises.
    Automation takes the first half to choose thresholds on, or a quarter where none was needed.

    Args:
        logits (`torch.Tensor` of shape `(n, num_bins)`): Confidence logits.
        targets (`np.ndarray` of shape `(n,)`): Human or exact probabilities.
        keys (`list[str]`): The premise of each row.
        methods (`list[str]`): Any of `modeling_clue.posthoc.PARTS`, where the result is described.
        coverage (`float`): Of the conformal intervals.
        promise (`Promise`, *optional*): Of automation; left out, that of `Promise()`.
        novelty (`tuple`, *optional*): The novelty part, fitted to the rows that [`split_rows`] tells, and the novelty
            of all rows, `(n,)`. Automation acts on none above 0; the conformal quantile needs no regard to it, since
            an interval only gets wider.
    """
    targets, keys = np.asarray(targets, dtype=float), np.asarray(keys)
    if not len(keys):
        raise ValueError("There are no rows to fit to: the split is empty.")
    mapped, promised, pilot = split_rows(keys, methods)
    calibration = {}
    if "temperature" in methods:
        calibration["temperature"] = fit_temperature(logits[mapped], targets[mapped])
    distributions = calibrated_distribution(logits, calibration)
    if "isotonic" in methods:
        calibration["isotonic"] = fit_isotonic(expectation(distributions)[mapped].numpy(), targets[mapped])
    if "conformal" in methods:
        probabilities = calibrated_probability(distributions, calibration).double().numpy()
        scores = (np.abs(probabilities - targets) / conformal_scale(distributions).double().numpy())[promised]
        quantile = conformal_quantile(scores, keys[promised], coverage)
        calibration["conformal"] = {"coverage": coverage, "quantile": quantile}
    if "automation" in methods:
        probabilities = calibrated_probability(distributions, calibration)
        values = None if novelty is None else novelty[1]
        calibration["automation"] = certify(probabilities, targets, keys, pilot, promise or Promise(), values)
    if novelty is not None:
        calibration["novelty"] = novelty[0]
    check_calibration(calibration)
    return calibration


def split_rows(keys: ArrayLike, methods: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Returns which rows the methods that change answers are fitted to, which those that promise, and which of all choose
    the thresholds of automation: `(n,)` each, bool, by whole premises.

    Raises:
        `ValueError`: if there is one premise for both.
    """
    keys = np.asarray(keys)
    premises = shuffled_premises(keys.tolist())
    mapped = promised = np.ones(len(keys), dtype=bool)
    pilot = np.isin(keys, premises[: round(PILOT * len(premises))])
    # An interval holds its coverage whatever novelty makes of it, but a threshold was certified for what is not novel.
    change = MAPS | ({"novelty"} if "automation" in methods else set())
    if change & set(methods) and PROMISES & set(methods):
        mapped = pilot = np.isin(keys, premises[: len(premises) // 2])
        promised = ~mapped
    if not mapped.any():
        raise ValueError(
            "One premise cannot be halved between methods that change the probability and those that promise."
        )
    return mapped, promised, pilot


def crps(distributions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """
    Returns the continuous ranked probability score of distributions over bins, E|X - y| - E|X - X'| / 2, in float64.

    Args:
        distributions (`torch.Tensor` of shape `(n, num_bins)`): Predicted distributions.
        targets (`torch.Tensor` of shape `(n,)`): What came true.
    """
    distributions = distributions.double()
    bins = bin_values(distributions.shape[-1]).double()
    distance = (distributions * (bins - targets.double()[:, None]).abs()).sum(-1)
    below = distributions.cumsum(-1)
    return distance - (below * (1 - below)).sum(-1) / (len(bins) - 1)


def fit_temperature(logits: torch.Tensor, targets: ArrayLike) -> float:
    """
    Finds the temperature of least cross-entropy between the targets, as soft labels, and the expectations.

    So it serves the probability that is reported. Scores of the whole distribution, CRPS or the likelihood of bins,
    take the target for something that was drawn from it: to them the width that training asks for is an error, and
    for a model that knows the answer they have no least value above 0 (see `posthoc.md`).

    Raises:
        `ValueError`: if the best lies at the end of what is tried.
    """
    targets = torch.as_tensor(targets, dtype=torch.float64)

    def cross_entropy(log_temperature: float) -> float:
        distributions = calibrated_distribution(logits, {"temperature": exp(log_temperature)})
        # As far from 0 and 1 as float32 can tell: a target of exactly 0 or 1 must not cost infinity.
        probabilities = expectation(distributions).double().clamp(1e-7, 1 - 1e-7)
        return float(binary_cross_entropy(probabilities, targets))

    limit = log(MAX_TEMPERATURE)
    found = minimize_scalar(cross_entropy, bounds=(-limit, limit), method="bounded", options={"xatol": 1e-4})
    if abs(found.x) > limit - 0.01:
        means = "say next to nothing about these targets" if found.x > 0 else "are too faint for these targets"
        raise ValueError(
            f"The best temperature lies beyond {exp(found.x):.3g}, the last that is tried: the logits {means}. Look "
            "at the model, or leave the method out."
        )
    return exp(found.x)


def fit_isotonic(predictions: ArrayLike, targets: ArrayLike) -> dict[str, list[float]]:
    """
    Finds the rising map of least squared error from predictions to targets, by the points it goes through.

    Raises:
        `ValueError`: if the predictions are all equal.
    """
    # In float32, in which the points are applied; a sum may pass 1 by a rounding.
    predictions = np.asarray(predictions, dtype=np.float32).clip(0, 1).astype(float)
    regression = IsotonicRegression(y_min=0, y_max=1, increasing=True, out_of_bounds="clip").fit(predictions, targets)
    if len(regression.X_thresholds_) < 2:
        raise ValueError(f"All {len(predictions)} predictions are {predictions[0]:.4g}: there is nothing to map.")
    return {"x": regression.X_thresholds_.tolist(), "y": regression.y_thresholds_.tolist()}


def conformal_quantile(scores: ArrayLike, keys: ArrayLike, coverage: float) -> float:
    """
    Finds the split-conformal quantile for hypotheses that share premises.

    Hypotheses of one premise are not exchangeable with those of others, premises are. So each of K premises has the
    weight 1 / (K + 1), shared by its hypotheses, and the last 1 / (K + 1) is the new premise's (hierarchical
    conformal prediction: Lee, Barber and Willett, 2023). With a hypothesis a premise it is the usual
    ceil((n + 1) * coverage)-th smallest score.

    Scores are how far each target lies from its prediction, in scales; keys are their premises. The fewer premises,
    the lower must be the coverage.
    """
    scores = np.asarray(scores, dtype=float)
    _, premise, counts = np.unique(np.asarray(keys), return_inverse=True, return_counts=True)
    needed = ceil(round(coverage / (1 - coverage), 9))
    if len(counts) < needed:
        raise ValueError(f"A coverage of {coverage} takes {needed} premises to fit to, there are {len(counts)}.")
    order = scores.argsort(kind="stable")
    mass = (1 / counts[premise])[order].cumsum() / (len(counts) + 1)
    return float(scores[order][min(np.searchsorted(mass, coverage - 1e-9), len(scores) - 1)])
