"""The order, the bookkeeping and the report of the demo; its stages are tested where they live."""

import json
import shlex

import pytest

from evaluation import demo
from evaluation.metrics.uncertain_inference.measures import measure


def test_a_finished_stage_is_skipped_and_a_changed_one_is_not(tmp_path, capfd):
    """A stage runs once for the same command; another command under its name runs again."""
    out = tmp_path / "demo"
    demo.clear(out, resume=False)
    marker = tmp_path / "runs"
    once = f"python -c \"open('{marker}', 'a').write('x')\""
    demo.run_stage("build", once, out)
    demo.run_stage("build", once, out)
    assert marker.read_text() == "x"
    demo.run_stage("build", once.replace("'x'", "'y'"), out)
    assert marker.read_text() == "xy"
    assert json.loads((out / "stages.json").read_text())["build"]["seconds"] >= 0


def test_stages_after_one_that_ran_again_run_too(tmp_path):
    """Resumed with another recipe, the demo evaluates the new model: nothing is left of the old one's evaluation."""
    demo.clear(tmp_path, resume=True)
    for name in ("build", "train", "evaluate urn-text", "evaluate urn-audio"):
        demo.run_stage(name, f'python -c "{name!r}"', tmp_path)
    (tmp_path / "evaluation/urn-text").mkdir(parents=True)
    demo.run_stage("train", "python -c 2", tmp_path)
    assert list(json.loads((tmp_path / "stages.json").read_text())) == ["build", "train"]
    assert not (tmp_path / "evaluation").exists()


def test_folders_may_have_spaces(tmp_path):
    """Every command reads as one word what is one path."""
    for command in demo.stages(tmp_path / "my runs", "my recipe.yaml").values():
        assert not {"my", "runs", "recipe.yaml"} & set(shlex.split(command))
        assert f"{tmp_path}/my runs/" in " ".join(shlex.split(command))


def test_a_failed_stage_stops_the_demo(tmp_path):
    """The exit status is told, and the stage is not noted as finished."""
    demo.clear(tmp_path / "demo", resume=False)
    with pytest.raises(SystemExit, match="'train' failed with exit status 3"):
        demo.run_stage("train", 'python -c "raise SystemExit(3)"', tmp_path / "demo")
    assert json.loads((tmp_path / "demo/stages.json").read_text()) == {}


@pytest.mark.parametrize(("busy", "spins"), [(0.0, 10_000), (20.0, 10_000), (50.0, 0)])
def test_threads_spin_only_on_an_idle_machine(monkeypatch, busy, spins):
    """Somebody else's process on one of two cores, 50 %, keeps them from it."""
    monkeypatch.setattr(demo.psutil, "cpu_percent", lambda interval: busy)
    assert demo.waiting_threads()["GOMP_SPINCOUNT"] == str(spins)


def test_only_an_earlier_demo_is_cleared(tmp_path):
    """A folder with anything else in it is left as it is; resuming keeps what an earlier demo wrote."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="no earlier demo"):
        demo.clear(tmp_path / "mine", resume=False)
    assert (tmp_path / "mine/thesis.txt").exists()
    demo.clear(tmp_path / "demo", resume=False)
    (tmp_path / "demo/kept").touch()
    demo.clear(tmp_path / "demo", resume=True)
    assert (tmp_path / "demo/kept").exists()
    demo.clear(tmp_path / "demo", resume=False)
    assert not (tmp_path / "demo/kept").exists()


def test_the_report_has_the_numbers_of_every_config(tmp_path):
    """`report.json` holds what the single reports say, and the seconds of every stage."""
    demo.clear(tmp_path, resume=True)
    demo.run_stage("build", 'python -c ""', tmp_path)
    perfect, worse = measure([0.2, 0.8], [0.2, 0.8]), measure([0.4, 0.6], [0.2, 0.8])
    report = {
        "n": 2,
        "measures": worse,
        "constant_mean": {"measures": worse},
        "hypothesis_only": {"measures": worse},
        "target_floor": {"measures": perfect},
    }
    demo.write_report({"urn-text": report}, tmp_path, answering=1.0)
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["urn-text"]["mse"] == pytest.approx(0.04)
    assert written["urn-text"].keys() >= {"mse", "mae", "ece", "constant_mean_mse", "hypothesis_only_mse", "n"}
    assert written["urn-text"]["floor_mse"] == 0
    assert written["seconds"].keys() == {"build", "answer"}


@pytest.mark.parametrize(
    ("row", "question"),
    [
        ({"modality": "text", "premise": "An urn."}, {"text": "An urn."}),
        ({"modality": "audio", "audio": {"path": "a.flac"}}, {"audio": "a.flac"}),
        ({"modality": "video", "video": {"path": "a.mp4"}}, {"video": "a.mp4", "modality": "video"}),
        ({"modality": "audiovisual", "video": {"path": "a.mp4"}}, {"video": "a.mp4", "modality": "audiovisual"}),
    ],
)
def test_questions_are_asked_as_a_person_would(row, question):
    """The pipeline gets a text or a path, and for a video whether to listen."""
    assert demo.premise(row) == question
