"""What every predictor takes and gives."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol


# The share of a predicted distribution that its interval holds, and so the coverage to expect of the intervals.
INTERVAL_MASS = 0.9


@dataclass
class Prediction:
    """
    The answer to one hypothesis.

    Args:
        probability (`float`): The expectation of the predicted distribution.
        standard_deviation (`float`): Its standard deviation.
        entropy (`float`): Its entropy in nats.
        interval (`list[float]`): Low and high end of the central `INTERVAL_MASS` of it.
        notes (`list[str]`): What was cut or left out of the premise on the way into the model.
    """

    probability: float
    standard_deviation: float
    entropy: float
    interval: list[float]
    notes: list[str]


@dataclass
class WrittenPrediction:
    """
    The answer to one hypothesis by a model that writes it; there is no distribution to take a spread from.

    Args:
        probability (`float`, *optional*): The number in the answer, `None` if it has none.
        answer (`str`): The text, without the token that ends it.
        reason (`str`, *optional*): Why there is no number: one of `chat.answers.REASONS`, or
            what kept the answer from coming.
        notes (`list[str]`): What was cut or left out of the premise on the way into the model.
    """

    probability: float | None
    answer: str
    reason: str | None
    notes: list[str]


@dataclass
class PointPrediction:
    """
    The answer to one hypothesis by what gives a probability and nothing with it.

    Args:
        probability (`float`): The probability.
        notes (`list[str]`): What was cut or left out of the premise: nothing.
    """

    probability: float
    notes: list[str]


AnyPrediction = Prediction | WrittenPrediction | PointPrediction


class Predictor(Protocol):
    """What gives each hypothesis about each premise an answer."""

    def predict(self, premises: list, hypotheses: list[list[str]]) -> list[list[AnyPrediction]]:
        """
        Answers hypotheses.

        Args:
            premises (`list`): Rows of a UMUI dataset; those with models in them also take texts, paths or bytes.
            hypotheses (`list[list[str]]`): The hypotheses of each premise.

        Returns:
            `list[list[AnyPrediction]]`: the answers, in the order of the hypotheses. An answer
            without a number has `probability` `None` and a `reason`.
        """


class TwoStagePredictor(ABC):
    """A [`Predictor`] with two stages: the next batch is prepared on another thread while one is being answered."""

    @abstractmethod
    def prepare(self, premises: list, hypotheses: list[list[str]]) -> Any:
        """
        Decodes and tokenizes a batch. It runs on another thread than `answer`, and leaves the model alone.

        Args:
            premises (`list`): Rows of a UMUI dataset, texts, paths or bytes.
            hypotheses (`list[list[str]]`): The hypotheses of each premise.

        Returns:
            What `answer` takes; several of them are held in memory at a time.
        """

    def prepare_rows(self, groups: list[list[dict]]) -> Any:
        """
        Prepares rows of a dataset: overridden by what needs more of a row than its hypothesis, its id or context say.

        Args:
            groups (`list[list[dict]]`): Rows, those of one premise together.

        Returns:
            What `answer` takes.
        """
        return self.prepare([group[0] for group in groups], [[row["hypothesis"] for row in group] for group in groups])

    @abstractmethod
    def answer(self, prepared: Any) -> list[list[AnyPrediction]]:
        """
        Runs the model on a batch.

        Args:
            prepared: What `prepare` gave.

        Returns:
            `list[list[AnyPrediction]]`: the answers, in the order of the hypotheses.
        """

    def predict(self, premises: list, hypotheses: list[list[str]]) -> list[list[AnyPrediction]]:
        """Both stages; see [`Predictor`]."""
        return self.answer(self.prepare(premises, hypotheses))
