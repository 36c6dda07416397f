"""Premises that are combinations of parts, evaluated: asked as the pipeline is asked, told apart by all of them."""

import pytest
from transformers import pipeline

from datasets_scripts.load import load_split
from evaluation import run
from evaluation.data import about_other_premises, load_rows, premise_keys
from evaluation.figures.items import read_items
from evaluation.prediction_files import read_run
from modeling_clue.modalities import parts_of_row
from tests.combinations import CONFIG, HYPOTHESES, KINDS, build_combinations
from tests.reading import lines


@pytest.fixture(scope="module")
def combined(tmp_path_factory):
    """The dataset's folder."""
    return build_combinations(tmp_path_factory.mktemp("combined"), premises=1)


def test_predictions_are_the_pipelines(combined, tiny_checkpoint, tmp_path):
    """Each row is predicted as by whoever gives the pipeline its parts."""
    options = ["--model", tiny_checkpoint, "--dataset", combined, "--dataset-config", CONFIG, "--batch-size", 2]
    report = run.main([*map(str, options), "--output-dir", str(tmp_path / "out")])
    assert (report["n"], report["premises"]) == (9, 3)
    predictions = {one["id"]: one["prediction"] for one in lines(tmp_path / "out/predictions.jsonl")}
    clue = pipeline("uncertain-inference", model=str(tiny_checkpoint), trust_remote_code=True)
    rows = load_split(str(combined), CONFIG, "test")
    for row in rows:
        (answer,) = clue({"parts": parts_of_row(row), "hypothesis": row["hypothesis"]})
        assert predictions[row["id"]] == pytest.approx(answer["probability"], abs=1e-5)
        assert answer["modality"] == row["modality"]
    (first,) = read_items(read_run(tmp_path / "out"), [rows[0]["id"]], tiny_checkpoint)
    assert first.premise.startswith("An urn holds 1 red balls.; audiovisual, scene-1")


def test_premises_are_told_apart_by_all_of_their_parts(combined):
    """Rows about the same parts have one key; another order, text or sense has another."""
    rows = load_rows(str(combined), CONFIG, "test")
    keys = premise_keys(rows)
    assert keys == [key for key in dict.fromkeys(keys) for _ in HYPOTHESES] and len(set(keys)) == len(KINDS)
    first = rows.select([0])
    silent = [{"modality": "text", "text": "An urn holds 1 red balls."}, {"modality": "video", "text": None}]
    for parts in (silent, first[0]["parts"][::-1], [{"modality": "text", "text": "Other."}, first[0]["parts"][1]]):
        changed = first.map(lambda row, parts=parts: {"parts": parts})
        assert premise_keys(changed)[0] not in keys


def test_a_clip_of_training_is_known_in_any_combination(combined):
    """A row is about a premise of others if it has any of their clips; a story that is told of many clips is none."""
    test, train = (load_rows(str(combined), CONFIG, split) for split in ("test", "train"))
    assert len(about_other_premises(test, train)) == len(test)
    assert len(about_other_premises(test, test.select([0]))) == 3  # sounds alone: video and scene are one clip
    alone = train.map(lambda row: {"parts": [], "part_clips": [], "video": row["part_clips"][-1], "premise": None})
    assert len(about_other_premises(train, alone.select([0]))) == 3
