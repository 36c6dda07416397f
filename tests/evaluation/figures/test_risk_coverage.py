"""Risk-coverage curves and their areas against closed forms, brute force and the accuracy of the measures."""

import numpy as np
import pytest

from evaluation.figures.risk_coverage import (
    COVERAGES,
    area_under_risk,
    deferral,
    draw_risk_coverage,
    losses_of,
    risks_at,
)
from evaluation.metrics.uncertain_inference.measures import measure

from .conftest import run_of


def a_run(losses, uncertainties, premises=None):
    """A run whose squared errors and standard deviations are these."""
    columns = {"prediction": np.sqrt(losses).tolist(), "target": [0.0] * len(losses)}
    columns |= {"standard_deviation": uncertainties, "interval": [[0.0, width] for width in uncertainties]}
    return run_of("run", premises, **columns)


def test_area_of_a_perfect_ranking_is_the_closed_form():
    """With k of n decisions wrong and deferred first, sum over j = 1..k of j / (n - k + j), over n."""
    n, k = 10, 4
    losses = np.array([0.0] * (n - k) + [1.0] * k)
    expected = sum(j / (n - k + j) for j in range(1, k + 1)) / n
    assert area_under_risk(losses, losses, np.ones((1, n)))[0] == pytest.approx(expected)
    worst = (k + sum(k / j for j in range(k + 1, n + 1))) / n
    assert area_under_risk(losses, -losses, np.ones((1, n)))[0] == pytest.approx(worst)


def test_equal_uncertainties_give_the_risk_of_all():
    """What orders nothing is a random order, on average: its area is the mean loss, its curve flat."""
    losses = np.random.default_rng(0).random(20)
    flat, once = np.full(20, 0.3), np.ones((1, 20))
    assert area_under_risk(losses, flat, once)[0] == pytest.approx(losses.mean())
    np.testing.assert_allclose(risks_at(losses, flat, once)[0], losses.mean())


def test_ties_are_the_mean_over_all_orders():
    """A thousand random orders of equally certain rows have the mean area that the formula gives."""
    random = np.random.default_rng(0)
    losses, uncertainties = random.random(12), random.integers(0, 3, 12).astype(float)
    areas = []
    for _ in range(2000):
        order = np.lexsort((random.random(12), uncertainties))
        areas.append(np.mean(np.cumsum(losses[order]) / np.arange(1, 13)))
    found = area_under_risk(losses, uncertainties, np.ones((1, 12)))[0]
    assert found == pytest.approx(np.mean(areas), abs=5 * np.std(areas) / 2000**0.5)


def test_weights_are_repeated_rows():
    """A row drawn three times counts as three rows that are equally certain; one not drawn as none."""
    random = np.random.default_rng(0)
    losses, uncertainties, times = random.random(15), random.random(15), random.integers(0, 4, 15)
    weighted = losses, uncertainties, times[None].astype(float)
    repeated = np.repeat(losses, times), np.repeat(uncertainties, times), np.ones((1, times.sum()))
    np.testing.assert_allclose(area_under_risk(*weighted), area_under_risk(*repeated))
    np.testing.assert_allclose(risks_at(*weighted), risks_at(*repeated))


def test_a_curve_holds_the_means_of_the_most_certain():
    """At k of n rows it is the mean loss of the k most certain ones; at the end that of all, for every order."""
    random = np.random.default_rng(0)
    losses, uncertainties = random.random(25), random.random(25)
    order = np.argsort(uncertainties)
    found = risks_at(losses, uncertainties, np.ones((1, 25)), np.arange(1, 26) / 25)[0]
    np.testing.assert_allclose(found, [losses[order[:k]].mean() for k in range(1, 26)])


def test_deferral_lies_between_the_oracle_and_holds_its_interval():
    """No order is better than that of the errors; area and curve lie in their intervals."""
    random = np.random.default_rng(0)
    uncertainties = random.random(200)
    found = deferral(a_run(uncertainties * random.random(200), uncertainties, np.arange(200) // 4), "interval")
    assert found["aurc_oracle"] < found["aurc"] < found["all"]
    assert (found["oracle"] <= found["risk"] + 1e-12).all()
    assert found["interval"][0] < found["aurc"] < found["interval"][1]
    assert ((found["band"][0] <= found["risk"]) & (found["risk"] <= found["band"][1])).mean() > 0.9
    assert deferral(a_run([0.1, 0.2], [1, 2], [0, 0]), "interval")["interval"] is None, "one premise"


@pytest.mark.parametrize("labelled", [False, True])
def test_the_risk_of_decisions_is_the_accuracy_that_is_missing(labelled):
    """Kept whole, its mean is 1 - accuracy of the measures, with and without labels."""
    random = np.random.default_rng(0)
    rows = [
        {"prediction": p, "target": t, "label": int(t > 0.3) if labelled else None}
        for p, t in zip(random.random(50), np.round(random.random(50), 1), strict=True)
    ]
    losses, kept = losses_of(rows, "decision")
    labels = [row["label"] for row in rows] if labelled else None
    known = measure([r["prediction"] for r in rows], [r["target"] for r in rows], labels, resamples=0)["accuracy"]
    assert (1 - losses.mean(), len(kept)) == (pytest.approx(known["value"]), known["n"])


def test_what_is_drawn_are_the_curves():
    """Each curve, its band and the references, read back from the axes; the words tell the areas."""
    random = np.random.default_rng(0)
    run = a_run(random.random(40), random.random(40))
    figure, words = draw_risk_coverage([run], ["standard_deviation", "interval"], resamples=50)
    (axes,) = figure.axes
    found = deferral(run, "standard_deviation", resamples=50)
    curves = {line.get_label(): line for line in axes.lines}
    np.testing.assert_allclose(curves["standard deviation"].get_xdata(), COVERAGES)
    np.testing.assert_allclose(curves["standard deviation"].get_ydata(), found["risk"])
    np.testing.assert_allclose(curves["largest errors first"].get_ydata(), found["oracle"])
    np.testing.assert_allclose(curves["random order"].get_ydata(), found["all"])
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((found["band"].min(), found["band"].max()))
    assert f"AURC {found['aurc']:.3g} [{found['interval'][0]:.3g}, {found['interval'][1]:.3g}]" in words


def test_a_run_without_that_uncertainty_is_refused():
    """Answers that were written have no distribution; the error names row and way out."""
    run = a_run([0.1, 0.2], [0.1, 0.2])
    run.predictions[1]["standard_deviation"] = None
    with pytest.raises(ValueError, match="row 1 has no standard_deviation.*--by probability"):
        deferral(run, "standard_deviation")
    run.predictions[0]["target"] = run.predictions[1]["target"] = 0.5
    with pytest.raises(ValueError, match="exactly 0.5"):
        deferral(run, "interval", "decision")
