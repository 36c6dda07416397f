"""Finds checkpoints and repositories on the Hub, says what a release would change, and explains the Hub's errors."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import HfApi, RepoCard, constants, get_token, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import DatasetInfo, RepoFile, SpaceInfo
from huggingface_hub.utils import validate_repo_id
from tqdm import tqdm

from common.cli import counted
from common.digests import file_digest
from common.errors import InputError


# What the Hub's client raises when a request fails. hf_xet, which sends contents, knows built-in errors alone.
HUB_ERRORS = (HTTPError, OSError, RuntimeError)


class HubError(InputError):
    """Says that the Hub can't be reached, or refuses, and what to do."""


@dataclass(frozen=True)
class Repository:
    """Holds a repository as it is before a release."""

    info: DatasetInfo | SpaceInfo | None = None  # what the Hub says of it; `None` if it isn't there
    head: str | None = None  # the commit that the release goes on from
    files: dict[str, RepoFile] = field(default_factory=dict)  # at that commit, by their paths

    def visibility(self, private: bool) -> str:
        """Says whether it is there and who may see it; `private` is what was asked for."""
        if self.info is None:
            return f"is not there, or not open to this token; to be made {'private' if private else 'public'}"
        if self.info.private:
            return "it is private" + ("" if private else ", and stays so: --private was not given")
        return "it is public"


def connect(repo: str, token_needed: bool = True) -> HfApi:
    """Returns the client of a release; refuses a wrong name of a repository, and a missing token that is needed."""
    if repo.count("/") != 1:
        raise InputError(f"--repo {repo}: must be ORG/NAME")
    token = get_token()
    if token is None and token_needed:
        raise InputError("there is no token: set HF_TOKEN to one that may write, or run hf auth login")
    return HfApi(token=token)


def find_repository(api: HfApi, kind: str, repo: str, revision: str = "main") -> Repository:
    """Returns a `"dataset"` or `"space"` as it is there; a branch that isn't there would begin as main is."""
    with explain_hub_errors(repo):
        try:
            info = api.repo_info(repo, repo_type=kind)
        except RepositoryNotFoundError:
            return Repository()
        try:
            head = api.repo_info(repo, repo_type=kind, revision=revision).sha
        except RevisionNotFoundError:
            head = info.sha
        return Repository(info, head, files_at(api, kind, repo, head))


def files_at(api: HfApi, kind: str, repo: str, commit: str) -> dict[str, RepoFile]:
    """Returns the files of a commit by their paths."""
    tree = api.list_repo_tree(repo, recursive=True, revision=commit, repo_type=kind)
    return {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}


def check(kind: str, repo: str, remote: Repository, private: bool, card: str) -> None:
    """Refuses, before anything is sent, to leave public what should be private, and a card that the Hub refuses."""
    if private and remote.info is not None and not remote.info.private:
        raise InputError(
            f"{repo} is public, and --private would not change that: make it private in its settings, or leave "
            "--private out. Nothing was sent"
        )
    with explain_hub_errors(repo):
        try:
            RepoCard(card).validate(repo_type=kind)
        except ValueError as error:
            raise InputError(f"the Hub refuses the front matter of README.md: {error}") from error


def changed_files(files: dict[str, Path], remote: Repository) -> dict[str, Path]:
    """Returns the files that a release would send, whose content, by size and hash, is not there."""
    return {
        path: local
        for path, local in tqdm(files.items(), "comparing", unit=" files", disable=None)
        if path not in remote.files or _differs(local, remote.files[path])
    }


def stage(files: dict[str, Path], folder: Path) -> Path:
    """Links files into `folder` as they are to lie in a repository, and returns it."""
    for path, local in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).symlink_to(local.absolute())
    return folder


def count_and_size(files: Iterable[Path]) -> str:
    """Writes a number of files and of bytes as people read it."""
    sizes = [local.stat().st_size for local in files]
    return f"{counted(len(sizes), 'file')}, {tqdm.format_sizeof(sum(sizes), 'B')}" if sizes else "nothing"


@contextmanager
def explain_hub_errors(repo: str) -> Iterator[None]:
    """Turns what goes wrong between here and the Hub's repository `repo` into a [`HubError`]."""
    try:
        yield
    except (*HUB_ERRORS, EntryNotFoundError, HFValidationError) as error:
        raise HubError(_explain(error, repo)) from error


def _differs(local: Path, remote: RepoFile) -> bool:
    size = local.stat().st_size
    if size != remote.size:
        return True
    if remote.lfs is not None:
        return file_digest(local) != remote.lfs.sha256
    # What git keeps itself, it calls by this hash.
    blob = hashlib.sha1(f"blob {size}\0".encode() + local.read_bytes(), usedforsecurity=False)
    return blob.hexdigest() != remote.blob_id


def _explain(error: Exception, repo: str) -> str:
    match error:
        case HFValidationError():
            return f"{repo!r} is no name of a repository: it must be ORG/NAME. {error}"
        case OfflineModeIsEnabled():
            return "HF_HUB_OFFLINE is set, so the Hub is not asked: unset it"
        case LocalTokenNotFoundError():
            return "there is no token: set HF_TOKEN, or run hf auth login"
        case GatedRepoError():
            return f"{repo} is gated: ask for access on its page, and set HF_TOKEN to a token of that account"
        case RepositoryNotFoundError():
            return (
                f"{repo} is not on {constants.ENDPOINT}, or this token may not see it (a private repository looks the "
                "same): check the name, and HF_TOKEN"
            )
        case RevisionNotFoundError():
            return f"{repo} has no such revision: check --revision"
        case EntryNotFoundError():
            return f"{repo} lacks a file that a release has: {error}"
        case HfHubHTTPError():
            return _status(error, repo)
        case HTTPError():
            return f"{constants.ENDPOINT} can't be reached ({type(error).__name__}: {error}): try again, it goes on"
        case ConnectionError() | PermissionError() | RuntimeError():
            cause = f" {_explain(error.__cause__, repo)}" if error.__cause__ is not None else ""
            return f"contents could not be sent to {repo} ({error}){cause}: try again, it goes on where it stopped"
    return str(error)


def _status(error: HfHubHTTPError, repo: str) -> str:
    advice = {
        401: "the Hub doesn't know this token: set HF_TOKEN to one that is valid",
        403: f"this token may not write to {repo}: it needs the role write there",
        409: f"{repo} is being changed by somebody else: try again",
        412: f"{repo} was changed meanwhile: run this again",
        429: "the Hub asks for a pause: try again later, it goes on where it stopped",
    }
    status = error.response.status_code
    if status in advice:
        return f"{advice[status]} (HTTP {status})"
    return f"the Hub answered HTTP {status}: {error}"


def find_checkpoint(model: str) -> Path:
    """Returns the folder of a checkpoint, fetched from the Hub if `model` is a name there; else a `ValueError`."""
    if Path(model).is_dir():
        return Path(model)
    try:
        validate_repo_id(model)
    except HFValidationError as error:
        raise ValueError(f"--model {model} is no folder, and no name on the Hub either.") from error
    try:
        return Path(snapshot_download(model))
    except (RepositoryNotFoundError, LocalEntryNotFoundError) as error:
        raise ValueError(f"--model {model} is no folder, and was not found on the Hub: {error}") from error
