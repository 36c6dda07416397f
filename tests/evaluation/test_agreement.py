"""Agreement of annotators: each measure against its formula written out, holes in the matrix against leaving out."""

import math
import warnings

import krippendorff
import numpy as np
import pytest
from scipy.stats import rankdata

from evaluation.agreement import agreement_report, histogram, krippendorff_alpha, markdown_report, pair_measures
from evaluation.figures.agreement import draw_heatmaps


NAN = math.nan
# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", part D: four observers, twelve units.
PAPER = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
).T


def with_holes(seed, items=60, annotators=4, share=0.3):
    """Probabilities of annotators who see the same truth through noise and skip some items."""
    generator = np.random.default_rng(seed)
    matrix = generator.uniform(size=(items, 1)) + generator.normal(0, 0.15, (items, annotators))
    matrix = np.round(np.clip(matrix, 0, 1), 2)
    matrix[generator.uniform(size=matrix.shape) < share] = np.nan
    matrix[0] = np.nan
    matrix[0, 0] = 0.5
    return matrix


def alpha_by_pairs(matrix):
    """The definition: squared differences of the pairs of answers to an item, over those of all pairs."""
    items = [[value for value in row if value == value] for row in matrix.tolist()]
    items = [values for values in items if len(values) >= 2]
    everything = [value for values in items for value in values]
    n = len(everything)
    observed = sum((a - b) ** 2 / (len(values) - 1) for values in items for a in values for b in values) / n
    expected = sum((a - b) ** 2 for a in everything for b in everything) / (n * (n - 1))
    return 1 - observed / expected


def alpha_of(matrix, resamples=10, seed=0, premises=None):
    """Alpha with a premise for each item, unless others are told."""
    return krippendorff_alpha(matrix, np.arange(len(matrix)) if premises is None else premises, resamples, seed)


def report_on(matrix, names, resamples=10, seed=0):
    """The report with a premise for each item."""
    return agreement_report(matrix, names, np.arange(len(matrix)), resamples, seed)


def test_alpha_of_a_published_example():
    """Krippendorff works out 0.849 for interval data; and by hand: items (0, 0), (1, 1), (0, 1) give 1 - 5/9."""
    assert round(alpha_of(PAPER)["value"], 3) == 0.849
    # Observed: one of three pairs differs, 1/3. Expected: 3 x 3 x 2 of 6 x 5 ordered pairs differ, 3/5.
    small = np.array([[0, 0], [1, 1], [0, 1.0]])
    assert alpha_of(small)["value"] == pytest.approx(1 - (1 / 3) / (3 / 5))


@pytest.mark.parametrize("seed", range(3))
def test_alpha_is_that_of_the_library_and_of_the_definition(seed):
    """The three ways agree to 1e-12, with any holes; items judged once or never change nothing."""
    matrix = with_holes(seed)
    library = krippendorff.alpha(reliability_data=matrix.T, level_of_measurement="interval")
    assert alpha_by_pairs(matrix) == pytest.approx(library, abs=1e-12)
    report = alpha_of(matrix, 5)
    assert report["value"] == pytest.approx(library, abs=1e-12)
    assert report["items"] == report["premises"] == ((~np.isnan(matrix)).sum(1) >= 2).sum()


