"""Spread inside and outside: its numbers by hand, and against sklearn's."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from evaluation.unknown.answers import Answers
from evaluation.unknown.measures import analyse, auroc


def answer(probability, deviation, interval, **more):
    """An answer of the pipeline, as far as it is kept."""
    return {"probability": probability, "standard_deviation": deviation, "interval": interval, **more}


def value(measures, *names):
    """The shares, without their intervals."""
    return [measures[name]["value"] for name in names]


def about(kind, rows, truth, calibrated=None, modality="audio"):
    """The answers about a premise."""
    return Answers(f"{kind}-{rows[0]['probability']}", modality, kind, truth, rows, calibrated or rows)


def test_the_auroc_is_sklearns():
    """With ties, which count half; 0.5 where both sides are the same."""
    rng = np.random.default_rng(0)
    inside, outside = rng.integers(0, 6, 40) / 5, rng.integers(2, 8, 60) / 5
    known = roc_auc_score(np.repeat([0, 1], [40, 60]), np.concatenate([inside, outside]))
    assert auroc(inside, outside) == pytest.approx(known)
    assert auroc(inside, inside) == 0.5


def test_measures_by_hand():
    """Shares, widths, errors and coverage, with the calibration and without; nothing is told of what has no truth, and
    a modality without familiar premises has no AUROC."""
    known = [answer(0.95, 0.1, [0.8, 1.0]), answer(0.5, 0.3, [0.2, 0.8])]
    strange = [answer(0.02, 0.2, [0.0, 0.1]), answer(0.4, 0.05, [0.35, 0.45])]
    widened = [
        answer(0.5, 0.4, [0.05, 0.95], conformal_interval=[0.0, 1.0], novelty=1.0),
        answer(0.45, 0.3, [0.1, 0.9], conformal_interval=[0.2, 0.7], novelty=0.5),
    ]
    same = [one | {"conformal_interval": [0.4, 0.6], "novelty": 0.0} for one in known]
    told = [
        about("familiar", known, [0.9, 0.1], same),
        about("noise", strange, [None, None], widened),
        about("noise", strange, [None, 0.5], modality="text"),
    ]
    familiar, noise, alone = analyse(told)
    assert (familiar["modality"], familiar["kind"], familiar["premises"], familiar["n"]) == ("audio", "familiar", 1, 2)
    raw, calibrated = familiar["raw"], familiar["calibrated"]
    assert raw["mse"] == pytest.approx((0.05**2 + 0.4**2) / 2) and raw["ece"] == pytest.approx((0.05 + 0.4) / 2)
    assert (raw["coverage"], raw["conformal_coverage"]) == (0.5, None) and calibrated["conformal_coverage"] == 0
    assert raw["auroc"] is None and value(raw, "sure", "decided") == [0.5, 0.5]
    assert calibrated["conformal_width"] == pytest.approx(0.2) and value(calibrated, "novel") == [0]
    raw, calibrated = noise["raw"], noise["calibrated"]
    assert raw["auroc"] == pytest.approx(1 / 4) and calibrated["auroc"] == pytest.approx(3.5 / 4)
    assert raw["auroc_width"] == 0 and calibrated["auroc_width"] == 1 and calibrated["auroc_novelty"] == 1
    assert value(raw, "sure", "decided") == [1, 0.5] and raw["width"] == pytest.approx(0.1)
    assert value(calibrated, "sure", "decided", "novel") == [0, 0, 1]
    assert calibrated["conformal_width"] == pytest.approx(0.75)
    assert raw["mse"] is None and raw["coverage"] is None and raw["novel"] is None
    assert alone["raw"]["auroc"] is None and alone["raw"]["mse"] is None
