"""Holds the options of a training run beside those of `transformers.TrainingArguments` and `trl.ModelConfig`."""

import os
from dataclasses import asdict, dataclass
from typing import Literal

from transformers import TrainingArguments
from transformers.hf_argparser import HfArg
from transformers.trainer_pt_utils import AcceleratorConfig
from trl import ModelConfig

from train.without_effect import refuse_idle


# Of `accelerator_config`, what says how batches are dealt out.
BATCH_OPTIONS = ("split_batches", "dispatch_batches", "even_batches", "use_seedable_sampler")


@dataclass
class DataArguments:
    """Says what to train on, and with what loss."""

    dataset: str = HfArg(help="Folder or Hub name of the dataset.")
    dataset_configs: list[str] = HfArg(help="Names of its configs; several are trained on together.")
    variant: Literal["distribution", "text"] = HfArg(
        default="distribution",
        help="A distribution over confidence tokens (the paper's CLUE-D), or the probability as text (its "
        "baseline CLUE-T). Both start from a checkpoint of CLUE.",
    )
    train_split: str = HfArg(default="train", help="Split to train on.")
    eval_split: str = HfArg(
        default="validation", help="Split to evaluate on during training, where --eval-strategy asks for it."
    )
    eval_configs: list[str] | None = HfArg(
        default=None,
        help="Configs to evaluate on during training, for where not all have the split. Those of --dataset-configs by "
        "default.",
    )
    teacher_answers: Literal["vote", "first"] = HfArg(
        default="vote",
        help="Where a row's probability is a teacher's, train on the vote of all its answers, or on the first "
        "alone: the ablation of section 3.1's self-consistency.",
    )
    config_weights: list[float] | None = HfArg(
        default=None,
        help="How often an epoch goes through each of --dataset-configs, in their order: 2 is twice, 0.25 a random "
        "quarter of the premises, always the same. Once by default.",
    )
    max_train_premises: int | None = HfArg(default=None, help="Most training premises of each config.")
    max_eval_premises: int | None = HfArg(default=None, help="Most evaluation premises of each config.")
    max_hypotheses_per_premise: int | None = HfArg(
        default=None,
        help="Most hypotheses of a premise in a batch, other ones every epoch until all were seen. All of them "
        "by default.",
    )
    prefix_share: float = HfArg(
        default=0.0,
        help="Share of the premises that are cut short in an epoch, other ones in the next, at a place where belief "
        "can be told over time and the dataset knows, in its column prefixes, what is true then. A premise without "
        "such a place stays whole.",
    )
    modality_batching: Literal["batched", "mixed"] = HfArg(
        default="batched",
        help="A batch has one modality, the same on every process, or a mixture: the paper's ablation.",
    )
    cache_premises: bool = HfArg(
        default=False,
        help="Keep the encoded premises in memory, a copy in every process: each clip is decoded only once.",
    )
    tower_cache: str | None = HfArg(
        default=None,
        help="Folder where what frozen towers give before it is projected is kept, shared by all processes: from its "
        "second epoch on, and in later runs with the same towers and processor, a clip is neither decoded nor goes "
        "through the towers.",
    )
    tower_cache_gb: float = HfArg(
        default=100.0,
        help="Most gigabytes of that folder. It should hold the whole dataset: a batch is taken from it whole "
        "or not at all.",
    )
    target: Literal["gaussian", "mean_preserving", "mse"] | None = HfArg(
        default=None, help="Target distribution, or mse. The checkpoint's own by default."
    )
    sigma: float | None = HfArg(
        default=None, help="Width of the target distribution. The checkpoint's own by default."
    )
    freeze_towers: bool | None = HfArg(
        default=None, help="Freeze the audio and vision towers. By default with LoRA only."
    )
    train_projections: bool = HfArg(
        default=False,
        help="Train the last layers of frozen towers, which bring what they give to the width of the language model: "
        "for towers and a language model that were not made for each other. With LoRA the adapter holds them whole.",
    )

    def __post_init__(self):
        refuse_idle(self)
        for name in ("max_train_premises", "max_eval_premises", "max_hypotheses_per_premise"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        weights = self.config_weights
        if weights is not None and (
            len(weights) != len(self.dataset_configs) or not all(0 < w < 1e3 for w in weights)
        ):
            raise ValueError(
                f"config_weights needs a positive number for each of {', '.join(self.dataset_configs)}, got "
                f"{', '.join(f'{weight:g}' for weight in weights)}."
            )
        if self.variant == "text" and (self.target is not None or self.sigma is not None):
            raise ValueError("target and sigma are for variant=distribution; variant=text learns the text of answers.")
        if self.tower_cache is not None and self.cache_premises:
            raise ValueError(
                "tower_cache and cache_premises keep the same clips twice: choose one. `--cache-premises false` turns "
                "the other off where a recipe asks for it."
            )
        if not 0 <= self.prefix_share <= 1:
            raise ValueError(f"prefix_share must be in [0, 1], got {self.prefix_share}.")
        if self.prefix_share == 1 and self.tower_cache is not None:
            raise ValueError(
                "tower_cache keeps whole clips, and with prefix_share=1 there are none: leave one of them out, or cut "
                "fewer."
            )
        if not self.tower_cache_gb > 0:
            raise ValueError(f"tower_cache_gb must be positive, got {self.tower_cache_gb}.")
        if self.sigma is not None and not self.sigma > 0:
            raise ValueError(f"sigma must be positive, got {self.sigma}.")


@dataclass
class CLUETrainingArguments(TrainingArguments):
    """Adds `decay_ratio` and other defaults to `transformers.TrainingArguments`; refuses what does nothing here."""

    projection_learning_rate: float | None = HfArg(
        default=None,
        help="Learning rate of what --train-projections trains, by default that of the rest: at a rate that is good "
        "for LoRA, Adam can turn a projection into another in a dozen steps.",
    )
    decay_ratio: float = HfArg(
        default=0.3,
        help="Share of the steps, at the end, over which lr_scheduler_type=warmup_stable_decay falls to zero; "
        "num_decay_steps in lr_scheduler_kwargs goes before it.",
    )
    project: str = HfArg(default="clue", help="Name of the project that trackio keeps the run in.")
    greater_is_better: bool | None = HfArg(
        default=False, help="Off: whatever metric_for_best_model is, it is a loss or an error."
    )
    remove_unused_columns: bool = HfArg(default=False, help="Not used: the collator knows what the model needs.")

    # A batch of text leaves the towers without gradients: DDP must not wait for them.
    ddp_find_unused_parameters: bool | None = HfArg(
        default=True, help="On: not every modality goes through every tower."
    )

    def __post_init__(self):
        self.greater_is_better = bool(self.greater_is_better)
        refuse_idle(self)
        _keep_to_torch_collectives()  # before the processes meet, below
        super().__post_init__()
        if self.projection_learning_rate is not None and not self.projection_learning_rate > 0:
            raise ValueError(f"projection_learning_rate must be positive, got {self.projection_learning_rate}.")
        dealt, as_ever = asdict(self.accelerator_config), asdict(AcceleratorConfig())
        for name in BATCH_OPTIONS:
            if dealt[name] != as_ever[name]:
                raise ValueError(f"Leave {name} out of accelerator_config: batches are dealt out by modality.")
        if self.fp16 and self.device.type == "cpu":
            raise ValueError("fp16 has no effect on the CPU: take `--bf16 true`, or leave fp16 out.")
        if self.activation_checkpointing_kwargs is not None and not self.activation_checkpointing:
            raise ValueError(
                "activation_checkpointing_kwargs have no effect without `--activation-checkpointing true`: add it."
            )
        if self.optim_args is not None and not all("=" in part for part in self.optim_args.split(",")):
            raise ValueError(f"optim_args must be NAME=VALUE,NAME=VALUE, got {self.optim_args}.")
        if self.save_strategy == "best" and self.eval_strategy == "no":
            raise ValueError("save_strategy=best saves nothing without evaluation: add `--eval-strategy epoch`.")
        for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.max_steps != -1 and self.max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, or -1 for num_train_epochs, got {self.max_steps}.")
        if self.max_steps == -1 and not self.num_train_epochs > 0:
            raise ValueError(f"num_train_epochs must be positive, got {self.num_train_epochs}.")
        if not 0 <= self.decay_ratio <= 1:
            raise ValueError(f"decay_ratio must be in [0, 1], got {self.decay_ratio}.")

    def scheduler_kwargs(self, num_training_steps: int) -> dict[str, object]:
        """Returns `lr_scheduler_kwargs`, with the number of decay steps for a schedule that has a decay."""
        decay = {}
        if self.lr_scheduler_type == "warmup_stable_decay":
            decay = {"num_decay_steps": round(self.decay_ratio * num_training_steps), "decay_type": "linear"}
        return {**decay, **(self.lr_scheduler_kwargs or {})}


@dataclass
class ModelArguments(ModelConfig):
    """Restricts `trl.ModelConfig` to what has an effect here."""

    def __post_init__(self):
        refuse_idle(self)
        super().__post_init__()


def _keep_to_torch_collectives() -> None:
    """Has DeepSpeed use torch's collectives on the CPU: its own take two minutes and a C++ compiler to build."""
    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
        import deepspeed

        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
