"""
Measures of predicted probabilities against human, exact or binary ones.

Every measure is a function of `predictions` (n,), `targets` (n,) and `weights` (B, n) that returns one value for each
row of the weights, NaN where it is undefined. A row of ones gives the measure itself; a row that counts how often each
premise was drawn gives one bootstrap resample, so a thousand resamples are a few matrix products.

README.md, one folder up, defines them all. Only numpy is needed: `evaluate` copies this file beside the module that
imports it.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from .calibration_errors import (
    NUM_BINS,
    calibrated_errors,
    debiased_calibration_error,
    equal_mass_calibration_error,
    expected_calibration_error,
    maximum_calibration_error,
    smooth_calibration_error,
)


# Table 8 of the paper gives NLL = 23.0 x ECE for the models that answer a bare yes or no: log losses clipped at 1e-10.
CLIP = 1e-10
# Bootstrap resamples of whole premises, and the mass of an interval, everywhere that none are asked for.
RESAMPLES, LEVEL = 1000, 0.95
# Weights of a chunk of resamples hold at most this many numbers (32 MB).
CHUNK_ELEMENTS = 4_000_000
# The ends of intervals are float32: 1/3 is above the target 1/3 there.
ROUNDING = 1e-6
# The share of a predicted distribution that is spread evenly before it is compared with people's: a bin that it holds
# empty costs no infinity.
SMOOTHING = 0.01


def mean_squared_error(predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the mean of (prediction - target)^2. Against binary labels this is the Brier score."""
    return _mean((predictions - targets) ** 2, weights)


