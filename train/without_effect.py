"""Finds options of a training that would do nothing: one that is taken and ignored lets a run pass for what it is not.

`tests/train/test_options.py` asks of every option that there is which it is.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import NamedTuple


_QUANTIZED = "no weight is quantized here; `--use-peft true --dtype bfloat16 --bf16 true` needs little memory"
_MEASURED = "what is measured is loss, MSE and MAE over all hypotheses and by modality, whatever it says"
_ROUNDED = "it would round the weights that are saved; `--bf16 true` evaluates in bfloat16 as well"
_LIGER = "Liger has no kernels for this model"
_SORTED = "batches have one modality and premises of similar length already: see `--modality-batching`"

# Options that are never looked at, or that the rest does not go together with: what there is instead.
UNUSED = {
    "load_in_8bit": _QUANTIZED,
    "load_in_4bit": _QUANTIZED,
    "bnb_4bit_quant_type": _QUANTIZED,
    "use_bnb_nested_quant": _QUANTIZED,
    "bnb_4bit_quant_storage": _QUANTIZED,
    "lora_task_type": "the task is that of `--variant`",
    "label_smoothing_factor": "labels are probabilities, not classes; `--sigma` is the width of their distributions",
    "prediction_loss_only": _MEASURED,
    "include_for_metrics": _MEASURED,
    "batch_eval_metrics": _MEASURED,
    "eval_do_concat_batches": _MEASURED,
    "eval_use_gather_object": _MEASURED,
    "label_names": _MEASURED,
    "greater_is_better": "whatever metric_for_best_model is, it is a loss or an error, of which less is better",
    "bf16_full_eval": _ROUNDED,
    "fp16_full_eval": _ROUNDED,
    "use_liger_kernel": _LIGER,
    "liger_kernel_config": _LIGER,
    "use_cache": "nothing is generated in training",
    "auto_find_batch_size": "a batch keeps its size; set `--per-device-train-batch-size`, and "
    "`--gradient-accumulation-steps` to make up for it",
    "parallelism_config": "premises are dealt out to processes, and nothing else is split",
    "save_on_each_node": "the output folder must be on a disk that all machines share, and is written once",
    "enable_jit_checkpoint": "its half-written folder would be taken for a checkpoint; with `--save-steps`, a run can "
    "be killed at any moment",
    "restore_callback_states_from_checkpoint": "no callback has a state to go on from",
    "dataloader_drop_last": "every premise is trained on",
    "dataloader_in_order": "processes would not have batches of the same modality at a step",
    "dataloader_persistent_workers": "its workers would not learn of a new epoch",
    "remove_unused_columns": "the collator knows what the model needs",
    "train_sampling_strategy": _SORTED,
    "length_column_name": _SORTED,
    "local_rank": "`accelerate launch` and torchrun number the processes",
    "do_train": "a run always trains",
    "do_predict": "`python -m evaluation.run` evaluates what was trained",
}


class DependentOptions(NamedTuple):
    """Holds options that count only beside another."""

    names: Sequence[str]
    # The option that decides whether they count, and whether they do not, from its value.
    master: str
    idle: Callable[[object], bool]
    # What is to be said after "has no effect".
    why: str


def _is(*values: object) -> Callable[[object], bool]:
    return lambda value: value in values


def _is_not(*values: object) -> Callable[[object], bool]:
    return lambda value: value not in values


# transformers makes these of a learning rate and Adam's options alone.
_WITHOUT_ARGS = re.compile(r"adamw_torch(_fused|_xla|_npu_fused)?|adafactor|(paged_)?(adamw|lion)(_bnb)?_\d+bit")

DEPENDENT = [
    DependentOptions(
        (
            *("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "lora_target_parameters"),
            *("lora_modules_to_save", "use_rslora", "use_dora"),
        ),
        "use_peft",
        _is(False),
        "without LoRA: add `--use-peft true`",
    ),
    DependentOptions(
        (
            *("eval_split", "eval_configs", "max_eval_premises", "eval_steps", "eval_delay", "eval_on_start"),
            *("do_eval", "metric_for_best_model", "load_best_model_at_end"),
        ),
        "eval_strategy",
        _is("no"),
        "without evaluation: add `--eval-strategy epoch` or `steps`",
    ),
    DependentOptions(("eval_steps",), "eval_strategy", _is_not("steps"), "but with `--eval-strategy steps`: add it"),
    DependentOptions(("save_steps",), "save_strategy", _is_not("steps"), "but with `--save-strategy steps`: add it"),
    DependentOptions(
        ("num_train_epochs",),
        "max_steps",
        lambda value: value > 0,
        "beside max_steps, which is the length of the run: set `--max-steps -1`",
    ),
    DependentOptions(
        ("hub_model_id", "hub_revision", "hub_strategy", "hub_always_push"),
        "push_to_hub",
        _is(False),
        "where nothing is pushed: add `--push-to-hub true`",
    ),
    DependentOptions(
        ("trackio_space_id", "trackio_bucket_id", "trackio_static_space_id"),
        "report_to",
        lambda value: not {"trackio", "all"} & set(value.split() if isinstance(value, str) else value or ()),
        "without trackio: add `--report-to trackio`",
    ),
    DependentOptions(
        ("tower_cache_gb",), "tower_cache", _is(None), "without a cache: name its folder with `--tower-cache`"
    ),
    DependentOptions(
        ("train_projections",),
        "freeze_towers",
        _is(False),
        "with freeze_towers=false, where projections are trained like the rest: add `--freeze-towers true`",
    ),
    DependentOptions(
        ("projection_learning_rate",),
        "train_projections",
        _is(False),
        "where no projection is trained by itself: add `--train-projections true`",
    ),
    DependentOptions(
        ("sigma",), "target", _is("mse"), "with target=mse, which has no distribution: choose another `--target`"
    ),
    DependentOptions(
        ("model_revision",),
        "model_name_or_path",
        lambda value: value is not None and Path(value).is_dir(),
        "on a folder, which has no revisions: name a repository as ORG/NAME",
    ),
    DependentOptions(
        ("decay_ratio",),
        "lr_scheduler_type",
        _is_not("warmup_stable_decay"),
        "but with `--lr-scheduler-type warmup_stable_decay`: add it",
    ),
    DependentOptions(
        ("warmup_steps",),
        "lr_scheduler_type",
        _is("constant", "reduce_lr_on_plateau", "greedy"),
        "with this lr_scheduler_type: a constant rate is warmed up to by `--lr-scheduler-type constant_with_warmup`",
    ),
    DependentOptions(
        ("lr_scheduler_kwargs",),
        "lr_scheduler_type",
        _is("constant", "constant_with_warmup"),
        "on a constant rate: choose another `--lr-scheduler-type`",
    ),
    DependentOptions(
        ("adam_beta1", "adam_beta2", "adam_epsilon"),
        "optim",
        _is("sgd", "adagrad", "rmsprop", "adafactor"),
        "on this optim, which is no Adam: choose another `--optim`",
    ),
    DependentOptions(
        ("optim_args",),
        "optim",
        lambda value: _WITHOUT_ARGS.fullmatch(value) is not None,
        "on this optim: AdamW's options are `--adam-beta1`, `--adam-beta2`, `--adam-epsilon`, `--weight-decay`",
    ),
    DependentOptions(
        ("optim_target_modules",),
        "optim",
        lambda value: not value.startswith(("galore", "apollo")),
        "but on GaLore and APOLLO: choose another `--optim`",
    ),
    DependentOptions(("fsdp_config",), "fsdp", lambda value: not value, "without `--fsdp`: add it"),
    DependentOptions(
        ("dataloader_multiprocessing_context",),
        "dataloader_num_workers",
        _is(0),
        "without workers: set `--dataloader-num-workers`",
    ),
]


def default(field) -> object:
    """Returns the default of a dataclass's field."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def idle_options(values: dict[str, object], defaults: dict[str, object]) -> Iterator[tuple[str, str, str]]:
    """Yields each option that would do nothing as the others are, the option that decides, and an error."""
    for names, master, idle, why in DEPENDENT:
        if master in values and idle(values[master]):
            for name in names:
                if name in values and values[name] != defaults[name]:
                    yield name, master, f"{name} has no effect {why}, or leave {name} out."


def refuse_idle(options: object) -> None:
    """Refuses what would do nothing in one of the classes of options."""
    defaults = {field.name: default(field) for field in fields(options)}
    values = {name: getattr(options, name) for name in defaults}
    for name, why in UNUSED.items():
        if name in values and values[name] != defaults[name]:
            raise ValueError(f"Leave {name} out, it has no effect here: {why}.")
    for _, _, error in idle_options(values, defaults):
        raise ValueError(error)
