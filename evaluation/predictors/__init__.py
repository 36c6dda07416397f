"""The model under evaluation, and those that it is compared with."""

from evaluation.predictors.baselines import ConstantMean, HypothesisOnly, RidgeText, TextMean
from evaluation.predictors.clue import CLUEPredictor
from evaluation.predictors.prediction import INTERVAL_MASS, Prediction, Predictor, TwoStagePredictor, WrittenPrediction
from evaluation.predictors.text import TextPredictor, answer_format


__all__ = [
    "INTERVAL_MASS",
    "CLUEPredictor",
    "ConstantMean",
    "HypothesisOnly",
    "Prediction",
    "Predictor",
    "RidgeText",
    "TextMean",
    "TextPredictor",
    "TwoStagePredictor",
    "WrittenPrediction",
    "answer_format",
]
