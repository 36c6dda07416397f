"""Adds to the card of a checkpoint, which `train/sft.py` writes, what is measured later:

```bash
python -m evaluation.run --model runs/demo/checkpoint --dataset umui --dataset-config urn-audio --split test
python -m train.card --model runs/demo/checkpoint \
    --report runs/evaluation/demo-checkpoint/urn-audio-test/report.json

# What no run can know
python -m train.card --model runs/clue-3b --base-model Qwen/Qwen2.5-Omni-3B --license other
```

A checkpoint that `train/sft.py` did not write has a card of its own, which stays as it is: what was measured on
datasets of the Hub is written to `.eval_results`, from all reports of one call.
"""

from pathlib import Path

from common.cli import ArgumentParser, exit_on_error
from train.model_card import add_report, write_card, write_results
from train.record import RECORD_NAME, read_record, shown_path


def main(arguments: list[str] | None = None) -> None:
    """Adds to the card of a checkpoint."""
    parser = ArgumentParser(
        prog="python -m train.card", description="Add what was measured, and what no run can know, to a card."
    )
    parser.add_argument("--model", required=True, type=Path, help="folder of a checkpoint")
    parser.add_argument(
        "--report", nargs="+", default=[], type=Path, help="report.json files of evaluation.run on this checkpoint"
    )
    parser.add_argument("--license", help="licence of the weights, by the Hub's name for it")
    parser.add_argument("--base-model", help="the model on the Hub that the weights come from, as ORG/NAME")
    args = parser.parse_args(arguments)
    if args.report and args.license is None and args.base_model is None and not (args.model / RECORD_NAME).is_file():
        _add_results(args.model, args.report)
        return
    record = read_record(args.model)
    for path in args.report:
        add_report(record, args.model, path)
    if args.license is not None:
        record["license"] = args.license
    if args.base_model is not None:
        record["base"]["base_model"] = args.base_model
    write_card(args.model, record)
    print(f"Wrote {shown_path(args.model / 'README.md')}.")


def _add_results(model: Path, reports: list[Path]) -> None:
    """Writes the results of a checkpoint whose card was written by hand."""
    if not (model / "config.json").is_file():
        raise ValueError(f"{model} is no folder of a checkpoint: it has no config.json.")
    record = {"reports": []}
    for path in reports:
        add_report(record, model, path)
    paths = write_results(model, record["reports"])
    if not paths:
        raise ValueError(
            f"{model} has no {RECORD_NAME}, so its card is its own, and none of the reports is about a dataset of the "
            "Hub, whole splits of which a leaderboard could show: evaluate with --dataset ORG/NAME, without --limit."
        )
    print(f"Wrote {', '.join(shown_path(path) for path in paths)}.")


if __name__ == "__main__":
    with exit_on_error():
        main()
