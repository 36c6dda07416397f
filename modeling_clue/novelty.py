# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Tells how far a premise and a hypothesis lie outside of what a checkpoint was fitted to, and answers accordingly:
the novelty part of a calibration.

What is looked at is what the language model is given: embeddings of words, projected sound and frames, averaged over
the premise, and over the hypothesis. The distance of a mean from those of a validation split is Mahalanobis', along
the directions in which these differ most and, with one variance for all of them, along the others (Tipping and Bishop,
1999; Lee et al., *A simple unified framework for detecting out-of-distribution samples*, 2018). The part is

- `premise`, `hypothesis` (`float`, one of them *optional*): the largest distance that counts as known;
- `share` (`float`, *optional*): the share of premises like those fitted to that may lie beyond, for information only.

Means, directions and variances are tensors, in `novelty.safetensors` beside the weights. Novelty is 0 up to the
limit and rises smoothly to 1 at twice the limit, that of the premise or of the hypothesis, whichever is larger: what
lies a little beyond the limit by chance loses next to nothing. Without a limit of the hypothesis any wording is
known. The distribution is mixed with the uniform one by that share, the probability moves as far towards 0.5, and a
conformal interval towards [0, 1], so that it only ever gets wider. An order of words is not seen, nor what contradicts
itself in known words.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers.utils import cached_file

from .automation import is_number
from .modalities import MODALITIES


NOVELTY_FILE = "novelty.safetensors"
SIDES = ("premise", "hypothesis")
FIELDS = ("mean", "directions", "variances")
# Prefix of the names of tensors that are for all premises, where those of a modality have its name.
FOR_ALL = "all"
HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")


def check_novelty(part: Any, name: str) -> None:
    """Checks that a novelty part can be applied, its tensors apart.

    Args:
        part (`dict`): see the top of this file.
        name (`str`): of the calibration it is in, for errors.

    Raises:
        ValueError: naming the field and what is wrong with it.
    """
    if not isinstance(part, dict) or not sides_of(part):
        raise ValueError(f"The novelty part of {name} needs {', '.join(SIDES)} or both, got {part!r:.100}.")
    for side in sides_of(part):
        limit = part[side]
        if not (is_number(limit) and limit > 0):
            raise ValueError(f"The limit of the {side} in the novelty part of {name} must be positive, got {limit!r}.")


def sides_of(part: dict[str, Any]) -> list[str]:
    """Returns which of premise and hypothesis a novelty part has a limit of."""
    return [side for side in SIDES if side in part]


