# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Converts the sound track of a file, or an array, to a mono waveform.

PyAV decodes all containers and codecs but two, which libsndfile reads: FFmpeg guesses the frames of a bare FLAC file
from patterns that its samples may contain too, and swaps the bytes of a big-endian WAV.
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
    UNKNOWN_BYTES,
    Demuxer,
    MediaError,
    NamelessFile,
    check_decoder,
    describe_tracks,
    find_sound,
    find_video,
    name_channels,
    open_clip,
    open_file,
)


# FLAC's channel layouts, by number of channels.
_FLAC_LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")
# Bare streams, which anything may follow.
_WITHOUT_CONTAINER = ("mp3", "aac", "ac3", "eac3", "dts")
# Formats whose stamps are counted or made up: a jump in them is no hole.
_UNRELIABLE_STAMPS = (*_WITHOUT_CONTAINER, "avi")
# Shorter gaps are jitter of the stamps; what is longer than an hour is a wrong stamp.
_HOLE_SECONDS = 0.1
_LONGEST_HOLE_SECONDS = 3600.0
# Share of the channels' energy below which their mix is called cancelled: 20 dB.
_CANCELLED = 0.01
# Coefficients of FFmpeg's mix to one channel (ITU-R BS.775); 0 for all others, such as the subwoofer.
_GAINS = {"FC": 1.0}
_GAINS |= dict.fromkeys(("FL", "FR", "FLC", "FRC", "TFL", "TFR"), 0.5**0.5)
_GAINS |= dict.fromkeys(("BL", "BR", "BC", "SL", "SR"), 0.5)


def decode_sound(
    source: Any, label: str, max_seconds: float | None, notes: list[str]
) -> tuple[np.ndarray, int, float]:
    """Returns the mono waveform at its own rate, that rate, and the seconds that were not decoded."""
    with open_file(source, label) as (file, size):
        head = file.read(26)
        file.seek(0)
        if head[:4] == b"RIFX" or _is_flac_of_known_length(head):
            return *_decode_by_libsndfile(file, label, notes), 0.0
        links = _ogg_links(file, size, notes)
    if len(links) < 2:
        return _decode_track(source, label, max_seconds, notes)
    decoded = [_decode_track(link, label, max_seconds, notes) for link in links]
    rate = decoded[0][1]
    waveform = np.concatenate([resample(waveform, own, rate) for waveform, own, _ in decoded])
    return waveform, rate, sum(not_decoded for *_, not_decoded in decoded)


def _is_flac_of_known_length(head: bytes) -> bool:
    """Recognizes bare FLAC whose header holds a true number of samples, as one from a pipe does not."""
    numbers = int.from_bytes(head[18:26], "big")  # rate: 20 bits, channels - 1: 3, bits a sample - 1: 5, samples: 36
    channels, bits, samples = (numbers >> 41 & 7) + 1, (numbers >> 36 & 31) + 1, numbers & (1 << 36) - 1
    return head[:4] == b"fLaC" and 0 < samples * channels * bits / 8 <= UNKNOWN_BYTES


def _decode_by_libsndfile(file: Any, label: str, notes: list[str]) -> tuple[np.ndarray, int]:
    try:
        with soundfile.SoundFile(NamelessFile(file)) as sound:
            samples, declared, rate = sound.read(dtype="float32", always_2d=True), sound.frames, sound.samplerate
    except soundfile.SoundFileError as error:
        raise MediaError(f"{label} is damaged or truncated and cannot be decoded ({error}).") from error
    missing = (declared - len(samples)) / rate
    if missing > max(MISSING_SECONDS, MISSING_SHARE * declared / rate):
        raise MediaError(
            f"{label} is truncated: its header declares {declared / rate:.2f} s of audio, "
            f"{len(samples) / rate:.2f} s are there."
        )
    mix = _Mix(notes)
    waveform = mix.mono(samples.T, _FLAC_LAYOUTS[samples.shape[1] - 1] if sound.format == "FLAC" else None)
    mix.add_notes()
    return waveform, rate


def _ogg_links(file: Any, size: int, notes: list[str]) -> list[bytes]:
    """Splits a chained Ogg file, which FFmpeg refuses if its links differ; returns no parts if it is none."""
    starts, at, content, ended = [], 0, True, True
    while (page := file.read(27))[:4] == b"OggS":
        segments = file.read(page[26]) if len(page) == 27 else b""
        end = at + 27 + len(segments) + sum(segments)
        ended = end <= size and bool(page[5] & 4)
        if end > size:
            break
        begins = bool(page[5] & 2)
        if begins and content:
            starts.append(at)
        content, at = not begins, end
        file.seek(at)
    if not ended:
        notes.append("sound without its end mark: the file may have been cut off")
    if len(starts) < 2:
        return []
    file.seek(0)
    data = file.read()
    return [data[start:end] for start, end in itertools.pairwise([*starts, len(data)])]


