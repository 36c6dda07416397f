"""
Fits post-hoc calibration to a checkpoint's answers on a split kept for it, and saves it with the checkpoint.

```bash
python -m evaluation.posthoc --model checkpoints/clue-urn-tiny --dataset umui --dataset-config urn-text \
    --method temperature isotonic conformal --output-dir runs/calibrated
```

The model and the pipeline apply it, unless told `calibrated=False`. What each method promises, and what it did on the
urn world, is in `evaluation/posthoc.md`.
"""

import argparse
import json
import shutil
import sys
from datetime import UTC, datetime
from math import ceil, exp, log
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from sklearn.isotonic import IsotonicRegression
from torch.nn.functional import binary_cross_entropy
from tqdm.auto import tqdm
from transformers import AutoModel, AutoProcessor

from common.cli import ArgumentParser, in_words, positive
from common.digests import digest, weights_digest
from common.files import replacing, write_text
from evaluation.data import load_rows, premise_keys
from evaluation.metrics.uncertain_inference.measures import measure
from evaluation.predict import make_batches
from evaluation.predictors.choose import find_checkpoint
from modeling_clue.confidence import bin_values, central_interval, expectation
from modeling_clue.conversion import load_whole, read
from modeling_clue.posthoc import (
    PARTS,
    calibrated_distribution,
    calibrated_probability,
    check_calibration,
    conformal_interval,
    conformal_scale,
)


# Temperatures that are tried lie between the inverse of this and this.
MAX_TEMPERATURE = 20.0


def main(arguments: list[str] | None = None) -> Path:
    """Runs the command line; returns the folder of the calibrated checkpoint."""
    args = parse(arguments)
    checkpoint = find_checkpoint(args.model)
    out = None if args.output_dir is None else Path(args.output_dir)
    if out is not None and out.exists():
        raise FileExistsError(f"{out} exists already: remove it, or write elsewhere with --output-dir.")
    if (checkpoint / "modeling_clue.py").exists() and not (checkpoint / "posthoc.py").exists():
        raise ValueError(
            f"The code in {checkpoint} is older than calibration and would ignore it: load the checkpoint with "
            "`CLUEForConfidenceEstimation` and save it anew."
        )
    rows = load_rows(args.dataset, args.dataset_config, args.split)
    keys = premise_keys(rows)
    logits = confidence_logits(checkpoint, rows, keys, args.batch_size)
    calibration = fit(logits, np.array(rows["probability"][:]), keys, args.method, args.coverage)
    calibration["fitted"] = {
        "weights": weights_digest(checkpoint),
        "dataset": Path(args.dataset).name,
        "config": args.dataset_config,
        "split": args.split,
        "n": len(rows),
        "premises": len(set(keys)),
        "date": datetime.now(UTC).date().isoformat(),
        "command": ["python", "-m", "evaluation.posthoc", *(sys.argv[1:] if arguments is None else arguments)],
    }
    out = save(calibration, checkpoint, out)
    if args.compare_split is not None:
        rows = load_rows(args.dataset, args.dataset_config, args.compare_split)
        logits = confidence_logits(checkpoint, rows, premise_keys(rows), args.batch_size)
        print(comparison(logits, np.array(rows["probability"][:]), calibration))
    fitted_to = calibration["fitted"]
    summary = {name: calibration[name] for name in ("temperature", "conformal") if name in calibration}
    if "isotonic" in calibration:
        summary["isotonic"] = f"{len(calibration['isotonic']['x'])} points"
    print(f"{out}: calibrated on {fitted_to['n']} rows about {fitted_to['premises']} premises: {json.dumps(summary)}")
    return out


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ArgumentParser(
        prog="python -m evaluation.posthoc", description="Fit post-hoc calibration and save it with a checkpoint."
    )
    parser.add_argument("--model", required=True, help="folder of the checkpoint, or its name on the Hub")
    parser.add_argument("--dataset", required=True, help="folder of the dataset, or its name on the Hub")
    parser.add_argument("--dataset-config", required=True, help="configuration of the dataset, such as urn-audio")
    parser.add_argument("--split", default="validation", help="split to fit to (default: validation)")
    parser.add_argument("--method", nargs="+", choices=PARTS, required=True, help="one or more, fitted in this order")
    parser.add_argument("--coverage", type=float, default=0.9, help="of the conformal intervals (default: 0.9)")
    parser.add_argument("--batch-size", type=positive, default=8, help="premises scored together (default: 8)")
    parser.add_argument("--compare-split", help="split to print measures on, with and without, such as test")
    parser.add_argument("--output-dir", help="folder for the calibrated copy (default: --model itself is calibrated)")
    args = parser.parse_args(arguments)
    if not 0 < args.coverage < 1:
        parser.error("--coverage must lie strictly between 0 and 1")
    if args.output_dir is None and not Path(args.model).is_dir():
        parser.error("--model is no folder to calibrate in place: give --output-dir")
    return args


