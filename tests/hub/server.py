"""
A Hub on this machine: what of the Hugging Face Hub's protocol its client (huggingface_hub 2.4) speaks, over HTTP.

```
python tests/hub/server.py FOLDER [--port 0]
```

Large files come as to the Hub, through hf_xet, but the storage that they are put into is a folder, which hf_xet writes
to itself (`local://`). So what is not spoken here are the requests to that storage (contents that are refused, that it
has from others, or that come too fast) and downloads from it: files are read here. Of the older protocol, LFS, which
the client still speaks where it sends what is no file (`CommitScheduler` does), there is what sends a content whole.

The first line it prints is its address. There is one user, `tester`, who may write to what is theirs and their
organization's (`clue`). Requests below `/_test` are for tests alone: a log of what was asked and how much was sent,
and a switch that stops uploads half-way.
"""

import argparse
import asyncio
import base64
import json
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from urllib.parse import parse_qs, unquote

import uvicorn
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from store import Entry, HubError, Repo, Store, git_hash, lfs_pointer, now, wants_lfs


TOKEN = "hf_local_tests"
USER, ORGANIZATION = "tester", "clue"
# As on the Hub: entries a page, plain and with `expand`.
PAGE, EXPANDED_PAGE = 1000, 50
LICENSES = (
    "apache-2.0 mit cc0-1.0 cc-by-2.0 cc-by-3.0 cc-by-4.0 cc-by-sa-4.0 cc-by-nc-4.0 cc-by-nc-sa-4.0 odc-by other"
    " unknown"
).split()


@dataclass
class Switch:
    """
    What a test can do to the Hub.

    Args:
        log (`list[dict]`): `{"method", "path", "bytes_in", "status"}` of each request that came to an end.
        allowed (`dict[str, int]`): How many more `"uploads"` (of some files each) or `"commits"` succeed, if limited.
        how (`str`): What befalls the next one: `"refuse"` is an error at once, `"hold"` never an answer.
        held (`int`): How many requests are waiting for an answer that won't come.
        released ([`asyncio.Event`]): Set when the switch is put back.
    """

    log: list[dict] = field(default_factory=list)
    allowed: dict[str, int] = field(default_factory=dict)
    how: str = "refuse"
    held: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def pass_through(self, kind: str) -> None:
        """Counts an upload or a commit, and stops it if it is one too many."""
        if kind not in self.allowed:
            return
        if self.allowed[kind] > 0:
            self.allowed[kind] -= 1
            return
        if self.how == "hold":
            self.held += 1
            await self.released.wait()
            self.held -= 1
        raise HubError(403, "Forbidden", f"no more {kind}, as the test asked")


class Recorder:
    """Logs requests, and leaves paths quoted: a branch or a path within a repository may hold `%2F`."""

    def __init__(self, app: ASGIApp, switch: Switch):
        self.app, self.switch = app, switch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        path = scope["raw_path"].decode()
        record = {"method": scope["method"], "path": path, "bytes_in": 0, "status": None}

        async def counting_receive():
            message = await receive()
            record["bytes_in"] += len(message.get("body", b""))
            return message

        async def noting_send(message):
            if message["type"] == "http.response.start":
                record["status"] = message["status"]
            await send(message)

        if not path.startswith("/_test"):
            self.switch.log.append(record)
        await self.app({**scope, "path": path}, counting_receive, noting_send)


