"""Post-hoc calibration: fits against closed forms and simulation, saved, loaded by strangers, undone, dropped."""

import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.isotonic import IsotonicRegression
from transformers import AutoModel, pipeline

from evaluation import calibration, posthoc
from evaluation.data import load_rows, premise_keys
from evaluation.predictors.checkpoints import CLUEPredictor
from modeling_clue import CLUEConfig, CLUEForConfidenceEstimation
from modeling_clue.adapter import CALIBRATION as FILE
from modeling_clue.confidence import bin_values, central_interval, expectation
from modeling_clue.conversion import apply_adapter
from modeling_clue.modalities import MODALITIES
from modeling_clue.posthoc import calibrated_distribution, calibrated_probability, conformal_interval
from tests.launching import run
from tests.train.test_join import write_adapter


QUESTION = {"text": "An urn holds 3 red balls.", "hypotheses": ["The ball is red.", "It is blue.", "It is neither."]}
CALIBRATION = {
    "temperature": 2.5,
    "isotonic": {"x": [0.2, 0.5, 0.9], "y": [0.1, 0.7, 0.8]},
    "conformal": {"coverage": 0.8, "quantile": 0.125},
}
AUTOMATION = {"threshold": None, "error_rate": 0.1, "confidence": 0.95, "error": "truth"}


@pytest.fixture(scope="module")
def calibrated(tiny_checkpoint, tmp_path_factory):
    """A copy of the tiny checkpoint with all three parts."""
    return posthoc.save(CALIBRATION, tiny_checkpoint, tmp_path_factory.mktemp("posthoc") / "calibrated")


def ask(folder, **options):
    """The pipeline's answers to one question."""
    return pipeline("uncertain-inference", model=str(folder), trust_remote_code=True, device="cpu")(
        dict(QUESTION), **options
    )


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_temperature_recovers_a_known_factor(factor):
    """Where the truth is the expectation of softmax(z), logits `factor * z` get the temperature `factor`."""
    z = 3 * torch.randn(300, 20, generator=torch.Generator().manual_seed(0))
    found = calibration.fit_temperature(factor * z, expectation(z.softmax(-1)).numpy())
    assert found == pytest.approx(factor, rel=2e-3)


def test_logits_without_information_have_no_temperature():
    """Logits that contradict the targets call for an endless temperature, which is refused."""
    logits = torch.zeros(10, 5)
    logits[:5, 0], logits[5:, 4] = 5, 5
    with pytest.raises(ValueError, match="beyond 20, .*next to nothing"):
        calibration.fit_temperature(logits, np.array([1.0] * 5 + [0.0] * 5))
    with pytest.raises(ValueError, match="beyond 0.05, .*too faint"):
        calibration.fit_temperature(logits / 1000, np.array([0.0] * 5 + [1.0] * 5))


def test_nothing_is_fitted_to_no_rows():
    """An empty split is told as such."""
    with pytest.raises(ValueError, match="no rows to fit to"):
        calibration.fit(torch.zeros(0, 5), [], [], ["temperature"])


