# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Converts the sound track of a file, or an array, to a mono waveform.

PyAV decodes all containers and codecs but two, which libsndfile reads: FFmpeg guesses the frames of a bare FLAC file
from patterns that its samples may contain too, and swaps the bytes of a big-endian WAV.
"""

import functools
import itertools
import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
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
# A part of a sound is read with as much before it, since resampling starts on whole seconds' fractions of both rates,
# and as much behind it: the filter sees past its ends.
_MARGIN_BEFORE = 1.25
MARGIN_AFTER = 0.1
# Coefficients of FFmpeg's mix to one channel (ITU-R BS.775); 0 for all others, such as the subwoofer.
_GAINS = {"FC": 1.0}
_GAINS |= dict.fromkeys(("FL", "FR", "FLC", "FRC", "TFL", "TFR"), 0.5**0.5)
_GAINS |= dict.fromkeys(("BL", "BR", "BC", "SL", "SR"), 0.5)


# Mono samples and their rate, one piece after the other; at the end, the seconds that were not decoded.
Pieces = Generator[tuple[np.ndarray, int], None, float]


@dataclass
class _Run:
    """Holds pieces of one rate that follow each other."""

    rate: int
    start: float  # seconds
    first: int = 0  # the number, in the run, of the first sample that is kept
    pieces: list[np.ndarray] = field(default_factory=list)
    length: int = 0  # samples from the beginning of the run

    def drop_before(self, seconds: float) -> None:
        while self.pieces and self.start + (self.first + len(self.pieces[0])) / self.rate <= seconds:
            self.first += len(self.pieces.pop(0))


class SoundReader:
    """Reads the sound of a file as a mono waveform, from its beginning on, and keeps no more than the last part read.

    Parts that are read in the order of their times are decoded once.

    Args:
        source (`str`, `bytes` or file object): the file.
        label (`str`): its name in errors.
        max_seconds (`float`, *optional*): what lies beyond is only demuxed, for its length.
    """

    def __init__(self, source: Any, label: str, max_seconds: float | None = None):
        self.source, self.label, self.max_seconds = source, label, max_seconds
        self._begin()

    def _begin(self) -> None:
        self.findings = Findings()
        self.ended = False
        self.not_decoded = 0.0  # seconds
        self._pieces = _file_pieces(self.source, self.label, self.max_seconds, self.findings)
        self._runs: list[_Run] = []
        self._dropped = 0.0  # what lies before is no longer kept

    @property
    def length(self) -> float:
        """Returns how many seconds have been read; all of them once the sound has `ended`."""
        return self._runs[-1].start + self._runs[-1].length / self._runs[-1].rate if self._runs else 0.0

    def reaches(self, seconds: float) -> bool:
        """Reads on until there is sound beyond `seconds`, and returns whether there is.

        Raises:
            MediaError: if the sound is damaged or truncated.
        """
        while self.length <= seconds and not self.ended:
            try:
                samples, rate = next(self._pieces)
            except StopIteration as end:
                self.ended, self.not_decoded = True, end.value
                break
            if not self._runs or self._runs[-1].rate != rate:
                self._runs.append(_Run(rate, self.length))
            self._runs[-1].pieces.append(samples)
            self._runs[-1].length += len(samples)
        return self.length > seconds

    def read(self, start: float = 0.0, end: float = math.inf) -> tuple[np.ndarray, int, int, list[str]]:
        """Returns the waveform from a little before `start` to a little after `end`, so that it can be resampled as
        if it was whole; its rate; the number of its first sample; and notes.

        Raises:
            MediaError: if the sound is damaged or truncated; where it is read to its end, also if that shows there.
        """
        before = max(0.0, start - _MARGIN_BEFORE)
        if before < self._dropped:
            self._begin()
        while self.length < before and self.reaches(self.length):
            self._drop_before(before)
            self.findings.forget_part()
        self.reaches(end + MARGIN_AFTER)
        self._drop_before(before)
        runs = [run for run in self._runs if run.pieces]
        if not runs:
            return np.zeros(0, np.float32), self._runs[-1].rate if self._runs else 1, 0, self.findings.take()
        rate = max(run.rate for run in runs)
        waveform = np.concatenate([resample(np.concatenate(run.pieces), run.rate, rate) for run in runs])
        return waveform, rate, round(runs[0].start * rate) + runs[0].first * rate // runs[0].rate, self.findings.take()

    def _drop_before(self, seconds: float) -> None:
        self._dropped = max(self._dropped, seconds)
        for run in self._runs:
            run.drop_before(seconds)

    def close(self) -> None:
        """Closes the file."""
        self._pieces.close()


def _file_pieces(source: Any, label: str, max_seconds: float | None, findings: "Findings") -> Pieces:
    """Yields the mono waveform at its own rate."""
    with open_file(source, label) as (file, size):
        head = file.read(26)
        file.seek(0)
        if head[:4] == b"RIFX" or _is_flac_of_known_length(head):
            yield from _pieces_by_libsndfile(file, label, findings)
            return 0.0
        links = _ogg_links(file, size, findings.notes)
    not_decoded = 0.0
    for link in links if len(links) > 1 else [source]:
        not_decoded += yield from _track_pieces(link, label, max_seconds, findings)
    return not_decoded


def _is_flac_of_known_length(head: bytes) -> bool:
    """Recognizes bare FLAC whose header holds a true number of samples, as one from a pipe does not."""
    numbers = int.from_bytes(head[18:26], "big")  # rate: 20 bits, channels - 1: 3, bits a sample - 1: 5, samples: 36
    channels, bits, samples = (numbers >> 41 & 7) + 1, (numbers >> 36 & 31) + 1, numbers & (1 << 36) - 1
    return head[:4] == b"fLaC" and 0 < samples * channels * bits / 8 <= UNKNOWN_BYTES


def _pieces_by_libsndfile(file: Any, label: str, findings: "Findings") -> Iterator[tuple[np.ndarray, int]]:
    found = 0
    try:
        with soundfile.SoundFile(NamelessFile(file)) as sound:
            declared, rate, is_flac = sound.frames, sound.samplerate, sound.format == "FLAC"
            while len(samples := sound.read(rate, dtype="float32", always_2d=True)):
                found += len(samples)
                layout = _FLAC_LAYOUTS[samples.shape[1] - 1] if is_flac else None
                yield mix_down(samples.T, layout, findings), rate
    except soundfile.SoundFileError as error:
        raise MediaError(f"{label} is damaged or truncated and cannot be decoded ({error}).") from error
    missing = (declared - found) / rate
    if missing > max(MISSING_SECONDS, MISSING_SHARE * declared / rate):
        raise MediaError(
            f"{label} is truncated: its header declares {declared / rate:.2f} s of audio, "
            f"{found / rate:.2f} s are there."
        )


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


def _track_pieces(source: Any, label: str, max_seconds: float | None, findings: "Findings") -> Pieces:
    """Yields the sound of one file as `_file_pieces` does."""
    with open_clip(source, label) as container:
        tracks = container.streams.audio
        if not tracks:
            raise MediaError(f"{label} has no sound track ({describe_tracks(container)}).")
        if len(tracks) == 1:
            return (yield from _stream_pieces(tracks[0], source, label, max_seconds, findings))
    index = find_sound(source, label)
    with open_clip(source, label) as container:
        if index is None:
            raise MediaError(f"{label} has sound tracks of zero length ({describe_tracks(container)}).")
        stream, tracks = container.streams[index], container.streams.audio
        findings.notes.append(f"sound track {tracks.index(stream) + 1} of {len(tracks)} taken")
        return (yield from _stream_pieces(stream, source, label, max_seconds, findings))


def _stream_pieces(
    stream: av.AudioStream, source: Any, label: str, max_seconds: float | None, findings: "Findings"
) -> Pieces:
    check_decoder(stream, label)
    container = stream.container
    video, channels = find_video(container), name_channels(stream)
    demuxer = Demuxer(container, stream)
    track = _Track(container.format.name not in _UNRELIABLE_STAMPS, max_seconds, label, findings)
    alignment = None
    if video is not None and video.start_time is not None:
        alignment = _Alignment(float(video.start_time * video.time_base), findings)
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
            elif track.rate:
                pending_loss += float((packet.duration or 0) * packet.time_base)
            continue
        for frame in frames:
            if frame.samples:
                lost_seconds, pending_loss = lost_seconds + pending_loss, 0.0
                # PyAV loses a non-standard channel order: see `name_channels`.
                layout = frame.layout.name
                layout = channels if channels.startswith(f"{layout} (") else layout
                mono = mix_down(track.unpack(frame), layout, findings)
                pieces = track.place(mono, frame.sample_rate, frame.time)
                yield from pieces if alignment is None else alignment.align(pieces, track)
    if not track.rate:
        raise MediaError(f"{label} has a sound track of zero length.")
    if lost_seconds > max(MISSING_SECONDS, MISSING_SHARE * track.length):
        raise MediaError(f"{label} is damaged: {lost_seconds:.2f} s of its sound cannot be decoded.")
    declared = 0.0
    if container.format.name == "mp3":
        declared = _mp3_frames(source, label) * stream.codec_context.frame_size / track.rate
    demuxer.check_complete(label, declared)
    if alignment is not None:
        yield from alignment.waiting
    return not_decoded


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


@dataclass
class Findings:
    """Collects what is to be said about the part of a sound that has been read."""

    notes: list[str] = field(default_factory=list)
    channel_energy: float = 0.0
    mix_energy: float = 0.0
    averaged: int = 0  # channels
    holes: float = 0.0  # seconds
    back: float = 0.0  # seconds

    def take(self) -> list[str]:
        """Returns the notes, and forgets them."""
        notes = []
        if self.mix_energy < _CANCELLED * self.channel_energy:
            notes.append("the channels of the sound cancel each other: hardly anything is left of their mix")
        if self.averaged:
            notes.append(f"the {self.averaged} channels of the sound have no known layout: averaged")
        if self.holes:
            notes.append(f"sound has holes of {self.holes:.1f} s in all, filled with silence")
        if self.back:
            notes.append(f"time stamps of the sound go back by {self.back:.1f} s: what follows was put behind")
        notes = self.notes + notes
        self.notes, self.averaged = [], 0
        self.channel_energy = self.mix_energy = self.holes = self.back = 0.0
        return notes

    def forget_part(self) -> None:
        """Forgets what is not about the file as a whole."""
        notes = self.notes
        self.take()
        self.notes = notes


class _Alignment:
    """Lets the sound of a video begin with its first frame."""

    def __init__(self, picture_start: float, findings: Findings):
        self.picture_start, self.findings = picture_start, findings
        self.waiting: list[tuple[np.ndarray, int]] = []  # until a time stamp says when they are heard
        self.to_drop: int | None = None  # samples

    def align(self, pieces: Iterator[tuple[np.ndarray, int]], track: "_Track") -> Iterator[tuple[np.ndarray, int]]:
        """Yields pieces of the track after silence, or without what comes before the picture."""
        for piece in pieces:
            self.waiting.append(piece)
            if track.start is None:
                continue
            if self.to_drop is None:
                yield from self._begin(track.start - self.picture_start, piece[1])
            for samples, rate in self.waiting:
                dropped = min(self.to_drop, len(samples))
                self.to_drop -= dropped
                if dropped < len(samples):
                    yield samples[dropped:], rate
            self.waiting = []

    def _begin(self, offset: float, rate: int) -> Iterator[tuple[np.ndarray, int]]:
        if offset > 0.1:
            self.findings.notes.append(f"sound starts {offset:.1f} s after the picture, silence put before it")
        elif offset < -0.1:
            self.findings.notes.append(f"sound starts {-offset:.1f} s before the picture, that part dropped")
        samples = round(offset * rate)
        self.to_drop = max(0, -samples)
        yield from _silence(samples, rate)


def _silence(samples: int, rate: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yields silence in pieces of a second at most: a hole may last an hour."""
    for start in range(0, samples, rate):
        yield np.zeros(min(rate, samples - start), np.float32), rate