def test_each_resample_is_one_of_whole_premises():
    """The interval is that of alphas which the library gives for the premises drawn, all their items each time."""
    matrix = with_holes(1, items=26, share=0.1)[1:]
    matrix[(~np.isnan(matrix)).sum(1) < 2, :2] = 0.5
    premises = np.array([f"v{k}" for k in np.arange(25) // 3])
    alphas = []
    for times in np.random.default_rng(7).multinomial(9, np.full(9, 1 / 9), size=60):
        drawn = np.concatenate([matrix[premises == f"v{k}"] for k in range(9) for _ in range(times[k])])
        alphas.append(krippendorff.alpha(reliability_data=drawn.T, level_of_measurement="interval"))
    report = alpha_of(matrix, 60, 7, premises)
    middle = report["value"] - np.mean(alphas)
    assert (report["items"], report["premises"]) == (25, 9)
    assert report["interval"] == pytest.approx((np.quantile(alphas, [0.025, 0.975]) + middle).tolist())


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """Answers are truth plus noise of equal variance, so alpha of the population is 1/2: inside in about 95 %."""
    inside = 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        matrix = np.round(generator.normal(size=(120, 1)) + generator.normal(size=(120, 3)), 1)
        low, high = alpha_of(matrix, 150, seed)["interval"]
        inside += low <= 0.5 <= high
    assert 0.88 <= inside / 100 <= 0.99


def test_a_seed_repeats():
    """The same seed gives the same interval, another one another."""
    first, same, other = (alpha_of(with_holes(0), 100, seed) for seed in (1, 1, 2))
    assert first == same and first["interval"] != other["interval"]


def test_resamples_without_two_answers_are_counted():
    """Two items, one all 0 and one all 1: half of the resamples hold one answer only, and alpha of the rest is 1."""
    report = alpha_of(np.array([[0, 0, 0], [1, 1, 1.0]]), 1000)
    assert (report["value"], report["interval"], report["resamples"]) == (1, [1, 1], 1000)
    assert 400 < report["degenerate"] < 600
    matrix = np.array([[0.1, 0.1], [0.7, 0.7]])
    assert f"{alpha_of(matrix, 9)['degenerate']} resamples held one answer only" in markdown_report(
        report_on(matrix, ["a", "b"], 9)
    )


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        ([[0.5, NAN], [NAN, 0.7]], "no item was judged by two annotators"),
        ([[0.5], [0.7]], "no item was judged by two annotators"),
        ([[0.5, 0.5], [0.5, 0.5], [0.9, NAN]], "all answers are the same"),
    ],
)
def test_where_alpha_is_undefined_the_report_says_why(matrix, reason):
    """No number is made up, and nothing raises; however many items one premise has, there is no interval."""
    report = report_on(np.array(matrix), ["a", "b"][: len(matrix[0])])
    alpha = report["alpha"]
    assert (alpha["value"], alpha["interval"], alpha["reason"]) == (None, None, reason)
    assert f"(interval): n/a; {reason}." in markdown_report(report)
    one = alpha_of(np.array([[0.1, 0.2], [0.9, 0.8], [0.4, 0.6]]), premises=["v"] * 3)
    assert one["interval"] is None and one["value"] > 0.8 and "one premise" in one["reason"]


def test_pairs_are_compared_over_the_items_that_both_judged():
    """With holes, each measure is that of the two columns after leaving out rows by hand, by its formula."""
    matrix = with_holes(3)
    report = report_on(matrix, ["a", "b", "c", "d"])
    for pair in report["pairs"]:
        columns = matrix[:, ["abcd".index(pair["first"]), "abcd".index(pair["second"])]]
        rows = [row for row in columns.tolist() if row[0] == row[0] and row[1] == row[1]]
        x, y = ([row[k] for row in rows] for k in range(2))
        assert pair["n"] == len(rows) and 15 < len(rows) < 50
        assert pair["pearson"] == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-12)
        assert pair["spearman"] == pytest.approx(np.corrcoef(rankdata(x), rankdata(y))[0, 1], abs=1e-12)
        assert pair["mse"] == pytest.approx(sum((a - b) ** 2 for a, b in rows) / len(rows), abs=1e-12)
        assert pair["js_distance"] == pytest.approx(js_distance(x, y), abs=1e-7)
    assert len(report["pairs"]) == 10
    judged = (~np.isnan(matrix)).sum(1).tolist()
    by_two, by_all = sum(n >= 2 for n in judged), judged.count(4)
    assert report["items"] == {"judged": 60, "judged_by_two": by_two, "judged_by_all": by_all}
    assert by_all < by_two < 60