def mean_absolute_error(predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the mean of |prediction - target|."""
    return _mean(np.abs(predictions - targets), weights)


def negative_log_likelihood(predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """
    Returns the cross-entropy -t log p - (1 - t) log(1 - p), in nats, with p clipped to [1e-10, 1 - 1e-10].

    Against binary labels this is the usual log loss; against a probability t it is the log loss expected when the
    label is drawn with that probability, and its least value is the entropy of t, not zero. The paper reports an NLL
    on scalar judgments (Table 8) without its formula.
    """
    p = np.clip(predictions, CLIP, 1 - CLIP)
    return _mean(-targets * np.log(p) - (1 - targets) * np.log1p(-p), weights)


def accuracy(predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the share of rows in which prediction and target are on the same side of 0.5."""
    return _mean(((predictions >= 0.5) == (targets > 0.5)).astype(float), weights)


def precision(predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the share of true rows (target above 0.5) among those predicted true (at least 0.5)."""
    true_positive, false_positive, _ = _confusion(predictions, targets, weights)
    return _ratio(true_positive, true_positive + false_positive)


def recall(predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the share of rows predicted true (at least 0.5) among those that are (target above 0.5)."""
    true_positive, _, false_negative = _confusion(predictions, targets, weights)
    return _ratio(true_positive, true_positive + false_negative)


def f1(predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the harmonic mean of precision and recall."""
    true_positive, false_positive, false_negative = _confusion(predictions, targets, weights)
    return _ratio(2 * true_positive, 2 * true_positive + false_positive + false_negative)


def pearson(predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the linear correlation of predictions and targets."""
    return _correlation(predictions, targets, weights)


def spearman(predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the correlation of the ranks of predictions and targets; equal values share their mean rank."""
    return _correlation(_midranks(predictions, weights), _midranks(targets, weights), weights)


def krippendorff_alpha(predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """
    Krippendorff's alpha of two annotators, the model and the targets, for values on an interval scale.

    1 is the same answer everywhere, 0 what chance would give.
    """
    return alpha_of_annotators(np.stack([predictions, targets], axis=1), weights)


def alpha_of_annotators(answers: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """
    Krippendorff's alpha of any number of annotators, for values on an interval scale, in sums over the items.

    With m answers x to an item, alpha = 1 - (n - 1) sum(d) / (n sum(q) - sum(s)^2), where n = sum(m), s = sum(x),
    q = sum(x^2) and d = m sum((x - mean x)^2) / (m - 1) (Krippendorff 2011). The package `krippendorff` takes no
    weights, and time and memory of the square of the values.

    Of answers `(n, annotators)`, at least two an item and NaN where an annotator gave none, and weights `(B, n)`; NaN
    where all answers are the same.
    """
    given = (~np.isnan(answers)).sum(axis=1)
    # Alpha stays when all answers are moved; about their middle the sums lose no digits.
    moved = answers - np.nanmean(answers)
    total = np.nansum(moved, axis=1)
    within = given / (given - 1) * np.nansum((moved - (total / given)[:, None]) ** 2, axis=1)
    count = weights @ given
    expected = count * (weights @ np.nansum(moved**2, axis=1)) - (weights @ total) ** 2
    disagreement = (count - 1) * (weights @ within)
    return 1 - np.divide(disagreement, expected, out=np.full(len(count), np.nan), where=expected > 1e-20 * count**2)


def decision_alpha(predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Krippendorff's alpha of the decisions at 0.5, true or false (nominal, which for two values is interval)."""
    return krippendorff_alpha((predictions >= 0.5).astype(float), (targets > 0.5).astype(float), weights)


def sharpness(standard_deviations: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the root of the mean variance of the predicted distributions, whatever the targets: less is sharper."""
    return np.sqrt(_mean(standard_deviations**2, weights))


def entropy(entropies: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the mean entropy of the predicted distributions, in nats, whatever the targets."""
    return _mean(entropies, weights)


def coverage(intervals: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the share of rows whose target lies in the predicted interval (n, 2), ends included."""
    low, high = intervals.T
    return _mean(((low - ROUNDING <= targets) & (targets <= high + ROUNDING)).astype(float), weights)


def interval_width(intervals: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the mean width of the predicted intervals (n, 2), whatever the targets."""
    return _mean(intervals[:, 1] - intervals[:, 0], weights)


def people_divergence(shares: np.ndarray, people: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """
    Returns the mean KL divergence from people's distribution to the predicted one, in nats.

    Of shares of k bins `(n, k)`, predicted and people's; of the predicted ones 1 % is spread evenly over the bins.
    """
    smooth = (1 - SMOOTHING) * shares + SMOOTHING / shares.shape[1]
    return _mean((people * np.log(np.where(people > 0, people, 1) / np.where(people > 0, smooth, 1))).sum(1), weights)


def people_brier(shares: np.ndarray, people: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the mean over rows of the sum over bins of (predicted share - people's share)^2, of shares `(n, k)`."""
    return _mean(((shares - people) ** 2).sum(1), weights)


def histogram(distributions: ArrayLike) -> np.ndarray:
    """
    Adds up distributions over N probabilities from 0 to 1, evenly apart, in ten bins of equal width.

    `(n, N)` -> `(n, 10)`. The bins are those of the calibration errors: each holds its lower edge, the last one both.
    """
    distributions = np.asarray(distributions, dtype=float)
    index = _tenths(np.arange(distributions.shape[1]) / (distributions.shape[1] - 1))
    return distributions @ (index[:, None] == np.arange(NUM_BINS))


# What each measure is taken against, and the range that its interval is kept in. `decision` leaves out the rows whose
# probability is exactly 0.5, on which neither answer is right; `label` needs a binary label in every row.
MEASURES = {
    "mse": (mean_squared_error, "probability", (0.0, 1.0)),
    "mae": (mean_absolute_error, "probability", (0.0, 1.0)),
    "ece": (expected_calibration_error, "probability", (0.0, 1.0)),
    "nll": (negative_log_likelihood, "probability", (0.0, np.inf)),
    "pearson": (pearson, "probability", (-1.0, 1.0)),
    "spearman": (spearman, "probability", (-1.0, 1.0)),
    "accuracy": (accuracy, "decision", (0.0, 1.0)),
    "precision": (precision, "decision", (0.0, 1.0)),
    "recall": (recall, "decision", (0.0, 1.0)),
    "f1": (f1, "decision", (0.0, 1.0)),
    "brier": (mean_squared_error, "label", (0.0, 1.0)),
    "log_loss": (negative_log_likelihood, "label", (0.0, np.inf)),
    "equal_mass_ece": (equal_mass_calibration_error, "probability", (0.0, 1.0)),
    "debiased_ece": (debiased_calibration_error, "probability", (0.0, 1.0)),
    "smooth_ece": (smooth_calibration_error, "probability", (0.0, 1.0)),
    "mce": (maximum_calibration_error, "probability", (0.0, 1.0)),
    "krippendorff_alpha": (krippendorff_alpha, "probability", (-1.0, 1.0)),
    "decision_alpha": (decision_alpha, "decision", (-1.0, 1.0)),
    "label_ece": (expected_calibration_error, "label", (0.0, 1.0)),
    "label_equal_mass_ece": (equal_mass_calibration_error, "label", (0.0, 1.0)),
    "label_debiased_ece": (debiased_calibration_error, "label", (0.0, 1.0)),
    "label_smooth_ece": (smooth_calibration_error, "label", (0.0, 1.0)),
    "label_mce": (maximum_calibration_error, "label", (0.0, 1.0)),
}

# Measures of the predicted distributions: the column of `predictions.jsonl` that each is computed from in place of the
# predictions, and the range that its interval is kept in.
DISTRIBUTION_MEASURES = {
    "sharpness": (sharpness, "standard_deviation", (0.0, 0.5)),
    "entropy": (entropy, "entropy", (0.0, np.inf)),
    "coverage": (coverage, "interval", (0.0, 1.0)),
    "interval_width": (interval_width, "interval", (0.0, 1.0)),
}

# Measures of the predicted distribution against that of the annotators' answers.
PEOPLE_MEASURES = {
    "people_kl": (people_divergence, (0.0, np.inf)),
    "people_brier": (people_brier, (0.0, 2.0)),
}

# What a perfectly calibrated predictor shows by chance, and what its error would be taken against.
CHANCE_MEASURES = {"ece_by_chance": "probability", "label_ece_by_chance": "label"}


def measure(
    predictions: ArrayLike,
    targets: ArrayLike,
    labels: ArrayLike | None = None,
    clusters: Sequence | None = None,
    ids: Sequence[str] | None = None,
    distributions: Mapping[str, ArrayLike] | None = None,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
    only: Sequence[str] | None = None,
    people: Sequence[Sequence[float] | None] | None = None,
) -> dict[str, dict]:
    """
    Computes every measure of a set of predictions, each with a bootstrap interval.

    Whole clusters (premises) are resampled, since the hypotheses of one premise share its difficulty. The percentiles
    of the resamples are moved so that their mean lies on the estimate: resampling adds noise to the mean of each bin,
    so the calibration error of a resample is larger on average, and plain percentiles of it may not even hold the
    estimate.

    Args:
        predictions (`np.ndarray` of shape `(n,)`), targets (`np.ndarray` of shape `(n,)`): Predicted probabilities,
            and human or exact ones.
        labels (`np.ndarray` of shape `(n,)`, *optional*): Binary labels. Accuracy, precision, recall, F1 and the alpha
            of decisions are then taken against them, and the Brier score, the log loss and the calibration errors
            against labels are added; without, the target decides at 0.5.
        clusters (`Sequence` of length `n`, *optional*): The premise of each row. Left out, every row is its own.
        ids (`Sequence[str]` of length `n`, *optional*): Names of the rows for errors. Left out, their numbers.
        distributions (`Mapping[str, np.ndarray]`, *optional*): What is known of the predicted distributions:
            `standard_deviation` and `entropy` of shape `(n,)`, `interval` of shape `(n, 2)`, `histogram` of shape
            `(n, 10)` as [`histogram`] returns it. The measures of what is left out are not in the result.
        resamples (`int`), level (`float`), seed (`int`): Of the bootstrap. With no resamples, or a single cluster,
            intervals are `None`.
        only (`Sequence[str]`, *optional*): The measures that are wanted. Left out, all of them.
        people (`Sequence[Sequence[float] | None]` of length `n`, *optional*): The answers of each row's annotators.
            Rows of two or more are compared: their shares of ten bins with the `histogram` predicted or, if every
            answer is 0 or 1, their shares of no and yes with the prediction.

    Returns:
        `dict[str, dict]`: for each measure `value`, `interval` (low, high), `n` (rows it was taken over), and, where
        it is undefined and the value therefore `None`, the `reason`. What a calibrated predictor shows by chance has
        an interval that holds `level` of such predictors.

    Raises:
        `ValueError`: if lengths differ, there are no rows, a value is not a probability, or not what a distribution
            can have (the rows are named), or a measure is wanted that is unknown or needs what was not given.
    """
    predictions = _check("prediction", predictions, ids)
    targets = _check("target", targets, ids)
    if len(predictions) != len(targets):
        raise ValueError(f"{len(predictions)} predictions for {len(targets)} targets: they must be as many.")
    if len(predictions) == 0:
        raise ValueError("There are no predictions to measure: the split, or what was left of it, is empty.")
    if labels is not None:
        labels = _check("label", labels, ids)
        if len(labels) != len(targets) or not np.isin(labels, (0, 1)).all():
            raise ValueError("Labels must be 0 or 1, one for each prediction.")
    clusters = np.arange(len(targets)) if clusters is None else np.unique(clusters, return_inverse=True)[1].reshape(-1)
    if len(clusters) != len(targets):
        raise ValueError(f"{len(clusters)} clusters for {len(targets)} rows: give the premise of every row.")

    everything = np.ones(len(targets), dtype=bool)
    decided, decision = (targets != 0.5, targets) if labels is None else (everything, labels)
    against = {"probability": (everything, targets), "decision": (decided, decision), "label": (everything, labels)}
    known = _check_distributions(distributions or {}, ids, len(targets))
    taken = {}
    for name, (function, kind, limits) in MEASURES.items():
        rows, truth = against[kind]
        if truth is not None:
            taken[name] = (function, predictions[rows], truth[rows], rows, limits)
    for name, (function, column, limits) in DISTRIBUTION_MEASURES.items():
        if column in known:
            taken[name] = (function, known[column], targets, everything, limits)
    if people is not None:
        answered, shares, theirs = _compared_with_people(people, predictions, known.get("histogram"), ids)
        if shares is not None and answered.any():
            for name, (function, limits) in PEOPLE_MEASURES.items():
                taken[name] = (function, shares[answered], theirs[answered], answered, limits)
    by_chance = {name: truth for name, kind in CHANCE_MEASURES.items() if (truth := against[kind][1]) is not None}
    if only is not None:
        there = [*taken, *by_chance]
        if lacking := [name for name in only if name not in there]:
            raise ValueError(f"There is no {', '.join(lacking)} of what was given; there are {', '.join(there)}.")
        taken = {name: taken[name] for name in only if name in taken}
        by_chance = {name: by_chance[name] for name in only if name in by_chance}
    results = {}
    for name, (function, given, truth, _, _) in taken.items():
        value = function(given, truth, np.ones((1, len(truth))))[0] if len(truth) else np.nan
        results[name] = {"value": _plain(value), "interval": None, "n": len(truth)}
        if np.isnan(value):
            results[name]["reason"] = _why_undefined(name, given, truth)

    defined = {name: [] for name, result in results.items() if result["value"] is not None}
    # One premise tells nothing of how others would turn out.
    if resamples and clusters.max() > 0:
        for weights in cluster_weights(clusters, resamples, seed):
            for name, values in defined.items():
                function, given, truth, rows, _ = taken[name]
                kept = weights if rows.all() else weights[:, rows]
                kept = kept[kept.sum(axis=1) > 0]
                values.append(function(given, truth, kept))
        for name, values in defined.items():
            results[name]["interval"] = bootstrap_interval(
                results[name]["value"], np.concatenate(values), level, taken[name][-1]
            )
    for name, truth in by_chance.items():
        errors = calibrated_errors(predictions, truth, clusters, seed=seed)
        inside = np.quantile(errors, [(1 - level) / 2, (1 + level) / 2]).tolist()
        several = resamples and clusters.max() > 0
        results[name] = {"value": float(errors.mean()), "interval": inside if several else None, "n": len(truth)}
    return results if only is None else {name: results[name] for name in only}


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return weights @ values / weights.sum(axis=1)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0)


def _confusion(
    predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    predicted, true = predictions >= 0.5, targets > 0.5
    return weights @ (predicted & true), weights @ (predicted & ~true), weights @ (~predicted & true)


def _correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    total = weights.sum(axis=1, keepdims=True)
    x = x - (weights * x).sum(axis=1, keepdims=True) / total
    y = y - (weights * y).sum(axis=1, keepdims=True) / total
    covariance, x_variance, y_variance = ((weights * a * b).sum(axis=1) for a, b in ((x, y), (x, x), (y, y)))
    # What is left of a constant after its mean was taken off is rounding, 1e-16 of it: not a spread.
    spread = np.minimum(x_variance, y_variance) > 1e-20 * total[:, 0]
    return np.divide(covariance, np.sqrt(x_variance * y_variance), out=np.full(len(total), np.nan), where=spread)


def _midranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns ranks in [0, 1], `(B, n)`, of `values` `(n,)` in samples that hold each `weights` `(B, n)` times."""
    _, inverse = np.unique(values, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    starts = np.flatnonzero(np.diff(inverse[order], prepend=-1))
    mass = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks = (np.cumsum(mass, axis=1) - mass / 2) / weights.sum(axis=1, keepdims=True)
    return ranks[:, inverse]


def cluster_weights(clusters: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """
    Draws bootstrap resamples of whole clusters, as many clusters each as there are.

    Yields arrays `(chunk, n)`, `resamples` lines in all: how often each row was drawn.
    """
    random = np.random.default_rng(seed)
    count = clusters.max() + 1
    chunk = max(1, CHUNK_ELEMENTS // len(clusters))
    for start in range(0, resamples, chunk):
        drawn = random.multinomial(count, np.full(count, 1 / count), size=min(chunk, resamples - start))
        yield drawn[:, clusters].astype(float)


def bootstrap_interval(
    value: float, values: np.ndarray, level: float, limits: tuple[float, float]
) -> list[float] | None:
    """
    Returns the percentile interval of resampled values, moved so that their mean lies on the estimate.

    `values` is NaN where the measure is undefined on a resample; there is no interval if it is on all. The ends are
    kept within the limits.
    """
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2]) - values.mean() + value
    return [_plain(np.clip(min(low, value), *limits)), _plain(np.clip(max(high, value), *limits))]


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _why_undefined(name: str, predictions: np.ndarray, targets: np.ndarray) -> str:
    if len(targets) == 0:
        return "every probability is exactly 0.5, where neither answer is right"
    if name.endswith("debiased_ece"):
        return "no bin holds two rows"
    if name.endswith("alpha"):
        return "predictions and targets are all the same"
    if name in ("pearson", "spearman"):
        return f"the {'predictions' if np.ptp(predictions) < 1e-9 else 'targets'} are constant"
    missing = {"precision": "predicted true", "recall": "true"}.get(name, "true or predicted true")
    return f"no row is {missing}"


def _check(what: str, values: ArrayLike, ids: Sequence[str] | None) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    if values.ndim != 1:
        raise ValueError(f"Expected one {what} for each row, a flat sequence, and got the shape {values.shape}.")
    wrong = np.flatnonzero(~((values >= 0) & (values <= 1)))
    if len(wrong):
        names = [str(i) if ids is None else str(ids[i]) for i in wrong]
        first = ", ".join(f"{name} ({values[i]})" for name, i in zip(names[:10], wrong, strict=False))
        more = f" and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        raise ValueError(f"Not a probability in [0, 1]: the {what} of row {first}{more}.")
    return values


def _check_distributions(
    distributions: Mapping[str, ArrayLike], ids: Sequence[str] | None, count: int
) -> dict[str, np.ndarray]:
    columns = {name: np.asarray(values, dtype=float) for name, values in distributions.items()}
    for name, values in columns.items():
        shape = {
            "standard_deviation": (count,),
            "entropy": (count,),
            "interval": (count, 2),
            "histogram": (count, NUM_BINS),
        }.get(name)
        if values.shape != shape:
            known = f"standard_deviation and entropy (n,), interval (n, 2), histogram (n, {NUM_BINS})"
            raise ValueError(f"Of distributions {known} can be measured for {count} rows, not {name} {values.shape}.")
        if name == "interval":
            right = (values[:, 0] >= 0) & (values[:, 0] <= values[:, 1]) & (values[:, 1] <= 1 + ROUNDING)
        elif name == "histogram":
            right = (values >= 0).all(1) & (np.abs(values.sum(1) - 1) < 1e-3)
        else:
            right = (values >= 0) & (values < np.inf)
        if not right.all():
            row = int(np.flatnonzero(~right)[0])
            raise ValueError(
                f"No {name} of a distribution over [0, 1]: {values[row]} of row {row if ids is None else ids[row]}."
            )
    return columns


def _compared_with_people(
    people: Sequence[Sequence[float] | None],
    predictions: np.ndarray,
    histograms: np.ndarray | None,
    ids: Sequence[str] | None,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Returns which rows two people or more answered, the predicted shares of bins, if they are known, and theirs."""
    if len(people) != len(predictions):
        raise ValueError(f"The answers of people are given for {len(people)} of {len(predictions)} rows.")
    given = [[] if answers is None else answers for answers in people]
    counts = np.array([len(answers) for answers in given])
    place = np.repeat(np.arange(len(given)), counts)
    names = [str(row if ids is None else ids[row]) for row in place]
    answers = _check("answer of people", np.array([answer for answers in given for answer in answers], float), names)
    if np.isin(answers, (0, 1)).all():
        index, bins, shares = answers.astype(int), 2, np.stack([1 - predictions, predictions], axis=1)
    else:
        index, bins, shares = _tenths(answers), NUM_BINS, histograms
    theirs = np.zeros((len(given), bins))
    np.add.at(theirs, (place, index), 1.0)
    return counts > 1, shares, theirs / np.maximum(counts, 1)[:, None]


def _tenths(probabilities: np.ndarray) -> np.ndarray:
    """Returns the bin of each probability; rounded, since 0.3 in binary times 10 may fall below its edge."""
    return np.minimum(np.floor(np.round(probabilities * NUM_BINS, 9)).astype(int), NUM_BINS - 1)
