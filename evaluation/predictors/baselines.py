"""Predicts from less than a model sees, which it therefore has to beat."""

from argparse import Namespace
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import Ridge

from evaluation.predictors.choose import ChosenPredictor, register_predictor
from evaluation.predictors.prediction import PointPrediction, Predictor


BASELINES = ("constant_mean", "hypothesis_only")


@register_predictor("hypothesis_only", model=False)
@register_predictor("constant_mean", model=False)
def baseline(args: Namespace, dataset: str) -> ChosenPredictor:
    """Chooses one of the baselines of every report, by what they were fitted to there."""
    kind = args.predictor

    def fit(baselines) -> ChosenPredictor:
        if kind not in baselines.by_kind:
            raise ValueError(
                f"--predictor {kind} has too few premises to be fitted to: name a config that has more with "
                "--baselines-from."
            )
        fitted = baselines.by_kind[kind]
        facts = {"name" if fact == "predictor" else fact: value for fact, value in fitted.facts.items()}
        settings = {"predictor": kind, "model": None, "fitted": facts}
        return ChosenPredictor(kind, settings, lambda: BaselinePredictor(fitted.answers))

    return ChosenPredictor(kind, fit=fit)


class ConstantMean:
    """Answers everything with the mean probability of what it was fitted to."""

    def fit(self, hypotheses: list[str], probabilities: ArrayLike) -> Self:
        self.mean = float(np.mean(probabilities))
        return self

    def predict(self, hypotheses: list[str]) -> np.ndarray:
        return np.full(len(hypotheses), self.mean)


class RidgeText:
    """Fits a ridge regression on which words, pairs and triples of words a text has, clipped to [0, 1].

    Presence, not TF-IDF: there a word seen once, such as a name, outweighs all others of its text.
    """

    def __init__(self, alpha: float):
        self.alpha = alpha

    def fit(self, hypotheses: list[str], probabilities: ArrayLike) -> Self:
        # One-letter words count ("a", "I"): the usual token pattern drops them.
        self.features = CountVectorizer(ngram_range=(1, 3), token_pattern=r"(?u)\b\w+\b", binary=True)
        texts, places = _unique(hypotheses)
        self.regression = Ridge(alpha=self.alpha).fit(self.features.fit_transform(texts)[places], probabilities)
        return self

    def predict(self, hypotheses: list[str]) -> np.ndarray:
        texts, places = _unique(hypotheses)
        return self.regression.predict(self.features.transform(texts)).clip(0, 1)[places]


def _unique(texts: list[str]) -> tuple[list[str], list[int]]:
    """Returns the distinct texts, whose words are counted once, and where among them each text is."""
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    return list(places), [places[text] for text in texts]


class TextMean:
    """Answers with the mean training probability of the same text, with `prior` counted as `strength` more of it."""

    def __init__(self, prior: RidgeText | ConstantMean, strength: float):
        self.prior = prior
        self.strength = strength

    def fit(self, hypotheses: list[str], probabilities: ArrayLike) -> Self:
        self.sums, self.counts = {}, {}
        for text, probability in zip(hypotheses, probabilities, strict=True):
            self.sums[text] = self.sums.get(text, 0.0) + probability
            self.counts[text] = self.counts.get(text, 0) + 1
        return self

    def predict(self, hypotheses: list[str]) -> np.ndarray:
        sums = np.array([self.sums.get(text, 0.0) for text in hypotheses])
        counts = np.array([self.counts.get(text, 0) for text in hypotheses])
        return (sums + self.strength * self.prior.predict(hypotheses)) / (counts + self.strength)


class HypothesisOnly:
    """Answers with the best of several predictors that see the text of the hypothesis and nothing of the premise.

    What it reaches can be had by knowing which hypotheses tend to be true; only what a model does better was learnt
    from premises. Candidates are the mean of identical texts and ridge regressions on their words; the one with the
    least squared error on the validation pairs is kept, as `name` and `validation_mse` tell.
    """

    def fit(
        self,
        hypotheses: list[str],
        probabilities: ArrayLike,
        validation_hypotheses: list[str],
        validation_probabilities: ArrayLike,
    ) -> Self:
        candidates = {"constant mean": ConstantMean().fit(hypotheses, probabilities)}
        for alpha in (1.0, 10.0, 30.0, 100.0):
            candidates[f"ridge on words, alpha {alpha:g}"] = RidgeText(alpha).fit(hypotheses, probabilities)
        for prior_name, prior in list(candidates.items()):
            for strength in (0.3, 3.0):
                name = f"mean of the same text, {strength:g} x {prior_name}"
                candidates[name] = TextMean(prior, strength).fit(hypotheses, probabilities)
        truth = np.asarray(validation_probabilities)
        errors = {name: np.mean((c.predict(validation_hypotheses) - truth) ** 2) for name, c in candidates.items()}
        self.name = min(errors, key=errors.get)
        self.validation_mse = float(errors[self.name])
        self.best = candidates[self.name]
        return self

    def predict(self, hypotheses: list[str]) -> np.ndarray:
        return self.best.predict(hypotheses)


@dataclass
class BaselinePredictor(Predictor):
    """Looks up a baseline's answer to each row, by id: what it was fitted to may depend on the row."""

    answers: dict[str, float]

    def answer(self, prepared: list[dict]) -> list[PointPrediction]:
        return [PointPrediction(self.answers[row["id"]]) for row in prepared]
