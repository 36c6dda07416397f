"""
Makes the tables of the paper from files, each as Markdown, CSV, JSON and LaTeX, with the paper's numbers beside them.

```bash
python -m evaluation.paper table3 --predictions CLUE-D=runs/d/{unli,wikivideo-video} CLUE-T=runs/t/unli
python -m evaluation.paper table7 --predictions Q2.5-O=runs/omni/clotho --fit Q2.5-O=runs/omni/clotho-validation
python -m evaluation.paper table5 --answers "Qwen3-VL=answers-vl" --judgements people.jsonl
python -m evaluation.paper compare --predictions A=runs/a/unli B=runs/b/unli --measures mse ece
```

A folder is the output of one `python -m evaluation.run`; a name that stands several times has several folders (above,
bash makes two of the first). README.md beside this file tells of each table.
"""

import argparse
from pathlib import Path

from common.cli import ArgumentParser, exit_on_error, named_path, positive_int, seed
from datasets_scripts.paper_numbers import paper_title
from evaluation.metrics.uncertain_inference.measures import MEASURES, RESAMPLES
from evaluation.paper import tables, teachers
from evaluation.paper.compare import MAIN, compare
from evaluation.paper.layout import Table


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    options = parse(arguments)
    with exit_on_error():
        table = make(options)
        table.write(options.output_dir)
    print(table.markdown())
    print(f"Wrote {options.output_dir / table.name}.md, .csv, .json and .tex")


def make(options: argparse.Namespace) -> Table:
    """Makes the table that the command line asks for."""
    if options.table == "compare":
        return compare(options.predictions, options.measures, options.resamples, options.seed)
    number = int(options.table.removeprefix("table"))
    if number in teachers.COLUMNS:
        answers = dict(options.answers)
        return teachers.make_table(number, answers, options.judgements, options.resamples, options.seed)
    fitted_on = options.fit if number == 7 else []
    return tables.make_table(number, options.predictions, fitted_on, options.resamples, options.seed)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ArgumentParser(prog="python -m evaluation.paper", description=__doc__.splitlines()[1])
    commands = parser.add_subparsers(dest="table", required=True)
    for number in sorted([*tables.COLUMNS, *teachers.COLUMNS]):
        title = paper_title(number)
        command = commands.add_parser(f"table{number}", help=title, description=title)
        if number in teachers.COLUMNS:
            _named(command, "--answers", "a teacher's answers, a .jsonl(.gz) file or a folder of such")
            command.add_argument(
                "--judgements", type=Path, required=True, metavar="FILE", help="aggregated judgements of people"
            )
        else:
            _named(command, "--predictions", "a predictor's evaluation; repeat the name for other configurations")
        if number == 7:
            _named(command, "--fit", "its evaluation on another split, to fit a temperature to", required=False)
    command = commands.add_parser("compare", help="paired comparisons between predictors")
    _named(command, "--predictions", "a predictor's evaluation; repeat the name for other configurations")
    command.add_argument(
        "--measures",
        nargs="+",
        choices=MEASURES,
        default=list(MAIN),
        metavar="MEASURE",
        help=f"any of {', '.join(MEASURES)} (default: {' '.join(MAIN)})",
    )
    for command in commands.choices.values():
        command.add_argument("--output-dir", type=Path, default=Path("tables"), help="default: %(default)s")
        command.add_argument(
            "--resamples",
            type=positive_int,
            default=RESAMPLES,
            help="resamples of whole premises (default: %(default)s)",
        )
        command.add_argument("--seed", type=seed, default=0, help="default: %(default)s")
    options = parser.parse_args(arguments)
    if "answers" in options and len(dict(options.answers)) < len(options.answers):
        parser.error("--answers: two teachers have the same name")
    if "measures" in options:
        options.measures = list(dict.fromkeys(options.measures))
    return options


def _named(command: argparse.ArgumentParser, option: str, help_text: str, required: bool = True) -> None:
    command.add_argument(
        option, type=named_path, nargs="+", required=required, default=[], metavar="NAME=PATH", help=help_text
    )


if __name__ == "__main__":
    main()
