# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Cuts a premise where what came before does not depend on what comes after: there belief can be read over time.

The language model is causal, and the towers look no further than a block, so what the model would have said of a clip
that ends there is what a hypothesis gets that sees the premise up to there, and then the tokens that close a clip.
That holds

- in a text after a sentence, where the tokenizer splits the cut text as it splits the whole;
- in a sound at the edges of the blocks that the audio tower takes alone (2 s in Qwen2.5-Omni, 8 s in Qwen3-Omni; an
  encoder of Whisper's is one block of 30 s);
- in a video after every second frame, which the vision tower takes in pairs;
- in a video with its sound where both hold, and the tokens of frames and sound before have the order that they have
  in the cut clip. In Qwen2.5-Omni each chunk of 2 s needs frames of its own: below one frame a second (`fps`) its
  frames run ahead of the sound, and no time is left but the end.

What goes into the towers is taken from the whole clip. A file that is cut there gives them something else in three
ways: the last frames of its spectrogram look over the edge; their floor is set by the loudest moment of what there is;
and frames that were thinned to `max_frames` would be thinned less.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch.nn.utils.rnn import pad_sequence

from .encoded_premise import EncodedPremise
from .processing_clue import CLUEProcessor


SENTENCE_END = re.compile(r"[.!?]+[\"')\]]*(?=\s)")


@dataclass(frozen=True)
class Cut:
    """Holds a premise as far as it has been read, seen or heard.

    Args:
        at (`float`): seconds into a clip, or characters into a text.
        premise (`EncodedPremise`): what it would be if it ended there, without sound and frames.
        shared (`int`): its first tokens, which are those of the whole premise too.
    """

    at: float
    premise: EncodedPremise
    shared: int


def find_cuts(processor: CLUEProcessor, premise: EncodedPremise, sound_block: int) -> list[Cut]:
    """Returns all places where a premise can be cut, in order, and at last its end.

    Args:
        processor ([`CLUEProcessor`]): that encoded it.
        premise (`EncodedPremise`): of one modality.
        sound_block (`int`): frames of the spectrogram that the audio tower takes alone.

    Raises:
        ValueError: if the premise is a combination of parts.
    """
    if premise.parts is not None:
        raise ValueError("A combination of parts has no one time: ask about one clip or one text.")
    if premise.modality == "text":
        found = _cuts_of_text(processor, premise)
    else:
        found = _cuts_of_clip(processor, premise, sound_block)
    return [cut for cut in found if premise.input_ids[: cut.shared] == cut.premise.input_ids[: cut.shared]]


def _cuts_of_text(processor: CLUEProcessor, premise: EncodedPremise) -> Iterator[Cut]:
    for match in SENTENCE_END.finditer(premise.text):
        text = premise.text[: match.end()]
        ids = processor.encode_hypothesis(text)
        yield Cut(match.end(), EncodedPremise("text", ids, text), len(ids))
    yield Cut(len(premise.text), premise, len(premise.input_ids))


def _cuts_of_clip(processor: CLUEProcessor, premise: EncodedPremise, sound_block: int) -> Iterator[Cut]:
    extractor = processor.feature_extractor
    mel_seconds = extractor.hop_length / extractor.sampling_rate
    frames, steps, step_seconds = premise.num_mel_frames or 0, 0, 0.0
    if premise.video_grid_thw is not None:
        steps, step_seconds = int(premise.video_grid_thw[0]), premise.video_second_per_grid
    end = max(frames * mel_seconds, steps * step_seconds)
    if frames:
        times = [number * sound_block * mel_seconds for number in range(1, -(-frames // sound_block))]
        # Sound may end before the frames do.
        times += [number * step_seconds for number in range(1, steps) if number * step_seconds >= frames * mel_seconds]
    else:
        times = [number * step_seconds for number in range(1, steps)]
    for time in times:
        seen = min(steps, round(time / step_seconds)) if steps else 0
        if steps and (seen < 1 or (seen < steps and abs(seen * step_seconds - time) > 1e-6)):
            continue  # a pair of frames would be torn apart
        heard = min(frames, round(time / mel_seconds))
        grid = premise.video_grid_thw
        cut = replace(
            premise,
            num_mel_frames=heard or None,
            video_grid_thw=None if grid is None else torch.cat((grid.new_tensor([seen]), grid[1:])),
            **dict.fromkeys(("input_features", "pixel_values_videos", "audio_embeds", "video_embeds")),
        )
        cut.input_ids = processor.media_tokens(cut)
        closing = 1 + (premise.modality == "audiovisual")
        yield Cut(time, cut, len(cut.input_ids) - closing)
    yield Cut(end, premise, len(premise.input_ids))


def choose_cuts(cuts: list[Cut], every: float | None, times: list[float] | None) -> list[Cut]:
    """Returns the last cut that is not later than each of some times, each once, and the end.

    Args:
        cuts (`list[Cut]`): as [`find_cuts`] returns them.
        every (`float`, *optional*): seconds, or characters of a text, between two times.
        times (`list[float]`, *optional*): the times themselves; all cuts without either.

    Raises:
        ValueError: if both are given, or one that is not positive.
    """
    if every is not None and times is not None:
        raise ValueError("Give `every` or `times`, not both.")
    asked = times
    if every is not None:
        if not every > 0:
            raise ValueError(f"`every` must be positive, got {every}.")
        asked = [number * every for number in range(1, int(cuts[-1].at / every) + 1)]
    if asked is None:
        return cuts
    if not all(time > 0 for time in asked):
        raise ValueError(f"`times` must be positive, got {min(asked)}.")
    ends = [cut.at for cut in cuts]
    places = {bisect_right(ends, time + 1e-6) - 1 for time in asked} | {len(cuts) - 1}
    return [cuts[place] for place in sorted(places) if place >= 0]


@torch.no_grad()
def judge_cuts(model, processor: CLUEProcessor, state, cuts: list[Cut], hypotheses: list[str]) -> torch.Tensor:
    """Returns the logits of H hypotheses at each of T cuts, `(T, H, N)`, uncalibrated; see [`novelty_at_cuts`].

    Args:
        model ([`CLUEForConfidenceEstimation`]): that has read the whole premise, which is not read again.
        processor ([`CLUEProcessor`]): that encoded it.
        state ([`PremiseState`]): of this one premise.
        cuts (`list[Cut]`): as [`find_cuts`] returns them, or some of these.
        hypotheses (`list[str]`): about it.

    Raises:
        ValueError: as [`~CLUEForConfidenceEstimation.judge`].
    """
    rows, visible, claims = processor.encode_cuts(
        [cut.premise for cut in cuts], [cut.shared for cut in cuts], hypotheses
    )
    tokens = [torch.tensor(row) for row in rows]
    branches = pad_sequence([torch.zeros_like(row) for row in tokens], batch_first=True, padding_value=-1)
    grids = seconds = None
    if cuts[0].premise.video_grid_thw is not None:
        grids = torch.stack([cut.premise.video_grid_thw for cut in cuts])
        seconds = torch.tensor([cut.premise.video_second_per_grid for cut in cuts])
    positions, ends = model._branch_position_ids(pad_sequence(tokens, batch_first=True), branches, grids, seconds)
    ids: list[int] = []
    branch_ids: list[int] = []
    seen: list[int] = []
    places: list[torch.Tensor] = []
    for number, (row, first) in enumerate(zip(rows, visible, strict=True)):
        closing = positions[:, number, first : len(row)]
        for claim in claims:
            after = ends[number] + torch.arange(len(claim), dtype=positions.dtype).expand(3, -1)
            branch = [*row[first:], *claim]
            branch_ids += [(branch_ids[-1] if branch_ids else 0) + 1] * len(branch)
            ids += branch
            seen += [first] * len(branch)
            places += [closing, after]
    columns = (torch.tensor([column], device=state.device) for column in (ids, branch_ids, seen))
    inputs = dict(zip(("input_ids", "branch_ids", "visible"), columns, strict=True))
    position_ids = torch.cat(places, dim=1)[:, None].to(state.device)
    logits = model.judge(state, **inputs, position_ids=position_ids, calibrated=False).logits
    return logits.unflatten(0, (len(cuts), len(hypotheses)))


@torch.no_grad()
def novelty_at_cuts(
    model, processor: CLUEProcessor, state, cuts: list[Cut], hypotheses: list[str]
) -> torch.Tensor | None:
    """Returns how novel each premise that ends at one of T cuts, or each of H hypotheses, is: `(T, H)`, float32.

    Arguments are those of [`judge_cuts`]. It is `None` if the model's calibration does not tell.
    """
    if not model.keeps_inputs:
        return None
    rows, visible, claims = processor.encode_cuts(
        [cut.premise for cut in cuts], [cut.shared for cut in cuts], hypotheses
    )
    embed = model.get_input_embeddings()

    def inputs_of(ids: list[int]) -> torch.Tensor:
        return embed(torch.tensor(ids, dtype=torch.long, device=state.device)).float()

    # Sums of the first tokens of the whole premise, whose sound and frames have been projected.
    sums = state.inputs[0].float().cumsum(dim=0)
    means = [
        (sums[first - 1] + inputs_of(row[first:]).sum(dim=0)) / len(row)
        for row, first in zip(rows, visible, strict=True)
    ]
    of_claims = torch.stack([inputs_of(claim).mean(dim=0) for claim in claims])
    counts = [len(claims)] * len(cuts)
    modalities = [cuts[0].premise.modality] * len(cuts)
    found = model.novelty(torch.stack(means), of_claims.repeat(len(cuts), 1), counts, modalities)
    return found.unflatten(0, (len(cuts), len(claims)))
