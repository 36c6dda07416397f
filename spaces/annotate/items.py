"""Loads the items to be judged, the rows of one split of a UMUI folder, as `datasets` loads it for anybody."""

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from assignment import QueuedItem
from datasets import Audio, Dataset, Video, load_dataset_builder
from datasets.data_files import DataFilesDict


# What may inform a judgement of a premise: writing in a picture is "text".
SENSES = {
    "text": ("text",),
    "audio": ("audio",),
    "video": ("video", "text"),
    "audiovisual": ("video", "audio", "text"),
}
# The document type in the header of a Matroska file.
WEBM = b"\x42\x82\x84webm"
# Claims about one premise that the same people judge in one go.
CLAIMS_TOGETHER = 12


@dataclass(frozen=True)
class Item:
    """Holds a claim about a premise (a text, or the path of a clip), the event it is about and its story."""

    id: str
    modality: str
    premise: str
    claim: str
    topic: str | None = None
    context: str | None = None

    @property
    def video(self) -> str | None:
        """Returns the clip's name without its ending, by which a build of the dataset finds it again."""
        return None if self.modality == "text" else Path(self.premise).stem

    @property
    def digest(self) -> str:
        """Tells if an item is still the same; a clip counts by its file's name, in the Hub's cache its content's."""
        premise = self.premise if self.modality == "text" else Path(self.premise).resolve().stem
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
    by_premise: dict[tuple[str, str], list[Item]] = {}
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


def _premise(row: dict, clips: Path) -> str:
    if row["modality"] not in SENSES:
        raise ValueError(f"row {row['id']}: modality must be one of {', '.join(SENSES)}, got {row['modality']!r}")
    column = {"text": "premise", "audio": "audio"}.get(row["modality"], "video")
    value = row[column]
    if not value:
        raise ValueError(f"row {row['id']}: a premise of modality {row['modality']} needs {column}")
    if column == "premise":
        return value
    if not value["bytes"]:
        # Not resolved: a link into the Hub's cache leads to a file without its name.
        return str(_as_webm(Path(value["path"]).absolute(), clips))
    # The content names the folder: two clips of one name stay two.
    folder = clips / hashlib.sha256(value["bytes"]).hexdigest()[:16]
    file = folder / Path(value["path"] or row["id"]).name
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(file.name + ".partial")
        partial.write_bytes(value["bytes"])
        partial.replace(file)
    return str(_as_webm(file.absolute(), clips))


def _as_webm(clip: Path, clips: Path) -> Path:
    """Links a WebM to its own name, by which browsers know it: datasets store it by that of Matroska."""
    if clip.suffix != ".mkv":
        return clip
    with clip.open("rb") as file:
        if WEBM not in file.read(64):
            return clip
    link = clips / _hash(str(clip))[:16] / f"{clip.stem}.webm"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(clip)
    return link


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
