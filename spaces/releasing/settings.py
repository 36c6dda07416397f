"""What a Space runs: the model or dataset it is about, as variables of the Space and as links of its card."""

import re
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import RevisionNotFoundError

from common.errors import InputError
from common.hub import files_at, told_in_words
from spaces.releasing.folder import read_folder


ROOT = Path(__file__).resolve().parents[2]
# The checkpoint that the demo takes along where no model is named: its folder here and in the Space.
TINY = "checkpoints/clue-urn-tiny"


@dataclass(frozen=True)
class Settings:
    """
    What a release sets beside the files of the folder.

    Args:
        variables (`dict[str, str]`): Variables of the Space: anybody may read them.
        models (`list[str]`), datasets (`list[str]`): What the front matter links, for the Hub to show on both pages.
        files (`dict[str, Path]`): Further files, by their paths in the Space.
        secrets (`dict[str, str]`): Secrets that it can't do without, and what each holds.
        notes (`list[str]`): What the maintainer should know.
    """

    variables: dict[str, str]
    models: list[str] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def settings_of(api: HfApi, options: Namespace, there: dict[str, str]) -> Settings:
    """
    Decides what a Space runs: what the options say, else what it runs already.

    Args:
        api (`HfApi`): The client.
        options (`Namespace`): `space`, `model`, `model_revision`, `dataset` and `dataset_config`.
        there (`dict[str, str]`): The variables that the Space has.

    Returns:
        [`Settings`]: the settings.

    Raises:
        `InputError`: if the options don't go together, or name what isn't on the Hub.
    """
    about = {"demo": ("model", "model_revision"), "annotate": ("dataset", "dataset_config")}
    for space, names in about.items():
        given = [f"--{name.replace('_', '-')}" for name in names if getattr(options, name) is not None]
        if given and space != options.space:
            raise InputError(f"{given[0]} is for --space {space}, not for {options.space}")
    return _demo(api, options, there) if options.space == "demo" else _annotate(api, options, there)


def _demo(api: HfApi, options: Namespace, there: dict[str, str]) -> Settings:
    running = there.get("CLUE_REVISION")
    model = options.model or there.get("CLUE_MODEL", TINY)
    if model == TINY:
        if options.model_revision is not None:
            raise InputError("--model-revision is of the model on the Hub that --model names")
        files = {f"{TINY}/{path}": local for path, local in read_folder(ROOT / TINY).files.items()}
        note = f"no --model: the Space takes {TINY} along, which knows urns, balls and beeps"
        return Settings({"CLUE_MODEL": TINY}, files=files, notes=[note])
    same = model == there.get("CLUE_MODEL")
    asked = options.model_revision or (running if same and options.model is None else None) or "main"
    with told_in_words(model):
        try:
            info = api.repo_info(model, revision=asked)
        except RevisionNotFoundError as error:
            raise InputError(f"--model-revision: {model} has no branch, tag or commit {asked}") from error
    if "config.json" not in {sibling.rfilename for sibling in info.siblings}:
        raise InputError(f"--model {model} has no config.json at {info.sha}: it must be a checkpoint of CLUE")
    revision, notes = info.sha, []
    if (
        same
        and options.model_revision is None
        and revision != running
        and _same_but_cards(api, model, running, revision)
    ):
        notes.append(f"{model} has another card since {running}, and nothing else: the Space stays at that commit")
        revision = running
    secrets = {"HF_TOKEN": f"a token that may read {model}, which is private"} if info.private else {}
    return Settings({"CLUE_MODEL": model, "CLUE_REVISION": revision}, models=[model], secrets=secrets, notes=notes)


def _same_but_cards(api: HfApi, model: str, one: str | None, other: str) -> bool:
    if not re.fullmatch(r"[0-9a-f]{40}", one or ""):
        return False
    with told_in_words(model):
        try:
            trees = [files_at(api, "model", model, commit) for commit in (one, other)]
        except RevisionNotFoundError:
            return False
    blobs = [{(path, file.blob_id) for path, file in tree.items() if path != "README.md"} for tree in trees]
    return blobs[0] == blobs[1]


def _annotate(api: HfApi, options: Namespace, there: dict[str, str]) -> Settings:
    secrets = {"ANNOTATE_USERS": "lines role:name:password, as spaces/annotate/users.py draws them"}
    if "ANNOTATE_SYNC" in there:
        secrets["HF_TOKEN"] = f"a token that may write to {there['ANNOTATE_SYNC']}"
    variables = {}
    for name, key in (("dataset", "ANNOTATE_DATASET"), ("dataset_config", "ANNOTATE_CONFIG")):
        given = getattr(options, name)
        if given is not None and there.get(key, given) != given:
            raise InputError(
                f"--{name.replace('_', '-')} {given}: {options.repo} is about {there[key]}, and judgements are of one "
                f"dataset. Release another Space, or change {key} in the settings of this one"
            )
        if given is not None or key in there:
            variables[key] = given or there[key]
    if len(variables) < 2:
        if variables:
            raise InputError("--dataset ORG/NAME and --dataset-config NAME go together")
        note = "no --dataset and --dataset-config: the Space won't start without"
        return Settings({}, secrets=secrets, notes=[note])
    dataset, config = variables["ANNOTATE_DATASET"], variables["ANNOTATE_CONFIG"]
    with told_in_words(dataset):
        info = api.repo_info(dataset, repo_type="dataset")
    configs = [entry["config_name"] for entry in (info.card_data or {}).get("configs", [])]
    if configs and config not in configs:
        raise InputError(f"--dataset-config {config}: {dataset} has {', '.join(configs)}")
    if info.private:
        secrets.setdefault("HF_TOKEN", f"a token that may read {dataset}, which is private")
    return Settings(variables, datasets=[dataset], secrets=secrets)
