"""Checkpoints assembled from other models compute what these computed, and what would not is refused by name."""

import json
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoProcessor,
    AutoTokenizer,
    GemmaConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5OmniThinkerForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2VLVideoProcessor,
    Qwen3Config,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperModel,
    pipeline,
)

from modeling_clue import assembly
from modeling_clue.assembly import TowerSize, assemble, mrope_section
from modeling_clue.checkpoint_parts import confidence_tokens, initial_head
from modeling_clue.confidence import expectation
from modeling_clue.conversion import main, plain_config, to_clue, to_thinker
from modeling_clue.modeling_clue import change_class
from modeling_clue.prompt import DEFAULT_PROMPT
from tests.tiny_sources import CHAT, scatter, source_tokenizer, write_language_model, write_whisper


SMALL = TowerSize(1, 64)
SMALL_TOWERS = {"audio_tower": SMALL, "vision_tower": SMALL}
QWEN2 = (Qwen2Config, Qwen2ForCausalLM)
LLAMA = (LlamaConfig, LlamaForCausalLM)
TEXT = "<|im_start|>An urn holds 3 red balls.\nNo, the ball isn't red: 12,345 are.<|im_end|>\nYes"
HYPOTHESES = ["The ball is red.", "No ball is red."]


def no_output_bias(model) -> None:
    """Llama has biases on all four projections or none; the Thinker on three."""
    for layer in model.model.layers:
        torch.nn.init.zeros_(layer.self_attn.o_proj.bias)


LANGUAGE_MODELS = {
    "llama": (*LLAMA, {}),
    "tied llama": (*LLAMA, {"tie_word_embeddings": True}),
    "grouped llama": (*LLAMA, {"num_key_value_heads": 2}),
    "one group": (*LLAMA, {"num_key_value_heads": 1, "tie_word_embeddings": True}),
    "biased llama": (*LLAMA, {"attention_bias": True, "num_key_value_heads": 2, "spoil": no_output_bias}),
    "wide heads": (*LLAMA, {"num_attention_heads": 1}),
    "uneven sections": (*LLAMA, {"hidden_size": 48, "num_attention_heads": 4}),
    "small theta": (*LLAMA, {"rope_theta": 100.0, "rms_norm_eps": 1e-2}),
    "qwen2": (*QWEN2, {"num_key_value_heads": 2}),
    "tied qwen2": (*QWEN2, {"num_key_value_heads": 4, "tie_word_embeddings": True}),
    "spare rows": (*QWEN2, {"num_key_value_heads": 4, "spare_rows": 200}),
    "idle window": (*QWEN2, {"num_key_value_heads": 4, "use_sliding_window": True, "max_window_layers": 2}),
}


@pytest.fixture(scope="module")
def language_model(tmp_path_factory) -> Path:
    """A tiny Llama in the chat format."""
    return write_language_model(tmp_path_factory.mktemp("sources") / "llama", num_key_value_heads=2)


@pytest.fixture(scope="module")
def whisper(tmp_path_factory) -> Path:
    """A tiny Whisper of 80 bands, with windows of 2 seconds."""
    return write_whisper(tmp_path_factory.mktemp("sources") / "whisper")


@pytest.fixture(scope="module")
def assembled(language_model, whisper, tmp_path_factory) -> Path:
    """A checkpoint made of both, and a small vision tower."""
    out = tmp_path_factory.mktemp("assembled") / "clue"
    return assemble(language_model, out, audio_tower=whisper, vision_tower=SMALL)


