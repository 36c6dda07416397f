"""What goes along with a training: tracking on this machine alone, and pushes of whole checkpoints with their card."""

import json
import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerState
from transformers.trainer_utils import HubStrategy

from tests import launching
from tests.train.test_sft import DEMO
from train import callbacks
from train.arguments import CLUETrainingArguments
from train.callbacks import PushCallback, local_trackers


# Trains where every attempt to look up or reach another machine is written down and fails.
TRAIN = """
import os, signal, socket, sys, time
from pathlib import Path

attempts = Path(os.environ["ATTEMPTS"])

def refuse(*arguments, **options):
    with attempts.open("a") as file:
        print(arguments, file=file)
    raise OSError("There is no network.")

socket.getaddrinfo = socket.socket.connect = socket.socket.connect_ex = refuse

from train.sft import main
from train.trainer import CLUETrainer

class DyingTrainer(CLUETrainer):
    def compute_loss(self, *args, **kwargs):
        if self.state.global_step == int(os.environ["KILL_AT_STEP"]):
            # trackio writes twice a second.
            import trackio
            while not any(entry.get("train/global_step") == self.state.global_step for entry in logs()):
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().compute_loss(*args, **kwargs)

def logs():
    from trackio.sqlite_storage import SQLiteStorage
    return SQLiteStorage.get_logs("clue", "run")

import train.sft
train.sft.CLUETrainer = DyingTrainer
main()
"""

READ = """
import json, sys
from trackio import Api
from trackio.sqlite_storage import SQLiteStorage

runs = [run.name for run in Api().runs("clue")]
json.dump({run: SQLiteStorage.get_logs("clue", run) for run in runs}, sys.stdout)
"""


@pytest.fixture
def track(dataset, tiny_checkpoint, tmp_path):
    """Trains with trackio to a number of steps in `runs/run`, kills it at a step, and returns the exit status."""
    # Somebody is logged in: trackio would ask the Hub who.
    environment = os.environ | {"HF_TOKEN": "hf_nobody", "HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "1"}
    environment |= {"TRACKIO_DIR": "", "ATTEMPTS": str(tmp_path / "attempts")}

    def run(*arguments: str, steps: int, kill_at_step: int = -1) -> int:
        command = [
            *("-c", TRAIN, "--config", DEMO, "--dataset", dataset, "--dataset-configs", "urn-text"),
            *("--model_name_or_path", tiny_checkpoint, "--output_dir", tmp_path / "runs" / "run"),
            *("--cache_premises", "false", "--max_steps", str(steps), "--logging_steps", "1"),
            *("--disable_tqdm", "true"),
            *("--save_strategy", "steps", "--save_steps", "2", "--report_to", "trackio", *arguments),
        ]
        result = launching.run(*command, environment=environment | {"KILL_AT_STEP": str(kill_at_step)})
        (tmp_path / "log.txt").write_text(result.stdout + result.stderr)
        return result.returncode

    return run


def tracked(store: Path) -> dict[str, list[dict]]:
    """What trackio kept of each run."""
    result = launching.run("-c", READ, environment=os.environ | {"TRACKIO_DIR": str(store)})
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.processes
def test_a_run_is_tracked_here_and_goes_on_in_the_same_run_after_a_kill(track, tmp_path):
    """The numbers of the Trainer's own history are in the store beside the run, and no other machine was asked."""
    assert track(steps=4, kill_at_step=3) == -signal.SIGKILL, (tmp_path / "log.txt").read_text()
    assert track("--resume_from_checkpoint", "true", steps=4) == 0, (tmp_path / "log.txt").read_text()
    store = tmp_path / "runs" / "trackio"
    assert f"To see this run: TRACKIO_DIR={store} trackio show --project clue" in (tmp_path / "log.txt").read_text()
    (name, entries), *others = tracked(store).items()
    assert (name, others) == ("run", [])
    history = json.loads((tmp_path / "runs" / "run" / "trainer_state.json").read_text())["log_history"]
    losses = [(entry["train/global_step"], entry["train/loss"]) for entry in entries if "train/loss" in entry]
    # The third step was logged before the kill, and again on the way on from the checkpoint of the second.
    assert [step for step, _ in losses] == [1, 2, 3, 3, 4]
    assert dict(losses) == pytest.approx({entry["step"]: entry["loss"] for entry in history if "loss" in entry})
    assert all("train/padding_share" in entry for entry in entries if "train/loss" in entry)
    assert not (tmp_path / "attempts").exists(), (tmp_path / "attempts").read_text()


@pytest.mark.parametrize(
    ("taken", "resumes", "name"),
    [
        ([], False, "run"),
        ([], True, "run"),
        (["other"], False, "run"),
        (["run", "run-2"], False, "run-3"),
        (["run", "run-2"], True, "run-2"),
    ],
)
def test_a_new_run_is_not_mixed_up_with_an_old_one(tmp_path, monkeypatch, taken, resumes, name):
    """A folder whose name is taken gives a new run a number; one that resumes goes on under the last one."""
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "store"))
    args = CLUETrainingArguments(output_dir=str(tmp_path / "run"), use_cpu=True, report_to="trackio")
    (callback,) = local_trackers(args, resumes)
    runs = [SimpleNamespace(name=other) for other in taken]
    callback._trackio = SimpleNamespace(Api=lambda: SimpleNamespace(runs=lambda project: runs))
    assert callback._run_name(args) == name
    assert (args.report_to, args.project) == ([], "clue")


