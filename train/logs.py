"""The logs of a training: loss and gradient norm by modality, throughput, padding, and the bar that shows them."""

import time

import torch
from accelerate import Accelerator
from transformers import ProgressCallback, TrainerCallback

from modeling_clue.processing_clue import MODALITIES


# Summed over the batches of a step: losses and number of hypotheses by modality, tokens without and with padding.
LOSS = slice(0, len(MODALITIES))
HYPOTHESES = slice(len(MODALITIES), 2 * len(MODALITIES))
TOKENS, PLACES = 2 * len(MODALITIES), 2 * len(MODALITIES) + 1
COLUMNS = 2 * len(MODALITIES) + 2
# Name of the steps whose batches were not of one modality.
MIXED = "mixed"


class TrainingSums:
    """Sums of one process over the steps since the last log, kept on its device: nothing waits for it at a step.

    Only [`TrainingSums.logs`] brings the processes together.

    Args:
        device (`torch.device`): The device that the batches are on.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.reset()

    def reset(self) -> None:
        """Begins anew, with the clock at zero."""
        self.steps: list[torch.Tensor] = []
        self.grad_norms: list[torch.Tensor | float | None] = []
        self.step = self._zeros()
        self.started = time.perf_counter()

    def add_batch(self, modality: torch.Tensor, hypothesis_loss: torch.Tensor, attention_mask: torch.Tensor) -> None:
        """Adds a batch to the step.

        Args:
            modality (`torch.LongTensor` of shape `(hypotheses,)`): Index in `MODALITIES` of each hypothesis.
            hypothesis_loss (`torch.FloatTensor` of shape `(hypotheses,)`): Their losses.
            attention_mask (`torch.LongTensor` of shape `(batch_size, sequence_length)`): 0 where a row is padded.
        """
        loss = hypothesis_loss.detach().double()
        self.step[LOSS].index_add_(0, modality, loss)
        self.step[HYPOTHESES].index_add_(0, modality, torch.ones_like(loss))
        self.step[TOKENS] += attention_mask.sum()
        self.step[PLACES] += attention_mask.numel()

    def end_step(self, grad_norm: torch.Tensor | float | None) -> None:
        """Ends the step.

        Args:
            grad_norm (`torch.Tensor` or `float`, *optional*):
                Norm of its gradient, the same on every process; `None` where the backend tells none.
        """
        self.steps.append(self.step)
        self.grad_norms.append(grad_norm)
        self.step = self._zeros()

    def logs(self, accelerator: Accelerator) -> dict[str, float]:
        """Sums up the ended steps over all processes, and begins anew. Every process must call it.

        Args:
            accelerator ([`~accelerate.Accelerator`]): Joins the processes.

        Returns:
            `dict[str, float]`: `loss_audio`, the mean over hypotheses; `grad_norm_audio`, the mean over the steps
            whose batches were all of that modality, or `grad_norm_mixed`; `hypotheses_per_second`,
            `tokens_per_second` (without padding), and `padding_share`, that of padding among all tokens.
        """
        seconds = time.perf_counter() - self.started
        steps = accelerator.reduce(torch.stack(self.steps), reduction="sum").cpu()
        losses, hypotheses = steps[:, LOSS], steps[:, HYPOTHESES]
        logs = {}
        for index, name in enumerate(MODALITIES):
            count = hypotheses[:, index].sum().item()
            if count:
                logs[f"loss_{name}"] = losses[:, index].sum().item() / count
        norms = {}
        for step, norm in zip(hypotheses, self.grad_norms, strict=True):
            if norm is not None:
                present = step.nonzero().flatten().tolist()
                norms.setdefault(MODALITIES[present[0]] if len(present) == 1 else MIXED, []).append(float(norm))
        for name in (*MODALITIES, MIXED):
            if name in norms:
                logs[f"grad_norm_{name}"] = sum(norms[name]) / len(norms[name])
        tokens, places = steps[:, TOKENS].sum().item(), steps[:, PLACES].sum().item()
        logs["hypotheses_per_second"] = round(hypotheses.sum().item() / seconds, 1)
        logs["tokens_per_second"] = round(tokens / seconds, 1)
        logs["padding_share"] = round(1 - tokens / places, 4)
        self.reset()
        return logs

    def _zeros(self) -> torch.Tensor:
        return torch.zeros(COLUMNS, dtype=torch.float64, device=self.device)


class LogsCallback(TrainerCallback):
    """Starts the clock with the training, and closes the logs at each save and evaluation: no sum is cut in two where
    a run is cut off, so the logs of a resumed run are those of one that was left alone.

    Args:
        sums ([`TrainingSums`]): The sums of the trainer.
    """

    def __init__(self, sums: TrainingSums):
        self.sums = sums

    def on_train_begin(self, args, state, control, **kwargs):
        self.sums.reset()

    def on_step_end(self, args, state, control, **kwargs):
        if control.should_save or control.should_evaluate:
            control.should_log = True

    on_epoch_end = on_step_end


class TrainingBar(ProgressCallback):
    """The Trainer's progress bar, with the last log's loss, throughput and share of padding behind it."""

    def on_log(self, args, state, control, logs=None, **kwargs):
        super().on_log(args, state, control, logs=logs, **kwargs)
        if state.is_world_process_zero and self.training_bar is not None and "padding_share" in logs:
            self.training_bar.set_postfix_str(
                f"loss {logs['loss']:.4g}, {logs['hypotheses_per_second']:,.0f} hypotheses/s, "
                f"{logs['tokens_per_second']:,.0f} tokens/s, {logs['padding_share']:.0%} padding"
            )
