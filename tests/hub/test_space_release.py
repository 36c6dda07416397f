"""Spaces are released with what git has of them, once; the page on releasing is true; what was released runs."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from gradio_client import Client
from huggingface_hub import parse_eval_result_entries
from transformers import pipeline

from tests.hub.conftest import LocalHub
from tests.launching import write_python
from tests.spaces.conftest import start_space


pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[2]
# What a release reads, and what the commands of RELEASE.md run.
TREE = (
    "RELEASE.md CITATION.cff model_card.md pyproject.toml .gitignore chat checkpoints common datasets_scripts "
    "evaluation modeling_clue spaces train"
).split()
TINY = "checkpoints/clue-urn-tiny"
QUESTION = ("Balls in the urn: red, red, blue, green, red.", "A random ball is red.")

# What the page's commands get beside, to be done in seconds.
SMALLER = {
    "datasets_scripts.build urn --output-dir umui": "--train 4 --validation 2 --test 2 --text-train 8 --workers 1 "
    "--modalities text audiovisual",
    "--output-dir runs/release/clue": "--max-steps 2 --warmup-steps 0 --cache-premises false "
    "--dataset-configs urn-text",
}

SENDS = re.compile(r"python -m (datasets_scripts\.release|train\.push|spaces\.release) |hf upload |python -c ")

# Runs `python -m` commands one after the other as if each had a process of its own: what they import takes longer
# than what they do. An error is printed and goes on with `keep_going`.
TOGETHER = """
import runpy, shlex, sys
keep_going, *commands = sys.argv[1:]
for command in commands:
    _, _, module, *arguments = shlex.split(command)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if keep_going == "stop" and end.code not in (None, 0):
            raise
        print(end)
    print("====", flush=True)
"""

PUT = """
import json, sys
from huggingface_hub import HfApi
kind, repo, private, files = sys.argv[1:]
api = HfApi()
sdk = {"space_sdk": "gradio"} if kind == "space" else {}
api.create_repo(repo, repo_type=kind, exist_ok=True, private=private == "private", **sdk)
for path, content in json.loads(files).items():
    api.upload_file(repo_id=repo, repo_type=kind, path_in_repo=path, path_or_fileobj=content.encode())
"""


def git(folder: Path, *arguments: str) -> None:
    """Runs git as nobody in particular."""
    names = ["-c", "user.name=Tests", "-c", "user.email=tests@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *names, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A fresh checkout of this tree, as it is at the moment, with one commit."""
    folder = tmp_path_factory.mktemp("tree")
    for name in TREE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "data", "users.txt"))
        else:
            shutil.copy(source, folder / name)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "A commit")
    return folder


@pytest.fixture
def clone(tree, tmp_path) -> Path:
    """A clone that a test may change."""
    git(tmp_path, "clone", "-q", str(tree), "clone")
    return tmp_path / "clone"


def shell(hub: LocalHub, folder: Path, command: str, check: bool = True, **environment: str):
    """Runs a command in a folder as a client of the Hub, with the folder's own code."""
    env = hub.env(folder.parent / "home") | {"PYTHONPATH": str(folder)} | environment
    programs = folder.parent / "programs"
    if not programs.exists():
        programs.mkdir()
        write_python(programs)
    env["PATH"] = f"{programs}:{env['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command], cwd=folder, env=env, capture_output=True, text=True, timeout=300
    )
    assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def releases(hub: LocalHub, clone: Path, *commands: str, keep_going: bool = False, **environment: str) -> list[str]:
    """Releases Spaces, one after the other, each `"REPO SPACE --option ..."`; what each said."""
    lines = []
    for command in commands:
        repo, space, *options = command.split()
        lines.append(shlex.join(["python", "-m", "spaces.release", "--repo", repo, "--space", space, *options]))
    command = shlex.join(["python", "-c", TOGETHER, "go on" if keep_going else "stop", *lines])
    return shell(hub, clone, command, **environment).stdout.split("====\n")[:-1]


