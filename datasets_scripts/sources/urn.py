"""
The urn world: premises whose hypotheses have an exactly known probability, in all four modalities.

A scene is a sequence of 3 to 10 events; a hypothesis speaks of one event drawn at random: its probability is a share
of events. In a text an event is a ball of an urn; in a clip a beep; in a video a coloured ball; in an audiovisual
premise a ball and a beep at once. Every premise has a random generator of its own, seeded by its place in the dataset:
the number of workers changes nothing, and a larger dataset begins with the rows of a smaller one.

What is true of a premise that ended earlier is known as exactly, after each event of a clip and each sentence of a
text: the column `prefixes` has it. A model can tell belief only where a block of its towers ends, in Qwen2.5-Omni
every 2 s of sound; with `--event-seconds 0.2` an event ends there too, where one of 0.16 s would be torn apart. Where
a text takes back what it said of the urn (`--corrected-share`), nothing is known of it.
"""

import argparse
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import parent_process
from pathlib import Path

import numpy as np

from common.cli import config_name, positive_int, unit_float
from common.errors import InputError
from common.files import replacing
from datasets_scripts.building.drafts import Draft, new_row, stored_suffix
from datasets_scripts.schema import SPLITS
from datasets_scripts.sources.facts import Facts
from datasets_scripts.sources.urn_language import (
    COLOURS,
    CORRECTION,
    PITCHES,
    describe_urn,
    sample_hypotheses,
    sentence_ends,
    text_of,
)
from datasets_scripts.sources.urn_media import EVENT_SAMPLES, SAMPLING_RATE, write_sound, write_video
from modeling_clue.modalities import MODALITIES, TABLE


DESCRIPTION = "generated, with exact probabilities"
FACTS = Facts(
    title="Urn world",
    what=(
        "Generated premises: an urn described in words, a sound of high, middle and low beeps, a video of "
        "coloured balls, or both at once. A hypothesis speaks of one ball or beep drawn at random."
    ),
    licences=("apache-2.0",),
    terms="texts, clips and probabilities, which this project's code generates",
    labels=(
        "The probability is exact: the share of events in the premise of which the hypothesis is true. The label "
        "is 1 or 0 where that is certain, else none."
    ),
    limits="The urn world has a few dozen words and nothing of real scenes: it checks machinery, not judgement.",
    configs=r"urn-.*",
)

