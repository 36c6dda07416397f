"""
Fits post-hoc calibration to a checkpoint's answers on a split kept for it, and saves it with the checkpoint.

```bash
python -m evaluation.posthoc --model checkpoints/clue-urn-tiny --dataset umui --dataset-config urn-text \
    --method temperature isotonic conformal --output-dir runs/calibrated
```

`--method automation` certifies which answers can be used alone: of those at most the share `--error-rate` is wrong,
with `--confidence`. `--method novelty` finds what counts as known: answers about other premises, or to other
hypotheses, are given up the more the further these lie from it. The model and the pipeline apply a calibration, unless
told `calibrated=False`. It is for all premises or, with `--by-modality`, for those of the rows' modality alone, beside
what was fitted for others. Where the model is passed on as an adapter, `--adapter` writes it there too, for
`python -m modeling_clue.conversion apply`. What each method promises, and what it did on the urn world, is in
`evaluation/posthoc.md`.
"""

import argparse
import json
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from numpy.typing import ArrayLike
from tqdm.auto import tqdm
from transformers import AutoConfig

from common.cli import ArgumentParser, exit_on_error, positive_int
from common.digests import weights_digest
from common.files import replacing, write_text
from common.hub import find_checkpoint
from evaluation.automation import Promise, acted_on, decision_errors, premise_means
from evaluation.calibration import crps, fit, split_rows
from evaluation.data import load_rows, premise_keys
from evaluation.metrics.uncertain_inference.measures import measure
from evaluation.novelty import FittedNovelty, Inputs, fit_novelty
from evaluation.predict import make_batches
from evaluation.predictors.checkpoints import CLUEPredictor
from modeling_clue.adapter import CALIBRATION
from modeling_clue.automation import ERRORS
from modeling_clue.checkpoint_parts import read
from modeling_clue.confidence import central_interval
from modeling_clue.modalities import TABLE
from modeling_clue.novelty import (
    SIDES,
    flatten_distribution,
    input_means,
    read_novelty,
    widen_interval,
    withdraw_probability,
    write_novelty,
)
from modeling_clue.posthoc import (
    PARTS,
    calibrated_distribution,
    calibrated_probability,
    conformal_interval,
    is_by_modality,
)