def thinker_of(folder: Path, **options):
    """The plain Thinker of a checkpoint, in transformers' own class."""
    clue = AutoModel.from_pretrained(folder, **options).eval()
    return change_class(clue, Qwen2_5OmniThinkerForConditionalGeneration, plain_config(clue.config)).eval()


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_the_logits_are_those_of_the_language_model(name, tmp_path):
    """Bit by bit, for each layout, with either attention; more rows are appended, and none is changed."""
    config_class, model_class, fields = LANGUAGE_MODELS[name]
    source = write_language_model(tmp_path / "source", config_class, model_class, **fields)
    out = assemble(source, tmp_path / "out", **SMALL_TOWERS)
    tokenizer = AutoTokenizer.from_pretrained(source)
    ids = tokenizer(TEXT, return_tensors="pt")["input_ids"]
    assert torch.equal(ids, AutoTokenizer.from_pretrained(out)(TEXT, return_tensors="pt")["input_ids"])
    for attention in ("eager", "sdpa"):
        expected = AutoModelForCausalLM.from_pretrained(source, attn_implementation=attention).eval()
        thinker = thinker_of(out, attn_implementation=attention)
        with torch.no_grad():
            wanted = expected(ids).logits
            found = thinker(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        num_rows = wanted.shape[-1]
        assert found.shape[-1] == max(num_rows, len(tokenizer) + 107)
        torch.testing.assert_close(found[..., :num_rows], wanted, rtol=0, atol=1e-6)
        assert wanted.std() > 1
        for mine, theirs in (
            (thinker.get_input_embeddings(), expected.get_input_embeddings()),
            (thinker.get_output_embeddings(), expected.get_output_embeddings()),
        ):
            assert torch.equal(mine.weight[:num_rows], theirs.weight)
    assert sum(thinker.config.text_config.rope_parameters["mrope_section"]) * 2 == (
        expected.config.hidden_size // expected.config.num_attention_heads
    )


def test_a_model_answers_as_its_source_would_say_yes(language_model, assembled):
    """The first answers are those of the source's last state under the line through the rows of its own words."""
    source, tokenizer = (
        AutoModelForCausalLM.from_pretrained(language_model),
        AutoTokenizer.from_pretrained(language_model),
    )
    model, processor = AutoModel.from_pretrained(assembled).eval(), AutoProcessor.from_pretrained(assembled)
    premise = "An urn holds 3 red balls."
    with torch.no_grad():
        output = model(**processor(premise, HYPOTHESES))
        no, yes = (source.lm_head.weight[tokenizer.convert_tokens_to_ids(word)] for word in ("No", "Yes"))
        head = initial_head(no, yes, 100)
        for index, hypothesis in enumerate(HYPOTHESES):
            text = DEFAULT_PROMPT["premise"].format(premise=premise)
            pieces = [text[: text.index(premise)], premise, text.partition(premise)[2]]
            text = DEFAULT_PROMPT["hypothesis"].format(hypothesis=hypothesis)
            pieces += [*text.partition(hypothesis)]
            ids = [token for piece in pieces for token in tokenizer(piece)["input_ids"]]
            state = source.model(torch.tensor([ids])).last_hidden_state[0, -1]
            torch.testing.assert_close(output.logits[index], head @ state, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "section"), [(128, [16, 24, 24]), (64, [8, 12, 12]), (80, [10, 15, 15]), (16, [2, 3, 3]), (8, [1, 1, 2])]
)
def test_sections_fill_half_a_head(size, section):
    """In the proportion of Qwen2.5-Omni's own, 16, 24 and 24 of 64, as near as whole numbers come."""
    assert mrope_section(size) == section


def refusals():
    """Configurations of language models that the Thinker can't be, and what is said of them."""
    scalings = {
        "llama3": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
        "yarn": {"factor": 4.0},
        "linear": {"factor": 2.0},
        "dynamic": {"factor": 2.0},
    }
    for kind, settings in scalings.items():
        rope = {"rope_type": kind, "rope_theta": 1e4, "original_max_position_embeddings": 64, **settings}
        yield f"rope {kind}", LlamaConfig, {"rope_parameters": rope}, rf"rope_parameters = .*{kind}"
    partial = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}
    yield "partial rotary", LlamaConfig, {"rope_parameters": partial}, "rope_parameters = .*partial_rotary_factor"
    yield "head_dim", LlamaConfig, {"head_dim": 32}, "head_dim = 32.* it is 16"
    yield "small head", LlamaConfig, {"hidden_size": 24}, "head of 6 has no three sections"
    yield "gelu", LlamaConfig, {"hidden_act": "gelu"}, "hidden_act = gelu"
    yield "window", Qwen2Config, {"use_sliding_window": True, "max_window_layers": 1}, "layer_types = .*sliding"
    yield "qwen3", Qwen3Config, {}, "is a qwen3 model"
    yield "gemma", GemmaConfig, {}, "is a gemma model"
    yield "mistral", MistralConfig, {}, "is a mistral model"
    yield "few positions", LlamaConfig, {"max_position_embeddings": 256}, "has 256 positions: too few"
    quantized = {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    yield "quantized", LlamaConfig, quantized, "is quantized"


@pytest.mark.parametrize(
    ("config_class", "fields", "message"), [pytest.param(*rest, id=name) for name, *rest in refusals()]
)
def test_another_architecture_is_refused_by_name(config_class, fields, message, tmp_path):
    """Before its weights are looked at, which aren't even there."""
    sizes = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 300}
    config_class(**{**sizes, **fields}).save_pretrained(tmp_path / "source")
    source_tokenizer().save_pretrained(tmp_path / "source")
    with pytest.raises(ValueError, match=message) as error:
        assemble(tmp_path / "source", tmp_path / "out", **SMALL_TOWERS)
    assert "source'" in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_field_that_is_not_known_is_refused_unless_it_is_at_its_default(language_model, tmp_path, monkeypatch):
    """A later transformers may add a field that changes what is computed: it is refused, not read over."""
    monkeypatch.setattr(assembly, "IDLE_FIELDS", tuple(set(assembly.IDLE_FIELDS) - {"mlp_bias"}))
    assemble(language_model, tmp_path / "fine", **SMALL_TOWERS)
    source = write_language_model(tmp_path / "source", mlp_bias=True)
    with pytest.raises(ValueError, match="mlp_bias = True, which the Thinker can't have: there it is False"):
        assemble(source, tmp_path / "out", **SMALL_TOWERS)


