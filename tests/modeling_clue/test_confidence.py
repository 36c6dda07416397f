"""Targets, losses and read-outs of the confidence bins against closed forms, scipy and numpy."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import entropy

from modeling_clue.confidence import (
    TARGETS,
    bin_values,
    central_interval,
    confidence_loss,
    expectation,
    gaussian_target,
    mean_preserving_target,
    standard_deviation,
    target_distribution,
)


def gaussian_by_hand(label: float, num_bins: int, sigma: float) -> np.ndarray:
    """The density at each bin over their sum."""
    bins = np.arange(num_bins) / (num_bins - 1)
    weights = np.exp(-((bins - label) ** 2) / (2 * sigma**2))
    return weights / weights.sum()


def random_distributions(rows: int, num_bins: int) -> torch.Tensor:
    """Uneven distributions, one a row."""
    generator = torch.Generator().manual_seed(0)
    return (3 * torch.randn(rows, num_bins, generator=generator)).softmax(-1)


def test_bins_are_evenly_spaced():
    """Bin i of N stands for i / (N - 1)."""
    np.testing.assert_allclose(bin_values(7), np.arange(7) / 6, rtol=1e-6)


@pytest.mark.parametrize("label", [0.0, 0.013, 0.5, 1.0])
def test_gaussian_target_is_the_renormalised_density(label):
    """The paper's target is the density at each bin over their sum."""
    target = gaussian_target(torch.tensor([label]), 100, 0.05)
    np.testing.assert_allclose(target[0], gaussian_by_hand(label, 100, 0.05), atol=1e-6)


def test_gaussian_target_is_biased_at_the_ends():
    """The mean of the paper's target is 0.037 where the label is 0, and as far off at 1."""
    bins = np.arange(100) / 99
    assert (gaussian_by_hand(0.0, 100, 0.05) * bins).sum() == pytest.approx(0.037, abs=5e-4)
    means = expectation(gaussian_target(torch.tensor([0.0, 1.0]), 100, 0.05))
    np.testing.assert_allclose(means, [0.037, 0.963], atol=5e-4)


