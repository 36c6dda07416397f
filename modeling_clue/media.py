# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Sound and video as a person has them -> a 16 kHz waveform, or frames and the rate they truly have.

PyAV decodes every container and codec but one: FFmpeg guesses the frames of a bare FLAC file from patterns that its
samples may hold too, and then refuses a sound file, so those are read by libsndfile. Files are opened by Python and
handed to FFmpeg as bytes, and only formats that hold their own data are accepted: no name is ever interpreted as a
protocol, and no playlist can make FFmpeg open a second file.
"""

import contextlib
import io
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import av
import numpy as np
import soundfile


# Demuxers that read one self-contained file. Playlists (hls, concat, dash, sdp), image sequences and devices are left
# out on purpose: they name other files.
_FORMATS = (
    "wav,w64,flac,ogg,mp3,aac,aiff,caf,amr,au,ac3,eac3,dts,wv,tta,ape,"
    "mov,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,asf,gif,ivf,dv,nut"
)
# Formats whose header says how long the tracks are. The others (MP3, ADTS, MPEG-PS and -TS, Ogg) have their length
# estimated from the very bytes that are there, so that a missing end cannot be seen in it.
_DECLARING_FORMATS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flac", "avi", "asf"})
# A file is called truncated when more than this much of a track's declared length is missing: headers round, and the
# last packet's length is often unknown.
_MISSING_SECONDS = 0.25
_MISSING_SHARE = 0.05
# What an MP4 file is a sequence of.
_MP4_BOXES = frozenset(b"ftyp styp sidx moov moof mdat mfra free skip wide uuid meta udta pdin".split())
# Containers round time stamps (Matroska to milliseconds): a frame is on display at t if it starts by t + this.
_CLOCK_SLACK = 1e-3
# Below this many pixels a frame decodes faster than threads hand it over.
_THREADED_PIXELS = 640 * 360
_RESAMPLER_CHUNK = 1 << 20

# How frames are chosen: see `load_video`.
SAMPLINGS = ("rate", "span")


class MediaError(ValueError):
    """A sound or video input cannot be used. The message names the input and what to do."""


@dataclass(frozen=True)
class Audio:
    """A mono sound.

    Args:
        waveform (`np.ndarray` of shape `(num_samples,)`):
            Float32 samples, full scale is 1.
        sampling_rate (`int`):
            Samples per second of `waveform`.
        notes (`tuple[str, ...]`, *optional*):
            What was changed on the way and is lost to the model, in words.
    """

    waveform: np.ndarray
    sampling_rate: int
    notes: tuple[str, ...] = field(default=())

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.waveform) / self.sampling_rate


@dataclass(frozen=True)
class Video:
    """Frames sampled evenly in time.

    Args:
        frames (`np.ndarray` of shape `(num_frames, height, width, 3)`):
            RGB frames, uint8. Frame `k` was on display `k / fps` seconds after the first.
        fps (`float`):
            The true rate of `frames`, which is not the requested one for a thinned or a very short video.
        duration (`float`):
            Length of the whole video in seconds.
        notes (`tuple[str, ...]`, *optional*):
            What was changed on the way and is lost to the model, in words.
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
            What to call the input in errors, e.g. `"row 7"`.

    Returns:
        [`Audio`]

    Raises:
        MediaError: if the input is unreadable, empty, truncated, not finite, or has no sound.
    """
    if max_seconds is not None and not max_seconds > 0:
        raise MediaError(f"max_seconds must be positive, got {max_seconds!r}.")
    source, label = _unwrap(source, name)
    notes: list[str] = []
    not_decoded = 0.0
    if isinstance(source, dict):
        if "array" not in source:
            raise MediaError(f"{label} holds frames without sound. Give the sound beside them, under `audio`.")
        waveform, rate = _mono_from_array(source["array"], label), source.get("sampling_rate")
    elif _is_torchcodec(source, "AudioDecoder"):
        samples = source.get_all_samples()
        waveform, rate = _mono_from_array(np.asarray(samples.data), label), samples.sample_rate
    elif _is_torchcodec(source, "VideoDecoder"):
        raise MediaError(
            f"{label} is a decoded video column, which has no access to the sound. Cast the column with "
            "`Video(decode=False)` and pass the row as it is."
        )
    elif _is_flac(source, label):
        waveform, rate = _decode_flac(source, label)
    else:
        waveform, rate, not_decoded = _decode_sound(source, label, max_seconds, notes)
    if not isinstance(rate, (int, float, np.number)) or isinstance(rate, bool) or not rate > 0:
        raise MediaError(f'{label} needs a positive "sampling_rate" beside its "array", got {rate!r}.')
    if len(waveform) == 0:
        raise MediaError(f"{label} holds a sound of zero length.")
    if not np.isfinite(waveform).all():
        raise MediaError(f"{label} holds samples that are not finite numbers.")
    seconds = len(waveform) / rate + not_decoded
    if max_seconds is not None and seconds > max_seconds:
        # A margin of a tenth of a second lets the resampling filter see past the cut.
        waveform = waveform[: math.ceil((max_seconds + 0.1) * rate)]
        notes.append(f"sound cut from {seconds:.1f} s to {max_seconds:.1f} s")
    waveform = _resample(waveform, int(rate), sampling_rate)
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
        name (`str`, *optional*):
            What to call the input in errors, e.g. `"row 7"`.

    Returns:
        [`Video`]

    Raises:
        MediaError: if the input is unreadable, empty, truncated, or has no video.
    """
    if not fps > 0:
        raise MediaError(f"fps must be positive, got {fps!r}.")
    if sampling not in SAMPLINGS:
        raise MediaError(f"sampling must be one of {', '.join(SAMPLINGS)}, got {sampling!r}.")
    if not 1 <= min_frames <= max_frames:
        raise MediaError(f"Need 1 <= min_frames <= max_frames, got {min_frames!r} and {max_frames!r}.")
    source, label = _unwrap(source, name)
    if isinstance(source, dict):
        if "frames" not in source:
            raise MediaError(f"{label} is a sound, not a video.")
        frames, rate = _rgb_from_array(source["frames"], label), source.get("fps")
        if not isinstance(rate, (int, float, np.number)) or isinstance(rate, bool) or not rate > 0:
            raise MediaError(f'{label} needs a positive "fps" beside its "frames", got {rate!r}.')
        shown_at = np.arange(len(frames)) / rate if sampling == "span" else None
        plan = _plan(len(frames) / rate, fps, max_frames, min_frames, shown_at)
        shown = np.floor((plan.times + _CLOCK_SLACK) * rate).astype(int)
        return Video(frames[np.minimum(shown, len(frames) - 1)], plan.fps, plan.duration, plan.notes)
    if _is_torchcodec(source, "VideoDecoder"):
        start, end = source.metadata.begin_stream_seconds, source.metadata.end_stream_seconds
        shown_at = None
        if sampling == "span":
            shown_at = np.arange(source.metadata.num_frames) * (end - start) / source.metadata.num_frames
        plan = _plan(end - start, fps, max_frames, min_frames, shown_at)
        # A frame asked for at the very time it appears may come out as the one before it.
        times = plan.times + (0 if shown_at is None else (end - start) / source.metadata.num_frames / 2)
        batch = source.get_frames_played_at(seconds=[start + float(time) for time in times])
        return Video(_rgb_from_array(np.asarray(batch.data), label), plan.fps, plan.duration, plan.notes)
    if _is_torchcodec(source, "AudioDecoder"):
        raise MediaError(f"{label} is a decoded audio column, not a video.")
    with _opened(source, label) as container:
        timeline = _read_timeline(container, _video_stream(container, label), label)
    shown_at = timeline.shown_at if sampling == "span" else None
    plan = _plan(timeline.duration, fps, max_frames, min_frames, shown_at)
    with _opened(source, label) as container:
        frames = _decode_frames(container, _video_stream(container, label), timeline, plan.times, label)
    return Video(frames, plan.fps, plan.duration, plan.notes)


