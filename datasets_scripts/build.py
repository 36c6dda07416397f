"""
Builds configs of the UMUI dataset into a folder that `datasets.load_dataset` reads.

```
python -m datasets_scripts.build urn --output-dir umui
python -m datasets_scripts.build urn --modalities audio --train 500 --validation 50 --test 100 --output-dir umui
python -m datasets_scripts.build unli --raw data/unli --output-dir umui
python -m datasets_scripts.build nli --raw data/nli --output-dir umui --on-error skip \\
    --leave-out unli/validation unli/test
python -m datasets_scripts.build clotho --raw data/clotho_entailment --clips data/clotho --output-dir umui \\
    --on-error skip
python -m datasets_scripts.build esc10 --clips data/esc10 --output-dir umui
python -m datasets_scripts.build speech-commands --clips data/speech_commands --output-dir umui
python -m datasets_scripts.build grid --clips data/grid_s1 --output-dir umui
python -m datasets_scripts.build crema-d --votes data/crema_d/tabulatedVotes.csv --clips data/crema_d --output-dir umui
python -m datasets_scripts.build wikivideo --labels labels.json --videos videos --judgements people.jsonl \\
    --output-dir umui
python -m datasets_scripts.build published --raw UMUI-data --output-dir umui --on-error skip
python -m datasets_scripts.build own --dataset-config mine --table pairs.csv --hypothesis-column claim \\
    --premise-column text --probability-column p --output-dir umui
```

Bad rows are all reported, in `umui/<config>.problems.csv`; `--on-error skip` leaves them out. The same
command goes on with a build that was killed.
"""

import argparse
import os
import re
from pathlib import Path

from common.cli import ArgumentParser, exit_on_error, positive_int, seed
from datasets_scripts.building.folder import check_free
from datasets_scripts.building.leave_out import LeftOut, read_left_out
from datasets_scripts.building.ratio import parse_ratio
from datasets_scripts.building.writer import write_config
from datasets_scripts.sources.registry import FACTS, SOURCES


# Options that say nothing of what clips are made: an interrupted build may go on with others.
NOT_IN_THE_PLAN = ("output_dir", "overwrite", "workers", "on_error", "ratio")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ArgumentParser(prog="python -m datasets_scripts.build", description=__doc__.splitlines()[1])
    sources = parser.add_subparsers(dest="source", required=True)
    common = ArgumentParser(add_help=False)
    common.add_argument("--output-dir", type=Path, required=True, help="the dataset folder, e.g. umui")
    common.add_argument("--seed", type=seed, default=0, help="default: %(default)s")
    common.add_argument("--overwrite", action="store_true", help="replace configs that exist already")
    common.add_argument(
        "--on-error",
        choices=("stop", "skip"),
        default="stop",
        help="what to do about bad rows: report them all and write nothing (default), or leave them out and count",
    )
    common.add_argument(
        "--ratio",
        type=parse_ratio,
        default="full",
        help="positives to negatives in the training split: 1:0.5, 1:1, 1:2, 1:3, or full (default)",
    )
    common.add_argument(
        "--leave-out",
        nargs="+",
        default=[],
        metavar="FILE",
        help="leave out rows about these text premises, whatever their blanks and punctuation: files of their SHA-256 "
        "digests, a line each, or splits of this dataset, as CONFIG/SPLIT",
    )
    common.add_argument("--workers", type=positive_int, default=os.cpu_count(), help="default: one a core")
    parsers = {}
    for name, source in SOURCES.items():
        parsers[name] = sources.add_parser(name, parents=[common], help=source.DESCRIPTION)
        source.add_arguments(parsers[name])
    options = parser.parse_args(arguments)
    if options.source == "own" and any(re.fullmatch(facts.configs, options.name) for facts in FACTS.values()):
        complaint = f"{options.name!r} is a name of another source: take one of your own"
        parsers["own"].error(f"argument --dataset-config: {complaint}")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    options = parse_arguments(arguments)
    plan = {name: value for name, value in vars(options).items() if name not in NOT_IN_THE_PLAN}
    with exit_on_error():
        configs = SOURCES[options.source].configs(options)
        for config in configs:
            check_free(options.output_dir, config, options.overwrite)
        digests = read_left_out(options.leave_out, options.output_dir)
        for config, splits in configs.items():
            left_out = LeftOut(digests)
            summary = write_config(
                options.output_dir,
                config,
                {split: left_out.filter_split(drafts) for split, drafts in splits.items()},
                plan,
                overwrite=options.overwrite,
                on_error=options.on_error,
                workers=options.workers,
                ratio=options.ratio,
                seed=options.seed,
            )
            sizes = ", ".join(f"{split} {size['rows']} rows" for split, size in summary.splits.items())
            skipped = ", ".join(f"{count} {kind}" for kind, count in summary.skipped.items())
            report = f"; left out: {skipped} (see {options.output_dir / config}.problems.csv)" if skipped else ""
            if options.leave_out:
                report += f"; {left_out.count} rows about premises of {', '.join(options.leave_out)} left out"
            print(f"{config}: {sizes}{report}")


if __name__ == "__main__":
    main()
