"""Coherence against what is known without it: rules by truth and by chance, planted faults in closed form, and the
nearest coherent answers by another optimiser."""

import argparse

import numpy as np
import pytest
from scipy.optimize import minimize

from datasets_scripts.sources.urn_language import COLOURS, PITCHES
from evaluation.coherence import urn_world
from evaluation.coherence.measures import analyse, nearest_coherent
from evaluation.coherence.questions import KINDS, QuestionSet
from modeling_clue.modalities import MODALITIES
from tests.datasets_scripts.sources.test_urn import is_true, read_text


CALLS = ("together", "reordered", "alone")


@pytest.fixture(scope="module")
def suite():
    """Six premises of each modality, with the questions about them."""
    given = argparse.Namespace(modalities=None, premises=6, seed=None)
    return urn_world.make_suite(urn_world.suite_options(given))


def asked_of(suite, modality) -> QuestionSet:
    """The questions of a modality, without rows."""
    asked = suite[modality]
    questions = [question for one in asked for question in one.questions]
    return QuestionSet(modality, questions, [check for one in asked for check in one.checks], None, [])


def analysed(asked, answer, calls=("together",)) -> tuple[dict, dict]:
    """What is measured of a predictor that answers a question in a call; and its checks by kind."""
    report = analyse(asked, {call: {q.id: answer(q, call) for q in asked.questions} for call in calls})
    return report, {row["kind"]: row for row in report["checks"]}


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_truth_is_read_from_the_sentences(suite, modality):
    """Each sentence, read as English, is true of as many events as its truth says, and in the worlds it names."""
    families = {"audio": [PITCHES], "audiovisual": [COLOURS, PITCHES]}.get(modality, [COLOURS])
    worlds = [{a} for a in families[0]] if len(families) == 1 else [{a, b} for a in COLOURS for b in PITCHES]
    for one in suite[modality]:
        events = [set(event) for event in one.premise.scene.events]
        if modality == "text":
            assert sorted(map(sorted, read_text(one.premise.text))) == sorted(map(sorted, events))
        assert len({question.hypothesis for question in one.questions}) == len(one.questions)
        for question in one.questions:
            inner = question.hypothesis.removeprefix("It is not true that ")
            assert question.denial == (inner != question.hypothesis)
            claim = inner[0].upper() + inner[1:]
            assert question.truth == pytest.approx(np.mean([is_true(claim, e) != question.denial for e in events]))
            assert question.worlds == tuple(is_true(claim, world) != question.denial for world in worlds)
    kinds = {check.kind for one in suite[modality] for check in one.checks}
    assert kinds == {*KINDS} - {"order", "one against many"}


@pytest.mark.parametrize("modality", MODALITIES)
def test_whatever_follows_from_one_set_of_worlds_breaks_no_rule(suite, modality):
    """The truth has no violation in any rule or call, and so have probabilities of worlds that are drawn at random:
    those are wrong, and all of that is told apart from incoherence."""
    asked = asked_of(suite, modality)
    report, checks = analysed(asked, lambda question, call: question.truth, CALLS)
    assert {*checks} == {*KINDS}
    for row in checks.values():
        assert row["violation"]["value"] == pytest.approx(0, abs=1e-12) and row["broken"]["value"] == 0, row
        assert row["error"]["value"] == pytest.approx(0, abs=1e-12) and row["largest"]["deviation"] < 1e-12
    for key in ("split", "split_without_denials"):
        for name in ("mse", "incoherence", "coherent_mse"):
            assert report[key][name]["value"] == pytest.approx(0, abs=1e-12)
            assert report[key][name]["interval"] == pytest.approx([0, 0], abs=1e-12)
    rng = np.random.default_rng(0)
    believed = {one.premise.name: rng.dirichlet(np.ones(len(one.questions[0].worlds))) for one in suite[modality]}
    report, checks = analysed(asked, lambda q, call: float(np.dot(believed[q.premise], q.worlds)))
    assert max(row["violation"]["value"] for row in checks.values()) < 1e-12
    assert report["split"]["incoherence"]["value"] < 1e-12
    assert report["split"]["mse"]["value"] > 0.01
    assert report["split"]["mse"]["value"] == pytest.approx(report["split"]["coherent_mse"]["value"])


