"""Keeps on disk what frozen towers give for a clip: each is decoded and goes through the towers once, over all runs.

What is kept stands before the towers' projections: these may be trained, and be others in another run. The folder of a
cache holds

- `ab/ab12....safetensors`: an entry, one premise with what the towers give in place of its sound and frames;
- `digests/`: the digest of a clip's content, by its path, size and time, so that it is read for that only once;
- `size`, `lock` and `tmp/`: bytes of all entries, who may write, and what is being written.

Several processes and runs may share it. Whoever writes holds the lock, so a file in `tmp/` that the lock's next holder
finds was left by a process that died: it is removed, and the entries are counted anew. An entry appears by being
renamed, whole. No entry is removed to make room: an epoch that goes through more clips than fit would find none.
"""

import errno
import json
import logging
import os
import zlib
from dataclasses import dataclass
from hashlib import blake2b, file_digest
from pathlib import Path

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from common.files import write_text
from modeling_clue.encoded_premise import EncodedPremise, with_tower_outputs


logger = logging.getLogger(__name__)

# The disk is full, or what the user may have of it.
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# Accelerate hands the outputs of mixed precision over in float32.
NARROW_DTYPES = (torch.bfloat16, torch.float16)
DIGEST_SIZE = 16


@dataclass
class UncachedClip:
    """Holds a premise of a batch that has to go through the towers."""

    key: str | None  # `None` for one that is not to be kept
    premise: EncodedPremise  # with all that an entry holds but the outputs


class TowerCache:
    """Stores premises with the outputs of the towers in a folder.

    Entries of another `fingerprint`, which stands for all that the outputs depend on but the clip, are not seen, but
    count in `max_bytes`, beyond which nothing is stored.
    """

    def __init__(self, folder: str | Path, fingerprint: str, max_bytes: int, *token_ids: int):
        self.folder = Path(folder)
        self.fingerprint = fingerprint
        self.max_bytes = max_bytes
        self.token_ids = token_ids  # as of `with_tower_outputs`
        self._closed = False
        self._tmp = self.folder / "tmp"
        self._tmp.mkdir(parents=True, exist_ok=True)
        (self.folder / "digests").mkdir(exist_ok=True)
        with self._lock():
            if any(self._tmp.iterdir()):
                self._clean_up()

    def __contains__(self, key: str) -> bool:
        return self._path(key).exists()

    def key(
        self,
        modality: str,
        audio: dict | None,
        video: dict | None,
        parts: list[dict] | None = None,
        part_clips: list[dict] | None = None,
    ) -> str:
        """Names the entry of a premise, given as in a row: the same for the same clips, wherever they lie."""
        clips = (audio, video, *(part_clips or ()))
        facts = [self.fingerprint, modality, *(clip and self._clip_digest(clip) for clip in clips)]
        facts += [[part["modality"], part["text"]] for part in parts or ()]
        return blake2b(json.dumps(facts).encode(), digest_size=DIGEST_SIZE).hexdigest()

    def load(self, keys: list[str]) -> dict[str, EncodedPremise]:
        """Reads the premises of a batch, all or none; removes, with a warning, an entry that has changed."""
        if not all(key in self for key in keys):
            return {}
        premises = {}
        for key in keys:
            premise = self._read(key)
            if premise is None:
                return {}
            premises[key] = premise
        return premises

    def store(
        self, clips: list[UncachedClip], audio_embeds: torch.Tensor | None, video_embeds: torch.Tensor | None
    ) -> None:
        """Stores the towers' outputs for a batch's premises with media, in row order, where a premise may repeat."""
        if self._closed:
            return
        outputs = (None if embeds is None else embeds.cpu() for embeds in (audio_embeds, video_embeds))
        premises = with_tower_outputs([clip.premise for clip in clips], self.token_ids, *outputs)
        for clip, premise in zip(clips, premises, strict=True):
            if clip.key is not None and clip.key not in self:
                self._write(clip.key, _serialize(premise))

    # Entries

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"

    def _read(self, key: str) -> EncodedPremise | None:
        path = self._path(key)
        try:
            return _deserialize(path)
        except FileNotFoundError:  # removed by another process a moment ago
            return None
        except (SafetensorError, CorruptEntryError) as error:
            logger.warning("The tower cache's entry %s is corrupt (%s): removed, and computed anew.", path, error)
        with self._lock():
            path.unlink(missing_ok=True)
            self._write_size(self._count()[1])
        return None

    def _write(self, key: str, data: bytes) -> None:
        """Writes one entry, if it fits: first beside, then to its place."""
        path, temporary = self._path(key), self._tmp / key
        with self._lock():
            if path.exists():
                return
            size = self._read_size() + len(data)
            if size > self.max_bytes:
                entries, size = self._count()  # somebody may have removed some
                size += len(data)
                if size > self.max_bytes:
                    self._close(f"holds {entries} clips, and the next would exceed its {self.max_bytes / 1e9:g} GB")
                    return
            try:
                path.parent.mkdir(exist_ok=True)
                temporary.write_bytes(data)
                # Killed between this and the renaming, the entry is counted but not there: its rest in tmp/ tells so.
                self._write_size(size)
                temporary.replace(path)
            except OSError as error:
                for file in self._tmp.iterdir():
                    file.unlink()
                if error.errno not in NO_SPACE:
                    raise
                self._close(f"cannot grow: {error.strerror}")

    def _close(self, reason: str) -> None:
        self._closed = True
        logger.warning(
            "The tower cache %s %s. Nothing more is stored; a batch with a clip that it lacks is decoded and goes "
            "through the towers every epoch.",
            self.folder,
            reason,
        )

    # Bookkeeping, under the lock

    def _lock(self) -> FileLock:
        return FileLock(self.folder / "lock")

    def _clean_up(self) -> None:
        for file in self._tmp.iterdir():
            file.unlink()
        self._write_size(self._count()[1])

    def _count(self) -> tuple[int, int]:
        """Counts entries and their bytes by looking."""
        sizes = [file.stat().st_size for file in self.folder.glob("??/*.safetensors")]
        return len(sizes), sum(sizes)

    def _read_size(self) -> int:
        try:
            return int((self.folder / "size").read_text())
        except (FileNotFoundError, ValueError):  # new, or lost with the power
            return self._count()[1]

    def _write_size(self, size: int) -> None:
        write_text(self.folder / "size", str(size))

    # Clips

    def _clip_digest(self, clip: dict) -> str:
        """Digests a clip's content, and notes the digest of a file: a large video is not read every epoch."""
        if clip["bytes"] is not None:
            return blake2b(clip["bytes"], digest_size=DIGEST_SIZE).hexdigest()
        path = os.path.abspath(clip["path"])
        with open(path, "rb") as file:
            stat = os.fstat(file.fileno())
            name = blake2b(json.dumps([path, stat.st_size, stat.st_mtime_ns]).encode(), digest_size=DIGEST_SIZE)
            note = self.folder / "digests" / name.hexdigest()
            # Written in place: who finds a torn note reads the clip, and writes the same.
            if note.exists() and len(digest := note.read_text()) == 2 * DIGEST_SIZE:
                return digest
            digest = file_digest(file, lambda: blake2b(digest_size=DIGEST_SIZE)).hexdigest()
        try:
            note.write_text(digest)
        except OSError as error:  # on a full disk the clip is read again next time
            if error.errno not in NO_SPACE:
                raise
        return digest


