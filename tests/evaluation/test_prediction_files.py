"""An evaluation's folder is read back whole, or refused with the file and what to do."""

import json

import pytest

from evaluation import run
from evaluation.prediction_files import read_run


@pytest.fixture
def folder(tmp_path):
    """A finished evaluation of two rows, one of them without a number."""
    rows = [
        {"id": name, "premise": "p", "hypothesis": "A\u2028b.", "prediction": prediction, "target": 0.5}
        for name, prediction in (("a", 0.25), ("b", None))
    ]
    settings = {"model": "models/tiny", "config": "urn-text"}
    (tmp_path / "predictions.jsonl").write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    (tmp_path / "report.json").write_text(json.dumps({"n": 2, "settings": settings}))
    return tmp_path


def test_what_an_evaluation_writes_is_read(tiny_checkpoint, urn_world, tmp_path):
    """Predictions, settings and report are those of the command."""
    out = tmp_path / "out"
    report = run.main(
        [
            *("--model", str(tiny_checkpoint), "--dataset", str(urn_world)),
            *("--dataset-config", "urn-text", "--output-dir", str(out)),
        ]
    )
    read = read_run(out)
    assert read.report == report
    assert read.settings == report["settings"]
    assert read.predictions == [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert read.measurable == read.predictions
    assert (read.name, read_run(out, "mine").name) == (f"{tiny_checkpoint.name} urn-text", "mine")


def test_answers_without_a_number_are_kept_but_not_measurable(folder):
    """They are among the predictions and not among the measurable ones."""
    read = read_run(folder)
    assert [row["id"] for row in read.predictions] == ["a", "b"]
    assert [row["id"] for row in read.measurable] == ["a"]


def test_every_fault_is_told(folder):
    """What is missing, unfinished, torn or of another evaluation is an error that names the file."""

    def refused(match):
        with pytest.raises(ValueError, match=match):
            read_run(folder)

    file = folder / "predictions.jsonl"
    text = file.read_text(encoding="utf-8")
    first = text[: text.index("\n") + 1]
    with pytest.raises(ValueError, match="no folder"):
        read_run(folder / "other")
    file.write_text(text[:-5], encoding="utf-8")
    refused("line 2 is no JSON.*has no end")
    file.write_text(first + "{\n", encoding="utf-8")
    refused("no JSON")
    file.write_text("{}\n")
    refused("line 1 has no id, premise")
    file.write_text("")
    refused("no rows")
    file.write_text(text + text, encoding="utf-8")
    refused("twice: a, b")
    file.write_text(first, encoding="utf-8")
    refused("tells of 2 rows, predictions.jsonl has 1")
    file.write_text(text, encoding="utf-8")
    (folder / "settings.json").write_text("{}")
    refused("other settings")
    (folder / "report.json").write_text("[]")
    refused("a JSON object")
    (folder / "report.json").unlink()
    refused("no report.json")
    (folder / "predictions.jsonl.partial").write_text("")
    refused("unfinished")
