# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""
CLUE: how probable is a hypothesis, given a premise of text, sound, video, or video with its sound?

torch and transformers are imported with the first of the names below, which also makes CLUE known to `AutoModel` and
its like. Who wants [`modeling_clue.media`] alone, to build a dataset or to ask a server, does not wait for them.
"""

from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from .auto import CLUEConfig, CLUEForConfidenceEstimation, CLUEOutput, CLUEProcessor

__all__ = ["CLUEConfig", "CLUEForConfidenceEstimation", "CLUEOutput", "CLUEProcessor"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import auto

    return getattr(auto, name)
