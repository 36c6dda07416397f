"""
How far answers are from fitting together, and how much of their error that is.

Answers fit together if there are probabilities of the possible worlds from which all of them follow. The nearest such
answers divide the squared error: where the truth is known, and fits together itself, the error of the answers is at
least their distance from the nearest that fit, which is incoherence, and the error of these, which is being wrong. The
three points have no acute angle at the nearest, since what fits is a convex set (de Finetti 1974).
"""

from collections import Counter, defaultdict
from collections.abc import Mapping

import numpy as np
from scipy.optimize import nnls

from evaluation.coherence.questions import KINDS, Check, Question, QuestionSet, across_calls
from evaluation.stress.statistics import ratio_interval


# A rule that is missed by no more is not counted as broken; and a percentage point matters to nobody.
TOLERANCE = 0.01
# How much more the sum of the worlds' probabilities counts than an answer: it is 1 to eight digits.
SUM_WEIGHT = 1e4
Answers = Mapping[tuple[str, str], float]


def analyse(asked: QuestionSet, predictions: Mapping[str, Mapping[str, float | None]]) -> dict:
    """
    Measures the answers to a set of questions, given by call and id, `None` without a number.

    Returns:
        `dict`: the set's `name`; numbers of `premises`, `questions` and of answers `without_number`; what was
        `left_out`, by reason; `split` and `split_without_denials`, as [`split_error`] returns them; and `checks`, a
        row a kind, as [`measure_checks`] returns them.
    """
    answers = {
        (call, name): float(value)
        for call, given in predictions.items()
        for name, value in given.items()
        if value is not None
    }
    names = list(dict.fromkeys(question.premise for question in asked.questions))
    place = {name: number for number, name in enumerate(names)}
    return {
        "name": asked.name,
        "premises": len(names),
        "questions": len(asked.questions),
        "without_number": sum(map(len, predictions.values())) - len(answers),
        "left_out": asked.left_out,
        "split": split_error(asked.questions, answers, place),
        "split_without_denials": split_error([q for q in asked.questions if not q.denial], answers, place),
        "checks": measure_checks(
            asked, [*asked.checks, *across_calls(asked.questions, (*predictions,))], answers, place
        ),
    }


