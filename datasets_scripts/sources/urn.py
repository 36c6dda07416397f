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
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import parent_process
from pathlib import Path

import numpy as np

from common.cli import positive
from common.files import replacing
from datasets_scripts.building.drafts import Draft, new_row, stored_suffix
from datasets_scripts.schema import SPLITS
from datasets_scripts.sources.urn_language import COLOURS, PITCHES, describe_urn, sample_hypotheses
from datasets_scripts.sources.urn_media import write_sound, write_video
from modeling_clue.modalities import MODALITIES, TABLE


DESCRIPTION = "generated, with exact probabilities"
EVENTS = (3, 10)
# How many of the attributes a scene uses at most: with fewer, probabilities of 0 and 1 occur.
PALETTE_SIZE = {1: 0.06, 2: 0.3, 3: 0.34, 4: 0.3}
MEDIA_SUFFIX = {"audio": stored_suffix(".flac"), "video": ".mp4", "audiovisual": ".mp4"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this source."""
    parser.add_argument("--modalities", nargs="+", choices=MODALITIES, default=MODALITIES, help="default: all four")
    parser.add_argument("--train", type=positive, default=2500, help="premises a modality (default: %(default)s)")
    parser.add_argument("--validation", type=positive, default=100, help="premises a modality (default: %(default)s)")
    parser.add_argument("--test", type=positive, default=300, help="premises a modality (default: %(default)s)")
    parser.add_argument("--text-train", type=positive, help="text premises for training (default: 3 x --train)")
    parser.add_argument("--hypotheses-per-premise", type=positive, default=12, help="default: %(default)s")


@dataclass(frozen=True)
class Scene:
    """
    What happens in a premise: one colour and one pitch an event, or only one of the two.

    Args:
        colours (`tuple[str, ...]` or `None`):
            The colour of each ball.
        pitches (`tuple[str, ...]` or `None`):
            The pitch of each sound.
    """

    colours: tuple[str, ...] | None
    pitches: tuple[str, ...] | None

    @property
    def events(self) -> list[tuple[str, ...]]:
        """The attributes of each event."""
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
    The configs `urn-<modality>`.

    Args:
        options (`argparse.Namespace`): What [`add_arguments`] adds, and `seed` and `workers`.

    Returns:
        `dict[str, dict[str, Callable[[Path], Iterator[Draft]]]]`: for each config and split a function that writes
        the split's clips into `media/` of the folder it is given, and gives the drafts of its rows.
    """
    sizes = {split: getattr(options, split) for split in SPLITS}
    number, seed, workers = options.hypotheses_per_premise, options.seed, options.workers
    found = {}
    for modality in options.modalities:
        if modality == "text":
            asked = sizes | {"train": options.text_train or 3 * options.train}
            # The test split first: it stays the same when the training split grows.
            seen = set()
            found["urn-text"] = {
                split: partial(_text_drafts, split=split, size=asked[split], number=number, seed=seed, seen=seen)
                for split in SPLITS
            }
        else:
            found[f"urn-{modality}"] = {
                split: partial(
                    _clip_drafts, modality=modality, size=sizes[split], number=number, seed=seed, workers=workers
                )
                for split in SPLITS
            }
    return found


def make_rows(
    modality: str, premise_id: str, scene: Scene, premise: str, number: int, rng: np.random.Generator
) -> list[dict]:
    """The rows of one premise (`premise` is a text, or the path of a clip), one a hypothesis."""
    rows = []
    for k, (predicate, sentence) in enumerate(sample_hypotheses(modality, number, rng)):
        probability = predicate.probability(scene.events)
        rows.append(
            new_row(
                id=f"{premise_id}-{k:02d}",
                source="urn",
                modality=modality,
                **{TABLE[modality].column: premise},
                hypothesis=sentence,
                probability=probability,
                # Between 0 and 1 a statement about a random draw is neither true nor false.
                label=int(probability) if probability in (0.0, 1.0) else None,
                probability_source="exact",
                evidence=["text"] if modality == "text" else list(predicate.senses),
            )
        )
    return rows


def _text_drafts(folder: Path, split: str, size: int, number: int, seed: int, seen: set[str]) -> Iterator[Draft]:
    """The drafts of a split of the text config. No text is of `seen`, to which this split's are added."""
    for index in range(size):
        rng = _generator(seed, "text", split, index)
        while True:
            scene = sample_scene("text", rng)
            text = describe_urn(list(scene.colours), rng)
            if text not in seen:
                break
        seen.add(text)
        premise_id = f"urn-text-{split}-{index:06d}"
        for row in make_rows("text", premise_id, scene, text, number, rng):
            yield Draft(row["id"], row)


def _clip_drafts(folder: Path, modality: str, size: int, number: int, seed: int, workers: int) -> Iterator[Draft]:
    """Writes the clips of a split of a media config to `folder/media/` and gives its drafts."""
    jobs = [(modality, folder, index, number, seed) for index in range(size)]
    for rows in map_in_processes(_write_premise, jobs, workers):
        for row in rows:
            yield Draft(row["id"], row)


def _write_premise(job: tuple[str, Path, int, int, int]) -> list[dict]:
    modality, folder, index, number, seed = job
    rng = _generator(seed, modality, folder.name, index)
    scene = sample_scene(modality, rng)
    clip = f"media/{index:06d}{MEDIA_SUFFIX[modality]}"
    rows = make_rows(modality, f"urn-{modality}-{folder.name}-{index:06d}", scene, clip, number, rng)
    write_clip(folder / clip, scene, rng)
    return rows


def write_clip(
    path: Path, scene: Scene, rng: np.random.Generator, squares: tuple[str, ...] = (), hums: tuple[str, ...] = ()
) -> None:
    """Writes the clip of a scene, whole or not at all, unless it is there already."""
    if path.exists():
        return
    with replacing(path) as partial_file:
        if scene.colours is None:
            write_sound(partial_file, scene.pitches, rng, hums)
        else:
            write_video(partial_file, scene.colours, scene.pitches, rng, squares, hums)


def map_in_processes(function: Callable, jobs: list, workers: int) -> Iterator:
    """`map(function, jobs)` in `workers` processes, which end with this one."""
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


def _generator(seed: int, modality: str, split: str, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, MODALITIES.index(modality), SPLITS.index(split), index])
