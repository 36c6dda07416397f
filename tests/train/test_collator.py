"""The draw of hypotheses and the batch."""

from collections import Counter

import pytest
import torch

from modeling_clue import CLUEProcessor
from modeling_clue.modalities import MODALITIES
from tests.train.conftest import CONFIGS, HYPOTHESES
from train.collator import PremiseCollator, draw_hypotheses
from train.premises import PremiseDataset


@pytest.mark.parametrize(("count", "most"), [(1, 1), (4, 2), (5, 2), (8, 8), (9, 8), (17, 8), (30, 7)])
def test_every_hypothesis_is_drawn_once_in_a_cycle(count, most):
    """In every ceil(count / most) epochs each hypothesis comes exactly once, never more than `most` at a time."""
    cycle = -(-count // most)
    for first in (0, cycle, 2 * cycle):
        draws = [draw_hypotheses("premise", count, most, seed=0, epoch=first + part) for part in range(cycle)]
        assert max(map(len, draws)) <= most
        assert max(map(len, draws)) - min(map(len, draws)) <= 1
        assert Counter(index for draw in draws for index in draw) == Counter(range(count))


def test_draws_depend_on_seed_epoch_and_premise_alone():
    """The same three give the same draw; another of any gives, in general, another."""
    draw = draw_hypotheses("a", 30, 8, seed=0, epoch=0)
    assert draw == draw_hypotheses("a", 30, 8, seed=0, epoch=0)
    assert draw != draw_hypotheses("b", 30, 8, seed=0, epoch=0)
    assert draw != draw_hypotheses("a", 30, 8, seed=1, epoch=0)
    assert draw != draw_hypotheses("a", 30, 8, seed=0, epoch=1)
    assert sorted(draw) != sorted(draw_hypotheses("a", 30, 8, seed=0, epoch=4))


def test_without_a_limit_all_are_taken():
    """No limit, or one that is not reached: all hypotheses, in order."""
    assert draw_hypotheses("a", 5, None, 0, 3) == draw_hypotheses("a", 5, 5, 0, 3) == [0, 1, 2, 3, 4]


def test_labels_stand_beside_their_hypotheses(dataset, tiny_checkpoint):
    """One row a premise; labels and modalities in the order of the branches; the inputs are the processor's own."""
    processor = CLUEProcessor.from_pretrained(tiny_checkpoint)
    premises = PremiseDataset.load(str(dataset), CONFIGS, "train", processor)
    items = [premises[0], premises[len(premises) - 1]]
    collator = PremiseCollator(processor, max_hypotheses=2, seed=3, epoch=1)
    batch = collator(items)

    sentence_of = {p: h for item in items for h, p in zip(item.hypotheses, item.probabilities, strict=True)}
    sentence_of = {torch.tensor(p, dtype=torch.float32).item(): sentence for p, sentence in sentence_of.items()}
    drawn = [sentence_of[label] for label in batch["labels"].tolist()]
    expected = processor.collate([item.premise for item in items], [drawn[:2], drawn[2:]])
    assert set(batch) == set(expected) | {"labels", "modality"}
    assert all(torch.equal(batch[name], expected[name]) for name in expected)
    assert batch["modality"].tolist() == [MODALITIES.index(item.premise.modality) for item in items for _ in range(2)]

    collator.epoch = 0
    assert set(collator(items)["labels"].tolist()).isdisjoint(batch["labels"].tolist())
    assert HYPOTHESES == 4
