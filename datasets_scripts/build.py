"""
Builds configs of the UMUI dataset into a folder that `datasets.load_dataset` reads.

```
python -m datasets_scripts.build urn --out umui
python -m datasets_scripts.build urn --out umui --train 500 --validation 50 --test 100 --modalities audio --overwrite
python -m datasets_scripts.build unli --raw data/unli --out umui
```
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from datasets_scripts.folder import FolderError, check_free, write_config
from datasets_scripts.schema import MODALITIES, RowError
from datasets_scripts.sources import urn


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m datasets_scripts.build", description=__doc__.splitlines()[1])
    sources = parser.add_subparsers(dest="source", required=True)

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--out", type=Path, required=True, help="the dataset folder, e.g. umui")
    common.add_argument("--seed", type=int, default=0)
    common.add_argument("--overwrite", action="store_true", help="replace configs that exist already")

    urn_parser = sources.add_parser("urn", parents=[common], help="generated, with exact probabilities")
    urn_parser.add_argument("--modalities", nargs="+", choices=MODALITIES, default=MODALITIES)
    urn_parser.add_argument("--train", type=_positive, default=2500, help="premises a modality")
    urn_parser.add_argument("--validation", type=_positive, default=100, help="premises a modality")
    urn_parser.add_argument("--test", type=_positive, default=300, help="premises a modality")
    urn_parser.add_argument("--text-train", type=_positive, help="text premises for training (default: 3 x --train)")
    urn_parser.add_argument("--hypotheses-per-premise", type=_positive, default=12)
    urn_parser.add_argument("--workers", type=_positive, default=urn.default_workers())
    return parser.parse_args(arguments)


def build_urn(arguments: argparse.Namespace) -> None:
    """Builds the configs `urn-<modality>`."""
    sizes = {"train": arguments.train, "validation": arguments.validation, "test": arguments.test}
    number, seed = arguments.hypotheses_per_premise, arguments.seed
    for modality in arguments.modalities:
        check_free(arguments.out, f"urn-{modality}", arguments.overwrite)
    for modality in arguments.modalities:
        if modality == "text":
            text_sizes = sizes | {"train": arguments.text_train or 3 * arguments.train}
            splits = urn.text_splits(text_sizes, number, seed)
            fill = partial(lambda folder, rows: rows, rows=splits)
        else:
            fill = partial(
                _fill_media, modality=modality, sizes=sizes, number=number, seed=seed, workers=arguments.workers
            )
        _report(f"urn-{modality}", write_config(arguments.out, f"urn-{modality}", fill))


def _fill_media(folder: Path, modality: str, sizes: dict[str, int], number: int, seed: int, workers: int) -> dict:
    return urn.media_splits(modality, folder, sizes, number, seed, workers)


def _report(config: str, rows: dict[str, int]) -> None:
    print(f"{config}: " + ", ".join(f"{split} {number} rows" for split, number in rows.items()))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    options = parse_arguments(arguments)
    try:
        build_urn(options)
    except (FolderError, RowError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
