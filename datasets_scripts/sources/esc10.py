"""
ESC-10 (Piczak, 2015): ten kinds of sound, as they are and mixed, with hypotheses that are true, false and graded.

The clips lie in a folder for each kind, and their names begin with the fold. A mixture is made of one to three clips
of a split, of different kinds, cut where they can be heard: how much of it is rain is known to the sample.
"""

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, permutations, product
from pathlib import Path

import numpy as np

from common.cli import non_negative_float, positive_int
from common.errors import InputError
from datasets_scripts.building.clips import SAMPLING_RATE, files_by_class
from datasets_scripts.building.drafts import Clip, Draft, Problem
from datasets_scripts.schema import SPLITS
from datasets_scripts.sources.claims import Balance, Claim, drafts_about, drafts_about_captions, make_claims
from datasets_scripts.sources.facts import Facts
from datasets_scripts.sources.mixing import FADE, audible, cut, drafts_about_mixes, mix, read_sound


DESCRIPTION = "ESC-10's sounds and mixtures of them, with claims that are true, false and graded"
FACTS = Facts(
    title="ESC-10",
    what=(
        "Environmental sounds of ten kinds, five seconds each, and mixtures of them that this project's code makes: "
        "one to three kinds, one after the other."
    ),
    url="https://github.com/karolpiczak/ESC-50",
    licences=("apache-2.0", "cc-by-3.0"),
    terms=(
        "sentences and probabilities. The clips, and what is mixed of them, are under CC BY 3.0: whoever passes them "
        "on names the authors of the recordings on Freesound, whom ATTRIBUTION.txt of ESC-10 lists, and says that "
        "they were cut and mixed"
    ),
    labels=(
        "A clip is taken to hold the kind of sound that ESC-10 files it under and none of the nine others. Of a "
        "mixture the probability is exact: the share of its time, or of its kinds of sound, of which the hypothesis "
        "is true. A sound goes on through pauses of up to 0.2 seconds. The label is 1 or 0 where that is certain, "
        "else none."
    ),
    limits=(
        "Few recordings, of ten kinds of sound, with nobody's judgement; some have other sounds in the background. In "
        "mixtures, short sounds are repeated to fill their time."
    ),
    citation="Karol J. Piczak (2015): ESC: Dataset for Environmental Sound Classification. ACM Multimedia.",
    extends="extended|other-esc",
    configs=r"esc10(-captions)?",
)


@dataclass(frozen=True, eq=False)
class Sound:
    """Holds the words for a kind of sound."""

    thing: str  # "rain", "barking dog": behind "no", and behind its article if it has one
    article: str
    happens: str  # as in "either a dog barks or it rains"
    never_happens: str
    goes_on: str  # as in "a dog is barking"
    does_not_go_on: str
    like: tuple[str, ...]  # kinds that it may be taken for

    def __str__(self) -> str:
        return self.thing

    @property
    def one(self) -> str:
        """Returns the thing with its article."""
        return f"{self.article} {self.thing}".strip()