def put(hub: LocalHub, home: Path, kind: str, repo: str, files: dict[str, str], private: bool = False) -> str:
    """Puts files into a repository by hand; its last commit."""
    hub.run(home, PUT, kind, repo, "private" if private else "public", json.dumps(files))
    return json.loads(hub.ask("GET", f"/api/{kind}s/{repo}"))["sha"]


def contents(hub: LocalHub, repo: str) -> dict[str, bytes]:
    """What a stranger gets of a Space, without the Hub's own file."""
    entries = json.loads(hub.ask("GET", f"/api/spaces/{repo}/tree/main?recursive=true"))
    paths = {entry["path"] for entry in entries if entry["type"] == "file"} - {".gitattributes"}
    return {path: hub.ask("GET", f"/spaces/{repo}/resolve/main/{path}") for path in paths}


def history(hub: LocalHub, repo: str) -> list[str]:
    """The titles of a Space's commits, newest first."""
    return [commit["title"] for commit in json.loads(hub.ask("GET", f"/api/spaces/{repo}/commits/main"))]


def variables(hub: LocalHub, repo: str) -> dict[str, str]:
    """The variables of a Space."""
    told = json.loads(hub.ask("GET", f"/api/spaces/{repo}/variables"))
    return {key: entry["value"] for key, entry in told.items()}


def front_matter(hub: LocalHub, place: str) -> dict:
    """The front matter of a card on the Hub, `"spaces/clue/demo"`."""
    return yaml.safe_load(hub.ask("GET", f"/{place}/resolve/main/README.md").decode().split("---\n")[1])


def changes(hub: LocalHub) -> list[str]:
    """What was asked of the Hub since the log began that changes anything there."""
    asked = [f"{entry['method']} {entry['path']}" for entry in hub.log() if entry["method"] not in ("GET", "HEAD")]
    return [line for line in asked if not re.search("/api/validate-yaml|/paths-info/|/preupload/", line)]


