"""What tests of sources share: the drafts that a source gives, and empty files for it."""

import argparse
from pathlib import Path
from types import ModuleType

from datasets_scripts.building.drafts import Draft, Problem


Drafts = list[Draft | Problem]


def drafts_of(source: ModuleType, *arguments: object) -> dict[str, dict[str, Drafts]]:
    """Returns the drafts of each split of each config that the options of a source ask for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    source.add_arguments(parser)
    built = source.configs(parser.parse_args(list(map(str, arguments))))
    return {config: {split: list(drafts) for split, drafts in splits.items()} for config, splits in built.items()}


def rows_of(drafts: Drafts) -> list[dict]:
    """Returns the rows among drafts."""
    return [one.row for one in drafts if isinstance(one, Draft)]


def problems_of(drafts: Drafts) -> list[Problem]:
    """Returns the problems among drafts."""
    return [one for one in drafts if isinstance(one, Problem)]


def touch(folder: Path, *names: object) -> Path:
    """Makes empty files: sources don't look into clips."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder
