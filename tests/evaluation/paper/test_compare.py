"""Paired comparisons: what differs, how surely, and corrected for how often one has looked."""

import numpy as np
import pytest
from scipy import stats

from evaluation.paper.__main__ import main
from evaluation.paper.compare import paired_difference

from .conftest import read_csv, rows_of


def test_the_difference_of_errors_is_that_of_a_paired_test():
    """With a row a premise, interval and p value of the MSE are near those of the paired t-test of scipy."""
    generator = np.random.default_rng(0)
    truth = generator.random(400)
    first, second = (np.clip(truth + generator.normal(0, spread, 400), 0, 1) for spread in (0.2, 0.21))
    found = paired_difference(first, second, truth, None, np.arange(400), "mse", 4000, 0)
    errors = (first - truth) ** 2 - (second - truth) ** 2
    test = stats.ttest_1samp(errors, 0)
    assert found["difference"] == pytest.approx(errors.mean())
    assert found["p"] == pytest.approx(test.pvalue, abs=0.03)
    assert found["interval"] == pytest.approx(test.confidence_interval(0.95), abs=0.1 * np.ptp(found["interval"]))


def test_rows_of_one_premise_are_not_taken_for_independent():
    """Each row repeated ten times within its premise tells no more: the interval stays."""
    generator = np.random.default_rng(1)
    truth, first, second = generator.random((3, 60))
    once = paired_difference(first, second, truth, None, np.arange(60), "mse", 1000, 0)
    first, second, truth, clusters = (np.repeat(column, 10) for column in (first, second, truth, np.arange(60)))
    many = paired_difference(first, second, truth, None, clusters, "mse", 1000, 0)
    assert many["interval"] == pytest.approx(once["interval"]) and many["p"] == once["p"]


def test_intervals_hold_the_truth_and_p_values_are_honest():
    """On 200 simulated sets of 40 premises about 95% of intervals hold the true difference; few equals differ."""
    generator = np.random.default_rng(2)
    held = false = 0
    for _ in range(200):
        clusters = np.repeat(np.arange(40), 5)
        # An error has a part that a premise's rows share; both predictors have the same spread of it.
        first, second = (
            0.5 + 0.08 * generator.normal(size=40)[clusters] + 0.08 * generator.normal(size=200) for _ in range(2)
        )
        found = paired_difference(first, second, np.full(200, 0.5), None, clusters, "mse", 300, 0)
        held += found["interval"][0] <= 0 <= found["interval"][1]
        false += found["p"] <= 0.05
    assert 178 <= held <= 198 and 2 <= false <= 22


def test_rows_without_a_number_in_either_are_left_out_of_both(evaluation, tmp_path):
    """Values are over the shared rows; the counts tell what each has not answered."""
    a = evaluation("a", rows_of([0.1, None, 0.5, 0.9], [0, 0, 1, 1]))
    b = evaluation("b", rows_of([0.2, 0.3, None, 0.8], [0, 0, 1, 1]))
    command = ["compare", "--predictions", f"A={a}", f"B={b}", "--output-dir", str(tmp_path), "--resamples", "100"]
    main([*command, "--measures", "mse", "accuracy", "mse"])
    mse, accuracy = read_csv(tmp_path / "compare.csv")
    assert (mse["rows"], mse["without number in A"], mse["in B"]) == ("2", "1", "1")
    assert [float(mse[head]) for head in ("A's value", "B's value", "A - B")] == pytest.approx([0.01, 0.04, -0.03])
    assert (accuracy["measure"], float(accuracy["A - B"]), float(accuracy["p"])) == ("accuracy", 0, 1)
    text = (tmp_path / "compare.md").read_text()
    assert "Only rows on which both predictors have a number are compared" in text
    assert "ask for more" not in text
    main([*command, "--resamples", "30"])
    assert "30 resamples give no p (Holm) below 0.0968: ask for more" in (tmp_path / "compare.md").read_text()


def test_p_values_are_corrected_over_all_comparisons(evaluation, tmp_path):
    """Three predictors and two measures are six comparisons; Holm's steps are those of the definition."""
    generator = np.random.default_rng(3)
    truth = generator.random(50)
    given = []
    for name, spread in (("A", 0.1), ("B", 0.13), ("C", 0.3)):
        noisy = np.clip(truth + generator.normal(0, spread, 50), 0, 1)
        given.append(f"{name}={evaluation(name, rows_of(noisy.tolist(), truth.tolist()), weights=name)}")
    options = ["--measures", "mse", "nll", "--resamples", "500", "--output-dir", str(tmp_path)]
    main(["compare", "--predictions", *given, *options])
    table = read_csv(tmp_path / "compare.csv")
    rows = sorted(table, key=lambda row: float(row["p"]))
    assert [(row["A"], row["B"]) for row in table][::2] == [("A", "B"), ("A", "C"), ("B", "C")]
    expected, most = [], 0.0
    for place, row in enumerate(rows):
        most = max(most, min(1.0, (6 - place) * float(row["p"])))
        expected.append(most)
    assert [float(row["p (Holm)"]) for row in rows] == pytest.approx(expected)
    assert expected[0] < 0.05 < expected[-1]


def test_what_cannot_be_compared_is_told(evaluation, tmp_path):
    """Other configurations, no shared number, a measure without its labels, an unknown measure."""

    def refused(match, *given):
        with pytest.raises(SystemExit, match=match):
            main(["compare", "--predictions", *given, "--output-dir", str(tmp_path / "t")])

    a = f"A={evaluation('a', rows_of([0.1, None], [0.2, 0.3]))}"
    refused("No two predictors were evaluated on the same data: A .*a. on UNLI", a)
    refused("there is no row on which both have a number", a, f"B={evaluation('b', rows_of([None, 0.1], [0.2, 0.3]))}")
    c = f"C={evaluation('c', rows_of([0.3, None], [0.2, 0.3]))}"
    refused("brier is against labels", a, c, "--measures", "brier")
    refused("only in .*a: r1", a, f"D={evaluation('d', rows_of([0.3], [0.2]))}")
    refused("2", a, c, "--measures", "brightness")


def test_one_premise_tells_nothing_of_others(evaluation, tmp_path):
    """Without a second premise there is neither interval nor p value, and nothing to correct."""
    a, b = (evaluation(name, rows_of([p, 0.3], [0.2, 0.3], ["x", "x"])) for name, p in (("a", 0.1), ("b", 0.6)))
    main(["compare", "--predictions", f"A={a}", f"B={b}", "--measures", "mse", "--output-dir", str(tmp_path)])
    (row,) = read_csv(tmp_path / "compare.csv")
    assert (row["p"], row["p (Holm)"], row["A - B low"]) == ("", "", "")
    assert float(row["A - B"]) == pytest.approx(0.005 - 0.08)