@pytest.mark.parametrize(
    ("report_to", "space", "left"),
    [("none", None, []), ("tensorboard", None, ["tensorboard"]), ("trackio", "somebody/space", ["trackio"])],
)
def test_other_trackers_are_left_alone(tmp_path, report_to, space, left):
    """What `report_to` knows otherwise, and a Space that is asked for, is none of ours."""
    args = CLUETrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=report_to, trackio_space_id=space)
    assert local_trackers(args, resumes=False) == []
    assert args.report_to == left


class Pushes:
    """Pushes of a run without a Hub: `events` has what was done in what order. An upload waits for `go_on`, and fails
    with `error`."""

    def __init__(self, output_dir: Path):
        self.args = SimpleNamespace(
            output_dir=str(output_dir),
            hub_strategy=HubStrategy.EVERY_SAVE,
            hub_always_push=False,
            hub_token=None,
            hub_revision=None,
        )
        self.state = TrainerState()
        self.events = []
        self.go_on = threading.Event()
        self.error = None
        trainer = SimpleNamespace(
            args=self.args,
            state=self.state,
            control=None,
            hub_model_id="clue/run",
            model=torch.nn.Identity(),
            accelerator=SimpleNamespace(unwrap_model=lambda model: model),
            callback_handler=SimpleNamespace(on_push_begin=lambda *_: self.events.append("others")),
        )
        self.callback = PushCallback(trainer, SimpleNamespace(write=self.write_card))

    def write_card(self, folder: Path, kind: str) -> None:
        self.events.append(f"card of {kind}")
        (folder / "README.md").write_text("card")

    def upload(self, staged: Path, repo: str, message: str, *_) -> None:
        assert self.go_on.wait(timeout=60)
        if self.error is not None:
            raise self.error
        self.events.append((repo, message, sorted(path.name for path in staged.iterdir())))

    def save(self, step: int) -> None:
        """Tells the callback of a checkpoint that is whole."""
        folder = Path(self.args.output_dir, f"checkpoint-{step}")
        folder.mkdir()
        for name in ("model.safetensors", "config.json", "manifest.json", "trainer_state.json", "optimizer.pt"):
            (folder / name).touch()
        self.state.global_step = step
        self.callback.on_save(self.args, self.state, None)


@pytest.fixture
def pushes(tmp_path, monkeypatch) -> Pushes:
    """The pushes of a run."""
    pushes = Pushes(tmp_path)
    monkeypatch.setattr(callbacks, "upload", pushes.upload)
    monkeypatch.setattr(callbacks.logger, "warning", pushes.events.append)
    return pushes


def pushed(step: int) -> list:
    """What happens at a save that is pushed."""
    files = ["README.md", "config.json", "model.safetensors"]
    return ["others", "card of whole", ("clue/run", f"Training in progress, step {step}", files)]


def test_a_save_is_pushed_with_its_card_unless_the_last_push_is_on_its_way(pushes):
    """Other callbacks, the card, then the push, which the training does not wait for; and at its end it does."""
    pushes.save(2)
    pushes.save(4)
    assert pushes.events == [
        *pushed(2)[:2],
        "The last push to the Hub is still on its way: this checkpoint is not pushed.",
    ]
    pushes.go_on.set()
    pushes.callback.on_train_end(pushes.args, pushes.state, None)
    pushes.save(6)
    pushes.callback.on_train_end(pushes.args, pushes.state, None)
    assert [event for event in pushes.events if "still" not in event] == pushed(2) + pushed(6)


def test_every_save_is_pushed_where_that_is_asked_for(pushes):
    """With `hub_always_push`, a save waits for the push before it."""
    pushes.args.hub_always_push = True
    threading.Timer(0.2, pushes.go_on.set).start()
    pushes.save(2)
    pushes.save(4)
    pushes.callback.on_train_end(pushes.args, pushes.state, None)
    assert pushes.events == pushed(2) + pushed(4)


def test_a_failed_push_is_told_and_the_next_save_pushes_again(pushes):
    """The training goes on; the token is not in the log."""
    pushes.go_on.set()
    pushes.error = OSError("The Hub refuses hf_abcdefghijklmnop")
    pushes.save(2)
    pushes.callback.on_train_end(pushes.args, pushes.state, None)
    assert "A push to clue/run failed" in pushes.events[-1] and pushes.events[-1].endswith("The Hub refuses ***")
    pushes.error = None
    pushes.save(4)
    pushes.callback.on_train_end(pushes.args, pushes.state, None)
    assert pushes.events[3:] == pushed(4)


@pytest.mark.parametrize(("main_process", "strategy"), [(False, HubStrategy.EVERY_SAVE), (True, HubStrategy.END)])
def test_nothing_is_pushed_by_another_process_nor_before_the_end(pushes, main_process, strategy):
    """Of several processes one pushes; with `hub_strategy=end` no save is pushed."""
    pushes.state.is_world_process_zero, pushes.args.hub_strategy = main_process, strategy
    pushes.save(2)
    pushes.callback.on_train_end(pushes.args, pushes.state, None)
    assert pushes.events == [] and not Path(pushes.args.output_dir, "_push").exists()
