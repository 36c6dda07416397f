"""Sends the output folder of a run that has ended to the Hub, such as after `train.card`.

```bash
python -m train.push --model runs/demo/checkpoint --repo ORG/NAME

# During training (each save brings the newest weights, processor and card; or `--hub-strategy end`)
accelerate launch train/sft.py --config train/recipes/demo_cpu.yaml --save-strategy steps \
    --push-to-hub --hub-model-id ORG/NAME
```
"""

from pathlib import Path
from urllib.parse import quote

from huggingface_hub import HfApi

from common.cli import ArgumentParser, exit_on_error
from train.hub import open_repo, stage, upload
from train.model_card import write_card
from train.record import RECORD_NAME, read_record


def main(arguments: list[str] | None = None) -> None:
    """Pushes the output folder of a run."""
    parser = ArgumentParser(prog="python -m train.push", description="Push what train/sft.py wrote.")
    parser.add_argument("--model", required=True, type=Path, help="output folder of train/sft.py")
    parser.add_argument("--repo", required=True, help="repository on the Hub, as ORG/NAME")
    parser.add_argument("--revision", help="branch to push to (default: main)")
    parser.add_argument("--private", action="store_true", help="make it private, if it is new")
    args = parser.parse_args(arguments)
    record = read_record(args.model)
    repo = open_repo(args.repo, private=args.private or None, revision=args.revision)
    record["name"] = repo
    branch = quote(args.revision or "main", safe="")
    write_card(args.model, record, source_url=f"{HfApi().endpoint}/{repo}/blob/{branch}/{RECORD_NAME}")
    staged = stage(args.model, args.model)
    print(f"Pushed: {upload(staged, repo, 'Checkpoint with its card', None, args.revision).commit_url}")


if __name__ == "__main__":
    with exit_on_error():
        main()