@torch.inference_mode()
def confidence_logits(checkpoint: Path, rows: Dataset, keys: list[str], batch_size: int) -> torch.Tensor:
    """
    The checkpoint's own logits for every row; no calibration it may have already changes them.

    Args:
        checkpoint (`Path`): Folder of a CLUE checkpoint.
        rows (`datasets.Dataset`): Rows as `evaluation.data.load_rows` gives them.
        keys (`list[str]`): The premise of each row.
        batch_size (`int`): Premises scored together.

    Returns:
        `torch.Tensor` of shape `(n, num_bins)`: float32, in the order of the rows.

    Raises:
        `ValueError`: if a logit is not a finite number.
    """
    processor = read(AutoProcessor, checkpoint, trust_remote_code=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_whole(AutoModel, checkpoint, trust_remote_code=True).to(device).eval()
    logits = torch.empty(len(rows), model.config.num_bins)
    for batch in tqdm(make_batches(list(range(len(rows))), keys, batch_size), unit="batches"):
        chosen = [[rows[index] for index in group] for group in batch]
        inputs = processor([group[0] for group in chosen], [[row["hypothesis"] for row in group] for group in chosen])
        output = model(**inputs.to(device), calibrated=False)
        logits[[index for group in batch for index in group]] = output.logits.float().cpu()
    wrong = (~logits.isfinite().all(-1)).nonzero()
    if len(wrong):
        raise ValueError(f"The logits of row {rows[int(wrong[0])]['id']} are not finite: look at the model's weights.")
    return logits


def fit(logits: torch.Tensor, targets: ArrayLike, keys: list[str], methods: list[str], coverage: float = 0.9) -> dict:
    """
    Fits temperature, then the isotonic map, then the conformal quantile, as far as they are asked for.

    A conformal quantile keeps its promise only on premises that nothing else was fitted to: with another method
    beside it, half of the premises are for that one and half for the quantile.

    Args:
        logits (`torch.Tensor` of shape `(n, num_bins)`): Confidence logits.
        targets (`np.ndarray` of shape `(n,)`): Human or exact probabilities.
        keys (`list[str]`): The premise of each row.
        methods (`list[str]`): Any of `modeling_clue.posthoc.PARTS`.
        coverage (`float`): Of the conformal intervals.

    Returns:
        `dict`: as `modeling_clue.posthoc` describes it.

    Raises:
        `ValueError`: if there are no rows or too few premises, or no temperature within bounds is the best.
    """
    targets, keys = np.asarray(targets, dtype=float), np.asarray(keys)
    if not len(keys):
        raise ValueError("There are no rows to fit to: the split is empty.")
    mapped = np.ones(len(keys), dtype=bool)
    widened = mapped
    if "conformal" in methods and len(set(methods)) > 1:
        premises = sorted(set(keys.tolist()), key=digest)  # an order that has nothing to do with what they are
        mapped = np.isin(keys, premises[: len(premises) // 2])
        widened = ~mapped
    if not mapped.any():
        raise ValueError("One premise cannot be halved between a conformal quantile and another method.")
    calibration = {}
    if "temperature" in methods:
        calibration["temperature"] = fit_temperature(logits[mapped], targets[mapped])
    distributions = calibrated_distribution(logits, calibration)
    if "isotonic" in methods:
        calibration["isotonic"] = fit_isotonic(expectation(distributions)[mapped].numpy(), targets[mapped])
    if "conformal" in methods:
        probabilities = calibrated_probability(distributions, calibration).double().numpy()
        scores = (np.abs(probabilities - targets) / conformal_scale(distributions).double().numpy())[widened]
        quantile = conformal_quantile(scores, keys[widened], coverage)
        calibration["conformal"] = {"coverage": coverage, "quantile": quantile}
    check_calibration(calibration)
    return calibration


def crps(distributions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """
    Continuous ranked probability score of distributions over bins: E|X - y| - E|X - X'| / 2.

    Args:
        distributions (`torch.Tensor` of shape `(n, num_bins)`): Predicted distributions.
        targets (`torch.Tensor` of shape `(n,)`): What came true.

    Returns:
        `torch.Tensor` of shape `(n,)`: float64, 0 at best.
    """
    distributions = distributions.double()
    bins = bin_values(distributions.shape[-1]).double()
    distance = (distributions * (bins - targets.double()[:, None]).abs()).sum(-1)
    below = distributions.cumsum(-1)
    return distance - (below * (1 - below)).sum(-1) / (len(bins) - 1)


def fit_temperature(logits: torch.Tensor, targets: ArrayLike) -> float:
    """
    The temperature of least cross-entropy between the targets, as soft labels, and the expectations.

    So it serves the probability that is reported. Scores of the whole distribution, CRPS or the likelihood of bins,
    take the target for something that was drawn from it: to them the width that training asks for is an error, and
    for a model that knows the answer they have no least value above 0 (see `posthoc.md`).

    Args:
        logits (`torch.Tensor` of shape `(n, num_bins)`): Confidence logits.
        targets (`np.ndarray` of shape `(n,)`): Human or exact probabilities.

    Returns:
        `float`: the temperature.

    Raises:
        `ValueError`: if the best lies at the end of what is tried.
    """
    targets = torch.as_tensor(targets, dtype=torch.float64)

    def cross_entropy(log_temperature: float) -> float:
        distributions = calibrated_distribution(logits, {"temperature": exp(log_temperature)})
        # As far from 0 and 1 as float32 can tell: a target of exactly 0 or 1 must not cost infinity.
        probabilities = expectation(distributions).double().clamp(1e-7, 1 - 1e-7)
        return float(binary_cross_entropy(probabilities, targets))

    limit = log(MAX_TEMPERATURE)
    found = minimize_scalar(cross_entropy, bounds=(-limit, limit), method="bounded", options={"xatol": 1e-4})
    if abs(found.x) > limit - 0.01:
        means = "say next to nothing about these targets" if found.x > 0 else "are too faint for these targets"
        raise ValueError(
            f"The best temperature lies beyond {exp(found.x):.3g}, the last that is tried: the logits {means}. Look "
            "at the model, or leave the method out."
        )
    return exp(found.x)


def fit_isotonic(predictions: ArrayLike, targets: ArrayLike) -> dict[str, list[float]]:
    """
    The rising map of least squared error from predictions to targets, by the points it goes through.

    Raises:
        `ValueError`: if the predictions are all equal.
    """
    # In float32, in which the points are applied; a sum may pass 1 by a rounding.
    predictions = np.asarray(predictions, dtype=np.float32).clip(0, 1).astype(float)
    regression = IsotonicRegression(y_min=0, y_max=1, increasing=True, out_of_bounds="clip").fit(predictions, targets)
    if len(regression.X_thresholds_) < 2:
        raise ValueError(f"All {len(predictions)} predictions are {predictions[0]:.4g}: there is nothing to map.")
    return {"x": regression.X_thresholds_.tolist(), "y": regression.y_thresholds_.tolist()}


def conformal_quantile(scores: ArrayLike, keys: ArrayLike, coverage: float) -> float:
    """
    The split-conformal quantile for hypotheses that share premises.

    Hypotheses of one premise are not exchangeable with those of others, premises are. So each of K premises has the
    weight 1 / (K + 1), shared by its hypotheses, and the last 1 / (K + 1) is the new premise's (hierarchical
    conformal prediction: Lee, Barber and Willett, 2023). With a hypothesis a premise it is the usual
    ceil((n + 1) * coverage)-th smallest score.

    Args:
        scores (`np.ndarray` of shape `(n,)`): How far each target lies from its prediction, in scales.
        keys (`np.ndarray` of shape `(n,)`): The premise of each.
        coverage (`float`): In (0, 1).

    Returns:
        `float`: how far the intervals reach.

    Raises:
        `ValueError`: if there are too few premises for the coverage, naming how many it takes.
    """
    scores = np.asarray(scores, dtype=float)
    _, premise, counts = np.unique(np.asarray(keys), return_inverse=True, return_counts=True)
    needed = ceil(round(coverage / (1 - coverage), 9))
    if len(counts) < needed:
        raise ValueError(f"A coverage of {coverage} takes {needed} premises to fit to, there are {len(counts)}.")
    order = scores.argsort(kind="stable")
    mass = (1 / counts[premise])[order].cumsum() / (len(counts) + 1)
    return float(scores[order][min(np.searchsorted(mass, coverage - 1e-9), len(scores) - 1)])


def comparison(logits: torch.Tensor, targets: ArrayLike, calibration: dict) -> str:
    """
    Measures of a split without the calibration and with it, as a table in Markdown.

    Args:
        logits (`torch.Tensor` of shape `(n, num_bins)`): Confidence logits.
        targets (`np.ndarray` of shape `(n,)`): Human or exact probabilities.
        calibration (`dict`): As `fit` gives it.

    Returns:
        `str`: the table; coverage and mean width are those of the distribution's own central interval, of the
        calibration's coverage if it has one, and then of the conformal interval.
    """
    targets = np.asarray(targets, dtype=float)
    mass = calibration["conformal"]["coverage"] if "conformal" in calibration else 0.9

    def covered(intervals: torch.Tensor) -> str:
        low, high = intervals.double().numpy().T
        # A bin in float32 is not the number it stands for to the last digit.
        inside = (low - 1e-6 <= targets) & (targets <= high + 1e-6)
        return f"{inside.mean():.3f} / {(high - low).mean():.3f}"

    table = [
        f"| | MSE | ECE | CRPS | own {mass} interval: coverage / width | conformal: coverage / width |",
        "|---|---|---|---|---|---|",
    ]
    for name, applied in (("raw", {}), ("calibrated", calibration)):
        distributions = calibrated_distribution(logits, applied)
        probabilities = calibrated_probability(distributions, applied).double().numpy().clip(0, 1)
        mse = np.mean((probabilities - targets) ** 2)
        ece = measure(probabilities, targets, None, resamples=0)["ece"]["value"]
        score = crps(distributions, torch.as_tensor(targets)).mean()
        own = covered(central_interval(distributions, mass))
        conformal = covered(conformal_interval(distributions, applied)) if "conformal" in applied else "-"
        table.append(f"| {name} | {mse:.2e} | {ece:.4f} | {score:.4f} | {own} | {conformal} |")
    return "\n".join(table)


def save(calibration: dict, checkpoint: Path, out: Path | None) -> Path:
    """
    Writes a calibration into `config.json`, of the checkpoint itself or of a copy, which appears when it is complete.

    Args:
        calibration (`dict`): As `fit` gives it.
        checkpoint (`Path`): Folder of the checkpoint.
        out (`Path`, *optional*): Folder of the copy, which does not exist yet.

    Returns:
        `Path`: the folder written to.
    """
    if out is not None:
        with replacing(out) as folder:
            shutil.copytree(checkpoint, folder)
            save(calibration, folder, None)
        return out
    config = json.loads((checkpoint / "config.json").read_text())
    config["calibration"] = calibration
    write_text(checkpoint / "config.json", json.dumps(config, indent=2, sort_keys=True) + "\n")
    return checkpoint


if __name__ == "__main__":
    with in_words():
        main()
