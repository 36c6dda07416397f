"""A dictionary on disk, for what a build of any size has to remember: memory stays bounded by SQLite's cache."""

import hashlib
import sqlite3
from pathlib import Path


CACHE_KIB = 32 * 1024


class DiskMap:
    """
    Remembers the first value of each key.

    Args:
        file (`Path`): A database that is made; the map is of no use once the process has ended.
    """

    def __init__(self, file: Path):
        file.unlink(missing_ok=True)
        self._database = sqlite3.connect(file, isolation_level=None)
        # Nothing here outlives the process: no journal, no waiting for the disk.
        for setting in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{CACHE_KIB}"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.execute("CREATE TABLE map (key BLOB PRIMARY KEY, value TEXT) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def put(self, key: str, value: str) -> str | None:
        """Stores `value` where the key is new and gives `None`; else gives the value it has, and keeps that."""
        digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
        insert = self._database.execute("INSERT OR IGNORE INTO map VALUES (?, ?)", (digest, value))
        if insert.rowcount:
            return None
        return self._database.execute("SELECT value FROM map WHERE key = ?", (digest,)).fetchone()[0]

    def __len__(self) -> int:
        return self._database.execute("SELECT COUNT(*) FROM map").fetchone()[0]

    def close(self) -> None:
        """Closes the database; its file may be removed then."""
        self._database.close()
