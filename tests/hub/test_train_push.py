"""Training pushes to a Hub: what arrives there can be loaded by a stranger at any time, and is no pickle."""

import json
import re
from pathlib import Path

import pytest
from trl import ModelConfig

from datasets_scripts.build import main as build
from tests.hub.conftest import LocalHub
from tests.launching import launch
from train.arguments import CLUETrainingArguments, DataArguments
from train.hub import check_push


pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[2]
STEPS = 4
# Loads models of the Hub with nothing of ours, and prints their probabilities.
ANSWER = """
import json, sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("modeling_clue", "common", "chat", "train", "datasets_scripts", "evaluation"):
            raise ImportError(f"{name} is not there for strangers")
sys.meta_path.insert(0, Nothing())
import torch
from huggingface_hub import snapshot_download
from transformers import AutoModel, AutoProcessor
torch.set_num_threads(1)
answers = []
for name in sys.argv[1:]:
    # AutoModel would look for a revision of an adapter in the repository of its base.
    name = snapshot_download(name.split("@")[0], revision=name.split("@")[1]) if "@" in name else name
    processor = AutoProcessor.from_pretrained(name, trust_remote_code=True)
    model = AutoModel.from_pretrained(name, trust_remote_code=True).eval()
    with torch.no_grad():
        output = model(**processor(["An urn holds 3 red balls and 1 blue ball."], [["It is red.", "It is blue."]]))
    answers.append(output.probability.tolist())
print(json.dumps(answers))
"""

# Trains with a wrong token, then where there is no Hub: prints both errors. What loads weights is not there.
REFUSED = """
import json, sys
from huggingface_hub import constants
import train.sft
train.sft.load_model = None
errors = []
for endpoint in (constants.ENDPOINT, "http://127.0.0.1:9"):
    constants.ENDPOINT = endpoint
    try:
        train.sft.main(sys.argv[1:])
    except ConnectionError as error:
        errors.append(str(error))
print(json.dumps(errors))
"""


@pytest.fixture(scope="module")
def umui(tmp_path_factory) -> Path:
    """A small dataset of texts."""
    folder = tmp_path_factory.mktemp("data") / "umui"
    build(["urn", "--output-dir", str(folder), *"--modalities text --train 4 --validation 2 --test 1".split()])
    return folder


def command(umui: Path, checkpoint: Path | str, output: Path, *arguments: str) -> list[str]:
    """The options of a training of four steps."""
    return [
        *("train/sft.py", "--config", "train/recipes/demo_cpu.yaml"),
        *("--dataset", str(umui), "--dataset-configs", "urn-text"),
        *("--model_name_or_path", str(checkpoint), "--output_dir", str(output), "--max_steps", str(STEPS)),
        *("--cache_premises", "false", "--warmup_steps", "0", "--per_device_train_batch_size", "1"),
        *("--save_strategy", "steps", "--save_steps", "2", "--save_total_limit", "1", "--push_to_hub", "true"),
        # Each save is pushed, however fast one follows the other.
        *("--hub_always_push", "true", *arguments),
    ]


def history(hub: LocalHub, repo: str) -> list[dict]:
    """Commits of a repository, oldest first, each with the paths of its files."""
    commits = json.loads(hub.ask("GET", f"/api/models/{repo}/commits/main"))[::-1]
    for commit in commits:
        entries = json.loads(hub.ask("GET", f"/api/models/{repo}/tree/{commit['id']}?recursive=true"))
        commit["files"] = {entry["path"] for entry in entries if entry["type"] == "file"}
    return commits


def answers(hub: LocalHub, home: Path, *names: str | Path) -> list[list[float]]:
    """What a stranger gets of repositories (`"clue/name"`), of their revisions (`"clue/name@main"`) or folders."""
    return json.loads(hub.run(home, ANSWER, *names).stdout.splitlines()[-1])


def card(hub: LocalHub, repo: str, commit: str) -> str:
    """The card of a commit."""
    return hub.ask("GET", f"/{repo}/resolve/{commit}/README.md").decode()


