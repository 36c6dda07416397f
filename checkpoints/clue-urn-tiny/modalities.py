# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""The modalities of a premise, and what depends on them in more than one place."""

from typing import NamedTuple


class Modality(NamedTuple):
    """What a premise of a modality is.

    Args:
        column (`str`): The column of a row that holds it. The sound of an audiovisual premise is that of its video.
        sound (`bool`): Whether it is heard.
        frames (`bool`): Whether it is seen.
        one (`str`): What people call one.
        many (`str`): What they call several.
        task (`str`): What the Hub calls the task of answering about it.
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

# In the logs of a training, a step whose batches were not of one modality.
MIXED = "mixed"
