# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Defines CLUE on Qwen3-Omni's Thinker: all that is specific to this backbone."""

from collections.abc import Iterable

import numpy as np
import torch
from huggingface_hub.dataclasses import strict
from transformers import Qwen3OmniMoeThinkerConfig, Qwen3OmniMoeThinkerForConditionalGeneration

from .backbone import Backbone
from .configuration_clue import CLUEFields
from .modeling_clue import ConfidenceEstimation
from .processing_clue import CLUEProcessor


# Spectrogram frames that its audio tower takes at a time (twice `n_window`), and the tokens it makes of them.
_WINDOW, _WINDOW_TOKENS = 100, 13


def _num_audio_tokens(num_frames: int) -> int:
    """Counts the tokens after three strided convolutions over each window alone."""
    windows, rest = divmod(num_frames, _WINDOW)
    return windows * _WINDOW_TOKENS + -(-rest // 8)


def _by_time(steps: int, tokens_per_step: int, second_per_grid: float, num_sounds: int) -> Iterable[tuple[int, int]]:
    """Puts each step of the grid before the first token of sound that is not earlier."""
    times = np.arange(steps) * second_per_grid * QWEN3_OMNI.position_ids_per_second
    sounds_before = np.minimum(np.ceil(times), num_sounds).astype(int)
    return [(tokens_per_step, after) for after in np.diff(sounds_before, append=num_sounds).tolist()]


QWEN3_OMNI = Backbone(
    name="Qwen3-Omni",
    prefix="Qwen3OmniMoe",
    tokens={
        "audio_token": "<|audio_pad|>",
        "audio_bos_token": "<|audio_start|>",
        "audio_eos_token": "<|audio_end|>",
        "vision_bos_token": "<|vision_start|>",
        "vision_eos_token": "<|vision_end|>",
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
    },
    token_id_fields={
        "<|audio_pad|>": "audio_token_id",
        "<|audio_start|>": "audio_start_token_id",
        "<|audio_end|>": "audio_end_token_id",
        "<|vision_start|>": "vision_start_token_id",
        "<|vision_end|>": "vision_end_token_id",
        "<|image_pad|>": "image_token_id",
        "<|video_pad|>": "video_token_id",
    },
    fixed={"position_id_per_seconds": 13, "audio_config.n_window": _WINDOW // 2},
    position_dtype=torch.float32,
    markers_share_position=False,
    pads_sound=False,
    projections={"audio_tower": ("proj1", "act", "proj2"), "visual": ("merger", "merger_list")},
    num_audio_tokens=_num_audio_tokens,
    turns=_by_time,
)


@strict
class CLUEQwen3OmniConfig(CLUEFields, Qwen3OmniMoeThinkerConfig):
    """Configures a [`CLUEQwen3OmniForConfidenceEstimation`]: Qwen3-Omni's Thinker with [`CLUEFields`].

    Defaults that transformers has otherwise are the published checkpoint's.
    """

    model_type = "clue_qwen3_omni"
    backbone = QWEN3_OMNI

    position_id_per_seconds: int = 13
    audio_start_token_id: int = 151669
    audio_end_token_id: int = 151670
    audio_token_id: int = 151675


class CLUEQwen3OmniForConfidenceEstimation(ConfidenceEstimation, Qwen3OmniMoeThinkerForConditionalGeneration):
    """Adds a confidence head to Qwen3-Omni's Thinker, whose routers train without a load-balancing loss."""

    config: CLUEQwen3OmniConfig
    backbone = QWEN3_OMNI

    def _audio_embeds(self, input_features: torch.Tensor, feature_attention_mask: torch.Tensor) -> torch.Tensor:
        """Encodes clips shorter than a window alone: the last token of a padded one would see the padding."""
        lengths = feature_attention_mask.sum(dim=1).tolist()
        long = [index for index, length in enumerate(lengths) if length >= _WINDOW]
        outputs = {}
        for clips in (long, *([index] for index in range(len(lengths)) if index not in long)):
            if clips:
                embeds = super()._audio_embeds(input_features[clips], feature_attention_mask[clips])
                counts = [_num_audio_tokens(lengths[index]) for index in clips]
                outputs |= dict(zip(clips, embeds.split(counts), strict=True))
        return torch.cat([outputs[index] for index in range(len(lengths))])


class CLUEQwen3OmniProcessor(CLUEProcessor):
    """Converts premises and hypotheses to the inputs of [`CLUEQwen3OmniForConfidenceEstimation`]."""

    backbone = QWEN3_OMNI


CLUEQwen3OmniConfig.register_for_auto_class()
CLUEQwen3OmniForConfidenceEstimation.register_for_auto_class("AutoModel")
CLUEQwen3OmniProcessor.register_for_auto_class("AutoProcessor")
