"""The options that say what scores rows, for every command that scores some."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.utils import validate_repo_id
from transformers import AutoConfig, PreTrainedConfig

from datasets_scripts.digests import weights_digest
from evaluation.predictors.clue import CLUEPredictor
from evaluation.predictors.prediction import Predictor
from evaluation.predictors.text import TextPredictor, answer_format


# What can be asked about any rows.
PREDICTORS = ("auto",)


@dataclass(frozen=True)
class ChosenPredictor:
    """
    What scores the rows, not loaded yet.

    Args:
        name (`str`): What to call it, also as a folder.
        settings (`dict`): What its predictions depend on beside the rows, for `settings.json`.
        make (`Callable[[], Predictor]`): Loads it.
        config (`CLUEConfig`, *optional*): Of a checkpoint of CLUE or CLUE-T: the target that it was trained on.
        answer (`str`, *optional*): The format of CLUE-T's answers.
    """

    name: str
    settings: dict
    make: Callable[[], Predictor]
    config: PreTrainedConfig | None = None
    answer: str | None = None


def add_predictor_options(parser: argparse.ArgumentParser, predictors: tuple[str, ...] = PREDICTORS) -> None:
    """
    Adds `--predictor` and what goes with it.

    Args:
        parser (`argparse.ArgumentParser`): The command's.
        predictors (`tuple[str, ...]`): The kinds that the command offers.
    """
    group = parser.add_argument_group("what scores the rows")
    group.add_argument("--predictor", choices=predictors, default="auto", help="default: CLUE or CLUE-T, by --model")
    group.add_argument("--model", help="folder of the checkpoint, or its name on the Hub")


def choose_predictor(args: argparse.Namespace, dataset: str) -> ChosenPredictor:
    """
    Reads the options that [`add_predictor_options`] added. Nothing is loaded yet.

    Args:
        args (`argparse.Namespace`): The command line.
        dataset (`str`): The folder of the dataset, or its name on the Hub.

    Returns:
        [`ChosenPredictor`]: what scores the rows.

    Raises:
        `ValueError`: if the options do not go together, or name what isn't there.
    """
    return _trained(args)


def _trained(args: argparse.Namespace) -> ChosenPredictor:
    """CLUE or CLUE-T, whichever the checkpoint is."""
    if args.model is None:
        raise ValueError("--predictor auto needs --model, a checkpoint of CLUE or CLUE-T.")
    checkpoint = find_checkpoint(args.model)
    config = AutoConfig.from_pretrained(checkpoint, trust_remote_code=True)
    answer = answer_format(checkpoint)
    settings = {
        "predictor": "auto",
        "model": args.model,
        "weights": weights_digest(checkpoint),
        "calibration": config.to_dict().get("calibration"),  # the same weights give other answers with it
    }
    kind = CLUEPredictor if answer is None else TextPredictor
    return ChosenPredictor(_model_name(args.model), settings, lambda: kind(checkpoint), config, answer)


def _model_name(model: str) -> str:
    return f"{Path(model).resolve().parent.name}-{Path(model).name}"


def find_checkpoint(model: str) -> Path:
    """
    The folder of a checkpoint, fetched from the Hub if `model` is a name there.

    Raises:
        `ValueError`: if it is neither a folder nor can be a name.
    """
    if Path(model).is_dir():
        return Path(model)
    try:
        validate_repo_id(model)
    except HFValidationError as error:
        raise ValueError(f"--model {model} is no folder, and no name on the Hub either.") from error
    try:
        return Path(snapshot_download(model))
    except (RepositoryNotFoundError, LocalEntryNotFoundError) as error:
        raise ValueError(f"--model {model} is no folder, and was not found on the Hub: {error}") from error
