"""
Two processes under ZeRO-2, killed with SIGKILL at ten random moments, six of them inside a save, go on as if nothing
had been. Two of the moments belong to the suite; KILLS=all tries the ten.
"""

import json
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.train.test_processes import EPOCHS, RANKS, STEPS_PER_EPOCH, train_on_two
from train.checkpoints import check_files


pytestmark = pytest.mark.processes
pytest.importorskip("deepspeed")

STEPS = EPOCHS * STEPS_PER_EPOCH
OPTIONS = ("--save_steps", "2", "--save_total_limit", "2", "--eval_strategy", "no")
ZERO_2 = "train/accelerate_configs/zero2.yaml"


def draw_moments() -> list[str]:
    """Ten moments as tests/train/record_run.py takes them, the same at every run: the first two are of the suite."""
    drawn = random.Random(20261124)
    steps = drawn.sample(range(STEPS), 3)

    def saved() -> int:
        return 2 * drawn.randint(2, STEPS // 2)

    def partial(name: str) -> str:
        step = saved()
        return f"half:_partial/checkpoint-{step}/{name.format(step=step)}"

    return [
        partial(f"global_step{{step}}/zero_pp_rank_{drawn.randrange(RANKS)}_mp_rank_00_optim_states.pt"),
        f"step:{steps[0]}",
        partial("model.safetensors"),
        partial(f"rng_state_{drawn.randrange(RANKS)}.pth"),
        partial("manifest.json"),
        # Renamed, and the oldest is not yet removed; in the midst of removing it; in the final save.
        f"there:checkpoint-{saved()}",
        f"there:_partial/removed-checkpoint-{min(saved(), STEPS - 4)}",
        "half:_partial/model/model.safetensors",
        *(f"step:{step}" for step in steps[1:]),
    ]


MOMENTS = draw_moments()
TRIED = MOMENTS if os.environ.get("KILLS") == "all" else MOMENTS[:2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, dataset, tiny_checkpoint) -> Path:
    """Folder of the run that was left alone."""
    output = tmp_path_factory.mktemp("kills") / "whole"
    ended = train_on_two(output, dataset, tiny_checkpoint, *OPTIONS, config=ZERO_2)
    assert ended == [0, 0], (output / "log.txt").read_text()
    return output


def history(output: Path) -> list[dict]:
    """What was logged at each step, without the speeds."""
    log = json.loads((output / "trainer_state.json").read_text())["log_history"]
    return [
        {name: value for name, value in entry.items() if not name.endswith("per_second")}
        for entry in log
        if "loss" in entry
    ]


@pytest.mark.parametrize("moment", TRIED)
def test_a_killed_run_ends_as_if_it_had_not_been(moment, whole, dataset, tiny_checkpoint, tmp_path):
    """
    All that is called a checkpoint after the kill is whole. The run goes on from the newest, or anew where there is
    none, and ends with the same weights and states, bit for bit, and the same losses.
    """
    output = tmp_path / "run"
    ended = train_on_two(output, dataset, tiny_checkpoint, *OPTIONS, config=ZERO_2, KILL_AT=moment)
    assert -signal.SIGKILL in ended, (output / "log.txt").read_text()
    left = sorted(output.glob("checkpoint-*"))
    for checkpoint in left:
        check_files(checkpoint)
    assert not (output / "config.json").exists()

    resume = ("--resume_from_checkpoint", "true") if left else ()
    ended = train_on_two(output, dataset, tiny_checkpoint, *OPTIONS, *resume, config=ZERO_2)
    assert ended == [0, 0], (output / "log.txt").read_text()
    assert (output / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    ends = [json.loads((run / f"checkpoint-{STEPS}" / "manifest.json").read_text()) for run in (output, whole)]
    assert ends[0]["settings"] == ends[1]["settings"]
    state = "global_step", "rng_state", "scheduler"
    files = [{name: entry for name, entry in end["files"].items() if name.startswith(state)} for end in ends]
    assert len(files[0]) == 2 * RANKS + 2 and files[0] == files[1]
    assert len(history(output)) == STEPS and history(output) == history(whole)
    assert {path.name for path in output.glob("checkpoint-*")} == {path.name for path in whole.glob("checkpoint-*")}


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of its own, which is full once a checkpoint and a half are on it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"mounting a small disk is not permitted: {mounted.stderr.decode()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # a process may still be on its way out


def resize(disk: Path, size: int) -> None:
    """Makes the disk another size, in bytes."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def test_a_full_disk_stops_both_processes_and_room_lets_them_go_on(
    whole, dataset, tiny_checkpoint, small_disk, tmp_path
):
    """The run ends with an error in words, without hanging; the first checkpoint is sound, and goes on to the end."""
    size = sum(file.stat().st_size for file in (whole / f"checkpoint-{STEPS}").rglob("*") if file.is_file())
    resize(small_disk, int(1.5 * size))
    output = small_disk / "run"
    output.mkdir()
    (output / "log.txt").symlink_to(tmp_path / "log.txt")  # no room for words either
    assert 0 not in train_on_two(output, dataset, tiny_checkpoint, *OPTIONS, config=ZERO_2, RECORDS=str(whole))
    resize(small_disk, 6 * size)
    log = (output / "log.txt").read_text()
    assert "checkpoint-4 could not be written to" in log and "make room" in log, log
    assert [path.name for path in output.glob("checkpoint-*")] == ["checkpoint-2"]
    check_files(output / "checkpoint-2")
    ended = train_on_two(output, dataset, tiny_checkpoint, *OPTIONS, "--resume_from_checkpoint", "true", config=ZERO_2)
    assert ended == [0, 0], (output / "log.txt").read_text()
    assert (output / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
