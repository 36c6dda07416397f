"""A released research checkpoint becomes CLUE: its answers are those of its authors' scorer, nothing is lost."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
import yaml
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torchvision.transforms.functional import InterpolationMode, resize
from transformers import (
    AutoModel,
    AutoProcessor,
    Qwen2_5OmniProcessor,
    Qwen2_5OmniThinkerConfig,
    Qwen2_5OmniThinkerForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    WhisperFeatureExtractor,
)

from modeling_clue.adapter import merge_adapter
from modeling_clue.backbone import QWEN2_5_OMNI
from modeling_clue.conversion import from_research, main, to_clue, to_thinker
from modeling_clue.modalities import MODALITIES
from tests.modeling_clue.conftest import write_clip
from train.tiny import tiny_config, train_tokenizer


NUM_BINS = 7
SYSTEM = "You judge statements."
USER = {
    "text": "Statement: {hypothesis}\nText: {premise}\nHow likely is it?",
    "audio": "Statement: {hypothesis}\nHow likely, from the sound?",
    "video": "Statement: {hypothesis}\nHow likely, from the video?",
    "audiovisual": "Statement: {hypothesis}\nHow likely, from both?",
}
PROMPTS = {
    modality: {"system": SYSTEM, "user": user, "first": "hypothesis", "media": {"fps": 0.5}}
    for modality, user in USER.items()
}
TEXT = "An urn holds 3 red balls and a blue one."
HYPOTHESES = ["The ball is red.", "It is neither red nor blue."]

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for content in message['content'] %}"
    "{% if content['type'] == 'audio' %}<|audio_bos|><|AUDIO|><|audio_eos|>"
    "{% elif content['type'] == 'video' %}<|vision_bos|><|VIDEO|><|vision_eos|>"
    "{% else %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LORA = {"r": 4, "lora_alpha": 8, "target_modules": r".*language_model\.layers\.\d+\.self_attn\.[qkvo]_proj|lm_head"}


def write_root(out: Path, num_bins: int = NUM_BINS, **saving) -> Path:
    """A random Thinker in bfloat16 under the published names, its tokenizer with `<CON_i>`, and its processor."""
    tokenizer = train_tokenizer([SYSTEM, TEXT, *USER.values(), *HYPOTHESES], 400, num_bins=0)
    tokenizer = type(tokenizer)(
        tokenizer_object=tokenizer.backend_tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=QWEN2_5_OMNI.tokens,
    )
    tokenizer.add_tokens([f"<CON_{index}>" for index in range(num_bins)])
    fields = tiny_config(tokenizer, hidden_size=64, num_hidden_layers=2).to_dict()
    for name in ("num_bins", "sigma", "target", "audiovisual_positions", "model_type", "architectures"):
        fields.pop(name, None)
    fields["text_config"]["vocab_size"] = len(tokenizer) + 3
    torch.manual_seed(0)
    model = Qwen2_5OmniThinkerForConditionalGeneration(Qwen2_5OmniThinkerConfig.from_dict(fields))
    with torch.no_grad():
        for parameter in model.model.parameters():  # at the usual scale all places of a clip look alike
            parameter *= 3 if parameter.ndim > 1 else 1
        model.lm_head.weight.normal_(0, 0.1)
    model.to(torch.bfloat16).save_pretrained(out, **saving)
    Qwen2_5OmniProcessor(
        Qwen2VLImageProcessor(),
        Qwen2VLVideoProcessor(),
        WhisperFeatureExtractor(feature_size=128, return_attention_mask=True),
        tokenizer,
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(out)
    return out


def write_adapter(root: Path, out: Path, **options) -> Path:
    """A random adapter in float32, under the names that modules have today."""
    thinker = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(root, dtype=torch.float32)
    torch.manual_seed(1)
    adapted = get_peft_model(thinker, LoraConfig(**{**LORA, **options}))
    with torch.no_grad():
        for name, parameter in sorted(adapted.named_parameters()):
            if "lora_" in name:
                parameter.normal_(0, 0.3)
        # Training may have gone on from other rows than the root's: those beside the adapter count.
        adapted.base_model.model.lm_head.base_layer.weight += 0.05
    adapted.save_pretrained(out)
    return out


def in_old_names(adapter: Path, out: Path) -> Path:
    """The adapter as transformers 4 named its layers, which is how it was released."""
    shutil.copytree(adapter, out)
    weights = load_file(out / "adapter_model.safetensors")
    weights = {name.replace(".model.language_model.", ".model."): value for name, value in weights.items()}
    save_file(weights, out / "adapter_model.safetensors", {"format": "pt"})
    config = json.loads((out / "adapter_config.json").read_text())
    config["target_modules"] = ["q_proj", "k_proj", "v_proj", "o_proj", "lm_head"]
    (out / "adapter_config.json").write_text(json.dumps(config))
    return out


@pytest.fixture(scope="module")
def research(tmp_path_factory) -> SimpleNamespace:
    """`folder`: the checkpoint as released; `adapter`: its adapter under today's names; `prompts`; and `clue`."""
    folder = tmp_path_factory.mktemp("research")
    root = write_root(folder / "root")
    adapter = write_adapter(root, folder / "adapter")
    in_old_names(adapter, root / "lora")
    prompts = folder / "prompts.yaml"
    prompts.write_text(yaml.safe_dump(PROMPTS))
    clue = from_research(root, prompts, folder / "clue")
    return SimpleNamespace(folder=root, adapter=adapter, prompts=prompts, clue=clue)


