"""A model, its processor and one clip of each kind, written once."""

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import soundfile
from transformers import AutoModel, AutoProcessor

from modeling_clue import CLUEProcessor
from modeling_clue.modeling_clue import ConfidenceEstimation


RATE = 16000


def write_clip(path: Path, seconds: float, sound: bool, fps: int = 25, seed: int = 0) -> Path:
    """An mp4 of random coarse pictures, with or without a track of noise."""
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as output:
        pictures = output.add_stream("libx264", rate=fps)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        track = output.add_stream("aac", rate=RATE, layout="mono") if sound else None
        for index in range(round(seconds * fps)):
            image = rng.integers(0, 256, (6, 8, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            output.mux(pictures.encode(frame))
        output.mux(pictures.encode(None))
        if track is not None:
            noise = (rng.uniform(-0.3, 0.3, (1, round(seconds * RATE))) * 32767).astype(np.int16)
            for start in range(0, noise.shape[1], 1024):
                piece = av.AudioFrame.from_ndarray(noise[:, start : start + 1024], format="s16", layout="mono")
                piece.sample_rate, piece.pts, piece.time_base = RATE, start, Fraction(1, RATE)
                output.mux(track.encode(piece))
            output.mux(track.encode(None))
    return path


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> SimpleNamespace:
    """Files: `sound` (0.7 s), `short_sound` (0.3 s), `silent` video (1 s), `talkie` (2.6 s: more than one chunk)."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(1)
    for name, seconds in (("sound", 0.7), ("short_sound", 0.3)):
        noise = rng.uniform(-0.3, 0.3, round(seconds * RATE)).astype(np.float32)
        soundfile.write(folder / f"{name}.wav", noise, RATE, subtype="FLOAT")
    return SimpleNamespace(
        sound=folder / "sound.wav",
        short_sound=folder / "short_sound.wav",
        silent=write_clip(folder / "silent.mp4", 1.0, sound=False),
        talkie=write_clip(folder / "talkie.mp4", 2.6, sound=True),
    )


@pytest.fixture(scope="session")
def premises(clips) -> dict:
    """One premise of each modality."""
    return {
        "text": "An urn holds 3 red balls.",
        "audio": clips.sound,
        "video": clips.silent,
        "audiovisual": {"video": clips.talkie, "modality": "audiovisual"},
    }


@pytest.fixture(scope="session")
def processor(tiny_checkpoint) -> CLUEProcessor:
    """Treat it as read-only."""
    return AutoProcessor.from_pretrained(tiny_checkpoint)


@pytest.fixture(scope="session")
def hypothesis_first(processor) -> CLUEProcessor:
    """A processor whose prompt has the hypothesis before the premise. Treat it as read-only."""
    return type(processor)(
        processor.feature_extractor,
        processor.video_processor,
        processor.tokenizer,
        prompt={"premise": "{hypothesis}\n{premise}", "hypothesis": "<|im_end|>"},
        media=processor.media,
    )


@pytest.fixture(scope="session")
def model(tiny_checkpoint) -> ConfidenceEstimation:
    """In float32 and with sdpa. Treat it as read-only."""
    return AutoModel.from_pretrained(tiny_checkpoint).eval()


@pytest.fixture(scope="module", params=["eager", "sdpa"])
def attending(request, tiny_checkpoint) -> ConfidenceEstimation:
    """The model under each attention that takes a mask."""
    return AutoModel.from_pretrained(tiny_checkpoint, attn_implementation=request.param).eval()