class _Track:
    """Puts each piece of a track's sound where its time stamp has it."""

    def __init__(self, stamped: bool, max_seconds: float | None, label: str, findings: Findings):
        self.stamped, self.max_seconds, self.label, self.findings = stamped, max_seconds, label, findings
        self.rate = 0  # the highest so far
        self.start: float | None = None  # the stamp of the first sample
        self.length = self.back = 0.0  # seconds
        self.packers: dict[tuple, av.AudioResampler] = {}

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

    def place(self, samples: np.ndarray, rate: int, time: float | None) -> Iterator[tuple[np.ndarray, int]]:
        """Yields a piece, after silence if its time stamp is later."""
        self.rate = max(self.rate, rate)
        if time is not None:
            self.start = time - self.length if self.start is None else self.start
            late = time - self.start - self.length + self.back
            if self.stamped and late > _HOLE_SECONDS:
                if self.max_seconds is None and late > _LONGEST_HOLE_SECONDS:
                    raise MediaError(f"{self.label} has sound whose time stamps jump by {late:.0f} s: repair it.")
                late = late if self.max_seconds is None else min(late, self.max_seconds + 1.0)
                yield from _silence(round(late * rate), rate)
                self.length, self.findings.holes = self.length + late, self.findings.holes + late
            elif self.stamped and late < -_HOLE_SECONDS:
                self.back, self.findings.back = self.back - late, self.findings.back - late
        self.length += len(samples) / rate
        yield samples, rate


def mix_down(samples: np.ndarray, layout: str | None, findings: Findings) -> np.ndarray:
    """Mixes channels `(channels, num_samples)` down to one.

    Averages two channels, as librosa does, and weights more by FFmpeg's coefficients if the layout is known.
    """
    gains = None if len(samples) < 3 or layout is None else _gains(layout)
    mixed = samples.mean(axis=0, dtype=np.float32) if gains is None else gains @ samples
    if len(samples) > 2 and gains is None:
        findings.averaged = len(samples)
    if len(samples) > 1:
        findings.channel_energy += float(np.square(samples, dtype=np.float64).sum()) / len(samples)
        findings.mix_energy += float(np.square(mixed, dtype=np.float64).sum())
    return mixed


@functools.cache
def _gains(layout: str) -> np.ndarray | None:
    gains = np.array([_GAINS.get(channel.name, 0.0) for channel in av.AudioLayout(layout).channels], np.float32)
    return gains if gains.any() else None


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
    findings = Findings()
    mono = mix_down(samples if samples.shape[0] <= samples.shape[1] else samples.T, None, findings)
    notes += findings.take()
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
