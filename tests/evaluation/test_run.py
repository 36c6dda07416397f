"""The evaluation of a checkpoint, and its going on after a kill."""

import json
import os
import signal

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import AutoModel, pipeline

from common.digests import weights_digest
from evaluation import predict, run
from evaluation.data import load_rows
from evaluation.predictors import checkpoints
from evaluation.predictors.checkpoints import CLUEPredictor
from tests import launching
from tests.reading import lines


def options(checkpoint, dataset, out, config="urn-text"):
    """The command line of an evaluation with one premise a batch."""
    given = {"--model": checkpoint, "--dataset": dataset, "--dataset-config": config, "--output-dir": out}
    given |= {"--batch-size": 1}
    return [str(part) for pair in given.items() for part in pair]


@pytest.mark.parametrize("config", ["urn-text", "urn-audio", "urn-video", "urn-audiovisual"])
def test_every_modality_is_evaluated(tiny_checkpoint, urn_world, tmp_path, config):
    """Each row is predicted once, in the order of the split, as the model alone does; reports and figures exist."""
    report = run.main(options(tiny_checkpoint, urn_world, tmp_path / "out", config))
    rows = load_rows(str(urn_world), config, "test")
    predictions = lines(tmp_path / "out/predictions.jsonl")
    assert [answer["id"] for answer in predictions] == rows["id"][:]
    assert [answer["target"] for answer in predictions] == rows["probability"][:]
    (alone,) = CLUEPredictor(str(tiny_checkpoint)).predict([rows[5]])
    assert predictions[5]["prediction"] == pytest.approx(alone.probability, abs=1e-5)
    assert predictions[5]["interval"] == pytest.approx(alone.interval, abs=0.02)
    assert predictions[5]["entropy"] == pytest.approx(alone.entropy, abs=1e-4)
    errors = [(answer["prediction"] - answer["target"]) ** 2 for answer in predictions]
    assert report["measures"]["mse"]["value"] == pytest.approx(np.mean(errors))
    inside = [a["interval"][0] - 1e-6 <= a["target"] <= a["interval"][1] + 1e-6 for a in predictions]
    assert report["measures"]["coverage"]["value"] == pytest.approx(np.mean(inside))
    assert report["measures"]["coverage"]["nominal"] == 0.9
    assert report["measures"]["entropy"]["value"] == pytest.approx(np.mean([a["entropy"] for a in predictions]))
    assert "entropy" not in report["constant_mean"]["measures"]
    assert report["target_floor"]["measures"]["coverage"]["value"] == 1, (
        "the target's own interval is about the target"
    )
    mean = np.mean(load_rows(str(urn_world), config, "train")["probability"][:])
    assert report["constant_mean"]["mean"] == pytest.approx(mean)
    assert report["constant_mean"]["measures"]["pearson"]["reason"] == "the predictions are constant"
    assert json.loads((tmp_path / "out/report.json").read_text()) == report
    for name in ("report.md", "reliability.png", "predictions.png", "settings.json"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    assert not list((tmp_path / "out").glob("*.partial"))


def test_answers_of_annotators_are_measured(tiny_checkpoint, urn_world, tmp_path, monkeypatch):
    """Where a row keeps every annotator's number, the distribution predicted is compared with theirs, as by hand from
    the pipeline's; the report has it, and what chance makes of the ECE."""
    rows = load_rows(str(urn_world), "urn-text", "test")
    people = [[0.2, 0.4, 0.9] if place % 2 else None for place in range(len(rows))]
    judged = rows.remove_columns("human_probabilities").add_column("human_probabilities", people)
    with monkeypatch.context() as patch:
        patch.setattr(run, "load_rows", lambda *place: judged)
        report = run.main(options(tiny_checkpoint, urn_world, tmp_path / "out", "urn-text"))
    clue = pipeline("uncertain-inference", model=str(tiny_checkpoint), trust_remote_code=True, device="cpu")
    found = report["measures"]
    divergences = []
    for answer in [one for [one] in clue(list(rows))][1::2]:
        shares = np.array(answer["distribution"]).reshape(10, 10).sum(1)
        divergences.append(-np.log(0.99 * shares[[2, 4, 9]] + 0.001).mean() - np.log(3))
    assert found["people_kl"]["value"] == pytest.approx(np.mean(divergences), abs=1e-4)
    assert found["people_kl"]["n"] == found["people_brier"]["n"] == len(rows) // 2
    assert "people_kl" in report["target_floor"]["measures"] and "people_kl" not in report["constant_mean"]["measures"]
    written = (tmp_path / "out/report.md").read_text()
    assert "| people_brier " in written and "| ece_by_chance " in written


def test_several_configs_are_evaluated_as_each_alone(tiny_checkpoint, urn_world, tmp_path):
    """Each has a folder in the one that is named; a config that isn't there is told before the first prediction."""
    several = options(tiny_checkpoint, urn_world, tmp_path / "both", "urn-audio")
    place = several.index("urn-audio")
    several[place - 1 : place + 1] = ["--dataset-configs", "urn-audio", "urn-text"]
    last = run.main(several)
    for config in ("urn-audio", "urn-text"):
        alone = run.main(options(tiny_checkpoint, urn_world, tmp_path / config, config))
        folder = tmp_path / "both" / config
        assert lines(folder / "predictions.jsonl") == lines(tmp_path / config / "predictions.jsonl")
        assert json.loads((folder / "report.json").read_text())["measures"] == alone["measures"]
    assert last["settings"]["config"] == "urn-text"
    several[place + 1] = "urn-smell"
    several[several.index("--output-dir") + 1] = str(tmp_path / "none")
    with pytest.raises(ValueError, match="urn-smell"):
        run.main(several)
    assert not (tmp_path / "none").exists()


def test_a_prediction_tells_the_spread_of_its_distribution(tiny_checkpoint):
    """The standard deviation and the entropy, in nats, are those of the model's own bins."""
    predictor = CLUEPredictor(str(tiny_checkpoint))
    row = {"modality": "text", "premise": "Balls in the urn: red, blue.", "hypothesis": "It is red."}
    (answer,) = predictor.predict([row])
    inputs = predictor.processor(["Balls in the urn: red, blue."], [["It is red."]])
    bins = predictor.model(**inputs).logits[0].double().softmax(-1).detach().numpy()
    values = np.linspace(0, 1, len(bins))
    assert answer.entropy == pytest.approx(stats.entropy(bins), abs=1e-5)
    spread = np.sqrt(np.average((values - np.average(values, weights=bins)) ** 2, weights=bins))
    assert answer.standard_deviation == pytest.approx(spread, abs=1e-5)


def test_a_killed_run_goes_on_with_each_row_once(tiny_checkpoint, urn_world, tmp_path):
    """After kill -9 between batches and a torn last line, the same command scores the missing rows and no other."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    run.main(options(tiny_checkpoint, urn_world, whole))
    # The process stops itself where a scheduler might: after the second of three batches is on disk.
    script = (
        "import os, signal, sys\n"
        "from evaluation import predict, run\n"
        "as_rows, calls = predict.as_rows, []\n"
        "def third_is_fatal(*given):\n"
        "    calls.append(1)\n"
        "    if len(calls) == 3:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return as_rows(*given)\n"
        "predict.as_rows = third_is_fatal\n"
        "run.main(sys.argv[1:])\n"
    )
    environment = {**os.environ, "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    killed = launching.run("-c", script, *options(tiny_checkpoint, urn_world, out), environment=environment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    partial = out / "predictions.jsonl.partial"
    assert len(lines(partial)) == 8
    assert not (out / "predictions.jsonl").exists()
    kept = partial.read_text().splitlines()[:7]
    partial.write_bytes(partial.read_bytes()[:-20])

    run.main(options(tiny_checkpoint, urn_world, out))
    assert lines(out / "predictions.jsonl") == sorted(lines(out / "predictions.jsonl"), key=lambda row: row["id"])
    assert (out / "predictions.jsonl").read_text().splitlines()[:7] == kept, "what was kept is not scored again"
    resumed, direct = (lines(folder / "predictions.jsonl") for folder in (out, whole))
    assert [row["id"] for row in resumed] == [row["id"] for row in direct]
    pairs = zip(resumed, direct, strict=True)
    assert all(a["prediction"] == pytest.approx(b["prediction"], abs=1e-5) for a, b in pairs)


def test_complete_predictions_are_only_reported_anew(tiny_checkpoint, urn_world, tmp_path, monkeypatch):
    """A second run loads no model and gives the same report."""
    first = run.main(options(tiny_checkpoint, urn_world, tmp_path / "out"))
    monkeypatch.setattr(checkpoints, "CLUEPredictor", lambda checkpoint: pytest.fail("the model was loaded"))
    second = run.main(options(tiny_checkpoint, urn_world, tmp_path / "out"))
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


def test_predictions_of_something_else_are_refused(tiny_checkpoint, urn_world, tmp_path):
    """Another configuration or other rows in the same folder is an error that says what differs and what to do."""
    run.main([*options(tiny_checkpoint, urn_world, tmp_path / "out"), "--limit", "5"])
    with pytest.raises(ValueError, match="config was 'urn-text' and is 'urn-audio'.*another --output-dir"):
        run.main(options(tiny_checkpoint, urn_world, tmp_path / "out", "urn-audio"))
    with pytest.raises(ValueError, match="rows was"):
        run.main(options(tiny_checkpoint, urn_world, tmp_path / "out"))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"--model": "runs/none/checkpoint"}, "runs/none/checkpoint is no folder, and no name on the Hub"),
        ({"--dataset-config": "urn-smell"}, "urn-text"),
        ({"--split": "dev"}, "no split 'dev'"),
        ({"--output-dir": __file__}, "is a file: give another --output-dir"),
    ],
)
def test_wrong_options_are_told_before_the_first_prediction(tiny_checkpoint, urn_world, tmp_path, change, complaint):
    """A folder, config, split or place that can't be is named, and nothing is written."""
    given = {"--model": tiny_checkpoint, "--dataset": urn_world, "--dataset-config": "urn-text"}
    given |= {"--output-dir": tmp_path / "out"}
    with pytest.raises(ValueError, match=complaint):
        run.main([str(part) for pair in (given | change).items() for part in pair])
    assert not (tmp_path / "out").exists()


def test_new_weights_in_the_same_folder_are_noticed(tiny_checkpoint, tmp_path):
    """A checkpoint trained on is another model, though its folder's name stays."""
    before = weights_digest(tiny_checkpoint)
    model = AutoModel.from_pretrained(tiny_checkpoint, trust_remote_code=True)
    model.save_pretrained(tmp_path / "same")
    same = weights_digest(tmp_path / "same")
    (tmp_path / "same" / "trainer_state.json").write_text("{}")  # tells of the run, not of the model
    assert weights_digest(tmp_path / "same") == same
    torch.nn.init.zeros_(model.confidence_head.weight)
    model.save_pretrained(tmp_path / "same")
    assert weights_digest(tmp_path / "same") != same
    assert weights_digest(tiny_checkpoint) == before
    with pytest.raises(ValueError, match="is no checkpoint"):
        weights_digest(tmp_path)


def test_a_prediction_that_is_no_number_names_its_rows(tiny_checkpoint, urn_world):
    """Broken weights stop the run before anything is written for the rows they spoil."""
    predictor = CLUEPredictor(str(tiny_checkpoint))
    torch.nn.init.constant_(predictor.model.confidence_head.weight, float("nan"))
    rows = load_rows(str(urn_world), "urn-text", "test")
    with pytest.raises(ValueError, match="not a number for rows urn-text-test-000000-00"):
        next(predict.score_batches(predictor, rows, [[0, 1]], ["one"] * len(rows)))


def test_an_unreadable_clip_names_its_row(tiny_checkpoint, urn_world, tmp_path):
    """The error of the processor is told with the row that it came from."""
    rows = load_rows(str(urn_world), "urn-audio", "test")
    (tmp_path / "broken.flac").write_bytes(b"no sound")
    row = {**rows[0], "audio": {"bytes": None, "path": str(tmp_path / "broken.flac")}}
    with pytest.raises(ValueError, match="rows urn-audio-test-000000-00 could not be scored: .*broken.flac"):
        next(predict.score_batches(CLUEPredictor(str(tiny_checkpoint)), [row], [[0]], ["one"]))
