"""Premises that are read once: what is judged by them later is what would have been judged at once."""

import pytest
import torch
from transformers import DynamicCache

from modeling_clue.auto import BACKBONES
from modeling_clue.confidence import expectation
from modeling_clue.modeling_clue import CLUEForConfidenceEstimation
from modeling_clue.premise_state import fingerprint
from modeling_clue.reading import HYPOTHESES_AT_ONCE


MANY = [f"The ball has number {number}." + " It is red." * (number % 3) for number in range(HYPOTHESES_AT_ONCE + 7)]
MODALITIES = ("text", "audio", "video", "audiovisual")


def read(model, processor, premises: list):
    """A state of these premises."""
    inputs = processor.collate_premises([processor.encode_premise(premise) for premise in premises])
    return model.read(**inputs)


def judged(model, processor, state, hypotheses: list[list[str]]):
    """The logits of hypotheses about premises that have been read."""
    return model.judge(state, **processor.encode_hypotheses(hypotheses, state.modalities)).logits


def assert_same(found: torch.Tensor, wanted: torch.Tensor) -> None:
    """Logits to what float32 leaves of sums in another order, and the answers that follow from them to 1e-6."""
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    torch.testing.assert_close(expectation(found.softmax(-1)), expectation(wanted.softmax(-1)), rtol=0, atol=1e-6)


@torch.no_grad()
def dense(model, processor, premise, hypotheses: list[str]) -> torch.Tensor:
    """The logits of hypotheses in one row with their premise, a few at a time."""
    parts = [hypotheses[start : start + 5] for start in range(0, len(hypotheses), 5)]
    return torch.cat([model(**processor(premise, part)).logits for part in parts])


@pytest.mark.parametrize("tiny_checkpoint", BACKBONES, indirect=True)
@pytest.mark.parametrize("modality", MODALITIES)
def test_a_state_answers_as_a_row_does(attending, processor, premises, modality):
    """In every modality, eager and sdpa, in as many calls as one likes, and in one call with many hypotheses."""
    wanted = dense(attending, processor, premises[modality], MANY)
    state = read(attending, processor, [premises[modality]])
    before = [layer.keys.clone() for layer in state.cache.layers]
    found = torch.cat([judged(attending, processor, state, [part]) for part in (MANY[:1], MANY[1:9], MANY[9:])])
    assert_same(found, wanted)
    assert all(torch.equal(layer.keys, keys) for layer, keys in zip(state.cache.layers, before, strict=True))
    with torch.no_grad():
        at_once = attending(**processor(premises[modality], MANY))
    assert_same(at_once.logits, wanted)
    assert state.modalities == [modality] and isinstance(state.cache, DynamicCache) and state.nbytes > 0


def test_a_batch_of_premises_of_different_lengths(attending, processor, premises):
    """Padding between them changes nothing, whatever number of hypotheses each has, in whatever order."""
    several = [premises[modality] for modality in MODALITIES]
    hypotheses = [MANY[:3], MANY, MANY[2:3], MANY[:-1]]
    wanted = torch.cat([dense(attending, processor, *pair) for pair in zip(several, hypotheses, strict=True)])
    state = read(attending, processor, several)
    assert_same(judged(attending, processor, state, hypotheses), wanted)
    with torch.no_grad():
        output = attending(**processor(several, hypotheses))
    assert_same(output.logits, wanted)
    assert output.premise_index.tolist() == [row for row, part in enumerate(hypotheses) for _ in part]
    chosen = state.select([2, 0])
    assert chosen.modalities == ["video", "text"] and chosen.nbytes < state.nbytes
    found = judged(attending, processor, chosen, [MANY[:2], MANY[:4]])
    again = [dense(attending, processor, several[row], MANY[:count]) for row, count in ((2, 2), (0, 4))]
    assert_same(found, torch.cat(again))


def test_attention_that_takes_no_mask_gets_rows(tiny_checkpoint, model, processor, premises, monkeypatch):
    """Each hypothesis behind its own copy of the premise, with nothing but padding masked, answers the same."""
    several, hypotheses = [premises["audiovisual"], premises["text"]], [MANY[:11], MANY[:3]]
    with torch.no_grad():
        wanted = model(**processor(several, hypotheses)).logits
        monkeypatch.setattr("modeling_clue.reading.MASKED_ATTENTION", ())
        assert model._reads_apart(processor(several, hypotheses)["branch_ids"])
        found = model(**processor(several, hypotheses)).logits
    assert_same(found, wanted)
    # As flash attention sees it: two dimensions, or none.
    seen = []
    original = model.model.language_model.forward

    def forward(*arguments, **options):
        seen.append(options["attention_mask"].ndim)
        return original(*arguments, **options)

    monkeypatch.setattr(model.model.language_model, "forward", forward)
    with torch.no_grad():
        model(**processor(several, hypotheses))
    assert set(seen) == {2} and len(seen) > 2


