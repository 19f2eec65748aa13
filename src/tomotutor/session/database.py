"""SessionStore: what a session must never lose, in SQLite. The label log is append-only; undo is a new row.

One writer, held by a lock file; rollback journal and synchronous=FULL, since labs keep sessions on network disks, where
SQLite's write-ahead log does not work. A call that writes returns when the disk has it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.session.label_log import Entry

SCHEMA = 1
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE items (
    item INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, twin INTEGER NOT NULL, held_out INTEGER NOT NULL DEFAULT 0);
CREATE TABLE labels (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, item INTEGER NOT NULL REFERENCES items (item),
    action TEXT NOT NULL CHECK (action IN ('label', 'unsure', 'skip', 'undo')), label TEXT,
    annotator TEXT NOT NULL, origin TEXT NOT NULL, round INTEGER NOT NULL, audit TEXT NOT NULL,
    predicted TEXT, confidence REAL, disagreement REAL, undoes INTEGER REFERENCES labels (seq));
CREATE TABLE rounds (number INTEGER PRIMARY KEY, at TEXT NOT NULL, labels INTEGER NOT NULL, record TEXT NOT NULL);
CREATE TABLE audits (round INTEGER NOT NULL, item INTEGER NOT NULL, predicted TEXT NOT NULL, PRIMARY KEY (round, item));
"""
_COLUMNS = [f.name for f in fields(Entry)]


@dataclass(frozen=True)
class RoundRecord:
    """A finished round as the database has it.

    Attributes
    ----------
    number : int
        From 1.
    at : str
        UTC time it ended.
    labels : int
        Items that had a label when it was frozen.
    record : dict
        Recipe, seed, versions, device, seconds, metrics: what traces each number.
    """

    number: int
    at: str
    labels: int
    record: dict[str, Any]


