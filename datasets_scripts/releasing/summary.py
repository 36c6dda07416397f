"""Counts what is in a config of a built dataset folder: every number of a card comes from here."""

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from common.errors import InputError
from datasets_scripts.load import read_build
from datasets_scripts.schema import CLIP_NAME_COLUMNS, PART_CLIP_NAMES, ROWS_FILE, SPLITS


COLUMNS = (
    *("source", "modality", "probability", "label", "probability_source", "evidence", "topic"),
    *("human_probabilities", "teacher_probabilities", *CLIP_NAME_COLUMNS),
)
BUILD_FIELDS = ("config", "source", "options", "splits", "skipped", "ratio", "version")


@dataclass
class SplitSummary:
    """Counts what is in a split."""

    rows: int = 0
    premises: int = 0
    clips: set[str] = field(default_factory=set)
    # Rows by their value in the column of that name.
    sources: Counter = field(default_factory=Counter)
    modalities: Counter = field(default_factory=Counter)
    probability_sources: Counter = field(default_factory=Counter)
    labels: Counter = field(default_factory=Counter)
    total: float = 0.0  # of all probabilities
    # Rows by how many people's probabilities and answers of a teacher they have, where they have any.
    judges: Counter = field(default_factory=Counter)
    answers: Counter = field(default_factory=Counter)
    evidence: int = 0  # rows that tell what informed the judgement
    topics: set[str] = field(default_factory=set)

    @property
    def mean(self) -> float:
        """Returns the mean probability."""
        return self.total / self.rows


@dataclass(frozen=True)
class ConfigSummary:
    """Counts what is in a config: its `build.json`, and each split from train to test."""

    config: str
    build: dict
    splits: dict[str, SplitSummary]

    @property
    def rows(self) -> int:
        """Returns the number of rows in all splits."""
        return sum(split.rows for split in self.splits.values())

    @property
    def has_clips(self) -> bool:
        """Returns whether any premise is a clip."""
        return any(split.clips for split in self.splits.values())

    @property
    def modalities(self) -> Counter:
        """Returns the number of rows of each modality in all splits."""
        return self._total("modalities")

    @property
    def probability_sources(self) -> Counter:
        """Returns the number of rows of each kind of probability in all splits."""
        return self._total("probability_sources")

    @property
    def sources(self) -> Counter:
        """Returns the number of rows of each source in all splits."""
        return self._total("sources")

    def _total(self, name: str) -> Counter:
        return sum((getattr(split, name) for split in self.splits.values()), Counter())


def summarise_config(folder: Path, config: str) -> ConfigSummary:
    """
    Counts what is in a config of a dataset folder, group of rows by group.

    Raises:
        `InputError`: if it lacks files, or they don't fit one another.
    """
    build = _checked_build(folder, config)
    splits = {}
    for split in SPLITS:
        if split in build["splits"]:
            splits[split] = _summarise_split(folder / config / split, build["splits"][split]["premises"])
    found = {name: split.rows for name, split in splits.items()}
    noted = {name: sizes["rows"] for name, sizes in build["splits"].items()}
    if found != noted:
        raise InputError(
            f"{folder / config}: build.json tells of {noted} rows, there are {found}: {rebuild_advice(config)}"
        )
    return ConfigSummary(config, build, splits)


def rebuild_advice(config: str) -> str:
    """Returns what to do about a config that isn't as builds leave it."""
    return f"build {config} anew: python -m datasets_scripts.build SOURCE ... --overwrite"


def _checked_build(folder: Path, config: str) -> dict:
    path = folder / config / "build.json"
    # Asked first: what is no folder, `read_build` would look for on the Hub.
    if not path.is_file():
        raise InputError(f"{path} is missing, which tells how {config} was built: {rebuild_advice(config)}")
    try:
        build = read_build(str(folder), config)
    except InputError as error:
        raise InputError(f"{error}; {rebuild_advice(config)}") from error
    missing = [name for name in BUILD_FIELDS if name not in build]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}: {rebuild_advice(config)}")
    return build


def _summarise_split(folder: Path, premises: int) -> SplitSummary:
    summary, totals = SplitSummary(premises=premises), []
    try:
        with pq.ParquetFile(folder / ROWS_FILE) as file:
            missing = sorted(set(COLUMNS) - set(file.schema_arrow.names))
            if missing:
                raise InputError(f"{folder}/{ROWS_FILE} lacks {missing}: {rebuild_advice(folder.parent.name)}")
            later = [name for name in (PART_CLIP_NAMES,) if name in file.schema_arrow.names]
            for batch in file.iter_batches(columns=[*COLUMNS, *later]):
                _add(summary, batch)
                totals.append(pc.sum(batch["probability"]).as_py() or 0.0)
    except (OSError, pa.ArrowInvalid) as error:
        advice = rebuild_advice(folder.parent.name)
        raise InputError(f"{folder}/{ROWS_FILE} can't be read: {error}; {advice}") from error
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
        counter.update(_frequencies(batch[column]))
    for counter, column in ((summary.judges, "human_probabilities"), (summary.answers, "teacher_probabilities")):
        lengths = pc.list_value_length(batch[column]).drop_null()
        counter.update({length: rows for length, rows in _frequencies(lengths).items() if length})
    summary.evidence += len(batch) - batch["evidence"].null_count
    summary.topics.update(batch["topic"].drop_null().unique().to_pylist())
    columns = [batch[column] for column in CLIP_NAME_COLUMNS]
    if PART_CLIP_NAMES in batch.schema.names:
        columns.append(batch[PART_CLIP_NAMES].flatten())
    for names in columns:
        summary.clips.update(map(_clip_name, names.drop_null().unique().to_pylist()))


def _frequencies(values: pa.Array) -> dict:
    return {one["values"]: one["counts"] for one in values.value_counts().to_pylist()}


def _clip_name(place: str) -> str:
    path = PurePosixPath(place)
    if path.parts != ("media", path.name) or path.name.startswith(".") or "\\" in place:
        raise InputError(f"a clip must lie in media/ beside the rows, got {place!r}")
    return path.name