def main(arguments: list[str] | None = None) -> Path:
    """Runs the command line; returns the folder of the calibrated checkpoint."""
    args = parse(arguments)
    checkpoint = find_checkpoint(args.model)
    out = None if args.output_dir is None else Path(args.output_dir)
    if out is not None and out.exists():
        raise FileExistsError(f"{out} exists already: remove it, or write elsewhere with --output-dir.")
    if args.adapter is not None and not (args.adapter / "adapter_config.json").is_file():
        raise FileNotFoundError(f"{args.adapter} has no adapter_config.json: give --adapter the folder of an adapter.")
    for method in ("automation", "novelty"):
        if method in args.method and (checkpoint / "modeling_clue.py").exists():
            check_code(checkpoint, method)
    before = calibration_by_modality(checkpoint) if args.by_modality else {}
    kept = read_novelty(checkpoint, before, hidden_size(checkpoint)) or {}
    splits = {
        split: concatenate_datasets([load_rows(args.dataset, config, split) for config in args.dataset_config])
        for split in (args.split, args.compare_split)
        if split
    }
    modality = only_modality(splits) if args.by_modality else None
    promise = Promise(args.error_rate, args.confidence, args.error)
    rows = splits[args.split]
    keys = premise_keys(rows)
    with_inputs = "novelty" in args.method
    logits, inputs = logits_and_inputs(checkpoint, rows, keys, args.batch_size, modality, with_inputs)
    novelty = None
    if with_inputs:
        mapped, _, _ = split_rows(keys, args.method)
        novelty = fit_novelty(
            inputs[mapped], np.array(keys)[mapped], args.novel_share, modality or "all", args.novel_sides
        )
    told = None if novelty is None else (novelty.part, novelty.of(inputs))
    fitted = fit(logits, np.array(rows["probability"][:]), keys, args.method, args.coverage, promise, told)
    fitted["fitted"] = {
        **{"weights": weights_digest(checkpoint), "dataset": Path(args.dataset).name},
        **{"config": " ".join(args.dataset_config), "split": args.split, "n": len(rows), "premises": len(set(keys))},
        "date": datetime.now(UTC).date().isoformat(),
        "command": ["python", "-m", "evaluation.posthoc", *(sys.argv[1:] if arguments is None else arguments)],
    }
    calibration = fitted if modality is None else {**before, modality: fitted}
    tensors = kept | ({} if novelty is None else novelty.tensors)
    out = save(calibration, checkpoint, out, tensors)
    if args.adapter is not None:
        write_novelty(tensors, calibration, args.adapter)
        write_text(args.adapter / CALIBRATION, json.dumps(calibration, indent=2, sort_keys=True) + "\n")
    if args.compare_split is not None:
        rows = splits[args.compare_split]
        keys = premise_keys(rows)
        # The checkpoint itself, which may have been calibrated in its place.
        logits, inputs = logits_and_inputs(checkpoint, rows, keys, args.batch_size, modality, with_inputs)
        values = None if novelty is None else novelty.of(inputs)
        print(comparison(logits, np.array(rows["probability"][:]), fitted, values))
        if "automation" in fitted:
            print(automated(logits, np.array(rows["probability"][:]), keys, fitted, values))
        if novelty is not None:
            print(novel(novelty, values))
    summary = {name: fitted[name] for name in ("temperature", "conformal", "novelty", "automation") if name in fitted}
    if "isotonic" in fitted:
        summary["isotonic"] = f"{len(fitted['isotonic']['x'])} points"
    premises = "all premises" if modality is None else TABLE[modality].many
    print(
        f"{out}: calibrated for {premises} on {len(splits[args.split])} rows about {fitted['fitted']['premises']} "
        f"premises: {json.dumps(summary)}"
    )
    return out


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ArgumentParser(
        prog="python -m evaluation.posthoc", description="Fit post-hoc calibration and save it with a checkpoint."
    )
    parser.add_argument("--model", required=True, help="folder of the checkpoint, or its name on the Hub")
    parser.add_argument("--dataset", required=True, help="folder of the dataset, or its name on the Hub")
    parser.add_argument(
        "--dataset-config",
        "--dataset-configs",
        required=True,
        nargs="+",
        help="config of it, such as urn-audio; the rows of several are taken together",
    )
    parser.add_argument("--split", default="validation", help="split to fit to (default: validation)")
    parser.add_argument("--method", nargs="+", choices=PARTS, required=True, help="one or more, fitted in this order")
    parser.add_argument("--coverage", type=float, default=0.9, help="of the conformal intervals (default: 0.9)")
    parser.add_argument("--error-rate", type=float, default=0.1, help="promised of automation (default: 0.1)")
    parser.add_argument("--confidence", type=float, default=0.95, help="of that promise (default: 0.95)")
    parser.add_argument(
        "--error",
        choices=ERRORS,
        default="truth",
        help="what a wrong decision is: the chance that the hypothesis turns out otherwise if its label is its "
        "probability (truth, the default), or a label on the other side of 0.5 (side)",
    )
    parser.add_argument(
        "--novel-share",
        type=float,
        default=0.001,
        help="of premises like those fitted to, the share that may count as novel to some degree (default: 0.001)",
    )
    parser.add_argument(
        "--novel-sides",
        nargs="+",
        choices=SIDES,
        default=SIDES,
        help="what novelty is about (default: both); with the premise alone any wording of a hypothesis is known",
    )
    parser.add_argument("--batch-size", type=positive_int, default=8, help="premises scored together (default: 8)")
    parser.add_argument(
        "--by-modality",
        action="store_true",
        help="calibrate premises of the rows' modality alone, and keep what was fitted for others",
    )
    parser.add_argument(
        "--adapter",
        type=Path,
        help="folder of the adapter that was merged into --model: the calibration is written there too",
    )
    parser.add_argument("--compare-split", help="split to print measures on, with and without, such as test")
    parser.add_argument("--output-dir", help="folder for the calibrated copy (default: --model itself is calibrated)")
    args = parser.parse_args(arguments)
    for option in ("dataset_config", "novel_sides"):
        if len(set(getattr(args, option))) < len(getattr(args, option)):
            parser.error(f"--{option.replace('_', '-')} names one of them twice")
    for option in ("coverage", "error_rate", "confidence", "novel_share"):
        if not 0 < getattr(args, option) < 1:
            parser.error(f"--{option.replace('_', '-')} must lie strictly between 0 and 1")
    if args.output_dir is None and not Path(args.model).is_dir():
        parser.error("--model is no folder to calibrate in place: give --output-dir")
    return args