@pytest.fixture(scope="module")
def long_clips(tmp_path_factory) -> SimpleNamespace:
    """A `silent` video of 5 s, of which four frames are taken, and one of 13 s `with_sound`: six."""
    folder = tmp_path_factory.mktemp("long")
    return SimpleNamespace(
        silent=write_clip(folder / "silent.mp4", 5.0, sound=False, fps=10),
        with_sound=write_clip(folder / "sound.mp4", 13.0, sound=True, fps=10, seed=1),
    )


def premises_of(clips, long_clips) -> dict:
    """One premise of each modality."""
    return {
        "text": TEXT,
        "audio": clips.sound,
        "video": long_clips.silent,
        "audiovisual": {"video": long_clips.with_sound, "modality": "audiovisual"},
    }


# --- the authors' scorer, put down once more from what is known of it ------------------------------


def sampled(path: Path) -> torch.Tensor:
    """Frames at 0.5 a second, at least four, an even number, evenly from first to last; made 252 x 252."""
    with av.open(str(path)) as file:
        rate = float(file.streams.video[0].average_rate)
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
    count = int(max(len(frames) / rate * 0.5, 4)) // 2 * 2
    chosen = torch.from_numpy(frames)[torch.linspace(0, len(frames) - 1, count).round().long()]
    return resize(
        chosen.permute(0, 3, 1, 2), [252, 252], interpolation=InterpolationMode.BICUBIC, antialias=True
    ).float()


def heard(path: Path) -> np.ndarray:
    """The sound of a file that is mono at 16 kHz already."""
    with av.open(str(path)) as file:
        return np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])


def authors_inputs(folder: Path, modality: str, premise, hypothesis: str) -> dict:
    """transformers' own processor, with no word of the rate of frames."""
    processor = Qwen2_5OmniProcessor.from_pretrained(folder)
    text = USER[modality].format(hypothesis=hypothesis, premise=premise)
    content = [{"type": "text", "text": text}]
    options = {}
    if modality == "audio":
        content.append({"type": "audio"})
        options["audio"] = [heard(premise)]
    elif modality != "text":
        content.append({"type": "video"})
        path = premise["video"] if modality == "audiovisual" else premise
        options["videos"] = [sampled(path)]
    if modality == "audiovisual":
        options |= {"audio": [heard(path)], "load_audio_from_video": True, "audio_from_video_indices": [0]}
    messages = [
        {"role": "system", "content": [{"type": "text", "text": SYSTEM}]},
        {"role": "user", "content": content},
    ]
    prompt = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return processor(text=[prompt], return_tensors="pt", **options)


