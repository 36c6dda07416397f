"""Hypotheses whose logic is known, what must hold between answers to them, and how far answers are from that."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from datasets import Dataset


# How the hypotheses about a premise are asked: all in one call; in one call, the last first; each in a call by itself.
CALLS = ("together", "reordered", "alone")


@dataclass(frozen=True)
class Question:
    """
    A hypothesis about a premise.

    `worlds` says of each possible world of its group whether the hypothesis holds there: of an urn, of each ball that
    can be drawn; of hypotheses that nothing is known of, of each way in which they can be true or false.
    """

    id: str
    premise: str
    group: str  # of hypotheses about the same worlds
    hypothesis: str
    worlds: tuple[bool, ...]
    truth: float | None = None  # the exact probability, where it is known
    denial: bool = False  # whether it denies a whole sentence: "It is not true that ..."


@dataclass(frozen=True)
class Check:
    """What must hold between answers: a key of `KINDS`, and of each answer the call and the question's id."""

    kind: str
    answers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class QuestionSet:
    """Questions with the rows in which they are asked, one each and in the same order, and what must hold."""

    name: str
    questions: list[Question]
    checks: list[Check]
    rows: Dataset
    keys: list[str]  # the premise of each row, as `predict_split` takes it
    # What was not asked about, by reason.
    left_out: dict[str, int] = field(default_factory=dict)


def check(kind: str, *questions: Question) -> Check:
    """Makes a check of answers that are given in one call."""
    return Check(kind, tuple(("together", question.id) for question in questions))


def across_calls(questions: list[Question], calls: tuple[str, ...]) -> list[Check]:
    """Makes the checks that a question is answered alike in whatever of the other `calls`."""
    kinds = {"reordered": "order", "alone": "one against many"}
    return [
        Check(kinds[call], (("together", question.id), (call, question.id)))
        for call in calls
        if call != "together"
        for question in questions
    ]


def _sum_to_one(answers: np.ndarray) -> float:
    return float(answers.sum() - 1)


def _excess(answers: np.ndarray) -> float:
    return float(max(0.0, answers[0] - answers[1]))


def _change(answers: np.ndarray) -> float:
    return float(answers[1] - answers[0])


def _sum_of_parts(answers: np.ndarray) -> float:
    return float(answers[1:].sum() - answers[0])


def _outside(value: float, low: float, high: float) -> float:
    return float(max(value - high, 0.0) + min(value - low, 0.0))


def _union(answers: np.ndarray) -> float:
    union, first, second = answers
    return _outside(union, max(first, second), min(1.0, first + second))


def _intersection(answers: np.ndarray) -> float:
    both, first, second = answers
    return _outside(both, max(0.0, first + second - 1), min(first, second))


@dataclass(frozen=True)
class Kind:
    """Says what must hold, in what order the answers are given, and how far they are from it, with a sign."""

    rule: str
    deviation: Callable[[np.ndarray], float]


# The bounds are Fréchet's: no more can be said of two statements of which only the probabilities are known.
KINDS = {
    "complement": Kind("P(A) + P(not A) = 1", _sum_to_one),
    "denial": Kind('P(A) + P("It is not true that A") = 1', _sum_to_one),
    "denial of two": Kind('the same, where A says "or" or "and"', _sum_to_one),
    "exhaustive": Kind("probabilities of all alternatives sum to 1", _sum_to_one),
    "exclusive": Kind("P(A or B) = P(A) + P(B) of what excludes each other", _sum_of_parts),
    "union": Kind("max(P(A), P(B)) <= P(A or B) <= min(1, P(A) + P(B))", _union),
    "intersection": Kind("max(0, P(A) + P(B) - 1) <= P(A and B) <= min(P(A), P(B))", _intersection),
    "monotonicity": Kind("P(A) <= P(B) where A implies B", _excess),
    "paraphrase": Kind("the same in other words is as probable", _change),
    "order": Kind("asked in the opposite order, as probable", _change),
    "one against many": Kind("asked in a call by itself, as probable", _change),
}
