"""Measures of a teacher's votes against what several people said of the same items."""

from dataclasses import dataclass

import numpy as np

from datasets_scripts.judgements.agreement import CONFIDENCE, krippendorff_alpha
from datasets_scripts.teachers.answers import Parsed, summarise


# Resampled numbers held at once.
CHUNK_ELEMENTS = 4_000_000


@dataclass(frozen=True)
class Measured:
    """
    A measure and its interval.

    Args:
        value (`float`, *optional*): `None` where it is undefined.
        interval (`tuple[float, float]`, *optional*): `None` without resamples, or where they are undefined.
        reason (`str`, *optional*): Why one of them is `None`, or what the interval is without.
    """

    value: float | None
    interval: tuple[float, float] | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Row:
    """
    One way to vote of one teacher.

    Args:
        teacher (`str`): Its name.
        votes (`str`): `"1"`, `"5-majority"`, `"5-mean"`.
        items (`int`): Items with a vote.
        missing (`int`): Items without.
        undecided (`int`): Items with a vote on which people's mean is exactly 0.5.
        accuracy (`Measured`): Over the decided items.
        mse (`Measured`): Over all with a vote.
        alpha (`Measured`): Over all with a vote.
    """

    teacher: str
    votes: str
    items: int
    missing: int
    undecided: int
    accuracy: Measured
    mse: Measured
    alpha: Measured


def votes_of(answers: list[tuple[Parsed, ...]]) -> dict[str, np.ndarray]:
    """
    Votes on items in every way.

    Args:
        answers (`list[tuple[Parsed, ...]]`): The answers to each item, in the order in which they were asked for.

    Returns:
        `dict[str, np.ndarray]` of shape `(items,)`: votes by name, NaN where there is none. A single answer an item
        has the name `"1"` alone.
    """
    number = max(map(len, answers))
    first = [one[0].probability for one in answers]
    if number == 1:
        return {"1": np.array(first, float)}
    summaries = [summarise(one) for one in answers]
    return {
        "1": np.array(first, float),
        f"{number}-majority": np.array([summary.majority for summary in summaries], float),
        f"{number}-mean": np.array([summary.mean for summary in summaries], float),
    }


def measure(teacher: str, name: str, votes: np.ndarray, people: np.ndarray, resamples: int, random_seed: int) -> Row:
    """
    Measures one way to vote.

    Args:
        teacher (`str`): The teacher's name.
        name (`str`): That of the votes.
        votes (`np.ndarray` of shape `(items,)`): Probabilities, NaN where there is none.
        people (`np.ndarray` of shape `(items,)`): The mean of what the people said.
        resamples (`int`): Bootstrap resamples.
        random_seed (`int`): Their seed.

    Returns:
        `Row`: the measures.
    """
    there = ~np.isnan(votes)
    decided = there & (people != 0.5)
    right = ((votes >= 0.5) == (people > 0.5))[decided].astype(float)
    alpha = krippendorff_alpha(np.stack([votes, people], 1)[there], resamples, random_seed)
    left_out = f"{alpha['degenerate']} of {resamples} resamples hold one value only and are left out"
    reason = alpha["reason"] or (left_out if alpha["degenerate"] else None)
    return Row(
        teacher=teacher,
        votes=name,
        items=int(there.sum()),
        missing=int((~there).sum()),
        undecided=int((there & (people == 0.5)).sum()),
        accuracy=_mean(right, resamples, random_seed),
        mse=_mean((votes - people)[there] ** 2, resamples, random_seed),
        alpha=Measured(alpha["value"], alpha["interval"] and tuple(alpha["interval"]), reason),
    )


def _mean(values: np.ndarray, resamples: int, random_seed: int) -> Measured:
    """The mean over items with its percentile bootstrap interval."""
    if not len(values):
        return Measured(None, None, "there is no item")
    if len(values) == 1:
        return Measured(float(values[0]), None, "one item tells nothing of the spread between items: no interval")
    generator = np.random.default_rng(random_seed)
    means, step = np.empty(resamples), max(1, CHUNK_ELEMENTS // len(values))
    for start in range(0, resamples, step):
        draws = min(step, resamples - start)
        means[start : start + draws] = values[generator.integers(len(values), size=(draws, len(values)))].mean(1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Measured(float(np.mean(values)), (float(low), float(high)))
