"""The register of predictors, and what is asked of one."""

import json

import pytest

from evaluation import run
from evaluation.data import load_rows
from evaluation.predictors import checkpoints, choose
from evaluation.predictors.choose import ChosenPredictor, known_predictors, register_predictor
from evaluation.predictors.prediction import PointPrediction, Predictor


def test_a_predictor_is_one_file_and_one_function(urn_world, tmp_path, monkeypatch):
    """What has registered itself is an option of the command, answers rows of all premises, and is in the report."""
    monkeypatch.setattr(choose, "_KINDS", dict(known_predictors()))

    class Length(Predictor):
        """The longer, the likelier."""

        def answer(self, rows):
            return [PointPrediction(len(row["hypothesis"]) / 100) for row in rows]

    @register_predictor("length", model=False)
    def length(args, dataset):
        return ChosenPredictor("length", {"predictor": "length", "model": None}, Length)

    given = f"--predictor length --dataset {urn_world} --dataset-config urn-audio --output-dir {tmp_path}/out".split()
    report = run.main(given)
    predictions = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert [row["prediction"] for row in predictions] == [len(row["hypothesis"]) / 100 for row in predictions]
    assert report["settings"]["predictor"] == "length"
    with pytest.raises(ValueError, match="--predictor length has no --model"):
        run.main([*given, "--model", "m"])


def test_rows_of_a_premise_go_together(urn_world):
    """Rows one after the other about the same text or clip are one group."""
    for modality in ("text", "audiovisual"):
        rows = list(load_rows(str(urn_world), f"urn-{modality}", "test"))
        groups = checkpoints.by_premise(rows)
        assert list(map(len, groups)) == [4] * 3, "4 hypotheses about each of 3 premises"
        assert [place for group in groups for place in group] == list(range(len(rows)))
