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

import re
import subprocess
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from huggingface_hub import HfApi, RepoCard
from huggingface_hub.errors import RevisionNotFoundError

from common.cli import ArgumentParser, counted, exit_on_error
from common.errors import InputError
from common.hub import (
    Repository,
    changed_files,
    check,
    connect,
    count_and_size,
    explain_hub_errors,
    files_at,
    find_repository,
    stage,
)


ROOT = Path(__file__).resolve().parents[1]
SPACES = ROOT / "spaces"
# The checkpoint that the demo takes along where no model is named: its folder here and in the Space.
TINY = "checkpoints/clue-urn-tiny"
# What the Hub itself puts into a new Space.
OF_THE_HUB = {".gitattributes", "README.md"}
# Passwords, tokens and people's judgements. None is in git; should one come to be, it still goes nowhere.
KEPT_BACK = re.compile(r"(^|/)(\.env[^/]*|users[^/]*\.txt|data/.*|[^/]*\.(sqlite|db)[^/]*)$")
# The options that a Space has to itself.
OPTIONS = {"demo": ("model", "model_revision"), "annotate": ("dataset", "dataset_config")}


@dataclass(frozen=True)
class Folder:
    """Lists what git's present commit has of a folder, as it lies there now, and what isn't in that commit."""

    files: dict[str, Path]
    commit: str
    changed: bool
    uncommitted: list[str]


@dataclass(frozen=True)
class Settings:
    """Tells what a Space runs: public variables, links of its card, further files, the secrets that it needs."""

    variables: dict[str, str] = field(default_factory=dict)
    links: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    note: str | None = None


def read_folder(folder: Path) -> Folder:
    """Lists a folder's files that git has; an `InputError` if it is in no checkout, or git has secrets."""
    tracked = _git(folder, "ls-tree", "-r", "-z", "--name-only", "HEAD")
    if not tracked:
        raise InputError(f"git has nothing of {folder}: a release is what was committed there")
    private = [path for path in tracked if KEPT_BACK.search(path)]
    if private:
        raise InputError(
            f"git has {folder / private[0]}, which by its name holds passwords, tokens or people's judgements. "
            "Nothing was sent: take it out of git (git rm --cached) and change what it holds"
        )
    differing = _git(folder, "diff", "-z", "--name-only", "--relative", "HEAD")
    untracked = _git(folder, "ls-files", "-z", "--others", "--exclude-standard")
    return Folder(
        files={path: folder / path for path in tracked if (folder / path).is_file()},
        commit=_git(folder, "rev-parse", "HEAD")[0].strip(),
        changed=bool(set(differing) & set(tracked)),
        uncommitted=sorted({*untracked, *differing} - set(tracked)),
    )


def _git(folder: Path, *arguments: str) -> list[str]:
    command = ["git", "-C", folder, *arguments]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return [path for path in told.split("\0") if path]
    except FileNotFoundError as error:
        raise InputError("git is not installed, and it knows which files are released") from error
    except subprocess.CalledProcessError as error:
        raise InputError(f"git does not say which files of {folder} are released: {error.stderr.strip()}") from error


def settings_of(api: HfApi, options: Namespace, running: dict[str, str]) -> Settings:
    """Decides what a Space runs: what the options say, else what it runs already by its variables."""
    for space, names in OPTIONS.items():
        given = [f"--{name.replace('_', '-')}" for name in names if getattr(options, name) is not None]
        if given and space != options.space:
            raise InputError(f"{given[0]} is for --space {space}, not for {options.space}")
    return (_demo if options.space == "demo" else _annotate)(api, options, running)


