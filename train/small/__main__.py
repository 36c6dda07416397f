"""Writes the small CLUE checkpoint: see `train.small`."""

import argparse
from pathlib import Path

from common.cli import ArgumentParser, exit_on_error
from common.cli import seed as seed_type
from train import small


def main() -> None:
    """Writes the checkpoint that the command line asks for."""
    parser = ArgumentParser(
        prog="python -m train.small",
        description=small.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output-dir", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=seed_type, default=0, help="of the new weights (default: %(default)s)")
    arguments = parser.parse_args()
    print(f"Wrote {small.build_small(arguments.output_dir, arguments.seed)}.")


if __name__ == "__main__":
    with exit_on_error():
        main()
