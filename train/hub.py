"""Sends of a checkpoint what `from_pretrained` reads, the card and its record.

Weights go as safetensors. The state of the optimizer is a pickle and stays where it is: a run is resumed from its
output folder.
"""

import json
import os
import shutil
from pathlib import Path

from huggingface_hub import CommitInfo, HfApi
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import HubStrategy
from trl import ModelConfig

from common.hub import HUB_ERRORS
from train.arguments import CLUETrainingArguments, DataArguments
from train.checkpoints import MANIFEST
from train.model_card import RESULTS_FOLDER
from train.record import redact


# Files of a checkpoint that are sent, in its folder and in the adapter's below; less what is about the run alone.
SUFFIXES = {".safetensors", ".json", ".py", ".jinja", ".txt", ".md", ".yaml"}
NOT_SENT = {TRAINER_STATE_NAME, MANIFEST}
ADAPTER = "adapter"
ADAPTER_CONFIG = "adapter_config.json"
# What of an earlier push must not stay beside the files of a later one: an adapter beside the model it is merged into
# would be applied twice.
REPLACED = [
    *("*.safetensors", "*.safetensors.index.json", f"*{ADAPTER_CONFIG}"),
    *(f"{ADAPTER}/*", f"{RESULTS_FOLDER}/*"),
]
# Files on their way, below the output folder. With the underscore, the Trainer leaves it alone.
STAGED = "_push"


def check_push(data_args: DataArguments, training_args: CLUETrainingArguments, model_args: ModelConfig) -> None:
    """Refuses, before anything is loaded, a push of pickles, of what nobody could load, or that the Hub refuses."""
    if not training_args.push_to_hub:
        return
    strategy = training_args.hub_strategy
    if strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
        raise ValueError(
            f"--hub-strategy {strategy.value} would send the state of the optimizer, which is a pickle: choose "
            "every_save (the newest weights at each save) or end. A run is resumed from its output folder."
        )
    base = model_args.model_name_or_path
    saves = strategy == HubStrategy.EVERY_SAVE and training_args.save_strategy != "no"
    if model_args.use_peft and saves and (data_args.variant == "text" or Path(base).is_dir()):
        why = "is a folder of this machine" if Path(base).is_dir() else "is loaded without its head"
        raise ValueError(
            f"With LoRA, what is pushed at each save is an adapter, which nobody could load: its base {base} {why}. "
            "Choose `--hub-strategy end`, which pushes the merged model"
            + ("." if data_args.variant == "text" else ", or push the base and name it as ORG/NAME.")
        )
    if training_args.process_index == 0:
        name = training_args.hub_model_id or Path(training_args.output_dir).absolute().name
        open_repo(name, training_args.hub_token, training_args.hub_private_repo, training_args.hub_revision)


def open_repo(name: str, token: str | None = None, private: bool | None = None, revision: str | None = None) -> str:
    """Makes a repository and a branch if needed, checks write access, and returns the repository's full name."""
    api = HfApi(token=token)
    try:
        repo = api.create_repo(name, private=private, exist_ok=True).repo_id
        api.auth_check(repo, write=True)
        if revision is not None:
            api.create_branch(repo, branch=revision, exist_ok=True)
    except HUB_ERRORS as error:
        raise ConnectionError(
            f"Nothing can be pushed to {name} at {api.endpoint}: {redact(str(error))}. Look at --hub-model-id, at the "
            "token (`hf auth login`, HF_TOKEN or --hub-token) and at the network, or leave --push-to-hub out."
        ) from error
    return repo


def stage(checkpoint: Path, output_dir: Path) -> Path:
    """Gathers the files that are sent as links in a folder, which it returns: the checkpoint may go meanwhile."""
    staged = output_dir / STAGED
    shutil.rmtree(staged, ignore_errors=True)
    folders = [checkpoint, *(checkpoint / name for name in (ADAPTER, RESULTS_FOLDER) if (checkpoint / name).is_dir())]
    files = [path for folder in folders for path in folder.iterdir() if path.suffix in SUFFIXES]
    if not any(path.suffix == ".safetensors" for path in files):
        raise ValueError(f"{checkpoint} has no weights as safetensors to push.")
    for path in files:
        if path.name not in NOT_SENT:
            target = staged / path.relative_to(checkpoint)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, target)
            except OSError:  # a file system without links
                shutil.copyfile(path, target)
            if path.name == ADAPTER_CONFIG:
                config = json.loads(path.read_text())
                config["base_model_name_or_path"] = redact(config["base_model_name_or_path"])
                target.unlink()
                target.write_text(json.dumps(config, indent=2))
    return staged


def upload(staged: Path, repo: str, message: str, token: str | None, revision: str | None) -> CommitInfo:
    """Sends staged files as one commit, and removes them here whether or not that succeeds."""
    try:
        return HfApi(token=token).upload_folder(
            repo_id=repo,
            folder_path=staged,
            commit_message=message,
            revision=revision,
            delete_patterns=REPLACED,
        )
    finally:
        shutil.rmtree(staged, ignore_errors=True)
