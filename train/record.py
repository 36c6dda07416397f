"""Records what a run is, for others to read: `training.yaml` beside the weights, which the card shows.

Nothing in it is typed by hand, and it holds nothing private of the machine: no token, no folder above the one that the
run was started in.
"""

import dataclasses
import os
import platform
import re
import subprocess
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import torch
import yaml
from huggingface_hub import ModelCard, get_token, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from peft import PeftModel
from transformers import PreTrainedModel, Trainer
from transformers.trainer_pt_utils import AcceleratorConfig
from transformers.trainer_utils import ExplicitEnum
from trl import ModelConfig

from common.files import write_text
from modeling_clue.backbone import TOWERS
from modeling_clue.configuration_clue import CLUEFields
from modeling_clue.modalities import MODALITIES
from train.arguments import DataArguments
from train.options import split_recipe
from train.premises import PremiseDataset
from train.trained import dtype_name, trained_in
from train.without_effect import default


RECORD_NAME = "training.yaml"
ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ["torch", "transformers", "peft", "trl", "accelerate", "datasets"]
# A token is nobody's business.
SECRET_OPTIONS = {"hub_token"}

HIDDEN = "***"
TOKEN = re.compile(r"\bhf_\w{8,}")
ABSOLUTE_PATH = re.compile(r"(?<![\w.:/~-])/[^\s'\",;:=(){}\[\]]+")


def shown_path(path: str) -> str:
    """Shortens a path for others: relative to the run's folder or the repository, or its last part, `".../umui"`."""
    path = Path(os.path.normpath(path))
    if not path.is_absolute():
        return path.as_posix()
    for folder in (Path.cwd(), ROOT):
        if path.is_relative_to(folder):
            return path.relative_to(folder).as_posix()
    if path.is_relative_to(Path.home()) and path != Path.home():
        return f"~/{path.relative_to(Path.home()).as_posix()}"
    return ".../" + ("" if path == Path.home() else path.name)


def redact(value: object, secrets: tuple[str, ...] = ()) -> object:
    """Replaces secrets and Hub tokens by `***` and shortens paths, also within lists and dictionaries."""
    if isinstance(value, dict):
        return {key: redact(item, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item, secrets) for item in value]
    if isinstance(value, ExplicitEnum):
        return value.value
    if not isinstance(value, str):
        return value if isinstance(value, bool | int | float | None) else redact(str(value), secrets)
    for secret in secrets:
        value = value.replace(secret, HIDDEN)
    value = TOKEN.sub(HIDDEN, value)
    if Path(value).is_absolute():
        return shown_path(value)
    return ABSOLUTE_PATH.sub(lambda found: shown_path(found.group()), value)


def describe_run(trainer: Trainer, arguments: list[str], data_args: DataArguments, model_args: ModelConfig) -> dict:
    """Collects the record of a run before its first step, in plain types; `arguments` is its command line."""
    args = trainer.args
    rows = count_rows(trainer.train_dataset, data_args.train_split, "training")
    if trainer.eval_dataset is not None:
        rows += count_rows(trainer.eval_dataset, data_args.eval_split, "evaluation")
    record = {
        "name": trainer.hub_model_id or args.output_dir,
        "variant": data_args.variant,
        "base": _base(model_args.model_name_or_path, model_args.model_revision),
        "license": None,
        "model": _model(trainer.model, set(trainer.train_dataset.modalities)),
        "command": ["train/sft.py", *arguments],
        "recipe": split_recipe(arguments)[0],
        "options": _options(data_args, args, model_args),
        "data": {
            "dataset": data_args.dataset,
            "on_hub": not Path(data_args.dataset).is_dir(),
            "rows": rows,
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in (*LIBRARIES, *(["deepspeed"] if trainer.is_deepspeed_enabled else []))},
        },
        "code": _code(),
        "hardware": _hardware(trainer),
        "progress": None,
        "validation": [],
        "reports": [],
    }
    return redact(record, tuple(token for token in (args.hub_token, get_token()) if token))


def count_rows(dataset: PremiseDataset, split: str, use: str) -> list[dict]:
    """Counts premises, hypotheses and sources by config and modality; `use` is `"training"` or `"evaluation"`."""
    premises, sources = Counter(), {}
    for premise in dataset.premises:
        if premise.is_copy:
            continue
        group = premise.key.rsplit("/", 1)[0], premise.modality
        premises[group] += 1
        sources.setdefault(group, Counter()).update(premise.sources)
    return [
        {
            "use": use,
            "split": split,
            "config": config,
            "modality": modality,
            "premises": number,
            "hypotheses": sources[config, modality].total(),
            "sources": dict(sorted(sources[config, modality].items())),
        }
        for (config, modality), number in sorted(
            premises.items(), key=lambda item: (MODALITIES.index(item[0][1]), item[0][0])
        )
    ]


