"""Our processor and positions against transformers' own processor and `get_rope_index`, on every backbone."""

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    AutoProcessor,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    WhisperFeatureExtractor,
)

from modeling_clue import CLUEProcessor
from modeling_clue.auto import BACKBONES
from modeling_clue.modeling_clue import ConfidenceEstimation, change_class


on_each_backbone = pytest.mark.parametrize("tiny_checkpoint", BACKBONES, indirect=True)

HYPOTHESIS = "The ball is red."
PLACES = {
    "audio": ("audio_bos_token", "audio_token", "audio_eos_token"),
    "video": ("vision_bos_token", "video_token", "vision_eos_token"),
    "audiovisual": ("vision_bos_token", "video_token", "vision_eos_token"),
}
# Upstream pads every clip to so many seconds: 300 in the published checkpoints, fewer here to save time.
CHUNK_SECONDS = 30

# Seconds of sound: from the shortest that gives a token, through lengths that fill no whole hop, token or chunk.
LENGTHS = [0.06, 0.5, 1.0, 1.9999, 2.0, 2.04, 3.3333, 7.77]
# Frames at frames a second: whole and broken steps of the grid, within a chunk of 2 s, on its edge, and beyond.
CLIPS = [(2, 0.5), (5, 0.5), (12, 0.5), (4, 1.0), (9, 2.0), (10, 2.0), (7, 3.0), (20, 3.0), (13, 2.97), (40, 12.5)]


@pytest.fixture(scope="module")
def clue(tiny_checkpoint) -> ConfidenceEstimation:
    """The model whose positions are looked at."""
    return AutoModel.from_pretrained(tiny_checkpoint).eval()


@pytest.fixture(scope="module")
def ours(tiny_checkpoint) -> CLUEProcessor:
    """Our processor, with upstream's bounds on the pixels of a frame scaled down to 2 x 2 to 4 x 4 tokens."""
    processor = AutoProcessor.from_pretrained(tiny_checkpoint)
    token = (2 * processor.video_processor.patch_size) ** 2
    processor.video_processor.size = {"shortest_edge": 4 * token, "longest_edge": 16 * token}
    return processor


@pytest.fixture(scope="module")
def upstream(ours) -> ProcessorMixin:
    """transformers' own, with the same tokens."""
    return ours.backbone.upstream("Processor")(
        Qwen2VLImageProcessor(),
        Qwen2VLVideoProcessor(patch_size=ours.video_processor.patch_size),
        WhisperFeatureExtractor(feature_size=128, return_attention_mask=True, chunk_length=CHUNK_SECONDS),
        PreTrainedTokenizerFast(
            tokenizer_object=ours.tokenizer.backend_tokenizer,
            pad_token="<|endoftext|>",
            extra_special_tokens=ours.backbone.tokens,
        ),
    )


def waveform(seconds: float) -> np.ndarray:
    """Noise that grows louder, so that the loudest frame, by which features are scaled, is at the end."""
    num_samples = round(16000 * seconds)
    noise = np.random.default_rng(num_samples).normal(0, 0.1, num_samples)
    return (noise * np.linspace(0.1, 1, num_samples)).astype(np.float32)


def pictures(num_frames: int, height: int = 60, width: int = 100) -> np.ndarray:
    """Frames of noise, of a size that is not a multiple of the patches."""
    return np.random.default_rng(num_frames).integers(0, 256, (num_frames, height, width, 3), np.uint8)


def rendered(processor: CLUEProcessor, place: str) -> str:
    """The prompt of one hypothesis, as upstream is given it."""
    return (processor.prompt["premise"] + processor.prompt["hypothesis"]).format(premise=place, hypothesis=HYPOTHESIS)


