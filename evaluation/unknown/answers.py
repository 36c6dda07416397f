"""Asks a checkpoint about each premise of a suite, with its calibration and without, and keeps the answers."""

from dataclasses import dataclass
from pathlib import Path

from datasets_scripts.sources.urn_unknown import Asked
from evaluation.unfinished import ask_about


FINISHED = "answers.jsonl"
KEPT = ("probability", "standard_deviation", "interval", "conformal_interval", "novelty")


@dataclass(frozen=True)
class Answers:
    """Holds the answers about a premise, one a hypothesis, `raw` without the calibration and `calibrated` with it."""

    premise: str
    modality: str
    kind: str
    truth: list[float | None]
    raw: list[dict]
    calibrated: list[dict]


def make_answers(load, suite: list[Asked], out: Path, settings: dict) -> list[Answers]:
    """Returns the answers about a suite in its order; arguments and errors are those of
    `evaluation.unfinished.ask_about`."""
    by_name = {asked.name: asked for asked in suite}
    return [Answers(**row) for row in ask_about(load, ask, by_name, out, FINISHED, settings)]


def ask(clue, asked: Asked, media: Path) -> list[dict]:
    """Asks about one premise, which is read once and whose clip is written into the folder `media`; returns the one
    row of it."""
    premise, hypotheses = clue.read(asked.write(media)), list(asked.hypotheses)
    raw, calibrated = (
        [
            {name: answer[name] for name in KEPT if name in answer}
            for answer in clue(premise, hypotheses=hypotheses, calibrated=calibrated)
        ]
        for calibrated in (False, True)
    )
    return [vars(Answers(asked.name, asked.modality, asked.kind, list(asked.probabilities), raw, calibrated))]
