# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Configures CLUE: a Thinker, by default Qwen2.5-Omni's, with a confidence head."""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from huggingface_hub.dataclasses import strict
from transformers import Qwen2_5OmniThinkerConfig

from .backbone import QWEN2_5_OMNI, TOWERS
from .confidence import TARGETS
from .posthoc import check_calibration


if TYPE_CHECKING:
    # A checkpoint is saved with the files that this one imports: this adds the pipeline's.
    from .pipeline_clue import UncertainInferencePipeline  # noqa: F401

AUDIOVISUAL_POSITIONS = ("timed", "plain")

PIPELINES = {"uncertain-inference": {"impl": "pipeline_clue.UncertainInferencePipeline", "pt": ["AutoModel"]}}


@dataclass(kw_only=True)
class CLUEFields:
    """Holds the fields that the configuration of a CLUE model adds to its Thinker's.

    The prompt belongs to the processor, which alone reads it.

    Args:
        num_bins (`int`, defaults to 100):
            Number of confidence bins N, and of tokens `<CONF_0>` ... `<CONF_{N-1}>`.
        sigma (`float`, defaults to 0.05):
            Standard deviation of the training target, in units of probability (section 3.2 of the paper).
        target (`str`, defaults to `"mean_preserving"`):
            `"gaussian"` is the paper's target, whose mean is off near 0 and 1; `"mean_preserving"` tilts it until its
            mean is the label; `"mse"` is the squared error of the expectation, as an ablation.
        audiovisual_positions (`str`, defaults to `"timed"`):
            Positions of a video with its sound: `"timed"` are the backbone's, by the clock, in which a frame and the
            sound that goes with it are close; `"plain"` count the tokens, for models trained that way.
        calibration (`dict`, *optional*):
            Post-hoc calibration, for all premises or by modality, as described in `posthoc.py`. It changes the
            probabilities of a model in eval mode, but neither logits nor losses, and training drops it.
        new_projections (`list[str]`, defaults to none):
            Towers, `"audio_tower"` or `"visual"`, whose projection has never been trained. What it gives means
            nothing, so the model refuses sound or frames until it is.
        vision_start_token_id, vision_end_token_id (`int`):
            Tokens around a video. The Thinker's own configuration lacks them although its position ids need the
            first.
        custom_pipelines (`dict`):
            Where `pipeline("uncertain-inference", ...)` finds its code in a checkpoint.
    """

    num_bins: int = 100
    sigma: float = 0.05
    target: str = "mean_preserving"
    audiovisual_positions: str = "timed"
    calibration: dict | None = None
    new_projections: list[str] = field(default_factory=list)
    vision_start_token_id: int = 151652
    vision_end_token_id: int = 151653
    custom_pipelines: dict = field(default_factory=lambda: deepcopy(PIPELINES))

    def __post_init__(self, **kwargs):
        if self.num_bins < 2:
            raise ValueError(f"`num_bins` must be at least 2, got {self.num_bins}.")
        if not self.sigma > 0:
            raise ValueError(f"`sigma` must be positive, got {self.sigma}.")
        if self.target not in TARGETS:
            raise ValueError(f"`target` must be one of {', '.join(TARGETS)}, got {self.target!r}.")
        if self.audiovisual_positions not in AUDIOVISUAL_POSITIONS:
            raise ValueError(
                f"`audiovisual_positions` must be one of {', '.join(AUDIOVISUAL_POSITIONS)}, got "
                f"{self.audiovisual_positions!r}."
            )
        unknown = set(self.new_projections) - TOWERS.keys()
        if unknown:
            raise ValueError(f"`new_projections` may name {' and '.join(TOWERS)}, got {min(unknown)!r}.")
        if self.calibration is not None:
            check_calibration(self.calibration)
        super().__post_init__(**kwargs)

    @classmethod
    def from_dict(cls, config_dict: dict, **kwargs):
        """Reads a configuration of this class alone: weights of another kind of model would find no place."""
        model_type = config_dict.get("model_type", cls.model_type)
        if model_type != cls.model_type:
            raise ValueError(
                f"{cls.__name__} is not the configuration of a {model_type} checkpoint: load one of CLUE with "
                "`AutoModel`, and make others one of CLUE with `python -m modeling_clue.conversion to-clue`."
            )
        return super().from_dict(config_dict, **kwargs)


@strict
class CLUEConfig(CLUEFields, Qwen2_5OmniThinkerConfig):
    """Configures a [`CLUEForConfidenceEstimation`]: Qwen2.5-Omni's Thinker with [`CLUEFields`]."""

    model_type = "clue"
    backbone = QWEN2_5_OMNI


CLUEConfig.register_for_auto_class()
