"""Checkpoints: whole or not there, checked before use, and gone on from as they were begun."""

import itertools
import json
import os
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path
from pickle import UnpicklingError

import pytest
import torch
from filelock import FileLock
from transformers.trainer_utils import sort_checkpoints

from tests.train.test_sft import train
from train.arguments import CLUETrainingArguments
from train.checkpoints import (
    CheckpointError,
    check_files,
    checkpoint_to_resume,
    discard_old,
    newest_intact,
    publish,
    put_in_place,
    safe_torch_load,
    write_manifest,
)
from train.trainer import CLUETrainer


SAVING = ("--save_strategy", "steps", "--save_steps", "2", "--dataset-configs", "urn-text")


@pytest.fixture(scope="module")
def finished(dataset, tiny_checkpoint, tmp_path_factory) -> Path:
    """Folder of a run of four steps with checkpoints after two and four."""
    return train(dataset, tiny_checkpoint, tmp_path_factory.mktemp("finished") / "run", *SAVING, steps=4)


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A copy of that run to do harm to."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def resume(run: Path, dataset, checkpoint, *arguments: str, which: str = "true") -> Path:
    """Goes on from a checkpoint of the run."""
    return train(dataset, checkpoint, run, *SAVING, "--resume_from_checkpoint", which, *arguments, steps=4)


def write_checkpoint(output_dir: Path, step: int) -> None:
    """Writes a checkpoint of two small files, and keeps two checkpoints."""
    partial = output_dir / "_partial" / f"checkpoint-{step}"
    (partial / "state").mkdir(parents=True)
    (partial / "weights").write_text(f"weights {step}")
    (partial / "state" / "rank").write_text(f"state {step}")
    write_manifest(partial, {}, 1)
    put_in_place(partial, output_dir / partial.name)
    discard_old(output_dir, output_dir / partial.name, None, limit=2)


def kill_at(moment: int) -> None:
    """Kills this process at an operation on files, by its number."""
    moments = itertools.count()

    def count(event, _):
        if event.startswith(("open", "os.", "shutil.")) and next(moments) == moment:
            signal.raise_signal(signal.SIGKILL)

    sys.addaudithook(count)


def kill_at_every_moment(prepare, act, check, folder: Path) -> int:
    """
    Lets a child process act and kills it at its first operation on files, its second, and so on until it gets to the
    end. `check` is called with the folder after each death. Returns the number of deaths.
    """
    for moment in range(1000):
        here = folder / str(moment)
        here.mkdir()
        prepare(here)
        child = os.fork()
        if child == 0:
            kill_at(moment)
            act(here)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            return moment
        assert os.WTERMSIG(status) == signal.SIGKILL
        check(here)
    raise AssertionError("the child never got to the end")


def test_a_run_leaves_whole_checkpoints_and_nothing_else(finished):
    """Every checkpoint agrees with its manifest; nothing half done lies about, and no pickle that nothing reads."""
    assert [Path(path).name for path in sort_checkpoints(str(finished))] == ["checkpoint-2", "checkpoint-4"]
    for path in sort_checkpoints(str(finished)):
        check_files(Path(path))
        manifest = json.loads(Path(path, "manifest.json").read_text())
        present = {file.relative_to(path).as_posix() for file in Path(path).rglob("*") if file.is_file()}
        assert present == {*manifest["files"], "manifest.json"}
        assert manifest["processes"] == 1
    assert not (finished / "_partial").exists()
    assert not list(finished.rglob("training_args.bin"))


def test_whenever_a_save_is_killed_a_whole_checkpoint_is_left(tmp_path):
    """
    Killed at every operation on files of writing a third checkpoint and removing the first: whatever is called a
    checkpoint is whole, the second is there until the third is, and the next save is not in the way of the remains.
    """

    def prepare(folder):
        write_checkpoint(folder, 9)
        write_checkpoint(folder, 10)

    def check(folder):
        checkpoints = sort_checkpoints(str(folder))
        assert str(folder / "checkpoint-10") in checkpoints
        assert all(newest_intact([path]) == path for path in checkpoints)
        seen.add(frozenset(Path(path).name for path in checkpoints))
        shutil.rmtree(folder / "_partial")
        write_checkpoint(folder, 11)
        assert newest_intact(sort_checkpoints(str(folder))) == str(folder / "checkpoint-11")

    seen = set()
    assert kill_at_every_moment(prepare, lambda folder: write_checkpoint(folder, 11), check, tmp_path) > 20
    both = {"checkpoint-9", "checkpoint-10"}
    assert seen == {
        frozenset(both),
        frozenset({*both, "checkpoint-11"}),
        frozenset({"checkpoint-10", "checkpoint-11"}),
    }


