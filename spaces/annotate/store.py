"""
Keeps everything that must not be lost in one SQLite file.

A change is on disk before the call that made it returns (write-ahead log, `synchronous=FULL`): a process that is
killed loses nothing it has confirmed. Judgements are only ever added: what somebody said before stays readable.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from assignment import QueuedItem, assign


SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    item TEXT PRIMARY KEY, position INTEGER NOT NULL, chunk INTEGER NOT NULL, pilot INTEGER NOT NULL,
    digest TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS annotators (
    annotator TEXT PRIMARY KEY, present INTEGER NOT NULL DEFAULT 1, seen REAL NOT NULL,
    instructed INTEGER NOT NULL DEFAULT 0, trained INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS assignments (
    item TEXT NOT NULL REFERENCES items, annotator TEXT NOT NULL REFERENCES annotators,
    opened INTEGER NOT NULL DEFAULT 0, released INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (item, annotator)
) STRICT;
CREATE TABLE IF NOT EXISTS judgements (
    number INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT NOT NULL REFERENCES items,
    annotator TEXT NOT NULL REFERENCES annotators,
    probability INTEGER NOT NULL CHECK (probability BETWEEN 0 AND 100),
    evidence TEXT NOT NULL, note TEXT, judged REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS unplayed (
    chunk INTEGER NOT NULL, annotator TEXT NOT NULL REFERENCES annotators, why TEXT NOT NULL,
    PRIMARY KEY (chunk, annotator)
) STRICT;
CREATE INDEX IF NOT EXISTS judgements_of ON judgements (item, annotator, number);
CREATE VIEW IF NOT EXISTS latest AS
    SELECT * FROM judgements WHERE number IN (SELECT MAX(number) FROM judgements GROUP BY item, annotator);
"""


# Of an assignment `a`: its annotator has judged its item.
JUDGED = "EXISTS (SELECT 1 FROM judgements j WHERE j.item = a.item AND j.annotator = a.annotator)"


class NotAssigned(ValueError):
    """Tells an annotator that an item is not theirs to judge."""


@dataclass(frozen=True)
class Task:
    """Tells of an item in an annotator's list if they judged it, and if its clip did not play for them."""

    item: str
    chunk: int
    pilot: bool
    judged: bool
    unplayed: bool


@dataclass(frozen=True)
class Judgement:
    """Holds what somebody said of an item: per cent, the senses that informed it (perhaps none), a note."""

    item: str
    annotator: str
    probability: int
    evidence: list[str]
    note: str | None