def check_code(checkpoint: Path, method: str) -> None:
    """Refuses a checkpoint whose own code does not know a method, and would not load with it."""
    if not (checkpoint / f"{method}.py").exists():
        raise ValueError(
            f"The code in {checkpoint} is older than {method}: load the checkpoint with "
            "`CLUEForConfidenceEstimation` and save it anew."
        )


def hidden_size(checkpoint: Path) -> int:
    """Returns the width of a checkpoint's language model."""
    return read(AutoConfig, checkpoint, trust_remote_code=True).text_config.hidden_size


def calibration_by_modality(checkpoint: Path) -> dict:
    """Returns what a checkpoint has of a calibration by modality; one for all premises is refused."""
    calibration = json.loads((checkpoint / "config.json").read_text()).get("calibration")
    if calibration is not None and not is_by_modality(calibration):
        raise ValueError(
            f"{checkpoint} has a calibration for all premises, beside which there is none by modality: set "
            "`calibration` in its config.json to null first, or leave out --by-modality."
        )
    return calibration or {}


def only_modality(splits: dict[str, Dataset]) -> str:
    """Returns the modality of the rows of all splits, which must be one."""
    modalities = sorted({modality for rows in splits.values() for modality in rows["modality"][:]})
    if len(modalities) != 1:
        raise ValueError(
            f"--by-modality takes rows of one modality, those of {' and '.join(splits)} have "
            f"{', '.join(modalities) or 'none'}: name configs of one with --dataset-config."
        )
    return modalities[0]


def confidence_logits(
    checkpoint: Path, rows: Dataset, keys: list[str], batch_size: int, modality: str | None = None
) -> torch.Tensor:
    """
    Returns the checkpoint's own logits of every row, whatever calibration it has: `(n, num_bins)`, float32.

    With a modality, a row that is judged by another is refused: a clip without the sound that it was said to have.
    """
    return logits_and_inputs(checkpoint, rows, keys, batch_size, modality, with_inputs=False)[0]


@torch.inference_mode()
def logits_and_inputs(
    checkpoint: Path,
    rows: Dataset,
    keys: list[str],
    batch_size: int,
    modality: str | None,
    with_inputs: bool,
) -> tuple[torch.Tensor, Inputs | None]:
    """Returns what [`confidence_logits`] does and, where they are wanted, the means of the language model's inputs."""
    predictor = CLUEPredictor(checkpoint)
    logits = torch.empty(len(rows), predictor.model.config.num_bins)
    found = None
    if with_inputs:
        size = predictor.model.config.text_config.hidden_size
        found = Inputs(torch.empty(len(rows), size), torch.empty(len(rows), size))
    for batch in tqdm(make_batches(list(range(len(rows))), keys, batch_size), unit="batches"):
        for part in predictor.prepare([rows[index] for index in batch]):
            places = [batch[place] for place in part.rows]
            for index, name in zip(places, part.by_row(part.inputs.modalities), strict=True):
                if modality not in (None, name):
                    raise ValueError(f"Row {rows[index]['id']} is judged as {name}, not as {modality}: leave it out.")
            inputs = part.inputs.to(predictor.model.device)
            output = predictor.model(**inputs, calibrated=False, output_hidden_states=with_inputs)
            logits[places] = output.logits.float().cpu()
            if found is not None:
                premises, hypotheses = input_means(output.hidden_states[0], inputs["branch_ids"])
                found.premise[places] = premises[output.premise_index].cpu()
                found.hypothesis[places] = hypotheses.cpu()
    wrong = (~logits.isfinite().all(-1)).nonzero()
    if len(wrong):
        raise ValueError(f"The logits of row {rows[int(wrong[0])]['id']} are not finite: look at the model's weights.")
    return logits, found


