"""
A teacher model: what it says of each pair, and its votes in the place of labels.

```
python -m datasets_scripts.teacher ask --dataset umui --dataset-config clotho --output-dir answers \\
    --server http://127.0.0.1:8000/v1 --server-model Qwen/Qwen2.5-Omni-7B
python -m datasets_scripts.teacher label --dataset umui --dataset-config clotho --answers answers
```

Each has its own --help. How good a teacher is on what people judged is told by `python -m evaluation.paper table5`.
"""

import argparse

from common.cli import ArgumentParser, refuse_old
from datasets_scripts.teachers import ask, labels


COMMANDS = {"ask": ask.main, "label": labels.main}
OLD = {"quality": "python -m evaluation.paper table1 or table5 and, for the histograms, evaluation.figures teachers"}


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    refuse_old(arguments, OLD)
    parser = ArgumentParser(
        prog="python -m datasets_scripts.teacher",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("options", nargs=argparse.REMAINDER)
    found = parser.parse_args(arguments)
    COMMANDS[found.command](found.options)


if __name__ == "__main__":
    main()
