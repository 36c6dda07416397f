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
    """
    Counts answers in `BINS` equal bins of [0, 1], each with its lower edge, the last with both.

    Args:
        probabilities (`np.ndarray` of shape `(n,)`): Answers; NaN is not counted.

    Returns:
        `np.ndarray` of shape `(BINS,)`: the counts.
    """
    given = probabilities[~np.isnan(probabilities)]
    # Not numpy's histogram: in binary its edge 0.3 lies above the answer 30 %, which would fall below it.
    bins = np.floor(np.round(given * BINS, 9)).astype(int)
    return np.bincount(np.minimum(bins, BINS - 1), minlength=BINS)


def pair_measures(first: np.ndarray, second: np.ndarray) -> dict:
    """
    Compares two annotators over the items that both judged.

    Args:
        first (`np.ndarray` of shape `(items,)`): Probabilities of the one, NaN where an item was skipped.
        second (`np.ndarray` of shape `(items,)`): Probabilities of the other.

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
    Krippendorff's alpha for values on an interval scale, with a bootstrap interval over whole premises.

    Args:
        matrix (`np.ndarray` of shape `(items, annotators)`): Probabilities, NaN where an item was skipped.
        premises (`Sequence` of length `items`): The premise of each item.
        resamples (`int`, defaults to 1000): How many times the premises are drawn anew.
        seed (`int`, defaults to 0): Seed of the draws.

    Returns:
        `dict`: `value`, `None` where alpha is undefined, with the `reason`; `items`, judged by at least two and so
        used, and their `premises`; `interval` or `None`; `resamples`; `degenerate`, how many of them held one answer
        only, so that alpha is undefined and the interval is without them; `confidence`; `seed`.
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
    """The [`agreement_report`] on judgements, as `datasets_scripts.judgements.read` reads them."""
    matrix, items, annotators = judgement_matrix(judgements)
    videos = {one.item: one.facts["video"] for one in judgements if "video" in one.facts}
    premises = [premise_of(item, videos.get(item)) for item in items]
    return agreement_report(matrix, annotators, premises, resamples, seed)


def agreement_report(
    matrix: np.ndarray, annotators: list[str], premises: Sequence, resamples: int = RESAMPLES, seed: int = 0
) -> dict:
    """
    Tells all that is known of the agreement.

    Args:
        matrix (`np.ndarray` of shape `(items, annotators)`): Probabilities, NaN where an item was skipped.
        annotators (`list[str]`): Their names, in the order of the columns.
        premises (`Sequence` of length `items`): The premise of each item.
        resamples (`int`, defaults to 1000): Resamples of alpha's interval.
        seed (`int`, defaults to 0): Seed of the resamples.

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
    """
    The report as Markdown tables.

    Args:
        report (`dict`): As [`agreement_report`] gives it.

    Returns:
        `str`: the text, with a final newline.
    """
    items, alpha = report["items"], report["alpha"]
    people = [
        [one["name"], f"{one['n']:,}", f"{one['mean']:.3f}", f"{one['standard_deviation']:.3f}"]
        for one in report["annotators"]
    ]
    pairs = [
        [pair["first"], pair["second"], f"{pair['n']:,}", *(_shown(pair[measure]) for measure in MEASURES)]
        for pair in report["pairs"]
        if pair["first"] != pair["second"]
    ]
    lines = [
        "# Agreement of the annotators",
        "",
        f"{items['judged']:,} items, {items['judged_by_two']:,} judged by at least two annotators, "
        f"{items['judged_by_all']:,} by all {len(people)}.",
        "",
        _alpha_line(alpha),
        "",
        markdown_table(["annotator", "answers", "mean", "standard deviation"], people),
    ]
    if pairs:
        lines += ["", markdown_table(["annotator", "and", "items of both", *MEASURES.values()], pairs, words=2)]
        lines += [
            "",
            "Pearson, Spearman and MSE compare answers item by item; the Jensen-Shannon (JS) distance, base 2, "
            f"compares how the two use the scale, by histograms of {BINS} bins.",
        ]
    return "\n".join(lines) + "\n"


def _alpha_line(alpha: dict) -> str:
    line = f"Krippendorff's alpha (interval): {_shown(alpha['value'])}"
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


def _shown(value: float | None) -> str:
    return "n/a" if value is None or math.isnan(value) else f"{value:.4f}"
