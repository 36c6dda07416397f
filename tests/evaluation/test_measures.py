"""The measures against other people's implementations, brute force and closed forms."""

import re

import evaluate
import krippendorff
import numpy as np
import pytest
import torch
import yaml
from scipy import stats
from sklearn import metrics as sklearn_metrics
from torchmetrics.functional.classification import binary_calibration_error

from evaluation.metrics.uncertain_inference import measures
from evaluation.metrics.uncertain_inference.measures import measure


@pytest.fixture
def scalar():
    """Predictions with ties, probabilities with ties, and exact zeros, halves and ones among both."""
    random = np.random.default_rng(1)
    targets = random.choice([0.0, 0.2, 0.5, 0.7, 1.0], size=400)
    predictions = np.round((targets + random.normal(0, 0.3, 400)).clip(0, 1), 2)
    return predictions, targets


@pytest.fixture
def binary():
    """Predictions of binary labels, away from the edges of the bins, where conventions differ."""
    random = np.random.default_rng(2)
    predictions = random.uniform(0.001, 0.999, 500)
    return predictions, (random.uniform(size=500) < predictions**2).astype(float)


def values(predictions, targets, labels=None):
    """The estimates alone."""
    return {name: result["value"] for name, result in measure(predictions, targets, labels, resamples=0).items()}


def test_errors_and_correlations_equal_sklearn_and_scipy(scalar):
    """MSE, MAE, Pearson and Spearman are the usual ones, ties included."""
    predictions, targets = scalar
    known = {
        "mse": sklearn_metrics.mean_squared_error(targets, predictions),
        "mae": sklearn_metrics.mean_absolute_error(targets, predictions),
        "pearson": stats.pearsonr(predictions, targets).statistic,
        "spearman": stats.spearmanr(predictions, targets).statistic,
    }
    assert {name: values(*scalar)[name] for name in known} == pytest.approx(known, abs=1e-12)


def test_nll_is_torch_cross_entropy(binary):
    """Against probabilities it is the soft binary cross-entropy; its least value is the entropy of the targets; a
    wrong certainty costs what 1e-10 does, no infinity."""
    predictions, _ = binary
    targets = predictions[::-1].copy()
    soft = torch.nn.functional.binary_cross_entropy(torch.tensor(predictions), torch.tensor(targets)).item()
    assert values(predictions, targets)["nll"] == pytest.approx(soft, abs=1e-12)
    entropy = stats.entropy(np.stack([targets, 1 - targets])).mean()
    assert values(targets, targets)["nll"] == pytest.approx(entropy, abs=1e-9)
    assert values([0.0, 1.0], [1.0, 0.0])["nll"] == pytest.approx(-np.log(1e-10), rel=1e-6)


def test_binary_measures_equal_sklearn_and_torchmetrics(binary):
    """With labels: Brier, log loss, accuracy, precision, recall, F1 and the calibration error."""
    predictions, labels = binary
    results = values(predictions, labels, labels)
    known = {
        "brier": sklearn_metrics.brier_score_loss(labels, predictions),
        "log_loss": sklearn_metrics.log_loss(labels, predictions),
    }
    for name in ("accuracy", "precision", "recall", "f1"):
        known[name] = getattr(sklearn_metrics, f"{name}_score")(labels, predictions >= 0.5)
    assert {name: results[name] for name in known} == pytest.approx(known, abs=1e-12)
    ece = binary_calibration_error(torch.tensor(predictions), torch.tensor(labels).long(), n_bins=10, norm="l1")
    assert results["ece"] == pytest.approx(ece.item(), abs=1e-6)


