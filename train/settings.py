"""Compares the options that decide what a run computes: a resumed run must have those it was begun with."""

import json
from dataclasses import asdict, fields
from hashlib import blake2b
from pathlib import Path

from trl import ModelConfig

from common.files import differences
from train.arguments import CLUETrainingArguments, DataArguments
from train.checkpoints import CheckpointError, read_manifest
from train.options import GROUPS, OLD_OPTIONS
from train.premises import PremiseDataset
from train.without_effect import default


# Of the Trainer's options, those that decide the order of the batches and what a step does with them.
TRAINING_OPTIONS = (
    *("seed", "data_seed", "per_device_train_batch_size", "gradient_accumulation_steps"),
    *("num_train_epochs", "max_steps", "ignore_data_skip", "save_only_model"),
    *("learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "decay_ratio"),
    "projection_learning_rate",
    *("optim", "optim_args", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm"),
    *("bf16", "fp16"),
)
# Of the other options, those that may change: where things lie (the rows are compared themselves), and evaluation.
MAY_CHANGE = {
    *("dataset", "model_name_or_path", "model_revision", "tower_cache", "tower_cache_gb"),
    *("attn_implementation", "eval_configs", "eval_split", "max_eval_premises"),
}
ROWS = "the rows of the training data"


def run_settings(
    data_args: DataArguments,
    training_args: CLUETrainingArguments,
    model_args: ModelConfig,
    train_dataset: PremiseDataset,
) -> dict[str, object]:
    """Collects the options of a run, as JSON has them, with a digest of its premises, hypotheses and probabilities."""
    rows = blake2b(digest_size=16)
    for premise in train_dataset.premises:
        rows.update(json.dumps(asdict(premise)).encode())
        prefixes = (train_dataset.prefixes or {}).get(premise.row)
        if prefixes is not None:
            rows.update(prefixes.ends.tobytes() + prefixes.probabilities.tobytes())
    settings = {
        name: value for name, value in (asdict(data_args) | asdict(model_args)).items() if name not in MAY_CHANGE
    }
    settings |= {name: getattr(training_args, name) for name in TRAINING_OPTIONS}
    return json.loads(json.dumps({**settings, ROWS: rows.hexdigest()}, default=str))


def check_settings(checkpoint: str, settings: dict[str, object]) -> None:
    """Checks that a run has the options that its checkpoint was trained with."""
    before = read_manifest(Path(checkpoint))["settings"]
    before = {OLD_OPTIONS.get(name, name): value for name, value in before.items()}
    # An option that there was not yet does nothing by default.
    new = {field.name: default(field) for group in GROUPS for field in fields(group) if field.name not in before}
    before |= {name: value for name, value in new.items() if name in settings}
    if changes := differences(before, settings):
        raise CheckpointError(
            f"{checkpoint} was trained with other options: {changes}. A run goes on as it was "
            "begun: give the options as they were, or start a new run in another `--output-dir`."
        )
