"""The command with the shipped checkpoint: all kinds, before and after, resumed, and what it refuses."""

import json
from pathlib import Path

import pytest
from transformers import pipeline

from datasets_scripts.build import main as build
from datasets_scripts.sources.urn_unknown import kinds_of
from evaluation import posthoc
from evaluation.unknown import __main__ as unknown
from evaluation.unknown import answers


CHECKPOINT = Path(__file__).parents[3] / "checkpoints" / "clue-urn-tiny"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """The shipped checkpoint with novelty, fitted to as many texts as telling zero counts takes, and to few sounds."""
    folder = tmp_path_factory.mktemp("unknown")
    sizes = "--modalities text audio --train 1 --text-train 1000 --validation 80 --test 1 --hypotheses-per-premise 3"
    build(["urn", "--output-dir", str(folder / "umui"), *sizes.split(), "--workers", "1"])
    fit = [
        "--dataset",
        str(folder / "umui"),
        "--method",
        "novelty",
        "conformal",
        "--by-modality",
        "--batch-size",
        "64",
    ]
    texts = ["--dataset-config", "urn-text", "--split", "train", "--output-dir", str(folder / "clue")]
    posthoc.main(["--model", str(CHECKPOINT), *fit, *texts])
    posthoc.main(["--model", str(folder / "clue"), *fit, "--dataset-config", "urn-audio"])
    return folder / "clue"


def test_outside_it_gets_less_sure_and_inside_stays(fitted, tmp_path, capsys, monkeypatch):
    """Of other languages, noise and hypotheses about something else no answer is sure any longer, where most were;
    familiar premises are answered as before. A run that was cut short asks about the rest alone, and the table that is
    printed is the report's."""
    command = ["--model", str(fitted), "--output-dir", str(tmp_path / "out"), "--modalities", "text", "audio"]
    command += ["--premises", "4", "--seed", "3"]
    report = unknown.main(command)
    said = capsys.readouterr().out
    assert (tmp_path / "out" / "report.md").read_text().split("\n", 2)[2].strip() in said
    kinds = {(row["modality"], row["kind"]): row for row in report["kinds"]}
    assert list(kinds) == [(modality, kind) for modality in ("text", "audio") for kind in kinds_of(modality)]
    for modality in ("text", "audio"):
        familiar = kinds[modality, "familiar"]
        assert familiar["raw"]["mse"] < 1e-3 and familiar["calibrated"]["mse"] < 1e-3
        assert familiar["raw"]["sure"]["value"] == familiar["calibrated"]["sure"]["value"] == 1
        for kind in ("language", "noise", "hypothesis"):
            raw, calibrated = kinds[modality, kind]["raw"], kinds[modality, kind]["calibrated"]
            assert raw["sure"]["value"] > 0.4
            assert calibrated["sure"]["value"] == calibrated["decided"]["value"] == 0
            assert calibrated["novel"]["value"] == calibrated["auroc"] == 1
            assert calibrated["conformal_width"] > 0.95
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written == json.loads(json.dumps(report))

    kept = (tmp_path / "out" / "answers.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "out" / "answers.jsonl").write_text("".join(kept[:-5]))
    asked = []
    real = answers.ask
    monkeypatch.setattr(answers, "ask", lambda *given: asked.append(given[1].name) or real(*given))
    again = unknown.main(command)
    assert len(asked) == 5 and again["kinds"] == report["kinds"]
    with pytest.raises(ValueError, match="seed|suite"):
        unknown.main([*command[:-1], "4"])


def test_the_example_of_zero_counts_is_no_longer_sure(fitted):
    """`0 red, 3 blue and 1 green` is answered 0.57 for red, with an interval of 0.48 to 0.65; with novelty it says
    that it does not know."""
    clue = pipeline("uncertain-inference", model=str(fitted), trust_remote_code=True, device="cpu")
    question = {"text": "An urn holds 0 red, 3 blue and 1 green balls.", "hypotheses": ["It is red."]}
    ((before,), (after,)) = clue(dict(question), calibrated=False), clue(dict(question))
    assert before["interval"][0] > 0.4 and before["interval"][1] < 0.7
    assert after["novelty"] > 0.5 and after["interval"][1] - after["interval"][0] > 0.5
    assert after["standard_deviation"] > 2 * before["standard_deviation"]
