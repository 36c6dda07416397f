"""
Where a predictor goes wrong: each cell measured, and tested for faults that have a name.

Nothing is found in a perfect predictor, whose errors are all 0, nor in one that errs as much everywhere. A finding is
significant after Holm's correction over all tests of a report, and large enough to matter.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from datasets_scripts.sources.urn_language import COLOURS, PITCHES
from datasets_scripts.sources.urn_stress import Cell, Question
from evaluation.metrics.uncertain_inference.measures import measure
from evaluation.stress.statistics import by_premise, centred, holm, nuisance_effect, ratio_interval, sign_flip


SIGNIFICANCE = 0.05
# In units of probability: what is smaller is no finding, however sure.
SMALLEST_EFFECT = 0.02
# Answers that move less than this with the exact probability, per unit, don't follow the premise.
SMALLEST_SLOPE = 0.25
# A slope off 1 by less is no finding.
SLOPE_TOLERANCE = 0.2
# A base cell with a larger mean error is off by itself.
LARGEST_BASE_ERROR = 0.1

IGNORES = "does not follow the premise"
FAR_OFF = "is far off already in the base cell"
WORSE = "errs more than in the base cell"
TOO_HIGH = "answers too high"
TOO_LOW = "answers too low"
TIMID = "answers move too little with the truth"
EXTREME = "answers move too much with the truth"
OTHER_SENSE = {
    "sight": "is swayed by sound where sight alone counts",
    "sound": "is swayed by sight where sound alone counts",
}
# What a fault that is not about the premise at all would also bring about.
EXPLAINED_BY_IGNORING = (FAR_OFF, WORSE, TOO_HIGH, TOO_LOW)


@dataclass
class Answers:
    """The answers of a cell that have a number, to which questions, and how many were asked in all."""

    cell: Cell
    questions: list[Question]
    asked: int
    predictions: np.ndarray

    def __post_init__(self) -> None:
        self.truth = np.array([question.probability for question in self.questions])
        self.numbers = np.array([question.premise.number for question in self.questions], dtype=int)
        self.kinds = np.array([question.kind for question in self.questions])
        self.errors = np.abs(self.predictions - self.truth)


def analyse(questions: Mapping[str, list[Question]], predictions: Mapping[str, float | None]) -> dict:
    """
    Measures every cell and tests it, of questions by modality and answers by id, `None` without a number.

    Returns:
        `dict`: `cells`, in the order of the suite; `findings`, the largest first; `tests`, how many were made.
    """
    tests, measured = [], []
    for asked in questions.values():
        base, *others = _by_cell(asked, predictions)
        for answers in (base, *others):
            measured.append(_measure(answers))
            if answers.questions:
                tests += _tests(answers, base)
    for test, adjusted in zip(tests, holm([test["p"] for test in tests]), strict=True):
        test["p_holm"] = adjusted
        test["found"] = bool(adjusted < SIGNIFICANCE and test["large"])
    ignoring = {(test["modality"], test["cell"]) for test in tests if test["found"] and test["what"] == IGNORES}
    for test in tests:
        if test["what"] in EXPLAINED_BY_IGNORING and (test["modality"], test["cell"]) in ignoring:
            test["found"] = False
    _keep_closest_reading(tests)
    for row in measured:
        of_cell = [test for test in tests if (test["modality"], test["cell"]) == (row["modality"], row["cell"])]
        row["findings"] = [test["what"] for test in of_cell if test["found"]]
        worse = [test for test in of_cell if test["what"] == WORSE]
        row["worse_than_base"] = {"difference": worse[0]["effect"], "p_holm": worse[0]["p_holm"]} if worse else None
    return {"cells": measured, "findings": _grouped(tests), "tests": tests}


def _by_cell(questions: list[Question], predictions: Mapping[str, float | None]) -> list[Answers]:
    groups: dict[Cell, list[Question]] = {}
    for question in questions:
        groups.setdefault(question.cell, []).append(question)
    answered = []
    for cell, asked in groups.items():
        kept = [question for question in asked if predictions[question.id] is not None]
        values = np.array([predictions[question.id] for question in kept], dtype=float)
        answered.append(Answers(cell, kept, len(asked), values))
    return answered


def _measure(answers: Answers) -> dict:
    cell = answers.cell
    row = {"modality": cell.modality, "cell": cell.name, "knob": cell.knob, "level": cell.level}
    row |= {"n": answers.asked, "without_number": answers.asked - len(answers.questions)}
    names = ("mae", "mse", "ece")
    if not len(answers.questions):
        return row | dict.fromkeys((*names, "bias", "slope", "constant_mse"))
    results = measure(answers.predictions, answers.truth, clusters=answers.numbers, only=names)
    row |= {name: {key: results[name][key] for key in ("value", "interval")} for name in names}
    premises = answers.numbers.max() + 1
    counts = np.bincount(answers.numbers, minlength=premises).astype(float)
    gaps = np.bincount(answers.numbers, answers.predictions - answers.truth, premises)
    row["bias"] = _ratio(gaps, counts)
    predicted, true = centred(answers.predictions, answers.kinds), centred(answers.truth, answers.kinds)
    products, squares = (np.bincount(answers.numbers, values * true, premises) for values in (predicted, true))
    row["slope"] = _ratio(products, squares)
    row["constant_mse"] = float(answers.truth.var())
    return row


def _ratio(above: np.ndarray, below: np.ndarray) -> dict:
    if below.sum() <= 0:
        return {"value": None, "interval": None}
    return {"value": float(above.sum() / below.sum()), "interval": ratio_interval(above, below)}


def _tests(answers: Answers, base: Answers) -> list[dict]:
    cell, numbers, kinds = answers.cell, answers.numbers, answers.kinds
    premises = max(numbers.max(), base.numbers.max(initial=0)) + 1
    predicted, true = centred(answers.predictions, kinds), centred(answers.truth, kinds)
    error = answers.errors.mean()
    made = []

    def add(what: str, effect: float, p: float, large: bool) -> None:
        place = {"modality": cell.modality, "cell": cell.name}
        made.append({**place, "what": what, "effect": float(effect), "p": p, "large": bool(large)})

    def flip(values: np.ndarray, alternative: str) -> float:
        return sign_flip(by_premise(values, numbers, premises), alternative)

    if true.any():
        # Equivalence to a slope of 0: both one-sided tests must reject.
        below = flip((predicted - SMALLEST_SLOPE * true) * true, "less")
        above = flip((predicted + SMALLEST_SLOPE * true) * true, "greater")
        slope = (predicted * true).sum() / (true**2).sum()
        add(IGNORES, slope, max(below, above), abs(slope) < SMALLEST_SLOPE)
        p_slope = flip((predicted - true) * true, "two-sided")
        large = slope >= SMALLEST_SLOPE and abs(slope - 1) >= SLOPE_TOLERANCE
        add(TIMID if slope < 1 else EXTREME, slope, p_slope, large)
    bias = (answers.predictions - answers.truth).mean()
    p_bias = flip(answers.predictions - answers.truth, "two-sided")
    add(TOO_HIGH if bias > 0 else TOO_LOW, bias, p_bias, abs(bias) >= SMALLEST_EFFECT)
    if cell.knob == "base":
        add(FAR_OFF, error, flip(answers.errors - LARGEST_BASE_ERROR, "greater"), error > LARGEST_BASE_ERROR)
    elif len(base.questions):
        difference = by_premise(answers.errors, numbers, premises) - by_premise(base.errors, base.numbers, premises)
        mean = np.nanmean(difference) if not np.isnan(difference).all() else 0.0
        add(WORSE, mean, sign_flip(difference, "greater"), mean >= SMALLEST_EFFECT)

    for what in dict.fromkeys(name for question in answers.questions for name in question.readings):
        rows = np.array([what in question.readings for question in answers.questions])
        reading = np.array([question.readings[what] for question in answers.questions if what in question.readings])
        reading, right = centred(reading, kinds[rows]), centred(answers.truth[rows], kinds[rows])
        given = centred(answers.predictions[rows], kinds[rows])
        # Of answers that go with nothing, and of a reading that is no other than the truth, nothing can be said.
        if min(reading.std(), right.std()) < 1e-9 or np.allclose(reading, right) or given.std() < 1e-3:
            continue
        # Do answers go with the reading more closely than with the truth, whatever their scale?
        scaled = given / given.std()
        gains = (scaled - right / right.std()) ** 2 - (scaled - reading / reading.std()) ** 2
        p = sign_flip(by_premise(gains, numbers[rows], premises), "greater")
        away = reading - right
        weight = (given - right) @ away / (away @ away)
        add(what, weight, p, gains.mean() > 0 and error >= SMALLEST_EFFECT)
        made[-1]["gain"] = float(gains.mean())

    if cell.modality == "audiovisual" and cell.setting.sense in OTHER_SENSE:
        own, other = (COLOURS, PITCHES) if cell.setting.sense == "sight" else (PITCHES, COLOURS)
        scenes = {question.premise.number: question.premise.scene for question in answers.questions}
        order = sorted(scenes)
        events = [scenes[n].pitches if cell.setting.sense == "sight" else scenes[n].colours for n in order]
        shares = np.array([[names.count(name) / len(names) for name in other] for names in events])
        terms = np.array([[float(t in q.predicate.terms) for t in own] for q in answers.questions])
        slope = (predicted @ true) / (true @ true) if true.any() else 0.0
        size, p = nuisance_effect(predicted - slope * true, np.searchsorted(order, numbers), terms, shares)
        add(OTHER_SENSE[cell.setting.sense], size, p, size >= SMALLEST_EFFECT)
    return made


def _keep_closest_reading(tests: list[dict]) -> None:
    """Keeps, of several mistakes that a cell's answers agree with better than with the truth, the likeliest."""
    by_cell: dict[tuple[str, str], list[dict]] = {}
    for test in tests:
        if test["found"] and "gain" in test:
            by_cell.setdefault((test["modality"], test["cell"]), []).append(test)
    for found in by_cell.values():
        best = max(found, key=lambda test: test["gain"])
        for test in found:
            test["found"] = test is best


def _grouped(tests: list[dict]) -> list[dict]:
    """Groups findings by their sentence, with the cells they were made in and how many were tested for it."""
    groups: dict[str, list[dict]] = {}
    for test in tests:
        groups.setdefault(test["what"], []).append(test)
    found = []
    for what, group in groups.items():
        largest = sorted((test for test in group if test["found"]), key=lambda test: -abs(test["effect"]))
        cells = [{key: test[key] for key in ("modality", "cell", "effect", "p_holm")} for test in largest]
        if cells:
            found.append({"what": what, "cells": cells, "tested": len(group)})
    return sorted(found, key=lambda finding: -len(finding["cells"]))
