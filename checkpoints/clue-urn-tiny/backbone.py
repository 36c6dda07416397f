# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Describes a backbone, and Qwen2.5-Omni. Each other one has a file of its own, like `qwen3_omni.py`."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import torch
import transformers
from torch import nn
from transformers import PreTrainedTokenizerBase

from .modalities import TABLE


# Modalities by the tower that encodes them.
TOWERS = {
    "audio_tower": {name for name, modality in TABLE.items() if modality.sound},
    "visual": {name for name, modality in TABLE.items() if modality.frames},
}

# Default target of LoRA: a list of names would also match the towers.
LORA_TARGET_MODULES = r".*language_model\.layers\.\d+\.self_attn\.[qkvo]_proj"

# Old prefixes of a Thinker's module names, and the present ones.
MODULE_RENAMES = (
    (re.compile(r"^thinker\."), ""),
    (re.compile(r"^audio_tower\."), "model.audio_tower."),
    (re.compile(r"^visual\."), "model.visual."),
    (re.compile(r"^model\.(?!language_model\.|audio_tower\.|visual\.)"), "model.language_model."),
)


def is_part_of(place: str, parts: Iterable[str]) -> bool:
    """Tells whether a layer or weight is one of some parts of the model, or within."""
    return any(f".{part}." in f".{place}." for part in parts)


@dataclass(frozen=True)
class Backbone:
    """Holds what distinguishes one family of Thinkers from the others.

    Args:
        name (`str`): Name in messages.
        prefix (`str`): Prefix of its class names in transformers.
        tokens (`dict[str, str]`): Special tokens, by the names under which its processor asks the tokenizer.
        token_id_fields (`dict[str, str]`): Fields of the Thinker's configuration that hold their ids, by token.
        fixed (`dict[str, int]`): Fields of the configuration that the processor relies on, and their values.
        position_dtype (`torch.dtype`): Dtype of position ids; integers round times down.
        markers_share_position (`bool`): Whether the two markers before a video with its sound share one position, and
            the two after it.
        pads_sound (`bool`): Whether its processor appends silence to a clip; without, an incomplete last frame of the
            spectrogram is dropped.
        projections (`dict[str, tuple[str, ...]]`): By tower, its last layers, which bring what it sees or hears to the
            width of the language model: of sound one after the other, of frames each for a level of its own.
        num_audio_tokens (`Callable`): Number of tokens its audio tower makes of a number of spectrogram frames.
        turns (`Callable`): Order of the frames and the sound of a video: from the number of grid steps, the tokens per
            step, the seconds between two steps and the number of sound tokens to pairs (next tokens of frames, then
            of sound).
        unused (`tuple[str, ...]`): Weights that no computation uses.
    """

    name: str
    prefix: str
    tokens: dict[str, str]
    token_id_fields: dict[str, str]
    fixed: dict[str, int]
    position_dtype: torch.dtype
    markers_share_position: bool
    pads_sound: bool
    projections: dict[str, tuple[str, ...]]
    num_audio_tokens: Callable[[int], int]
    turns: Callable[[int, int, float, int], Iterable[tuple[int, int]]]
    unused: tuple[str, ...] = ()

    def upstream(self, kind: str) -> type:
        """Imports its class of a kind from transformers, such as `"Processor"` or `"ThinkerConfig"`."""
        return getattr(transformers, self.prefix + kind)

    @property
    def model_type(self) -> str:
        """Returns the model type of a full checkpoint; a Thinker's has `_thinker` appended."""
        return self.upstream("Config").model_type

    @property
    def position_ids_per_second(self) -> int:
        """Returns the temporal position ids per second."""
        return self.fixed["position_id_per_seconds"]

    def projections_of(self, model: nn.Module, tower: str) -> dict[str, nn.Module]:
        """Returns the projections of a tower of the model, each of a list by itself, by their names in the model."""
        found = {}
        for name in self.projections[tower]:
            name = f"{tower}.{name}"
            module = model.get_submodule(name)
            if isinstance(module, nn.ModuleList):
                found |= {f"{name}.{index}": part for index, part in module.named_children()}
            else:
                found[name] = module
        return found

    def untrained(self, towers: Iterable[str], trained: Iterable[str]) -> list[str]:
        """Returns those of `towers` whose projections have no weight among those that were `trained`, by name."""
        parts = {tower: [f"{tower}.{name}" for name in self.projections[tower]] for tower in towers}
        trained = list(trained)
        return [tower for tower in parts if not any(is_part_of(name, parts[tower]) for name in trained)]

    def token_ids(self, tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
        """Returns the fields of a configuration that hold the ids of special tokens."""
        return {field: tokenizer.convert_tokens_to_ids(token) for token, field in self.token_id_fields.items()}

    def times(self, steps: int, second_per_grid: torch.Tensor) -> torch.Tensor:
        """Returns the times of a video's grid steps, in position ids."""
        times = torch.arange(steps, device=second_per_grid.device) * second_per_grid * self.position_ids_per_second
        return times.to(self.position_dtype)


# Position ids in a second, and in a chunk, in which Qwen2.5-Omni puts frames before sound.
_PER_SECOND, _CHUNK_SECONDS = 25, 2
_CHUNK_POSITIONS = _PER_SECOND * _CHUNK_SECONDS


def _num_audio_tokens(num_frames: int) -> int:
    """Counts 25 tokens a second, after a strided convolution and pooling."""
    return ((num_frames - 1) // 2 + 1 - 2) // 2 + 1


def _by_chunk(steps: int, tokens_per_step: int, second_per_grid: float, num_sounds: int) -> Iterable[tuple[int, int]]:
    # In float32 and rounded down as the model does it: otherwise a frame on the edge of a chunk may get the position
    # of a sound.
    times = QWEN2_5_OMNI.times(steps, torch.tensor(second_per_grid)).numpy().repeat(tokens_per_step)
    return zip_longest(_chunk_sizes(times), _chunk_sizes(np.arange(num_sounds)), fillvalue=0)


def _chunk_sizes(times: np.ndarray) -> list[int]:
    """Counts the tokens of each chunk: a token far ahead opens one chunk, not all in between, as in the model."""
    sizes, chunk_end = [0], _CHUNK_POSITIONS
    for time in times:
        if time >= chunk_end:
            sizes.append(0)
            chunk_end += _CHUNK_POSITIONS
        sizes[-1] += 1
    return sizes


QWEN2_5_OMNI = Backbone(
    name="Qwen2.5-Omni",
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
    fixed={"position_id_per_seconds": _PER_SECOND, "seconds_per_chunk": _CHUNK_SECONDS},
    position_dtype=torch.long,
    markers_share_position=True,
    pads_sound=True,
    projections={"audio_tower": ("proj",), "visual": ("merger",)},
    num_audio_tokens=_num_audio_tokens,
    turns=_by_chunk,
    unused=("model.audio_tower.audio_bos_eos_token.weight",),
)
