"""Between a published checkpoint, CLUE and a plain Thinker: nothing is lost, and the same distribution is served."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    WhisperFeatureExtractor,
)

from modeling_clue.auto import BACKBONES
from modeling_clue.checkpoint_parts import confidence_tokens, initial_head
from modeling_clue.confidence import expectation
from modeling_clue.conversion import main, plain_config, to_clue, to_thinker
from train.tiny import tiny_config, train_tokenizer


TEXTS = ["An urn holds 3 red balls.", "The ball is red.", *["Yes", "No"] * 20]
NUM_ROWS = 500  # 284 tokens, so that the 100 of CLUE have room
LAYOUTS = ("speaking", "silent", "thinker")

TALKER = {
    "vocab_size": 64,
    "embedding_size": 64,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
}
TOKEN2WAV = {
    "dit_config": {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "emb_dim": 8,
        "head_dim": 16,
        "num_embeds": 16,
        "mel_dim": 8,
        "enc_emb_dim": 8,
        "enc_dim": 8,
        "enc_channels": [8, 8, 8, 8, 24],
        "enc_attention_channels": 4,
        "enc_res2net_scale": 2,
        "enc_se_channels": 4,
    },
    "bigvgan_config": {"mel_dim": 8, "upsample_initial_channel": 64},
}

# As the published checkpoints have it, written before transformers 5 gathered all in processor_config.json.
PUBLISHED_PREPROCESSOR = {
    "feature_extractor_type": "WhisperFeatureExtractor",
    "image_processor_type": "Qwen2VLImageProcessor",
    "processor_class": "Qwen2_5OmniProcessor",
    "chunk_length": 300,
    "feature_size": 128,
    "hop_length": 160,
    "n_fft": 400,
    "padding_side": "right",
    "padding_value": 0.0,
    "return_attention_mask": True,
    "sampling_rate": 16000,
    "patch_size": 14,
    "merge_size": 2,
    "temporal_patch_size": 2,
    "min_pixels": 3136,
    "max_pixels": 12845056,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}

RNG = np.random.default_rng(0)
SOUND = {"array": RNG.normal(0, 0.1, 16000 * 3).astype(np.float32), "sampling_rate": 16000}
FRAMES = {"frames": RNG.integers(0, 256, (10, 56, 84, 3), np.uint8), "fps": 2.0}
PREMISES = {
    "text": "An urn holds 3 red balls.",
    "audio": {"audio": SOUND},
    "video": {"video": FRAMES},
    "audiovisual": {"video": FRAMES, "audio": SOUND},
}


def write_omni(
    out: Path,
    layout: str,
    backbone: str = "qwen2.5-omni",
    *,
    num_rows: int = NUM_ROWS,
    tied: bool = False,
    dtype=torch.float32,
) -> Path:
    """A random checkpoint of transformers' own classes: "speaking", "silent" (both full) or "thinker"."""
    own = BACKBONES[backbone][0].backbone
    tokenizer = train_tokenizer(TEXTS, 284, num_bins=0, backbone=backbone)
    tokenizer = type(tokenizer)(
        tokenizer_object=tokenizer.backend_tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=own.tokens,
    )
    config = plain_config(tiny_config(tokenizer, backbone, hidden_size=64, num_hidden_layers=2))
    config.text_config.vocab_size = num_rows
    config.tie_word_embeddings = tied
    torch.manual_seed(0)
    if layout == "thinker":
        model = own.upstream("ThinkerForConditionalGeneration")(config)
    else:
        speech = {"enable_audio_output": False}
        if layout == "speaking" and backbone == "qwen2.5-omni":
            speech = {"enable_audio_output": True, "talker_config": TALKER, "token2wav_config": TOKEN2WAV}
        model = own.upstream("ForConditionalGeneration")(own.upstream("Config")(thinker_config=config, **speech))
    model.to(dtype).save_pretrained(out)
    processor = own.upstream("Processor")(
        Qwen2VLImageProcessor(patch_size=config.vision_config.patch_size),
        Qwen2VLVideoProcessor(patch_size=config.vision_config.patch_size),
        WhisperFeatureExtractor(feature_size=128, return_attention_mask=True),
        tokenizer,
        chat_template="{{ messages }}",
    )
    processor.save_pretrained(out)
    if layout == "speaking" and backbone == "qwen2.5-omni":
        (out / "processor_config.json").unlink()
        (out / "preprocessor_config.json").write_text(json.dumps(PUBLISHED_PREPROCESSOR))
    elif layout == "speaking":
        weights = load_file(out / "model.safetensors")
        weights |= {name: torch.zeros(2) for name in ("talker.model.norm.weight", "code2wav.code_offset")}
        save_file(weights, out / "model.safetensors", {"format": "pt"})
    return out


