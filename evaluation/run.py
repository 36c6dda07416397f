"""
Evaluates a checkpoint on a split of a UMUI dataset.

```bash
python -m evaluation.run --model checkpoints/clue-urn-tiny --dataset umui --config urn-audio --split test
```

The checkpoint is of CLUE, or of CLUE-T, whose answers are generated; those without a number are counted.

Writes to the output folder: `predictions.jsonl`, one row for each hypothesis; `report.json` and `report.md` with every
measure beside the predictors that see less; `reliability.png` and `predictions.png`. Predictions are written as they
are made: the same command goes on after an interruption, and only reports anew when they are complete.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from math import isnan
from pathlib import Path

import numpy as np
from datasets import Dataset
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.utils import validate_repo_id
from numpy.typing import ArrayLike
from tqdm.auto import tqdm
from transformers import AutoConfig, PreTrainedConfig

from datasets_scripts.digests import weights_digest
from datasets_scripts.load import split_names
from evaluation.calibration import perfect_distributions, perfect_predictions, reliability, written_predictions
from evaluation.data import hold_out_premises, load_rows, premise_keys, rows_digest
from evaluation.metrics.uncertain_inference.measures import measure
from evaluation.plots import prediction_histogram, reliability_diagram
from evaluation.predictors import (
    INTERVAL_MASS,
    CLUEPredictor,
    ConstantMean,
    HypothesisOnly,
    TextPredictor,
    answer_format,
)
from evaluation.tables import further_measures_table, measures_table


# Claims of one premise that go through the model together; more of them are scored in several passes.
HYPOTHESES_PER_PASS = 64


def main(arguments: list[str] | None = None) -> dict:
    """Runs the command line: predictions, then the report, which it returns."""
    args = parse(arguments)
    checkpoint = find_checkpoint(args.model)
    # All that can fail on wrong options does so before the first prediction.
    target = AutoConfig.from_pretrained(checkpoint, trust_remote_code=True)
    answer = answer_format(checkpoint)
    rows = load_rows(args.dataset, args.config, args.split)
    if args.limit:
        rows = rows.select(range(min(args.limit, len(rows))))
    if len(rows) == 0:
        raise ValueError(f"{args.dataset} {args.config} {args.split} has no rows to evaluate.")
    name = f"{Path(args.model).resolve().parent.name}-{Path(args.model).name}"
    out = Path(args.out or f"runs/evaluation/{name}/{args.config}-{args.split}")
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: give another --out, a folder.")
    constant, seen = fit_baselines(args.dataset, args.config)
    keys = premise_keys(rows)
    settings = {
        "model": args.model,
        "weights": weights_digest(checkpoint),
        "calibration": target.to_dict().get("calibration"),  # the same weights give other answers with it
        "dataset": args.dataset,
        "config": args.config,
        "split": args.split,
        "rows": rows_digest(rows, keys),
    }
    out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    predictor = CLUEPredictor if answer is None else TextPredictor
    predictions = predict_split(predictor, checkpoint, rows, keys, out, settings, args.batch_size)
    report = make_report(target, answer, predictions, constant, seen, settings)
    report["seconds"] = round(time.perf_counter() - started, 1)
    report["date"] = datetime.now(UTC).date().isoformat()
    report["command"] = ["python", "-m", "evaluation.run", *(sys.argv[1:] if arguments is None else arguments)]
    write_report(report, predictions, out)
    print(f"{args.config} {args.split}: {counted(report['n'], 'row')} about {counted(report['premises'], 'premise')}")
    print(without_number(report))
    print(measures_table(report))
    print(f"\nReport, figures and predictions: {out}")
    return report


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.run", description="Evaluate a checkpoint on a split of a UMUI dataset."
    )
    parser.add_argument("--model", required=True, help="folder of the checkpoint, or its name on the Hub")
    parser.add_argument("--dataset", required=True, help="folder of the dataset, or its name on the Hub")
    parser.add_argument("--config", required=True, help="configuration of the dataset, such as urn-audio")
    parser.add_argument("--split", default="test", help="split to evaluate (default: test)")
    parser.add_argument("--out", help="folder to write to (default: runs/evaluation/MODEL/CONFIG-SPLIT)")
    parser.add_argument("--batch-size", type=int, default=8, help="premises scored together (default: 8)")
    parser.add_argument("--limit", type=int, help="evaluate only the first rows of the split")
    args = parser.parse_args(arguments)
    if args.batch_size < 1:
        parser.error("--batch-size must be at least 1")
    if args.limit is not None and args.limit < 1:
        parser.error("--limit must be at least 1")
    return args


def find_checkpoint(model: str) -> Path:
    """
    The folder of a checkpoint, fetched from the Hub if `model` is a name there.

    Raises:
        `ValueError`: if it is neither a folder nor can be a name.
    """
    if Path(model).is_dir():
        return Path(model)
    try:
        validate_repo_id(model)
    except HFValidationError as error:
        raise ValueError(f"--model {model} is no folder, and no name on the Hub either.") from error
    try:
        return Path(snapshot_download(model))
    except (RepositoryNotFoundError, LocalEntryNotFoundError) as error:
        raise ValueError(f"--model {model} is no folder, and was not found on the Hub: {error}") from error


def predict_split(
    predictor_class: type[CLUEPredictor | TextPredictor],
    checkpoint: Path,
    rows: Dataset,
    keys: list[str],
    out: Path,
    settings: dict,
    batch_size: int,
) -> list[dict]:
    """
    Scores every row once, going on from what an interrupted run has written.

    Predictions are appended to `predictions.jsonl.partial`, whole batches at a time and synced to disk; a line torn by
    a kill is dropped and its row scored again. The file takes its final name when it holds every row.

    Args:
        predictor_class (`type`): What scores them; made only if there are rows left to score.
        checkpoint (`Path`): Folder of the checkpoint.
        rows (`datasets.Dataset`): Rows as `evaluation.data.load_rows` gives them.
        keys (`list[str]`): The premise of each row.
        out (`Path`): Folder of the predictions.
        settings (`dict`): What the predictions depend on, kept in `settings.json` beside them.
        batch_size (`int`): Premises scored together.

    Returns:
        `list[dict]`: the predictions, in the order of the rows.

    Raises:
        `ValueError`: if the folder holds predictions made with other settings, or a row cannot be scored.
    """
    check_settings(out, settings)
    ids = rows["id"][:]
    complete, partial = out / "predictions.jsonl", out / "predictions.jsonl.partial"
    done = read_predictions(complete if complete.exists() else partial, ids)
    if not complete.exists():
        with open(partial, "ab") as file, tqdm(total=len(ids), initial=len(done), unit="hypotheses") as progress:
            batches = make_batches([i for i, name in enumerate(ids) if name not in done], keys, batch_size)
            predictor = predictor_class(checkpoint) if batches else None
            for batch in batches:
                answers = score(predictor, rows, batch, keys)
                lines = "".join(json.dumps(answer) + "\n" for answer in answers)
                file.write(lines.encode())
                file.flush()
                os.fsync(file.fileno())
                done.update((answer["id"], answer) for answer in answers)
                progress.update(len(answers))
        partial.replace(complete)
    return [done[name] for name in ids]


def check_settings(out: Path, settings: dict) -> None:
    """Writes `settings.json`, or compares with the one that is there."""
    path = out / "settings.json"
    if not path.exists():
        write_text(path, json.dumps(settings, indent=2) + "\n")
        return
    before = json.loads(path.read_text())
    differ = [
        f"{key} was {before.get(key)}, is {value}" for key, value in settings.items() if before.get(key) != value
    ]
    if differ:
        raise ValueError(
            f"{out} holds predictions made with other settings ({'; '.join(differ)}). "
            "Give another --out, or remove that folder to evaluate anew."
        )


def read_predictions(path: Path, ids: list[str]) -> dict[str, dict]:
    """
    Reads the predictions written so far, and cuts a last line torn by a kill off the file.

    Args:
        path (`Path`): The file; it need not exist.
        ids (`list[str]`): Ids of the rows that are evaluated.

    Returns:
        `dict[str, dict]`: predictions by id.

    Raises:
        `ValueError`: if a row is there twice or is none of the split's.
    """
    if not path.exists():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    known, done = set(ids), {}
    for line in whole.splitlines():
        answer = json.loads(line)
        if answer["id"] in done or answer["id"] not in known:
            what = "twice" if answer["id"] in done else "but not in the split"
            raise ValueError(f"Row {answer['id']} is in {path} {what}: remove the folder to evaluate anew.")
        done[answer["id"]] = answer
    return done


def make_batches(indices: list[int], keys: list[str], batch_size: int) -> list[list[list[int]]]:
    """
    Groups rows by premise, and premises into batches.

    Args:
        indices (`list[int]`): Rows to score.
        keys (`list[str]`): The premise of each row of the split.
        batch_size (`int`): Premises in a batch.

    Returns:
        `list[list[list[int]]]`: for each batch the rows of each of its premises.
    """
    by_premise = {}
    for index in indices:
        by_premise.setdefault(keys[index], []).append(index)
    passes = [
        group[start : start + HYPOTHESES_PER_PASS]
        for group in by_premise.values()
        for start in range(0, len(group), HYPOTHESES_PER_PASS)
    ]
    return [passes[start : start + batch_size] for start in range(0, len(passes), batch_size)]


def score(
    predictor: CLUEPredictor | TextPredictor, rows: Dataset | list[dict], batch: list[list[int]], keys: list[str]
) -> list[dict]:
    """Scores one batch and returns its predictions, a JSON-ready `dict` for each row."""
    chosen = [[rows[index] for index in group] for group in batch]
    try:
        answers = predictor.predict([group[0] for group in chosen], [[row["hypothesis"] for row in g] for g in chosen])
    except ValueError as error:
        names = ", ".join(group[0]["id"] for group in chosen)
        raise ValueError(f"The premises of rows {names} could not be scored: {error}") from error
    answered = [
        (row, keys[index], asdict(answer))
        for group, indices, replies in zip(chosen, batch, answers, strict=True)
        for row, index, answer in zip(group, indices, replies, strict=True)
    ]
    missing = [row["id"] for row, _, a in answered if a["probability"] is not None and isnan(a["probability"])]
    if missing:
        raise ValueError(
            f"The model's probability is not a number for rows {', '.join(missing)}: look at its weights."
        )
    return [
        {
            "id": row["id"],
            "premise": key,
            "hypothesis": row["hypothesis"],
            "prediction": answer.pop("probability"),
            **answer,
            "target": row["probability"],
            "label": row["label"],
        }
        for row, key, answer in answered
    ]


def fit_baselines(dataset: str, config: str) -> tuple[ConstantMean, HypothesisOnly]:
    """
    The predictors that see no premise, fitted on the training split, the better of many chosen by validation.

    A config without a validation split gives a tenth of its training premises for it.
    """
    train = load_rows(dataset, config, "train")
    if "validation" in split_names(dataset, config):
        validation = load_rows(dataset, config, "validation")
    else:
        train, validation = hold_out_premises(train)
    known = train["hypothesis"][:], train["probability"][:]
    return ConstantMean().fit(*known), HypothesisOnly().fit(
        *known, validation["hypothesis"][:], validation["probability"][:]
    )


def make_report(
    config: PreTrainedConfig,
    answer: str | None,
    predictions: list[dict],
    constant: ConstantMean,
    seen: HypothesisOnly,
    settings: dict,
) -> dict:
    """
    Measures the predictions beside the constant mean, the best hypothesis-only predictor and the target's floor.

    Answers without a number are counted, by reason, and in no measure, of the model or of others.

    Args:
        config (`CLUEConfig`): Configuration of the checkpoint, for the target it was trained on.
        answer (`str`, *optional*): The format of the answers of a model that writes them.
        predictions (`list[dict]`): The predictions, one for each row.
        constant (`ConstantMean`): The constant mean.
        seen (`HypothesisOnly`): The hypothesis-only predictor.
        settings (`dict`): What the predictions depend on, to be told.

    Returns:
        `dict`: the content of `report.json`.

    Raises:
        `ValueError`: if no answer has a number.
    """
    measurable = [row for row in predictions if row["prediction"] is not None]
    if not measurable:
        raise ValueError(
            f"None of the {len(predictions)} answers has a number to measure: read them in predictions.jsonl, the "
            f"first is {predictions[0]['answer']!r}."
        )
    columns = {
        name: [row[name] for row in measurable]
        for name in ("id", "premise", "hypothesis", "prediction", "target", "label")
    }
    targets = np.array(columns["target"])
    hypotheses = columns["hypothesis"]
    labels = None if any(label is None for label in columns["label"]) else np.array(columns["label"])

    # A predictor that gives no distribution has no such columns, and no such measures.
    distributions = {
        name: [row[name] for row in measurable]
        for name in ("standard_deviation", "entropy", "interval")
        if all(row.get(name) is not None for row in measurable)
    }

    def measured(values: ArrayLike, **given) -> dict[str, dict]:
        return measure(values, targets, labels, clusters=columns["premise"], ids=columns["id"], **given)

    of_model = measured(columns["prediction"], distributions=distributions)
    if "interval" in distributions:
        of_model["coverage"]["nominal"] = INTERVAL_MASS

    if answer is None:
        learnt = config.target
        perfect = {
            target: perfect_predictions(target, targets, config.num_bins, config.sigma)
            for target in ("gaussian", "mean_preserving", "mse")
        }
    else:
        learnt = "text"
        perfect = {learnt: written_predictions(answer, targets)}
    floors = {target: measure(values, targets, labels, resamples=0) for target, values in perfect.items()}
    if answer is None:
        spread = perfect_distributions(learnt, targets, config.num_bins, config.sigma, INTERVAL_MASS)
        floors[learnt] = measure(perfect[learnt], targets, labels, distributions=spread, resamples=0)
    reasons = Counter(row["reason"] for row in predictions if row["prediction"] is None)
    counts = {} if answer is None else {"without_number": {"n": reasons.total(), "reasons": dict(reasons)}}
    return {
        "settings": settings,
        "n": len(predictions),
        **counts,
        "premises": len({row["premise"] for row in predictions}),
        "rows_with_notes": sum(bool(row["notes"]) for row in predictions),
        "measures": of_model,
        "constant_mean": {"mean": constant.mean, "measures": measured(constant.predict(hypotheses))},
        "hypothesis_only": {
            "predictor": seen.name,
            "validation_mse": seen.validation_mse,
            "measures": measured(seen.predict(hypotheses)),
        },
        "target_floor": {"target": learnt, "measures": floors[learnt]},
        "floors": {
            target: {name: results[name]["value"] for name in ("mse", "mae", "ece")}
            for target, results in floors.items()
        },
        "reliability": reliability(columns["prediction"], targets),
    }


def write_report(report: dict, predictions: list[dict], out: Path) -> None:
    """Writes `report.json`, `report.md` and the figures into the folder `out`."""
    settings = report["settings"]
    title = f"{settings['config']} {settings['split']}: {counted(report['n'], 'row')}"
    reliability_diagram(report["reliability"], out / "reliability.png", title)
    measurable = [row for row in predictions if row["prediction"] is not None]
    prediction_histogram(
        [row["prediction"] for row in measurable],
        [row["target"] for row in measurable],
        out / "predictions.png",
        title,
    )
    write_text(out / "report.json", json.dumps(report, indent=2) + "\n")
    write_text(
        out / "report.md",
        f"""# {settings["model"]} on {settings["config"]}, {settings["split"]}