class SessionStore:
    """The database of a session folder.

    Parameters
    ----------
    folder : Path
        The session.
    write : bool
        Take the writer's lock; without it the store can only be read.

    Raises
    ------
    TomoTutorError
        No session there, or it is open in another program.
    """

    def __init__(self, folder: Path, *, write: bool) -> None:
        self.path = folder / "labels.sqlite"
        if not self.path.is_file():
            raise TomoTutorError(f"{folder}: not a session (no labels.sqlite in it); make one with 'tomotutor new'")
        self._guard = threading.RLock()
        self._lock: filelock.BaseFileLock | None = None
        if write:
            self._lock = filelock.FileLock(folder / ".lock", thread_local=False)  # a closing thread lets it go
            try:
                self._lock.acquire(timeout=0)
            except filelock.Timeout:
                raise TomoTutorError(
                    f"{folder}: the session is open in another TomoTutor; close it there first"
                ) from None
            except OSError as problem:
                raise TomoTutorError(
                    f"{folder}: cannot be written to ({problem.strerror}); give yourself the right to write"
                ) from None
        self._connection = self._connect(write)
        version = int(self.meta("schema"))
        if version != SCHEMA:
            self.close()
            raise TomoTutorError(
                f"{self.path}: made by another version of TomoTutor (layout {version}, this one reads {SCHEMA})"
            )

    def _connect(self, write: bool) -> sqlite3.Connection:
        # a reader opens for writing too: only so can SQLite roll back what a killed writer left half-done
        writable = os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK)
        uri = f"{self.path.resolve().as_uri()}?mode={'rw' if writable else 'ro'}"
        connection = sqlite3.connect(uri, uri=True, timeout=10, isolation_level=None, check_same_thread=False)
        try:
            if write:
                connection.execute("PRAGMA journal_mode=DELETE")
                connection.execute("PRAGMA synchronous=FULL")
            else:
                connection.execute("PRAGMA query_only=ON")
            connection.execute("SELECT count(*) FROM meta").fetchone()
        except sqlite3.DatabaseError as problem:
            connection.close()
            if self._lock:
                self._lock.release()
            raise TomoTutorError(f"{self.path}: not a session database that can be read ({problem})") from None
        return connection

    @staticmethod
    def create(folder: Path, ids: Sequence[str], twin_N: np.ndarray) -> None:
        """Make the database of a new session."""
        connection = sqlite3.connect(folder / "labels.sqlite", isolation_level=None)
        connection.executescript(_TABLES)
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO items (item, id, twin) VALUES (?, ?, ?)",
            zip(range(len(ids)), ids, twin_N.tolist(), strict=True),
        )
        connection.execute("INSERT INTO meta VALUES ('schema', ?)", (str(SCHEMA),))
        connection.execute("COMMIT")
        connection.close()

    @contextmanager
    def _transaction(self, what: str) -> Iterator[sqlite3.Connection]:
        with self._guard:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except sqlite3.Error as problem:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                full = "full" in str(problem) or "I/O" in str(problem)
                mend = "free some space on that disk and do it again" if full else "do it again"
                raise TomoTutorError(
                    f"{self.path}: {what} could not be saved ({problem}); {mend}; all earlier labels are safe"
                ) from None
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def meta(self, key: str, default: str = "0") -> str:
        """Return a stored value."""
        with self._guard:
            row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else default

    def set_meta(self, key: str, value: str) -> None:
        """Store a value."""
        with self._transaction(key) as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def items(self) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
        """Return ids, twin_N and held_out_N."""
        with self._guard:
            rows = self._connection.execute("SELECT id, twin, held_out FROM items ORDER BY item").fetchall()
        return (
            tuple(r[0] for r in rows),
            np.array([r[1] for r in rows], dtype=np.int64),
            np.array([bool(r[2]) for r in rows], dtype=bool),
        )

    def add_items(self, ids: Sequence[str], twin_N: np.ndarray, key: str, value: str) -> None:
        """Append items (`twin_N` for all of them, the old ones included) and keep where they come from under `key`:
        both or neither.
        """
        with self._transaction(f"{len(ids)} new items") as connection:
            (first,) = connection.execute("SELECT count(*) FROM items").fetchone()
            rows = range(first, first + len(ids))
            connection.executemany(
                "INSERT INTO items (item, id, twin) VALUES (?, ?, ?)",
                zip(rows, ids, twin_N[first:].tolist(), strict=True),
            )
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def hold_out(self, rows: np.ndarray) -> None:
        """Set items apart as a test set: never asked, never trained on."""
        with self._transaction("the test set") as connection:
            connection.executemany("UPDATE items SET held_out = 1 WHERE item = ?", [(int(r),) for r in rows])

    def append(self, entries: Sequence[Entry]) -> list[Entry]:
        """Write entries in one transaction and return them with their `seq`."""
        columns = [c for c in _COLUMNS if c != "seq"]
        sql = f"INSERT INTO labels ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        written = []
        what = "the label" if len(entries) == 1 else f"{len(entries)} labels"
        with self._transaction(what) as connection:
            for entry in entries:
                values = asdict(entry)
                cursor = connection.execute(sql, [values[c] for c in columns])
                written.append(replace(entry, seq=int(cursor.lastrowid or 0)))
        return written

    def entries(self) -> list[Entry]:
        """Return the whole label log."""
        with self._guard:
            rows = self._connection.execute(f"SELECT {', '.join(_COLUMNS)} FROM labels ORDER BY seq").fetchall()
        return [Entry(*row) for row in rows]

    def add_round(self, record: RoundRecord, audits: dict[int, str]) -> None:
        """Record a finished round and what its model predicts for audit items (pool row to class name)."""
        with self._transaction(f"round {record.number}") as connection:
            connection.execute(
                "INSERT INTO rounds VALUES (?, ?, ?, ?)",
                (record.number, record.at, record.labels, json.dumps(record.record)),
            )
            connection.executemany(
                "INSERT INTO audits VALUES (?, ?, ?)", [(record.number, i, p) for i, p in audits.items()]
            )

    def update_metrics(self, number: int, metrics: dict[str, Any]) -> None:
        """Add metrics to a round's record."""
        with self._transaction(f"the metrics of round {number}") as connection:
            (text,) = connection.execute("SELECT record FROM rounds WHERE number = ?", (number,)).fetchone()
            record = json.loads(text)
            record["metrics"] = {**record.get("metrics", {}), **metrics}
            connection.execute("UPDATE rounds SET record = ? WHERE number = ?", (json.dumps(record), number))

    def rounds(self) -> list[RoundRecord]:
        """Return all rounds, oldest first."""
        with self._guard:
            rows = self._connection.execute("SELECT number, at, labels, record FROM rounds ORDER BY number").fetchall()
        return [RoundRecord(n, at, labels, json.loads(text)) for n, at, labels, text in rows]

    def audits(self) -> dict[int, dict[int, str]]:
        """Return the stored predictions of audit items: round to pool row to class name."""
        with self._guard:
            rows = self._connection.execute("SELECT round, item, predicted FROM audits").fetchall()
        found: dict[int, dict[int, str]] = {}
        for number, item, predicted in rows:
            found.setdefault(number, {})[item] = predicted
        return found

    def close(self) -> None:
        """Close the database and give the lock back."""
        with self._guard:
            self._connection.close()
            if self._lock:
                self._lock.release()
