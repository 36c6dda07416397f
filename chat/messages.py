"""
Makes a row of the dataset a question to a teacher: the digest by which its answers are known, and the chat message
that asks it, in the form of OpenAI's API as vLLM extends it.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from datasets import Dataset

from chat.media import AUDIO_FORMATS, IMAGE_TYPES, VIDEO_TYPES, base64_text, data_address, read_clip, wav
from chat.rubrics import part_heading, rubric
from common.digests import clip_digest, digest
from modeling_clue.modalities import PART_COLUMNS, parts_of_row


# Rows held at once, with the content of their clips where the dataset itself holds it.
BATCH = 32


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
            content += _media(part["modality"], *read_clip(clip, dataset, max_media_bytes))
    return [{"role": "user", "content": [*content, {"type": "text", "text": text}]}]


def _media(modality: str, media: bytes, suffix: str) -> Iterator[dict]:
    """Yields the parts of a message that hold a clip or a picture."""
    if modality == "image":
        yield {"type": "image_url", "image_url": {"url": data_address(IMAGE_TYPES, media, suffix)}}
        return
    if modality != "audio":
        yield {"type": "video_url", "video_url": {"url": data_address(VIDEO_TYPES, media, suffix)}}
    if modality != "video":
        kind = AUDIO_FORMATS.get(suffix)
        if kind is None:
            media, kind = wav(media), "wav"
        yield {"type": "input_audio", "input_audio": {"data": base64_text(media), "format": kind}}