def assert_clean(commits: list[dict]) -> None:
    """Weights are safetensors alone, and nothing is there that is only about the run."""
    for commit in commits:
        suffixes = {Path(path).suffix for path in commit["files"] - {".gitattributes"}}
        assert suffixes <= {".safetensors", ".json", ".py", ".jinja", ".md", ".yaml"}
        assert not {path for path in commit["files"] if "checkpoint-" in path or "trainer_state" in path}


def assert_same_weights(hub: LocalHub, repo: str, output: Path) -> None:
    """A repository has the weights of a folder."""
    assert hub.ask("GET", f"/{repo}/resolve/main/model.safetensors") == (output / "model.safetensors").read_bytes()


def test_every_save_is_a_model_that_loads(hub, umui, tiny_checkpoint, tmp_path):
    """Of two processes, one pushes: each save and the end are a commit, whole and loadable; the last is the model in
    the output folder."""
    repo, output = "clue/every-save", tmp_path / "out"
    arguments = command(umui, tiny_checkpoint, output, "--hub_model_id", repo, "--eval_strategy", "epoch")
    log = tmp_path / "log.txt"
    ended = launch("train/accelerate_configs/ddp_cpu.yaml", *arguments, log=log, whole=hub.env(tmp_path / "home"))
    assert ended == [0, 0], log.read_text()
    commits = history(hub, repo)[1:]
    titles = ["Training in progress, step 2", f"Training in progress, step {STEPS}", "End of training"]
    assert [commit["title"] for commit in commits] == titles, log.read_text()
    assert_clean(commits)
    first, last, saved = answers(hub, tmp_path / "stranger", f"{repo}@{commits[0]['id']}", repo, output)
    assert first != last == saved
    assert "this is step 2 of 4" in card(hub, repo, commits[0]["id"])
    told = card(hub, repo, commits[-1]["id"])
    assert told == (output / "README.md").read_text() and "Training goes on" not in told
    assert f'model="{repo}"' in told and "type: mse" in told
    assert not (output / "_push").exists()


def test_adapters_on_the_way_and_the_merged_model_at_the_end(hub, umui, tiny_checkpoint, tmp_path):
    """With LoRA a save is the adapter, which AutoModel loads onto its base from the Hub; at the end the merged model
    takes its place, with nothing left at the top of the repository that would be applied to it again."""
    base, repo, output = "clue/lora-base", "clue/lora", tmp_path / "out"
    push = "import sys\nfrom huggingface_hub import HfApi\nHfApi().create_repo(sys.argv[1])\n"
    push += "HfApi().upload_folder(repo_id=sys.argv[1], folder_path=sys.argv[2])"
    hub.run(tmp_path / "home", push, base, tiny_checkpoint)
    options = ["--hub_model_id", repo, "--use_peft", "--lora_r", "4", "--learning_rate", "0.01"]
    hub.call(tmp_path / "home", *command(umui, base, output, *options))
    commits = history(hub, repo)[1:]
    assert_clean(commits)
    assert {"adapter_config.json", "adapter_model.safetensors"} <= commits[0]["files"]
    assert "model.safetensors" not in commits[0]["files"]
    assert not commits[-1]["files"] & {"adapter_config.json", "adapter_model.safetensors"}
    assert {"model.safetensors", "adapter/adapter_model.safetensors"} <= commits[-1]["files"]
    names = [f"{repo}@{commits[1]['id']}", repo, output, base]
    adapted, merged, saved, untrained = answers(hub, tmp_path / "stranger", *names)
    assert adapted == pytest.approx(merged, abs=1e-5) and merged == saved
    assert merged != pytest.approx(untrained, abs=1e-4)
    assert f"base_model: {base}" in card(hub, repo, commits[0]["id"])
    assert "library_name: peft" in card(hub, repo, commits[0]["id"])