def test_ece_equals_brute_force(scalar):
    """The sum of the definition gives the same, edges of bins included."""
    rows = [(min(int(100 * p + 0.5) // 10, 9), p - t) for p, t in zip(*scalar, strict=True)]
    total = sum(abs(sum(gap for place, gap in rows if place == k)) for k in range(10)) / len(rows)
    assert values(*scalar)["ece"] == pytest.approx(total, abs=1e-12)


def test_alpha_equals_the_krippendorff_package(scalar, binary):
    """Of model and target as two annotators: interval for probabilities, nominal for decisions."""
    predictions, labels = binary
    for given in (scalar, (predictions.round(2), labels)):
        alpha = krippendorff.alpha(reliability_data=given, level_of_measurement="interval")
        assert values(*given)["krippendorff_alpha"] == pytest.approx(alpha, abs=1e-12)
    alpha = krippendorff.alpha(reliability_data=[predictions >= 0.5, labels], level_of_measurement="nominal")
    assert values(predictions, labels, labels)["decision_alpha"] == pytest.approx(alpha, abs=1e-12)


def test_alpha_is_one_for_the_same_answers_and_none_without_a_difference(scalar):
    """Beyond chance: 1 where nothing differs, about 0 for answers of another row, undefined for one value."""
    _, targets = scalar
    assert values(targets, targets)["krippendorff_alpha"] == 1
    other = np.random.default_rng(0).permutation(np.tile(targets, 50))
    assert values(other, np.tile(targets, 50))["krippendorff_alpha"] == pytest.approx(0, abs=0.03)
    same = measure([0.3, 0.3], [0.3, 0.3], resamples=10)
    assert same["krippendorff_alpha"]["reason"] == "predictions and targets are all the same"


def test_labels_have_the_calibration_errors_of_probabilities(binary):
    """Against labels, and probabilities that equal them, the errors are the same; without labels they are absent."""
    predictions, labels = binary
    results = values(predictions, labels, labels)
    for name in ("ece", "equal_mass_ece", "debiased_ece", "smooth_ece", "mce"):
        assert results[f"label_{name}"] == results[name]
    assert not any(name.startswith("label_") for name in values(predictions, labels))
    soft = values(predictions, predictions, labels)
    assert soft["ece"] == 0 < soft["label_ece"]


def test_even_odds_decide_nothing(scalar):
    """Rows whose probability is exactly 0.5 are no part of accuracy and F1, and the report says how many are left."""
    predictions, targets = scalar
    decided = targets != 0.5
    results = measure(predictions, targets, resamples=20)
    expected = sklearn_metrics.accuracy_score(targets[decided] > 0.5, predictions[decided] >= 0.5)
    assert results["accuracy"]["value"] == pytest.approx(expected, abs=1e-12)
    assert results["accuracy"]["n"] == decided.sum() < results["mse"]["n"] == 400


@pytest.mark.parametrize("name", [*measures.MEASURES, *measures.DISTRIBUTION_MEASURES, *measures.PEOPLE_MEASURES])
def test_a_weight_counts_as_repetitions(binary, name):
    """Weights of 0, 1, 2, ... give what the resampled rows themselves would: the bootstrap resamples truly."""
    given, targets = (values[:60].round(2) for values in binary)
    function, *_ = (measures.MEASURES | measures.DISTRIBUTION_MEASURES | measures.PEOPLE_MEASURES)[name]
    if name in measures.PEOPLE_MEASURES:
        given, targets = np.stack([given, 1 - given], axis=1), np.stack([targets, 1 - targets], axis=1)
    if name in ("coverage", "interval_width"):
        given = np.stack([given / 2, given], axis=1)
    weights = np.random.default_rng(3).integers(0, 4, size=(5, 60))
    results = function(given, targets, weights.astype(float))
    for row, result in zip(weights, results, strict=True):
        repeated = function(np.repeat(given, row, axis=0), np.repeat(targets, row, axis=0), np.ones((1, row.sum())))
        assert result == pytest.approx(repeated[0], abs=1e-12)


def test_intervals_of_right_distributions_hold_their_share():
    """Targets drawn from the distributions, a Beta for each row, lie in nine of ten central 90%; the spread is that of
    the errors."""
    random = np.random.default_rng(10)
    rows = stats.beta(random.uniform(1, 9, 3000), random.uniform(1, 9, 3000))
    ends = np.stack([rows.ppf(0.05), rows.ppf(0.95)], 1)
    columns = {"standard_deviation": rows.std(), "entropy": np.full(3000, 1.5), "interval": ends}
    wanted = ("mse", *measures.DISTRIBUTION_MEASURES)
    targets = rows.rvs(random_state=random)
    results = measure(rows.mean(), targets, distributions=columns, resamples=200, only=wanted)
    assert results["coverage"]["value"] == pytest.approx(0.9, abs=0.02)
    assert results["coverage"]["interval"][0] < 0.9 < results["coverage"]["interval"][1]
    assert results["sharpness"]["value"] == pytest.approx(np.sqrt(rows.var().mean()))
    assert results["sharpness"]["value"] == pytest.approx(np.sqrt(results["mse"]["value"]), rel=0.05)
    assert results["entropy"]["value"] == pytest.approx(1.5)
    assert results["interval_width"]["value"] == pytest.approx(np.diff(ends).mean())


def test_an_end_that_float32_has_moved_still_covers():
    """1/3 rounded to float32 is above 1/3: the target there is inside, one further off is not."""
    third = float(np.float32(1 / 3))
    assert third > 1 / 3
    covered = measures.coverage(np.array([[third, 1]] * 2), np.array([1 / 3, 0.333]), np.eye(2))
    assert covered.tolist() == [1, 0]


def test_measures_of_what_is_not_known_are_absent():
    """A predictor without distributions has no sharpness, not one of 0; with a part of them it has that part."""
    part = {"interval": [[0.0, 0.5], [0.1, 0.2]]}
    for given, known in ((None, set()), (part, {"coverage", "interval_width"})):
        results = measure([0.1, 0.2], [0.1, 0.2], distributions=given, resamples=0)
        assert set(measures.DISTRIBUTION_MEASURES) & set(results) == known


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"interval": [[0.1, 0.2], [0.4, 0.3]]}, r"No interval .* of row b"),
        ({"interval": [[0.1, 0.2], [0.4, 1.3]]}, r"No interval .* of row b"),
        ({"standard_deviation": [-0.1, 0.2]}, r"No standard_deviation .*-0.1 of row a"),
        ({"entropy": [0.1, np.nan]}, r"No entropy .*nan of row b"),
        ({"entropy": [0.1]}, r"not entropy \(1,\)"),
        ({"variance": [0.1, 0.2]}, r"not variance \(2,\)"),
    ],
)
def test_what_no_distribution_has_is_named(columns, message):
    """A reversed interval, a negative spread or a column that is too short is an error that says where."""
    with pytest.raises(ValueError, match=message):
        measure([0.1, 0.2], [0.1, 0.2], ids=["a", "b"], distributions=columns)