@pytest.mark.parametrize(("modality", "alternatives"), [("text", 4), ("audio", 3)])
def test_a_timid_predictor_has_the_violations_of_its_formula(suite, modality, alternatives):
    """0.1 + 0.8 t keeps complements; n alternatives sum to 0.8 + 0.1 n, two parts to 0.1 above their sum. Bounds hold,
    but for what is impossible: it implies what is impossible too, as probably."""
    report, checks = analysed(asked_of(suite, modality), lambda q, call: 0.1 + 0.8 * q.truth)
    expected = dict.fromkeys(checks, 0.0) | {"exhaustive": 0.1 * alternatives - 0.2, "exclusive": 0.1}
    for kind, value in expected.items():
        assert checks[kind]["violation"]["value"] == pytest.approx(value, abs=1e-12), kind
        assert checks[kind]["signed"]["value"] == pytest.approx(value, abs=1e-12), kind
        assert checks[kind]["violation"]["interval"] == pytest.approx([value, value], abs=1e-12)
        assert checks[kind]["broken"]["value"] == (value > 0.01)
    truth = np.array([question.truth for question in asked_of(suite, modality).questions])
    assert report["split"]["mse"]["value"] == pytest.approx(np.mean((0.1 - 0.2 * truth) ** 2))


def test_an_inverted_predictor_is_found_where_it_contradicts_itself(suite):
    """1 - t: complements still sum to one, what is implied is less probable by the difference of the truths."""
    asked = asked_of(suite, "text")
    truth = {question.id: question.truth for question in asked.questions}
    _, checks = analysed(asked, lambda q, call: 1 - q.truth)
    implied = [[truth[name] for _, name in one.answers] for one in asked.checks if one.kind == "monotonicity"]
    assert checks["monotonicity"]["violation"]["value"] > 0.1
    assert checks["monotonicity"]["violation"]["value"] == pytest.approx(np.mean([b - a for a, b in implied]))
    assert checks["complement"]["violation"]["value"] == pytest.approx(0, abs=1e-12)
    # Four alternatives sum to 3, and a union is less than its parts by 1 of their sum.
    assert checks["exhaustive"]["signed"]["value"] == pytest.approx(2)
    assert checks["exclusive"]["signed"]["value"] == pytest.approx(1)
    largest = max(implied, key=lambda pair: pair[1] - pair[0])
    assert checks["monotonicity"]["largest"]["deviation"] == pytest.approx(largest[1] - largest[0])
    found = checks["monotonicity"]["largest"]["answers"]
    assert found[0]["answer"] - found[1]["answer"] == pytest.approx(largest[1] - largest[0])
    assert [1 - answer["truth"] for answer in found] == pytest.approx([answer["answer"] for answer in found])


def test_what_ignores_denials_errs_as_much_as_it_contradicts_itself(suite):
    """It answers a denial like the sentence: both sum to 2 t, and all of it is left out with the denials."""
    asked = asked_of(suite, "audiovisual")
    report, checks = analysed(asked, lambda q, call: 1 - q.truth if q.denial else q.truth)
    two = {" or " in q.hypothesis or " and " in q.hypothesis: [] for q in asked.questions}
    for question in asked.questions:
        if question.denial:
            two[" or " in question.hypothesis or " and " in question.hypothesis].append(1 - question.truth)
    for kind, truths in (("denial", two[False]), ("denial of two", two[True])):
        gap = np.abs(2 * np.array(truths) - 1).mean()
        assert checks[kind]["violation"]["value"] == pytest.approx(gap)
        assert checks[kind]["error"]["value"] == pytest.approx(gap / 2)
    denied = np.array([*two[False], *two[True]])
    assert report["split"]["mse"]["value"] == pytest.approx(((2 * denied - 1) ** 2).sum() / len(asked.questions))
    assert report["split_without_denials"]["mse"]["value"] == pytest.approx(0, abs=1e-12)
    assert {row["violation"]["value"] > 1e-9 for row in checks.values() if "denial" not in row["kind"]} == {False}


def test_bounds_are_frechets(suite):
    """Answers beyond a bound are off by the way back to it, with the sign of the side; within, by nothing."""
    union, both = KINDS["union"].deviation, KINDS["intersection"].deviation
    for value, deviation in ((0.95, 0.05), (0.9, 0), (0.6, 0), (0.5, -0.1)):
        assert union(np.array([value, 0.3, 0.6])) == pytest.approx(deviation)
    assert union(np.array([1.0, 0.9, 0.9])) == 0, "never above 1"
    for value, deviation in ((0.4, 0.1), (0.3, 0), (0.2, 0), (0.1, -0.1)):
        assert both(np.array([value, 0.3, 0.9])) == pytest.approx(deviation)
    assert both(np.array([0.0, 0.3, 0.6])) == 0


