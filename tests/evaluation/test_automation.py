"""Certified automation: its bound against exact binomials and enumeration, its promise against simulated truth."""

import itertools
import json

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import pipeline

from evaluation import automation, calibration, posthoc
from evaluation.automation import Promise, certify, decision_errors
from evaluation.data import load_rows, premise_keys
from modeling_clue.automation import acts


class Population:
    """4,000 premises, from which splits are drawn, of one hypothesis or of 1 to 8, which may share their luck."""

    def __init__(self, kind):
        rng = np.random.default_rng(0)
        self.premise = np.repeat(np.arange(4000), 1 if kind == "single" else rng.integers(1, 9, 4000))
        self.rows = np.split(np.arange(len(self.premise)), np.flatnonzero(np.diff(self.premise)) + 1)
        confidence = (1 - rng.uniform(0, 0.7, len(self.premise)) ** 2).astype(np.float32)
        luck = rng.random(4000)[self.premise] if kind == "clustered" else rng.random(len(self.premise))
        wrong = luck < 1.3 * (1 - confidence)  # overconfident, but least so where it is surest
        yes = rng.random(len(wrong)) < 0.5
        self.probability = np.where(yes, confidence, 1 - confidence).astype(np.float32)
        self.target = np.where(yes, 1 - wrong, wrong).astype(float)

    def draw(self, rng, premises):
        """Rows of premises that are drawn with replacement, each time as another one, and their keys."""
        drawn = [self.rows[place] for place in rng.integers(0, 4000, premises)]
        return np.concatenate(drawn), np.repeat(np.arange(premises), list(map(len, drawn))).astype(str)

    def risk(self, threshold):
        """The share that is acted on and its error rate, in the whole population."""
        part = {"threshold": threshold, "error": "side"}
        return automation.acted_on(torch.tensor(self.probability), self.target, self.premise, part)


@pytest.mark.parametrize("kind", ["single", "clustered"])
def test_the_promise_holds_in_simulated_splits(kind):
    """Of splits drawn from a known population no more than promised certify a threshold whose true error rate is too
    high, and what they act on is a good part of what could be; picking the best threshold by a binomial bound on all
    rows breaks it where hypotheses share their luck."""
    population, rng = Population(kind), np.random.default_rng(1)
    draws, rate, confidence = 200, 0.12, 0.9
    known = {tau: population.risk(tau) for tau in np.linspace(0.5, 1, 101)[:-1]}
    possible = max(share for share, error in known.values() if error <= rate)
    broken = naive = 0
    shares = []
    for _ in range(draws):
        rows, keys = population.draw(rng, 300)
        probability, target = torch.tensor(population.probability[rows]), population.target[rows]
        pilot = keys < "15"  # of 300 names 57
        part = certify(probability, target, keys, pilot, Promise(rate, confidence, "side"))
        share, error = population.risk(part["threshold"])
        broken += error > rate  # NaN, where nothing is acted on, breaks no promise
        shares.append(share)
        confidences = np.maximum(probability.numpy(), 1 - probability.numpy())
        wrong = decision_errors(probability.numpy(), target, "side")
        bounds = {tau: (wrong[confidences >= tau].sum(), (confidences >= tau).sum()) for tau in known}
        passed = [tau for tau, counts in bounds.items() if stats.binom.cdf(*counts, rate) <= 1 - confidence]
        naive += bool(passed) and known[min(passed)][1] > rate
    assert stats.binom.sf(broken - 1, draws, 1 - confidence) > 0.001, broken / draws
    assert kind != "clustered" or stats.binom.sf(naive - 1, draws, 1 - confidence) < 0.001, naive / draws
    assert np.mean(shares) > 0.6 * possible, (np.mean(shares), possible)