def _decode_track(
    source: Any, label: str, max_seconds: float | None, notes: list[str]
) -> tuple[np.ndarray, int, float]:
    """Decodes one file as `decode_sound` does; what lies beyond `max_seconds` is only demuxed, for its length."""
    with open_clip(source, label) as container:
        tracks = container.streams.audio
        if not tracks:
            raise MediaError(f"{label} has no sound track ({describe_tracks(container)}).")
        if len(tracks) == 1:
            return _decode_stream(tracks[0], source, label, max_seconds, notes)
    index = find_sound(source, label)
    with open_clip(source, label) as container:
        if index is None:
            raise MediaError(f"{label} has sound tracks of zero length ({describe_tracks(container)}).")
        stream, tracks = container.streams[index], container.streams.audio
        notes.append(f"sound track {tracks.index(stream) + 1} of {len(tracks)} taken")
        return _decode_stream(stream, source, label, max_seconds, notes)


def _decode_stream(
    stream: av.AudioStream, source: Any, label: str, max_seconds: float | None, notes: list[str]
) -> tuple[np.ndarray, int, float]:
    check_decoder(stream, label)
    container = stream.container
    video, channels = find_video(container), name_channels(stream)
    demuxer, mix = Demuxer(container, stream), _Mix(notes)
    track = _Track(container.format.name not in _UNRELIABLE_STAMPS, max_seconds, label)
    reached, not_decoded, lost_seconds, pending_loss, tag_end = 0.0, 0.0, 0.0, 0.0, 0
    for packet in demuxer:
        if max_seconds is not None and track.length > max_seconds + 1.0:
            not_decoded = max(0.0, demuxer.end - reached)
            continue
        reached = demuxer.end
        if packet.pos is not None and packet.pos < tag_end:
            continue
        try:
            frames = packet.decode()
        except av.FFmpegError:
            # Around the frames of an MP3 there may be tags, zeros or another MP3.
            if container.format.name not in _WITHOUT_CONTAINER:
                raise
            head = bytes(packet)[:10]
            if head[:3] == b"ID3" and packet.pos is not None:
                tag_end = packet.pos + _tag_size(head)
            elif track.runs:
                pending_loss += float((packet.duration or 0) * packet.time_base)
            continue
        for frame in frames:
            if frame.samples:
                lost_seconds, pending_loss = lost_seconds + pending_loss, 0.0
                # PyAV loses a non-standard channel order: see `name_channels`.
                layout = frame.layout.name
                layout = channels if channels.startswith(f"{layout} (") else layout
                track.add(mix.mono(track.unpack(frame), layout), frame.sample_rate, frame.time)
    if not track.runs:
        raise MediaError(f"{label} has a sound track of zero length.")
    if lost_seconds > max(MISSING_SECONDS, MISSING_SHARE * track.length):
        raise MediaError(f"{label} is damaged: {lost_seconds:.2f} s of its sound cannot be decoded.")
    declared = 0.0
    if container.format.name == "mp3":
        declared = _mp3_frames(source, label) * stream.codec_context.frame_size / track.rate
    demuxer.check_complete(label, declared)
    mix.add_notes()
    notes += track.notes()
    waveform = track.waveform()
    if video is not None and video.start_time is not None and track.start is not None:
        offset = track.start - float(video.start_time * video.time_base)
        waveform = _shift(waveform, round(offset * track.rate))
        if offset > 0.1:
            notes.append(f"sound starts {offset:.1f} s after the picture, silence put before it")
        elif offset < -0.1:
            notes.append(f"sound starts {-offset:.1f} s before the picture, that part dropped")
    return waveform, track.rate, not_decoded


def _tag_size(head: bytes) -> int:
    return 10 + sum(byte << 7 * place for place, byte in enumerate(reversed(head[6:10])))


def _mp3_frames(source: Any, label: str) -> int:
    """Returns the number of frames in the Xing or Info header of an MP3; 0 without one."""
    with open_file(source, label) as (file, _):
        head = file.read(10)
        file.seek(_tag_size(head) if head[:3] == b"ID3" else 0)
        first = file.read(48)
    for mark in (b"Xing", b"Info"):
        _, found, header = first.partition(mark)
        if first[:1] == b"\xff" and found and header[3:4] and header[3] & 1:
            return int.from_bytes(header[4:8], "big")
    return 0


