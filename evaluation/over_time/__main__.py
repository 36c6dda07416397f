"""
Measures belief over time: what a checkpoint says of premises as far as they have gone, where the truth is known.

```bash
python -m evaluation.over_time --model checkpoints/clue-urn-tiny
python -m evaluation.over_time --model checkpoints/clue-urn-tiny --modalities video --premises 200 --events 20
```

Generates premises of the urn world, some of which overturn or correct what came first
(datasets_scripts/sources/urn_over_time.py); reads each once, asks about it at every time at which the checkpoint can
tell its belief, and compares that with the exact probability given what there was up to then. Writes to the output
folder `curves.jsonl`, the answers, as they are made: the same command goes on after an interruption; `report.json`,
`report.md` and `over_time.png`; and the clips into `media`.
"""

import argparse
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial

from transformers import AutoConfig

from common.cli import ArgumentParser, counted, exit_on_error, seed
from common.digests import digest
from common.hub import find_checkpoint
from datasets_scripts.sources import urn_over_time
from evaluation.belief_pipeline import load_belief_pipeline
from evaluation.over_time.curves import make_curves
from evaluation.over_time.measures import analyse
from evaluation.over_time.report import time_tables, write_time_report
from evaluation.predictors.checkpoints import checkpoint_settings
from evaluation.predictors.choose import model_name
from evaluation.unfinished import output_folder
from modeling_clue.checkpoint_parts import read


def main(arguments: list[str] | None = None) -> dict:
    """Runs the command line: premises, curves, then the report, which it returns."""
    args = parse(arguments)
    started = time.perf_counter()
    suite = urn_over_time.make_suite(args)
    checkpoint, name = find_checkpoint(args.model), model_name(args.model)
    options = urn_over_time.suite_options(args)
    suite_digest = digest([[asdict(asked.premise), [sentence for _, sentence in asked.hypotheses]] for asked in suite])
    config = read(AutoConfig, checkpoint, trust_remote_code=True)
    settings = {**checkpoint_settings(args.model, checkpoint, config), "suite": suite_digest}
    out = output_folder(args.output_dir or f"runs/over_time/{name}-{suite_digest}")
    curves = make_curves(partial(load_belief_pipeline, checkpoint), suite, out, settings)
    report = {
        "suite": {"digest": suite_digest, "options": options},
        "name": name,
        "settings": settings,
        "sets": analyse(curves),
        "premises_with_notes": len({curve.premise for curve in curves if curve.notes}),
        "seconds": round(time.perf_counter() - started, 1),
        "date": datetime.now(UTC).date().isoformat(),
        "command": ["python", "-m", "evaluation.over_time", *(sys.argv[1:] if arguments is None else arguments)],
    }
    write_time_report(report, out)
    print(f"{counted(len(curves), 'curve')} of suite {suite_digest} in {report['seconds']} s\n")
    print(time_tables(report))
    print(f"\nReport, figure and curves: {out}")
    return report


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ArgumentParser(
        prog="python -m evaluation.over_time",
        description="Measure a checkpoint's belief over time where the truth of every prefix is known.",
    )
    parser.add_argument("--model", required=True, help="checkpoint of CLUE, a folder or a name on the Hub")
    parser.add_argument("--output-dir", help="folder to write to (default: runs/over_time/MODEL-DIGEST)")
    parser.add_argument("--seed", type=seed, default=0, help="of the premises (default: 0)")
    urn_over_time.add_arguments(parser.add_argument_group("premises"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    with exit_on_error():
        main()
