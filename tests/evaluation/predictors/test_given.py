"""Predictors that need no model to run: a teacher's answers from a file, and the baselines."""

import json

import numpy as np
import pytest

from chat.messages import question
from evaluation import run
from evaluation.data import load_rows
from evaluation.predictors.teacher import NOT_ASKED


def evaluate(dataset, out, *options) -> tuple[dict, list[dict]]:
    """The report of an evaluation of texts and its predictions."""
    given = ("--dataset", dataset, "--dataset-config", "urn-text", "--output-dir", out, *options)
    report = run.main([str(part) for part in given])
    return report, [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]


def test_a_teacher_is_the_mean_of_its_answers(urn_world, tmp_path):
    """Over those with a number; a row without one, and one that it was not asked about, have a reason and are in no
    measure; answers to other rows are left alone. Rows are known by what they ask, not by what they are called."""
    rows = load_rows(str(urn_world), "urn-text", "test")
    ids, asked = rows["id"][:], {row["id"]: question(row) for row in rows}
    given = {name: [(0.2, None), (None, "a range"), (0.6, None)] for name in ids}
    given[ids[1]] = [(None, "a range"), (None, "no number"), (None, "no number")]
    del given[ids[2]]
    with open(tmp_path / "answers.jsonl", "w") as file:
        for split in ("test", "train"):
            for name, answers in given.items():
                told = [{"text": "t", "probability": value, "reason": reason} for value, reason in answers]
                pair = {"id": ids[0], "config": "urn-text", "split": "test", "question": asked[name]}
                if split == "train":
                    told = [{"text": "1", "probability": 1.0}]
                    pair |= {"id": name, "question": f"before {name} was edited"}
                file.write(json.dumps({**pair, "answers": told}) + "\n")
    options = ("--predictor", "teacher", "--answers", tmp_path / "answers.jsonl")
    report, predictions = evaluate(urn_world, tmp_path / "out", *options)
    assert [row["id"] for row in predictions] == ids
    assert predictions[0]["prediction"] == pytest.approx(0.4) and predictions[0]["answer"] == "0.2, a range, 0.6"
    assert (predictions[1]["prediction"], predictions[1]["reason"]) == (None, "no number")
    assert (predictions[2]["prediction"], predictions[2]["reason"]) == (None, NOT_ASKED)
    assert report["without_number"] == {"n": 2, "reasons": {"no number": 1, NOT_ASKED: 1}}
    errors = [(0.4 - row["target"]) ** 2 for row in predictions if row["prediction"] is not None]
    assert report["measures"]["mse"]["value"] == pytest.approx(np.mean(errors)) and len(errors) == 10
    assert "Predictor teacher" in (tmp_path / "out" / "report.md").read_text().splitlines()[0]

    (tmp_path / "answers.jsonl").write_text((tmp_path / "answers.jsonl").read_text().replace("0.6", "0.7"))
    with pytest.raises(ValueError, match="answers_digest was"):
        evaluate(urn_world, tmp_path / "out", *options)
    with pytest.raises(ValueError, match="holds none to urn-text validation"):
        evaluate(urn_world, tmp_path / "other", *options, "--split", "validation")


@pytest.mark.parametrize("kind", ["constant_mean", "hypothesis_only"])
def test_a_baseline_is_measured_as_every_predictor(urn_world, tmp_path, kind):
    """Its own evaluation has the numbers that stand beside any other's; whichever the premise, the same hypothesis has
    the same answer."""
    report, predictions = evaluate(urn_world, tmp_path / "out", "--predictor", kind)
    assert report["measures"]["mse"] == report[kind]["measures"]["mse"]
    answers = {}
    for row in predictions:
        assert answers.setdefault(row["hypothesis"], row["prediction"]) == row["prediction"]
    if kind == "constant_mean":
        mean = np.mean(load_rows(str(urn_world), "urn-text", "train")["probability"][:])
        assert list(answers.values()) == pytest.approx([mean] * len(answers))
    assert "without_number" not in report and "target_floor" not in report
    assert report["settings"]["model"] is None
    assert f"# Predictor {kind} on urn-text, test" in (tmp_path / "out" / "report.md").read_text()
