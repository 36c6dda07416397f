"""Asks a checkpoint about premises as far as they have gone, and keeps its answers beside the exact ones."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets_scripts.sources.urn_over_time import Asked
from evaluation.unfinished import ask_about


FINISHED = "curves.jsonl"


@dataclass(frozen=True)
class Curve:
    """
    What a model says of a hypothesis at each time that it can tell, beside the exact probability.

    `times` are seconds, or characters of a text, the last of them its end; `truth` is `None` where a prefix has none.
    """

    premise: str
    modality: str
    set: str
    hypothesis: str
    times: list[float]
    prediction: list[float]
    truth: list[float | None]
    notes: list[str]

    @property
    def defined(self) -> np.ndarray:
        """Returns the places of the times that have a truth, `(t,)`."""
        return np.array([place for place, value in enumerate(self.truth) if value is not None], dtype=int)

    @property
    def shares(self) -> np.ndarray:
        """Returns the times as shares of the premise, `(T,)`; the last is 1."""
        return np.array(self.times) / self.times[-1]


def make_curves(load, suite: list[Asked], out: Path, settings: dict) -> list[Curve]:
    """Returns the curves of a suite in its order; arguments and errors are those of
    `evaluation.unfinished.ask_about`."""
    by_name = {asked.premise.name: asked for asked in suite}
    return [Curve(**row) for row in ask_about(load, ask, by_name, out, FINISHED, settings)]


def ask(clue, asked: Asked, media: Path) -> list[dict]:
    """Asks about one premise, whose clip is written into the folder `media`; returns its curves, one a hypothesis."""
    premise = asked.premise
    # Two frames a ball, which the vision tower takes as a pair, whatever the checkpoint samples by itself.
    sampling = {"fps": premise.fps} if premise.fps else {}
    sentences = [sentence for _, sentence in asked.hypotheses]
    answers = clue.timeline(premise.write(media), sentences, **sampling)
    return [
        vars(
            Curve(
                premise=premise.name,
                modality=premise.modality,
                set=premise.set,
                hypothesis=sentence,
                times=answer["times"],
                # A sum in float32 may pass 1 by a rounding.
                prediction=[min(max(value, 0.0), 1.0) for value in answer["probability"]],
                truth=[premise.truth(predicate, time) for time in answer["times"]],
                notes=answer["notes"],
            )
        )
        for (predicate, sentence), answer in zip(asked.hypotheses, answers, strict=True)
    ]
