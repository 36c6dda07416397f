"""Thins the training split to a positive:negative ratio (table 4 of the paper): all positives, some negatives."""

import argparse

import numpy as np

from common.errors import InputError


def parse_ratio(text: str) -> float | None:
    """Reads `"1:2"` as negatives for each positive (2.0), and `"full"` as `None`: all there are."""
    if text == "full":
        return None
    one, _, negatives = text.partition(":")
    try:
        if one == "1" and 0 < float(negatives) < float("inf"):
            return float(negatives)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"must be full or 1:NEGATIVES, such as 1:0.5 or 1:2, got {text!r}")


def side_of(label: int | None, probability: float) -> int:
    """
    Returns the side a row is on: 1 positive, -1 negative, 0 neither.

    By its label; without one by the threshold of 0.5 that section 4 uses for binary decisions, exactly on which a row
    is on neither side: Clotho's neutral hypotheses, say.
    """
    if label is not None:
        return 1 if label == 1 else -1
    return (probability > 0.5) - (probability < 0.5)


def choose(sides: np.ndarray, ratio: float, seed: int) -> np.ndarray:
    """
    Chooses the rows that make up a ratio: every positive, negatives at random, and all that are neither.

    Args:
        sides (`np.ndarray` of shape `(rows,)`): The side of each row, as [`side_of`] gives it.
        ratio (`float`): Negatives for each positive.
        seed (`int`): Draws the negatives.

    Returns:
        `np.ndarray` of shape `(rows,)`: which rows are kept.
    """
    negatives = np.flatnonzero(sides == -1)
    positives = int((sides == 1).sum())
    wanted = round(positives * ratio)
    if wanted > len(negatives) or wanted == 0:
        raise InputError(
            f"a ratio of 1:{ratio:g} needs {wanted} negatives for the {positives} positives of the training split, "
            f"which has {len(negatives)}: pass --ratio full, or another"
        )
    kept = sides != -1
    kept[np.random.default_rng(seed).choice(negatives, wanted, replace=False)] = True
    return kept
