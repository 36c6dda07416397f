# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Cuts long clips into windows that are judged one by one."""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from .encoded_premise import EncodedPremise
from .media import MediaError, OpenClip, check_part
from .media_frames import CLOCK_SLACK, FrameReader
from .media_sound import SoundReader
from .modalities import TABLE
from .processing_clue import CLUEProcessor


# A shorter rest of a clip, in seconds, belongs to the window before it.
SHORTEST_WINDOW = 0.5


@dataclass(frozen=True)
class Window:
    """Holds a window of a premise, encoded.

    Args:
        premise (`EncodedPremise`): the window.
        bounds (`tuple[float, float]`, *optional*): its start and end in seconds; `None` for a premise that is not cut.
        last (`bool`): whether it is the last of its premise.
    """

    premise: EncodedPremise
    bounds: tuple[float, float] | None = None
    last: bool = True


def encode_windows(processor: CLUEProcessor, premise: dict, seconds: float) -> Iterator[Window]:
    """Yields the windows of a premise in their order, each decoded when it is asked for, and all of them once.

    Sound and frames of a window begin and end together. Where one of the two has ended before the other, the windows
    behind are judged by the other alone, and their notes say so.

    Args:
        processor ([`CLUEProcessor`]): what encodes them.
        premise (`dict`): as the processor takes it, its `audio` and `video` as paths. What has no clip, or none that
            is longer than a window, is encoded as it is; so are `parts`, and a note says so.
        seconds (`float`): length of a window, from the `start` of the premise on.

    Raises:
        ValueError: if the premise can't be encoded, `MediaError` if its clip is at fault; perhaps after some windows.
    """
    with ExitStack() as stack:
        clips = {key: OpenClip(premise[key]) for key in ("audio", "video") if key in premise}
        for clip in clips.values():
            stack.callback(clip.close)
        senses = {} if "parts" in premise else _senses(premise, clips)
        if not senses:
            yield Window(_whole(processor, premise))
            return
        base, limit = premise.get("start", 0.0), premise.get("end")
        check_part(base, limit)
        number, last = 0, False
        while not last:
            start, end = base + number * seconds, base + (number + 1) * seconds
            last = not _goes_on(senses, limit, end + SHORTEST_WINDOW - CLOCK_SLACK)
            if last and number == 0:
                yield Window(processor.encode_premise(premise | clips))
                return
            if last:
                end = max(sense.length for sense in senses.values())
                end = end if limit is None or not _goes_on(senses, None, limit) else limit
            part = premise | clips | {"start": start, "end": limit if last else end}
            yield Window(_encode_part(processor, part, senses), (round(start, 3), round(end, 3)), last)
            number += 1


def _senses(premise: dict, clips: dict[str, OpenClip]) -> dict[str, SoundReader | FrameReader]:
    """Returns what reads the sound and the frames that a premise is judged by; nothing if it has no clip, or not the
    one that it should have, which its encoding finds out."""
    modality = premise.get("modality") or ("audiovisual" if len(clips) == 2 else next(iter(clips), "text"))
    if modality not in TABLE or not clips or (TABLE[modality].frames and "video" not in clips):
        return {}
    senses: dict[str, SoundReader | FrameReader] = {}
    if TABLE[modality].frames:
        senses["frames"] = clips["video"].frames
    heard = clips.get("audio", clips.get("video"))
    # A video without sound is an error, or judged by its frames, as the processor has it.
    if TABLE[modality].sound and ("audio" in clips or modality == "audio" or heard.has_sound):
        senses["sound"] = heard.sound
    return senses


def _goes_on(senses: dict[str, SoundReader | FrameReader], limit: float | None, seconds: float) -> bool:
    """Returns whether there is anything to see or hear beyond `seconds`, and before the limit."""
    return (limit is None or limit > seconds) and any(sense.reaches(seconds) for sense in senses.values())


def _whole(processor: CLUEProcessor, premise: dict) -> EncodedPremise:
    """Encodes a premise that is not cut."""
    encoded = processor.encode_premise(premise)
    if any(key in part for part in premise.get("parts", ()) for key in ("audio", "video")):
        encoded.notes += ("a premise of parts is not cut into windows: judged as a whole",)
    return encoded


def _encode_part(processor: CLUEProcessor, part: dict, senses: dict[str, SoundReader | FrameReader]) -> EncodedPremise:
    """Encodes a window by what is there of sound and frames."""
    there = part["start"] + SHORTEST_WINDOW - CLOCK_SLACK
    ended = [name for name, sense in senses.items() if not sense.reaches(there)]
    if not ended:
        return processor.encode_premise(part)
    (name,) = ended
    encoded = processor.encode_premise(part | {"modality": "video" if name == "sound" else "audio"})
    length = senses[name].length
    if name == "sound":
        encoded.notes += (f"the sound ends at {length:.1f} s: judged by the frames alone",)
    else:
        encoded.notes += (f"the frames end at {length:.1f} s: judged by the sound alone",)
    return encoded


def check_window(seconds: float) -> None:
    """Raises a `MediaError` unless a window can have so many seconds."""
    if not 1 <= seconds < math.inf:
        raise MediaError(f"A window has at least one second, got {seconds:g}.")
