"""What a run leaves behind to go on from: finding a whole checkpoint, and loading its weights."""

import json
from pathlib import Path

from transformers import PreTrainedModel
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import sort_checkpoints

from train.arguments import CLUETrainingArguments


def load_weights(model: PreTrainedModel, checkpoint: str) -> None:
    """Loads the weights of a checkpoint into a model.

    The Trainer would look for the names that the weights have in memory; those on disk are the published
    Qwen2.5-Omni's, and the language model would be left as it is, with a warning only.

    Args:
        model ([`~transformers.PreTrainedModel`]): Model of the class that wrote the checkpoint.
        checkpoint (`str`): Folder of the checkpoint.
    """
    loaded = type(model).from_pretrained(checkpoint, dtype=model.dtype)
    model.load_state_dict(loaded.state_dict())


def newest_whole_checkpoint(output_dir: str, num_processes: int = 1) -> str | None:
    """Finds the newest checkpoint that was written to the end. The Trainer writes its state last, on the main process;
    each process writes the state of its random numbers before.

    Args:
        output_dir (`str`): Folder of the run.
        num_processes (`int`, *optional*, defaults to 1): Number of processes that wrote it.

    Returns:
        `str`, *optional*: Path of the checkpoint; `None` if there is none.
    """
    for checkpoint in reversed(sort_checkpoints(output_dir)):
        try:
            json.loads((Path(checkpoint) / TRAINER_STATE_NAME).read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            continue
        if len(list(Path(checkpoint).glob("rng_state*.pth"))) == num_processes:
            return checkpoint
    return None


def checkpoint_to_resume(args: CLUETrainingArguments) -> str | None:
    """Finds the checkpoint to go on from.

    Args:
        args ([`~train.arguments.CLUETrainingArguments`]): With `resume_from_checkpoint`: a path, or `"true"` for the
            newest whole checkpoint in `output_dir`.

    Returns:
        `str`, *optional*: Path of the checkpoint; `None` to start anew.

    Raises:
        ValueError: if there is nothing to resume, or something that a new run would be mixed up with.
    """
    if args.resume_from_checkpoint is None or args.resume_from_checkpoint.lower() == "false":
        if sort_checkpoints(args.output_dir):
            raise ValueError(
                f"{args.output_dir} has checkpoints of an earlier run: go on from them with `--resume_from_checkpoint "
                "true`, or remove them, or choose another `--output_dir`."
            )
        return None
    if args.resume_from_checkpoint.lower() != "true":
        return args.resume_from_checkpoint
    newest = newest_whole_checkpoint(args.output_dir, args.world_size)
    if newest is None:
        raise ValueError(
            f"{args.output_dir} has no whole checkpoint of {args.world_size} processes to go on from: start without "
            "`--resume_from_checkpoint`, or with as many processes as before."
        )
    return newest
