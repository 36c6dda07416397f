"""
How far annotators agree (figure 3 and appendix B.3 of the paper).

All measures are of probabilities in [0, 1]. An item that an annotator skipped stays: a measure of two annotators is
taken over the items that both judged, and Krippendorff's alpha over those that at least two did.
"""

import math
from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.stats import pearsonr, spearmanr

from datasets_scripts.judgements.read import Judgement, judgement_matrix
from evaluation.judged import premise_of
from evaluation.metrics.uncertain_inference.measures import (
    LEVEL,
    RESAMPLES,
    alpha_of_annotators,
    bootstrap_interval,
    cluster_weights,
)
from evaluation.tables import markdown_table


BINS = 10
MEASURES = {"pearson": "Pearson", "spearman": "Spearman", "mse": "MSE", "js_distance": "JS distance"}


def histogram(probabilities: np.ndarray) -> np.ndarray:
    """Counts answers but NaN in `BINS` equal bins of [0, 1], each with its lower edge, the last with both."""
    given = probabilities[~np.isnan(probabilities)]
    # Not numpy's histogram: in binary its edge 0.3 lies above the answer 30 %, which would fall below it.
    bins = np.floor(np.round(given * BINS, 9)).astype(int)
    return np.bincount(np.minimum(bins, BINS - 1), minlength=BINS)


def pair_measures(first: np.ndarray, second: np.ndarray) -> dict:
    """
    Compares two annotators, `(items,)` each, over the items that both judged: those where neither has NaN.

    Returns:
        `dict`: `n`, the number of items both judged; `pearson` and `spearman`, NaN where one of them always gave the
        same answer; `mse`; `js_distance`, the Jensen-Shannon distance (base 2, so 0 to 1) between the histograms of
        their answers: it compares how they use the scale, not item by item. All are NaN without a common item.
    """
    both = ~np.isnan(first) & ~np.isnan(second)
    first, second = first[both], second[both]
    found = {"n": len(first)} | dict.fromkeys(MEASURES, math.nan)
    if not len(first):
        return found
    if np.ptp(first) > 0 and np.ptp(second) > 0:
        found["pearson"] = float(pearsonr(first, second).statistic)
        found["spearman"] = float(spearmanr(first, second).statistic)
    found["mse"] = float(np.mean((first - second) ** 2))
    found["js_distance"] = float(jensenshannon(histogram(first), histogram(second), base=2))
    return found


def krippendorff_alpha(matrix: np.ndarray, premises: Sequence, resamples: int = RESAMPLES, seed: int = 0) -> dict:
    """
    Computes Krippendorff's alpha of `(items, annotators)`, NaN where one was skipped, on an interval scale.

    Returns:
        `dict`: `value`, `None` where alpha is undefined, with the `reason`; `items`, judged by at least two and so
        used, and their `premises`; `interval` of whole premises or `None`; `resamples`; `degenerate`, how many of them
        held one answer only, so that alpha is undefined and the interval is without them; `confidence`; `seed`.
    """
    used = (~np.isnan(matrix)).sum(1) >= 2
    matrix, clusters = matrix[used], np.unique(np.asarray(premises)[used], return_inverse=True)[1].reshape(-1)
    found = {"level": "interval", "value": None, "reason": None, "items": len(matrix)}
    found |= {"premises": len(set(clusters.tolist())), "interval": None, "confidence": LEVEL}
    found |= {"resamples": 0, "degenerate": 0, "seed": seed}
    if not len(matrix):
        return found | {"reason": "no item was judged by two annotators"}
    value = float(alpha_of_annotators(matrix, np.ones((1, len(matrix))))[0])
    if math.isnan(value):
        return found | {"reason": "all answers are the same"}
    found |= {"value": value}
    if found["premises"] == 1:
        return found | {"reason": "one premise tells nothing of the spread between premises: no interval"}
    alphas = np.concatenate(
        [alpha_of_annotators(matrix, weights) for weights in cluster_weights(clusters, resamples, seed)]
    )
    found |= {"resamples": resamples, "degenerate": int(np.isnan(alphas).sum())}
    found |= {"interval": bootstrap_interval(value, alphas, LEVEL, (-1.0, 1.0))}
    return found if found["interval"] else found | {"reason": "no resample held two different answers: no interval"}


