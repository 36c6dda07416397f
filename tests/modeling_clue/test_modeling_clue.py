"""The model: hypotheses as branches of one premise, positions against upstream's own, dtypes, adapters."""

import copy
from dataclasses import replace
from threading import Thread

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModel, AutoProcessor

from modeling_clue import CLUEConfig
from modeling_clue.auto import BACKBONES
from modeling_clue.backbone import LORA_TARGET_MODULES, TOWERS, is_part_of
from modeling_clue.conversion import plain_config
from modeling_clue.encoded_premise import EncodedPremise
from modeling_clue.modalities import MODALITIES
from modeling_clue.modeling_clue import ConfidenceEstimation, change_class


HYPOTHESES = ["The ball is red.", "It is neither red nor blue.", "No.", "A random sound is high or low."]

MEDIA = ("input_features", "pixel_values_videos")
EMBEDS = ("audio_embeds", "video_embeds")


def fresh(checkpoint, **options) -> ConfidenceEstimation:
    """A model of one's own."""
    return AutoModel.from_pretrained(checkpoint, **options).eval()


def gradients(model) -> dict[str, torch.Tensor]:
    """Those there are, by the names of their weights."""
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def positions(model, inputs) -> torch.Tensor:
    """Position ids that reach the language model, `(3, batch_size, sequence_length)`."""
    seen = {}
    handle = model.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(kwargs), with_kwargs=True
    )
    with torch.no_grad():
        model(**inputs)
    handle.remove()
    return seen["position_ids"]