def has_audio(source: Any, *, name: str | None = None) -> bool:
    """Whether `source` (as in [`load_audio`]) has sound.

    Raises:
        MediaError: if it cannot be read, or is a decoded video column, which does not tell.
    """
    source, label = _unwrap(source, name)
    if isinstance(source, dict):
        return "array" in source
    if _is_torchcodec(source, "AudioDecoder"):
        return True
    if _is_torchcodec(source, "VideoDecoder"):
        raise MediaError(
            f"{label} is a decoded video column, which does not tell of sound: use `Video(decode=False)`."
        )
    with _opened(source, label) as container:
        return container.streams.best("audio") is not None


def probe_modality(source: Any, *, name: str | None = None) -> str:
    """`"video"` if `source` (as in [`load_audio`]) has moving pictures, else `"audio"`.

    Judged by content, not by name. The cover picture of a song is no video.

    Raises:
        MediaError: if it cannot be read or is neither.
    """
    source, label = _unwrap(source, name)
    if isinstance(source, dict):
        return "video" if "frames" in source else "audio"
    if _is_torchcodec(source, "VideoDecoder") or _is_torchcodec(source, "AudioDecoder"):
        return "video" if _is_torchcodec(source, "VideoDecoder") else "audio"
    with _opened(source, label) as container:
        if _find_video(container) is not None:
            return "video"
        if container.streams.best("audio") is not None:
            return "audio"
    raise MediaError(f"{label} holds neither sound nor video.")


