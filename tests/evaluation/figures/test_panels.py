"""Panels stay readable whatever they are called, however many there are, and whatever the errors."""

from itertools import pairwise

import numpy as np
import pytest

from evaluation.figures.distributions import draw_distributions
from evaluation.figures.reliability import draw_reliability
from evaluation.figures.risk_coverage import draw_risk_coverage
from evaluation.prediction_files import EvaluationRun

from .conftest import run_of


LONG = "Qwen3-Omni-30B-A3B-Instruct, temperature 0.7, the rubric of appendix G, mean of five answers to R&D_50% $x^2$"


def a_run(name: str, errors: float = 0.1) -> EvaluationRun:
    """Forty rows about ten premises, with errors of a size."""
    targets = np.random.default_rng(0).random(40)
    predictions = np.clip(targets + errors * np.linspace(-1, 1, 40), 0, 1)
    columns = {"prediction": predictions, "target": targets, "standard_deviation": 0.1 + np.arange(40) / 100}
    return run_of(name, np.arange(40) // 4, **{key: values.tolist() for key, values in columns.items()})


def reliability(names: list[str]):
    """A reliability diagram of each."""
    return draw_reliability([a_run(name) for name in names], resamples=20)[0]


def risk_coverage(names: list[str]):
    """A curve of each, whose title tells its area."""
    return draw_risk_coverage([a_run(name) for name in names], ["standard_deviation"], resamples=20)[0]


def distributions(names: list[str]):
    """A histogram of each."""
    return draw_distributions({name: [0.2, 0.4] for name in names}, [0.3], "people")[0]


@pytest.mark.parametrize("draw", [reliability, risk_coverage, distributions])
def test_titles_keep_to_their_panels(draw):
    """Side by side, no title runs into the next one or over the edge of the figure, with intervals in them too."""
    for names in (["a", "b"], [LONG, "b", "c"], [f"{LONG} {k}" for k in range(4)]):
        figure = draw(names)
        figure.draw_without_rendering()
        titles = [axes.title.get_window_extent() for axes in figure.axes if axes.get_title()]
        assert len(titles) == len(names)
        assert all(left.x1 < right.x0 for left, right in pairwise(sorted(titles, key=lambda title: title.x0)))
        assert min(title.x0 for title in titles) >= 0 and max(title.x1 for title in titles) <= figure.bbox.x1


@pytest.mark.parametrize("draw", [reliability, risk_coverage, distributions])
def test_a_long_name_makes_no_axes_smaller(draw):
    """The figure grows by the lines of the longest name of each line of panels; the axes keep nine tenths at least."""
    heights = []
    for name in ("a", LONG):
        figure = draw([name, "b", "c", "d", "e"])
        figure.draw_without_rendering()
        heights.append(min(axes.get_window_extent().height for axes in figure.axes))
    assert heights[1] > 0.9 * heights[0]


def test_no_error_is_drawn_as_none():
    """Where every answer is right the axis is no picture of rounding: it ends at a thousandth, and counts one row."""
    figure, words = draw_risk_coverage([a_run("exact", 0.0)], ["standard_deviation"], resamples=20)
    assert figure.axes[0].get_ylim() == (0, 0.001)
    assert "(40 rows)" in words
    one = a_run("one")
    _, words = draw_reliability([EvaluationRun("one", "one", {}, one.predictions[:1], {})])
    assert "1 row;" in words and "(1 row)" in words
