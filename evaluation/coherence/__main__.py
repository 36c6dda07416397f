"""
Measures coherence: whether a predictor's answers to related hypotheses fit together, whether right or wrong.

```bash
python -m evaluation.coherence --model checkpoints/clue-urn-tiny
python -m evaluation.coherence --model checkpoints/clue-urn-tiny --modalities video --premises 200 --calls reordered
python -m evaluation.coherence --model runs/clue-3b --dataset umui --dataset-configs unli wikivideo-video --limit 500
```

Without `--dataset` it asks about premises of the urn world, built in `runs/coherence/suites`, of which the exact
answers are known (evaluation/coherence/urn_world.py); with one, about its pairs and what follows from any pair
(evaluation/coherence/pairs.py). Writes to the output folder `report.json` and `report.md`, and what was predicted in a
folder for each set and call; the same command goes on after an interruption, by one process or several
(evaluation/processes.py). evaluation/coherence.md tells what is asked and measured.
"""

import argparse
import os
import sys
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path

from accelerate import PartialState

from common.cli import ArgumentParser, counted, exit_on_error, positive_int
from evaluation.baselines import fit_baselines
from evaluation.coherence import urn_world
from evaluation.coherence.measures import analyse
from evaluation.coherence.pairs import pair_questions
from evaluation.coherence.questions import CALLS, QuestionSet
from evaluation.coherence.report import coherence_tables, write_coherence_report
from evaluation.data import load_rows, premise_keys, rows_digest, without_context
from evaluation.predict import predict_split
from evaluation.predictors.choose import ChosenPredictor, add_predictor_options, choose_predictor, known_predictors
from evaluation.processes import compute_on_main, joined_processes
from evaluation.unfinished import output_folder


@dataclass(frozen=True)
class Plan:
    """Holds what is to be asked, and of whom."""

    name: str  # of the predictor
    out: str  # the folder, unless another is asked for
    about: dict  # what the report tells of the questions
    jobs: list[tuple[ChosenPredictor, QuestionSet, dict]]  # with what the answers depend on


def main(arguments: list[str] | None = None) -> dict | None:
    """Runs the command line: questions, answers, then the report, which the main process returns."""
    args = parse(arguments)
    with joined_processes() as processes:
        return run(args, processes, sys.argv[1:] if arguments is None else arguments)


def run(args: argparse.Namespace, processes: PartialState, arguments: list[str]) -> dict | None:
    """Asks and measures as one of several processes, of which the main one returns the report."""
    started = time.perf_counter()
    plan = plan_urn(args, processes) if args.dataset is None else plan_pairs(args, processes)
    out = output_folder(args.output_dir or plan.out)
    # Answers that were given before don't depend on a call.
    calls = ("together", *(call for call in CALLS if call in args.calls and known_predictors()[args.predictor].model))
    sets = []
    for chosen, asked, settings in plan.jobs:
        predictions = {
            call: ask(chosen, asked, call, out / asked.name / call, settings, args, processes) for call in calls
        }
        if processes.is_main_process:
            sets.append(analyse(asked, predictions))
    if not processes.is_main_process:
        return None
    if not any(of["split"]["n"] for of in sets):
        raise ValueError(f"None of the answers has a number: {out}/*/*/predictions.jsonl say why.")
    report = {
        "name": plan.name,
        **plan.about,
        "calls": calls,
        "sets": sets,
        "seconds": round(time.perf_counter() - started, 1),
        "date": datetime.now(UTC).date().isoformat(),
        "command": ["python", "-m", "evaluation.coherence", *arguments],
    }
    write_coherence_report(report, out)
    print(f"{counted(sum(of['questions'] for of in sets), 'question')} in {report['seconds']} s\n")
    print(coherence_tables(report))
    print(f"\nReport and predictions: {out}")
    return report


def plan_urn(args: argparse.Namespace, processes: PartialState) -> Plan:
    """Builds a suite of the urn world, and chooses what answers it."""
    options = urn_world.suite_options(args)
    suite = urn_world.make_suite(options)
    digest = urn_world.suite_digest(suite)
    folder = args.suites / digest
    folder.mkdir(parents=True, exist_ok=True)

    def choose(modality: str) -> ChosenPredictor:
        given = argparse.Namespace(**vars(args) | {"dataset_config": urn_world.config_name(modality), "split": "test"})
        with processes.local_main_process_first():
            return choose_predictor(given, str(folder))

    # A model that isn't there is told of before the first clip; answers that were given before are read with the rows.
    chosen = loaded_once(choose(options["modalities"][0])) if known_predictors()[args.predictor].model else None
    with processes.main_process_first():
        urn_world.build_suite(suite, options, folder, args.workers)
    jobs, content = [], {}
    for modality, asked in suite.items():
        config = urn_world.config_name(modality)
        with processes.local_main_process_first():
            rows = load_rows(str(folder), config, "test")
        keys = compute_on_main(processes, partial(premise_keys, rows))
        of_modality = chosen or choose(modality)
        if of_modality.fit is not None:
            of_modality = of_modality.fit(
                compute_on_main(processes, partial(fit_baselines, str(folder), config, "test", rows, keys))
            )
        # Trained models know the urn world; others are told of it.
        context = of_modality.reads_context if args.context is None else args.context
        if not context:
            rows = without_context(rows)
        content[modality] = rows_digest(rows, keys)
        questions = QuestionSet(
            modality,
            [question for one in asked for question in one.questions],
            [check for one in asked for check in one.checks],
            rows,
            keys,
        )
        jobs.append((of_modality, questions, {"suite": digest, "rows": content[modality], "context": context}))
    about = {
        # The bytes of the clips count in `rows`: another version of an encoder gives another digest.
        "suite": {"digest": digest, "options": options, "rows": content},
        "settings": {**jobs[0][0].settings, "context": jobs[0][2]["context"]},
    }
    name = jobs[0][0].name
    return Plan(name, f"runs/coherence/{name}-{digest}", about, jobs)