# --- what the caller gave -------------------------------------------------------------------------


@runtime_checkable
class _BinaryFile(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...

    def seek(self, offset: int, whence: int = 0, /) -> int: ...

    def tell(self) -> int: ...


class _Nameless:
    """A file without its name: FFmpeg then judges the content alone, and cannot resolve anything relative to it."""

    def __init__(self, file: _BinaryFile):
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def _unwrap(source: Any, name: str | None) -> tuple[Any, str]:
    """The path, bytes, file, array `dict` or decoder inside `source`, and what to call it in an error."""
    label = name
    if isinstance(source, dict):
        if "array" in source or "frames" in source:
            return source, label or ("<array>" if "array" in source else "<frames>")
        if source.get("bytes") is not None:
            label = label or source.get("path")
            source = source["bytes"]
        elif source.get("path") is not None:
            source = source["path"]
        else:
            raise MediaError(
                f"{label or 'A media input'} is a dict with keys {sorted(map(str, source))}: give "
                '{"bytes", "path"}, {"array", "sampling_rate"} or {"frames", "fps"} with a value.'
            )
    if isinstance(source, (str, os.PathLike)):
        path = os.fsdecode(source)
        return path, path if label in (None, path) else f"{label} ({path})"
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), label or f"<{len(source)} bytes>"
    if isinstance(source, (np.ndarray, list, tuple)):
        raise MediaError(
            f'{label or "An array"} comes without its rate: pass {{"array": ..., "sampling_rate": ...}} for sound or '
            '{"frames": ..., "fps": ...} for video.'
        )
    if isinstance(source, _BinaryFile) or any(
        _is_torchcodec(source, kind) for kind in ("AudioDecoder", "VideoDecoder")
    ):
        return source, label or f"<{type(source).__name__}>"
    raise MediaError(f"{label or 'A media input'} is a {type(source).__name__}, which is not sound or video.")


def _is_torchcodec(source: Any, kind: str) -> bool:
    """Whether `source` is torchcodec's `kind` or the subclass `datasets` yields, without importing torchcodec."""
    return any(cls.__name__ == kind and cls.__module__.startswith("torchcodec.") for cls in type(source).__mro__)


@contextlib.contextmanager
def _readable(source: Any, label: str) -> Iterator[tuple[_BinaryFile, int]]:
    """`source` as a file at its start, and its size in bytes."""
    with contextlib.ExitStack() as stack:
        if isinstance(source, bytes):
            file = io.BytesIO(source)
        elif isinstance(source, str):
            try:
                file = stack.enter_context(open(source, "rb"))
            except (OSError, ValueError) as error:
                hint = " Only local files are read: download it first." if "://" in source else ""
                raise MediaError(f"{label} cannot be opened: {error}.{hint}") from error
        else:
            file = source
        try:
            size = file.seek(0, io.SEEK_END)
            size = file.tell() if size is None else size
            file.seek(0)
        except OSError as error:
            raise MediaError(f"{label} cannot be rewound ({error}): read it and pass its bytes.") from error
        if size == 0:
            raise MediaError(f"{label} is empty (0 bytes).")
        yield file, size


@contextlib.contextmanager
def _opened(source: Any, label: str) -> Iterator[av.container.InputContainer]:
    """Opens `source` for demuxing; whatever FFmpeg finds wrong inside the block becomes a `MediaError`."""
    with contextlib.ExitStack() as stack:
        file, size = stack.enter_context(_readable(source, label))
        _check_size(file, size, label)
        try:
            container = stack.enter_context(
                av.open(_Nameless(file), options={"format_whitelist": _FORMATS}, metadata_errors="replace")
            )
        except av.FFmpegError as error:
            raise MediaError(
                f"{label} is not a sound or video file that can be read: whatever its name says, its content is "
                "damaged, cut off, or of another kind."
            ) from error
        try:
            yield container
        except av.FFmpegError as error:
            raise MediaError(f"{label} is damaged or truncated and cannot be decoded ({error.strerror}).") from error


