"""
Runs `train/sft.py` with its own arguments, and checks on the way that batches reach the model as they were collated.
With FSDP_ON_CPU, accelerate takes the CPU for a GPU: it shards with FSDP there alone, though torch can do so here too.
"""

import os

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from transformers import TrainerCallback

import train.sft
from train.trainer import CLUETrainer


class ZeroGradients(TrainerCallback):
    """Gives trained weights a gradient of zero where they have none."""

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)


class BackendTrainer(CLUETrainer):
    """Trains as its parent does, and checks that batches reach the model as they were collated."""

    def __init__(self, **kwargs):
        if "FSDP_ON_CPU" in os.environ:
            PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        super().__init__(**kwargs)

    def compute_loss(self, model, inputs, *args, **kwargs):
        """What is no integer is float32, whatever the weights are."""
        floats = {
            name: value.dtype for name, value in inputs.items() if torch.is_tensor(value) and value.is_floating_point()
        }
        assert set(floats.values()) == {torch.float32}, floats
        return super().compute_loss(model, inputs, *args, **kwargs)


class ZeroGradientsTrainer(BackendTrainer):
    """
    Gives a weight that a step gave no gradient one of zero, as every weight has under ZeRO. The other backends let
    Adam pass it by.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_callback(ZeroGradients())


if __name__ == "__main__":
    train.sft.CLUETrainer = BackendTrainer
    train.sft.main()