def test_another_call_is_compared_with_the_one_of_all(suite):
    """Alone 0.05 higher, reordered 0.03 lower: each is that, in its own row, and no other rule sees it."""
    asked = asked_of(suite, "video")
    moved = {"together": 0.0, "reordered": -0.03, "alone": 0.05}
    _, checks = analysed(asked, lambda q, call: 0.1 + 0.8 * q.truth + moved[call], CALLS)
    for kind, value in (("order", -0.03), ("one against many", 0.05)):
        assert checks[kind]["n"] == len(asked.questions)
        assert checks[kind]["signed"]["value"] == pytest.approx(value)
        assert checks[kind]["violation"]["value"] == pytest.approx(abs(value))
        assert [answer["call"] for answer in checks[kind]["largest"]["answers"]][0] == "together"
    assert checks["complement"]["violation"]["value"] == pytest.approx(0, abs=1e-12)


def test_the_nearest_coherent_answers_are_nearest():
    """The same as another optimiser over probabilities of worlds; by hand where one rule alone is broken; and never
    further from any truth."""
    by_hand = [
        ([[1, 0], [0, 1]], [0.7, 0.5], [0.6, 0.4]),
        (np.eye(4), [0.3, 0.3, 0.3, 0.3], [0.25] * 4),
        ([[1, 0], [1, 1]], [0.2, 0.8], [0.2, 1.0]),
        ([[1, 0, 0], [1, 1, 0]], [0.8, 0.4], [0.6, 0.6]),
    ]
    for worlds, given, nearest in by_hand:
        assert nearest_coherent(np.array(worlds, dtype=float), np.array(given)) == pytest.approx(nearest, abs=1e-7)
    rng = np.random.default_rng(0)
    for _ in range(20):
        worlds = rng.integers(0, 2, (8, 5)).astype(float)
        given, start = rng.random(8), np.full(5, 0.2)
        found = nearest_coherent(worlds, given)
        other = minimize(
            lambda q, w=worlds, g=given: ((w @ q - g) ** 2).sum(),
            start,
            bounds=[(0, 1)] * 5,
            constraints={"type": "eq", "fun": lambda q: q.sum() - 1},
            options={"ftol": 1e-12, "maxiter": 500},
        )
        assert ((found - given) ** 2).sum() == pytest.approx(other.fun, abs=1e-6)
        truth = worlds @ rng.dirichlet(np.ones(5))
        split = ((found - given) ** 2).sum() + ((found - truth) ** 2).sum()
        assert split <= ((given - truth) ** 2).sum() + 1e-7


def test_answers_without_a_number_are_counted_and_in_no_measure(suite):
    """They are never 0: rules that need them are left out, the others are as they were."""
    asked = asked_of(suite, "text")
    (first, *_) = [one for one in asked.checks if one.kind == "exhaustive"]
    lost = first.answers[0][1]
    report, checks = analysed(asked, lambda q, call: None if q.id == lost else q.truth, CALLS)
    assert report["without_number"] == 3 and report["split"]["n"] == len(asked.questions) - 1
    assert (checks["exhaustive"]["n"], checks["exhaustive"]["without_number"]) == (6, 1)
    assert checks["order"]["without_number"] == checks["one against many"]["without_number"] == 1
    assert max(row["violation"]["value"] for row in checks.values()) < 1e-12
    report, checks = analysed(asked, lambda q, call: None)
    assert report["split"]["mse"] == {"value": None, "interval": None}
    assert checks["complement"]["violation"] is None


def test_intervals_are_over_premises(suite):
    """One premise of six contradicts itself: the interval is wide, holds the value and starts at nothing; of a single
    premise there is none."""
    asked = asked_of(suite, "text")
    wrong = asked.questions[0].premise
    _, checks = analysed(asked, lambda q, call: 1.0 if q.premise == wrong else q.truth)
    value, (low, high) = (checks["complement"]["violation"][key] for key in ("value", "interval"))
    assert value == pytest.approx(1 / 6) and low == 0 and 0.3 < high <= 0.67
    alone = QuestionSet(
        "text",
        [question for question in asked.questions if question.premise == wrong],
        [check for one in suite["text"] if one.premise.name == wrong for check in one.checks],
        None,
        [],
    )
    _, checks = analysed(alone, lambda q, call: 1.0)
    assert checks["complement"]["violation"] == {"value": 1.0, "interval": None}