def _check_size(file: _BinaryFile, size: int, label: str) -> None:
    """Compares the size that WAV, AVI and MP4 files state of their parts with what is there.

    FFmpeg reads on with less, and takes an MP4 whose index is cut off for one with fewer tracks.
    """
    start, head = 0, file.read(16)
    if not isinstance(head, bytes):
        raise MediaError(f"{label} is a file opened as text: open it in binary mode.")
    if head[:4] == b"RIFF":
        declared = int.from_bytes(head[4:8], "little") + 8
        # Programs that write to a pipe leave the size at 0 or at its maximum, meaning unknown.
        if 8 < declared < 0xFFFFFFFF and declared - size > _MISSING_SHARE * declared:
            raise MediaError(f"{label} is truncated: {size} of the {declared} bytes its header declares.")
    while head[4:8] in _MP4_BOXES:
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if start + length > size:
            raise MediaError(f"{label} is truncated: {size} of at least {start + length} bytes.")
        if length < 8:  # up to the end of the file
            break
        start += length
        file.seek(start)
        head = file.read(16)
    file.seek(0)


# --- tracks ---------------------------------------------------------------------------------------


def _find_video(container: av.container.InputContainer) -> av.VideoStream | None:
    stream = container.streams.best("video")
    if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
        return None
    return stream


def _video_stream(container: av.container.InputContainer, label: str) -> av.VideoStream:
    stream = _find_video(container)
    if stream is None:
        raise MediaError(f"{label} has no video track ({_tracks(container)}).")
    _check_decoder(stream, label)
    # Threads pay for large frames only; on small ones starting them takes longer than decoding.
    stream.thread_type = "AUTO" if stream.width * stream.height >= _THREADED_PIXELS else "NONE"
    return stream


def _check_decoder(stream: av.stream.Stream, label: str) -> None:
    if stream.codec_context is None:
        raise MediaError(f"{label} has a {stream.type} track in a coding that cannot be decoded here.")


def _tracks(container: av.container.InputContainer) -> str:
    kinds = [stream.type for stream in container.streams]
    return f"a {container.format.name} file with " + (", ".join(kinds) if kinds else "no tracks")


class _Demuxer:
    """Yields the packets of one track and keeps count of how far it, and the file, really reach."""

    def __init__(self, container: av.container.InputContainer, stream: av.stream.Stream):
        self.container, self.stream = container, stream
        self.start = math.inf
        self.end = self.file_end = -math.inf

    def __iter__(self) -> Iterator[av.Packet]:
        for packet in self.container.demux():
            stamp = packet.dts if packet.pts is None else packet.pts
            own = packet.stream.index == self.stream.index
            if stamp is not None and not packet.is_discard:
                end = float((stamp + (packet.duration or 0)) * packet.time_base)
                self.file_end = max(self.file_end, end)
                if own:
                    self.start = min(self.start, float(stamp * packet.time_base))
                    self.end = max(self.end, end)
            if own:
                yield packet
                if _is_last(packet):
                    return

    def check_complete(self, label: str) -> None:
        """Compares what is there with what the header declares.

        Raises:
            MediaError: if more than 0.25 s and 5 % of the length that the header declares is not there.
        """
        if self.container.format.name not in _DECLARING_FORMATS:
            return
        if self.stream.duration:
            declared, found = float(self.stream.duration * self.stream.time_base), self.end - self.start
        elif self.container.duration:
            # Matroska declares one length for the whole file: a track may be shorter, but then another one reaches it.
            declared, found = self.container.duration / av.time_base, self.file_end
        else:
            return
        if declared - found > max(_MISSING_SECONDS, _MISSING_SHARE * declared):
            raise MediaError(
                f"{label} is truncated: its header declares {declared:.2f} s of {self.stream.type}, "
                f"{max(found, 0.0):.2f} s are there."
            )


def _is_last(packet: av.Packet) -> bool:
    """Whether this is the packet without content that ends a track.

    Nothing must be read behind it: PyAV fails there on files whose further tracks come up midway.
    """
    return packet.size == 0 and packet.dts is None


# --- sound ----------------------------------------------------------------------------------------


def _is_flac(source: Any, label: str) -> bool:
    with _readable(source, label) as (file, _):
        is_flac = file.read(4) == b"fLaC"
        file.seek(0)
    return is_flac


