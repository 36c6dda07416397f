"""Positive:negative ratios: exact counts, all positives, negatives without a preference."""

import numpy as np
import pytest

from datasets_scripts.building.ratio import choose, parse_ratio, side_of


@pytest.mark.parametrize(("text", "ratio"), [("1:0.5", 0.5), ("1:1", 1.0), ("1:2", 2.0), ("1:3", 3.0), ("full", None)])
def test_the_ratios_of_table_4_are_read(text, ratio):
    """As the paper writes them."""
    assert parse_ratio(text) == ratio


@pytest.mark.parametrize(
    ("label", "probability", "side"),
    [(1, 0.1, 1), (0, 0.9, -1), (0, 0.5, -1), (None, 0.51, 1), (None, 0.49, -1), (None, 0.5, 0)],
)
def test_a_label_decides_before_a_probability(label, probability, side):
    """The threshold is for rows that have no label, and what lies on it is neither."""
    assert side_of(label, probability) == side


def test_every_negative_has_the_same_chance():
    """Over many seeds each of ten negatives is kept half of the time, each positive and each other row always."""
    sides = np.array([1] * 5 + [-1] * 10 + [0] * 3)
    kept = np.mean([choose(sides, 1.0, seed) for seed in range(4000)], axis=0)
    assert (kept[sides != -1] == 1).all()
    # Five standard deviations of a share of 4,000.
    assert np.abs(kept[sides == -1] - 0.5).max() < 5 * (0.25 / 4000) ** 0.5
    assert kept.sum() == pytest.approx(13)