def upstream(folder: Path, kind: str) -> type:
    """The class of transformers that a checkpoint is of."""
    model_type = json.loads((folder / "config.json").read_text())["model_type"].removesuffix("_thinker")
    backbones = (config_class.backbone for config_class, *_ in BACKBONES.values())
    return next(backbone for backbone in backbones if backbone.model_type == model_type).upstream(kind)


@pytest.fixture(
    scope="module", params=[(backbone, layout) for backbone in BACKBONES for layout in LAYOUTS], ids="-".join
)
def source(request, tmp_path_factory) -> Path:
    """A checkpoint of each backbone in each layout."""
    backbone, layout = request.param
    return write_omni(tmp_path_factory.mktemp("omni") / layout, layout, backbone)


@pytest.fixture(scope="module")
def thinker_source(request, tmp_path_factory) -> Path:
    """A Thinker alone; that of another backbone where a test asks for it."""
    return write_omni(
        tmp_path_factory.mktemp("omni") / "thinker", "thinker", getattr(request, "param", "qwen2.5-omni")
    )


on_each_backbone = pytest.mark.parametrize("thinker_source", BACKBONES, indirect=True)


@pytest.fixture(scope="module")
def clue_folder(thinker_source, tmp_path_factory) -> Path:
    """It as CLUE, with a trained (here: random) head."""
    out = to_clue(thinker_source, tmp_path_factory.mktemp("clue") / "clue", num_bins=20)
    weights = load_file(out / "model.safetensors")
    weights["confidence_head.weight"].normal_(generator=torch.Generator().manual_seed(1))
    save_file(weights, out / "model.safetensors", {"format": "pt"})
    return out


def thinker_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The file's weights of the Thinker, under the names they have without the rest of the Omni model."""
    weights = load_file(folder / "model.safetensors")
    return {
        name.removeprefix("thinker."): value
        for name, value in weights.items()
        if not name.startswith(("talker.", "token2wav.", "code2wav."))
    }


def assert_equal_weights(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    """Same names, dtypes and bits."""
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert value.dtype == second[name].dtype, name
        assert torch.equal(value, second[name]), name


def served_distribution(folder: Path, inputs, modality: str, num_bins: int) -> torch.Tensor:
    """What an engine reads: the full forward of transformers' own Thinker, restricted to the confidence tokens."""
    thinker_class = upstream(folder, "ThinkerForConditionalGeneration")
    thinker, report = thinker_class.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values())
    tokenizer = upstream(folder, "Processor").from_pretrained(folder).tokenizer
    inputs = {name: value for name, value in inputs.items() if name != "branch_ids"}
    with torch.no_grad():
        logits = thinker(**inputs, use_audio_in_video=modality == "audiovisual").logits
    return logits[:, -1, tokenizer.convert_tokens_to_ids(confidence_tokens(num_bins))].softmax(-1)


