"""
The dataset card of a release: front matter for the Hub, and a text that says what is in the dataset.

Only what is in the folder is described, and every number is counted there or quoted with its source.
"""

from dataclasses import dataclass
from pathlib import Path

import yaml

from datasets_scripts.releasing.facts import FACTS, Facts
from datasets_scripts.releasing.summary import ConfigSummary
from datasets_scripts.schema import SPLITS, BuildError


CITATION_FILE = Path(__file__).resolve().parents[2] / "CITATION.cff"
PAPER = "https://arxiv.org/abs/2604.08701"
DEFAULT_CONFIG = "wikivideo-audiovisual"
TASKS = {
    "text": "text-classification",
    "audio": "audio-classification",
    "video": "video-classification",
    "audiovisual": "video-classification",
}
SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
)
PROBABILITY_SOURCES = {
    "human": "people judged the pair; `human_probabilities` holds their single answers where they are known",
    "teacher": "a model was asked, as a rule several times; `teacher_probabilities` holds its valid answers",
    "label": "the number stands for the label only: 1, 0, or 0.5 where there is none",
    "exact": "counted in a generated world",
}
VOTES = {
    "mean": "their mean",
    "majority": "the mean of those on the side of 0.5 that has more of them (of all, if both have as many)",
}
COLUMNS = (
    ("id", "unique in the dataset"),
    ("source", "where the pair is from"),
    ("modality", "`text`, `audio`, `video` (pictures alone) or `audiovisual` (pictures and sound)"),
    ("premise", "the premise, if it is a text"),
    ("audio", "the premise, if it is a sound"),
    ("video", "the premise, if it is a video; an audiovisual one has its sound in the same file"),
    ("hypothesis", "a statement that may be true of the premise"),
    ("probability", "that the hypothesis is true, 0 to 1"),
    ("label", "1 true, 0 false, none where it is neither or not known"),
    ("probability_source", "who says so, see below"),
    ("human_probabilities", "every person's probability, where published"),
    ("teacher_probabilities", "every valid answer of a teacher"),
    ("evidence", "what informed the judgement: `audio`, `video` or `text`"),
    ("topic", "the event or subject, where there is one"),
    ("context", "the sentence a claim is taken from, where there is one"),
)
CLIP_COLUMN = ("clip", "labels without clips only: the file that the pair is about, which `restore` looks for")


@dataclass(frozen=True)
class ReleasedConfig:
    """
    A config as it is released.

    Args:
        summary (`ConfigSummary`): What is in it.
        facts (`Facts`): What is known of its source.
        entry (`dict`): Its entry in the front matter of the folder's README.
        with_clips (`bool`): Whether its clips go along; without them it is labels alone.
    """

    summary: ConfigSummary
    facts: Facts
    entry: dict
    with_clips: bool

    @property
    def name(self) -> str:
        """The config's name."""
        return self.summary.config

    @property
    def labels_only(self) -> bool:
        """Whether its premises are clips that are left out."""
        return self.summary.has_clips and not self.with_clips


def own_facts(config: str, licence: str, media_allowed: bool) -> Facts:
    """What the card says of a config built from a folder of one's own."""
    return Facts(
        title=f"`{config}`",
        what="A collection of the publisher of this dataset.",
        url=None,
        licences=(licence,),
        terms="texts and labels" + (" and clips" if media_allowed else "; the clips are not passed on"),
        media_allowed=media_allowed,
        labels="Labels and probabilities are those of the publisher's own files.",
        limits=None,
        citation=None,
        extends="original",
        people="other",
    )


