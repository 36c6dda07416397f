"""
How far predicted probabilities are from the targets of the rows they are given to, by bins and by smoothing.

Functions of `predictions` (n,), `targets` (n,) and `weights` (B, n), as `measures` describes them. Only numpy is
needed: `evaluate` copies this file too.
"""

from collections.abc import Callable, Iterator

import numpy as np


NUM_BINS = 10
# Smoothing places a prediction on the nearest of 0, 1/1000, ..., 1: an answer with three decimals stays where it is.
GRID = 1000
# How closely the width of the kernel is found.
TOLERANCE = 1e-4
# Calibrated predictors that are simulated, and how many numbers of them are held at a time (32 MB).
DRAWS, CHUNK_ELEMENTS = 1000, 4_000_000


def expected_calibration_error(
    predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray, num_bins: int = NUM_BINS
) -> np.ndarray:
    """
    Returns the mean over bins of |mean prediction - mean target|, weighted by the rows in each bin.

    Bins are equal in width and hold the predictions of [k / num_bins, (k + 1) / num_bins); the last one takes 1 as
    well.
    """
    gaps = in_bins(bin_index(predictions, num_bins), num_bins) * (predictions - targets)[:, None]
    return np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1)


def calibrated_errors(
    predictions: np.ndarray,
    targets: np.ndarray,
    clusters: np.ndarray,
    num_bins: int = NUM_BINS,
    draws: int = DRAWS,
    seed: int = 0,
) -> np.ndarray:
    """
    Simulates the expected calibration errors that perfectly calibrated predictors show by chance, `(draws,)`.

    They have the same predictions, each on a row of its own. Where all targets are 0 or 1, labels are drawn anew, each
    with the probability predicted, independent of the others. Elsewhere nothing tells how targets spread about what is
    predicted but the rows themselves: the mean of prediction - target is taken off in each bin, which makes the
    predictor calibrated there, and what is left is given a random sign, one for all rows of a premise (the wild
    bootstrap of clusters: Cameron, Gelbach and Miller 2008). A bin of K premises is enlarged by sqrt(K / (K - 1)),
    since its mean was taken from itself; of a bin of one premise the mean stays.

    Args:
        predictions (`np.ndarray` of shape `(n,)`), targets (`np.ndarray` of shape `(n,)`): As elsewhere.
        clusters (`np.ndarray` of shape `(n,)`): The premise of each row, as a whole number from 0.
        num_bins (`int`), draws (`int`), seed (`int`): Bins of equal width, predictors and their seed.
    """
    random = np.random.default_rng(seed)
    inside = in_bins(bin_index(predictions, num_bins), num_bins)
    if np.isin(targets, (0, 1)).all():
        drawn = _in_chunks(draws, len(targets), lambda size: predictions - (random.random(size) < predictions))
        sums = [chunk @ inside for chunk in drawn]
    else:
        gaps = inside * (predictions - targets)[:, None]
        centred = gaps - inside * (gaps.sum(axis=0) / np.maximum(inside.sum(axis=0), 1))
        shape = (clusters.max() + 1, num_bins)
        of_premise, own, rows = (np.zeros(shape) for _ in range(3))
        for sums_of, values in ((of_premise, gaps), (own, centred), (rows, inside)):
            np.add.at(sums_of, clusters, values)
        premises = (rows > 0).sum(axis=0)
        own = np.where(premises > 1, own * np.sqrt(premises / np.maximum(premises - 1, 1)), of_premise)
        drawn = _in_chunks(draws, len(own), lambda size: 2.0 * random.integers(0, 2, size, dtype=np.int8) - 1)
        sums = [chunk @ own for chunk in drawn]
    return np.abs(np.concatenate(sums)).sum(axis=1) / len(targets)


def maximum_calibration_error(
    predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray, num_bins: int = NUM_BINS
) -> np.ndarray:
    """Returns the largest |mean prediction - mean target| of equal-width bins that hold rows (Guo et al. 2017)."""
    inside = in_bins(bin_index(predictions, num_bins), num_bins)
    rows = weights @ inside
    gaps = np.abs(weights @ (inside * (predictions - targets)[:, None]))
    return np.divide(gaps, rows, out=np.zeros_like(gaps), where=rows > 0).max(axis=1)


def equal_mass_calibration_error(
    predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray, num_bins: int = NUM_BINS
) -> np.ndarray:
    """Returns the expected calibration error over bins that hold as many rows each (Nixon et al. 2019)."""
    (gaps,) = _equal_mass_sums(predictions, weights, num_bins, predictions - targets)
    return np.abs(gaps).sum(axis=1) / weights.sum(axis=1)


def debiased_calibration_error(
    predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray, num_bins: int = NUM_BINS
) -> np.ndarray:
    """Returns the root of [`debiased_squared_calibration_error`], or 0 where that is below it (Kumar et al. 2019)."""
    return np.sqrt(np.maximum(debiased_squared_calibration_error(predictions, targets, weights, num_bins), 0.0))