def test_wealth_is_one_on_average_at_the_boundary():
    """Over all outcomes of seven premises whose error rate is exactly the promised one, by enumeration: the chance of
    a p-value as low as some level is not above it, and each bet's wealth is 1 on average."""
    values, chances = np.array([-0.2, 0.3, 0.8]), np.array([0.7, 0.2, 0.1])
    assert values @ chances == pytest.approx(0)
    places = np.array(list(itertools.product(range(3), repeat=7)))
    p = np.exp(automation.log_p_by_betting(values[places].T, 0.2))
    weights = chances[places].prod(axis=1)
    for level in np.unique(p):
        assert weights[p <= level * (1 + 1e-9)].sum() <= level + 1e-9
    made = [np.exp(np.log1p(-bet / 0.8 * values[places]).sum(axis=1)) @ weights for bet in automation.BETS]
    assert made == pytest.approx([1] * len(made), abs=1e-12)


def test_betting_on_single_rows_is_close_to_the_exact_binomial():
    """With errors spread evenly, nothing passes by betting that an exact (Clopper-Pearson) bound would not let pass,
    and what is lost are a few errors; without any error both need what is counted."""
    for count in range(1, 400, 7):
        errors = np.arange(count + 1)
        wrong = np.argsort(np.arange(count) * 0.618 % 1).argsort()[:, None] < errors
        betting = automation.log_p_by_betting(wrong - 0.1, 0.1) <= np.log(0.05)
        exact = automation.log_p_exact(np.ones_like(wrong), wrong, 0.1) <= np.log(0.05)
        assert (exact == np.append(stats.beta.ppf(0.95, errors[:-1] + 1, count - errors[:-1]) <= 0.1, False)).all()
        assert not (betting & ~exact).any()
        assert exact.sum() - betting.sum() <= 8
        assert betting[0] == (count >= automation.premises_needed(Promise(0.1, 0.95), exact=False))
        assert exact[0] == (count >= automation.premises_needed(Promise(0.1, 0.95), exact=True))


def test_what_is_wrong_is_as_defined():
    """By the truth a target is the chance of being wrong; by the side exactly 0.5 is always wrong."""
    predictions, targets = [0.5, 0.49, 0.9, 0.9, 0.1, 0.1], [1, 1, 0.5, 0.7, 0.5, 0.2]
    assert decision_errors(predictions, targets, "truth") == pytest.approx([0, 1, 0.5, 0.3, 0.5, 0.2])
    assert decision_errors(predictions, targets, "side").tolist() == [0, 1, 1, 0, 1, 0]


def test_a_premise_counts_as_one():
    """Share and error are means over premises, however many hypotheses each has; rows may come in any order."""
    probability = torch.tensor([0.9, 0.6, 0.1, 0.6, 0.95])
    part = {"threshold": 0.8, "error": "side"}
    share, error = automation.acted_on(probability, [0, 1, 0, 1, 1], ["a", "a", "b", "a", "a"], part)
    assert share == pytest.approx((2 / 4 + 1) / 2) and error == pytest.approx((1 / 4 + 0) / 2 / share)
    nothing = automation.acted_on(probability, [0, 1, 0, 1, 1], ["a"] * 5, part | {"threshold": None})
    assert nothing[0] == 0 and np.isnan(nothing[1])


def test_what_is_never_right_is_not_certified():
    """Where decisions are as good as a coin no threshold passes, and nothing is acted on; where all are right, all
    are, by the lowest threshold there is."""
    probability, keys = torch.linspace(0, 1, 400), np.arange(400)
    pilot = keys % 4 == 0
    coin = np.random.default_rng(0).integers(0, 2, 400)
    part = certify(probability, coin, keys, pilot, Promise())
    assert part["threshold"] is None and part["share"] == 0
    assert not acts(probability, {"automation": part}).any()
    part = certify(probability, probability.numpy() >= 0.5, keys, pilot, Promise())
    assert part["threshold"] == 0.5 and part["share"] == 1
    with pytest.raises(ValueError, match="takes 29 premises .* there are 27 and 9"):
        certify(probability[:36], coin[:36], keys[:36], pilot[:36], Promise())
    with pytest.raises(ValueError, match="takes 40 premises .* there are 29 and 10"):
        certify(probability[:39], probability[:39].numpy(), keys[:39], pilot[:39], Promise())


