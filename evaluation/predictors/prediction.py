"""What every predictor takes and gives."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any


# The share of a predicted distribution that its interval holds, and so the coverage to expect of the intervals.
INTERVAL_MASS = 0.9
# Claims of one premise that go through a model together; more of them are scored in several passes.
HYPOTHESES_PER_PASS = 64


@dataclass
class Prediction:
    """
    The answer to one hypothesis by what gives a distribution.

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
    notes: list[str] = field(default_factory=list)


@dataclass
class WrittenPrediction:
    """
    The answer to one hypothesis by a model that writes it; there is no distribution to take a spread from.

    Args:
        probability (`float`, *optional*): The number in the answer, `None` if it has none.
        answer (`str`): The text, without the token that ends it.
        reason (`str`, *optional*): Why there is no number: one of `chat.answers.REASONS`, or
            what kept the answer from coming.
        notes (`list[str]`): As those of [`Prediction`].
    """

    probability: float | None
    answer: str
    reason: str | None
    notes: list[str] = field(default_factory=list)


@dataclass
class PointPrediction:
    """
    The answer to one hypothesis by what gives a probability and nothing with it.

    Args:
        probability (`float`): The probability.
        notes (`list[str]`): As those of [`Prediction`].
    """

    probability: float
    notes: list[str] = field(default_factory=list)


AnyPrediction = Prediction | WrittenPrediction | PointPrediction


class Predictor(ABC):
    """What answers rows of a UMUI dataset: a subclass has `answer`, and `prepare` where work can be done ahead."""

    def predict(self, rows: list[dict]) -> list[AnyPrediction]:
        """
        Answers the hypotheses of rows.

        Args:
            rows (`list[dict]`): Rows of a UMUI dataset, those about one premise one after the other.

        Returns:
            `list[AnyPrediction]`: an answer to each. One without a number has `probability` `None` and a `reason`.
        """
        return self.answer(self.prepare(rows))

    def prepare(self, rows: list[dict]) -> Any:
        """
        Decodes and tokenizes rows, on another thread than `answer`, while that is at the rows before; leaves the model
        alone.

        Returns:
            What `answer` takes: the rows, unless this is overridden. Two batches of it are held in memory.
        """
        return rows

    @abstractmethod
    def answer(self, prepared: Any) -> list[AnyPrediction]:
        """Answers what `prepare` gave."""
