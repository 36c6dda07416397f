"""Makes the organiser's page, which nobody else sees: progress, agreement, what did not play, the export."""

import json
from collections import Counter
from collections.abc import Iterable

import krippendorff
import numpy as np
from annotator_pages import FAILURES
from assignment import QueuedItem
from items import Item
from store import Judgement, Store


class Dashboard:
    """
    Makes the organiser's page.

    Args:
        store ([`Store`]): Where judgements are kept.
        items (`dict[str, Item]`): The items by their ids.
        queue (`list[QueuedItem]`): Their order.
        per_item (`int`): How many judge each item outside the pilot set.
        warning (`str`, *optional*): What was found wrong with the clips at the start.
    """

    def __init__(
        self, store: Store, items: dict[str, Item], queue: list[QueuedItem], per_item: int, warning: str | None = None
    ):
        self._store, self._items, self._queue, self._per_item = store, items, queue, per_item
        self._warning = warning

    def page(self, organiser: str) -> dict:
        """Returns the page as of now."""
        judgements, people = self._store.judgements(), self._store.progress()
        pilot = {queued.item for queued in self._queue if queued.pilot}
        present = {person["annotator"] for person in people if person["present"]}
        judges: dict[str, set[str]] = {}
        for judgement in judgements:
            judges.setdefault(judgement.item, set()).add(judgement.annotator)
        complete = short = 0
        for queued in self._queue:
            judged = judges.get(queued.item, set())
            # All who are present judge the pilot set; what others said counts for the other items alone.
            wanted = max(len(present - judged), not judged) if queued.pilot else self._per_item - len(judged)
            complete += wanted <= 0
            if not queued.pilot:
                short = max(short, wanted - len(present - judged))
        return {
            "page": "organiser",
            "user": organiser,
            "people": people,
            "items": len(self._queue),
            "pilot": len(pilot),
            "per_item": self._per_item,
            "complete": complete,
            "judgements": len(judgements),
            "short": short,
            "warning": self._warning,
            "unplayed": [
                f"{self._items[one['item']].name} {FAILURES[one['why']]} for {one['annotator']}"
                for one in self._store.unplayed()
            ],
            "alpha": alpha(judgements),
            "pilot_alpha": alpha([judgement for judgement in judgements if judgement.item in pilot]),
        }

    def reassign(self, organiser: str, annotator: object) -> dict:
        """Gives what an annotator has left to others, and returns the page after that."""
        if isinstance(annotator, str):
            self._store.reassign(annotator)
        return self.page(organiser)

    def export(self, organiser: str) -> dict:
        """Returns the page with `files`: `judgements.jsonl`, and `pilot.txt` with the items of the pilot set."""
        judgements = self._store.judgements()
        files = {
            "judgements.jsonl": judgement_lines(judgements, self._items),
            "pilot.txt": pilot_lines(self._queue, judgements),
        }
        return self.page(organiser) | {"files": files}


def judgement_lines(judgements: Iterable[Judgement], items: dict[str, Item]) -> str:
    """Returns judgements as the JSON lines that `python -m datasets_scripts.annotations` reads."""
    lines = []
    for judgement in judgements:
        item = items[judgement.item]
        record = {
            "annotator": judgement.annotator,
            "item": judgement.item,
            "probability": judgement.probability,
            "evidence": judgement.evidence,
            "note": judgement.note,
            "claim": item.claim,
            "video": item.video,
            "topic": item.topic,
        }
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    return "".join(lines)


def pilot_lines(queue: Iterable[QueuedItem], judgements: Iterable[Judgement]) -> str:
    """Returns the items of the pilot set that somebody has judged, one a line."""
    judged = {judgement.item for judgement in judgements}
    return "".join(queued.item + "\n" for queued in queue if queued.pilot and queued.item in judged)


def alpha(judgements: list[Judgement]) -> dict:
    """
    Computes Krippendorff's alpha for an interval scale, over the items that at least two have judged.

    Returns:
        `dict`: `items` (how many it is over) and `value`, or `None` where alpha is undefined, with the `reason`.
    """
    times = Counter(judgement.item for judgement in judgements)
    both = [judgement for judgement in judgements if times[judgement.item] > 1]
    if not both:
        return {"items": 0, "value": None, "reason": "no item has two judgements yet"}
    items, columns = np.unique([judgement.item for judgement in both], return_inverse=True)
    people, rows = np.unique([judgement.annotator for judgement in both], return_inverse=True)
    matrix = np.full((len(people), len(items)), np.nan)
    matrix[rows, columns] = [judgement.probability / 100 for judgement in both]
    if np.nanmin(matrix) == np.nanmax(matrix):
        return {"items": len(items), "value": None, "reason": "all answers are the same"}
    value = krippendorff.alpha(reliability_data=matrix, level_of_measurement="interval")
    return {"items": len(items), "value": float(value), "reason": None}
