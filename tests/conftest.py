"""Fixtures shared by all tests: everything is generated, nothing is downloaded."""

import gc
from functools import partial
from pathlib import Path

import jinja2
import pytest
import torch
import yaml


torch.set_num_threads(1)
# Every dataset and checkpoint is read with its card's YAML, some of it long. This reads the same, in C.
yaml.SafeLoader = yaml.CSafeLoader
# Until all is imported nothing can be let go.
gc.disable()

TEXTS = [
    "An urn holds 3 red balls, 2 blue balls and 1 green ball.",
    "The ball is red.",
    "It is neither red nor blue.",
    "A random sound is high or low.",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, and the short ones fill what is left at the end."""
    long = {item.path for item in items if any(item.iter_markers("processes")) or any(item.iter_markers("long"))}
    items.sort(key=lambda item: item.path not in long)


def pytest_collection_finish() -> None:
    """What was imported stays: a training collects garbage after each run, and need not look through all of it."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def tiny_checkpoint(request, tmp_path_factory) -> Path:
    """A tiny CLUE checkpoint with random weights, as `from_pretrained` takes it.

    A test that holds for every backbone is run on each: `pytest.mark.parametrize("tiny_checkpoint", BACKBONES,
    indirect=True)`.
    """
    from train.tiny import build_tiny

    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    backbone = getattr(request, "param", "qwen2.5-omni")
    return build_tiny(TEXTS, folder, vocab_size=420, num_hidden_layers=2, backbone=backbone)


@pytest.fixture(scope="module")
def strict_templates():
    """A card's template that names something it isn't given ends in an error, where it would leave a blank."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jinja2, "Template", partial(jinja2.Template, undefined=jinja2.StrictUndefined))
        yield
