"""The options of a training run, beside those of `transformers.TrainingArguments` and `trl.ModelConfig`."""

import re
from dataclasses import dataclass, field
from typing import Literal

from transformers import TrainingArguments

from datasets_scripts.schema import MODALITIES
from train.backends import keep_to_torch_collectives


@dataclass
class DataArguments:
    """What to train on, and with what loss.

    Args:
        dataset (`str`):
            Folder or Hub name of the dataset.
        configs (`list[str]`):
            Names of its configs; several are trained on together.
        variant (`str`, *optional*, defaults to `"distribution"`):
            `"distribution"` over confidence tokens: the paper's CLUE-D. `"text"`: its baseline CLUE-T, which writes
            the probability. Both start from a checkpoint of CLUE.
        train_split (`str`, *optional*, defaults to `"train"`):
            Split to train on.
        eval_split (`str`, *optional*, defaults to `"validation"`):
            Split to evaluate on during training, where `eval_strategy` asks for it.
        eval_configs (`list[str]`, *optional*):
            The configs to evaluate on during training, for where not all have the split. Those of `configs` by
            default.
        teacher_answers (`str`, *optional*, defaults to `"vote"`):
            Where a training row's probability is a teacher's: `"vote"` is that of all its answers, the row's
            `probability`. `"first"` is its first answer alone: the ablation of section 3.1's self-consistency.
        max_train_premises (`int`, *optional*):
            Most training premises of each config.
        max_eval_premises (`int`, *optional*):
            Most evaluation premises of each config.
        max_hypotheses_per_premise (`int`, *optional*):
            Most hypotheses of a premise in a batch, other ones every epoch until all were seen. All of them by
            default.
        modality_batching (`str`, *optional*, defaults to `"batched"`):
            `"batched"`: a batch has one modality, the same on every process. `"mixed"`: the paper's ablation.
        cache_premises (`bool`, *optional*, defaults to `False`):
            Keep the encoded premises in memory, so that each clip is decoded only once. Every process keeps a copy.
        tower_cache (`str`, *optional*):
            Folder where the outputs of frozen towers are kept: from its second epoch on, and in later runs with the
            same towers and processor, a clip is neither decoded nor goes through the towers. Shared by all processes.
        tower_cache_gb (`float`, *optional*, defaults to 100.0):
            Most gigabytes of that folder. It should hold the whole dataset: a batch is taken from it whole or not at
            all.
        target (`str`, *optional*):
            Target distribution, or `"mse"`. The checkpoint's own by default.
        sigma (`float`, *optional*):
            Width of the target distribution. The checkpoint's own by default.
        freeze_towers (`bool`, *optional*):
            Whether the audio and vision towers stay as they are. By default they do with LoRA, and not without.
    """

    dataset: str = field(metadata={"help": "Folder or Hub name of the dataset."})
    configs: list[str] = field(metadata={"help": "Names of its configs; several are trained on together."})
    variant: Literal["distribution", "text"] = field(
        default="distribution",
        metadata={"help": "A distribution over confidence tokens (CLUE-D), or the probability as text (CLUE-T)."},
    )
    train_split: str = field(default="train", metadata={"help": "Split to train on."})
    eval_split: str = field(default="validation", metadata={"help": "Split to evaluate on during training."})
    eval_configs: list[str] | None = field(
        default=None, metadata={"help": "Configs to evaluate on during training. Those of --configs by default."}
    )
    teacher_answers: Literal["vote", "first"] = field(
        default="vote", metadata={"help": "Train on the vote of a teacher's answers, or on its first alone."}
    )
    max_train_premises: int | None = field(default=None, metadata={"help": "Most training premises of each config."})
    max_eval_premises: int | None = field(default=None, metadata={"help": "Most evaluation premises of each config."})
    max_hypotheses_per_premise: int | None = field(
        default=None,
        metadata={"help": "Most hypotheses of a premise in a batch, other ones every epoch until all were seen."},
    )
    modality_batching: Literal["batched", "mixed"] = field(
        default="batched", metadata={"help": "Whether a batch has one modality, or a mixture (an ablation)."}
    )
    cache_premises: bool = field(
        default=False, metadata={"help": "Keep the encoded premises in memory: each clip is decoded only once."}
    )
    tower_cache: str | None = field(
        default=None,
        metadata={"help": "Folder where the outputs of frozen towers are kept, for later epochs and runs."},
    )
    tower_cache_gb: float = field(default=100.0, metadata={"help": "Most gigabytes of that folder."})
    target: Literal["gaussian", "mean_preserving", "mse"] | None = field(
        default=None, metadata={"help": "Target distribution, or mse. The checkpoint's own by default."}
    )
    sigma: float | None = field(
        default=None, metadata={"help": "Width of the target distribution. The checkpoint's own by default."}
    )
    freeze_towers: bool | None = field(
        default=None, metadata={"help": "Freeze the audio and vision towers. By default with LoRA only."}
    )

    def __post_init__(self):
        for name in ("max_train_premises", "max_eval_premises", "max_hypotheses_per_premise"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        if self.variant == "text" and (self.target is not None or self.sigma is not None):
            raise ValueError("target and sigma are for variant=distribution; variant=text learns the text of answers.")
        if self.tower_cache is not None and self.cache_premises:
            raise ValueError(
                "tower_cache and cache_premises keep the same clips twice: choose one. `--cache_premises false` turns "
                "the other off where a recipe asks for it."
            )
        if not self.tower_cache_gb > 0:
            raise ValueError(f"tower_cache_gb must be positive, got {self.tower_cache_gb}.")
        if self.sigma is not None and not self.sigma > 0:
            raise ValueError(f"sigma must be positive, got {self.sigma}.")


# What the Trainer gives for a modality, or for all: see `train.trainer.compute_metrics`. All are errors.
METRIC = re.compile(rf"(loss|mse|mae)(_({'|'.join(MODALITIES)}))?")
# The Trainer's options that do nothing with this model, their defaults, and why.
WITHOUT_EFFECT = {
    "label_smoothing_factor": (0.0, "labels are probabilities; the width of the target is sigma"),
    "eval_do_concat_batches": (True, "errors are measured over all batches together"),
}


@dataclass
class CLUETrainingArguments(TrainingArguments):
    """`transformers.TrainingArguments` with one option more, for `lr_scheduler_type="warmup_stable_decay"`, and other
    defaults.

    Args:
        decay_ratio (`float`, *optional*, defaults to 0.3):
            Share of the steps, at the end, over which the learning rate falls to zero. `lr_scheduler_kwargs` with
            `num_decay_steps` goes before it.
    """

    decay_ratio: float = field(
        default=0.3,
        metadata={"help": "Share of the steps, at the end, of the decay of lr_scheduler_type=warmup_stable_decay."},
    )
    project: str = field(default="clue", metadata={"help": "Name of the project that trackio keeps the run in."})
    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Not used: the collator knows what the model needs."}
    )

    # A batch of text leaves the towers without gradients: DDP must not wait for them.
    ddp_find_unused_parameters: bool | None = field(
        default=True, metadata={"help": "On: not every modality goes through every tower."}
    )

    def __post_init__(self):
        keep_to_torch_collectives()
        for option, (default, reason) in WITHOUT_EFFECT.items():
            if getattr(self, option) != default:
                raise ValueError(f"{option} has no effect here: {reason}. Leave it out.")
        if self.load_best_model_at_end and self.metric_for_best_model is not None:
            metric = self.metric_for_best_model.removeprefix("eval_")
            if not METRIC.fullmatch(metric):
                raise ValueError(
                    f"metric_for_best_model={self.metric_for_best_model!r} is not measured: it is loss, mse or mae of "
                    "all hypotheses or of a modality's, such as mse_audio."
                )
            if self.greater_is_better:
                raise ValueError(f"greater_is_better must be false: {metric} is an error, the less the better.")
            self.greater_is_better = False
        super().__post_init__()
        if not 0 <= self.decay_ratio <= 1:
            raise ValueError(f"decay_ratio must be in [0, 1], got {self.decay_ratio}.")
        if self.dataloader_persistent_workers:
            raise ValueError("dataloader_persistent_workers must be off: its workers would not learn of a new epoch.")
