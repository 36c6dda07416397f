"""
Releases a Space on the Hub: the files of its folder, what it runs, and a card that links it.

```
python -m spaces.release --repo ORG/clue --space demo --model ORG/clue --dry-run
python -m spaces.release --repo ORG/clue --space demo --model ORG/clue
python -m spaces.release --repo ORG/clue --space demo
python -m spaces.release --repo ORG/annotate --space annotate --dataset ORG/umui --config wikivideo-audiovisual
```

What git has of the folder is sent, as one commit, and what else is in the Space is deleted; what is there already is
not sent again. The demo runs one commit of a model: the newest when `--model` is given. Without it, it goes on with
the one it has, and a new Space takes the tiny checkpoint along. Secrets are not for this command; it says which are
missing. The token is that of HF_TOKEN or of `hf auth login`.
"""

import argparse
import sys

import yaml
from huggingface_hub import HfApi, RepoCard, get_token

from datasets_scripts.releasing.hub import told_in_words
from datasets_scripts.releasing.upload import size_text
from datasets_scripts.schema import BuildError
from spaces.releasing.folder import Folder, read_folder
from spaces.releasing.repository import Change, There, compare, look_at, send, title
from spaces.releasing.settings import ROOT, Settings, settings_of


SPACES = ROOT / "spaces"


def render_card(text: str, settings: Settings) -> str:
    """
    The card of the released Space: that of the folder, with links to what it runs.

    Args:
        text (`str`): The folder's README.md.
        settings ([`Settings`]): What it runs.

    Returns:
        `str`: the whole README.md.

    Raises:
        `BuildError`: if its front matter is broken.
    """
    try:
        card = RepoCard(text)
    except (yaml.YAMLError, ValueError) as error:
        raise BuildError(f"the front matter of README.md is broken: {error}") from error
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
        `BuildError`: if the folder or the repository is not fit for it.
    """
    if options.repo.count("/") != 1:
        raise BuildError(f"--repo {options.repo}: must be ORG/NAME")
    known = sorted(path.parent.name for path in SPACES.glob("*/app.py"))
    if options.space not in known:
        raise BuildError(f"--space {options.space}: {SPACES} has {', '.join(known)}")
    token = get_token()
    if token is None:
        raise BuildError("there is no token: set HF_TOKEN to one that may write, or run hf auth login")
    api = HfApi(token=token)
    folder = read_folder(SPACES / options.space)
    missing = {"README.md", "app.py", "requirements.txt"} - folder.files.keys()
    if missing:
        raise BuildError(f"{SPACES / options.space} has no {min(missing)} that git has too: no Space runs without")
    there = look_at(api, options.repo, options.space)
    if options.private and there.head is not None and not there.private:
        raise BuildError(
            f"{options.repo} is public, and --private would not change that: make it private in its settings, or "
            "leave --private out. Nothing was sent"
        )
    settings = settings_of(api, options, there.variables)
    card = render_card(folder.files["README.md"].decode(), settings)
    files = folder.files | settings.files | {"README.md": card.encode()}
    change = compare(there, files, settings.variables)
    if "README.md" in change.files:
        _check_card(card, options.repo)
    _print_plan(options, there, folder, settings, files, change)
    if options.dry_run:
        return
    if change or there.head is None:
        at = f"{folder.commit[:12]}{', with local changes' if folder.changed else ''}"
        send(api, options.repo, there, change, f"{title(options.space)} {at}", options.private)
        print(
            f"{_number(len(change.files), 'file')} sent, {len(change.deleted):,} deleted, "
            f"{_number(len(change.variables), 'variable')} set: {api.endpoint}/spaces/{options.repo}"
        )
    else:
        print("All of it is there already: nothing sent")
    for name, what in settings.secrets.items():
        if name not in there.secrets:
            print(f"Still missing is the secret {name} ({what}): hf spaces secrets add {options.repo} -s {name}")


def _check_card(card: str, repo: str) -> None:
    with told_in_words(repo):
        try:
            RepoCard(card).validate(repo_type="space")
        except ValueError as error:
            raise BuildError(f"the Hub refuses the front matter of README.md: {error}") from error


def _print_plan(
    options, there: There, folder: Folder, settings: Settings, files: dict[str, bytes], change: Change
) -> None:
    standing = "it is private" if there.private else "it is public"
    if there.head is None:
        standing = f"is not there, or not open to this token; to be made {'private' if options.private else 'public'}"
    print(f"{options.repo}: {standing}")
    print(f"  files: {_amount(files)}; to send: {_amount(change.files)}")
    for path in change.files:
        print(f"    {path}")
    if change.deleted:
        print(f"  to delete: {', '.join(change.deleted)}")
    for key, value in settings.variables.items():
        print(f"  {key}={value}: {'to set' if key in change.variables else 'as it is there'}")
    for note in settings.notes:
        print(f"  {note}")
    if folder.left:
        print(f"  not in git's commit {folder.commit[:12]}, so not sent: {', '.join(folder.left)}")


def _amount(files: dict[str, bytes]) -> str:
    return f"{_number(len(files), 'file')}, {size_text(sum(map(len, files.values())))}" if files else "nothing"


def _number(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m spaces.release", description=__doc__.splitlines()[1])
    parser.add_argument("--repo", required=True, help="the Space's repository, ORG/NAME; made if it isn't there")
    parser.add_argument("--space", required=True, help="the folder in spaces/: demo or annotate")
    parser.add_argument("--model", metavar="ORG/NAME", help="demo: the model on the Hub that it runs")
    parser.add_argument(
        "--model-revision", metavar="REV", help="demo: its commit, branch or tag (default: its newest commit)"
    )
    parser.add_argument("--dataset", metavar="ORG/NAME", help="annotate: the dataset on the Hub that is judged")
    parser.add_argument("--config", metavar="NAME", help="annotate: its config")
    parser.add_argument("--private", action="store_true", help="make a new Space private")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be sent, set and deleted, and change nothing"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    try:
        release(parse_arguments(arguments))
    except BuildError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
