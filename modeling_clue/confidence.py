# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Defines confidence bins, training targets and statistics of a distribution: pure functions on tensors.

A probability in [0, 1] is represented by a distribution over `N` confidence bins with the values
`b_i = i / (N - 1)` (section 3.2 of the paper). Everything here computes in float32, whatever the model's dtype.
"""

import torch
import torch.nn.functional as F


TARGETS = ("gaussian", "mean_preserving", "mse")


def bin_values(num_bins: int, device: torch.device | str | None = None) -> torch.Tensor:
    """Returns the probability that each confidence bin stands for, `f(b_i)` of equation 1.

    Returns:
        `torch.Tensor` of shape `(num_bins,)`: float32, evenly spaced from 0 to 1.
    """
    return torch.linspace(0.0, 1.0, num_bins, device=device, dtype=torch.float32)


def _check_labels(labels: torch.Tensor) -> torch.Tensor:
    labels = labels.float()
    wrong = ~((labels >= 0) & (labels <= 1))  # NaN fails both comparisons
    if bool(wrong.any()):
        index = int(wrong.nonzero()[0])
        raise ValueError(f"Target probabilities must lie in [0, 1], got {labels[index]:.4g} at index {index}.")
    return labels


def _gaussian_logits(labels: torch.Tensor, num_bins: int, sigma: float) -> torch.Tensor:
    labels = _check_labels(labels)
    distance = bin_values(num_bins, labels.device) - labels.unsqueeze(-1)
    return -0.5 * (distance / sigma) ** 2


def gaussian_target(labels: torch.Tensor, num_bins: int, sigma: float) -> torch.Tensor:
    """Returns the paper's target: `N(y, sigma^2)` on the grid of bins, renormalised (section 3.2).

    Cut off at 0 and 1, it is biased there: with 100 bins and sigma 0.05 its mean is 0.037 for `y = 0`. Kept for
    parity and as an ablation; see [`mean_preserving_target`] for the arguments.
    """
    return _gaussian_logits(labels, num_bins, sigma).softmax(-1)


def mean_preserving_target(labels: torch.Tensor, num_bins: int, sigma: float, iterations: int = 60) -> torch.Tensor:
    """Tilts the paper's Gaussian by `exp(lambda * b_i)` so that its mean is exactly the label.

    Among all distributions with mean `y` it is the closest in KL divergence to the Gaussian. The mean grows with
    lambda, so bisection finds it. The bins end at 0 and 1, where only a point mass has the right mean.

    Args:
        labels (`torch.Tensor` of shape `(H,)`): target probabilities in [0, 1].
        num_bins (`int`): number of confidence bins.
        sigma (`float`): standard deviation of the Gaussian before it is tilted, in units of probability.
        iterations (`int`): halvings of the bracket for lambda; 60 exhaust float64.

    Returns:
        `torch.Tensor` of shape `(H, num_bins)`: float32, each row sums to 1 and has the mean `labels`.

    Raises:
        ValueError: if a label lies outside [0, 1] or is not a number.
    """
    device = labels.device if labels.device.type != "mps" else torch.device("cpu")  # MPS has no float64
    # Labels repeat: each is solved for once.
    values, places = _check_labels(labels).to(device).unique(return_inverse=True)
    logits = _gaussian_logits(values, num_bins, sigma).double()
    bins = bin_values(num_bins, device).double()
    mean = values.double().unsqueeze(-1)
    # A tilt of 745 between neighbouring bins underflows exp() in float64: beyond it the mass sits in one bin.
    step = 745.0 * (num_bins - 1) + 1.0 / sigma**2
    tilt = torch.zeros_like(mean)
    for _ in range(iterations):
        step /= 2
        # In float64, which autocast leaves as it is.
        too_low = (logits + tilt * bins).softmax(-1) @ bins[:, None] < mean
        tilt += torch.where(too_low, step, -step)
    target = (logits + tilt * bins).softmax(-1)[places]
    return target.float().to(labels.device)


def target_distribution(kind: str, labels: torch.Tensor, num_bins: int, sigma: float) -> torch.Tensor:
    """Returns the target of the given kind, `"gaussian"` or `"mean_preserving"`: `(H,)` -> `(H, num_bins)`.

    Raises:
        ValueError: for any other kind.
    """
    if kind == "gaussian":
        return gaussian_target(labels, num_bins, sigma)
    if kind == "mean_preserving":
        return mean_preserving_target(labels, num_bins, sigma)
    raise ValueError(f"Unknown target distribution {kind!r}: choose 'gaussian' or 'mean_preserving'.")


def confidence_loss(logits: torch.Tensor, labels: torch.Tensor, kind: str, sigma: float) -> torch.Tensor:
    """Computes KL(Q || P) to the target (section 3.2), or the squared error of the mean, of each hypothesis.

    Args:
        logits (`torch.Tensor` of shape `(H, N)`): scores of the confidence bins.
        labels (`torch.Tensor` of shape `(H,)`): target probabilities in [0, 1].
        kind (`str`): `"gaussian"`, `"mean_preserving"` or, as an ablation, `"mse"` on the expectation.
        sigma (`float`): width of the target, in units of probability; not used by `"mse"`.

    Returns:
        `torch.Tensor` of shape `(H,)`: float32, not reduced.

    Raises:
        ValueError: if a label lies outside [0, 1] or is not a number, or for any other kind.
    """
    logits = logits.float()
    if kind == "mse":
        return (expectation(logits.softmax(-1)) - _check_labels(labels)) ** 2
    target = target_distribution(kind, labels, logits.shape[-1], sigma)
    return F.kl_div(logits.log_softmax(-1), target, reduction="none").sum(-1)


def expectation(distribution: torch.Tensor) -> torch.Tensor:
    """Returns the probability of each hypothesis (equation 1), `(H, N)` -> `(H,)`, float32."""
    # Not a matrix product: that would be rounded to bfloat16 under autocast.
    return (distribution.float() * bin_values(distribution.shape[-1], distribution.device)).sum(-1)


def standard_deviation(distribution: torch.Tensor) -> torch.Tensor:
    """Returns the standard deviation of each distribution, `(H, N)` -> `(H,)`, float32, in units of probability."""
    distance = bin_values(distribution.shape[-1], distribution.device) - expectation(distribution).unsqueeze(-1)
    return (distribution.float() * distance**2).sum(-1).sqrt()


def central_interval(distribution: torch.Tensor, mass: float = 0.9) -> torch.Tensor:
    """Returns the interval that leaves `(1 - mass) / 2` of the distribution on either side.

    Args:
        distribution (`torch.Tensor` of shape `(H, N)`): probabilities of the confidence bins.
        mass (`float`): share of the distribution inside, in (0, 1).

    Returns:
        `torch.Tensor` of shape `(H, 2)`: lower and upper end, both bin values, so that the mass between them
        (ends included) is at least `mass`.

    Raises:
        ValueError: if `mass` does not lie strictly between 0 and 1.
    """
    if not 0 < mass < 1:
        raise ValueError(f"The mass of an interval must lie strictly between 0 and 1, got {mass}.")
    cumulative = distribution.double().cumsum(-1)
    cumulative = cumulative / cumulative[..., -1:]
    tails = cumulative.new_tensor([(1 - mass) / 2, (1 + mass) / 2]).expand(*cumulative.shape[:-1], 2).contiguous()
    index = torch.searchsorted(cumulative.contiguous(), tails).clamp(max=distribution.shape[-1] - 1)
    return bin_values(distribution.shape[-1], distribution.device)[index]
