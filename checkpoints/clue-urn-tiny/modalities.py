# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Lists the modalities of a premise, and what depends on them in more than one place."""

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


# Name in training logs of a step whose batches were not of one modality.
MIXED = "mixed"
