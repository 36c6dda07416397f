"""The modality batch sampler, by brute force over many sizes, ranks and batch sizes."""

import itertools
import random
from collections import Counter

import pytest
from accelerate.data_loader import BatchSamplerShard, SkipBatchSampler

from train.sampler import ModalityBatchSampler


def premises(counts: dict[str, int], seed: int = 0) -> tuple[list[str], list[int]]:
    """Modalities in a random order, and random lengths."""
    rng = random.Random(seed)
    modalities = [name for name, count in counts.items() for _ in range(count)]
    rng.shuffle(modalities)
    return modalities, [rng.randint(1, 500) for _ in modalities]


CASES = [
    (text, audio, world_size, batch_size)
    for text, audio, world_size, batch_size in itertools.product(
        [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31, 65], [0, 4, 6, 33], [1, 2, 3, 4], [1, 2, 3, 8]
    )
    if text >= world_size and (audio == 0 or audio >= world_size)
]


def test_every_rank_has_one_modality_at_a_step_and_every_premise_comes_once():
    """Dealt out by accelerate, all ranks have as many batches, one modality at a step, each premise once an epoch."""
    for text, audio, world_size, batch_size in CASES:
        modalities, lengths = premises({"text": text, "audio": audio})
        sampler = ModalityBatchSampler(modalities, lengths, batch_size, world_size)
        for epoch in range(2):
            sampler.set_epoch(epoch)
            ranks = [list(BatchSamplerShard(sampler, world_size, rank)) for rank in range(world_size)]
            case = (text, audio, world_size, batch_size, epoch)
            assert {len(batches) for batches in ranks} == {len(sampler) // world_size}, case
            for step in zip(*ranks, strict=True):
                assert len({modalities[index] for batch in step for index in batch}) == 1, case
                assert all(step), case
            assert Counter(index for batches in ranks for batch in batches for index in batch) == Counter(
                range(len(modalities))
            ), case


def test_batches_are_no_larger_than_asked_and_even():
    """No batch is over batch_size; those of a modality differ by one. Only a batch size of 1 may have to give way."""
    for text, audio, world_size, batch_size in CASES:
        modalities, lengths = premises({"text": text, "audio": audio})
        batches = list(ModalityBatchSampler(modalities, lengths, batch_size, world_size))
        for name, count in {"text": text, "audio": audio}.items():
            sizes = {len(batch) for batch in batches if modalities[batch[0]] == name}
            fits = batch_size > 1 or count % world_size == 0
            assert not sizes or max(sizes) <= (batch_size if fits else batch_size + 1)
            assert not sizes or max(sizes) - min(sizes) <= 1


def test_epochs_differ_and_a_seed_repeats():
    """The order is a function of seed and epoch alone, and of each of them."""
    modalities, lengths = premises({"text": 40, "audio": 30})

    def order(seed, epoch):
        sampler = ModalityBatchSampler(modalities, lengths, batch_size=4, world_size=2, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 1) == order(0, 1)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_iterating_again_gives_fresh_lists():
    """accelerate changes the lists it is given: that must not change the next epoch."""
    modalities, lengths = premises({"text": 9})
    sampler = ModalityBatchSampler(modalities, lengths, batch_size=4)
    first = [list(batch) for batch in sampler]
    for batch in sampler:
        batch += batch
    assert list(sampler) == first


def test_resuming_goes_on_with_the_exact_order():
    """After skipping k batches, the rest of the epoch is the rest of the epoch."""
    modalities, lengths = premises({"text": 21, "audio": 13})
    sampler = ModalityBatchSampler(modalities, lengths, batch_size=3, world_size=2, seed=5)
    sampler.set_epoch(3)
    for rank in range(2):
        whole = list(BatchSamplerShard(sampler, 2, rank))
        for skipped in range(len(whole)):
            assert list(SkipBatchSampler(BatchSamplerShard(sampler, 2, rank), skipped)) == whole[skipped:]


def test_similar_lengths_go_together():
    """Padding within steps is far below that of random batches, in every epoch."""
    modalities, lengths = premises({"text": 400, "audio": 300})
    sampler = ModalityBatchSampler(modalities, lengths, batch_size=4, world_size=2)

    def padding(steps):
        return sum(max(lengths[i] for i in step) * len(step) - sum(lengths[i] for i in step) for step in steps)

    for epoch in range(2):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        steps = [batches[start] + batches[start + 1] for start in range(0, len(batches), 2)]
        indices = random.Random(0).sample(range(len(modalities)), len(modalities))
        random_steps = [indices[start : start + 8] for start in range(0, len(indices), 8)]
        assert padding(steps) < 0.1 * padding(random_steps)


def test_mixed_batches_have_every_premise_once():
    """The ablation mixes modalities within batches, and loses nothing either."""
    modalities, lengths = premises({"text": 33, "audio": 30})
    batches = list(ModalityBatchSampler(modalities, lengths, batch_size=8, world_size=2, mixed=True))
    assert sorted(index for batch in batches for index in batch) == list(range(63))
    assert any(len({modalities[index] for index in batch}) == 2 for batch in batches)


def test_without_shuffling_the_order_is_by_modality_and_length():
    """Evaluation needs no chance."""
    modalities, lengths = premises({"text": 20, "audio": 20})
    order = [index for batch in ModalityBatchSampler(modalities, lengths, 4, shuffle=False) for index in batch]
    assert order == sorted(order, key=lambda index: (modalities[index], lengths[index], index))


def test_a_modality_too_small_for_the_ranks_is_refused():
    """With fewer premises than processes a rank would have nothing to do: the error says what and what to do."""
    modalities, lengths = premises({"text": 8, "audio": 1})
    with pytest.raises(ValueError, match="1 premises of modality 'audio' for 2 processes"):
        ModalityBatchSampler(modalities, lengths, batch_size=4, world_size=2)
