"""Positive:negative ratios: exact counts, all positives, negatives without a preference."""

import numpy as np
import pytest

from datasets_scripts.building.ratio import choose, is_positive, parse_ratio


@pytest.mark.parametrize(("text", "ratio"), [("1:0.5", 0.5), ("1:1", 1.0), ("1:2", 2.0), ("1:3", 3.0), ("full", None)])
def test_the_ratios_of_table_4_are_read(text, ratio):
    """As the paper writes them."""
    assert parse_ratio(text) == ratio


@pytest.mark.parametrize(
    ("label", "probability", "positive"),
    [(1, 0.1, True), (0, 0.9, False), (None, 0.5, True), (None, 0.49, False)],
)
def test_a_label_decides_before_a_probability(label, probability, positive):
    """The threshold is for rows that have no label."""
    assert is_positive(label, probability) == positive


def test_every_negative_has_the_same_chance():
    """Over many seeds each of ten negatives is kept half of the time, each positive always."""
    positive = np.arange(15) < 5
    kept = np.mean([choose(positive, 1.0, seed) for seed in range(4000)], axis=0)
    assert (kept[:5] == 1).all()
    # Five standard deviations of a share of 4,000.
    assert np.abs(kept[5:] - 0.5).max() < 5 * (0.25 / 4000) ** 0.5
    assert kept.sum() == pytest.approx(10)
