"""
The urn stress test: how well any predictor is calibrated where the true probability is known, and where it goes wrong.

```bash
python -m evaluation.urn --model checkpoints/clue-urn-tiny
python -m evaluation.urn --model checkpoints/clue-urn-tiny --balls 5 3 8 --premises 100 --senses either conflict
```

Builds the suite that its options ask for, in `runs/urn/suites`; scores it, going on after an interruption; writes to
the output folder `report.json`, `report.md`, `cells.csv`, `answers.csv` and `heatmap.png`, and what was predicted in a
folder for each modality. evaluation/urn.md tells what is asked and how findings are made.
"""

import argparse
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from datasets import Dataset

from datasets_scripts.arguments import positive, seed
from datasets_scripts.building.writer import write_config
from datasets_scripts.digests import weights_digest
from datasets_scripts.sources import urn_stress
from evaluation.data import load_rows, premise_keys, rows_digest
from evaluation.predict import predict_split
from evaluation.predictors import CLUEPredictor, TextPredictor, answer_format
from evaluation.report import counted
from evaluation.run import find_checkpoint
from evaluation.stress.findings import analyse
from evaluation.stress.report import findings_text, write_stress_report


def main(arguments: list[str] | None = None) -> dict:
    """Runs the command line: suite, predictions, then the report, which it returns."""
    args = parse(arguments)
    started = time.perf_counter()
    checkpoint = find_checkpoint(args.model)
    predictor = CLUEPredictor if answer_format(checkpoint) is None else TextPredictor
    questions = urn_stress.make_questions(args)
    digest = urn_stress.suite_digest(questions)
    suite = build_suite(args, args.suites / digest)
    options = urn_stress.suite_options(args)
    out = Path(args.out or f"runs/urn/{Path(args.model).resolve().name}-{digest}")
    predictions, content = {}, {}
    for modality in questions:
        rows = load_rows(str(suite), f"stress-{modality}", "test")
        if not args.context:
            rows = without_context(rows)
        keys = premise_keys(rows)
        content[modality] = rows_digest(rows, keys)
        settings = {
            "model": args.model,
            "weights": weights_digest(checkpoint),
            "suite": digest,
            "modality": modality,
            "rows": content[modality],
            "context": args.context,
        }
        folder = out / modality
        folder.mkdir(parents=True, exist_ok=True)
        answered = predict_split(predictor, checkpoint, rows, keys, folder, settings, args.batch_size)
        predictions |= {answer["id"]: answer["prediction"] for answer in answered}
    standard = parse(["--model", args.model, "--seed", str(args.seed)])
    report = {
        "suite": {
            "digest": digest,
            "name": "standard" if options == urn_stress.suite_options(standard) and args.seed == 0 else "custom",
            "options": options,
            # The bytes of the clips count here: another version of an encoder gives another digest.
            "rows": content,
        },
        "settings": {"model": args.model, "weights": weights_digest(checkpoint), "context": args.context},
        "n": len(predictions),
        "without_number": sum(value is None for value in predictions.values()),
        **analyse(questions, predictions),
        "seconds": round(time.perf_counter() - started, 1),
        "date": datetime.now(UTC).date().isoformat(),
        "command": ["python", "-m", "evaluation.urn", *(sys.argv[1:] if arguments is None else arguments)],
    }
    write_stress_report(report, questions, predictions, out)
    print(f"{counted(report['n'], 'question')} of suite {digest} in {report['seconds']} s\n")
    print(findings_text(report))
    print(f"\nReport, tables and heat map: {out}")
    return report


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.urn", description="Test a predictor's calibration where the truth is known."
    )
    parser.add_argument("--model", required=True, help="folder of the checkpoint, or its name on the Hub")
    parser.add_argument("--out", help="folder to write to (default: runs/urn/MODEL-DIGEST)")
    parser.add_argument(
        "--suites", type=Path, default=Path("runs/urn/suites"), help="where suites are built (default: %(default)s)"
    )
    parser.add_argument("--batch-size", type=positive, default=8, help="premises scored together (default: 8)")
    parser.add_argument("--context", action="store_true", help="tell the model in words what the premises are")
    parser.add_argument("--seed", type=seed, default=0, help="of the suite (default: 0)")
    parser.add_argument(
        "--workers", type=positive, default=os.cpu_count(), help="that make clips (default: one a core)"
    )
    urn_stress.add_arguments(parser.add_argument_group("suite", "by default the standard one"))
    return parser.parse_args(arguments)


def build_suite(args: argparse.Namespace, folder: Path) -> Path:
    """
    Builds what is missing of a suite.

    Args:
        args (`argparse.Namespace`): The options of the suite.
        folder (`Path`): Its folder, named by the digest of its questions: what is there has these questions.

    Returns:
        `Path`: the folder, as `load_rows` takes it.
    """
    for config, splits in urn_stress.configs(args).items():
        # A config takes its place in one rename, as a whole.
        if not (folder / config / "build.json").exists():
            plan = {"source": "urn-stress", **urn_stress.suite_options(args)}
            write_config(folder, config, splits, plan, workers=args.workers)
    return folder


def without_context(rows: Dataset) -> Dataset:
    """The rows without the words that explain the urn world."""
    return rows.remove_columns("context").add_column("context", [None] * len(rows), feature=rows.features["context"])


if __name__ == "__main__":
    main()
