"""The predictors that see no premise."""

import numpy as np
import pytest

from evaluation.predictors.baselines import ConstantMean, HypothesisOnly, RidgeText, TextMean


def test_constant_mean_answers_the_training_mean():
    """The same number for everything, whatever is asked."""
    predictor = ConstantMean().fit(["a", "b"], [0.2, 0.6])
    assert predictor.predict(["c", "d", "e"]) == pytest.approx([0.4, 0.4, 0.4])


def test_text_mean_is_the_mean_of_a_frequent_text():
    """A frequent text gets its own mean, an unknown one the prior, a rare one something between."""
    prior = ConstantMean().fit(["x"], [0.5])
    predictor = TextMean(prior, strength=1).fit(["often"] * 999 + ["once"], [0.1] * 999 + [0.9])
    assert predictor.predict(["often", "never", "once"]) == pytest.approx([0.1004, 0.5, 0.7])


def test_repeated_texts_are_learnt_to_their_means():
    """Where texts repeat, the best predictor reaches the spread of the probabilities about each text's mean."""
    random = np.random.default_rng(0)
    means = {f"The ball is {colour}.": mean for colour, mean in zip("abcdef", random.uniform(size=6), strict=True)}
    texts = list(random.choice(list(means), size=3000))
    probabilities = np.array([means[text] for text in texts]) + random.uniform(-0.05, 0.05, 3000)
    probabilities = probabilities.clip(0, 1)
    predictor = HypothesisOnly().fit(texts[:2000], probabilities[:2000], texts[2000:], probabilities[2000:])
    assert predictor.validation_mse == pytest.approx(0.1**2 / 12, rel=0.1)
    assert np.mean((predictor.predict(texts[2000:]) - probabilities[2000:]) ** 2) == predictor.validation_mse


def test_new_texts_are_judged_by_their_words():
    """Where no text repeats, the words tell: a negation that halves the probability is found."""
    random = np.random.default_rng(1)
    texts = [f"Object {i} is {'not ' if i % 2 else ''}here" for i in range(600)]
    probabilities = np.where(np.arange(600) % 2, 0.2, 0.8) + random.uniform(-0.1, 0.1, 600)
    predictor = HypothesisOnly().fit(texts[:400], probabilities[:400], texts[400:], probabilities[400:])
    assert "ridge" in predictor.name
    assert predictor.validation_mse < 0.01
    assert ConstantMean().fit(texts, probabilities).mean == pytest.approx(0.5, abs=0.02)


def test_noise_is_not_learnt():
    """Where texts tell nothing, the best predictor does not lose to the constant mean on the validation split."""
    random = np.random.default_rng(2)
    texts = [f"word{a} word{b}" for a, b in random.integers(0, 50, size=(400, 2))]
    probabilities = random.uniform(size=400)
    predictor = HypothesisOnly().fit(texts[:300], probabilities[:300], texts[300:], probabilities[300:])
    constant = ConstantMean().fit(texts[:300], probabilities[:300]).predict(texts[300:])
    assert predictor.validation_mse <= np.mean((constant - probabilities[300:]) ** 2)


def test_probabilities_stay_probabilities():
    """Ridge regression extrapolates; its answers do not."""
    predictor = RidgeText(alpha=0.001).fit(["good", "bad"] * 20, [1.0, 0.0] * 20)
    answers = predictor.predict(["good good good", "bad bad", "unknown"])
    assert ((answers >= 0) & (answers <= 1)).all()