@pytest.mark.parametrize(
    ("fields", "name"),
    [({"attention_bias": True}, r"2 weights .*o_proj\.bias"), ({"mlp_bias": True}, r"6 weights .*mlp\..*_proj\.bias")],
    ids=["o_proj", "mlp"],
)
def test_a_weight_without_a_place_is_refused(fields, name, tmp_path):
    """Biases that the Thinker has no place for, unless they are 0."""
    source = write_language_model(tmp_path / "source", **fields)
    with pytest.raises(ValueError, match=name):
        assemble(source, tmp_path / "out", **SMALL_TOWERS)
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("bins", [80, 128])
@pytest.mark.parametrize("kind", [WhisperModel, WhisperForConditionalGeneration])
def test_sound_is_heard_as_by_whisper(bins, kind, language_model, tmp_path):
    """The tower's states before the projection are those of Whisper's encoder, averaged in pairs before its last norm:
    a clip that ends within a window is heard as by Whisper with a window that ends there, a longer one in windows.

    Whisper here has a window of 2 s, in place of 30; the clips lie around one and several."""
    source = write_whisper(tmp_path / "whisper", kind, bins)
    out = assemble(language_model, tmp_path / "out", audio_tower=source, vision_tower=SMALL)
    model, processor = AutoModel.from_pretrained(out).eval(), AutoProcessor.from_pretrained(out)
    rng = np.random.default_rng(0)
    heard = []
    model.model.audio_tower.ln_post.register_forward_hook(lambda module, inputs, output: heard.append(output))
    # Together in one batch: none is changed by the padding of another.
    waves = [rng.normal(0, 0.1, round(16000 * seconds)).astype(np.float32) for seconds in (0.68, 1.96, 2.0, 3.4, 6.0)]
    inputs = processor([{"audio": {"array": wave, "sampling_rate": 16000}} for wave in waves], [["Yes."]] * 5)
    with torch.no_grad():
        model.encode(**inputs)
    expected = []
    for wave in waves:
        windows = [wave[start : start + 32000] for start in range(0, len(wave), 32000)]
        features = processor.encode_premise({"audio": {"array": wave, "sampling_rate": 16000}}).input_features
        assert features.shape == (bins, len(wave) // 160)
        for index, window in enumerate(windows):
            expected.append(whisper_states(source, features[:, 200 * index :][:, :200], len(window) // 320))
    torch.testing.assert_close(heard[0], torch.cat(expected), rtol=0, atol=1e-5)


def whisper_states(source: Path, features: torch.Tensor, positions: int) -> torch.Tensor:
    """What transformers' encoder makes of a spectrogram, with a window of so many positions."""
    config = WhisperConfig.from_pretrained(source, max_source_positions=positions)
    whole = WhisperModel.from_pretrained(source)
    encoder = WhisperModel(config).encoder.eval()
    weights = whole.encoder.state_dict()
    weights["embed_positions.weight"] = weights["embed_positions.weight"][:positions]
    encoder.load_state_dict(weights)
    norm, encoder.layer_norm = encoder.layer_norm, torch.nn.Identity()
    with torch.no_grad():
        states = encoder(features[None]).last_hidden_state[0]
        return norm((states[0::2] + states[1::2]) / 2)


def test_the_spectrogram_is_whispers(assembled, whisper):
    """It is the beginning of the one that Whisper's own extractor pads with silence to 30 s."""
    wave = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    processor = AutoProcessor.from_pretrained(assembled)
    found = processor.encode_premise({"audio": {"array": wave, "sampling_rate": 16000}}).input_features
    wanted = WhisperFeatureExtractor.from_pretrained(whisper)(wave, sampling_rate=16000, return_tensors="pt")
    assert torch.equal(found, wanted["input_features"][0, :, :100])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: edit(folder / "config.json", model_type="llama"), "is a llama model.*Whisper's alone"),
        (lambda folder: edit(folder / "preprocessor_config.json", feature_size=128), "spectrograms of 128 bands"),
        (lambda folder: edit(folder / "preprocessor_config.json", hop_length=320), "with 50 frames a second"),
    ],
)
def test_another_ear_is_refused(spoil, message, language_model, tmp_path):
    """What isn't Whisper, or hears another spectrogram than it says, or at another rate."""
    source = write_whisper(tmp_path / "whisper")
    spoil(source)
    with pytest.raises(ValueError, match=message):
        assemble(language_model, tmp_path / "out", audio_tower=source, vision_tower=SMALL)
    assert not list(tmp_path.glob("out*"))


