"""Turns premises into a batch: one row a premise, with some or all of its hypotheses."""

from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
import torch

from modeling_clue.encoded_premise import without_media
from modeling_clue.modalities import MODALITIES
from modeling_clue.processing_clue import CLUEProcessor
from train.prefixes import cut_premise, draw_chance
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
    """Collates premises with one draw of their hypotheses, some cut short where it is known what is true then."""

    processor: CLUEProcessor
    max_hypotheses: int | None = None  # of a premise at a time, another draw every epoch; all of them if `None`
    seed: int = 0
    epoch: int = 0  # to be set before the epoch begins
    prefix_share: float = 0.0  # of the premises that can be cut, those that are
    sound_block: int | None = None  # frames of the spectrogram that the audio tower takes alone: needed to cut

    def __call__(self, items: list[PremiseItem]) -> dict[str, torch.Tensor]:
        """Builds a batch: what the model takes, and `modality`, the index in `MODALITIES` of each hypothesis. Premises
        that go through the towers beside a cache are in `uncached_clips`, in row order."""
        premises, hypotheses, probabilities, modalities, uncached = [], [], [], [], []
        for whole in items:
            item = self._maybe_cut(whole)
            drawn = draw_hypotheses(item.key, len(item.hypotheses), self.max_hypotheses, self.seed, self.epoch)
            premises.append(item.premise)
            hypotheses.append([item.hypotheses[index] for index in drawn])
            probabilities.append([item.probabilities[index] for index in drawn])
            modalities.extend([MODALITIES.index(item.premise.modality)] * len(drawn))
            if item.cache_key is not None:
                rows = len(drawn) if self.processor.one_hypothesis_a_row else 1
                # A beginning would be taken for the whole: it is not kept.
                key = item.cache_key if item is whole else None
                uncached.extend([UncachedClip(key, without_media(item.premise))] * rows)
        answers = probabilities if "answer" in self.processor.prompt else None
        inputs = self.processor.collate(premises, hypotheses, answers)
        labels = torch.tensor(sum(probabilities, []), dtype=torch.float32)
        batch = {**inputs, "labels": labels, "modality": torch.tensor(modalities)}
        return batch | {"uncached_clips": uncached} if uncached else batch

    def _maybe_cut(self, item: PremiseItem) -> PremiseItem:
        """Returns a premise as it is in this epoch, whole or cut."""
        if not self.prefix_share or item.prefixes is None:
            return item
        chance = draw_chance(item.key, self.seed, self.epoch)
        if chance.random() >= self.prefix_share:
            return item
        cut = cut_premise(self.processor, item.premise, item.prefixes, self.sound_block, chance)
        if cut is None:
            return item
        premise, probabilities = cut
        return replace(item, premise=premise, probabilities=probabilities)