def test_every_layout_keeps_all_weights_of_the_thinker(source, tmp_path):
    """CLUE holds the Thinker bit by bit and the head, no more, under the names of a Thinker alone."""
    weights = load_file(to_clue(source, tmp_path / "clue") / "model.safetensors")
    head = weights.pop("confidence_head.weight")
    assert head.shape == (100, 64) and head.dtype == torch.float32
    assert_equal_weights(weights, thinker_weights(source))
    # transformers' own class agrees that these are the weights of a Thinker.
    omni = upstream(source, "ThinkerForConditionalGeneration").from_pretrained(source)
    clue = AutoModel.from_pretrained(tmp_path / "clue")
    state = clue.state_dict()
    state.pop("confidence_head.weight")
    assert_equal_weights(state, omni.state_dict())


def test_native_checkpoint_loads_with_the_head_alone_missing(source):
    """`from_pretrained` on a published checkpoint's weights finds all but the head: no part is left at random."""
    thinker = upstream(source, "ThinkerForConditionalGeneration").from_pretrained(source)
    fields = thinker.config.to_dict()
    fields.pop("model_type")
    (config_class, model_class, _), *_ = (
        classes
        for classes in BACKBONES.values()
        if classes[0].backbone.upstream("ThinkerConfig") is type(thinker.config)
    )
    clue, report = model_class.from_pretrained(source, config=config_class.from_dict(fields), output_loading_info=True)
    assert set(report["missing_keys"]) == {"confidence_head.weight"} and not report["unexpected_keys"]
    state = clue.state_dict()
    state.pop("confidence_head.weight")
    assert_equal_weights(state, thinker.state_dict())


def test_converted_checkpoint_answers_in_every_modality(source, tmp_path):
    """A converted checkpoint loads whole, with its processor, and gives a probability for every kind of premise."""
    folder = to_clue(source, tmp_path / "clue")
    clue, report = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values())
    processor = AutoProcessor.from_pretrained(folder)
    inputs = processor(list(PREMISES.values()), [["The ball is red.", "It is not."]] * 4, fps=2.0)
    with torch.no_grad():
        output = clue(**inputs)
    assert output.probability.shape == (8,) and bool(output.probability.isfinite().all())
    # 56 x 84 pixels stay so, six patches of 14 x 14 across, four down; or are the nearest multiples of 32.
    assert inputs["video_grid_thw"].tolist() == [[5, 4, 6]] * 2