def run_upstream(upstream, ours, modality: str, sound=None, frames=None, fps: float | None = None) -> dict:
    """transformers' own processor on the prompt with one hypothesis."""
    video = None if frames is None else [torch.from_numpy(frames).permute(0, 3, 1, 2)]
    options = {} if fps is None else {"fps": fps, "do_sample_frames": False}
    if frames is not None:
        # Otherwise a size of its class would stand above that of its video processor.
        options["videos_kwargs"] = {"size": ours.video_processor.size, "cap_pixels_per_frame": True}
    if modality == "audiovisual":
        options |= {"load_audio_from_video": True, "audio_from_video_indices": [0]}
    return upstream(
        text=[rendered(ours, "".join(ours.backbone.tokens[name] for name in PLACES[modality]))],
        audio=None if sound is None else [sound],
        videos=video,
        return_tensors="pt",
        **options,
    )


def assert_parity(clue, inputs, expected, modality: str) -> None:
    """Tokens, features, patches, time and positions are upstream's."""
    assert inputs["input_ids"].tolist() == expected["input_ids"].tolist()
    if "feature_attention_mask" in expected:
        lengths = expected["feature_attention_mask"].sum(1)
        assert inputs["feature_attention_mask"].sum(1).tolist() == lengths.tolist()
        assert inputs["input_features"].shape[2] == lengths.max()
        torch.testing.assert_close(
            inputs["input_features"], expected["input_features"][..., : lengths.max()], rtol=0, atol=1e-5
        )
    if "video_grid_thw" in expected:
        assert inputs["video_grid_thw"].tolist() == expected["video_grid_thw"].tolist()
        assert torch.equal(inputs["pixel_values_videos"], expected["pixel_values_videos"])
        torch.testing.assert_close(
            inputs["video_second_per_grid"], torch.as_tensor(expected["video_second_per_grid"]), rtol=1e-7, atol=0
        )

    # A position that is no whole number is off by its last bit where upstream counts on from another one.
    torch.testing.assert_close(
        our_positions(clue, inputs), upstream_positions(clue, expected, modality), rtol=1e-6, atol=0
    )


def our_positions(clue, inputs) -> torch.Tensor:
    """Positions of the tokens of a row."""
    media = [inputs.get(name) for name in ("video_grid_thw", "video_second_per_grid")]
    return clue._branch_position_ids(inputs["input_ids"], inputs["branch_ids"], *media)[0]


def upstream_positions(clue, expected, modality: str) -> torch.Tensor:
    """Those transformers' own model gives to the tokens of its processor."""
    sound, video = "feature_attention_mask" in expected, "video_grid_thw" in expected
    rope, _ = clue.model.get_rope_index(
        input_ids=expected["input_ids"],
        video_grid_thw=expected.get("video_grid_thw"),
        attention_mask=expected["attention_mask"],
        use_audio_in_video=modality == "audiovisual",
        audio_seqlens=expected["feature_attention_mask"].sum(1) if sound else None,
        second_per_grids=torch.as_tensor(expected["video_second_per_grid"]) if video else None,
    )
    return rope


@on_each_backbone
def test_text(clue, ours, upstream):
    """A prompt cut into premise and hypothesis has the tokens and positions of the whole, one a token."""
    premise = "An urn holds 3 red balls, 2 blue balls and 1 green ball."
    text = ours.prompt["premise"].format(premise=premise) + ours.prompt["hypothesis"].format(hypothesis=HYPOTHESIS)
    assert_parity(clue, ours(premise, HYPOTHESIS), upstream(text=[text], return_tensors="pt"), "text")


@on_each_backbone
@pytest.mark.parametrize("seconds", LENGTHS)
def test_audio(clue, ours, upstream, seconds):
    """The spectrogram of the clip alone is upstream's of the clip with its padding, trimmed."""
    sound = waveform(seconds)
    inputs = ours({"audio": {"array": sound, "sampling_rate": 16000}}, HYPOTHESIS)
    assert_parity(clue, inputs, run_upstream(upstream, ours, "audio", sound), "audio")


