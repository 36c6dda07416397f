"""
Measures whether answers get less sure outside of what a checkpoint was made for.

`auroc` is the chance that an answer outside is wider spread than one inside, ties counting half: 0.5 where the spread
tells nothing. An answer is sure of itself if its interval is no wider than `NARROW`, and decided if its probability is
within `EDGE` of 0 or 1.
"""

from collections.abc import Iterable

import numpy as np
from scipy.stats import mannwhitneyu

from datasets_scripts.sources.urn_unknown import FAMILIAR
from evaluation.metrics.uncertain_inference.measures import measure
from evaluation.stress.statistics import ratio_interval
from evaluation.unknown.answers import Answers


NARROW, EDGE = 0.2, 0.1
WAYS = ("raw", "calibrated")


def analyse(answered: Iterable[Answers]) -> list[dict]:
    """Returns the measures of each kind of premise of each modality, in their order: a `dict` with those of either way
    (`raw` and `calibrated`), `None` for what can't be told; shares with intervals over premises."""
    groups: dict[tuple[str, str], list[Answers]] = {}
    for one in answered:
        groups.setdefault((one.modality, one.kind), []).append(one)
    return [
        {"modality": modality, "kind": kind, "premises": len(group), "n": sum(len(one.truth) for one in group)}
        | {way: _measures(group, groups.get((modality, FAMILIAR), []), way) for way in WAYS}
        for (modality, kind), group in groups.items()
    ]


def auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """Returns the chance that a value outside is larger than one inside, ties counting half."""
    return float(mannwhitneyu(outside, inside).statistic / (len(inside) * len(outside)))


def _measures(group: list[Answers], familiar: list[Answers], way: str) -> dict:
    found, known = _columns(group, way), _columns(familiar, way)
    truth = np.array([value for one in group for value in one.truth], dtype=float)
    width = found["high"] - found["low"]
    result = {
        "spread": float(found["standard_deviation"].mean()),
        "width": float(width.mean()),
        "sure": _share(width <= NARROW + 1e-6, group),
        "decided": _share(np.abs(found["probability"] - 0.5) >= 0.5 - EDGE, group),
        "conformal_width": None,
        "novel": None,
        "auroc": None,
        "auroc_width": None,
        "auroc_novelty": None,
    }
    if "novelty" in found:
        result["novel"] = _share(found["novelty"] > 0, group)
    if "conformal_low" in found:
        result["conformal_width"] = float((found["conformal_high"] - found["conformal_low"]).mean())
    if familiar and familiar is not group and group[0].kind != FAMILIAR:
        result["auroc"] = auroc(known["standard_deviation"], found["standard_deviation"])
        result["auroc_width"] = auroc(known["high"] - known["low"], width)
        if "novelty" in found:
            result["auroc_novelty"] = auroc(known["novelty"], found["novelty"])
    if np.isnan(truth).any():
        return result | dict.fromkeys(("mse", "ece", "coverage", "conformal_coverage"))
    premises = [one.premise for one in group for _ in one.truth]
    errors = measure(found["probability"].clip(0, 1), truth, None, premises, only=("mse", "ece"), resamples=0)
    result |= {name: errors[name]["value"] for name in ("mse", "ece")}
    # A bin in float32 is not the number it stands for to the last digit.
    for name, ends in (("coverage", ""), ("conformal_coverage", "conformal_")):
        inside = None
        if f"{ends}low" in found:
            inside = (found[f"{ends}low"] - 1e-6 <= truth) & (truth <= found[f"{ends}high"] + 1e-6)
        result[name] = None if inside is None else float(inside.mean())
    return result


def _share(values: np.ndarray, group: list[Answers]) -> dict:
    """Returns the share of rows of which something is true, with its interval by resampling premises."""
    counts = np.array([len(one.truth) for one in group])
    sums = np.add.reduceat(values.astype(float), counts.cumsum() - counts)
    return {"value": float(values.mean()), "interval": ratio_interval(sums, counts.astype(float))}


def _columns(group: list[Answers], way: str) -> dict[str, np.ndarray]:
    rows = [row for one in group for row in getattr(one, way)]
    names = ("probability", "standard_deviation", "novelty")
    columns = {name: np.array([row[name] for row in rows]) for name in names if rows and name in rows[0]}
    for field, prefix in (("interval", ""), ("conformal_interval", "conformal_")):
        if rows and field in rows[0]:
            columns[f"{prefix}low"], columns[f"{prefix}high"] = np.array([row[field] for row in rows]).T
    return columns
