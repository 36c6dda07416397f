"""The options that say what scores rows, for every command that scores some."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from datasets import config as datasets_config
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.utils import validate_repo_id
from transformers import AutoConfig, PreTrainedConfig

from chat.messages import questions
from chat.options import add_sending_options, read_sending_options
from common.cli import json_object, positive
from common.digests import digest, weights_digest
from datasets_scripts.schema import MODALITIES
from datasets_scripts.teachers.answer_files import by_question, read_answers
from evaluation.baselines import Baselines
from evaluation.data import load_rows
from evaluation.predictors.baselines import BaselinePredictor
from evaluation.predictors.clue import CLUEPredictor
from evaluation.predictors.prediction import Predictor
from evaluation.predictors.teacher import TeacherPredictor
from evaluation.predictors.text import TextPredictor, answer_format
from modeling_clue.conversion import read


# What can answer any rows, and what needs more of their dataset.
PROMPTED = ("scalar", "binary", "digits")
MODELS = ("auto", *PROMPTED)
BASELINES = ("constant_mean", "hypothesis_only")
PREDICTORS = (*MODELS, "teacher", *BASELINES)
# Fields of a request that have an option of their own, or that would change what is read.
RESERVED = {"messages", "model", "temperature", "max_tokens", "seed", "n", "stream", "logprobs", "top_logprobs"}
# Rows without media or context, to tell one wording of the prompts from another.
EXAMPLE = {"id": "", "premise": "PREMISE", "hypothesis": "HYPOTHESIS", "context": "CONTEXT"}


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


def add_predictor_options(parser: argparse.ArgumentParser, predictors: tuple[str, ...] = MODELS) -> None:
    """
    Adds `--predictor` and what goes with it.

    Args:
        parser (`argparse.ArgumentParser`): The command's. With more than [`MODELS`] it also has `--dataset-config` and
            `--split`.
        predictors (`tuple[str, ...]`): The kinds that the command offers.
    """
    group = parser.add_argument_group("what scores the rows (evaluation/predictors/README.md)")
    group.add_argument("--predictor", choices=predictors, default="auto", help="default: CLUE or CLUE-T, by --model")
    group.add_argument("--model", help="folder of a model, or its name on the Hub")
    if "teacher" in predictors:
        group.add_argument("--answers", type=Path, help="teacher: file or folder with its answers")
    prompting = parser.add_argument_group("prompting")
    prompting.add_argument(
        "--server", help="ask an OpenAI-compatible server, http://127.0.0.1:8000/v1: texts and media are sent there"
    )
    prompting.add_argument("--server-model", help="the server's name for the model")
    prompting.add_argument("--max-tokens", type=positive, default=512, help="scalar: of an answer (default: 512)")
    prompting.add_argument("--extra", type=json_object, default={}, help="more fields of a request (JSON, no secrets)")
    add_sending_options(prompting, failures=20)


def choose_predictor(args: argparse.Namespace, dataset: str) -> ChosenPredictor | None:
    """
    Reads the options that [`add_predictor_options`] added. Nothing is loaded yet.

    Args:
        args (`argparse.Namespace`): The command line.
        dataset (`str`): The folder of the dataset, or its name on the Hub.

    Returns:
        [`ChosenPredictor`]: what scores the rows; `None` for a baseline, which has to be fitted first
            ([`fitted_baseline`]).

    Raises:
        `ValueError`: if the options do not go together, or name what isn't there.
    """
    kind = args.predictor
    if args.server is not None and kind not in ("scalar", "binary"):
        raise ValueError(f"--predictor {kind} can't use a --server: only scalar and binary prompting do.")
    if args.server is not None and (args.model is not None or args.server_model is None):
        raise ValueError("--server goes with --server-model, the server's name for the model, and without --model.")
    if args.server_model is not None and args.server is None:
        raise ValueError("--server-model is for a --server.")
    if kind in MODELS and args.model is None and args.server is None:
        raise ValueError(f"--predictor {kind} needs --model.")
    if kind not in MODELS and args.model is not None:
        raise ValueError(f"--predictor {kind} has no --model: leave it out.")
    if args.extra and args.server is None:
        raise ValueError("--extra is for a --server.")
    if reserved := sorted(RESERVED & args.extra.keys()):
        raise ValueError(f"--extra must leave out {', '.join(reserved)}: they are set here.")
    if kind == "auto":
        return _trained(args)
    if kind == "teacher":
        return _teacher(args, dataset)
    return _prompted(args, dataset) if kind in MODELS else None


def _prompted(args: argparse.Namespace, dataset: str) -> ChosenPredictor:
    """A model that was never trained for this."""
    # What asks models needs the group `teacher`; the other kinds do without.
    from chat import rubrics
    from chat.local import check_local
    from evaluation.predictors.binary import TOP_LOGPROBS, LocalBinary, ServerBinary
    from evaluation.predictors.digits import DigitsPredictor
    from evaluation.predictors.prompting import Prompt
    from evaluation.predictors.scalar import LocalScalar, ServerScalar

    kind = args.predictor
    write = {
        "scalar": rubrics.rubric,
        "binary": rubrics.yes_no_rubric,
        "digits": rubrics.decimals_rubric,
    }[kind]

    def prompt() -> Prompt:
        # Clips of a dataset on the Hub lie in the cache. Only now: the dataset may have been built since.
        folder = Path(dataset) if Path(dataset).is_dir() else Path(datasets_config.HF_CACHE_HOME).expanduser()
        return Prompt(write, folder, int(args.max_media_mb * 1e6))

    settings = {
        "predictor": kind,
        "model": args.server_model or args.model,
        "prompt": digest([write(EXAMPLE | {"modality": modality}) for modality in MODALITIES]),
        "max_media_mb": args.max_media_mb,
    }
    if kind == "scalar":
        settings["max_tokens"] = args.max_tokens
    if args.server is not None:
        options = read_sending_options(args)
        asked = {
            "scalar": {"temperature": 0, "max_tokens": args.max_tokens, "seed": 0},
            "binary": {"temperature": 0, "max_tokens": 1, "seed": 0, "logprobs": True, "top_logprobs": TOP_LOGPROBS},
        }[kind]
        fields = asked | args.extra
        server = {"scalar": ServerScalar, "binary": ServerBinary}[kind]
        return ChosenPredictor(
            f"{kind}-{Path(args.server_model).name}",
            {**settings, "server": options.url, "request": fields},
            lambda: server(prompt(), args.server_model, options, args.in_flight, fields),
        )
    checkpoint = find_checkpoint(args.model)
    check_local(checkpoint)
    make = {
        "scalar": lambda: LocalScalar(prompt(), checkpoint, args.max_tokens),
        "binary": lambda: LocalBinary(prompt(), checkpoint),
        "digits": lambda: DigitsPredictor(prompt(), checkpoint),
    }[kind]
    settings["weights"] = weights_digest(checkpoint)
    return ChosenPredictor(f"{kind}-{_model_name(args.model)}", settings, make)


def _teacher(args: argparse.Namespace, dataset: str) -> ChosenPredictor:
    """Answers that were given before."""
    if args.answers is None:
        raise ValueError("--predictor teacher needs --answers: run python -m datasets_scripts.teacher ask.")
    asked = {question for question, _ in questions(load_rows(dataset, args.dataset_config, args.split))}
    answers = {name: answer for name, answer in by_question(read_answers(args.answers)).items() if name in asked}
    if not answers:
        raise ValueError(
            f"--answers {args.answers} holds none to {args.dataset_config} {args.split} as its rows are now: ask the "
            "teacher first."
        )
    given = sorted([name, [[a.probability, a.reason] for a in answer.parsed]] for name, answer in answers.items())
    return ChosenPredictor(
        f"teacher-{args.answers.resolve().name}",
        {"predictor": "teacher", "model": None, "answers": str(args.answers), "answers_digest": digest(given)},
        lambda: TeacherPredictor(answers),
    )


def fitted_baseline(kind: str, baselines: Baselines) -> ChosenPredictor:
    """
    A baseline as what scores the rows.

    Args:
        kind (`str`): One of [`BASELINES`].
        baselines ([`Baselines`]): Those that were fitted.

    Raises:
        `ValueError`: if it is not among them.
    """
    if kind not in baselines.by_kind:
        raise ValueError(
            f"--predictor {kind} has too few premises to be fitted to: name a config that has more with "
            "--baselines-from."
        )
    baseline = baselines.by_kind[kind]
    fitted = {"name" if fact == "predictor" else fact: value for fact, value in baseline.facts.items()}
    return ChosenPredictor(
        kind, {"predictor": kind, "model": None, "fitted": fitted}, lambda: BaselinePredictor(baseline.answers)
    )


def _trained(args: argparse.Namespace) -> ChosenPredictor:
    """CLUE or CLUE-T, whichever the checkpoint is."""
    checkpoint = find_checkpoint(args.model)
    config = read(AutoConfig, checkpoint, trust_remote_code=True)
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
