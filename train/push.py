"""Sends checkpoints to the Hub: during training, at its end, or later.

```bash
# During training (each save brings the newest weights, processor and card; or `--hub-strategy end`)
accelerate launch train/sft.py --config train/recipes/demo_cpu.yaml --save-strategy steps \
    --push-to-hub --hub-model-id ORG/NAME

# Later, or again after `train.card`
python -m train.push --model runs/demo/checkpoint --repo ORG/NAME
```

What goes there is what `from_pretrained` reads, the card and its record: weights as safetensors, configuration,
processor and remote code. The state of the optimizer is a pickle and stays where it is, so a run is resumed from its
output folder.
"""

import json
import os
import shutil
import time
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path

from huggingface_hub import CommitInfo, HfApi
from peft import PeftModel
from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import HubStrategy
from transformers.utils import logging
from trl import ModelConfig

from common.cli import ArgumentParser, in_words
from common.hub import HUB_ERRORS
from train.arguments import CLUETrainingArguments, DataArguments
from train.card import write_card
from train.checkpoints import MANIFEST
from train.record import read_record, told
from train.trained import dtype_name


logger = logging.get_logger(__name__)

# Files of a checkpoint that are sent, in its folder and in the adapter's below; less what is about the run alone.
SUFFIXES = {".safetensors", ".json", ".py", ".jinja", ".txt", ".md", ".yaml"}
STAY = {TRAINER_STATE_NAME, MANIFEST}
ADAPTER = "adapter"
ADAPTER_CONFIG = "adapter_config.json"
# What of an earlier push must not stay beside the files of a later one: an adapter beside the model it is merged into
# would be applied twice.
REPLACED = ["*.safetensors", "*.safetensors.index.json", f"*{ADAPTER_CONFIG}", f"{ADAPTER}/*"]
# Files on their way, below the output folder. With the underscore, the Trainer leaves it alone.
STAGED = "_push"


def check_push(data_args: DataArguments, training_args: CLUETrainingArguments, model_args: ModelConfig) -> None:
    """Finds out before anything is loaded whether the run will be able to push.

    Args:
        data_args ([`~train.arguments.DataArguments`]), training_args ([`~train.arguments.CLUETrainingArguments`]),
        model_args ([`~trl.ModelConfig`]): Options of the run.

    Raises:
        ValueError: if what is to be pushed would hold pickles, or could not be loaded by others.
        ConnectionError: if the Hub can't be reached or refuses.
    """
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
    """Makes a repository if it is not there, and checks that it can be written to.

    Args:
        name (`str`): `"ORG/NAME"`, or `"NAME"` for one of the user's own.
        token (`str`, *optional*): Token of the Hub; that of the machine by default.
        private (`bool`, *optional*): Whether a new repository is private.
        revision (`str`, *optional*): Branch to write to, made if it is not there.

    Returns:
        `str`: its name with that of its owner.

    Raises:
        ConnectionError: if the Hub can't be reached or refuses.
    """
    api = HfApi(token=token)
    try:
        repo = api.create_repo(name, private=private, exist_ok=True).repo_id
        api.auth_check(repo, write=True)
        if revision is not None:
            api.create_branch(repo, branch=revision, exist_ok=True)
    except HUB_ERRORS as error:
        raise ConnectionError(
            f"Nothing can be pushed to {name} at {api.endpoint}: {told(str(error))}. Look at --hub-model-id, at the "
            "token (`hf auth login`, HF_TOKEN or --hub-token) and at the network, or leave --push-to-hub out."
        ) from error
    return repo


