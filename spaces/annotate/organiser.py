"""What the organiser sees, and nobody else: how far everybody is, how far they agree, and the export."""

from collections import Counter

import krippendorff
import numpy as np
from assignment import Place
from export import judgement_lines, pilot_lines
from items import Item
from store import Judgement, Store


class Office:
    """
    The organiser's page.

    Args:
        store ([`Store`]): Where judgements are kept.
        items (`dict[str, Item]`): The items by their ids.
        places (`list[Place]`): Their order.
        per_item (`int`): How many judge each item outside the pilot set.
    """

    def __init__(self, store: Store, items: dict[str, Item], places: list[Place], per_item: int):
        self._store, self._items, self._places, self._per_item = store, items, places, per_item

    def page(self, organiser: str) -> dict:
        """
        The page as of now.

        Args:
            organiser (`str`): Who looks at it.

        Returns:
            `dict`: the page.
        """
        judgements, people = self._store.judgements(), self._store.progress()
        pilot = {place.item for place in self._places if place.pilot}
        times = Counter(judgement.item for judgement in judgements)
        present = sum(person["present"] for person in people)
        enough = sum(times[place.item] >= (present if place.pilot else self._per_item) for place in self._places)
        return {
            "page": "organiser",
            "user": organiser,
            "people": people,
            "items": len(self._places),
            "pilot": len(pilot),
            "per_item": self._per_item,
            "complete": enough,
            "judgements": len(judgements),
            "short": max(self._per_item - present, 0),
            "alpha": alpha(judgements),
            "pilot_alpha": alpha([judgement for judgement in judgements if judgement.item in pilot]),
        }

    def give_on(self, organiser: str, annotator: object) -> dict:
        """
        Gives what an annotator has left to others, and the page after that.

        Args:
            organiser (`str`): Who does it.
            annotator (`object`): The annotator, as the page sends it.

        Returns:
            `dict`: the page.
        """
        if isinstance(annotator, str):
            self._store.give_on(annotator)
        return self.page(organiser)

    def export(self, organiser: str) -> dict:
        """
        The page with the files of the export.

        Args:
            organiser (`str`): Who takes them.

        Returns:
            `dict`: the page, with `files`: names and texts.
        """
        judgements = self._store.judgements()
        files = {
            "judgements.jsonl": judgement_lines(judgements, self._items),
            "pilot.txt": pilot_lines(self._places, judgements),
        }
        return self.page(organiser) | {"files": files}


def alpha(judgements: list[Judgement]) -> dict:
    """
    Krippendorff's alpha for values on an interval scale, over the items that at least two have judged.

    Args:
        judgements (`list[Judgement]`): One for each item and annotator.

    Returns:
        `dict`: `items` (how many it is over) and `value`, or `None` where alpha is undefined, with the `reason`.
    """
    times = Counter(judgement.item for judgement in judgements)
    both = [judgement for judgement in judgements if times[judgement.item] > 1]
    items = {item: column for column, item in enumerate(sorted({judgement.item for judgement in both}))}
    people = {name: row for row, name in enumerate(sorted({judgement.annotator for judgement in both}))}
    if not items:
        return {"items": 0, "value": None, "reason": "no item has two judgements yet"}
    matrix = np.full((len(people), len(items)), np.nan)
    for judgement in both:
        matrix[people[judgement.annotator], items[judgement.item]] = judgement.probability / 100
    if np.nanmin(matrix) == np.nanmax(matrix):
        return {"items": len(items), "value": None, "reason": "all answers are the same"}
    value = krippendorff.alpha(reliability_data=matrix, level_of_measurement="interval")
    return {"items": len(items), "value": float(value), "reason": None}