def test_people_are_compared_by_their_distribution():
    """KL and Brier of ten bins equal scipy's and sums by hand; rows of fewer than two answers are left out, a bin that
    nobody was expected in costs a finite amount, and what was predicted exactly costs next to nothing."""
    random = np.random.default_rng(5)
    distributions = random.dirichlet(np.full(100, 0.1), 5)
    distributions[0] = np.eye(100)[99]
    people = [[0.0, 0.0, 0.1], [0.3, 0.3, 0.3, 0.65], None, [0.4], [1.0, 0.95]]
    histograms = measures.histogram(distributions)
    assert histograms == pytest.approx(np.add.reduceat(distributions, range(0, 100, 10), axis=1)), "k / 99 of 100 bins"
    theirs = {0: {0: 2 / 3, 1: 1 / 3}, 1: {3: 3 / 4, 6: 1 / 4}, 4: {9: 1}}
    divergences, briers = [], []
    for row, shares in theirs.items():
        share = np.array([shares.get(k, 0) for k in range(10)])
        divergences.append(stats.entropy(share, 0.99 * histograms[row] + 0.001))
        briers.append(((share - histograms[row]) ** 2).sum())
    given = {"distributions": {"histogram": histograms}, "people": people, "clusters": [0, 0, 1, 1, 2]}
    results = measure(np.full(5, 0.3), np.full(5, 0.4), **given, resamples=50)
    assert results["people_kl"]["value"] == pytest.approx(np.mean(divergences))
    assert results["people_brier"]["value"] == pytest.approx(np.mean(briers))
    assert results["people_kl"]["n"] == 3 and results["people_kl"]["interval"] is not None
    assert divergences[0] == pytest.approx(np.log(1000) - stats.entropy([2 / 3, 1 / 3]), rel=1e-3)
    right = np.stack([[shares.get(k, 0) for k in range(10)] for shares in theirs.values()])
    people = [people[row] for row in theirs]
    right = measure([0.3] * 3, [0.4] * 3, distributions={"histogram": right}, people=people, resamples=0)
    assert right["people_brier"]["value"] == 0 and 0 < right["people_kl"]["value"] < 0.01


