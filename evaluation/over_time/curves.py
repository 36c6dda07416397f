"""Asks a checkpoint about premises as far as they have gone, and keeps its answers beside the exact ones."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from common.files import journal, locked, read_journal
from datasets_scripts.sources.urn_over_time import Asked
from evaluation.unfinished import check_settings


FINISHED = "curves.jsonl"


@dataclass(frozen=True)
class Curve:
    """
    What a model says of a hypothesis at each time that it can tell, beside the exact probability.

    `times` are seconds, or characters of a text, the last of them its end; `truth` is `None` where a prefix has none.
    """

    premise: str
    modality: str
    set: str
    hypothesis: str
    times: list[float]
    prediction: list[float]
    truth: list[float | None]
    notes: list[str]

    @property
    def defined(self) -> np.ndarray:
        """Returns the places of the times that have a truth, `(t,)`."""
        return np.array([place for place, value in enumerate(self.truth) if value is not None], dtype=int)

    @property
    def shares(self) -> np.ndarray:
        """Returns the times as shares of the premise, `(T,)`; the last is 1."""
        return np.array(self.times) / self.times[-1]


def read_curves(path: Path) -> list[Curve]:
    """Reads the curves that were kept so far; none if there is no such file."""
    return [Curve(**row) for row in read_journal(path)] if path.exists() else []


def make_curves(load, suite: list[Asked], out: Path, settings: dict) -> list[Curve]:
    """
    Returns the curves of a suite in its order, going on from what an interrupted run has kept in a folder.

    Args:
        load (`Callable`): Loads the pipeline; called only if premises are left to ask about.
        suite (`list[Asked]`): The premises with their hypotheses.
        out (`Path`): The folder; clips are written into its `media`.
        settings (`dict`): What the curves depend on, kept in `settings.json` beside them.

    Raises:
        ValueError: if the folder holds curves of other settings, or another run is writing to it.
    """
    taken = ValueError(f"Another evaluation is writing to {out}: wait for it, or end it.")
    with locked(out / ".lock", taken):
        check_settings(out, settings)
        kept = read_curves(out / FINISHED)
        done = {curve.premise for curve in kept}
        left = [asked for asked in suite if asked.premise.name not in done]
        if done and left:
            print(f"{out} holds {len(done):,} of {len(suite):,} premises already: going on with the others.")
        if left:
            (out / "media").mkdir(exist_ok=True)
            with journal(out / FINISHED) as add:
                for curves in tqdm(ask(load(), left, out / "media"), total=len(left), unit="premise"):
                    add(vars(curve) for curve in curves)
                    kept += curves
    place = {asked.premise.name: number for number, asked in enumerate(suite)}
    return sorted(kept, key=lambda curve: place[curve.premise])


def ask(clue, suite: Iterable[Asked], media: Path) -> Iterator[list[Curve]]:
    """Yields the curves of each premise, one a hypothesis; clips are written into the folder `media`."""
    for asked in suite:
        premise = asked.premise
        # Two frames a ball, which the vision tower takes as a pair, whatever the checkpoint samples by itself.
        sampling = {"fps": premise.fps} if premise.fps else {}
        sentences = [sentence for _, sentence in asked.hypotheses]
        answers = clue.timeline(premise.write(media), sentences, **sampling)
        yield [
            Curve(
                premise=premise.name,
                modality=premise.modality,
                set=premise.set,
                hypothesis=sentence,
                times=answer["times"],
                # A sum in float32 may pass 1 by a rounding.
                prediction=[min(max(value, 0.0), 1.0) for value in answer["probability"]],
                truth=[premise.truth(predicate, time) for time in answer["times"]],
                notes=answer["notes"],
            )
            for (predicate, sentence), answer in zip(asked.hypotheses, answers, strict=True)
        ]
