# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Splits a batch into forward passes that waste little on padding."""

from collections.abc import Sequence

import torch

from .encoded_premise import EncodedPremise


# What a forward pass costs by itself, in tokens of a row: on a processor 13 for a model of 117 million parameters,
# which are read from memory anew, and 74 for one of a million (benchmarks/README.md).
PASS_TOKENS = 32
# A rough rate, good enough to bring premises of similar length together.
CHARACTERS_PER_TOKEN = 4


def split_batch(premises: list[EncodedPremise], hypotheses: list[list[str]], device: torch.device) -> list[list[int]]:
    """
    Splits a batch into forward passes, so that on a processor little time goes into padding.

    Args:
        premises (`list[EncodedPremise]`), hypotheses (`list[list[str]]`): as for [`~CLUEProcessor.collate`].
        device (`torch.device`): of the model; on any but a processor all go into one pass.

    Returns:
        `list[list[int]]`: the places of the premises of each pass.
    """
    if len(premises) == 1 or device.type != "cpu":
        return [list(range(len(premises)))]
    # Tokenizing hypotheses a second time would take longer than an estimate may waste.
    return split_into_passes(
        [
            premise.num_tokens + sum(len(str(sentence)) for sentence in sentences) // CHARACTERS_PER_TOKEN
            for premise, sentences in zip(premises, hypotheses, strict=True)
        ]
    )


def split_into_passes(lengths: Sequence[int]) -> list[list[int]]:
    """
    Splits rows into passes, each padded to its longest row, at the least cost: that of tokens and padding, and
    [`PASS_TOKENS`] a pass.

    Args:
        lengths (`Sequence[int]`): of the rows, in tokens.

    Returns:
        `list[list[int]]`: the places of the rows of each pass, the shortest first.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    # Rows of one pass are neighbours in this order. `best[n]` is the least cost of the first n, and where the last of
    # its passes begins.
    best = [(0, 0)]
    for end in range(1, len(order) + 1):
        longest = lengths[order[end - 1]]
        costs = ((best[start][0] + PASS_TOKENS + longest * (end - start), start) for start in range(end))
        best.append(min(costs))
    passes, end = [], len(order)
    while end:
        start = best[end][1]
        passes.append(order[start:end])
        end = start
    return passes[::-1]
