"""Predictions that others wrote: joined to the rows they are about, counted where not, measured as all others."""

import json

import pytest

from common.errors import InputError
from datasets_scripts.build import main as build
from evaluation import run
from evaluation.paper.__main__ import main as make_table
from tests.datasets_scripts.sources.test_published import write_clips, write_release


BINARY = {
    "evaluation": [
        {
            "claim": "A dog  barks.",
            "path": "clotho/evaluation/dog.wav",
            "answer": "So: <answer>0.7</answer>",
            "label": 1,
        },
        {"claim": "A cat is near.", "path": "clotho/evaluation/dog.wav", "answer": "<answer>0.1</answer>", "label": 0},
    ]
}
SCORED = [
    {
        "prob": 0.8,
        "probability": 0.9,
        "label": True,
        "path": "/data/wikivideo_/combined_videos/v0.mp4",
        "claim": "A roof burns",
    },
    {"prob": 0.3, "label": True, "path": "v1", "claim": "A roof burns"},
]
TEXTS = [{"prob": 0.25, "probability": 0.6, "sentence": "A man in validation  sleeps.", "claim": "He is tired."}]


@pytest.fixture(scope="module")
def umui(tmp_path_factory):
    """A small release of the authors, built."""
    folder = tmp_path_factory.mktemp("published")
    write_clips(write_release(folder / "UMUI-data"))
    build(f"published --raw {folder / 'UMUI-data'} --output-dir {folder / 'umui'} --workers 1".split())
    return folder / "umui"


def evaluate(umui, config, file, out, *options):
    """The report of an evaluation of a file of predictions, and its predictions."""
    given = ("--dataset", umui, "--dataset-config", config, "--predictor", "recorded", "--answers", file)
    report = run.main([str(part) for part in (*given, "--output-dir", out, *options)])
    return report, [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]


def test_every_form_joins_its_rows(umui, tmp_path, capsys):
    """The authors' JSON and JSON lines, of sounds, videos and texts; what joins and what doesn't is printed, and a
    table of the paper is made of them."""
    (tmp_path / "CLUE-D.json").write_text(json.dumps(BINARY))
    report, rows = evaluate(umui, "clotho-teacher", tmp_path / "CLUE-D.json", tmp_path / "clotho")
    assert "1 of 2 predictions joined to clotho-teacher test, 0 of its 1 pair have none" in capsys.readouterr().out
    assert [row["prediction"] for row in rows] == [0.7]
    assert report["measures"]["mse"]["value"] == pytest.approx(0.15**2)

    (tmp_path / "scored.jsonl").write_text("".join(json.dumps(record) + "\n" for record in SCORED))
    for modality in ("video", "audio", "audiovisual"):
        config = f"wikivideo-{modality}-listed"
        report, rows = evaluate(umui, config, tmp_path / "scored.jsonl", tmp_path / modality)
        assert [row["prediction"] for row in rows] == [0.8, 0.3] and report["data"]["sources"] == ["wikivideo"]
    (tmp_path / "first.jsonl").write_text(json.dumps(SCORED[0]))
    report, rows = evaluate(umui, "wikivideo-video-listed", tmp_path / "first.jsonl", tmp_path / "first")
    assert [row["prediction"] for row in rows] == [0.8, None] and report["without_number"]["n"] == 1

    (tmp_path / "texts.jsonl").write_text(json.dumps(TEXTS[0]))
    report, rows = evaluate(umui, "unli", tmp_path / "texts.jsonl", tmp_path / "unli", "--split", "validation")
    assert [row["prediction"] for row in rows] == [0.25]
    make_table(["table3", "--predictions", f"CLUE-D={tmp_path / 'video'}", "--output-dir", str(tmp_path / "tables")])
    lines = (tmp_path / "tables/table3.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:4]] for line in lines if line.startswith("|")]
    assert ["CLUE-D", "WV-V", "2"] in cells


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"prob": 0.5, "path": "v0.mp4"}', "line 1: needs a claim, and the path of a clip or a sentence"),
        ('{"prob": 0.5, "claim": "A roof burns"}', "line 1: needs a claim, and the path of a clip or a sentence"),
        ('{"prob": 7, "claim": "A roof burns", "path": "v0.mp4"}', "line 1: needs a prob in .0, 1., .* got 7"),
        ('{"probability": 0.5, "claim": "A roof burns", "path": "v0.mp4"}', "needs a prob in .0, 1., .* got None"),
        ("[]", "line 1: "),
        (
            '{"prob": 0.5, "claim": "A roof burns", "path": "other.mp4"}',
            "none of 1 prediction is about wikivideo-video",
        ),
        (
            f"{json.dumps(SCORED[0])}\n{json.dumps(SCORED[0] | {'prob': 0.1})}",
            "line 1 and .* line 2 predict 'A roof burns'",
        ),
    ],
)
def test_what_is_no_prediction_is_named(umui, tmp_path, text, message):
    """By its place in the file."""
    (tmp_path / "scored.jsonl").write_text(text)
    with pytest.raises(InputError, match=message):
        evaluate(umui, "wikivideo-video-listed", tmp_path / "scored.jsonl", tmp_path / "out")