@pytest.mark.parametrize("num_bins", [2, 3, 10, 100, 1000])
@pytest.mark.parametrize("sigma", [0.003, 0.05, 0.5, 10.0])
def test_mean_preserving_target_has_the_mean_of_the_label(num_bins, sigma):
    """For every label, the ends included, the target is a distribution whose mean is the label."""
    labels = torch.cat([torch.linspace(0, 1, 41), torch.tensor([1e-6, 1e-4, 1 - 1e-4, 1 - 1e-6])])
    target = mean_preserving_target(labels, num_bins, sigma).double()
    assert target.dtype == torch.float64 and not target.isnan().any() and (target >= 0).all()
    np.testing.assert_allclose(target.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose((target * bin_values(num_bins).double()).sum(-1), labels, atol=1e-5)


@pytest.mark.parametrize("label", [0.02, 0.31, 0.95])
def test_mean_preserving_target_is_the_closest_with_that_mean(label):
    """A general optimiser finds no distribution with the same mean and a smaller KL divergence to the Gaussian."""
    num_bins, sigma = 9, 0.15
    bins, gaussian = np.arange(num_bins) / (num_bins - 1), gaussian_by_hand(label, num_bins, sigma)
    start = np.interp(bins, [0, 1], [1 - label, label])

    def divergence(q):
        return np.sum(q * np.log(q / gaussian))

    found = minimize(
        divergence,
        start / start.sum(),
        jac=lambda q: np.log(q / gaussian) + 1,
        bounds=[(1e-15, 1)] * num_bins,
        constraints=[
            {"type": "eq", "fun": lambda q: q.sum() - 1},
            {"type": "eq", "fun": lambda q: q @ bins - label},
        ],
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert found.success
    target = mean_preserving_target(torch.tensor([label]), num_bins, sigma)[0].double().numpy()
    assert divergence(target) <= found.fun + 1e-6
    assert divergence(target) == pytest.approx(found.fun, rel=0.05)  # the optimiser came near


def test_labels_that_repeat_get_the_targets_they_get_alone():
    """Labels in any order, twice or once, each have the row that is theirs."""
    labels = torch.tensor([0.75, 0.0, 1 / 3, 0.75, 1.0, 1 / 3, 0.1])
    alone = torch.cat([mean_preserving_target(label[None], 100, 0.05) for label in labels])
    assert torch.equal(mean_preserving_target(labels, 100, 0.05), alone)


def test_mean_preserving_target_is_a_point_mass_at_the_ends():
    """Only a point mass on the first bin has the mean 0, and on the last the mean 1."""
    target = mean_preserving_target(torch.tensor([0.0, 1.0]), 100, 0.05)
    assert target[0, 0] == 1 and target[1, -1] == 1


@pytest.mark.parametrize("kind", ["gaussian", "mean_preserving"])
def test_loss_is_the_kl_divergence_of_target_and_prediction(kind):
    """KL(Q || P) of each hypothesis as scipy computes it from the two distributions."""
    predicted, labels = random_distributions(5, 20), torch.tensor([0.0, 0.2, 0.5, 0.77, 1.0])
    loss = confidence_loss(predicted.log(), labels, kind, 0.1)
    target = target_distribution(kind, labels, 20, 0.1)
    np.testing.assert_allclose(loss, entropy(target.double(), predicted.double(), axis=-1), rtol=1e-4)


def test_squared_error_is_that_of_the_expectation():
    """The ablation `mse` compares the expectation with the label, each hypothesis by itself."""
    predicted, labels = random_distributions(4, 20), torch.tensor([0.0, 0.3, 0.6, 1.0])
    means = (predicted.numpy() * np.linspace(0, 1, 20)).sum(-1)
    np.testing.assert_allclose(
        confidence_loss(predicted.log(), labels, "mse", 0.1), (means - labels.numpy()) ** 2, rtol=1e-4
    )


@pytest.mark.parametrize("kind", TARGETS)
def test_loss_is_float32_for_bfloat16_logits(kind):
    """Logits in bfloat16 cost their own rounding and no more: the loss is that of the same numbers in float32."""
    logits = random_distributions(4, 100).log().bfloat16()
    labels = torch.tensor([0.0, 0.25, 0.5, 1.0])
    loss = confidence_loss(logits, labels, kind, 0.05)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, confidence_loss(logits.float(), labels, kind, 0.05))


@pytest.mark.parametrize("kind", TARGETS)
def test_autocast_does_not_round(kind):
    """Inside mixed precision the loss and the expectation are those outside of it, to the bit."""
    logits, labels = random_distributions(4, 100).log(), torch.tensor([0.0, 0.25, 0.5, 1.0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, mean = confidence_loss(logits, labels, kind, 0.05), expectation(logits.softmax(-1))
    assert torch.equal(loss, confidence_loss(logits, labels, kind, 0.05))
    assert torch.equal(mean, expectation(logits.softmax(-1)))


def test_expectation_and_spread():
    """Mean and standard deviation are those of a random variable that takes the bins with these probabilities."""
    predicted = random_distributions(6, 50)
    bins, weights = np.linspace(0, 1, 50), predicted.double().numpy()
    means = [np.average(bins, weights=row) for row in weights]
    spread = [np.sqrt(np.cov(bins, aweights=row, ddof=0)) for row in weights]
    np.testing.assert_allclose(expectation(predicted), means, atol=1e-6)
    np.testing.assert_allclose(standard_deviation(predicted), spread, atol=1e-6)


@pytest.mark.parametrize("mass", [0.5, 0.9, 0.99])
def test_central_interval_against_brute_force(mass):
    """Each end is the first bin at which the running sum reaches its tail; together they hold the mass asked for."""
    predicted = torch.cat([random_distributions(20, 30), torch.eye(30)[[0, 7, 29]]])
    for row, (low, high) in zip(predicted.double().tolist(), central_interval(predicted, mass).tolist(), strict=True):
        total, ends = 0.0, []
        for index, weight in enumerate(row):
            total += weight / sum(row)
            while len(ends) < 2 and total >= [(1 - mass) / 2, (1 + mass) / 2][len(ends)]:
                ends.append(index)
        assert [low, high] == pytest.approx([ends[0] / 29, ends[1] / 29])
        assert sum(row[ends[0] : ends[1] + 1]) >= mass - 1e-6


@pytest.mark.parametrize("mass", [0.0, 1.0, -1.0, float("nan")])
def test_central_interval_needs_a_share(mass):
    """A mass that is not strictly between 0 and 1 is refused."""
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        central_interval(torch.eye(3), mass)


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("label", [-0.01, 1.01, float("nan"), float("inf")])
def test_wrong_labels_are_refused(kind, label):
    """A label outside [0, 1] or not a number is an error that says which, whatever the loss."""
    with pytest.raises(ValueError, match=r"in \[0, 1\].*index 1"):
        confidence_loss(torch.zeros(2, 10), torch.tensor([0.5, label]), kind, 0.05)


def test_unknown_target():
    """A misspelt target is refused with the choices."""
    with pytest.raises(ValueError, match="'gaussian' or 'mean_preserving'"):
        confidence_loss(torch.zeros(1, 10), torch.tensor([0.5]), "gausian", 0.05)