SOUNDS = {
    "baby_cry": Sound(
        *("crying baby", "a", "a baby cries", "no baby cries", "a baby is crying", "no baby is crying"),
        like=("rooster", "dog_bark"),
    ),
    "chainsaw": Sound(
        *("chainsaw", "a", "a chainsaw runs", "no chainsaw runs", "a chainsaw is running", "no chainsaw is running"),
        like=("helicopter",),
    ),
    "clock_tick": Sound(
        *("ticking clock", "a", "a clock ticks", "no clock ticks", "a clock is ticking", "no clock is ticking"),
        like=("fire_crackling",),
    ),
    "dog_bark": Sound(
        *("barking dog", "a", "a dog barks", "no dog barks", "a dog is barking", "no dog is barking"),
        like=("rooster", "person_sneeze"),
    ),
    "fire_crackling": Sound(
        *("crackling fire", "a", "a fire crackles", "no fire crackles"),
        *("a fire is crackling", "no fire is crackling"),
        like=("rain", "clock_tick"),
    ),
    "helicopter": Sound(
        *("helicopter", "a", "a helicopter flies", "no helicopter flies"),
        *("a helicopter is flying", "no helicopter is flying"),
        like=("chainsaw", "sea_waves"),
    ),
    "person_sneeze": Sound(
        *("sneeze", "a", "somebody sneezes", "nobody sneezes", "somebody is sneezing", "nobody is sneezing"),
        like=("dog_bark", "rooster"),
    ),
    "rain": Sound(
        *("rain", "", "it rains", "it does not rain", "it is raining", "it is not raining"),
        like=("sea_waves", "fire_crackling"),
    ),
    "rooster": Sound(
        *(
            "crowing rooster",
            "a",
            "a rooster crows",
            "no rooster crows",
            "a rooster is crowing",
            "no rooster is crowing",
        ),
        like=("baby_cry", "dog_bark"),
    ),
    "sea_waves": Sound(
        *("sea waves", "", "waves break on a shore", "no waves break on a shore"),
        *("waves are breaking", "no waves are breaking"),
        like=("rain", "helicopter"),
    ),
}
# Beside those that a sound may be taken for.
FOILS = 3

HEARD = ("{0.happens}.", "{0.goes_on}.", "{0.one} can be heard.")
UNHEARD = ("{0.never_happens}.", "{0.does_not_go_on}.", "no {0.thing} can be heard.")
# Of a clip with one kind of sound alone.
IS = (*HEARD, "this is the sound of {0.one}.")
IS_NOT = (*UNHEARD, "this is not the sound of {0.one}.")
OR = ("either {0.happens} or {1.happens}.", "{0.one} or {1.one} can be heard.")
NEITHER = ("neither {0.one} nor {1.one} can be heard.", "{0.never_happens}, and {1.never_happens}.")
BOTH = ("both {0.one} and {1.one} can be heard.", "{0.happens}, and {1.happens}.")
MOMENT = (
    "at a random moment of the recording, {0.one} can be heard.",
    "at a moment drawn at random, {0.goes_on}.",
    "whoever listens in at a random moment hears {0.one}.",
)
NOT_AT_MOMENT = (
    "at a random moment of the recording, no {0.thing} can be heard.",
    "at a moment drawn at random, {0.does_not_go_on}.",
    "whoever listens in at a random moment hears no {0.thing}.",
)
EITHER_AT_MOMENT = (
    "at a random moment of the recording, {0.one} or {1.one} can be heard.",
    "at a moment drawn at random, either {0.goes_on} or {1.goes_on}.",
)
HALF = (
    "{0.happens} in at least half of the recording.",
    "for at least half of the time, {0.one} can be heard.",
)
LESS_THAN_HALF = (
    "{0.happens} in less than half of the recording, or not at all.",
    "for at least half of the time, no {0.thing} can be heard.",
)
LONGEST = ("no sound in the recording goes on longer than {0.one}.", "{0.one} can be heard for the longest time.")
FIRST = ("of the sounds in the recording, the first is {0.one}.", "the recording begins with {0.one}.")
LAST = ("of the sounds in the recording, the last is {0.one}.", "the recording ends with {0.one}.")
NOT_FIRST = ("of the sounds in the recording, the first is not {0.one}.", "it is not {0.one} that comes first.")
BEFORE = ("{0.one} can be heard before {1.one}.", "first {0.happens}, then {1.happens}.")
PICKED = (
    "one of the kinds of sound in the recording is picked at random: it is {0.one}.",
    "of the kinds of sound in the recording, one drawn at random is {0.one}.",
)
NOT_PICKED = ("one of the kinds of sound in the recording is picked at random: it is not {0.one}.",)