class CorruptEntryError(ValueError):
    """Says how an entry of the cache is not as it was written."""


def _halved_if_exact(embeds: torch.Tensor) -> torch.Tensor:
    """Returns the same numbers in half the bytes, where that is possible."""
    for dtype in NARROW_DTYPES:
        narrow = embeds.to(dtype)
        if torch.equal(narrow.to(embeds.dtype), embeds):
            return narrow
    return embeds


def _checksum(tensors: dict[str, torch.Tensor], facts: str) -> str:
    checksum = zlib.crc32(facts.encode())
    for name in sorted(tensors):
        checksum = zlib.crc32(tensors[name].contiguous().view(torch.uint8).numpy(), checksum)
    return f"{checksum:08x}"


def _serialize(premise: EncodedPremise) -> bytes:
    tensors, facts = _tensors_of(premise), _facts_of(premise)
    if premise.parts is not None:
        facts["parts"] = [_facts_of(part) | {"text": part.text} for part in premise.parts]
        for number, part in enumerate(premise.parts):
            tensors |= {f"{number}.{name}": tensor for name, tensor in _tensors_of(part).items()}
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    written = json.dumps(facts)
    return save(tensors, {"premise": written, "checksum": _checksum(tensors, written)})


def _tensors_of(premise: EncodedPremise) -> dict[str, torch.Tensor]:
    tensors = {"input_ids": torch.tensor(premise.input_ids, dtype=torch.int32)}
    if premise.audio_embeds is not None:
        tensors["audio_embeds"] = _halved_if_exact(premise.audio_embeds)
    if premise.video_embeds is not None:
        tensors["video_embeds"] = _halved_if_exact(premise.video_embeds)
        tensors["video_grid_thw"] = premise.video_grid_thw.cpu()
    return tensors


def _facts_of(premise: EncodedPremise) -> dict:
    return {name: getattr(premise, name) for name in ("modality", "num_mel_frames", "video_second_per_grid", "notes")}


def _deserialize(path: Path) -> EncodedPremise:
    if path.stat().st_size == 0:
        raise CorruptEntryError("it is empty")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    if _checksum(tensors, metadata.get("premise", "")) != metadata.get("checksum"):
        raise CorruptEntryError("its checksum does not fit")
    facts = json.loads(metadata["premise"])
    parts = facts.pop("parts", None)
    premise = _premise_of(facts, tensors, "")
    if parts is not None:
        premise.parts = [_premise_of(part, tensors, f"{number}.") for number, part in enumerate(parts)]
    return premise


def _premise_of(facts: dict, tensors: dict[str, torch.Tensor], prefix: str) -> EncodedPremise:
    """Returns a premise, or with its prefix a part of one, from the facts and the tensors of an entry."""
    names = ("input_ids", "audio_embeds", "video_embeds", "video_grid_thw")
    own = {name: tensors[prefix + name] for name in names if prefix + name in tensors}
    own_types = {"input_ids": own["input_ids"].tolist(), "notes": tuple(facts["notes"])}
    return EncodedPremise(**facts | own | own_types)