def comparison(logits: torch.Tensor, targets: ArrayLike, parts: dict, novelty: torch.Tensor | None = None) -> str:
    """
    Measures a split without the parts of a calibration and with them, as a table in Markdown.

    Coverage and mean width are those of the distribution's own central interval, of the coverage of the conformal part
    if there is one, and then of the conformal interval.
    """
    targets = np.asarray(targets, dtype=float)
    mass = parts["conformal"]["coverage"] if "conformal" in parts else 0.9

    def covered(intervals: torch.Tensor) -> str:
        low, high = intervals.double().numpy().T
        # A bin in float32 is not the number it stands for to the last digit.
        inside = (low - 1e-6 <= targets) & (targets <= high + 1e-6)
        return f"{inside.mean():.3f} / {(high - low).mean():.3f}"

    rows = []
    for name, applied in (("raw", {}), ("calibrated", parts)):
        distributions = calibrated_distribution(logits, applied)
        probabilities = calibrated_probability(distributions, applied)
        intervals = conformal_interval(distributions, applied) if "conformal" in applied else None
        if novelty is not None and applied:
            distributions = flatten_distribution(distributions, novelty)
            probabilities = withdraw_probability(probabilities, novelty)
            intervals = None if intervals is None else widen_interval(intervals, novelty)
        probabilities = probabilities.double().numpy().clip(0, 1)
        mse = np.mean((probabilities - targets) ** 2)
        ece = measure(probabilities, targets, None, resamples=0)["ece"]["value"]
        score = crps(distributions, torch.as_tensor(targets)).mean()
        own = covered(central_interval(distributions, mass))
        conformal = "-" if intervals is None else covered(intervals)
        rows.append(f"| {name} | {mse:.2e} | {ece:.4f} | {score:.4f} | {own} | {conformal} |")
    head = f"| | MSE | ECE | CRPS | own {mass} interval: coverage / width | conformal: coverage / width |"
    return "\n".join([head, "|---|---|---|---|---|---|", *rows])


def novel(novelty: FittedNovelty, values: torch.Tensor) -> str:
    """Tells how many answers of a split count as novel."""
    above, highest = float((values > 0).float().mean()), float(values.max())
    return (
        f"Novelty: above 0 for {above:.2%} of the answers, {highest:.2f} at most (asked for: "
        f"{novelty.part['share']:.2%} of the premises at most)."
    )


def automated(
    logits: torch.Tensor, targets: ArrayLike, keys: list[str], parts: dict, novelty: torch.Tensor | None = None
) -> str:
    """Tells what automation does on a split: the share acted on and how much of it is wrong, a premise as one."""
    part = parts["automation"]
    probabilities = calibrated_probability(calibrated_distribution(logits, parts), parts)
    share, error = acted_on(probabilities, targets, keys, part, novelty)
    everything = premise_means(decision_errors(probabilities.numpy(), targets, part["error"])[:, None], keys).mean()
    return (
        f"Automation (promised: {part['error_rate']:g} wrong by {part['error']}, with {part['confidence']:.0%}): acts "
        f"on {share:.1%} of the answers, {error:.4f} of them wrong; of all answers {everything:.4f} are."
    )


def save(
    calibration: dict, checkpoint: Path, out: Path | None, tensors: dict[str, torch.Tensor] | None = None
) -> Path:
    """Writes a calibration into `config.json`, of the checkpoint or of a copy, which appears when it is complete, and
    the tensors that it needs beside it."""
    if out is not None:
        with replacing(out) as folder:
            shutil.copytree(checkpoint, folder)
            save(calibration, folder, None, tensors)
        return out
    write_novelty(tensors, calibration, checkpoint)
    config = json.loads((checkpoint / "config.json").read_text())
    config["calibration"] = calibration
    write_text(checkpoint / "config.json", json.dumps(config, indent=2, sort_keys=True) + "\n")
    return checkpoint


if __name__ == "__main__":
    with exit_on_error():
        main()
