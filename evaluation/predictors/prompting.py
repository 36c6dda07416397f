"""Prompts models that were never trained for this, here or behind a server, zero-shot.

`scalar` has a number written and reads it as a teacher's. `binary` takes the probability of yes among yes and no, from
what follows the prompt, so that the model must answer without words or thoughts before. `digits` takes the
distribution over the numbers that a model could write: the answer to the rubric is begun as `<answer>`, and each of
the 101 continuations `0.00`, `0.01`, ..., `1.00` has the product of its tokens' probabilities. All have four
characters, so none is the beginning of another and they exclude each other; their probabilities, divided by their sum,
are a distribution, whose mean is the prediction. What has another form, such as `0.8` and the end, is left out; so are
other ways to cut the same text into tokens.

That a score is the expectation over the numbers a model may write is G-Eval's idea (Liu et al. 2023,
https://arxiv.org/abs/2303.16634); that this is the decoding of least squared error, and better than the likeliest
number, is from "Regression-aware inference with LLMs" (Lukasik et al. 2024, https://arxiv.org/abs/2403.04182).
"""

import asyncio
from abc import abstractmethod
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import config as datasets_config

from chat.asking import YES_NO_FIELDS, ask, read_choice, read_yes_no, yes_no_answer, yes_or_no
from chat.client import ChatClient, FailureCounter, RunStoppedError, ServerOptions, check_server, read_sending_options
from chat.local import LocalTeacher, check_local
from chat.media import UnfitPairError
from chat.messages import chat_messages
from chat.replies import AnswerFailedError
from chat.rubrics import decimals_rubric, rubric, yes_no_rubric
from common.digests import digest, weights_digest
from common.hub import find_checkpoint
from evaluation.metrics.uncertain_inference.measures import histogram
from evaluation.predictors.choose import ChosenPredictor, model_name, register_predictor
from evaluation.predictors.prediction import INTERVAL_MASS, Prediction, Predictor, WrittenPrediction
from modeling_clue.confidence import central_interval, expectation, standard_deviation
from modeling_clue.modalities import MODALITIES


Messages = Callable[[dict], list[dict]]

OPENING = "<answer>"
NUMBERS = tuple(f"{hundredths / 100:.2f}" for hundredths in range(101))
# Rows without media or context, to tell one wording of the prompts from another.
EXAMPLE = {"id": "", "premise": "PREMISE", "hypothesis": "HYPOTHESIS", "context": "CONTEXT"}


@register_predictor("scalar", server=True)
def scalar(args: Namespace, dataset: str) -> ChosenPredictor:
    """Chooses a number, written greedily."""
    fields = {"temperature": 0, "max_tokens": args.max_tokens, "seed": 0}
    local = partial(LocalScalar, max_tokens=args.max_tokens)
    return _prompted(args, dataset, rubric, local, fields, read_choice, {"max_tokens": args.max_tokens})


@register_predictor("binary", server=True)
def binary(args: Namespace, dataset: str) -> ChosenPredictor:
    """Chooses a yes or a no."""
    read = partial(read_yes_no, url=args.server and read_sending_options(args).url, model=args.server_model)
    return _prompted(args, dataset, yes_no_rubric, LocalBinary, YES_NO_FIELDS, read)


@register_predictor("digits")
def digits(args: Namespace, dataset: str) -> ChosenPredictor:
    """Chooses the distribution over numbers of two decimals."""
    return _prompted(args, dataset, decimals_rubric, LocalDigits)


def _prompted(
    args: Namespace,
    dataset: str,
    write: Callable[[Mapping], str],
    local: Callable[[Messages, Path], Predictor],
    fields: dict | None = None,
    read: Callable[[dict], dict] = read_choice,
    more: dict | None = None,
) -> ChosenPredictor:
    """Chooses prompting with the texts of `write`; `fields` and `read` are for a server."""
    kind = args.predictor

    def messages() -> Messages:
        # Clips of a dataset on the Hub lie in the cache. Only now: the dataset may have been built since.
        folder = Path(dataset) if Path(dataset).is_dir() else Path(datasets_config.HF_CACHE_HOME).expanduser()
        return partial(chat_messages, dataset=folder, max_media_bytes=int(args.max_media_mb * 1e6), prompt=write)

    settings = {
        "predictor": kind,
        "model": args.server_model or args.model,
        "prompt": digest([write(EXAMPLE | {"modality": modality}) for modality in MODALITIES]),
        "max_media_mb": args.max_media_mb,
        **(more or {}),
    }
    if args.server is not None:
        options, request = read_sending_options(args), {**(fields or {}), **args.extra}
        return ChosenPredictor(
            f"{kind}-{Path(args.server_model).name}",
            {**settings, "server": options.url, "request": request},
            lambda: ServerPrompting(messages(), args.server_model, options, args.in_flight, request, read),
            reads_context=True,
        )
    checkpoint = find_checkpoint(args.model)
    check_local(checkpoint)
    return ChosenPredictor(
        f"{kind}-{model_name(args.model)}",
        {**settings, "weights": weights_digest(checkpoint)},
        lambda: local(messages(), checkpoint),
        reads_context=True,
    )


