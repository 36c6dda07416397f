# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""What is one backbone's own, and Qwen2.5-Omni's. Another backbone stands in a file like `qwen3_omni.py`."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import torch
import transformers

from .modalities import TABLE


# The towers of a Thinker, and the modalities that go through each.
TOWERS = {
    "audio_tower": {name for name, modality in TABLE.items() if modality.sound},
    "visual": {name for name, modality in TABLE.items() if modality.frames},
}

# Where LoRA puts its adapters if it is not told: a list of names would also hit the towers.
LORA_TARGET_MODULES = r".*language_model\.layers\.\d+\.self_attn\.[qkvo]_proj"

# What the names of a Thinker's modules have begun with, and begin with today.
MODULE_RENAMES = (
    (re.compile(r"^thinker\."), ""),
    (re.compile(r"^audio_tower\."), "model.audio_tower."),
    (re.compile(r"^visual\."), "model.visual."),
    (re.compile(r"^model\.(?!language_model\.|audio_tower\.|visual\.)"), "model.language_model."),
)


@dataclass(frozen=True)
class Backbone:
    """A family of Thinkers, as far as it differs from others.

    Args:
        name (`str`): What people call it.
        model_type (`str`): That of a full checkpoint's configuration; of a Thinker's with `_thinker` behind it.
        prefix (`str`): What the names of its classes in transformers begin with.
        tokens (`dict[str, str]`): Its special tokens, by the names under which its processor asks the tokenizer.
        token_id_fields (`dict[str, str]`): Fields of the Thinker's configuration that keep their ids, by token.
        fixed (`dict[str, int]`): Fields of the configuration that the processor counts on, and their values.
        position_ids_per_second (`int`): Its clock.
        position_dtype (`torch.dtype`): Of position ids: whole ones round times down.
        markers_share_position (`bool`): Whether the two markers before a video with its sound have one position, and
            the two behind it.
        pads_sound (`bool`): Whether its processor puts silence behind a clip; without, what does not fill the last
            frame of a spectrogram is left out.
        num_audio_tokens (`Callable`): Number of tokens that its audio tower makes of so many frames of a spectrogram.
        turns (`Callable`): How the frames and the sound of a video take turns: of the number of steps of the grid, the
            tokens of a step, the seconds between two and the number of tokens of sound, pairs of how many tokens of
            frames come next, and how many of sound then.
        unused (`tuple[str, ...]`): Weights that nothing passes through.
    """

    name: str
    model_type: str
    prefix: str
    tokens: dict[str, str]
    token_id_fields: dict[str, str]
    fixed: dict[str, int]
    position_ids_per_second: int
    position_dtype: torch.dtype
    markers_share_position: bool
    pads_sound: bool
    num_audio_tokens: Callable[[int], int]
    turns: Callable[[int, int, float, int], Iterable[tuple[int, int]]]
    unused: tuple[str, ...] = ()

    def upstream(self, kind: str) -> type:
        """Its class of transformers: `"Config"`, `"ThinkerConfig"`, `"Processor"`, `"ForConditionalGeneration"` or
        `"ThinkerForConditionalGeneration"`, imported when it is asked for."""
        return getattr(transformers, self.prefix + kind)

    def times(self, steps: int, second_per_grid: torch.Tensor) -> torch.Tensor:
        """Times of the steps of a video's grid, in position ids."""
        times = torch.arange(steps, device=second_per_grid.device) * second_per_grid * self.position_ids_per_second
        return times.to(self.position_dtype)


# Position ids in a chunk of two seconds (`seconds_per_chunk`), within which Qwen2.5-Omni has first frames, then sound.
_CHUNK_POSITIONS = 50


def _num_audio_tokens(num_frames: int) -> int:
    """After a strided convolution and pooling: 25 a second."""
    return ((num_frames - 1) // 2 + 1 - 2) // 2 + 1


def _by_chunk(steps: int, tokens_per_step: int, second_per_grid: float, num_sounds: int) -> Iterable[tuple[int, int]]:
    # In float32 and rounded down as the model does it: otherwise a frame on the edge of a chunk may get the position
    # of a sound.
    times = QWEN2_5_OMNI.times(steps, torch.tensor(second_per_grid)).numpy().repeat(tokens_per_step)
    return zip_longest(_chunk_sizes(times), _chunk_sizes(np.arange(num_sounds)), fillvalue=0)


def _chunk_sizes(times: np.ndarray) -> list[int]:
    """How many tokens go into each chunk of time, by the rule the model's position ids follow.

    A token opens the next chunk when its time has reached it; a token far ahead opens one chunk, not all in between.
    """
    sizes, chunk_end = [0], _CHUNK_POSITIONS
    for time in times:
        if time >= chunk_end:
            sizes.append(0)
            chunk_end += _CHUNK_POSITIONS
        sizes[-1] += 1
    return sizes


QWEN2_5_OMNI = Backbone(
    name="Qwen2.5-Omni",
    model_type="qwen2_5_omni",
    prefix="Qwen2_5Omni",
    tokens={
        "audio_token": "<|AUDIO|>",
        "audio_bos_token": "<|audio_bos|>",
        "audio_eos_token": "<|audio_eos|>",
        "vision_bos_token": "<|vision_bos|>",
        "vision_eos_token": "<|vision_eos|>",
        "image_token": "<|IMAGE|>",
        "video_token": "<|VIDEO|>",
    },
    token_id_fields={
        "<|AUDIO|>": "audio_token_index",
        "<|audio_bos|>": "audio_start_token_id",
        "<|audio_eos|>": "audio_end_token_id",
        "<|vision_bos|>": "vision_start_token_id",
        "<|vision_eos|>": "vision_end_token_id",
        "<|IMAGE|>": "image_token_index",
        "<|VIDEO|>": "video_token_index",
    },
    fixed={"position_id_per_seconds": 25, "seconds_per_chunk": 2},
    position_ids_per_second=25,
    position_dtype=torch.long,
    markers_share_position=True,
    pads_sound=True,
    num_audio_tokens=_num_audio_tokens,
    turns=_by_chunk,
    unused=("model.audio_tower.audio_bos_eos_token.weight",),
)
