"""
Premises of the urn world that go on, and what is true of each as far as it has been said, heard or seen.

A hypothesis speaks of one event drawn at random. If the premise ended earlier, its probability is the share of the
events there are up to there: the balls that were named or shown, the beeps that sounded. It has none where nothing was
said of the urn yet, where what was said has been taken back, and in the middle of a ball or a beep.

There are three sets:

- `steady`: events come in random order, as in the training data; some texts have a sentence to be ignored;
- `overturned`: the first third is all of one colour (one pitch), the rest mostly of another;
- `corrected`, of texts alone: an urn, "That is wrong.", then another urn.

Clips with sound have events of 0.2 s in place of 0.16 s, so that ten fit into the 2 s which Qwen2.5-Omni's audio tower
takes at once: no time at which belief can be sentences tears one apart.
"""

import argparse
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.cli import positive_int
from common.errors import InputError
from datasets_scripts.sources.urn import MEDIA_SUFFIX, Scene, event_ends, sample_scene, write_clip
from datasets_scripts.sources.urn_language import (
    COLOURS,
    CORRECTION,
    DISTRACTED_SHARE,
    PITCHES,
    Predicate,
    add_up,
    distracting_sentences,
    list_balls,
    sample_hypotheses,
)
from datasets_scripts.sources.urn_media import EVENT_SAMPLES, FRAMES_PER_EVENT, SAMPLING_RATE
from modeling_clue.modalities import MODALITIES, TABLE


# Changes whenever a premise or a question would: results of different versions can't be compared.
VERSION = "urn-over-time-1"
SETS = ("steady", "overturned", "corrected")
# Events of a premise: as many as the training data has at most, and three times as many where there is sound, of which
# belief can be sentences every 2 s.
EVENTS = {"text": 10, "audio": 30, "video": 10, "audiovisual": 30}
# Of one event, where there is sound.
SOUND_EVENT_SAMPLES = 3_200
# Sentences about the urn in a text that adds them up.
SENTENCES = 5
# The share of the events that come first and are alike; and how many of the rest are surely what overturns them.
FIRST, LATER = 1 / 3, 0.85
# Seconds, or characters, by which a time may miss the end of an event.
SLACK = 1e-3
# Makes seeds that are none of the training data's or the stress test's.
APART = (2, 0, 0)


@dataclass(frozen=True)
class Premise:
    """
    A premise with what there is of it at each of some places: the ends of its events or, of a text, its sentences.

    `ends` are seconds, or characters; `known` are the events of which the draw is one if it ends there, `None` where
    nothing is said of them. Both have one entry a place.
    """

    name: str  # unique; the stem of its clip
    modality: str
    set: str
    scene: Scene
    text: str | None  # the premise itself, if it is a text
    ends: tuple[float, ...]
    known: tuple[tuple[tuple[str, ...], ...] | None, ...]
    seed: tuple[int, ...]  # of the clip's rendering

    def truth(self, predicate: Predicate, at: float) -> float | None:
        """Returns the exact probability if it ended `at` seconds or characters; `None` where there is none."""
        place = bisect_right(self.ends, at + SLACK) - 1
        # Encoders add a little silence at the end.
        torn = place < 0 or (place < len(self.ends) - 1 and at > self.ends[place] + SLACK)
        events = None if torn else self.known[place]
        return None if events is None else predicate.probability(list(events))

    @property
    def fps(self) -> float | None:
        """Returns the frame rate of its clip; `None` without frames."""
        samples = event_samples(self.modality)
        return FRAMES_PER_EVENT * SAMPLING_RATE / samples if TABLE[self.modality].frames else None

    def write(self, folder: Path) -> dict:
        """Writes its clip into a folder, unless it is there or this is a text; returns it as the pipeline takes it."""
        if self.text is not None:
            return {"text": self.text}
        path = folder / f"{self.name}{MEDIA_SUFFIX[self.modality]}"
        rng = np.random.default_rng(list(self.seed))
        write_clip(path, self.scene, rng, event_samples=event_samples(self.modality))
        return {TABLE[self.modality].column: str(path), "modality": self.modality}


@dataclass(frozen=True)
class Asked:
    """A premise with hypotheses about it, each the predicate and the sentence that says it."""

    premise: Premise
    hypotheses: tuple[tuple[Predicate, str], ...]