class Hub:
    """
    The requests the Hub answers.

    Args:
        store ([`Store`]): Where repositories are.
    """

    def __init__(self, store: Store):
        self.store = store
        self.switch = Switch()

    def app(self) -> ASGIApp:
        """The server's application."""
        routes = [
            Route("/_test/log", self.test_log, methods=["GET", "DELETE"]),
            Route("/_test/fail_after", self.test_fail_after, methods=["POST", "DELETE"]),
            Route("/api/whoami-v2", self.whoami),
            Route("/api/validate-yaml", self.validate_yaml, methods=["POST"]),
            Route("/api/repos/create", self.create, methods=["POST"]),
            Route("/api/repos/delete", self.delete, methods=["DELETE"]),
            Route("/_lfs/{oid}", self.lfs_put, methods=["PUT"]),
        ]
        for kind in ("model", "dataset", "space"):
            api = f"/api/{kind}s/{{namespace}}/{{name}}"
            page = "" if kind == "model" else f"/{kind}s"
            reading = [
                (api, self.info, ["GET"]),
                (f"{api}/revision/{{revision}}", self.info, ["GET"]),
                (f"{api}/tree/{{revision}}", self.tree, ["GET"]),
                (f"{api}/tree/{{revision}}/{{path:path}}", self.tree, ["GET"]),
                (f"{api}/paths-info/{{revision}}", self.paths_info, ["POST"]),
                (f"{api}/refs", self.refs, ["GET"]),
                (f"{api}/commits/{{revision}}", self.commits, ["GET"]),
                (f"{api}/runtime", self.runtime, ["GET"]),
                (f"{api}/auth-check", self.auth_check, ["GET"]),
                (f"{page}/{{namespace}}/{{name}}/resolve/{{revision}}/{{file:path}}", self.resolve, ["GET"]),
            ]
            writing = [
                (f"{api}/auth-check/write", self.auth_check, ["GET"]),
                (f"{api}/branch/{{branch}}", self.branch, ["POST", "DELETE"]),
                (f"{api}/tag/{{revision}}", self.tag, ["POST", "DELETE"]),
                (f"{api}/settings", self.change_settings, ["PUT"]),
                (f"{api}/variables", self.variables, ["GET", "POST", "DELETE"]),
                (f"{api}/secrets", self.secrets, ["GET", "POST", "DELETE"]),
                (f"{api}/hardware", self.hardware, ["POST"]),
                (f"{api}/preupload/{{revision}}", self.preupload, ["POST"]),
                (f"{api}/commit/{{revision}}", self.commit, ["POST"]),
                (f"{api}/xet-write-token/{{revision}}", self.xet_token, ["GET"]),
                (f"{page}/{{namespace}}/{{name}}.git/info/lfs/objects/batch", self.lfs_batch, ["POST"]),
            ]
            for table, writes in ((reading, False), (writing, True)):
                for path, handler, methods in table:
                    routes.append(Route(path, self._within(kind, handler, writes), methods=methods))
        app = Starlette(routes=routes, exception_handlers={HubError: _answer_error})
        return Recorder(app, self.switch)

    # --- who may do what ---------------------------------------------------------------------------

    def _user(self, request: Request) -> str | None:
        given = request.headers.get("authorization")
        if given is None:
            return None
        if given != f"Bearer {TOKEN}":
            raise HubError(401, "Unauthorized", "Invalid credentials in Authorization header")
        return USER

    def _writer(self, request: Request, namespace: str) -> None:
        if self._user(request) is None:
            raise HubError(401, "Unauthorized", "Invalid username or password.")
        if namespace not in (USER, ORGANIZATION):
            raise HubError(403, "Forbidden", f"You don't have the rights to write to the namespace {namespace!r}")

    def _within(self, kind: str, handler, writes: bool):
        """An endpoint for `handler`, which gets a repository that is there and open to whoever asks."""

        async def endpoint(request: Request) -> Response:
            parameters = {key: unquote(value) for key, value in request.path_params.items()}
            repo = self.store.repo(kind, parameters.pop("namespace"), parameters.pop("name"))
            user = self._user(request)
            if not repo.exists() or (user is None and repo.settings()["private"]):
                # To strangers a private repository looks as if it weren't there.
                raise HubError(401 if user is None else 404, "RepoNotFound", "Repository not found")
            if writes:
                self._writer(request, repo.id.split("/")[0])
            return await handler(request, repo, **parameters)

        return endpoint

    async def whoami(self, request: Request) -> Response:
        """The user that the token is of."""
        user = self._user(request)
        if user is None:
            raise HubError(401, "Unauthorized", "Invalid username or password.")
        token = {"displayName": "tests", "role": "write"}
        organizations = [{"type": "org", "name": ORGANIZATION, "fullname": "CLUE", "roleInOrg": "admin"}]
        user = {"type": "user", "name": user, "fullname": "Tester", "isPro": False, "orgs": organizations}
        return JSONResponse({**user, "auth": {"type": "access_token", "accessToken": token}})

    async def auth_check(self, request: Request, repo: Repo) -> Response:
        """Whether the repository is open to whoever asks, to read or to write: it is, or this would not be called."""
        return JSONResponse({})

    # --- repositories ------------------------------------------------------------------------------

    async def create(self, request: Request) -> Response:
        """Makes a repository."""
        body = await request.json()
        kind, namespace = body.get("type") or "model", body.get("organization") or USER
        self._writer(request, namespace)
        if kind not in ("model", "dataset", "space"):
            raise HubError(400, "BadRequest", f"{kind!r} is no type of repository")
        repo = self.store.repo(kind, namespace, body["name"])
        url = str(request.base_url) + ("" if kind == "model" else f"{kind}s/") + repo.id
        if repo.exists():
            return JSONResponse({"error": "You already created this repo", "url": url}, status_code=409)
        extra = {}
        if kind == "space":
            if body.get("sdk") not in ("gradio", "docker", "static"):
                raise HubError(400, "BadRequest", f"{body.get('sdk')!r} is no sdk of a Space")
            extra = {"sdk": body["sdk"]}
        repo.create(private=body.get("visibility") == "private", gated=False, **extra)
        return JSONResponse({"url": url, "name": repo.id, "id": repo.id})

    async def delete(self, request: Request) -> Response:
        """Deletes a repository."""
        body = await request.json()
        namespace = body.get("organization") or USER
        self._writer(request, namespace)
        repo = self.store.repo(body.get("type") or "model", namespace, body["name"])
        if not repo.exists():
            raise HubError(404, "RepoNotFound", "Repository not found")
        repo.delete()
        return JSONResponse({})

    async def change_settings(self, request: Request, repo: Repo) -> Response:
        """Makes a repository private or public."""
        body = await request.json()
        changed = {"gated": body["gated"]} if "gated" in body else {}
        if "visibility" in body:
            changed["private"] = body["visibility"] == "private"
        repo.update(**changed)
        return JSONResponse(changed)

    async def info(self, request: Request, repo: Repo, revision: str = "main") -> Response:
        """What `HfApi.repo_info` tells."""
        settings, commit, files = repo.settings(), repo.resolve(revision), repo.files(revision)
        siblings = [{"rfilename": path} for path in files]
        if request.query_params.get("blobs"):
            siblings = [_file(path, entry) | {"rfilename": path, "blobId": entry.oid} for path, entry in files.items()]
            for sibling in siblings:
                if "lfs" in sibling:
                    sibling["lfs"] = sibling["lfs"] | {"sha256": sibling["lfs"]["oid"]}
        card = self._front(files["README.md"]) if "README.md" in files else {}
        return JSONResponse(
            {
                "id": repo.id,
                "modelId": repo.id,
                "author": repo.id.split("/")[0],
                "sha": commit,
                "createdAt": settings["createdAt"],
                "lastModified": repo.commit_info(commit)["date"],
                "private": settings["private"],
                "gated": settings["gated"],
                "disabled": False,
                "downloads": 0,
                "likes": 0,
                "tags": [],
                "siblings": siblings,
                "usedStorage": sum(entry.size for entry in files.values()),
                **({"cardData": card} if card else {}),
                **({"sdk": settings["sdk"]} if "sdk" in settings else {}),
            }
        )

    async def runtime(self, request: Request, repo: Repo) -> Response:
        """The state of a Space: none is ever run here."""
        hardware = {"current": None, "requested": repo.settings().get("hardware", "cpu-basic")}
        return JSONResponse({"stage": "STOPPED", "hardware": hardware, "storage": None, "gcTimeout": None})

    async def hardware(self, request: Request, repo: Repo) -> Response:
        """Asks for other hardware."""
        repo.update(hardware=(await request.json())["flavor"])
        return await self.runtime(request, repo)

    async def variables(self, request: Request, repo: Repo) -> Response:
        """What a Space is told: anybody who may write reads it back."""
        return JSONResponse(await _change_environment(request, repo, "variables"))

    async def secrets(self, request: Request, repo: Repo) -> Response:
        """What a Space is told in confidence: names alone come back."""
        kept = await _change_environment(request, repo, "secrets")
        return JSONResponse({key: {"updatedAt": entry["updatedAt"]} for key, entry in kept.items()})

    async def refs(self, request: Request, repo: Repo) -> Response:
        """Branches and tags."""
        settings = repo.settings()

        def listed(kind: str, prefix: str) -> list[dict]:
            named = settings[kind].items()
            return [{"name": name, "ref": f"{prefix}/{name}", "targetCommit": commit} for name, commit in named]

        heads, tags = listed("branches", "refs/heads"), listed("tags", "refs/tags")
        return JSONResponse({"branches": heads, "tags": tags, "converts": [], "pullRequests": []})

    async def commits(self, request: Request, repo: Repo, revision: str) -> Response:
        """The history of a revision, newest first."""
        history, commit = [], repo.resolve(revision)
        while commit is not None:
            told = repo.commit_info(commit)
            known = {key: told[key] for key in ("title", "message", "date")}
            history.append({"id": commit, "authors": [{"user": USER}], **known})
            commit = told["parent"]
        return JSONResponse(history)

    async def branch(self, request: Request, repo: Repo, branch: str) -> Response:
        """Makes or deletes a branch."""
        start = (await request.json()).get("startingPoint", "main") if request.method == "POST" else None
        repo.set_reference("branches", branch, start)
        return JSONResponse({})

    async def tag(self, request: Request, repo: Repo, revision: str) -> Response:
        """Makes a tag at a revision, or deletes the tag of that name."""
        if request.method == "DELETE":
            repo.set_reference("tags", revision, None)
        else:
            repo.set_reference("tags", (await request.json())["tag"], revision)
        return JSONResponse({})

    # --- reading -----------------------------------------------------------------------------------

    async def tree(self, request: Request, repo: Repo, revision: str, path: str = "") -> Response:
        """The files and folders in a folder, page by page."""
        query, files = request.query_params, repo.files(revision)
        prefix = f"{path.strip('/')}/" if path.strip("/") else ""
        below = {name: entry for name, entry in files.items() if name.startswith(prefix)}
        if prefix and not below:
            raise HubError(404, "EntryNotFound", f"{path} does not exist on {revision}")
        expand = _is_true(query.get("expand"))
        listed = {name: _folder(name, below) for name in _folders(below, prefix)}
        listed |= {name: _file(name, entry) for name, entry in below.items()}
        if not _is_true(query.get("recursive")):
            listed = {name: item for name, item in listed.items() if "/" not in name.removeprefix(prefix)}
        size = int(query.get("limit", EXPANDED_PAGE if expand else PAGE))
        rest = iter(sorted(name for name in listed if name > query.get("cursor", "")))
        names = list(islice(rest, size))
        headers = {}
        if next(rest, None) is not None:
            following = request.url.include_query_params(cursor=names[-1])
            headers["Link"] = f'<{following}>; rel="next"'
        page = [listed[name] for name in names]
        return JSONResponse(self._expanded(repo, revision, page) if expand else page, headers=headers)

    async def paths_info(self, request: Request, repo: Repo, revision: str) -> Response:
        """The files and folders at given paths; paths that aren't there are left out."""
        query, files = parse_qs((await request.body()).decode()), repo.files(revision)
        found = []
        for path in query.get("paths", []):
            path = path.strip("/")
            if path in files:
                found.append(_file(path, files[path]))
            elif any(name.startswith(f"{path}/") for name in files):
                found.append(_folder(path, files))
        expand = _is_true(query.get("expand", [""])[-1])
        return JSONResponse(self._expanded(repo, revision, found) if expand else found)

    def _expanded(self, repo: Repo, revision: str, items: list[dict]) -> list[dict]:
        commit = repo.resolve(revision)
        told = repo.commit_info(commit)
        return [item | {"lastCommit": {"id": commit, "title": told["title"], "date": told["date"]}} for item in items]

    async def resolve(self, request: Request, repo: Repo, revision: str, file: str) -> Response:
        """A file's content, or the part of it that a `Range` asks for."""
        commit = repo.resolve(revision)
        files = repo.files(commit)
        if file not in files:
            error = HubError(404, "EntryNotFound", f"{file} does not exist on {revision}")
            return _answer_error(request, error, {"X-Repo-Commit": commit})
        entry = files[file]
        tag = f'"{entry.sha256 if entry.lfs else entry.oid}"'
        headers = {"X-Repo-Commit": commit, "ETag": tag, "Last-Modified": _http_date(repo.commit_info(commit)["date"])}
        if entry.lfs:
            headers |= {"X-Linked-Size": str(entry.size), "X-Linked-ETag": tag}
        return FileResponse(self.store.content(entry.sha256), headers=headers, media_type="application/octet-stream")

    # --- writing -----------------------------------------------------------------------------------

    def _front(self, readme: Entry) -> dict:
        try:
            return _front_matter(self.store.content(readme.sha256).read_text(encoding="utf-8"))
        except yaml.YAMLError:
            return {}

    async def validate_yaml(self, request: Request) -> Response:
        """Checks the YAML at the head of a card, as far as a mistake in it would be seen on the Hub."""
        body = await request.json()
        try:
            front = _front_matter(body["content"])
            errors, warnings = _check_card(front, body["repoType"])
        except yaml.YAMLError as error:
            errors, warnings = [f"Invalid YAML: {error}"], []
        answer = {
            "errors": [{"message": text} for text in errors],
            "warnings": [{"message": text} for text in warnings],
        }
        return JSONResponse(answer, status_code=400 if errors else 200)

    async def preupload(self, request: Request, repo: Repo, revision: str) -> Response:
        """Tells of each file whether it goes to LFS, whether it is ignored, and what is at its place already."""
        body, files = await request.json(), repo.files(revision)
        attributes = ""
        if ".gitattributes" in files:
            attributes = self.store.content(files[".gitattributes"].sha256).read_text(encoding="utf-8")
        ignored = [line.strip().strip("/") for line in body.get("gitIgnore", "").splitlines()]
        ignored = [pattern for pattern in ignored if pattern and not pattern.startswith("#")]
        answers = []
        for file in body["files"]:
            path = file["path"]
            sample = base64.b64decode(file["sample"])
            lfs = wants_lfs(path, file["size"], sample, attributes)
            there = files.get(path)
            answers.append(
                {
                    "path": path,
                    "uploadMode": "lfs" if lfs else "regular",
                    "shouldIgnore": any(fnmatch(part, p) for p in ignored for part in (path, *path.split("/"))),
                    # The client compares: the content's hash for LFS, git's for the rest.
                    "oid": (there.sha256 if there.lfs else there.oid) if there else None,
                }
            )
        return JSONResponse({"files": answers, "commitOid": repo.resolve(revision)})

    async def commit(self, request: Request, repo: Repo, revision: str) -> Response:
        """Makes a commit."""
        if request.query_params.get("create_pr"):
            raise HubError(400, "BadRequest", "pull requests are not to be had here")
        lines = (await request.body()).splitlines()
        await self.switch.pass_through("commits")
        made = repo.commit(revision, [json.loads(line) for line in lines if line.strip()])
        url = f"{request.base_url}{'' if repo.kind == 'model' else f'{repo.kind}s/'}{repo.id}/commit/{made}"
        return JSONResponse({"success": True, "commitOid": made, "commitUrl": url, "hookOutput": ""})

    async def xet_token(self, request: Request, repo: Repo, revision: str) -> Response:
        """Where to put contents: each time a new folder, for a storage is open to one client at a time."""
        await self.switch.pass_through("uploads")
        told = {"casUrl": f"local://{self.store.new_storage()}", "accessToken": "x", "exp": int(time.time()) + 3600}
        return JSONResponse(told)

    async def lfs_batch(self, request: Request, repo: Repo) -> Response:
        """Where to upload which contents."""
        objects = [
            file | {"actions": {"upload": {"href": f"{request.base_url}_lfs/{file['oid']}"}}}
            for file in (await request.json())["objects"]
        ]
        return JSONResponse({"transfer": "basic", "objects": objects})

    async def lfs_put(self, request: Request) -> Response:
        """Takes a content as a whole."""
        if self.store.add(await request.body()).sha256 != request.path_params["oid"]:
            raise HubError(400, "BadRequest", "another content was announced")
        return Response()

    # --- for tests ---------------------------------------------------------------------------------

    async def test_log(self, request: Request) -> Response:
        """What was asked so far, and which contents were ever put in; DELETE forgets the requests."""
        answer = JSONResponse(
            {"requests": self.switch.log, "held": self.switch.held, "received": sorted(self.store.received())}
        )
        if request.method == "DELETE":
            self.switch.log = []
        return answer

    async def test_fail_after(self, request: Request) -> Response:
        """Lets so many `uploads` or `commits` pass, then each is refused or held (`how`); DELETE ends that."""
        self.switch.released.set()
        self.switch.released = asyncio.Event()
        query = request.query_params
        self.switch.allowed = {kind: int(query[kind]) for kind in ("uploads", "commits") if kind in query}
        self.switch.how = query.get("how", "refuse")
        return JSONResponse(self.switch.allowed)


