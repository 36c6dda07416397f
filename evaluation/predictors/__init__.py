"""The model under evaluation, and those that it is compared with."""

from evaluation.predictors.baselines import BaselinePredictor, ConstantMean, HypothesisOnly, RidgeText, TextMean
from evaluation.predictors.clue import CLUEPredictor
from evaluation.predictors.prediction import (
    INTERVAL_MASS,
    AnyPrediction,
    PointPrediction,
    Prediction,
    Predictor,
    TwoStagePredictor,
    WrittenPrediction,
)
from evaluation.predictors.text import TextPredictor, answer_format


__all__ = [
    "INTERVAL_MASS",
    "AnyPrediction",
    "BaselinePredictor",
    "CLUEPredictor",
    "ConstantMean",
    "HypothesisOnly",
    "PointPrediction",
    "Prediction",
    "Predictor",
    "RidgeText",
    "TextMean",
    "TextPredictor",
    "TwoStagePredictor",
    "WrittenPrediction",
    "answer_format",
]
