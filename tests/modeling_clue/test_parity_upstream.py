"""Our processor and positions against transformers' own `Qwen2_5OmniProcessor` and `get_rope_index`."""

import numpy as np
import pytest
import torch
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5OmniProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    WhisperFeatureExtractor,
)

from modeling_clue import CLUEForConfidenceEstimation, CLUEProcessor
from modeling_clue.backbone import QWEN2_5_OMNI


HYPOTHESIS = "The ball is red."
PLACES = {
    "audio": "<|audio_bos|><|AUDIO|><|audio_eos|>",
    "video": "<|vision_bos|><|VIDEO|><|vision_eos|>",
    "audiovisual": "<|vision_bos|><|VIDEO|><|vision_eos|>",
}
# Upstream pads every clip to so many seconds: 300 in the published checkpoints, fewer here to save time.
CHUNK_SECONDS = 30

# Seconds of sound: from the shortest that gives a token, through lengths that fill no whole hop, token or chunk.
LENGTHS = [0.06, 0.5, 1.0, 1.9999, 2.0, 2.04, 3.3333, 7.77]
# Frames at frames a second: whole and broken steps of the grid, within a chunk of 2 s, on its edge, and beyond.
CLIPS = [(2, 0.5), (5, 0.5), (12, 0.5), (4, 1.0), (9, 2.0), (10, 2.0), (7, 3.0), (20, 3.0), (13, 2.97), (40, 12.5)]


@pytest.fixture(scope="module")
def clue(tiny_checkpoint) -> CLUEForConfidenceEstimation:
    """The model whose positions are looked at."""
    return CLUEForConfidenceEstimation.from_pretrained(tiny_checkpoint)


@pytest.fixture(scope="module")
def ours(tiny_checkpoint) -> CLUEProcessor:
    """Our processor, with upstream's bounds on the pixels of a frame scaled down to 2 x 2 to 4 x 4 patches of 28."""
    processor = CLUEProcessor.from_pretrained(tiny_checkpoint)
    processor.video_processor.size = {"shortest_edge": 4 * 28 * 28, "longest_edge": 16 * 28 * 28}
    return processor


