# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Reads premises once, and hypotheses about them in parts, as often as one likes."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch.distributed.tensor import DTensor
from torch.nn.utils.rnn import pad_sequence

from .modalities import of_senses
from .premise_state import PremiseCache, PremiseState, fingerprint


# Hypotheses of a premise that go through the model together. Their own mask grows with the square of this number, and
# a layer is slow on few tokens; on a CPU 8 to 32 take about the same.
HYPOTHESES_AT_ONCE = 16
# Where an attention takes no mask each has a row of its own, with a copy of its premise's keys and values.
ROWS_AT_ONCE = 8
MASKED_ATTENTION = ("eager", "sdpa")


class Media(NamedTuple):
    """Holds the sound and frames of a batch, as [`CLUEForConfidenceEstimation.forward`] takes them."""

    input_features: torch.Tensor | None = None
    feature_attention_mask: torch.Tensor | None = None
    pixel_values_videos: torch.Tensor | None = None
    video_grid_thw: torch.LongTensor | None = None
    video_second_per_grid: torch.Tensor | None = None
    audio_embeds: torch.Tensor | None = None
    video_embeds: torch.Tensor | None = None


class PremiseReader:
    """Adds to a [`BranchedThinker`], as a mixin, premises that are read apart from their hypotheses."""

    @torch.no_grad()
    def read(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        branch_ids: torch.LongTensor | None = None,
        **media: torch.Tensor | None,
    ) -> PremiseState:
        """Reads the premises of a batch, without its hypotheses, if it has any.

        Arguments are those of [`CLUEForConfidenceEstimation.forward`], with the sound and frames as `media`.

        Returns:
            [`PremiseState`]

        Raises:
            ValueError: as `forward`, and if a row has no token that stands before all hypotheses.
            TypeError: naming an argument that is not known.
        """
        if branch_ids is None:
            branch_ids = torch.zeros_like(input_ids) if attention_mask is None else attention_mask.long() - 1
        state, *_ = self._read(input_ids, branch_ids, Media(**media))
        return replace(state, fingerprint=fingerprint(self))

    def _reads_apart(self, branch_ids: torch.Tensor | None) -> bool:
        """Returns whether premises and hypotheses go through the model one after the other: no gradient flows from
        the one to the other, and together they would take more, or could not be kept apart.

        Where weights are spread over processes, each layer is put together in all of them at once: they have to take
        the same steps, however many hypotheses each of them has.
        """
        at_once = HYPOTHESES_AT_ONCE if self.config.text_config._attn_implementation in MASKED_ATTENTION else 1
        if torch.is_grad_enabled() or branch_ids is None or int(branch_ids.max()) <= at_once:
            return False
        weight = next(self.model.language_model.layers[0].parameters())
        # Between its uses ZeRO-3 leaves nothing of a weight here, FSDP2 a part.
        return weight.numel() > 0 and not isinstance(weight, DTensor)

    def _read(
        self, input_ids: torch.LongTensor, branch_ids: torch.LongTensor, media: Media
    ) -> tuple[PremiseState, torch.Tensor | None, torch.Tensor | None]:
        """Reads premises; returns also what audio and vision tower give."""
        self._refuse_new_projections(media)
        lengths = (branch_ids == 0).sum(dim=1)
        if not bool(lengths.all()):
            raise ValueError("Every row needs a premise before its hypotheses: prepare it with the `CLUEProcessor`.")
        input_ids = input_ids[:, : int(lengths.max())]
        mask = torch.arange(input_ids.shape[1], device=input_ids.device) < lengths[:, None]
        branch_ids = mask.long() - 1
        inputs_embeds, deepstack, audio_embeds, video_embeds = self._embed(input_ids, media)
        positions, ends = self._branch_position_ids(
            input_ids, branch_ids, media.video_grid_thw, media.video_second_per_grid
        )
        self._check_length(positions, ends)
        cache = PremiseCache()
        self.model.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=mask.long(),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            **deepstack,
        )
        cache.complete = True
        modalities = self._modalities(input_ids)
        inputs = inputs_embeds.detach() if self.keeps_inputs else None
        state = PremiseState(cache, mask, positions, ends, modalities, [[] for _ in modalities], inputs=inputs)
        return state, audio_embeds, video_embeds

    @property
    def keeps_inputs(self) -> bool:
        """Returns whether what the language model is given is kept with premises that it has read."""
        return False

    @property
    def sound_block(self) -> int:
        """Returns the frames of a spectrogram that the audio tower takes alone: it hears no further."""
        config = self.config.audio_config
        return config.to_dict().get("n_window_infer", 2 * config.n_window)

    def _modalities(self, input_ids: torch.Tensor) -> list[str]:
        """Returns the modality of each row's premise by its places of sound and frames."""
        sounds = (input_ids == self.config.audio_token_id).any(dim=1).tolist()
        frames = self._frame_places(input_ids).any(dim=1).tolist()
        return [of_senses(*senses) for senses in zip(sounds, frames, strict=True)]

    def _check_state(self, state: PremiseState) -> None:
        """Raises a `ValueError` if a state is that of another checkpoint, or lies where this model does not."""
        if state.fingerprint != fingerprint(self):
            raise ValueError(
                "These premises were read by other weights than this model has: read them anew with `model.read`."
            )
        if (state.device, state.dtype) != (self.device, self.dtype):
            raise ValueError(
                f"These premises lie on {state.device} in {state.dtype}, the model on {self.device} in {self.dtype}: "
                "move them with `state.to(model.device, model.dtype)`."
            )

    def _read_out(
        self,
        state: PremiseState,
        input_ids: torch.LongTensor,
        branch_ids: torch.LongTensor,
        visible: torch.LongTensor | None = None,
        position_ids: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, list[int]]:
        """Returns the last hidden state of each hypothesis, `(H, hidden_size)`, row by row, and their number in each
        row; a few hypotheses at a time. Other arguments are those of [`~CLUEForConfidenceEstimation.judge`]."""
        masked = self.config.text_config._attn_implementation in MASKED_ATTENTION
        found: list[list[torch.Tensor]] = [[] for _ in range(len(state))]
        for rows, places in _in_parts(branch_ids, HYPOTHESES_AT_ONCE if masked else ROWS_AT_ONCE):
            part, padding = state.select(rows), places < 0
            ids = input_ids[rows].gather(1, places.clamp(min=0))
            branches = branch_ids[rows].gather(1, places.clamp(min=0)).masked_fill(padding, -1)
            if not masked:
                judged = self._in_rows(part, ids, branches)
            elif visible is None:
                judged = self._side_by_side(part, ids, branches)
            else:
                seen = visible[rows].gather(1, places.clamp(min=0))
                positions = position_ids[:, rows].gather(2, places.clamp(min=0).expand(3, -1, -1))
                judged = self._side_by_side(part, ids, branches, seen, positions)
            for row, hidden in zip(rows, judged, strict=True):
                found[row].append(hidden)
        counts = [sum(map(len, parts)) for parts in found]
        return torch.cat([hidden for parts in found for hidden in parts]), counts

    def _side_by_side(
        self,
        state: PremiseState,
        input_ids: torch.Tensor,
        branch_ids: torch.Tensor,
        visible: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
    ) -> list[torch.Tensor]:
        """Reads all hypotheses of a premise in one row, each of which sees the premise, or its first `visible` tokens,
        and itself."""
        if positions is None:
            positions, _ = self._branch_position_ids(input_ids, branch_ids, None, None)
            positions = positions + state.ends[:, None]
        self._check_length(positions, state.ends)
        own = branch_ids[:, :, None] == branch_ids[:, None, :]
        own &= torch.ones(own.shape[1:], dtype=torch.bool, device=own.device).tril()
        cache, premise = state.cache, state.mask[:, None, :].expand(-1, own.shape[1], -1)
        if visible is not None:
            cache, premise = cache.first(int(visible.max())), premise[:, :, : int(visible.max())]
            premise = premise & (torch.arange(premise.shape[2], device=premise.device) < visible[:, :, None])
        hidden = self._see(cache, input_ids, positions, torch.cat((premise, own), dim=2)[:, None])
        last = last_of_branch(branch_ids)
        return [row[at] for row, at in zip(hidden, last, strict=True)]

    def _in_rows(
        self, state: PremiseState, input_ids: torch.Tensor, branch_ids: torch.Tensor
    ) -> Iterator[torch.Tensor]:
        """Reads each hypothesis in a row of its own: plainly causal, for attention that takes no mask."""
        for row in range(len(state)):
            premise = state.select([row])
            sizes = torch.bincount(branch_ids[row][branch_ids[row] > 0] - branch_ids[row][0])
            ids = pad_sequence(input_ids[row, : int(sizes.sum())].split(sizes.tolist()), batch_first=True)
            tokens = torch.arange(ids.shape[1], device=ids.device) < sizes[:, None]
            positions, _ = self._branch_position_ids(ids, tokens.long() * 2 - 1, None, None)
            positions = positions + premise.ends[:, None]
            self._check_length(positions, premise.ends.expand(len(ids)))
            cache = premise.cache.repeat(len(ids))
            mask = torch.cat((premise.mask.expand(len(ids), -1), tokens), dim=1)
            hidden = self._see(cache, ids, positions, mask.long())
            yield hidden[torch.arange(len(ids), device=ids.device), sizes - 1]

    def _see(
        self, cache: PremiseCache, input_ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Runs tokens through the language model behind those of a cache; a mask of four dimensions says what each
        of them sees."""
        if mask.ndim == 4 and self.config.text_config._attn_implementation == "eager":  # adds its mask to the scores
            mask = torch.where(mask, 0.0, torch.finfo(self.dtype).min).to(self.dtype)
        return self.model.language_model(
            inputs_embeds=self.get_input_embeddings()(input_ids),
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state


def last_of_branch(branch_ids: torch.Tensor) -> torch.Tensor:
    """Tells the last token of each hypothesis."""
    last = (branch_ids > 0) & (branch_ids != branch_ids.roll(-1, dims=1))
    last[:, -1] = branch_ids[:, -1] > 0
    return last


def _in_parts(branch_ids: torch.Tensor, at_once: int) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Yields `at_once` hypotheses of each premise at a time: the rows that have any, and where in these their tokens
    are, -1 for padding."""
    for start in range(1, int(branch_ids.max()) + 1, at_once):
        chosen = (branch_ids >= start) & (branch_ids < start + at_once)
        rows = chosen.any(dim=1).nonzero()[:, 0].tolist()
        places = [chosen[row].nonzero()[:, 0] for row in rows]
        yield rows, pad_sequence(places, batch_first=True, padding_value=-1)
