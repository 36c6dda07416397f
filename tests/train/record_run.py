"""
Runs `train/sft.py` with its own arguments, and writes down what each process trains on, in the folder RECORDS:

- `rank-<i>.jsonl`: a line a batch with the step, the epoch, the labels and the modalities;
- `gradients.pt`: the gradients of the first step, on the main process.

With KILL_AT_STEP, every process kills itself as it begins that step.
"""

import json
import os
import signal
from pathlib import Path

import torch

import train.sft
from train.trainer import CLUETrainer


RECORDS = Path(os.environ["RECORDS"])
KILL_AT_STEP = int(os.environ.get("KILL_AT_STEP", -1))


class RecordingTrainer(CLUETrainer):
    """Trains as its parent does."""

    def compute_loss(self, model, inputs, *args, **kwargs):
        """Writes the batch down."""
        if self.state.global_step == KILL_AT_STEP:
            os.kill(os.getpid(), signal.SIGKILL)
        record = {
            "step": self.state.global_step,
            "epoch": int(self.state.epoch),
            "labels": inputs["labels"].tolist(),
            "modality": inputs["modality"].tolist(),
        }
        with open(RECORDS / f"rank-{self.accelerator.process_index}.jsonl", "a") as file:
            file.write(json.dumps(record) + "\n")
        return super().compute_loss(model, inputs, *args, **kwargs)

    def _get_grad_norm(self, model, grad_norm=None):
        if self.state.global_step == 0 and self.is_world_process_zero():
            named = self.accelerator.unwrap_model(model).named_parameters()
            gradients = {name: parameter.grad for name, parameter in named if parameter.grad is not None}
            torch.save(gradients, RECORDS / "gradients.pt")
        return super()._get_grad_norm(model, grad_norm=grad_norm)


if __name__ == "__main__":
    train.sft.CLUETrainer = RecordingTrainer
    train.sft.main()
