"""The local Hub, by the clients that real Hubs are used with."""

import hashlib
import json
import random
from pathlib import Path
from urllib.error import HTTPError

import pytest


pytestmark = pytest.mark.processes

CHECKPOINT = Path(__file__).parents[2] / "checkpoints" / "clue-urn-tiny"
PUSH = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo(sys.argv[1], repo_type="dataset", exist_ok=True)
print(api.upload_folder(repo_id=sys.argv[1], repo_type="dataset", folder_path=sys.argv[2]).oid)
"""


def write_clips(folder: Path, count: int, seed: int) -> Path:
    """A folder of `count` files that LFS keeps: all different, and another seed's are different from them."""
    folder.mkdir(parents=True)
    source = random.Random(seed)
    for number in range(count):
        (folder / f"{number}.flac").write_bytes(b"fLaC" + source.randbytes(1000))
    return folder


def test_second_push_sends_only_what_changed(hub, tmp_path):
    """A folder that is there already is not committed again; of a changed one, the change is."""
    folder = write_clips(tmp_path / "folder" / "sub", 3, seed=1).parent
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Hello\n")
    first = hub.run(tmp_path / "home", PUSH, "clue/twice", folder).stdout
    hub.clear_log()
    assert hub.run(tmp_path / "home", PUSH, "clue/twice", folder).stdout == first
    assert hub.commits() == []
    (folder / "sub" / "1.flac").write_bytes((folder / "sub" / "0.flac").read_bytes())
    (folder / "sub" / "2.flac").write_bytes(b"fLaC, but another")
    hub.run(tmp_path / "home", PUSH, "clue/twice", folder)
    assert len(hub.commits()) == 1
    for path in folder.rglob("*.*"):
        address = f"/datasets/clue/twice/resolve/main/{path.relative_to(folder).as_posix()}"
        assert hub.ask("GET", address) == path.read_bytes()


def test_large_file_by_ranges(hub, tmp_path):
    """A large file arrives whole, and any stretch of it can be asked for."""
    content = random.Random(0).randbytes(12 * 2**20)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "large.bin").write_bytes(content)
    hub.run(tmp_path / "home", PUSH, "clue/large", folder)
    code = """
import hashlib, sys
from huggingface_hub import HfFileSystem, hf_hub_download
path = hf_hub_download("clue/large", "large.bin", repo_type="dataset")
print(hashlib.file_digest(open(path, "rb"), "sha256").hexdigest())
with HfFileSystem().open("datasets/clue/large/large.bin", block_size=2**16) as file:
    file.seek(7_000_000)
    print(hashlib.sha256(file.read(100_000)).hexdigest())
"""
    hub.clear_log()
    whole, stretch = hub.run(tmp_path / "home", code).stdout.split()
    assert whole == hashlib.sha256(content).hexdigest()
    assert stretch == hashlib.sha256(content[7_000_000:7_100_000]).hexdigest()
    assert 206 in {entry["status"] for entry in hub.log()}
    address = "/datasets/clue/large/resolve/main/large.bin"
    assert hub.ask("GET", address, {"Range": "bytes=3-9"}) == content[3:10]
    assert hub.ask("GET", address, {"Range": f"bytes={len(content) - 5}-"}) == content[-5:]
    with pytest.raises(HTTPError, match="416"):
        hub.ask("GET", address, {"Range": f"bytes={len(content)}-"})