# What a clip, and a sound of a mixture, is in words.
CAPTIONS = (
    "A recording of {0.one}.",
    "This is the sound of {0.one}, and of nothing else.",
    "Only {0.one} can be heard.",
    "{0.goes_on}.",
    "{0.happens}.",
    "Five seconds of {0.one}.",
    "What can be heard: {0.one}.",
    "{0.one}.",
)
MIXTURE_CAPTIONS = (
    ("First {0.one} for {1:g} s", ", then {0.one} for {1:g} s"),
    ("{0.one}, {1:g} s", "; {0.one}, {1:g} s"),
    ("For {1:g} s {0.goes_on}", ", then for {1:g} s {0.goes_on}"),
)

SUFFIXES = (".wav", ".flac", ".ogg")
FOLDS = range(1, 6)
# How many kinds of sound a mixture has, and how often.
KINDS = {1: 0.2, 2: 0.45, 3: 0.35}
# A mixture is as many steps of a quarter second; a sound in it has four of them at least.
STEPS, SHORTEST, STEP = 20, 4, SAMPLING_RATE // 4
# Which of two goes on longer, or whether for half of the time, is asked where that differs by so many steps.
CLEAR = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this source."""
    kinds = ", ".join(SOUNDS)
    parser.add_argument("--clips", type=Path, required=True, help=f"the folder with the folders {kinds}")
    folds = (
        "the fold of the {} split, if there are clips of it (default: %(default)s); those of neither are for training"
    )
    parser.add_argument("--test-fold", type=int, choices=FOLDS, default=4, help=folds.format("test"))
    parser.add_argument("--validation-fold", type=int, choices=FOLDS, default=3, help=folds.format("validation"))
    parser.add_argument("--hypotheses-per-premise", type=positive_int, default=14, help="default: %(default)s")
    parser.add_argument(
        "--mixtures", type=non_negative_float, default=1.0, help="how many for each clip (default: %(default)s)"
    )
    parser.add_argument(
        "--training-mixtures", type=non_negative_float, help="how many for each clip to train on (default: --mixtures)"
    )


def configs(options: argparse.Namespace) -> dict[str, dict[str, Iterator[Draft | Problem]]]:
    """Returns the drafts of each split about clips, and those to train on about captions, which say what is heard."""
    if options.test_fold == options.validation_fold:
        raise InputError(f"--test-fold and --validation-fold are both {options.test_fold}: they must differ")
    splits: dict[str, list[tuple[str, Path]]] = {split: [] for split in SPLITS}
    problems = []
    of_folds = {str(options.test_fold): "test", str(options.validation_fold): "validation"}
    for kind, files in files_by_class(options.clips, SUFFIXES, SOUNDS, "").items():
        for path in files:
            if fold := re.match(r"([1-5])-", path.name):
                splits[of_folds.get(fold[1], "train")].append((kind, path))
            else:
                complaint = f"{path} does not begin with a fold, 1 to 5, as 1-100032-A.ogg does"
                problems.append(Problem(path.name, "row", complaint))
    # Of folds that are not at hand, such as those of a test that somebody else makes, there is no split.
    drafts = {split: _drafts(split, clips, options) for split, clips in splits.items() if clips or split == "train"}
    return {
        "esc10": drafts | {"train": chain(problems, drafts["train"])},
        "esc10-captions": {"train": _caption_drafts(len(splits["train"]), options)},
    }


def clip_forms(kind: str, foils: list[str]) -> list[list[Claim]]:
    """Returns what may be said of a clip of a kind of sound, in which the foils are not heard, form by form."""
    own, others = SOUNDS[kind], [SOUNDS[foil] for foil in foils]
    each = [(sound,) for sound in (own, *others)]
    pairs = [pair for other in others for pair in permutations((own, other))] + list(permutations(others, 2))
    is_ = list(make_claims(IS, each, lambda sound: sound is own))
    is_not = list(make_claims(IS_NOT, each, lambda sound: sound is not own))
    either = list(make_claims(OR, pairs, lambda *sounds: own in sounds))
    neither = list(make_claims(NEITHER, pairs, lambda *sounds: own not in sounds))
    return [is_, is_not, is_, either, is_not, is_, neither]


def mixture_forms(steps: dict[str, int], foils: list[str]) -> list[list[Claim]]:
    """
    Returns what may be said of a mixture, form by form.

    Args:
        steps (`dict[str, int]`): How many of `STEPS` each of its kinds of sound goes on, in their order.
        foils (`list[str]`): Kinds of sound that it lacks.
    """
    lengths = {SOUNDS[kind]: number for kind, number in steps.items()}
    there, sounds = list(lengths), [*lengths, *(SOUNDS[foil] for foil in foils)]
    each, pairs = [(sound,) for sound in sounds], list(permutations(sounds, 2))
    *_, second, longest = [0, *sorted(lengths.values())]

    def length(*those: Sound) -> int:
        return sum(lengths.get(sound, 0) for sound in those)

    def at_least_half(sound: Sound) -> bool | None:
        return None if abs(2 * length(sound) - STEPS) < 2 * CLEAR else 2 * length(sound) > STEPS

    def at_most_half(sound: Sound) -> bool | None:
        return None if (at_least := at_least_half(sound)) is None else not at_least

    def is_longest(sound: Sound) -> bool | None:
        return None if longest - second < CLEAR else length(sound) == longest

    def is_before(one: Sound, other: Sound) -> bool | None:
        return there.index(one) < there.index(other) if {one, other} <= lengths.keys() else None

    def is_one_of_two(*two: Sound) -> bool | None:
        # Where both can be heard, people differ about "either ... or".
        return None if {*two} <= lengths.keys() else not lengths.keys().isdisjoint(two)

    moment = list(make_claims(MOMENT, each, lambda sound: length(sound) / STEPS))
    not_at_moment = list(make_claims(NOT_AT_MOMENT, each, lambda sound: (STEPS - length(sound)) / STEPS))
    either_at_moment = list(make_claims(EITHER_AT_MOMENT, pairs, lambda *two: length(*two) / STEPS))
    lasting = [
        *make_claims(HALF, each, at_least_half),
        *make_claims(LESS_THAN_HALF, each, at_most_half),
        *make_claims(LONGEST, each, is_longest),
    ]
    heard = [
        *make_claims(HEARD, each, lambda sound: sound in lengths),
        *make_claims(UNHEARD, each, lambda sound: sound not in lengths),
    ]
    together = [
        *make_claims(OR, pairs, is_one_of_two),
        *make_claims(NEITHER, pairs, lambda *two: lengths.keys().isdisjoint(two)),
        *make_claims(BOTH, pairs, lambda *two: {*two} <= lengths.keys()),
    ]
    order = [
        *make_claims(FIRST, each, lambda sound: sound is there[0]),
        *make_claims(NOT_FIRST, each, lambda sound: sound is not there[0]),
        *make_claims(LAST, each, lambda sound: sound is there[-1]),
        *make_claims(BEFORE, pairs, is_before),
    ]
    picked = [
        *make_claims(PICKED, each, lambda sound: (sound in lengths) / len(lengths)),
        *make_claims(NOT_PICKED, each, lambda sound: 1 - (sound in lengths) / len(lengths)),
    ]
    return [moment, lasting, not_at_moment, order, either_at_moment, heard, picked, lasting, together]


def _drafts(split: str, clips: list[tuple[str, Path]], options: argparse.Namespace) -> Iterator[Draft | Problem]:
    """Yields the drafts of a split: about its clips, then about mixtures of them."""
    rng = np.random.default_rng([options.seed, SPLITS.index(split)])
    say = partial(Balance().choose, number=options.hypotheses_per_premise, rng=rng)
    columns = {"source": "esc10", "modality": "audio", "evidence": ["audio"]}
    for k in rng.permutation(len(clips)):
        kind, path = clips[k]
        key = path.relative_to(options.clips).as_posix()
        premise = columns | {"audio": Clip(path, key), "probability_source": "label"}
        claims = say(clip_forms(kind, _foils([kind], rng)))
        yield from drafts_about(premise, key, f"esc10-{kind}-{path.stem}", claims)

    @cache
    def audible_of(path: Path) -> np.ndarray:
        return audible(read_sound(path))

    by_kind: dict[str, list[Path]] = {}
    for kind, path in clips:
        by_kind.setdefault(kind, []).append(path)

    def draw() -> tuple[Clip, list[list[Claim]]]:
        steps = sample_steps(list(by_kind), rng)
        sounds = [audible_of(by_kind[kind][rng.integers(len(by_kind[kind]))]) for kind in steps]
        return _mix(sounds, list(steps.values()), rng), mixture_forms(steps, _foils(list(steps), rng))

    premise = columns | {"probability_source": "exact"}
    option, for_each = "--mixtures", options.mixtures
    if split == "train" and options.training_mixtures is not None:
        option, for_each = "--training-mixtures", options.training_mixtures
    amount = round(for_each * len(clips))
    yield from drafts_about_mixes(draw, amount, option, say, premise, f"esc10-{split}-mixture")


def _caption_drafts(number: int, options: argparse.Namespace) -> Iterator[Draft]:
    """Yields drafts about captions: of each kind of sound in all words for it, and of as many mixtures as clips."""
    rng = np.random.default_rng([options.seed, len(SPLITS)])
    say = partial(Balance().choose, number=options.hypotheses_per_premise, rng=rng)
    said = {}
    for caption, kind in product(CAPTIONS, SOUNDS):
        said[caption.format(SOUNDS[kind])] = {kind: STEPS}
    alone = len(said)
    while len(said) < alone + number:
        steps = sample_steps(list(SOUNDS), rng)
        first, other = MIXTURE_CAPTIONS[rng.integers(len(MIXTURE_CAPTIONS))]
        parts = [(SOUNDS[kind], length * STEP / SAMPLING_RATE) for kind, length in steps.items()]
        said["".join([first.format(*parts[0]), *(other.format(*part) for part in parts[1:])]) + "."] = steps

    def forms(number: int, steps: dict[str, int]) -> list[list[Claim]]:
        kinds = list(steps)
        foils = _foils(kinds, rng)
        return clip_forms(kinds[0], foils) if number < alone else mixture_forms(steps, foils)

    captions = ((caption, forms(k, steps)) for k, (caption, steps) in enumerate(said.items()))
    yield from drafts_about_captions(captions, say, "esc10")


def sample_steps(kinds: list[str], rng: np.random.Generator) -> dict[str, int]:
    """Draws which kinds of sound a mixture has, and how many steps each goes on."""
    number = min(int(rng.choice(list(KINDS), p=list(KINDS.values()))), len(kinds))
    spare = STEPS - number * SHORTEST
    # As many ways of parting what is to spare are equally likely.
    ends = [*np.sort(rng.integers(spare + 1, size=number - 1)), spare]
    lengths = SHORTEST + np.diff(ends, prepend=0)
    return dict(zip(map(str, rng.choice(kinds, number, replace=False)), map(int, lengths), strict=True))


def _mix(sounds: list[np.ndarray], steps: list[int], rng: np.random.Generator) -> Clip:
    """Returns the clip of sounds that go on so many steps each, half of a fade more where they meet."""
    parts = []
    for k, (sound, number) in enumerate(zip(sounds, steps, strict=True)):
        meets = (k > 0) + (k < len(sounds) - 1)
        parts.append(cut(sound, number * STEP + meets * FADE // 2, rng))
    return mix(parts)


def _foils(kinds: list[str], rng: np.random.Generator) -> list[str]:
    """Draws kinds of sound that are not heard, and adds those that others may be taken for."""
    drawn = rng.permutation([kind for kind in SOUNDS if kind not in kinds])[:FOILS]
    like = [other for kind in kinds for other in SOUNDS[kind].like if other not in kinds]
    return list(dict.fromkeys([*map(str, drawn), *like]))
