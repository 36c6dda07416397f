"""
How far annotators agree (figures 3 and 4 and appendix B.3 of the paper).

All measures are of probabilities in [0, 1]. An item that an annotator skipped stays: a measure of two annotators is
taken over the items that both judged, and Krippendorff's alpha over those that at least two did.
"""

import json
import math
from itertools import combinations_with_replacement
from pathlib import Path

import krippendorff
import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.stats import pearsonr, spearmanr
from tqdm import tqdm

from datasets_scripts.judgements.figures import draw_heatmaps, draw_histograms


BINS = 10
CONFIDENCE = 0.95
MEASURES = {"pearson": "Pearson", "spearman": "Spearman", "mse": "MSE", "js_distance": "JS distance"}
# `krippendorff` holds several arrays of items x different answers x different answers in memory: 0.8 GB at this many.
LIBRARY_CELLS = 25_000_000


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


def item_sums(matrix: np.ndarray) -> np.ndarray:
    """
    What each item adds to the sums of which interval alpha is made.

    With m answers x to an item, alpha = 1 - (n - 1) sum(d) / (n sum(q) - sum(s)^2), where n = sum(m), s = sum(x),
    q = sum(x^2) and d = m sum((x - mean x)^2) / (m - 1).

    Args:
        matrix (`np.ndarray` of shape `(items, annotators)`): Probabilities, at least two an item, else NaN.

    Returns:
        `np.ndarray` of shape `(items, 4)`: m, s, q, d of each item.
    """
    answers = (~np.isnan(matrix)).sum(1)
    # Alpha does not change when all answers are moved; about their mean the sums lose no digits.
    moved = matrix - np.nanmean(matrix)
    total, squares = np.nansum(moved, 1), np.nansum(moved**2, 1)
    within = np.nansum((moved - (total / answers)[:, None]) ** 2, 1)
    return np.stack([answers, total, squares, answers * within / (answers - 1)], 1)


def alpha_of_sums(sums: np.ndarray) -> float:
    """
    Interval alpha from the sums of [`item_sums`] over all items.

    Args:
        sums (`np.ndarray` of shape `(4,)`): n and the sums of s, q and d; the answers must not all be the same.

    Returns:
        `float`: alpha.
    """
    answers, total, squares, disagreement = sums
    return float(1 - (answers - 1) * disagreement / (answers * squares - total**2))


def krippendorff_alpha(matrix: np.ndarray, resamples: int, seed: int) -> dict:
    """
    Krippendorff's alpha for values on an interval scale, with a percentile bootstrap interval over items.

    Args:
        matrix (`np.ndarray` of shape `(items, annotators)`): Probabilities, NaN where an item was skipped.
        resamples (`int`): How many times the items are drawn anew.
        seed (`int`): Seed of the draws.

    Returns:
        `dict`: `value`, `None` where alpha is undefined, with the `reason`; `items`, judged by at least two and so
        used; `computed_by`, `"krippendorff"` or, where the package would need too much memory, `"sums"` (the same
        formula from sums over items); `interval` or `None`; `resamples`; `degenerate`, how many of them held one
        answer only, so that alpha is undefined and the interval is without them; `confidence`; `seed`.
    """
    matrix = matrix[(~np.isnan(matrix)).sum(1) >= 2]
    answers = np.unique(matrix[~np.isnan(matrix)])
    found = {"level": "interval", "value": None, "reason": None, "items": len(matrix), "computed_by": None}
    found |= {"interval": None, "confidence": CONFIDENCE, "resamples": 0, "degenerate": 0, "seed": seed}
    if not len(matrix):
        return found | {"reason": "no item was judged by two annotators"}
    if len(answers) == 1:
        return found | {"reason": "all answers are the same"}
    sums = item_sums(matrix)
    if len(matrix) * len(answers) ** 2 <= LIBRARY_CELLS:
        value = float(krippendorff.alpha(reliability_data=matrix.T, level_of_measurement="interval"))
        found |= {"value": value, "computed_by": "krippendorff"}
    else:
        found |= {"value": alpha_of_sums(sums.sum(0)), "computed_by": "sums"}
    if len(matrix) == 1:
        return found | {"reason": "one item tells nothing of the spread between items: no interval"}
    alphas = _bootstrap(sums, np.nanmin(matrix, 1), np.nanmax(matrix, 1), resamples, seed)
    found |= {"resamples": resamples, "degenerate": resamples - len(alphas)}
    if not len(alphas):
        return found | {"reason": "no resample held two different answers: no interval"}
    tail = (1 - CONFIDENCE) / 2
    return found | {"interval": np.quantile(alphas, [tail, 1 - tail]).tolist()}


