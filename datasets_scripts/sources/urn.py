"""
The urn world: premises whose hypotheses have an exactly known probability, in all four modalities.

A scene is a sequence of 3 to 10 events; a hypothesis speaks of one event drawn at random: its probability is a share
of events. In a text an event is a ball of an urn; in a clip a beep; in a video a coloured ball; in an audiovisual
premise a ball and a beep at once. Every premise has a random generator of its own, seeded by its place in the dataset:
the number of workers changes nothing, and a larger dataset begins with the rows of a smaller one.
"""

import argparse
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import parent_process
from pathlib import Path

import numpy as np

from common.cli import positive_int
from common.files import replacing
from datasets_scripts.building.drafts import Draft, new_row, stored_suffix
from datasets_scripts.schema import SPLITS
from datasets_scripts.sources.facts import Facts
from datasets_scripts.sources.urn_language import COLOURS, PITCHES, describe_urn, sample_hypotheses
from datasets_scripts.sources.urn_media import EVENT_SAMPLES, write_sound, write_video
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


def configs(options: argparse.Namespace) -> dict[str, dict[str, Callable[[Path], Iterator[Draft]]]]:
    """
    Returns a function for each split of the configs `urn-<modality>`, which writes the split's clips into `media/` of
    the folder it is given, and yields the drafts of its rows.
    """
    seen = set()
    return {
        f"urn-{modality}": {split: partial(_drafts, modality, split, options, seen) for split in SPLITS}
        for modality in options.modalities
    }


def make_rows(
    modality: str, premise_id: str, scene: Scene, premise: str, number: int, rng: np.random.Generator
) -> list[dict]:
    """Returns the rows of one premise (`premise` is a text, or the path of a clip), one a hypothesis."""
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
    make = partial(_make_premise, modality, split, options.seed, options.hypotheses_per_premise, folder)
    if modality == "text":
        premises = (make(index, seen) for index in range(size))
    else:
        premises = map_in_processes(make, range(size), options.workers)
    for rows in premises:
        yield from (Draft(row["id"], row) for row in rows)


def _make_premise(
    modality: str, split: str, seed: int, number: int, folder: Path, index: int, seen: set[str] = frozenset()
) -> list[dict]:
    """Draws a premise whose text is not `seen` yet, writes its clip, and returns its rows."""
    rng = np.random.default_rng([seed, MODALITIES.index(modality), SPLITS.index(split), index])
    scene = sample_scene(modality, rng)
    premise = f"media/{index:06d}{MEDIA_SUFFIX.get(modality)}"
    if modality == "text":
        while (premise := describe_urn(list(scene.colours), rng)) in seen:
            scene = sample_scene(modality, rng)
        seen.add(premise)
    rows = make_rows(modality, f"urn-{modality}-{split}-{index:06d}", scene, premise, number, rng)
    if modality != "text":
        write_clip(folder / premise, scene, rng)
    return rows


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
