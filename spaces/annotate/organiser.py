"""What the organiser sees, and nobody else: how far all are, how far they agree, what did not play, the export."""

from collections import Counter

import krippendorff
import numpy as np
from assignment import Place
from desk import FAILURES
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
        warning (`str`, *optional*): What was found wrong with the clips at the start.
    """

    def __init__(
        self, store: Store, items: dict[str, Item], places: list[Place], per_item: int, warning: str | None = None
    ):
        self._store, self._items, self._places, self._per_item = store, items, places, per_item
        self._warning = warning

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
        present = {person["annotator"] for person in people if person["present"]}
        judges: dict[str, set[str]] = {}
        for judgement in judgements:
            judges.setdefault(judgement.item, set()).add(judgement.annotator)
        complete = short = 0
        for place in self._places:
            judged = judges.get(place.item, set())
            # Those who are there judge the pilot set, all of them; what others said counts for the other items alone.
            wanted = max(len(present - judged), not judged) if place.pilot else self._per_item - len(judged)
            complete += wanted <= 0
            if not place.pilot:
                short = max(short, wanted - len(present - judged))
        return {
            "page": "organiser",
            "user": organiser,
            "people": people,
            "items": len(self._places),
            "pilot": len(pilot),
            "per_item": self._per_item,
            "complete": complete,
            "judgements": len(judgements),
            "short": short,
            "warning": self._warning,
            "unplayed": [
                f"{self._items[one['item']].video} {FAILURES[one['why']]} for {one['annotator']}"
                for one in self._store.unplayed()
            ],
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
