"""Counts what is in a config of a built dataset folder: every number of a card comes from here."""

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from common.errors import InputError
from datasets_scripts.schema import SPLITS


FILE_COLUMNS = ("audio_file_name", "video_file_name")
COLUMNS = (
    *("source", "modality", "probability", "label", "probability_source", "evidence", "topic"),
    *("human_probabilities", "teacher_probabilities", *FILE_COLUMNS),
)
BUILD_FIELDS = ("config", "source", "options", "splits", "skipped", "ratio", "version")


@dataclass
class SplitSummary:
    """
    What is in a split.

    Args:
        rows (`int`): Premise-hypothesis pairs.
        premises (`int`): Different premises.
        clips (`set[str]`): Names of the clips that rows are about.
        sources (`Counter[str]`): Rows of each source.
        modalities (`Counter[str]`): Rows of each modality.
        probability_sources (`Counter[str]`): Rows whose probability is from people, a teacher, a label, or exact.
        labels (`Counter[int | None]`): Rows of each label.
        total (`float`): The sum of all probabilities.
        judges (`Counter[int]`): Rows with that many people's probabilities, where their single answers are there.
        answers (`Counter[int]`): Rows with that many answers of a teacher.
        evidence (`int`): Rows that tell what informed the judgement.
        topics (`set[str]`): The topics.
    """

    rows: int = 0
    premises: int = 0
    clips: set[str] = field(default_factory=set)
    sources: Counter = field(default_factory=Counter)
    modalities: Counter = field(default_factory=Counter)
    probability_sources: Counter = field(default_factory=Counter)
    labels: Counter = field(default_factory=Counter)
    total: float = 0.0
    judges: Counter = field(default_factory=Counter)
    answers: Counter = field(default_factory=Counter)
    evidence: int = 0
    topics: set[str] = field(default_factory=set)

    @property
    def mean(self) -> float:
        """The mean probability."""
        return self.total / self.rows


@dataclass(frozen=True)
class ConfigSummary:
    """
    What is in a config.

    Args:
        config (`str`): Its name.
        build (`dict`): How it was built: its `build.json`.
        splits (`dict[str, SplitSummary]`): What is in each split, from train to test.
    """

    config: str
    build: dict
    splits: dict[str, SplitSummary]

    @property
    def rows(self) -> int:
        """Premise-hypothesis pairs in all splits."""
        return sum(split.rows for split in self.splits.values())

    @property
    def has_clips(self) -> bool:
        """Whether any premise is a clip."""
        return any(split.clips for split in self.splits.values())

    @property
    def modalities(self) -> Counter:
        """Rows of each modality in all splits."""
        return sum((split.modalities for split in self.splits.values()), Counter())

    @property
    def probability_sources(self) -> Counter:
        """Rows of each kind of probability in all splits."""
        return sum((split.probability_sources for split in self.splits.values()), Counter())

    @property
    def sources(self) -> Counter:
        """Rows of each source in all splits."""
        return sum((split.sources for split in self.splits.values()), Counter())


def summarise_config(folder: Path, config: str) -> ConfigSummary:
    """
    Reads a config, group of rows by group.

    Args:
        folder (`Path`): The dataset folder.
        config (`str`): The config's name.

    Returns:
        `ConfigSummary`: what is in it.

    Raises:
        `InputError`: if it lacks files, or they don't fit one another.
    """
    build = _read_build(folder / config, config)
    splits = {}
    for split in SPLITS:
        if split in build["splits"]:
            splits[split] = _summarise_split(folder / config / split, build["splits"][split]["premises"])
    found = {name: split.rows for name, split in splits.items()}
    told = {name: sizes["rows"] for name, sizes in build["splits"].items()}
    if found != told:
        raise InputError(
            f"{folder / config}: build.json tells of {told} rows, there are {found}: {rebuild_advice(config)}"
        )
    return ConfigSummary(config, build, splits)


def rebuild_advice(config: str) -> str:
    """What to do about a config that isn't as builds leave it."""
    return f"build {config} anew: python -m datasets_scripts.build SOURCE ... --overwrite"


def _read_build(folder: Path, config: str) -> dict:
    path = folder / "build.json"
    try:
        build = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing, which tells how {config} was built: {rebuild_advice(config)}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read: {error}; {rebuild_advice(config)}") from error
    missing = [name for name in BUILD_FIELDS if not isinstance(build, dict) or name not in build]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}: {rebuild_advice(config)}")
    return build


def _summarise_split(folder: Path, premises: int) -> SplitSummary:
    summary, totals = SplitSummary(premises=premises), []
    try:
        with pq.ParquetFile(folder / "metadata.parquet") as file:
            missing = sorted(set(COLUMNS) - set(file.schema_arrow.names))
            if missing:
                raise InputError(f"{folder}/metadata.parquet lacks {missing}: {rebuild_advice(folder.parent.name)}")
            for batch in file.iter_batches(columns=list(COLUMNS)):
                _add(summary, batch)
                totals.append(pc.sum(batch["probability"]).as_py() or 0.0)
    except (OSError, pa.ArrowInvalid) as error:
        advice = rebuild_advice(folder.parent.name)
        raise InputError(f"{folder}/metadata.parquet can't be read: {error}; {advice}") from error
    summary.total = math.fsum(totals)
    return summary


def _add(summary: SplitSummary, batch: pa.RecordBatch) -> None:
    summary.rows += len(batch)
    for counter, column in (
        (summary.sources, "source"),
        (summary.modalities, "modality"),
        (summary.probability_sources, "probability_source"),
        (summary.labels, "label"),
    ):
        counter.update({one["values"]: one["counts"] for one in batch[column].value_counts().to_pylist()})
    for counter, column in ((summary.judges, "human_probabilities"), (summary.answers, "teacher_probabilities")):
        lengths = pc.list_value_length(batch[column]).drop_null()
        counter.update({one["values"]: one["counts"] for one in lengths.value_counts().to_pylist() if one["values"]})
    summary.evidence += len(batch) - batch["evidence"].null_count
    summary.topics.update(batch["topic"].drop_null().unique().to_pylist())
    for column in FILE_COLUMNS:
        summary.clips.update(map(_clip_name, batch[column].drop_null().unique().to_pylist()))


def _clip_name(place: str) -> str:
    path = PurePosixPath(place)
    if path.parts != ("media", path.name) or path.name.startswith(".") or "\\" in place:
        raise InputError(f"a clip must lie in media/ beside the rows, got {place!r}")
    return path.name
