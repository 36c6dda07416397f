"""
Repositories on disk, as the Hub's: contents named by their hash, commits that list files, branches that name commits.

```
contents/<sha256>                             every file once, whatever its name, repository or revision
storages/<random>/                            what clients put in through hf_xet, until a commit names it
repos/<type>s/<namespace>/<name>/
    repo.json                                 visibility, branches, tags
    commits/<id>.json                         title, date, parent, files
```
"""

import base64
import hashlib
import json
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path

from hf_xet import XetFileInfo, XetSession


# What the Hub puts into a new repository's .gitattributes, shortened: these are kept by LFS at any size.
LFS_SUFFIXES = (
    "7z arrow avi bin flac gz h5 jpeg jpg lz4 mkv mov mp3 mp4 mpeg mpg npy npz ogg onnx parquet pdf png pt pth "
    "safetensors tar tflite tgz wasm wav webm webp xz zip zst"
).split()
GITATTRIBUTES = "".join(f"*.{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES)
LARGE = 10 * 2**20
# Where hf_xet says what it put into a storage.
SHARDS = "*/xet/xorbs/shards/*.mdb"


class HubError(Exception):
    """An answer other than 200: the status, the Hub's code for it, and a message."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class Entry:
    """A file of a commit. `oid` is what git calls it: the hash of the content, or of LFS's pointer to it."""

    size: int
    sha256: str
    oid: str
    lfs: bool


class Store:
    """
    All repositories and contents below one folder.

    Args:
        root (`Path`): The folder; what an earlier store left there is served again.
    """

    def __init__(self, root: Path):
        self.root = root
        self.contents, self.storages = root / "contents", root / "storages"
        for folder in (self.contents, self.storages):
            folder.mkdir(parents=True, exist_ok=True)

    def repo(self, kind: str, namespace: str, name: str) -> "Repo":
        """The repository, whether it is there or not."""
        for part in (namespace, name):
            if not part or part in (".", "..") or "/" in part:
                raise HubError(400, "BadRequest", f"{part!r} is no name of a repository")
        return Repo(self, kind, f"{namespace}/{name}", self.root / "repos" / f"{kind}s" / namespace / name)

    def content(self, sha256: str) -> Path:
        """Where a content is, or would be."""
        if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
            raise HubError(400, "BadRequest", f"{sha256!r} is no SHA-256")
        return self.contents / sha256

    def add(self, content: bytes) -> Entry:
        """Keeps a small content."""
        sha256 = hashlib.sha256(content).hexdigest()
        _write(self.content(sha256), content)
        return Entry(len(content), sha256, git_hash("blob", content), lfs=False)

    def new_storage(self) -> str:
        """A folder for a client to put contents into."""
        return tempfile.mkdtemp(dir=self.storages)

    def received(self) -> set[str]:
        """The SHA-256 of all that clients put into their storages."""
        return {sha256 for shard in self.storages.glob(SHARDS) for sha256, _ in _files_of(shard.read_bytes())}

    def take_in(self, wanted: set[str]) -> None:
        """
        Keeps contents that clients put into their storages.

        Raises:
            `HubError`: if one is nowhere, or is another than announced.
        """
        for shard in self.storages.glob(SHARDS):
            files = {sha256: info for sha256, info in _files_of(shard.read_bytes()) if sha256 in wanted}
            if files:
                # Of a copy: the client may still have its own open, and then nobody else gets in.
                with tempfile.TemporaryDirectory() as copy:
                    shutil.copytree(shard.parents[3], copy, dirs_exist_ok=True)
                    with XetSession().new_file_download_group(endpoint=f"local://{copy}") as group:
                        for sha256, info in files.items():
                            group.start_download_file(info, str(self.content(sha256)))
        for sha256 in wanted:
            content = self.content(sha256)
            if not content.exists():
                raise HubError(400, "BadRequest", f"LFS pointer {sha256} points to a file that does not exist")
            if hashlib.sha256(content.read_bytes()).hexdigest() != sha256:
                content.unlink()
                raise HubError(400, "BadRequest", f"a content was announced as {sha256} and is another")


@dataclass(frozen=True)
class Repo:
    """
    One repository.

    Args:
        store ([`Store`]): Where its contents are.
        kind (`str`): `"model"`, `"dataset"` or `"space"`.
        id (`str`): Its name with that of its owner, `"clue/umui"`.
        folder (`Path`): Where its commits are.
    """

    store: Store
    kind: str
    id: str
    folder: Path

    def exists(self) -> bool:
        """Whether it was created and not deleted."""
        return (self.folder / "repo.json").exists()

    def create(self, **settings) -> None:
        """Starts it with one commit, as the Hub does."""
        files = {".gitattributes": self.store.add(GITATTRIBUTES.encode())}
        created = now()
        first = self._write_commit("initial commit", "", None, files)
        self._save({"createdAt": created, "branches": {"main": first}, "tags": {}, **settings})

    def delete(self) -> None:
        """Forgets it with its history. Contents stay: other repositories may have them."""
        shutil.rmtree(self.folder)

    def settings(self) -> dict:
        """What `repo.json` says."""
        return json.loads((self.folder / "repo.json").read_text())

    def update(self, **settings) -> None:
        """Changes visibility and the like."""
        self._save(self.settings() | settings)

    def resolve(self, revision: str) -> str:
        """The commit that a branch, a tag or a commit's name stands for."""
        settings = self.settings()
        for name in (revision, revision.removeprefix("refs/heads/")):
            if name in settings["branches"] | settings["tags"]:
                return (settings["branches"] | settings["tags"])[name]
        if revision.isalnum() and (self.folder / "commits" / f"{revision}.json").exists():
            return revision
        raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    def commit_info(self, commit: str) -> dict:
        """Title, message, date and parent of a commit."""
        return json.loads((self.folder / "commits" / f"{commit}.json").read_text())

    def files(self, revision: str) -> dict[str, Entry]:
        """All files of a revision by their paths, sorted."""
        return {path: Entry(**entry) for path, entry in self.commit_info(self.resolve(revision))["files"].items()}

    def set_reference(self, kind: str, name: str, revision: str | None) -> None:
        """Sets (or, without `revision`, deletes) a branch or a tag; `kind` is `"branches"` or `"tags"`."""
        references = self.settings()[kind]
        if revision is None and name not in references:
            raise HubError(404, "RevisionNotFound", f"Reference doesn't exist: {name}")
        if revision is not None and name in references:
            raise HubError(409, "Conflict", f"Reference already exists: {name}")
        changed = references | ({} if revision is None else {name: self.resolve(revision)})
        self.update(**{kind: {other: commit for other, commit in changed.items() if revision or other != name}})

    def commit(self, branch: str, operations: list[dict]) -> str:
        """
        Makes a commit: all of it, or nothing.

        Args:
            branch (`str`): The branch to go on from.
            operations (`list[dict]`): The lines of the request, each `{"key", "value"}`.

        Returns:
            `str`: the name of the commit.

        Raises:
            `HubError`: if the branch has moved on from the parent that the request names, a content was never
                uploaded, a path leads out of the repository, or a file to delete isn't there.
        """
        settings = self.settings()
        if branch not in settings["branches"]:
            raise HubError(404, "RevisionNotFound", f"Invalid rev id: {branch}")
        parent = settings["branches"][branch]
        files, header = self.files(parent), {}
        large = {operation["value"]["oid"] for operation in operations if operation["key"] == "lfsFile"}
        self.store.take_in({oid for oid in large if not self.store.content(oid).exists()})
        for operation in operations:
            key, value = operation["key"], operation["value"]
            if key == "header":
                header = value
                if not parent.startswith(value.get("parentCommit", "")):
                    raise HubError(412, "PreconditionFailed", "A commit has happened since: refresh and try again.")
                continue
            path = value["path"].rstrip("/")
            if {"", ".", ".."} & set(path.split("/")):
                raise HubError(400, "BadRequest", f"{value['path']!r} is no path in a repository")
            if key == "file":
                files[path] = self.store.add(base64.b64decode(value["content"]))
            elif key == "lfsFile":
                files[path] = lfs_entry(value["oid"], self.store.content(value["oid"]).stat().st_size)
            elif key in ("deletedFile", "deletedFolder"):
                gone = [other for other in files if other == path or other.startswith(f"{path}/")]
                if not gone:
                    raise HubError(404, "EntryNotFound", f"{path} does not exist on {branch}")
                for other in gone:
                    del files[other]
            else:
                raise HubError(400, "BadRequest", f"{key!r} is no operation of a commit")
        made = self._write_commit(header["summary"], header.get("description", ""), parent, files)
        # The branch moves last: until then the commit is not to be seen.
        self.update(branches=settings["branches"] | {branch: made})
        return made

    def _write_commit(self, title: str, message: str, parent: str | None, files: dict[str, Entry]) -> str:
        commit = {"title": title, "message": message, "date": now(), "parent": parent}
        commit["files"] = {path: asdict(entry) for path, entry in sorted(files.items())}
        content = json.dumps(commit).encode()
        made = git_hash("commit", content)
        _write(self.folder / "commits" / f"{made}.json", content)
        return made

    def _save(self, settings: dict) -> None:
        _write(self.folder / "repo.json", json.dumps(settings).encode())


def git_hash(kind: str, content: bytes) -> str:
    """The name that git gives to an object: `kind` is `"blob"`, `"tree"` or `"commit"`."""
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


def lfs_pointer(sha256: str, size: int) -> bytes:
    """What git keeps of a file that LFS keeps."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def lfs_entry(sha256: str, size: int) -> Entry:
    """A file that LFS keeps."""
    return Entry(size, sha256, git_hash("blob", lfs_pointer(sha256, size)), lfs=True)


def wants_lfs(path: str, size: int, sample: bytes, attributes: str) -> bool:
    """Whether a file goes to LFS: by `.gitattributes`, by its size, or because git would show it as binary."""
    patterns = [line.split()[0] for line in attributes.splitlines() if "filter=lfs" in line]
    by_name = any(fnmatch(path, pattern) or fnmatch(path.split("/")[-1], pattern) for pattern in patterns)
    return by_name or size >= LARGE or b"\0" in sample


def _files_of(shard: bytes) -> Iterator[tuple[str, XetFileInfo]]:
    """The files that a shard of Xet tells of, each by its SHA-256: records of 48 bytes after as many of a header."""

    def name(at: int) -> str:
        return b"".join(shard[at + word : at + word + 8][::-1] for word in range(0, 32, 8)).hex()

    at = 48
    while shard[at : at + 32] != b"\xff" * 32:
        flags, parts = struct.unpack_from("<II", shard, at + 32)
        lengths = [struct.unpack_from("<I", shard, at + 48 * part + 36)[0] for part in range(1, parts + 1)]
        # The parts of the content, of each part a hash to verify it by, then the whole's SHA-256.
        last = at + 48 * (1 + parts * (2 if flags & 1 << 31 else 1))
        yield name(last), XetFileInfo(name(at), sum(lengths))
        at = last + 48


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".") as file:
        file.write(content)
        file.flush()
        os.link(file.name, f"{file.name}.whole")
        os.replace(f"{file.name}.whole", path)


def now() -> str:
    """The time, as the Hub tells it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
