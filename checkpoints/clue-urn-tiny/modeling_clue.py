# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Defines CLUE: a Thinker that reads one distribution over confidence bins per hypothesis.

A row of the batch holds one premise and all its hypotheses, each a branch that sees the premise and itself:

    [premise, branch 0] [hypothesis 1, branch 1] [hypothesis 2, branch 2] ... [padding, branch -1]

The premise is encoded once, and each hypothesis gets the answer it would get alone.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import get_ident
from typing import ClassVar, Self

import torch
from torch import nn
from transformers import AutoModel, Qwen2_5OmniThinkerForConditionalGeneration
from transformers.conversion_mapping import get_checkpoint_conversion_mapping, register_checkpoint_conversion_mapping
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.utils import ModelOutput, logging

from .backbone import QWEN2_5_OMNI, Backbone, is_part_of
from .confidence import confidence_loss
from .configuration_clue import CLUEConfig, CLUEFields
from .media_container import shorten
from .novelty import (
    HUB_OPTIONS,
    flatten_distribution,
    input_means,
    novelty_of,
    novelty_parts,
    read_novelty,
    withdraw_probability,
    write_novelty,
)
from .pipeline_clue import UncertainInferencePipeline
from .posthoc import calibrated_distribution, calibrated_probability, for_modality
from .premise_state import PremiseState
from .reading import MASKED_ATTENTION, Media, PremiseReader, last_of_branch


logger = logging.get_logger(__name__)

_FLOAT_DTYPES = {torch.float32, torch.float64, torch.bfloat16, torch.float16}

_REQUESTED_OUTPUTS = ("output_hidden_states", "output_attentions")

# Arguments of other models that CLUE derives itself.
_DERIVED_ARGUMENTS = (
    "inputs_embeds",
    "position_ids",
    "past_key_values",
    "cache_position",
    "pixel_values",
    "image_grid_thw",
    "use_audio_in_video",
)


