# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Opens files, bytes, arrays and decoders, and finds the tracks of a container.

Files are opened by Python and handed to FFmpeg as bytes, and only formats that hold their own data are accepted: no
name is ever interpreted as a protocol, and no playlist can make FFmpeg open a second file.
"""

import contextlib
import io
import math
import os
import re
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import av
import numpy as np


# Demuxers that read one self-contained file. Playlists (hls, concat, dash, sdp), image sequences and devices are left
# out on purpose: they name other files.
_FORMATS = (
    "wav,w64,flac,ogg,mp3,aac,aiff,caf,amr,au,ac3,eac3,dts,wv,tta,ape,"
    "mov,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,asf,gif,ivf,dv,nut,mxf,"
    "apng,mjpeg,yuv4mpegpipe,h264,hevc,vvc,m4v,obu,vc1"
)
# The same in words, for errors.
_READABLE_FORMATS = (
    "MP4/MOV, Matroska/WebM, AVI, MPEG-PS/-TS, FLV, WMV/ASF, MXF, GIF, APNG, motion JPEG, Y4M and raw "
    "H.264/HEVC video; WAV, FLAC, Ogg/Opus, MP3, AAC, M4A, AIFF, CAF, AMR, AU, AC-3, DTS, WMA, WavPack, APE and TTA "
    "sound"
)
# Formats whose header declares the length of tracks. That of the others (MP3, ADTS, MPEG-PS and -TS, Ogg) is estimated
# from the bytes that are there, and does not show a missing end.
MP4 = "mov,mp4,m4a,3gp,3g2,mj2"  # as FFmpeg calls the format
_DECLARING_FORMATS = frozenset({MP4, "matroska,webm", "flac", "avi", "asf"})
# A file is called truncated when more than this much of a track's declared length is missing: headers round, and the
# last packet's length is often unknown.
MISSING_SECONDS = 0.25
MISSING_SHARE = 0.05
# Recordings joined byte by byte: where a track's clock goes back, or forward by more than FFmpeg's own limit, the next
# recording begins and is played right behind.
_JOINABLE = av.format.Flags.ts_discont.value
_JUMP_BACK_SECONDS = 0.1
_JUMP_FORWARD_SECONDS = 10.0
# A sound file that declares more than this, and is less than half as large, has a made-up size.
UNKNOWN_BYTES = 1_900_000_000
# Where WAV and similar files state their size (but for a few bytes), and its byte order.
_SIZE_FIELDS = {
    b"RIFF": (4, 8, "little"),
    b"RIFX": (4, 8, "big"),
    b"RF64": (20, 28, "little"),
    b"BW64": (20, 28, "little"),
    b"riff": (16, 24, "little"),  # W64
    b"FORM": (4, 8, "big"),  # AIFF
    b".snd": (8, 12, "big"),  # AU
}
# The longest file name on any system.
_MAX_NAME_LENGTH = 255
# The shortest line length of base64.
_BASE64_LINE = 60
# The boxes at the top level of an MP4 file.
_MP4_BOXES = frozenset(b"ftyp styp sidx moov moof mdat mfra free skip wide uuid meta udta pdin".split())
# Below this many pixels a frame decodes faster than threads hand it over.
_THREADED_PIXELS = 640 * 360


class MediaError(ValueError):
    """Reports that a sound or video input cannot be used; the message names the input and the remedy."""


@runtime_checkable
class _BinaryFile(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...

    def seek(self, offset: int, whence: int = 0, /) -> int: ...

    def tell(self) -> int: ...


class NamelessFile:
    """Hides a file's name: decoders then judge the content alone, and FFmpeg cannot resolve relative paths."""

    def __init__(self, file: _BinaryFile):
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def shorten(text: str, most: int = 120) -> str:
    """Returns a text as an error shows it: its beginning and its end if it is longer than `most`."""
    return text if len(text) <= most else f"{text[: most - 45]} ... {text[-40:]}"