@dataclass
class PromptingPredictor(Predictor):
    """Asks about each row by itself; `messages` builds the messages for one, as `chat_messages`."""

    messages: Messages

    def prepare(self, rows: list[dict]) -> list[tuple[Any, str | None]]:
        """Writes the prompts: for each row what is asked; or nothing, and the reason why its media can't be used."""
        return [self._prepare_row(row) for row in rows]

    def _prepare_row(self, row: dict) -> tuple[Any, str | None]:
        try:
            return self.encode(self.messages(row)), None
        except (UnfitPairError, AnswerFailedError) as error:
            return None, str(error)

    def encode(self, messages: list[dict]) -> Any:
        """Brings messages into the form in which they are asked."""
        return messages


@dataclass
class LocalPrompting(PromptingPredictor):
    """Asks a model of `transformers` in this process, from a folder, about one row after the other."""

    folder: Path

    def __post_init__(self):
        self.model = LocalTeacher(self.folder)

    def encode(self, messages: list[dict]) -> tuple[dict, list[str]]:
        """Decodes and tokenizes; with the inputs come notes on what was cut of the media."""
        notes = []
        return self.model.encode(messages, notes), notes

    def answer(self, prepared: list[tuple[Any, str | None]]) -> list[Prediction | WrittenPrediction]:
        return [self._answer_row(*row) for row in prepared]

    def _answer_row(self, asked: tuple[dict, list[str]] | None, reason: str | None) -> Prediction | WrittenPrediction:
        if reason is not None:
            return WrittenPrediction(None, "", reason)
        inputs, notes = asked
        try:
            return replace(self.ask(inputs), notes=notes)
        except AnswerFailedError as error:
            return WrittenPrediction(None, "", str(error))

    @abstractmethod
    def ask(self, inputs: dict) -> Prediction | WrittenPrediction:
        """Asks the model about one row; raises `AnswerFailedError` if it can't."""


@dataclass
class LocalScalar(LocalPrompting):
    """Generates an answer of at most `max_tokens`, greedily."""

    max_tokens: int

    def ask(self, inputs: dict) -> WrittenPrediction:
        reply = self.model.reply(inputs, seed=0, max_tokens=self.max_tokens, temperature=0)
        return as_prediction(read_choice(reply["choices"][0]))


class LocalBinary(LocalPrompting):
    """Sums the probabilities of yes and no as the next token; `RunStoppedError` if the vocabulary lacks one."""

    def __post_init__(self):
        super().__post_init__()
        tokenizer = self.model.tokenizer
        texts = tokenizer.batch_decode([[index] for index in range(len(tokenizer))])
        self.words = {index: text for index, text in enumerate(texts) if yes_or_no(text) is not None}
        if {yes_or_no(text) for text in self.words.values()} != {"yes", "no"}:
            raise RunStoppedError(
                f"--model {self.folder} has no single token for both yes and no: use --predictor scalar"
            )

    @torch.inference_mode()
    def ask(self, inputs: dict) -> WrittenPrediction:
        logprobs, _ = self.model.next_token(inputs)
        words = ((text, float(logprobs[index])) for index, text in self.words.items())
        return as_prediction(yes_no_answer(words, self.model.tokenizer.decode(logprobs.argmax())))


class LocalDigits(LocalPrompting):
    """Compares the probabilities of every number of two decimals that could follow."""

    def __post_init__(self):
        super().__post_init__()
        encode = self.model.tokenizer.encode
        self.continuations = [tuple(encode(OPENING + number, add_special_tokens=False)) for number in NUMBERS]

    def ask(self, inputs: dict) -> Prediction:
        distribution = self.model.continuation_scores(inputs, self.continuations).softmax(-1)
        return Prediction(
            probability=min(1.0, float(expectation(distribution))),
            standard_deviation=float(standard_deviation(distribution)),
            entropy=float(torch.special.entr(distribution).sum()),
            interval=central_interval(distribution, INTERVAL_MASS).tolist(),
            histogram=histogram(distribution.cpu()[None])[0].round(6).tolist(),
        )


@dataclass
class ServerPrompting(PromptingPredictor):
    """Asks a model behind an OpenAI-compatible server, about the rows of a batch at the same time."""

    model: str  # the server's name for it
    options: ServerOptions
    in_flight: int  # requests at the same time
    fields: dict  # of each request, beside model and messages
    read: Callable[[dict], dict]  # reads the choice of a reply

    def __post_init__(self):
        check_server(self.options)
        self.failures = FailureCounter(self.options.failures)

    def answer(self, prepared: list[tuple[Any, str | None]]) -> list[WrittenPrediction]:
        """Asks about all rows; raises `RunStoppedError` if the server can't be asked any further."""
        return asyncio.run(self._answer_all(prepared))

    async def _answer_all(self, prepared: list[tuple[Any, str | None]]) -> list[WrittenPrediction]:
        client = ChatClient(self.options, self.model, self.in_flight, self.failures)
        places = asyncio.Semaphore(self.in_flight)

        async def one(messages: list[dict] | None, reason: str | None) -> WrittenPrediction:
            if reason is not None:
                return WrittenPrediction(None, "", reason)
            async with places:
                return as_prediction(await ask(client.send, {"messages": messages, **self.fields}, self.read))

        try:
            return await asyncio.gather(*(one(*row) for row in prepared))
        finally:
            await client.close()


def as_prediction(answer: dict) -> WrittenPrediction:
    """Writes an answer of a chat model as a prediction."""
    return WrittenPrediction(answer["probability"], answer["text"] or "", answer["reason"])