@pytest.fixture(scope="module")
def upstream(ours) -> Qwen2_5OmniProcessor:
    """transformers' own, with the same tokens."""
    return Qwen2_5OmniProcessor(
        Qwen2VLImageProcessor(),
        Qwen2VLVideoProcessor(),
        WhisperFeatureExtractor(feature_size=128, return_attention_mask=True, chunk_length=CHUNK_SECONDS),
        PreTrainedTokenizerFast(
            tokenizer_object=ours.tokenizer.backend_tokenizer,
            pad_token="<|endoftext|>",
            extra_special_tokens=QWEN2_5_OMNI.tokens,
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
        text=[rendered(ours, PLACES[modality])],
        audio=None if sound is None else [sound],
        videos=video,
        return_tensors="pt",
        **options,
    )


def assert_parity(clue, inputs, expected, modality: str) -> None:
    """Tokens, features, patches, time and positions are upstream's."""
    assert inputs["input_ids"].tolist() == expected["input_ids"].tolist()
    lengths = None
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

    positions = clue._branch_position_ids(
        inputs["input_ids"],
        inputs["branch_ids"],
        inputs.get("video_grid_thw"),
        inputs.get("video_second_per_grid"),
    )
    rope, _ = clue.model.get_rope_index(
        input_ids=expected["input_ids"],
        video_grid_thw=expected.get("video_grid_thw"),
        attention_mask=expected["attention_mask"],
        use_audio_in_video=modality == "audiovisual",
        audio_seqlens=lengths,
        second_per_grids=torch.as_tensor(expected["video_second_per_grid"]) if "video_grid_thw" in expected else None,
    )
    assert torch.equal(positions, rope)


def test_text(clue, ours, upstream):
    """A prompt cut into premise and hypothesis has the tokens and positions of the whole, one a token."""
    premise = "An urn holds 3 red balls, 2 blue balls and 1 green ball."
    text = ours.prompt["premise"].format(premise=premise) + ours.prompt["hypothesis"].format(hypothesis=HYPOTHESIS)
    assert_parity(clue, ours(premise, HYPOTHESIS), upstream(text=[text], return_tensors="pt"), "text")


@pytest.mark.parametrize("seconds", LENGTHS)
def test_audio(clue, ours, upstream, seconds):
    """The spectrogram of the clip alone is upstream's of the clip with its padding, trimmed."""
    sound = waveform(seconds)
    inputs = ours({"audio": {"array": sound, "sampling_rate": 16000}}, HYPOTHESIS)
    assert_parity(clue, inputs, run_upstream(upstream, ours, "audio", sound), "audio")


@pytest.mark.parametrize(("num_frames", "fps"), CLIPS)
def test_video(clue, ours, upstream, num_frames, fps):
    """Frames become the same patches, at the same times, an odd last frame included."""
    frames = pictures(num_frames)
    inputs = ours({"video": {"frames": frames, "fps": fps}}, HYPOTHESIS, fps=fps)
    assert_parity(clue, inputs, run_upstream(upstream, ours, "video", None, frames, fps), "video")


@pytest.mark.parametrize("size", [(20, 30), (300, 40), (64, 512), (28, 28)])
def test_frame_sizes(clue, ours, upstream, size):
    """Frames that are too small, too large, tall or wide are resized as upstream does, once."""
    frames = pictures(4, *size)
    inputs = ours({"video": {"frames": frames, "fps": 2.0}}, HYPOTHESIS, fps=2.0)
    assert_parity(clue, inputs, run_upstream(upstream, ours, "video", None, frames, 2.0), "video")


@pytest.mark.parametrize("seconds", [0.5, 2.0, 3.3333, 7.77])
@pytest.mark.parametrize(("num_frames", "fps"), CLIPS)
def test_audiovisual(clue, ours, upstream, num_frames, fps, seconds):
    """Sound and frames take turns as upstream lays them out, whichever of them is longer."""
    frames, sound = pictures(num_frames), waveform(seconds)
    premise = {"video": {"frames": frames, "fps": fps}, "audio": {"array": sound, "sampling_rate": 16000}}
    inputs = ours(premise, HYPOTHESIS, fps=fps)
    expected = run_upstream(upstream, ours, "audiovisual", sound, frames, fps)
    assert_parity(clue, inputs, expected, "audiovisual")


@pytest.mark.parametrize(("num_frames", "fps"), [(40, 17 / 3), (80, 34 / 3)])
def test_places_and_positions_agree_where_upstream_does_not(clue, ours, upstream, num_frames, fps):
    """
    At these rates a step of the grid lies on the edge of a chunk but for rounding, and upstream's processor and model
    put it into different chunks. Ours follows the model: every token has the time of its own sound or frame.
    """
    frames, sound = pictures(num_frames), waveform(7.77)
    premise = {"video": {"frames": frames, "fps": fps}, "audio": {"array": sound, "sampling_rate": 16000}}
    inputs = ours(premise, HYPOTHESIS, fps=fps, max_frames=num_frames)
    theirs = run_upstream(upstream, ours, "audiovisual", sound, frames, fps)["input_ids"]
    assert inputs["input_ids"].tolist() != theirs.tolist()
    assert inputs["input_ids"].sort().values.tolist() == theirs.sort().values.tolist()

    ids = inputs["input_ids"][0]
    positions = clue._branch_position_ids(
        inputs["input_ids"],
        inputs["branch_ids"],
        inputs["video_grid_thw"],
        inputs["video_second_per_grid"],
    )[:, 0]
    start = positions[0, ids == clue.config.vision_start_token_id] + 1
    sounds = positions[:, ids == clue.config.audio_token_id]
    assert torch.equal(sounds, (start + torch.arange(sounds.shape[1])).expand(3, -1))
    steps, height, width = (inputs["video_grid_thw"][0] // torch.tensor([1, 2, 2])).tolist()
    time = (torch.arange(steps) * inputs["video_second_per_grid"] * 25).long()
    grid = torch.meshgrid(time, torch.arange(height), torch.arange(width), indexing="ij")
    assert torch.equal(positions[:, ids == clue.config.video_token_id], start + torch.stack(grid).flatten(1))
