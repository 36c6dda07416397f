# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Reads sound as a 16 kHz waveform, and video as frames and their true rate."""

import functools
import math
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .media_container import MediaError, find_sound, find_video, is_torchcodec, open_clip, quoted, unwrap
from .media_frames import CLOCK_SLACK, FrameReader, Plan, Shrink, part_of, plan_frames, rgb_from_array
from .media_sound import MARGIN_AFTER, SoundReader, mono_from_array, resample


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
            Length of the video, or of the part that was loaded, in seconds.
        notes (`tuple[str, ...]`, *optional*):
            What was changed or lost in reading, in words.
    """

    frames: np.ndarray
    fps: float
    duration: float
    notes: tuple[str, ...] = field(default=())


class OpenClip:
    """Holds a file whose parts are loaded one after the other, so that it is decoded once for all of them.

    [`load_audio`] and [`load_video`] take it in the place of the file. Parts are best loaded in the order of their
    times; one that lies before the last is read from the beginning of the file. Only one part is kept in memory.

    Args:
        source (`str`, `os.PathLike`, `bytes` or `dict` of `"bytes"` or `"path"`): the file.
        name (`str`, *optional*): its name in errors.

    Raises:
        MediaError: if it is no file: an array, a decoded column; or an open file, which has one place to read from
            where sound and frames need one each.
    """

    def __init__(self, source: Any, name: str | None = None):
        self.source, self.label = unwrap(source, name)
        if not isinstance(self.source, (str, bytes)):
            raise MediaError(f"{self.label} is no path and no bytes: load its parts from it as it is.")

    @functools.cached_property
    def sound(self) -> SoundReader:
        """Returns what reads its sound."""
        return SoundReader(self.source, self.label)

    @functools.cached_property
    def frames(self) -> FrameReader:
        """Returns what reads its frames."""
        return FrameReader(self.source, self.label)

    @functools.cached_property
    def has_sound(self) -> bool:
        """Returns whether it has sound."""
        return find_sound(self.source, self.label) is not None

    def close(self) -> None:
        """Closes the file."""
        for name in ("sound", "frames"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()


def load_audio(
    source: Any,
    *,
    sampling_rate: int = 16000,
    max_seconds: float | None = None,
    start: float = 0.0,
    end: float | None = None,
    name: str | None = None,
) -> Audio:
    """Reads a sound, or the sound of a video, as a mono waveform.

    The sound of a video is aligned with the first frame: sound that starts later is preceded by silence, and what
    comes before the picture is dropped.

    Args:
        source (`str`, `os.PathLike`, `bytes`, file object, `dict`, decoded `datasets` column or [`OpenClip`]):
            The sound. A `str` is a local path. A `dict` is `{"bytes", "path"}` or `{"array", "sampling_rate"}`; an
            array is `(num_samples,)`, or two-dimensional with the channels on the shorter axis, in float or in int8,
            int16, int32 or uint8, which are scaled to full scale 1.
        sampling_rate (`int`, *optional*, defaults to 16000):
            Rate of the waveform returned.
        max_seconds (`float`, *optional*):
            Longer sounds, or parts of one, are cut here, and a note says so.
        start (`float`, *optional*, defaults to 0):
            Seconds from the beginning at which the part to load begins.
        end (`float`, *optional*):
            Seconds from the beginning at which it ends, at the latest; `None` for the end of the sound. The part is
            that of the whole waveform from sample `round(start * sampling_rate)` on and before
            `round(end * sampling_rate)`. Nothing behind it is read, so that a file which is damaged there is not found
            out.
        name (`str`, *optional*):
            Name of the input in errors, e.g. `"row 7"`.

    Returns:
        [`Audio`]

    Raises:
        MediaError: if the input is unreadable, empty, truncated, not finite, or has no sound, or none from `start` on.
    """
    if max_seconds is not None and not max_seconds > 0:
        raise MediaError(f"max_seconds must be positive, got {max_seconds!r}.")
    check_part(start, end)
    whole = start == 0 and end is None
    clip = source if isinstance(source, OpenClip) else None
    source, label = (clip.source, clip.label) if clip is not None else unwrap(source, name)
    notes: list[str] = []
    first, not_decoded = 0, 0.0
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
        longest = max_seconds if whole else None
        with closing(SoundReader(source, label, longest)) if clip is None else nullcontext(clip.sound) as reader:
            waveform, rate, first, notes = reader.read(start, math.inf if end is None else end)
            not_decoded = reader.not_decoded
    if not isinstance(rate, (int, float, np.number)) or isinstance(rate, bool) or not rate > 0:
        raise MediaError(f'{label} needs a positive "sampling_rate" beside its "array", got {quoted(rate)}.')
    if len(waveform) == 0 and first == 0 and start == 0:
        raise MediaError(f"{label} holds a sound of zero length.")
    if not whole and first + len(waveform) <= start * rate:
        raise MediaError(f"{label} has no sound from {start:g} s on.")
    if not np.isfinite(waveform).all():
        raise MediaError(f"{label} holds samples that are not finite numbers.")
    peak = float(np.abs(waveform).max())
    # Recorded silence that was not scaled is a few whole numbers, or halves in the mean of two channels.
    if peak > _MAX_AMPLITUDE or (peak >= 2 and not (2 * waveform % 1).any()):
        raise MediaError(
            f"{label} has samples of up to {peak:.6g}, but full scale is 1: divide them (16 bits by 32768) or "
            "give them as integers."
        )
    seconds = (first + len(waveform)) / rate + not_decoded
    seconds = (seconds if end is None else min(seconds, end)) - start
    if max_seconds is not None and seconds > max_seconds:
        notes.append(f"sound cut from {seconds:.1f} s to {max_seconds:.1f} s")
        end = start + max_seconds
    waveform = _resample_part(waveform, first, rate, sampling_rate, start, end)
    return Audio(np.ascontiguousarray(waveform), sampling_rate, tuple(notes))


def _resample_part(
    waveform: np.ndarray, first: int, rate: float, target: int, start: float, end: float | None
) -> np.ndarray:
    """Returns the samples from `start` to `end` at the rate `target`, as if all of a sound was resampled, of which
    `waveform` begins with sample `first` at `rate`."""
    if end is not None:
        # A margin lets the resampling filter see past the cut.
        waveform = waveform[: max(0, math.ceil((end + MARGIN_AFTER) * rate) - first)]
    if first:
        # From a sample on that falls on one of the resampled sound.
        step = int(rate) // math.gcd(int(rate), target)
        skipped = -first % step
        waveform, first = waveform[skipped:], (first + skipped) // step * (target // math.gcd(int(rate), target))
    resampled = resample(waveform, rate, target)
    begin = round(start * target) - first
    return resampled[begin : None if end is None else max(begin + 1, round(end * target) - first)]


def check_part(start: float, end: float | None) -> None:
    """Raises a `MediaError` unless a clip can have a part from `start` to `end`, in seconds."""
    for name, value in (("start", start), ("end", 0.0 if end is None else end)):
        if not isinstance(value, (int, float, np.number)) or isinstance(value, bool) or not 0 <= value < math.inf:
            raise MediaError(f"`{name}` must be a number of seconds, got {quoted(value)}.")
    if end is not None and end <= start:
        raise MediaError(f"A part that starts at {start:g} s can't end at {end:g} s.")


def load_video(
    source: Any,
    *,
    fps: float,
    max_frames: int,
    min_frames: int = 2,
    sampling: str = "rate",
    shrink: Shrink | None = None,
    start: float = 0.0,
    end: float | None = None,
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
        source (`str`, `os.PathLike`, `bytes`, file object, `dict`, decoded `datasets` column or [`OpenClip`]):
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
        start (`float`, *optional*, defaults to 0):
            Seconds after the first frame at which the part to load begins; all times are then counted from here. It
            begins with the frame that is on display then.
        end (`float`, *optional*):
            Seconds after the first frame at which the part ends, at the latest; `None` for the end of the video.
        name (`str`, *optional*):
            Name of the input in errors, e.g. `"row 7"`.

    Returns:
        [`Video`]

    Raises:
        MediaError: if the input is unreadable, empty, truncated, or has no video, or none from `start` on.
    """
    check_part(start, end)
    if not fps > 0:
        raise MediaError(f"fps must be positive, got {fps!r}.")
    if sampling not in SAMPLINGS:
        raise MediaError(f"sampling must be one of {', '.join(SAMPLINGS)}, got {quoted(sampling)}.")
    if not 1 <= min_frames <= max_frames:
        raise MediaError(f"Need 1 <= min_frames <= max_frames, got {min_frames!r} and {max_frames!r}.")
    clip = source if isinstance(source, OpenClip) else None
    source, label = (clip.source, clip.label) if clip is not None else unwrap(source, name)

    def plan(duration: float, shown_at: np.ndarray) -> Plan:
        """Plans the part of a video; `shown_at` are the times at which its frames appear."""
        if start >= duration:
            raise MediaError(f"{label} ends at {duration:.2f} s: it has no frames from {start:g} s on.")
        stop = duration if end is None else min(end, duration)
        if start > 0 or end is not None:
            shown_at = part_of(shown_at, start, stop)
        return plan_frames(stop - start, fps, max_frames, min_frames, shown_at if sampling == "span" else None)

    if isinstance(source, dict):
        if "frames" not in source:
            raise MediaError(f"{label} is a sound, not a video.")
        frames, rate = rgb_from_array(source["frames"], label), source.get("fps")
        if not isinstance(rate, (int, float, np.number)) or isinstance(rate, bool) or not rate > 0:
            raise MediaError(f'{label} needs a positive "fps" beside its "frames", got {quoted(rate)}.')
        planned = plan(len(frames) / rate, np.arange(len(frames)) / rate)
        shown = np.floor((start + planned.times + CLOCK_SLACK) * rate).astype(int)
        chosen = [frames[index] for index in np.minimum(shown, len(frames) - 1)]
        return Video(_stack_frames(chosen, shrink), planned.fps, planned.duration, planned.notes)
    if is_torchcodec(source, "VideoDecoder"):
        first, last = source.metadata.begin_stream_seconds, source.metadata.end_stream_seconds
        shown_at, step = np.zeros(0), 0.0
        if sampling == "span":
            step = (last - first) / source.metadata.num_frames
            shown_at = np.arange(source.metadata.num_frames) * step
        planned = plan(last - first, shown_at)
        # A frame asked for at the very time it appears may come out as the one before it.
        batch = source.get_frames_played_at(seconds=[float(first + start + time + step / 2) for time in planned.times])
        frames = rgb_from_array(np.asarray(batch.data), label)
        return Video(_stack_frames(list(frames), shrink), planned.fps, planned.duration, planned.notes)
    if is_torchcodec(source, "AudioDecoder"):
        raise MediaError(f"{label} is a decoded audio column, not a video.")
    with closing(FrameReader(source, label)) if clip is None else nullcontext(clip.frames) as reader:
        planned = plan(reader.timeline.duration, reader.timeline.shown_at)
        frames, notes = reader.read(start + planned.times, shrink)
    return Video(frames, planned.fps, planned.duration, planned.notes + reader.timeline.notes + notes)


def _stack_frames(frames: list[np.ndarray], shrink: Shrink | None) -> np.ndarray:
    return np.stack([frame if shrink is None else shrink(frame, len(frames)) for frame in frames])


def has_audio(source: Any, *, name: str | None = None) -> bool:
    """Returns whether `source` (as in [`load_audio`]) has sound.

    Raises:
        MediaError: if it cannot be read, or is a decoded video column, which gives no access to sound.
    """
    if isinstance(source, OpenClip):
        return source.has_sound
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