def validation_results(rows: list[dict], entry: dict) -> list[dict]:
    """Returns the numbers of an evaluation in the Trainer's log by modality, with their configs and split."""
    names = ("loss", "mse", "mae", "constant_mean_mse", "hypotheses")
    rows = [row for row in rows if row["use"] == "evaluation"]
    results = []
    for modality in dict.fromkeys(row["modality"] for row in rows):
        found = {name: entry[f"eval_{name}_{modality}"] for name in names if f"eval_{name}_{modality}" in entry}
        configs = ", ".join(row["config"] for row in rows if row["modality"] == modality)
        results.append({"config": configs, "split": rows[0]["split"], "modality": modality, "metrics": found})
    return results


def read_record(folder: Path) -> dict:
    """Reads the record of a checkpoint."""
    path = folder / RECORD_NAME
    if not path.is_file():
        raise ValueError(f"{folder} has no {RECORD_NAME}: it was not written by train/sft.py, which fills the card.")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def write_record(folder: Path, record: dict) -> None:
    """Writes the record beside the weights of a checkpoint."""
    write_text(folder / RECORD_NAME, yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=119))


def _base(name: str, revision: str | None) -> dict:
    """Describes the checkpoint that a run starts from, with the licence and base that its own card names."""
    local = Path(name).is_dir()
    if local:
        card = Path(name) / "README.md"
    else:
        try:
            card = Path(hf_hub_download(name, "README.md", revision=revision))
        except EntryNotFoundError:  # no card, or none in the cache without a network
            card = Path(name)
    data = ModelCard.load(card, ignore_metadata_errors=True).data.to_dict() if card.is_file() else {}
    return {
        "name": name,
        "revision": revision,
        "on_hub": None if local else name,
        "license": data.get("license"),
        "license_name": data.get("license_name"),
        "base_model": data.get("base_model") if local else name,
    }


def _model(model: PreTrainedModel | PeftModel, modalities: set[str]) -> dict:
    """Describes a model as saved, and counts its trained weights, without towers that no row goes through."""
    unused = [tower for tower, media in TOWERS.items() if not modalities & media]
    idle = set(trained_in(model, unused))
    # Under ZeRO-3 a weight is in parts, and empty itself; those of a new adapter are whole.
    sizes = {name: p.numel() or p.ds_numel for name, p in model.named_parameters()}
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    lora, inner, saved = None, model, sizes
    if isinstance(model, PeftModel):
        config, inner = model.active_peft_config, model.get_base_model()
        saved = sizes.keys() - trained
        lora = {"r": config.r, "alpha": config.lora_alpha, "dropout": config.lora_dropout}
        lora |= {"rslora": config.use_rslora or None, "dora": config.use_dora or None}
        lora |= {"target_modules": _patterns(model.base_model.targeted_module_names)}
        lora |= {"target_parameters": _patterns(model.base_model.targeted_parameter_names)}
        lora |= {"modules_to_save": config.modules_to_save}
    config, head = inner.config, None
    if isinstance(config, CLUEFields):
        head = {"bins": config.num_bins, "target": config.target, "sigma": config.sigma}
    return {
        "backbone": inner.backbone.name,
        "parameters": sum(sizes[name] for name in saved),
        "trained": sum(sizes[name] for name in trained - idle),
        "dtype": dtype_name(inner),
        "head": head,
        "lora": lora,
    }


def _patterns(names: list[str]) -> list[str] | None:
    """Merges the names of layers or weights over all layers of a stack."""
    return sorted({re.sub(r"\.\d+(?=\.)", ".*", name) for name in names}) or None


def _options(*groups) -> dict:
    """Collects the options that differ from their defaults; the Trainer fills some in with other ways to say no."""
    options = {}
    for group in groups:
        for field in dataclasses.fields(group):
            value, usual = getattr(group, field.name), default(field)
            if field.name not in SECRET_OPTIONS and value not in (usual, AcceleratorConfig()) and (value or usual):
                options[field.name] = value
    return options


def _code() -> dict:
    """Returns the repository's commit and whether files differ from it; neither for a copy that is no git checkout."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    top = git("rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != ROOT:
        return {"version": version("clue-umui"), "commit": None, "changed": None}
    changed = bool(git("status", "--porcelain", "--untracked-files=no"))
    return {"version": version("clue-umui"), "commit": git("rev-parse", "HEAD"), "changed": changed}


def _hardware(trainer: Trainer) -> dict:
    """Describes the main process's device, which as a rule the others share."""
    state, device = trainer.accelerator.state, trainer.args.device
    if trainer.is_deepspeed_enabled:
        backend = f"DeepSpeed ZeRO-{state.deepspeed_plugin.zero_stage}"
    elif trainer.is_fsdp_enabled:
        backend = f"FSDP{state.fsdp_plugin.fsdp_version}"
    else:
        backend = None if trainer.args.world_size == 1 else "DDP"
    if trainer.accelerator.mixed_precision != "no":
        backend = ", ".join(
            [*([backend] if backend else []), f"mixed precision {trainer.accelerator.mixed_precision}"]
        )
    return {
        "processes": trainer.args.world_size,
        "backend": backend,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.is_file() else []
    return names[0] if names else platform.processor() or platform.machine()
