"""
Does a checkpoint know what it does not know? Its spread on the urn world beside its spread on what is none of it.

```bash
python -m evaluation.unknown --model checkpoints/clue-urn-tiny
```

Asks about premises as the training data has them and as many of each kind that it was not made for: other languages,
noise, silence, unrelated texts and clips, contradictions, colours and pitches it has never met, hypotheses about
something else; with the checkpoint's calibration and without. Writes `report.json`, `report.md` and the answers to the
output folder, going on after an interruption. evaluation/unknown.md tells what is asked, and what was measured.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial

from transformers import AutoConfig

from common.cli import ArgumentParser, counted, exit_on_error, seed
from common.digests import digest
from common.files import write_text
from common.hub import find_checkpoint
from datasets_scripts.sources import urn_unknown
from evaluation.belief_pipeline import load_belief_pipeline
from evaluation.predictors.checkpoints import checkpoint_settings
from evaluation.predictors.choose import model_name
from evaluation.tables import markdown_table, number, short
from evaluation.unfinished import output_folder
from evaluation.unknown.answers import make_answers
from evaluation.unknown.measures import EDGE, NARROW, WAYS, analyse
from modeling_clue.checkpoint_parts import read


def main(arguments: list[str] | None = None) -> dict:
    """Runs the command line: premises, answers, then the report, which it returns."""
    args = parse(arguments)
    started = time.perf_counter()
    suite = urn_unknown.make_suite(args)
    checkpoint, name = find_checkpoint(args.model), model_name(args.model)
    options = urn_unknown.suite_options(args)
    suite_digest = digest([options, [asdict(asked) for asked in suite]])
    config = read(AutoConfig, checkpoint, trust_remote_code=True)
    settings = {**checkpoint_settings(args.model, checkpoint, config), "suite": suite_digest}
    out = output_folder(args.output_dir or f"runs/unknown/{name}-{suite_digest}")
    answered = make_answers(partial(load_belief_pipeline, checkpoint), suite, out, settings)
    report = {
        "suite": {"digest": suite_digest, "options": options},
        "name": name,
        "settings": settings,
        "kinds": analyse(answered),
        "seconds": round(time.perf_counter() - started, 1),
        "date": datetime.now(UTC).date().isoformat(),
        "command": ["python", "-m", "evaluation.unknown", *(sys.argv[1:] if arguments is None else arguments)],
    }
    write_text(out / "report.json", json.dumps(report, indent=2) + "\n")
    write_text(out / "report.md", f"# {name}, inside and outside of the urn world\n\n{tables(report['kinds'])}\n")
    print(f"{counted(len(suite), 'premise')} of suite {suite_digest} in {report['seconds']} s\n")
    print(tables(report["kinds"]))
    print(f"\nReport and answers: {out}")
    return report


def tables(kinds: list[dict]) -> str:
    """Lays out the measures of each kind, without the calibration and with it."""

    def both(row: dict, name: str, show=short) -> str:
        values = (row[way][name] for way in WAYS)
        return " / ".join(show(value["value"] if isinstance(value, dict) else value) for value in values)

    outside = [
        [
            f"{row['modality']} {row['kind']}",
            f"{row['n']:,}",
            *(both(row, name) for name in ("auroc", "sure", "decided", "width", "conformal_width")),
            short(row["calibrated"]["novel"] and row["calibrated"]["novel"]["value"]),
        ]
        for row in kinds
    ]
    head = ["premises", "answers", "AUROC of the spread", "sure", "decided", "width", "conformal width", "novel"]
    known = [
        [
            f"{row['modality']} {row['kind']}",
            both(row, "mse", lambda value: number(value, 6)),
            both(row, "ece", number),
            both(row, "coverage", lambda value: number(value, 3)),
            both(row, "conformal_coverage", lambda value: number(value, 3)),
        ]
        for row in kinds
        if row["raw"]["mse"] is not None
    ]
    errors = ["premises", "MSE", "ECE", "coverage of the interval", "of the conformal one"]
    return f"""Without the calibration / with it. `AUROC`: the chance that the spread is larger than about a familiar
premise; `sure`: share of answers with a 90 % interval no wider than {NARROW}; `decided`: with a probability of at most
{EDGE} or at least {1 - EDGE}; `width`: of that interval, on average; `novel`: share of answers with a novelty above 0.

{markdown_table(head, outside)}

Where the probability is known:

{markdown_table(errors, known)}"""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ArgumentParser(
        prog="python -m evaluation.unknown",
        description="Measure whether a checkpoint gets less sure outside of what it was made for.",
    )
    parser.add_argument("--model", required=True, help="checkpoint of CLUE, a folder or a name on the Hub")
    parser.add_argument("--output-dir", help="folder to write to (default: runs/unknown/MODEL-DIGEST)")
    parser.add_argument("--seed", type=seed, default=0, help="of the premises (default: 0)")
    urn_unknown.add_arguments(parser.add_argument_group("premises"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    with exit_on_error():
        main()
