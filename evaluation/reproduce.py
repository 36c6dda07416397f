"""Measures a model on what the paper was measured on, from its authors' release, and writes all of it on one page.

```bash
hf download AdoptedIrelia/UMUI --repo-type dataset --local-dir UMUI-data   # and unpack its archives in it
python -m modeling_clue.conversion from-research --model AdoptedIrelia/UNLI --prompt run_eval.py \\
    --output-dir runs/clue-research
python -m evaluation.reproduce --raw UMUI-data --model runs/clue-research --output-dir runs/reproduce
```

Each stage is a command that can be run by hand; it is printed before it runs. What is built stays, an evaluation goes
on where it was cut off, and is refused for another model in the same folder. Configs whose clips are not there are
left out and named. The predictions that the authors publish for Clotho are measured beside the model's.
"""

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from common.cli import ArgumentParser, exit_on_error, positive_int
from common.files import write_text
from datasets_scripts.paper_numbers import paper_title
from datasets_scripts.sources.published import CONFIGS, find_clips, stored_name_of
from evaluation.metrics.uncertain_inference.measures import RESAMPLES
from evaluation.tables import markdown_table, short, with_interval


# By default "test"; UNLI is tested on its validation split (appendix D of the paper).
SPLITS = {"unli": "validation"}
# Tables of what is evaluated here, and the commands of those for which the release holds nothing.
TABLES = (2, 3, 8)
OTHER_TABLES = {
    1: "python -m evaluation.paper table1 --answers NAME=ANSWERS --judgements people.jsonl",
    4: "python -m evaluation.paper table4 --predictions 1:1=FOLDER 1:2=FOLDER",
    5: "python -m evaluation.paper table5 --answers NAME=ANSWERS --judgements people.jsonl",
    7: "python -m evaluation.paper table7 --predictions NAME=FOLDER --fit NAME=FOLDER",
}
# Predictions of the authors' models, and what they are about.
RECORDED = {"UMUI-binary/clotho": "clotho-teacher"}


def main(arguments: list[str] | None = None) -> None:
    """Runs all stages."""
    options = parse(arguments)
    if not options.raw.is_dir():
        raise ValueError(f"--raw {options.raw} is no folder: download the authors' dataset to it.")
    out, data = options.output_dir, options.output_dir / "umui"
    configs = list(build(options, data))
    folders = evaluate(options, data, configs)
    named = [f"{name}={folder}" for name, folder in folders]
    for table in TABLES:
        given = ("--predictions", *named, "--resamples", options.resamples, "--output-dir", out / "tables")
        run("evaluation.paper", f"table{table}", *given)
    tables = [json.loads((out / f"tables/table{table}.json").read_text(encoding="utf-8")) for table in TABLES]
    write_text(out / "paper.md", page(options, tables, [name for name in CONFIGS if name not in configs]))
    print(f"\nEvery number of the paper beside ours: {out / 'paper.md'}")


def build(options: argparse.Namespace, data: Path) -> Iterator[str]:
    """Builds the configs that are not there yet; yields those that are in the end, and names the others."""
    clips = options.clips or options.raw
    for config in CONFIGS:
        archive, folder = (None, clips) if config == "unli" else find_clips(config, clips)
        if folder is None:
            print(f"[build] {config} is left out: the clips of {archive} are not below {clips}", flush=True)
            continue
        if not (data / stored_name_of(config, "listed") / "build.json").is_file():
            given = ("published", "--raw", options.raw, "--clips", clips, "--dataset-configs", config)
            run("datasets_scripts.build", *given, "--pairs", "listed", "--on-error", "skip", "--output-dir", data)
        yield config