def quoted(value: Any) -> str:
    """Returns the `repr` of a value as an error shows it."""
    return shorten(repr(value))


def is_base64(text: str) -> bool:
    """Recognizes a file in base64: longer than a name, in lines of one length, of letters and digits alone."""
    lines = text.split()
    return (
        len(text) > _MAX_NAME_LENGTH
        and len(set(map(len, lines[:-1]))) <= 1
        and len(lines[0]) >= _BASE64_LINE
        and all(re.search(kind, text) for kind in (r"(?a)\A[\w+/\s-]+=*\s*\Z", "[a-z]", "[A-Z]", "[0-9]"))
    )


def unwrap(source: Any, name: str | None) -> tuple[Any, str]:
    """Returns the path, bytes, file, array `dict` or decoder inside `source`, and its label in errors."""
    label = None if name is None else shorten(name)
    if isinstance(source, dict):
        if "array" in source or "frames" in source:
            return source, label or ("<array>" if "array" in source else "<frames>")
        if source.get("bytes") is not None:
            path, source = source.get("path"), source["bytes"]
            label = label or (shorten(path) if isinstance(path, str) else None)
            if isinstance(source, str):
                raise MediaError(f'{label or "A media input"} has a text as its "bytes": decode it, if it is base64.')
        elif source.get("path") is not None:
            source = source["path"]
        else:
            raise MediaError(
                f"{label or 'A media input'} is a dict with keys {quoted(sorted(map(str, source)))}: give "
                '{"bytes", "path"}, {"array", "sampling_rate"} or {"frames", "fps"} with a value.'
            )
    if isinstance(source, (str, os.PathLike)):
        path = os.fsdecode(source)
        label = shorten(path if label in (None, shorten(path)) else f"{label} ({path})")
        if re.match("data:.*,", path, re.IGNORECASE) or (is_base64(path) and not os.path.exists(path)):
            raise MediaError(f"{label} is no path but the content of a file: decode it and pass its bytes.")
        if path[:6].lower() == "file:/":
            raise MediaError(f"{label} is an address: pass the path alone, without `file:`, and with blanks for %20.")
        return path, label
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), label or f"<{len(source)} bytes>"
    if isinstance(source, (np.ndarray, list, tuple)):
        raise MediaError(
            f'{label or "An array"} comes without its rate: pass {{"array": ..., "sampling_rate": ...}} for sound or '
            '{"frames": ..., "fps": ...} for video.'
        )
    if isinstance(source, _BinaryFile) or any(
        is_torchcodec(source, kind) for kind in ("AudioDecoder", "VideoDecoder")
    ):
        return source, label or f"<{type(source).__name__}>"
    raise MediaError(f"{label or 'A media input'} is a {type(source).__name__}, which is not sound or video.")


def is_torchcodec(source: Any, kind: str) -> bool:
    """Recognizes torchcodec's `kind`, or the subclass `datasets` yields, without importing torchcodec."""
    return any(cls.__name__ == kind and cls.__module__.startswith("torchcodec.") for cls in type(source).__mro__)


@contextlib.contextmanager
def open_file(source: Any, label: str) -> Iterator[tuple[_BinaryFile, int]]:
    """Opens `source` as a file at its start, and measures its size in bytes."""
    with contextlib.ExitStack() as stack:
        if isinstance(source, bytes):
            file = io.BytesIO(source)
        elif isinstance(source, str):
            try:
                file = stack.enter_context(open(source, "rb"))
            except (OSError, ValueError) as error:
                hint = " Only local files are read: download it first." if "://" in source else ""
                reason = error.strerror if isinstance(error, OSError) else error  # without the name once more
                raise MediaError(f"{label} cannot be opened: {reason}.{hint}") from error
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
        _check_size(file, size, label)
        yield file, size


