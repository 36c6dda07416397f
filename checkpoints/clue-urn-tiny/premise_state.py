# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Holds premises that a model has read: what any number of hypotheses about them can be judged by."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from hashlib import blake2b

import torch
from torch import nn
from transformers import DynamicCache


class PremiseCache(DynamicCache):
    """Keeps the keys and values of premises. Once it is complete, those of hypotheses are seen with them, and not
    kept: it stays as it is, however often and by however many threads it is used."""

    complete = False
    visible: int | None = None  # tokens of the premises that are seen; all of them if `None`

    def update(self, key_states, value_states, layer_idx, *args, **kwargs) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns keys and values of the premises and, behind them, those given."""
        if not self.complete:
            return super().update(key_states, value_states, layer_idx, *args, **kwargs)
        keys, values = (
            kept[:, :, : self.visible] for kept in (self.layers[layer_idx].keys, self.layers[layer_idx].values)
        )
        return torch.cat((keys, key_states), dim=-2), torch.cat((values, value_states), dim=-2)

    def first(self, visible: int) -> "PremiseCache":
        """Returns the same cache, of which only the first tokens are seen."""
        cache = copy(self)
        cache.visible = visible
        return cache

    def repeat(self, count: int) -> "PremiseCache":
        """Returns a cache of `count` times the one premise that is in this."""
        return self.map(lambda values: values.expand(count, -1, -1, -1))

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "PremiseCache":
        """Returns a cache whose keys and values are what `change` makes of them."""
        cache = PremiseCache()
        for number, layer in enumerate(self.layers):
            cache.update(change(layer.keys), change(layer.values), number)
        cache.complete = self.complete
        return cache


@dataclass(frozen=True)
class PremiseState:
    """Holds the premises of a batch as [`~CLUEForConfidenceEstimation.read`] has read them.

    Args:
        cache ([`PremiseCache`]): keys and values, `(batch_size, num_heads, num_tokens, head_dim)` in each layer.
        mask (`torch.BoolTensor` of shape `(batch_size, num_tokens)`): which are tokens, and which padding behind them.
        positions (`torch.Tensor` of shape `(3, batch_size, num_tokens)`): rotary positions of the tokens.
        ends (`torch.Tensor` of shape `(batch_size,)`): the position of the first token of a hypothesis.
        modalities (`list[str]`): of each premise.
        notes (`list[list[str]]`): for each premise, what was cut, thinned or replaced.
        fingerprint (`str`): of the weights that read them.
        inputs (`torch.Tensor` of shape `(batch_size, num_tokens, hidden_size)`, *optional*): what the language model
            was given; kept only by a model that tells how novel a premise is.
    """

    cache: PremiseCache
    mask: torch.BoolTensor
    positions: torch.Tensor
    ends: torch.Tensor
    modalities: list[str]
    notes: list[list[str]]
    fingerprint: str = ""
    inputs: torch.Tensor | None = None

    def __len__(self) -> int:
        """Returns the number of premises."""
        return len(self.modalities)

    @property
    def nbytes(self) -> int:
        """Returns the bytes that keys and values take, and the inputs where they are kept."""
        kept = sum(layer.keys.nbytes + layer.values.nbytes for layer in self.cache.layers)
        return kept + (0 if self.inputs is None else self.inputs.nbytes)

    @property
    def device(self) -> torch.device:
        """Returns the device of the keys and values."""
        return self.cache.layers[0].keys.device

    @property
    def dtype(self) -> torch.dtype:
        """Returns the dtype of the keys and values."""
        return self.cache.layers[0].keys.dtype

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> "PremiseState":
        """Returns a copy on another device, or with keys and values in another dtype: those of the model that is to
        judge by it."""
        moved = {name: getattr(self, name).to(device) for name in ("mask", "positions", "ends")}
        moved["inputs"] = None if self.inputs is None else self.inputs.to(device, dtype)
        return replace(self, cache=self.cache.map(lambda values: values.to(device, dtype)), **moved)

    def select(self, rows: list[int]) -> "PremiseState":
        """Returns a copy with some of the premises, by their places in the batch."""
        if rows == list(range(len(self))):
            return self
        index = torch.tensor(rows, device=self.device)
        longest = int(self.mask[index].sum(dim=1).max())
        return replace(
            self,
            cache=self.cache.map(lambda values: values[index, :, :longest]),
            mask=self.mask[index, :longest],
            positions=self.positions[:, index, :longest],
            ends=self.ends[index],
            modalities=[self.modalities[row] for row in rows],
            notes=[self.notes[row] for row in rows],
            inputs=None if self.inputs is None else self.inputs[index, :longest],
        )


def fingerprint(model: nn.Module) -> str:
    """Returns what tells the weights of a model from others, whatever their device and dtype: the ends of each, as
    bfloat16 has them."""
    # One copy from the device, not one for each weight.
    ends = [weight.detach().flatten()[[0, -1]] for _, weight in sorted(model.named_parameters())]
    values = torch.stack([end.to(torch.bfloat16) for end in ends]).float().cpu()
    return blake2b(values.numpy().tobytes(), digest_size=8).hexdigest()