def _demo(api: HfApi, options: Namespace, running: dict[str, str]) -> Settings:
    model, current = options.model or running.get("CLUE_MODEL", TINY), running.get("CLUE_REVISION")
    if model == TINY:
        if options.model_revision is not None:
            raise InputError("--model-revision is of the model on the Hub that --model names")
        files = {f"{TINY}/{path}": local for path, local in read_folder(ROOT / TINY).files.items()}
        note = f"no --model: the Space takes {TINY} along, which knows urns, balls and beeps"
        return Settings({"CLUE_MODEL": TINY}, files=files, note=note)
    same = model == running.get("CLUE_MODEL")
    asked = options.model_revision or (current if same and options.model is None else None) or "main"
    with explain_hub_errors(model):
        try:
            info = api.repo_info(model, revision=asked)
        except RevisionNotFoundError as error:
            raise InputError(f"--model-revision: {model} has no branch, tag or commit {asked}") from error
    if "config.json" not in {sibling.rfilename for sibling in info.siblings}:
        raise InputError(f"--model {model} has no config.json at {info.sha}: it must be a checkpoint of CLUE")
    revision, note = info.sha, None
    newest = same and options.model_revision is None and revision != current
    if newest and _same_but_cards(api, model, current, revision):
        note = f"{model} has another card since {current}, and nothing else: the Space stays at that commit"
        revision = current
    secrets = {"HF_TOKEN": f"a token that may read {model}, which is private"} if info.private else {}
    return Settings({"CLUE_MODEL": model, "CLUE_REVISION": revision}, {"models": [model]}, secrets=secrets, note=note)


def _same_but_cards(api: HfApi, model: str, one: str | None, other: str) -> bool:
    if not re.fullmatch(r"[0-9a-f]{40}", one or ""):
        return False
    with explain_hub_errors(model):
        try:
            trees = [files_at(api, "model", model, commit) for commit in (one, other)]
        except RevisionNotFoundError:
            return False
    blobs = [{(path, file.blob_id) for path, file in tree.items() if path != "README.md"} for tree in trees]
    return blobs[0] == blobs[1]


def _annotate(api: HfApi, options: Namespace, running: dict[str, str]) -> Settings:
    secrets = {"ANNOTATE_USERS": "lines role:name:password, as spaces/annotate/users.py draws them"}
    if "ANNOTATE_SYNC" in running:
        secrets["HF_TOKEN"] = f"a token that may write to {running['ANNOTATE_SYNC']}"
    variables = {}
    for name, key in (("dataset", "ANNOTATE_DATASET"), ("dataset_config", "ANNOTATE_CONFIG")):
        given = getattr(options, name)
        if given is not None and running.get(key, given) != given:
            raise InputError(
                f"--{name.replace('_', '-')} {given}: {options.repo} is about {running[key]}, and judgements are of "
                f"one dataset. Release another Space, or change {key} in the settings of this one"
            )
        if given is not None or key in running:
            variables[key] = given or running[key]
    if not variables:
        return Settings(secrets=secrets, note="no --dataset and --dataset-config: the Space won't start without")
    if len(variables) < 2:
        raise InputError("--dataset ORG/NAME and --dataset-config NAME go together")
    dataset, config = variables.values()
    with explain_hub_errors(dataset):
        info = api.repo_info(dataset, repo_type="dataset")
    configs = [entry["config_name"] for entry in (info.card_data or {}).get("configs", [])]
    if configs and config not in configs:
        raise InputError(f"--dataset-config {config}: {dataset} has {', '.join(configs)}")
    if info.private:
        secrets.setdefault("HF_TOKEN", f"a token that may read {dataset}, which is private")
    return Settings(variables, {"datasets": [dataset]}, secrets=secrets)


def render_card(text: str, links: dict[str, list[str]]) -> str:
    """Returns the README.md of the released Space: that of the folder, with links to what it runs."""
    try:
        card = RepoCard(text)
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"the front matter of README.md is broken: {error}") from error
    for name, repositories in links.items():
        card.data[name] = repositories
    return str(card)


