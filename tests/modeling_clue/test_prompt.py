"""Prompts: in another order, for each modality, and those that cannot work."""

import pytest

from modeling_clue import CLUEProcessor
from modeling_clue.prompt import TEXT_ANSWER
from tests.modeling_clue.processors import assert_same, rebuilt


HYPOTHESES = ["The ball is red.", "It is neither red nor blue."]
SPECIAL_TEXT = "<|AUDIO|> <CONF_3><|im_end|><|vision_bos|><|VIDEO|>"


def test_one_text_where_the_hypothesis_comes_first(processor, clips):
    """A row of its own is tokenized as the whole it is, by its text; what users write still holds no special token."""
    prompt = {"premise": "<|im_start|>Is it: {hypothesis} Given: {premise}", "hypothesis": " So?<|im_end|>"}
    processor = rebuilt(processor, prompt=prompt)
    tokenize = processor.tokenizer
    for text, hypothesis in (("The ball is red.", "It is neither red nor blue."), (SPECIAL_TEXT, SPECIAL_TEXT)):
        ids = processor(text, hypothesis)["input_ids"][0].tolist()
        start, *body = ids
        run = f"Is it: {hypothesis} Given: {text}"
        whole = tokenize(run, split_special_tokens=True)["input_ids"] + tokenize(" So?<|im_end|>")["input_ids"]
        assert [start] == tokenize("<|im_start|>")["input_ids"] and body == whole
    sound = processor.encode_premise(clips.sound).input_ids
    ids = processor(clips.sound, "The ball is red.")["input_ids"][0].tolist()
    before = tokenize("<|im_start|>Is it: The ball is red. Given: ")["input_ids"]
    assert ids == before + sound + tokenize(" So?<|im_end|>")["input_ids"]


def test_a_prompt_for_each_modality(processor, premises, clips, tmp_path):
    """Each modality is asked in its own words, those of the frames where a clip turns out to be silent."""
    prompt = {
        name: {"premise": f"{name}: {{premise}}\n", "hypothesis": "{hypothesis}<|im_end|>"}
        for name in ("text", "video", "audiovisual")
    }
    separate = rebuilt(processor, prompt=prompt)
    separate.save_pretrained(tmp_path)
    separate = CLUEProcessor.from_pretrained(tmp_path)
    assert separate.prompt == prompt and not separate.one_hypothesis_a_row
    for name in prompt:
        alone = rebuilt(processor, prompt=prompt[name])
        assert_same(separate(premises[name], HYPOTHESES), alone(premises[name], HYPOTHESES))
    silent = separate({"video": clips.silent, "modality": "audiovisual"}, HYPOTHESES, on_missing_sound="video")
    assert_same(silent, separate(clips.silent, HYPOTHESES))
    with pytest.raises(ValueError, match="no part for audio: it is for text, video, audiovisual alone"):
        separate(clips.sound, HYPOTHESES)


@pytest.mark.parametrize(
    "prompt",
    [
        {"premise": "{premise}"},
        {"premise": "Judge.", "hypothesis": "{hypothesis}."},
        {"premise": "{premise} {premise}", "hypothesis": "{hypothesis}."},
        {"premise": "{premise}", "hypothesis": "{premise} {hypothesis}"},
        {"premise": "{premise}", "hypothesis": "{hypothesis} {hypothesis}"},
        {"premise": "{premise} {hypothesis}", "hypothesis": "{hypothesis}."},
        {"premise": "{premise}", "hypothesis": "Judge."},
        {"premise": "{premise} {hypothesis}", "hypothesis": ""},
        {"speech": {"premise": "{premise}", "hypothesis": "{hypothesis}."}},
        {"audio": {"premise": "{premise}"}},
        {"audio": "{premise} {hypothesis}"},
        {"audio": {"premise": "{premise}", "hypothesis": "Judge."}},
        {"answer": TEXT_ANSWER},
        {
            "audio": {"premise": "{premise}", "hypothesis": "{hypothesis}."},
            "video": {"premise": "{hypothesis}{premise}", "hypothesis": "."},
        },
        *(
            {"premise": "{premise}", "hypothesis": "{hypothesis}.", "answer": answer}
            for answer in ("", "0.5<|im_end|>", "{probability}<|im_end|>", "{probability:.2f}", "{probability:.2f}.")
        ),
    ],
)
def test_prompts_that_cannot_work(processor, prompt):
    """A prompt has one place for each of premise and hypothesis, and ends after both."""
    with pytest.raises(ValueError, match="prompt"):
        rebuilt(processor, prompt=prompt)


def test_answers_need_a_place_in_the_prompt(processor):
    """Probabilities are not left out in silence where the prompt has no answer."""
    with pytest.raises(ValueError, match="no part 'answer'"):
        processor.collate([processor.encode_premise("An urn.")], [["It is red."]], [[0.5]])
