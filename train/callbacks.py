"""Accompanies a training: epochs, logs, the progress bar, trackio, the card, and pushes to the Hub."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from huggingface_hub import HfApi, constants
from peft import PeftModel
from transformers import ProgressCallback, Trainer, TrainerCallback
from transformers.integrations import TrackioCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, HubStrategy
from transformers.utils import logging

from common.hub import HUB_ERRORS
from train.arguments import CLUETrainingArguments
from train.hub import stage, upload
from train.logs import TrainingSums
from train.model_card import write_card
from train.record import redact, validation_results
from train.trained import dtype_name


logger = logging.get_logger(__name__)

# Set by somebody who wants to track elsewhere: these settings of trackio's are left to work as it says.
REMOTE_TRACKING = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")


class EpochCallback(TrainerCallback):
    """Tells sampler and collator which epoch begins, which the Trainer can't where it resumes within one."""

    def __init__(self, trainer: Trainer):
        self.trainer = trainer

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.trainer.train_sampler.set_epoch(int(state.epoch))
        self.trainer.data_collator.epoch = int(state.epoch)


class LogsCallback(TrainerCallback):
    """Starts the clock, and closes the logs at saves and evaluations, so that a resumed run logs like a whole one."""

    def __init__(self, sums: TrainingSums):
        self.sums = sums

    def on_train_begin(self, args, state, control, **kwargs):
        self.sums.reset()

    def on_step_end(self, args, state, control, **kwargs):
        if control.should_save or control.should_evaluate:
            control.should_log = True

    on_epoch_end = on_step_end


class TrainingBar(ProgressCallback):
    """Adds the last log's loss, throughput and share of padding to the Trainer's progress bar."""

    def on_log(self, args, state, control, logs=None, **kwargs):
        super().on_log(args, state, control, logs=logs, **kwargs)
        if state.is_world_process_zero and self.training_bar is not None and "padding_share" in logs:
            self.training_bar.set_postfix_str(
                f"loss {logs['loss']:.4g}, {logs['hypotheses_per_second']:,.0f} hypotheses/s, "
                f"{logs['tokens_per_second']:,.0f} tokens/s, {logs['padding_share']:.0%} padding"
            )


# Cards and pushes


class CardCallback(TrainerCallback):
    """Follows a run, and writes its card with the numbers of the weights as they are at that moment."""

    def __init__(self, trainer: Trainer, record: dict):
        self.trainer = trainer
        self.record = record
        self.started = time.perf_counter()
        self.resumed_at = 0

    def on_train_begin(self, args, state, control, **kwargs):
        self.resumed_at = state.global_step

    @property
    def best_step(self) -> int | None:
        """Returns the step of the weights, once the best ones were loaded at the end."""
        trainer = self.trainer
        best = trainer.args.load_best_model_at_end and trainer.state.best_model_checkpoint
        return trainer.state.best_global_step if best and not trainer.is_in_train else None

    def measured(self) -> dict | None:
        """Returns the log entry of an evaluation of the present weights, if there was one."""
        state = self.trainer.state
        step = self.best_step or state.global_step
        found = [entry for entry in state.log_history if "eval_loss" in entry and entry["step"] == step]
        return found[-1] if found else None

    def write(self, folder: Path, kind: str = "whole") -> None:
        """Writes the card and its record to a folder; `kind` as in [`~train.model_card.write_card`]."""
        state = self.trainer.state
        self.record["progress"] = {
            "step": state.global_step,
            "max_steps": state.max_steps,
            "best_step": self.best_step,
            "finished": not self.trainer.is_in_train,
            "epoch": float(state.epoch),
            "seconds": round(time.perf_counter() - self.started, 1),
            "resumed_at": self.resumed_at,
            "date": datetime.now(UTC).date().isoformat(),
        }
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        self.record["model"]["dtype"] = dtype_name(model)  # DeepSpeed has its own
        entry = self.measured()
        self.record["validation"] = [] if entry is None else validation_results(self.record["data"]["rows"], entry)
        write_card(folder, self.record, kind)