def agreement_of(judgements: list[Judgement], resamples: int = RESAMPLES, seed: int = 0) -> dict:
    """Makes the [`agreement_report`] on judgements, as `datasets_scripts.judgements.read` reads them."""
    matrix, items, annotators = judgement_matrix(judgements)
    videos = {one.item: one.facts["video"] for one in judgements if "video" in one.facts}
    premises = [premise_of(item, videos.get(item)) for item in items]
    return agreement_report(matrix, annotators, premises, resamples, seed)


def agreement_report(
    matrix: np.ndarray, annotators: list[str], premises: Sequence, resamples: int = RESAMPLES, seed: int = 0
) -> dict:
    """
    Reports all that is known of the agreement; arguments as those of [`krippendorff_alpha`].

    Returns:
        `dict`: `items` (how many were judged by at least one, at least two, all), `annotators` (name, number of
        answers, mean, standard deviation, histogram), `pairs` (`first`, `second` and [`pair_measures`]; an annotator
        with themselves too, for the diagonal of the heat maps) and `alpha` ([`krippendorff_alpha`]).
    """
    judged = (~np.isnan(matrix)).sum(1)
    people = [
        {
            "name": name,
            "n": int((~np.isnan(answers)).sum()),
            "mean": float(np.nanmean(answers)),
            "standard_deviation": float(np.nanstd(answers)),
            "histogram": histogram(answers).tolist(),
        }
        for name, answers in zip(annotators, matrix.T, strict=True)
    ]
    pairs = [
        {"first": annotators[i], "second": annotators[j]} | pair_measures(matrix[:, i], matrix[:, j])
        for i, j in combinations_with_replacement(range(len(annotators)), 2)
    ]
    return {
        "items": {
            "judged": len(matrix),
            "judged_by_two": int((judged >= 2).sum()),
            "judged_by_all": int((judged == len(annotators)).sum()),
        },
        "annotators": people,
        "pairs": pairs,
        "alpha": krippendorff_alpha(matrix, premises, resamples, seed),
    }


def markdown_report(report: dict) -> str:
    """Returns an [`agreement_report`] as Markdown tables."""
    items, alpha = report["items"], report["alpha"]
    people = [
        [one["name"], f"{one['n']:,}", f"{one['mean']:.3f}", f"{one['standard_deviation']:.3f}"]
        for one in report["annotators"]
    ]
    pairs = [
        [pair["first"], pair["second"], f"{pair['n']:,}", *(_four_digits(pair[measure]) for measure in MEASURES)]
        for pair in report["pairs"]
        if pair["first"] != pair["second"]
    ]
    text = (
        f"# Agreement of the annotators\n\n{items['judged']:,} items, {items['judged_by_two']:,} judged by at least "
        f"two annotators, {items['judged_by_all']:,} by all {len(people)}.\n\n{_alpha_line(alpha)}\n\n"
        f"{markdown_table(['annotator', 'answers', 'mean', 'standard deviation'], people)}\n"
    )
    if not pairs:
        return text
    return (
        f"{text}\n{markdown_table(['annotator', 'and', 'items of both', *MEASURES.values()], pairs, words=2)}\n\n"
        "Pearson, Spearman and MSE compare answers item by item; the Jensen-Shannon (JS) distance, base 2, compares "
        f"how the two use the scale, by histograms of {BINS} bins.\n"
    )


def _alpha_line(alpha: dict) -> str:
    line = f"Krippendorff's alpha (interval): {_four_digits(alpha['value'])}"
    if alpha["interval"]:
        low, high = alpha["interval"]
        line += (
            f", {alpha['confidence']:.0%} interval {low:.4f} to {high:.4f} (bootstrap over "
            f"{alpha['premises']:,} premises of {alpha['items']:,} items, {alpha['resamples']:,} resamples, seed "
            f"{alpha['seed']})"
        )
    if alpha["degenerate"]:
        line += f"; {alpha['degenerate']:,} resamples held one answer only, alpha is undefined there"
    return line + (f"; {alpha['reason']}." if alpha["reason"] else ".")


def _four_digits(value: float | None) -> str:
    return "n/a" if value is None or math.isnan(value) else f"{value:.4f}"
