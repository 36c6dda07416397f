"""Tests of modeling_clue/passes.py, and of what takes its passes, against trying every split."""

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoProcessor

from evaluation.predictors.checkpoints import CLUEPredictor
from modeling_clue.passes import PASS_TOKENS, split_batch, split_into_passes
from modeling_clue.pipeline_clue import UncertainInferencePipeline
from modeling_clue.processing_clue import encode_premises


CHECKPOINT = Path(__file__).resolve().parents[2] / "checkpoints" / "clue-urn-tiny"


def cost(passes: list[list[int]], lengths: list[int]) -> int:
    """Returns what passes cost: their rows padded to the longest, and the passes themselves."""
    return sum(PASS_TOKENS + len(one) * max(lengths[place] for place in one) for one in passes)


@pytest.mark.parametrize("seed", range(20))
def test_no_split_costs_less(seed):
    """Every row is in one pass, and none of all ways to put the rows into passes costs less."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, [20, 60, 400][seed % 3], size=5).tolist()
    passes = split_into_passes(lengths)
    assert sorted(place for one in passes for place in one) == list(range(5))
    every = []
    for numbers in product(range(5), repeat=5):
        split = [[place for place in range(5) if numbers[place] == number] for number in sorted(set(numbers))]
        every.append(cost(split, lengths))
    assert cost(passes, lengths) == min(every)


def test_rows_alike_go_together_and_a_long_one_apart():
    """Nothing is split for rows of one length; what would be padded most is split off; no rows need no pass."""
    assert split_into_passes([50] * 6) == [list(range(6))]
    assert [sorted(one) for one in split_into_passes([900, 20, 25, 22])] == [[1, 2, 3], [0]]
    assert split_into_passes([7]) == [[0]] and split_into_passes([]) == []


@pytest.fixture(scope="module")
def clue() -> UncertainInferencePipeline:
    """The shipped checkpoint's pipeline."""
    model = AutoModel.from_pretrained(CHECKPOINT, trust_remote_code=True)
    return UncertainInferencePipeline(model, AutoProcessor.from_pretrained(CHECKPOINT, trust_remote_code=True))


PREMISES = ["An urn holds 3 red balls.", "An urn holds 2 blue balls. " * 30, "An urn holds 1 red and 1 blue balls."]


def test_answers_come_in_the_order_of_the_inputs(clue):
    """Whatever the order and number of premises in a batch, each has its own answers."""
    rows = [
        {"text": text, "hypotheses": ["The ball is red.", "The ball is blue."][: 1 + number % 2]}
        for number, text in enumerate(PREMISES)
    ]
    alone = [[answer["probability"] for answer in clue(row)] for row in rows]
    assert len(split_batch(*_encoded(clue, rows), torch.device("cpu"))) == 2
    assert len(split_batch(*_encoded(clue, rows), torch.device("meta"))) == 1
    for order in permutations(range(3)):
        together = clue([rows[place] for place in order], batch_size=3)
        for place, answers in zip(order, together, strict=True):
            assert [answer["probability"] for answer in answers] == pytest.approx(alone[place], abs=1e-6)


def _encoded(clue, rows):
    return encode_premises(clue.processor, rows), [row["hypotheses"] for row in rows]


def test_the_evaluation_has_the_answers_of_its_rows(clue):
    """Rows of premises of very different lengths get the pipeline's answers, in their order."""
    rows = [
        {"premise": text, "modality": "text", "hypothesis": hypothesis}
        for text in PREMISES
        for hypothesis in ("The ball is red.", "It is not red.")
    ]
    predictor = CLUEPredictor(CHECKPOINT)
    assert len(predictor.prepare(rows)) == 2
    answers = predictor.predict(rows)
    for row, answer in zip(rows, answers, strict=True):
        (wanted,) = clue({"text": row["premise"], "hypotheses": [row["hypothesis"]]})
        assert answer.probability == pytest.approx(wanted["probability"], abs=1e-6)
