# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Finds the numbers that make vLLM order and place frames and sound as CLUE does.

vLLM 0.32 computes positions in another precision, and puts frames and sound in turns by another rule, which agree with
those of CLUE and transformers for most rates of frames, but not for all.
"""

from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch

from .backbone import Backbone
from .encoded_premise import EncodedPremise


# Neighbours of a float32 that are tried on both sides: far closer than any clock of a video.
_NUDGES = 16

Turns = list[tuple[int, int]]


class Times(NamedTuple):
    """Holds what a request says of the times of its frames.

    Args:
        seconds (`float`): between two steps of the grid.
        displaced (`int`): number of steps whose position is another one than the model's.
    """

    seconds: float
    displaced: int


def served_times(backbone: Backbone, premise: EncodedPremise, merge_size: int = 2) -> Times | None:
    """Returns the time between the steps of one video with the fewest of them displaced; None if there is none that
    puts frames and sound into the model's order.

    For positions vLLM multiplies in float64 what the model multiplies in float32: 5 times 0.16 s times 25 a second is
    20 in one and a little less in the other, which is rounded down to 19. Hence neighbours of a number are tried.

    Args:
        backbone (`Backbone`): of the model.
        premise (`EncodedPremise`): with frames, and sound or none.
        merge_size (`int`, defaults to 2): patches in height and in width that become one token.
    """
    given, (steps, height, width) = premise.video_second_per_grid, premise.video_grid_thw.tolist()
    wanted = backbone.times(steps, torch.tensor(given)).numpy()
    spacing = float(np.spacing(np.float32(given)))
    found = []
    for nudge in range(-_NUDGES, _NUDGES + 1):
        seconds = float(np.float32(given + nudge * spacing))
        times = (np.arange(steps) * (seconds * backbone.position_ids_per_second)).astype(np.int64)
        found.append((int((times != wanted).sum()), abs(nudge), seconds, times))
    found.sort(key=lambda entry: entry[:2])
    if premise.num_mel_frames is None:
        return Times(found[0][2], found[0][0])
    tokens, sounds = height * width // merge_size**2, backbone.num_audio_tokens(premise.num_mel_frames)
    turns = _joined(backbone.turns(steps, tokens, given, sounds))
    chunk = backbone.position_ids_per_second * backbone.fixed["seconds_per_chunk"]
    # vLLM's order has the sound of chunks without a frame, its positions have not.
    if _vllm_turns(np.bincount(wanted // chunk), tokens, sounds, chunk) != turns:
        return None
    for displaced, _, seconds, times in found:
        counts = np.bincount(times // chunk)
        if _vllm_turns(counts[counts > 0], tokens, sounds, chunk) == turns:
            return Times(seconds, displaced)
    return None


def _vllm_turns(counts: np.ndarray, tokens: int, sounds: int, chunk: int) -> Turns:
    """Returns how many tokens of frames and of sound follow each other in vLLM, which takes chunk by chunk."""
    turns, rest = [], sounds
    for count in counts.tolist():
        turns.append((count * tokens, min(chunk, rest)))
        rest -= turns[-1][1]
    return _joined([*turns, (0, rest)])


def _joined(turns: Iterable[tuple[int, int]]) -> Turns:
    """Joins turns between which nothing else lies."""
    items = [item for frames, sound in turns for item in (("frames", frames), ("sound", sound)) if item[1]]
    runs = [(kind, sum(count for _, count in run)) for kind, run in groupby(items, key=lambda item: item[0])]
    if runs and runs[0][0] == "sound":
        runs.insert(0, ("frames", 0))
    if len(runs) % 2:
        runs.append(("sound", 0))
    return [(frames, sound) for (_, frames), (_, sound) in zip(runs[::2], runs[1::2], strict=True)]