class Store:
    """
    Reads and changes the database, from any number of threads.

    Args:
        file (`Path`): The database; made if it isn't there.
        queue (`list[QueuedItem]`): The items in their order, the pilot set first. Those that the database has stay
            where they are there, and new ones follow.
        digests (`dict[str, str]`): What tells whether an item is still the same.
        annotators (`list[str]`): Who may annotate.
        per_item (`int`): How many judge each item outside the pilot set.
        patience (`float`): Seconds after which the items of somebody who stays away are given to others.
        clock (`Callable[[], float]`, *optional*): What time it is, in seconds.

    Raises:
        `ValueError`: if the database has items that are gone or have changed, or another pilot set.
    """

    def __init__(
        self,
        file: Path,
        queue: list[QueuedItem],
        digests: dict[str, str],
        annotators: list[str],
        per_item: int,
        patience: float,
        clock: Callable[[], float] = time.time,
    ):
        self.file, self._per_item, self._patience, self._clock = file, per_item, patience, clock
        file.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._connect()) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(SCHEMA)
        with self._change() as connection:
            old = connection.execute("SELECT * FROM items ORDER BY position").fetchall()
            _check_kept(file, old, digests)
            self.queue = _extend(old, queue)
            if any(queued.pilot != row["pilot"] for queued, row in zip(self.queue, old, strict=False)):
                raise ValueError(
                    f"{file} was begun with another pilot set, of {sum(row['pilot'] for row in old)} items: set "
                    "ANNOTATE_PILOT as it was, or begin with an empty folder"
                )
            new = list(enumerate(self.queue))[len(old) :]
            connection.executemany(
                "INSERT INTO items VALUES (?, ?, ?, ?, ?)",
                [(one.item, position, one.chunk, int(one.pilot), digests[one.item]) for position, one in new],
            )
            connection.executemany("UPDATE items SET digest = ? WHERE item = ?", [(digests[i], i) for i in digests])
            before, now = _present(connection), self._clock()
            connection.executemany(
                "INSERT OR IGNORE INTO annotators (annotator, seen) VALUES (?, ?)",
                [(name, now) for name in annotators],
            )
            # Who has been taken off the list doesn't come back; what they said stays.
            for name in set(_present(connection)).difference(annotators):
                self._release(connection, name)
            # What is added takes nothing from anybody.
            self._assign(connection, anew=not (old and new) or _present(connection) != before)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.file, timeout=30, isolation_level=None)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        return connection

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """Makes one change, on disk as a whole when the block ends, or not at all."""
        with closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _read(self, query: str, *values: object) -> list[sqlite3.Row]:
        with closing(self._connect()) as connection:
            return connection.execute(query, values).fetchall()

    def _release(self, connection: sqlite3.Connection, annotator: str) -> None:
        """Takes from somebody what they have not judged."""
        connection.execute("UPDATE annotators SET present = 0 WHERE annotator = ?", (annotator,))
        connection.execute(
            f"UPDATE assignments AS a SET released = 1 WHERE annotator = ? AND NOT {JUDGED}", (annotator,)
        )

    def _assign(self, connection: sqlite3.Connection, anew: bool = True) -> None:
        """Assigns what has too few judges, and anew what nobody has begun."""
        if anew:
            connection.execute(f"DELETE FROM assignments AS a WHERE NOT opened AND NOT {JUDGED}")
        kept = {tuple(row) for row in connection.execute("SELECT item, annotator FROM assignments WHERE NOT released")}
        added = assign(self.queue, _present(connection), self._per_item, kept)
        connection.executemany(
            "INSERT INTO assignments (item, annotator) VALUES (?, ?) "
            "ON CONFLICT (item, annotator) DO UPDATE SET released = 0",
            sorted(added),
        )

    def check_in(self, annotator: str) -> None:
        """Notes that somebody is there, and gives to others what those left who have stayed away too long."""
        now = self._clock()
        with self._change() as connection:
            connection.execute("UPDATE annotators SET seen = ? WHERE annotator = ?", (now, annotator))
            back = connection.execute(
                "UPDATE annotators SET present = 1 WHERE annotator = ? AND NOT present", (annotator,)
            ).rowcount
            away = connection.execute(
                "SELECT annotator FROM annotators WHERE present AND seen < ? AND EXISTS (SELECT 1 FROM assignments a "
                f"WHERE a.annotator = annotators.annotator AND NOT a.released AND NOT {JUDGED})",
                (now - self._patience,),
            ).fetchall()
            for row in away:
                self._release(connection, row["annotator"])
            if back or away:
                self._assign(connection)

    def reassign(self, annotator: str) -> None:
        """Gives what somebody has not judged to others, until they come back."""
        with self._change() as connection:
            self._release(connection, annotator)
            self._assign(connection)

    def tasks(self, annotator: str) -> list[Task]:
        """Returns the items of one annotator, in the order in which they are judged."""
        rows = self._read(
            f"SELECT i.item, i.chunk, i.pilot, {JUDGED} AS judged, EXISTS (SELECT 1 FROM unplayed u "
            "WHERE u.chunk = i.chunk AND u.annotator = a.annotator) AS unplayed FROM assignments a JOIN items i "
            "USING (item) WHERE a.annotator = ? AND NOT a.released ORDER BY i.position",
            annotator,
        )
        return [Task(row["item"], row["chunk"], *map(bool, row[2:])) for row in rows]

    def open(self, annotator: str, item: str) -> Judgement | None:
        """
        Notes that somebody has an item before them: it stays theirs while others come and go, and its clip is tried
        anew. Returns what they said of it before; raises [`NotAssigned`] if it is not theirs.
        """
        with self._change() as connection:
            opened = connection.execute(
                "UPDATE assignments SET opened = 1 WHERE item = ? AND annotator = ? AND NOT released",
                (item, annotator),
            ).rowcount
            if not opened:
                raise NotAssigned("This claim is not in your list.")
            connection.execute(
                "DELETE FROM unplayed WHERE annotator = ? AND chunk = (SELECT chunk FROM items WHERE item = ?)",
                (annotator, item),
            )
            row = connection.execute(
                "SELECT * FROM latest WHERE item = ? AND annotator = ?", (item, annotator)
            ).fetchone()
        return row and _judgement(row)

    def report_unplayed(self, annotator: str, item: str, why: str) -> None:
        """Notes why the clip of an item, and so of its whole chunk, could not be played for somebody."""
        with self._change() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO unplayed SELECT chunk, ?, ? FROM items WHERE item = ?", (annotator, why, item)
            )

    def unplayed(self) -> list[dict]:
        """Returns `annotator`, `why` and the first `item` of each clip that could not be played."""
        rows = self._read(
            "SELECT annotator, why, item, MIN(position) FROM unplayed JOIN items USING (chunk) "
            "GROUP BY chunk, annotator ORDER BY MIN(position), annotator"
        )
        return [{name: row[name] for name in ("annotator", "why", "item")} for row in rows]

    def judge(self, judgement: Judgement) -> None:
        """
        Keeps a judgement; when this returns it is on disk.

        Raises:
            [`NotAssigned`]: if the item is not this annotator's, or has been given on and needs no more judges.
        """
        with self._change() as connection:
            pair = judgement.item, judgement.annotator
            query = "SELECT released FROM assignments WHERE item = ? AND annotator = ? AND opened"
            mine = connection.execute(query, pair).fetchone()
            if mine is None:
                raise NotAssigned("This claim is not in your list.")
            if mine["released"]:
                self._take_back(connection, *pair)
            connection.execute(
                "INSERT INTO judgements (item, annotator, probability, evidence, note, judged) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (*pair, judgement.probability, json.dumps(judgement.evidence), judgement.note, self._clock()),
            )

    def _take_back(self, connection: sqlite3.Connection, item: str, annotator: str) -> None:
        """Takes an answer that comes late, as long as the item has a judge too few who has begun."""
        pilot = connection.execute("SELECT pilot FROM items WHERE item = ?", (item,)).fetchone()["pilot"]
        begun = connection.execute(
            "SELECT COUNT(*) FROM assignments WHERE item = ? AND opened AND NOT released", (item,)
        ).fetchone()[0]
        if not pilot and begun >= self._per_item:
            raise NotAssigned(
                "While you were away this claim was given to somebody else, so it needs no more answers."
            )
        connection.execute("UPDATE assignments SET released = 0 WHERE item = ? AND annotator = ?", (item, annotator))
        self._assign(connection)

    def stages(self, annotator: str) -> tuple[bool, int]:
        """Returns whether somebody has read the instructions, and how many training items they have done."""
        row = self._read("SELECT instructed, trained FROM annotators WHERE annotator = ?", annotator)[0]
        return bool(row["instructed"]), row["trained"]

    def pass_stage(self, annotator: str, trained: int) -> None:
        """Notes that somebody has read the instructions and done so many training items; it is never taken back."""
        with self._change() as connection:
            connection.execute(
                "UPDATE annotators SET instructed = 1, trained = MAX(trained, ?) WHERE annotator = ?",
                (trained, annotator),
            )

    def progress(self) -> list[dict]:
        """Returns `annotator`, `present`, `instructed`, `seen` (seconds), `assigned` and `judged` of each, by name."""
        rows = self._read(
            "SELECT annotator, present, instructed, seen, "
            "(SELECT COUNT(*) FROM assignments a WHERE a.annotator = p.annotator AND NOT a.released) AS assigned, "
            "(SELECT COUNT(*) FROM latest j WHERE j.annotator = p.annotator) AS judged "
            "FROM annotators p ORDER BY annotator"
        )
        return [dict(row) | {name: bool(row[name]) for name in ("present", "instructed")} for row in rows]

    def judgements(self) -> list[Judgement]:
        """Returns what everybody said last of each item, in the order of the items, then of the names."""
        rows = self._read("SELECT l.* FROM latest l JOIN items i USING (item) ORDER BY i.position, l.annotator")
        return [_judgement(row) for row in rows]

    def snapshot(self, target: Path) -> None:
        """Copies the database as of one moment to `target`, while others write to it."""
        partial = target.with_name(target.name + ".partial")
        partial.unlink(missing_ok=True)
        with closing(self._connect()) as source, closing(sqlite3.connect(partial)) as copy:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
        partial.replace(target)