def test_isotonic_is_that_of_sklearn():
    """The points applied to a tensor give what sklearn predicts, between, at and beyond them; predictions that are one
    number in float32 are one point: there is no step of no width, where 0 / 0 would be."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0.1, 0.9, 200)
    y = np.clip(x**2 + rng.normal(0, 0.1, 200), 0, 1)
    values = np.concatenate([rng.uniform(0, 1, 500), x, [0.0, 1.0]])
    distributions = torch.tensor(np.stack([1 - values, values], axis=1), dtype=torch.float32)
    given = calibrated_probability(distributions, {"isotonic": calibration.fit_isotonic(x, y)}).numpy()
    known = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(x, y).predict(values)
    np.testing.assert_allclose(given, known, atol=2e-5)
    points = calibration.fit_isotonic(np.array([0.2, 0.5, 0.5 + 1e-9, 0.5 + 2e-9, 0.8]), [0.1, 0.3, 0.5, 0.7, 0.9])
    assert np.diff(np.float32(points["x"])).min() > 0
    assert calibrated_probability(torch.tensor([[0.5, 0.5]]), {"isotonic": points}).item() == pytest.approx(0.5)


def test_quantile_of_single_hypotheses_is_the_usual_one():
    """With one hypothesis a premise it is the ceil((n + 1) * coverage)-th smallest score."""
    scores = np.random.default_rng(0).normal(size=57)
    for coverage in (0.5, 0.8, 0.9, 0.95):
        rank = math.ceil(58 * coverage)
        assert calibration.conformal_quantile(scores, np.arange(57), coverage) == np.sort(scores)[rank - 1]


@pytest.mark.parametrize(("coverage", "needed"), [(0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_too_few_premises_are_refused_by_number(coverage, needed):
    """As many premises as the coverage takes will do; one less is an error that names their number."""
    keys = np.repeat(np.arange(needed), 3)
    assert calibration.conformal_quantile(np.arange(len(keys)), keys, coverage) == len(keys) - 1
    with pytest.raises(ValueError, match=f"takes {needed} premises"):
        calibration.conformal_quantile(np.arange(len(keys) - 3), keys[:-3], coverage)


def test_conformal_intervals_hold_their_coverage_over_clusters():
    """Over 1000 draws of 30 premises, whose hypotheses share an error and differ in number, the target of a new one
    lies in its interval as often as promised, not less; the distribution's own interval fails, by far."""
    rng = np.random.default_rng(0)
    bins = bin_values(50)
    logits_about = lambda centre: -0.5 * ((bins - centre[:, None]) / 0.03) ** 2  # noqa: E731
    hits, own, draws = 0, 0, 1000
    for _ in range(draws):
        counts = rng.choice([1, 2, 8], 31)
        counts[-1] = 1  # one hypothesis of the new premise
        keys = np.repeat(np.arange(31), counts)
        targets = rng.uniform(0.3, 0.7, len(keys))
        centre = targets + rng.normal(0, 0.08, 31)[keys] + rng.normal(0, 0.02, len(keys))
        logits = logits_about(torch.tensor(centre, dtype=torch.float32))
        fitted = calibration.fit(logits[:-1], targets[:-1], keys[:-1].astype(str).tolist(), ["conformal"], 0.8)
        distribution = calibrated_distribution(logits[-1:], fitted)
        low, high = conformal_interval(distribution, fitted)[0].tolist()
        hits += low - 1e-6 <= targets[-1] <= high + 1e-6
        low, high = central_interval(distribution, 0.8)[0].tolist()
        own += low <= targets[-1] <= high
    assert stats.binom.cdf(hits, draws, 0.8) > 0.001
    assert hits / draws < 0.88, "not by being endlessly wide"
    assert own / draws < 0.6


def test_crps_is_the_integral_of_squared_distance():
    """The closed form equals the integral of (F - step)^2, by brute force on a fine grid."""
    distribution = torch.rand(4, 11, generator=torch.Generator().manual_seed(0)).double()
    distribution /= distribution.sum(-1, keepdim=True)
    targets = torch.tensor([0.0, 0.33, 0.5, 0.97])
    grid = (torch.arange(200_000) + 0.5).double() / 200_000
    below = distribution.cumsum(-1)[:, (grid * 10).long()]
    integral = ((below - (grid >= targets[:, None]).double()) ** 2).mean(-1)
    torch.testing.assert_close(calibration.crps(distribution, targets), integral, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        ({}, "one or more of"),
        ({"temprature": 1.0}, "temprature"),
        ({"temperature": 0.0}, "positive"),
        ({"temperature": math.nan}, "positive"),
        ({"isotonic": {"x": [0.1]}}, "'x' and 'y'"),
        ({"isotonic": {"x": [0.1, 0.1], "y": [0, 1]}}, "must rise"),
        ({"isotonic": {"x": [0.5, 0.5 + 1e-9], "y": [0, 1]}}, "must rise.*float32"),
        ({"isotonic": {"x": [0.1, 0.2], "y": [0, 2]}}, "within"),
        ({"isotonic": {"x": [0.1], "y": [0.1]}}, "two points"),
        ({"conformal": {"coverage": 1.0, "quantile": 0.1}}, "strictly between"),
        ({"conformal": {"coverage": 0.9, "quantile": math.inf}}, "quantile"),
        ({"automation": {"threshold": 0.9}}, "automation part .* needs confidence, error, error_rate, threshold"),
        ({"automation": AUTOMATION | {"threshold": 0.4}}, r"threshold .* \[0.5, 1\] or be null"),
        ({"automation": AUTOMATION | {"error_rate": 1}}, "error_rate .* strictly between"),
        ({"automation": AUTOMATION | {"error": "none"}}, "error .* one of truth, side"),
    ],
)
def test_a_wrong_calibration_is_refused(calibration, message):
    """A configuration with a calibration that cannot be applied is an error that names the part."""
    with pytest.raises(ValueError, match=message):
        CLUEConfig(calibration=calibration)


