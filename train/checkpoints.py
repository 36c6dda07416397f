"""Writes checkpoints that are whole or not there, and checks them before a run goes on from them.

A checkpoint is written to `_partial/` and renamed when every process has written its part: `checkpoint-20` is there
with everything in it, or not at all, whenever the run is killed. Its `manifest.json` has the size and the SHA-256 of
every file, the number of processes, and the options of the run.

The state of optimizers and random numbers can't be had as safetensors: the Trainer and DeepSpeed write it with
`torch.save`. It stays on this machine, and is read without running anything that a file may ask for (torch's
`weights_only`). Only the index that FSDP writes beside sharded state is a pickle that torch reads as such: resume FSDP
runs from your own checkpoints alone.
"""

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers.trainer_utils import sort_checkpoints

from common.digests import file_digest
from common.files import locked, sync
from train.arguments import CLUETrainingArguments


MANIFEST = "manifest.json"
# What is being written or removed lies here. With the underscore, the Trainer never sends them to the Hub.
PARTIAL = "_partial"
LOCK = "_lock"
# Without it, `from_pretrained` loads nothing from a folder.
CONFIG = "config.json"
# Torch's own switch, for callers that can't be told.
WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


class CheckpointError(ValueError):
    """Says why a checkpoint can't be written, or can't be gone on from."""


# Writing


def lock_output_dir(output_dir: Path) -> AbstractContextManager[None]:
    """Lets only this run write to its folder until its process ends, which a killed launcher may leave running."""
    taken = CheckpointError(
        f"Another run is writing to {output_dir}, perhaps processes whose launcher was killed: end them first "
        f"(`fuser {output_dir / LOCK}` names them)."
    )
    return locked(output_dir / LOCK, taken)


@contextmanager
def partial_checkpoint(output_dir: Path, name: str) -> Iterator[Path]:
    """Gives every process a folder to write a checkpoint to, and removes it if that fails, as on a full disk."""
    partial = output_dir / PARTIAL / name
    try:
        yield partial
    except (OSError, RuntimeError, SafetensorError) as error:
        free = shutil.disk_usage(output_dir).free / 1e6
        shutil.rmtree(partial, ignore_errors=True)
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{name} could not be written to {output_dir}: {reason}. The disk had {free:,.1f} MB free. What was "
            "written of it has been removed, earlier checkpoints are as they were: make room, and go on with "
            "`--resume-from-checkpoint true`."
        ) from error


def write_manifest(folder: Path, settings: dict[str, object], num_processes: int) -> None:
    """Syncs the files of a folder that all processes have written, and writes its manifest."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = {
        "processes": num_processes,
        "settings": settings,
        "files": {
            path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": digest}
            for path, digest in zip(files, _digests(files), strict=True)
        },
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
    sync(folder, *folder.rglob("*"))


def put_in_place(partial: Path, target: Path) -> None:
    """Renames a finished folder to the checkpoint's name, in place of one that a run has left there."""
    discard(target)
    partial.rename(target)
    sync(target.parent)


def publish(partial: Path, output_dir: Path) -> None:
    """Moves a folder's files to the folder above; `config.json`, without which nothing loads, comes last."""
    sync(*partial.rglob("*"))
    (output_dir / CONFIG).unlink(missing_ok=True)
    for path in sorted(partial.iterdir(), key=lambda path: path.name == CONFIG):
        if path.is_dir():
            discard(output_dir / path.name)
        path.rename(output_dir / path.name)
    sync(output_dir)
    remove_partial(output_dir)


def discard(folder: Path) -> None:
    """Removes a checkpoint, if it is there, by one rename; the files are deleted after that."""
    if folder.exists():
        removed = folder.parent / PARTIAL / f"removed-{folder.name}"
        removed.parent.mkdir(exist_ok=True)
        shutil.rmtree(removed, ignore_errors=True)
        folder.rename(removed)
        shutil.rmtree(removed, ignore_errors=True)


def discard_old(output_dir: Path, newest: Path, best: Path | None, limit: int | None) -> None:
    """Removes the oldest checkpoints beyond `limit`, but neither the newest nor the best."""
    if not limit:
        return
    others = [path for path in map(Path, sort_checkpoints(str(output_dir))) if path not in (newest, best)]
    kept = len({newest, best} - {None})
    for path in others[: len(others) - max(0, limit - kept)]:
        discard(path)


