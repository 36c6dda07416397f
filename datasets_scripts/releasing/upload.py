"""Sends files to a dataset repository: those that differ, each content once, in commits of bounded size."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import disable_progress_bars
from tqdm import tqdm

from datasets_scripts.releasing.hub import told_in_words
from datasets_scripts.schema import SPLITS


COMMIT_FILES = 256
COMMIT_BYTES = 1_000_000_000
# How many files go up before the bar moves.
FILES_AT_ONCE = 32


@dataclass(frozen=True)
class ReleaseFile:
    """
    A file of the release.

    Args:
        path (`str`): Its path in the repository.
        local (`Path`): Its content.
    """

    path: str
    local: Path


@dataclass(frozen=True)
class Change:
    """
    What has to be done.

    Args:
        changed (`list[ReleaseFile]`): What is to be sent, in this order.
        deleted (`list[str]`): Paths in the repository that are to go.
    """

    changed: list[ReleaseFile]
    deleted: list[str]

    def __bool__(self) -> bool:
        return bool(self.changed or self.deleted)


def compare(api: HfApi, repo: str, commit: str, files: list[ReleaseFile]) -> Change:
    """
    Compares the release with what is in the repository, by content.

    Args:
        api (`HfApi`): The client.
        repo (`str`): The repository.
        commit (`str`): The commit to compare with.
        files (`list[ReleaseFile]`): All files of the release.

    Returns:
        `Change`: what differs; and what releases put there that is not of this one.

    Raises:
        `HubError`: if the Hub doesn't answer.
    """
    with told_in_words(repo):
        tree = api.list_repo_tree(repo, recursive=True, revision=commit, repo_type="dataset")
        remote = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
    changed = [
        file
        for file in tqdm(files, "comparing", unit=" files", disable=None)
        if file.path not in remote or _file_differs(file.local, remote[file.path])
    ]
    planned = {file.path for file in files}
    return Change(changed, sorted(path for path in _released(remote, planned) if path not in planned))


def send(api: HfApi, repo: str, revision: str, head: str, change: Change) -> int:
    """
    Makes the commits. Each goes on from the one before: if anybody else changes the branch meanwhile, it stops.

    Args:
        api (`HfApi`): The client.
        repo (`str`): The repository.
        revision (`str`): The branch.
        head (`str`): The commit that `change` was compared with.
        change (`Change`): What to send, in this order; deletions go with the last commit.

    Returns:
        `int`: how many commits were made.

    Raises:
        `HubError`: if the Hub doesn't answer, or refuses.
    """
    # Ours counts bytes over all commits.
    disable_progress_bars()
    batches = list(_batches(change.changed)) or [[]]
    deletions = [CommitOperationDelete(path) for path in change.deleted]
    total = sum(file.local.stat().st_size for file in change.changed)
    sent = set()
    with tqdm(total=total, desc="sending", unit="B", unit_scale=True, disable=None) as bar, told_in_words(repo):
        for number, batch in enumerate(batches, start=1):
            additions = [CommitOperationAdd(file.path, str(file.local)) for file in batch]
            for start in range(0, len(additions), FILES_AT_ONCE):
                some = additions[start : start + FILES_AT_ONCE]
                _send_contents(api, repo, revision, some, sent)
                bar.update(sum(addition.upload_info.size for addition in some))
            head = api.create_commit(
                repo,
                additions + (deletions if number == len(batches) else []),
                commit_message=f"Release, part {number} of {len(batches)}",
                repo_type="dataset",
                revision=revision,
                parent_commit=head,
            ).oid
    return len(batches)


def differs(content: BinaryIO, size: int, remote: RepoFile) -> bool:
    """
    Whether a file of the repository has another content, told by size and hash.

    Args:
        content (`BinaryIO`): The content here.
        size (`int`): Its length in bytes.
        remote (`RepoFile`): The file there.
    """
    if size != remote.size:
        return True
    if remote.lfs is not None:
        return hashlib.file_digest(content, "sha256").hexdigest() != remote.lfs.sha256
    # What git keeps itself, it calls by this hash.
    blob = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    blob.update(content.read())
    return blob.hexdigest() != remote.blob_id


def size_text(size: float) -> str:
    """A number of bytes as people read it."""
    if size < 1000:
        return f"{size} B"
    units = iter(("kB", "MB", "GB", "TB"))
    while size >= 1000:
        size, unit = size / 1000, next(units)
    return f"{size:.1f} {unit}"


def _file_differs(local: Path, remote: RepoFile) -> bool:
    with local.open("rb") as file:
        return differs(file, local.stat().st_size, remote)


def _send_contents(api: HfApi, repo: str, revision: str, additions: list, sent: set[bytes]) -> None:
    # Of two names of one content, the client would send it for both if both were asked about at once.
    fresh = {}
    for addition in additions:
        if addition.upload_info.sha256 not in sent:
            fresh.setdefault(addition.upload_info.sha256, addition)
    if fresh:
        api.preupload_lfs_files(repo, list(fresh.values()), repo_type="dataset", revision=revision, free_memory=False)
        sent.update(fresh)


def _batches(files: list[ReleaseFile]) -> Iterator[list[ReleaseFile]]:
    batch, size = [], 0
    for file in files:
        more = file.local.stat().st_size
        if batch and (len(batch) == COMMIT_FILES or size + more > COMMIT_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += more
    if batch:
        yield batch


def _released(remote: dict[str, RepoFile], planned: set[str]) -> Iterator[str]:
    """What releases put there: of this one's configs and of those with a `build.json`, what a config consists of."""
    ours = {path.partition("/")[0] for path in planned if "/" in path}
    splits = "|".join(SPLITS)
    for path in remote:
        config, _, rest = path.partition("/")
        if (config in ours or f"{config}/build.json" in remote) and re.fullmatch(
            rf"build\.json|({splits})/(metadata\.parquet|media/[^/]+)", rest
        ):
            yield path
