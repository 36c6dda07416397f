"""What all zero-shot prompting shares: a row becomes a prompt, which a model answers, here or behind a server."""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from chat.failures import AnswerFailedError, FailureCounter
from chat.local import LocalTeacher
from chat.messages import UnfitPairError, chat_messages
from chat.openai_server import ChatClient, check_server
from chat.options import ServerOptions
from evaluation.predictors.prediction import Prediction, TwoStagePredictor, WrittenPrediction


@dataclass(frozen=True)
class Prompt:
    """
    How rows become messages.

    Args:
        write (`Callable`): Writes the text of a row's prompt.
        dataset (`Path`): Media are read from this folder and from nowhere else.
        max_media_bytes (`int`): Larger media files are not used.
    """

    write: Callable[[Mapping], str]
    dataset: Path
    max_media_bytes: int

    def messages(self, row: dict) -> list[dict]:
        """The messages for a row, with its media; raises `UnfitPairError` where these can't be used."""
        return chat_messages(row, self.dataset, self.max_media_bytes, self.write)


def unanswered(reason: str) -> WrittenPrediction:
    """What stands in the place of an answer that never came."""
    return WrittenPrediction(None, "", reason, [])


class PromptingPredictor(TwoStagePredictor):
    """
    Asks about each row by itself.

    Args:
        prompt (`Prompt`): What it asks.
    """

    def __init__(self, prompt: Prompt):
        self.prompt = prompt

    def prepare(self, premises: list[dict], hypotheses: list[list[str]]) -> list[list]:
        """See [`TwoStagePredictor`]; a premise is a row, whose `id` and `context` are taken for all its hypotheses."""
        return self.prepare_rows(
            [
                [{**premise, "hypothesis": claim} for claim in claims]
                for premise, claims in zip(premises, hypotheses, strict=True)
            ]
        )

    def prepare_rows(self, groups: list[list[dict]]) -> list[list]:
        """
        Writes the prompts of rows.

        Args:
            groups (`list[list[dict]]`): Rows, those of one premise together.

        Returns:
            `list[list]`: for each row what is asked; or an `unanswered` prediction if its media can't be used.
        """
        return [[self._prepare_row(row) for row in rows] for rows in groups]

    def _prepare_row(self, row: dict) -> object:
        try:
            return self.encode(self.prompt.messages(row))
        except (UnfitPairError, AnswerFailedError) as error:
            return unanswered(str(error))

    @abstractmethod
    def encode(self, messages: list[dict]) -> object:
        """Brings messages into the form in which they are asked."""


class LocalPrompting(PromptingPredictor):
    """
    A model of `transformers` in this process, one row after the other.

    Args:
        prompt (`Prompt`): What it is asked.
        folder (`Path`): The folder with the model.
    """

    def __init__(self, prompt: Prompt, folder: Path):
        super().__init__(prompt)
        self.model = LocalTeacher(folder)

    def encode(self, messages: list[dict]) -> tuple[dict, list[str]]:
        """Decodes and tokenizes; with the inputs come notes on what was cut of the media."""
        notes = []
        return self.model.encode(messages, notes), notes

    def answer(self, prepared: list[list]) -> list[list[Prediction | WrittenPrediction]]:
        """See [`TwoStagePredictor`]."""
        return [[self._answer_row(row) for row in group] for group in prepared]

    def _answer_row(self, row: tuple[dict, list[str]] | WrittenPrediction) -> Prediction | WrittenPrediction:
        if isinstance(row, WrittenPrediction):
            return row
        inputs, notes = row
        try:
            return replace(self.ask(inputs), notes=notes)
        except AnswerFailedError as error:
            return unanswered(str(error))

    @abstractmethod
    def ask(self, inputs: dict) -> Prediction | WrittenPrediction:
        """Asks the model about one row; raises `AnswerFailedError` if it can't."""


class ServerPrompting(PromptingPredictor):
    """
    A model behind an OpenAI-compatible server; the rows of a batch are asked about at the same time.

    Args:
        prompt (`Prompt`): What it is asked.
        model (`str`): The server's name for it.
        options (`ServerOptions`): The server.
        in_flight (`int`): Requests at the same time.
        fields (`dict`): Further fields of each request.

    Raises:
        `InputError`: if no server is there, or it refuses the key.
    """

    def __init__(self, prompt: Prompt, model: str, options: ServerOptions, in_flight: int, fields: dict):
        super().__init__(prompt)
        check_server(options)
        self.model, self.options, self.in_flight, self.fields = model, options, in_flight, fields
        self.failures = FailureCounter(options.failures)

    def encode(self, messages: list[dict]) -> list[dict]:
        """The messages are sent as they are."""
        return messages

    def answer(self, prepared: list[list]) -> list[list[WrittenPrediction]]:
        """See [`TwoStagePredictor`]; raises `RunStoppedError` if the server can't be asked any further."""
        answers = iter(asyncio.run(self._answer_all([row for group in prepared for row in group])))
        return [[next(answers) for _ in group] for group in prepared]

    async def _answer_all(self, rows: list) -> list[WrittenPrediction]:
        client = ChatClient(self.options, self.model, self.in_flight, self.failures)
        places = asyncio.Semaphore(self.in_flight)

        async def one(row: list[dict] | WrittenPrediction) -> WrittenPrediction:
            if isinstance(row, WrittenPrediction):
                return row
            async with places:
                try:
                    reply = await client.send({"messages": row, **self.fields})
                except AnswerFailedError as error:
                    return unanswered(str(error))
            return self.read(reply["choices"][0])

        try:
            return await asyncio.gather(*map(one, rows))
        finally:
            await client.close()

    @abstractmethod
    def read(self, choice: dict) -> WrittenPrediction:
        """Reads a choice of a reply as `read_reply` gives it."""
