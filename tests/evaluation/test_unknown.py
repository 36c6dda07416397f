"""What a checkpoint was not made for: the spread's AUROC and the shares, against counting by hand; and the command."""

import json
from pathlib import Path

import pytest

from evaluation.unknown import analyse, main


CHECKPOINT = Path(__file__).parents[2] / "checkpoints" / "clue-urn-tiny"


def row(premise: str, kind: str, spread: float, width: float, probability: float, truth: float | None) -> dict:
    """An answer as the command keeps it."""
    return {
        "premise": premise,
        "modality": "text",
        "kind": kind,
        "truth": truth,
        "probability": probability,
        "standard_deviation": spread,
        "interval": [0.0, width],
    }


def test_measures_are_those_counted_by_hand():
    """The AUROC is the share of pairs in which what is outside has the wider spread, a tie counting as half."""
    familiar = [row("a", "familiar", spread, 0.1, 0.5, 0.25) for spread in (0.1, 0.3)]
    noise = [
        row(name, "noise", spread, width, 0.5, None) for name, spread, width in (("b", 0.3, 0.1), ("c", 0.2, 0.9))
    ]
    known, unknown = analyse(familiar + noise)
    assert known["auroc"] is None and known["error"]["value"] == 0.25 and known["narrow"]["value"] == 1
    # 0.3 against 0.1 and 0.3: 1 and a half; 0.2 against 0.1 and 0.3: 1 and 0.
    assert unknown["auroc"] == pytest.approx(2.5 / 4) and unknown["error"] is None
    assert unknown["narrow"]["value"] == 0.5 and unknown["n"] == 2


def test_the_command_goes_on_and_reports_every_kind(tmp_path):
    """A second run asks nothing anew, and what a killed run has kept is not asked again."""
    command = ["--model", str(CHECKPOINT), "--output-dir", str(tmp_path), "--premises", "2"]
    command += ["--modalities", "text", "audio", "--hypotheses-per-premise", "3"]
    report = main(command)
    assert [kind["n"] for kind in report["kinds"]] == [6] * 16
    assert {kind["kind"] for kind in report["kinds"]} >= {"silence", "zero", "language", "hypothesis"}
    answers = tmp_path / "answers.jsonl"
    lines = answers.read_text().splitlines(keepends=True)
    answers.write_text("".join(lines[:48]))
    assert main(command)["kinds"] == report["kinds"]
    assert sorted(answers.read_text().splitlines()) == sorted(line.strip() for line in lines)
    assert json.loads((tmp_path / "report.json").read_text())["kinds"] == report["kinds"]
