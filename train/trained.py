"""Decides what of a model is trained: adapters, parts that stay as they are, and the precision of the weights."""

import re
from collections.abc import Iterable, Sequence
from copy import copy

import torch
from peft import PeftModel, get_peft_model
from peft.tuners.tuners_utils import check_target_module_exists
from transformers import PreTrainedModel
from transformers.utils import logging
from trl import ModelConfig, get_peft_config

from modeling_clue.backbone import LORA_TARGET_MODULES, TOWERS, is_part_of
from modeling_clue.modeling_clue import ConfidenceEstimation
from train.answers import CLUEForTextAnswers
from train.arguments import CLUETrainingArguments


logger = logging.get_logger(__name__)


def add_lora(
    model: ConfidenceEstimation | CLUEForTextAnswers,
    model_args: ModelConfig,
    untrained: list[str],
    projections: list[str],
) -> PeftModel:
    """Puts the adapter `"default"` on a model but for its untrained parts. A confidence head is trained whole, and so
    are projections, which lie within these parts."""
    config = get_peft_config(model_args)
    # With a task type, peft passes inputs on that only models of that task take.
    config.task_type = None
    if config.target_modules is None and config.target_parameters is None:
        config.target_modules = LORA_TARGET_MODULES
    elif isinstance(config.target_modules, str) and re.fullmatch(r"[\w.]+", config.target_modules):
        config.target_modules = {config.target_modules}  # trl makes a pattern of the only name in a list
    if isinstance(model, ConfidenceEstimation):
        config.modules_to_save = sorted({"confidence_head", *(config.modules_to_save or ())})
    whole = config.modules_to_save or []
    layers = [name for name, _ in model.named_modules()]
    parameters = [name for name, _ in model.named_parameters()]
    named = [] if isinstance(config.target_modules, str) else config.target_modules or []
    for option, names, places, closed in (
        ("lora_target_modules", named, layers, [*untrained, *whole]),
        ("lora_target_parameters", config.target_parameters or [], parameters, untrained),
        ("lora_modules_to_save", whole, layers, untrained),
    ):
        for name in sorted(names):
            found = [place for place in places if f".{place}".endswith(f".{name}")]
            if not found:
                raise ValueError(f"{option} names {name}, and the model has no such layer: leave it out.")
            if all(is_part_of(place, closed) for place in found):
                raise ValueError(
                    f"{option} names {name}, which is only in what it can't be put on ({', '.join(closed)}): leave it "
                    "out. Towers are frozen unless `--freeze-towers false` (their projections are trained with "
                    "`--train-projections true`), the head and lora_modules_to_save are trained whole, and of lm_head "
                    "CLUE-D has no use."
                )

    if projections:
        config.modules_to_save = sorted({*projections, *whole})
    config.exclude_modules = rf"(.*\.)?({'|'.join(untrained)})(\..*)?" if untrained else None
    try:
        model = get_peft_model(model, config)
    except (TypeError, ValueError) as error:
        parts = ", ".join([*untrained, *whole])
        raise ValueError(f"LoRA can't be put on this model so ({parts} get no adapters): {error}") from error
    astray = [name for name in trained_in(model, untrained) if not is_part_of(name, projections)]
    if astray:
        raise ValueError(
            f"LoRA would train {astray[0]}, and in all {len(astray)} weights of {', '.join(untrained)}, which stay as "
            "they are: give longer names in lora_modules_to_save and lora_target_parameters, or add "
            "`--freeze-towers false`."
        )
    unrestricted = copy(model.active_peft_config)
    unrestricted.exclude_modules = None
    frozen = [name for name in layers if is_part_of(name, untrained) and not is_part_of(name, projections)]
    left = [name for name in frozen if check_target_module_exists(unrestricted, name)]
    if left:
        logger.warning(f"LoRA leaves out {len(left)} layers that fit lora_target_modules, such as {left[0]}: frozen.")
    return model


def trained_in(model: PreTrainedModel | PeftModel, parts: Sequence[str]) -> list[str]:
    """Returns the names of trained weights in some parts of a model, adapters among them."""
    trained = (name for name, parameter in model.named_parameters() if parameter.requires_grad)
    return [name for name in trained if is_part_of(name, parts)]


def mark_trained_projections(model: ConfidenceEstimation | PeftModel, modalities: Iterable[str]) -> None:
    """Takes projections that are trained on any of these modalities off the model's `new_projections`."""
    used = [tower for tower, names in TOWERS.items() if names.intersection(modalities)]
    config = model.config
    config.new_projections = config.backbone.untrained(config.new_projections, trained_in(model, used))


def keep_trained_in_float32(model: PreTrainedModel | PeftModel, training_args: CLUETrainingArguments) -> None:
    """Casts trained weights to float32, or all without LoRA: most updates are too small for a bfloat16 weight."""
    autocast = training_args.mixed_precision != "no"
    if training_args.deepspeed_plugin is not None and autocast:
        return
    if model.dtype == torch.float16 and isinstance(model, PeftModel) and training_args.mixed_precision != "fp16":
        raise ValueError(
            "dtype=float16 without fp16=true loses small gradients: add `--fp16 true`, or take `--dtype bfloat16`."
        )
    short = {
        name: weight
        for name, weight in model.named_parameters()
        if weight.requires_grad and weight.dtype in (torch.bfloat16, torch.float16)
    }
    if not short:
        return
    dtype = dtype_name(model)
    if not isinstance(model, PeftModel):
        model.float()
    elif autocast:
        for weight in short.values():
            weight.data = weight.data.float()
    else:
        raise ValueError(
            f"dtype={dtype} without mixed precision can't train {next(iter(short))}, whose updates would be lost: add "
            "`--bf16 true`, or take `--dtype float32`."
        )
    logger.warning(
        f"dtype={dtype}: what is trained is held and saved in float32, as updates too small for {dtype} would be lost."
    )


def dtype_name(model: PreTrainedModel) -> str:
    """Returns the name of the dtype of a model's weights, as `"bfloat16"`."""
    return str(model.dtype).removeprefix("torch.")