def _decode_flac(source: Any, label: str) -> tuple[np.ndarray, int]:
    """The mono waveform of a bare FLAC file, and its rate."""
    with _readable(source, label) as (file, _):
        try:
            with soundfile.SoundFile(file) as flac:
                samples, declared, rate = flac.read(dtype="float32", always_2d=True), flac.frames, flac.samplerate
        except soundfile.SoundFileError as error:
            raise MediaError(f"{label} is damaged or truncated and cannot be decoded ({error}).") from error
    missing = (declared - len(samples)) / rate
    if missing > max(_MISSING_SECONDS, _MISSING_SHARE * declared / rate):
        raise MediaError(
            f"{label} is truncated: its header declares {declared / rate:.2f} s of audio, "
            f"{len(samples) / rate:.2f} s are there."
        )
    return samples.mean(axis=1, dtype=np.float32), rate


def _decode_sound(
    source: Any, label: str, max_seconds: float | None, notes: list[str]
) -> tuple[np.ndarray, int, float]:
    """The mono waveform at its own rate, that rate, and the seconds that were not decoded.

    Decoding stops shortly after `max_seconds`; the rest is only demuxed, to know how much is cut off.
    """
    with _opened(source, label) as container:
        stream = container.streams.best("audio")
        if stream is None:
            raise MediaError(f"{label} has no sound track ({_tracks(container)}).")
        _check_decoder(stream, label)
        video = _find_video(container)
        demuxer = _Demuxer(container, stream)
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


def _mono_from_array(array: Any, label: str) -> np.ndarray:
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


def _resample(waveform: np.ndarray, rate: int, target: int) -> np.ndarray:
    """Band-limited resampling by FFmpeg's swresample. In pieces, because one frame cannot hold hours of sound."""
    if rate == target:
        return waveform
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=target)
    pieces = []
    for start in range(0, len(waveform), _RESAMPLER_CHUNK):
        piece = np.ascontiguousarray(waveform[None, start : start + _RESAMPLER_CHUNK])
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
        frame.sample_rate = rate
        pieces += resampler.resample(frame)
    pieces += resampler.resample(None)
    return np.concatenate([piece.to_ndarray()[0] for piece in pieces])


# --- frames ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    """At which seconds after the first frame to look, and the rate that this makes."""

    times: np.ndarray
    fps: float
    duration: float
    notes: tuple[str, ...]


def _plan(duration: float, fps: float, max_frames: int, min_frames: int, shown_at: np.ndarray | None = None) -> _Plan:
    """The plan for `sampling="rate"`, or for `"span"` if given the times at which all frames appear."""
    if shown_at is not None:
        return _span_plan(duration, fps, max_frames, min_frames, shown_at)
    wanted = max(1, math.ceil(duration * fps - _CLOCK_SLACK))
    count = min(max(wanted, min_frames), max_frames)
    rate = count / duration if count != wanted and duration > 0 else fps
    notes = (f"video thinned from {wanted} to {count} frames ({fps:g} to {rate:.3g} per second)",)
    return _Plan(np.arange(count) / rate, rate, duration, notes if count < wanted else ())