def test_votes_are_compared_with_the_probability():
    """Where people said yes or no, their shares are compared with the prediction alone; where they gave numbers, and
    nothing tells the distribution predicted, there is no such measure, rather than one of a point."""
    results = measure([0.9, 0.5, 0.2], [1.0, 0.5, 0.3], people=[[1, 1], [0, 1.0], [0, 0, 1]], resamples=0)
    shares = np.array([[0.1, 0.9], [0.5, 0.5], [0.8, 0.2]])
    people = np.array([[0, 1], [0.5, 0.5], [2 / 3, 1 / 3]])
    assert results["people_brier"]["value"] == pytest.approx(((shares - people) ** 2).sum(1).mean())
    expected = np.mean([stats.entropy(p, 0.99 * q + 0.005) for p, q in zip(people, shares, strict=True)])
    assert results["people_kl"]["value"] == pytest.approx(expected)
    for answers in ([[1, 0.9], [0, 1], [0, 1]], [[1], None, []], None):
        assert not {"people_kl", "people_brier"} & set(measure([0.9, 0.5, 0.2], [1, 0.5, 0.3], people=answers))
    with pytest.raises(ValueError, match=r"answer of people of row b \(1.5\)"):
        measure([0.1, 0.2], [0.1, 0.2], ids=["a", "b"], people=[[0.1, 0.2], [0.5, 1.5]])
    with pytest.raises(ValueError, match="given for 1 of 2 rows"):
        measure([0.1, 0.2], [0.1, 0.2], people=[[0.1, 0.2]])
    with pytest.raises(ValueError, match=r"No histogram .* of row b"):
        measure([0.1, 0.2], [0.1, 0.2], ids=["a", "b"], distributions={"histogram": np.eye(2, 10) * [[1], [2]]})


def test_what_chance_shows_stands_beside_the_error(binary):
    """Of a calibrated predictor the error lies within what chance shows, of another above it; with labels it is told
    against those too, and it can be asked for alone."""
    predictions, labels = binary
    random = np.random.default_rng(6)
    right = (random.random(500) < predictions).astype(float)
    for truth, calibrated in ((right, True), (labels, False)):
        results = measure(predictions, truth, truth, resamples=20)
        for of in ("", "label_"):
            _, high = results[f"{of}ece_by_chance"]["interval"]
            assert (results[f"{of}ece"]["value"] <= high) == calibrated
        assert results["ece_by_chance"] == results["label_ece_by_chance"]
    assert "label_ece_by_chance" not in values(predictions, labels)
    assert list(measure(predictions, labels, only=("ece_by_chance", "mse"), resamples=0)) == ["ece_by_chance", "mse"]


def test_the_page_of_definitions_has_every_measure(pytestconfig):
    """Each name that a report can hold stands in the table, against what it is taken."""
    page = (pytestconfig.rootpath / "evaluation/metrics/README.md").read_text()
    cells = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    told = {name: cell[3] for cell in cells for name in re.findall(r"`(\w+)`", cell[0])}
    kinds = {name: kind for name, (_, kind, _) in measures.MEASURES.items()}
    kinds |= dict.fromkeys(measures.DISTRIBUTION_MEASURES, "distribution") | measures.CHANCE_MEASURES
    kinds |= dict.fromkeys(measures.PEOPLE_MEASURES, "people")
    assert told == kinds | {"coverage": "distribution and probability"}


def test_interval_of_a_mean_equals_the_closed_form():
    """For clusters of one size, the interval of the MSE is the mean +- 1.96 standard errors over clusters."""
    random = np.random.default_rng(4)
    errors = random.uniform(0, 0.4, size=(300, 1)) * np.ones((1, 5))
    targets = np.full(1500, 0.5)
    given = {"predictions": targets + errors.reshape(-1), "targets": targets, "resamples": 2000, "only": ["mse"]}
    result = measure(**given, clusters=np.repeat(np.arange(300), 5))["mse"]
    squares = errors[:, 0] ** 2
    half = 1.96 * squares.std() / np.sqrt(300)
    assert result["interval"] == pytest.approx([squares.mean() - half, squares.mean() + half], abs=0.06 * half)
    alone = measure(**given)["mse"]["interval"]
    assert (alone[1] - alone[0]) * np.sqrt(5) == pytest.approx(2 * half, rel=0.06), "rows are not independent"


def test_intervals_hold_the_estimate_and_repeat(binary, monkeypatch):
    """Every interval holds its estimate; the same seed gives the same one, whatever the chunks."""
    predictions, labels = (values[:200] for values in binary)
    first, second = (measure(predictions, labels, labels, resamples=50) for _ in range(2))
    assert first == second
    monkeypatch.setattr(measures, "CHUNK_ELEMENTS", 1500)
    chunked = measure(predictions, labels, labels, resamples=50)
    for name, result in first.items():
        low, high = result["interval"]
        assert low <= result["value"] <= high
        assert low < high
        assert chunked[name]["interval"] == pytest.approx(result["interval"])


