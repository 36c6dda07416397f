# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Which frames of a video to look at, and their pixels."""

import math
from dataclasses import dataclass
from typing import Any

import av
import numpy as np

from .media_container import MISSING_SECONDS, MISSING_SHARE, Demuxer, MediaError, is_last


# Containers round time stamps (Matroska to milliseconds): a frame is on display at t if it starts by t + this.
CLOCK_SLACK = 1e-3


@dataclass(frozen=True)
class _Plan:
    """At which seconds after the first frame to look, and the rate that this makes."""

    times: np.ndarray
    fps: float
    duration: float
    notes: tuple[str, ...]


def plan_frames(
    duration: float, fps: float, max_frames: int, min_frames: int, shown_at: np.ndarray | None = None
) -> _Plan:
    """The plan for `sampling="rate"`, or for `"span"` if given the times at which all frames appear."""
    if shown_at is not None:
        return _span_plan(duration, fps, max_frames, min_frames, shown_at)
    wanted = max(1, math.ceil(duration * fps - CLOCK_SLACK))
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


def read_timeline(container: av.container.InputContainer, stream: av.VideoStream, label: str) -> _Timeline:
    """Reads the time stamps of all packets of the track."""
    demuxer = Demuxer(container, stream)
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


def decode_frames(
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
    targets = times + timeline.start + CLOCK_SLACK
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
        if is_last(packet):
            break
    if shown is None:
        raise MediaError(f"{label} has a video track from which no frame can be decoded.")
    if timeline.last - shown_time > max(MISSING_SECONDS, MISSING_SHARE * timeline.duration):
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


def rgb_from_array(array: Any, label: str) -> np.ndarray:
    """Returns frames given as an array, channels last."""
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