def _span_plan(duration: float, fps: float, max_frames: int, min_frames: int, shown_at: np.ndarray) -> _Plan:
    wanted = max(duration * fps, min_frames)
    count = max(2, int(min(wanted, max_frames, len(shown_at))) // 2 * 2)
    times = shown_at[np.linspace(0, len(shown_at) - 1, count).round().astype(int)]
    rate = float((count - 1) / (times[-1] - times[0])) if times[-1] > times[0] else fps
    notes = (f"video thinned from {int(wanted)} to {count} frames ({fps:g} to {rate:.3g} per second)",)
    return _Plan(times, rate, duration, notes if max_frames < int(wanted) else ())


@dataclass(frozen=True)
class _Timeline:
    """When frames are shown, in the stream's seconds, read from the packets without decoding."""

    start: float
    last: float
    duration: float
    keyframes: np.ndarray
    shown_at: np.ndarray  # seconds after the first frame at which each appears


def _read_timeline(container: av.container.InputContainer, stream: av.VideoStream, label: str) -> _Timeline:
    demuxer = _Demuxer(container, stream)
    starts, keyframes = [], []
    for packet in demuxer:
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is None or packet.is_discard:
            continue
        time = float(stamp * packet.time_base)
        starts.append(time)
        if packet.is_keyframe and packet.pts is not None:
            keyframes.append(time)
    if not starts:
        raise MediaError(f"{label} has a video track of zero length.")
    demuxer.check_complete(label)
    last = max(starts)
    end = demuxer.end
    if end <= last and stream.average_rate:
        # A last frame without a stated length lasts as long as frames do on the average.
        end = last + 1 / float(stream.average_rate)
    shown_at = np.sort(starts) - demuxer.start
    return _Timeline(demuxer.start, last, end - demuxer.start, np.sort(keyframes), shown_at)


def _decode_frames(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    timeline: _Timeline,
    times: np.ndarray,
    label: str,
) -> np.ndarray:
    """The frames on display at `times` (seconds after the first frame), shape `(len(times), height, width, 3)`.

    One pass: only chosen frames are converted to RGB, runs of packets that no chosen frame depends on are not decoded,
    and nothing is read after the last chosen frame.
    """
    targets = times + timeline.start + _CLOCK_SLACK
    # Only with an index is a keyframe known to be one, rather than guessed from the stream.
    seekable = container.format.name in ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
    images: list[np.ndarray] = []
    shown, shown_time, image = None, -math.inf, None
    fed, resume = -math.inf, None
    clock = _FrameClock(container, stream, timeline.start)
    for packet in container.demux(stream):
        if packet.pts is not None:
            time = float(packet.pts * packet.time_base)
            if resume is not None:
                if not (packet.is_keyframe and time == resume):
                    continue
                stream.codec_context.flush_buffers()
                resume = None
            fed = max(fed, time)
        for frame in packet.decode():
            time = clock.time(frame)
            while len(images) < len(targets) and shown is not None and targets[len(images)] < time:
                image = _rgb(shown, images, label) if image is None else image
                images.append(image)
            if len(images) == len(targets):
                return np.stack(images)
            shown, shown_time, image = frame, time, None
            if seekable and len(timeline.keyframes):
                earlier = timeline.keyframes[timeline.keyframes <= targets[len(images)]]
                if len(earlier) and earlier[-1] > fed:
                    resume = earlier[-1]
        if _is_last(packet):
            break
    if shown is None:
        raise MediaError(f"{label} has a video track from which no frame can be decoded.")
    if timeline.last - shown_time > max(_MISSING_SECONDS, _MISSING_SHARE * timeline.duration):
        raise MediaError(
            f"{label} is damaged: frames can be decoded up to {shown_time - timeline.start:.2f} s of "
            f"{timeline.duration:.2f} s."
        )
    image = _rgb(shown, images, label) if image is None else image
    return np.stack(images + [image] * (len(targets) - len(images)))


class _FrameClock:
    """When a decoded frame is shown, in the stream's seconds."""

    def __init__(self, container: av.container.InputContainer, stream: av.VideoStream, start: float):
        # AVI stores no display times, and what decoders pass on instead is in the order of decoding: count.
        self.counts = container.format.name == "avi"
        self.step = 1 / float(stream.average_rate or stream.guessed_rate or 25)
        self.next = start

    def time(self, frame: av.VideoFrame) -> float:
        time = self.next if self.counts or frame.time is None else frame.time
        self.next = time + self.step
        return time


def _rgb(frame: av.VideoFrame, images: list[np.ndarray], label: str) -> np.ndarray:
    """Upright RGB of the size of the first image, for a stream may change its size midway."""
    if frame.is_corrupt:
        raise MediaError(f"{label} is damaged: the frame at {frame.time:.2f} s cannot be decoded whole.")
    turns = round(frame.rotation / 90) % 4
    if images:
        height, width = images[0].shape[:2]
        if turns % 2:
            height, width = width, height
        image = frame.to_ndarray(format="rgb24", width=width, height=height)
    else:
        image = frame.to_ndarray(format="rgb24")
    return np.rot90(image, turns)


def _rgb_from_array(array: Any, label: str) -> np.ndarray:
    frames = np.asarray(array)
    if frames.ndim == 4 and frames.shape[-1] != 3 and frames.shape[1] == 3:
        frames = frames.transpose(0, 2, 3, 1)
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.size == 0:
        raise MediaError(
            f"{label} must hold RGB frames of shape (num_frames, height, width, 3) or (num_frames, 3, height, width), "
            f"got {frames.shape}."
        )
    if frames.dtype != np.uint8:
        raise MediaError(f"{label} must hold uint8 frames (0 to 255), got {frames.dtype}.")
    return frames