def test_the_pipeline_applies_it_and_an_option_undoes_it(tiny_checkpoint, calibrated):
    """Uncalibrated answers are the raw checkpoint's to the bit; calibrated ones are those worked out by hand."""
    raw = ask(tiny_checkpoint)
    assert ask(calibrated, calibrated=False) == raw
    for before, after in zip(raw, ask(calibrated), strict=True):
        scaled = np.array(before["distribution"]) ** (1 / 2.5)
        scaled /= scaled.sum()
        np.testing.assert_allclose(after["distribution"], scaled, atol=1e-5)
        points = CALIBRATION["isotonic"]["x"], CALIBRATION["isotonic"]["y"]
        mean = scaled @ np.linspace(0, 1, 100)
        assert after["probability"] == pytest.approx(np.interp(mean, *points), abs=1e-5)
        assert abs(after["probability"] - before["probability"]) > 1e-3
        deviation = np.sqrt(scaled @ (np.linspace(0, 1, 100) - mean) ** 2)
        reach = np.array([-0.125, 0.125]) * (deviation + 0.5 / 99)
        ends = (np.interp(mean, *points) + reach).clip(0, 1)
        np.testing.assert_allclose(after["conformal_interval"], ends, atol=1e-5)
        assert "conformal_interval" not in before


def test_logits_and_losses_never_see_it(tiny_checkpoint, calibrated):
    """Logits and loss are the raw checkpoint's to the bit; only probabilities differ, and not in training."""
    from modeling_clue import CLUEProcessor

    inputs = CLUEProcessor.from_pretrained(tiny_checkpoint)([QUESTION["text"]], [QUESTION["hypotheses"]])
    labels = torch.tensor([0.2, 0.5, 1.0])
    with torch.no_grad():
        raw = CLUEForConfidenceEstimation.from_pretrained(tiny_checkpoint)(**inputs, labels=labels)
        model = CLUEForConfidenceEstimation.from_pretrained(calibrated)
        applied = model(**inputs, labels=labels)
        undone = model(**inputs, labels=labels, calibrated=False)
        assert torch.equal(applied.logits, raw.logits) and torch.equal(applied.loss, raw.loss)
        assert not torch.allclose(applied.probability, raw.probability, atol=1e-3)
        assert torch.equal(undone.probability, raw.probability)
        trained = model.train()(**inputs, labels=labels)
    assert torch.equal(trained.loss, raw.loss) and torch.equal(trained.probability, raw.probability)


def test_training_drops_it_and_a_thinker_keeps_it(calibrated, tmp_path):
    """A model set to training has no calibration any more, and neither has what it saves; evaluation keeps it, and so
    does CLUE made of a Thinker made of it."""
    from modeling_clue.conversion import to_clue, to_thinker

    def saved(folder):
        return json.loads((folder / "config.json").read_text()).get("calibration")

    back = to_clue(to_thinker(calibrated, tmp_path / "thinker"), tmp_path / "back")
    assert saved(back) == CALIBRATION
    model = CLUEForConfidenceEstimation.from_pretrained(calibrated).eval()
    assert model.config.calibration == CALIBRATION
    model.train()
    model.eval().save_pretrained(tmp_path / "trained")
    assert saved(tmp_path / "trained") is None