class PushCallback(TrainerCallback):
    """Pushes what others can load, without pickles or optimizer states, and with its card; each push is one commit.

    A push during training runs in the background. If it fails, the log says so, and the next save pushes again.
    """

    def __init__(self, trainer: Trainer, card: CardCallback):
        self.trainer = trainer
        self.card = card
        self.pushing: Future | None = None

    def on_save(self, args, state, control, **kwargs):
        if not state.is_world_process_zero or args.hub_strategy == HubStrategy.END:
            return
        if self.pushing is not None and not self.pushing.done() and not args.hub_always_push:
            logger.warning("The last push to the Hub is still on its way: this checkpoint is not pushed.")
            return
        self._wait()
        staged = self._stage(Path(args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"))
        adapter = isinstance(self.trainer.accelerator.unwrap_model(self.trainer.model), PeftModel)
        self.card.write(staged, "adapter" if adapter else "whole")
        message = f"Training in progress, step {state.global_step}"
        target = self.trainer.hub_model_id, message, args.hub_token, args.hub_revision
        self.pushing = HfApi().run_as_future(upload, staged, *target)

    def on_train_end(self, args, state, control, **kwargs):
        self._wait()

    def push_saved(self) -> None:
        """Pushes the output folder at the end, from the main process; an error says how to push it later."""
        if not self.trainer.is_world_process_zero():
            return
        args, repo = self.trainer.args, self.trainer.hub_model_id
        output_dir = Path(args.output_dir)
        staged = self._stage(output_dir)
        try:
            upload(staged, repo, "End of training", args.hub_token, args.hub_revision)
        except HUB_ERRORS as error:
            raise ConnectionError(
                f"The model is saved in {output_dir}, but could not be pushed to {repo}: {redact(str(error))}. Push "
                f"it with `python -m train.push --model {output_dir} --repo {repo}`."
            ) from error

    def _stage(self, folder: Path) -> Path:
        trainer = self.trainer
        trainer.callback_handler.on_push_begin(trainer.args, trainer.state, trainer.control)
        return stage(folder, Path(trainer.args.output_dir))

    def _wait(self) -> None:
        """Waits for the push on its way, and logs its failure."""
        error = None if self.pushing is None else self.pushing.exception()
        self.pushing = None
        if error is not None:
            logger.warning(
                f"A push to {self.trainer.hub_model_id} failed, the checkpoint is in {self.trainer.args.output_dir} "
                f"alone; the next save pushes again: {redact(str(error))}"
            )


# Tracking


class LocalTrackioCallback(TrackioCallback):
    """Tracks on this machine alone, asking nobody: in `TRACKIO_DIR`, or `trackio/` beside the run's folder.

    The run has the name of its folder. A resumed run keeps it; a new one whose name is taken gets a number behind it.
    """

    def __init__(self, args: CLUETrainingArguments, resumes: bool):
        # trackio reads it once, as it is imported.
        self.folder = os.environ.get("TRACKIO_DIR") or str(Path(args.output_dir).absolute().parent / "trackio")
        os.environ["TRACKIO_DIR"] = self.folder
        super().__init__()
        self.resumes = resumes

    def setup(self, args, state, model, **kwargs):
        if state.is_world_process_zero:
            if args.run_name is None:
                args.run_name = self._run_name(args)
            print(f"To see this run: TRACKIO_DIR={self.folder} trackio show --project {args.project}")
        # trackio would ask the Hub for the name of who is logged in.
        with _hub_offline():
            super().setup(args, state, model, **kwargs)

    def on_push_begin(self, args, state, control, model, **kwargs):
        """Keeps the logs here when the model is pushed, unless a Space is named for them."""
        if args.trackio_static_space_id:
            super().on_push_begin(args, state, control, model, **kwargs)

    def _run_name(self, args: CLUETrainingArguments) -> str:
        name = Path(args.output_dir).absolute().name
        try:
            taken = {run.name for run in self._trackio.Api().runs(args.project)}
        except ValueError:  # the project's first run
            return name
        names = [name]
        while names[-1] in taken:
            names.append(f"{name}-{len(names) + 1}")
        return names[-2] if self.resumes and len(names) > 1 else names[-1]


def local_trackers(args: CLUETrainingArguments, resumes: bool) -> list[TrackioCallback]:
    """Takes trackio out of `report_to` where it would track on this machine, and returns our callback instead."""
    elsewhere = args.trackio_space_id is not None or any(os.environ.get(name) for name in REMOTE_TRACKING)
    if "trackio" not in args.report_to or elsewhere:
        return []
    args.report_to = [name for name in args.report_to if name != "trackio"]
    return [LocalTrackioCallback(args, resumes)]


@contextmanager
def _hub_offline() -> Iterator[None]:
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
