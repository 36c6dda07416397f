"""Processors compared, and made anew with other options."""

import torch

from modeling_clue import CLUEProcessor


def assert_same(found, expected):
    """The same tensors, to the bit."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def rebuilt(processor, **options) -> CLUEProcessor:
    """The same processor with another prompt or other media options."""
    return CLUEProcessor(processor.feature_extractor, processor.video_processor, processor.tokenizer, **options)