def debiased_squared_calibration_error(
    predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray, num_bins: int = NUM_BINS
) -> np.ndarray:
    """
    Returns the mean over equal-mass bins of (mean prediction - mean target)^2, less what chance adds to it.

    In a bin of n rows chance adds s^2 / n, s^2 being the sample variance of prediction - target. That makes the sum
    unbiased for independent rows: 0 on average for a calibrated predictor. Kumar et al. take the variance of binary
    targets instead, which is the same where a bin's predictions are; against probabilities that follow the
    predictions it would take off too much. Bins of one row have no variance and are left out.
    """
    difference = predictions - targets
    total, squares, rows = _equal_mass_sums(
        predictions, weights, num_bins, difference, difference**2, np.ones(len(predictions))
    )
    known = rows > 1
    count = np.where(known, rows, 2.0)
    chance = (squares - total**2 / count) / (count - 1)
    debiased = np.where(known, total**2 / count - chance, 0.0).sum(axis=1)
    used = np.where(known, rows, 0.0).sum(axis=1)
    return np.divide(debiased, used, out=np.full(len(used), np.nan), where=used > 0)


def smooth_calibration_error(predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """
    Returns the calibration error after smoothing by a kernel as wide as the error itself (Błasiok and Nakkiran 2023).

    With the Gaussian kernel K of width sigma, reflected at 0 and 1, smECE(sigma) is the integral over t in [0, 1] of
    |mean of (prediction - target) K(prediction, t)|; it falls as sigma grows, and the measure is its value where it
    equals sigma. No bins, hence no jumps as predictions move. Reflected smoothing multiplies the k-th cosine
    coefficient by exp(-(pi k sigma)^2 / 2), so each sigma costs one transform of a grid, whatever the number of rows.
    """
    nodes, inverse = np.unique(np.rint(predictions * GRID).astype(int), return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    starts = np.searchsorted(inverse[order], np.arange(len(nodes)))
    on_grid = np.zeros((len(weights), GRID + 1))
    on_grid[:, nodes] = np.add.reduceat((weights * (predictions - targets))[:, order], starts, axis=1)
    total = weights.sum(axis=1)
    # With no smoothing the error is largest; with no end to it all that is left is the mean.
    low, high = np.abs(on_grid.sum(axis=1)) / total, np.abs(on_grid).sum(axis=1) / total
    # What lies on an end meets its own reflection there.
    on_grid[:, [0, -1]] *= 2
    spectrum = np.fft.rfft(np.concatenate([on_grid, on_grid[:, -2:0:-1]], axis=1)).real
    frequencies = np.pi * np.arange(GRID + 1)

    def smoothed(sigma: np.ndarray) -> np.ndarray:
        kernel = np.exp(-0.5 * (sigma[:, None] * frequencies) ** 2)
        return np.abs(np.fft.irfft(spectrum * kernel, n=2 * GRID)).sum(axis=1) / (2 * total)

    while (high - low).max() > TOLERANCE:
        middle = (low + high) / 2
        enough = smoothed(middle) <= middle
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return smoothed(high)


def bin_index(predictions: np.ndarray, num_bins: int = NUM_BINS) -> np.ndarray:
    """Returns the equal-width bin of each prediction, `(n,)` integers from 0 to `num_bins - 1`."""
    return np.minimum((predictions * num_bins).astype(int), num_bins - 1)


def in_bins(index: np.ndarray, num_bins: int) -> np.ndarray:
    """Returns 1 where a row is in a bin, else 0: `(n, num_bins)`, of the number of each row's bin."""
    return (index[:, None] == np.arange(num_bins)).astype(float)


def _equal_mass_sums(
    predictions: np.ndarray, weights: np.ndarray, num_bins: int, *columns: np.ndarray
) -> list[np.ndarray]:
    """
    Sums `columns` (n,) over bins of equal mass, `(B, num_bins)` each.

    A row is in the bin its rank falls in, from 0 to 1; equal predictions share their mean rank and so their bin, in
    whatever order they come. Bins that a large group of them runs across stay empty.
    """
    order = np.argsort(predictions, kind="stable")
    drawn = weights[:, order]
    mass = _running_sums(drawn)
    groups = np.append(np.flatnonzero(np.diff(predictions[order], prepend=-1.0)), len(predictions))
    # Twice the mean rank, times the bins: sums of whole numbers, so that edges are met exactly.
    ranks = num_bins * (mass[:, groups[:-1]] + mass[:, groups[1:]])
    edges = 2.0 * mass[:, -1:] * np.arange(1, num_bins)
    inner = [groups[np.searchsorted(*pair)] for pair in zip(ranks, edges, strict=True)]
    cuts = np.pad(np.array(inner), ((0, 0), (1, 1)), constant_values=((0, 0), (0, len(predictions))))
    return [np.diff(np.take_along_axis(_running_sums(drawn * column[order]), cuts, axis=1)) for column in columns]


def _in_chunks(draws: int, width: int, draw: Callable[[tuple[int, int]], np.ndarray]) -> Iterator[np.ndarray]:
    """Yields arrays `(chunk, width)` of `draw`, `draws` lines in all."""
    chunk = max(1, CHUNK_ELEMENTS // width)
    for start in range(0, draws, chunk):
        yield draw((min(chunk, draws - start), width))


def _running_sums(values: np.ndarray) -> np.ndarray:
    """Returns sums of the first 0, 1, ..., n columns: `(B, n)` -> `(B, n + 1)`."""
    sums = np.zeros((len(values), values.shape[1] + 1))
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums
