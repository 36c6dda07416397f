"""The floor of a training target."""

import numpy as np
import pytest
from scipy.stats import norm

from evaluation.target_floor import perfect_distributions, perfect_predictions


@pytest.mark.parametrize("probability", [0.0, 0.02, 0.3, 0.5, 0.97, 1.0])
def test_gaussian_floor_is_the_mean_of_a_cut_off_gaussian(probability):
    """The paper's target is off near 0 and 1 by what a direct sum over its bins gives: 0.037 at 0."""
    bins = np.arange(100) / 99
    density = np.exp(-((bins - probability) ** 2) / (2 * 0.05**2))
    expected = (bins * density).sum() / density.sum()
    assert perfect_predictions("gaussian", [probability], 100, 0.05)[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("target", ["mean_preserving", "mse"])
def test_unbiased_targets_have_no_floor(target):
    """Whoever learns such a target perfectly makes no error."""
    probabilities = np.linspace(0, 1, 41)
    assert perfect_predictions(target, probabilities, 100, 0.05) == pytest.approx(probabilities, abs=2e-4)


def test_the_spread_of_a_perfect_learner_is_that_of_its_target():
    """In the middle the paper's target is a Gaussian: its deviation, entropy and central 90%; `mse` has no spread."""
    spread = perfect_distributions("gaussian", [0.5], 1000, 0.05, 0.9)
    normal = norm(0.5, 0.05)
    assert spread["standard_deviation"][0] == pytest.approx(0.05, abs=1e-4)
    assert spread["entropy"][0] == pytest.approx(normal.entropy() + np.log(999), abs=1e-3)
    assert spread["interval"][0] == pytest.approx([normal.ppf(0.05), normal.ppf(0.95)], abs=1e-3)
    assert perfect_distributions("mse", [0.5], 100, 0.05, 0.9) == {}
