# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Reads sound as a 16 kHz waveform, and video as frames and their true rate."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .media_container import MediaError, find_sound, find_video, is_torchcodec, open_clip, quoted, unwrap, video_stream
from .media_frames import CLOCK_SLACK, Shrink, decode_frames, plan_frames, read_timeline, rgb_from_array
from .media_sound import decode_sound, mono_from_array, resample


SAMPLINGS = ("rate", "span")
# Lossy codecs and mixes exceed full scale, but not by 24 dB: such samples were never scaled.
_MAX_AMPLITUDE = 16.0


@dataclass(frozen=True)
class Audio:
    """Holds a mono sound.

    Args:
        waveform (`np.ndarray` of shape `(num_samples,)`):
            Float32 samples, full scale is 1.
        sampling_rate (`int`):
            Samples per second of `waveform`.
        notes (`tuple[str, ...]`, *optional*):
            What was changed or lost in reading, in words.
    """

    waveform: np.ndarray
    sampling_rate: int
    notes: tuple[str, ...] = field(default=())

    @property
    def duration(self) -> float:
        """Returns the length in seconds."""
        return len(self.waveform) / self.sampling_rate


@dataclass(frozen=True)
class Video:
    """Holds frames sampled evenly in time.

    Args:
        frames (`np.ndarray` of shape `(num_frames, height, width, 3)`):
            RGB frames, uint8. Frame `k` was on display `k / fps` seconds after the first.
        fps (`float`):
            The true rate of `frames`, which is not the requested one for a thinned or a very short video.
        duration (`float`):
            Length of the whole video in seconds.
        notes (`tuple[str, ...]`, *optional*):
            What was changed or lost in reading, in words.
    """

    frames: np.ndarray
    fps: float
    duration: float
    notes: tuple[str, ...] = field(default=())


def load_audio(
    source: Any, *, sampling_rate: int = 16000, max_seconds: float | None = None, name: str | None = None
) -> Audio:
    """Reads a sound, or the sound of a video, as a mono waveform.

    The sound of a video is aligned with the first frame: sound that starts later is preceded by silence, and what
    comes before the picture is dropped.

    Args:
        source (`str`, `os.PathLike`, `bytes`, file object, `dict` or decoded `datasets` column):
            The sound. A `str` is a local path. A `dict` is `{"bytes", "path"}` or `{"array", "sampling_rate"}`; an
            array is `(num_samples,)`, or two-dimensional with the channels on the shorter axis, in float or in int8,
            int16, int32 or uint8, which are scaled to full scale 1.
        sampling_rate (`int`, *optional*, defaults to 16000):
            Rate of the waveform returned.
        max_seconds (`float`, *optional*):
            Longer sounds are cut here, and a note says so.
        name (`str`, *optional*):
            Name of the input in errors, e.g. `"row 7"`.

    Returns:
        [`Audio`]

    Raises:
        MediaError: if the input is unreadable, empty, truncated, not finite, or has no sound.
    """
    if max_seconds is not None and not max_seconds > 0:
        raise MediaError(f"max_seconds must be positive, got {max_seconds!r}.")
    source, label = unwrap(source, name)
    notes: list[str] = []
    not_decoded = 0.0
    if isinstance(source, dict):
        if "array" not in source:
            raise MediaError(f"{label} holds frames without sound. Give the sound beside them, under `audio`.")
        waveform, rate = mono_from_array(source["array"], label, notes), source.get("sampling_rate")
    elif is_torchcodec(source, "AudioDecoder"):
        samples = source.get_all_samples()
        waveform, rate = mono_from_array(np.asarray(samples.data), label, notes), samples.sample_rate
    elif is_torchcodec(source, "VideoDecoder"):
        raise MediaError(
            f"{label} is a decoded video column, which has no access to the sound. Cast the column with "
            "`Video(decode=False)` and pass the row as it is."
        )
    else:
        waveform, rate, not_decoded = decode_sound(source, label, max_seconds, notes)
    if not isinstance(rate, (int, float, np.number)) or isinstance(rate, bool) or not rate > 0:
        raise MediaError(f'{label} needs a positive "sampling_rate" beside its "array", got {quoted(rate)}.')
    if len(waveform) == 0:
        raise MediaError(f"{label} holds a sound of zero length.")
    if not np.isfinite(waveform).all():
        raise MediaError(f"{label} holds samples that are not finite numbers.")
    peak = float(np.abs(waveform).max())
    # Recorded silence that was not scaled is a few whole numbers, or halves in the mean of two channels.
    if peak > _MAX_AMPLITUDE or (peak >= 2 and not (2 * waveform % 1).any()):
        raise MediaError(
            f"{label} has samples of up to {peak:.6g}, but full scale is 1: divide them (16 bits by 32768) or "
            "give them as integers."
        )
    seconds = len(waveform) / rate + not_decoded
    if max_seconds is not None and seconds > max_seconds:
        # A margin of a tenth of a second lets the resampling filter see past the cut.
        waveform = waveform[: math.ceil((max_seconds + 0.1) * rate)]
        notes.append(f"sound cut from {seconds:.1f} s to {max_seconds:.1f} s")
    waveform = resample(waveform, rate, sampling_rate)
    if max_seconds is not None:
        waveform = waveform[: max(1, round(max_seconds * sampling_rate))]
    return Audio(np.ascontiguousarray(waveform), sampling_rate, tuple(notes))