@contextlib.contextmanager
def open_clip(source: Any, label: str) -> Iterator[av.container.InputContainer]:
    """Opens `source` for demuxing; errors of FFmpeg inside the block become a `MediaError`."""
    with contextlib.ExitStack() as stack:
        file, _ = stack.enter_context(open_file(source, label))
        try:
            container = stack.enter_context(
                av.open(NamelessFile(file), options={"format_whitelist": _FORMATS}, metadata_errors="replace")
            )
        except av.FFmpegError as error:
            raise MediaError(
                f"{label} is not a sound or video file that can be read: whatever its name says, its content is "
                f"damaged, cut off, or of a kind that is not supported. Supported are {_READABLE_FORMATS}."
            ) from error
        try:
            yield container
        except av.FFmpegError as error:
            raise MediaError(f"{label} is damaged or truncated and cannot be decoded ({error.strerror}).") from error


def _check_size(file: _BinaryFile, size: int, label: str) -> None:
    """Compares the size in a file's header with the actual one: FFmpeg would accept less, or miss tracks."""
    start, head = 0, file.read(28)
    if not isinstance(head, bytes):
        raise MediaError(f"{label} is a file opened as text: open it in binary mode.")
    if head[:4] in _SIZE_FIELDS:
        place, end, order = _SIZE_FIELDS[head[:4]]
        declared = int.from_bytes(head[place:end], order)
        # Programs that write to a pipe leave the size at 0 or near the end of the range: it is unknown.
        if not is_implausible_size(declared, size) and declared - size > MISSING_SHARE * declared:
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


def is_implausible_size(declared: float, found: float) -> bool:
    """Recognizes a declared size in bytes that is made up."""
    return declared > UNKNOWN_BYTES and found < declared / 2


def find_video(container: av.container.InputContainer) -> av.VideoStream | None:
    """Returns the track with moving pictures; the cover picture of a song is none."""
    stream = container.streams.best("video")
    if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
        return None
    return stream


def find_sound(source: Any, label: str) -> int | None:
    """Returns the index of FFmpeg's choice of sound track, or of another if only that one can be decoded, or None."""
    with open_clip(source, label) as container:
        best = container.streams.best("audio")
        tracks = sorted(container.streams.audio, key=lambda track: (track.codec_context is None, track != best))
        for track in tracks:
            if track.codec_context is not None:
                name_channels(track)
        not_empty, decoded = set(), set()
        for packet in container.demux(*tracks) if tracks else ():
            track = packet.stream
            if packet.size:
                not_empty.add(track.index)
            if track.codec_context is not None and track.index not in decoded:
                with contextlib.suppress(av.FFmpegError):
                    decoded.update(track.index for frame in packet.decode() if frame.samples)
            if tracks[0].index in decoded or (is_last(packet) and len(tracks) == 1):
                break
        # A track that cannot be decoded is sound all the same, and an error later.
        return next((track.index for found in (decoded, not_empty) for track in tracks if track.index in found), None)


def name_channels(stream: av.AudioStream) -> str:
    """Returns the name of a track's layout; to be called once, before anything of it is decoded.

    PyAV frees the memory of a non-standard channel order again with each frame, which ends the process, so the decoder
    is given only the number of channels.
    """
    name = stream.codec_context.layout.name
    if " channels (" in name:
        stream.codec_context.layout = name.partition(" (")[0]
    return name


def video_stream(container: av.container.InputContainer, label: str) -> av.VideoStream:
    """Returns the track of [`find_video`], ready to be decoded; raises a `MediaError` if it can't be."""
    stream = find_video(container)
    if stream is None:
        raise MediaError(f"{label} has no video track ({describe_tracks(container)}).")
    check_decoder(stream, label)
    # Threads pay for large frames only; on small ones starting them takes longer than decoding.
    stream.thread_type = "AUTO" if stream.width * stream.height >= _THREADED_PIXELS else "NONE"
    return stream


def check_decoder(stream: av.stream.Stream, label: str) -> None:
    """Raises a `MediaError` if the track cannot be decoded."""
    if stream.codec_context is None:
        raise MediaError(f"{label} has a {stream.type} track in a coding that cannot be decoded here.")


