"""Belief over time against the exact probability: its numbers by hand, and the command with the shipped checkpoint."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from common.files import read_journal
from evaluation.over_time import __main__ as over_time
from evaluation.over_time.curves import Curve
from evaluation.over_time.measures import analyse, reached_at
from evaluation.over_time.report import draw_errors
from modeling_clue.modalities import MODALITIES


CHECKPOINT = Path(__file__).parents[2] / "checkpoints" / "clue-urn-tiny"


def curve(premise, times, prediction, truth, set_="steady", modality="video"):
    """A curve of one hypothesis."""
    return Curve(premise, modality, set_, "It is red.", times, prediction, truth, [])


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A run of the command on few premises: its folder, its command line and its report."""
    out = tmp_path_factory.mktemp("over") / "out"
    command = ["--model", str(CHECKPOINT), "--output-dir", str(out), "--premises", "2"]
    return out, command, over_time.main(command)


def test_the_measures_are_those_computed_by_hand():
    """Errors by share and at the end, what has no truth counted and left out, over premises of two hypotheses."""
    curves = [
        curve("a", [1.0, 2.0, 5.0], [0.5, 0.6, 0.9], [None, 1.0, 0.5]),
        curve("a", [1.0, 2.0, 5.0], [0.2, 0.4, 0.1], [0.0, 0.0, 0.1]),
        curve("b", [2.0, 4.0], [0.3, 0.3], [0.3, 0.7]),
        curve("b", [9.0], [0.3], [None], modality="text"),
    ]
    video, text = analyse(curves)
    assert (video["modality"], video["premises"], video["curves"]) == ("video", 2, 3)
    assert (video["answers"], video["left_out"], video["all"]["n"]) == (8, 1, 7)
    errors = [0.4, 0.4, 0.2, 0.4, 0.0, 0.0, 0.4]
    assert video["all"]["mse"]["value"] == pytest.approx(np.mean(np.square(errors)))
    assert video["all"]["mae"]["value"] == pytest.approx(np.mean(errors))
    assert video["all"]["constant_mse"] == pytest.approx(np.var([1.0, 0.5, 0.0, 0.0, 0.1, 0.3, 0.7]))
    assert video["end"]["n"] == 3 and video["end"]["mse"]["value"] == pytest.approx((0.16 + 0 + 0.16) / 3)
    # At the end predictions of 0.1, 0.3 and 0.9 are in bins of their own.
    assert video["end"]["ece"]["value"] == pytest.approx((0 + 0.4 + 0.4) / 3)
    bins = video["bins"]
    assert [part["n"] for part in bins] == [1, 2, 1, 0, 3], "0.2, 0.4 and 0.4, 0.5, and three ends"
    assert bins[1]["mse"]["value"] == pytest.approx(0.16) and bins[1]["share"] == pytest.approx(0.4)
    assert bins[3]["mse"]["value"] is None
    low, high = video["all"]["mse"]["interval"]
    assert low <= video["all"]["mse"]["value"] <= high
    assert (text["all"]["n"], text["left_out"], text["reached"]["n"]) == (0, 1, 0)


def test_the_time_at_which_an_answer_is_reached():
    """The first from which on it stays near the last: what comes near and leaves again doesn't count."""
    shares = np.array([0.25, 0.5, 0.75, 1.0])
    assert reached_at(np.array([0.5, 0.9, 0.4, 0.5]), shares) == 0.75
    assert reached_at(np.array([0.5, 0.5, 0.6, 0.5]), shares) == 0.25, "0.1 is near enough"
    assert reached_at(np.array([0.0, 0.1, 0.2, 0.5]), shares) == 1
    curves = [
        curve("a", [1.0, 2.0, 3.0, 4.0], [0.5, 0.9, 0.4, 0.5], [None, 0.5, 0.5, 0.5]),
        curve("b", [1.0, 2.0], [0.0, 1.0], [1.0, 1.0]),
        curve("c", [1.0], [0.0], [None]),
    ]
    (of,) = analyse(curves)
    reached = of["reached"]
    assert reached["n"] == 2
    assert reached["model"]["value"] == pytest.approx((0.75 + 1) / 2)
    assert reached["truth"]["value"] == pytest.approx((0.5 + 0.5) / 2)
    assert reached["later"]["value"] == pytest.approx(0.375)
    low, high = reached["later"]["interval"]
    assert low <= 0.375 <= high


