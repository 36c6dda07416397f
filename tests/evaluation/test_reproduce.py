"""From a release of the authors to one page: every stage, on a small release and a tiny model."""

import json

import pytest

from datasets_scripts.build import main as build
from evaluation import reproduce
from evaluation.paper.__main__ import main as make_table
from evaluation.run import main as evaluate
from tests.datasets_scripts.sources.test_published import write_clips, write_release


BINARY = {
    "evaluation": [{"claim": "A dog barks.", "path": "clotho/evaluation/dog.wav", "answer": "<answer>0.7</answer>"}]
}


def run_here(module: str, *options: object) -> None:
    """Runs a command in this process, which takes a tenth of the time."""
    commands = {"datasets_scripts.build": build, "evaluation.run": evaluate, "evaluation.paper": make_table}
    print(f"$ {module}")
    commands[module]([str(option) for option in options])


def test_every_number_stands_beside_the_papers(tiny_checkpoint, tmp_path, capfd, monkeypatch):
    """What has clips is built, evaluated and put into the paper's tables; given again, nothing is computed anew."""
    monkeypatch.setattr(reproduce, "run", run_here)
    raw, out = write_release(tmp_path / "UMUI-data"), tmp_path / "out"
    write_clips(raw)
    (raw / "UMUI-binary/clotho").mkdir(parents=True)
    (raw / "UMUI-binary/clotho/CLUE-D.json").write_text(json.dumps(BINARY))
    (raw / "audio_entailment/clotho").rename(raw / "clotho")
    options = ["--raw", str(raw), "--output-dir", str(out), "--resamples", "20"]
    (raw / "wikivideo_/data/combined_videos").rename(raw / "moved")
    reproduce.main([*options, "--model", str(tiny_checkpoint)])
    printed = capfd.readouterr().out
    assert "[build] wikivideo-audiovisual is left out: the clips of wikivideo.tar.gz (17 GB)" in printed
    text = (out / "paper.md").read_text()
    assert "Not built, for want of clips: wikivideo-audiovisual." in text
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    found = {tuple(row[:2]): row[2:] for row in rows if row[0].startswith("CLUE-D")}
    ours = json.loads((out / "evaluation/CLUE-D/unli/report.json").read_text())["measures"]["mse"]["value"]
    shown, paper, difference = found["CLUE-D", "UNLI"][:3]
    assert float(shown.split()[0]) == pytest.approx(ours, rel=0.01) and float(paper) > 0
    assert float(difference.strip("*")) == pytest.approx(ours - float(paper), rel=0.05)
    assert found["CLUE-D", "WV-AV"][0] == "-" and float(found["CLUE-D", "WV-AV"][1]) > 0
    assert "CLUE-D (published)" in text and "## Tables for which the release holds nothing" in text

    before = {path: path.stat().st_mtime_ns for path in out.rglob("predictions.jsonl")}
    assert len(before) == 5
    reproduce.main([*options, "--model", str(tiny_checkpoint)])
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("predictions.jsonl")}
    assert "datasets_scripts.build" not in capfd.readouterr().out


@pytest.mark.processes
def test_a_stage_that_fails_ends_it(tmp_path, capfd):
    """With its exit status, and the command that failed."""
    with pytest.raises(SystemExit, match="evaluation.paper failed with exit status 1: mend it"):
        reproduce.run("evaluation.paper", "table3", "--predictions", f"a={tmp_path / 'my folder'}")
    printed = capfd.readouterr()
    assert "$ python -m evaluation.paper table3 --predictions 'a=" in printed.out and "no folder" in printed.err
