# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Tells which answers can be used alone, at an error rate that was certified: the automation part of a calibration.

A decision is yes where the probability is 0.5 or more, else no; its confidence is the probability that it gives
itself. The part is

- `threshold` (`float` or `None`): decisions of this confidence or more are acted on; `None` if no threshold could be
  certified, and then none is;
- `error_rate`, `confidence` (`float`): of those that are acted on at most this share is wrong, in all but
  `1 - confidence` of the validation splits that could have been drawn;
- `error` (`str`): what counts as wrong, one of `ERRORS`;
- `share` (`float`, *optional*): the share that was acted on where the threshold was certified, for information only.
"""

from math import isfinite
from typing import Any

import torch


# "truth": the chance that the decision is wrong if the hypothesis is true with the labelled probability; "side": 1 if
# the label is on the other side of 0.5 or exactly there, where neither decision is right.
ERRORS = ("truth", "side")


def check_automation(part: Any, name: str) -> None:
    """Checks that an automation part can be applied.

    Args:
        part (`dict`): see the top of this file.
        name (`str`): of the calibration it is in, for errors.

    Raises:
        ValueError: naming the field and what is wrong with it.
    """
    required = {"threshold", "error_rate", "confidence", "error"}
    if not isinstance(part, dict) or not required <= part.keys():
        raise ValueError(f"The automation part of {name} needs {', '.join(sorted(required))}, got {part!r:.100}.")
    for field in ("error_rate", "confidence"):
        if not (is_number(part[field]) and 0 < part[field] < 1):
            raise ValueError(f"The {field} of {name} must lie strictly between 0 and 1, got {part[field]!r}.")
    if part["error"] not in ERRORS:
        raise ValueError(f"The error of {name} must be one of {', '.join(ERRORS)}, got {part['error']!r:.100}.")
    threshold = part["threshold"]
    if threshold is not None and not (is_number(threshold) and 0.5 <= threshold <= 1):
        raise ValueError(f"The threshold of {name} must lie in [0.5, 1] or be null, got {threshold!r:.100}.")


def check_can_act(calibration: dict[str, Any] | None) -> None:
    """Checks that automation was fitted, for all premises or those of some modality.

    Args:
        calibration (`dict`, *optional*): that is applied to the answers, see `posthoc.py`.

    Raises:
        ValueError: saying what to do.
    """
    calibration = calibration or {}
    if not any("automation" in parts for parts in (calibration, *calibration.values()) if isinstance(parts, dict)):
        raise ValueError(
            "`act` needs a calibration with an automation part, applied: fit one by `python -m evaluation.posthoc "
            "--method automation`, and leave out `calibrated=False`."
        )


def decision_confidence(probability: torch.Tensor) -> torch.Tensor:
    """Returns the probability that each decision gives itself, the larger of p and 1 - p, of the same shape."""
    return torch.maximum(probability, 1 - probability)


def acts(probability: torch.Tensor, parts: dict[str, Any] | None, novelty: torch.Tensor | None = None) -> torch.Tensor:
    """Returns which answers can be used alone, `(H,)` -> `(H,)`, bool: none where no threshold was certified.

    Args:
        probability (`torch.Tensor` of shape `(H,)`): calibrated by the same parts.
        parts (`dict`, *optional*): of the calibration, for the modality of the premise.
        novelty (`torch.Tensor` of shape `(H,)`, *optional*): of the answers, none of which is acted on above 0.
    """
    threshold = ((parts or {}).get("automation") or {}).get("threshold")
    if threshold is None:
        return torch.zeros_like(probability, dtype=torch.bool)
    sure = decision_confidence(probability) >= threshold
    return sure if novelty is None else sure & (novelty == 0)


def is_number(value: Any) -> bool:
    """Returns whether a value of JSON is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
