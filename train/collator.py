"""Turns premises into a batch: one row a premise, with some or all of its hypotheses."""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch

from modeling_clue.modalities import MODALITIES
from modeling_clue.processing_clue import CLUEProcessor, without_media
from train.premises import PremiseItem
from train.tower_cache import UncachedClip


def draw_hypotheses(key: str, count: int, most: int | None, seed: int, epoch: int) -> list[int]:
    """Draws hypotheses of a premise by index: each once in `ceil(count / most)` epochs, in parts of similar size."""
    if most is None or count <= most:
        return list(range(count))
    parts = -(-count // most)
    name = int.from_bytes(blake2b(key.encode(), digest_size=8).digest())
    order = np.random.default_rng([seed, epoch // parts, name]).permutation(count)
    return np.array_split(order, parts)[epoch % parts].tolist()


@dataclass
class PremiseCollator:
    """Collates premises with one draw of their hypotheses."""

    processor: CLUEProcessor
    max_hypotheses: int | None = None  # of a premise at a time, another draw every epoch; all of them if `None`
    seed: int = 0
    epoch: int = 0  # to be set before the epoch begins

    def __call__(self, items: list[PremiseItem]) -> dict[str, torch.Tensor]:
        """Builds a batch: what the model takes, and `modality`, the index in `MODALITIES` of each hypothesis. Premises
        that are to go to the tower cache are in `uncached_clips`, in row order."""
        hypotheses, probabilities, modalities, uncached = [], [], [], []
        for item in items:
            drawn = draw_hypotheses(item.key, len(item.hypotheses), self.max_hypotheses, self.seed, self.epoch)
            hypotheses.append([item.hypotheses[index] for index in drawn])
            probabilities.append([item.probabilities[index] for index in drawn])
            modalities.extend([MODALITIES.index(item.premise.modality)] * len(drawn))
            if item.cache_key is not None:
                rows = len(drawn) if self.processor.one_hypothesis_a_row else 1
                uncached.extend([UncachedClip(item.cache_key, without_media(item.premise))] * rows)
        answers = probabilities if "answer" in self.processor.prompt else None
        inputs = self.processor.collate([item.premise for item in items], hypotheses, answers)
        labels = torch.tensor(sum(probabilities, []), dtype=torch.float32)
        batch = {**inputs, "labels": labels, "modality": torch.tensor(modalities)}
        return batch | {"uncached_clips": uncached} if uncached else batch
