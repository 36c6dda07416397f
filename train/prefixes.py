"""Cuts premises where it is known what would be true of them if they ended there.

A premise can be cut where belief can be told over time ([`modeling_clue.timeline`]), and it is where the column
`prefixes` has a probability for just that place: in the middle of an event there is none.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np

from datasets_scripts.schema import prefixes_complaint
from modeling_clue.encoded_premise import EncodedPremise
from modeling_clue.processing_clue import CLUEProcessor
from modeling_clue.timeline import find_cuts


# Seconds, or characters, by which a cut may miss the place that a probability is for.
SLACK = 1e-3
# Makes draws that are none of those of hypotheses.
APART = 1


@dataclass(frozen=True)
class Prefixes:
    """Holds what would be true of a premise if it ended earlier.

    Args:
        ends (`np.ndarray` of shape `(T,)`): where, in seconds or characters, rising.
        probabilities (`np.ndarray` of shape `(H, T)`): of its hypotheses, in their order.
    """

    ends: np.ndarray
    probabilities: np.ndarray


def check_clock(processor: CLUEProcessor) -> None:
    """Raises a `ValueError` if the processor gives frames other times than they have in the clip."""
    if processor.media["second_per_grid"] is not None:
        raise ValueError(
            f"prefix_share can't be used with this checkpoint, whose processor has a fixed second_per_grid "
            f"({processor.media['second_per_grid']}): its frames have other times than in the clip. Leave it out."
        )


def read_prefixes(row: Mapping, config: str) -> dict[float, float]:
    """Reads the column `prefixes` of a row: the probability by place.

    Raises:
        ValueError: if its places do not rise, or a probability is none, naming the row.
    """
    prefixes = row["prefixes"] or []
    if complaint := prefixes_complaint(prefixes):
        raise ValueError(f"Row '{row['id']}' of '{config}': {complaint}. Build the config anew, or correct it.")
    return {prefix["at"]: prefix["probability"] for prefix in prefixes}


def join_prefixes(hypotheses: Iterable[Mapping[float, float]]) -> Prefixes | None:
    """Joins what is known of the hypotheses of a premise: at the places that all of them have, `None` without any."""
    hypotheses = list(hypotheses)
    ends = sorted(set(hypotheses[0]).intersection(*hypotheses[1:]))
    if not ends:
        return None
    return Prefixes(np.array(ends), np.array([[known[end] for end in ends] for known in hypotheses]))


def draw_chance(key: str, seed: int, epoch: int) -> np.random.Generator:
    """Returns the generator that decides where a premise is cut in an epoch, the same in every process."""
    name = int.from_bytes(blake2b(key.encode(), digest_size=8).digest())
    return np.random.default_rng([seed, epoch, name, APART])


def cut_premise(
    processor: CLUEProcessor,
    whole: EncodedPremise,
    prefixes: Prefixes,
    sound_block: int,
    chance: np.random.Generator,
) -> tuple[EncodedPremise, list[float]] | None:
    """Cuts a premise at a place drawn from those, before its end, at which it is known what is true of it.

    Args:
        processor ([`CLUEProcessor`]): that encoded it.
        whole (`EncodedPremise`): of one modality, with the inputs of the towers or what these gave.
        prefixes (`Prefixes`): what is known of it.
        sound_block (`int`): frames of the spectrogram that the audio tower takes alone.
        chance (`np.random.Generator`): draws the place.

    Returns:
        `tuple[EncodedPremise, list[float]]`: the cut premise, and the probability of each hypothesis there; `None` if
        there is no such place.
    """
    if whole.parts is not None:
        return None
    places = []
    for cut in find_cuts(processor, whole, sound_block)[:-1]:
        place = int(np.abs(prefixes.ends - cut.at).argmin())
        if abs(prefixes.ends[place] - cut.at) <= SLACK:
            places.append((cut, place))
    if not places:
        return None
    cut, place = places[int(chance.integers(len(places)))]
    return _with_towers(processor, whole, cut.premise), prefixes.probabilities[:, place].tolist()


def _with_towers(processor: CLUEProcessor, whole: EncodedPremise, premise: EncodedPremise) -> EncodedPremise:
    """Gives the cut premise its share of what goes into the towers, or of what came out of them."""
    shared = {}
    if premise.num_mel_frames is not None:
        if whole.input_features is not None:
            shared["input_features"] = whole.input_features[:, : premise.num_mel_frames]
        if whole.audio_embeds is not None:
            shared["audio_embeds"] = whole.audio_embeds[: processor.backbone.num_audio_tokens(premise.num_mel_frames)]
    if premise.video_grid_thw is not None:
        patches = int(premise.video_grid_thw.prod())
        if whole.pixel_values_videos is not None:
            shared["pixel_values_videos"] = whole.pixel_values_videos[:patches]
        if whole.video_embeds is not None:
            shared["video_embeds"] = whole.video_embeds[: patches // processor.video_processor.merge_size**2]
    return replace(premise, **shared)
