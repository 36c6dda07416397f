"""
Runs `train/sft.py` with its own arguments, and writes down what each process trains on, in the folder RECORDS:

- `rank-<i>.jsonl`: a line a batch with the step, the epoch, the labels and the modalities;
- `gradients.pt`: the gradients of the first step, on the main process.

With KILL_AT, every process kills itself at a moment:

- `step:6`: as it begins that step;
- `there:FILE`: at its first operation on files after the file or folder has come to be in the output folder;
- `half:FILE`: the same, with half of the file written.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

import train.sft
from train.trainer import CLUETrainer


RECORDS = Path(os.environ["RECORDS"])
MOMENT, _, WHERE = os.environ.get("KILL_AT", "never:").partition(":")


def die() -> None:
    """Kills this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def watch(path: Path) -> None:
    """Kills this process once a path is there."""

    def look(event: str, _) -> None:
        if event.startswith(("open", "os.", "shutil.")) and event not in ("os.truncate", "os.kill") and path.exists():
            if MOMENT == "half":
                os.truncate(path, path.stat().st_size // 2)
            die()

    sys.addaudithook(look)


class RecordingTrainer(CLUETrainer):
    """Trains as its parent does."""

    def compute_loss(self, model, inputs, *args, **kwargs):
        """Writes the batch down."""
        if MOMENT == "step" and self.state.global_step == int(WHERE):
            die()
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
    if MOMENT in ("there", "half"):
        watch(Path(sys.argv[sys.argv.index("--output_dir") + 1], WHERE))
    train.sft.CLUETrainer = RecordingTrainer
    train.sft.main()
