"""The calibration errors against other people's implementations, brute force, closed forms and their own promises."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import binom, norm
from sklearn.calibration import calibration_curve
from torchmetrics.functional.classification import binary_calibration_error

from evaluation.metrics.uncertain_inference import calibration_errors
from evaluation.metrics.uncertain_inference.calibration_errors import (
    calibrated_errors,
    debiased_calibration_error,
    debiased_squared_calibration_error,
    equal_mass_calibration_error,
    expected_calibration_error,
    maximum_calibration_error,
    smooth_calibration_error,
)


ALL = (
    expected_calibration_error,
    maximum_calibration_error,
    equal_mass_calibration_error,
    debiased_calibration_error,
    smooth_calibration_error,
)


def once(function, predictions, targets, *options):
    """The measure of the rows as they are."""
    return function(np.asarray(predictions), np.asarray(targets), np.ones((1, len(predictions))), *options)[0]


@pytest.fixture
def binary():
    """Overconfident predictions of binary labels, all different."""
    random = np.random.default_rng(2)
    predictions = random.uniform(0.001, 0.999, 500)
    return predictions, (random.uniform(size=500) < predictions**2).astype(float)


def test_maximum_error_equals_torchmetrics(binary):
    """Against labels it is the max norm of torchmetrics; empty bins do not count."""
    predictions, labels = binary
    expected = binary_calibration_error(torch.tensor(predictions), torch.tensor(labels).long(), 10, norm="max")
    assert once(maximum_calibration_error, predictions, labels) == pytest.approx(expected.item(), abs=1e-6)
    assert once(maximum_calibration_error, [0.25, 0.25, 0.91], [0.2, 0.4, 0.7]) == pytest.approx(0.21)


def test_equal_mass_bins_are_sklearn_quantiles(binary):
    """Where rows divide evenly, the bins are those of sklearn's quantile strategy, each with a tenth of the rows."""
    predictions, labels = binary
    true, predicted = calibration_curve(labels, predictions, n_bins=10, strategy="quantile")
    assert len(true) == 10
    expected = np.abs(true - predicted).mean()
    assert once(equal_mass_calibration_error, predictions, labels) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("rows", [40, 1000])
def test_equal_mass_is_equal_width_for_evenly_spread_predictions(rows):
    """Bins of one width then hold as many rows each."""
    predictions = (np.arange(rows) + 0.5) / rows
    targets = np.random.default_rng(0).permutation(predictions)
    width, mass = (once(f, predictions, targets) for f in (expected_calibration_error, equal_mass_calibration_error))
    assert mass == pytest.approx(width, abs=1e-12)


def test_equal_predictions_share_an_equal_mass_bin():
    """A row is in the bin of its mean rank: by hand, with a group of ties across three of five bins."""
    predictions, targets = [0.1, 0.2, *[0.5] * 6, 0.8, 0.9], [0.3, 0.1, *[0.6] * 3, *[0.5] * 3, 0.6, 1.0]
    # Ranks 1 and 2 are bin 1; the ties have the mean rank 5.5 and all are in bin 3; 9 and 10 are bin 5.
    expected = (abs(-0.2 + 0.1) + abs(6 * 0.5 - 3.3) + abs(0.2 - 0.1)) / 10
    assert once(equal_mass_calibration_error, predictions, targets, 5) == pytest.approx(expected)
    # A mean rank on the edge of two bins belongs to the upper one, as a prediction does with bins of equal width.
    predictions, targets = [0.1, 0.5, 0.5, 0.9], [0.2, 0.7, 0.7, 0.5]
    expected = (abs(-0.1) + abs(-0.2 - 0.2 + 0.4)) / 4
    assert once(equal_mass_calibration_error, predictions, targets, 2) == pytest.approx(expected)


@pytest.mark.parametrize("function", ALL)
def test_order_does_not_matter_and_the_targets_have_no_error(function):
    """With many ties, shuffled rows give the same; the probability itself is a perfect prediction, at the ends too."""
    random = np.random.default_rng(5)
    targets = random.uniform(size=333)
    predictions = targets.round(1)
    order = random.permutation(333)
    shuffled = once(function, predictions[order], targets[order])
    assert shuffled == pytest.approx(once(function, predictions, targets), abs=1e-12)
    assert once(function, predictions, predictions) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.37, 1.0])