def test_private_repository_is_for_its_owner(hub, tmp_path):
    """To whoever isn't signed in, a private repository looks as if it weren't there; nobody writes unsigned."""
    folder = write_clips(tmp_path / "folder", 1, seed=2)
    code = """
import sys
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
def outcome(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except HfHubHTTPError as error:
        return f"{type(error).__name__}-{error.response.status_code}"
    return "fine"
api = HfApi()
if sys.argv[1] == "owner":
    print(api.whoami()["name"])
    api.create_repo("clue/secret", repo_type="dataset", private=True)
    api.upload_folder(repo_id="clue/secret", repo_type="dataset", folder_path=sys.argv[2])
    print(outcome(api.create_repo, "clue/public", repo_type="dataset"))
    print(outcome(api.create_repo, "elsewhere/secret"))
    print(outcome(api.create_repo, "clue/secret", repo_type="dataset"))
elif sys.argv[1] == "publish":
    api.update_repo_settings("clue/secret", repo_type="dataset", visibility="public")
print(outcome(hf_hub_download, "clue/secret", "0.flac", repo_type="dataset"))
print(outcome(api.dataset_info, "clue/secret"))
print(outcome(api.dataset_info, "clue/nothing"))
if sys.argv[1] == "stranger":
    print(outcome(api.create_repo, "clue/mine"))
    print(outcome(api.upload_file, path_or_fileobj=b"x", path_in_repo="x", repo_id="clue/public", repo_type="dataset"))
"""
    missing = "RepositoryNotFoundError-401"
    owner = hub.run(tmp_path / "owner", code, "owner", folder).stdout.split()
    refused = ["HfHubHTTPError-403", "HfHubHTTPError-409"]
    assert owner == ["tester", "fine", *refused, "fine", "fine", "RepositoryNotFoundError-404"]
    stranger = hub.run(tmp_path / "stranger", code, "stranger", token=False).stdout.split()
    assert stranger[:3] == [missing] * 3 and all(told.endswith("-401") for told in stranger[3:])
    hub.run(tmp_path / "owner", code, "publish")
    assert hub.run(tmp_path / "other", code, "reader", token=False).stdout.split() == ["fine", "fine", missing]


def test_more_files_than_a_page(hub, tmp_path):
    """All files are listed where they fill more than one page, with their folders, and by the file system."""
    folder = tmp_path / "folder"
    for number in range(1203):
        (folder / f"part {number % 3}").mkdir(parents=True, exist_ok=True)
        (folder / f"part {number % 3}" / f"{number}.txt").write_text(str(number))
    hub.run(tmp_path / "home", PUSH, "clue/many", folder)
    code = """
import json, sys
from huggingface_hub import HfApi, HfFileSystem
api = HfApi()
tree = list(api.list_repo_tree("clue/many", repo_type="dataset", recursive=True))
print(json.dumps({
    "tree": sorted(entry.path for entry in tree),
    "folder": [entry.path for entry in api.list_repo_tree("clue/many", "part 1", repo_type="dataset", expand=True)],
    "info": [file.rfilename for file in api.dataset_info("clue/many").siblings],
    "glob": len(HfFileSystem().glob("datasets/clue/many/part 2/*.txt")),
    "paths": [entry.path for entry in api.get_paths_info("clue/many", sys.argv[1:], repo_type="dataset")],
}))
"""
    hub.clear_log()
    told = json.loads(hub.run(tmp_path / "home", code, "part 0", "part 0/3.txt", "no").stdout)
    files = sorted([path.relative_to(folder).as_posix() for path in folder.rglob("*.txt")] + [".gitattributes"])
    assert told["tree"] == sorted([*files, "part 0", "part 1", "part 2"])
    assert sorted(told["folder"]) == [path for path in files if path.startswith("part 1/")]
    assert told["info"] == files and told["glob"] == 401
    assert told["paths"] == ["part 0", "part 0/3.txt"]
    pages = [entry for entry in hub.log() if "/tree/main/part%201" in entry["path"]]
    assert len(pages) == 9  # 401 entries, 50 a page where more is told of each