def describe_tracks(container: av.container.InputContainer) -> str:
    """Describes the kind of file and of its tracks, for errors."""
    kinds = [stream.type for stream in container.streams]
    return f"a {container.format.name} file with " + (", ".join(kinds) if kinds else "no tracks")


class Demuxer:
    """Yields the packets of one track, on one clock, and records how far the track and the file really reach."""

    def __init__(self, container: av.container.InputContainer, stream: av.stream.Stream):
        self.container, self.stream = container, stream
        self.start = math.inf
        self.end = self.file_end = -math.inf
        self._decoded = 0.0  # the sum of the packets' lengths, which is what MP4 declares whatever the order of frames
        self._joined = bool(container.format.flags & _JOINABLE)
        self._offsets = [0.0]  # of the clock of each recording in the file, in seconds
        self._recording: dict[int, int] = {}  # the one that each track is in
        self._reached: dict[int, tuple[float, float]] = {}  # the last packet of each track: its time, and its end

    def _correct_clock_jump(self, packet: av.Packet) -> None:
        """Shifts the stamps of a packet after its track's clock has jumped, by the same time in all tracks."""
        stamp, track = packet.pts if packet.dts is None else packet.dts, packet.stream.index
        if stamp is None or packet.stream.type not in ("audio", "video"):
            return
        recording = self._recording.get(track, len(self._offsets) - 1)
        own = float(stamp * packet.time_base)
        time = own + self._offsets[recording]
        last, expected = self._reached.get(track, (time, time))
        if time < last - _JUMP_BACK_SECONDS or time > expected + _JUMP_FORWARD_SECONDS:
            recording += 1
            if recording == len(self._offsets):
                self._offsets.append(expected - own)
            time = own + self._offsets[recording]
        self._recording[track] = recording
        self._reached[track] = time, time + float((packet.duration or 0) * packet.time_base)
        shift = round(self._offsets[recording] / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts + shift
        packet.dts = None if packet.dts is None else packet.dts + shift

    def __iter__(self) -> Iterator[av.Packet]:
        for packet in self.container.demux():
            if self._joined:
                self._correct_clock_jump(packet)
            stamp = packet.dts if packet.pts is None else packet.pts
            own = packet.stream.index == self.stream.index
            if stamp is not None and not packet.is_discard:
                end = float((stamp + (packet.duration or 0)) * packet.time_base)
                self.file_end = max(self.file_end, end)
                if own:
                    self._decoded += float((packet.duration or 0) * packet.time_base)
                    self.start = min(self.start, float(stamp * packet.time_base))
                    self.end = max(self.end, end)
            if own:
                yield packet
                if is_last(packet):
                    return

    def check_complete(self, label: str, declared: float = 0.0) -> None:
        """Raises a `MediaError` if more than 0.25 s and 5 % of the declared length are missing."""
        found = max(self.end - self.start, self._decoded)
        name, context = self.container.format.name, self.stream.codec_context
        if name == "caf":  # whose length FFmpeg makes up from what is there
            declared = self.stream.frames / context.sample_rate
        elif name not in _DECLARING_FORMATS:
            pass
        elif self.stream.duration:
            declared = float(self.stream.duration * self.stream.time_base)
        elif self.container.duration:
            # Matroska declares one length for the whole file: a track may be shorter, but then another one reaches it.
            declared, found = self.container.duration / av.time_base, self.file_end
        if name == "flac":
            width = context.sample_rate * context.channels * context.format.bytes
            declared = 0.0 if is_implausible_size(width * declared, width * found) else declared
        if declared - found > max(MISSING_SECONDS, MISSING_SHARE * declared):
            raise MediaError(
                f"{label} is truncated: its header declares {declared:.2f} s of {self.stream.type}, "
                f"{max(found, 0.0):.2f} s are there."
            )


def is_last(packet: av.Packet) -> bool:
    """Recognizes the empty packet that ends a track, behind which PyAV fails if further tracks come up midway."""
    return packet.size == 0 and packet.dts is None