def nearest_coherent(worlds: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """
    Returns the answers nearest to those given that follow from probabilities of possible worlds.

    Args:
        worlds (`np.ndarray` of shape `(questions, worlds)`): 1 where the hypothesis holds in the world, else 0.
        answers (`np.ndarray` of shape `(questions,)`): Probabilities.

    Returns:
        `np.ndarray` of shape `(questions,)`: of least squared distance.
    """
    # Least squares without negative numbers, whose sum is held at 1 by its weight.
    heavy = np.vstack([worlds, np.full((1, worlds.shape[1]), SUM_WEIGHT)])
    probabilities, _ = nnls(heavy, np.append(answers, SUM_WEIGHT))
    return worlds @ (probabilities / probabilities.sum())


def split_error(questions: list[Question], answers: Answers, place: Mapping[str, int]) -> dict:
    """
    Splits the squared error of the answers in one call into incoherence and the error of the nearest coherent ones.

    Args:
        questions (`list[Question]`): What was asked.
        answers (`Mapping`): By call and id; questions without one are left out.
        place (`Mapping[str, int]`): The number of each premise, from 0.

    Returns:
        `dict`: `n`; `incoherence`, the mean squared distance from the nearest coherent answers; and, where the truth
        is known, `mse` and `coherent_mse`, the error of these: each with `value` and `interval` over premises. `None`
        for what can't be measured.
    """
    groups = defaultdict(list)
    for question in questions:
        if ("together", question.id) in answers:
            groups[question.premise, question.group].append(question)
    sums = {name: np.zeros(len(place)) for name in ("incoherence", "mse", "coherent_mse")}
    counts = np.zeros(len(place))
    known = all(question.truth is not None for question in questions)
    for (premise, _), group in groups.items():
        given = np.array([answers["together", question.id] for question in group])
        nearest = nearest_coherent(np.array([question.worlds for question in group], dtype=float), given)
        number = place[premise]
        counts[number] += len(group)
        sums["incoherence"][number] += ((given - nearest) ** 2).sum()
        if known:
            truth = np.array([question.truth for question in group])
            sums["mse"][number] += ((given - truth) ** 2).sum()
            sums["coherent_mse"][number] += ((nearest - truth) ** 2).sum()
    return {"n": int(counts.sum())} | {
        name: _ratio(values, counts, least=0.0) if known or name == "incoherence" else None
        for name, values in sums.items()
    }


def measure_checks(asked: QuestionSet, checks: list[Check], answers: Answers, place: Mapping[str, int]) -> list[dict]:
    """
    Measures how far answers are from what must hold, kind by kind.

    Returns:
        `list[dict]`: of each kind that there is `kind`; `n` checks and those `without_number`; `violation`, the mean
        of how far answers are from the rule; `broken`, the share that misses it by more than 0.01; `signed`, the mean
        deviation with its sign (a sum above 1, an answer above what bounds it, the second answer above the first);
        `error`, the mean absolute error of the answers in it, `None` without truth: each with `value` and `interval`;
        and the `largest` deviation with its hypotheses and answers. What has no answers has `None` in its measures.
    """
    by_id = {question.id: question for question in asked.questions}
    by_kind: dict[str, list[Check]] = defaultdict(list)
    for one in checks:
        by_kind[one.kind].append(one)
    return [_measure_kind(kind, by_kind[kind], by_id, answers, place) for kind in KINDS if by_kind[kind]]


def _measure_kind(
    kind: str, checks: list[Check], by_id: dict[str, Question], answers: Answers, place: Mapping[str, int]
) -> dict:
    measured = [one for one in checks if all(key in answers for key in one.answers)]
    row = {"kind": kind, "n": len(checks), "without_number": len(checks) - len(measured)}
    if not measured:
        return row | dict.fromkeys(("violation", "broken", "signed", "error", "largest"))
    deviations, numbers, errors = [], [], []
    for one in measured:
        given = np.array([answers[key] for key in one.answers])
        questions = [by_id[name] for _, name in one.answers]
        deviations.append(KINDS[kind].deviation(given))
        numbers.append(place[questions[0].premise])
        truths = [question.truth for question in questions]
        errors.append(None if None in truths else float(np.abs(given - truths).mean()))
    deviation, premises = np.array(deviations), np.array(numbers)
    counts = np.bincount(premises, minlength=len(place)).astype(float)

    def mean(values: np.ndarray, least: float = -np.inf) -> dict:
        return _ratio(np.bincount(premises, values, len(place)), counts, least)

    worst = measured[int(np.abs(deviation).argmax())]
    return row | {
        "violation": mean(np.abs(deviation), 0.0),
        "broken": mean((np.abs(deviation) > TOLERANCE).astype(float), 0.0),
        "signed": mean(deviation),
        "error": None if None in errors else mean(np.array(errors), 0.0),
        "largest": {
            "deviation": float(deviation[np.abs(deviation).argmax()]),
            "premise": by_id[worst.answers[0][1]].premise,
            "answers": [
                {
                    "call": call,
                    "id": name,
                    "hypothesis": by_id[name].hypothesis,
                    "answer": answers[call, name],
                    "truth": by_id[name].truth,
                }
                for call, name in worst.answers
            ],
        },
    }


def _ratio(above: np.ndarray, below: np.ndarray, least: float) -> dict:
    """Returns the mean over rows, from sums over the rows of each premise, with its interval over premises."""
    if not below.any():
        return {"value": None, "interval": None}
    asked = below > 0
    interval = ratio_interval(above[asked], below[asked])
    return {
        "value": float(above.sum() / below.sum()),
        "interval": None if interval is None else [max(least, end) for end in interval],
    }


def commonest(left_out: Mapping[str, int]) -> str:
    """Writes what was left out, the commonest reason first."""
    return ", ".join(f"{count:,} {reason}" for reason, count in Counter(left_out).most_common())
