"""
Releases a built dataset folder on the Hub: its files, and a card that says what they are.

```
python -m datasets_scripts.release --repo ORG/umui --dry-run
python -m datasets_scripts.release --repo ORG/umui --private
python -m datasets_scripts.release --repo ORG/umui --dataset umui --dataset-configs urn-audio mine \
    --license cc-by-4.0 --redistribute-media
```

Clips go first, in as many commits as the Hub's client makes of them; then, in one commit, the rows and the card. A
release that was cut off goes on where it stopped, and one that is whole sends nothing.
Configs whose clips may not be passed on are released as labels; `python -m datasets_scripts.build restore` joins them
with clips again. What earlier releases put there and this one lacks is deleted. The token is that of HF_TOKEN or of
`hf auth login`.
"""

import argparse
import json
import os
import re
from collections import Counter
from contextlib import nullcontext
from itertools import takewhile
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import yaml
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, metadata_load
from huggingface_hub.hf_api import RepoFile

from common.benchmark import BENCHMARK_FILE, benchmark
from common.cli import ArgumentParser, counted, exit_on_error
from common.errors import InputError
from common.hub import (
    HubError,
    Repository,
    changed_files,
    check,
    connect,
    count_and_size,
    explain_hub_errors,
    find_repository,
    stage,
)
from datasets_scripts.building.folder import folder_lock
from datasets_scripts.releasing.card import ReleasedConfig, facts_of, own_facts, render_card
from datasets_scripts.releasing.labels_only import write_labels_only
from datasets_scripts.releasing.summary import rebuild_advice, summarise_config
from datasets_scripts.schema import ROWS_FILE, SPLITS


# The Hub refuses a folder with more.
FILES_IN_A_FOLDER = 10_000
# How the titles of the commits that bring clips begin.
CLIPS = "Release: clips"


def choose_configs(folder: Path, options: argparse.Namespace) -> list[ReleasedConfig]:
    """
    Returns the configs of a folder that the options name, in the order of its README.

    Raises:
        `InputError`: if the folder is not as builds leave it, or says not enough to be released.
    """
    entries = {entry["config_name"]: entry for entry in _read_entries(folder)}
    unknown = sorted(set(options.dataset_configs or ()) - set(entries))
    if unknown:
        raise InputError(f"--dataset-configs {' '.join(unknown)}: {folder}/README.md has {', '.join(entries)}")
    names = [name for name in entries if options.dataset_configs is None or name in options.dataset_configs]
    gone = [name for name in names if not (folder / name).is_dir()]
    if gone:
        raise InputError(
            f"{folder}/README.md names {', '.join(gone)}, but there is no such folder: build it again, take its entry "
            "out of README.md, or name with --dataset-configs what is to be released"
        )
    configs, own = [], []
    for name in names:
        summary = summarise_config(folder, name)
        facts = facts_of(summary)
        if facts is None:
            own.append(name)
            if options.license is None or options.redistribute_media is None:
                raise InputError(
                    f"{name} is a collection of your own: say with --license ID what others may do with it, and with "
                    "--redistribute-media or --no-redistribute-media whether its clips go along"
                )
            facts = own_facts(name, options.license, options.redistribute_media)
        configs.append(ReleasedConfig(summary, facts, entries[name], facts.media_allowed))
    if not own and (options.license is not None or options.redistribute_media is not None):
        raise InputError("--license and --redistribute-media are about collections of your own, and none is released")
    return configs


