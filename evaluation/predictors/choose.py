"""Registers predictors, and reads the options that say which one scores rows, for every command that scores some.

A predictor is a file of this folder: a [`Predictor`], and a function by which `--predictor NAME` is chosen.
"""

import argparse
import pkgutil
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from transformers import PreTrainedConfig

from chat.client import add_sending_options
from chat.decisions import SOUND
from common.cli import json_object, positive_int
from evaluation.predictors.prediction import Predictor


# Fields of a request that have an option of their own, or that would change what is read.
RESERVED = {"messages", "model", "temperature", "max_tokens", "seed", "n", "stream", "logprobs", "top_logprobs"}


# Of one premise: after so many its answers are kept, for what takes long to give them.
ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class ChosenPredictor:
    """Holds what scores the rows, not loaded yet."""

    name: str  # also of its folder
    settings: dict = field(default_factory=dict)  # what its predictions depend on beside the rows
    make: Callable[[], Predictor] | None = None  # loads it
    # In place of these two, for what has to be fitted first: takes the `Baselines` of an evaluation.
    fit: Callable[..., "ChosenPredictor"] | None = None
    reads_context: bool = False  # whether its answers depend on the rows' `context`
    config: PreTrainedConfig | None = None  # of CLUE or CLUE-T: the target that it was trained on
    answer: str | None = None  # the format of CLUE-T's answers
    rows_at_once: int | None = ROWS_AT_ONCE  # rows about one premise that are answered together; all of them if `None`


@dataclass(frozen=True)
class _Kind:
    """Says how a kind of predictor is chosen, and whether by a `--model`, which may or must be behind a `--server`."""

    choose: Callable[[argparse.Namespace, str], ChosenPredictor]
    model: bool
    server: bool
    here: bool
    reserved: Set[str]


_KINDS: dict[str, _Kind] = {}


def register_predictor(
    name: str, model: bool = True, server: bool = False, here: bool = True, reserved: Set[str] = RESERVED
) -> Callable[[Callable], Callable]:
    """Registers, as a decorator, the function that chooses a predictor.

    The function takes the command line and the dataset's folder or Hub name, and returns a [`ChosenPredictor`], or
    raises a `ValueError` if options do not go together.

    Args:
        name (`str`): Its `--predictor`.
        model (`bool`): Whether it needs a `--model`; what doesn't takes rows of a dataset that are there, by
            `--dataset-config` and `--split`.
        server (`bool`): Whether that may be behind a `--server`.
        here (`bool`): Whether it may run in this process; what may not has `--server` and `--server-model` alone.
        reserved (`Set[str]`): Fields of a request that `--extra` must leave out.
    """

    def register(choose: Callable) -> Callable:
        _KINDS[name] = _Kind(choose, model, server, here, reserved)
        return choose

    return register


def known_predictors() -> dict[str, _Kind]:
    """Returns every predictor by its name: each file of this folder registers what is in it."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        import_module(f"{__package__}.{module.name}")
    return _KINDS


def add_predictor_options(parser: argparse.ArgumentParser, models_only: bool = True) -> None:
    """Adds `--predictor` and what goes with it; unless `models_only`, also the predictors without a `--model`, for
    which the command has `--dataset-config` and `--split`."""
    kinds = [name for name, kind in known_predictors().items() if kind.model or not models_only]
    group = parser.add_argument_group("what scores the rows (evaluation/predictors/README.md)")
    group.add_argument("--predictor", choices=kinds, default="auto", help="default: CLUE or CLUE-T, by --model")
    group.add_argument("--model", help="folder of a model, or its name on the Hub")
    if not models_only:
        group.add_argument("--answers", type=Path, help="teacher: file or folder; recorded: file of predictions")
    prompting = parser.add_argument_group("prompting, and models behind a server")
    prompting.add_argument(
        "--server",
        help="ask a server, http://127.0.0.1:8000/v1, OpenAI-compatible or of decisions: texts and media go there",
    )
    prompting.add_argument("--server-model", help="the server's name for the model")
    prompting.add_argument("--max-tokens", type=positive_int, default=512, help="scalar: of an answer (default: 512)")
    prompting.add_argument("--extra", type=json_object, default={}, help="more fields of a request (JSON, no secrets)")
    prompting.add_argument(
        "--questions-per-request",
        type=positive_int,
        default=1,
        help="systemone, decisions: hypotheses about one premise that are asked together at most (default: 1)",
    )
    prompting.add_argument(
        "--sound-of-video",
        choices=SOUND,
        default=SOUND[0],
        help="systemone: videos that are judged with their sound have it in their file, or as a clip beside (default: "
        "%(default)s)",
    )
    add_sending_options(prompting, failures=20)


def choose_predictor(args: argparse.Namespace, dataset: str) -> ChosenPredictor:
    """Reads the options that [`add_predictor_options`] added, for a dataset's folder or its name on the Hub."""
    name, kinds = args.predictor, known_predictors()
    kind = kinds[name]
    if args.server is not None and not kind.server:
        able = ", ".join(other for other, its in kinds.items() if its.server)
        raise ValueError(f"--predictor {name} can't use a --server: only these do: {able}.")
    if args.server is not None and (args.model is not None or args.server_model is None):
        raise ValueError("--server goes with --server-model, the server's name for the model, and without --model.")
    if args.server_model is not None and args.server is None:
        raise ValueError("--server-model is for a --server.")
    if not kind.here and args.server is None:
        raise ValueError(f"--predictor {name} asks a server: it needs --server and --server-model, and no --model.")
    if kind.model and args.model is None and args.server is None:
        raise ValueError(f"--predictor {name} needs --model.")
    if not kind.model and args.model is not None:
        raise ValueError(f"--predictor {name} has no --model: leave it out.")
    if args.extra and args.server is None:
        raise ValueError("--extra is for a --server.")
    if args.questions_per_request > 1 and kind.here:
        raise ValueError("--questions-per-request is for --predictor systemone and decisions.")
    if reserved := sorted(kind.reserved & args.extra.keys()):
        raise ValueError(f"--extra must leave out {', '.join(reserved)}: they are set here.")
    return kind.choose(args, dataset)


def model_name(model: str) -> str:
    """Writes a model as part of a folder's name."""
    return f"{Path(model).resolve().parent.name}-{Path(model).name}"