def edit(file: Path, **changes) -> None:
    """Changes fields of a JSON file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_positions_that_were_learned_are_refused(language_model, tmp_path, monkeypatch):
    """The tower computes its positions; those of half precision are near enough."""
    source = write_whisper(tmp_path / "whisper")
    model = WhisperModel.from_pretrained(source)
    positions = model.encoder.embed_positions.weight.data
    positions.copy_(positions.half())
    model.save_pretrained(source)
    assemble(language_model, tmp_path / "half", audio_tower=source, vision_tower=SMALL)
    positions[3, 4] += 0.01
    model.save_pretrained(source)
    with pytest.raises(ValueError, match="embed_positions.* no sinusoids"):
        assemble(language_model, tmp_path / "out", audio_tower=source, vision_tower=SMALL)


def write_vision_source(out: Path, width: int) -> Path:
    """A tiny Qwen2.5-VL whose vision tower gives states of a width."""
    config = Qwen2_5_VLConfig(
        text_config={
            **{"hidden_size": width, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2},
            **{"num_key_value_heads": 2, "vocab_size": 64},
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
        },
        vision_config={
            **{"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": width},
            **{"fullatt_block_indexes": [1], "window_size": 56},
        },
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    scatter(model.model.visual, seed=2)
    model.save_pretrained(out)
    Qwen2VLVideoProcessor(image_mean=[0.4, 0.5, 0.6]).save_pretrained(out)
    return out


@pytest.mark.parametrize("width", [64, 32])
def test_frames_are_seen_as_by_the_source(width, language_model, assembled, tmp_path):
    """The vision tower gives what that of Qwen2.5-VL gives; to where its last layer is new, if the widths differ."""
    source = write_vision_source(tmp_path / "vl", width)
    out = assemble(language_model, tmp_path / "out", audio_tower=SMALL, vision_tower=source)
    visual = AutoModel.from_pretrained(out).eval().model.visual
    theirs = Qwen2_5_VLForConditionalGeneration.from_pretrained(source).eval().model.visual
    processor = AutoProcessor.from_pretrained(out)
    assert list(processor.video_processor.image_mean) == [0.4, 0.5, 0.6]
    frames = {"frames": np.random.default_rng(0).integers(0, 256, (6, 100, 150, 3), np.uint8), "fps": 2.0}
    premise = processor.encode_premise({"video": frames})
    if width != visual.config.out_hidden_size:
        for tower in (visual, theirs):
            tower.merger.mlp[2] = torch.nn.Identity()
    inputs = premise.pixel_values_videos, premise.video_grid_thw[None]
    with torch.no_grad():
        found, wanted = (tower(*inputs).pooler_output for tower in (visual, theirs))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    # An assembled checkpoint, exported, is a Qwen2.5-Omni whose tower can be taken in its turn.
    thinker = to_thinker(out, tmp_path / "thinker")
    again = assemble(language_model, tmp_path / "again", audio_tower=SMALL, vision_tower=thinker)
    mine, copied = (load_file(folder / "model.safetensors") for folder in (out, again))
    for key in mine:
        assert not key.startswith("visual.") or torch.equal(mine[key], copied[key]), key


def test_frames_are_seen_as_by_another_clue(language_model, tiny_checkpoint, clips, tmp_path):
    """Of a CLUE comes its tower with what decides which frames it gets, and how large: up to the last layer, a video
    is to it what it was. The rest of the settings are the new model's."""
    out = assemble(language_model, tmp_path / "out", audio_tower=SMALL, vision_tower=tiny_checkpoint)
    seen = []
    for folder in (tiny_checkpoint, out):
        model, processor = AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
        model.model.visual.merger.mlp[2] = torch.nn.Identity()
        premise = processor.encode_premise({"video": clips.talkie})
        with torch.no_grad():
            seen.append(model.model.visual(premise.pixel_values_videos, premise.video_grid_thw[None]).pooler_output)
    torch.testing.assert_close(seen[1], seen[0], rtol=0, atol=1e-6)
    mine, theirs = (AutoProcessor.from_pretrained(folder).media for folder in (out, tiny_checkpoint))
    assert {name: mine[name] for name in assembly.VIDEO_SETTINGS} == {
        name: theirs[name] for name in assembly.VIDEO_SETTINGS
    }
    assert mine["max_audio_seconds"] == assembly.MEDIA["max_audio_seconds"]


