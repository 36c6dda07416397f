"""
A teacher model: what it says of each pair, its votes in the place of labels, and how good it is.

```
python -m datasets_scripts.teacher ask --dataset umui --config clotho --out answers \\
    --server http://127.0.0.1:8000/v1 --model Qwen/Qwen2.5-Omni-7B
python -m datasets_scripts.teacher label --dataset umui --config clotho --answers answers
python -m datasets_scripts.teacher quality --answers Qwen=answers --judgements people.jsonl --out quality
```

Each has its own --help.
"""

import argparse

from datasets_scripts.teachers import ask, labels, quality


COMMANDS = {"ask": ask.main, "label": labels.main, "quality": quality.main}


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
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