def _answer_error(request: Request, error: HubError, headers: dict | None = None) -> Response:
    headers = {"X-Error-Code": error.code, "X-Error-Message": str(error).encode("ascii", "replace").decode()} | (
        headers or {}
    )
    return JSONResponse({"error": str(error)}, status_code=error.status, headers=headers)


async def _change_environment(request: Request, repo: Repo, kind: str) -> dict[str, dict]:
    if repo.kind != "space":
        raise HubError(404, "NotFound", "only a Space has variables and secrets")
    kept, other = (repo.settings().get(name, {}) for name in (kind, "secrets" if kind == "variables" else "variables"))
    if request.method == "GET":
        return kept
    body = await request.json()
    key = body["key"]
    kept.pop(key, None)
    if request.method == "POST":
        if key in other:
            raise HubError(400, "BadRequest", f"{key} is among the Space's variables or secrets already")
        kept[key] = {"value": body["value"], "updatedAt": now()}
    repo.update(**{kind: kept})
    return kept


def _is_true(value: str | None) -> bool:
    return value is not None and value.lower() in ("true", "1")


def _http_date(date: str) -> str:
    return datetime.fromisoformat(date).strftime("%a, %d %b %Y %H:%M:%S GMT")


def _file(path: str, entry: Entry) -> dict:
    told = {"type": "file", "path": path, "size": entry.size, "oid": entry.oid}
    if entry.lfs:
        pointer = len(lfs_pointer(entry.sha256, entry.size))
        told["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": pointer}
    return told


