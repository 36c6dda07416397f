# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Lists the modalities of a premise, and what depends on them in more than one place."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Modality(NamedTuple):
    """Describes a modality of premises.

    Args:
        column (`str`): Column of a row that holds it; an audiovisual premise has its sound in its video.
        sound (`bool`): Whether it has sound.
        frames (`bool`): Whether it has frames.
        one (`str`): Its name in the singular, with an article.
        many (`str`): Its name in the plural.
        task (`str`): Task on the Hub of answering about it.
    """

    column: str
    sound: bool
    frames: bool
    one: str
    many: str
    task: str


TABLE = {
    "text": Modality("premise", False, False, "a text", "texts", "text-classification"),
    "audio": Modality("audio", True, False, "a sound", "sounds", "audio-classification"),
    "video": Modality("video", False, True, "a video", "videos", "video-classification"),
    "audiovisual": Modality(
        "video", True, True, "a video with its sound", "videos with their sound", "video-classification"
    ),
}
MODALITIES = tuple(TABLE)


def of_senses(sound: bool, frames: bool) -> str:
    """Returns the modality of a premise that has sound, frames, both or neither."""
    return next(name for name, kind in TABLE.items() if (kind.sound, kind.frames) == (sound, frames))


# What a part of a combination can be, and the key of a part that holds it.
PART_COLUMNS = {"text": "text", "image": "image", "audio": "audio", "video": "video", "audiovisual": "video"}


def modality_of_parts(parts: Iterable[str]) -> str:
    """Returns the modality of a combination of `PART_COLUMNS`: that of all the senses it takes. A picture is seen."""
    kinds = [TABLE["video" if part == "image" else part] for part in parts]
    return of_senses(any(kind.sound for kind in kinds), any(kind.frames for kind in kinds))


def parts_of_row(row: Mapping) -> list[dict]:
    """Returns the parts of a row's premise with their clips, which a row of UMUI has in a column of their own.

    Args:
        row (`Mapping`): with `parts`, of which each has its `modality` out of `PART_COLUMNS` and, if it is one, its
            `text`; and `part_clips`, the clips of all others in their order.

    Raises:
        ValueError: if there are more clips than parts for them, or fewer.
    """
    parts, clips = [dict(part) for part in row["parts"]], list(row["part_clips"])
    without = [part for part in parts if part["modality"] != "text"]
    if len(without) != len(clips):
        raise ValueError(f"{len(without)} of its parts need a clip, and {len(clips)} clips are given.")
    for part, clip in zip(without, clips, strict=True):
        part[PART_COLUMNS[part["modality"]]] = clip
    return parts


# Name in training logs of a step whose batches were not of one modality.
MIXED = "mixed"
