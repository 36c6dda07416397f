# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Checks media that strangers send, by their content, before anything of them is decoded for a model."""

import io
import warnings
from collections import Counter
from dataclasses import dataclass

import av
from PIL import Image

from .media_image import FORMATS as PICTURE_FORMATS


# Formats that hold their own data; a playlist would name other files.
FORMATS = "wav,w64,flac,ogg,mp3,aac,aiff,caf,mov,matroska,webm,avi,mpeg,mpegts,asf,flv"


@dataclass(frozen=True)
class MediaLimits:
    """Holds what a picture, sound or video may have at most.

    Args:
        megabytes (`float`): of a file.
        seconds (`float`): of a sound or video.
        frame_pixels (`int`): of a frame of a video.
        picture_pixels (`int`): of a picture.
        aspect (`float`): the longer side of a frame or picture by the shorter.
        frames (`int`): of a video, each of which is decoded.
        samples_a_second (`int`): of all channels: silence packs into next to nothing.
    """

    megabytes: float = 50
    seconds: float = 120
    frame_pixels: int = 1920 * 1088
    picture_pixels: int = 25_000_000
    aspect: float = 20
    frames: int = 7_200
    samples_a_second: int = 8 * 48_000

    def check(self, kind: str, content: bytes, name: str) -> None:
        """Raises a `ValueError` if a file is no `"image"`, `"audio"` or `"video"`, or is larger than these limits."""
        if len(content) > self.megabytes * 2**20:
            raise ValueError(f"{name} is larger than {self.megabytes:g} MB.")
        if kind == "image":
            self._check_picture(content, name)
            return
        try:
            with av.open(io.BytesIO(content), options={"format_whitelist": FORMATS}) as container:
                pictures, sound = container.streams.best("video"), container.streams.best("audio")
                if kind == "video":
                    if pictures is None:
                        raise ValueError(f"{name} has no frames.")
                    if pictures.width * pictures.height > self.frame_pixels:
                        raise ValueError(f"{name} has frames of more than {self.frame_pixels:,} pixels.")
                    self._check_sides(pictures.width, pictures.height, name)
                elif sound is None:
                    raise ValueError(f"{name} has no sound.")
                if sound is not None and sound.rate * sound.channels > self.samples_a_second:
                    raise ValueError(f"{name} has too many channels or samples a second: save it in stereo at 48 kHz.")
                self._check_length(container, name)
        except (av.FFmpegError, OSError) as error:
            raise ValueError(f"{name} is damaged, or no {kind} that can be read.") from error

    def _check_picture(self, content: bytes, name: str) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                with Image.open(io.BytesIO(content), formats=PICTURE_FORMATS) as image:
                    width, height = image.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"{name} is damaged, or no PNG, JPEG, GIF or WebP.") from error
        if width * height > self.picture_pixels:
            raise ValueError(f"{name} has more than {self.picture_pixels:,} pixels.")
        self._check_sides(width, height, name)

    def _check_sides(self, width: int, height: int, name: str) -> None:
        if max(width, height) > self.aspect * min(width, height):
            raise ValueError(f"{name} is a mere stripe: its sides may differ {self.aspect:g} times at most.")

    def _check_length(self, container: av.container.InputContainer, name: str) -> None:
        """Measures the packets too: some recorders declare no length, and some headers lie."""
        too_long = f"{name} is longer than {self.seconds:g} seconds."
        if (container.duration or 0) / av.time_base > self.seconds:
            raise ValueError(too_long)
        frames = Counter()
        for packet in container.demux():
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None and float(stamp * packet.time_base) > self.seconds + 1:
                raise ValueError(too_long)
            if packet.stream.type == "video":
                frames[packet.stream.index] += 1
                if frames[packet.stream.index] > self.frames:
                    raise ValueError(f"{name} has more than {self.frames:,} frames.")