def facts_of(summary: ConfigSummary) -> Facts | None:
    """
    What is known of the source of a config.

    Args:
        summary (`ConfigSummary`): What is in the config.

    Returns:
        `Facts` or `None`: `None` for a folder of somebody's own.

    Raises:
        `BuildError`: if the config mixes sources.
    """
    if summary.build["source"] != "restore":
        return FACTS.get(summary.build["source"])
    if len(summary.sources) > 1:
        raise BuildError(f"{summary.config} mixes the sources {sorted(summary.sources)}: release them one by one")
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

    Returns:
        `str`: the whole README.md.
    """
    entries = _entries(configs, default)
    named = next(entry["config_name"] for entry in entries if entry.get("default"))
    sections = [
        "# UMUI: unified multimodal uncertain inference",
        _task(configs),
        "## Load\n\n" + _load(configs, repo, named),
        "## What is in it\n\n" + _contents(configs),
        "## Sources and licences\n\n" + _sources(configs, repo),
        "## Columns\n\n" + _columns(configs),
        "## Where the probabilities come from\n\n" + _probabilities(configs),
    ]
    if any(_is_judged_wikivideo(config) for config in configs):
        sections.append("## How people judged\n\n" + PROTOCOL)
    sections += [
        "## Agreement of the annotators\n\n" + _agreement(agreement),
        "## What the build left out\n\n" + _left_out(configs),
        "## Limits\n\n" + _limits(configs),
        "## Citation\n\n" + _citation(configs),
    ]
    front = yaml.safe_dump(_front_matter(configs, entries), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n" + "\n\n".join(sections) + "\n"


def _entries(configs: list[ReleasedConfig], default: str | None) -> list[dict]:
    names = [config.name for config in configs]
    if default is None:
        built = [config.name for config in configs if config.entry.get("default")]
        default = DEFAULT_CONFIG if DEFAULT_CONFIG in names else (built or names)[0]
    elif default not in names:
        raise BuildError(f"--default {default} is not among what is released: {', '.join(names)}")
    entries = []
    # `datasets` takes one loader for all configs, by the files of the first: one without files comes last.
    for config in sorted(configs, key=lambda config: config.labels_only):
        entry = {key: value for key, value in config.entry.items() if key != "default"}
        if config.labels_only:
            files = [
                {"split": split, "path": [f"{config.name}/{split}/metadata.parquet"]}
                for split in config.summary.splits
            ]
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
        "task_categories": sorted({TASKS[modality] for modality in modalities}),
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


def _task(configs: list[ReleasedConfig]) -> str:
    words = {"text": "a text", "audio": "a sound", "video": "a video", "audiovisual": "a video with its sound"}
    modalities = {modality for config in configs for modality in config.summary.modalities}
    *most, last = [word for name, word in words.items() if name in modalities]
    premises = f"{', '.join(most)} or {last}" if most else last
    return (
        f"Given a premise ({premises}) and a hypothesis "
        "about it, how probable is it that the hypothesis is true? A row is one premise with one hypothesis and the "
        f"probability that it holds, on a scale from 0 to 1. The task, uncertain inference over all of these, is that "
        f"of [Unified Multimodal Uncertain Inference]({PAPER})."
    )


def _load(configs: list[ReleasedConfig], repo: str, default: str) -> str:
    summaries = {config.name: config.summary for config in configs}
    split = list(summaries[default].splits)[-1]
    with_clips = any(config.summary.has_clips and config.with_clips for config in configs)
    lines = ["from datasets import load_dataset", "", f'rows = load_dataset("{repo}", "{default}", split="{split}")']
    if with_clips:
        lines[0] = "from datasets import Video, load_dataset"
        lines += [
            "# Clips as files; sounds too, since one loader reads all configs.",
            'rows = rows.cast_column("audio", Video(decode=False)).cast_column("video", Video(decode=False))',
        ]
    lines.append('rows[0]["hypothesis"], rows[0]["probability"]')
    text = "\n".join(["```python", *lines, "```"]) + f"\n\nWithout a name, `load_dataset` takes `{default}`."
    if with_clips:
        text += (
            " Cast as above, whole or with `streaming=True`, a clip is the path of a file, and no decoder needs to be "
            "installed; `fsspec.open(path)` reads a streamed one. A clip with many hypotheses is stored once: rows "
            "about it name the same file."
        )
    return text


def _contents(configs: list[ReleasedConfig]) -> str:
    header = ("config", "modality", "split", "rows", "premises", "clips", "probability from")
    header += ("label 1", "label 0", "no label", "mean probability")
    rows = []
    for config in configs:
        for split, summary in config.summary.splits.items():
            kinds = sorted(summary.probability_sources.items(), key=lambda pair: (-pair[1], pair[0]))
            whole = len(kinds) == 1
            rows.append(
                (
                    f"`{config.name}`",
                    ", ".join(sorted(summary.modalities)),
                    split,
                    f"{summary.rows:,}",
                    f"{summary.premises:,}",
                    _clips(config, len(summary.clips)),
                    ", ".join(kind if whole else f"{kind} {number:,}" for kind, number in kinds),
                    f"{summary.labels[1]:,}",
                    f"{summary.labels[0]:,}",
                    f"{summary.labels[None]:,}",
                    f"{summary.mean:.3f}",
                )
            )
    table = _table(header, rows, words=("config", "modality", "split", "probability from"))
    if any(config.labels_only for config in configs):
        table += "\n\nClips in brackets are not in this repository."
    return table


def _clips(config: ReleasedConfig, number: int) -> str:
    if not number:
        return ""
    return f"({number:,})" if config.labels_only else f"{number:,}"


def _sources(configs: list[ReleasedConfig], repo: str) -> str:
    grouped: dict[str, list[ReleasedConfig]] = {}
    for config in configs:
        grouped.setdefault(config.facts.title, []).append(config)
    parts = []
    for those in grouped.values():
        facts = those[0].facts
        title = f"[{facts.title}]({facts.url})" if facts.url else facts.title
        names = ", ".join(f"`{config.name}`" for config in those)
        lines = [f"**{title}** ({names}). {facts.what}", "", f"- Licence: `{facts.licences[0]}` for {facts.terms}."]
        labels_only = [config for config in those if config.labels_only]
        if labels_only:
            lines.append(
                "- Without clips: hypotheses, labels and probabilities are here, the clips are not. With clips of "
                "your own and this project's code:"
            )
            lines += ["", "  ```bash", *(f"  {restore_command(repo, config.name)}" for config in labels_only), "  ```"]
        elif any(config.summary.has_clips for config in those):
            lines.append("- Clips are in this repository.")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def restore_command(repo: str, config: str) -> str:
    """The command that joins released labels with clips."""
    return f"python -m datasets_scripts.build restore --from {repo} --config {config} --clips DIR --out umui"


def _columns(configs: list[ReleasedConfig]) -> str:
    columns = (*COLUMNS, CLIP_COLUMN) if any(config.labels_only for config in configs) else COLUMNS
    return _table(("column", ""), [(f"`{name}`", text) for name, text in columns], words=("column", ""))


def _probabilities(configs: list[ReleasedConfig]) -> str:
    kinds = {kind for config in configs for kind in config.summary.probability_sources}
    lines = [f"- `{kind}`: {text}." for kind, text in PROBABILITY_SOURCES.items() if kind in kinds]
    lines += ["", "By source:", ""]
    lines += [f"- {facts.title}: {facts.labels}" for facts in _facts(configs)]
    lines += _taught(configs)
    answered = _counted(configs, lambda summary: summary.answers)
    if answered:
        lines += ["", "A teacher's valid answers to a pair: " + answered + "."]
    judged = _counted(configs, lambda summary: summary.judges)
    if judged:
        lines += ["", "People whose single answers to a pair are known: " + judged + "."]
    return "\n".join(lines)


def _taught(configs: list[ReleasedConfig]) -> list[str]:
    """How the teacher's answers became probabilities, for each config where that was noted."""
    lines = []
    for config in configs:
        how = config.summary.build["options"]
        if "labelled_by" not in how:
            continue
        teacher = how["labelled_by"]
        told = f"- `{config.name}` is `{how['config']}` with a teacher's probabilities"
        if teacher:
            told += f", `{teacher['model']}`, asked {teacher['answers']} times a pair at temperature "
            told += f"{teacher['temperature']}"
        lines.append(
            f"{told}. A pair with at least {how['min_valid']} valid answers has {VOTES[how['vote']]}. Pairs in which "
            f"the teacher contradicts the label were {'left out' if how['drop_disagreeing'] else 'kept'}."
        )
    return ["", "By teacher:", "", *lines] if lines else []