def test_a_constant_prediction_is_off_by_its_distance_to_the_mean(value):
    """With one value there is one bin, and no kernel changes its mass; the debiased error is a little less."""
    targets = np.random.default_rng(6).uniform(size=50)
    distance = abs(value - targets.mean())
    predictions = np.full(50, value)
    for function in set(ALL) - {debiased_calibration_error}:
        assert once(function, predictions, targets) == pytest.approx(distance, abs=1e-9)
    debiased = once(debiased_squared_calibration_error, predictions, targets)
    assert debiased == pytest.approx(distance**2 - targets.var(ddof=1) / 50)


def test_debiased_error_is_that_of_kumar_where_bins_hold_one_value():
    """Kumar et al. take y(1 - y) / (n - 1) off each squared gap, y being the mean label of the bin's n rows."""
    random = np.random.default_rng(7)
    predictions = np.repeat(np.linspace(0.05, 0.95, 10), 30)
    labels = (random.uniform(size=300) < predictions * 0.8).astype(float)
    groups = zip(predictions.reshape(10, 30)[:, 0], labels.reshape(10, 30).mean(axis=1), strict=True)
    expected = np.mean([(p - y) ** 2 - y * (1 - y) / 29 for p, y in groups])
    assert expected > 0
    assert once(debiased_calibration_error, predictions, labels) == pytest.approx(np.sqrt(expected), abs=1e-12)


@pytest.mark.parametrize("error", [0.0, 0.1])
def test_chance_is_taken_off_the_debiased_error_and_not_off_the_plain_one(error):
    """Over many draws of labels the squared debiased error has the mean of the true one, 0 for a calibrated predictor;
    the plain estimate over the same bins is too large by the variance of the bins' means."""
    random = np.random.default_rng(8)
    draws, rows = 1500, 100
    debiased, plain = np.empty(draws), np.empty(draws)
    for draw in range(draws):
        predictions = random.uniform(0.15, 0.85, rows)
        labels = (random.uniform(size=rows) < predictions + error).astype(float)
        debiased[draw] = once(debiased_squared_calibration_error, predictions, labels)
        gaps = (predictions - labels)[np.argsort(predictions)].reshape(10, 10).mean(axis=1)
        plain[draw] = np.mean(gaps**2)
    noise = debiased.std() / np.sqrt(draws)
    assert debiased.mean() == pytest.approx(error**2, abs=4 * noise)
    assert plain.mean() > error**2 + 20 * noise


def test_debiased_error_is_undefined_where_chance_cannot_be_known():
    """Bins of one row have no variance; with such bins alone there is no number, not a perfect one."""
    assert np.isnan(once(debiased_calibration_error, [0.1, 0.9], [0.5, 0.5]))
    assert not np.isnan(once(debiased_calibration_error, [0.1, 0.1, 0.9], [0.5, 0.5, 0.5]))


@pytest.mark.parametrize("case", ["labels", "probabilities", "ends"])
def test_smooth_error_equals_its_definition(case):
    """The transform of a grid gives what integration of reflected kernels gives, at the width that is equal to it."""
    random = np.random.default_rng(9)
    predictions = random.uniform(size=40)
    targets = 0.25 + 0.5 * predictions
    if case == "labels":
        targets = (random.uniform(size=40) < predictions**2).astype(float)
    if case == "ends":
        predictions, targets = (predictions > 0.4).astype(float), random.uniform(size=40)
    places = np.concatenate([k * 2 + sign * predictions for k in range(-3, 4) for sign in (1, -1)])
    middles = (np.arange(2000) + 0.5) / 2000

    def error(sigma):
        kernels = norm.pdf(middles[:, None], places, sigma).reshape(2000, 14, 40).sum(axis=1)
        return np.abs(np.mean((predictions - targets) * kernels, axis=1)).mean()

    expected = brentq(lambda sigma: error(sigma) - sigma, 0.01, 1, xtol=1e-4)
    assert once(smooth_calibration_error, predictions, targets) == pytest.approx(expected, abs=2e-3)


def test_smooth_error_is_near_that_of_its_authors():
    """The values that `relplot` 1.0.3 gives (smECE), which finds the width to 1/1024 and cuts wide kernels off."""
    predictions = (np.arange(200) + 0.5) / 200
    for power, value in {1.2: 0.0453, 2: 0.1664, 4: 0.2997}.items():
        assert once(smooth_calibration_error, predictions, predictions**power) == pytest.approx(value, abs=2e-3)