@pytest.mark.processes
def test_a_stranger_gets_calibrated_answers(calibrated, tmp_path):
    """In a process without our packages, with the code in the folder alone, the answers are the same."""
    script = (
        "import json, sys\nfrom transformers import pipeline\n"
        "clue = pipeline('uncertain-inference', model=sys.argv[1], trust_remote_code=True, device='cpu')\n"
        "assert 'modeling_clue' not in sys.modules\n"
        "print('ANSWER', json.dumps(clue(json.loads(sys.argv[2]))))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = run("-c", script, calibrated, json.dumps(QUESTION), folder=tmp_path, environment=environment)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.split("ANSWER ")[1])
    for answer, expected in zip(answers, ask(calibrated), strict=True):
        assert answer["probability"] == pytest.approx(expected["probability"], abs=1e-6)
        assert answer["conformal_interval"] == pytest.approx(expected["conformal_interval"], abs=1e-6)


def test_the_command_fits_saves_and_compares(tiny_checkpoint, urn_world, tmp_path, capsys):
    """The command's numbers are those of `fit` on the model's logits; the source stays as it was, and a second fit
    to the calibrated copy, in place, finds the same: it sees raw logits."""
    before = (tiny_checkpoint / "config.json").read_bytes()
    options = ["--dataset", str(urn_world), "--dataset-config", "urn-text", "--split", "test", "--method", "isotonic"]
    options += ["--compare-split", "validation"]
    out = posthoc.main(["--model", str(tiny_checkpoint), *options, "--output-dir", str(tmp_path / "out")])
    assert "| calibrated |" in capsys.readouterr().out
    assert (tiny_checkpoint / "config.json").read_bytes() == before
    saved = AutoModel.from_pretrained(out, trust_remote_code=True).config.calibration
    rows = load_rows(str(urn_world), "urn-text", "test")
    keys = premise_keys(rows)
    logits = posthoc.confidence_logits(Path(tiny_checkpoint), rows, keys, 2)
    fitted = calibration.fit(logits, rows["probability"][:], keys, ["isotonic"])
    np.testing.assert_allclose(saved["isotonic"]["y"], fitted["isotonic"]["y"], atol=1e-5)
    assert saved["fitted"]["premises"] == 3 and saved["fitted"]["split"] == "test"
    posthoc.main(["--model", str(out), *options])
    again = json.loads((out / "config.json").read_text())["calibration"]
    assert again["isotonic"] == saved["isotonic"]
    with pytest.raises(FileExistsError, match="exists already"):
        posthoc.main(["--model", str(tiny_checkpoint), *options, "--output-dir", str(out)])
    with pytest.raises(ValueError, match="takes 9 premises"):
        posthoc.main(["--model", str(out), *options, "--method", "conformal"])


def test_a_modality_is_calibrated_beside_others(tiny_checkpoint, urn_world, tmp_path, capsys):
    """Each is fitted to its own rows, keeps what was there for others, and is compared by its own; what it can't stand
    beside, rows of several modalities, and a clip that is judged by another are refused."""

    def command(model, configs, *more):
        options = ["--model", str(model), "--dataset", str(urn_world), "--dataset-config", *configs.split()]
        return posthoc.main([*options, "--split", "test", "--method", "isotonic", *more])

    def saved():
        return json.loads((out / "config.json").read_text())["calibration"]

    out = command(tiny_checkpoint, "urn-text", "--by-modality", "--output-dir", str(tmp_path / "out"))
    text = saved()["text"]
    assert list(saved()) == ["text"] and text["fitted"]["config"] == "urn-text"
    capsys.readouterr()
    assert command(out, "urn-audio", "--by-modality", "--compare-split", "validation") == out
    assert saved()["text"] == text and set(saved()) == {"text", "audio"}
    for modality, parts in saved().items():
        rows = load_rows(str(urn_world), f"urn-{modality}", "test")
        keys = premise_keys(rows)
        logits = posthoc.confidence_logits(Path(tiny_checkpoint), rows, keys, 2)
        fitted = calibration.fit(logits, rows["probability"][:], keys, ["isotonic"])
        np.testing.assert_allclose(parts["isotonic"]["y"], fitted["isotonic"]["y"], atol=1e-5)
    rows = load_rows(str(urn_world), "urn-audio", "validation")
    logits = posthoc.confidence_logits(out, rows, premise_keys(rows), 2)
    said = capsys.readouterr().out
    assert posthoc.comparison(logits, rows["probability"][:], saved()["audio"]) in said
    assert f"{out}: calibrated for sounds on 12 rows about 3 premises" in said

    with pytest.raises(ValueError, match="is judged as audio, not as text: leave it out"):
        posthoc.confidence_logits(out, rows, premise_keys(rows), 2, "text")
    with pytest.raises(ValueError, match="one modality, those of test have audio, text"):
        command(out, "urn-text urn-audio", "--by-modality")
    assert set(saved()) == {"text", "audio"}
    command(out, "urn-text")
    assert saved()["isotonic"] == text["isotonic"]
    with pytest.raises(ValueError, match="has a calibration for all premises.*to null first, or leave out"):
        command(out, "urn-text", "--by-modality")


def test_rows_of_several_configs_are_taken_together(tiny_checkpoint, urn_world, tmp_path, capsys):
    """It is the fit to all of their rows, whichever columns each has; what is named twice is refused."""
    configs = ("urn-text", "urn-audio", "urn-audiovisual")
    options = ["--model", str(tiny_checkpoint), "--dataset", str(urn_world), "--split", "test"]
    options += ["--method", "isotonic", "--output-dir", str(tmp_path / "out"), "--dataset-configs"]
    out = posthoc.main([*options, *configs])
    saved = json.loads((out / "config.json").read_text())["calibration"]
    found = []
    for config in configs:
        rows = load_rows(str(urn_world), config, "test")
        keys = premise_keys(rows)
        found.append((posthoc.confidence_logits(Path(tiny_checkpoint), rows, keys, 2), rows["probability"][:], keys))
    logits, targets, keys = zip(*found, strict=True)
    fitted = calibration.fit(torch.cat(logits), sum(targets, []), sum(keys, []), ["isotonic"])
    np.testing.assert_allclose(saved["isotonic"]["y"], fitted["isotonic"]["y"], atol=1e-5)
    assert saved["fitted"]["config"] == " ".join(configs) and saved["fitted"]["premises"] == len(set(sum(keys, [])))
    for twice in (["urn-text", "urn-text"], ["urn-text", "--novel-sides", "premise", "premise"]):
        with pytest.raises(SystemExit):
            posthoc.main([*options, *twice])
        assert "names one of them twice" in capsys.readouterr().err


def test_a_calibration_goes_with_its_adapter(tiny_checkpoint, urn_world, tmp_path):
    """What was fitted to the merged checkpoint is written beside the adapter, and applied again it gives the same
    checkpoint; a folder without an adapter is refused before anything is fitted."""
    adapter = write_adapter(tiny_checkpoint, tmp_path / "adapter", 1, ["q_proj"], 2, 6, ["confidence_head"])
    merged = apply_adapter(tiny_checkpoint, adapter, tmp_path / "merged")
    options = ["--model", str(merged), "--dataset", str(urn_world), "--split", "test", "--method", "isotonic"]
    for config in ("urn-text", "urn-audio"):
        posthoc.main([*options, "--dataset-config", config, "--by-modality", "--adapter", str(adapter)])
    again = apply_adapter(tiny_checkpoint, adapter, tmp_path / "again")
    expected, found = (json.loads((folder / "config.json").read_text()) for folder in (merged, again))
    assert found == expected and set(found["calibration"]) == {"text", "audio"}
    assert json.loads((adapter / FILE).read_text()) == found["calibration"]
    with pytest.raises(FileNotFoundError, match="has no adapter_config.json"):
        posthoc.main([*options, "--dataset-config", "urn-text", "--adapter", str(merged)])


def test_predictions_are_the_pipelines_in_every_modality(tiny_checkpoint, urn_world, tmp_path):
    """On rows of all modalities at once, with a calibration of some."""
    parts = {"text": CALIBRATION, "video": {"temperature": 0.4}, "audiovisual": {"temperature": 3.0}}
    folder = posthoc.save(parts, tiny_checkpoint, tmp_path / "calibrated")
    rows = [row for name in MODALITIES for row in load_rows(str(urn_world), f"urn-{name}", "test").select(range(4))]
    clue = pipeline("uncertain-inference", model=str(folder), trust_remote_code=True, device="cpu")
    raw = clue(rows, batch_size=8, calibrated=False)
    answers = clue(rows, batch_size=8)
    predictions = CLUEPredictor(folder).predict(rows)
    for row, [before], [after], prediction in zip(rows, raw, answers, predictions, strict=True):
        assert prediction.probability == pytest.approx(after["probability"], abs=1e-5)
        assert prediction.standard_deviation == pytest.approx(after["standard_deviation"], abs=1e-5)
        assert prediction.interval == pytest.approx(after["interval"], abs=1e-5)
        assert (prediction.standard_deviation == pytest.approx(before["standard_deviation"], abs=1e-5)) == (
            row["modality"] == "audio"
        )


@pytest.mark.parametrize("older", ["no calibration", "calibration for all"])
def test_older_code_is_refused_by_name(tiny_checkpoint, tmp_path, older):
    """A checkpoint whose own code knows no calibration by modality would ignore it, or not load."""
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "older")
    code = folder / "posthoc.py"
    if older == "no calibration":
        code.unlink()
    else:
        code.write_text(code.read_text().replace("for_modality", "of_old"))
    with pytest.raises(ValueError, match="older is older than calibration by modality: load .* and save it anew"):
        CLUEPredictor(folder)