def list_files(folder: Path, configs: list[ReleasedConfig], scratch: Path) -> dict[str, Path]:
    """
    Returns clips, rows and `build.json` of the configs by their paths in the repository.

    Args:
        folder (`Path`): The dataset folder.
        configs (`list[ReleasedConfig]`): What is released.
        scratch (`Path`): A folder for what is written for the release alone.

    Raises:
        `InputError`: if clips are missing, or the Hub would refuse a folder.
    """
    files = {}
    for config in configs:
        files[f"{config.name}/build.json"] = folder / config.name / "build.json"
        for split, summary in config.summary.splits.items():
            place = f"{config.name}/{split}"
            rows = folder / place / ROWS_FILE
            if config.labels_only:
                labels = scratch / place / ROWS_FILE
                labels.parent.mkdir(parents=True)
                write_labels_only(rows, labels)
                rows = labels
            else:
                media = {f"{place}/media/{name}": folder / place / "media" / name for name in sorted(summary.clips)}
                missing = [clip for clip in media.values() if not clip.is_file()]
                if missing:
                    raise InputError(
                        f"{missing[0]} and {len(missing) - 1} more clips are missing: {rebuild_advice(config.name)}"
                    )
                files |= media
            files[f"{place}/{ROWS_FILE}"] = rows
    sizes = Counter(str(PurePosixPath(path).parent) for path in files)
    for place, number in sizes.items():
        if number > FILES_IN_A_FOLDER:
            raise InputError(
                f"{place} would hold {number:,} files, and the Hub takes {FILES_IN_A_FOLDER:,} in a folder at most: "
                "build it as several configs"
            )
    return files


def release(options: argparse.Namespace) -> None:
    """Releases a folder, or says what a release would do."""
    api = connect(options.repo, token_needed=not options.dry_run)
    configs = choose_configs(options.dataset, options)
    card = render_card(configs, options.repo, options.default, _read_agreement(options.agreement))
    with TemporaryDirectory() as scratch:
        files = list_files(options.dataset, configs, Path(scratch))
        files["README.md"] = Path(scratch) / "README.md"
        files["README.md"].write_text(card, encoding="utf-8", newline="\n")
        if options.evaluation_framework is not None:
            tested = [config.name for config in configs if "test" in config.summary.splits]
            content = benchmark(options.repo.rpartition("/")[2], options.evaluation_framework, tested)
            files[BENCHMARK_FILE] = Path(scratch) / BENCHMARK_FILE
            files[BENCHMARK_FILE].write_text(content, encoding="utf-8", newline="\n")
        try:
            remote = find_repository(api, "dataset", options.repo, options.revision)
            check("dataset", options.repo, remote, options.private, card)
            print(f"{options.repo}: {remote.visibility(options.private)}")
        except HubError as error:
            if not options.dry_run:
                raise
            print(f"{error}\nWithout it, this is what a first release would send:")
            remote = Repository()
        changed = changed_files(files, remote)
        deleted = sorted(_released(remote.files, files) - files.keys())
        _print_plan(configs, files, changed, deleted)
        if options.dry_run:
            return
        if not changed and not deleted:
            print("All of it is there already: nothing sent")
            return
        _send(api, options, remote, changed, deleted)
    print(f"{counted(len(changed), 'file')} sent, {len(deleted):,} deleted: {api.endpoint}/datasets/{options.repo}")


def _released(remote: dict[str, RepoFile], files: dict[str, Path]) -> set[str]:
    """Returns what releases put there: what a config consists of, of this one's and of those with a `build.json`."""
    ours = {path.partition("/")[0] for path in files}
    pattern = re.compile(rf"([^/]+)/(build\.json|({'|'.join(SPLITS)})/({re.escape(ROWS_FILE)}|media/[^/]+))")
    found = [match for match in map(pattern.fullmatch, remote) if match]
    return {match[0] for match in found if match[1] in ours or f"{match[1]}/build.json" in remote}


def _send(api: HfApi, options, remote: Repository, changed: dict[str, Path], deleted: list[str]) -> None:
    target = {"repo_id": options.repo, "repo_type": "dataset", "revision": options.revision}
    clips = {path: local for path, local in changed.items() if "/media/" in path}
    with explain_hub_errors(options.repo), TemporaryDirectory() as staged:
        head = remote.head
        if head is None:
            api.create_repo(options.repo, repo_type="dataset", private=options.private, exist_ok=True)
            head = api.repo_info(options.repo, repo_type="dataset").sha
        if options.revision != "main":
            api.create_branch(options.repo, branch=options.revision, repo_type="dataset", exist_ok=True)
        if clips:
            folder = stage(clips, Path(staged))
            api.upload_folder(**target, folder_path=folder, commit_message=CLIPS, parent_commit=head)
            head = _head_after_clips(api, target, head)
        # upload_folder would delete with the first of its commits; rows name neither what is to come nor what is gone.
        additions = [CommitOperationAdd(path, local) for path, local in changed.items() if path not in clips]
        deletions = [CommitOperationDelete(path) for path in deleted]
        api.create_commit(
            **target,
            operations=[*additions, *deletions],
            commit_message="Release: rows and card",
            parent_commit=head,
        )


