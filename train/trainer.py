"""The Trainer of CLUE: one modality at a step, a loss per hypothesis, and numbers by modality."""

import time

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import EvalPrediction, ProgressCallback, TrainerCallback

from modeling_clue.modeling_clue import CLUEOutput
from modeling_clue.processing_clue import MODALITIES
from train.logs import LogsCallback, TrainingBar, TrainingSums
from train.premises import PremiseDataset
from train.resumable import ResumableTrainer
from train.sampler import ModalityBatchSampler
from train.tower_cache import TowerCache, UncachedClip


class EpochCallback(TrainerCallback):
    """Tells the sampler and the collator which epoch begins. The Trainer does so itself, except where a run resumes in
    the middle of an epoch on several processes: accelerate's skipping then hides the sampler.

    Args:
        trainer ([`CLUETrainer`]): The trainer whose epochs to follow.
    """

    def __init__(self, trainer: "CLUETrainer"):
        self.trainer = trainer

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.trainer.train_sampler.set_epoch(int(state.epoch))
        self.trainer.data_collator.epoch = int(state.epoch)


class CLUETrainer(ResumableTrainer):
    """A `transformers.Trainer` for batches of premises with their hypotheses.

    The loss of a step is the sum over the hypotheses of all processes and accumulated batches, divided by their
    number. The logs have loss and gradient norm by modality (`loss_audio`, `grad_norm_audio`), throughput and the
    share of padding (see [`~train.logs.TrainingSums`]). Evaluation has loss, MSE, MAE and the MSE of always answering
    the mean (`eval_mse_audio`, `eval_constant_mean_mse_audio`), over the rows of all processes. Of CLUE-T there is
    neither MSE nor MAE: answers would have to be generated, as `evaluation.run` does.

    Args:
        modality_batching (`str`, *optional*, defaults to `"batched"`):
            `"batched"`, or `"mixed"` for the paper's ablation.
        eval_collator ([`~train.collator.PremiseCollator`], *optional*):
            Collates evaluation batches with all hypotheses; needed with an `eval_dataset`.
        **kwargs:
            As of [`~train.resumable.ResumableTrainer`]; `data_collator` is a
            [`~train.collator.PremiseCollator`], datasets are [`~train.premises.PremiseDataset`].
    """

    def __init__(self, *, modality_batching: str = "batched", eval_collator=None, **kwargs):
        super().__init__(compute_metrics=compute_metrics, **kwargs)
        if self.args.n_gpu > 1:
            raise ValueError(
                f"One process sees {self.args.n_gpu} GPUs: start one process for each with "
                "`accelerate launch --multi-gpu`."
            )
        self.modality_batching = modality_batching
        self.eval_collator = eval_collator
        self.add_callback(EpochCallback(self))
        self.sums = TrainingSums(self.args.device)
        self.add_callback(LogsCallback(self.sums))
        if self.pop_callback(ProgressCallback) is not None:
            self.add_callback(TrainingBar())

    # Batches

    def get_train_dataloader(self) -> DataLoader:
        """Returns the training batches of this process, in modality batches."""
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
        """Deals the batches of the sampler to the processes."""
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
        """Brings a tensor to the device as it is. Under DeepSpeed the Trainer would round what is no integer to the
        weights' type: labels, and the seconds that positions follow from."""
        return data.to(self.args.device) if isinstance(data, torch.Tensor) else super()._prepare_input(data)

    # Outputs of the towers

    def use_tower_cache(self, cache: TowerCache) -> None:
        """Takes the outputs of the towers from a cache, and stores there what it lacks.

        Args:
            cache ([`~train.tower_cache.TowerCache`]): As [`~train.towers.open_tower_cache`] returns it.
        """
        self.tower_cache = cache
        self.train_dataset.tower_cache = cache
        if self.eval_dataset is not None:
            self.eval_dataset.tower_cache = cache

    def _store_towers(self, uncached_clips: list[UncachedClip], outputs: CLUEOutput) -> None:
        """Stores what the towers gave for the clips of a batch that were not in the cache."""
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

    def create_scheduler(self, num_training_steps: int, optimizer=None):
        """Adds the number of decay steps to the schedule that has a decay."""
        self.args.lr_scheduler_kwargs = self.args.scheduler_kwargs(num_training_steps)
        return super().create_scheduler(num_training_steps, optimizer)

    # Logs

    def _get_grad_norm(self, model, grad_norm=None):
        """Notes the gradient norm, with which a step ends."""
        grad_norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        self.sums.end_step(grad_norm)
        return grad_norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds what the sums give to the logs of training."""
        if "loss" in logs:
            logs |= self.sums.logs(self.accelerator)
        super().log(logs, start_time)

    # Evaluation

    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        """Evaluates as the Trainer does; the time does not count in the speed of training."""
        started = time.perf_counter()
        metrics = super().evaluate(*args, **kwargs)
        self.sums.started += time.perf_counter() - started
        return metrics

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """Scores one batch.

        Returns:
            `tuple`: No loss (the mean of batches of unequal size would be wrong), then probability (not of CLUE-T,
            which would have to write it) and loss, then label and modality of each hypothesis. All have shape
            `(1, hypotheses)`: the Trainer pads the second dimension to that of the other processes with -100 and
            gathers along the first.
        """
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


def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Computes loss and errors over all hypotheses and by modality.

    Args:
        prediction ([`~transformers.EvalPrediction`]): What [`CLUETrainer.prediction_step`] returned, gathered.

    Returns:
        `dict[str, float]`: `loss`, `mse`, `mae`, `constant_mean_mse` and `hypotheses`, and each with the name of a
        modality behind it. Without probabilities there is neither `mse` nor `mae`.
    """
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