def original(folder: Path, adapter: Path | None):
    """The Thinker of the root in float32, with PEFT's adapter on it."""
    thinker = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    return (thinker if adapter is None else PeftModel.from_pretrained(thinker, adapter)).eval()


@torch.no_grad()
def scored(model, folder: Path, inputs: dict, num_bins: int = NUM_BINS) -> float:
    """The expectation over the confidence tokens at the last position; sound in a video is never mentioned."""
    tokenizer = Qwen2_5OmniProcessor.from_pretrained(folder).tokenizer
    tokens = tokenizer.convert_tokens_to_ids([f"<CON_{index}>" for index in range(num_bins)])
    weights = model(**inputs).logits[0, -1, tokens].softmax(-1)
    return float(weights @ torch.linspace(0, 1, num_bins))


@torch.no_grad()
def answers(clue: Path, inputs, **config) -> torch.Tensor:
    """What a stranger gets from the converted folder, with other fields in its configuration if wished."""
    model = AutoModel.from_pretrained(clue).eval()
    for name, value in config.items():
        setattr(model.config, name, value)
    return model(**inputs).probability


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_answers_are_those_of_the_original(research, clips, long_clips, modality):
    """The same tokens, the same frames and the same probability as from the Thinker with its adapter on, asked in the
    authors' way: to 1e-5, which is ten times as close as text and sound need, and a thousand times as video does."""
    premise = premises_of(clips, long_clips)[modality]
    inputs = AutoProcessor.from_pretrained(research.clue)(premise, HYPOTHESES)
    probability = answers(research.clue, inputs)
    model, bare = original(research.folder, research.adapter), original(research.folder, None)
    without_adapter = []
    for index, hypothesis in enumerate(HYPOTHESES):
        theirs = authors_inputs(research.folder, modality, premise, hypothesis)
        length = theirs["input_ids"].shape[1]
        assert inputs["input_ids"][index, :length].tolist() == theirs["input_ids"][0].tolist()
        if "video_grid_thw" in theirs:
            assert theirs["video_grid_thw"][0, 1:].tolist() == [24, 24]  # 336 x 336 pixels, 144 tokens a step
            patches = inputs["pixel_values_videos"].chunk(2)[index]
            torch.testing.assert_close(patches, theirs["pixel_values_videos"], rtol=0, atol=1e-5)
        expected = scored(model, research.folder, theirs)
        assert float(probability[index]) == pytest.approx(expected, abs=1e-5)
        without_adapter.append(abs(expected - scored(bare, research.folder, theirs)))
    # The adapter decides: answers without it would be seen. How far they are off depends on how a clip was encoded.
    assert max(without_adapter) > 1e-2
    assert abs(float(probability[0] - probability[1])) > 1e-3


@pytest.mark.parametrize(
    ("modality", "setting", "value"),
    [
        ("video", "second_per_grid", None),
        ("video", "frame_size", None),
        ("video", "sampling", "rate"),
        ("video", "min_frames", 2),
        ("audiovisual", "audiovisual_positions", "timed"),
    ],
)
def test_each_setting_matters(research, clips, long_clips, modality, setting, value):
    """Any of the settings of the authors' scorer, left out, moves the answer by more than 0.02."""
    premise = premises_of(clips, long_clips)[modality]
    processor = AutoProcessor.from_pretrained(research.clue)
    as_released = answers(research.clue, processor(premise, HYPOTHESES))
    if setting in processor.media:
        changed = answers(research.clue, processor(premise, HYPOTHESES, **{setting: value}))
    else:
        changed = answers(research.clue, processor(premise, HYPOTHESES), **{setting: value})
    assert float((changed - as_released).abs().max()) > 0.02


