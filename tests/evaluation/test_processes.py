"""An evaluation over two processes: each row once, in order, after a kill too, and whoever goes on with it."""

import json
import shutil
import signal
from pathlib import Path

import pytest
from accelerate import PartialState

from common.errors import InputError
from common.files import locked
from evaluation import run, urn
from evaluation.prediction_files import read_run
from evaluation.unfinished import lock_output_dir
from tests.launching import launch
from tests.reading import lines


pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[2]
DDP = "train/accelerate_configs/ddp_cpu.yaml"
# The second process ends itself as a machine would that goes away, when its batch is on disk; the first stays behind.
KILLED = """
import os, signal
from evaluation import run

fsync = os.fsync

def fatal(handle):
    fsync(handle)
    if os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()

os.fsync = fatal
run.main()
"""


def run_on_two(home: Path, *command: object) -> tuple[list[int], str]:
    """Two processes of a command. They share a fresh cache, so that one of them has to go first."""
    log, cache = home / "log.txt", home / "cache"
    ended = launch(DDP, *map(str, command), log=log, HF_DATASETS_CACHE=str(cache))
    return ended, log.read_text()


def options(checkpoint: Path, dataset: Path, out: Path) -> list[str]:
    """An evaluation of audio with one premise a batch."""
    given = {"--model": checkpoint, "--dataset": dataset, "--dataset-config": "urn-audio", "--output-dir": out}
    given |= {"--batch-size": 1}
    return [str(part) for pair in given.items() for part in pair]


@pytest.fixture(scope="module")
def alone(tiny_checkpoint, urn_world, tmp_path_factory) -> Path:
    """The folder of one process's evaluation."""
    out = tmp_path_factory.mktemp("alone")
    run.main(options(tiny_checkpoint, urn_world, out))
    return out


def agree(one: Path, other: Path) -> None:
    """The same rows in the same order, answered alike to what other batches and threads may change."""
    for a, b in zip(read_run(one).predictions, read_run(other).predictions, strict=True):
        assert a.pop("prediction") == pytest.approx(b.pop("prediction"), abs=1e-5)
        assert (a["id"], a["premise"], a["target"]) == (b["id"], b["premise"], b["target"])
    first, second = (json.loads((folder / "report.json").read_text()) for folder in (one, other))
    for name, measure in first["measures"].items():
        assert measure["value"] == pytest.approx(second["measures"][name]["value"], abs=1e-3), name


def test_two_processes_give_what_one_gives(alone, tiny_checkpoint, urn_world, tmp_path):
    """Predictions in the order of the split, one report, nothing left over, and both have worked."""
    out = tmp_path / "out"
    ended, log = run_on_two(tmp_path, "-m", "evaluation.run", *options(tiny_checkpoint, urn_world, out))
    assert ended == [0, 0], log
    assert log.count("urn-audio test:") == 1, "the main process alone reports"
    agree(out, alone)
    assert json.loads((out / "report.json").read_text())["processes"] == 2
    assert not list(out.glob("*.partial"))


@pytest.fixture(scope="module")
def killed(tiny_checkpoint, urn_world, tmp_path_factory) -> tuple[Path, list[str]]:
    """The folder of an evaluation of which one process got SIGKILL, and its options."""
    home = tmp_path_factory.mktemp("killed")
    (home / "killed.py").write_text(KILLED)
    given = options(tiny_checkpoint, urn_world, home / "out")
    ended, log = run_on_two(home, home / "killed.py", *given)
    assert ended[1] == -signal.SIGKILL, log
    return home / "out", given


@pytest.mark.parametrize("going_on", [1, 2])
def test_a_kill_loses_nothing_and_repeats_nothing(going_on, alone, killed, tmp_path):
    """
    One of two processes gets SIGKILL and the launcher ends the other. What both wrote is kept, byte for byte, and the
    rest is scored by one process, or by two.
    """
    before, given = killed
    out = tmp_path / "out"
    shutil.copytree(before, out)
    given = [*given, "--output-dir", str(out)]
    partial = out / "predictions.jsonl.1.partial"
    assert len({row["premise"] for row in lines(partial)}) == 1
    kept = [line for path in out.glob("*.partial") for line in path.read_text().splitlines()]
    with pytest.raises(ValueError, match="unfinished"):
        read_run(out)
    with partial.open("a") as file:
        file.write('{"id": "torn')
    if going_on == 1:
        run.main(given)
    else:
        ended, log = run_on_two(tmp_path, "-m", "evaluation.run", *given)
        assert ended == [0, 0], log
        assert "going on with the others" in log
    written = (out / "predictions.jsonl").read_text().splitlines()
    assert set(kept) <= set(written)
    agree(out, alone)
    assert not list(out.glob("*.partial"))


def test_a_process_that_outlived_its_launcher_keeps_others_out(tiny_checkpoint, urn_world, tmp_path):
    """Whoever still holds the folder could write rows twice: the next run says so and writes nothing."""
    out = tmp_path / "out"
    out.mkdir()
    with locked(out / ".lock.1", InputError()):
        with pytest.raises(ValueError, match="Another evaluation is writing to"):
            run.main(options(tiny_checkpoint, urn_world, out))
        assert not list(out.glob("[!.]*"))
    with lock_output_dir(out, PartialState()):
        with pytest.raises(ValueError, match="Another evaluation"):
            with lock_output_dir(out, PartialState()):
                pytest.fail("two runs at once")
    run.main(options(tiny_checkpoint, urn_world, out))


def test_two_processes_take_the_stress_test(tmp_path):
    """The suite is built once; the report is that of one process."""
    checkpoint = ROOT / "checkpoints/clue-urn-tiny"
    small = ["--premises", "4", "--balls", "5", "--distractors", "0", "--negations", "0", "1", "--senses", "either"]
    given = ["--model", checkpoint, *small, "--modalities", "text", "audio", "--batch-size", "2"]
    command = ["-m", "evaluation.urn", *given, "--suites", tmp_path / "suites", "--output-dir", tmp_path / "two"]
    ended, log = run_on_two(tmp_path, *command)
    assert ended == [0, 0], log
    one = urn.main([*map(str, given), "--suites", str(tmp_path / "suites"), "--output-dir", str(tmp_path / "one")])
    two = json.loads((tmp_path / "two/report.json").read_text())
    assert two["suite"] == one["suite"]
    for modality in ("text", "audio"):
        pairs = zip(*(lines(tmp_path / of / modality / "predictions.jsonl") for of in ("one", "two")), strict=True)
        assert all(a["prediction"] == pytest.approx(b["prediction"], abs=1e-5) for a, b in pairs)
