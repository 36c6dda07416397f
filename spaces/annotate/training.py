"""
Reads the items to learn the scale on: each is answered, and then explained.

They are ours: two short texts and a drawn clip with sound, which `training/draw_clip.py` makes.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from items import Part


FOLDER = Path(__file__).resolve().parent / "training"


@dataclass(frozen=True)
class Example:
    """Holds a training item, whose answer should lie from `low` to `high` per cent by `evidence`, and `why`."""

    modality: str
    premise: str
    claim: str
    context: str | None
    low: int
    high: int
    evidence: list[str]
    why: str

    @property
    def parts(self) -> tuple[Part, ...]:
        """Returns what is shown: one part."""
        return (Part(self.modality, self.premise),)


def load_examples() -> list[Example]:
    """Reads the training items, in their order; the premise of a clip is its path."""
    records = json.loads((FOLDER / "items.json").read_text(encoding="utf-8"))
    for record in records:
        if record["modality"] != "text":
            record["premise"] = str(FOLDER / record["premise"])
    return [Example(**record) for record in records]


def feedback(example: Example, probability: int, evidence: list[str]) -> dict:
    """Tells whether the number of an answer fits and its evidence is ours, and what we would say and why."""
    return {
        "fits": example.low <= probability <= example.high,
        "same_evidence": set(evidence) == set(example.evidence),
        "low": example.low,
        "high": example.high,
        "evidence": example.evidence,
        "why": example.why,
    }
