"""What a question is put as, and what follows from the probabilities of that, are what the page says."""

import base64
from fractions import Fraction

import pytest
from transformers.decision.template_utils import Question

from modeling_clue.decision import CLUEDecisionConfig
from modeling_clue.decision_format import as_text, hypotheses_of, option_probabilities, premise_of


def parsed(**question) -> Question:
    """A question of a request."""
    return Question.from_request("q", question, CLUEDecisionConfig())


@pytest.mark.parametrize(
    "question, hypotheses",
    [
        ({"type": "noul", "instructions": "It is red."}, ["It is red."]),
        ({"type": "noul", "instructions": {"task": "Judge", "of": ["a", 1]}}, ["task: Judge\nof:\n- a\n- 1"]),
        ({"type": "noul", "criteria": {"true": "It is red.", "false": "It isn't."}}, ["It is red.", "It isn't."]),
        ({"type": "noul", "instructions": "Red?", "criteria": {"false": "No."}}, ["Red? The answer is: No."]),
        (
            {"type": "choice", "instructions": "Which?", "criteria": {"red": None, "blue": "like the sky"}},
            ["Which? The answer is: red", "Which? The answer is: blue: like the sky"],
        ),
        (
            {"type": "choice", "instructions": "It is {}.", "criteria": {"r": "red", "blue": None}},
            ["It is red.", "It is blue."],
        ),
        ({"type": "choice", "criteria": {"r": "It is red.", "It is blue.": None}}, ["It is red.", "It is blue."]),
        ({"type": "score", "instructions": "It is {}.", "criteria": ["low", "high"]}, ["It is low.", "It is high."]),
        (
            {"type": "score", "instructions": "How?", "criteria": ["low", {"is": "high"}]},
            ["How? The answer is: low", "How? The answer is: is: high"],
        ),
    ],
)
def test_a_question_is_put_as_hypotheses(question, hypotheses):
    """Texts stand as they are; objects and lists are YAML."""
    assert hypotheses_of(parsed(**question)) == hypotheses


def test_probabilities_of_options_sum_to_one():
    """Division by the sum, against exact fractions; impossible options are equal, and coherent ones stay."""
    choice = parsed(type="choice", instructions="?", criteria=dict.fromkeys("abc"))
    judged = [Fraction(1, 2), Fraction(1, 3), Fraction(1, 3)]
    assert option_probabilities(choice, judged) == [Fraction(3, 7), Fraction(2, 7), Fraction(2, 7)]
    assert option_probabilities(choice, [0.0, 0.0, 0.0]) == [1 / 3] * 3
    coherent = [Fraction(1, 2), Fraction(3, 8), Fraction(1, 8)]
    assert option_probabilities(choice, coherent) == coherent


@pytest.mark.parametrize(
    "criteria, judged, true",
    [(None, [0.75], 0.75), ({"true": "yes"}, [0.75], 0.75), ({"false": "no"}, [0.75], 0.25)]
    + [({"true": "yes", "false": "no"}, [0.75, 0.75], 0.5), ({"false": "no", "true": "yes"}, [0.75, 0.25], 0.75)],
)
def test_sides_of_a_yes_no_question(criteria, judged, true):
    """A side alone is judged, or its complement; two sides share the probability, whatever order they come in."""
    question = parsed(type="noul", instructions="?", criteria=criteria)
    assert len(hypotheses_of(question)) == len(judged)
    assert dict(zip(question.options, option_probabilities(question, judged), strict=True)) == {
        "true": true,
        "false": 1 - true,
    }


def test_a_state_becomes_a_premise(clips):
    """Of one modality or of parts, in the order of the request."""
    sound, silent, talkie = (clips.sound, clips.silent, clips.talkie)
    assert premise_of({"state": "a.wav"}) == {"modality": "text", "text": "a.wav"}
    assert premise_of({"state": ["one", "two"]})["parts"] == [
        {"modality": "text", "text": "one"},
        {"modality": "text", "text": "two"},
    ]
    assert premise_of({"state": {"b": "ü: 1", "a": [1, None]}})["text"] == "b: 'ü: 1'\na:\n- 1\n- null"
    assert premise_of({"state": "", "audio": [sound]}) == {"modality": "audio", "audio": sound}
    assert premise_of({"state": "", "videos": [talkie]})["modality"] == "audiovisual"
    assert premise_of({"state": "", "videos": [silent]})["modality"] == "video"
    both = premise_of({"state": "", "videos": [silent], "audio": [sound]})
    assert both == {"modality": "audiovisual", "video": silent, "audio": sound}
    address = "data:audio/wav;codecs=1;base64," + base64.b64encode(sound.read_bytes()).decode()
    mixed = premise_of({"state": "Words.", "audio": [address], "videos": [silent], "images": [b"picture"]})
    assert [part["modality"] for part in mixed["parts"]] == ["text", "image", "audio", "video"]
    assert mixed["parts"][2]["audio"] == sound.read_bytes()


@pytest.mark.parametrize(
    "change, words",
    [
        ({"audio": ["https://example.org/a.wav"]}, r"audio\[0\].*nothing is fetched"),
        ({"audio": ["data:audio/wav;base64,@@"]}, r"audio\[0\] is no base64"),
        ({"audio": ["data:audio/wav;base64,"]}, r"audio\[0\] is empty"),
        ({"audio": ["data:video/mp4;base64,AAAA"]}, r"audio\[0\] is said to be video"),
        ({"audio": "data:audio/wav;base64,AAAA"}, "`audio` is a list"),
        ({"assets": ["a"]}, "`assets` maps names"),
        ({"assets": {"": {}}}, "without a name"),
        ({"assets": {"state": {"type": "text"}}}, "'state'.*image, audio, video"),
        ({"assets": {"state": {"url": "a"}}}, r"assets.state.*data_base64"),
        ({"assets": {"state": "/etc/passwd"}}, r"assets.state.*nothing is fetched"),
        ({"state": []}, "nothing to judge by"),
    ],
)
def test_media_that_cannot_be_used_are_named(change, words):
    """Nothing is opened or fetched because a request names it."""
    with pytest.raises(ValueError, match=words):
        premise_of({"state": "a state", **change})


def test_text_of_objects_reads_back():
    """YAML keeps what is in an object, its order and letters of any script."""
    import yaml

    value = {"z": "환불 😡", "a": {"list": [1, 2.5, True, None, "no", "x: y"]}, "long": "word " * 100}
    text = as_text(value)
    assert yaml.safe_load(text) == value and "환불 😡" in text and text.startswith("z:")