def test_the_figure_has_a_line_a_set():
    """By modality, at the mean share of each bin that has answers, and the words say the same."""
    curves = [
        curve(f"{modality}{set_}{k}", [1.0, 2.0], [0.3, 0.4], [0.3, 0.6], set_, modality)
        for modality, set_ in (("text", "steady"), ("text", "corrected"), ("video", "steady"))
        for k in range(2)
    ]
    figure, words = draw_errors(analyse(curves))
    text, video = figure.axes
    assert (len(text.lines), len(video.lines)) == (2, 1)
    np.testing.assert_allclose(video.lines[0].get_xydata(), [[0.5, 0], [1, 0.04]], atol=1e-12)
    assert "text, corrected: 0.0000 at 50%, 0.0400 at 100%" in words


def test_the_report_is_of_the_curves_that_were_kept(evaluated):
    """Every modality has several times; the measures follow from the file; the last answer is the shipped one's."""
    out, command, report = evaluated
    curves = [Curve(**row) for row in read_journal(out / "curves.jsonl")]
    assert json.loads((out / "report.json").read_text()) == report
    assert report["sets"] == analyse(curves)
    assert report["command"] == ["python", "-m", "evaluation.over_time", *command]
    assert {len(curve.times) for curve in curves if curve.modality == "video"} == {10}
    assert {tuple(curve.times) for curve in curves if curve.modality == "audio"} == {(2, 4, 6)}
    for modality in MODALITIES:
        assert min(len(curve.times) for curve in curves if curve.modality == modality) >= 3
    assert not report["premises_with_notes"]
    for of in report["sets"]:
        assert (of["premises"], of["curves"]) == (2, 12)
        assert (of["left_out"] > 0) or of["set"] != "corrected"
        assert of["modality"] != "video" or of["all"]["mse"]["value"] < 0.02
    page = (out / "report.md").read_text()
    assert "| text corrected" in page and (out / "over_time.png").stat().st_size > 5000


def test_the_command_goes_on_where_it_ended(evaluated, monkeypatch, capsys):
    """What was kept is not asked again, a torn line is; other settings are refused."""
    out, command, report = evaluated
    whole = (out / "curves.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    (out / "curves.jsonl").write_bytes(b"".join(lines[:-6]) + lines[-6][:40])
    again = over_time.main(command)
    assert "17 of 18 premises already" in capsys.readouterr().out
    assert (out / "curves.jsonl").read_bytes() == whole and again["sets"] == report["sets"]
    monkeypatch.setattr(over_time, "load_belief_pipeline", pytest.fail)
    assert over_time.main(command)["sets"] == report["sets"], "nothing is left to load a model for"
    with pytest.raises(ValueError, match="with other settings"):
        over_time.main([*command, "--seed", "1"])


@pytest.mark.filterwarnings("ignore:.*found in sys.modules after import")
def test_what_cannot_be_is_told(tiny_checkpoint, tmp_path, monkeypatch, capsys):
    """A file in the place of the folder, too few events or premises, a checkpoint that is none."""
    (tmp_path / "file").write_text("")

    def ends(*given):
        monkeypatch.setattr("sys.argv", ["over_time", *map(str, given)])
        with pytest.raises(SystemExit) as end:
            runpy.run_module("evaluation.over_time", run_name="__main__", alter_sys=True)
        return str(end.value) + capsys.readouterr().err

    model = ["--model", tiny_checkpoint]
    assert "is a file: give another --output-dir" in ends(*model, "--output-dir", tmp_path / "file")
    assert "--events 3 are too few" in ends(*model, "--events", 3)
    assert "nowhere at all is no folder" in ends("--model", "nowhere at all")
    assert "--premises: must be at least 1" in ends(*model, "--premises", 0)
    assert not (tmp_path / "out").exists()