def _folder(path: str, files: dict[str, Entry]) -> dict:
    held = "".join(f"{name} {entry.oid}\n" for name, entry in files.items() if name.startswith(f"{path}/"))
    return {"type": "directory", "path": path, "size": 0, "oid": git_hash("tree", held.encode())}


def _folders(paths: Iterable[str], prefix: str) -> set[str]:
    folders = {str(parent) for path in paths for parent in Path(path).parents}
    return {folder for folder in folders if folder != "." and folder.startswith(prefix)}


def _front_matter(card: str) -> dict:
    parts = card.split("---\n", 2)
    if len(parts) != 3 or parts[0].strip():
        return {}
    front = yaml.safe_load(parts[1])
    if not isinstance(front, dict):
        raise yaml.YAMLError("the front matter must be a mapping")
    return front


def _check_card(front: dict, kind: str) -> tuple[list[str], list[str]]:
    """Errors and warnings, in the words of a Hub that knows fewer licences."""
    if not front:
        return [], ["empty or missing yaml metadata in repo card"]
    errors = []
    licenses = front.get("license", [])
    for name in licenses if isinstance(licenses, list) else [licenses]:
        if name not in LICENSES:
            errors.append(f'"license" must be one of {LICENSES}, got {name!r}')
    for key in ("tags", "task_categories", "size_categories", "configs", "datasets", "annotations_creators"):
        if key in front and not isinstance(front[key], list):
            errors.append(f'"{key}" must be an array')
    for config in front["configs"] if isinstance(front.get("configs"), list) else []:
        if not isinstance(config, dict) or not isinstance(config.get("config_name"), str):
            errors.append('"configs" must be an array of mappings with "config_name"')
    if sum(bool(config.get("default")) for config in front.get("configs", []) if isinstance(config, dict)) > 1:
        errors.append('"configs" must have one default at the most')
    if kind == "space":
        errors += [f'"{key}" is required' for key in ("title", "sdk") if key not in front]
    return errors, []


def main() -> None:
    """Serves a folder until it is stopped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0, help="default: one that is free")
    options = parser.parse_args()
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", options.port))
    listening.listen(128)
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    app = Hub(Store(options.folder.resolve())).app()
    uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off")).run(sockets=[listening])


if __name__ == "__main__":
    main()