def novelty_parts(calibration: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Returns the novelty parts of a calibration by modality, or the one for `"all"`; empty without one."""
    calibration = calibration or {}
    if "novelty" in calibration:
        return {FOR_ALL: calibration["novelty"]}
    parts = {name: calibration.get(name) or {} for name in MODALITIES}
    return {name: part["novelty"] for name, part in parts.items() if "novelty" in part}


def without_novelty(calibration: dict[str, Any] | None) -> dict[str, Any] | None:
    """Returns a calibration for answers whose novelty can't be told, or `None` if nothing is left.

    An automation part beside a novelty part is left out too: it was certified for answers that are not novel.
    """
    parts = novelty_parts(calibration)
    if not parts:
        return calibration
    if FOR_ALL in parts:
        kept = {name: part for name, part in calibration.items() if name not in ("novelty", "automation")}
        return kept if kept.keys() - {"fitted"} else None
    kept = {name: without_novelty(parts) for name, parts in calibration.items()}
    return {name: parts for name, parts in kept.items() if parts is not None} or None


def input_means(embeds: torch.Tensor, branch_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Averages the inputs of the language model over each premise and each hypothesis.

    Args:
        embeds (`torch.Tensor` of shape `(batch_size, sequence_length, hidden_size)`): the inputs.
        branch_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): -1 padding, 0 premise, k for
            hypothesis k.

    Returns:
        `tuple`: means of premises, `(batch_size, hidden_size)`, and of hypotheses, `(H, hidden_size)`, row by row;
        float32. A row without a token of its premise has zeros there.
    """
    premises, hypotheses = [], []
    with torch.autocast(embeds.device.type, enabled=False):
        for row, branches in zip(embeds, branch_ids, strict=True):
            numbers = torch.cat((branches.new_zeros(1), branches[branches > 0].unique()))
            member = (branches == numbers[:, None]).float()
            means = member @ row.float() / member.sum(dim=1, keepdim=True).clamp(min=1)
            premises.append(means[0])
            hypotheses.append(means[1:])
    return torch.stack(premises), torch.cat(hypotheses)


def distances(means: torch.Tensor, region: dict[str, torch.Tensor]) -> torch.Tensor:
    """Returns Mahalanobis' distance of means from those a region was fitted to, `(n, hidden_size)` -> `(n,)`, float32.

    Args:
        means (`torch.Tensor` of shape `(n, hidden_size)`): as [`input_means`] returns them.
        region (`dict[str, torch.Tensor]`): `mean` `(hidden_size,)`; K orthonormal `directions` `(K, hidden_size)`; and
            `variances` `(K + 1,)`, along each of them and, the last one, along any other.
    """
    mean, directions, variances = (region[name].to(means.device) for name in FIELDS)
    with torch.autocast(means.device.type, enabled=False):
        offset = means.float() - mean
        along = offset @ directions.T
        # What is left may be less than nothing by a rounding.
        rest = ((offset**2).sum(-1) - (along**2).sum(-1)).clamp(min=0)
        return ((along**2 / variances[:-1]).sum(-1) + rest / variances[-1]).sqrt()


def novelty_of(
    premises: torch.Tensor,
    hypotheses: torch.Tensor,
    counts: list[int],
    modalities: list[str],
    calibration: dict[str, Any],
    tensors: dict[str, torch.Tensor] | None,
) -> torch.Tensor:
    """Returns how novel each hypothesis, or its premise, is, from 0 to 1: `(H,)`, float32.

    Args:
        premises (`torch.Tensor` of shape `(batch_size, hidden_size)`), hypotheses (`torch.Tensor` of shape
            `(H, hidden_size)`): as [`input_means`] returns them.
        counts (`list[int]`): hypotheses of each premise.
        modalities (`list[str]`): of each premise. It is 0 where the calibration has no novelty part for it.
        calibration (`dict`): of the checkpoint, see `posthoc.py`.
        tensors (`dict[str, torch.Tensor]`): as [`read_novelty`] returns them.

    Raises:
        ValueError: if there are no tensors.
    """
    if tensors is None:
        raise ValueError(
            f"The calibration of this model needs {NOVELTY_FILE}, which `from_pretrained` reads from the checkpoint's "
            "folder: load the model so, or ask it with `calibrated=False`."
        )
    parts, found = novelty_parts(calibration), []
    for premise, claims, modality in zip(premises, hypotheses.split(counts), modalities, strict=True):
        scope = FOR_ALL if FOR_ALL in parts else modality
        limits, far = parts.get(scope, {}), claims.new_zeros(len(claims))
        for side, means in zip(SIDES, (premise[None], claims), strict=True):
            if side in limits:
                far = torch.maximum(far, distances(means, region_of(tensors, scope, side)) / limits[side])
        beyond = (far - 1).clamp(0, 1)
        found.append(beyond**2 * (3 - 2 * beyond))
    return torch.cat(found)


def flatten_distribution(distribution: torch.Tensor, novelty: torch.Tensor) -> torch.Tensor:
    """Mixes distributions with the uniform one by the share of novelty, `(H, N)`, `(H,)` -> `(H, N)`."""
    return torch.lerp(distribution, distribution.new_full((), 1 / distribution.shape[-1]), novelty[:, None])


def withdraw_probability(probability: torch.Tensor, novelty: torch.Tensor) -> torch.Tensor:
    """Moves probabilities towards 0.5 by the share of novelty, `(H,)`, `(H,)` -> `(H,)`."""
    return torch.lerp(probability, probability.new_full((), 0.5), novelty)


def widen_interval(interval: torch.Tensor, novelty: torch.Tensor) -> torch.Tensor:
    """Moves the ends of intervals towards 0 and 1 by the share of novelty, `(H, 2)`, `(H,)` -> `(H, 2)`.

    So it holds the interval that it was, and its coverage can only rise.
    """
    return torch.lerp(interval, interval.new_tensor([0.0, 1.0]), novelty[:, None])


def region_of(tensors: dict[str, torch.Tensor], scope: str, side: str) -> dict[str, torch.Tensor]:
    """Returns mean, directions and variances of a modality, or of all premises, and a side."""
    return {name: tensors[f"{scope}.{side}.{name}"] for name in FIELDS}


def check_tensors(
    tensors: dict[str, torch.Tensor], parts: dict[str, dict[str, Any]], hidden_size: int, label: str
) -> None:
    """Checks that tensors fit a calibration and a model.

    Args:
        tensors (`dict[str, torch.Tensor]`): by name.
        parts (`dict[str, dict]`): as [`novelty_parts`] returns them.
        hidden_size (`int`): of the language model.
        label (`str`): of their file, for errors.

    Raises:
        ValueError: naming the file, the tensor and what is wrong with it.
    """
    for scope, part in parts.items():
        for side in sides_of(part):
            names = [f"{scope}.{side}.{name}" for name in FIELDS]
            missing = [name for name in names if name not in tensors]
            if missing:
                raise ValueError(f"{label} lacks {', '.join(missing)}, which the calibration needs: fit it anew.")
            mean, directions, variances = (tensors[name] for name in names)
            shapes = [tuple(tensor.shape) for tensor in (mean, directions, variances)]
            number = len(directions)
            if shapes != [(hidden_size,), (number, hidden_size), (number + 1,)]:
                raise ValueError(
                    f"{label} has tensors of shapes {shapes} for {scope} {side}, this model takes {hidden_size}, "
                    f"K x {hidden_size} and K + 1 numbers: it was fitted to another model."
                )
            for name in names:
                if tensors[name].dtype != torch.float32 or not bool(tensors[name].isfinite().all()):
                    raise ValueError(f"{name} in {label} must be finite numbers in float32.")
            if not bool((variances > 0).all()):
                raise ValueError(f"{names[2]} in {label} must be positive.")


def read_novelty(
    source: str | Path, calibration: dict[str, Any] | None, hidden_size: int, **hub: Any
) -> dict[str, torch.Tensor] | None:
    """Reads the tensors that a calibration needs, from a folder or a Hub repository.

    Args:
        source (`str` or `Path`): folder or Hub repository of the checkpoint or adapter.
        calibration (`dict`, *optional*): that was saved there.
        hidden_size (`int`): of the language model.
        **hub: options of `from_pretrained` about the Hub; others are ignored.

    Returns:
        `dict[str, torch.Tensor]`: on the CPU, or `None` if none are needed.

    Raises:
        OSError: if there is no such file.
        ValueError: if it can't be read, or does not fit.
    """
    parts = novelty_parts(calibration)
    if not parts:
        return None
    path = cached_file(source, NOVELTY_FILE, **{name: value for name, value in hub.items() if name in HUB_OPTIONS})
    label = f"'{Path(source)}/{NOVELTY_FILE}'"
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{label} can't be read: {error}") from error
    check_tensors(tensors, parts, hidden_size, label)
    return tensors


def write_novelty(
    tensors: dict[str, torch.Tensor] | None, calibration: dict[str, Any] | None, folder: str | Path
) -> None:
    """Writes the tensors that a calibration needs into a folder; removes those there if it needs none."""
    parts, path = novelty_parts(calibration), Path(folder, NOVELTY_FILE)
    if not parts:
        path.unlink(missing_ok=True)
        return
    kept = {
        f"{scope}.{side}.{name}": tensor.detach().cpu().contiguous()
        for scope, part in parts.items()
        for side in sides_of(part)
        for name, tensor in region_of(tensors, scope, side).items()
    }
    partial = path.with_name(f"{path.name}.partial")
    save_file(kept, partial, metadata={"format": "pt"})
    partial.replace(path)
