"""
Releases a built dataset folder on the Hub: its files, and a card that says what they are.

```
python -m datasets_scripts.release --repo ORG/umui --dry-run
python -m datasets_scripts.release --repo ORG/umui --private
python -m datasets_scripts.release --repo ORG/umui --dataset umui --configs urn-audio mine \
    --license cc-by-4.0 --redistribute-media
```

Only what differs from the repository is sent, in commits of bounded size, the card last: a release that was cut off
goes on where it stopped, and one that is whole sends nothing. Configs whose clips may not be passed on are released as
labels; `python -m datasets_scripts.build restore` joins them with clips again. What earlier releases put there and
this one lacks is deleted. The token is that of HF_TOKEN or of `hf auth login`.
"""

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import yaml
from huggingface_hub import DatasetCard, HfApi, get_token, metadata_load
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from datasets_scripts.building.folder import folder_lock
from datasets_scripts.releasing.card import ReleasedConfig, facts_of, own_facts, render_card
from datasets_scripts.releasing.hub import HubError, told_in_words
from datasets_scripts.releasing.labels_only import write_labels_only
from datasets_scripts.releasing.summary import rebuild_advice, summarise_config
from datasets_scripts.releasing.upload import Change, ReleaseFile, compare, send, size_text
from datasets_scripts.schema import BuildError


# The Hub refuses a folder with more.
FILES_IN_A_FOLDER = 10_000


@dataclass(frozen=True)
class Repository:
    """
    The repository as it is before the release.

    Args:
        head (`str` or `None`): The commit that the release goes on from; `None` if the repository or the branch isn't
            there yet.
        exists (`bool`): Whether the repository is there.
        private (`bool`): Whether it is private.
    """

    head: str | None
    exists: bool
    private: bool


def choose_configs(folder: Path, options: argparse.Namespace) -> list[ReleasedConfig]:
    """
    What is to be released of a folder.

    Args:
        folder (`Path`): The dataset folder.
        options (`argparse.Namespace`): `configs`, `license` and `redistribute_media`.

    Returns:
        `list[ReleasedConfig]`: the configs, in the order of the folder's README.

    Raises:
        `BuildError`: if the folder is not as builds leave it, or says not enough to be released.
    """
    entries = {entry["config_name"]: entry for entry in _read_entries(folder)}
    unknown = sorted(set(options.configs or ()) - set(entries))
    if unknown:
        raise BuildError(f"--configs {' '.join(unknown)}: {folder}/README.md has {', '.join(entries)}")
    names = [name for name in entries if options.configs is None or name in options.configs]
    gone = [name for name in names if not (folder / name).is_dir()]
    if gone:
        raise BuildError(
            f"{folder}/README.md names {', '.join(gone)}, but there is no such folder: build it again, take its entry "
            "out of README.md, or name with --configs what is to be released"
        )
    configs, own = [], []
    for name in names:
        summary = summarise_config(folder, name)
        facts = facts_of(summary)
        if facts is None:
            own.append(name)
            if options.license is None or options.redistribute_media is None:
                raise BuildError(
                    f"{name} is a collection of your own: say with --license ID what others may do with it, and with "
                    "--redistribute-media or --no-redistribute-media whether its clips go along"
                )
            facts = own_facts(name, options.license, options.redistribute_media)
        configs.append(ReleasedConfig(summary, facts, entries[name], facts.media_allowed))
    if not own and (options.license is not None or options.redistribute_media is not None):
        raise BuildError("--license and --redistribute-media are about collections of your own, and none is released")
    return configs


