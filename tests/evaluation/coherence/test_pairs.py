"""What is asked about pairs: sentences by hand, and rules that hold whatever the hypotheses mean."""

import numpy as np
import pytest
from datasets import Dataset

from datasets_scripts.building.drafts import new_row
from datasets_scripts.schema import FEATURES
from evaluation.coherence.measures import analyse
from evaluation.coherence.pairs import REPEATED, SEVERAL, pair_questions, unfit, within


HYPOTHESES = {
    "a": ["A man is asleep.", "Two dogs bark", "John sings.", "two dogs bark."],
    "b": ["It rains. It snows.", "Is it late?"],
    "c": ["The sky is blue."],
}


def table() -> tuple[Dataset, list[str]]:
    """Rows about three texts, and their premises."""
    rows, keys = [], []
    for key, hypotheses in HYPOTHESES.items():
        for number, hypothesis in enumerate(hypotheses):
            rows.append(
                new_row(
                    id=f"{key}{number}",
                    source="own",
                    modality="text",
                    premise=f"premise {key}",
                    hypothesis=hypothesis,
                    probability=0.25,
                    probability_source="human",
                    label=None,
                )
            )
            keys.append(key)
    return Dataset.from_list(rows, features=FEATURES), keys


def test_hypotheses_are_put_into_sentences():
    """No full stop within, small letters but where it may be a name; several sentences and questions are not asked."""
    assert within("A man is asleep. ") == "a man is asleep"
    assert within("John sings!") == "John sings" and within("I sing") == "I sing"
    assert within("NASA flies.") == "NASA flies"
    assert within("There are 1.5 l left") == "there are 1.5 l left"
    assert unfit("It rains. It snows.") == SEVERAL and unfit("Is it late?") == "a question"
    assert unfit("It costs 1.5 dollars.") is None and unfit("No!") is None


def test_the_questions_about_pairs():
    """Of each hypothesis a denial and an affirmation, of two about a premise both and either; the rows are theirs."""
    rows, keys = table()
    asked = pair_questions("own", rows, keys)
    sentences = [question.hypothesis for question in asked.questions]
    assert sentences == [
        "A man is asleep.",
        "Two dogs bark",
        "It is not true that a man is asleep.",
        "It is true that a man is asleep.",
        "It is not true that two dogs bark.",
        "It is true that two dogs bark.",
        "It is true that a man is asleep, and that two dogs bark.",
        "It is true that a man is asleep, or that two dogs bark, or both.",
        "John sings.",
        "It is not true that John sings.",
        "It is true that John sings.",
        "The sky is blue.",
        "It is not true that the sky is blue.",
        "It is true that the sky is blue.",
    ]
    assert asked.left_out == {REPEATED: 1, SEVERAL: 1, "a question": 1}
    assert asked.rows["hypothesis"][:] == sentences and asked.rows["id"][:] == [q.id for q in asked.questions]
    assert asked.rows["premise"][:] == [f"premise {question.premise}" for question in asked.questions]
    assert asked.keys == [question.premise for question in asked.questions] and asked.rows.features == FEATURES
    assert set(asked.rows["probability"][:]) == {None}
    assert len(set(asked.rows["id"][:])) == len(sentences)


def test_rules_of_pairs_hold_for_any_beliefs():
    """Probabilities that follow from any distribution over how hypotheses can be true break none; others do."""
    rows, keys = table()
    asked = pair_questions("own", rows, keys)
    rng = np.random.default_rng(0)
    groups = {question.group: rng.dirichlet(np.ones(len(question.worlds))) for question in asked.questions}
    answers = {q.id: float(np.dot(groups[q.group], q.worlds)) for q in asked.questions}
    report = analyse(asked, {"together": answers})
    checks = {row["kind"]: row for row in report["checks"]}
    assert {kind: row["n"] for kind, row in checks.items()} == {
        "denial": 4,
        "union": 1,
        "intersection": 1,
        "monotonicity": 4,
        "paraphrase": 4,
    }
    assert max(row["violation"]["value"] for row in checks.values()) < 1e-12
    assert report["split"]["incoherence"]["value"] < 1e-12
    assert report["split"]["mse"] is None and checks["denial"]["error"] is None, "nothing is called right or wrong"
    # Whoever says 0.9 to everything: a sentence and its denial are each 0.4 too high, of four answers alike.
    report = analyse(asked, {"together": dict.fromkeys(answers, 0.9)})
    checks = {row["kind"]: row for row in report["checks"]}
    assert checks["denial"]["violation"]["value"] == pytest.approx(0.8)
    assert {kind for kind, row in checks.items() if row["violation"]["value"] > 1e-12} == {"denial"}


def test_a_split_without_any_fit_hypothesis_is_refused():
    """The error counts the reasons."""
    rows, keys = table()
    with pytest.raises(ValueError, match="own has no hypothesis .* 1 are of several sentences.*, 1 are a question"):
        pair_questions("own", rows.select([4, 5]), keys[4:6])
