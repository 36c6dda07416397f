"""Groups the rows of a dataset, one premise-hypothesis pair each, into premises with all their hypotheses."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from tqdm import tqdm

from datasets_scripts.load import load_split, split_names
from datasets_scripts.schema import PART_CLIPS, PREMISE_COLUMNS
from modeling_clue.encoded_premise import EncodedPremise
from modeling_clue.modalities import MODALITIES
from modeling_clue.passes import CHARACTERS_PER_TOKEN
from modeling_clue.processing_clue import CLUEProcessor
from train.prefixes import Prefixes, join_prefixes, read_prefixes
from train.tower_cache import TowerCache


# Premises that a process encodes before it hands them over.
ENCODED_AT_ONCE = 32


@dataclass
class Premise:
    """Holds a premise and what is claimed about it."""

    key: str  # config and number of the premise: its hypotheses are drawn by it, the same on every machine
    row: int  # the first that holds the premise
    modality: str
    size: int  # characters of a text, bytes of all clips
    hypotheses: list[str] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)  # of the probabilities: human, teacher, label or exact

    @property
    def is_copy(self) -> bool:
        """Tells whether an epoch has gone through the premise before."""
        return "#" in self.key.rpartition("/")[2]


@dataclass
class PremiseItem:
    """Holds what the collator needs of a premise."""

    key: str
    premise: EncodedPremise
    hypotheses: list[str]
    probabilities: list[float]
    prefixes: Prefixes | None = None  # what would be true if it ended earlier, where that is known
    cache_key: str | None = None  # its key in the tower cache, if it is to be stored there


def _identity_and_size(media: dict | None) -> tuple[str | bytes, int]:
    """Returns what tells one clip from another, and its bytes."""
    # A file by its path: to read terabytes first would cost hours, and a build stores a clip once. What is compared
    # between datasets goes by content (`evaluation.data.premise_keys`), and a build also finds one text in two
    # spellings, which a model reads as two.
    if media is None:
        return "", 0
    if media["bytes"] is not None:
        return blake2b(media["bytes"]).digest(), len(media["bytes"])
    return media["path"], Path(media["path"]).stat().st_size


def first_answer(row: dict, config: str) -> float:
    """Returns a teacher's first answer (section 3.1), or the row's probability where no teacher was asked."""
    if row["probability_source"] != "teacher":
        return row["probability"]
    answers = row["teacher_probabilities"]
    if not answers or answers[0] is None:
        raise ValueError(
            f"Row '{row['id']}' of '{config}' has a teacher's probability but no first answer in "
            "teacher_probabilities: label it with `python -m datasets_scripts.teacher label`, or train on the votes."
        )
    return answers[0]


def _iterate(rows: Dataset) -> Iterator[dict]:
    for batch in rows.iter(batch_size=256):
        yield from (dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True))


def _premise_identity(row: dict) -> tuple[tuple, int]:
    """Returns what tells a row's premise from others, and its characters or bytes."""
    clips = [_identity_and_size(clip) for clip in (row["audio"], row["video"], *(row[PART_CLIPS] or ()))]
    parts = tuple((part["modality"], part["text"]) for part in row["parts"] or ())
    text = row["premise"] or ""
    size = len(text) if row["modality"] == "text" else sum(size for _, size in clips)
    return (row["modality"], text, parts, *(clip for clip, _ in clips)), size


def group_prefixes(rows: Dataset, config: str) -> dict[int, Prefixes]:
    """Reads what would be true of premises that ended earlier, by the first row of each; of none without any."""
    found: dict[tuple, tuple[int, list[dict[float, float]]]] = {}
    for index, row in enumerate(_iterate(rows.select_columns(["id", *PREMISE_COLUMNS, "prefixes"]))):
        _, known = found.setdefault(_premise_identity(row)[0], (index, []))
        known.append(read_prefixes(row, config))
    joined = {first: join_prefixes(known) for first, known in found.values()}
    return {first: prefixes for first, prefixes in joined.items() if prefixes is not None}


