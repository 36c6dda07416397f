"""
Decides who judges what: a pilot set goes to everybody, the rest is divided so that each item has so many judges.

Claims about one premise that stand together are a chunk: they go to the same people, who watch the clip once.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class QueuedItem:
    """Names an item in the order of judging, its chunk, and whether it is in the pilot set."""

    item: str
    chunk: int
    pilot: bool


def assign(
    queue: Iterable[QueuedItem], annotators: Iterable[str], per_item: int, kept: set[tuple[str, str]]
) -> set[tuple[str, str]]:
    """
    Divides what is left among those who are present; the same question has the same answer.

    Each chunk goes to those who have begun it, then to those with the fewest items so far, so that the shares of
    people who were there from the start differ by one chunk at most, and who comes late catches up while there is
    anything left. Ties are broken by a hash of chunk and name: everybody gets to work beside everybody.

    Args:
        queue (`Iterable[QueuedItem]`): All items, in their order.
        annotators (`Iterable[str]`): Those who are present.
        per_item (`int`): How many judge each item outside the pilot set.
        kept (`set[tuple[str, str]]`): `(item, annotator)` that stay as they are: judged, or on somebody's screen.
            They may be of people who are not present any more.

    Returns:
        `set[tuple[str, str]]`: the pairs to add to `kept`. With fewer than `per_item` annotators, an item waits for
        the others.
    """
    people, added = sorted(set(annotators)), set()
    judges: dict[str, set[str]] = {}
    for item, annotator in kept:
        judges.setdefault(item, set()).add(annotator)
    load, begun = Counter(), {}
    groups: dict[tuple[int, frozenset[str]], list[str]] = {}
    for queued in queue:
        held = frozenset(judges.get(queued.item, ()))
        if queued.pilot:
            added |= {(queued.item, name) for name in people if name not in held}
            continue
        load.update(held)
        begun.setdefault(queued.chunk, set()).update(held)
        groups.setdefault((queued.chunk, held), []).append(queued.item)
    for (chunk, held), items in groups.items():
        free = sorted(
            (name for name in people if name not in held),
            key=lambda name: (name not in begun[chunk], load[name], _hash(chunk, name)),
        )
        for name in free[: max(per_item - len(held), 0)]:
            added |= {(item, name) for item in items}
            load[name] += len(items)
    return added


def _hash(chunk: int, name: str) -> bytes:
    return hashlib.sha256(f"{chunk} {name}".encode()).digest()
