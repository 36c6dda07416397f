"""The demo as a folder for the Hub: front matter, requirements, and which checkpoints it starts from."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from tests.launching import run
from tests.spaces.demo.conftest import run_in_space


ROOT = Path(__file__).resolve().parents[3]
TINY = ROOT / "checkpoints" / "clue-urn-tiny"
SPACE = ROOT / "spaces" / "demo"


def constrained_versions() -> dict[str, str]:
    """The versions of `constraints.txt`."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def test_front_matter_is_complete():
    """The Hub finds all it needs to build the Space, with the tested version of Gradio."""
    card = yaml.safe_load((SPACE / "README.md").read_text().split("---")[1])
    assert card["sdk"] == "gradio"
    assert card["sdk_version"] == constrained_versions()["gradio"]
    assert (SPACE / card["app_file"]).is_file()
    assert len(card["short_description"]) <= 60
    assert {"title", "emoji", "colorFrom", "colorTo", "python_version", "license", "tags", "models"} <= card.keys()
    assert card["suggested_hardware"] == "zero-a10g"


def test_requirements_are_the_constrained_versions():
    """What the Space installs is what the tests ran with; torch is the Space's own."""
    lines = [line for line in (SPACE / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    for requirement in map(Requirement, lines):
        wanted = "" if requirement.name.startswith("torch") else f"=={constrained_versions()[requirement.name]}"
        assert str(requirement.specifier) == wanted


@pytest.mark.processes
@pytest.mark.parametrize("revision", ["", "main", "0123abc"])
def test_code_of_the_hub_is_run_at_a_pinned_commit_only(revision):
    """A repository without the whole commit is refused before anything of it is looked at."""
    told = {"CLUE_MODEL": "someone/clue", "CLUE_REVISION": revision}
    done = run_in_space("import model", told)
    assert done.returncode == 1
    assert "CLUE_REVISION the commit to run" in done.stderr


@pytest.mark.processes
def test_what_visitors_sent_is_deleted(tmp_path):
    """Files at any depth, also those that Gradio has no list of, and only those that are old enough."""
    (tmp_path / "some" / "folder").mkdir(parents=True)
    (tmp_path / "some" / "folder" / "clip.mp4").write_bytes(b"clip")
    (tmp_path / "broken_off").write_bytes(b"half")
    code = "import sys; from pathlib import Path; from cleanup import delete_old_files; "
    code += "delete_old_files(Path(sys.argv[1]), float(sys.argv[2]))"
    code += "; print(sorted(file.name for file in Path(sys.argv[1]).rglob('*') if file.is_file()))"
    for before, left in (("0", "['broken_off', 'clip.mp4']"), ("1e12", "[]")):
        command = [sys.executable, "-c", code, str(tmp_path), before]
        done = subprocess.run(command, cwd=SPACE, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == left


# Hugging Face's package as far as the demo uses it: it notes what goes in and out of the GPU. There is none here, so
# the device is replaced where the package makes "cuda" work outside the GPU's processes; all else is the demo's.
SPACES = """
import pickle, sys
assert "torch" not in sys.modules, "on ZeroGPU this package must be imported before torch"
from transformers.pipelines.base import Pipeline
make = Pipeline.__init__
def make_here(pipeline, *given, device, **options):
    assert device == "cuda", "at module level, where ZeroGPU wants it"
    make(pipeline, *given, device="cpu", **options)
Pipeline.__init__ = make_here
calls = []
def GPU(duration):
    def wrap(function):
        def wrapped(*inputs):
            calls.append((function.__name__, duration, sorted(inputs[0])))
            # What passes between the processes of ZeroGPU is pickled.
            return pickle.loads(pickle.dumps(function(*pickle.loads(pickle.dumps(inputs)))))
        return wrapped
    return wrap
"""
JUDGED_ON_ZERO_GPU = """
import model, spaces
forward, passes = model.clue.model.forward, []
def seen(*inputs, **options):
    passes.append(len(spaces.calls))
    return forward(*inputs, **options)
model.clue.model.forward = seen
(answer,) = model.judge({"text": "Balls in the urn: red, red, blue, green, red."}, ["A random ball is red."])
print(spaces.calls, passes, model.clue.model.dtype, abs(answer["probability"] - 0.6) < 0.02)
spaces.calls.clear()
(answer,) = model.judge_over_time({"text": "Red, red, blue. And green."}, ["A random ball is red."])
print(spaces.calls, len(answer["over_time"]["probability"]))
"""


@pytest.mark.processes
def test_on_zero_gpu_the_pass_alone_takes_the_gpu(tmp_path):
    """The variable that Spaces set is heeded; what goes in is decoded already, and all of it can be pickled."""
    (tmp_path / "spaces.py").write_text(SPACES)
    told = {"SPACES_ZERO_GPU": "true", "PYTHONPATH": str(tmp_path), "CLUE_MODEL": str(TINY)}
    done = run_in_space(JUDGED_ON_ZERO_GPU, told)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == [
        "[('forward', 60, ['hypotheses', 'premise'])] [1] torch.bfloat16 True",
        "[('forward_over_time', 60, ['cuts', 'hypotheses', 'premise'])] 2",
    ]


# What the demo would have to fetch without a pin: the same repository's newest commit, whose code ends the process.
PUBLISH = """
import sys
from huggingface_hub import HfApi
api, repository = HfApi(), sys.argv[1]
api.create_repo(repository)
first = api.upload_folder(repo_id=repository, folder_path=sys.argv[2]).oid
code = ("configuration_clue.py", "modeling_clue.py", "processing_clue.py", "pipeline_clue.py")
other = dict.fromkeys(code, b"raise SystemExit('code of another commit')")
other |= dict.fromkeys(("config.json", "tokenizer.json", "processor_config.json"), b"{}")
for name, content in other.items():
    api.upload_file(repo_id=repository, path_in_repo=name, path_or_fileobj=content)
print(first)
"""


@pytest.mark.processes
def test_a_later_commit_of_the_checkpoint_is_not_run(hub, tmp_path):
    """Weights, processor, tokenizer and code are those of the pinned commit, whatever lies on the branch."""
    revision = hub.run(tmp_path, PUBLISH, "tester/pinned", TINY).stdout.strip()
    told = {"CLUE_MODEL": "tester/pinned", "CLUE_REVISION": revision}
    code = (
        "import model; print(model.judge({'text': 'Balls in the urn: red, blue.'}, ['It is red.'])[0]['hypothesis'])"
    )
    hub.clear_log()
    done = run("-c", code, folder=SPACE, environment=hub.env(tmp_path / "space", token=False) | told)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "It is red."
    fetched = [entry["path"] for entry in hub.log() if "/resolve/" in entry["path"]]
    assert len(fetched) > 5 and all(f"/resolve/{revision}/" in path for path in fetched)
