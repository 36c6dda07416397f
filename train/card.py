"""Adds to the card of a checkpoint, which `train/sft.py` writes, what is measured later:

```bash
python -m evaluation.run --model runs/demo/checkpoint --dataset umui --dataset-config urn-audio --split test
python -m train.card --model runs/demo/checkpoint \
    --report runs/evaluation/demo-checkpoint/urn-audio-test/report.json

# What no run can know
python -m train.card --model runs/clue-3b --base-model Qwen/Qwen2.5-Omni-3B --license other
```
"""

from pathlib import Path

from common.cli import ArgumentParser, exit_on_error
from train.model_card import add_report, write_card
from train.record import read_record, shown_path


def main(arguments: list[str] | None = None) -> None:
    """Adds to the card of a checkpoint."""
    parser = ArgumentParser(
        prog="python -m train.card", description="Add what was measured, and what no run can know, to a card."
    )
    parser.add_argument("--model", required=True, type=Path, help="folder that train/sft.py wrote")
    parser.add_argument(
        "--report", nargs="+", default=[], type=Path, help="report.json files of evaluation.run on this checkpoint"
    )
    parser.add_argument("--license", help="licence of the weights, by the Hub's name for it")
    parser.add_argument("--base-model", help="the model on the Hub that the weights come from, as ORG/NAME")
    args = parser.parse_args(arguments)
    record = read_record(args.model)
    for path in args.report:
        add_report(record, args.model, path)
    if args.license is not None:
        record["license"] = args.license
    if args.base_model is not None:
        record["base"]["base_model"] = args.base_model
    write_card(args.model, record)
    print(f"Wrote {shown_path(args.model / 'README.md')}.")


if __name__ == "__main__":
    with exit_on_error():
        main()
