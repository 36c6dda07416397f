# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Chooses frames of a video, and decodes their pixels."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc, VideoReformatter

from .media_container import MISSING_SECONDS, MISSING_SHARE, MP4, Demuxer, MediaError, open_clip, video_stream


# Containers round time stamps (Matroska to milliseconds): a frame is on display at t if it starts by t + this.
CLOCK_SLACK = 1e-3
# The transfer curves PQ and HLG.
_HIGH_DYNAMIC_RANGE = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
# A more extreme pixel aspect ratio than this, or its inverse, is a mistake in the file.
_WIDEST_PIXEL = 4.0

# Shrinks a chosen RGB frame as soon as it is decoded; its second argument is the number of frames.
Shrink = Callable[[np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class Plan:
    """Holds the times to look at, in seconds after the beginning, and the rate that results."""

    times: np.ndarray
    fps: float
    duration: float
    notes: tuple[str, ...]


def plan_frames(
    duration: float, fps: float, max_frames: int, min_frames: int, shown_at: np.ndarray | None = None
) -> Plan:
    """Plans for `sampling="rate"`, or for `"span"` if given the times at which all frames appear."""
    if shown_at is not None:
        return _span_plan(duration, fps, max_frames, min_frames, shown_at)
    wanted = max(1, math.ceil(duration * fps - CLOCK_SLACK))
    count = min(max(wanted, min_frames), max_frames)
    rate = count / duration if count != wanted and duration > 0 else fps
    notes = (f"video thinned from {wanted} to {count} frames ({fps:g} to {rate:.3g} per second)",)
    return Plan(np.arange(count) / rate, rate, duration, notes if count < wanted else ())


def _span_plan(duration: float, fps: float, max_frames: int, min_frames: int, shown_at: np.ndarray) -> Plan:
    wanted = max(duration * fps, min_frames)
    count = max(2, int(min(wanted, max_frames, len(shown_at))) // 2 * 2)
    times = shown_at[np.linspace(0, len(shown_at) - 1, count).round().astype(int)]
    rate = float((count - 1) / (times[-1] - times[0])) if times[-1] > times[0] else fps
    notes = (f"video thinned from {int(wanted)} to {count} frames ({fps:g} to {rate:.3g} per second)",)
    return Plan(times, rate, duration, notes if max_frames < int(wanted) else ())


def part_of(shown_at: np.ndarray, start: float, end: float) -> np.ndarray:
    """Returns when the frames that are on display from `start` to `end` appear, in seconds after `start`."""
    first = max(0, int(np.searchsorted(shown_at, start + CLOCK_SLACK, side="right")) - 1)
    last = int(np.searchsorted(shown_at, end - CLOCK_SLACK, side="left"))
    return np.maximum(shown_at[first : max(last, first + 1)] - start, 0.0)


@dataclass(frozen=True)
class _Timeline:
    """Holds when frames are shown, in the stream's seconds, read from the packets without decoding."""

    start: float
    last: float
    duration: float
    keyframes: np.ndarray
    shown_at: np.ndarray  # seconds after the first frame at which each appears
    step: float  # the length of a frame that does not state its own
    notes: tuple[str, ...]


def read_timeline(container: av.container.InputContainer, stream: av.VideoStream, label: str) -> _Timeline:
    """Reads the time stamps of all packets of the track."""
    demuxer = Demuxer(container, stream)
    starts, lengths, keyframes, unstamped = [], [], [], []
    for packet in demuxer:
        if packet.is_discard or packet.size == 0:
            continue
        stamp = packet.dts if packet.pts is None or _counts_slots(container) else packet.pts
        length = float((packet.duration or 0) * packet.time_base)
        if stamp is None:
            unstamped.append(length)
            continue
        lengths.append(length)
        starts.append(float(stamp * packet.time_base))
        if packet.is_keyframe and packet.pts is not None:
            keyframes.append(starts[-1])
    step = 1 / float(stream.average_rate or stream.guessed_rate or 25)
    notes: tuple[str, ...] = ()
    if unstamped and not starts:
        # A raw stream has no clock: its frames follow at the rate that it declares, or FFmpeg's of 25.
        step = max(unstamped) or step
        starts, lengths = list(np.arange(len(unstamped)) * step), unstamped
        notes = (f"the video has no time stamps: taken at {1 / step:.4g} frames per second",)
    if not starts:
        raise MediaError(f"{label} has a video track of zero length.")
    demuxer.check_complete(label)
    start, last = min(starts), max(starts)
    rest = _last_length(container, stream, np.array(starts), lengths)
    if rest <= 0:
        rest = min((length for length in lengths if length > 0), default=step)
    return _Timeline(start, last, last + rest - start, np.sort(keyframes), np.sort(starts) - start, step, notes)


def _last_length(
    container: av.container.InputContainer, stream: av.VideoStream, starts: np.ndarray, lengths: list[float]
) -> float:
    """Returns how long the last frame is shown, in seconds; 0 if unknown."""
    if container.format.name != MP4:
        return lengths[int(starts.argmax())]
    # In MP4 a length reaches to the next packet in decoding order, perhaps over a pause. With an edit list FFmpeg
    # declares the length of the whole, less than the sum; otherwise only that of the last packet decoded is left.
    declared = float((stream.duration or 0) * stream.time_base)
    if 0 < declared < sum(lengths) - CLOCK_SLACK:
        return float(starts.min() + declared - starts.max())
    return lengths[-1]


def _counts_slots(container: av.container.InputContainer) -> bool:
    """Recognizes AVI, whose packets lie in slots of equal length in decoding order, also those of dropped frames."""
    return container.format.name == "avi"


class FrameReader:
    """Reads frames of a video file, and goes on from where it was as long as they are asked for in their order.

    Only chosen frames are converted to RGB and shrunk, packets that no chosen frame depends on are not decoded, and
    nothing is read after the last chosen frame.

    Args:
        source (`str`, `bytes` or file object): the file.
        label (`str`): its name in errors.
    """

    def __init__(self, source: Any, label: str):
        self.source, self.label = source, label
        with open_clip(source, label) as container:
            self.timeline = read_timeline(container, video_stream(container, label), label)
        self._begin()

    def _begin(self) -> None:
        self._target = -math.inf  # the time that is being looked for, in the stream's seconds
        self._stream: av.VideoStream | None = None
        self._frames = self._decode()
        self._shown: av.VideoFrame | None = None
        self._shown_time = -math.inf
        self._next: tuple[av.VideoFrame, float] | None = None  # the frame that follows, and its time

    @property
    def length(self) -> float:
        """Returns how many seconds the video lasts."""
        return self.timeline.duration

    def reaches(self, seconds: float) -> bool:
        """Returns whether the video goes on beyond `seconds`."""
        return self.timeline.duration > seconds

    def read(self, times: np.ndarray, shrink: Shrink | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
        """Returns the frames on display at `times` (seconds after the first), `(len(times), height, width, 3)`, and
        notes.

        Raises:
            MediaError: if the video is damaged.
        """
        targets = times + self.timeline.start + CLOCK_SLACK
        if targets[0] < self._shown_time:
            self.close()
            self._begin()
        images: list[np.ndarray] = []
        picture, image, shown = None, None, None
        for target in targets:
            self._show(target)
            picture = picture or _Picture(self._stream, self.label)
            if self._shown is not shown:
                shown, rgb = self._shown, picture.rgb(self._shown)
                image = np.ascontiguousarray(rgb) if shrink is None else shrink(rgb, len(targets))
            images.append(image)
        return np.stack(images), picture.notes

    def _show(self, target: float) -> None:
        """Goes on to the frame on display at `target`, in the stream's seconds."""
        self._target = target
        while self._next is None or self._next[1] <= target:
            if self._next is not None:
                self._shown, self._shown_time = self._next
            self._next = next(self._frames, None)
            if self._next is None:
                break
            if self._shown is None:
                self._shown, self._shown_time = self._next
        if self._shown is None:
            raise MediaError(f"{self.label} has a video track from which no frame can be decoded.")
        missing = self.timeline.last - self._shown_time
        if self._next is None and missing > max(MISSING_SECONDS, MISSING_SHARE * self.timeline.duration):
            raise MediaError(
                f"{self.label} is damaged: frames can be decoded up to {self._shown_time - self.timeline.start:.2f} s "
                f"of {self.timeline.duration:.2f} s."
            )

    def _decode(self) -> Iterator[tuple[av.VideoFrame, float]]:
        """Yields decoded frames and their times, and passes over what `_target` doesn't depend on."""
        with open_clip(self.source, self.label) as container:
            stream = self._stream = video_stream(container, self.label)
            # Only an index marks keyframes reliably; without, they are guessed from the stream.
            seekable = container.format.name in (MP4, "matroska,webm")
            keyframes = self.timeline.keyframes
            fed_until, resume = -math.inf, None
            clock = _FrameClock(container, self.timeline)
            for packet in Demuxer(container, stream):
                if packet.pts is not None:
                    time = float(packet.pts * packet.time_base)
                    if resume is not None:
                        if not (packet.is_keyframe and time == resume):
                            continue
                        stream.codec_context.flush_buffers()
                        resume = None
                    fed_until = max(fed_until, time)
                for frame in packet.decode():
                    yield frame, clock.time(frame)
                    if seekable and len(keyframes):
                        earlier = int(np.searchsorted(keyframes, self._target, side="right"))
                        if earlier and keyframes[earlier - 1] > fed_until:
                            resume = keyframes[earlier - 1]

    def close(self) -> None:
        """Closes the file."""
        self._frames.close()


class _FrameClock:
    """Computes when a decoded frame is shown, in the stream's seconds."""

    def __init__(self, container: av.container.InputContainer, timeline: _Timeline):
        self.counts_slots = _counts_slots(container)
        self.start, self.step = timeline.start, timeline.step
        self.next = timeline.start
        self.first_slot: int | None = None

    def time(self, frame: av.VideoFrame) -> float:
        """Returns the time of the frame; to be called for each decoded frame, in order."""
        time = frame.time
        if self.counts_slots:
            # A frame carries the slot of the packet that completed it: all are equally late.
            time = None
            if frame.dts is not None:
                self.first_slot = frame.dts if self.first_slot is None else self.first_slot
                time = self.start + float((frame.dts - self.first_slot) * frame.time_base)
        time = self.next if time is None else time
        self.next = time + self.step
        return time


class _Picture:
    """Converts decoded frames to upright RGB pictures of square pixels, all of the size of the first."""

    def __init__(self, stream: av.VideoStream, label: str):
        self.label = label
        self.reformatter = VideoReformatter()
        self.size: tuple[int, int] | None = None  # width and height of the first, before it is turned
        self.transposed = False  # whether the first is turned by a quarter
        self.notes: tuple[str, ...] = ()
        self.matrices: dict[int, list[list[float]]] = {}  # by rotation
        shape = float(stream.sample_aspect_ratio or 1)
        self.pixel_shape = shape if 1 / _WIDEST_PIXEL <= shape <= _WIDEST_PIXEL else 1.0

    def rgb(self, frame: av.VideoFrame) -> np.ndarray:
        if frame.is_corrupt:
            raise MediaError(f"{self.label} is damaged: the frame at {frame.time:.2f} s cannot be decoded whole.")
        (a, b), (c, d) = self._matrix(frame)
        transposed = abs(a) + abs(d) < abs(b) + abs(c)
        if self.size is None:
            self.size = max(1, round(frame.width * self.pixel_shape)), frame.height
            self.transposed = transposed
        width, height = self.size if transposed == self.transposed else self.size[::-1]
        image = self._scale(frame, width, height).to_ndarray()
        # The matrix takes (x, y) to (a x + c y, b x + d y).
        if transposed:
            image, a, d = image.swapaxes(0, 1), c, b
        return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]

    def _matrix(self, frame: av.VideoFrame) -> list[list[float]]:
        """Reads a frame's display matrix, once for each rotation: reading it creates a reference cycle."""
        if frame.rotation not in self.matrices:
            matrix = np.eye(2)
            if "DISPLAYMATRIX" in frame.side_data:
                matrix = np.frombuffer(bytes(frame.side_data["DISPLAYMATRIX"]), np.int32).reshape(3, 3)[:2, :2]
            self.matrices[frame.rotation] = matrix.tolist()
        return self.matrices[frame.rotation]

    def _scale(self, frame: av.VideoFrame, width: int, height: int) -> av.VideoFrame:
        wanted = {"width": width, "height": height, "format": "rgb24"}
        if frame.color_trc not in _HIGH_DYNAMIC_RANGE:
            return self.reformatter.reformat(frame, **wanted)
        try:
            # swscale maps 203 nits to white and Rec. 2020's colours to Rec. 709's.
            scaled = self.reformatter.reformat(
                frame, **wanted, dst_color_trc=ColorTrc.BT709, dst_color_primaries=ColorPrimaries.BT709
            )
        except av.FFmpegError:  # a matrix of colours it does not know, such as ICtCp
            self.notes = ("HDR video that cannot be tone-mapped: its colours are flat and wrong",)
            return VideoReformatter().reformat(frame, **wanted, src_colorspace=Colorspace.BT2020)
        self.notes = ("HDR video shown in standard range: whatever is brighter than white (203 nits) is white",)
        return scaled


def rgb_from_array(array: Any, label: str) -> np.ndarray:
    """Checks frames given as an array, and returns them with channels last."""
    frames = array if isinstance(array, (list, tuple)) else np.asarray(array)
    if isinstance(frames, (list, tuple)) or (frames.dtype == object and frames.ndim):
        try:
            frames = [np.asarray(frame) for frame in frames]
        except ValueError as error:
            raise MediaError(f"{label} has a frame whose rows are of unequal length.") from error
        for number, frame in enumerate(frames):
            if frame.shape != frames[0].shape:
                raise MediaError(
                    f"{label} has frames of unequal size: frame 0 has shape {frames[0].shape}, frame {number} has "
                    f"shape {frame.shape}. Bring them to one size."
                )
        frames = np.asarray(frames)
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
