"""The tests of the stress test against scipy's, and against what is known of chance."""

import numpy as np
import pytest
from scipy import stats

from evaluation.stress.statistics import by_premise, centred, holm, nuisance_effect, ratio_interval, sign_flip


@pytest.mark.parametrize("alternative", ["greater", "less", "two-sided"])
def test_random_signs_agree_with_scipy(alternative):
    """The p-value is that of scipy's exact test to the error of its draws; missing premises are left out."""
    values = np.random.default_rng(3).normal(0.3, 1.0, 12)
    exact = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", alternative=alternative, vectorized=True, n_resamples=2**13
    ).pvalue
    assert sign_flip(values, alternative) == pytest.approx(exact, abs=0.012)
    assert sign_flip(np.append(values, np.nan), alternative) == pytest.approx(exact, abs=0.012)


def test_no_difference_has_no_significance():
    """Equal numbers, to rounding, have a p-value of 1."""
    assert sign_flip(np.full(40, 1e-15), "greater") == 1
    assert sign_flip(np.zeros(40), "two-sided") == 1


def test_holm_is_the_textbooks():
    """Stepwise multiplied, never falling, at most 1."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


def test_a_nuisance_is_found_where_it_is_and_measured():
    """Answers that follow shares they should not are found with their size; those of chance are not."""
    rng = np.random.default_rng(0)
    premises, rows = 40, 240
    numbers = np.repeat(np.arange(premises), rows // premises)
    shares = rng.dirichlet((1, 1, 1), premises)
    terms = np.eye(4)[rng.integers(0, 4, rows)]
    follows = shares[numbers, 1] * terms[:, 0] - shares[numbers, 2] * terms[:, 1]
    size, p = nuisance_effect(follows, numbers, terms, shares)
    moves = follows - terms @ ((terms.T @ follows) / terms.sum(axis=0))
    assert p < 0.001 and size == pytest.approx(moves.std(), rel=0.1)
    chances = [nuisance_effect(rng.normal(size=rows), numbers, terms, shares)[1] for _ in range(3)]
    assert min(chances) > 0.02
    assert nuisance_effect(np.zeros(rows), numbers, terms, shares) == (0.0, 1.0)


def test_sums_over_premises():
    """Means by premise with gaps, values without their kind's mean, and an interval about a ratio."""
    means = by_premise(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 2]), 3)
    assert means[[0, 2]].tolist() == [2, 5] and np.isnan(means[1])
    assert centred(np.array([1.0, 3.0, 7.0]), np.array(["a", "a", "b"])).tolist() == [-1, 1, 0]
    low, high = ratio_interval(np.arange(20.0), np.full(20, 2.0))
    assert low < 19 / 4 < high
    assert ratio_interval(np.ones(1), np.ones(1)) is None
