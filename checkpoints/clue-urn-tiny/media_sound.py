# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""From the sound track of a file, or an array, to a mono waveform.

PyAV decodes every container and codec but one: FFmpeg guesses the frames of a bare FLAC file from patterns that its
samples may hold too, and then refuses a sound file, so those are read by libsndfile.
"""

import functools
import itertools
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
    find_sound,
    find_video,
    opened,
    readable,
)


# The layouts of FLAC's channels, by their number.
_FLAC_LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")
# Bare streams, which anything may stand behind.
_WITHOUT_CONTAINER = ("mp3", "aac", "ac3", "eac3", "dts")
# Stamps jitter; what is longer is missing. What is too long is no hole but a wrong stamp.
_HOLE_SECONDS = 0.1
_LONGEST_HOLE_SECONDS = 3600.0
# Share of the channels' energy below which their mix is called cancelled: 20 dB.
_CANCELLED = 0.01


def is_flac(source: Any, label: str) -> bool:
    """Whether the file is bare FLAC that says how many samples it holds; one from a pipe does not."""
    with readable(source, label) as (file, _):
        head = file.read(26)
        file.seek(0)
    return head[:4] == b"fLaC" and int.from_bytes(head[21:], "big") & (1 << 36) - 1 != 0


def decode_flac(source: Any, label: str, notes: list[str]) -> tuple[np.ndarray, int]:
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
    mix = _Mix(notes)
    waveform = mix.mono(samples.T, _FLAC_LAYOUTS[samples.shape[1] - 1])
    mix.close()
    return waveform, rate


def decode_sound(
    source: Any, label: str, max_seconds: float | None, notes: list[str]
) -> tuple[np.ndarray, int, float]:
    """The mono waveform at its own rate, that rate, and the seconds that were not decoded."""
    links = _ogg_links(source, label)
    if len(links) < 2:
        return _decode_track(source, label, max_seconds, notes)
    decoded = [_decode_track(link, label, max_seconds, notes) for link in links]
    rate = decoded[0][1]
    waveform = np.concatenate([resample(waveform, own, rate) for waveform, own, _ in decoded])
    return waveform, rate, sum(not_decoded for *_, not_decoded in decoded)


def _ogg_links(source: Any, label: str) -> list[bytes]:
    """The files that an Ogg file is a chain of; FFmpeg refuses a chain whose links differ. Empty if it is not Ogg."""
    with readable(source, label) as (file, _):
        if file.read(4) != b"OggS":
            return []
        file.seek(0)
        data = file.read()
    starts, at, content = [], 0, True
    while data[at : at + 4] == b"OggS" and len(data) >= at + 27:
        begins = bool(data[at + 5] & 2)
        if begins and content:
            starts.append(at)
        content = not begins
        segments = data[at + 26]
        at += 27 + segments + sum(data[at + 27 : at + 27 + segments])
    return [data[start:end] for start, end in itertools.pairwise([*starts, len(data)])]


def _decode_track(
    source: Any, label: str, max_seconds: float | None, notes: list[str]
) -> tuple[np.ndarray, int, float]:
    """As `decode_sound`, of one file.

    Decoding stops shortly after `max_seconds`; the rest is only demuxed, to know how much is cut off.
    """
    index = find_sound(source, label)
    with opened(source, label) as container:
        if index is None:
            kind = "a sound track of zero length" if container.streams.audio else "no sound track"
            raise MediaError(f"{label} has {kind} ({describe_tracks(container)}).")
        stream = container.streams[index]
        check_decoder(stream, label)
        if len(container.streams.audio) > 1:
            place = [track.index for track in container.streams.audio].index(index) + 1
            notes.append(f"sound track {place} of {len(container.streams.audio)} taken")
        video = find_video(container)
        demuxer, mix = Demuxer(container, stream), _Mix(notes)
        pieces: list[np.ndarray] = []
        rate, first, decoded, reached, not_decoded = 0, None, 0, 0.0, 0.0
        due, holes, spoilt = None, 0.0, 0.0
        for packet in demuxer:
            if max_seconds is not None and rate and decoded > (max_seconds + 1.0) * rate:
                not_decoded = max(0.0, demuxer.end - reached)
                continue
            reached = demuxer.end
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                # Behind the last frame of an MP3 there may be tags, zeros or another MP3.
                if container.format.name not in _WITHOUT_CONTAINER:
                    raise
                spoilt += float((packet.duration or 0) * packet.time_base)
                continue
            for frame in frames:
                if frame.samples == 0:
                    continue
                if rate and frame.sample_rate != rate:
                    raise MediaError(
                        f"{label} changes its sampling rate from {rate} to {frame.sample_rate} Hz midway."
                    )
                rate = frame.sample_rate
                first = frame.time if first is None else first
                if frame.time is not None:
                    hole = 0.0 if due is None else frame.time - due
                    if hole > _HOLE_SECONDS and container.format.name != "avi":
                        if max_seconds is None and hole > _LONGEST_HOLE_SECONDS:
                            raise MediaError(f"{label} has sound whose time stamps jump by {hole:.0f} s: repair it.")
                        hole = hole if max_seconds is None else min(hole, max_seconds + 1.0)
                        pieces.append(np.zeros(round(hole * rate), np.float32))
                        decoded, holes = decoded + len(pieces[-1]), holes + hole
                    due = frame.time + frame.samples / rate
                samples = frame.to_ndarray()
                if not frame.format.is_planar:
                    samples = samples.reshape(-1, frame.layout.nb_channels).T
                pieces.append(mix.mono(_full_scale(samples), frame.layout.name))
                decoded += frame.samples
        if not pieces:
            raise MediaError(f"{label} has a sound track of zero length.")
        if spoilt > max(MISSING_SECONDS, MISSING_SHARE * decoded / rate):
            raise MediaError(f"{label} is damaged: {spoilt:.2f} s of its sound cannot be decoded.")
        demuxer.check_complete(label)
        mix.close()
        if holes:
            notes.append(f"sound has holes of {holes:.1f} s in all, filled with silence")
        waveform = np.concatenate(pieces)
        if video is not None and video.start_time is not None and first is not None:
            offset = first - float(video.start_time * video.time_base)
            waveform = _shift(waveform, round(offset * rate))
            if offset > 0.1:
                notes.append(f"sound starts {offset:.1f} s after the picture, silence put before it")
            elif offset < -0.1:
                notes.append(f"sound starts {-offset:.1f} s before the picture, that part dropped")
    return waveform, rate, not_decoded


class _Mix:
    """Mixes channels down to one, and notes where they cancel each other."""

    def __init__(self, notes: list[str]):
        self.notes = notes
        self.of_channels = self.of_mix = 0.0  # energies

    def mono(self, samples: np.ndarray, layout: str | None) -> np.ndarray:
        """Returns the mix of float samples of shape `(channels, num_samples)`.

        Two channels are averaged, as by librosa and the processors of Qwen's models; more are weighted by FFmpeg's
        coefficients for their layout (ITU-R BS.775: no subwoofer), and averaged where it is not known.
        """
        gains = None if len(samples) < 3 or layout is None else _gains(layout)
        mixed = samples.mean(axis=0, dtype=np.float32) if gains is None else gains @ samples
        if len(samples) > 1:
            self.of_channels += float(np.square(samples, dtype=np.float64).sum()) / len(samples)
            self.of_mix += float(np.square(mixed, dtype=np.float64).sum())
        return mixed

    def close(self) -> None:
        """Adds the note, once all has been mixed."""
        if self.of_mix < _CANCELLED * self.of_channels:
            self.notes.append("the channels of the sound cancel each other: hardly anything is left of their mix")


@functools.cache
def _gains(layout: str) -> np.ndarray | None:
    """What FFmpeg multiplies each channel with to mix them down; None if it does not know the layout."""
    if layout.endswith("channels"):
        return None
    channels = av.AudioLayout(layout).nb_channels
    frame = av.AudioFrame.from_ndarray(np.eye(channels, dtype=np.float32).reshape(1, -1), format="flt", layout=layout)
    frame.sample_rate = 16000
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=16000)
    mixed = resampler.resample(frame) + resampler.resample(None)
    return np.concatenate([piece.to_ndarray()[0] for piece in mixed])


def _shift(waveform: np.ndarray, samples: int) -> np.ndarray:
    if samples <= 0:
        return waveform[-samples:]
    return np.concatenate([np.zeros(samples, waveform.dtype), waveform])


def mono_from_array(array: Any, label: str, notes: list[str]) -> np.ndarray:
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
    if samples.ndim == 1:
        return samples
    mix = _Mix(notes)
    mono = mix.mono(samples if samples.shape[0] <= samples.shape[1] else samples.T, None)
    mix.close()
    return mono


def _full_scale(samples: np.ndarray) -> np.ndarray:
    """Float32 with full scale 1, from the sample formats of PCM."""
    if samples.dtype.kind == "f":
        return samples.astype(np.float32, copy=False)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    return samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)


def resample(waveform: np.ndarray, rate: float, target: int) -> np.ndarray:
    """Returns the waveform at the rate `target`, resampled by soxr's HQ and as long as `librosa.resample` makes it.

    The processors of Qwen's models take their sound so.
    """
    if rate == target:
        return waveform
    resampled = soxr.resample(waveform, rate, target, quality="HQ")
    length = math.ceil(len(waveform) * target / rate)
    return np.pad(resampled[:length], (0, max(0, length - len(resampled))))