class _Track:
    """Puts each piece of a track's sound where its time stamp has it."""

    def __init__(self, stamped: bool, max_seconds: float | None, label: str):
        self.stamped, self.max_seconds, self.label = stamped, max_seconds, label
        self.runs: list[tuple[int, list[np.ndarray]]] = []  # a rate, and the pieces that have it
        self.start: float | None = None  # the stamp of the first sample
        self.length = self.holes = self.back = 0.0  # seconds
        self.packers: dict[tuple, av.AudioResampler] = {}

    @property
    def rate(self) -> int:
        return max(rate for rate, _ in self.runs)

    def unpack(self, frame: av.AudioFrame) -> np.ndarray:
        """Converts a frame to float `(channels, num_samples)`; PyAV fails at 64 bits and from eight planes on."""
        channels = frame.layout.nb_channels
        if channels > 2 or frame.format.bytes > 4:
            kind = frame.format.name, frame.layout.name, frame.sample_rate
            if kind not in self.packers:
                self.packers[kind] = av.AudioResampler("flt")
            [frame] = self.packers[kind].resample(frame)
        samples = frame.to_ndarray()
        return _full_scale(samples if frame.format.is_planar else samples.reshape(-1, channels).T)

    def add(self, samples: np.ndarray, rate: int, time: float | None) -> None:
        """Appends a piece, after silence if its time stamp is later."""
        if not self.runs or self.runs[-1][0] != rate:
            self.runs.append((rate, []))
        if time is not None:
            self.start = time - self.length if self.start is None else self.start
            late = time - self.start - self.length + self.back
            if self.stamped and late > _HOLE_SECONDS:
                if self.max_seconds is None and late > _LONGEST_HOLE_SECONDS:
                    raise MediaError(f"{self.label} has sound whose time stamps jump by {late:.0f} s: repair it.")
                late = late if self.max_seconds is None else min(late, self.max_seconds + 1.0)
                self.runs[-1][1].append(np.zeros(round(late * rate), np.float32))
                self.length, self.holes = self.length + late, self.holes + late
            elif self.stamped and late < -_HOLE_SECONDS:
                self.back -= late
        self.runs[-1][1].append(samples)
        self.length += len(samples) / rate

    def notes(self) -> list[str]:
        notes = []
        if self.holes:
            notes.append(f"sound has holes of {self.holes:.1f} s in all, filled with silence")
        if self.back:
            notes.append(f"time stamps of the sound go back by {self.back:.1f} s: what follows was put behind")
        return notes

    def waveform(self) -> np.ndarray:
        return np.concatenate([resample(np.concatenate(pieces), rate, self.rate) for rate, pieces in self.runs])


class _Mix:
    """Mixes channels down to one, and notes if they cancel each other."""

    def __init__(self, notes: list[str]):
        self.notes = notes
        self.channel_energy = self.mix_energy = 0.0
        self.averaged = 0

    def mono(self, samples: np.ndarray, layout: str | None) -> np.ndarray:
        """Averages two channels, as librosa does, and weights more by FFmpeg's coefficients if the layout is known."""
        gains = None if len(samples) < 3 or layout is None else _gains(layout)
        mixed = samples.mean(axis=0, dtype=np.float32) if gains is None else gains @ samples
        if len(samples) > 2 and gains is None:
            self.averaged = len(samples)
        if len(samples) > 1:
            self.channel_energy += float(np.square(samples, dtype=np.float64).sum()) / len(samples)
            self.mix_energy += float(np.square(mixed, dtype=np.float64).sum())
        return mixed

    def add_notes(self) -> None:
        if self.mix_energy < _CANCELLED * self.channel_energy:
            self.notes.append("the channels of the sound cancel each other: hardly anything is left of their mix")
        if self.averaged:
            self.notes.append(f"the {self.averaged} channels of the sound have no known layout: averaged")


@functools.cache
def _gains(layout: str) -> np.ndarray | None:
    gains = np.array([_GAINS.get(channel.name, 0.0) for channel in av.AudioLayout(layout).channels], np.float32)
    return gains if gains.any() else None


def _shift(waveform: np.ndarray, samples: int) -> np.ndarray:
    if samples <= 0:
        return waveform[-samples:]
    return np.concatenate([np.zeros(samples, waveform.dtype), waveform])


def mono_from_array(array: Any, label: str, notes: list[str]) -> np.ndarray:
    """Checks samples given as an array, and mixes them to a mono waveform."""
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
    mix.add_notes()
    return mono


def _full_scale(samples: np.ndarray) -> np.ndarray:
    if samples.dtype.kind == "f":
        return samples.astype(np.float32, copy=False)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    return samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)


def resample(waveform: np.ndarray, rate: float, target: int) -> np.ndarray:
    """Resamples with soxr's HQ, as long as `librosa.resample` makes it, like the processors of Qwen's models."""
    if rate == target:
        return waveform
    resampled = soxr.resample(waveform, rate, target, quality="HQ")
    length = math.ceil(len(waveform) * target / rate)
    return np.pad(resampled[:length], (0, max(0, length - len(resampled))))
