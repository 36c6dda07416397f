"""The database: confirmed is kept, whoever is killed; items are given on; many write at once."""

import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from assignment import QueuedItem
from store import Judgement, NotAssigned, Store


SPACE = Path(__file__).resolve().parents[3] / "spaces" / "annotate"
PLACES = [QueuedItem(f"item-{n}", n // 2, n < 2) for n in range(8)]


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make_store(tmp_path, annotators=("ada", "ben"), per_item=1, places=PLACES, clock=None) -> Store:
    """A store with a patience of 100 seconds."""
    digests = {place.item: place.item for place in places}
    file = tmp_path / "annotations.sqlite"
    return Store(file, list(places), digests, list(annotators), per_item, 100, clock or Clock())


def names(store: Store, annotator: str) -> set[str]:
    """The items of somebody."""
    return {task.item for task in store.tasks(annotator)}


def say(store: Store, annotator: str, item: str, probability: int = 50, note: str | None = None) -> None:
    """Opens and judges an item."""
    store.open(annotator, item)
    store.judge(Judgement(item, annotator, probability, ["video"], note))


def test_durability_is_what_it_says(tmp_path):
    """The journal is a write-ahead log, and every connection waits for the disk."""
    store = make_store(tmp_path)
    connection = store._connect()
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    connection.close()


@pytest.mark.processes
def test_a_kill_loses_nothing_that_was_confirmed(tmp_path):
    """A process that is killed while it writes leaves every judgement it had told of, and at most the next one."""
    make_store(tmp_path)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from store import *\n"
        "places = [QueuedItem(f'item-{n}', n // 2, n < 2) for n in range(8)]\n"
        "store = Store(Path(sys.argv[2]), places, {p.item: p.item for p in places}, ['ada', 'ben'], 1, 100)\n"
        "store.open('ada', 'item-0')\n"
        "for n in range(100_000):\n"
        "    store.judge(Judgement('item-0', 'ada', n % 101, [], str(n)))\n"
        "    print(n, flush=True)\n"
    )
    file = tmp_path / "annotations.sqlite"
    command = [sys.executable, "-c", code, str(SPACE), str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        told = [int(process.stdout.readline()) for _ in range(25)]
        process.send_signal(signal.SIGKILL)
        told += [int(line) for line in process.stdout if line.endswith("\n")]
    rows = [int(row[0]) for row in sqlite3.connect(file).execute("SELECT note FROM judgements ORDER BY number")]
    assert rows[: len(told)] == told and len(rows) <= len(told) + 1
    assert make_store(tmp_path).judgements()[0].note == str(rows[-1])


def test_many_write_at_once(tmp_path):
    """Twenty people in threads: everything is kept, and each item has its judges once."""
    people = [f"person-{n}" for n in range(20)]
    places = [QueuedItem(f"item-{n}", n, n < 3) for n in range(63)]
    store = make_store(tmp_path, people, per_item=2, places=places)

    def work(name: str) -> None:
        for task in store.tasks(name):
            store.check_in(name)
            say(store, name, task.item)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(work, people))
    given = [(judgement.item, judgement.annotator) for judgement in store.judgements()]
    assert len(given) == len(set(given)) == 3 * 20 + 60 * 2


def test_a_change_of_mind_keeps_what_was_said_before(tmp_path):
    """The last word counts; the first stays in the file."""
    store = make_store(tmp_path)
    say(store, "ada", "item-0", 10)
    say(store, "ada", "item-0", 90, "on second thought")
    assert [judgement.probability for judgement in store.judgements()] == [90]
    assert store.open("ada", "item-0").note == "on second thought"
    rows = sqlite3.connect(store.file).execute("SELECT probability FROM judgements ORDER BY number").fetchall()
    assert rows == [(10,), (90,)]


def test_nobody_judges_what_is_not_theirs(tmp_path):
    """Neither another's item, nor one that does not exist, nor one that never was opened."""
    store = make_store(tmp_path)
    others = min(names(store, "ben") - names(store, "ada"))
    for item in (others, "item-0'; DROP TABLE judgements; --"):
        with pytest.raises(NotAssigned):
            store.open("ada", item)
    for item in (others, "item-0"):
        with pytest.raises(NotAssigned):
            store.judge(Judgement(item, "ada", 50, [], None))
    assert store.judgements() == []


def test_text_is_only_ever_a_value(tmp_path):
    """What looks like SQL is kept as it is."""
    store = make_store(tmp_path)
    say(store, "ada", "item-0", note="'); DROP TABLE judgements; --")
    assert store.judgements()[0].note == "'); DROP TABLE judgements; --"


def test_what_is_abandoned_is_given_on_after_the_stated_time(tmp_path):
    """A second before, nothing moves; a second after, the other has all that was not judged; a return evens it out."""
    clock = Clock()
    store = make_store(tmp_path, clock=clock)
    say(store, "ben", "item-0")
    mine = names(store, "ada")
    clock.now = 100
    store.check_in("ada")
    assert names(store, "ada") == mine
    clock.now = 101
    store.check_in("ada")
    assert names(store, "ada") == {place.item for place in PLACES} and names(store, "ben") == {"item-0"}
    store.check_in("ben")
    assert {"item-0", "item-1"} <= names(store, "ben") and len(names(store, "ben")) >= 4


def test_the_organiser_gives_on_and_a_late_answer_is_not_counted_twice(tmp_path):
    """An answer from an open page counts as long as nobody else has begun the item."""
    store = make_store(tmp_path)
    mine = sorted(names(store, "ada") - {"item-0", "item-1"})
    for item in mine[:2]:
        store.open("ada", item)
    store.reassign("ada")
    assert names(store, "ada") == set() and set(mine) <= names(store, "ben")
    say(store, "ben", mine[0])
    store.judge(Judgement(mine[1], "ada", 70, [], None))
    assert mine[1] not in names(store, "ben")
    with pytest.raises(NotAssigned, match="somebody else"):
        store.judge(Judgement(mine[0], "ada", 70, [], None))


def test_an_open_item_stays_while_others_come(tmp_path):
    """Somebody who is added later takes nothing from anybody's screen."""
    store = make_store(tmp_path, ["ada"])
    store.open("ada", "item-7")
    later = make_store(tmp_path, ["ada", "ben", "cleo"])
    assert "item-7" in names(later, "ada")
    assert names(later, "ben") >= {"item-0", "item-1"} and len(names(later, "cleo")) >= 3


def test_who_is_taken_off_the_list_keeps_what_they_said(tmp_path):
    """Their judgements stay, the rest of theirs goes to the others."""
    store = make_store(tmp_path)
    item = max(names(store, "ben"))
    say(store, "ben", item)
    left = make_store(tmp_path, ["ada"])
    assert [judgement.annotator for judgement in left.judgements()] == ["ben"]
    assert names(left, "ada") == {place.item for place in PLACES} - {item}


NEW = [QueuedItem("new-0", 9, False), QueuedItem("new-1", 9, False), QueuedItem("new-2", 10, False)]


@pytest.mark.parametrize("begun", [0, 5])
@pytest.mark.parametrize("drawn", ["behind", "in front", "between", "about old premises", "in another order"])
def test_added_items_take_nothing_from_anybody(tmp_path, drawn, begun):
    """What was there stays where and whose it was, judged or not; what is new comes after it and is dealt as asked."""
    store = make_store(tmp_path)
    for task in store.tasks("ada")[:begun]:
        say(store, "ada", task.item, 10)
    before, said, was = store.queue, store.judgements(), {name: store.tasks(name) for name in ("ada", "ben")}
    places = {
        "behind": [*PLACES, *NEW],
        "in front": [*NEW, *PLACES],
        "between": [*PLACES[:4], *NEW, *PLACES[4:]],
        "about old premises": [
            *PLACES,
            QueuedItem("new-0", 0, False),
            QueuedItem("new-1", 1, False),
            QueuedItem("new-2", 3, False),
        ],
        "in another order": [QueuedItem(one.item, 9 - one.chunk, False) for one in reversed([*PLACES, *NEW])],
    }[drawn]
    # As they are drawn: the first two are for everybody.
    grown = make_store(tmp_path, places=[QueuedItem(one.item, one.chunk, n < 2) for n, one in enumerate(places)])
    assert grown.queue[:8] == before == PLACES and grown.judgements() == said
    assert {place.item for place in grown.queue[8:]} == {"new-0", "new-1", "new-2"}
    for name, tasks in was.items():
        assert grown.tasks(name)[: len(tasks)] == tasks
    dealt = [task.item for name in was for task in grown.tasks(name) if task.item.startswith("new")]
    assert sorted(dealt) == ["new-0", "new-1", "new-2"]
    chunks = {place.item: place.chunk for place in grown.queue}
    if drawn == "about old premises":
        assert [chunks[f"new-{n}"] for n in range(3)] == [0, 1, 3]
    else:
        assert len({chunks["new-0"], chunks["new-2"]} | set(range(4))) == 6 and chunks["new-0"] == chunks["new-1"]
    assert make_store(tmp_path, places=grown.queue).queue == grown.queue


def test_items_are_added_again_and_again(tmp_path):
    """Also while people come, and where the pilot set had not been full: what is new fills it."""
    make_store(tmp_path, ["ada"], places=[QueuedItem("item-0", 0, True)])
    say(make_store(tmp_path, ["ada", "ben"], places=PLACES[:3]), "ben", "item-0")
    store = make_store(tmp_path, ["ada", "ben", "cleo"], per_item=2)
    assert [place.pilot for place in store.queue] == [True] * 2 + [False] * 6
    judges = [sum(place.item in names(store, name) for name in ("ada", "ben", "cleo")) for place in PLACES]
    assert judges == [3, 3] + [2] * 6


@pytest.mark.parametrize(
    ("places", "changed", "told"),
    [
        (PLACES[:-1], "", r"item-7 \(1 of 8\) is gone"),
        ([*PLACES[:6], *NEW], "", r"item-6, item-7 \(2 of 8\) are gone"),
        (NEW, "", r"item-0, item-1, item-2 \.\.\. \(8 of 8\) are gone"),
        (PLACES, "item-3", r"item-3 \(1 of 8\) is changed"),
        ([*PLACES, *NEW], "item-0", r"item-0 \(1 of 8\) is changed"),
        (
            [QueuedItem(one.item, one.chunk, n < 3) for n, one in enumerate(PLACES)],
            "",
            "another pilot set, of 2 items",
        ),
        ([QueuedItem(one.item, one.chunk, False) for one in PLACES], "", "another pilot set, of 2 items"),
    ],
)
def test_items_that_are_gone_or_changed_are_refused(tmp_path, places, changed, told):
    """A database is never joined with items that it is not about; they are named, and nothing in it has changed."""
    say(make_store(tmp_path), "ada", "item-0")
    digests = {place.item: "other" if place.item == changed else place.item for place in places}
    with pytest.raises(ValueError, match=told):
        Store(tmp_path / "annotations.sqlite", list(places), digests, ["ada", "ben"], 1, 100, Clock())
    assert make_store(tmp_path).queue == PLACES and len(make_store(tmp_path).judgements()) == 1


def test_a_longer_digest_takes_the_place_of_a_shorter(tmp_path):
    """A database whose digests told less goes on, and from then on tells more."""

    def begin(end: str) -> Store:
        digests = {place.item: place.item + end for place in PLACES}
        return Store(tmp_path / "annotations.sqlite", PLACES, digests, ["ada"], 1, 100, Clock())

    for end in ("", "-a", "-a"):
        begin(end)
    with pytest.raises(ValueError, match="changed"):
        begin("-b")


def test_what_could_not_be_played_is_kept_for_the_organiser(tmp_path):
    """Of a whole chunk and of one person, over a restart, until they open it again."""
    store = make_store(tmp_path, per_item=2)
    store.report_unplayed("ada", "item-3", "broken")
    store.report_unplayed("ada", "item-2", "sound")
    store = make_store(tmp_path, per_item=2)
    assert store.unplayed() == [{"annotator": "ada", "why": "sound", "item": "item-2"}]
    assert [task.item for task in store.tasks("ada") if task.unplayed] == ["item-2", "item-3"]
    assert not any(task.unplayed for task in store.tasks("ben"))
    store.open("ada", "item-3")
    assert store.unplayed() == [] and not any(task.unplayed for task in store.tasks("ada"))


def test_a_snapshot_is_whole_while_others_write(tmp_path):
    """The copy opens by itself and holds what had been confirmed."""
    store = make_store(tmp_path)
    say(store, "ada", "item-0", 33)
    store.snapshot(tmp_path / "copy.sqlite")
    copy = sqlite3.connect(tmp_path / "copy.sqlite")
    assert copy.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert copy.execute("SELECT probability FROM latest").fetchall() == [(33,)]