def test_only_the_end_is_pushed(hub, umui, tiny_checkpoint, tmp_path):
    """`hub_strategy=end` makes one commit; the folder's name is that of the repository. A private one stays so, and
    the path of a local base is not told, the adapter's configuration included."""
    output = tmp_path / "only-the-end"
    options = ["--hub_strategy", "end", "--hub_private_repo", "true", "--use_peft"]
    hub.call(tmp_path / "home", *command(umui, tiny_checkpoint, output, *options))
    repo = "tester/only-the-end"
    [commit] = history(hub, repo)[1:]
    assert_clean([commit])
    assert json.loads(hub.ask("GET", f"/api/models/{repo}"))["private"]
    for path in commit["files"] - {"model.safetensors", "adapter/adapter_model.safetensors"}:
        content = hub.ask("GET", f"/{repo}/resolve/main/{path}")
        assert str(tmp_path).encode() not in content and str(tiny_checkpoint).encode() not in content, path
    assert_same_weights(hub, repo, output)


def test_who_cannot_push_learns_it_before_the_first_step(hub, umui, tiny_checkpoint, tmp_path):
    """A wrong token, or a Hub where nobody answers, is an error before anything is loaded; the token is not in it."""
    options = ["--hub_model_id", "clue/not-mine", "--hub_token", "hf_somebody_elses"]
    arguments = command(umui, tiny_checkpoint, tmp_path / "out", *options)[1:]
    refused, gone = json.loads(hub.run(tmp_path / "home", REFUSED, *arguments).stdout.splitlines()[-1])
    assert "Nothing can be pushed to clue/not-mine at" in refused and hub.endpoint in refused
    assert "Nothing can be pushed to clue/not-mine at http://127.0.0.1:9" in gone
    assert "hf_somebody_elses" not in refused + gone and not list((tmp_path / "out").glob("*"))


def test_a_failed_push_loses_nothing(hub, umui, tiny_checkpoint, tmp_path):
    """When the Hub refuses a commit, then contents, the training ends, the model is on the disk, and the error says
    how to push it: that command does."""
    repo, output = "clue/refused", tmp_path / "out"
    hub.fail_after(uploads=1, commits=0)
    try:
        arguments = command(umui, tiny_checkpoint, output, "--hub_model_id", repo)
        failed = hub.call(tmp_path / "home", *arguments, check=False)
    finally:
        hub.work_again()
    assert failed.returncode != 0
    assert f"A push to {repo} failed" in failed.stderr and f"The model is saved in {output}" in failed.stderr
    assert (output / f"checkpoint-{STEPS}").is_dir() and history(hub, repo)[1:] == []
    [advice] = re.findall(r"`python (-m train\.push .*?)`", failed.stderr)
    hub.call(tmp_path / "home", *advice.split())
    assert_clean(history(hub, repo)[1:])
    assert_same_weights(hub, repo, output)


@pytest.mark.parametrize(
    ("strategy", "adapter", "base", "variant", "words"),
    [
        ("checkpoint", False, "clue/base", "distribution", "which is a pickle"),
        ("all_checkpoints", False, "clue/base", "distribution", "which is a pickle"),
        ("every_save", True, "{tiny}", "distribution", "is a folder of this machine.*as ORG/NAME"),
        ("every_save", True, "clue/base", "text", "is loaded without its head"),
    ],
)
def test_what_could_not_be_used_is_refused(tiny_checkpoint, tmp_path, strategy, adapter, base, variant, words):
    """Optimizer states, and adapters whose base nobody else has, are refused with the way out; no Hub is asked."""
    training_args = CLUETrainingArguments(
        output_dir=str(tmp_path), push_to_hub=True, hub_strategy=strategy, save_strategy="steps", use_cpu=True
    )
    model_args = ModelConfig(model_name_or_path=base.format(tiny=tiny_checkpoint), use_peft=adapter)
    with pytest.raises(ValueError, match=words):
        check_push(DataArguments(dataset="umui", dataset_configs=["unli"], variant=variant), training_args, model_args)