def test_the_folder_is_a_whole_clue_checkpoint(research, tiny_checkpoint, tmp_path):
    """In float32, with as many bins as tokens, the code of any checkpoint and no more; and it can be served."""
    config = json.loads((research.clue / "config.json").read_text())
    assert config["num_bins"] == NUM_BINS and config["dtype"] == "float32"
    weights = load_file(research.clue / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float32}
    assert {file.name for file in research.clue.glob("*.py")} == {file.name for file in tiny_checkpoint.glob("*.py")}
    again = to_clue(to_thinker(research.clue, tmp_path / "thinker"), tmp_path / "clue")
    first, second = (AutoProcessor.from_pretrained(folder) for folder in (research.clue, again))
    assert second.prompt == first.prompt and second.media == first.media
    inputs = first(TEXT, HYPOTHESES)
    assert torch.equal(answers(research.clue, inputs), answers(again, second(TEXT, HYPOTHESES)))
    assert AutoModel.from_pretrained(again).config.audiovisual_positions == "plain"


def test_half_the_size_costs_digits(research, tmp_path):
    """`dtype=torch.bfloat16` rounds the weights once, after the merge, and leaves the head as it is."""
    small = from_research(research.folder, research.prompts, tmp_path / "small", dtype=torch.bfloat16)
    weights, rounded = (load_file(folder / "model.safetensors") for folder in (research.clue, small))
    assert torch.equal(weights.pop("confidence_head.weight"), rounded.pop("confidence_head.weight"))
    assert weights.keys() == rounded.keys()
    assert all(torch.equal(value.bfloat16(), rounded[name]) for name, value in weights.items())


@pytest.mark.parametrize(("num_bins", "saving"), [(2, {}), (20, {}), (200, {"max_shard_size": "100KB"})])
def test_any_number_of_bins(research, tmp_path, num_bins, saving):
    """The tokens are found whatever their number, the rows of the vocabulary suffice or grow, and the root's weights
    may lie in several files."""
    root = write_root(tmp_path / "root", num_bins, **saving)
    assert len(list(root.glob("*.safetensors"))) > 1 if saving else (root / "model.safetensors").exists()
    adapter = write_adapter(root, tmp_path / "adapter")
    in_old_names(adapter, root / "lora")
    clue = from_research(root, research.prompts, tmp_path / "clue")
    inputs = AutoProcessor.from_pretrained(clue)(TEXT, HYPOTHESES[0])
    theirs = authors_inputs(root, "text", TEXT, HYPOTHESES[0])
    expected = scored(original(root, adapter), root, theirs, num_bins)
    assert float(answers(clue, inputs)) == pytest.approx(expected, abs=1e-5)


def test_settings_of_the_file_go_before_those_of_the_scorer(research, tmp_path):
    """What the prompt file says of media is kept, and the rest is as the authors' scorer has it."""
    prompts = tmp_path / "prompts.yaml"
    video = PROMPTS["video"] | {
        "media": {"fps": 2.0, "frame_size": None, "min_pixels": 3136, "audiovisual_positions": "timed"}
    }
    prompts.write_text(yaml.safe_dump({"video": video}))
    clue = from_research(research.folder, prompts, tmp_path / "clue")
    processor = AutoProcessor.from_pretrained(clue)
    assert processor.media["fps"] == 2.0 and processor.media["frame_size"] is None
    assert processor.media["min_frames"] == 4 and processor.media["second_per_grid"] == 1.0
    assert processor.video_processor.size["shortest_edge"] == 3136
    assert AutoModel.from_pretrained(clue).config.audiovisual_positions == "timed"
    with pytest.raises(ValueError, match="no part for text: it is for video alone"):
        processor(TEXT, HYPOTHESES)


