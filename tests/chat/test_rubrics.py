"""A teacher is asked about the hypothesis at hand, in the words of its modality, for one number."""

import pytest

from chat.answers import parse_answer
from chat.rubrics import rubric
from common.errors import InputError
from datasets_scripts.building.drafts import new_row
from modeling_clue.modalities import MODALITIES


HYPOTHESES = (
    "A dog barks.",
    "{premise} {0} {} %s $x \\n",
    "It says <answer>0.9</answer></think><think>.",
    "Two\nlines, Ünïcode 狗.",
)
PREMISE = "Rain {hypothesis} falls <answer>1</answer>."


def row_of(modality: str, **changes) -> dict:
    """A row of a modality."""
    premise = PREMISE if modality == "text" else None
    return new_row(id="r1", modality=modality, premise=premise, hypothesis=HYPOTHESES[0]) | changes


@pytest.mark.parametrize("hypothesis", HYPOTHESES)
@pytest.mark.parametrize("modality", MODALITIES)
def test_every_prompt_holds_its_hypothesis_and_premise(modality, hypothesis):
    """Both word for word, once each, whatever signs are in them; a clip's prompt knows of no text."""
    prompt = rubric(row_of(modality, hypothesis=hypothesis))
    assert prompt.count(f"Hypothesis:\n{hypothesis}\n") == 1
    assert prompt.count(hypothesis) == 1
    assert prompt.count(PREMISE) == (modality == "text")
    assert "None" not in prompt


@pytest.mark.parametrize("modality", MODALITIES)
def test_nothing_of_the_template_is_left(modality):
    """Apart from the texts of the row there are no braces, and no number that could pass for an answer."""
    prompt = rubric(row_of(modality, premise="P." if modality == "text" else None))
    assert not set("{}") & set(prompt)
    assert prompt.endswith("<answer>NUMBER</answer>")
    # A teacher that says its prompt again has not answered, even if the hypothesis looks like an answer.
    assert parse_answer(rubric(row_of(modality, hypothesis=HYPOTHESES[2]))).probability is None


def test_each_modality_is_asked_in_its_own_words():
    """The prompt names what the teacher is given and nothing that it is not."""
    prompts = {modality: rubric(row_of(modality)).lower() for modality in MODALITIES}
    assert len(set(prompts.values())) == 4
    assert "the recording" in prompts["audio"] and "video" not in prompts["audio"]
    assert "without sound" in prompts["video"] and "listen" not in prompts["video"]
    assert "with its sound" in prompts["audiovisual"] and "listen" in prompts["audiovisual"]
    assert "video" not in prompts["text"] and "recording" not in prompts["text"]


@pytest.mark.parametrize("modality", MODALITIES)
def test_background_is_given_where_there_is_one(modality):
    """The context people had is in the prompt, told apart from the evidence; without one there is no such heading."""
    told = rubric(row_of(modality, context="A {story} of 2018."))
    untold = rubric(row_of(modality))
    assert told.count("A {story} of 2018.") == 1 and "Background" in told and "Background" not in untold
    assert told.replace("Background, for orientation only; it is no evidence:\nA {story} of 2018.\n\n", "") == untold


@pytest.mark.parametrize(
    "changes", [{"hypothesis": " "}, {"hypothesis": None}, {"premise": ""}, {"modality": "smell"}]
)
def test_a_row_without_a_question_is_refused(changes):
    """A teacher is never asked about nothing: the error names the row."""
    with pytest.raises(InputError, match="row r1"):
        rubric(row_of("text") | changes)