@dataclass
class CLUEOutput(ModelOutput):
    """Holds the outputs of CLUE, flat over hypotheses, row by row, H in all.

    Args:
        loss (`torch.FloatTensor` of shape `(1,)`, *optional*):
            Loss of the batch, in float32; there when `labels` are.
        logits (`torch.FloatTensor` of shape `(H, N)`):
            Scores of the confidence bins, the same as those of `<CONF_i>` in an exported Thinker; never calibrated.
        probability (`torch.FloatTensor` of shape `(H,)`):
            Probability that the hypothesis is true: the expectation of the distribution, in float32 (equation 1),
            calibrated if the model is.
        distribution (`torch.FloatTensor` of shape `(H, N)`):
            Probabilities of the confidence bins, in float32, at the calibration's temperature if the model has one.
        premise_index (`torch.LongTensor` of shape `(H,)`):
            The row of the batch each hypothesis belongs to.
        novelty (`torch.FloatTensor` of shape `(H,)`, *optional*):
            How far premise or hypothesis lie outside of what the calibration was fitted to, from 0 to 1, in float32;
            there where it tells (`novelty.py`).
        hypothesis_loss (`torch.FloatTensor` of shape `(H,)`, *optional*):
            Loss of each hypothesis, detached, in float32; there when `labels` are.
        audio_embeds, video_embeds (`torch.FloatTensor` of shape `(num_tokens, width)`, *optional*):
            What the towers give for sound and frames, before it is projected to the width of the language model:
            detached, and can be passed in instead of these. A token of frames has all patches that are merged into it
            and, if a vision tower feeds several layers of the language model, those for each, side by side.
        hidden_states, attentions (`tuple[torch.FloatTensor]`, *optional*):
            Of the language model, with `output_hidden_states=True` and `output_attentions=True`.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    probability: torch.FloatTensor | None = None
    distribution: torch.FloatTensor | None = None
    premise_index: torch.LongTensor | None = None
    novelty: torch.FloatTensor | None = None
    hypothesis_loss: torch.FloatTensor | None = None
    audio_embeds: torch.FloatTensor | None = None
    video_embeds: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None


def change_class(model, model_class, config):
    """Returns the body and vocabulary projection of `model`, not copied, in a model of another class.

    A new model is saved under a Thinker's own weight names, a loaded one under those of its source.
    """
    with torch.device("meta"):
        new = model_class(config)
    new.model, new.lm_head = model.model, model.lm_head
    new.generation_config = model.generation_config
    return new


def _has_sound_in_video(ids: torch.Tensor, config: CLUEFields) -> bool:
    starts = (ids[:-1] == config.vision_start_token_id) & (ids[1:] == config.audio_start_token_id)
    return bool(starts.any())


def _check_arguments(branch_ids: torch.Tensor | None, kwargs: dict) -> list[str]:
    """Refuses arguments that are not known, or missing; returns which further outputs are asked for."""
    # PEFT and others pass unused arguments as None; nothing is generated here.
    given = [name for name, value in kwargs.items() if value is not None and name != "use_cache"]
    for name in given:
        if name in _DERIVED_ARGUMENTS:
            raise ValueError(f"`{name}` cannot be given: it follows from what the `CLUEProcessor` prepares.")
        if name not in _REQUESTED_OUTPUTS:
            raise TypeError(f"CLUE takes no argument `{shorten(name)}`: see `CLUEForConfidenceEstimation.forward`.")
    if branch_ids is None:
        raise ValueError("`branch_ids` are missing: prepare the inputs with the `CLUEProcessor`.")
    if not bool((branch_ids > 0).any(dim=1).all()):
        raise ValueError("Every row of the batch needs at least one hypothesis.")
    return [name for name in _REQUESTED_OUTPUTS if kwargs.get(name)]


class BranchedThinker(PremiseReader):
    """Extends a transformers Thinker, as a mixin, to rows of a premise and several hypotheses, each a branch."""

    backbone: ClassVar[Backbone]

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if issubclass(cls, nn.Module):
            # Checkpoints name their weights as the published ones do. transformers renames them by class name and
            # does not know ours: without this line the language model would stay at its random initialisation.
            thinker = f"{cls.backbone.prefix}ThinkerForConditionalGeneration"
            mapping = get_checkpoint_conversion_mapping(thinker)
            register_checkpoint_conversion_mapping(cls.__name__, mapping, overwrite=True)

    @property
    def plain_audiovisual_positions(self) -> bool:
        """Returns whether positions of a video with its sound count the tokens: never in a plain Thinker."""
        return False

    def encode(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        branch_ids: torch.LongTensor | None = None,
        **kwargs,
    ) -> tuple[ModelOutput, torch.Tensor | None, torch.Tensor | None]:
        """Runs towers and language model, each hypothesis a branch of its premise.

        Arguments are those of [`CLUEForConfidenceEstimation.forward`].

        Returns:
            `tuple`: the language model's output, with last hidden states of shape `(batch_size, sequence_length,
            hidden_size)`, and what audio and vision tower give, as in [`CLUEOutput`], or `None`.

        Raises:
            ValueError: if `branch_ids` are missing or malformed, the places and the inputs of media do not agree, a
                row is longer than the model's positions, several hypotheses share a premise under an attention that
                takes no mask, or an argument is passed that follows from the others.
        """
        return self._encode(input_ids, attention_mask, branch_ids, **kwargs)[:3]

    def _encode(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        branch_ids: torch.LongTensor | None = None,
        **kwargs,
    ) -> tuple[ModelOutput, torch.Tensor | None, torch.Tensor | None, torch.Tensor]:
        """Does what [`encode`] says; returns also the inputs of the language model."""
        media = Media(**{name: kwargs.pop(name, None) for name in Media._fields})
        requested_outputs = _check_arguments(branch_ids, kwargs)
        inputs_embeds, deepstack, audio_embeds, video_embeds = self._embed(input_ids, media)
        position_ids, ends = self._branch_position_ids(
            input_ids, branch_ids, media.video_grid_thw, media.video_second_per_grid
        )
        self._check_length(position_ids, ends)
        outputs = self.model.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=self._branch_mask(branch_ids, attention_mask),
            position_ids=position_ids,
            use_cache=False,
            **dict.fromkeys(requested_outputs, True),
            **deepstack,
        )
        return outputs, audio_embeds, video_embeds, inputs_embeds

    def _embed(
        self, input_ids: torch.LongTensor, media: Media
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor | None, torch.Tensor | None]:
        """Returns the embeddings of tokens, sound and frames; what is added behind the first layers, as arguments of
        the language model; and what audio and vision tower give."""
        inputs_embeds = self.get_input_embeddings()(input_ids)
        audio_embeds, video_embeds = media.audio_embeds, media.video_embeds
        if media.input_features is not None:
            with self._before_projection("audio_tower"):
                audio_embeds = self._audio_embeds(media.input_features, media.feature_attention_mask)
        if media.pixel_values_videos is not None:
            with self._before_projection("visual"):
                features = self.model.get_video_features(
                    media.pixel_values_videos, media.video_grid_thw, return_dict=True
                )
            levels = [features.pooler_output, *features.get("deepstack_features", ())]
            video_embeds = torch.cat([torch.cat(level) for level in levels], dim=1)
        sounds, levels = None, [None]
        if audio_embeds is not None:
            sounds = audio_embeds = self._as_projected(audio_embeds, "audio_tower")
            for projection in self.backbone.projections_of(self.model, "audio_tower").values():
                sounds = projection(sounds)
        if video_embeds is not None:
            video_embeds = self._as_projected(video_embeds, "visual")
            projections = self.backbone.projections_of(self.model, "visual").values()
            patches = (
                level.reshape(-1, self.config.vision_config.hidden_size)
                for level in video_embeds.chunk(len(projections), dim=1)
            )
            # The first level goes into the input, others are added behind the first layers of the language model.
            levels = [projection(level) for projection, level in zip(projections, patches, strict=True)]
        for name, places, embeds in (
            ("audio", input_ids == self.config.audio_token_id, sounds),
            ("video", self._frame_places(input_ids), levels[0]),
        ):
            num_places, num_embeds = int(places.sum()), 0 if embeds is None else len(embeds)
            if num_places != num_embeds:
                raise ValueError(
                    f"The batch has places for {num_places} tokens of {name}, but {num_embeds} are given."
                )
            if num_places:
                inputs_embeds = inputs_embeds.masked_scatter(places[..., None], embeds.to(inputs_embeds))

        deepstack = {}
        if len(levels) > 1:
            places = self._frame_places(input_ids)
            deepstack = {"deepstack_visual_embeds": levels[1:], "visual_pos_masks": places}
        return inputs_embeds, deepstack, audio_embeds, video_embeds

    def _check_length(self, position_ids: torch.Tensor, ends: torch.Tensor) -> None:
        """Raises a `ValueError` if a row is longer than the model's positions; premises end at `ends`."""
        longest, limit = int(position_ids.max()) + 1, self.config.text_config.max_position_embeddings
        if longest > limit:
            row = int(position_ids.amax(dim=(0, 2)).argmax())
            premise = int(ends[row])
            raise ValueError(
                f"Premise {row} of the batch takes {premise} positions and its longest hypothesis {longest - premise} "
                f"more, but the model was built for {limit}: shorten the text, or lower `max_text_tokens`, "
                "`max_frames`, `fps` or `max_audio_seconds`."
            )

    def _frame_places(self, ids: torch.Tensor) -> torch.Tensor:
        """Returns where frames are, of a video or of a picture."""
        return (ids == self.config.video_token_id) | (ids == self.config.image_token_id)

    def _audio_embeds(self, input_features: torch.Tensor, feature_attention_mask: torch.Tensor) -> torch.Tensor:
        features = self.model.get_audio_features(input_features, feature_attention_mask, return_dict=True)
        return features.last_hidden_state

    @contextmanager
    def _before_projection(self, tower: str) -> Iterator[None]:
        """Has a tower give what stands before its projections, a row for each token; without gradients if all but
        these is frozen: gradient checkpointing would have it recomputed for nothing."""
        projections = self.backbone.projections_of(self.model, tower)
        weights = self.model.get_submodule(tower).named_parameters(prefix=tower)
        trained = any(weight.requires_grad for name, weight in weights if not is_part_of(name, projections))
        patches = self.config.vision_config.spatial_merge_size**2 if tower == "visual" else 1
        thread, taken = get_ident(), []

        # A projection gets no rows, and those that it should have got come out of it. Another thread may run the same
        # tower as a part of a plain Thinker.
        def take(module: nn.Module, inputs: tuple[torch.Tensor]) -> torch.Tensor | None:
            if get_ident() == thread:
                taken.append(inputs[0].reshape(len(inputs[0]) // patches, -1))
                return inputs[0][:0]

        def give_back(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor | None:
            if get_ident() == thread:
                return taken.pop()

        with ExitStack() as hooks, torch.set_grad_enabled(trained and torch.is_grad_enabled()):
            for projection in projections.values():
                hooks.enter_context(projection.register_forward_pre_hook(take))
                hooks.enter_context(projection.register_forward_hook(give_back))
            yield

    def _as_projected(self, embeds: torch.Tensor, tower: str) -> torch.Tensor:
        """Returns what a tower gives in the dtype in which it is projected, whether it was kept or just computed."""
        device = embeds.device.type
        if torch.is_autocast_enabled(device):
            return embeds.to(torch.get_autocast_dtype(device))
        return embeds.to(self.model.get_submodule(tower).dtype)

    def _branch_mask(self, branch_ids: torch.Tensor, attention_mask: torch.Tensor | None):
        """Lets token i see j <= i if j belongs to the premise or to the branch of i."""
        if attention_mask is None:
            attention_mask = (branch_ids >= 0).long()
        if int(branch_ids.max()) <= 1:  # one hypothesis a row: plainly causal, and any attention will do
            return attention_mask
        text_config = self.config.text_config
        if text_config._attn_implementation not in MASKED_ATTENTION:
            raise ValueError(
                f"attn_implementation={text_config._attn_implementation!r} cannot keep hypotheses of one premise "
                "apart: load the model with attn_implementation='sdpa' or 'eager', or give one hypothesis a row."
            )

        # Built by broadcasting: `create_causal_mask` with a function of our own takes ten times as long on a CPU.
        queries, keys = branch_ids[:, None, :, None], branch_ids[:, None, None, :]
        visible = (keys == 0) | (keys == queries)
        visible &= torch.ones(visible.shape[-2:], dtype=torch.bool, device=visible.device).tril()
        visible &= attention_mask[:, None, None, :].bool()
        if text_config._attn_implementation == "eager":  # adds its mask to the scores
            return torch.where(visible, 0.0, torch.finfo(self.dtype).min).to(self.dtype)
        return visible

    def _branch_position_ids(
        self, input_ids, branch_ids, video_grid_thw, video_second_per_grid
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Computes rotary positions, `(3, batch_size, sequence_length)`, from tokens alone: no flag can be lost; and
        where hypotheses begin, `(batch_size,)`."""
        config = self.config
        columns = torch.arange(input_ids.shape[1], device=input_ids.device)
        new_branch = branch_ids != branch_ids.roll(1, dims=1)
        new_branch[:, 0] = True
        within_branch = columns - torch.where(new_branch, columns, 0).cummax(dim=1).values
        position_ids = within_branch.to(self.backbone.position_dtype).repeat(3, 1, 1)

        video_index, ends = 0, position_ids.new_empty(len(input_ids))
        for row, (ids, branches) in enumerate(zip(input_ids, branch_ids, strict=True)):
            num_premise = int((branches == 0).sum())
            ids = ids[:num_premise]
            after_premise = num_premise
            if self._frame_places(ids).any():
                start = 0
                # Each clip with its markers, and what stands before, between and after them.
                edges = (ids == config.vision_start_token_id) | (ids == config.vision_end_token_id).roll(1)
                edges[0] = False
                edges = edges.nonzero()[:, 0].cpu()
                for place, part in zip([0, *edges.tolist()], ids.tensor_split(edges), strict=True):
                    positions = position_ids[:, row, place : place + len(part)]
                    positions += start - place
                    if self._frame_places(part).any():
                        # Plain positions, one a token, are set already, as for sound alone.
                        if not (self.plain_audiovisual_positions and _has_sound_in_video(part, config)):
                            grid, seconds = video_grid_thw[video_index].tolist(), video_second_per_grid[video_index]
                            positions[:] = start + self._video_positions(part, grid, seconds)
                        video_index += 1
                    start = positions[0, -1] + 1
                after_premise = start
            position_ids[:, row] += torch.where(branches > 0, after_premise, 0)
            ends[row] = after_premise
        return position_ids, ends

    def _video_positions(self, ids: torch.Tensor, grid: list[int], second_per_grid: torch.Tensor) -> torch.Tensor:
        """Computes `(3, num_tokens)`: frames have time and place, sound its own time, and text counts on."""
        frames, sounds = self._frame_places(ids), ids == self.config.audio_token_id
        first, last = (frames | sounds).nonzero()[[0, -1], 0].tolist()
        shared = int(self.backbone.markers_share_position and _has_sound_in_video(ids, self.config))
        positions = torch.arange(len(ids), device=ids.device, dtype=self.backbone.position_dtype).repeat(3, 1)
        positions[:, first - 1 :] -= shared
        start = positions[0, first].clone()
        times = self.backbone.times(grid[0], second_per_grid.to(ids.device))
        merge = self.config.vision_config.spatial_merge_size
        sides = [torch.arange(side // merge).to(times) for side in grid[1:]]
        positions[:, frames] = start + torch.stack(torch.meshgrid(times, *sides, indexing="ij")).flatten(1)
        positions[:, sounds] = start + torch.arange(int(sounds.sum())).to(times)
        positions[:, last + 1 :] += positions[:, last].max() - last + shared
        positions[:, last + 2 :] -= shared
        return positions

    def generate(self, input_ids, attention_mask=None, branch_ids=None, **kwargs) -> torch.LongTensor | ModelOutput:
        """Generates text with the plain Thinker of the same weights, which is no answer of CLUE's.

        Args:
            input_ids, attention_mask, branch_ids: as of `forward`, with one hypothesis a row.
            **kwargs: as of transformers' `generate`; with padding on the left, as there.

        Raises:
            ValueError: if a row has several hypotheses, or only some rows are videos with their sound.
        """
        if branch_ids is not None and int(branch_ids.max()) > 1:
            raise ValueError("Text can be written after one hypothesis a row: give each a row of its own.")
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids) if branch_ids is None else (branch_ids >= 0).long()
        # Generated tokens follow the last column, so padding goes first.
        shifts = attention_mask.flip(1).argmax(dim=1).tolist()
        input_ids, attention_mask = (
            torch.stack([row.roll(shift) for row, shift in zip(rows, shifts, strict=True)])
            for rows in (input_ids, attention_mask)
        )
        sound_in_video = {_has_sound_in_video(ids, self.config) for ids in input_ids}
        if len(sound_in_video) > 1:
            raise ValueError("Videos with their sound and other premises are placed in time differently: ask apart.")
        kwargs.setdefault("use_audio_in_video", sound_in_video == {True} and not self.plain_audiovisual_positions)
        thinker = change_class(self, self.backbone.upstream("ThinkerForConditionalGeneration"), self.config)
        return thinker.generate(input_ids=input_ids, attention_mask=attention_mask, **kwargs)


class ConfidenceEstimation(BranchedThinker):
    """Adds a linear head over N confidence bins to a Thinker (section 3.2 of the paper).

    The head reads the last token of each hypothesis only; the vocabulary projection (`lm_head`) is kept for export
    and never computed.
    """

    # A bin's logit in bfloat16 has three digits; the head is tiny, so it stays in float32.
    _keep_in_fp32_modules_strict = {"confidence_head"}

    def __init__(self, config: CLUEFields):
        super().__init__(config)
        self.confidence_head = nn.Linear(config.text_config.hidden_size, config.num_bins, bias=False)
        # Of a calibration that tells how novel an answer is: no weights, and not changed by `to` or quantization.
        self.novelty_tensors: dict[str, torch.Tensor] | None = None
        self.post_init()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **kwargs):
        """Loads a checkpoint as any model does, with the tensors that its calibration needs (`novelty.py`).

        Raises:
            OSError: if a file is missing.
            ValueError: if the tensors do not fit the calibration or the model.
        """
        hub = {name: kwargs[name] for name in HUB_OPTIONS if kwargs.get(name) is not None}
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded  # with `output_loading_info=True`
        config = model.config
        if novelty_parts(config.calibration):
            commit = getattr(config, "_commit_hash", None)
            hub |= {} if commit is None else {"revision": commit}
            size = config.text_config.hidden_size
            model.novelty_tensors = read_novelty(pretrained_model_name_or_path, config.calibration, size, **hub)
        return loaded

    def save_pretrained(self, save_directory, is_main_process: bool = True, **kwargs) -> None:
        """Saves the checkpoint as any model does, with the tensors that its calibration needs."""
        super().save_pretrained(save_directory, is_main_process=is_main_process, **kwargs)
        if is_main_process and self.novelty_tensors is not None:
            write_novelty(self.novelty_tensors, self.config.calibration, save_directory)

    @property
    def keeps_inputs(self) -> bool:
        """Returns whether what the language model is given is needed to tell how novel an answer is."""
        return bool(novelty_parts(self.config.calibration))

    @property
    def plain_audiovisual_positions(self) -> bool:
        """Returns whether `audiovisual_positions` of the configuration are plain: see [`CLUEFields`]."""
        return self.config.audiovisual_positions == "plain"

    def train(self, mode: bool = True) -> Self:
        """Switches to training or evaluation; training drops the calibration, which was fitted to the old weights."""
        if mode and self.config.calibration is not None:
            logger.warning("The calibration of this checkpoint is dropped: it does not fit weights that are trained.")
            self.config.calibration = self.novelty_tensors = None
        return super().train(mode)

    def forward(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        branch_ids: torch.LongTensor | None = None,
        input_features: torch.Tensor | None = None,
        feature_attention_mask: torch.Tensor | None = None,
        pixel_values_videos: torch.Tensor | None = None,
        video_grid_thw: torch.LongTensor | None = None,
        video_second_per_grid: torch.Tensor | None = None,
        audio_embeds: torch.Tensor | None = None,
        video_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        calibrated: bool = True,
        return_dict: bool | None = None,
        **kwargs,
    ) -> CLUEOutput | tuple[torch.Tensor, ...]:
        """Judges every hypothesis of the batch.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`):
                Premise, then its hypotheses, padded on the right.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*):
                1 for tokens, 0 for padding; follows from `branch_ids` if not given.
            branch_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`):
                -1 padding, 0 premise, k for hypothesis k.
            input_features (`torch.Tensor` of shape `(num_audios, num_mel_bins, num_frames)`, *optional*):
                Log-mel spectrograms of the premises that have sound, in row order.
            feature_attention_mask (`torch.Tensor` of shape `(num_audios, num_frames)`, *optional*):
                1 for frames of the clip, 0 for padding.
            pixel_values_videos (`torch.Tensor` of shape `(num_patches, patch_size)`, *optional*):
                Patches of all videos, in row order.
            video_grid_thw (`torch.LongTensor` of shape `(num_videos, 3)`, *optional*):
                Patches of each video in time, height and width.
            video_second_per_grid (`torch.Tensor` of shape `(num_videos,)`, *optional*):
                Seconds between two steps of each video's grid.
            audio_embeds, video_embeds (`torch.Tensor`, *optional*):
                What the towers give, as in [`CLUEOutput`], for all sounds and all videos in row order, instead of
                `input_features` and `pixel_values_videos`. Masks and grids are needed all the same: positions follow
                from them.
            labels (`torch.Tensor` of shape `(H,)`, *optional*):
                Target probabilities in [0, 1], flat over hypotheses in row order.
            num_items_in_batch (`int` or `torch.Tensor`, *optional*):
                Number of hypotheses to divide the summed loss by, when the batch is a part of a larger one; their
                number in this batch if not given.
            calibrated (`bool`, defaults to `True`):
                Whether `distribution` and `probability` go through the checkpoint's calibration, if it has one for
                the modality of the premise. Logits and losses never do.
            return_dict (`bool`, *optional*, defaults to `True`):
                `False` to get the values of [`CLUEOutput`] that are not `None` as a tuple.
            **kwargs:
                `output_hidden_states` and `output_attentions`, of the language model.

        Returns:
            [`CLUEOutput`]

        Raises:
            ValueError: if `branch_ids` are missing or malformed, the number of labels is not that of the hypotheses,
                a row is longer than the model's positions, several hypotheses share a premise under an attention that
                takes no mask, or there is sound or video and the projection of its tower has never been trained.
            TypeError: naming an argument that is not known.
        """
        media = Media(
            input_features,
            feature_attention_mask,
            pixel_values_videos,
            video_grid_thw,
            video_second_per_grid,
            audio_embeds,
            video_embeds,
        )
        outputs = means = None
        calibrated = calibrated and self.config.calibration is not None
        if self._reads_apart(branch_ids) and not _check_arguments(branch_ids, kwargs):
            state, audio_embeds, video_embeds = self._read(input_ids, branch_ids, media)
            read_out, counts = self._read_out(state, input_ids, branch_ids)
            if calibrated and self.keeps_inputs:
                means = self._means_apart(state, input_ids, branch_ids)
        else:
            self._refuse_new_projections(media)
            outputs, audio_embeds, video_embeds, inputs_embeds = self._encode(
                input_ids, attention_mask, branch_ids, **media._asdict(), **kwargs
            )
            last = last_of_branch(branch_ids)
            read_out, counts = outputs.last_hidden_state[last], last.sum(dim=1).tolist()
            if calibrated and self.keeps_inputs:
                means = input_means(inputs_embeds.detach(), branch_ids)
        output = self._answer(read_out, counts, self._modalities(input_ids) if calibrated else None, means)
        output.audio_embeds = None if audio_embeds is None else audio_embeds.detach()
        output.video_embeds = None if video_embeds is None else video_embeds.detach()
        if outputs is not None:
            output.hidden_states, output.attentions = outputs.hidden_states, outputs.attentions
        if labels is not None:
            logits = output.logits
            if labels.shape != logits.shape[:1]:
                raise ValueError(f"{len(logits)} hypotheses need as many labels, got shape {tuple(labels.shape)}.")
            hypothesis_loss = confidence_loss(logits, labels.to(logits.device), self.config.target, self.config.sigma)
            count = len(labels) if num_items_in_batch is None else num_items_in_batch
            output.loss = hypothesis_loss.sum() / count
            output.hypothesis_loss = hypothesis_loss.detach()
        return output.to_tuple() if return_dict is False else output

    @torch.no_grad()
    def judge(
        self,
        state: PremiseState,
        input_ids: torch.LongTensor,
        branch_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        visible: torch.LongTensor | None = None,
        position_ids: torch.Tensor | None = None,
        calibrated: bool = True,
    ) -> CLUEOutput:
        """Judges hypotheses about premises that have been read: as often as wanted, by the answers of `forward`.

        Time grows with the number of hypotheses, memory does not: they go through the model a few at a time.

        Args:
            state ([`PremiseState`]): as [`~CLUEForConfidenceEstimation.read`] returns it.
            input_ids, branch_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): hypotheses of each
                premise, as [`~CLUEProcessor.encode_hypotheses`] gives them.
            attention_mask (`torch.Tensor`, *optional*): not needed, as it follows from `branch_ids`.
            visible (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*): how many of the first
                tokens of the premise each token sees, with its `position_ids` (`torch.Tensor` of shape `(3,
                batch_size, sequence_length)`), to judge by a part of it: see `timeline.py`.
            calibrated (`bool`, defaults to `True`): as of `forward`.

        Returns:
            [`CLUEOutput`], without what the towers give.

        Raises:
            ValueError: if the state is another checkpoint's, on another device or in another dtype, if there are not
                as many rows as premises, or a row has no hypothesis.
        """
        self._check_state(state)
        _check_arguments(branch_ids, {})
        if len(branch_ids) != len(state):
            raise ValueError(f"{len(state)} premises need as many rows of hypotheses, got {len(branch_ids)}.")
        attention = self.config.text_config._attn_implementation
        if visible is not None and attention not in MASKED_ATTENTION:
            raise ValueError(
                f"attn_implementation={attention!r} takes no mask, and can't leave out a part of a premise: load the "
                "model with attn_implementation='sdpa' or 'eager'."
            )
        means = None
        if calibrated and self.keeps_inputs:
            if visible is not None:
                raise ValueError("Calibrated answers by a part of a premise are those of `pipeline.timeline`.")
            means = self._means_apart(state, input_ids, branch_ids)
        read_out, counts = self._read_out(state, input_ids, branch_ids, visible, position_ids)
        return self._answer(read_out, counts, state.modalities if calibrated else None, means)

    def _means_apart(
        self, state: PremiseState, input_ids: torch.Tensor, branch_ids: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Averages the inputs of premises that have been read, and of hypotheses about them."""
        if state.inputs is None:
            raise ValueError("These premises were read before the model had its calibration: read them anew.")
        premises, _ = input_means(state.inputs, state.mask.long() - 1)
        return premises, input_means(self.get_input_embeddings()(input_ids), branch_ids)[1]

    def novelty(
        self, premises: torch.Tensor, hypotheses: torch.Tensor, counts: list[int], modalities: list[str]
    ) -> torch.Tensor | None:
        """Returns how novel answers are, `(H,)`, from means of inputs; `None` if the calibration does not tell.

        Arguments are those of [`~novelty.novelty_of`].
        """
        if not self.keeps_inputs:
            return None
        return novelty_of(premises, hypotheses, counts, modalities, self.config.calibration, self.novelty_tensors)

    def _answer(
        self,
        read_out: torch.Tensor,
        counts: list[int],
        modalities: list[str] | None,
        means: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> CLUEOutput:
        """Returns the answers to hypotheses by their last hidden states, of which each row has `counts`; calibrated
        if the modality of each row is given, with the `means` of inputs where novelty is to be told."""
        with torch.autocast(read_out.device.type, enabled=False):  # mixed precision would round the logits
            # In the dtype of its weights, if they are floats: a quantized layer takes float32.
            dtypes = (weight.dtype for weight in self.confidence_head.parameters() if weight.dtype in _FLOAT_DTYPES)
            logits = self.confidence_head(read_out.to(next(dtypes, torch.float32)))
        of_premises, parts = [logits], [None]
        if modalities is not None:
            of_premises = logits.split(counts)
            parts = [for_modality(self.config.calibration, modality) for modality in modalities]
        distributions = [calibrated_distribution(*pair) for pair in zip(of_premises, parts, strict=True)]
        probabilities = [calibrated_probability(*pair) for pair in zip(distributions, parts, strict=True)]
        probability, distribution = torch.cat(probabilities), torch.cat(distributions)
        novelty = None if means is None else self.novelty(*means, counts, modalities)
        if novelty is not None:
            novelty = novelty.to(logits.device)
            distribution = flatten_distribution(distribution, novelty)
            probability = withdraw_probability(probability, novelty)
        rows = torch.arange(len(counts), device=logits.device)
        return CLUEOutput(
            logits=logits,
            probability=probability,
            distribution=distribution,
            novelty=novelty,
            premise_index=rows.repeat_interleave(torch.tensor(counts, device=logits.device)),
        )

    def _refuse_new_projections(self, media: Media) -> None:
        """Raises a `ValueError` if there is sound or video and the projection of its tower has never been trained."""
        given_to = {
            "audio_tower": (media.input_features, media.audio_embeds),
            "visual": (media.pixel_values_videos, media.video_embeds),
        }
        for tower in self.config.new_projections:
            if any(given is not None for given in given_to[tower]):
                kind = "sound" if tower == "audio_tower" else "video"
                raise ValueError(
                    f"This model can't judge by {kind}: its projection of {kind} has never been trained. Start it by "
                    "`python -m train.projections`, and train it with `--train-projections true`."
                )


class CLUEForConfidenceEstimation(ConfidenceEstimation, Qwen2_5OmniThinkerForConditionalGeneration):
    """Adds a confidence head to Qwen2.5-Omni's Thinker."""

    config: CLUEConfig
    backbone = QWEN2_5_OMNI


CLUEForConfidenceEstimation.register_for_auto_class("AutoModel")
# For `pipeline("uncertain-inference", model=model, processor=processor)` with a loaded model. If the code of several
# checkpoints is loaded, the last one's counts, without a warning.
PIPELINE_REGISTRY.supported_tasks.pop("uncertain-inference", None)
PIPELINE_REGISTRY.register_pipeline(
    "uncertain-inference", pipeline_class=UncertainInferencePipeline, pt_model=AutoModel
)