def test_new_parts_speak_as_loudly_as_the_embeddings(language_model, assembled, clips):
    """Sound and frames come in about the size of the language model's tokens, and so do new tokens; the source's rows
    of the vocabulary aren't changed."""
    model, processor = AutoModel.from_pretrained(assembled).eval(), AutoProcessor.from_pretrained(assembled)
    table = model.get_input_embeddings().weight.detach()
    old = len(AutoTokenizer.from_pretrained(language_model))

    def size(states: torch.Tensor) -> float:
        return float(states.pow(2).mean().sqrt())

    inputs, seen = processor({"video": clips.talkie, "modality": "audiovisual"}, HYPOTHESES), {}
    model.model.language_model.register_forward_pre_hook(lambda *call: seen.update(call[-1]), with_kwargs=True)
    with torch.no_grad():
        model.encode(**inputs)
    tokens = model.config.audio_token_id, model.config.video_token_id
    for states in (*(seen["inputs_embeds"][inputs["input_ids"] == token] for token in tokens), table[old:]):
        assert size(states) == pytest.approx(size(table[:old]), rel=0.5)


def test_new_weights_go_by_the_seed(language_model, assembled, whisper, tmp_path):
    """The same seed gives the same weights, whatever was drawn before; another one changes only those that are new."""
    torch.rand(7)
    weights = load_file(assembled / "model.safetensors")
    for name, seed in (("same", 0), ("other", 1)):
        out = assemble(language_model, tmp_path / name, audio_tower=whisper, vision_tower=SMALL, seed=seed)
        again = load_file(out / "model.safetensors")
        changed = {key for key in weights if not torch.equal(weights[key], again[key])}
        if seed == 0:
            assert not changed
        else:
            kept = {key for key in weights if key.startswith(("model.layers", "audio_tower.layers", "lm_head"))}
            assert changed and not changed & kept and "audio_tower.proj.weight" in changed


@pytest.mark.parametrize(
    ("of_source", "asked", "written"),
    [
        ("bfloat16", None, "bfloat16"),
        ("float32", "bfloat16", "bfloat16"),
        ("bfloat16", "float32", "float32"),
    ],
)
def test_the_dtype_is_the_sources_unless_asked(of_source, asked, written, whisper, tmp_path):
    """The confidence head is in float32 in any case."""
    source = write_language_model(tmp_path / "source", dtype=getattr(torch, of_source))
    asked = () if asked is None else ("--dtype", asked)
    main(
        [
            "assemble",
            "--language-model",
            str(source),
            "--audio-tower",
            str(whisper),
            *asked,
            "--vision-layers",
            "1",
            "--vision-width",
            "64",
            "--num-bins",
            "20",
            "--output-dir",
            str(tmp_path / "out"),
        ]
    )
    weights = load_file(tmp_path / "out" / "model.safetensors")
    head = weights.pop("confidence_head.weight")
    assert (head.dtype, head.shape) == (torch.float32, (20, 64))
    assert {weight.dtype for weight in weights.values()} == {getattr(torch, written)}


