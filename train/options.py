"""Reads the options of a training from a recipe and the command line."""

import argparse
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path

import torch
import yaml
from transformers import HfArgumentParser, Trainer, get_scheduler
from transformers.integrations import get_available_reporting_integrations

from modeling_clue.modalities import MODALITIES
from train.arguments import CLUETrainingArguments, DataArguments, ModelArguments
from train.without_effect import default, idle_options


PROGRAM = "train/sft.py"
GROUPS = (DataArguments, CLUETrainingArguments, ModelArguments)
# Options that a recipe can give what the command line can't: several values, or a dictionary.
RECIPE_ONLY = ("report_to", "optim_target_modules", "liger_kernel_config")

# What options were called, and are called now.
OLD_OPTIONS = {"configs": "dataset_configs"}


def split_recipe(arguments: list[str] | None) -> tuple[str | None, list[str]]:
    """Takes the recipe `--config` out of a command line."""
    parser = argparse.ArgumentParser(prog=PROGRAM, add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    found, line = parser.parse_known_args(arguments)
    return found.config, line


def parse_options(
    arguments: list[str] | None = None,
) -> tuple[DataArguments, CLUETrainingArguments, ModelArguments]:
    """Reads the options of a run: those of the recipe `--config`, and over them those of the command line. What this
    switches off takes along the options of the recipe that count only beside it."""
    path, line = split_recipe(arguments)
    # Without a usage of its own, each error would be printed below all options.
    parser = HfArgumentParser(
        GROUPS, prog=PROGRAM, usage=f"{PROGRAM} [--config RECIPE] [--OPTION VALUE ...]", allow_abbrev=False
    )
    for old, new in OLD_OPTIONS.items():
        if any(word.partition("=")[0] == f"--{old}" for word in line):
            parser.error(f"--{old} is now --{new.replace('_', '-')}")
    recipe = {} if path is None else read_recipe(path)
    words = [word for name, value in recipe.items() for word in _as_arguments(parser, name, value, path)]
    options, unknown = parser.parse_known_args([*words, *line])
    if unknown:
        raise ValueError(f"{PROGRAM}: {_unknown_option(parser, unknown[0])}")

    for action in parser._actions:
        action.default, action.required = argparse.SUPPRESS, False
    on_line = vars(parser.parse_known_args(line)[0])
    defaults = {field.name: default(field) for group in GROUPS for field in fields(group)}
    for name, master, error in idle_options(vars(options), defaults):
        if name in on_line or master not in on_line:
            raise ValueError(error)
        setattr(options, name, defaults[name])
    try:
        groups = tuple(group(**{field.name: vars(options)[field.name] for field in fields(group)}) for group in GROUPS)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.doc} is no JSON, and no file: {error}") from error
    except TypeError as error:  # a dictionary with what it can't have
        raise ValueError(f"The options can't be read: {error}") from error
    check_metric(groups[1], groups[0].variant, MODALITIES)
    _check_available(groups[1])
    return groups


def read_recipe(path: str) -> dict:
    """Reads the options of a recipe, and sets the environment variables that it has under `env`."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no recipe '{path}': those of this repository are in train/recipes.")
    try:
        recipe = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"The recipe '{path}' is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(recipe, dict):
        raise ValueError(f"The recipe '{path}' must have lines `option: value`.")
    environment = recipe.pop("env", None) or {}
    if not isinstance(environment, dict):
        raise ValueError(f"The recipe '{path}' must have lines `NAME: value` under env.")
    os.environ.update({name: str(value) for name, value in environment.items()})
    return recipe


def check_metric(training_args: CLUETrainingArguments, variant: str, modalities: Iterable[str]) -> None:
    """Checks that evaluation of some modalities has the measure by which the best model is found."""
    names = ("loss",) if variant == "text" else ("loss", "mse", "mae")
    parts = ["", *(f"_{modality}" for modality in MODALITIES if modality in modalities)]
    names = [name + part for part in parts for name in names]
    metric = training_args.metric_for_best_model
    if metric is None and training_args.save_strategy == "best":
        raise ValueError(f"save_strategy=best needs metric_for_best_model, one of {', '.join(names)}.")
    if metric is not None and metric.removeprefix("eval_") not in names:
        raise ValueError(f"metric_for_best_model={metric} is not measured here: choose from {', '.join(names)}.")


def _check_available(training_args: CLUETrainingArguments) -> None:
    """Checks trackers, optimizer and schedule at the start, where transformers does as training begins."""
    available = get_available_reporting_integrations()
    for name in training_args.report_to:
        if name not in available:
            raise ValueError(f"report_to={name} is not installed here: there is {', '.join(available) or 'none'}.")
    try:
        with suppress(ValueError):  # some want the model, which is not there yet
            Trainer.get_optimizer_cls_and_kwargs(training_args)
    except ImportError as error:
        raise ValueError(f"optim={training_args.optim.value}: {error}") from error
    optimizer = torch.optim.SGD([torch.zeros(1)])
    try:
        get_scheduler(training_args.lr_scheduler_type, optimizer, 1, 2, training_args.scheduler_kwargs(2))
    except (TypeError, ValueError) as error:
        raise ValueError(f"lr_scheduler_type={training_args.lr_scheduler_type.value}: {error}") from error


def _as_arguments(parser: HfArgumentParser, name: str, value: object, recipe: str) -> list[str]:
    """Writes an option of a recipe as the command line would, where values are checked more closely than defaults."""
    action = parser._option_string_actions.get(f"--{name}")
    if action is None:
        raise ValueError(f"The recipe '{recipe}': {_unknown_option(parser, name)}")
    if value is None:
        return []
    if name in RECIPE_ONLY:
        action.default = value
        return []
    if not isinstance(value, list):
        return [f"--{name}={json.dumps(value) if isinstance(value, bool | dict) else value}"]
    if action.nargs != "+":
        raise ValueError(f"The recipe '{recipe}': {name} takes one value, and has {len(value)}.")
    return [f"--{name}", *map(str, value)]


def _unknown_option(parser: HfArgumentParser, name: str) -> str:
    if name in OLD_OPTIONS:
        return f"{name} is now {OLD_OPTIONS[name]}"
    known = [action.dest for action in parser._actions]
    alike = get_close_matches(str(name).lstrip("-").replace("-", "_"), known, n=1)
    return f"there is no option {name}" + (f"; do you mean {alike[0]}?" if alike else ", `--help` lists them.")
