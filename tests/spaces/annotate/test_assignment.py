"""Who judges what: everybody the pilot set, so many each other item, nobody an item twice, whoever comes and goes."""

import random
from collections import Counter

import pytest
from assignment import QueuedItem, assign


def places_of(sizes: list[int], pilot: int) -> list[QueuedItem]:
    """Items in chunks of these sizes, the first `pilot` for everybody."""
    chunks = [chunk for chunk, size in enumerate(sizes) for _ in range(size)]
    return [QueuedItem(f"item-{n}", chunk, n < pilot) for n, chunk in enumerate(chunks)]


@pytest.mark.parametrize("seed", range(60))
def test_each_item_gets_its_judges_once_whoever_comes_and_goes(seed):
    """Over random comings, goings and judgements: what is planned is exact after each, and ends complete."""
    rng = random.Random(seed)
    places = places_of([rng.randint(1, 5) for _ in range(rng.randint(1, 12))], rng.randint(0, 6))
    per_item, crowd = rng.randint(1, 3), [f"person-{n}" for n in range(rng.randint(1, 6))]
    present, judged = set(rng.sample(crowd, rng.randint(1, len(crowd)))), set()
    for _ in range(12):
        added = assign(places, present, per_item, judged)
        assert not added & judged, "nobody judges an item twice"
        assert {name for _, name in added} <= present, "who is not there gets nothing"
        for place in places:
            holders = [name for item, name in added | judged if item == place.item]
            before = {name for item, name in judged if item == place.item}
            if place.pilot:
                assert set(holders) == before | present
            else:
                assert len(holders) == max(len(before), min(per_item, len(before | present)))
        judged |= set(rng.sample(sorted(added), rng.randint(0, len(added))))
        present = set(rng.sample(crowd, rng.randint(1, len(crowd))))


@pytest.mark.parametrize("seed", range(30))
def test_shares_differ_by_a_chunk_at_most(seed):
    """Of people who are there from the start, nobody gets more than one chunk above another."""
    rng = random.Random(seed)
    sizes = [rng.randint(1, 8) for _ in range(rng.randint(3, 40))]
    crowd = [f"person-{n}" for n in range(rng.randint(2, 7))]
    load = Counter(dict.fromkeys(crowd, 0))
    load.update(name for _, name in assign(places_of(sizes, 0), crowd, rng.randint(1, len(crowd)), set()))
    assert max(load.values()) - min(load.values()) <= max(sizes)


def test_who_comes_late_catches_up():
    """Nothing judged is taken away, and what is left is dealt so that the totals are even."""
    places = places_of([1] * 60, 0)
    first = assign(places, ["ada", "ben"], 1, set())
    judged = {pair for pair in first if int(pair[0][5:]) < 20}
    load = Counter(name for _, name in judged | assign(places, ["ada", "ben", "cleo"], 1, judged))
    assert sum(load.values()) == 60 and set(load.values()) == {20}


def test_claims_about_one_premise_stay_with_who_began():
    """Who has judged one claim of a chunk gets its others, even with more to do than somebody else."""
    places = places_of([3, 1], 0)
    judged = {("item-0", "ada"), ("item-3", "ada")}
    assert assign(places, ["ada", "ben"], 1, judged) == {("item-1", "ada"), ("item-2", "ada")}


def test_the_same_question_has_the_same_answer():
    """Neither the order of names nor that of what is kept matters."""
    places = places_of([2, 3, 1, 4], 2)
    one = assign(places, ["ada", "ben", "cleo"], 2, {("item-3", "ada")})
    assert one == assign(places, ["cleo", "ben", "ada"], 2, {("item-3", "ada")})


def test_everybody_works_beside_everybody():
    """With two judges an item, all pairs of people occur: agreement is not that of fixed couples."""
    pairs = assign(places_of([1] * 60, 0), ["a", "b", "c", "d"], 2, set())
    couples = {frozenset(name for item, name in pairs if item == f"item-{n}") for n in range(60)}
    assert len(couples) == 6