@on_each_backbone
@pytest.mark.parametrize("modality", PREMISES)
def test_initial_answer_is_the_yes_no_preference(thinker_source, tmp_path, modality):
    """The untrained head's distribution is the exponential one set by the log-odds of "Yes" against "No"."""
    folder = to_clue(thinker_source, tmp_path / "clue")
    processor = AutoProcessor.from_pretrained(folder)
    inputs = processor(PREMISES[modality], "The ball is red.", fps=2.0)
    no, yes = (processor.tokenizer(word)["input_ids"][0] for word in ("No", "Yes"))
    thinker = upstream(thinker_source, "ThinkerForConditionalGeneration").from_pretrained(thinker_source)
    clue = AutoModel.from_pretrained(folder)
    with torch.no_grad():
        logits = clue(**inputs).logits[0]
        inputs.pop("branch_ids")
        vocabulary = thinker(**inputs, use_audio_in_video=modality == "audiovisual").logits[0, -1]
    log_odds = vocabulary[yes] - vocabulary[no]
    expected = (3 * 99 / 101 * log_odds * torch.linspace(0, 1, 100)).softmax(-1)
    torch.testing.assert_close(logits.softmax(-1), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("num_bins", [2, 5, 100])
def test_initial_head_matches_sigmoid_to_first_order(num_bins):
    """At equal rows the probability is 1/2, and its slope in the log-odds is the sigmoid's, 1/4."""
    log_odds = torch.tensor([-0.01, 0.0, 0.01])
    no, yes = torch.zeros(3), log_odds
    logits = initial_head(no, yes, num_bins).T  # one hypothesis a column, of which the hidden state is a unit vector
    torch.testing.assert_close(expectation(logits.softmax(-1)), log_odds.sigmoid(), rtol=0, atol=1e-6)


@on_each_backbone
@pytest.mark.parametrize("modality", PREMISES)
def test_plain_thinker_serves_the_same_distribution(thinker_source, clue_folder, tmp_path, modality):
    """Upstream's own forward over the whole vocabulary gives CLUE's distribution at the last position."""
    folder = to_thinker(clue_folder, tmp_path / "thinker")
    config, original = (json.loads((at / "config.json").read_text()) for at in (folder, thinker_source))
    assert config["model_type"] == original["model_type"] and "auto_map" not in config
    assert config["architectures"] == original["architectures"]
    assert not list(folder.glob("*.py"))
    assert upstream(folder, "Processor").from_pretrained(folder).chat_template == "{{ messages }}"
    inputs = AutoProcessor.from_pretrained(clue_folder)(PREMISES[modality], "The ball is red.", fps=2.0)
    with torch.no_grad():
        expected = AutoModel.from_pretrained(clue_folder)(**inputs).logits.softmax(-1)
    assert expected.std() > 1e-3  # not a flat distribution, which would prove nothing
    served = served_distribution(folder, inputs, modality, 20)
    torch.testing.assert_close(served, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("backbone", "tied"), [("qwen2.5-omni", False), ("qwen2.5-omni", True), ("qwen3-omni", False)]
)
def test_round_trip_is_bit_equal(tmp_path, backbone, tied):
    """CLUE -> Thinker -> CLUE changes no bit of what CLUE reads, and a second round none of the files."""
    source = write_omni(tmp_path / "omni", "thinker", backbone, tied=tied)
    first = to_clue(source, tmp_path / "clue", num_bins=20)
    processor = AutoProcessor.from_pretrained(first)
    processor.prompt["hypothesis"] = "{hypothesis}<|im_end|>"
    processor.media["fps"] = 3.0
    processor.save_pretrained(first)
    config = json.loads((first / "config.json").read_text())
    (first / "config.json").write_text(json.dumps(config | {"sigma": 0.1, "target": "gaussian"}))

    thinker = to_thinker(first, tmp_path / "thinker")
    second = to_clue(thinker, tmp_path / "clue2")
    third = to_clue(to_thinker(second, tmp_path / "thinker2"), tmp_path / "clue3")
    # The <CONF_i> rows of the vocabulary, which CLUE never reads, are those of the head from the first export on.
    rows = processor.tokenizer.convert_tokens_to_ids(confidence_tokens(20))
    weights = load_file(first / "model.safetensors")
    table = weights["model.embed_tokens.weight" if tied else "lm_head.weight"]
    table[rows] = weights["confidence_head.weight"]
    assert_equal_weights(load_file(second / "model.safetensors"), weights)
    for file in ("model.safetensors", "config.json", "processor_config.json", "tokenizer.json"):
        assert (second / file).read_bytes() == (third / file).read_bytes(), file

    config, again = (BACKBONES[backbone][0].from_pretrained(folder).to_dict() for folder in (first, second))
    assert config == again and again["sigma"] == 0.1 and again["target"] == "gaussian" and again["num_bins"] == 20
    again = AutoProcessor.from_pretrained(second)
    assert again.prompt == processor.prompt and again.media == processor.media
    assert again.video_processor.size == processor.video_processor.size
    assert again.tokenizer.get_vocab() == processor.tokenizer.get_vocab()
    for modality, premise in PREMISES.items():
        models = (AutoModel.from_pretrained(folder) for folder in (first, second))
        with torch.no_grad():
            one, two = (model(**processor(premise, ["The ball is red.", "No."])).logits for model in models)
        assert torch.equal(one, two), modality


def test_spare_rows_are_used_before_the_vocabulary_grows(tmp_path, capsys):
    """The vocabulary keeps its size where the tokens fit, and otherwise grows by what is missing, and says so."""
    for num_rows, expected in ((304, 304), (300, 304)):
        source = write_omni(tmp_path / str(num_rows), "silent", num_rows=num_rows)
        folder = to_clue(source, tmp_path / f"clue{num_rows}", num_bins=20)
        assert AutoConfig.from_pretrained(folder).text_config.vocab_size == expected
        model, report = AutoModel.from_pretrained(folder, output_loading_info=True)
        assert not any(report.values()) and model.lm_head.weight.shape[0] == expected
        assert ("grows to 304 rows" in capsys.readouterr().out) == (num_rows < expected)
        old = thinker_weights(source)["lm_head.weight"]
        assert torch.equal(model.lm_head.weight[: len(old)], old)
        tokenizer = AutoProcessor.from_pretrained(folder).tokenizer
        assert tokenizer.convert_tokens_to_ids(confidence_tokens(20)) == list(range(284, 304))
        assert tokenizer("<CONF_3>")["input_ids"] == [287]


def test_dtype_of_the_source_is_kept(tmp_path):
    """bfloat16 weights stay bfloat16 and bit-equal both ways; the head is in float32 and then rounded like lm_head."""
    source = write_omni(tmp_path / "omni", "speaking", dtype=torch.bfloat16)
    weights = load_file(to_clue(source, tmp_path / "clue", num_bins=20) / "model.safetensors")
    head = weights.pop("confidence_head.weight")
    assert head.dtype == torch.float32
    assert_equal_weights(weights, thinker_weights(source))
    exported = load_file(to_thinker(tmp_path / "clue", tmp_path / "thinker") / "model.safetensors")
    assert {value.dtype for value in exported.values()} == {torch.bfloat16}
    assert torch.equal(exported["lm_head.weight"][284:304], head.bfloat16())


@pytest.mark.parametrize("tiny_checkpoint", BACKBONES, indirect=True)
def test_checkpoint_made_for_training_from_scratch_can_be_exported(tiny_checkpoint, tmp_path):
    """What is not a converted checkpoint can be served too."""
    folder = to_thinker(tiny_checkpoint, tmp_path / "thinker")
    processor = AutoProcessor.from_pretrained(tiny_checkpoint)
    clue = AutoModel.from_pretrained(tiny_checkpoint)
    inputs = processor({"video": FRAMES, "audio": SOUND}, "The ball is red.")
    with torch.no_grad():
        expected = clue(**inputs).logits.softmax(-1)
    torch.testing.assert_close(served_distribution(folder, inputs, "audiovisual", 100), expected, rtol=0, atol=1e-5)


def test_nothing_is_overwritten_or_left_half_done(thinker_source, tmp_path):
    """An existing folder stays as it is, and a conversion that fails leaves nothing under the name asked for."""
    with pytest.raises(FileExistsError, match="--output-dir"):
        to_clue(thinker_source, tmp_path)
    with pytest.raises(FileExistsError, match="--output-dir"):
        to_thinker(thinker_source, tmp_path)
    with pytest.raises(ValueError, match="'maybe' has 5 tokens.*--words"):
        to_clue(thinker_source, tmp_path / "clue", words=("No", "maybe"))
    assert list(tmp_path.iterdir()) == []


def test_wrong_sources_are_named(thinker_source, clue_folder, tmp_path):
    """CLUE is not converted to itself, nor a Thinker to a Thinker, nor anything else to either."""
    with pytest.raises(ValueError, match="CLUE checkpoint already"):
        to_clue(clue_folder, tmp_path / "out")
    with pytest.raises(ValueError, match="qwen2_5_omni_thinker checkpoint"):
        to_thinker(thinker_source, tmp_path / "out")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match=r"bert checkpoint.*Qwen2\.5-Omni or Qwen3-Omni alone"):
        to_clue(tmp_path, tmp_path / "out")


