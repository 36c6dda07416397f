"""
Measures what it changes to ask a decision model several questions in one request instead of one by one.

```bash
python -m evaluation.asked_together --server http://127.0.0.1:8000/v1 --server-model checkpoints/clue-urn-tiny \\
    --dataset umui --dataset-config urn-text --together 4 16
```

Every row is asked about by itself, twice, and together with the other rows about its premise, at most as many in a
request as `--together` says. How far the second answers are from the first is what the server varies by itself; what
is beyond that is the effect of asking together. Each way is an evaluation in a folder of its own, which goes on after
an interruption; `report.json` and the table on the screen compare them, on the rows that have an answer in all.
"""

import argparse
import json
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from accelerate import PartialState
from datasets import Dataset

from common.cli import ArgumentParser, exit_on_error, positive_int
from common.files import write_text
from evaluation.data import load_rows, premise_keys, rows_digest
from evaluation.predict import predict_split
from evaluation.predictors.choose import add_predictor_options, choose_predictor, known_predictors
from evaluation.processes import joined_processes
from evaluation.tables import markdown_table, number


ALONE, AGAIN = "alone", "alone, again"
HEADER = ["asked", "rows", "requests", "seconds", "MSE", "mean change", "largest change", "other side of 0.5"]


def main(arguments: list[str] | None = None) -> dict:
    """Runs the command line, and returns the report."""
    args = parse(arguments)
    with joined_processes() as processes:
        if processes.num_processes > 1:
            raise ValueError("One process asks here: a server's load would count as an effect.")
        rows = load_rows(args.dataset, args.dataset_config, args.split)
        rows = rows.select(range(min(args.limit or len(rows), len(rows))))
        if len(rows) == 0:
            raise ValueError(f"{args.dataset} {args.dataset_config} {args.split} has no rows to ask about.")
        report = measure(args, rows, processes)
    report["date"] = datetime.now(UTC).date().isoformat()
    given = sys.argv[1:] if arguments is None else arguments
    report["command"] = ["python", "-m", "evaluation.asked_together", *given]
    write_text(args.output_dir / "report.json", json.dumps(report, indent=2) + "\n")
    print(ways_table(report))
    print(f"\nReport and predictions: {args.output_dir}")
    return report


def measure(args: argparse.Namespace, rows: Dataset, processes: PartialState) -> dict:
    """Asks about the rows in each way, and compares the answers to those of the first."""
    keys = premise_keys(rows)
    ways = {ALONE: 1, AGAIN: 1, **{f"{number} together": number for number in sorted(set(args.together) - {1})}}
    answers, seconds, requests = {}, {}, {}
    for way, together in ways.items():
        options = argparse.Namespace(**vars(args) | {"questions_per_request": together})
        chosen = choose_predictor(options, args.dataset)
        out = args.output_dir / way.replace(", ", "-").replace(" ", "-")
        out.mkdir(parents=True, exist_ok=True)
        settings = {**chosen.settings, "rows": rows_digest(rows, keys), "way": way}
        started = time.perf_counter()
        answered = predict_split(
            chosen.make, rows, keys, out, settings, args.batch_size, processes, chosen.rows_at_once
        )
        seconds[way] = round(time.perf_counter() - started, 2)
        answers[way] = [answer["prediction"] for answer in answered]
        requests[way] = sum(-(-count // together) for count in Counter(keys).values())
    shared = [place for place in range(len(rows)) if all(given[place] is not None for given in answers.values())]
    if not shared:
        raise ValueError(f"No row has an answer in every way: {args.output_dir}/*/predictions.jsonl say why.")
    truth, ids = rows["probability"][:], rows["id"][:]
    compared = []
    for way, given in answers.items():
        changes = {place: abs(given[place] - answers[ALONE][place]) for place in shared}
        furthest = max(shared, key=changes.get)
        sides = sum((given[place] > 0.5) != (answers[ALONE][place] > 0.5) for place in shared)
        compared.append(
            {
                "asked": way,
                "rows": len(shared),
                "requests": requests[way],
                "seconds": seconds[way],
                "mse": sum((given[place] - truth[place]) ** 2 for place in shared) / len(shared),
                "mean_change": sum(changes.values()) / len(shared),
                "largest_change": changes[furthest],
                "changed_sides": sides,
                "furthest_row": ids[furthest],
            }
        )
    without = len(rows) - len(shared)
    return {
        "predictor": args.predictor,
        "server": args.server,
        "model": args.server_model,
        "dataset": args.dataset,
        "config": args.dataset_config,
        "split": args.split,
        "without_number": without,
        "ways": compared,
    }


def ways_table(report: dict) -> str:
    """Writes the table of a report."""
    rows = [
        [
            way["asked"],
            *(f"{way[name]:,}" for name in ("rows", "requests")),
            f"{way['seconds']:.1f}",
            *(number(way[name]) for name in ("mse", "mean_change", "largest_change")),
            f"{way['changed_sides']:,}",
        ]
        for way in report["ways"]
    ]
    lacking = report["without_number"]
    missing = f"\n\n{lacking:,} rows more have no answer in some way, and are in no line." if lacking else ""
    return markdown_table(HEADER, rows) + missing


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ArgumentParser(
        prog="python -m evaluation.asked_together",
        description="Measure what it changes to ask a decision model several questions in one request.",
    )
    parser.add_argument("--dataset", required=True, help="folder of the dataset, or its name on the Hub")
    parser.add_argument("--dataset-config", required=True, help="config of it, such as urn-audio")
    parser.add_argument("--split", default="test", help="split to ask about (default: test)")
    parser.add_argument(
        "--together", type=positive_int, nargs="+", default=[4, 16], help="questions in a request (default: 4 16)"
    )
    parser.add_argument(
        "--output-dir",
        type=Path,
        default=Path("runs/asked-together"),
        help="folder to write to (default: %(default)s)",
    )
    parser.add_argument(
        "--batch-size", type=positive_int, default=8, help="premises asked about together (default: 8)"
    )
    parser.add_argument("--limit", type=positive_int, help="ask about the first rows of the split alone")
    add_predictor_options(parser)
    parser.set_defaults(predictor="systemone")
    args = parser.parse_args(arguments)
    able = [name for name, kind in known_predictors().items() if not kind.here]
    if args.predictor not in able:
        parser.error(
            f"--predictor {args.predictor} asks one question a request: only {' and '.join(able)} ask several"
        )
    if args.questions_per_request > 1:
        parser.error("--together says how many questions are asked in a request, in place of --questions-per-request")
    return args


if __name__ == "__main__":
    with exit_on_error():
        main()