def _present(connection: sqlite3.Connection) -> list[str]:
    """Returns those who are present, by name."""
    return [row[0] for row in connection.execute("SELECT annotator FROM annotators WHERE present ORDER BY annotator")]


def _check_kept(file: Path, old: list[sqlite3.Row], digests: dict[str, str]) -> None:
    """Raises unless all items of the database are the same still."""
    for what, items in (
        ("gone", [row["item"] for row in old if row["item"] not in digests]),
        ("changed", [row["item"] for row in old if not digests.get(row["item"], "").startswith(row["digest"])]),
    ):
        if items:
            raise ValueError(
                f"{file} was begun with other items: {', '.join(items[:3])}{' ...' if items[3:] else ''} "
                f"({len(items)} of {len(old)}) {'is' if len(items) == 1 else 'are'} {what} in the dataset. To a "
                "study that has begun, items can be added, under ids of their own; restore those that it has, or "
                "begin with an empty folder"
            )


def _extend(old: list[sqlite3.Row], queue: list[QueuedItem]) -> list[QueuedItem]:
    """Leaves items where the database has them and puts new ones behind; claims join the chunk of their premise."""
    chunks = {row["item"]: row["chunk"] for row in old}
    # The number of a chunk of `queue` in the study: that of its first item which is there, or the next.
    numbers = {}
    for queued in queue:
        if queued.item in chunks:
            numbers.setdefault(queued.chunk, chunks[queued.item])
    free = count(max(chunks.values(), default=-1) + 1)
    for queued in queue:
        if queued.item not in chunks:
            if queued.chunk not in numbers:
                numbers[queued.chunk] = next(free)
            chunks[queued.item] = numbers[queued.chunk]
    pilot = sum(queued.pilot for queued in queue)
    return [QueuedItem(item, chunk, rank < pilot) for rank, (item, chunk) in enumerate(chunks.items())]


def _judgement(row: sqlite3.Row) -> Judgement:
    return Judgement(row["item"], row["annotator"], row["probability"], json.loads(row["evidence"]), row["note"])