def load_video(
    source: Any,
    *,
    fps: float,
    max_frames: int,
    min_frames: int = 2,
    sampling: str = "rate",
    shrink: Shrink | None = None,
    name: str | None = None,
) -> Video:
    """Reads the frames on display at times `k / fps` from the first frame on, or as many from the first to the last.

    A video with more than `max_frames` such times is sampled evenly at the lower rate that gives `max_frames`, and a
    note says so; one with fewer than `min_frames` is sampled at the higher rate that gives `min_frames`, repeating
    frames if it has too few. Time is that of the file's own stamps, so a variable frame rate is followed. Rotation
    stored by phones is applied.

    With `sampling="span"` the frames are chosen by number: `duration * fps` of them, at least `min_frames`, no more
    than there are, rounded down to an even number, evenly from the very first to the very last.

    Args:
        source (`str`, `os.PathLike`, `bytes`, file object, `dict` or decoded `datasets` column):
            The video. A `str` is a local path. A `dict` is `{"bytes", "path"}` or `{"frames", "fps"}` with uint8 RGB
            frames of shape `(num_frames, height, width, 3)` or `(num_frames, 3, height, width)`.
        fps (`float`):
            Requested frames per second.
        max_frames (`int`):
            Most frames to return.
        min_frames (`int`, *optional*, defaults to 2):
            Fewest frames to return.
        sampling (`str`, *optional*, defaults to `"rate"`):
            `"rate"` or `"span"`.
        shrink (`Callable`, *optional*):
            Called with each chosen frame, as soon as it is decoded, and the number of frames; returns the frame to
            keep. Many large frames then never lie in memory together.
        name (`str`, *optional*):
            Name of the input in errors, e.g. `"row 7"`.

    Returns:
        [`Video`]

    Raises:
        MediaError: if the input is unreadable, empty, truncated, or has no video.
    """
    if not fps > 0:
        raise MediaError(f"fps must be positive, got {fps!r}.")
    if sampling not in SAMPLINGS:
        raise MediaError(f"sampling must be one of {', '.join(SAMPLINGS)}, got {quoted(sampling)}.")
    if not 1 <= min_frames <= max_frames:
        raise MediaError(f"Need 1 <= min_frames <= max_frames, got {min_frames!r} and {max_frames!r}.")
    source, label = unwrap(source, name)
    if isinstance(source, dict):
        if "frames" not in source:
            raise MediaError(f"{label} is a sound, not a video.")
        frames, rate = rgb_from_array(source["frames"], label), source.get("fps")
        if not isinstance(rate, (int, float, np.number)) or isinstance(rate, bool) or not rate > 0:
            raise MediaError(f'{label} needs a positive "fps" beside its "frames", got {quoted(rate)}.')
        shown_at = np.arange(len(frames)) / rate if sampling == "span" else None
        plan = plan_frames(len(frames) / rate, fps, max_frames, min_frames, shown_at)
        shown = np.floor((plan.times + CLOCK_SLACK) * rate).astype(int)
        chosen = [frames[index] for index in np.minimum(shown, len(frames) - 1)]
        return Video(_stack_frames(chosen, shrink), plan.fps, plan.duration, plan.notes)
    if is_torchcodec(source, "VideoDecoder"):
        start, end = source.metadata.begin_stream_seconds, source.metadata.end_stream_seconds
        shown_at = None
        if sampling == "span":
            shown_at = np.arange(source.metadata.num_frames) * (end - start) / source.metadata.num_frames
        plan = plan_frames(end - start, fps, max_frames, min_frames, shown_at)
        # A frame asked for at the very time it appears may come out as the one before it.
        times = plan.times + (0 if shown_at is None else (end - start) / source.metadata.num_frames / 2)
        batch = source.get_frames_played_at(seconds=[start + float(time) for time in times])
        frames = rgb_from_array(np.asarray(batch.data), label)
        return Video(_stack_frames(list(frames), shrink), plan.fps, plan.duration, plan.notes)
    if is_torchcodec(source, "AudioDecoder"):
        raise MediaError(f"{label} is a decoded audio column, not a video.")
    with open_clip(source, label) as container:
        timeline = read_timeline(container, video_stream(container, label), label)
    shown_at = timeline.shown_at if sampling == "span" else None
    plan = plan_frames(timeline.duration, fps, max_frames, min_frames, shown_at)
    with open_clip(source, label) as container:
        frames, notes = decode_frames(container, video_stream(container, label), timeline, plan.times, label, shrink)
    return Video(frames, plan.fps, plan.duration, plan.notes + timeline.notes + notes)