def group_premises(rows: Dataset, config: str, teacher_answers: str = "vote") -> list[Premise]:
    """Groups rows by premise, in order of first appearance; `teacher_answers` is `"vote"`, or `"first"` alone."""
    premises = {}
    for index, row in enumerate(_iterate(rows)):
        if row["modality"] not in MODALITIES:
            raise ValueError(
                f"Row '{row['id']}' of '{config}' has modality '{row['modality']}', not one of {MODALITIES}."
            )
        probability = row["probability"] if teacher_answers == "vote" else first_answer(row, config)
        if probability is None or not 0 <= probability <= 1:
            raise ValueError(
                f"Row '{row['id']}' of '{config}' has probability {probability}: to train on it, it must be in [0, 1]."
            )
        if row["hypothesis"] is None or not row["hypothesis"].strip():
            raise ValueError(f"Row '{row['id']}' of '{config}' has no hypothesis: there is nothing to judge.")
        identity, size = _premise_identity(row)
        if identity not in premises:
            premises[identity] = Premise(f"{config}/{len(premises)}", index, row["modality"], size)
        premises[identity].hypotheses.append(row["hypothesis"])
        premises[identity].probabilities.append(probability)
        premises[identity].sources.append(row["probability_source"])
    return list(premises.values())


def _draw(group: list[Premise], count: int, seed: int) -> list[Premise]:
    """Draws premises without replacement, in their order."""
    chosen = np.random.default_rng(seed).choice(len(group), size=count, replace=False)
    return [group[index] for index in sorted(chosen)]


def _repeat(group: list[Premise], weight: float, seed: int) -> list[Premise]:
    """Repeats premises `weight` times; each copy has draws of hypotheses of its own."""
    whole, part = divmod(weight, 1)
    copies = [group] * int(whole) + [_draw(group, max(1, round(part * len(group))), seed)] * (part > 0)
    return [
        premise if number == 0 else replace(premise, key=f"{premise.key}#{number}")
        for number, copy_of_group in enumerate(copies)
        for premise in copy_of_group
    ]


def check_split(dataset: str, configs: list[str], split: str, remedy: str) -> None:
    """Checks that all configs have a split, before anything large is loaded."""
    splits = {config: split_names(dataset, config) for config in configs}
    without = [config for config, names in splits.items() if split not in names]
    if without:
        having = [config for config in configs if config not in without]
        raise ValueError(
            f"{', '.join(without)} of {dataset} has no split '{split}'"
            f"{', but ' + ', '.join(having) + ' has' if having else ''}: {remedy}."
        )


