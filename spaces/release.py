"""
Releases a Space on the Hub: the files of its folder, what it runs, and a card that links it.

```
python -m spaces.release --repo ORG/clue --space demo --model ORG/clue --dry-run
python -m spaces.release --repo ORG/clue --space demo --model ORG/clue
python -m spaces.release --repo ORG/clue --space demo
python -m spaces.release --repo ORG/annotate --space annotate --dataset ORG/umui --dataset-config wikivideo-audiovisual
```

What git has of the folder is sent, as one commit, and what else is in the Space is deleted; what is there already is
not sent again. The demo runs one commit of a model: the newest when `--model` is given. Without it, it goes on with
the one it has, and a new Space takes the tiny checkpoint along. Secrets are not for this command; it says which are
missing. The token is that of HF_TOKEN or of `hf auth login`.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from huggingface_hub import HfApi, RepoCard

from common.cli import ArgumentParser, counted, in_words
from common.errors import InputError
from common.hub import (
    Repository,
    amount,
    changed_files,
    check,
    connect,
    look_at,
    stage,
    told_in_words,
)
from spaces.releasing.folder import read_folder
from spaces.releasing.settings import ROOT, Settings, settings_of


SPACES = ROOT / "spaces"
# What the Hub itself puts into a new Space.
OF_THE_HUB = {".gitattributes", "README.md"}


def render_card(text: str, settings: Settings) -> str:
    """
    The card of the released Space: that of the folder, with links to what it runs.

    Args:
        text (`str`): The folder's README.md.
        settings ([`Settings`]): What it runs.

    Returns:
        `str`: the whole README.md.

    Raises:
        `InputError`: if its front matter is broken.
    """
    try:
        card = RepoCard(text)
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"the front matter of README.md is broken: {error}") from error
    for name in ("models", "datasets"):
        links = getattr(settings, name)
        if links:
            card.data[name] = links
    return str(card)


def release(options: argparse.Namespace) -> None:
    """
    Releases a Space, or says what a release would do.

    Args:
        options (`argparse.Namespace`): The options of [`parse_arguments`].

    Raises:
        `InputError`: if the folder or the repository is not fit for it.
    """
    known = sorted(path.parent.name for path in SPACES.glob("*/app.py"))
    if options.space not in known:
        raise InputError(f"--space {options.space}: {SPACES} has {', '.join(known)}")
    api = connect(options.repo)
    folder = read_folder(SPACES / options.space)
    lacking = {"README.md", "app.py", "requirements.txt"} - folder.files.keys()
    if lacking:
        raise InputError(f"{SPACES / options.space} has no {min(lacking)} that git has too: no Space runs without")
    title = f"Release of spaces/{options.space} at"
    there = look_at(api, "space", options.repo)
    _refuse_foreign(api, options, there, title)
    with told_in_words(options.repo):
        variables = {} if there.info is None else api.get_space_variables(options.repo)
        secrets = {} if there.info is None else api.get_space_secrets(options.repo)
    running = {key: variable.value for key, variable in variables.items()}
    settings = settings_of(api, options, running)
    card = render_card(folder.files["README.md"].read_text(encoding="utf-8"), settings)
    check("space", options.repo, there, options.private, card)
    with TemporaryDirectory() as scratch:
        files = folder.files | settings.files | {"README.md": Path(scratch) / "README.md"}
        files["README.md"].write_text(card, encoding="utf-8", newline="\n")
        changed = changed_files(files, there)
        # A release is the whole Space: other files go.
        deleted = sorted(there.files.keys() - files.keys() - {".gitattributes"})
        to_set = {key: value for key, value in settings.variables.items() if running.get(key) != value}

        print(f"{options.repo}: {there.standing(options.private)}")
        print(f"  files: {amount(files.values())}; to send: {amount(changed.values())}")
        for path in changed:
            print(f"    {path}")
        if deleted:
            print(f"  to delete: {', '.join(deleted)}")
        for key, value in settings.variables.items():
            print(f"  {key}={value}: {'to set' if key in to_set else 'as it is there'}")
        for note in settings.notes:
            print(f"  {note}")
        if folder.left:
            print(f"  not in git's commit {folder.commit[:12]}, so not sent: {', '.join(folder.left)}")

        if options.dry_run:
            return
        if changed or deleted or to_set:
            message = f"{title} {folder.commit[:12]}{', with local changes' if folder.changed else ''}"
            _send(api, options, there, files if changed or deleted else {}, to_set, message)
            print(
                f"{counted(len(changed), 'file')} sent, {len(deleted):,} deleted, "
                f"{counted(len(to_set), 'variable')} set: {api.endpoint}/spaces/{options.repo}"
            )
        else:
            print("All of it is there already: nothing sent")
    for name, what in settings.secrets.items():
        if name not in secrets:
            print(f"Still missing is the secret {name} ({what}): hf spaces secrets add {options.repo} -s {name}")


def _refuse_foreign(api: HfApi, options: argparse.Namespace, there: Repository, title: str) -> None:
    if there.info is None:
        return
    if there.info.sdk not in ("gradio", None):
        raise InputError(
            f"--repo {options.repo} is a Space with the SDK {there.info.sdk}, and {options.space} is one with Gradio"
        )
    others = sorted(there.files.keys() - OF_THE_HUB)
    with told_in_words(options.repo):
        history = api.list_repo_commits(options.repo, repo_type="space", revision=there.head) if others else []
    if others and not any(commit.title.startswith(title) for commit in history):
        raise InputError(
            f"--repo {options.repo} holds {others[0]} and {len(others) - 1} more files, and no release of "
            f"{options.space} is in its history: a release would delete them. Name another, or empty that one first"
        )


def _send(
    api: HfApi,
    options: argparse.Namespace,
    there: Repository,
    files: dict[str, Path],
    to_set: dict[str, str],
    title: str,
) -> None:
    with told_in_words(options.repo), TemporaryDirectory() as staged:
        head = there.head
        if head is None:
            api.create_repo(options.repo, repo_type="space", space_sdk="gradio", private=options.private)
            head = api.repo_info(options.repo, repo_type="space").sha
        # Variables come first: what starts with the new files then finds them.
        for key, value in to_set.items():
            api.add_space_variable(options.repo, key, value)
        if files:
            api.upload_folder(
                repo_id=options.repo,
                repo_type="space",
                folder_path=stage(files, Path(staged)),
                commit_message=title,
                revision="main",
                parent_commit=head,
                delete_patterns="*",
            )


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ArgumentParser(prog="python -m spaces.release", description=__doc__.splitlines()[1])
    parser.add_argument("--repo", required=True, help="the Space's repository, ORG/NAME; made if it isn't there")
    parser.add_argument("--space", required=True, help="the folder in spaces/: demo or annotate")
    parser.add_argument("--model", metavar="ORG/NAME", help="demo: the model on the Hub that it runs")
    parser.add_argument(
        "--model-revision", metavar="REV", help="demo: its commit, branch or tag (default: its newest commit)"
    )
    parser.add_argument("--dataset", metavar="ORG/NAME", help="annotate: the dataset on the Hub that is judged")
    parser.add_argument("--dataset-config", metavar="NAME", help="annotate: its config")
    parser.add_argument("--private", action="store_true", help="make a new Space private")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be sent, set and deleted, and change nothing"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    with in_words():
        release(parse_arguments(arguments))


if __name__ == "__main__":
    main()
