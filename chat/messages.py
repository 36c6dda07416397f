"""
Makes a row of the dataset a question to a teacher: the digest by which its answers are known, and the chat message
that asks it, in the form of OpenAI's API as vLLM extends it.
"""

import base64
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import soundfile
from datasets import Dataset

from chat.rubrics import part_heading, rubric
from common.digests import clip_digest, digest
from modeling_clue.media import MediaError, load_audio
from modeling_clue.modalities import PART_COLUMNS, parts_of_row


# Sounds in these formats go as they are: OpenAI's `input_audio` names no others. All else goes as a WAV file.
AUDIO_FORMATS = {".wav": "wav", ".mp3": "mp3"}
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
# Rows held at once, with the content of their clips where the dataset itself holds it.
BATCH = 32


class UnfitPairError(ValueError):
    """The pair can't be put to a teacher; the message says why."""


def question(row: Mapping) -> str:
    """
    Returns a digest of what a row asks: its modality, the content of its clip, and its prompt, which holds all texts.

    Answers belong to this, whatever the row is called and wherever it stands: a row that is edited, or has another
    clip, asks something else.
    """
    clips = row["part_clips"] or [row["audio"] or row["video"]]
    parts = [part_heading(number, part) for number, part in enumerate(row["parts"] or (), start=1)]
    return digest([row["modality"], *map(_content, clips), *parts, rubric(row)])


def _content(clip: Mapping | None) -> str | None:
    try:
        return clip and clip_digest(clip)
    except FileNotFoundError:
        # Nothing can be asked about it; once the file is there it is another question.
        return clip["path"]


def questions(rows: Dataset) -> Iterator[tuple[str, dict]]:
    """Yields the [`question`] of each row with the row, for rows as [`load_split`] gives them."""
    # Row by row, a million take minutes.
    for table in rows.with_format("arrow").iter(batch_size=BATCH):
        for row in table.to_pylist():
            yield question(row), row


def chat_messages(
    row: Mapping, dataset: Path, max_media_bytes: int, prompt: Callable[[Mapping], str] = rubric
) -> list[dict]:
    """
    Builds the messages for one pair: the media first, so that a server can reuse them for the next hypothesis.

    Args:
        row (`Mapping`): A row as [`load_split`] gives it.
        dataset (`Path`): The dataset folder; media are read from nowhere else.
        max_media_bytes (`int`): Larger media files are not sent.
        prompt (`Callable`): Writes the text for a row, with its hypothesis.

    Returns:
        `list[dict]`: one user message. The content is a string for a text premise, else a list of parts: sound as
        `input_audio` (base64), video as `video_url` and a picture as `image_url` (a `data:` address), an audiovisual
        premise as the video followed by its sound, a combination's parts in their order, and the prompt as text.

    Raises:
        `UnfitPairError`: if the media are missing, too large or unreadable.
    """
    text = prompt(row)
    modality = row["modality"]
    if modality == "text":
        return [{"role": "user", "content": text}]
    content = []
    for number, part in enumerate(parts_of_row(row) if row["parts"] else [row], start=1):
        if row["parts"]:
            content.append({"type": "text", "text": part_heading(number, part)})
        if part["modality"] != "text":
            clip = part[PART_COLUMNS[part["modality"]]]
            content += _media(part["modality"], *_read(clip, dataset, max_media_bytes))
    return [{"role": "user", "content": [*content, {"type": "text", "text": text}]}]


def _media(modality: str, media: bytes, suffix: str) -> Iterator[dict]:
    """Yields the parts of a message that hold a clip or a picture."""
    if modality == "image":
        yield {"type": "image_url", "image_url": {"url": _address(IMAGE_TYPES, media, suffix)}}
        return
    if modality != "audio":
        yield {"type": "video_url", "video_url": {"url": _address(VIDEO_TYPES, media, suffix)}}
    if modality != "video":
        kind = AUDIO_FORMATS.get(suffix)
        if kind is None:
            media, kind = _wav(media), "wav"
        yield {"type": "input_audio", "input_audio": {"data": _base64(media), "format": kind}}


def _address(types: dict[str, str], media: bytes, suffix: str) -> str:
    if suffix not in types:
        raise UnfitPairError(f"media: {suffix or 'no'} file ending is none of {', '.join(types)}")
    return f"data:{types[suffix]};base64,{_base64(media)}"


def _read(column: Mapping, dataset: Path, max_bytes: int) -> tuple[bytes, str]:
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


def _wav(media: bytes) -> bytes:
    try:
        sound = load_audio(media, sampling_rate=SAMPLING_RATE, name="its sound")
    except MediaError as error:
        raise UnfitPairError(f"media: {error}") from error
    file = io.BytesIO()
    soundfile.write(file, sound.waveform, sound.sampling_rate, subtype="PCM_16", format="WAV")
    return file.getvalue()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