def remove_partial(output_dir: Path) -> None:
    """Removes what a killed run was writing or removing."""
    shutil.rmtree(output_dir / PARTIAL, ignore_errors=True)


def _digests(files: list[Path]) -> list[str]:
    with ThreadPoolExecutor() as pool:
        return [*pool.map(file_digest, files)]


# Resuming


def read_manifest(checkpoint: Path) -> dict:
    """Reads the manifest of a checkpoint: number of `processes`, `settings`, and `files` with `bytes` and `sha256`."""
    if not checkpoint.is_dir():
        raise CheckpointError("there is no such folder.")
    try:
        return json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"its {MANIFEST} can't be read ({error}).") from error


def check_files(checkpoint: Path) -> None:
    """Checks every file of a checkpoint against the manifest."""
    files = read_manifest(checkpoint)["files"]
    for name, expected in files.items():
        path = checkpoint / name
        if not path.is_file():
            raise CheckpointError(f"{path} is missing.")
        if path.stat().st_size != expected["bytes"]:
            raise CheckpointError(f"{path} has {path.stat().st_size} bytes, {expected['bytes']} were written.")
    for (name, expected), digest in zip(files.items(), _digests([checkpoint / name for name in files]), strict=True):
        if digest != expected["sha256"]:
            raise CheckpointError(f"{checkpoint / name} is not as it was written: its SHA-256 is another.")


@contextmanager
def safe_torch_load(classes: list[type]) -> Iterator[None]:
    """Restricts `torch.load`, DeepSpeed's too, to tensors, plain values and the given classes: no code is run."""
    before = os.environ.get(WEIGHTS_ONLY)
    os.environ[WEIGHTS_ONLY] = "1"
    try:
        with torch.serialization.safe_globals(classes):
            yield
    finally:
        if before is None:
            del os.environ[WEIGHTS_ONLY]
        else:
            os.environ[WEIGHTS_ONLY] = before


def newest_intact(checkpoints: list[str]) -> str | None:
    """Returns the newest of some checkpoints, oldest first, whose files are all as they were written."""
    for checkpoint in reversed(checkpoints):
        try:
            check_files(Path(checkpoint))
        except CheckpointError:
            continue
        return checkpoint
    return None


def checkpoint_to_resume(args: CLUETrainingArguments) -> str | None:
    """Finds the checkpoint of `resume_from_checkpoint`, a path or `"true"` for the newest; damage is an error."""
    checkpoints = sort_checkpoints(args.output_dir)
    wanted = str(args.resume_from_checkpoint)  # of a recipe, true is a boolean
    if wanted.lower() in ("none", "false"):
        if checkpoints:
            raise CheckpointError(
                f"{args.output_dir} has checkpoints of an earlier run: go on from them with `--resume-from-checkpoint "
                "true`, or remove them, or choose another `--output-dir`."
            )
        return None
    if wanted.lower() != "true":
        checkpoint = wanted
    elif checkpoints:
        checkpoint = checkpoints[-1]
    else:
        raise CheckpointError(
            f"{args.output_dir} has no whole checkpoint to go on from: start without `--resume-from-checkpoint`."
        )
    try:
        manifest = read_manifest(Path(checkpoint))
        if args.local_process_index == 0:  # the others would only read the same again
            check_files(Path(checkpoint))
    except CheckpointError as error:
        sound = newest_intact([path for path in checkpoints if not Path(path) == Path(checkpoint)])
        advice = (
            f"the newest that is sound is {sound}: go on from it with `--resume-from-checkpoint {sound}`."
            if sound is not None
            else "no other is sound: start anew, in another `--output-dir`."
        )
        raise CheckpointError(f"Can't go on from {checkpoint}: {error} Of the other checkpoints, {advice}") from error
    if manifest["processes"] != args.world_size:
        raise CheckpointError(
            f"{checkpoint} is of a run of {manifest['processes']} processes, and this one has {args.world_size}: the "
            "order of the batches would be another. Launch as many processes as before."
        )
    if manifest["settings"].get("save_only_model"):
        raise CheckpointError(
            f"{checkpoint} was written with --save-only-model, without the state of the optimizer: there is no going "
            "on from it. Start anew, in another `--output-dir`."
        )
    return checkpoint