# --- the adapter ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"use_rslora": True},
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {r"layers\.1\.self_attn\.v_proj": 3}},
        {"modules_to_save": ["norm"]},
        {"bias": "lora_only"},
    ],
    ids=["use_rslora", "patterns", "modules_to_save", "bias"],
)
def test_merged_as_peft_does_it(research, tmp_path, options):
    """Every weight equals that of PEFT's own merge, for each option that is understood."""
    adapter = write_adapter(research.folder, tmp_path / "lora", **options)
    expected = original(research.folder, adapter).merge_and_unload().state_dict()
    model = original(research.folder, None)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    changed = merge_adapter(model, tmp_path, "lora")
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-6, msg=name)
        assert name in changed or torch.equal(value, before[name])
    assert len(changed) >= 9


@pytest.mark.parametrize("prefix", ["model.", "thinker.model.", "thinker.model.language_model."])
def test_layers_are_found_under_every_name_they_had(research, tmp_path, prefix):
    """Inside a whole Qwen2.5-Omni or alone, before transformers 5 moved them and since: the same merge."""
    given = tmp_path / "lora"
    shutil.copytree(research.adapter, given)
    weights = load_file(given / "adapter_model.safetensors")
    layers = "base_model.model.model.language_model."
    weights = {name.replace(layers, f"base_model.model.{prefix}"): value for name, value in weights.items()}
    assert sum(f"model.{prefix}layers." in name for name in weights) == 16
    save_file(weights, given / "adapter_model.safetensors", {"format": "pt"})
    expected, found = original(research.folder, None), original(research.folder, None)
    assert merge_adapter(expected, research.adapter.parent, research.adapter.name) == merge_adapter(
        found, tmp_path, "lora"
    )
    for name, value in expected.state_dict().items():
        assert torch.equal(value, found.state_dict()[name]), name


def edited(research, out: Path, *, weights=None, config=None) -> Path:
    """A copy of the research checkpoint with other weights or settings in its adapter; `None` takes one away."""
    shutil.copytree(research.folder, out)
    file = out / "lora" / "adapter_model.safetensors"
    new = {**load_file(file), **(weights or {})}
    save_file({name: value for name, value in new.items() if value is not None}, file, {"format": "pt"})
    settings = json.loads((out / "lora" / "adapter_config.json").read_text()) | (config or {})
    settings = {name: value for name, value in settings.items() if value is not None}
    (out / "lora" / "adapter_config.json").write_text(json.dumps(settings))
    return out


QUERY = "base_model.model.model.layers.1.self_attn.q_proj"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": {f"{QUERY.replace('1', '9')}.lora_A.weight": torch.ones(4, 64)}}, r"1 weights of .*layers\.9"),
        ({"weights": {f"{QUERY}.lora_B.weight": None}}, r"no place in the model: .*layers\.1.*lora_A"),
        ({"weights": {f"{QUERY}.lora_magnitude_vector": torch.ones(64)}}, "lora_magnitude_vector"),
        ({"weights": {"base_model.model.extra.weight": torch.ones(1)}}, "base_model.model.extra.weight"),
        ({"weights": {f"{QUERY}.lora_A.weight": torch.ones(3, 64)}}, r"lora_A.weight of shape \(3, 64\).*\(4, 64\)"),
        ({"config": {"use_dora": True}}, "use_dora = True"),
        ({"config": {"fan_in_fan_out": True}}, "fan_in_fan_out = True"),
        ({"config": {"init_lora_weights": "pissa"}}, "init_lora_weights = 'pissa'"),
        ({"config": {"peft_type": "LOHA"}}, "peft_type = 'LOHA'"),
        ({"config": {"invented_later": 1}}, "invented_later = 1"),
        ({"config": {"lora_alpha": None}}, "lacks lora_alpha"),
    ],
)
def test_no_part_of_an_adapter_is_left_out(research, tmp_path, change, message):
    """A weight without a place and a setting that is not understood are errors that name them; nothing is written."""
    with pytest.raises(ValueError, match=message):
        from_research(edited(research, tmp_path / "root", **change), research.prompts, tmp_path / "clue")
    assert not (tmp_path / "clue").exists()