def _stack_frames(frames: list[np.ndarray], shrink: Shrink | None) -> np.ndarray:
    return np.stack([frame if shrink is None else shrink(frame, len(frames)) for frame in frames])


def has_audio(source: Any, *, name: str | None = None) -> bool:
    """Returns whether `source` (as in [`load_audio`]) has sound.

    Raises:
        MediaError: if it cannot be read, or is a decoded video column, which gives no access to sound.
    """
    source, label = unwrap(source, name)
    if isinstance(source, dict):
        return "array" in source
    if is_torchcodec(source, "AudioDecoder"):
        return True
    if is_torchcodec(source, "VideoDecoder"):
        raise MediaError(
            f"{label} is a decoded video column, which does not tell of sound: use `Video(decode=False)`."
        )
    return find_sound(source, label) is not None


def probe_modality(source: Any, *, name: str | None = None) -> str:
    """Returns `"video"` if `source` (as in [`load_audio`]) has moving pictures, else `"audio"`.

    Judged by content, not by name. The cover picture of a song is no video.

    Raises:
        MediaError: if it cannot be read or is neither.
    """
    source, label = unwrap(source, name)
    if isinstance(source, dict):
        return "video" if "frames" in source else "audio"
    if is_torchcodec(source, "VideoDecoder") or is_torchcodec(source, "AudioDecoder"):
        return "video" if is_torchcodec(source, "VideoDecoder") else "audio"
    with open_clip(source, label) as container:
        if find_video(container) is not None:
            return "video"
    if find_sound(source, label) is not None:
        return "audio"
    raise MediaError(f"{label} holds neither sound nor video.")