def _bootstrap(sums: np.ndarray, lowest: np.ndarray, highest: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Alpha of each resample that holds two different answers."""
    generator = np.random.default_rng(seed)
    alphas = []
    for _ in tqdm(range(resamples), desc="bootstrap", disable=None):
        times = np.bincount(generator.integers(len(sums), size=len(sums)), minlength=len(sums))
        drawn = times > 0
        if lowest[drawn].min() < highest[drawn].max():
            alphas.append(alpha_of_sums(times @ sums))
    return np.array(alphas)


def agreement_report(matrix: np.ndarray, annotators: list[str], resamples: int, seed: int) -> dict:
    """
    All that is told of the agreement.

    Args:
        matrix (`np.ndarray` of shape `(items, annotators)`): Probabilities, NaN where an item was skipped.
        annotators (`list[str]`): Their names, in the order of the columns.
        resamples (`int`): Resamples of alpha's interval.
        seed (`int`): Seed of the resamples.

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
        "alpha": krippendorff_alpha(matrix, resamples, seed),
    }


def write_agreement(report: dict, out: Path) -> str:
    """
    Writes `agreement.json`, `agreement.md`, `heatmaps.png` and `histograms.png`.

    Args:
        report (`dict`): As [`agreement_report`] gives it.
        out (`Path`): The folder, made if it isn't there.

    Returns:
        `str`: the text of `agreement.md`.
    """
    out.mkdir(parents=True, exist_ok=True)
    pairs = [
        {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in pair.items()}
        for pair in report["pairs"]
    ]
    numbers = json.dumps(report | {"pairs": pairs}, ensure_ascii=False, indent=2, allow_nan=False)
    table = markdown_report(report)
    for name, text in (("agreement.json", numbers + "\n"), ("agreement.md", table)):
        partial = out / f"{name}.partial"
        partial.write_text(text, encoding="utf-8", newline="\n")
        partial.replace(out / name)
    draw_heatmaps(report, out / "heatmaps.png")
    draw_histograms(report, out / "histograms.png")
    return table


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
        *_table(["annotator", "answers", "mean", "standard deviation"], people, left=1),
    ]
    if pairs:
        lines += ["", *_table(["annotator", "and", "items of both", *MEASURES.values()], pairs, left=2)]
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
            f", {alpha['confidence']:.0%} interval {low:.4f} to {high:.4f} (percentile bootstrap over "
            f"{alpha['items']:,} items, {alpha['resamples']:,} resamples, seed {alpha['seed']})"
        )
    if alpha["degenerate"]:
        line += f"; {alpha['degenerate']:,} resamples held one answer only, alpha is undefined there"
    return line + (f"; {alpha['reason']}." if alpha["reason"] else ".")


def _shown(value: float | None) -> str:
    return "n/a" if value is None or math.isnan(value) else f"{value:.4f}"


def _table(header: list[str], rows: list[list[str]], left: int) -> list[str]:
    """Lines of a Markdown table; the first `left` columns are words, the others numbers."""
    plain = [[" ".join(cell.replace("|", "\\|").split()) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*plain, strict=True)]

    def line(cells: list[str]) -> str:
        padded = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return "| " + " | ".join(padded) + " |"

    rule = "".join(f"{'-' * (w + 2)}|" if i < left else f"{'-' * (w + 1)}:|" for i, w in enumerate(widths))
    return [line(plain[0]), "|" + rule, *map(line, plain[1:])]