def event_samples(modality: str) -> int:
    """Returns how long an event of a clip is, in samples at 16 kHz."""
    return SOUND_EVENT_SAMPLES if TABLE[modality].sound else EVENT_SAMPLES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a suite."""
    add = parser.add_argument
    add("--modalities", nargs="+", choices=MODALITIES, default=list(MODALITIES), help="default: all four")
    add("--premises", type=positive_int, default=40, help="premises of each set and modality (default: %(default)s)")
    add("--hypotheses-per-premise", dest="hypotheses", type=positive_int, default=6, help="default: %(default)s")
    add(
        "--events",
        type=positive_int,
        help="balls or beeps of a premise (default: 10, the most of the training data; 30 where there is sound)",
    )


def suite_options(options: argparse.Namespace) -> dict:
    """Returns all that decides the premises and questions of a suite, `seed` included."""
    names = ("modalities", "premises", "hypotheses", "events", "seed")
    return {"version": VERSION, **{name: getattr(options, name) for name in names}}


def make_suite(options: argparse.Namespace) -> list[Asked]:
    """Returns all premises of a suite with their hypotheses, set after set of each modality.

    Raises:
        InputError: if a premise is to have too few events to be told in several sentences, or there are not as many
            different hypotheses.
    """
    if options.events is not None and options.events <= SENTENCES:
        raise InputError(f"--events {options.events} are too few to overturn anything: give {SENTENCES + 1} or more.")
    return [
        asked
        for modality in dict.fromkeys(options.modalities)
        for name in SETS
        if name != "corrected" or modality == "text"
        for asked in _of_set(modality, name, options)
    ]


def _of_set(modality: str, name: str, options: argparse.Namespace) -> Iterator[Asked]:
    events = options.events or EVENTS[modality]
    for number in range(options.premises):
        seed = (options.seed, MODALITIES.index(modality), *APART, SETS.index(name), number)
        rng = np.random.default_rng(list(seed))
        title, scene = f"{modality}-{name}-{number:03d}", _sample_scene(modality, name, rng, events)
        premise = make_premise(title, modality, name, scene, rng, (*seed, 1))
        yield Asked(premise, tuple(sample_hypotheses(modality, options.hypotheses, rng)))


def _sample_scene(modality: str, name: str, rng: np.random.Generator, events: int) -> Scene:
    if name == "overturned":
        return overturned_scene(modality, rng, events)
    if name == "corrected":
        halves = [sample_scene(modality, rng, number).colours for number in (events // 2, events - events // 2)]
        return Scene((*halves[0], *halves[1]), None)
    return sample_scene(modality, rng, events)


def overturned_scene(modality: str, rng: np.random.Generator, number: int) -> Scene:
    """Draws a scene whose first third is all alike and whose rest is mostly something else, in each of its senses."""

    def attributes(names: tuple[str, ...]) -> tuple[str, ...]:
        early, late = map(str, rng.choice(names, 2, replace=False))
        first = round(FIRST * number)
        rest = [late if rng.random() < LATER else str(rng.choice(names)) for _ in range(number - first)]
        return (*[early] * first, *rest)

    return Scene(
        colours=attributes(COLOURS) if modality != "audio" else None,
        pitches=attributes(PITCHES) if TABLE[modality].sound else None,
    )


def make_premise(
    name: str, modality: str, set_name: str, scene: Scene, rng: np.random.Generator, seed: tuple[int, ...] = (0,)
) -> Premise:
    """Makes a premise of a scene, in words where it is to be a text: the only thing that draws from `rng`."""
    events = tuple(scene.events)
    if modality != "text":
        seconds = event_samples(modality) / SAMPLING_RATE
        ends, known = zip(*event_ends(events, seconds), strict=True)
        return Premise(name, modality, set_name, scene, None, ends, known, seed)
    sentences = _corrected(events, rng) if set_name == "corrected" else _added_up(events, set_name, rng)
    text = " ".join(sentence for sentence, _ in sentences)
    ends = tuple(
        len(" ".join(sentence for sentence, _ in sentences[:number])) for number in range(1, len(sentences) + 1)
    )
    return Premise(name, modality, set_name, scene, text, ends, tuple(known for _, known in sentences), seed)


# Sentences, each with the events that are known after it.
Sentences = list[tuple[str, tuple[tuple[str, ...], ...] | None]]


def _added_up(events: tuple[tuple[str, ...], ...], set_name: str, rng: np.random.Generator) -> Sentences:
    """Tells of the balls a few at a time; now and then a sentence of the steady ones is to be ignored."""
    number = len(events)
    # The first sentence of the overturned ones is of the balls that are alike.
    inner = [round(FIRST * number)] if set_name == "overturned" else []
    least = inner[0] + 1 if inner else 1
    inner += sorted(map(int, rng.choice(np.arange(least, number), SENTENCES - 1 - len(inner), replace=False)))
    added = add_up([colour for (colour,) in events], inner, rng)
    sentences: Sentences = [(sentence, events[:balls]) for sentence, balls in added]
    if set_name == "steady" and rng.random() < DISTRACTED_SHARE:
        place = int(rng.integers(len(sentences) + 1))
        (sentence,), _ = distracting_sentences(1, rng)
        sentences.insert(place, (sentence, sentences[place - 1][1] if place else None))
    return sentences


def _corrected(events: tuple[tuple[str, ...], ...], rng: np.random.Generator) -> Sentences:
    """Tells of an urn with half of the balls, takes that back, and tells of one with the other half."""
    half = len(events) // 2
    return [
        (list_balls([colour for (colour,) in events[:half]], rng), events[:half]),
        (CORRECTION, None),
        (list_balls([colour for (colour,) in events[half:]], rng), events[half:]),
    ]
