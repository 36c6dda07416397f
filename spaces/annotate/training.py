"""
Items to learn the scale on: each is answered, and then explained.

They are ours: two short texts and a drawn clip with sound, which `training/draw_clip.py` makes.
"""

import json
from dataclasses import dataclass
from pathlib import Path


FOLDER = Path(__file__).resolve().parent / "training"


@dataclass(frozen=True)
class Example:
    """
    A training item.

    Args:
        modality (`str`): As of an item.
        premise (`str`): The text, or the path of the clip.
        claim (`str`): The claim.
        context (`str`, *optional*): The background story.
        low (`int`), high (`int`): Between which per cents the answer should lie.
        evidence (`list[str]`): What should have informed it.
        why (`str`): The explanation.
    """

    modality: str
    premise: str
    claim: str
    context: str | None
    low: int
    high: int
    evidence: list[str]
    why: str


def load_examples() -> list[Example]:
    """
    The training items, in their order.

    Returns:
        `list[Example]`: the items.
    """
    records = json.loads((FOLDER / "items.json").read_text(encoding="utf-8"))
    return [
        Example(**record | {"premise": record["premise"] if record["modality"] == "text" else _clip(record)})
        for record in records
    ]


def _clip(record: dict) -> str:
    return str(FOLDER / record["premise"])


def feedback(example: Example, probability: int, evidence: list[str]) -> dict:
    """
    What is said to an answer.

    Args:
        example ([`Example`]): The training item.
        probability (`int`): The answer, per cent.
        evidence (`list[str]`): What informed it.

    Returns:
        `dict`: `fits` (whether the number does), `same_evidence`, and the example's `low`, `high`, `evidence`, `why`.
    """
    return {
        "fits": example.low <= probability <= example.high,
        "same_evidence": set(evidence) == set(example.evidence),
        "low": example.low,
        "high": example.high,
        "evidence": example.evidence,
        "why": example.why,
    }
