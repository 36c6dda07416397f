"""Computes what the logs of a training hold: loss and gradient norm by modality, throughput, padding."""

import time

import torch
from accelerate import Accelerator

from modeling_clue.modalities import MIXED, MODALITIES


# Summed over the batches of a step: losses and number of hypotheses by modality, tokens without and with padding.
LOSS = slice(0, len(MODALITIES))
HYPOTHESES = slice(len(MODALITIES), 2 * len(MODALITIES))
TOKENS, PLACES = 2 * len(MODALITIES), 2 * len(MODALITIES) + 1
COLUMNS = 2 * len(MODALITIES) + 2


class TrainingSums:
    """Sums up the steps since the last log on this process's device, without synchronizing at a step."""

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
        """Adds a batch to the step: the index in `MODALITIES` and the loss of each hypothesis, and what is padding."""
        loss = hypothesis_loss.detach().double()
        self.step[LOSS].index_add_(0, modality, loss)
        self.step[HYPOTHESES].index_add_(0, modality, torch.ones_like(loss))
        self.step[TOKENS] += attention_mask.sum()
        self.step[PLACES] += attention_mask.numel()

    def end_step(self, grad_norm: torch.Tensor | float | None) -> None:
        """Ends the step, with its gradient norm where the backend gives one."""
        self.steps.append(self.step)
        self.grad_norms.append(grad_norm)
        self.step = self._zeros()

    def logs(self, accelerator: Accelerator) -> dict[str, float]:
        """Reduces the ended steps over all processes, each of which must call it, and begins anew.

        `loss_audio` is the mean over hypotheses; `grad_norm_audio` the mean over the steps whose batches were all of
        that modality, else `grad_norm_mixed`; `tokens_per_second` is without padding.
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