def list_files(folder: Path, configs: list[ReleasedConfig], scratch: Path) -> list[ReleaseFile]:
    """
    The files of the configs, clips first: what names a clip is never there before it.

    Args:
        folder (`Path`): The dataset folder.
        configs (`list[ReleasedConfig]`): What is released.
        scratch (`Path`): A folder for what is written for the release alone.

    Returns:
        `list[ReleaseFile]`: clips, then rows, then how they were built.

    Raises:
        `BuildError`: if clips are missing, or the Hub would refuse a folder.
    """
    clips, rows, builds = [], [], []
    for config in configs:
        builds.append(ReleaseFile(f"{config.name}/build.json", folder / config.name / "build.json"))
        for split, summary in config.summary.splits.items():
            place = f"{config.name}/{split}"
            metadata = folder / place / "metadata.parquet"
            if config.labels_only:
                metadata = scratch / place / "metadata.parquet"
                metadata.parent.mkdir(parents=True)
                write_labels_only(folder / place / "metadata.parquet", metadata)
            else:
                media = folder / place / "media"
                clips += [ReleaseFile(f"{place}/media/{name}", media / name) for name in sorted(summary.clips)]
            rows.append(ReleaseFile(f"{place}/metadata.parquet", metadata))
    missing = [file for file in clips if not file.local.is_file()]
    if missing:
        config = missing[0].path.partition("/")[0]
        raise BuildError(f"{missing[0].local} and {len(missing) - 1} more clips are missing: {rebuild_advice(config)}")
    sizes = Counter(str(PurePosixPath(file.path).parent) for file in clips)
    for place, number in sizes.items():
        if number > FILES_IN_A_FOLDER:
            raise BuildError(
                f"{place} would hold {number:,} files, and the Hub takes {FILES_IN_A_FOLDER:,} in a folder at most: "
                "build it as several configs"
            )
    return [*clips, *rows, *builds]


def look_at(api: HfApi, repo: str, revision: str) -> Repository:
    """
    Looks what is there.

    Args:
        api (`HfApi`): The client.
        repo (`str`): The repository.
        revision (`str`): The branch.

    Returns:
        `Repository`: what is there.

    Raises:
        `HubError`: if the Hub doesn't answer.
    """
    with told_in_words(repo):
        try:
            info = api.repo_info(repo, repo_type="dataset")
        except RepositoryNotFoundError:
            return Repository(head=None, exists=False, private=False)
        try:
            head = api.repo_info(repo, repo_type="dataset", revision=revision).sha
        except RevisionNotFoundError:
            head = None
        return Repository(head, exists=True, private=bool(info.private))


def release(options: argparse.Namespace) -> None:
    """
    Releases a folder, or says what a release would do.

    Args:
        options (`argparse.Namespace`): The options of [`parse_arguments`].

    Raises:
        `BuildError`: if the folder or the repository is not fit for it.
    """
    if options.repo.count("/") != 1:
        raise BuildError(f"--repo {options.repo}: must be ORG/NAME")
    configs = choose_configs(options.dataset, options)
    card = render_card(configs, options.repo, options.default, _read_agreement(options.agreement))
    token = get_token()
    if token is None and not options.dry_run:
        raise BuildError("there is no token: set HF_TOKEN to one that may write, or run hf auth login")
    api = HfApi(token=token)
    with TemporaryDirectory() as scratch:
        files = list_files(options.dataset, configs, Path(scratch))
        readme = Path(scratch) / "README.md"
        readme.write_text(card, encoding="utf-8", newline="\n")
        files.append(ReleaseFile("README.md", readme))
        if options.dry_run:
            _rehearse(api, options, configs, files, card)
        else:
            _perform(api, options, configs, files, card)


def _rehearse(api: HfApi, options, configs: list[ReleasedConfig], files: list[ReleaseFile], card: str) -> None:
    try:
        there = look_at(api, options.repo, options.revision)
        _check_card(card, options.repo)
        change = _change(api, options, there, files)
    except HubError as error:
        print(f"{error}\nWithout it, this is what a first release would send:")
        there, change = None, Change(files, [])
    if there is not None:
        print(f"{options.repo}: {_standing(there, options)}")
    _print_plan(configs, files, change)


def _perform(api: HfApi, options, configs: list[ReleasedConfig], files: list[ReleaseFile], card: str) -> None:
    there = look_at(api, options.repo, options.revision)
    print(f"{options.repo}: {_standing(there, options)}")
    if options.private and there.exists and not there.private:
        raise BuildError(
            f"{options.repo} is public, and --private would not change that: make it private in its settings, or "
            "leave --private out. Nothing was sent"
        )
    _check_card(card, options.repo)
    with told_in_words(options.repo):
        if not there.exists:
            api.create_repo(options.repo, repo_type="dataset", private=options.private, exist_ok=True)
        if options.revision != "main":
            api.create_branch(options.repo, branch=options.revision, repo_type="dataset", exist_ok=True)
    there = look_at(api, options.repo, options.revision)
    change = _change(api, options, there, files)
    _print_plan(configs, files, change)
    if not change:
        print("All of it is there already: nothing sent")
        return
    commits = send(api, options.repo, options.revision, there.head, change)
    number = "one commit" if commits == 1 else f"{commits} commits"
    print(f"{len(change.changed):,} files sent, {len(change.deleted):,} deleted, in {number}")