def js_distance(x, y):
    """The root of the mean divergence, in bits, of both histograms from their mean; tenths in whole per cent."""
    shares = []
    for values in (x, y):
        bins = [min(round(value * 100) // 10, 9) for value in values]
        shares.append([bins.count(k) / len(bins) for k in range(10)])
    middle = [sum(both) / 2 for both in zip(*shares, strict=True)]
    bits = sum(p * math.log2(p / m) for share in shares for p, m in zip(share, middle, strict=True) if p)
    return math.sqrt(max(bits / 2, 0))


def test_js_distance_in_closed_form():
    """Equal use of the scale is 0 in whatever order, none in common 1, half in common the root of 1/2."""
    low, high = np.array([0.0, 0.05, 0.1, 0.15]), np.array([0.9, 0.95, 1.0, 0.5])
    assert pair_measures(low, low[::-1])["js_distance"] == 0
    assert pair_measures(low, high)["js_distance"] == pytest.approx(1)
    # (1/2, 1/2, 0) and (0, 1/2, 1/2): the mean is (1/4, 1/2, 1/4), each diverges from it by 1/2.
    half = pair_measures(np.array([0.1, 0.3]), np.array([0.3, 0.5]))["js_distance"]
    assert half == pytest.approx(math.sqrt(0.5))


def test_answers_on_an_edge_fall_above_it():
    """30 % is in the bin of 30 to 40 %, and so on for each round answer; 100 % is in the last; holes don't count."""
    for percent in range(101):
        counts = histogram(np.array([percent / 100, np.nan]))
        assert counts.sum() == 1 and counts[min(percent // 10, 9)] == 1


def test_an_annotator_who_always_says_the_same_has_no_correlation():
    """Undefined is NaN and shown as n/a, without a warning; what is defined is still given."""
    matrix = np.array([[1.0, 0.2, NAN], [1.0, 0.9, NAN], [NAN, 0.5, 0.5], [1.0, NAN, NAN]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = report_on(matrix, ["same", "varied", "once"])
        table = markdown_report(report)
    pairs = {(pair["first"], pair["second"]): pair for pair in report["pairs"]}
    constant = pairs["same", "varied"]
    assert math.isnan(constant["pearson"]) and math.isnan(constant["spearman"])
    assert constant["mse"] == pytest.approx((0.64 + 0.01) / 2)
    apart = pairs["same", "once"]
    assert apart["n"] == 0 and all(math.isnan(apart[name]) for name in ("pearson", "spearman", "mse", "js_distance"))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert ["same", "once", "0", "n/a", "n/a", "n/a", "n/a"] in cells
    assert ["same", "varied", "2", "n/a", "n/a", "0.3250", f"{constant['js_distance']:.4f}"] in cells


@pytest.mark.parametrize("annotators", [1, 2, 16, 21])
def test_heat_maps_of_any_size_hold_the_measures(annotators):
    """Each map has the pairs' numbers, n/a where there is none; names are no formulas; nothing warns or is cut off."""
    matrix = with_holes(0, annotators=annotators)
    matrix[1:, 0] = 0.5
    names = [f"$person_{k}$ of the | office" + " with a long name" * (k % 2) for k in range(annotators)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = report_on(matrix, names)
        figure = draw_heatmaps(report)
        figure.draw_without_rendering()
    rows = [line.replace("\\|", "") for line in markdown_report(report).splitlines() if line.startswith("| $person")]
    assert sorted(row.count("|") for row in rows) == [5] * annotators + [8] * (annotators * (annotators - 1) // 2)
    assert all(0 <= axes.get_tightbbox().x0 and axes.get_tightbbox().y0 >= 0 for axes in figure.axes)
    for axes, measure in zip(figure.axes[:4], ("pearson", "mse", "js_distance", "spearman"), strict=True):
        drawn = axes.images[0].get_array().filled(np.nan)
        for pair in report["pairs"]:
            i, j = names.index(pair["first"]), names.index(pair["second"])
            assert drawn[i, j] == pytest.approx(pair[measure], nan_ok=True)
            assert drawn[j, i] == pytest.approx(pair[measure], nan_ok=True)
        assert len(axes.texts) == (annotators**2 if annotators <= 20 else 0)
