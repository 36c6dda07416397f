"""
Writes scenes of the urn world as real files: FLAC for sounds, MP4 (H.264, AAC) for balls and for both at once.

An event lasts 0.16 s, unless another length is asked for: two frames at 12.5 frames a second, and four audio tokens of
Qwen2.5-Omni. The files depend on the scene and the random generator alone: encoders run on one thread and write no
dates.
"""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile


SAMPLING_RATE = 16_000
EVENT_SAMPLES = 2_560
FRAMES_PER_EVENT = 2
FRAME_SIZE = 112

HERTZ = {"low": 300.0, "middle": 900.0, "high": 2700.0}
RGB = {"red": (215, 40, 40), "green": (40, 175, 60), "blue": (50, 80, 220), "yellow": (230, 210, 50)}

# A steady tone this loud behind beeps of 0.12 to 0.6, and a square in a corner where no ball reaches.
HUM = 0.03
SQUARE = 14

VIDEO_OPTIONS = {"preset": "ultrafast", "crf": "20", "bf": "0", "g": "250", "threads": "1", "flags": "+bitexact+cgop"}
AUDIO_OPTIONS = {"flags": "+bitexact", "threads": "1", "aac_coder": "fast"}


def synthesize(
    pitches: list[str],
    rng: np.random.Generator,
    hums: tuple[str, ...] = (),
    event_samples: int = EVENT_SAMPLES,
    hertz: dict[str, float] = HERTZ,
) -> np.ndarray:
    """
    Returns beeps of these pitches as a waveform `(events * event_samples,)` float32 at 16 kHz, some with noise behind
    them.

    `hums` are steady quiet tones behind all of them, which change nothing else.
    """
    time = np.arange(event_samples) / SAMPLING_RATE
    # 15 ms of fade at both ends, and 10 ms of silence: without it neighbours of one pitch would melt together.
    edge = np.minimum(time, time[::-1]) - 0.01
    envelope = 0.5 - 0.5 * np.cos(np.pi * np.clip(edge / 0.015, 0, 1))
    gain = rng.uniform(0.15, 0.5)
    beeps = [
        gain * rng.uniform(0.8, 1.2) * envelope * np.sin(2 * np.pi * hertz[pitch] * rng.uniform(0.96, 1.04) * time)
        for pitch in pitches
    ]
    waveform = np.concatenate(beeps)
    if rng.random() < 0.3:
        waveform = waveform + rng.uniform(0.002, 0.01) * rng.standard_normal(len(waveform))
    for hum in hums:
        waveform = waveform + HUM * np.sin(2 * np.pi * HERTZ[hum] * np.arange(len(waveform)) / SAMPLING_RATE)
    return np.clip(waveform, -1, 1).astype(np.float32)


def draw(
    colours: list[str],
    rng: np.random.Generator,
    squares: tuple[str, ...] = (),
    rgb: dict[str, tuple[int, int, int]] = RGB,
) -> np.ndarray:
    """
    Returns balls of these colours as frames `(events * 2, 112, 112, 3)` uint8, one filled circle on grey in each.

    `squares` are small ones in the corners of every frame, four at most, which change nothing else.
    """
    grey = rng.uniform(90, 150)
    tint = rng.uniform(-12, 12, size=3) if rng.random() < 0.3 else np.zeros(3)
    y, x = np.ogrid[:FRAME_SIZE, :FRAME_SIZE]
    frames = np.empty((len(colours), FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
    frames[:] = np.clip(grey + tint, 0, 255)
    for frame, colour in zip(frames, colours, strict=True):
        radius = rng.uniform(30, 42)
        centre_y, centre_x = FRAME_SIZE / 2 + rng.uniform(-10, 10, size=2)
        inside = (y - centre_y) ** 2 + (x - centre_x) ** 2 < radius**2
        frame[inside] = np.clip(np.array(rgb[colour]) + rng.uniform(-14, 14, size=3), 0, 255)
    near, far = slice(0, SQUARE), slice(FRAME_SIZE - SQUARE, FRAME_SIZE)
    for colour, (rows, columns) in zip(squares, ((near, near), (far, far), (near, far), (far, near)), strict=False):
        frames[:, rows, columns] = RGB[colour]
    return frames.repeat(FRAMES_PER_EVENT, axis=0)


def write_sound(
    path: Path,
    pitches: list[str],
    rng: np.random.Generator,
    hums: tuple[str, ...] = (),
    event_samples: int = EVENT_SAMPLES,
) -> None:
    """Writes the sounds of a scene to `path`, a FLAC file."""
    encode_sound(path, synthesize(pitches, rng, hums, event_samples))


def encode_sound(path: Path, waveform: np.ndarray) -> None:
    """Writes a waveform `(samples,)` at 16 kHz to `path`, a FLAC file."""
    soundfile.write(path, waveform, SAMPLING_RATE, format="FLAC", subtype="PCM_16")


def write_video(
    path: Path,
    colours: list[str],
    pitches: list[str] | None,
    rng: np.random.Generator,
    squares: tuple[str, ...] = (),
    hums: tuple[str, ...] = (),
    event_samples: int = EVENT_SAMPLES,
) -> None:
    """Writes the balls of a scene to `path`, an MP4 file, with its sounds where there are `pitches`."""
    fps = Fraction(FRAMES_PER_EVENT * SAMPLING_RATE, event_samples)
    # Sound first: both draw from the one generator.
    waveform = None if pitches is None else synthesize(pitches, rng, hums, event_samples)
    encode_video(path, draw(colours, rng, squares), waveform, fps)


def encode_video(
    path: Path,
    frames: np.ndarray,
    waveform: np.ndarray | None = None,
    fps: Fraction = Fraction(FRAMES_PER_EVENT * SAMPLING_RATE, EVENT_SAMPLES),
) -> None:
    """Writes frames `(number, 112, 112, 3)` uint8 to `path`, an MP4 file, with a waveform `(samples,)` at 16 kHz if
    there is one."""
    with av.open(path, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        video = container.add_stream("libx264", rate=fps, options=VIDEO_OPTIONS)
        video.width = video.height = FRAME_SIZE
        video.pix_fmt = "yuv420p"
        # All streams must be known before the first packet is written.
        if waveform is not None:
            audio = container.add_stream("aac", rate=SAMPLING_RATE, layout="mono", options=AUDIO_OPTIONS)
            audio.bit_rate = 64_000
            sound = av.AudioFrame.from_ndarray(waveform[None], format="fltp", layout="mono")
            sound.sample_rate = SAMPLING_RATE
            # With a start time the encoder's priming is noted in the file, and decoders cut it off again.
            sound.pts, sound.time_base = 0, Fraction(1, SAMPLING_RATE)
            container.mux(audio.encode(sound))
            container.mux(audio.encode(None))
        for image in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode(None))