def test_commits_are_whole_or_not_at_all(hub, tmp_path):
    """Files are added, deleted and copied in one commit; one that can't be whole, or comes too late, isn't made."""
    code = """
import json
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
api, repo = HfApi(), "clue/history"
api.create_repo(repo)
def commit(*operations, **options):
    return api.create_commit(repo, operations=operations, commit_message=options.pop("title", "a commit"), **options)
def fails(kind, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except kind:
        return True
add = [CommitOperationAdd(name, name.encode() * 9) for name in ("a/1.txt", "a/2.txt", "b.bin", "c.txt")]
first = commit(*add, title="first").oid
api.create_tag(repo, tag="v1")
api.create_branch(repo, branch="side/line")
second = commit(
    CommitOperationDelete("a/"), CommitOperationCopy("b.bin", "d.bin"), CommitOperationDelete("b.bin"), title="second"
).oid
late = fails(HfHubHTTPError, commit, CommitOperationAdd("late", b"x"), parent_commit=first)
lost = fails(HfHubHTTPError, commit, CommitOperationAdd("e", b"x"), CommitOperationDelete("nothing"))
commit(CommitOperationAdd("only here", b"x"), revision="side/line")
print(json.dumps({
    "late": late, "lost": lost,
    "main": api.list_repo_files(repo), "tag": api.list_repo_files(repo, revision="v1"),
    "commit": api.list_repo_files(repo, revision=first), "branch": api.list_repo_files(repo, revision="side/line"),
    "titles": [entry.title for entry in api.list_repo_commits(repo)],
    "refs": sorted(ref.name for ref in api.list_repo_refs(repo).branches + api.list_repo_refs(repo).tags),
    "b": open(api.hf_hub_download(repo, "b.bin", revision="v1")).read(),
    "d": open(api.hf_hub_download(repo, "d.bin")).read(),
    "entry": fails(EntryNotFoundError, api.hf_hub_download, repo, "b.bin"),
    "revision": fails(RevisionNotFoundError, api.model_info, repo, revision="v2"),
}))
api.delete_tag(repo, tag="v1"); api.delete_branch(repo, branch="side/line"); api.delete_repo(repo)
assert fails(RepositoryNotFoundError, api.model_info, repo) and fails(RepositoryNotFoundError, api.delete_repo, repo)
"""
    told = json.loads(hub.run(tmp_path / "home", code).stdout)
    before = [".gitattributes", "a/1.txt", "a/2.txt", "b.bin", "c.txt"]
    assert told["late"] and told["lost"] and told["entry"] and told["revision"]
    assert told["main"] == [".gitattributes", "c.txt", "d.bin"]
    assert told["tag"] == told["commit"] == before and told["branch"] == [*before, "only here"]
    assert told["titles"] == ["second", "first", "initial commit"]
    assert told["refs"] == ["main", "side/line", "v1"]
    assert told["b"] == told["d"] == "b.bin" * 9


def test_cards_are_checked(hub, tmp_path):
    """A card whose YAML is broken, or says what no Hub takes, is refused before anything is uploaded."""
    code = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo("clue/cards", repo_type="dataset", exist_ok=True)
for front in ("license: [", "license: mine", "tags: one", "configs: [{name: a}]", "license: cc-by-4.0"):
    try:
        api.upload_file(
            path_or_fileobj=f"---\\n{front}\\n---\\ntext".encode(), path_in_repo="README.md", repo_id="clue/cards",
            repo_type="dataset",
        )
        print("fine")
    except ValueError:
        print("refused")
"""
    assert hub.run(tmp_path / "home", code).stdout.split() == ["refused"] * 4 + ["fine"]


def test_space(hub, tmp_path):
    """A Space is made with its SDK, takes files, and says that it isn't running."""
    code = """
from huggingface_hub import HfApi
api = HfApi()
print(api.create_repo("clue/demo", repo_type="space", space_sdk="gradio"))
card = b"---\\ntitle: Demo\\nsdk: gradio\\n---\\n"
api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id="clue/demo", repo_type="space")
info = api.space_info("clue/demo")
print(info.sdk, info.card_data.title, api.get_space_runtime("clue/demo").stage)
print(open(api.snapshot_download("clue/demo", repo_type="space") + "/README.md").read() == card.decode())
"""
    told = hub.run(tmp_path / "home", code).stdout.split()
    assert told == [f"{hub.endpoint}/spaces/clue/demo", "gradio", "Demo", "STOPPED", "True"]


def test_model_with_its_code(hub, tmp_path):
    """A checkpoint pushed from `transformers` comes back from the Hub with its code, and computes the same."""
    code = """
import sys
import torch
from transformers import AutoModel, AutoProcessor
torch.set_num_threads(1)
source = sys.argv[1]
model = AutoModel.from_pretrained(source, trust_remote_code=True)
processor = AutoProcessor.from_pretrained(source, trust_remote_code=True)
with torch.no_grad():
    ids = torch.arange(3, 40)[None]
    print(type(model).__module__.split(".")[0], float(model.model(input_ids=ids).last_hidden_state.double().sum()))
if len(sys.argv) > 2:
    model.push_to_hub(sys.argv[2])
    processor.push_to_hub(sys.argv[2])
"""
    here = hub.run(tmp_path / "home", code, CHECKPOINT, "clue/model").stdout.split()
    there = hub.run(tmp_path / "other", code, "clue/model", token=False).stdout.split()
    assert here[1] == there[1] and there[0] == "transformers_modules"
    listing = json.loads(hub.ask("GET", "/api/models/clue/model/tree/main"))
    assert {"model.safetensors", "modeling_clue.py", "processor_config.json"} <= {entry["path"] for entry in listing}
