"""Loads the items to be judged, the rows of one split of a UMUI folder, as `datasets` loads it for anybody."""

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from assignment import QueuedItem
from clips import file_for
from datasets import Audio, Dataset, Image, List, Video, load_dataset_builder
from datasets.data_files import DataFilesDict


# What may inform a judgement of a premise: writing in a picture is "text", as are texts among its parts.
SENSES = {
    "text": ("text",),
    "audio": ("audio",),
    "video": ("video", "text"),
    "audiovisual": ("video", "audio", "text"),
}
# What a part of a premise can be.
PARTS = (*SENSES, "image")
# Claims about one premise that the same people judge in one go.
CLAIMS_TOGETHER = 12


@dataclass(frozen=True)
class Part:
    """Holds one of `PARTS`: a text, or the path of a clip or a picture."""

    modality: str
    content: str

    @property
    def is_file(self) -> bool:
        """Tells whether the content is a path."""
        return self.modality != "text"

    @property
    def identity(self) -> str:
        """Tells it from others: a file by its name without its ending, in the Hub's cache its content's."""
        return Path(self.content).resolve().stem if self.is_file else self.content


@dataclass(frozen=True)
class Item:
    """Holds a claim about a premise (a text, the path of a clip, or parts), the event it is about and its story."""

    id: str
    modality: str
    premise: str | tuple[Part, ...]
    claim: str
    topic: str | None = None
    context: str | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """Returns what the premise is made of, in order: often one part alone."""
        return (Part(self.modality, self.premise),) if isinstance(self.premise, str) else self.premise

    @property
    def name(self) -> str:
        """Returns the names of its files without their endings."""
        return ", ".join(Path(part.content).stem for part in self.parts if part.is_file)

    @property
    def video(self) -> str | None:
        """Returns the name of a premise that is a clip, by which a build of the dataset finds it again."""
        return (self.name or None) if isinstance(self.premise, str) else None

    @property
    def digest(self) -> str:
        """Tells if an item is still the same."""
        if isinstance(self.premise, str):
            premise = self.parts[0].identity
        else:
            premise = tuple((part.modality, part.identity) for part in self.parts)
        # The context comes last: databases that were begun without it go on.
        return _hash((self.modality, premise, self.claim)) + _hash(self.context)


def _hash(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()


def load_items(dataset: str, config: str, split: str, clips: Path) -> list[Item]:
    """
    Loads the items, those of one premise next to each other, in the order in which their premises first appear.

    Args:
        dataset (`str`): A dataset folder, or a repository on the Hub.
        config (`str`): The config, e.g. `"wikivideo-audiovisual"`.
        split (`str`): The split, e.g. `"test"`.
        clips (`Path`): Where clips that the dataset has no file for are written.

    Raises:
        `ValueError`: if there is no such split, a row lacks its premise, or an id is there twice.
    """
    # A folder is read anew each time: what `datasets` kept of it before may name clips where they no longer are.
    with TemporaryDirectory() as scratch:
        cache = scratch if Path(dataset).is_dir() else None
        builder = load_dataset_builder(dataset, config, cache_dir=cache)
        files = builder.config.data_files
        if split not in files:
            raise ValueError(f"{dataset}, {config} has no split {split!r}: it has {', '.join(files)}")
        # `load_dataset` would fetch the clips of the other splits too.
        alone = type(builder)(
            cache_dir=cache, base_path=builder.base_path, data_files=DataFilesDict({split: files[split]})
        )
        alone.download_and_prepare()
        return _items(alone.as_dataset(split=split), f"{dataset}, {config}, {split}", clips)


def _items(rows: Dataset, name: str, clips: Path) -> list[Item]:
    for column in ("audio", "video"):
        # One loader reads all configs of a folder: sounds may come as `Video` too. Browsers decode, not we.
        if isinstance(rows.features[column], (Audio, Video)):
            rows = rows.cast_column(column, type(rows.features[column])(decode=False))
    # Datasets that were built before there were combinations lack it.
    clips_of_parts = getattr(rows.features.get("part_clips"), "feature", None)
    if isinstance(clips_of_parts, (Audio, Image, Video)):
        rows = rows.cast_column("part_clips", List(type(clips_of_parts)(decode=False)))
    by_premise: dict[tuple, list[Item]] = {}
    seen = set()
    for row in rows:
        if row["id"] in seen:
            raise ValueError(f"{name}: the id {row['id']!r} is there twice")
        seen.add(row["id"])
        premise = _premise(row, clips)
        item = Item(row["id"], row["modality"], premise, row["hypothesis"], row["topic"], row["context"])
        by_premise.setdefault((row["modality"], premise), []).append(item)
    if not seen:
        raise ValueError(f"{name} has no rows")
    return [item for items in by_premise.values() for item in items]


def _premise(row: dict, clips: Path) -> str | tuple[Part, ...]:
    if row["modality"] not in SENSES:
        raise ValueError(f"row {row['id']}: modality must be one of {', '.join(SENSES)}, got {row['modality']!r}")
    if row.get("parts"):
        return _combination(row, clips)
    column = {"text": "premise", "audio": "audio"}.get(row["modality"], "video")
    value = row[column]
    if not value:
        raise ValueError(f"row {row['id']}: a premise of modality {row['modality']} needs {column}")
    return value if column == "premise" else file_for(value, row["id"], clips)


def _combination(row: dict, clips: Path) -> tuple[Part, ...]:
    """Returns the parts of a row; the files of those that are no text stand in a column of their own, in order."""
    files, parts = list(row["part_clips"] or []), []
    wanted = sum(part["modality"] != "text" for part in row["parts"])
    if len(files) != wanted:
        raise ValueError(f"row {row['id']}: its parts need {wanted} files, and part_clips has {len(files)}")
    for number, part in enumerate(row["parts"], start=1):
        if part["modality"] not in PARTS:
            raise ValueError(
                f"row {row['id']}: part {number} must be one of {', '.join(PARTS)}, not {part['modality']!r}"
            )
        is_text = part["modality"] == "text"
        value = part["text"] if is_text else files.pop(0)
        if not value:
            raise ValueError(f"row {row['id']}: part {number}, of modality {part['modality']}, is empty")
        parts.append(Part(part["modality"], value if is_text else file_for(value, row["id"], clips)))
    return tuple(parts)


def make_queue(items: list[Item], pilot: int, seed: int) -> list[QueuedItem]:
    """Cuts the items into chunks, draws their order by `seed`, and takes the first `pilot` items for the pilot set."""
    chunks: list[list[Item]] = []
    for item in items:
        chunk = chunks[-1] if chunks else None
        together = chunk and (chunk[0].modality, chunk[0].premise) == (item.modality, item.premise)
        if together and len(chunk) < CLAIMS_TOGETHER:
            chunk.append(item)
        else:
            chunks.append([item])
    random.Random(seed).shuffle(chunks)
    ordered = [(item, number) for number, chunk in enumerate(chunks) for item in chunk]
    return [QueuedItem(item.id, number, rank < pilot) for rank, (item, number) in enumerate(ordered)]
