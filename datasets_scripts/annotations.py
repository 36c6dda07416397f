"""
Human judgements: from what each annotator said to one probability an item.

```
python -m datasets_scripts.annotations aggregate --annotations ann.csv ben.jsonl --output judgements.jsonl
```

`python -m evaluation.figures agreement` shows how far the annotators agree, and `datasets_scripts/judgements/read.py`
says what a file of judgements holds.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from common.cli import ArgumentParser, exit_on_error, refuse_old
from common.errors import InputError
from common.files import write_text
from datasets_scripts.judgements.read import add_raw_options, aggregate, read_and_tell


def _run_aggregate(options: argparse.Namespace) -> None:
    if options.output.is_dir() or options.output.resolve() in [path.resolve() for path in options.annotations]:
        raise InputError(f"--output {options.output} is a folder or one of the raw files: name another file")
    judgements = read_and_tell(options)
    records = aggregate(judgements)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_text(options.output, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    people = Counter(judgement.annotator for judgement in judgements)
    alone = sum(len(record["annotators"]) == 1 for record in records)
    print(f"{options.output}: {len(records)} items from {len(judgements)} judgements, {alone} judged by one annotator")
    print("judgements: " + ", ".join(f"{name} {people[name]}" for name in sorted(people)))


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ArgumentParser(prog="python -m datasets_scripts.annotations", description=__doc__.splitlines()[1])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("aggregate", help="one probability an item, as JSONL")
    add_raw_options(one)
    one.add_argument("--output", type=Path, required=True, metavar="FILE", help="the JSONL file; it is replaced")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    refuse_old(arguments, {"agreement": "python -m evaluation.figures agreement --annotations FILE"})
    options = parse_arguments(arguments)
    with exit_on_error():
        _run_aggregate(options)


if __name__ == "__main__":
    main()