def test_the_page_on_releasing(hub, tree, clone):
    """Run in order from a fresh clone, the page's commands release a dataset, models and Spaces whose cards link each
    other; those that send, run twice, send once; and the demo that lies there gives the model's answers."""
    page = (clone / "RELEASE.md").read_text(encoding="utf-8")
    for command, more in SMALLER.items():
        assert page.count(command) == 1
        page = page.replace(command, f"{command} {more}")
    page = page.replace("ORG/", "tester/")
    *blocks, stranger = re.findall(r"^```bash\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    for block in blocks:
        lines = block.replace("\\\n", " ").strip().splitlines()
        lines = [line for line in lines for _ in range(2 if SENDS.match(line) else 1)]
        if all(line.startswith("python -m ") for line in lines):
            lines = [shlex.join(["python", "-c", TOGETHER, "stop", *lines])]
        shell(hub, clone, "\n".join(lines))

    told = shell(hub, clone, stranger).stdout
    assert re.search(r"^.+ 0\.\d{3}, in truth [01]\.\d{3}$", told, re.MULTILINE)
    assert front_matter(hub, "tester/clue")["datasets"] == ["tester/umui"]
    assert front_matter(hub, "tester/clue")["base_model"] == "tester/clue-urn-tiny"
    assert front_matter(hub, "tester/clue-urn-tiny")["datasets"] == ["tester/umui"]
    assert front_matter(hub, "spaces/tester/clue")["models"] == ["tester/clue"]
    assert front_matter(hub, "spaces/tester/annotate")["datasets"] == ["tester/umui"]
    for model in ("clue-urn-tiny", "clue"):
        file = hub.ask("GET", f"/tester/{model}/resolve/main/.eval_results/tester--umui.yaml").decode()
        entries = parse_eval_result_entries(yaml.safe_load(file))
        assert [entry.task_id for entry in entries] == ["urn-text-mse", "urn-text-ece"]
        head = json.loads(hub.ask("GET", "/api/datasets/tester/umui"))["sha"]
        assert {entry.dataset_revision for entry in entries} == {head}
    # The results of a run link to its record, which lies there.
    assert {entry.source_url for entry in entries} == {f"{hub.endpoint}/tester/clue/blob/main/training.yaml"}
    assert hub.ask("GET", "/tester/clue/resolve/main/training.yaml")
    assert 'model="tester/clue-urn-tiny"' in hub.ask("GET", "/tester/clue-urn-tiny/resolve/main/README.md").decode()
    secrets = json.loads(hub.ask("GET", "/api/spaces/tester/annotate/secrets"))
    assert list(secrets) == ["ANNOTATE_USERS"] and "ANNOTATE_USERS" not in variables(hub, "tester/annotate")

    for place in ("datasets/umui", "models/clue-urn-tiny", "models/clue", "spaces/clue", "spaces/annotate"):
        kind, name = place.split("/")
        commits = json.loads(hub.ask("GET", f"/api/{kind}/tester/{name}/commits/main"))
        # A dataset's clips come before its rows and card.
        assert len(commits) == 2 + (kind == "datasets") and commits[-1]["title"] == "initial commit", commits

    home = clone.parent / "space"
    shell(hub, clone, f"hf download tester/clue --repo-type space --local-dir {home}")
    told = variables(hub, "tester/clue")
    assert told.keys() == {"CLUE_MODEL", "CLUE_REVISION"} and re.fullmatch("[0-9a-f]{40}", told["CLUE_REVISION"])
    space = start_space(home, clone.parent, hub.env(clone.parent, token=False) | told)
    try:
        [answer] = Client(space.url, verbose=False).predict(*QUESTION, api_name="/judge_text")
    finally:
        space.kill()
    local = pipeline("uncertain-inference", model=str(clone / "runs/release/clue"), trust_remote_code=True)
    [expected] = local({"text": QUESTION[0], "hypotheses": [QUESTION[1]]})
    assert answer["probability"] == pytest.approx(expected["probability"], abs=1e-4)


def test_what_git_has_is_sent_once_and_nothing_else(hub, clone):
    """Users with their passwords, judgements, tokens, caches and what isn't committed stay here; what a release lacks
    goes from the Space; a second release changes nothing."""
    folder = clone / "spaces" / "annotate"
    for path in ("data/annotations.sqlite", "data/clips/1.mp4", "users.txt", ".env", "__pycache__/app.pyc", "new.py"):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text("annotator:ada:secretsecret")
    git(clone, "add", "-f", "spaces/annotate/new.py", "spaces/annotate/users.txt")
    kept = {path: (folder / path).read_bytes() for path in ("app.py", "training/harbour.mp4")}
    rehearsed, first = releases(hub, clone, "clue/own annotate --dry-run", "clue/own annotate --private")
    assert "files sent" not in rehearsed and "to be made public" in rehearsed
    sent = contents(hub, "clue/own")
    tracked = subprocess.check_output(["git", "ls-tree", "-r", "--name-only", "HEAD"], cwd=folder, text=True)
    assert sent.keys() == set(tracked.split()) and kept.items() <= sent.items()
    assert "secretsecret" not in str(sent) + first
    assert re.search("so not sent: .env, new.py, users.txt$", first, re.MULTILINE)
    assert json.loads(hub.ask("GET", "/api/spaces/clue/own"))["private"]

    hub.clear_log()
    [second] = releases(hub, clone, "clue/own annotate")
    assert changes(hub) == [] and "nothing sent" in second and "it is private" in second

    (folder / "scale.py").unlink()
    (folder / "app.py").write_text("print()\n")
    releases(hub, clone, "clue/own annotate")
    assert contents(hub, "clue/own").keys() == sent.keys() - {"scale.py"}
    assert contents(hub, "clue/own")["app.py"] == b"print()\n"
    titles = history(hub, "clue/own")
    assert len(titles) == 3 and titles[0].endswith(", with local changes") and "local" not in titles[1]

    git(clone, "commit", "-q", "-m", "A mistake")
    hub.clear_log()
    [refused] = releases(hub, clone, "clue/own annotate", keep_going=True)
    assert "error: git has" in refused and "users.txt" in refused and changes(hub) == []


def test_the_demo_runs_one_commit_of_a_model(hub, clone):
    """The Space's variables and card name the model and a commit of it; the Space moves on when it is asked to, and
    not for a card alone; without a model it takes the tiny checkpoint along."""
    home = clone.parent / "home"
    [alone] = releases(hub, clone, "clue/move demo")
    sent = contents(hub, "clue/move")
    assert variables(hub, "clue/move") == {"CLUE_MODEL": TINY} and "models: []" in sent["README.md"].decode()
    weights = f"{TINY}/model.safetensors"
    assert sent[weights] == (ROOT / weights).read_bytes() and f"{TINY}/config.json" in sent

    first = put(hub, home, "model", "clue/moved", {"config.json": "{}", "README.md": "one"}, private=True)
    hub.clear_log()
    named, again = releases(hub, clone, *["clue/move demo --model clue/moved"] * 2)
    assert variables(hub, "clue/move") == {"CLUE_MODEL": "clue/moved", "CLUE_REVISION": first}
    assert front_matter(hub, "spaces/clue/move")["models"] == ["clue/moved"]
    assert not any(path.startswith("checkpoints/") for path in contents(hub, "clue/move"))
    assert "nothing sent" in again and len(changes(hub)) == 3
    assert "missing is the secret HF_TOKEN (a token that may read clue/moved, which is private)" in again

    put(hub, home, "model", "clue/moved", {"README.md": "two"})
    [card] = releases(hub, clone, "clue/move demo --model clue/moved")
    assert "another card" in card and "nothing sent" in card
    second = put(hub, home, "model", "clue/moved", {"config.json": "{ }"})
    [stays, moves] = releases(hub, clone, "clue/move demo", "clue/move demo --model clue/moved")
    assert f"CLUE_REVISION={first}: as it is there" in stays and "nothing sent" in stays
    assert f"CLUE_REVISION={second}: to set" in moves and variables(hub, "clue/move")["CLUE_REVISION"] == second
    releases(hub, clone, f"clue/move demo --model-revision {first}")
    assert variables(hub, "clue/move") == {"CLUE_MODEL": "clue/moved", "CLUE_REVISION": first}


def test_the_annotation_tool_is_about_one_dataset(hub, clone):
    """Its variables and card name a dataset and a config that is there, and stay; missing secrets are told."""
    home = clone.parent / "home"
    card = "---\nconfigs:\n- config_name: urn-audio\n- config_name: mine\n---\n"
    for name in ("judged", "other"):
        put(hub, home, "dataset", f"clue/{name}", {"README.md": card})
    unknown, half, bare, named, other, again = releases(
        hub,
        clone,
        "clue/judge annotate --dataset clue/judged --dataset-config yours",
        "clue/judge annotate --dataset clue/judged",
        "clue/judge annotate",
        "clue/judge annotate --dataset clue/judged --dataset-config mine",
        "clue/judge annotate --dataset clue/other --dataset-config mine",
        "clue/judge annotate",
        keep_going=True,
    )
    assert "error: --dataset-config yours: clue/judged has urn-audio, mine" in unknown and "go together" in half
    assert "won't start without" in bare and " files sent, 0 deleted, 0 variables set" in bare
    assert "the secret ANNOTATE_USERS (lines role:name:password" in bare
    assert "1 file sent, 0 deleted, 2 variables set" in named
    assert "error: --dataset clue/other: clue/judge is about clue/judged" in other and "nothing sent" in again
    assert variables(hub, "clue/judge") == {"ANNOTATE_DATASET": "clue/judged", "ANNOTATE_CONFIG": "mine"}
    assert front_matter(hub, "spaces/clue/judge")["datasets"] == ["clue/judged"]


def test_errors_are_told_in_words(hub, clone):
    """What can't be released is refused before anything is changed, and says what to do."""
    home = clone.parent / "home"
    put(hub, home, "space", "clue/foreign", {"main.py": "", "README.md": "---\ntitle: a\nsdk: gradio\n---\n"})
    put(hub, home, "space", "clue/public", {"README.md": "---\ntitle: a\nsdk: gradio\n---\n"})
    put(hub, home, "model", "clue/no-checkpoint", {"README.md": "a"})
    docker = "from huggingface_hub import create_repo; create_repo('clue/box', repo_type='space', space_sdk='docker')"
    hub.run(home, docker)
    (clone / "spaces" / "annotate" / "requirements.txt").unlink()
    hub.clear_log()
    expected = {
        "clue demo": "--repo clue: must be ORG/NAME",
        "clue/a~b demo": "no name of a repository",
        "clue/x demos": "--space demos: .* has annotate, demo",
        "clue/x annotate": "annotate has no requirements.txt that git has too",
        "clue/box demo": "--repo clue/box is a Space with the SDK docker",
        "clue/public demo --private": "clue/public is public, and --private would not change that",
        "clue/foreign demo": "holds main.py and 0 more files, and no release of demo is in its history",
        "clue/x demo --dataset clue/x": "--dataset is for --space annotate, not for demo",
        "clue/x demo --model-revision main": "the model on the Hub that --model names",
        "clue/x demo --model clue/nowhere": "clue/nowhere is not on http",
        "clue/x demo --model clue/no-checkpoint": "has no config.json",
        "clue/x demo --model clue/no-checkpoint --model-revision v9": "has no branch, tag or commit v9",
    }
    for words, said in zip(expected.values(), releases(hub, clone, *expected, keep_going=True), strict=True):
        assert re.match(f"error: .*{words}", said)
    assert changes(hub) == []
    for words, environment in {
        "there is no token": {"HF_TOKEN": ""},
        "the Hub doesn't know this token": {"HF_TOKEN": "hf_other"},
        "can't be reached": {"HF_ENDPOINT": "http://127.0.0.1:9"},
    }.items():
        [said] = releases(hub, clone, "clue/x demo", keep_going=True, **environment)
        assert re.match(f"error: .*{words}", said) and "hf_other" not in said


def test_somebody_else_was_faster(hub, clone):
    """A Space that was changed after it was looked at is left as it is."""
    code = """
from pathlib import Path
from huggingface_hub import HfApi
from spaces import release
compare, command = release.changed_files, ["--repo", "clue/race", "--space", "annotate"]
def and_a_commit(files, there):
    HfApi().upload_file(repo_id="clue/race", repo_type="space", path_in_repo="a.txt", path_or_fileobj=b"a")
    return compare(files, there)
release.main(command)
Path("spaces/annotate/scale.py").write_text("")
release.changed_files = and_a_commit
release.main(command)
"""
    done = shell(hub, clone, shlex.join(["python", "-c", code]), check=False)
    assert done.returncode == 1 and "error: clue/race was changed meanwhile: run this again (HTTP 412)" in done.stderr
    there = contents(hub, "clue/race")
    assert there["a.txt"] == b"a" and there["scale.py"] != b""


def test_the_package_of_that_name_is_not_run(hub, clone, tmp_path):
    """Where Hugging Face's package `spaces` is installed, `python -m spaces.release` still runs ours."""
    (tmp_path / "installed" / "spaces").mkdir(parents=True)
    (tmp_path / "installed" / "spaces" / "__init__.py").write_text("raise ImportError('theirs')\n")
    installed = {"PYTHONPATH": str(tmp_path / "installed")}
    assert "the Space's repository" in shell(hub, clone, "python -m spaces.release --help", **installed).stdout