PLAIN = ["<unk>", "<s>", "</s>"]


@pytest.mark.parametrize(
    ("special", "words", "start", "read"),
    [
        (CHAT, "bytes", "<|im_start|>system", "Yes"),
        (["<s>", *CHAT], "bytes", "<s><|im_start|>system", "Yes"),
        (PLAIN, "bytes", "<s>Premise: {premise}", "ĠYes"),
        (PLAIN, "metaspace", "<s>Premise: {premise}", "▁Yes"),
        (["<unk>", "</s>"], "metaspace", "Premise: {premise}", "▁Yes"),
    ],
)
def test_the_prompt_suits_the_tokenizer(special, words, start, read, tmp_path):
    """In the chat format if it has the tokens; behind the token that begins its texts, if it has one; and the head
    starts from the words as they come behind the prompt."""
    tokenizer = source_tokenizer(special, words)
    source = write_language_model(tmp_path / "source", tokenizer=tokenizer)
    out = assemble(source, tmp_path / "out", num_bins=3, **SMALL_TOWERS)
    processor = AutoProcessor.from_pretrained(out)
    assert processor.prompt["premise"].startswith(start)
    weights = load_file(out / "model.safetensors")
    rows = weights["lm_head.weight"]
    no, yes = (rows[tokenizer.convert_tokens_to_ids(word)] for word in (read.replace("Yes", "No"), read))
    assert torch.equal(weights["confidence_head.weight"], initial_head(no, yes, 3))
    # Special tokens are tokens in the prompt, and letters in what users write.
    inputs = processor("<s> is <|AUDIO|> <CONF_1>", ["<|im_end|>"])
    ids = inputs["input_ids"][0].tolist()
    assert processor.tokenizer.convert_tokens_to_ids("<CONF_1>") not in ids
    assert ids[0] == tokenizer.convert_tokens_to_ids(special[0]) if start.startswith("<s><|im") else True


def test_words_and_prompt_can_be_named(language_model, tmp_path):
    """A prompt file is taken as it is, media settings included; words must be single tokens behind it."""
    (tmp_path / "prompt.yaml").write_text(
        'text: {system: Judge., user: "{premise} {hypothesis} Red?", media: {fps: 12.5, max_pixels: 20000}}'
    )
    command = ["assemble", "--language-model", str(language_model), "--prompt", str(tmp_path / "prompt.yaml")]
    main([*command, "--words", "Yes", "No", "--output-dir", str(tmp_path / "out")])
    processor = AutoProcessor.from_pretrained(tmp_path / "out")
    assert list(processor.prompt) == ["text"] and processor.media["fps"] == 12.5
    assert processor.video_processor.size["longest_edge"] == 20000
    flipped = AutoModel.from_pretrained(tmp_path / "out").confidence_head.weight
    with pytest.raises(ValueError, match="'Perhaps' has [2-9] tokens"):
        main([*command, "--words", "No", "Perhaps", "--output-dir", str(tmp_path / "none")])
    (tmp_path / "prompt.yaml").write_text('text: {system: J., user: "{premise} {hypothesis}", media: {speed: 3}}')
    with pytest.raises(ValueError, match="unknown media setting"):
        main([*command, "--output-dir", str(tmp_path / "none")])
    plain = write_language_model(tmp_path / "plain", tokenizer=source_tokenizer(PLAIN))
    with pytest.raises(ValueError, match="takes the chat format, but .*plain' lacks"):
        assemble(plain, tmp_path / "none", prompt=tmp_path / "prompt.yaml")
    assert flipped.shape == (100, 64) and not list(tmp_path.glob("none*"))


def test_texts_are_cut_to_what_the_model_has_room_for(assembled):
    """With the prompt and a hypothesis a premise stays within the positions, and a minute of sound does too."""
    model, processor = AutoModel.from_pretrained(assembled).eval(), AutoProcessor.from_pretrained(assembled)
    inputs = processor("red " * 3000, ["The ball is red."])
    assert "cut" in inputs.notes[0][0]
    with torch.no_grad():
        model(**inputs)
    assert processor.media["max_audio_seconds"] * 25 + 300 < model.config.text_config.max_position_embeddings