def stage(checkpoint: Path, staged: Path) -> Path:
    """Gathers the files of a checkpoint that are sent, without copying: it may be removed while they are on their way.

    Args:
        checkpoint (`Path`): Folder of the checkpoint.
        staged (`Path`): Folder to gather them in; what is in it is removed.

    Returns:
        `Path`: `staged`.

    Raises:
        ValueError: if there are no safetensors among them.
    """
    shutil.rmtree(staged, ignore_errors=True)
    folders = [checkpoint, *([checkpoint / ADAPTER] if (checkpoint / ADAPTER).is_dir() else [])]
    files = [path for folder in folders for path in folder.iterdir() if path.suffix in SUFFIXES]
    if not any(path.suffix == ".safetensors" for path in files):
        raise ValueError(f"{checkpoint} has no weights as safetensors to push.")
    for path in files:
        if path.name not in STAY:
            target = staged / path.relative_to(checkpoint)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, target)
            except OSError:  # a file system without links
                shutil.copyfile(path, target)
            if path.name == ADAPTER_CONFIG:
                config = json.loads(path.read_text())
                config["base_model_name_or_path"] = told(config["base_model_name_or_path"])
                target.unlink()
                target.write_text(json.dumps(config, indent=2))
    return staged


def upload(staged: Path, repo: str, message: str, token: str | None, revision: str | None) -> CommitInfo:
    """Sends gathered files as one commit, and removes them here whatever comes of it."""
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


