"""What Qwen3-Omni's Thinker has that Qwen2.5-Omni's has not: levels of vision, windows of sound, experts."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForDecision, pipeline

from modeling_clue import CLUEForConfidenceEstimation, CLUEProcessor
from modeling_clue.conversion import from_research, plain_config, to_thinker
from modeling_clue.decision import CLUEForDecision
from modeling_clue.modalities import MODALITIES
from modeling_clue.modeling_clue import change_class
from train.answers import load_text_model


HYPOTHESES = ["The ball is red.", "It is neither red nor blue.", "No."]

pytestmark = pytest.mark.parametrize("tiny_checkpoint", ["qwen3-omni"], indirect=True)


@torch.no_grad()
@pytest.mark.parametrize("modality", MODALITIES)
def test_logits_are_the_plain_thinkers(model, processor, premises, modality):
    """The head reads the state that transformers' own forward projects: with the vocabulary's rows for a head, the
    logits are those of the plain Thinker at the last token, for each hypothesis of a shared premise."""
    thinker_class = model.backbone.upstream("ThinkerForConditionalGeneration")
    thinker = change_class(model, thinker_class, plain_config(model.config)).eval()
    inputs = processor(premises[modality], HYPOTHESES)
    outputs, *_ = model.encode(**inputs)
    for number, hypothesis in enumerate(HYPOTHESES, start=1):
        alone = processor(premises[modality], hypothesis)
        alone.pop("branch_ids")
        expected = thinker(**alone, use_audio_in_video=modality == "audiovisual").logits[0, -1]
        last = (inputs["branch_ids"][0] == number).nonzero()[-1, 0]
        found = model.lm_head(outputs.last_hidden_state[0, last])
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_levels_of_vision_reach_the_frames(model, processor, premises):
    """Behind the first layer of the language model the tokens of frames, and no others, get what the vision tower gave
    for it: of every premise of a batch its own."""
    seen = {}
    hook = model.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(kwargs), with_kwargs=True
    )
    rows = [premises[name] for name in ("video", "text", "audiovisual")]
    inputs = processor(rows, [HYPOTHESES] * 3)
    output = model(**inputs)
    hook.remove()
    features = model.model.get_video_features(inputs["pixel_values_videos"], inputs["video_grid_thw"])
    (level,) = seen["deepstack_visual_embeds"]
    torch.testing.assert_close(level, torch.cat(features.deepstack_features[0]))
    assert torch.equal(seen["visual_pos_masks"], inputs["input_ids"] == model.config.video_token_id)
    vision = model.config.vision_config
    width = vision.hidden_size * vision.spatial_merge_size**2
    assert output.video_embeds.shape == (len(level), 2 * width)
    without = dict(inputs, pixel_values_videos=None, video_embeds=output.video_embeds.clone())
    without["video_embeds"][:, width:] = 0
    changed = (model(**without).logits - output.logits).abs().amax(dim=1) > 1e-3
    assert changed.tolist() == [row != 1 for row in output.premise_index.tolist()]


@torch.no_grad()
@pytest.mark.parametrize("seconds", [(0.3, 2.3), (0.05, 0.7, 0.99), (1.0, 0.4, 3.1, 0.2)], ids=str)
def test_sound_is_heard_as_if_alone(model, processor, seconds):
    """Whatever other clips are in the batch, the tower gives for each what it gives for it alone."""
    rng = torch.Generator().manual_seed(0)
    clips = [torch.randn(round(16000 * length), generator=rng).numpy() / 10 for length in seconds]
    rows = [{"audio": {"array": clip, "sampling_rate": 16000}} for clip in clips]
    together = model(**processor(rows, ["Red."] * len(rows))).audio_embeds
    alone = [model(**processor(row, "Red.")).audio_embeds for row in rows]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("samples", [1, 159, 200])
def test_sound_too_short_for_a_frame(processor, samples):
    """It is refused in a sentence, not by the transform that fails on it."""
    with pytest.raises(ValueError, match="too short for a single token"):
        processor({"audio": {"array": torch.zeros(samples).numpy(), "sampling_rate": 16000}}, "Red.")


def test_the_pipeline_takes_its_checkpoints(tiny_checkpoint, model, processor, premises):
    """By the folder, and as a model that is loaded."""
    question = {"text": premises["text"], "hypotheses": HYPOTHESES}
    with torch.no_grad():
        expected = model(**processor(premises["text"], HYPOTHESES)).probability.tolist()
    for clue in (
        pipeline("uncertain-inference", model=str(tiny_checkpoint), trust_remote_code=True),
        pipeline("uncertain-inference", model=model, processor=processor),
    ):
        assert [answer["probability"] for answer in clue(question)] == pytest.approx(expected, abs=1e-6)


def test_what_it_cannot_do_is_refused_by_name(tiny_checkpoint, tmp_path):
    """Written answers, decisions and research checkpoints are Qwen2.5-Omni's alone, and so are its classes."""
    with pytest.raises(ValueError, match=r"clue_qwen3_omni checkpoint: `--variant text` trains Qwen2\.5-Omni alone"):
        load_text_model(str(tiny_checkpoint), revision=None)
    thinker = to_thinker(tiny_checkpoint, tmp_path / "thinker")
    prompt = tmp_path / "prompt.yaml"
    prompt.write_text("text: {system: Judge., user: '{premise} {hypothesis}'}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"is of Qwen3-Omni: research checkpoints are of Qwen2\.5-Omni alone"):
        from_research(thinker, prompt, tmp_path / "clue")
    with pytest.raises(ValueError, match=r"lacks the special tokens <\|AUDIO\|>.* of Qwen2\.5-Omni"):
        CLUEProcessor.from_pretrained(tiny_checkpoint)
    for other in (CLUEForConfidenceEstimation, CLUEForDecision):
        with pytest.raises(ValueError, match="CLUEConfig is not the configuration of a clue_qwen3_omni checkpoint"):
            other.from_pretrained(tiny_checkpoint)
    with pytest.raises(ValueError, match="CLUEQwen3OmniConfig"):
        AutoModelForDecision.from_pretrained(tiny_checkpoint)
    assert AutoConfig.from_pretrained(tiny_checkpoint).backbone.name == "Qwen3-Omni"