def test_a_state_is_moved_and_held_against_the_model(tiny_checkpoint, model, processor, premises):
    """In another dtype it is for the model in that dtype; other weights refuse it, and say what to do."""
    state = read(model, processor, [premises["audio"]])
    hypotheses = processor.encode_hypotheses([MANY[:2]], state.modalities)
    half = CLUEForConfidenceEstimation.from_pretrained(tiny_checkpoint, dtype=torch.bfloat16).eval()
    assert fingerprint(half) == state.fingerprint
    with pytest.raises(ValueError, match=r"in torch.float32, the model on cpu in torch.bfloat16: .*state.to"):
        half.judge(state, **hypotheses)
    moved = state.to(half.device, half.dtype)
    assert (moved.dtype, moved.nbytes * 2) == (torch.bfloat16, state.nbytes)
    with torch.no_grad():
        wanted = half(**processor(premises["audio"], MANY[:2]).to(half.device, half.dtype)).logits
    torch.testing.assert_close(half.judge(moved, **hypotheses).logits, wanted, rtol=0, atol=0.1)
    with torch.no_grad():
        half.model.language_model.layers[0].self_attn.q_proj.weight[0, 0] += 1
    with pytest.raises(ValueError, match="were read by other weights"):
        half.judge(moved, **hypotheses)
    with pytest.raises(ValueError, match="1 premises need as many rows of hypotheses, got 2"):
        model.judge(state, **processor.encode_hypotheses([MANY[:2]] * 2, ["audio"] * 2))


def test_what_is_too_long_is_refused(model, processor, premises, monkeypatch):
    """Premise or hypothesis, whichever passes the model's positions."""
    state = read(model, processor, [premises["text"]])
    limit = int(state.ends[0]) + 20
    monkeypatch.setattr(model.config.text_config, "max_position_embeddings", limit)
    with pytest.raises(ValueError, match=f"more, but the model was built for {limit}"):
        judged(model, processor, state, [["It is red. " * 20]])
    with pytest.raises(ValueError, match=f"the model was built for {limit}"):
        read(model, processor, ["An urn holds 3 red balls. " * 20])


def test_gradients_flow_as_before(model, processor, premises):
    """In training premise and hypotheses go through the model together, however many they are."""
    inputs = processor(premises["text"], MANY)
    output = model(**inputs, labels=torch.full((len(MANY),), 0.5))
    output.loss.backward()
    assert model.model.language_model.layers[0].self_attn.k_proj.weight.grad.abs().sum() > 0
    model.zero_grad()


def test_the_pipeline_reads_a_premise_once(tiny_checkpoint, clips, premises):
    """`clue.read` and then hypotheses, in any number of calls, gives what one call gives; the clip is decoded once."""
    from transformers import pipeline

    clue = pipeline("uncertain-inference", model=str(tiny_checkpoint), trust_remote_code=True)
    given = {"video": str(clips.talkie), "modality": "audiovisual"}
    wanted = clue({**given, "hypotheses": MANY})
    clip = clue.read(given, max_frames=4)
    assert (
        clip.notes != [[]] and clip.notes[0] == clue({**given, "hypothesis": "It is red."}, max_frames=4)[0]["notes"]
    )
    clip = clue.read(given)
    runs = []
    hook = clue.model.model.visual.register_forward_hook(lambda *_: runs.append(1))
    found = clue(clip, hypotheses=MANY[:3]) + clue(clip, hypotheses=MANY[3]) + clue(clip, hypotheses=MANY[4:])
    hook.remove()
    assert not runs and [answer["hypothesis"] for answer in found] == MANY
    for one, other in zip(found, wanted, strict=True):
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-6)
        assert one.keys() == other.keys() and one["modality"] == "audiovisual"
    assert clue(clip, hypotheses="It is red.", calibrated=False, interval=0.5)[0]["interval"] != found[0]["interval"]
    with pytest.raises(ValueError, match="needs 'hypotheses'"):
        clue(clip)
    with pytest.raises(ValueError, match="`hypotheses` go into the input"):
        clue(given, hypotheses=MANY[:3])


def test_a_prompt_with_the_hypothesis_first_is_not_read_ahead(model, hypothesis_first, premises):
    """It is said, and a call with both answers as ever."""
    turned = hypothesis_first
    with pytest.raises(ValueError, match="has the hypothesis before the premise"):
        turned.collate_premises([turned.encode_premise(premises["text"])])
    with pytest.raises(ValueError, match="has the hypothesis before the premise"):
        turned.encode_hypotheses([MANY[:1]], ["text"])
    with torch.no_grad():
        assert len(model(**turned(premises["text"], MANY)).logits) == len(MANY)


def test_weights_that_are_spread_take_the_same_steps(tiny_checkpoint, processor, premises):
    """Where processes put each layer together at once, all hypotheses go through it together, however many."""
    model = CLUEForConfidenceEstimation.from_pretrained(tiny_checkpoint).eval()
    many = processor(premises["text"], MANY)["branch_ids"]
    with torch.no_grad():
        assert model._reads_apart(many) and not model._reads_apart(processor(premises["text"], MANY[:2])["branch_ids"])
        for weight in model.model.language_model.layers[0].parameters():
            weight.data = weight.data[:0]  # as ZeRO-3 leaves it between two uses
        assert not model._reads_apart(many)
    assert not model._reads_apart(many)
