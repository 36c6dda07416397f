"""What is measured of choices and scores is what the exact answers say."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from datasets_scripts.sources.urn import Scene, sample_scene
from evaluation.exclusive import Judged, exact_probabilities, main, questions_about, summarize
from modeling_clue.decision_format import hypotheses_of


@pytest.mark.parametrize("modality", ["text", "audio", "video", "audiovisual"])
def test_options_exclude_each_other_and_leave_nothing_out(modality):
    """In every scene exactly one option of a question is true of each event, so that their probabilities sum to 1."""
    for seed in range(20):
        scene = sample_scene(modality, np.random.default_rng(seed))
        for asked in questions_about(modality):
            assert len(hypotheses_of(asked.question)) == len(asked.terms)
            exact = [Fraction(value).limit_denominator(100) for value in exact_probabilities(asked, scene)]
            assert sum(exact) == 1


def test_exact_probabilities_are_shares_of_the_scene():
    """Counted by hand: of three events two are red, one of these is low; nothing is yellow."""
    scene = Scene(colours=("red", "red", "blue"), pitches=("low", "high", "high"))
    found = {asked.title: (asked, exact_probabilities(asked, scene)) for asked in questions_about("audiovisual")}
    assert found["colour"][1] == pytest.approx([2 / 3, 0, 1 / 3, 0])
    assert found["pitch, score"][1] == pytest.approx([1 / 3, 0, 2 / 3])
    asked, exact = found["colour and pitch"]
    likely = {sentence for sentence, value in zip(hypotheses_of(asked.question), exact, strict=True) if value}
    assert likely == {
        "A random draw is red and low.",
        "A random draw is red and high.",
        "A random draw is blue and high.",
    }


def test_numbers_of_a_line():
    """Two premises, by hand: one judged exactly, one whose sum is 0.8 in a shape that is right."""
    exact = np.array([0.5, 0.25, 0.25])
    one = Judged(exact, exact, exact)
    two = Judged(0.8 * exact, exact, exact)
    numbers = summarize([one, two])
    assert numbers["sum_mean"] == pytest.approx(0.1) and numbers["sum_largest"] == pytest.approx(0.2)
    assert numbers["error_judged"] == pytest.approx((0.1 + 0.05 + 0.05) / 6)
    assert numbers["error_divided"] == numbers["error_score"] == 0 and numbers["likeliest"] == 1
    assert numbers["error_odds"] > 0.05  # odds of 1 and a third are not shares of a half and a quarter
    wrong = summarize([Judged(exact, exact[::-1].copy(), exact)])
    assert wrong["likeliest"] == 0 and wrong["error_score"] == pytest.approx(0.5)


def test_the_tiny_checkpoint_is_measured(capsys):
    """Its sums are near 1, and division by them does not make its answers worse."""
    main(["--model", "checkpoints/clue-urn-tiny", "--premises", "4", "--modalities", "text", "audio"])
    lines = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()]
    assert [line[0].strip() for line in lines[2:]] == ["text", "audio", "audio"]
    for line in lines[2:]:
        assert float(line[4]) < 0.05 and float(line[7]) < 0.01 < float(line[8])
    assert all(len(first) == len(second) for first, second in pairwise(lines))