class PushingTrainer(Trainer):
    """A `transformers.Trainer` that pushes what others can load, and nothing else: no pickle, no folder of optimizer
    states, a card that tells of the run.

    A push during training goes on in the background. One that fails is told in the log, and the next save pushes
    again; the checkpoint is on the disk all the same. Each push is one commit: the repository always holds a whole
    checkpoint.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.record: dict | None = None
        self._push: Future | None = None
        self._started = time.perf_counter()
        self._resumed_at = 0

    def train(self, resume_from_checkpoint: str | None = None, **kwargs):
        """Trains as the Trainer does, and notes when and where it began for the card."""
        self._started = time.perf_counter()
        if resume_from_checkpoint is not None:
            state = json.loads((Path(resume_from_checkpoint) / TRAINER_STATE_NAME).read_text())
            self._resumed_at = state["global_step"]
        return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    @property
    def best_step(self) -> int | None:
        """`int`, *optional*: The step of the weights, once the best ones were loaded at the end."""
        loaded = self.args.load_best_model_at_end and not self.is_in_train and self.state.best_model_checkpoint
        return self.state.best_global_step if loaded else None

    def measured(self) -> dict | None:
        """The log's entry of an evaluation of the weights as they are; `None` if there was none."""
        step = self.best_step or self.state.global_step
        found = [entry for entry in self.state.log_history if "eval_loss" in entry and entry["step"] == step]
        return found[-1] if found else None

    def note_progress(self) -> None:
        """Notes in the record how far the run has come, and what its evaluation found at this point."""
        self.record["progress"] = {
            "step": self.state.global_step,
            "max_steps": self.state.max_steps,
            "best_step": self.best_step,
            "finished": not self.is_in_train,
            "epoch": float(self.state.epoch),
            "seconds": round(time.perf_counter() - self._started, 1),
            "resumed_at": self._resumed_at,
            "date": datetime.now(UTC).date().isoformat(),
        }
        model = self.accelerator.unwrap_model(self.model)
        self.record["model"]["dtype"] = dtype_name(model)  # DeepSpeed has its own
        entry = self.measured()
        self.record["validation"] = [] if entry is None else validation_results(self.record["data"]["rows"], entry)

    def create_model_card(self, folder: str | Path | None = None, kind: str = "whole", **kwargs) -> None:
        """Writes the card of the run, on the main process.

        Args:
            folder (`str` or `Path`, *optional*): Folder to write it to; the output folder by default.
            kind (`str`, *optional*, defaults to `"whole"`): See [`~train.card.write_card`].
            **kwargs: Of the Trainer's own card; the record of the run has them.
        """
        if self.is_world_process_zero():
            self.note_progress()
            write_card(Path(folder or self.args.output_dir), self.record, kind)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Sends a checkpoint in the background, unless the last one is still on its way."""
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END:
            return
        if self._push is not None and not self._push.done() and not self.args.hub_always_push:
            logger.warning("The last push to the Hub is still on its way: this checkpoint is not pushed.")
            return
        self._finish_current_push()
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        staged = stage(Path(checkpoint_folder), Path(self.args.output_dir) / STAGED)
        adapter = isinstance(self.accelerator.unwrap_model(self.model), PeftModel)
        self.create_model_card(staged, "adapter" if adapter else "whole")
        message = f"Training in progress, step {self.state.global_step}"
        args = (staged, self.hub_model_id, message, self.args.hub_token, self.args.hub_revision)
        self._push = HfApi().run_as_future(upload, *args)

    def _finish_current_push(self) -> None:
        """Waits for the push on its way, and tells if it failed."""
        if self._push is not None:
            error = self._push.exception()
            if error is not None:
                logger.warning(
                    f"A push to {self.hub_model_id} failed, the checkpoint is in {self.args.output_dir} alone; the "
                    f"next save pushes again: {told(str(error))}"
                )
            self._push = None

    def push_to_hub(self, commit_message: str = "End of training", **kwargs) -> CommitInfo | None:
        """Sends the output folder as it was saved, from the main process, and waits for it.

        Args:
            commit_message (`str`, *optional*, defaults to `"End of training"`): Title of the commit.
            **kwargs: Of the Trainer's own; options of the run have them.

        Returns:
            [`~huggingface_hub.CommitInfo`]: The commit; `None` on other processes.

        Raises:
            ConnectionError: if it fails; what was saved is as it was.
        """
        if not self.is_world_process_zero():
            return None
        self._finish_current_push()
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        output_dir = Path(self.args.output_dir)
        staged = stage(output_dir, output_dir / STAGED)
        try:
            return upload(staged, self.hub_model_id, commit_message, self.args.hub_token, self.args.hub_revision)
        except HUB_ERRORS as error:
            raise ConnectionError(
                f"The model is saved in {output_dir}, but could not be pushed to {self.hub_model_id}: "
                f"{told(str(error))}. Push it with `python -m train.push --model {output_dir} --repo "
                f"{self.hub_model_id}`."
            ) from error


def validation_results(rows: list[dict], entry: dict) -> list[dict]:
    """The numbers of one evaluation during training by modality, with the config and split they are of.

    Args:
        rows (`list[dict]`): What the run has of each split, see [`~train.record.count_rows`].
        entry (`dict`): Entry of the Trainer's log, `{"eval_mse_audio": ..., "step": ...}`.

    Returns:
        `list[dict]`: `{"config", "split", "modality", "metrics"}` each.
    """
    names = ("loss", "mse", "mae", "constant_mean_mse", "hypotheses")
    rows = [row for row in rows if row["use"] == "evaluation"]
    results = []
    for modality in dict.fromkeys(row["modality"] for row in rows):
        found = {name: entry[f"eval_{name}_{modality}"] for name in names if f"eval_{name}_{modality}" in entry}
        configs = ", ".join(row["config"] for row in rows if row["modality"] == modality)
        results.append({"config": configs, "split": rows[0]["split"], "modality": modality, "metrics": found})
    return results


def main(arguments: list[str] | None = None) -> None:
    """Pushes the output folder of a run that has ended."""
    parser = ArgumentParser(prog="python -m train.push", description="Push what train/sft.py wrote.")
    parser.add_argument("--model", required=True, type=Path, help="output folder of train/sft.py")
    parser.add_argument("--repo", required=True, help="repository on the Hub, as ORG/NAME")
    parser.add_argument("--revision", help="branch to push to (default: main)")
    parser.add_argument("--private", action="store_true", help="make it private, if it is new")
    args = parser.parse_args(arguments)
    record = read_record(args.model)
    repo = open_repo(args.repo, private=args.private or None, revision=args.revision)
    record["name"] = repo
    write_card(args.model, record)
    staged = stage(args.model, args.model / STAGED)
    print(f"Pushed: {upload(staged, repo, 'Checkpoint with its card', None, args.revision).commit_url}")


if __name__ == "__main__":
    with in_words():
        main()
