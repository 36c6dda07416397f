# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Holds premises that are decoded and tokenized, and the batches made of them."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from transformers import BatchFeature


@dataclass
class EncodedPremise:
    """Holds one premise, ready for a batch. Media tensors are None where its modality has none.

    Sound and frames are inputs of the towers or, where these have encoded them already, what they give before it is
    projected: `audio_embeds` then replaces `input_features`, `video_embeds` `pixel_values_videos`.

    Args:
        modality (`str`): one of `MODALITIES`, as the model sees and hears it.
        input_ids (`list[int]`): tokens of the premise itself, without the prompt around it.
        text (`str`): the premise, if that is its modality.
        input_features (`torch.Tensor` of shape `(num_mel_bins, num_mel_frames)`): log-mel spectrogram, not padded.
        num_mel_frames (`int`): length of the spectrogram.
        pixel_values_videos (`torch.Tensor` of shape `(num_patches, patch_size)`): patches of the frames.
        video_grid_thw (`torch.Tensor` of shape `(3,)`): patches in time, height and width.
        video_second_per_grid (`float`): seconds between two steps of the grid.
        audio_embeds, video_embeds (`torch.Tensor` of shape `(num_tokens, width)`): what the towers give.
        waveform (`np.ndarray` of shape `(num_samples,)`), frames (`np.ndarray` of shape `(num_frames, height, width,
            3)`): the sound, and the frames in the size in which they are cut into patches (uint8), if they were to be
            kept.
        notes (`tuple[str, ...]`): what was cut, thinned or replaced.
        parts (`list[EncodedPremise]`): of a combination, which has no media of its own. A picture is frames of one
            step.
    """

    modality: str
    input_ids: list[int]
    text: str | None = None
    input_features: torch.Tensor | None = None
    num_mel_frames: int | None = None
    pixel_values_videos: torch.Tensor | None = None
    video_grid_thw: torch.Tensor | None = None
    video_second_per_grid: float | None = None
    audio_embeds: torch.Tensor | None = None
    video_embeds: torch.Tensor | None = None
    waveform: np.ndarray | None = None
    frames: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    parts: list["EncodedPremise"] | None = None

    @property
    def num_tokens(self) -> int:
        """Returns the length of the premise in tokens, without the prompt around it."""
        return len(self.input_ids)

    @property
    def media(self) -> list["EncodedPremise"]:
        """Returns what holds its media, in order: its parts, or itself."""
        return [self] if self.parts is None else self.parts


def with_tower_outputs(
    premises: list[EncodedPremise],
    token_ids: tuple[int, int, int],
    audio_embeds: torch.Tensor | None,
    video_embeds: torch.Tensor | None,
) -> list[EncodedPremise]:
    """Replaces the sound and frames of a batch's premises by the outputs of the towers, in row order.

    Args:
        premises (`list[EncodedPremise]`): those of the batch, one for each row.
        token_ids (`tuple[int, int, int]`): of the tokens that hold the places of sound, of videos and of pictures, as
            the model's configuration has them.
        audio_embeds, video_embeds (`torch.Tensor` of shape `(num_tokens, width)`, *optional*): as the model returns
            them.

    Returns:
        `list[EncodedPremise]`: copies, which need no towers.
    """
    replaced = list(map(without_media, premises))
    media = [part for premise in replaced for part in premise.media]
    for name, own_ids, embeds in (
        ("audio_embeds", token_ids[:1], audio_embeds),
        ("video_embeds", token_ids[1:], video_embeds),
    ):
        counts = [sum(map(part.input_ids.count, own_ids)) for part in media]
        if embeds is not None:
            for part, own in zip(media, embeds.split(counts), strict=True):
                setattr(part, name, own if len(own) else None)
    return replaced


def without_media(premise: EncodedPremise) -> EncodedPremise:
    """Returns a copy of a premise, and of its parts, without what goes into the towers."""
    parts = premise.parts and list(map(without_media, premise.parts))
    return replace(premise, input_features=None, pixel_values_videos=None, parts=parts)


class CLUEInputs(BatchFeature):
    """Holds tensors for the model, and information on the premises for people.

    Attributes:
        modalities (`list[str]`): of each premise.
        notes (`list[list[str]]`): for each premise, what was cut, thinned or replaced; mostly empty.
    """

    modalities: list[str]
    notes: list[list[str]]

    # The base class pickles the tensors alone: workers of a data loader would lose the rest.
    def __getstate__(self) -> dict:
        return self.__dict__

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)

    def to(self, *args, **kwargs) -> "CLUEInputs":
        """Moves the tensors and casts sound and frames; seconds stay in float32, since positions depend on them."""
        seconds = self.get("video_second_per_grid")
        super().to(*args, **kwargs)
        if seconds is not None:
            self["video_second_per_grid"] = seconds.to(self["input_ids"].device)
        return self
