"""Asks decision models behind a server, which give probabilities to statements about a premise and write no text.

The hypotheses of a premise go to the server one a request, as any other predictor is asked, or several together
(`--questions-per-request`), which costs less and may give other answers: `evaluation.asked_together` measures both.
"""

import asyncio
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from datasets import config as datasets_config

from chat.client import FailureCounter, ServerOptions, check_server, read_sending_options
from chat.decisions import DecisionClient, DecisionsClient, State, SystemOneClient, read_state
from chat.media import UnfitPairError
from chat.replies import AnswerFailedError
from datasets_scripts.schema import PREMISE_COLUMNS
from evaluation.predictors.choose import ROWS_AT_ONCE, ChosenPredictor, register_predictor
from evaluation.predictors.prediction import Predictor, WrittenPrediction


# Fields of a request that are written here, or that would change what is read.
RESERVED = {"model", "state", "input", "questions", "images", "audio", "videos", "stream"}


@register_predictor("systemone", server=True, here=False, reserved=RESERVED)
def systemone(args: Namespace, dataset: str) -> ChosenPredictor:
    """Chooses a server of System One's format."""
    return _asked(args, dataset, SystemOneClient)


@register_predictor("decisions", server=True, here=False, reserved=RESERVED)
def decisions(args: Namespace, dataset: str) -> ChosenPredictor:
    """Chooses a server of OpenAI's format."""
    return _asked(args, dataset, DecisionsClient)


def _asked(args: Namespace, dataset: str, client: type[DecisionClient]) -> ChosenPredictor:
    together = args.questions_per_request
    options = read_sending_options(args)

    def make() -> "DecisionPredictor":
        # Clips of a dataset on the Hub lie in the cache. Only now: the dataset may have been built since.
        folder = Path(dataset) if Path(dataset).is_dir() else Path(datasets_config.HF_CACHE_HOME).expanduser()
        reads = partial(
            read_state, dataset=folder, max_media_bytes=int(args.max_media_mb * 1e6), sound=args.sound_of_video
        )
        return DecisionPredictor(client, args.server_model, options, args.in_flight, args.extra, reads, together)

    return ChosenPredictor(
        f"{args.predictor}-{Path(args.server_model).name}{f'-{together}-together' if together > 1 else ''}",
        {
            "predictor": args.predictor,
            "model": args.server_model,
            "server": options.url,
            "questions_per_request": together,
            "sound_of_video": args.sound_of_video,
            "max_media_mb": args.max_media_mb,
            "request": args.extra,
        },
        make,
        reads_context=True,
        rows_at_once=max(ROWS_AT_ONCE // together, 1) * together,
    )


@dataclass
class DecisionPredictor(Predictor):
    """Asks a decision model behind a server, about the rows of a batch at the same time."""

    client: type[DecisionClient]
    model: str  # the server's name for it
    options: ServerOptions
    in_flight: int  # requests at the same time
    fields: dict  # of each request, beside those of the format
    read_state: Callable[[dict], State]
    together: int = 1  # most hypotheses about one premise in a request

    def __post_init__(self):
        check_server(self.options)
        self.failures = FailureCounter(self.options.failures)

    def prepare(self, rows: list[dict]) -> list[tuple[dict | str, int]]:
        """Writes the requests: what is sent, or the reason why it can't be, and about how many rows it is."""
        prepared = []
        for _, group in groupby(rows, key=lambda row: [row.get(name) for name in (*PREMISE_COLUMNS, "context")]):
            about = list(group)
            try:
                state = self.read_state(about[0])
            except UnfitPairError as error:
                prepared.append((str(error), len(about)))
                continue
            for start in range(0, len(about), self.together):
                hypotheses = [row["hypothesis"] for row in about[start : start + self.together]]
                prepared.append((self.client.request(state, hypotheses) | self.fields, len(hypotheses)))
        return prepared

    def answer(self, prepared: list[tuple[dict | str, int]]) -> list[WrittenPrediction]:
        """Asks about all rows; raises `RunStoppedError` if the server can't be asked any further."""
        return asyncio.run(self._answer_all(prepared))

    async def _answer_all(self, prepared: list[tuple[dict | str, int]]) -> list[WrittenPrediction]:
        client = self.client(self.options, self.model, self.in_flight, self.failures)
        places = asyncio.Semaphore(self.in_flight)

        async def one(request: dict | str, rows: int) -> list[WrittenPrediction]:
            if isinstance(request, str):
                return [WrittenPrediction(None, "", request)] * rows
            async with places:
                try:
                    reply = await client.send(request)
                except AnswerFailedError as error:
                    return [WrittenPrediction(None, "", str(error))] * rows
            return [WrittenPrediction(answer.probability, "", answer.reason) for answer in client.answers(reply, rows)]

        try:
            answered = await asyncio.gather(*(one(*asked) for asked in prepared))
        finally:
            await client.close()
        return [answer for answers in answered for answer in answers]
