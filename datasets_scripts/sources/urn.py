"""
The urn world: premises whose hypotheses have an exactly known probability, in all four modalities.

A scene is a sequence of 3 to 10 events; a hypothesis speaks of one event drawn at random: its probability is a share
of events. In a text an event is a ball of an urn; in a clip a beep; in a video a coloured ball; in an audiovisual
premise a ball and a beep at once. Every premise has a random generator of its own, seeded by its place in the dataset:
the number of workers changes nothing, and a larger dataset begins with the rows of a smaller one.
"""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path

import numpy as np
from tqdm import tqdm

from datasets_scripts.schema import MODALITIES, SPLITS
from datasets_scripts.sources.urn_language import COLOURS, PITCHES, describe_urn, sample_hypotheses
from datasets_scripts.sources.urn_media import write_sound, write_video


EVENTS = (3, 10)
# How many of the attributes a scene uses at most: with fewer, probabilities of 0 and 1 occur.
PALETTE_SIZE = {1: 0.06, 2: 0.3, 3: 0.34, 4: 0.3}
MEDIA_SUFFIX = {"audio": "flac", "video": "mp4", "audiovisual": "mp4"}


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


def sample_scene(modality: str, rng: np.random.Generator) -> Scene:
    """Draws a scene: its length, the attributes it uses, and which event has which."""
    number = int(rng.integers(EVENTS[0], EVENTS[1] + 1))

    def attributes(names: tuple[str, ...]) -> tuple[str, ...]:
        size = min(int(rng.choice(list(PALETTE_SIZE), p=list(PALETTE_SIZE.values()))), len(names))
        palette = rng.choice(names, size, replace=False)
        return tuple(map(str, rng.choice(palette, number, p=rng.dirichlet(np.full(size, 2.0)))))

    return Scene(
        colours=None if modality == "audio" else attributes(COLOURS),
        pitches=attributes(PITCHES) if modality in ("audio", "audiovisual") else None,
    )


def make_rows(
    modality: str, premise_id: str, scene: Scene, premise: str, number: int, rng: np.random.Generator
) -> list[dict]:
    """The rows of one premise (`premise` is a text, or the path of a clip), one a hypothesis."""
    rows = []
    for k, (predicate, sentence) in enumerate(sample_hypotheses(modality, number, rng)):
        probability = predicate.probability(scene.events)
        rows.append(
            {
                "id": f"{premise_id}-{k:02d}",
                "source": "urn",
                "modality": modality,
                "premise": premise if modality == "text" else None,
                "audio": premise if modality == "audio" else None,
                "video": premise if modality in ("video", "audiovisual") else None,
                "hypothesis": sentence,
                "probability": probability,
                # Between 0 and 1 a statement about a random draw is neither true nor false.
                "label": int(probability) if probability in (0.0, 1.0) else None,
                "probability_source": "exact",
                "human_probabilities": None,
                "teacher_probabilities": None,
                "evidence": ["text"] if modality == "text" else list(predicate.senses),
                "topic": None,
                "context": None,
            }
        )
    return rows


def text_splits(sizes: dict[str, int], number: int, seed: int) -> dict[str, list[dict]]:
    """
    The rows of the text config. No text comes twice, in one split or in two.

    Args:
        sizes (`dict[str, int]`): Premises in each split.
        number (`int`): Hypotheses a premise.
        seed (`int`): The seed of the whole dataset.

    Returns:
        `dict[str, list[dict]]`: the rows of each split.
    """
    seen, splits = set(), {}
    # The test split first: it stays the same when the training split grows.
    for split in reversed(SPLITS):
        splits[split] = []
        for index in range(sizes[split]):
            rng = _generator(seed, "text", split, index)
            while True:
                scene = sample_scene("text", rng)
                text = describe_urn(list(scene.colours), rng)
                if text not in seen:
                    break
            seen.add(text)
            splits[split] += make_rows("text", f"urn-text-{split}-{index:06d}", scene, text, number, rng)
    return splits


def media_splits(
    folder: Path, modality: str, sizes: dict[str, int], number: int, seed: int, workers: int
) -> dict[str, list[dict]]:
    """
    Writes the clips of a media config to `folder/<split>/media/` and gives its rows.

    Args:
        folder (`Path`): The folder of the config.
        modality (`str`): `"audio"`, `"video"` or `"audiovisual"`.
        sizes (`dict[str, int]`): Premises in each split.
        number (`int`): Hypotheses a premise.
        seed (`int`): The seed of the whole dataset.
        workers (`int`): Processes that write clips.

    Returns:
        `dict[str, list[dict]]`: the rows of each split, with the clips' paths relative to `folder/<split>`.
    """
    splits = {split: [] for split in SPLITS}
    jobs = []
    for split in SPLITS:
        (folder / split / "media").mkdir(parents=True)
        jobs += [(modality, folder, split, index, number, seed) for index in range(sizes[split])]
    for job, rows in zip(jobs, tqdm(_map(_write_premise, jobs, workers), f"urn-{modality}", len(jobs)), strict=True):
        splits[job[2]] += rows
    return splits


def _write_premise(job: tuple[str, Path, str, int, int, int]) -> list[dict]:
    modality, folder, split, index, number, seed = job
    rng = _generator(seed, modality, split, index)
    scene = sample_scene(modality, rng)
    clip = f"media/{index:06d}.{MEDIA_SUFFIX[modality]}"
    rows = make_rows(modality, f"urn-{modality}-{split}-{index:06d}", scene, clip, number, rng)
    if modality == "audio":
        write_sound(folder / split / clip, scene.pitches, rng)
    else:
        write_video(folder / split / clip, scene.colours, scene.pitches, rng)
    return rows


def _map(function, jobs: list, workers: int) -> Iterator:
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