EVENTS = (3, 10)
EVENT_SECONDS = EVENT_SAMPLES / SAMPLING_RATE
# How many of the attributes a scene uses at most: with fewer, probabilities of 0 and 1 occur.
PALETTE_SIZE = {1: 0.06, 2: 0.3, 3: 0.34, 4: 0.3}
MEDIA_SUFFIX = {"audio": stored_suffix(".flac"), "video": ".mp4", "audiovisual": ".mp4"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this source."""
    parser.add_argument("--modalities", nargs="+", choices=MODALITIES, default=MODALITIES, help="default: all four")
    explained = "premises a modality (default: %(default)s)"
    for split, size in {"train": 2500, "validation": 100, "test": 300}.items():
        parser.add_argument(f"--{split}", type=positive_int, default=size, help=explained)
    parser.add_argument("--text-train", type=positive_int, help="text premises for training (default: 3 x --train)")
    parser.add_argument("--hypotheses-per-premise", type=positive_int, default=12, help="default: %(default)s")
    add = parser.add_argument
    add("--events", nargs=2, type=positive_int, default=EVENTS, metavar="N", help="fewest and most (default: 3 10)")
    add(
        "--event-seconds",
        type=_event_seconds,
        default=EVENT_SECONDS,
        help="length of an event of a clip, a multiple of 0.04 (default: %(default)s)",
    )
    explained = "most sentences about the urn of a text; several add up (default: 1, which tells all balls)"
    add("--sentences", type=positive_int, default=1, help=explained)
    explained = "share of texts that tell of an urn, take that back and tell of another (default: 0)"
    add("--corrected-share", type=unit_float, default=0.0, help=explained)
    explained = "end of the configs' names, as 'long' in urn-text-long: several kinds of premises in one dataset"
    add("--suffix", type=config_name, help=explained)


def _event_seconds(text: str) -> float:
    """Reads the length of an event; in 0.04 s there are four frames of a spectrogram, a token of Qwen2.5-Omni."""
    seconds = float(text)
    if not 0.08 <= seconds <= 10 or abs(seconds / 0.04 - round(seconds / 0.04)) > 1e-6:
        raise argparse.ArgumentTypeError(f"must be a multiple of 0.04 from 0.08 to 10, got {text}")
    return seconds


@dataclass(frozen=True)
class Scene:
    """What happens in a premise: the colour of each ball, the pitch of each beep, or both."""

    colours: tuple[str, ...] | None
    pitches: tuple[str, ...] | None

    @property
    def events(self) -> list[tuple[str, ...]]:
        """Returns the attributes of each event."""
        return list(zip(*(sense for sense in (self.colours, self.pitches) if sense is not None), strict=True))


def sample_scene(modality: str, rng: np.random.Generator, number: int | None = None) -> Scene:
    """Draws a scene: its length, unless `number` says it, the attributes it uses, and which event has which."""
    if number is None:
        number = int(rng.integers(EVENTS[0], EVENTS[1] + 1))

    def attributes(names: tuple[str, ...]) -> tuple[str, ...]:
        size = min(int(rng.choice(list(PALETTE_SIZE), p=list(PALETTE_SIZE.values()))), len(names))
        palette = rng.choice(names, size, replace=False)
        return tuple(map(str, rng.choice(palette, number, p=rng.dirichlet(np.full(size, 2.0)))))

    return Scene(
        colours=None if modality == "audio" else attributes(COLOURS),
        pitches=attributes(PITCHES) if TABLE[modality].sound else None,
    )


def event_ends(events: Sequence[tuple[str, ...]], seconds: float) -> list[tuple[float, Sequence[tuple[str, ...]]]]:
    """Returns when each event of a clip ends, and the events up to there, of which one is drawn if it ends there."""
    return [(round(seconds * number, 6), events[:number]) for number in range(1, len(events) + 1)]


def configs(options: argparse.Namespace) -> dict[str, dict[str, Callable[[Path], Iterator[Draft]]]]:
    """
    Returns a function for each split of the configs `urn-<modality>[-<suffix>]`, which writes the split's clips into
    `media/` of the folder it is given, and yields the drafts of its rows.

    Raises:
        InputError: if the fewest events are more than the most.
    """
    fewest, most = options.events
    if fewest > most:
        raise InputError(f"--events takes the fewest first: give {most} {fewest}.")
    seen = set()
    end = f"-{options.suffix}" if options.suffix else ""
    return {
        f"urn-{modality}{end}": {split: partial(_drafts, modality, split, options, seen) for split in SPLITS}
        for modality in options.modalities
    }


def make_rows(
    modality: str,
    premise_id: str,
    scene: Scene,
    premise: str,
    number: int,
    rng: np.random.Generator,
    known: Sequence[tuple[float, Sequence[tuple[str, ...]]]] = (),
) -> list[dict]:
    """Returns the rows of one premise (`premise` is a text, or the path of a clip), one a hypothesis; `known` are the
    places at which it might end, each with the events up to there."""
    rows = []
    for k, (predicate, sentence) in enumerate(sample_hypotheses(modality, number, rng)):
        probability = predicate.probability(scene.events)
        rows.append(
            new_row(
                id=f"{premise_id}-{k:02d}",
                source="urn",
                modality=modality,
                hypothesis=sentence,
                probability=probability,
                prefixes=[{"at": at, "probability": predicate.probability(events)} for at, events in known],
                # Between 0 and 1 a statement about a random draw is neither true nor false.
                label=int(probability) if probability in (0.0, 1.0) else None,
                probability_source="exact",
                evidence=["text"] if modality == "text" else list(predicate.senses),
                **{TABLE[modality].column: premise},
            )
        )
    return rows


def _drafts(modality: str, split: str, options: argparse.Namespace, seen: set[str], folder: Path) -> Iterator[Draft]:
    """Yields the drafts of a split; no text is one that was `seen` in another."""
    size = getattr(options, split)
    if modality == "text" and split == "train":
        size = options.text_train or 3 * size
    make = partial(_make_premise, modality, split, _Look.of(options), folder)
    if modality == "text":
        premises = (make(index, seen) for index in range(size))
    else:
        premises = map_in_processes(make, range(size), options.workers)
    for rows in premises:
        yield from (Draft(row["id"], row) for row in rows)


@dataclass(frozen=True)
class _Look:
    """What premises look like; picklable, for processes."""

    seed: int
    hypotheses: int
    events: tuple[int, int]
    event_seconds: float
    sentences: int
    corrected_share: float

    @classmethod
    def of(cls, options: argparse.Namespace) -> "_Look":
        return cls(
            seed=options.seed,
            hypotheses=options.hypotheses_per_premise,
            events=tuple(options.events),
            event_seconds=options.event_seconds,
            sentences=options.sentences,
            corrected_share=options.corrected_share,
        )


def _make_premise(
    modality: str, split: str, look: _Look, folder: Path, index: int, seen: set[str] = frozenset()
) -> list[dict]:
    """Draws a premise whose text is not `seen` yet, writes its clip, and returns its rows."""
    rng = np.random.default_rng([look.seed, MODALITIES.index(modality), SPLITS.index(split), index])

    def sample() -> Scene:
        return sample_scene(modality, rng, int(rng.integers(look.events[0], look.events[1] + 1)))

    if modality == "text":
        while (drawn := _tell(sample, rng, look))[0] in seen:
            pass
        premise, scene, known = drawn
        seen.add(premise)
    else:
        scene = sample()
        premise = f"media/{index:06d}{MEDIA_SUFFIX[modality]}"
        known = event_ends(scene.events, look.event_seconds)
    name = f"urn-{modality}-{split}-{index:06d}"
    rows = make_rows(modality, name, scene, premise, look.hypotheses, rng, known)
    if modality != "text":
        write_clip(folder / premise, scene, rng, event_samples=round(look.event_seconds * SAMPLING_RATE))
    return rows


def _tell(
    sample: Callable[[], Scene], rng: np.random.Generator, look: _Look
) -> tuple[str, Scene, list[tuple[int, Sequence[tuple[str, ...]]]]]:
    """Draws a text, its urn, and where it might end, each place with the balls named up to there."""
    sentences, known = [], []
    wrong = look.corrected_share > 0 and rng.random() < look.corrected_share
    for _ in range(2 if wrong else 1):
        # Nothing is known of the urn where what was said of it has been taken back.
        sentences += [(CORRECTION, 0)] if sentences else []
        scene, first = sample(), len(sentences)
        sentences += describe_urn(list(scene.colours), rng, look.sentences)
        known += [(at, scene.events[:balls]) for at, balls in sentence_ends(sentences)[first:] if balls]
    return text_of(sentences), scene, known


def write_clip(
    path: Path,
    scene: Scene,
    rng: np.random.Generator,
    squares: tuple[str, ...] = (),
    hums: tuple[str, ...] = (),
    event_samples: int = EVENT_SAMPLES,
) -> None:
    """Writes the clip of a scene, whole or not at all, unless it is there already."""
    if path.exists():
        return
    with replacing(path) as partial_file:
        if scene.colours is None:
            write_sound(partial_file, scene.pitches, rng, hums, event_samples)
        else:
            write_video(partial_file, scene.colours, scene.pitches, rng, squares, hums, event_samples)


def map_in_processes(function: Callable, jobs: Iterable, workers: int) -> Iterator:
    """Yields what `map(function, jobs)` does, in `workers` processes, which end with this one."""
    if workers == 1:
        yield from map(function, jobs)
        return
    with ProcessPoolExecutor(workers, initializer=_end_with_parent) as pool:
        yield from pool.map(function, jobs, chunksize=16)


def _end_with_parent() -> None:
    # A worker whose parent was killed would wait for work for ever, after finishing what it had of it.
    def watch() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
