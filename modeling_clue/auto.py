# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Registers CLUE with transformers, so that `AutoModel.from_pretrained` needs no remote code."""

from transformers import AutoConfig, AutoModel, AutoProcessor

from .backbone import Backbone
from .configuration_clue import CLUEConfig, CLUEFields
from .modeling_clue import CLUEForConfidenceEstimation, CLUEOutput, ConfidenceEstimation
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


def classes_of(backbone: Backbone) -> tuple[type[CLUEFields], type[ConfidenceEstimation], type[CLUEProcessor]]:
    """Returns the classes of configuration, model and processor of a backbone."""
    return next(classes for classes in BACKBONES.values() if classes[0].backbone == backbone)


def backbone_of(model_type: str) -> Backbone | None:
    """Returns the backbone of a full checkpoint's model type, or a Thinker's; None if there is none for it."""
    backbones = {config_class.backbone.model_type: config_class.backbone for config_class, *_ in BACKBONES.values()}
    return backbones.get(model_type.removesuffix("_thinker"))


__all__ = [
    "BACKBONES",
    "CLUEConfig",
    "CLUEForConfidenceEstimation",
    "CLUEOutput",
    "CLUEProcessor",
    "backbone_of",
    "classes_of",
]
