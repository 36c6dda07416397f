# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Judges how probable a hypothesis is, given a premise of text, sound, video, or video with its sound.

The first use of a name below imports torch and transformers, and registers CLUE with `AutoModel` and the other auto
classes. To import [`modeling_clue.media`] alone, for a dataset or a client of a server, takes neither.
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
