"""A Trainer whose checkpoints are whole or not there, and that goes on from them exactly."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from transformers import PreTrainedModel
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from transformers.trainer import TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, SaveStrategy

from train.checkpoints import (
    PARTIAL,
    CheckpointError,
    alone,
    discard_old,
    load_weights,
    publish,
    put_in_place,
    remove_partial,
    seal,
    state_only,
    writing,
)
from train.push import PushingTrainer
from train.settings import check_settings


class ResumableTrainer(PushingTrainer):
    """A `transformers.Trainer` that can be killed at any moment. Its checkpoints become so by one rename; it resumes
    with the options it was begun with, or not at all; and it loads weights by their names on disk.

    Args:
        settings (`dict[str, object]`, *optional*):
            Options of the run ([`~train.settings.run_settings`]), written to its checkpoints: it can be resumed with
            no others.
        **kwargs:
            As of [`~train.push.PushingTrainer`].
    """

    def __init__(self, *, settings: dict[str, object] | None = None, **kwargs):
        super().__init__(**kwargs)
        self.settings = {**(settings or {}), "backend": self._backend()}
        self._saving = False
        self._model_class = type(self.model)

    def _backend(self) -> str:
        """What holds the state of the optimizer: one can't read what another has written."""
        if self.is_deepspeed_enabled:
            return f"DeepSpeed ZeRO-{self.accelerator.state.deepspeed_plugin.zero_stage}"
        return "FSDP" if self.is_fsdp_enabled else "whole on every process"

    def train(self, resume_from_checkpoint: str | None = None, **kwargs):
        """Trains as the Trainer does; goes on from a checkpoint only with the options it was trained with."""
        if resume_from_checkpoint is not None:
            check_settings(resume_from_checkpoint, self.settings)
        with self._alone():
            if self.args.should_save:
                remove_partial(Path(self.args.output_dir))
            return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    def _alone(self) -> AbstractContextManager:
        """Where the main process holds the lock of the output folder."""
        return alone(Path(self.args.output_dir)) if self.args.should_save else nullcontext()

    def _get_output_dir(self, trial) -> str:
        """Where checkpoints are; while one is written, where it is written."""
        output_dir = super()._get_output_dir(trial)
        return os.path.join(output_dir, PARTIAL) if self._saving else output_dir

    def _save_checkpoint(self, model, trial) -> None:
        """Saves a checkpoint as the Trainer does, but in another folder, which becomes the checkpoint by one rename
        once every process has written its part. Only then are old ones removed, and it is sent to the Hub."""
        output_dir = Path(self._get_output_dir(trial))
        checkpoint = output_dir / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        with writing(output_dir, checkpoint.name) as partial:
            self._saving = True
            super()._save_checkpoint(model, trial)
            self._saving = False
            best = self.state.best_model_checkpoint
            if best is not None and Path(best) == partial:
                self.state.best_model_checkpoint = best = str(checkpoint)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                self.state.save_to_json(str(partial / TRAINER_STATE_NAME))
                seal(partial, self.settings, self.args.world_size)
                put_in_place(partial, checkpoint)
        if self.args.should_save:
            discard_old(output_dir, checkpoint, None if best is None else Path(best), self.args.save_total_limit)
        self.accelerator.wait_for_everyone()
        if self.args.push_to_hub:
            self._push_from_checkpoint(str(checkpoint))

    def _determine_best_metric(self, metrics: dict[str, float], trial) -> bool:
        """Looks for the best model among those that are saved: another could not be loaded at the end."""
        if not self.control.should_save and self.args.save_strategy != SaveStrategy.BEST:
            return False
        return super()._determine_best_metric(metrics, trial)

    def _init_training_state(self, *args):
        """Prepares the state as the Trainer does, and finds the best checkpoint so far where the run has moved."""
        start = super()._init_training_state(*args)
        if self.state.best_global_step is not None:
            best = Path(self.args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{self.state.best_global_step}")
            if self.args.load_best_model_at_end and not best.is_dir():
                raise CheckpointError(
                    f"The best checkpoint so far, {best}, is not there any more, and could not be loaded at the end: "
                    "put it back, or go on with `--load-best-model-at-end false`."
                )
            self.state.best_model_checkpoint = str(best) if best.is_dir() else None
        return start

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Sends a checkpoint to the Hub, once it is whole."""
        if not self._saving:
            super()._push_from_checkpoint(checkpoint_folder)

    def _save(self, output_dir: str | None = None, state_dict=None) -> None:
        """Saves as the Trainer does, without a pickle that nothing reads and that has the paths of this machine. FSDP,
        which makes the model one of a class of its own, would save its own code as the model's. Under ZeRO-3
        transformers takes every way to name weights for one that it met as it loaded them: here it shall take its
        usual ones."""
        sharded_class, self.model.__class__ = type(self.model), self._model_class
        if is_deepspeed_zero3_enabled():
            self.model._weight_conversions = None
        try:
            super()._save(output_dir, state_dict)
        finally:
            self.model.__class__ = sharded_class
        if self.args.should_save:
            Path(output_dir or self.args.output_dir, TRAINING_ARGS_NAME).unlink()

    @contextmanager
    def whole_model(self) -> Iterator[Path]:
        """Gives a folder to write the final model to, whose files are then moved to the output folder.

        Yields:
            `Path`: The folder. All processes write to the same one.
        """
        output_dir = Path(self.args.output_dir)
        with self._alone(), writing(output_dir, "model") as folder:
            yield folder
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                publish(folder, output_dir)
        self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model=None) -> None:
        """Loads the weights of a checkpoint, by their names on disk."""
        if not isinstance(self.model, PreTrainedModel) or self.is_fsdp_enabled:
            return super()._load_from_checkpoint(resume_from_checkpoint, model)
        load_weights(self.model, resume_from_checkpoint)

    def _prepare_for_training(self, max_steps, train_dataloader, resume_from_checkpoint):
        """Prepares as the Trainer does, which under DeepSpeed loads the state of the checkpoint."""
        with self._state_only():
            return super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)

    def _load_best_model(self) -> None:
        """Loads the best checkpoint at the end, by its names on disk as well."""
        if not isinstance(self.model, PreTrainedModel) or self.is_fsdp_enabled or self.is_deepspeed_enabled:
            with self._state_only():
                return super()._load_best_model()
        self._load_from_checkpoint(self.state.best_model_checkpoint)

    def _state_only(self) -> AbstractContextManager:
        """Where DeepSpeed reads checkpoints, see [`~train.checkpoints.state_only`]."""
        if not self.is_deepspeed_enabled:
            return nullcontext()
        from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
        from deepspeed.runtime.zero.config import ZeroStageEnum
        from deepspeed.utils.tensor_fragment import fragment_address

        return state_only([DynamicLossScaler, LossScaler, ZeroStageEnum, fragment_address])