def _change(api: HfApi, options, there: Repository, files: list[ReleaseFile]) -> Change:
    if there.head is None:
        return Change(files, [])
    return compare(api, options.repo, there.head, files)


def _check_card(card: str, repo: str) -> None:
    with told_in_words(repo):
        try:
            DatasetCard(card).validate(repo_type="dataset")
        except ValueError as error:
            raise BuildError(f"the Hub refuses the card's front matter: {error}") from error


def _standing(there: Repository, options: argparse.Namespace) -> str:
    if not there.exists:
        return (
            f"is not there, or not open to this token; it would be made {'private' if options.private else 'public'}"
        )
    told = "it is private" if there.private else "it is public"
    return told + (", and stays so: --private was not given" if there.private and not options.private else "")


def _print_plan(configs: list[ReleasedConfig], files: list[ReleaseFile], change: Change) -> None:
    changed = {file.path for file in change.changed}
    for name, note in [*((config.name, ", labels without clips" * config.labels_only) for config in configs)]:
        those = [file for file in files if file.path.startswith(f"{name}/")]
        print(
            f"  {name}: {_amount(those)}{note}; to send: {_amount([file for file in those if file.path in changed])}"
        )
    print(f"  README.md: {'to send' if 'README.md' in changed else 'as it is there'}")
    if change.deleted:
        shown = ", ".join(change.deleted[:5]) + (", ..." if len(change.deleted) > 5 else "")
        print(f"  to delete: {len(change.deleted):,} files of earlier releases ({shown})")


def _amount(files: list[ReleaseFile]) -> str:
    size = sum(file.local.stat().st_size for file in files)
    return f"{len(files):,} file{'s' * (len(files) != 1)}, {size_text(size)}" if files else "nothing"


def _read_entries(folder: Path) -> list[dict]:
    path = folder / "README.md"
    try:
        front = metadata_load(path)
    except FileNotFoundError as error:
        raise BuildError(
            f"{path} is missing: --dataset must be a folder made by python -m datasets_scripts.build"
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise BuildError(f"the front matter of {path} is broken: {error}") from error
    entries = (front or {}).get("configs")
    if not isinstance(entries, list) or not entries or not all("config_name" in entry for entry in entries):
        raise BuildError(f"the front matter of {path} has no list of configs: build one into {folder} first")
    return entries


def _read_agreement(folder: Path | None) -> dict | None:
    if folder is None:
        return None
    path = folder / "agreement.json"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BuildError(
            f"--agreement {folder}: {error}; make it with python -m evaluation.figures agreement --out "
            f"{folder}/agreement.png"
        ) from error
    if not isinstance(report, dict) or not {"items", "annotators", "pairs", "alpha"} <= report.keys():
        raise BuildError(f"{path} is no report of python -m evaluation.figures agreement")
    return report


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m datasets_scripts.release", description=__doc__.splitlines()[1])
    parser.add_argument("--repo", required=True, help="the dataset repository, ORG/NAME; made if it isn't there")
    parser.add_argument("--dataset", type=Path, default=Path("umui"), help="the dataset folder (default: %(default)s)")
    parser.add_argument("--configs", nargs="+", help="what makes up the release (default: all the folder has)")
    parser.add_argument(
        "--default", metavar="CONFIG", help="the config that loads without a name (default: wikivideo-audiovisual)"
    )
    parser.add_argument("--agreement", type=Path, metavar="DIR", help="where agreement.json of evaluation.figures is")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument("--revision", default="main", help="the branch (default: %(default)s)")
    parser.add_argument("--license", metavar="ID", help="of collections of your own, as the Hub calls it")
    parser.add_argument(
        "--redistribute-media",
        action=argparse.BooleanOptionalAction,
        help="whether clips of collections of your own go along",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be sent and deleted, and change nothing"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    options = parse_arguments(arguments)
    try:
        if not options.dataset.is_dir():
            raise BuildError(f"--dataset {options.dataset} is not a folder")
        with folder_lock(options.dataset):
            release(options)
    except BuildError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