def test_thresholds_lie_between_confidences():
    """No threshold is a confidence that occurs, the last digit of which depends on the batch."""
    confidences = np.repeat([0.5, 0.5000001, 0.75, 0.9, 1.0], [10, 10, 30, 30, 20])
    found = automation._candidates(confidences)
    assert found == pytest.approx([0.95, 0.825, 0.625, 0.5])


def test_promises_keep_to_premises_of_their_own():
    """With a map beside it, the map is that of one half of the premises alone, and the threshold is certified on the
    other; alone, three quarters certify."""
    rng = np.random.default_rng(0)
    logits, targets = torch.tensor(rng.normal(size=(900, 20)), dtype=torch.float32), rng.random(900)
    keys = (np.arange(900) // 3).astype(str)
    promise, seen = Promise(0.45, 0.6), []
    both = calibration.fit(logits, targets, keys.tolist(), ["isotonic", "automation"], promise=promise)

    def spy(probabilities, targets, keys, pilot, promise, novelty):
        seen.append(pilot)
        return {"threshold": None, "error_rate": 0.1, "confidence": 0.9, "error": "truth", "share": 0.0}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "certify", spy)
        for methods in (
            ["isotonic", "automation"],
            ["automation"],
            ["automation", "conformal"],
            ["novelty", "automation"],
        ):
            calibration.fit(logits, targets, keys.tolist(), methods, promise=promise)
    assert [len(set(keys[pilot])) for pilot in seen] == [150, 75, 75, 150]
    assert all(set(keys[pilot]).isdisjoint(keys[~pilot]) for pilot in seen)
    half = calibration.fit(logits[seen[0]], targets[seen[0]], keys[seen[0]].tolist(), ["isotonic"])
    assert both["isotonic"] == half["isotonic"]


def test_the_command_certifies_and_answers_say_so(tiny_checkpoint, urn_world, tmp_path, capsys):
    """What the command saves is what `certify` finds, the pipeline's `act` is that of its own probabilities, and the
    share on a split is counted from its answers; for a modality without it nothing is acted on, and where nothing can
    tell there is an error."""
    options = ["--dataset", str(urn_world), "--dataset-config", "urn-text", "--split", "train", "--by-modality"]
    options += ["--method", "automation", "--error-rate", "0.8", "--confidence", "0.5", "--error", "side"]
    options += ["--compare-split", "validation", "--output-dir", str(tmp_path / "out")]
    out = posthoc.main(["--model", str(tiny_checkpoint), *options])
    said = capsys.readouterr().out
    part = json.loads((out / "config.json").read_text())["calibration"]["text"]["automation"]
    assert (part["error_rate"], part["confidence"], part["error"]) == (0.8, 0.5, "side")
    assert part["threshold"] is not None

    clue = pipeline("uncertain-inference", model=str(out), trust_remote_code=True, device="cpu")
    rows = load_rows(str(urn_world), "urn-text", "validation")
    answers = [one for [one] in clue(list(rows), act=True)]
    decided = [max(one["probability"], 1 - one["probability"]) >= part["threshold"] for one in answers]
    assert [one["act"] for one in answers] == decided
    share = automation.premise_means(np.array(decided, dtype=float)[:, None], premise_keys(rows)).mean()
    assert f"acts on {share:.1%} of the answers" in said
    sound = load_rows(str(urn_world), "urn-audio", "validation")[0]
    assert clue(sound, act=True)[0]["act"] is False
    assert "act" not in clue(sound)[0]
    with pytest.raises(ValueError, match="`act` needs a calibration"):
        clue(rows[0], act=True, calibrated=False)

    code = tmp_path / "out" / "automation.py"
    assert code.exists()
    code.unlink()
    with pytest.raises(ValueError, match="older than automation: load .* and save it anew"):
        posthoc.main(["--model", str(out), *options[:-2]])
    with pytest.raises(ValueError, match="takes 40 premises"):
        posthoc.main(["--model", str(tiny_checkpoint), *options[:6], "--method", "automation"])