def edited(source: Path, out: Path, **fields) -> Path:
    """A copy of a checkpoint with other fields in its configuration."""
    shutil.copytree(source, out)
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | fields))
    return out


def test_contradictions_in_the_source_are_errors(thinker_source, tmp_path):
    """Token ids, clock and weights that do not fit together are refused rather than guessed at."""
    with pytest.raises(ValueError, match="<|AUDIO|>.*audio_token_index. is 7"):
        to_clue(edited(thinker_source, tmp_path / "ids", audio_token_index=7), tmp_path / "out")
    with pytest.raises(ValueError, match="seconds_per_chunk"):
        to_clue(edited(thinker_source, tmp_path / "clock", seconds_per_chunk=4), tmp_path / "out")
    other = write_omni(tmp_path / "other", "thinker", "qwen3-omni")
    with pytest.raises(ValueError, match="audio_config.n_window"):
        audio = json.loads((other / "config.json").read_text())["audio_config"] | {"n_window": 40}
        to_clue(edited(other, tmp_path / "window", audio_config=audio), tmp_path / "out")

    weights = load_file(thinker_source / "model.safetensors")
    for name, change in (("missing", {"model.norm.weight": None}), ("unexpected", {"new.weight": torch.zeros(1)})):
        folder = edited(thinker_source, tmp_path / name)
        kept = {key: value for key, value in (weights | change).items() if value is not None}
        save_file(kept, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(ValueError, match=f"do not fit .*{name} keys: .*weight"):
            to_clue(folder, tmp_path / "out")


def test_pickled_weights_are_refused(thinker_source, tmp_path):
    """Weights that only unpickling could read are not read."""
    folder = edited(thinker_source, tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        to_clue(folder, tmp_path / "out")


def test_number_of_bins_of_an_exported_thinker_is_fixed(clue_folder, tmp_path):
    """An exported Thinker knows its bins; another number is refused."""
    folder = to_thinker(clue_folder, tmp_path / "thinker")
    with pytest.raises(ValueError, match="20 confidence bins already"):
        to_clue(folder, tmp_path / "out", num_bins=100)
    config = json.loads((folder / "config.json").read_text())
    del config["clue"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="<CONF_0> already"):
        to_clue(folder, tmp_path / "out")


def test_command_line(thinker_source, tmp_path):
    """Both commands run as documented."""
    for command, source, out in (("to-clue", thinker_source, "clue"), ("to-thinker", tmp_path / "clue", "thinker")):
        main([command, "--model", str(source), "--output-dir", str(tmp_path / out)])
    thinker = tmp_path / "thinker"
    assert upstream(thinker, "ThinkerForConditionalGeneration").from_pretrained(thinker).config.text_config


def _cut(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def _weights(change) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors", {"format": "pt"})

    return rewrite


def _config(**changes) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return rewrite


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_cut, "can't be loaded: .*header"),
        (_weights(lambda weights: weights.pop("confidence_head.weight")), r"missing keys: confidence_head\.weight"),
        (_weights(lambda weights: weights.pop("model.norm.weight")), r"missing keys: .*norm\.weight"),
        (_weights(lambda weights: weights.update(more=torch.zeros(2))), "unexpected keys: more"),
        (_config(num_bins=7), r"mismatched keys: \('confidence_head\.weight'"),
        (_config(num_bins="seven"), "can't be loaded: .*num_bins"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json' is not a valid JSON file"),
        (lambda folder: (folder / "config.json").unlink(), "Should have a `model_type` key"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "can't be loaded"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no file named model.safetensors"),
    ],
)
def test_a_broken_checkpoint_is_named(spoil, message, tiny_checkpoint, tmp_path):
    """What lacks a weight, or has one too many or of another shape, or a file that is none, is not made anything of:
    transformers would fill in random weights, or raise errors of its own kinds that name no file."""
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "broken")
    spoil(folder)
    with pytest.raises((ValueError, OSError), match=message) as error:
        to_thinker(folder, tmp_path / "out")
    assert "broken" in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("source", ["nowhere", "/nowhere", "./no/where"])
def test_a_missing_folder_is_not_looked_for_on_the_hub(source, tmp_path, monkeypatch):
    """A name that can be no repository's is told as a folder that is missing."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"no checkpoint folder '{source}'"):
        to_clue(source, tmp_path / "out")