def _counted(configs: list[ReleasedConfig], counter) -> str:
    numbers: dict[int, int] = {}
    for config in configs:
        for summary in config.summary.splits.values():
            for size, rows in counter(summary).items():
                numbers[size] = numbers.get(size, 0) + rows
    return ", ".join(f"{size} in {rows:,} row{'s' * (rows != 1)}" for size, rows in sorted(numbers.items()))


def _facts(configs: list[ReleasedConfig]) -> list[Facts]:
    """The facts of each source once, in the order of the configs."""
    return list({config.facts.title: config.facts for config in configs}.values())


def _is_judged_wikivideo(config: ReleasedConfig) -> bool:
    return config.facts is FACTS["wikivideo"] and config.summary.probability_sources["human"] > 0


PROTOCOL = f"""What follows is the protocol of the paper ([appendix B]({PAPER})) for WikiVideo's test topics.

- An annotator saw one video at a time with a list of claims about its event, and set for each claim a probability
  from 0 to 100 % that it is true given the video. They also ticked what informed them: sound, picture, or both. The
  article that the claims are from could be opened, to see what a claim means.
- A short background story came with each event. Annotators were to judge as if the event were going on. They could
  look up what a resident or a follower of the news would know, such as maps and terms, but nothing that would settle
  a claim.
- 100 % is for what the video shows beyond doubt; 0 % for a claim that it contradicts or has nothing to do with. In
  between, they had a description for every fifth of the scale, and were to lean to the lower end in doubt. Not asked
  was how plausible a claim is by itself.
- The paper reports four expert annotators, a pilot that all of them judged with Krippendorff's alpha 0.7121, and
  2,526 pairs on ten events in the end. How many pairs this copy has is in the table above."""


