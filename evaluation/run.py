"""Evaluates a checkpoint on a split of a UMUI dataset.

```bash
python -m evaluation.run --model checkpoints/clue-urn-tiny --dataset umui --dataset-config urn-audio --split test
accelerate launch --multi-gpu --num-processes 8 -m evaluation.run --model runs/clue-3b --dataset umui \\
    --dataset-config unli
```

The checkpoint is of CLUE, or of CLUE-T, whose answers are generated; those without a number are counted. With
`--predictor` any model is prompted instead, or a teacher's answers or a baseline are measured: see
evaluation/predictors/README.md.

Several configs, `--dataset-configs urn-text urn-audio`, are evaluated one after another, each into its own folder.

Writes to the output folder: `predictions.jsonl`, one row for each hypothesis; `report.json` and `report.md` with every
measure beside the predictors that see less; `reliability.png` and `predictions.png`. Predictions are written as they
are made: the same command goes on after an interruption, by any number of processes, and only reports anew when they
are complete. Processes of several machines need a disk that they share; evaluation/processes.py tells of CPUs.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from accelerate import PartialState
from datasets import Dataset

from common.cli import ArgumentParser, counted, exit_on_error, positive_int
from common.digests import digest
from datasets_scripts.load import dataset_revision
from evaluation.baselines import Baselines, describe_baselines, fit_baselines
from evaluation.data import describe, load_rows, premise_keys, rows_digest
from evaluation.predict import predict_split
from evaluation.predictors.choose import ChosenPredictor, add_predictor_options, choose_predictor
from evaluation.processes import compute_on_main, joined_processes
from evaluation.report import make_report, without_number, write_report
from evaluation.tables import measures_table
from evaluation.unfinished import output_folder


def main(arguments: list[str] | None = None) -> dict | None:
    """Runs the command line, config by config: predictions, then the report. The main process returns the last one."""
    args = parse(arguments)
    jobs = [argparse.Namespace(**vars(args) | {"dataset_config": config}) for config in args.dataset_config]
    if args.output_dir is not None and len(jobs) > 1:
        for job in jobs:
            job.output_dir = f"{args.output_dir}/{job.dataset_config}"
    with joined_processes() as processes:
        # All that can fail on wrong options does so before the first prediction. What is fetched is so once a machine.
        with processes.local_main_process_first():
            chosen = [choose_predictor(job, job.dataset) for job in jobs]
            rows = [load_rows(job.dataset, job.dataset_config, job.split) for job in jobs]
        plans = [prepare(*job, processes) for job in zip(jobs, chosen, rows, strict=True)]
        for plan in plans:
            report = evaluate(plan, processes, sys.argv[1:] if arguments is None else arguments)
    return report


@dataclass(frozen=True)
class Plan:
    """Holds what is to be evaluated, which can be."""

    args: argparse.Namespace
    chosen: ChosenPredictor
    rows: Dataset
    keys: list[str]  # the premise of each row
    baselines: Baselines
    settings: dict  # what its predictions depend on
    out: Path


def prepare(args: argparse.Namespace, chosen: ChosenPredictor, rows: Dataset, processes: PartialState) -> Plan:
    """Fits the baselines of one config, and collects what its predictions depend on."""
    if args.limit:
        rows = rows.select(range(min(args.limit, len(rows))))
    if len(rows) == 0:
        raise ValueError(f"{args.dataset} {args.dataset_config} {args.split} has no rows to evaluate.")
    out = output_folder(args.output_dir or f"runs/evaluation/{chosen.name}/{args.dataset_config}-{args.split}")
    keys = compute_on_main(processes, lambda: premise_keys(rows))
    baselines = compute_on_main(
        processes,
        lambda: fit_baselines(args.dataset, args.dataset_config, args.split, rows, keys, args.baselines_from),
    )
    if chosen.fit is not None:
        chosen = chosen.fit(baselines)
    settings = {
        **chosen.settings,
        "dataset": args.dataset,
        "config": args.dataset_config,
        "split": args.split,
        "rows": rows_digest(rows, keys),
    }
    contexts = rows["context"][:]
    if chosen.reads_context and any(contexts):
        settings["contexts"] = digest(contexts)
    return Plan(args, chosen, rows, keys, baselines, settings, out)


def evaluate(plan: Plan, processes: PartialState, arguments: list[str]) -> dict | None:
    """Evaluates one config as one of several processes, of which the main one returns the report."""
    args, chosen, out = plan.args, plan.chosen, plan.out
    out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    predictions = predict_split(
        chosen.make, plan.rows, plan.keys, out, plan.settings, args.batch_size, processes, chosen.rows_at_once
    )
    if not processes.is_main_process:
        return None
    people = plan.rows["human_probabilities"][:] if "human_probabilities" in plan.rows.features else None
    data = describe(args.dataset, args.dataset_config, plan.rows)
    report = make_report(chosen.config, chosen.answer, predictions, plan.baselines, plan.settings, data, people)
    report["revision"] = dataset_revision(args.dataset, args.dataset_config)
    report["limit"] = args.limit
    report["processes"] = processes.num_processes
    report["seconds"] = round(time.perf_counter() - started, 1)
    report["date"] = datetime.now(UTC).date().isoformat()
    report["command"] = ["python", "-m", "evaluation.run", *arguments]
    write_report(report, predictions, out)
    sizes = f"{counted(report['n'], 'row')} about {counted(report['premises'], 'premise')}"
    print(f"{args.dataset_config} {args.split}: {sizes}")
    print(without_number(report))
    print(f"{measures_table(report)}\n\n{describe_baselines(report)}")
    print(f"\nReport, figures and predictions: {out}")
    return report


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ArgumentParser(
        prog="python -m evaluation.run", description="Evaluate a checkpoint on a split of a UMUI dataset."
    )
    parser.add_argument("--dataset", required=True, help="folder of the dataset, or its name on the Hub")
    parser.add_argument(
        "--dataset-config",
        "--dataset-configs",
        required=True,
        nargs="+",
        help="config of it, such as urn-audio; or several",
    )
    parser.add_argument("--split", default="test", help="split to evaluate (default: test)")
    parser.add_argument(
        "--output-dir",
        help="folder to write to; of several configs each has one in it (default: runs/evaluation/MODEL/CONFIG-SPLIT)",
    )
    parser.add_argument("--batch-size", type=positive_int, default=8, help="premises scored together (default: 8)")
    parser.add_argument(
        "--baselines-from", metavar="CONFIG", help="config to fit the baselines to (default: --dataset-config)"
    )
    parser.add_argument("--limit", type=positive_int, help="evaluate only the first rows of the split")
    add_predictor_options(parser, models_only=False)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    with exit_on_error():
        main()