def plan_pairs(args: argparse.Namespace, processes: PartialState) -> Plan:
    """Makes questions of a dataset's pairs, and chooses what answers them."""
    with processes.local_main_process_first():
        chosen = loaded_once(choose_predictor(args, args.dataset))
        loaded = {config: load_rows(args.dataset, config, args.split) for config in args.dataset_config}
    jobs = []
    for config, rows in loaded.items():
        if args.limit:
            rows = rows.select(range(min(args.limit, len(rows))))
        asked = pair_questions(config, rows, compute_on_main(processes, partial(premise_keys, rows)))
        settings = {"dataset": args.dataset, "config": config, "split": args.split}
        jobs.append((chosen, asked, settings | {"rows": rows_digest(asked.rows, asked.keys)}))
    about = {"suite": None, "settings": {**chosen.settings, "dataset": args.dataset, "split": args.split}}
    where = f"{'+'.join(loaded)}-{args.split}"
    return Plan(chosen.name, f"runs/coherence/{chosen.name}/{where}", about, jobs)


def loaded_once(chosen: ChosenPredictor) -> ChosenPredictor:
    """Keeps the predictor that was loaded for the next set or call."""
    return replace(chosen, make=cache(chosen.make))


def ask(
    chosen: ChosenPredictor,
    asked: QuestionSet,
    call: str,
    out: Path,
    settings: dict,
    args: argparse.Namespace,
    processes: PartialState,
) -> dict[str, float | None]:
    """Returns the answers to a set of questions by id, asked in one way of `CALLS`; they are kept in a folder."""
    out.mkdir(parents=True, exist_ok=True)
    if processes.is_main_process:
        print(f"{asked.name}, {call}:")
    rows, keys = asked.rows, asked.keys
    batch_size, at_once = args.batch_size, chosen.rows_at_once
    if call == "reordered":
        rows, keys = rows.select(range(len(rows) - 1, -1, -1)), keys[::-1]
    if call == "alone":
        # Rows about one premise that are in a batch share it.
        batch_size, at_once = 1, 1
    settings = {**chosen.settings, **settings, "call": call}
    answered = predict_split(chosen.make, rows, keys, out, settings, batch_size, processes, at_once)
    return {row["id"]: row["prediction"] for row in answered}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ArgumentParser(
        prog="python -m evaluation.coherence",
        description="Measure whether a predictor's answers to related hypotheses fit together.",
    )
    add_predictor_options(parser, models_only=False)
    parser.add_argument(
        "--output-dir",
        help="folder to write to (default: runs/coherence/MODEL-DIGEST, or runs/coherence/MODEL/CONFIGS-SPLIT)",
    )
    parser.add_argument("--batch-size", type=positive_int, default=8, help="premises scored together (default: 8)")
    parser.add_argument(
        "--calls",
        nargs="*",
        choices=CALLS[1:],
        default=CALLS[1:],
        help="how hypotheses are asked again, after all of a premise in one call: the last first, and each alone "
        "(default: both; with nothing after it, neither)",
    )
    pairs = parser.add_argument_group("pairs", "in place of the urn world")
    pairs.add_argument("--dataset", help="folder of a dataset, or its name on the Hub")
    pairs.add_argument("--dataset-config", "--dataset-configs", nargs="+", help="config of it, or several")
    pairs.add_argument("--split", help="split of it (default: test)")
    pairs.add_argument("--limit", type=positive_int, help="ask about the first rows of the split alone")
    urn = parser.add_argument_group("urn world")
    urn_world.add_arguments(urn)
    urn.add_argument(
        "--context",
        action=argparse.BooleanOptionalAction,
        help="tell the model in words what the premises are (default: if it was not trained for the task)",
    )
    urn.add_argument("--suites", type=Path, help="where suites are built (default: runs/coherence/suites)")
    urn.add_argument("--workers", type=positive_int, help="that make clips (default: one a core)")
    args = parser.parse_args(arguments)
    of_pairs, of_urn = ("dataset_config", "split", "limit"), (*urn_world.DEFAULTS, "context", "suites", "workers")
    foreign = of_pairs if args.dataset is None else of_urn
    if given := [f"--{name.replace('_', '-')}" for name in foreign if getattr(args, name) is not None]:
        needs = "go with --dataset" if args.dataset is None else "are for the urn world, without --dataset"
        parser.error(f"{', '.join(given)} {needs}")
    if args.dataset is not None and args.dataset_config is None:
        parser.error("--dataset needs --dataset-config")
    if args.dataset is not None and not known_predictors()[args.predictor].model:
        parser.error(
            f"--predictor {args.predictor} only answers rows that are there, not what follows from them: leave "
            "--dataset out, or give a model"
        )
    args.split = args.split or "test"
    args.suites = args.suites or Path("runs/coherence/suites")
    args.workers = args.workers or os.cpu_count()
    return args


if __name__ == "__main__":
    with exit_on_error():
        main()
