# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Makes CLUE known to transformers: `AutoModel.from_pretrained` then takes it from here, without remote code."""

from transformers import AutoConfig, AutoModel, AutoProcessor

from .configuration_clue import CLUEConfig
from .modeling_clue import CLUEForConfidenceEstimation, CLUEOutput
from .processing_clue import CLUEProcessor


AutoConfig.register("clue", CLUEConfig, exist_ok=True)
AutoModel.register(CLUEConfig, CLUEForConfidenceEstimation, exist_ok=True)
AutoProcessor.register(CLUEConfig, CLUEProcessor, exist_ok=True)

__all__ = ["CLUEConfig", "CLUEForConfidenceEstimation", "CLUEOutput", "CLUEProcessor"]
