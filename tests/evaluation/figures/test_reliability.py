"""Reliability diagrams show the bins' own means and intervals, as computed by hand and by other code."""

import numpy as np
import pytest

from evaluation.figures.reliability import draw_reliability, equal_mass_index, reliability
from evaluation.metrics.uncertain_inference.measures import measure

from .conftest import run_of


@pytest.fixture
def numbers():
    """Predictions on a coarse scale, so that many are equal, targets around them, five rows a premise."""
    random = np.random.default_rng(0)
    targets = random.random(400)
    predictions = np.round(np.clip(targets + random.normal(0, 0.1, 400), 0, 1), 2)
    return predictions, targets, [str(k // 5) for k in range(400)]


@pytest.mark.parametrize("equal_mass", [False, True])
def test_bins_and_error_are_those_of_the_measures(numbers, equal_mass):
    """The gaps of the bins, weighted by their rows, are the error that is reported, interval included."""
    predictions, targets, premises = numbers
    bins, error = reliability(*numbers, equal_mass=equal_mass)
    known = measure(predictions, targets, clusters=premises)["equal_mass_ece" if equal_mass else "ece"]
    assert error["value"] == pytest.approx(known["value"])
    assert error["interval"] == pytest.approx(known["interval"])
    by_hand = sum(b["n"] * abs(b["target"] - b["prediction"]) for b in bins if b["n"]) / 400
    assert by_hand == pytest.approx(known["value"])
    assert (len(bins), sum(b["n"] for b in bins)) == (10, 400)


def test_edges_and_empty_bins():
    """Both ends have a place, an inner edge belongs to the upper bin, and an empty bin has no means; a bin of one
    premise has no interval: its rows say nothing of others."""
    bins, _ = reliability([0.0, 0.1, 1.0], [0.0, 0.5, 1.0], ["a", "b", "c"], resamples=20)
    assert [b["n"] for b in bins] == [1, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert (bins[5]["prediction"], bins[5]["target"], bins[5]["gap"]) == (None, None, None)
    assert bins[1]["target"] == 0.5
    assert [b["gap"] for b in bins] == [None] * 10
    assert reliability([0.05, 0.15], [0.1, 0.0], ["a", "a"])[1]["interval"] is None


def test_equal_mass_bins_hold_as_many_rows_and_never_part_equal_predictions():
    """Different predictions are shared out evenly; equal ones stay together, whatever their number."""
    assert np.bincount(equal_mass_index(np.random.default_rng(0).random(30), 10)).tolist() == [3] * 10
    assert equal_mass_index(np.array([0.5, 0.1, 0.5, 0.5, 0.9, 0.5]), 3).tolist() == [1, 0, 1, 1, 2, 1]


def test_intervals_are_of_whole_premises():
    """Rows of one premise that are all alike tell no more than one: the interval is as if each were there once."""
    random = np.random.default_rng(0)
    targets = random.random(60)
    predictions = np.clip(targets + 0.2 * random.normal(size=60), 0, 1)
    once = reliability(predictions, targets, np.arange(60), num_bins=2)
    often = reliability(np.repeat(predictions, 4), np.repeat(targets, 4), np.repeat(np.arange(60), 4), num_bins=2)
    for one, many in zip(once[0], often[0], strict=True):
        assert many["gap"] == pytest.approx(one["gap"])
        low, high = one["gap"]
        assert low < one["target"] - one["prediction"] < high


def test_what_is_drawn_are_the_bins(numbers):
    """Points, interval bars, gaps and histogram, read back from the axes; rows without a number are told."""
    predictions, targets, premises = numbers
    good = run_of("good", premises, prediction=predictions, target=targets)
    other = run_of("sure", premises, prediction=np.where(targets > 0.5, 1.0, 0.0), target=targets)
    other.predictions.append(other.predictions[0] | {"id": "x", "prediction": None})
    figure, words = draw_reliability([good, other], resamples=50)
    bins, _ = reliability(*numbers, resamples=50)
    diagram, _, gaps, _, counts, _ = figure.axes
    at = np.array([b["prediction"] for b in bins])
    points = diagram.lines[-1]
    np.testing.assert_allclose(points.get_xdata(), at)
    np.testing.assert_allclose(points.get_ydata(), [b["target"] for b in bins])
    segments = np.array(diagram.collections[0].get_segments())
    np.testing.assert_allclose(segments[:, :, 1] - at[:, None], [b["gap"] for b in bins])
    np.testing.assert_allclose(gaps.lines[-1].get_ydata(), [b["target"] - b["prediction"] for b in bins])
    low, high = gaps.get_ylim()
    assert all(low < end < high for b in bins for end in b["gap"])
    heights = [bar.get_height() for bar in counts.patches]
    # In whole hundredths, so that no edge is a matter of rounding.
    expected = np.bincount(np.minimum(np.rint(100 * predictions).astype(int) // 5, 19), minlength=20)
    np.testing.assert_allclose(heights, expected / 400)
    assert "400 rows, 1 without a number" in figure.axes[1].get_title()
    assert "sure: ECE" in words
