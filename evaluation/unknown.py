"""
Asks a checkpoint about what it was not made for: does it know that it does not know?

```bash
python -m evaluation.unknown --model checkpoints/clue-urn-tiny
python -m evaluation.unknown --model runs/calibrated --modalities text video --premises 200
```

Generates premises and hypotheses outside the urn world (datasets_scripts/sources/urn_unknown.py) beside familiar ones,
and measures whether the distribution widens: the AUROC of the answers' standard deviation, by which 0.5 is chance and
below it the model is surer of what it can't know; and the share of its 90% intervals that are narrow. Writes
`answers.jsonl`, as they are made: the same command goes on after an interruption; `report.json` and `report.md`; and
the clips into `media`.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy.stats import mannwhitneyu
from tqdm.auto import tqdm
from transformers import AutoConfig

from common.cli import ArgumentParser, counted, exit_on_error, seed
from common.digests import digest, weights_digest
from common.files import journal, locked, read_journal, write_text
from common.hub import find_checkpoint
from datasets_scripts.sources import urn_unknown
from evaluation.belief_pipeline import load_belief_pipeline
from evaluation.predictors.choose import model_name
from evaluation.stress.statistics import ratio_interval
from evaluation.tables import markdown_table, with_interval
from evaluation.unfinished import check_settings
from modeling_clue.checkpoint_parts import read


# An interval of at most this width says that the answer is all but known.
NARROW = 0.2
ANSWERS = "answers.jsonl"


def main(arguments: list[str] | None = None) -> dict:
    """Runs the command line: premises, answers, then the report, which it returns."""
    args = parse(arguments)
    suite = urn_unknown.make_suite(args)
    checkpoint, name = find_checkpoint(args.model), model_name(args.model)
    suite_digest = digest([asdict(asked) for asked in suite])
    settings = {
        "model": args.model,
        "weights": weights_digest(checkpoint),
        "calibration": read(AutoConfig, checkpoint, trust_remote_code=True).to_dict().get("calibration"),
        "suite": suite_digest,
    }
    out = Path(args.output_dir or f"runs/unknown/{name}-{suite_digest}")
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: give another --output-dir, a folder.")
    out.mkdir(parents=True, exist_ok=True)
    rows = make_answers(checkpoint, suite, out, settings)
    report = {
        "suite": {"digest": suite_digest, "options": urn_unknown.suite_options(args)},
        "name": name,
        "settings": settings,
        "kinds": analyse(rows),
        "date": datetime.now(UTC).date().isoformat(),
        "command": ["python", "-m", "evaluation.unknown", *(sys.argv[1:] if arguments is None else arguments)],
    }
    table = kinds_table(report)
    write_text(out / "report.json", json.dumps(report, indent=2) + "\n")
    write_text(out / "report.md", f"# {name}: what it was not made for\n\nSuite `{suite_digest}`.\n\n{table}\n")
    print(f"{counted(len(rows), 'answer')} about suite {suite_digest}\n\n{table}\n\nReport and answers: {out}")
    return report


def make_answers(checkpoint: Path, suite: list[urn_unknown.Asked], out: Path, settings: dict) -> list[dict]:
    """
    Returns the answers to a suite, a row a hypothesis, going on from what an interrupted run has kept in a folder.

    Raises:
        ValueError: if the folder holds answers of other settings, or another run is writing to it.
    """
    with locked(out / ".lock", ValueError(f"Another evaluation is writing to {out}: wait for it, or end it.")):
        check_settings(out, settings)
        kept = list(read_journal(out / ANSWERS)) if (out / ANSWERS).exists() else []
        done = {row["premise"] for row in kept}
        left = [asked for asked in suite if asked.name not in done]
        if left:
            (out / "media").mkdir(exist_ok=True)
            clue = load_belief_pipeline(checkpoint)
            with journal(out / ANSWERS) as add:
                for rows in tqdm(ask(clue, left, out / "media"), total=len(left), unit="premise"):
                    add(rows)
                    kept += rows
    return kept


def ask(clue, suite: Iterable[urn_unknown.Asked], media: Path) -> Iterator[list[dict]]:
    """Yields the answers about each premise; clips are written into the folder `media`."""
    for asked in suite:
        answers = clue(asked.write(media) | {"hypotheses": list(asked.hypotheses)})
        yield [
            {
                "premise": asked.name,
                "modality": asked.modality,
                "kind": asked.kind,
                "hypothesis": answer["hypothesis"],
                "truth": truth,
                **{key: answer[key] for key in ("probability", "standard_deviation", "interval")},
            }
            for answer, truth in zip(answers, asked.probabilities, strict=True)
        ]


def analyse(rows: list[dict]) -> list[dict]:
    """
    Measures the answers of each modality and kind.

    Returns:
        `list[dict]`: a `dict` a kind: `modality`, `kind`, the number of answers `n`, and with intervals over premises
        `narrow`, the share of answers whose interval is at most `NARROW` wide, and `error`, the mean absolute error
        where the truth is known; and `auroc`, by which the spread tells these answers from familiar ones.
    """
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        groups.setdefault((row["modality"], row["kind"]), []).append(row)
    found = []
    for (modality, kind), group in groups.items():
        premises = [row["premise"] for row in group]
        widths = np.array([row["interval"][1] - row["interval"][0] for row in group])
        known = group[0]["truth"] is not None
        errors = np.array([abs(row["probability"] - row["truth"]) for row in group]) if known else None
        spread, familiar = (
            [row["standard_deviation"] for row in some]
            for some in (group, groups.get((modality, urn_unknown.FAMILIAR), []))
        )
        outside = kind != urn_unknown.FAMILIAR and familiar
        found.append(
            {
                "modality": modality,
                "kind": kind,
                "n": len(group),
                "narrow": _mean(widths <= NARROW, premises),
                "error": _mean(errors, premises) if known else None,
                "auroc": mannwhitneyu(spread, familiar).statistic / (len(spread) * len(familiar)) if outside else None,
            }
        )
    return found


def _mean(values: np.ndarray, premises: list[str]) -> dict:
    """Returns the mean of a value a row, with its interval by resampling premises."""
    _, numbers = np.unique(premises, return_inverse=True)
    sums, counts = np.bincount(numbers, values), np.bincount(numbers).astype(float)
    return {"value": float(sums.sum() / counts.sum()), "interval": ratio_interval(sums, counts)}


def kinds_table(report: dict) -> str:
    """Lays out what was measured, a row a modality and kind."""
    head = ["premises", "answers", "AUROC of the spread", f"interval at most {NARROW:g} wide [95%]", "error [95%]"]
    return markdown_table(
        head,
        [
            [
                f"{row['modality']} {row['kind']}",
                f"{row['n']:,}",
                "-" if row["auroc"] is None else f"{row['auroc']:.3f}",
                with_interval(row["narrow"]),
                "-" if row["error"] is None else with_interval(row["error"]),
            ]
            for row in report["kinds"]
        ],
    )


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ArgumentParser(
        prog="python -m evaluation.unknown",
        description="Measure whether a checkpoint's answers widen on what it was not made for.",
    )
    parser.add_argument("--model", required=True, help="checkpoint of CLUE, a folder or a name on the Hub")
    parser.add_argument("--output-dir", help="folder to write to (default: runs/unknown/MODEL-DIGEST)")
    parser.add_argument("--seed", type=seed, default=0, help="of the premises (default: 0)")
    urn_unknown.add_arguments(parser.add_argument_group("premises"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    with exit_on_error():
        main()