@on_each_backbone
@pytest.mark.parametrize(("num_frames", "fps"), CLIPS)
def test_video(clue, ours, upstream, num_frames, fps):
    """Frames become the same patches, at the same times, an odd last frame included."""
    frames = pictures(num_frames)
    inputs = ours({"video": {"frames": frames, "fps": fps}}, HYPOTHESIS, fps=fps)
    assert_parity(clue, inputs, run_upstream(upstream, ours, "video", None, frames, fps), "video")


@on_each_backbone
@pytest.mark.parametrize("size", [(20, 30), (300, 40), (64, 512), (28, 28)])
def test_frame_sizes(clue, ours, upstream, size):
    """Frames that are too small, too large, tall or wide are resized as upstream does, once."""
    frames = pictures(4, *size)
    inputs = ours({"video": {"frames": frames, "fps": 2.0}}, HYPOTHESIS, fps=2.0)
    assert_parity(clue, inputs, run_upstream(upstream, ours, "video", None, frames, 2.0), "video")


@on_each_backbone
@pytest.mark.parametrize("seconds", [0.5, 2.0, 3.3333, 7.77])
@pytest.mark.parametrize(("num_frames", "fps"), CLIPS)
def test_audiovisual(clue, ours, upstream, num_frames, fps, seconds):
    """Sound and frames take turns as upstream lays them out, whichever of them is longer."""
    frames, sound = pictures(num_frames), waveform(seconds)
    premise = {"video": {"frames": frames, "fps": fps}, "audio": {"array": sound, "sampling_rate": 16000}}
    inputs = ours(premise, HYPOTHESIS, fps=fps)
    expected = run_upstream(upstream, ours, "audiovisual", sound, frames, fps)
    assert_parity(clue, inputs, expected, "audiovisual")


