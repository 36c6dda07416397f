# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""From the sound track of a file, or an array, to a mono waveform.

PyAV decodes every container and codec but one: FFmpeg guesses the frames of a bare FLAC file from patterns that its
samples may hold too, and then refuses a sound file, so those are read by libsndfile.
"""

import math
from typing import Any

import av
import numpy as np
import soundfile
import soxr

from .media_container import (
    MISSING_SECONDS,
    MISSING_SHARE,
    Demuxer,
    MediaError,
    check_decoder,
    describe_tracks,
    find_video,
    opened,
    readable,
)


def is_flac(source: Any, label: str) -> bool:
    """Whether the file is bare FLAC."""
    with readable(source, label) as (file, _):
        is_flac = file.read(4) == b"fLaC"
        file.seek(0)
    return is_flac


def decode_flac(source: Any, label: str) -> tuple[np.ndarray, int]:
    """The mono waveform of a bare FLAC file, and its rate."""
    with readable(source, label) as (file, _):
        try:
            with soundfile.SoundFile(file) as flac:
                samples, declared, rate = flac.read(dtype="float32", always_2d=True), flac.frames, flac.samplerate
        except soundfile.SoundFileError as error:
            raise MediaError(f"{label} is damaged or truncated and cannot be decoded ({error}).") from error
    missing = (declared - len(samples)) / rate
    if missing > max(MISSING_SECONDS, MISSING_SHARE * declared / rate):
        raise MediaError(
            f"{label} is truncated: its header declares {declared / rate:.2f} s of audio, "
            f"{len(samples) / rate:.2f} s are there."
        )
    return samples.mean(axis=1, dtype=np.float32), rate


def decode_sound(
    source: Any, label: str, max_seconds: float | None, notes: list[str]
) -> tuple[np.ndarray, int, float]:
    """The mono waveform at its own rate, that rate, and the seconds that were not decoded.

    Decoding stops shortly after `max_seconds`; the rest is only demuxed, to know how much is cut off.
    """
    with opened(source, label) as container:
        stream = container.streams.best("audio")
        if stream is None:
            raise MediaError(f"{label} has no sound track ({describe_tracks(container)}).")
        check_decoder(stream, label)
        video = find_video(container)
        demuxer = Demuxer(container, stream)
        pieces: list[np.ndarray] = []
        rate, first, decoded, reached, not_decoded = 0, None, 0, 0.0, 0.0
        for packet in demuxer:
            if max_seconds is not None and rate and decoded > (max_seconds + 1.0) * rate:
                not_decoded = max(0.0, demuxer.end - reached)
                continue
            reached = demuxer.end
            for frame in packet.decode():
                if frame.samples == 0:
                    continue
                if rate and frame.sample_rate != rate:
                    raise MediaError(
                        f"{label} changes its sampling rate from {rate} to {frame.sample_rate} Hz midway."
                    )
                rate = frame.sample_rate
                first = frame.time if first is None else first
                pieces.append(_mono_from_frame(frame))
                decoded += frame.samples
        if not pieces:
            raise MediaError(f"{label} has a sound track of zero length.")
        demuxer.check_complete(label)
        waveform = np.concatenate(pieces)
        if video is not None and video.start_time is not None and first is not None:
            offset = first - float(video.start_time * video.time_base)
            waveform = _shift(waveform, round(offset * rate))
            if offset > 0.1:
                notes.append(f"sound starts {offset:.1f} s after the picture, silence put before it")
            elif offset < -0.1:
                notes.append(f"sound starts {-offset:.1f} s before the picture, that part dropped")
    return waveform, rate, not_decoded


def _shift(waveform: np.ndarray, samples: int) -> np.ndarray:
    if samples <= 0:
        return waveform[-samples:]
    return np.concatenate([np.zeros(samples, waveform.dtype), waveform])


def _mono_from_frame(frame: av.AudioFrame) -> np.ndarray:
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    return _full_scale(samples).mean(axis=0, dtype=np.float32)


def mono_from_array(array: Any, label: str) -> np.ndarray:
    """Returns the mono waveform of samples given as an array."""
    samples = np.asarray(array)
    if samples.ndim not in (1, 2) or samples.size == 0:
        raise MediaError(f"{label} must be a non-empty array of one or two dimensions, got shape {samples.shape}.")
    if samples.dtype.kind != "f" and samples.dtype not in (np.int8, np.int16, np.int32, np.uint8):
        raise MediaError(
            f"{label} has samples of type {samples.dtype}, whose full scale is unknown: give float in [-1, 1], or "
            "int8, int16, int32 or uint8."
        )
    samples = _full_scale(samples)
    if samples.ndim == 2:
        samples = samples.mean(axis=int(np.argmin(samples.shape)), dtype=np.float32)
    return samples


def _full_scale(samples: np.ndarray) -> np.ndarray:
    """Float32 with full scale 1, from the sample formats of PCM."""
    if samples.dtype.kind == "f":
        return samples.astype(np.float32, copy=False)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    return samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)


def resample(waveform: np.ndarray, rate: float, target: int) -> np.ndarray:
    """Returns the waveform at the rate `target`, resampled by soxr's HQ and as long as `librosa.resample` makes it.

    That is what the processors of Qwen's models were trained with; another filter moves a probability by up to 3e-3.
    """
    if rate == target:
        return waveform
    resampled = soxr.resample(waveform, rate, target, quality="HQ")
    length = math.ceil(len(waveform) * target / rate)
    return np.pad(resampled[:length], (0, max(0, length - len(resampled))))