def test_constant_predictions_have_no_correlation():
    """Undefined is None with a reason, not a NaN or a crash; the other measures stand."""
    results = measure([0.3, 0.3, 0.3], [0.1, 0.9, 0.4], resamples=10)
    assert results["pearson"] == {"value": None, "interval": None, "n": 3, "reason": "the predictions are constant"}
    assert results["spearman"]["reason"] == "the predictions are constant"
    assert results["precision"]["reason"] == "no row is predicted true"
    assert results["f1"]["value"] == 0
    assert measure([0.1, 0.9], [0.5, 0.5], resamples=10)["accuracy"]["reason"].startswith("every probability")
    assert measure([0.1, 0.9], [0.7, 0.7], resamples=10)["pearson"]["reason"] == "the targets are constant"


def test_one_premise_has_no_interval():
    """From a single premise nothing is known of how others would turn out: no interval, rather than one of width 0."""
    results = measure([0.2, 0.9], [0.1, 0.9], clusters=["same", "same"])
    assert {result["interval"] for result in results.values()} == {None}
    assert measure([0.2, 0.9], [0.1, 0.9], clusters=["a", "b"])["mse"]["interval"] is not None


@pytest.mark.parametrize(
    ("predictions", "targets", "labels", "message"),
    [
        ([0.1, np.nan], [0.1, 0.2], None, r"prediction of row b \(nan\)"),
        ([0.1, 1.2], [0.1, 0.2], None, r"prediction of row b \(1.2\)"),
        ([0.1, 0.2], [-0.1, 0.2], None, r"target of row a \(-0.1\)"),
        ([0.1, 0.2], [0.1], None, "2 predictions for 1 targets"),
        ([0.1, 0.2], [0.1, 0.2], [0.3, 1], "Labels must be 0 or 1"),
        ([], [], None, "no predictions"),
        ([[0.1, 0.2]], [0.1, 0.2], None, "flat sequence"),
    ],
)
def test_bad_values_are_named(predictions, targets, labels, message):
    """What cannot be measured is an error that names the rows."""
    with pytest.raises(ValueError, match=message):
        measure(predictions, targets, labels, ids=["a", "b"])


def test_the_evaluate_module_loads_offline_and_agrees(scalar, monkeypatch, tmp_path, pytestconfig):
    """`evaluate.load` of the folder needs no network and computes the same values."""
    monkeypatch.setattr("socket.socket.connect", None)
    predictions, targets = scalar
    folder = pytestconfig.rootpath / "evaluation/metrics/uncertain_inference"
    metric = evaluate.load(str(folder), cache_dir=str(tmp_path))
    metric.add_batch(predictions=predictions[:100], references=targets[:100])
    metric.add_batch(predictions=predictions[100:], references=targets[100:])
    assert metric.compute() == pytest.approx(values(predictions, targets))
    distributions, people = np.random.default_rng(0).dirichlet(np.ones(20), 400), [[0.3, target] for target in targets]
    clusters = np.arange(400) // 4
    given = {"clusters": clusters.tolist(), "people": people, "distributions": distributions.tolist()}
    found = metric.compute(predictions=predictions, references=targets, **given)
    given = {"clusters": clusters, "people": people, "distributions": {"histogram": measures.histogram(distributions)}}
    known = measure(predictions, targets, resamples=0, **given)
    assert found == pytest.approx({name: result["value"] for name, result in known.items()})
    assert {"people_kl", "people_brier"} < set(found)
    paper = yaml.safe_load((pytestconfig.rootpath / "CITATION.cff").read_text())["preferred-citation"]
    names = " and ".join(f"{author['family-names']}, {author['given-names']}" for author in paper["authors"])
    told = " ".join(metric.citation.split())
    assert all(part in told for part in (names, paper["title"], paper["journal"], paper["url"], str(paper["year"])))


def test_measures_can_be_picked():
    """Those that are asked for are as among all."""
    rng = np.random.default_rng(0)
    given = {"predictions": rng.random(30), "targets": rng.random(30), "clusters": np.arange(30) // 3, "resamples": 50}
    picked = measure(**given, only=("ece", "mae"))
    assert list(picked) == ["ece", "mae"]
    everything = measure(**given)
    assert all(picked[name] == everything[name] for name in picked)
    with pytest.raises(ValueError, match="There is no brier, speed of what was given; there are mse, "):
        measure(**given, only=("mse", "brier", "speed"))