def _head_after_clips(api: HfApi, target: dict[str, str], start: str) -> str:
    """Returns the last commit, if all since `start` brought clips: of several, `parent_commit` guards the first."""
    commits = api.list_repo_commits(**target)
    since = list(takewhile(lambda commit: commit.commit_id != start, commits))
    if not all(commit.title.startswith(CLIPS) for commit in since):
        raise HubError(f"{target['repo_id']} was changed meanwhile: run this again")
    return commits[0].commit_id


def _print_plan(
    configs: list[ReleasedConfig], files: dict[str, Path], changed: dict[str, Path], deleted: list[str]
) -> None:
    for config in configs:
        total, sent = (
            count_and_size(local for path, local in some.items() if path.startswith(f"{config.name}/"))
            for some in (files, changed)
        )
        note = ", labels without clips" * config.labels_only
        print(f"  {config.name}: {total}{note}; to send: {sent}")
    for name in sorted(name for name in files if "/" not in name):
        print(f"  {name}: {'to send' if name in changed else 'as it is there'}")
    if deleted:
        shown = ", ".join(deleted[:5]) + (", ..." if len(deleted) > 5 else "")
        print(f"  to delete: {len(deleted):,} files of earlier releases ({shown})")


def _read_entries(folder: Path) -> list[dict]:
    path = folder / "README.md"
    try:
        front = metadata_load(path)
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is missing: --dataset must be a folder made by python -m datasets_scripts.build"
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"the front matter of {path} is broken: {error}") from error
    entries = (front or {}).get("configs")
    if not isinstance(entries, list) or not entries or not all("config_name" in entry for entry in entries):
        raise InputError(f"the front matter of {path} has no list of configs: build one into {folder} first")
    return entries


def _read_agreement(folder: Path | None) -> dict | None:
    if folder is None:
        return None
    path = folder / "agreement.json"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"--agreement {folder}: {error}; make it with python -m evaluation.figures agreement --output "
            f"{folder}/agreement.png"
        ) from error
    if not isinstance(report, dict) or not {"items", "annotators", "pairs", "alpha"} <= report.keys():
        raise InputError(f"{path} is no report of python -m evaluation.figures agreement")
    return report


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ArgumentParser(prog="python -m datasets_scripts.release", description=__doc__.splitlines()[1])
    parser.add_argument("--repo", required=True, help="the dataset repository, ORG/NAME; made if it isn't there")
    parser.add_argument("--dataset", type=Path, default=Path("umui"), help="the dataset folder (default: %(default)s)")
    parser.add_argument("--dataset-configs", nargs="+", help="what makes up the release (default: all the folder has)")
    parser.add_argument(
        "--default", metavar="CONFIG", help="the config that loads without a name (default: wikivideo-audiovisual)"
    )
    parser.add_argument("--agreement", type=Path, metavar="DIR", help="where agreement.json of evaluation.figures is")
    parser.add_argument(
        "--evaluation-framework",
        metavar="NAME",
        help="make it a benchmark of the Hub's (eval.yaml), evaluated by this framework of the Hub's list",
    )
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
    with exit_on_error():
        if not options.dataset.is_dir():
            raise InputError(f"--dataset {options.dataset} is not a folder")
        # Nobody builds in a folder that can't be written to.
        with folder_lock(options.dataset) if os.access(options.dataset, os.W_OK) else nullcontext():
            release(options)


if __name__ == "__main__":
    main()