def test_a_pickled_adapter_is_refused(research, tmp_path):
    """Weights that only unpickling could read are not read."""
    root = edited(research, tmp_path / "root")
    (root / "lora" / "adapter_model.safetensors").unlink()
    torch.save({}, root / "lora" / "adapter_model.bin")
    with pytest.raises(OSError, match="adapter_model.safetensors"):
        from_research(root, research.prompts, tmp_path / "clue")


def test_tokens_with_gaps(research, tmp_path):
    """A vocabulary without confidence tokens, or with one of them missing, is refused and the token named."""
    for old, new, message in (("<CON_3>", "<ODD>", "lacks <CON_3>"), ("<CON_", "<ODD_", "0 tokens <CON_i>")):
        root = edited(research, tmp_path / new.strip("<>"))
        file = root / "tokenizer.json"
        file.write_text(file.read_text().replace(old, new))
        with pytest.raises(ValueError, match=message):
            from_research(root, research.prompts, tmp_path / "clue")


@pytest.mark.parametrize(
    ("media", "message"),
    [
        ({"frames_per_second": 1}, "'frames_per_second'.*choose from"),
        ({"fps": 0}, "`fps` must be a positive number, got 0"),
        ({"min_pixels": "many"}, "`min_pixels` and `max_pixels` must be whole numbers, got .*many"),
        ({"audiovisual_positions": "fast"}, "must be one of timed, plain, got 'fast'"),
    ],
)
def test_media_settings_that_cannot_be(research, tmp_path, media, message):
    """A setting that nothing would read is not passed over, and a wrong value is told before any weight is read."""
    prompts, root = tmp_path / "prompts.yaml", tmp_path / "root"
    prompts.write_text(yaml.safe_dump({"audio": PROMPTS["audio"] | {"media": media}}))
    shutil.copytree(research.folder, root)
    (root / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=message):
        from_research(root, prompts, tmp_path / "clue")


def test_prompts_from_the_code_of_the_authors(research, tmp_path):
    """Their Python file, with the Thinker in `model/` beside the adapter, gives the very files that YAML gives."""
    source = tmp_path / "source"
    shutil.copytree(research.folder, source / "model", ignore=shutil.ignore_patterns("lora"))
    shutil.copytree(research.folder / "lora", source / "lora")
    prompts = {modality: {**entry, "user": USER["video"]} for modality, entry in PROMPTS.items()}
    prompts |= {modality: PROMPTS[modality] for modality in ("text", "audio")}
    yaml_file, python = tmp_path / "prompts.yaml", tmp_path / "run_eval.py"
    yaml_file.write_text(yaml.safe_dump({modality: {**e, "media": {}} for modality, e in prompts.items()}))
    lines = ["raise SystemExit"]
    for modality, suffix in (("text", "_TEXT"), ("audio", "_AUDIO"), ("video", "")):
        places = {"hypothesis": "{claim}", "premise": "{sentence}"} if suffix == "_TEXT" else {"hypothesis": "{text}"}
        lines.append(f"NLI_SYSTEM_PROMPT{suffix} = {SYSTEM!r}")
        lines.append(f"NLI_PROMPT{suffix} = {USER[modality].format(**places)!r}")
    python.write_text("\n".join(lines))
    wanted, found = (
        from_research(folder, file, tmp_path / name)
        for folder, file, name in ((research.folder, yaml_file, "a"), (source, python, "b"))
    )
    for file in ("model.safetensors", "config.json", "processor_config.json", "tokenizer.json"):
        assert (found / file).read_bytes() == (wanted / file).read_bytes(), file


def test_command_line(research, tmp_path):
    """The command runs as documented."""
    options = ("--prompt", str(research.prompts), "--output-dir", str(tmp_path / "out"))
    main(["from-research", "--model", str(research.folder), *options])
    for file in ("model.safetensors", "config.json", "processor_config.json", "tokenizer.json"):
        assert (tmp_path / "out" / file).read_bytes() == (research.clue / file).read_bytes(), file