def _agreement(agreement: dict | None) -> str:
    if agreement is None:
        return "No report on agreement is included."
    items, alpha, people = agreement["items"], agreement["alpha"], agreement["annotators"]
    value = "is undefined" if alpha["value"] is None else f"{alpha['value']:.4f}"
    text = (
        f"{items['judged']:,} items were judged by {len(people)} annotators, {items['judged_by_two']:,} of them by at "
        f"least two, {items['judged_by_all']:,} by all. Krippendorff's alpha (interval) {value}"
    )
    if alpha["interval"]:
        low, high = alpha["interval"]
        text += f", {alpha['confidence']:.0%} bootstrap interval {low:.4f} to {high:.4f}"
    text += f" ({alpha['reason']})." if alpha["reason"] else "."
    measures = ("pearson", "spearman", "mse", "js_distance")
    # Who the annotators are is not told: they are numbered.
    number = {one["name"]: str(place) for place, one in enumerate(people, start=1)}
    rows = [
        (
            f"{number[pair['first']]} and {number[pair['second']]}",
            f"{pair['n']:,}",
            *("" if pair[measure] is None else f"{pair[measure]:.4f}" for measure in measures),
        )
        for pair in agreement["pairs"]
        if pair["first"] != pair["second"]
    ]
    header = ("annotators", "items of both", "Pearson", "Spearman", "MSE", "Jensen-Shannon distance")
    return text + ("\n\n" + _table(header, rows, words=("annotators",)) if rows else "")


def _left_out(configs: list[ReleasedConfig]) -> str:
    lines = []
    for config in configs:
        skipped, ratio = config.summary.build["skipped"], config.summary.build["ratio"]
        parts = [f"{number:,} {kind}" for kind, number in sorted(skipped.items()) if number]
        said = ["problems passed over: " + ", ".join(parts)] if parts else []
        if ratio != "full" and "train" in config.summary.splits:
            said.append(f"training rows thinned to {ratio} positives to negatives")
        if missing := [split for split in SPLITS if split not in config.summary.splits]:
            said.append(f"no {' and no '.join(missing)} split")
        if said:
            lines.append(f"- `{config.name}`: {'; '.join(said)}.")
    return "\n".join(lines) or "Nothing."


def _limits(configs: list[ReleasedConfig]) -> str:
    lines = [facts.limits for facts in _facts(configs) if facts.limits]
    kinds = {kind for config in configs for kind in config.summary.probability_sources}
    if "human" in kinds:
        lines.append("People's probabilities are few people's opinions, with their language and their knowledge.")
    if "teacher" in kinds:
        lines.append("A teacher's probabilities carry its errors: a model trained on them can hardly be better.")
    if "label" in kinds:
        lines.append(
            "Where `probability_source` is `label` the number is no judgement of probability: calibration measured on "
            "it is that of a classification."
        )
    return "\n".join(f"- {line}" for line in lines)


def _citation(configs: list[ReleasedConfig]) -> str:
    paper = yaml.safe_load(CITATION_FILE.read_text(encoding="utf-8"))["preferred-citation"]
    authors = " and ".join(f"{one['family-names']}, {one['given-names']}" for one in paper["authors"])
    number = paper["journal"].rpartition(":")[2]
    bibtex = "\n".join(
        (
            "```bibtex",
            f"@misc{{{paper['authors'][0]['family-names'].lower()}{paper['year']}umui,",
            f"  title         = {{{paper['title']}}},",
            f"  author        = {{{authors}}},",
            f"  year          = {{{paper['year']}}},",
            f"  eprint        = {{{number}}},",
            "  archivePrefix = {arXiv},",
            f"  url           = {{{paper['url']}}}",
            "}",
            "```",
        )
    )
    others = [f"- {facts.citation}" for facts in _facts(configs) if facts.citation]
    return bibtex + ("\n\nand the sources that you use:\n\n" + "\n".join(others) if others else "")


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]], words: tuple[str, ...]) -> str:
    """A Markdown table; columns that aren't `words` hold numbers."""
    rule = ["---" if name in words else "---:" for name in header]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))
