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

from chat.rubrics import rubric
from common.digests import clip_digest, digest
from modeling_clue.media import MediaError, load_audio


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
    clip = row["audio"] or row["video"]
    try:
        content = clip and clip_digest(clip)
    except FileNotFoundError:
        # Nothing can be asked about it; once the file is there it is another question.
        content = clip["path"]
    return digest([row["modality"], content, rubric(row)])


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
        `input_audio` (base64), video as `video_url` (a `data:` address), an audiovisual premise as the video followed
        by its sound, and the prompt as text.

    Raises:
        `UnfitPairError`: if the media are missing, too large or unreadable.
    """
    text = prompt(row)
    modality = row["modality"]
    if modality == "text":
        return [{"role": "user", "content": text}]
    media, suffix = _read(row["audio" if modality == "audio" else "video"], dataset, max_media_bytes)
    parts = []
    if modality != "audio":
        if suffix not in VIDEO_TYPES:
            raise UnfitPairError(f"media: {suffix or 'no'} file ending is none of {', '.join(VIDEO_TYPES)}")
        address = f"data:{VIDEO_TYPES[suffix]};base64,{_base64(media)}"
        parts.append({"type": "video_url", "video_url": {"url": address}})
    if modality != "video":
        kind = AUDIO_FORMATS.get(suffix)
        if kind is None:
            media, kind = _wav(media), "wav"
        parts.append({"type": "input_audio", "input_audio": {"data": _base64(media), "format": kind}})
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


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