@pytest.mark.parametrize("tiny_checkpoint", BACKBONES, indirect=True)
@torch.no_grad()
@pytest.mark.parametrize("modality", MODALITIES)
def test_branches_answer_as_one_by_one(attending, processor, premises, modality):
    """Hypotheses that share a premise get the logits they get alone, under either attention."""
    together = attending(**processor(premises[modality], HYPOTHESES))
    alone = [attending(**processor(premises[modality], hypothesis)).logits for hypothesis in HYPOTHESES]
    assert together.logits.shape == (len(HYPOTHESES), 100)
    assert (together.logits - together.logits[0]).abs().max() > 0.01  # the hypotheses do differ
    torch.testing.assert_close(together.logits, torch.cat(alone), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("tiny_checkpoint", BACKBONES, indirect=True)
@torch.no_grad()
def test_a_mixed_batch_answers_as_one_by_one(attending, processor, premises, clips):
    """Premises of all modalities and lengths in one batch, in any order, with any number of hypotheses: each answer is
    the one it gets alone, so padding and neighbours count for nothing."""
    rows = [premises[name] for name in ("audiovisual", "text", "audio", "video")] + [clips.short_sound]
    hypotheses = [HYPOTHESES[:1], HYPOTHESES, HYPOTHESES[2:], HYPOTHESES[1:], HYPOTHESES[:2]]
    for order in ([0, 1, 2, 3, 4], [3, 4, 1, 0, 2]):
        output = attending(**processor([rows[index] for index in order], [hypotheses[index] for index in order]))
        alone = [attending(**processor(rows[index], text)).logits for index in order for text in hypotheses[index]]
        torch.testing.assert_close(output.logits, torch.cat(alone), atol=2e-5, rtol=1e-5)
        expected = [row for row, index in enumerate(order) for _ in hypotheses[index]]
        assert output.premise_index.tolist() == expected


def without_media(model, processor, encoded: EncodedPremise) -> EncodedPremise:
    """The premise with what the towers give for it in place of sound and frames."""
    output = model(**processor.collate([encoded], [HYPOTHESES[:1]]))
    embeds = {"audio_embeds": output.audio_embeds, "video_embeds": output.video_embeds}
    return replace(encoded, input_features=None, pixel_values_videos=None, **embeds)


@pytest.mark.parametrize("tiny_checkpoint", BACKBONES, indirect=True)
@torch.no_grad()
@pytest.mark.parametrize("order", [[0], [1], [2], [0, 1, 2, 3, 4], [3, 2, 4, 1, 0]], ids=str)
@pytest.mark.parametrize("hypothesis_first", [False, True])
def test_outputs_of_the_towers_stand_for_the_clips(model, processor, premises, clips, order, hypothesis_first):
    """With the outputs of the towers in place of the clips, batches of one modality or of all answer the same, also
    where each hypothesis repeats its premise."""
    if hypothesis_first:
        prompt = {"premise": "{hypothesis}\n{premise}\n", "hypothesis": "Answer:"}
        processor = type(processor)(
            processor.feature_extractor,
            processor.video_processor,
            processor.tokenizer,
            prompt=prompt,
            media=processor.media,
        )
    given = [premises[name] for name in ("audio", "video", "audiovisual")] + [clips.short_sound, premises["text"]]
    encoded = [processor.encode_premise(given[index]) for index in order]
    hypotheses = [HYPOTHESES[: 1 + index % 3] for index in order]
    batch = processor.collate([without_media(model, processor, premise) for premise in encoded], hypotheses)
    assert not {"input_features", "pixel_values_videos"} & batch.keys()
    expected = model(**processor.collate(encoded, hypotheses)).logits
    torch.testing.assert_close(model(**batch).logits, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_clips_and_outputs_of_the_towers_do_not_mix(model, processor, premises):
    """A batch with a clip and with the outputs of the towers for another is refused, not misplaced."""
    clip = processor.encode_premise(premises["audiovisual"])
    with pytest.raises(ValueError, match="outputs of the towers, or none"):
        processor.collate([clip, without_media(model, processor, clip)], [HYPOTHESES[:1]] * 2)


@torch.no_grad()
def test_order_of_hypotheses_does_not_matter(model, processor, premises):
    """Permuting the hypotheses permutes the answers."""
    order = [2, 0, 3, 1]
    straight = model(**processor(premises["audiovisual"], HYPOTHESES)).probability
    permuted = model(**processor(premises["audiovisual"], [HYPOTHESES[index] for index in order])).probability
    torch.testing.assert_close(permuted, straight[order], atol=1e-6, rtol=0)


@torch.no_grad()
def test_a_hypothesis_sees_no_other(model, processor, premises):
    """Changing the tokens of one hypothesis changes its own answer and no other, to the bit."""
    inputs = processor(premises["video"], HYPOTHESES)
    changed = copy.deepcopy(inputs)
    changed["input_ids"][changed["branch_ids"] == 2] = 7
    before, after = model(**inputs).logits, model(**changed).logits
    same = (before == after).all(dim=1)
    assert same.tolist() == [True, False, True, True]


@pytest.mark.parametrize("tiny_checkpoint", BACKBONES, indirect=True)
@torch.no_grad()
def test_padding_does_not_matter(model, processor, premises):
    """More padding, whatever stands in it, changes nothing."""
    inputs = processor(premises["audio"], HYPOTHESES)
    padded = dict(inputs)
    for name, value in (("input_ids", 5), ("attention_mask", 0), ("branch_ids", -1)):
        padded[name] = torch.nn.functional.pad(inputs[name], (0, 9), value=value)
    torch.testing.assert_close(model(**padded).logits, model(**inputs).logits, atol=1e-5, rtol=1e-5)
    del padded["attention_mask"]  # follows from the branches
    torch.testing.assert_close(model(**padded).logits, model(**inputs).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tiny_checkpoint", BACKBONES, indirect=True)
@pytest.mark.parametrize("target", ["gaussian", "mean_preserving", "mse"])
def test_shared_premises_train_as_one_by_one(tiny_checkpoint, processor, premises, target):
    """Loss and gradients of a mixed batch of branches are the means of those of one hypothesis at a time."""
    model, reference = fresh(tiny_checkpoint, target=target), fresh(tiny_checkpoint, target=target)
    labels = torch.linspace(0, 1, 2 * len(MODALITIES))
    rows = [premises[modality] for modality in MODALITIES]
    output = model(**processor(rows, [HYPOTHESES[:2]] * len(rows)), labels=labels)
    output.loss.backward()
    losses = []
    for index, label in enumerate(labels):
        inputs = processor(rows[index // 2], HYPOTHESES[index % 2])
        loss = reference(**inputs, labels=label[None], num_items_in_batch=len(labels)).loss
        loss.backward()
        losses.append(loss.detach() * len(labels))
    torch.testing.assert_close(output.hypothesis_loss, torch.stack(losses), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(output.loss, output.hypothesis_loss.mean())
    found, expected = gradients(model), gradients(reference)
    assert found.keys() == expected.keys() and "lm_head.weight" not in found
    assert any("audio_tower" in name for name in found) and any("visual" in name for name in found)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=2e-5 * (1 + gradient.abs().max()), rtol=1e-3)


def test_num_items_in_batch_divides_the_sum(model, processor, premises):
    """With the count of a larger batch, given as a number or a tensor, the loss is the sum over that count."""
    inputs, labels = processor(premises["text"], HYPOTHESES), torch.tensor([0.0, 0.2, 0.9, 1.0])
    plain = model(**inputs, labels=labels)
    for count in (16, torch.tensor(16)):
        part = model(**inputs, labels=labels, num_items_in_batch=count)
        torch.testing.assert_close(part.loss, plain.hypothesis_loss.sum() / 16)
    assert plain.hypothesis_loss.dtype == torch.float32 and not plain.hypothesis_loss.requires_grad


@pytest.mark.parametrize("tiny_checkpoint", BACKBONES, indirect=True)
def test_gradient_checkpointing_changes_no_gradient(tiny_checkpoint, processor, premises):
    """Recomputing activations gives the gradients that storing them gives."""
    results = []
    for checkpointing in (False, True):
        model = fresh(tiny_checkpoint).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        inputs = processor([premises["text"], premises["audiovisual"]], [HYPOTHESES[:2]] * 2)
        model(**inputs, labels=torch.tensor([0.1, 0.5, 0.6, 0.9])).loss.backward()
        results.append(gradients(model))
    assert results[0].keys() == results[1].keys()
    for name, gradient in results[0].items():
        torch.testing.assert_close(results[1][name], gradient, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("tiny_checkpoint", BACKBONES, indirect=True)
@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_towers_never_run_backward(tiny_checkpoint, processor, premises, frozen):
    """Not even under gradient checkpointing, where transformers has the towers' input require a gradient."""
    model = fresh(tiny_checkpoint).train()
    for tower in (model.model.audio_tower, model.model.visual):
        tower.requires_grad_(not frozen)
    model.activation_checkpointing_enable()
    outputs = []
    model.model.audio_tower.register_forward_hook(lambda *call: outputs.append(call[-1].last_hidden_state))
    model.model.visual.register_forward_hook(lambda *call: outputs.append(call[-1].pooler_output))
    inputs = processor(premises["audiovisual"], HYPOTHESES[:2])
    model(**inputs, labels=torch.tensor([0.1, 0.9])).loss.backward()
    assert [output.requires_grad for output in outputs] == [not frozen] * 2
    assert all(weight.grad is not None for weight in model.model.language_model.layers.parameters())


@pytest.mark.parametrize("tiny_checkpoint", BACKBONES, indirect=True)
@pytest.mark.parametrize("modality", ["audio", "video", "audiovisual"])
def test_projections_of_frozen_towers_have_the_plain_thinkers_gradients(tiny_checkpoint, premises, modality):
    """What stands before them comes from the clip or is given, of frames that the towers see in several windows: their
    gradients are the same to the last bit, and those of transformers' own forward, in which all is trained. What is
    frozen has none."""
    model, processor = fresh(tiny_checkpoint), AutoProcessor.from_pretrained(tiny_checkpoint)
    processor.video_processor.size = {"shortest_edge": 24_000, "longest_edge": 32_000}
    inputs = processor(premises[modality], HYPOTHESES[0])
    assert modality == "audio" or inputs["video_grid_thw"][0, 1:].min() > 8  # a window has 8 patches a side
    weights = torch.linspace(-1, 1, model.config.text_config.vocab_size)

    plain = {name: tensor for name, tensor in inputs.items() if name != "branch_ids"}
    thinker = change_class(model, model.backbone.upstream("ThinkerForConditionalGeneration"), model.config)
    (thinker(**plain, use_audio_in_video=modality == "audiovisual").logits[0, -1] @ weights).backward()
    expected = gradients(model)

    projections = [name for tower in TOWERS for name in model.backbone.projections_of(model.model, tower)]
    model.model.audio_tower.requires_grad_(False)
    model.model.visual.requires_grad_(False)
    for name in projections:
        model.model.get_submodule(name).requires_grad_(True)

    def own(given) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        model.zero_grad()
        outputs, *embeds = model.encode(**given)
        (model.lm_head(outputs.last_hidden_state[0, -1]) @ weights).backward()
        embeds = {name: given for name, given in zip(EMBEDS, embeds, strict=True) if given is not None}
        return gradients(model), embeds

    found, embeds = own(inputs)
    again, _ = own({name: tensor for name, tensor in inputs.items() if name not in MEDIA} | embeds)
    assert embeds and not any(tensor.requires_grad for tensor in embeds.values())
    trained = {name for name in expected if not is_part_of(name, TOWERS) or is_part_of(name, projections)}
    assert any(is_part_of(name, projections) for name in trained)
    assert found.keys() == again.keys() == trained
    for name in trained:
        assert torch.equal(again[name], found[name])
        gradient = expected[name]
        torch.testing.assert_close(found[name], gradient, atol=2e-5 * (1 + gradient.abs().max()), rtol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("tiny_checkpoint", BACKBONES, indirect=True)
def test_a_plain_thinker_in_another_thread_is_not_disturbed(model, processor, premises):
    """Its towers, which are ours, give what they give alone while another thread takes from them what stands before
    their projections."""
    inputs = processor(premises["video"], HYPOTHESES[0])
    clip = inputs["pixel_values_videos"], inputs["video_grid_thw"]
    expected, logits = model.model.get_video_features(*clip).pooler_output[0], model(**inputs).logits
    results = []

    def look(*call) -> None:
        hook.remove()
        thread = Thread(target=lambda: results.append(model.model.get_video_features(*clip).pooler_output[0]))
        thread.start()
        thread.join()

    hook = model.model.visual.blocks[0].register_forward_hook(look)
    assert torch.equal(model(**inputs).logits, logits)
    assert torch.equal(results[0], expected)


@torch.no_grad()
def test_bfloat16_keeps_head_and_loss_in_float32(tiny_checkpoint, tmp_path, processor, premises):
    """A model in bfloat16 has its head, logits, probabilities and loss in float32, and so does its saved copy."""
    model = fresh(tiny_checkpoint, dtype=torch.bfloat16)
    model.save_pretrained(tmp_path)
    inputs = processor([premises[name] for name in MODALITIES], [HYPOTHESES[:2]] * 4)
    reference = fresh(tiny_checkpoint, dtype=torch.float32)(**inputs)
    for candidate in (model, fresh(tmp_path, dtype="auto")):
        assert candidate.lm_head.weight.dtype == torch.bfloat16
        assert candidate.confidence_head.weight.dtype == torch.float32
        output = candidate(**inputs, labels=torch.full((8,), 0.3))
        for value in (output.loss, output.logits, output.probability, output.hypothesis_loss):
            assert value.dtype == torch.float32 and value.isfinite().all()
        torch.testing.assert_close(output.probability, reference.probability, atol=0.05, rtol=0)


@torch.no_grad()
def test_autocast_keeps_logits_in_float32(model, processor, premises):
    """Mixed precision stops short of the head: logits and probabilities carry more digits than bfloat16 has."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(**processor(premises["text"], HYPOTHESES), labels=torch.full((4,), 0.3))
    for value in (output.loss, output.logits, output.probability):
        assert value.dtype == torch.float32
    assert not torch.equal(output.logits, output.logits.bfloat16().float())


@torch.no_grad()
def test_the_vocabulary_projection_is_never_computed(tiny_checkpoint, processor, premises, monkeypatch):
    """No forward pass touches `lm_head`."""
    model = fresh(tiny_checkpoint)
    monkeypatch.setattr(model.lm_head, "forward", lambda *args: pytest.fail("lm_head was computed"))
    assert len(model(**processor(premises["text"], HYPOTHESES)).probability) == len(HYPOTHESES)


@pytest.mark.parametrize("tiny_checkpoint", BACKBONES, indirect=True)
@torch.no_grad()
def test_saved_and_loaded_is_the_same_to_the_bit(model, processor, premises, tmp_path):
    """A saved copy misses no weight, has none too many, and answers the same to the bit."""
    model.save_pretrained(tmp_path)
    copied, info = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    inputs = processor([premises[name] for name in MODALITIES], [HYPOTHESES] * 4)
    assert torch.equal(copied.eval()(**inputs).logits, model(**inputs).logits)


# --- what is refused ------------------------------------------------------------------------------


def test_missing_branch_ids(model, processor):
    """Inputs that did not come from the processor are refused with where to get them."""
    inputs = processor("An urn.", "It is red.")
    del inputs["branch_ids"]
    with pytest.raises(ValueError, match="CLUEProcessor"):
        model(**inputs)


def test_row_without_hypothesis(model, processor):
    """A row that is all premise has nothing to answer."""
    inputs = processor(["An urn.", "A bag."], ["It is red.", "It is."])
    inputs["branch_ids"][1] = inputs["branch_ids"][1].clamp(max=0)
    with pytest.raises(ValueError, match="at least one hypothesis"):
        model(**inputs)


@pytest.mark.parametrize("shape", [(3,), (5,), (4, 1), ()])
def test_wrong_number_of_labels(model, processor, shape):
    """Labels that are not one per hypothesis are refused, not broadcast."""
    with pytest.raises(ValueError, match="4 hypotheses need as many labels"):
        model(**processor("An urn.", HYPOTHESES), labels=torch.full(shape, 0.5))


def test_attention_without_masks(tiny_checkpoint, processor):
    """Flash attention, which takes no mask, is refused for several hypotheses a row and let through for one."""
    model = fresh(tiny_checkpoint)
    model.config.text_config._attn_implementation = "flash_attention_2"
    branches = processor("An urn.", HYPOTHESES)
    with pytest.raises(ValueError, match="sdpa"):
        model(**branches)
    single = processor("An urn.", "It is red.")
    assert torch.equal(model._branch_mask(single["branch_ids"], single["attention_mask"]), single["attention_mask"])


# --- positions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tiny_checkpoint", BACKBONES, indirect=True)
@pytest.mark.parametrize("modality", MODALITIES)
def test_positions_are_upstreams(model, processor, premises, modality):
    """With one hypothesis the positions are those upstream computes over the whole row: an audiovisual row needs no
    flag to be treated as one."""
    inputs = processor(premises[modality], "The ball is red.")
    mask = inputs.get("feature_attention_mask")
    expected, _ = model.model.get_rope_index(
        input_ids=inputs["input_ids"],
        video_grid_thw=inputs.get("video_grid_thw"),
        attention_mask=inputs["attention_mask"],
        use_audio_in_video=modality == "audiovisual",
        audio_seqlens=None if mask is None else mask.sum(1),
        second_per_grids=inputs.get("video_second_per_grid"),
    )
    assert torch.equal(positions(model, inputs), expected)


@pytest.mark.parametrize("tiny_checkpoint", BACKBONES, indirect=True)
def test_every_branch_continues_the_premise(model, processor, premises):
    """In a row of branches each token has the position it has when its hypothesis is alone."""
    together = processor(premises["audiovisual"], HYPOTHESES)
    found = positions(model, together)[:, 0]
    for number, hypothesis in enumerate(HYPOTHESES, start=1):
        alone = processor(premises["audiovisual"], hypothesis)
        columns = (together["branch_ids"][0] == 0) | (together["branch_ids"][0] == number)
        assert torch.equal(found[:, columns], positions(model, alone)[:, 0])


def test_time_of_frames_reaches_the_positions(model, processor):
    """The same pictures at twice the rate lie half as far apart in time: 25 positions a second."""
    frames = torch.randint(0, 256, (8, 48, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for fps in (1.0, 2.0, 4.0):
        inputs = processor({"video": {"frames": frames.numpy(), "fps": fps}}, "Red.", fps=fps)
        pictures = inputs["input_ids"][0] == model.config.video_token_id
        time = positions(model, inputs)[0, 0, pictures]
        tokens_per_step = int(inputs["video_grid_thw"][0, 1:].prod()) // 4
        expected = torch.arange(4).repeat_interleave(tokens_per_step) * 25 * 2 / fps
        assert (time - time[0]).tolist() == expected.long().tolist()


def test_sound_and_frames_share_a_clock(model, processor, premises):
    """In an audiovisual premise a frame at t seconds and the sound at t seconds have the same temporal position."""
    inputs = processor(premises["audiovisual"], "Red.")
    time = positions(model, inputs)[0, 0]
    sounds = time[inputs["input_ids"][0] == model.config.audio_token_id]
    pictures = time[inputs["input_ids"][0] == model.config.video_token_id]
    assert (sounds - sounds[0]).tolist() == list(range(len(sounds)))  # 25 tokens a second
    seconds = torch.arange(int(inputs["video_grid_thw"][0, 0])) * inputs["video_second_per_grid"]
    assert (pictures.unique() - sounds[0]).tolist() == (25 * seconds).long().tolist()


@torch.no_grad()
def test_casting_inputs_leaves_time_alone(tiny_checkpoint, processor, premises):
    """`inputs.to(dtype)` casts sound and frames, but frames keep their place in time."""
    model = fresh(tiny_checkpoint, dtype=torch.bfloat16)
    inputs = processor(premises["audiovisual"], "Red.", fps=7.3)
    expected = positions(model, inputs)
    cast = inputs.to("cpu", torch.bfloat16)
    assert cast["input_features"].dtype == cast["pixel_values_videos"].dtype == torch.bfloat16
    assert torch.equal(positions(model, cast), expected)


# --- prompts and adapters -------------------------------------------------------------------------


@pytest.mark.parametrize("tiny_checkpoint", BACKBONES, indirect=True)
@torch.no_grad()
def test_plain_positions_of_video_with_sound(tiny_checkpoint, processor, premises):
    """With `audiovisual_positions="plain"` every token of a video with sound is one further than the last; without
    sound, nothing changes."""
    plain = AutoModel.from_pretrained(tiny_checkpoint, audiovisual_positions="plain").eval()
    timed = AutoModel.from_pretrained(tiny_checkpoint).eval()
    assert timed.config.audiovisual_positions == "timed"
    for name in ("audiovisual", "video", "audio", "text"):
        inputs = processor(premises[name], HYPOTHESES[0])
        media = [inputs.get(key) for key in ("video_grid_thw", "video_second_per_grid")]
        found, usual = (
            m._branch_position_ids(inputs["input_ids"], inputs["branch_ids"], *media)[0] for m in (plain, timed)
        )
        expected = torch.arange(usual.shape[2]).expand_as(usual) if name == "audiovisual" else usual
        assert torch.equal(found, expected)
        assert torch.equal(found, usual) == (name != "audiovisual")
    with pytest.raises(ValueError, match="`audiovisual_positions` must be one of timed, plain"):
        CLUEConfig(audiovisual_positions="fast")


@pytest.mark.parametrize("tiny_checkpoint", BACKBONES, indirect=True)
@torch.no_grad()
def test_hypothesis_first_prompt(model, hypothesis_first, premises):
    """With the hypothesis before the premise, each gets a row of its own and the answer it gets alone."""
    first = hypothesis_first
    rows = [premises["audiovisual"], premises["text"], premises["audio"]]
    inputs = first(rows, [HYPOTHESES[:2], HYPOTHESES[:3], HYPOTHESES[3:]])
    assert len(inputs["input_ids"]) == 6 and int(inputs["branch_ids"].max()) == 1
    assert inputs.modalities == ["audiovisual", "text", "audio"]
    pairs = [(rows[0], 0), (rows[0], 1), (rows[1], 0), (rows[1], 1), (rows[1], 2), (rows[2], 3)]
    alone = [model(**first(premise, HYPOTHESES[index])).logits for premise, index in pairs]
    torch.testing.assert_close(model(**inputs).logits, torch.cat(alone), atol=2e-5, rtol=1e-5)
    ids = first(premises["text"], "The ball is red.")["input_ids"][0]
    assert first.tokenizer.decode(ids) == "The ball is red.\nAn urn holds 3 red balls.<|im_end|>"


@pytest.mark.parametrize("tiny_checkpoint", BACKBONES, indirect=True)
def test_lora_with_a_trained_head(tiny_checkpoint, processor, premises, tmp_path):
    """An adapter on the language model alone, with the head trained in full, is the same after it is saved and loaded,
    and merged it is a plain checkpoint with the same answers."""
    torch.manual_seed(0)
    adapted = get_peft_model(
        fresh(tiny_checkpoint),
        LoraConfig(
            r=4,
            target_modules=LORA_TARGET_MODULES,
            modules_to_save=["confidence_head"],
        ),
    )
    trained = {name for name, weight in adapted.named_parameters() if weight.requires_grad}
    assert all("language_model.layers" in name or "confidence_head.modules_to_save" in name for name in trained)
    inputs = processor([premises["text"], premises["audiovisual"]], [HYPOTHESES[:2]] * 2)
    before = adapted(**inputs).probability.detach()
    optimizer = torch.optim.SGD([weight for weight in adapted.parameters() if weight.requires_grad], lr=0.1)
    for _ in range(2):  # the second step moves both halves of the adapter
        adapted(**inputs, labels=torch.tensor([0.0, 1.0, 0.0, 1.0])).loss.backward()
        optimizer.step()
    adapted.eval()
    with torch.no_grad():
        expected = adapted(**inputs).probability
        assert (expected - before).abs().max() > 1e-3
        adapted.save_pretrained(tmp_path / "adapter")
        loaded = PeftModel.from_pretrained(fresh(tiny_checkpoint), tmp_path / "adapter")
        torch.testing.assert_close(loaded(**inputs).probability, expected, atol=1e-6, rtol=0)
        loaded.merge_and_unload().save_pretrained(tmp_path / "merged")
        merged = fresh(tmp_path / "merged")
        torch.testing.assert_close(merged(**inputs).probability, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "task_type", [None, "FEATURE_EXTRACTION", "SEQ_CLS", "CAUSAL_LM", "TOKEN_CLS", "QUESTION_ANS", "SEQ_2_SEQ_LM"]
)
def test_what_peft_passes_in_is_taken(tiny_checkpoint, model, processor, premises, task_type):
    """An adapter of any task passes `inputs_embeds=None` and its like on; an untrained one changes no answer."""
    inputs = processor(premises["text"], ["It is red.", "It is blue."])
    base = AutoModel.from_pretrained(tiny_checkpoint)
    adapted = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"], task_type=task_type)).eval()
    assert torch.equal(adapted(**inputs).probability, model(**inputs).probability)


def test_common_arguments_of_forward(model, processor, premises):
    """What every model of transformers takes is taken with its usual effect, or refused in a sentence."""
    inputs = processor(premises["text"], ["It is red."])
    plain = model(**inputs)
    for name, value in {"use_cache": False, "inputs_embeds": None, "past_key_values": None}.items():
        assert torch.equal(model(**inputs, **{name: value}).probability, plain.probability)
    assert torch.equal(model(**inputs, return_dict=False)[1], plain.probability)
    states = model(**inputs, output_hidden_states=True).hidden_states
    assert len(states) == model.config.text_config.num_hidden_layers + 1
    for name in ("inputs_embeds", "position_ids", "past_key_values", "use_audio_in_video"):
        with pytest.raises(ValueError, match=f"`{name}` cannot be given"):
            model(**inputs, **{name: torch.zeros(1)})
    assert torch.equal(model(**inputs, decoder_input_ids=None).probability, plain.probability)
    with pytest.raises(TypeError, match="no argument `lables`") as error:
        model(**inputs, lables=torch.zeros(1))
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("tiny_checkpoint", BACKBONES, indirect=True)
@pytest.mark.parametrize("modality", MODALITIES)
def test_text_is_written_as_by_the_plain_thinker(tiny_checkpoint, model, processor, premises, modality):
    """`generate` gives the tokens of upstream's class with the same weights, each row of a padded batch its own."""
    thinker_class = model.backbone.upstream("ThinkerForConditionalGeneration")
    thinker = thinker_class.from_pretrained(tiny_checkpoint, config=plain_config(model.config))
    options = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None}
    inputs = processor([premises[modality]] * 2, HYPOTHESES[2:])
    written = model.generate(**inputs, **options)[:, inputs["input_ids"].shape[1] :]
    for hypothesis, found in zip(HYPOTHESES[2:], written, strict=True):
        alone = processor(premises[modality], hypothesis)
        alone.pop("branch_ids")
        expected = thinker.generate(**alone, **options, use_audio_in_video=modality == "audiovisual")
        assert found.tolist() == expected[0, -5:].tolist()


def test_text_that_cannot_be_written(model, processor, premises):
    """Hypotheses in one row, or premises that need different clocks, are refused in a sentence."""
    with pytest.raises(ValueError, match="one hypothesis a row"):
        model.generate(**processor(premises["text"], HYPOTHESES))
    with pytest.raises(ValueError, match="ask apart"):
        model.generate(**processor([premises["text"], premises["audiovisual"]], HYPOTHESES[:2]))


@pytest.mark.parametrize(("premise", "hypothesis"), [(60, 1), (1, 60)])
def test_more_positions_than_the_model_has(tiny_checkpoint, processor, premise, hypothesis):
    """A row beyond the model's positions is an error that names its premise, what is too long and what to change."""
    model = fresh(tiny_checkpoint)
    long = processor("Balls: " + "red, " * premise, "red " * hypothesis)["branch_ids"]
    inputs = processor(["Short.", "Balls: " + "red, " * premise], [["Red."], ["red " * hypothesis]])
    model.config.text_config.max_position_embeddings = long.numel()
    model(**inputs)
    model.config.text_config.max_position_embeddings = long.numel() - 1
    counts = f"takes {int((long == 0).sum())} positions and its longest hypothesis {int((long == 1).sum())} more"
    with pytest.raises(ValueError, match=f"Premise 1 of the batch {counts}.*shorten the text.*`max_text_tokens`"):
        model(**inputs)


class Int8Linear(torch.nn.Module):
    """A linear layer whose only parameter is of whole numbers, as bitsandbytes has them."""

    def __init__(self, layer: torch.nn.Linear):
        super().__init__()
        scale = layer.weight.abs().amax(dim=1, keepdim=True) / 127
        self.weight = torch.nn.Parameter((layer.weight / scale).round().to(torch.int8), requires_grad=False)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", layer.bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(states, self.weight * self.scale, self.bias)


def replaced(model) -> ConfidenceEstimation:
    """The model with every linear layer replaced."""
    model = copy.deepcopy(model)
    for name, layer in list(model.named_modules()):
        if type(layer) is torch.nn.Linear:
            model.set_submodule(name, Int8Linear(layer))
    return model


@torch.no_grad()
@pytest.mark.parametrize(
    "quantize",
    [
        lambda model: torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8),
        lambda model: torch.ao.quantization.quantize_dynamic(model, {"confidence_head"}, dtype=torch.qint8),
        replaced,
    ],
    ids=["methods", "head", "parameters"],
)
def test_weights_in_int8(model, processor, premises, quantize):
    """Layers in int8, whose weights are methods or numbers of another kind, answer nearly as before, whatever the
    modality."""
    inputs = processor([premises[name] for name in MODALITIES], [HYPOTHESES[:2]] * len(MODALITIES))
    found, expected = quantize(model)(**inputs), model(**inputs)
    assert found.logits.dtype == torch.float32
    torch.testing.assert_close(found.probability, expected.probability, atol=0.02, rtol=0)