class PremiseDataset(TorchDataset):
    """Encodes premises of some configs as they are asked for, or with `cache` all at once, kept in memory."""

    # Where premises with the outputs of the towers are looked for before a clip is decoded.
    tower_cache: TowerCache | None = None
    # What would be true of premises that ended earlier, by their rows.
    prefixes: dict[int, Prefixes] | None = None

    def __init__(self, rows: Dataset, premises: list[Premise], processor: CLUEProcessor, cache: bool = False):
        self.rows = rows
        self.premises = premises
        self.processor = processor
        self.encoded = None
        if cache:
            self.encoded = self._encode_all()

    @classmethod
    def load(
        cls,
        dataset: str,
        configs: list[str],
        split: str,
        processor: CLUEProcessor,
        max_premises: int | None = None,
        cache: bool = False,
        seed: int = 0,
        teacher_answers: str = "vote",
        weights: list[float] | None = None,
        with_prefixes: bool = False,
    ) -> "PremiseDataset":
        """Loads and groups a split of several configs, of each a random choice of at most `max_premises`; with
        `weights`, one for each config, that many times, and of what is left over a random part; `with_prefixes` what
        would be true of them if they ended earlier."""
        parts, premises, prefixes, offset = [], [], {}, 0
        for config, weight in zip(configs, weights or [1.0] * len(configs), strict=True):
            rows = load_split(dataset, config, split)
            group = group_premises(rows, config, teacher_answers)
            if max_premises is not None and len(group) > max_premises:
                group = _draw(group, max_premises, seed)
            for premise in group:
                premise.row += offset
            if with_prefixes:
                known = group_prefixes(rows, config)
                prefixes |= {offset + first: known[first] for first in known}
            group = _repeat(group, weight, seed)
            parts.append(rows)
            premises.extend(group)
            offset += len(rows)
        if teacher_answers == "first" and not any("teacher" in premise.sources for premise in premises):
            raise ValueError(
                f"teacher_answers=first, but no row of {', '.join(configs)} ({split}) that is taken has a teacher's "
                "probability: name configs that `python -m datasets_scripts.teacher label` wrote, or leave it out."
            )
        if with_prefixes and not any(premise.row in prefixes for premise in premises):
            raise ValueError(
                f"prefix_share needs what is true of premises that end earlier, and no premise of {dataset}, "
                f"{', '.join(configs)} ({split}) has it in the column prefixes: build the urn world anew, or leave "
                "prefix_share out."
            )
        loaded = cls(concatenate_datasets(parts), premises, processor, cache=cache)
        loaded.prefixes = prefixes if with_prefixes else None
        return loaded

    @property
    def modalities(self) -> list[str]:
        """Returns the modality of each premise."""
        return [premise.modality for premise in self.premises]

    def lengths(self, max_hypotheses: int | None = None) -> list[int]:
        """Estimates each premise's row in tokens, or its clip in bytes, to compare within a modality."""
        lengths = []
        for index, premise in enumerate(self.premises):
            count = len(premise.hypotheses)
            share = 1.0 if max_hypotheses is None else min(1.0, max_hypotheses / count)
            hypotheses = share * sum(len(text) for text in premise.hypotheses) / CHARACTERS_PER_TOKEN
            if self.encoded is not None:
                lengths.append(round(self.encoded[index].num_tokens + hypotheses))
            elif premise.modality == "text":
                lengths.append(round(premise.size / CHARACTERS_PER_TOKEN + hypotheses))
            else:
                lengths.append(premise.size)
        return lengths

    def __len__(self) -> int:
        return len(self.premises)

    def __getitem__(self, index: int) -> PremiseItem:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[PremiseItem]:
        """Returns a batch for the loader; premises with clips come from the tower cache if all of them are there."""
        keys = {}
        if self.tower_cache is not None:
            keys = {index: self._cache_key(index) for index in indices if self.premises[index].modality != "text"}
        cached = self.tower_cache.load(list(keys.values())) if keys else {}
        items = []
        for index in indices:
            premise = self.premises[index]
            cache_key = None if cached else keys.get(index)
            if self.encoded is not None:
                encoded = self.encoded[index]
            elif cached and index in keys:
                encoded = cached[keys[index]]
            else:
                encoded = self._encode(premise)
            prefixes = None if self.prefixes is None else self.prefixes.get(premise.row)
            items.append(
                PremiseItem(premise.key, encoded, premise.hypotheses, premise.probabilities, prefixes, cache_key)
            )
        return items

    def _cache_key(self, index: int) -> str:
        row = self.rows[self.premises[index].row]
        try:
            return self.tower_cache.key(*(row[name] for name in PREMISE_COLUMNS if name != "premise"))
        except OSError as error:
            raise ValueError(f"Row '{row['id']}': {error}") from error

    def _encode_all(self) -> list[EncodedPremise]:
        """Encodes all premises, in as many processes as torch would use threads."""
        workers = torch.get_num_threads()
        loader = DataLoader(
            _Encoding(self),
            batch_size=ENCODED_AT_ONCE,
            num_workers=workers if workers > 1 and len(self) > ENCODED_AT_ONCE else 0,
            collate_fn=list,
            generator=torch.Generator(),  # the default one is training's
        )
        encoded = []
        with tqdm(total=len(self), desc="Encoding premises") as bar:
            for part in loader:
                for premise in part:
                    if isinstance(premise, ValueError):
                        raise premise
                # What comes from another process holds a file open until it is copied.
                encoded += copy.deepcopy(part) if loader.num_workers else part
                bar.update(len(part))
        return encoded

    def _encode(self, premise: Premise) -> EncodedPremise:
        row = self.rows[premise.row]
        try:
            # Labels are for whole texts: one that the model has no positions for is an error in training.
            return self.processor.encode_premise({name: row[name] for name in PREMISE_COLUMNS}, max_text_tokens=None)
        except ValueError as error:
            raise ValueError(f"Row '{row['id']}': {error}") from error


class _Encoding(TorchDataset):
    """Encodes the premises of a dataset, and returns errors, which another process would wrap."""

    def __init__(self, dataset: PremiseDataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> EncodedPremise | ValueError:
        try:
            return self.dataset._encode(self.dataset.premises[index])
        except ValueError as error:
            return error
