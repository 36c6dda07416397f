"""Defines what every predictor takes and gives."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any


# The share of a predicted distribution that its interval holds, and so the coverage to expect of the intervals.
INTERVAL_MASS = 0.9


@dataclass
class Prediction:
    """Holds the answer to one hypothesis by what gives a distribution."""

    probability: float  # the expectation of the distribution
    standard_deviation: float
    entropy: float  # in nats
    interval: list[float]  # low and high end of the central `INTERVAL_MASS`
    histogram: list[float]  # the distribution in ten bins of equal width
    notes: list[str] = field(default_factory=list)  # what was cut or left out of the premise


@dataclass
class WrittenPrediction:
    """Holds the answer to one hypothesis by a model that writes it; there is no distribution to take a spread from."""

    probability: float | None
    answer: str  # without the token that ends it
    reason: str | None  # why there is no number: one of `chat.answers.REASONS`, or what kept the answer from coming
    notes: list[str] = field(default_factory=list)


@dataclass
class PointPrediction:
    """Holds the answer to one hypothesis by what gives a probability and nothing with it."""

    probability: float
    notes: list[str] = field(default_factory=list)


AnyPrediction = Prediction | WrittenPrediction | PointPrediction


class Predictor(ABC):
    """Answers rows of a UMUI dataset: a subclass has `answer`, and `prepare` where work can be done ahead."""

    def predict(self, rows: list[dict]) -> list[AnyPrediction]:
        """Answers the hypotheses of rows, those about one premise one after the other."""
        return self.answer(self.prepare(rows))

    def prepare(self, rows: list[dict]) -> Any:
        """Decodes and tokenizes rows into what `answer` takes, by default the rows; leaves the model alone.

        It runs on another thread than `answer`, while that is at the rows before. Two batches are held in memory.
        """
        return rows

    @abstractmethod
    def answer(self, prepared: Any) -> list[AnyPrediction]:
        """Answers what `prepare` gave."""
