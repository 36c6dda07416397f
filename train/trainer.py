"""Extends the Trainer for CLUE: one modality at a step, a loss per hypothesis, numbers by modality, safe
checkpoints."""

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import EvalPrediction, PreTrainedModel, ProgressCallback, Trainer
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from transformers.trainer import TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, SaveStrategy

from modeling_clue.backbone import is_part_of
from modeling_clue.modalities import MODALITIES
from modeling_clue.modeling_clue import CLUEOutput
from train.callbacks import EpochCallback, LogsCallback, TrainingBar
from train.checkpoints import (
    PARTIAL,
    CheckpointError,
    discard_old,
    lock_output_dir,
    partial_checkpoint,
    publish,
    put_in_place,
    remove_partial,
    safe_torch_load,
    write_manifest,
)
from train.logs import TrainingSums
from train.premises import PremiseDataset
from train.sampler import ModalityBatchSampler
from train.settings import check_settings
from train.tower_cache import TowerCache, UncachedClip


class CLUETrainer(Trainer):
    """Trains on batches of premises with their hypotheses.

    The loss of a step is the sum over the hypotheses of all processes and accumulated batches, divided by their
    number. The logs have loss and gradient norm by modality (`loss_audio`, `grad_norm_audio`), throughput and the
    share of padding (see [`~train.logs.TrainingSums`]). Evaluation has loss, MSE, MAE and the MSE of always answering
    the mean (`eval_mse_audio`, `eval_constant_mean_mse_audio`), over the rows of all processes. Of CLUE-T there is
    neither MSE nor MAE: answers would have to be generated, as `evaluation.run` does.

    It can be killed at any moment: a checkpoint appears by one rename. It resumes only with the options it was begun
    with, and loads weights by their names on disk.

    Args:
        modality_batching (`str`, *optional*, defaults to `"batched"`): `"batched"`, or `"mixed"`: the paper's
            ablation.
        eval_collator ([`~train.collator.PremiseCollator`], *optional*): Collates all hypotheses of an `eval_dataset`.
        settings (`dict[str, object]`, *optional*): Options ([`~train.settings.run_settings`]) kept in checkpoints.
        **kwargs: As of [`~transformers.Trainer`]; `data_collator` is a [`~train.collator.PremiseCollator`], datasets
            are [`~train.premises.PremiseDataset`].
    """

    def __init__(
        self,
        *,
        modality_batching: str = "batched",
        eval_collator=None,
        settings: dict[str, object] | None = None,
        **kwargs,
    ):
        super().__init__(compute_metrics=compute_metrics, **kwargs)
        if self.args.n_gpu > 1:
            raise ValueError(
                f"One process sees {self.args.n_gpu} GPUs: start one process for each with "
                "`accelerate launch --multi-gpu`."
            )
        self.modality_batching = modality_batching
        self.eval_collator = eval_collator
        self.settings = {**(settings or {}), "backend": self._backend()}
        self._saving = False
        self._model_class = type(self.model)
        self.add_callback(EpochCallback(self))
        self.sums = TrainingSums(self.args.device)
        self.add_callback(LogsCallback(self.sums))
        if self.pop_callback(ProgressCallback) is not None:
            self.add_callback(TrainingBar())

    # Batches

    def get_train_dataloader(self) -> DataLoader:
        self.train_sampler = ModalityBatchSampler(
            self.train_dataset.modalities,
            self.train_dataset.lengths(self.data_collator.max_hypotheses),
            batch_size=self.args.per_device_train_batch_size,
            world_size=self.accelerator.num_processes,
            seed=self.data_collator.seed,
            mixed=self.modality_batching == "mixed",
        )
        return self._prepare_dataloader(self.train_dataset, self.train_sampler, self.data_collator)

    def get_eval_dataloader(self, eval_dataset: PremiseDataset | None = None) -> DataLoader:
        """Returns the evaluation batches of this process: each premise on one process, once."""
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        sampler = ModalityBatchSampler(
            dataset.modalities,
            dataset.lengths(),
            batch_size=self.args.per_device_eval_batch_size,
            world_size=self.accelerator.num_processes,
            shuffle=False,
        )
        return self._prepare_dataloader(dataset, sampler, self.eval_collator)

    def _prepare_dataloader(self, dataset, sampler, collator) -> DataLoader:
        loader = DataLoader(
            dataset,
            batch_sampler=sampler,
            collate_fn=collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            prefetch_factor=self.args.dataloader_prefetch_factor,
            multiprocessing_context=self.args.dataloader_multiprocessing_context,
        )
        return self.accelerator.prepare(loader)

    def _prepare_input(self, data):
        """Moves a tensor in its own dtype; under DeepSpeed the Trainer would round it to the weights'."""
        return data.to(self.args.device) if isinstance(data, torch.Tensor) else super()._prepare_input(data)

    # Outputs of the towers

    def use_tower_cache(self, cache: TowerCache) -> None:
        """Takes the outputs of the towers from a cache, and stores there what it lacks."""
        self.tower_cache = cache
        self.train_dataset.tower_cache = cache
        if self.eval_dataset is not None:
            self.eval_dataset.tower_cache = cache

    def _store_towers(self, uncached_clips: list[UncachedClip], outputs: CLUEOutput) -> None:
        if uncached_clips:
            self.tower_cache.store(uncached_clips, outputs.audio_embeds, outputs.video_embeds)

    # Loss

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Computes the loss as the Trainer does, and keeps the sums of the logs."""
        inputs = dict(inputs)
        modality = inputs.pop("modality")
        uncached_clips = inputs.pop("uncached_clips", [])
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, num_items_in_batch=num_items_in_batch)
        self._store_towers(uncached_clips, outputs)
        if model.training:
            self.sums.add_batch(modality, outputs.hypothesis_loss, inputs["attention_mask"])
        return (loss, outputs) if return_outputs else loss

    def create_optimizer(self, model=None) -> torch.optim.Optimizer:
        """Creates the optimizer as the Trainer does; projections get groups of their own if they have a rate of their
        own."""
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if not is_new or self.args.projection_learning_rate is None:
            return optimizer
        parts = [f"{tower}.{name}" for tower, names in self.model.backbone.projections.items() for name in names]
        named = (self.model if model is None else model).named_parameters()
        projections = {id(weight) for name, weight in named if is_part_of(name, parts)}
        for group in list(optimizer.param_groups):
            moved = [weight for weight in group["params"] if id(weight) in projections]
            if moved:
                group["params"] = [weight for weight in group["params"] if id(weight) not in projections]
                optimizer.add_param_group(group | {"params": moved, "lr": self.args.projection_learning_rate})
        return optimizer

    def create_scheduler(self, num_training_steps: int, optimizer=None):
        self.args.lr_scheduler_kwargs = self.args.scheduler_kwargs(num_training_steps)
        return super().create_scheduler(num_training_steps, optimizer)

    # Logs

    def _get_grad_norm(self, model, grad_norm=None):
        """Notes the gradient norm, with which a step ends."""
        grad_norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        self.sums.end_step(grad_norm)
        return grad_norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs |= self.sums.logs(self.accelerator)
        super().log(logs, start_time)

    # Evaluation

    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        """Evaluates as the Trainer does, outside the clock of training's throughput."""
        started = time.perf_counter()
        metrics = super().evaluate(*args, **kwargs)
        self.sums.started += time.perf_counter() - started
        return metrics

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """Scores one batch: no loss (a mean over unequal batches would be wrong), but probability (not of CLUE-T) and
        loss, then label and modality, each `(1, hypotheses)`, which the Trainer pads with -100."""
        inputs = self._prepare_inputs(inputs)
        modality = inputs.pop("modality")
        uncached_clips = inputs.pop("uncached_clips", [])
        with torch.no_grad():
            outputs = model(**inputs)
        self._store_towers(uncached_clips, outputs)
        return (
            None,
            tuple(value[None] for value in (outputs.probability, outputs.hypothesis_loss) if value is not None),
            (inputs["labels"][None], modality[None]),
        )

    # Checkpoints

    def _backend(self) -> str:
        """Names what holds the state of the optimizer: one can't read what another has written."""
        if self.is_deepspeed_enabled:
            return f"DeepSpeed ZeRO-{self.accelerator.state.deepspeed_plugin.zero_stage}"
        return "FSDP" if self.is_fsdp_enabled else "whole on every process"

    def train(self, resume_from_checkpoint: str | None = None, **kwargs):
        """Trains as the Trainer does; resumes only with the options that the checkpoint was trained with."""
        if resume_from_checkpoint is not None:
            check_settings(resume_from_checkpoint, self.settings)
        with self._output_dir_lock():
            if self.args.should_save:
                remove_partial(Path(self.args.output_dir))
            return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    def _output_dir_lock(self) -> AbstractContextManager:
        """Locks the output folder on the main process."""
        return lock_output_dir(Path(self.args.output_dir)) if self.args.should_save else nullcontext()

    def _get_output_dir(self, trial) -> str:
        """Returns the folder of checkpoints, and while one is written that of partial ones."""
        output_dir = super()._get_output_dir(trial)
        return os.path.join(output_dir, PARTIAL) if self._saving else output_dir

    def _save_checkpoint(self, model, trial) -> None:
        """Saves a checkpoint beside its place, and renames it once every process has written its part."""
        output_dir = Path(self._get_output_dir(trial))
        checkpoint = output_dir / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        with partial_checkpoint(output_dir, checkpoint.name) as partial:
            self._saving = True
            super()._save_checkpoint(model, trial)
            self._saving = False
            best = self.state.best_model_checkpoint
            if best is not None and Path(best) == partial:
                self.state.best_model_checkpoint = best = str(checkpoint)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                self.state.save_to_json(str(partial / TRAINER_STATE_NAME))
                write_manifest(partial, self.settings, self.args.world_size)
                put_in_place(partial, checkpoint)
        if self.args.should_save:
            discard_old(output_dir, checkpoint, None if best is None else Path(best), self.args.save_total_limit)
        self.accelerator.wait_for_everyone()

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
        """Leaves it to [`~train.callbacks.PushCallback`], once the checkpoint is whole."""

    def _save(self, output_dir: str | None = None, state_dict=None) -> None:
        """Saves as the Trainer does, without a pickle that nothing reads and that has the paths of this machine. FSDP
        would save the code of its own class as the model's. Under ZeRO-3 transformers would name weights by every way
        that it met in loading: here it shall take its usual ones."""
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
        """Gives a folder for all processes to write the final model to, and moves its files to the output folder."""
        output_dir = Path(self.args.output_dir)
        with self._output_dir_lock(), partial_checkpoint(output_dir, "model") as folder:
            yield folder
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                publish(folder, output_dir)
        self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model=None) -> None:
        """Loads weights by their names on disk, where the Trainer would leave out the language model."""
        if not isinstance(self.model, PreTrainedModel) or self.is_fsdp_enabled:
            return super()._load_from_checkpoint(resume_from_checkpoint, model)
        loaded = type(self.model).from_pretrained(resume_from_checkpoint, dtype=self.model.dtype)
        self.model.load_state_dict(loaded.state_dict())

    def _prepare_for_training(self, max_steps, train_dataloader, resume_from_checkpoint):
        with self._safe_torch_load():
            return super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)

    def _load_best_model(self) -> None:
        """Loads the best checkpoint at the end, by its names on disk as well."""
        if not isinstance(self.model, PreTrainedModel) or self.is_fsdp_enabled or self.is_deepspeed_enabled:
            with self._safe_torch_load():
                return super()._load_best_model()
        self._load_from_checkpoint(self.state.best_model_checkpoint)

    def _safe_torch_load(self) -> AbstractContextManager:
        """Restricts what DeepSpeed loads, see [`~train.checkpoints.safe_torch_load`]."""
        if not self.is_deepspeed_enabled:
            return nullcontext()
        from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
        from deepspeed.runtime.zero.config import ZeroStageEnum
        from deepspeed.utils.tensor_fragment import fragment_address

        return safe_torch_load([DynamicLossScaler, LossScaler, ZeroStageEnum, fragment_address])


def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Computes `loss`, `mse`, `mae`, `constant_mean_mse` and `hypotheses` over what [`CLUETrainer.prediction_step`]
    returned, and each by modality, as `mse_audio`; without probabilities neither `mse` nor `mae`."""
    *probability, loss = prediction.predictions
    label, modality = prediction.label_ids
    real = label != -100
    *probability, loss, label, modality = (values[real] for values in (*probability, loss, label, modality))
    metrics = {}
    groups = {"": np.ones(len(label), dtype=bool)}
    groups |= {f"_{name}": modality == index for index, name in enumerate(MODALITIES) if (modality == index).any()}
    for suffix, group in groups.items():
        metrics[f"loss{suffix}"] = float(loss[group].mean())
        for values in probability:
            error = values[group] - label[group]
            metrics[f"mse{suffix}"] = float((error**2).mean())
            metrics[f"mae{suffix}"] = float(np.abs(error).mean())
        metrics[f"constant_mean_mse{suffix}"] = float(label[group].var())
        metrics[f"hypotheses{suffix}"] = int(group.sum())
    return metrics