def test_new_projections_are_not_answered_through(assembled, language_model, premises, tmp_path):
    """The folder's own code, and that of what comes back from an export, refuses what its new projections would make
    of sound and frames, and answers about texts; a tower that came with a projection isn't new."""
    back = to_clue(to_thinker(assembled, tmp_path / "thinker"), tmp_path / "back")
    for folder in (assembled, back):
        clue = pipeline("uncertain-inference", model=str(folder), trust_remote_code=True)
        assert clue.model.config.new_projections == ["audio_tower", "visual"]
        for modality, premise in premises.items():
            row = {**(premise if isinstance(premise, dict) else {modality: premise}), "hypotheses": HYPOTHESES}
            if modality == "text":
                assert len(clue(row)) == 2
            else:
                kind = "video" if modality == "video" else "sound"
                with pytest.raises(ValueError, match=f"can't judge by {kind}: its projection of {kind} has never"):
                    clue(row)
    source = write_vision_source(tmp_path / "vl", 64)
    seeing = assemble(language_model, tmp_path / "seeing", audio_tower=SMALL, vision_tower=source)
    assert AutoConfig.from_pretrained(seeing).new_projections == ["audio_tower"]


def test_everything_downstream_works(assembled, premises, tmp_path):
    """With projections said to be trained, all modalities are answered by the folder's own code, and the exported
    Thinker gives the same distribution and comes back the same."""
    assembled = shutil.copytree(assembled, tmp_path / "trained")
    config = json.loads((assembled / "config.json").read_text())
    (assembled / "config.json").write_text(json.dumps(config | {"new_projections": []}))
    clue = pipeline("uncertain-inference", model=str(assembled), trust_remote_code=True)
    thinker = to_thinker(assembled, tmp_path / "thinker")
    back = to_clue(thinker, tmp_path / "back")
    answer_again = pipeline("uncertain-inference", model=str(back), trust_remote_code=True)
    for modality, premise in premises.items():
        row = premise if isinstance(premise, dict) else {modality: premise}
        first, again = (ask({**row, "hypotheses": HYPOTHESES}) for ask in (clue, answer_again))
        assert [answer["modality"] for answer in first] == [modality] * 2
        assert [answer["probability"] for answer in again] == [answer["probability"] for answer in first]
    processor = AutoProcessor.from_pretrained(assembled)
    inputs = processor("An urn holds 3 red balls.", ["The ball is red."])
    served = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(thinker).eval()
    bins = processor.tokenizer.convert_tokens_to_ids(confidence_tokens(100))
    with torch.no_grad():
        logits = served(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits[0, -1, bins]
        probability = AutoModel.from_pretrained(assembled).eval()(**inputs).probability
    torch.testing.assert_close(expectation(logits.softmax(-1))[None], probability)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--audio-tower", "x/y", "--audio-layers", "2"), "leave out --audio-layers and --audio-width"),
        (("--vision-width", "100"), "multiple of 64, got 2 layers of 100"),
        (("--audio-layers", "0"), "at least one layer"),
    ],
)
def test_a_size_that_cannot_be_is_refused(words, message, language_model, tmp_path):
    """A tower that is taken from elsewhere has a size already."""
    with pytest.raises(ValueError, match=message):
        main(["assemble", "--language-model", str(language_model), *words, "--output-dir", str(tmp_path / "out")])


def test_a_tokenizer_that_knows_confidence_tokens_is_refused(assembled, tmp_path):
    """Their meaning isn't known; and CLUE is no language model."""
    tokenizer = AutoTokenizer.from_pretrained(assembled)
    source = write_language_model(tmp_path / "source", tokenizer=tokenizer)
    with pytest.raises(ValueError, match="knows <CONF_0> already"):
        assemble(source, tmp_path / "out", **SMALL_TOWERS)
    with pytest.raises(ValueError, match="is a clue model"):
        assemble(assembled, tmp_path / "out", **SMALL_TOWERS)