{counted(report["n"], "row")} about {counted(report["premises"], "premise")} of `{settings["dataset"]}`;
{report["rows_with_notes"]:,} with something cut or left out of the premise (`notes` in `predictions.jsonl`).
{without_number(report)}
{measures_table(report)}

Intervals hold 95% of 1,000 resamples of the premises. The constant mean is {report["constant_mean"]["mean"]:.4f}, of
the training split. Hypothesis only is the best predictor on the validation split that does not see the premise:
{report["hypothesis_only"]["predictor"]}. The floor is the error of a perfect learner of the target
`{report["target_floor"]["target"]}`. A low ECE alone proves nothing: the constant mean can have it.

Further measures; evaluation/metrics/README.md defines them all.

{further_measures_table(report)}

![reliability](reliability.png)

![predictions](predictions.png)
""",
    )


def without_number(report: dict) -> str:
    """The line that tells how many answers have no number, and why; empty for a model that writes none."""
    if "without_number" not in report:
        return ""
    reasons = report["without_number"]["reasons"]
    why = "".join(f", {reason}: {count:,}" for reason, count in reasons.items())
    return f"Answers without a number, which are in no measure: {report['without_number']['n']:,}{why}.\n"


def counted(number: int, thing: str) -> str:
    """`1 row`, `3,600 rows`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def write_text(path: Path, text: str) -> None:
    """Writes a text file through a temporary name, so that nobody finds half of it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)


if __name__ == "__main__":
    main()
