# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Applies the calibration fitted to a checkpoint's answers after training: pure functions on tensors.

A calibration is a `dict` of plain numbers in the configuration of a checkpoint. It has any of these parts

- `temperature` (`float`): the confidence logits are divided by it (appendix E of the paper);
- `isotonic` (`{"x": [...], "y": [...]}`): the expectation goes through these points, joined by straight lines;
- `conformal` (`{"coverage": float, "quantile": float}`): an interval about the probability reaches
  `quantile` standard deviations of the distribution (half a bin added) to either side;
- `novelty`: how far from the premises it was fitted to an answer is given up, see `novelty.py`;
- `automation`: the confidence from which on decisions can be used alone, see `automation.py`;

applied in this order, novelty to the interval too, and `fitted`, a record of the data it was fitted to, for
information only. Or it has a `dict` of such parts for some of the modalities,
`{"text": {"temperature": 1.6}, "audio": {...}}`: then answers about premises of the others are not calibrated.
"""

from typing import Any

import torch

from .automation import check_automation, is_number
from .confidence import expectation, standard_deviation
from .modalities import MODALITIES
from .novelty import check_novelty


PARTS = ("temperature", "isotonic", "conformal", "novelty", "automation")


def check_calibration(calibration: dict[str, Any]) -> None:
    """Checks that a calibration can be applied.

    Args:
        calibration (`dict`): see the top of this file.

    Raises:
        ValueError: naming the part, with its modality, and what is wrong with it.
    """
    if not is_by_modality(calibration):
        _check_parts(calibration, "`calibration`")
        return
    others = [str(name) for name in calibration if name not in MODALITIES]
    if others:
        raise ValueError(
            "`calibration` is either one for all premises, or one for each of some modalities "
            f"({', '.join(MODALITIES)}): {', '.join(others)} can't stand beside a modality, but within it."
        )
    for modality, parts in calibration.items():
        _check_parts(parts, f"`calibration` of {modality}")


def is_by_modality(calibration: dict[str, Any] | None) -> bool:
    """Returns whether a calibration has parts for each of some modalities, and none for all premises."""
    return isinstance(calibration, dict) and not calibration.keys().isdisjoint(MODALITIES)


def for_modality(calibration: dict[str, Any] | None, modality: str) -> dict[str, Any] | None:
    """Returns the parts that calibrate answers about premises of a modality, or `None` if there are none.

    Args:
        calibration (`dict`, *optional*): see the top of this file.
        modality (`str`): one of `MODALITIES`.
    """
    return calibration.get(modality) if is_by_modality(calibration) else calibration


def _check_parts(parts: Any, name: str) -> None:
    if not isinstance(parts, dict) or not parts.keys() <= {*PARTS, "fitted"} or parts.keys().isdisjoint(PARTS):
        given = ", ".join(map(str, parts)) if isinstance(parts, dict) else repr(parts)
        raise ValueError(f"{name} needs one or more of {', '.join(PARTS)}; got {given:.100}.")
    temperature = parts.get("temperature", 1.0)
    if not (is_number(temperature) and temperature > 0):
        raise ValueError(f"The temperature of {name} must be positive, got {temperature!r}.")
    if "isotonic" in parts:
        x, y = _required_fields(f"The isotonic part of {name}", parts["isotonic"], ("x", "y"))
        if not all(isinstance(values, (list, tuple)) and all(map(is_number, values)) for values in (x, y)):
            raise ValueError(f"`x` and `y` of the isotonic part of {name} must be lists of numbers.")
        if len(x) != len(y) or len(x) < 2:
            raise ValueError(f"The isotonic part of {name} needs two points or more, got {len(x)} x and {len(y)} y.")
        # In float32, in which they are applied: points that coincide there have no line between them.
        steps = [torch.tensor(values, dtype=torch.float32, device="cpu").diff() for values in (x, y)]
        if not (steps[0] > 0).all() or not (steps[1] >= 0).all() or min(*x, *y) < 0 or max(*x, *y) > 1:
            raise ValueError(
                f"The points of the isotonic part of {name} must rise, in x and in y, within [0, 1], also in float32."
            )
    if "conformal" in parts:
        coverage, quantile = _required_fields(
            f"The conformal part of {name}", parts["conformal"], ("coverage", "quantile")
        )
        if not (is_number(coverage) and 0 < coverage < 1):
            raise ValueError(f"The coverage of {name} must lie strictly between 0 and 1, got {coverage!r}.")
        if not (is_number(quantile) and quantile >= 0):
            raise ValueError(f"The conformal quantile of {name} must be 0 or more, got {quantile!r}.")
    if "novelty" in parts:
        check_novelty(parts["novelty"], name)
    if "automation" in parts:
        check_automation(parts["automation"], name)


def calibrated_distribution(logits: torch.Tensor, parts: dict[str, Any] | None) -> torch.Tensor:
    """Returns the distribution over bins at the temperature of the parts, `(H, N)` -> `(H, N)`, float32.

    The others do not change it.
    """
    logits = logits.float()
    if parts is not None and "temperature" in parts:
        logits = logits / parts["temperature"]
    return logits.softmax(-1)


def calibrated_probability(distribution: torch.Tensor, parts: dict[str, Any] | None) -> torch.Tensor:
    """Returns the expectation after the isotonic part, if there is one, `(H, N)` -> `(H,)`, float32.

    It then differs from the expectation of the distribution that is reported beside it.

    Args:
        distribution (`torch.Tensor` of shape `(H, N)`): as [`calibrated_distribution`] returns it.
        parts (`dict`, *optional*): as [`for_modality`] returns them.

    Returns:
        `torch.Tensor` of shape `(H,)`: float32.
    """
    return _apply_isotonic(expectation(distribution), parts)


def conformal_scale(distribution: torch.Tensor) -> torch.Tensor:
    """Returns the unit of the conformal quantile: standard deviation plus half a bin, `(H, N)` -> `(H,)`, float32."""
    # Without the half bin a model that is sure of one bin would have an empty interval, whatever the quantile.
    return standard_deviation(distribution) + 0.5 / (distribution.shape[-1] - 1)


def conformal_interval(distribution: torch.Tensor, parts: dict[str, Any]) -> torch.Tensor:
    """Returns the interval about the probability that holds the true one with the coverage it was fitted for.

    Args:
        distribution (`torch.Tensor` of shape `(H, N)`): as [`calibrated_distribution`] returns it.
        parts (`dict`): as [`for_modality`] returns them, with a conformal one.

    Returns:
        `torch.Tensor` of shape `(H, 2)`: lower and upper end, within [0, 1].
    """
    reach = parts["conformal"]["quantile"] * conformal_scale(distribution)
    probability = calibrated_probability(distribution, parts)
    return torch.stack((probability - reach, probability + reach), dim=-1).clamp(0, 1)


def _apply_isotonic(values: torch.Tensor, parts: dict[str, Any] | None) -> torch.Tensor:
    """Interpolates linearly between the points; beyond the first and the last it is constant."""
    if parts is None or "isotonic" not in parts:
        return values
    x, y = (values.new_tensor(parts["isotonic"][name]) for name in ("x", "y"))
    values = values.clamp(x[0], x[-1]).contiguous()
    right = torch.searchsorted(x, values).clamp(1, len(x) - 1)
    return torch.lerp(y[right - 1], y[right], (values - x[right - 1]) / (x[right] - x[right - 1]))


def _required_fields(name: str, value: Any, names: tuple[str, str]) -> tuple[Any, Any]:
    if not isinstance(value, dict) or not set(names) <= value.keys():
        raise ValueError(f"{name} needs {' and '.join(map(repr, names))}, got {value!r:.100}.")
    return value[names[0]], value[names[1]]