def evaluate(options: argparse.Namespace, data: Path, configs: list[str]) -> list[tuple[str, Path]]:
    """Evaluates the model, and what the authors predicted; returns names in tables and folders."""
    evaluated = []

    def about(config: str, name: str, *predictor: object) -> None:
        folder = options.output_dir / "evaluation" / name / config
        split = SPLITS.get(config, "test")
        rows = ("--dataset", data, "--dataset-config", stored_name_of(config, "listed"), "--split", split)
        run("evaluation.run", *predictor, *rows, "--output-dir", folder)
        evaluated.append((name, folder))

    for config in configs:
        about(config, options.predictor_name, "--model", options.model, "--batch-size", options.batch_size)
    for place, config in RECORDED.items():
        for file in sorted((options.raw / place).glob("*.json")) if config in configs else ():
            about(config, f"{file.stem} (published)", "--predictor", "recorded", "--answers", file)
    return evaluated


def run(module: str, *options: object) -> None:
    """Runs a command, printed as it would be given by hand; one that fails ends everything with its exit status."""
    words = [str(option) for option in options]
    print(f"\n$ python -m {module} {shlex.join(words)}", flush=True)
    status = subprocess.run([sys.executable, "-m", module, *words], check=False).returncode
    if status:
        sys.exit(f"python -m {module} failed with exit status {status}: mend it, and give this command again.")


def page(options: argparse.Namespace, tables: list[dict], left_out: list[str]) -> str:
    """Returns every number of the paper's tables beside ours, with the difference."""
    lines = [
        "# The paper's numbers, and ours",
        "",
        f"`{options.predictor_name}` is {options.model}, on {options.raw}. Brackets: 95% of {options.resamples:,} "
        "resamples of whole premises. The difference is ours minus the paper's, with a star where the paper's is "
        "outside of our interval. Dashes: nothing of that name was measured here.",
        "",
        *([f"Not built, for want of clips: {', '.join(left_out)}.", ""] if left_out else []),
    ]
    for table in tables:
        heads = [name.removesuffix(" (paper)") for name in table["rows"][0] if name.endswith(" (paper)")]
        cells = [
            [row["predictor"], row["data"], *(cell for head in heads for cell in _beside(row, head))]
            for row in table["rows"]
        ]
        header = [part for head in heads for part in (head, "paper", "difference")]
        lines += [f"## {table['caption']}", "", markdown_table(["predictor", "data", *header], cells, words=2), ""]
        lines += [f"- {note}" for note in table["notes"]] + [""]
    lines += ["## Tables for which the release holds nothing", ""]
    lines += [f"- Table {number}, {paper_title(number)}: `{command}`" for number, command in OTHER_TABLES.items()]
    return "\n".join(lines) + "\n"


def _beside(row: dict, head: str) -> tuple[str, str, str]:
    """Returns our number with its interval, the paper's, and the difference."""
    ours, low, high, paper = (row.get(f"{head}{part}") for part in ("", " low", " high", " (paper)"))
    shown = with_interval({"value": ours, "interval": None if low is None else (low, high)}, short)
    if ours is None or paper is None:
        return shown, short(paper), "-"
    star = "*" if low is not None and not low <= paper <= high else ""
    return shown, short(paper), f"{ours - paper:+.3g}{star}"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ArgumentParser(prog="python -m evaluation.reproduce", description=__doc__.splitlines()[0])
    parser.add_argument("--raw", type=Path, required=True, help="the folder that the authors' dataset is in")
    parser.add_argument("--clips", type=Path, help="the folder where its archives were unpacked (default: --raw)")
    parser.add_argument("--model", required=True, help="folder of a model, or its name on the Hub")
    parser.add_argument(
        "--predictor-name", default="CLUE-D", help="of the model, as in the paper's tables (default: %(default)s)"
    )
    parser.add_argument("--batch-size", type=positive_int, default=8, help="premises scored together (default: 8)")
    parser.add_argument("--resamples", type=positive_int, default=RESAMPLES, help="default: %(default)s")
    parser.add_argument("--output-dir", type=Path, default=Path("runs/reproduce"), help="default: %(default)s")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    with exit_on_error():
        main()
