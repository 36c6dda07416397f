"""
Builds configs of the UMUI dataset into a folder that `datasets.load_dataset` reads.

```
python -m datasets_scripts.build urn --out umui
python -m datasets_scripts.build urn --out umui --modalities audio --train 500 --validation 50 --test 100 --overwrite
python -m datasets_scripts.build unli --raw data/unli --out umui
```
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from datasets_scripts.folder import check_free, write_config
from datasets_scripts.schema import MODALITIES, BuildError
from datasets_scripts.sources.unli import unli_splits
from datasets_scripts.sources.urn import media_splits, text_splits


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m datasets_scripts.build", description=__doc__.splitlines()[1])
    sources = parser.add_subparsers(dest="source", required=True)

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--out", type=Path, required=True, help="the dataset folder, e.g. umui")
    common.add_argument("--seed", type=_seed, default=0, help="default: %(default)s")
    common.add_argument("--overwrite", action="store_true", help="replace configs that exist already")

    urn = sources.add_parser("urn", parents=[common], help="generated, with exact probabilities")
    urn.add_argument("--modalities", nargs="+", choices=MODALITIES, default=MODALITIES, help="default: all four")
    urn.add_argument("--train", type=_positive, default=2500, help="premises a modality (default: %(default)s)")
    urn.add_argument("--validation", type=_positive, default=100, help="premises a modality (default: %(default)s)")
    urn.add_argument("--test", type=_positive, default=300, help="premises a modality (default: %(default)s)")
    urn.add_argument("--text-train", type=_positive, help="text premises for training (default: 3 x --train)")
    urn.add_argument("--hypotheses-per-premise", type=_positive, default=12, help="default: %(default)s")
    urn.add_argument("--workers", type=_positive, default=os.cpu_count(), help="processes (default: one a core)")

    unli = sources.add_parser("unli", parents=[common], help="human probabilities for text, from the published CSVs")
    unli.add_argument("--raw", type=Path, required=True, help="the folder with dev.csv, or with all three files")
    return parser.parse_args(arguments)


def build_urn(options: argparse.Namespace) -> None:
    """Builds the configs `urn-<modality>`."""
    sizes = {"train": options.train, "validation": options.validation, "test": options.test}
    number, seed = options.hypotheses_per_premise, options.seed
    configs = {f"urn-{modality}": modality for modality in options.modalities}
    for config in configs:
        check_free(options.out, config, options.overwrite)
    for config, modality in configs.items():
        if modality == "text":
            rows = text_splits(sizes | {"train": options.text_train or 3 * options.train}, number, seed)
            _build(options.out, config, lambda folder, rows=rows: rows)
        else:
            media = (modality, sizes, number, seed, options.workers)
            _build(options.out, config, lambda folder, media=media: media_splits(folder, *media))


def build_unli(options: argparse.Namespace) -> None:
    """Builds the config `unli`."""
    check_free(options.out, "unli", options.overwrite)
    rows = unli_splits(options.raw, options.seed)
    _build(options.out, "unli", lambda folder: rows)


def _build(out: Path, config: str, fill: Callable[[Path], dict[str, list[dict]]]) -> None:
    written = write_config(out, config, fill)
    print(f"{config}: " + ", ".join(f"{split} {rows} rows" for split, rows in written.items()))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def _seed(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must not be negative, got {number}")
    return number


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    options = parse_arguments(arguments)
    try:
        build_urn(options) if options.source == "urn" else build_unli(options)
    except BuildError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
