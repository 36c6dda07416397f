# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""CLUE: how probable is a hypothesis, given a premise of text, sound, video, or video with its sound?"""

from transformers import AutoConfig, AutoModel, AutoProcessor

from .configuration_clue import CLUEConfig
from .modeling_clue import CLUEForConfidenceEstimation, CLUEOutput
from .processing_clue import CLUEProcessor


AutoConfig.register("clue", CLUEConfig, exist_ok=True)
AutoModel.register(CLUEConfig, CLUEForConfidenceEstimation, exist_ok=True)
AutoProcessor.register(CLUEConfig, CLUEProcessor, exist_ok=True)

__all__ = ["CLUEConfig", "CLUEForConfidenceEstimation", "CLUEOutput", "CLUEProcessor"]
