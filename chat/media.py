"""Reads the clips of a dataset's rows, and writes them as a request to a server holds them."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path

import av
import soundfile

from modeling_clue.media import MediaError, load_audio


# Sounds in these formats go as they are: OpenAI's `input_audio` names no others. All else goes as a WAV file.
AUDIO_FORMATS = {".wav": "wav", ".mp3": "mp3"}
AUDIO_TYPES = {".wav": "audio/wav", ".mp3": "audio/mpeg"}
VIDEO_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".avi": "video/x-msvideo",
}
IMAGE_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
SAMPLING_RATE = 16000
# The formats of PyAV for files of these endings.
CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".webm": "webm", ".mkv": "matroska", ".mov": "mov", ".avi": "avi"}


class UnfitPairError(ValueError):
    """The pair can't be put to a server; the message says why."""


def read_clip(column: Mapping, dataset: Path, max_bytes: int) -> tuple[bytes, str]:
    """
    Reads a clip or a picture of a row.

    Args:
        column (`Mapping`): Its `bytes`, or `None`, and its `path`.
        dataset (`Path`): The dataset folder; files are read from nowhere else.
        max_bytes (`int`): Larger files are not read.

    Returns:
        `tuple[bytes, str]`: The file, and the ending of its name in small letters.

    Raises:
        `UnfitPairError`: if there is no such file, or one that is too large.
    """
    path = Path(column["path"])
    if column["bytes"] is not None:
        size, read = len(column["bytes"]), lambda: column["bytes"]
    else:
        # A link inside the dataset may lead out of it.
        real, root = path.resolve(), dataset.resolve()
        if not real.is_relative_to(root):
            raise UnfitPairError(f"media: {path.name} lies outside the dataset folder")
        if not real.is_file():
            raise UnfitPairError(f"media: there is no file {real.relative_to(root)}")
        size, read = real.stat().st_size, real.read_bytes
    if size > max_bytes:
        raise UnfitPairError(f"media: {path.name} has {size / 1e6:.1f} MB, the limit is {max_bytes / 1e6:g} MB")
    return read(), path.suffix.lower()


def data_address(types: Mapping[str, str], media: bytes, suffix: str) -> str:
    """Writes a file as a `data:` address of the type that its ending has; `UnfitPairError` for any other ending."""
    if suffix not in types:
        raise UnfitPairError(f"media: {suffix or 'no'} file ending is none of {', '.join(types)}")
    return f"data:{types[suffix]};base64,{base64_text(media)}"


def wav(media: bytes) -> bytes:
    """Decodes a clip's sound, and writes it as a WAV file of 16 bits at 16 kHz."""
    try:
        sound = load_audio(media, sampling_rate=SAMPLING_RATE, name="its sound")
    except MediaError as error:
        raise UnfitPairError(f"media: {error}") from error
    file = io.BytesIO()
    soundfile.write(file, sound.waveform, sound.sampling_rate, subtype="PCM_16", format="WAV")
    return file.getvalue()


def without_sound(media: bytes, suffix: str) -> bytes:
    """Removes the sound tracks of a video, whose pictures are copied as they are; one without comes back unchanged."""
    try:
        with av.open(io.BytesIO(media)) as clip:
            if not clip.streams.video or not clip.streams.audio:
                return media
            silent = io.BytesIO()
            with av.open(silent, "w", format=CONTAINERS.get(suffix, "matroska")) as output:
                pictures = clip.streams.video[0]
                copied = output.add_stream_from_template(pictures)
                for packet in clip.demux(pictures):
                    if packet.dts is not None:
                        packet.stream = copied
                        output.mux(packet)
        return silent.getvalue()
    except av.FFmpegError as error:
        raise UnfitPairError(f"media: the video can't be read to its end ({error.strerror})") from error


def base64_text(data: bytes) -> str:
    """Writes bytes in base64."""
    return base64.b64encode(data).decode("ascii")