@pytest.mark.parametrize(
    ("tiny_checkpoint", "num_frames", "fps"),
    [
        ("qwen2.5-omni", 40, 17 / 3),
        ("qwen2.5-omni", 80, 34 / 3),
        ("qwen3-omni", 20, 6.5),
        ("qwen3-omni", 20, 13 / 3),
    ],
    indirect=["tiny_checkpoint"],
)
def test_places_and_positions_agree_where_upstreams_do_not(clue, ours, upstream, num_frames, fps):
    """
    At these rates a frame and a sound meet but for rounding, and upstream's processor and model put one of them before
    the other differently. Of ours every token has the time of its own sound or frame.
    """
    frames, sound = pictures(num_frames), waveform(7.77)
    premise = {"video": {"frames": frames, "fps": fps}, "audio": {"array": sound, "sampling_rate": 16000}}
    inputs = ours(premise, HYPOTHESIS, fps=fps, max_frames=num_frames)
    theirs = run_upstream(upstream, ours, "audiovisual", sound, frames, fps)
    assert inputs["input_ids"].sort().values.tolist() == theirs["input_ids"].sort().values.tolist()

    ids, positions = inputs["input_ids"][0], our_positions(clue, inputs)[:, 0]
    is_sound = ids == clue.config.audio_token_id
    start = positions[0, is_sound][0]
    sounds = (start + torch.arange(int(is_sound.sum()))).expand(3, -1).to(positions)
    assert torch.equal(positions[:, is_sound], sounds)
    is_their_sound = theirs["input_ids"][0] == clue.config.audio_token_id
    assert not torch.equal(upstream_positions(clue, theirs, "audiovisual")[:, 0, is_their_sound], sounds)
    steps, height, width = (inputs["video_grid_thw"][0] // torch.tensor([1, 2, 2])).tolist()
    time = torch.arange(steps) * inputs["video_second_per_grid"] * clue.config.position_id_per_seconds
    places = [torch.arange(side).to(positions) for side in (height, width)]
    grid = torch.meshgrid(time.to(positions), *places, indexing="ij")
    assert torch.equal(positions[:, ids == clue.config.video_token_id], start + torch.stack(grid).flatten(1))


PICTURE = np.random.default_rng(3).integers(0, 256, (90, 70, 3), np.uint8)
COMBINATIONS = [
    ["text", "image"],
    ["image", "text", "image"],
    ["text", "video", "text"],
    ["audio", "text", "video", "image", "audio"],
    ["video", "video", "audio"],
]


@on_each_backbone
@pytest.mark.parametrize("kinds", COMBINATIONS, ids="-".join)
def test_combinations(clue, ours, upstream, kinds):
    """Parts in order have the tokens, features, patches, positions and, in the language model, the states that
    transformers' own processor and model give them."""
    frames, sound = pictures(6), waveform(2.5)
    parts = {
        "text": {"text": "An urn holds 3 red balls."},
        "image": {"image": PICTURE},
        "audio": {"audio": {"array": sound, "sampling_rate": 16000}},
        "video": {"video": {"frames": frames, "fps": 2.0}},
    }
    inputs = ours({"parts": [parts[kind] for kind in kinds]}, HYPOTHESIS, fps=2.0)
    tokens = ours.backbone.tokens
    places = {
        **{kind: "".join(tokens[name] for name in names) for kind, names in PLACES.items()},
        "image": "".join(tokens[f"{name}_token"] for name in ("vision_bos", "image", "vision_eos")),
        "text": parts["text"]["text"],
    }
    counts = {kind: kinds.count(kind) for kind in parts}
    size, patch_size = ours.video_processor.size, ours.video_processor.patch_size
    upstream.image_processor.patch_size = patch_size
    options = {"images_kwargs": {"size": size}, "videos_kwargs": {"size": size, "cap_pixels_per_frame": True}}
    if counts["video"]:
        options |= {"fps": 2.0, "do_sample_frames": False}
    expected = upstream(
        text=[rendered(ours, "".join(places[kind] for kind in kinds))],
        images=[torch.from_numpy(PICTURE).permute(2, 0, 1)] * counts["image"] or None,
        audio=[sound] * counts["audio"] or None,
        videos=[torch.from_numpy(frames).permute(0, 3, 1, 2)] * counts["video"] or None,
        return_tensors="pt",
        **options,
    )
    assert inputs["input_ids"].tolist() == expected["input_ids"].tolist()
    # Of frames, ours are in the order of the premise, and theirs pictures first.
    seen = [kind for kind in kinds if kind in ("image", "video")]
    order = sorted(range(len(seen)), key=lambda place: seen[place])
    grids = inputs["video_grid_thw"]
    patches = inputs["pixel_values_videos"].split(grids.prod(1).tolist())
    theirs = [expected[name] for name in ("image_grid_thw", "video_grid_thw") if name in expected]
    assert grids[order].tolist() == torch.cat(theirs).tolist()
    theirs = [expected[name] for name in ("pixel_values", "pixel_values_videos") if name in expected]
    torch.testing.assert_close(torch.cat([patches[place] for place in order]), torch.cat(theirs), rtol=0, atol=1e-5)

    rope, _ = clue.model.get_rope_index(
        input_ids=expected["input_ids"],
        image_grid_thw=expected.get("image_grid_thw"),
        video_grid_thw=expected.get("video_grid_thw"),
        attention_mask=expected["attention_mask"],
        use_audio_in_video=False,
        audio_seqlens=expected["feature_attention_mask"].sum(1) if counts["audio"] else None,
        second_per_grids=torch.as_tensor(expected["video_second_per_grid"]) if counts["video"] else None,
    )
    torch.testing.assert_close(our_positions(clue, inputs), rope, rtol=1e-6, atol=0)
    with torch.no_grad():
        ours_last = clue.lm_head(clue.encode(**inputs)[0].last_hidden_state)
        thinker = change_class(clue, ours.backbone.upstream("ThinkerForConditionalGeneration"), clue.config)
        logits = thinker.eval()(**expected, use_audio_in_video=False).logits
    torch.testing.assert_close(ours_last, logits, rtol=1e-4, atol=1e-4)