def test_whenever_the_final_save_is_killed_no_half_of_it_loads(tmp_path):
    """The output folder has a config, without which nothing loads, only beside all files of the same model."""

    def files(folder, text):
        (folder / "adapter").mkdir(parents=True)
        for name in ("config.json", "model.safetensors", "adapter/config.json"):
            (folder / name).write_text(text)

    def prepare(folder):
        files(folder, "old")
        files(folder / "_partial" / "model", "new")

    def check(folder):
        if (folder / "config.json").exists():
            names = ("config.json", "model.safetensors", "adapter/config.json")
            (text,) = {(folder / name).read_text() for name in names}
            seen.add(text)

    seen = set()
    kill_at_every_moment(prepare, lambda folder: publish(folder / "_partial" / "model", folder), check, tmp_path)
    assert seen == {"old", "new"}


def test_the_newest_and_the_best_stay(tmp_path):
    """Old checkpoints go beyond a number, but neither the one just written, whatever its step, nor the best."""
    for step in (10, 20, 30, 40):
        (tmp_path / f"checkpoint-{step}").mkdir()
    discard_old(tmp_path, tmp_path / "checkpoint-30", tmp_path / "checkpoint-10", limit=3)
    assert {path.name for path in tmp_path.glob("c*")} == {"checkpoint-10", "checkpoint-30", "checkpoint-40"}
    discard_old(tmp_path, tmp_path / "checkpoint-30", tmp_path / "checkpoint-10", limit=1)
    assert {path.name for path in tmp_path.glob("c*")} == {"checkpoint-10", "checkpoint-30"}
    discard_old(tmp_path, tmp_path / "checkpoint-30", None, limit=None)
    assert {path.name for path in tmp_path.glob("c*")} == {"checkpoint-10", "checkpoint-30"}


def flip(file: Path) -> None:
    """Changes one bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "harm"),
    [
        ("model.safetensors", flip),
        ("optimizer.pt", lambda file: os.truncate(file, file.stat().st_size // 2)),
        ("rng_state.pth", Path.unlink),
        ("manifest.json", lambda file: os.truncate(file, 100)),
    ],
)
@pytest.mark.parametrize("which", ["true", "checkpoint-4"])
def test_a_damaged_checkpoint_is_told_and_nothing_is_touched(run, dataset, tiny_checkpoint, file, harm, which):
    """The error names the file, and the earlier checkpoint to go on from, which is left as it was."""
    harm(run / "checkpoint-4" / file)
    with pytest.raises(CheckpointError, match=f"checkpoint-4.*{file}.*--resume-from-checkpoint .*checkpoint-2`"):
        resume(run, dataset, tiny_checkpoint, which=str(run / which) if which != "true" else which)
    check_files(run / "checkpoint-2")


def test_going_on_from_an_earlier_checkpoint_replaces_the_damaged_one(run, finished, dataset, tiny_checkpoint):
    """The advice of the error can be followed: the damaged checkpoint is written anew, the end is the same."""
    flip(run / "checkpoint-4" / "model.safetensors")
    resume(run, dataset, tiny_checkpoint, which=str(run / "checkpoint-2"))
    for name in ("model.safetensors", "checkpoint-4/model.safetensors", "checkpoint-4/optimizer.pt"):
        assert (run / name).read_bytes() == (finished / name).read_bytes()
    check_files(run / "checkpoint-4")


def test_a_run_killed_in_the_final_save_only_saves_again(run, finished, dataset, tiny_checkpoint):
    """Resumed from the checkpoint of the last step, it trains no more and leaves the same model."""
    (run / "config.json").unlink()
    (run / "_partial" / "model").mkdir(parents=True)
    (run / "_partial" / "model" / "model.safetensors").write_bytes(b"half")
    resume(run, dataset, tiny_checkpoint)
    assert (run / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()
    assert (run / "config.json").exists() and not (run / "_partial").exists()


def test_other_options_are_refused_by_name(run, dataset, tiny_checkpoint):
    """Whatever changes the order of the data or the steps is named, with what it was and is."""
    changes = {
        "per_device_train_batch_size": "3",
        "gradient_accumulation_steps": "2",
        "seed": "5",
        "learning_rate": "0.5",
        "max_hypotheses_per_premise": "2",
        "modality_batching": "mixed",
        "target": "gaussian",
    }
    with pytest.raises(CheckpointError) as error:
        resume(
            run, dataset, tiny_checkpoint, *(word for name, value in changes.items() for word in (f"--{name}", value))
        )
    told = str(error.value).replace("'", "")
    for name, value in changes.items():
        assert f"{name} was " in told and f" and is {value}" in told
    assert told.count(" was ") == len(changes) + len(["was trained", "was begun"])


def test_other_rows_are_refused(run, dataset, tiny_checkpoint):
    """As many premises under the same options, but not the same ones."""
    with pytest.raises(CheckpointError, match="the rows of the training data was"):
        resume(run, dataset, tiny_checkpoint, "--train_split", "test")


def test_what_does_not_change_the_run_may_change(run, finished, dataset, tiny_checkpoint):
    """Elsewhere on the disk, with other logs and numbers of checkpoints, and begun before there was an option, the
    same run goes on."""
    moved = run.rename(run.parent / "moved")
    manifest = json.loads((moved / "checkpoint-2" / "manifest.json").read_text())
    del manifest["settings"]["train_projections"]
    (moved / "checkpoint-2" / "manifest.json").write_text(json.dumps(manifest))
    elsewhere = shutil.copytree(tiny_checkpoint, run.parent / "elsewhere")
    shutil.rmtree(moved / "checkpoint-4")
    resume(moved, dataset, elsewhere, "--logging_steps", "3", "--save_total_limit", "1")
    assert (moved / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()
    assert [path.name for path in moved.glob("checkpoint-*")] == ["checkpoint-4"]


def test_another_number_of_processes_is_refused(run, dataset, tiny_checkpoint):
    """A checkpoint of two processes is not for one."""
    manifest = json.loads((run / "checkpoint-4" / "manifest.json").read_text())
    (run / "checkpoint-4" / "manifest.json").write_text(json.dumps(manifest | {"processes": 2}))
    with pytest.raises(CheckpointError, match="checkpoint-4 is of a run of 2 processes, and this one has 1"):
        resume(run, dataset, tiny_checkpoint)


def test_two_runs_do_not_write_to_one_folder(run, dataset, tiny_checkpoint):
    """Processes that outlive their launcher still write: a resumed run does not start beside them."""
    with FileLock(run / "_lock"), pytest.raises(CheckpointError, match="Another run is writing to .*run"):
        resume(run, dataset, tiny_checkpoint)
    resume(run, dataset, tiny_checkpoint)


def test_a_checkpoint_that_is_not_there_is_named(run, dataset, tiny_checkpoint):
    """The error names the path, and the newest checkpoint there is."""
    with pytest.raises(CheckpointError, match="checkpoint-3: there is no such folder.*checkpoint-4`"):
        resume(run, dataset, tiny_checkpoint, which=str(run / "checkpoint-3"))


def test_weights_alone_are_no_checkpoint_to_go_on_from(dataset, tiny_checkpoint, tmp_path):
    """With `save_only_model`, a resumed run would begin with an empty optimizer; a recipe's `true` is understood."""
    train(dataset, tiny_checkpoint, tmp_path, *SAVING, "--save_only_model", "true")
    args = CLUETrainingArguments(output_dir=str(tmp_path), use_cpu=True, resume_from_checkpoint=True)
    with pytest.raises(CheckpointError, match="checkpoint-2 was written with --save-only-model"):
        checkpoint_to_resume(args)