def release(options: Namespace) -> None:
    """Releases a Space, or says what a release would do; an `InputError` if folder or repository is not fit for it."""
    known = sorted(path.parent.name for path in SPACES.glob("*/app.py"))
    if options.space not in known:
        raise InputError(f"--space {options.space}: {SPACES} has {', '.join(known)}")
    api = connect(options.repo)
    folder = read_folder(SPACES / options.space)
    lacking = {"README.md", "app.py", "requirements.txt"} - folder.files.keys()
    if lacking:
        raise InputError(f"{SPACES / options.space} has no {min(lacking)} that git has too: no Space runs without")
    title = f"Release of spaces/{options.space} at"
    remote = find_repository(api, "space", options.repo)
    running, secrets = {}, {}
    if remote.info is not None:
        _refuse_foreign(api, options, remote, title)
        with explain_hub_errors(options.repo):
            running = {key: variable.value for key, variable in api.get_space_variables(options.repo).items()}
            secrets = api.get_space_secrets(options.repo)
    settings = settings_of(api, options, running)
    card = render_card(folder.files["README.md"].read_text(encoding="utf-8"), settings.links)
    check("space", options.repo, remote, options.private, card)
    with TemporaryDirectory() as scratch:
        files = folder.files | settings.files | {"README.md": Path(scratch) / "README.md"}
        files["README.md"].write_text(card, encoding="utf-8", newline="\n")
        changed = changed_files(files, remote)
        # A release is the whole Space: other files go.
        deleted = sorted(remote.files.keys() - files.keys() - {".gitattributes"})
        to_set = {key: value for key, value in settings.variables.items() if running.get(key) != value}

        print(f"{options.repo}: {remote.visibility(options.private)}")
        print(f"  files: {count_and_size(files.values())}; to send: {count_and_size(changed.values())}")
        for path in changed:
            print(f"    {path}")
        if deleted:
            print(f"  to delete: {', '.join(deleted)}")
        for key, value in settings.variables.items():
            print(f"  {key}={value}: {'to set' if key in to_set else 'as it is there'}")
        if settings.note:
            print(f"  {settings.note}")
        if folder.uncommitted:
            print(f"  not in git's commit {folder.commit[:12]}, so not sent: {', '.join(folder.uncommitted)}")

        if options.dry_run:
            return
        if changed or deleted or to_set:
            message = f"{title} {folder.commit[:12]}{', with local changes' if folder.changed else ''}"
            _send(api, options, remote, files if changed or deleted else {}, to_set, message)
            print(
                f"{counted(len(changed), 'file')} sent, {len(deleted):,} deleted, "
                f"{counted(len(to_set), 'variable')} set: {api.endpoint}/spaces/{options.repo}"
            )
        else:
            print("All of it is there already: nothing sent")
    for name, what in settings.secrets.items():
        if name not in secrets:
            print(f"Still missing is the secret {name} ({what}): hf spaces secrets add {options.repo} -s {name}")


def _refuse_foreign(api: HfApi, options: Namespace, remote: Repository, title: str) -> None:
    if remote.info.sdk not in ("gradio", None):
        raise InputError(
            f"--repo {options.repo} is a Space with the SDK {remote.info.sdk}, and {options.space} is one with Gradio"
        )
    others = sorted(remote.files.keys() - OF_THE_HUB)
    with explain_hub_errors(options.repo):
        history = api.list_repo_commits(options.repo, repo_type="space", revision=remote.head) if others else []
    if others and not any(commit.title.startswith(title) for commit in history):
        raise InputError(
            f"--repo {options.repo} holds {others[0]} and {len(others) - 1} more files, and no release of "
            f"{options.space} is in its history: a release would delete them. Name another, or empty that one first"
        )


def _send(
    api: HfApi, options: Namespace, remote: Repository, files: dict[str, Path], to_set: dict[str, str], title: str
) -> None:
    target = {"repo_id": options.repo, "repo_type": "space"}
    with explain_hub_errors(options.repo), TemporaryDirectory() as staged:
        head = remote.head
        if head is None:
            api.create_repo(**target, space_sdk="gradio", private=options.private)
            head = api.repo_info(**target).sha
        # Variables come first: what starts with the new files then finds them.
        for key, value in to_set.items():
            api.add_space_variable(options.repo, key, value)
        if files:
            staged = stage(files, Path(staged))
            api.upload_folder(
                **target,
                folder_path=staged,
                commit_message=title,
                revision="main",
                parent_commit=head,
                delete_patterns="*",
            )


def parse_arguments(arguments: list[str] | None = None) -> Namespace:
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
    with exit_on_error():
        release(parse_arguments(arguments))


if __name__ == "__main__":
    main()