def write_gguf(source: Path, out: Path, fields=None, more=None, without: str = "") -> Path:
    """Writes a language model as llama.cpp does: rows of queries and keys in another order, no biases that are 0."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(source), AutoTokenizer.from_pretrained(source)
    config, kind = model.config, model.config.model_type
    writer = gguf.GGUFWriter(out, kind)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    for name, value in (fields or {}).items():
        (writer.add_string if isinstance(value, str) else writer.add_uint32)(f"{kind}.{name}", value)
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if token in CHAT else 1 for token in vocabulary])
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, kind.upper()), config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for key, weight in model.state_dict().items():
        array = weight.numpy()
        module, _, part = key.rpartition(".")
        count = heads.get(module.rpartition(".")[2])
        if kind == "llama" and count:
            array = array.reshape(count, 2, -1, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)
        name = f"{names.get_name(module)}.{part}"
        if name != without:
            writer.add_tensor(name, np.ascontiguousarray(array))
    for name in more or ():
        writer.add_tensor(name, np.full(8, 2.0, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


@pytest.mark.parametrize("layout", [LLAMA, QWEN2])
def test_a_gguf_file_is_read(layout, tmp_path, monkeypatch):
    """It gives the checkpoint that the folder it was made of gives; and it is the one that was named, not one of the
    same name in the working directory, which transformers would read."""
    source = write_language_model(tmp_path / "source", *layout, num_key_value_heads=2)
    (tmp_path / "files").mkdir()
    file = write_gguf(source, tmp_path / "files" / "model.gguf", {"attention.key_length": 16, "expert_count": 0})
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.chdir(tmp_path)
    plain, from_file = (
        assemble(name, tmp_path / out, **SMALL_TOWERS) for name, out in ((source, "a"), ("files/model.gguf", "b"))
    )
    wanted, found = (load_file(folder / "model.safetensors") for folder in (plain, from_file))
    assert file.exists() and wanted.keys() == found.keys()
    for key, weight in wanted.items():
        assert torch.equal(found[key], weight), key
    texts = [json.loads((folder / "config.json").read_text())["text_config"] for folder in (plain, from_file)]
    assert texts[0].pop("rms_norm_eps") == pytest.approx(texts[1].pop("rms_norm_eps"), rel=1e-6)
    assert [text["rope_parameters"] for text in texts] == [texts[0]["rope_parameters"]] * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fields": {"rope.scaling.type": "linear"}}, "llama.rope.scaling.type = linear"),
        ({"fields": {"expert_count": 4}}, "llama.expert_count = 4"),
        ({"fields": {"attention.key_length": 32}}, "llama.attention.key_length = 32"),
        ({"fields": {"attention.sliding_window": 64}}, "llama.attention.sliding_window = 64"),
        ({"more": ["rope_freqs.weight"]}, "weight rope_freqs.weight, which has no place"),
        ({"more": ["blk.0.attn_q.bias"]}, "weight blk.0.attn_q.bias, which has no place"),
        ({"without": "blk.1.ffn_up.weight"}, r"missing keys: .*up_proj"),
    ],
)
def test_a_gguf_file_that_says_more_than_is_read_is_refused(changes, message, language_model, tmp_path):
    """transformers reads over it without a word, and would compute something else."""
    file = write_gguf(language_model, tmp_path / "model.gguf", **changes)
    with pytest.raises(ValueError, match=message):
        assemble(file, tmp_path / "out", **SMALL_TOWERS)
    assert not list(tmp_path.glob("out*"))


def test_a_gguf_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    """What is missing is said: the file, or the package that reads it."""
    with monkeypatch.context() as patch:
        patch.setattr(assembly, "is_gguf_available", lambda: True)
        with pytest.raises(ValueError, match="There is no file 'nowhere/model.gguf'"):
            assemble("nowhere/model.gguf", tmp_path / "out")
    monkeypatch.setattr(assembly, "is_gguf_available", lambda: False)
    with pytest.raises(ValueError, match="nowhere/model.gguf' is read with .*: pip install gguf accelerate"):
        assemble("nowhere/model.gguf", tmp_path / "out")


def test_a_tokenizer_with_gaps_is_refused(tmp_path):
    """New tokens would get ids of old ones."""
    source = write_language_model(tmp_path / "source", spare_rows=200)
    content = json.loads((source / "tokenizer.json").read_text())
    content["model"]["vocab"]["!"] = 330
    edit(source / "tokenizer.json", **content)
    with pytest.raises(ValueError, match="ids of the tokenizer of .* have gaps"):
        assemble(source, tmp_path / "out", **SMALL_TOWERS)