@pytest.mark.parametrize("file", ["optimizer.pt", "rng_state.pth", "manifest.json"])
def test_a_full_disk_is_told_and_leaves_the_earlier_checkpoint(dataset, tiny_checkpoint, tmp_path, monkeypatch, file):
    """The second checkpoint meets a device without space: an error in words, nothing half written, the first sound."""
    save_model = CLUETrainer.save_model

    def fill_the_disk(trainer, folder, **kwargs):
        if Path(folder).name == "checkpoint-4":
            Path(folder).mkdir(parents=True)
            Path(folder, file).symlink_to("/dev/full")
        save_model(trainer, folder, **kwargs)

    monkeypatch.setattr(CLUETrainer, "save_model", fill_the_disk)
    with pytest.raises(CheckpointError, match="checkpoint-4 could not be written .*MB free.*make room"):
        train(dataset, tiny_checkpoint, tmp_path / "run", *SAVING, steps=4)
    assert [path.name for path in (tmp_path / "run").rglob("checkpoint-*")] == ["checkpoint-2"]
    check_files(tmp_path / "run" / "checkpoint-2")


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_checkpoint_can_not_run_code(tmp_path):
    """Under DeepSpeed, whose loads ask for anything, only what it needs itself is built of a file."""
    torch.save({"state": torch.ones(2), "count": Counter(a=1)}, tmp_path / "state.pt")
    torch.save({"state": Trap(tmp_path / "sprung")}, tmp_path / "trap.pt")
    with safe_torch_load([Counter]):
        loaded = torch.load(tmp_path / "state.pt", weights_only=False)
        assert loaded["count"] == Counter(a=1) and loaded["state"].sum() == 2
        with pytest.raises(UnpicklingError):
            torch.load(tmp_path / "trap.pt", weights_only=False)
    assert not (tmp_path / "sprung").exists()
    torch.load(tmp_path / "trap.pt", weights_only=False)
    assert (tmp_path / "sprung").exists()
