# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Registers CLUE with transformers, so that `AutoModel.from_pretrained` needs no remote code."""

from transformers import AutoConfig, AutoModel, AutoProcessor

from .configuration_clue import CLUEConfig
from .modeling_clue import CLUEForConfidenceEstimation, CLUEOutput
from .processing_clue import CLUEProcessor
from .qwen3_omni import CLUEQwen3OmniConfig, CLUEQwen3OmniForConfidenceEstimation, CLUEQwen3OmniProcessor


BACKBONES = {
    "qwen2.5-omni": (CLUEConfig, CLUEForConfidenceEstimation, CLUEProcessor),
    "qwen3-omni": (CLUEQwen3OmniConfig, CLUEQwen3OmniForConfidenceEstimation, CLUEQwen3OmniProcessor),
}

for config_class, model_class, processor_class in BACKBONES.values():
    AutoConfig.register(config_class.model_type, config_class, exist_ok=True)
    AutoModel.register(config_class, model_class, exist_ok=True)
    AutoProcessor.register(config_class, processor_class, exist_ok=True)

__all__ = ["BACKBONES", "CLUEConfig", "CLUEForConfidenceEstimation", "CLUEOutput", "CLUEProcessor"]
