"""Leaves out the rows about premises that a model is to be tested on."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from common.errors import InputError
from datasets_scripts.building.drafts import Draft, Problem
from datasets_scripts.load import load_split


def premise_digest(text: str) -> str:
    """
    Returns the SHA-256 of a premise's letters a to z and digits, decomposed (NFKD) and in lower case.

    Spelling, blanks and punctuation differ between collections that took one sentence from the same place.
    """
    letters = re.sub(r"[^a-z0-9]", "", unicodedata.normalize("NFKD", text).casefold())
    return hashlib.sha256(letters.encode()).hexdigest()


def read_left_out(places: list[str], dataset: Path) -> frozenset[str]:
    """
    Returns the digests of the premises of some places: a file with a digest a line, or `CONFIG/SPLIT` of a dataset.

    An `InputError` says that there is neither, or that a line is no digest.
    """
    digests = set()
    for place in places:
        config, _, split = place.partition("/")
        if Path(place).is_file():
            digests.update(_read_digests(Path(place)))
        elif (dataset / config / split).is_dir() and split:
            digests.update(map(premise_digest, filter(None, load_split(str(dataset), config, split)["premise"])))
        else:
            raise InputError(
                f"--leave-out {place} is neither a file of digests nor a split of {dataset}, as CONFIG/SPLIT"
            )
    return frozenset(digests)


class LeftOut:
    """Filters drafts by the digests of their premises, and counts what it leaves out."""

    def __init__(self, digests: frozenset[str]):
        self.digests = digests
        self.count = 0

    def filter(self, drafts: Iterable[Draft | Problem]) -> Iterator[Draft | Problem]:
        """Yields the drafts and problems that are to stay."""
        for draft in drafts:
            text = draft.row["premise"] if isinstance(draft, Draft) else None
            if text and premise_digest(text) in self.digests:
                self.count += 1
            else:
                yield draft

    def filter_split(self, drafts):
        """Filters a split as [`~datasets_scripts.building.writer.write_config`] takes it."""
        if not self.digests:
            return drafts
        return (lambda folder: self.filter(drafts(folder))) if callable(drafts) else self.filter(drafts)


def _read_digests(file: Path) -> list[str]:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        if not re.fullmatch("[0-9a-f]{64}", line):
            raise InputError(f"{file}, line {number} is no SHA-256 of 64 digits: {line[:80]!r}")
    return lines
