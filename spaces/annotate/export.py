"""
Writes what was judged as files.


`judgements.jsonl` has a line for each judgement: annotator, item, probability (per cent), evidence, note, claim, video
and topic, as `python -m datasets_scripts.annotations` reads them; `pilot.txt` names the items that everybody judged,
for its `--items`.
"""

import json
from collections.abc import Iterable

from assignment import Place
from items import Item
from store import Judgement


def judgement_lines(judgements: Iterable[Judgement], items: dict[str, Item]) -> str:
    """
    The judgements as JSON lines.

    Args:
        judgements (`Iterable[Judgement]`): As [`Store.judgements`] gives them.
        items (`dict[str, Item]`): The items by their ids.

    Returns:
        `str`: the text of `judgements.jsonl`.
    """
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


def pilot_lines(places: Iterable[Place], judgements: Iterable[Judgement]) -> str:
    """
    The items of the pilot set that somebody has judged, one a line.

    Args:
        places (`Iterable[Place]`): All items.
        judgements (`Iterable[Judgement]`): As [`Store.judgements`] gives them.

    Returns:
        `str`: the text of `pilot.txt`.
    """
    judged = {judgement.item for judgement in judgements}
    return "".join(place.item + "\n" for place in places if place.pilot and place.item in judged)
