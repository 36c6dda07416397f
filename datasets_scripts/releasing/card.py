"""
Writes the dataset card of a release: front matter for the Hub, and what fills the text of `dataset_card.md`.

Only what is in the folder is described, and every number is counted there or quoted with its source.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CardData

from common.cards import fill_template, joined
from common.errors import InputError
from datasets_scripts.releasing.summary import ConfigSummary
from datasets_scripts.schema import ROWS_FILE, SPLITS
from datasets_scripts.sources.facts import Facts
from datasets_scripts.sources.registry import FACTS
from modeling_clue.modalities import MODALITIES, TABLE


TEMPLATE = Path(__file__).with_name("dataset_card.md")
DEFAULT_CONFIG = "wikivideo-audiovisual"
SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
)


@dataclass(frozen=True)
class ReleasedConfig:
    """Holds what the card says of a config."""

    summary: ConfigSummary
    facts: Facts
    entry: dict  # in the front matter of the folder's README
    with_clips: bool  # without them it is labels alone

    @property
    def name(self) -> str:
        """Returns the config's name."""
        return self.summary.config

    @property
    def labels_only(self) -> bool:
        """Returns whether its premises are clips that are left out."""
        return self.summary.has_clips and not self.with_clips


def own_facts(config: str, licence: str, media_allowed: bool) -> Facts:
    """Returns the facts of a config built from a folder of one's own."""
    return Facts(
        title=f"`{config}`",
        what="A collection of the publisher of this dataset.",
        licences=(licence,),
        terms="texts and labels" + (" and clips" if media_allowed else "; the clips are not passed on"),
        media_allowed=media_allowed,
        labels="Labels and probabilities are those of the publisher's own files.",
        people="other",
    )


def facts_of(summary: ConfigSummary) -> Facts | None:
    """
    Returns the facts of a config's source; `None` for a folder of somebody's own.

    Raises:
        `InputError`: if the config mixes sources.
    """
    if summary.build["source"] != "restore":
        return FACTS.get(summary.build["source"])
    if len(summary.sources) > 1:
        raise InputError(f"{summary.config} mixes the sources {sorted(summary.sources)}: release them one by one")
    return FACTS.get(next(iter(summary.sources)))


def render_card(configs: list[ReleasedConfig], repo: str, default: str | None, agreement: dict | None) -> str:
    """
    Writes the card.

    Args:
        configs (`list[ReleasedConfig]`): What is released, in the order of the folder's README.
        repo (`str`): The repository, `"ORG/umui"`.
        default (`str`, *optional*): The config that loads without a name; if not given, the human-judged audiovisual
            one if it is there, else as built.
        agreement (`dict`, *optional*): The annotators' agreement, as `evaluation.figures agreement` reports it.
    """
    entries = _entries(configs, default)
    named = next(entry["config_name"] for entry in entries if entry.get("default"))
    splits = [split for config in configs for split in config.summary.splits.values()]
    modalities = {modality for config in configs for modality in config.summary.modalities}
    left_out = [_left_out(config) for config in configs]
    return fill_template(
        TEMPLATE,
        CardData(**_front_matter(configs, entries)),
        configs=configs,
        repo=repo,
        default=next(config for config in configs if config.name == named),
        premises=joined([TABLE[name].one for name in MODALITIES if name in modalities], "or"),
        with_clips=any(config.summary.has_clips and config.with_clips for config in configs),
        labels_only=any(config.labels_only for config in configs),
        sources=list(dict.fromkeys(config.facts for config in configs)),
        kinds={kind for config in configs for kind in config.summary.probability_sources},
        answers=sum((split.answers for split in splits), Counter()),
        judges=sum((split.judges for split in splits), Counter()),
        judged_wikivideo=any(
            config.facts is FACTS["wikivideo"] and config.summary.probability_sources["human"] for config in configs
        ),
        agreement=agreement,
        left_out=[one for one in left_out if one["skipped"] or one["ratio"] or one["missing"]],
    )


def _entries(configs: list[ReleasedConfig], default: str | None) -> list[dict]:
    names = [config.name for config in configs]
    if default is None:
        built = [config.name for config in configs if config.entry.get("default")]
        default = DEFAULT_CONFIG if DEFAULT_CONFIG in names else (built or names)[0]
    elif default not in names:
        raise InputError(f"--default {default} is not among what is released: {', '.join(names)}")
    entries = []
    # `datasets` takes one loader for all configs, by the files of the first: one without files comes last.
    for config in sorted(configs, key=lambda config: config.labels_only):
        entry = {key: value for key, value in config.entry.items() if key != "default"}
        if config.labels_only:
            splits = config.summary.splits
            files = [{"split": split, "path": [f"{config.name}/{split}/{ROWS_FILE}"]} for split in splits]
            description = f"{entry.get('description', '')}, labels without clips".lstrip(", ")
            entry = {"config_name": config.name, "description": description, "data_files": files}
        entries.append(entry | {"default": True} if config.name == default else entry)
    return entries


def _front_matter(configs: list[ReleasedConfig], entries: list[dict]) -> dict:
    modalities = {modality for config in configs for modality in config.summary.modalities}
    known = all(config.facts in FACTS.values() for config in configs)
    licences = sorted({licence for config in configs for licence in config.facts.licences})
    rows = sum(config.summary.rows for config in configs)
    front = {"pretty_name": "UMUI"}
    if known:
        # What language somebody's own collection is in, nobody has said.
        front |= {"language": ["en"], "multilinguality": ["monolingual"]}
    front["license"] = licences[0] if len(licences) == 1 else licences
    if "other" in licences:
        front["license_name"] = "terms-of-each-source"
    return front | {
        "task_categories": sorted({TABLE[modality].task for modality in modalities}),
        "size_categories": [next((name for limit, name in SIZES if rows < limit), "1B<n<10B")],
        "annotations_creators": sorted(set().union(*map(_creators, configs))),
        "source_datasets": sorted({config.facts.extends for config in configs}),
        "tags": ["uncertain-inference", "calibration", "entailment", "probability", *sorted(modalities - {"text"})],
        "configs": entries,
    }


def _creators(config: ReleasedConfig) -> set[str]:
    kinds = {"teacher": "machine-generated", "exact": "machine-generated", "label": "found"}
    kinds["human"] = config.facts.people or "other"
    return {kinds[kind] for kind in config.summary.probability_sources}


def _left_out(config: ReleasedConfig) -> dict:
    """Returns the problems that were passed over, how the config was thinned, and the splits it lacks."""
    build, splits = config.summary.build, config.summary.splits
    return {
        "name": config.name,
        "skipped": {kind: number for kind, number in build["skipped"].items() if number},
        "ratio": build["ratio"] if build["ratio"] != "full" and "train" in splits else None,
        "missing": [split for split in SPLITS if split not in splits],
    }
