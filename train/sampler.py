"""Samples batches of one modality, the same on every rank at every step."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


# Premises are sorted by length only within a pool of this many steps, so that an epoch still mixes short and long.
STEPS_IN_POOL = 32


class ModalityBatchSampler(Sampler[list[int]]):
    """Yields the batches of all ranks, in the order in which `accelerate` deals them out.

    Every run of `world_size` consecutive batches is one step and has one modality, so that all ranks go through the
    same towers at the same time (ranks that don't hang ZeRO-3). Premises of similar `lengths` share a step, to save
    padding.

    Every premise is in exactly one batch of an epoch. The premises of a modality are dealt evenly over its batches,
    whose sizes differ by one at most: there are no tails to drop or to fill up. Where `batch_size` 1 leaves a last
    step that can't give every rank a premise, some batches hold two. The number of batches is the same in every epoch.
    There is no `batch_size` attribute on purpose: with one, `accelerate` drops the short batches.

    Without `shuffle` the order is by modality and length, for evaluation. `mixed` mixes the modalities in a batch, the
    paper's ablation.
    """

    def __init__(
        self,
        modalities: list[str],
        lengths: list[int],
        batch_size: int,
        world_size: int = 1,
        seed: int = 0,
        shuffle: bool = True,
        mixed: bool = False,
    ):
        if len(modalities) != len(lengths):
            raise ValueError(f"There are {len(modalities)} modalities but {len(lengths)} lengths: give one a premise.")
        if batch_size < 1 or world_size < 1:
            raise ValueError(f"batch_size and world_size must be at least 1, got {batch_size} and {world_size}.")
        self.lengths = np.asarray(lengths)
        self.world_size = world_size
        self.seed = seed
        self.shuffle = shuffle
        self.mixed = mixed
        self.epoch = 0

        pools = ["mixed"] * len(modalities) if mixed else list(modalities)
        self.members = {name: np.flatnonzero(np.asarray(pools) == name) for name in sorted(set(pools))}
        self.batch_sizes = {}
        for name, members in self.members.items():
            if len(members) < world_size:
                raise ValueError(
                    f"There are {len(members)} premises of modality '{name}' for {world_size} processes, and each "
                    "needs at least one at a step: add premises, leave the modality out, or start fewer processes."
                )
            steps = min(-(-len(members) // (batch_size * world_size)), len(members) // world_size)
            self.batch_sizes[name] = [len(part) for part in np.array_split(members, steps * world_size)]

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(len(sizes) for sizes in self.batch_sizes.values())

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        steps = []
        for name in self.members:
            batches = self._batches(name, rng)
            steps.extend(batches[start : start + self.world_size] for start in range(0, len(batches), self.world_size))
        order = rng.permutation(len(steps)) if self.shuffle else range(len(steps))
        for step in order:
            # Fresh lists: accelerate changes those it is given.
            yield from (batch.tolist() for batch in steps[step])

    def _batches(self, name: str, rng: np.random.Generator) -> list[np.ndarray]:
        """Cuts the premises of one modality into this epoch's batches, similar lengths side by side."""
        members = rng.permutation(self.members[name]) if self.shuffle else self.members[name]
        ends = np.cumsum(self.batch_sizes[name])
        if not self.mixed:
            pool_batches = STEPS_IN_POOL * self.world_size
            pool_ends = ends[pool_batches - 1 :: pool_batches] if self.shuffle else []
            pools = np.split(members, pool_ends)
            members = np.concatenate([pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools])
        return np.split(members, ends[:-1])