def test_smooth_error_moves_with_the_predictions_where_bins_jump():
    """A step of 1e-6 over the edge of a bin may double the binned error, and leaves the smooth one where it was."""
    targets = np.array([0.0, 1.0])
    below, above = np.array([0.5 - 1e-6, 0.5 - 1e-6]), np.array([0.5 - 1e-6, 0.5])
    jump = once(expected_calibration_error, above, targets) - once(expected_calibration_error, below, targets)
    assert jump == pytest.approx(0.5, abs=1e-5)
    step = once(smooth_calibration_error, above, targets) - once(smooth_calibration_error, below, targets)
    assert abs(step) < 1e-3


def test_a_finer_grid_changes_little(binary, monkeypatch):
    """Placing predictions on a grid of 1/1000 costs less than that."""
    value = once(smooth_calibration_error, *binary)
    monkeypatch.setattr(calibration_errors, "GRID", 8000)
    assert once(smooth_calibration_error, *binary) == pytest.approx(value, abs=2e-4)


def test_labels_by_chance_have_the_binomial_mean_deviation():
    """Against labels what chance shows is, bin by bin, the mean absolute deviation of a binomial; predictions of 0 and
    1 leave none."""
    predictions = np.repeat([0.05, 0.35, 0.62, 1.0], [40, 25, 90, 30])
    labels = np.random.default_rng(0).integers(0, 2, len(predictions)).astype(float)
    errors = calibrated_errors(predictions, labels, np.arange(len(labels)), draws=20_000)
    expected = sum(
        binom.expect(lambda k, n=n, p=p: abs(k - n * p), (n, p)) for p, n in ((0.05, 40), (0.35, 25), (0.62, 90))
    )
    assert errors.mean() == pytest.approx(expected / len(labels), rel=0.01)
    assert not calibrated_errors(np.round(predictions), labels, np.arange(len(labels))).any()


def test_chance_of_probabilities_equals_all_signs():
    """Against probabilities it is the mean over all signs of premises' residuals, by brute force; a bin of one premise
    keeps its gap, and an error that all rows of a bin share is no chance."""
    rng = np.random.default_rng(1)
    premise = np.repeat(np.arange(9), [3, 1, 4, 2, 5, 3, 2, 4, 1])
    predictions = rng.choice([0.12, 0.18, 0.5, 0.55], len(premise))
    predictions[-1] = 0.95  # alone in its bin
    targets = np.clip(predictions + rng.normal(0, 0.1, len(premise)), 0.001, 0.999)
    index = (predictions * 10).astype(int)
    total = 0.0
    for signs in product((-1, 1), repeat=9):
        for k in set(index):
            inside = index == k
            gaps = (predictions - targets)[inside]
            premises = len(set(premise[inside]))
            if premises > 1:
                gaps = (gaps - gaps.mean()) * np.sqrt(premises / (premises - 1))
            total += abs(sum(signs[place] * gap for place, gap in zip(premise[inside], gaps, strict=True)))
    expected = total / 2**9 / len(premise)
    errors = calibrated_errors(predictions, targets, premise, draws=20_000)
    assert errors.mean() == pytest.approx(expected, rel=0.01)
    moved = targets + np.select([index == 1, index == 5], [0.3, -0.2])
    assert calibrated_errors(predictions, moved, premise, draws=20_000) == pytest.approx(errors)


def test_chance_is_what_calibrated_predictors_show(monkeypatch):
    """Over samples of a calibrated predictor, of which rows about a premise are off together, its error is on average
    what is told by chance, and exceeds 95 in 100 simulated ones about so often; rows taken for independent tell too
    little. Drawn in chunks it is the same."""
    rng = np.random.default_rng(2)
    premise = np.repeat(np.arange(60), 6)
    found, told, naive, beyond = [], [], [], 0
    for _ in range(150):
        predictions = rng.uniform(0.2, 0.8, 360)
        targets = predictions + 0.15 * rng.uniform(-1, 1, 60)[premise] + 0.03 * rng.uniform(-1, 1, 360)
        errors = calibrated_errors(predictions, targets, premise, draws=200)
        found.append(once(expected_calibration_error, predictions, targets))
        told.append(errors.mean())
        naive.append(calibrated_errors(predictions, targets, np.arange(360), draws=50).mean())
        beyond += found[-1] > np.quantile(errors, 0.95)
    assert np.mean(told) == pytest.approx(np.mean(found), rel=0.08)
    assert np.mean(naive) < 0.9 * np.mean(found)
    assert 0 < beyond < 25
    monkeypatch.setattr(calibration_errors, "CHUNK_ELEMENTS", 700)
    assert calibrated_errors(predictions, targets, premise, draws=200).mean() == pytest.approx(errors.mean(), rel=0.1)
