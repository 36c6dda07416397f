"""
The urn stress test: how well any predictor is calibrated where the true probability is known, and where it goes wrong.

```bash
python -m evaluation.urn --model checkpoints/clue-urn-tiny
python -m evaluation.urn --model checkpoints/clue-urn-tiny --balls 5 3 8 --premises 100 --senses either conflict
```

Builds the suite that its options ask for, in `runs/urn/suites`; scores it, going on after an interruption, by one
process or several (evaluation/processes.py); writes to the output folder `report.json`, `report.md`, `cells.csv`,
`answers.csv` and `heatmap.png`, and what was predicted in a folder for each modality. evaluation/urn.md tells what is
asked and how findings are made.
"""

import argparse
import os
import sys
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from accelerate import PartialState

from common.cli import ArgumentParser, counted, exit_on_error, positive_int, seed
from datasets_scripts.building.writer import write_config
from datasets_scripts.sources import urn_stress
from evaluation.data import load_rows, premise_keys, rows_digest, without_context
from evaluation.predict import predict_split
from evaluation.predictors.choose import add_predictor_options, choose_predictor
from evaluation.processes import compute_on_main, joined_processes
from evaluation.stress.findings import analyse
from evaluation.stress.report import findings_text, write_stress_report
from evaluation.unfinished import output_folder


def main(arguments: list[str] | None = None) -> dict | None:
    """Runs the command line: suite, predictions, then the report, which the main process returns."""
    args = parse(arguments)
    with joined_processes() as processes:
        return run_suite(args, processes, sys.argv[1:] if arguments is None else arguments)


def run_suite(args: argparse.Namespace, processes: PartialState, arguments: list[str]) -> dict | None:
    """Builds and scores the suite as one of several processes, of which the main one returns the report."""
    started = time.perf_counter()
    questions = urn_stress.make_questions(args)
    digest = urn_stress.suite_digest(questions)
    suite = args.suites / digest
    # All that can fail on wrong options does so before the first clip, but predictors look for the dataset's folder.
    suite.mkdir(parents=True, exist_ok=True)
    with processes.local_main_process_first():
        chosen = choose_predictor(args, str(suite))
    out = output_folder(args.output_dir or f"runs/urn/{chosen.name}-{digest}")
    # Trained models know the urn world; others are told of it.
    context = chosen.config is None if args.context is None else args.context
    with processes.main_process_first():
        build_suite(args, suite)
    predictions, content = {}, {}
    for modality in questions:
        with processes.local_main_process_first():
            rows = load_rows(str(suite), f"stress-{modality}", "test")
        if not context:
            rows = without_context(rows)
        keys = compute_on_main(processes, partial(premise_keys, rows))
        content[modality] = rows_digest(rows, keys)
        settings = {**chosen.settings, "suite": digest, "rows": content[modality], "context": context}
        folder = out / modality
        folder.mkdir(parents=True, exist_ok=True)
        answered = predict_split(
            chosen.make, rows, keys, folder, settings, args.batch_size, processes, chosen.rows_at_once
        )
        predictions |= {answer["id"]: answer["prediction"] for answer in answered}
    if not processes.is_main_process:
        return None
    if all(value is None for value in predictions.values()):
        raise ValueError(f"None of the {len(predictions)} answers has a number: {out}/*/predictions.jsonl say why.")
    options = urn_stress.suite_options(args)
    standard = urn_stress.suite_options(parse([]))
    report = {
        "suite": {
            "digest": digest,
            "name": "standard" if options == standard else "custom",
            "options": options,
            # The bytes of the clips count here: another version of an encoder gives another digest.
            "rows": content,
        },
        "name": chosen.name,
        "settings": {**chosen.settings, "context": context},
        "n": len(predictions),
        "without_number": sum(value is None for value in predictions.values()),
        **analyse(questions, predictions),
        "seconds": round(time.perf_counter() - started, 1),
        "date": datetime.now(UTC).date().isoformat(),
        "command": ["python", "-m", "evaluation.urn", *arguments],
    }
    write_stress_report(report, questions, predictions, out)
    print(f"{counted(report['n'], 'question')} of suite {digest} in {report['seconds']} s\n")
    print(findings_text(report))
    print(f"\nReport, tables and heat map: {out}")
    return report


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ArgumentParser(
        prog="python -m evaluation.urn", description="Test a predictor's calibration where the truth is known."
    )
    add_predictor_options(parser)
    parser.add_argument("--output-dir", help="folder to write to (default: runs/urn/MODEL-DIGEST)")
    parser.add_argument(
        "--suites", type=Path, default=Path("runs/urn/suites"), help="where suites are built (default: %(default)s)"
    )
    parser.add_argument("--batch-size", type=positive_int, default=8, help="premises scored together (default: 8)")
    parser.add_argument(
        "--context",
        action=argparse.BooleanOptionalAction,
        help="tell the model in words what the premises are (default: if it was not trained for the task)",
    )
    parser.add_argument("--seed", type=seed, default=0, help="of the suite (default: 0)")
    parser.add_argument(
        "--workers", type=positive_int, default=os.cpu_count(), help="that make clips (default: one a core)"
    )
    urn_stress.add_arguments(parser.add_argument_group("suite", "by default the standard one"))
    return parser.parse_args(arguments)


def build_suite(args: argparse.Namespace, folder: Path) -> None:
    """Builds what is missing of a suite; its folder is named by the digest of its questions, so that it has these."""
    for config, splits in urn_stress.configs(args).items():
        # A config takes its place in one rename, as a whole.
        if not (folder / config / "build.json").exists():
            plan = {"source": "urn-stress", **urn_stress.suite_options(args)}
            write_config(folder, config, splits, plan, workers=args.workers)


if __name__ == "__main__":
    with exit_on_error():
        main()
