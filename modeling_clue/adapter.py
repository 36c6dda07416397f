# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Merges a LoRA adapter into a Thinker, every weight of it or none, and reads the calibration beside it.

PEFT finds modules by name, and transformers 5 renamed the Thinker's: of an adapter trained before, PEFT leaves all
weights out with no more than a warning. Here old names are translated, and a weight without a place is an error.
"""

import json
import math
import re
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn
from transformers.utils import cached_file

from .backbone import MODULE_RENAMES
from .posthoc import check_calibration


# File of an adapter that has the calibration of the model it is merged into.
CALIBRATION = "calibration.json"

# Settings of `adapter_config.json`: those used here and those that mattered in training alone may have any value.
USED_SETTINGS = {"r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "modules_to_save", "bias"}
TRAINING_SETTINGS = {
    "auto_mapping",
    "base_model_name_or_path",
    "ensure_weight_tying",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
}
SUPPORTED_VALUES = {"peft_type": ("LORA",), "init_lora_weights": (True, False, None, "gaussian", "orthogonal")}


def merge_adapter(model: nn.Module, source: str | Path, folder: str) -> list[str]:
    """Adds a LoRA adapter, `W + B A * scale`, to the weights of a Thinker in place and returns their names, sorted.

    The adapter lies in a folder of `source`, or with `""` in `source` itself. Whole weights in its file (of a layer
    below it, `base_layer`, or of a trained module) replace the model's first, as in PEFT. A weight that stays as it is
    has no name here. A setting that is not supported, or a weight without a place in the model, is a `ValueError`.
    """
    config = json.loads(Path(cached_file(source, "adapter_config.json", subfolder=folder)).read_text(encoding="utf-8"))
    check_config(config, f"'{Path(source, folder)}/adapter_config.json'")
    file = cached_file(source, "adapter_model.safetensors", subfolder=folder)
    label = f"'{Path(source, folder)}/adapter_model.safetensors'"
    with safe_open(file, framework="pt") as weights:
        names = list(weights.keys())
        whole, pairs = _match_weights(names, dict(model.named_parameters()), label)
        changed = {id(place) for place, *_ in pairs.values()}
        with torch.no_grad():
            for name, place in whole.items():
                weight = weights.get_tensor(name)
                _check_shape(weight.shape, place.shape, name, label)
                weight = weight.to(place)
                if not torch.equal(weight, place):
                    changed.add(id(place))
                    place.copy_(weight)
            for module, (place, first, second) in pairs.items():
                down, up = weights.get_tensor(first), weights.get_tensor(second)
                rank = _value_by_pattern(config.get("rank_pattern"), module, config["r"])
                _check_shape(down.shape, (rank, place.shape[1]), first, label)
                _check_shape(up.shape, (place.shape[0], rank), second, label)
                alpha = _value_by_pattern(config.get("alpha_pattern"), module, config["lora_alpha"])
                scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
                place += (up.to(place) @ down.to(place)) * scale
    return sorted(name for name, parameter in model.named_parameters() if id(parameter) in changed)


def read_calibration(source: str | Path) -> dict | None:
    """Reads the calibration in an adapter's folder or Hub repository, fitted to the base with the adapter in it.

    Returns:
        `dict`: as `posthoc.py` describes it, or `None` if there is none.

    Raises:
        ValueError: naming the file, if it can't be applied.
    """
    file = cached_file(source, CALIBRATION, _raise_exceptions_for_missing_entries=False)
    if file is None:
        return None
    try:
        calibration = json.loads(Path(file).read_text(encoding="utf-8"))
        check_calibration(calibration)
    except ValueError as error:
        raise ValueError(f"'{Path(source)}/{CALIBRATION}': {error}") from error
    return calibration


def check_config(config: dict, label: str) -> None:
    """Refuses settings of an adapter whose effect on the weights is not known here, by a `ValueError`."""
    for option, value in config.items():
        if option in SUPPORTED_VALUES and value not in SUPPORTED_VALUES[option]:
            raise ValueError(f"{label} has {option} = {value!r}: only {SUPPORTED_VALUES[option]} can be merged.")
        if option not in SUPPORTED_VALUES.keys() | USED_SETTINGS | TRAINING_SETTINGS and value:
            raise ValueError(
                f"{label} has {option} = {value!r}, and what that does to the weights is not known here: merge the "
                "adapter with PEFT, in the versions it was trained with, and convert the result."
            )
    missing = [option for option in ("peft_type", "r", "lora_alpha") if option not in config]
    if missing:
        raise ValueError(f"{label} lacks {', '.join(missing)}.")


def _match_weights(names: list[str], parameters: dict[str, nn.Parameter], label: str) -> tuple[dict, dict]:
    """Maps whole weights of an adapter to parameters by name, and pairs of factors by their module."""
    whole: dict[str, nn.Parameter] = {}
    factors: dict[str, dict[str, str]] = {}
    unused = []
    for name in names:
        module, found, factor = name.removeprefix("base_model.model.").partition(".lora_")
        if factor not in ("", "A.weight", "B.weight"):
            unused.append(name)
        elif found and _new_name(module) + ".weight" in parameters:
            factors.setdefault(module, {})[factor[0]] = name
        elif not found and _new_name(module.replace(".base_layer.", ".")) in parameters:
            whole[name] = parameters[_new_name(module.replace(".base_layer.", "."))]
        else:
            unused.append(name)
    unused += [name for pair in factors.values() if len(pair) < 2 for name in pair.values()]
    if unused:
        raise ValueError(
            f"{label} has {len(unused)} weights of {len(names)} with no place in the model: "
            f"{', '.join(sorted(unused)[:5])}{' ...' if len(unused) > 5 else '.'}"
        )
    if not factors:
        raise ValueError(f"{label} has no factors `lora_A` and `lora_B`: it is no LoRA adapter.")
    pairs = {
        module: (parameters[_new_name(module) + ".weight"], pair["A"], pair["B"]) for module, pair in factors.items()
    }
    return whole, pairs


def _new_name(name: str) -> str:
    for old, new in MODULE_RENAMES:
        name = old.sub(new, name)
    return name


def _value_by_pattern(patterns: dict | None, module: str, default: float) -> float:
    """Returns the value of the first pattern that matches the end of a module's name, as PEFT reads them."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default


def _check_shape(shape, expected, name: str, label: str) -> None:
    if tuple(shape) != tuple(expected):
        raise ValueError(f"{label} has {name} of shape {tuple(shape)}, where {tuple(expected)} is needed.")
