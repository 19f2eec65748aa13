"""Database: what a session must never lose, in SQLite. The label log is append-only; undo is a new row.

One writer, held by a lock file; rollback journal and synchronous=FULL, since labs keep sessions on network disks, where
SQLite's write-ahead log does not work. A call that writes returns when the disk has it.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from tomotutor.base.errors import TomoTutorError, command, unreadable
from tomotutor.base.files import new_file
from tomotutor.session.label_log import Entry
from tomotutor.session.lock import take_lock
from tomotutor.session.rows import entry_fits, record_fits

log = logging.getLogger(__name__)

NAME = "labels.sqlite"
BACKUPS = "backups"
COPIES = 3  # kept there, the newest ones
LAYOUT = 2
_LABELS = """
CREATE TABLE labels (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, item INTEGER NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('label', 'unsure', 'skip', 'class', 'undo', 'redo')), label TEXT,
    annotator TEXT NOT NULL, origin TEXT NOT NULL, round INTEGER NOT NULL, audit TEXT NOT NULL,
    predicted TEXT, confidence REAL, disagreement REAL, undoes INTEGER, step INTEGER);
"""
TABLES = (
    """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE items (
    item INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, twin INTEGER NOT NULL, held_out INTEGER NOT NULL DEFAULT 0);
CREATE TABLE rounds (number INTEGER PRIMARY KEY, at TEXT NOT NULL, labels INTEGER NOT NULL, record TEXT NOT NULL);
CREATE TABLE audits (round INTEGER NOT NULL, item INTEGER NOT NULL, predicted TEXT NOT NULL, PRIMARY KEY (round, item));
"""
    + _LABELS
)
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


class Database:
    """The database of a session folder.

    Parameters
    ----------
    folder : Path
        The session.
    write : bool
        Take the writer's lock; without it the database can only be read. One of an earlier layout is brought to
        today's, after a copy, when it is opened for writing.

    Raises
    ------
    TomoTutorError
        No session there, it is damaged, or it is open in another program.
    """

    def __init__(self, folder: Path, *, write: bool) -> None:
        self.path = folder / NAME
        if not self.path.is_file() and any((folder / BACKUPS).glob("labels-[0-9]*.sqlite")):
            raise TomoTutorError(
                f"{self.path}: not there any more; '{command('repair', folder)}' brings its last copy back"
            )
        if not self.path.is_file():
            raise TomoTutorError(f"{folder}: not a session (no {NAME} in it); make one with 'tomotutor new'")
        self._guard = threading.RLock()
        self._lock = take_lock(folder) if write else None
        try:
            self._connection = self._connect(write)
            try:
                self._check_layout(write)
                if write and not any((folder / BACKUPS).glob("labels-*.sqlite")):
                    self.keep_copy(0)
            except BaseException:
                self._connection.close()
                raise
        except BaseException:
            if self._lock:
                self._lock.release()
            raise

    def _connect(self, write: bool) -> sqlite3.Connection:
        # a reader opens for writing too: only so can SQLite roll back what a killed writer left half-done
        writable = os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK)
        try:
            self.path.open("rb").close()  # SQLite would not say why
        except OSError as problem:
            raise unreadable(self.path, problem, "a database of labels") from None
        uri = f"{self.path.resolve().as_uri()}?mode={'rw' if writable else 'ro'}"
        try:
            connection = sqlite3.connect(uri, uri=True, timeout=10, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as problem:
            raise self.damaged(problem) from None
        try:
            if write:
                connection.execute("PRAGMA journal_mode=DELETE")
                connection.execute("PRAGMA synchronous=FULL")
            else:
                connection.execute("PRAGMA query_only=ON")
            (fault,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if fault != "ok":
                raise sqlite3.DatabaseError(fault)
            connection.execute("SELECT count(*) FROM meta").fetchone()
        except (sqlite3.Error, UnicodeDecodeError) as problem:
            connection.close()
            raise self.damaged(problem) from None
        return connection

    def damaged(self, problem: object) -> TomoTutorError:
        """Return the error for what cannot be read, which names the way back."""
        return TomoTutorError(
            f"{self.path}: damaged or no database of labels ({str(problem)[:200]}); "
            f"run '{command('repair', self.path.parent)}', which saves every label that can be read"
        )

    def _check_layout(self, write: bool) -> None:
        text = self.meta("schema")
        if text not in ("1", str(LAYOUT)):
            raise TomoTutorError(
                f"{self.path}: made by another version of TomoTutor (layout {text[:20]}, this one reads 1 to {LAYOUT})"
            )
        if text == "1" and write:
            self.copy_to(self.path.with_name("labels-layout-1.sqlite"))
            kept = ", ".join(c for c in _COLUMNS if c != "step")
            with self._transaction("the new layout") as connection:
                connection.execute("ALTER TABLE labels RENAME TO labels_1")
                connection.execute(_LABELS)
                connection.execute(f"INSERT INTO labels ({kept}) SELECT {kept} FROM labels_1")
                connection.execute("DROP TABLE labels_1")
                connection.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (str(LAYOUT),))

    @staticmethod
    def create(folder: Path, ids: Sequence[str], twin_N: np.ndarray, meta: Mapping[str, str] | None = None) -> None:
        """Make the database of a new session, with the values that `meta` returns."""
        with closing(sqlite3.connect(folder / NAME, isolation_level=None)) as connection:
            connection.executescript(TABLES)
            connection.execute("BEGIN")
            connection.executemany(
                "INSERT INTO items (item, id, twin) VALUES (?, ?, ?)",
                zip(range(len(ids)), ids, twin_N.tolist(), strict=True),
            )
            connection.executemany("INSERT INTO meta VALUES (?, ?)", {"schema": str(LAYOUT), **(meta or {})}.items())
            connection.execute("COMMIT")

    @contextmanager
    def _transaction(self, what: str) -> Iterator[sqlite3.Connection]:
        with self._guard:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except sqlite3.Error as problem:
                with suppress(sqlite3.Error):
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

    def _rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            with self._guard:
                return self._connection.execute(sql, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as problem:
            raise self.damaged(problem) from None

    def meta(self, key: str, default: str = "0") -> str:
        """Return a stored value."""
        rows = self._rows("SELECT value FROM meta WHERE key = ?", key)
        return str(rows[0][0]) if rows else default

    def set_meta(self, key: str, value: str) -> None:
        """Store a value."""
        with self._transaction(key) as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def items(self) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
        """Return ids, twin_N and held_out_N."""
        rows = self._rows("SELECT item, id, twin, held_out FROM items ORDER BY item")
        right = [r[0] == n and isinstance(r[1], str) and r[2] in range(n + 1) for n, r in enumerate(rows)]
        if not rows or not all(right) or len({r[1] for r in rows}) < len(rows):
            raise self.damaged("its list of items is not whole")
        return (
            tuple(r[1] for r in rows),
            np.array([r[2] for r in rows], dtype=np.int64),
            np.array([bool(r[3]) for r in rows], dtype=bool),
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
            (number,) = connection.execute("SELECT coalesce(max(number), 0) FROM rounds").fetchone()
        self.keep_copy(number)

    def hold_out(self, rows: np.ndarray) -> None:
        """Set items apart as a test set: never asked, never trained on."""
        with self._transaction("the test set") as connection:
            connection.executemany("UPDATE items SET held_out = 1 WHERE item = ?", [(int(r),) for r in rows])

    def append(self, entries: Sequence[Entry], *, together: bool = False) -> list[Entry]:
        """Write entries in one transaction and return them with their `seq`; `together` makes one step of them."""
        columns = [c for c in _COLUMNS if c != "seq"]
        sql = f"INSERT INTO labels ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        written: list[Entry] = []
        what = f"{len(entries)} labels" if len(entries) > 1 else "the label"
        with self._transaction(what) as connection:
            for entry in entries:
                if together and written:
                    entry = replace(entry, step=written[0].seq)
                values = asdict(entry)
                cursor = connection.execute(sql, [values[c] for c in columns])
                written.append(replace(entry, seq=int(cursor.lastrowid or 0)))
        return written

    def entries(self) -> list[Entry]:
        """Return the whole label log."""
        known = {row[1] for row in self._rows("PRAGMA table_info(labels)")}
        columns = [c for c in _COLUMNS if c in known]
        rows = self._rows(f"SELECT {', '.join(columns)} FROM labels ORDER BY seq")
        if not {"seq", "at", "item", "action"} <= set(columns):
            raise self.damaged("its label log has other columns")
        found = [Entry(**dict(zip(columns, row, strict=True))) for row in rows]
        ((items,),) = self._rows("SELECT count(*) FROM items")
        wrong = next((e for e in found if not entry_fits(e, items)), None)
        if wrong is not None:
            raise self.damaged(f"entry {wrong.seq!r} of its label log is not whole")
        return found

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
        rows = self._rows("SELECT number, at, labels, record FROM rounds ORDER BY number")
        try:
            records = [RoundRecord(int(n), str(at), int(labels), json.loads(text)) for n, at, labels, text in rows]
        except (ValueError, TypeError, RecursionError) as problem:
            raise self.damaged(problem) from None
        if not all(r.number > 0 and record_fits(r.record) for r in records):
            raise self.damaged("the record of a round is not whole")
        return records

    def audits(self) -> dict[int, dict[int, str]]:
        """Return the stored predictions of audit items: round to pool row to class name."""
        found: dict[int, dict[int, str]] = {}
        for number, item, predicted in self._rows("SELECT round, item, predicted FROM audits"):
            if type(number) is not int or type(item) is not int or not isinstance(predicted, str):
                raise self.damaged("a prediction of an audit item is not whole")
            found.setdefault(number, {})[item] = predicted
        return found

    def copy_to(self, target: Path) -> None:
        """Write a whole copy of the database, which is consistent whatever happens meanwhile."""
        try:
            with new_file(target) as path, closing(sqlite3.connect(path)) as other, self._guard:
                self._connection.backup(other)
        except sqlite3.Error as problem:
            raise TomoTutorError(f"{target}: the copy of the labels could not be written ({problem})") from None

    def keep_copy(self, number: int) -> None:
        """Keep a copy of the database as it is at the end of round `number`, and forget the oldest ones; where that is
        not possible, the log tells.
        """
        folder = self.path.parent / BACKUPS
        try:
            self.copy_to(folder / f"labels-{number:04d}.sqlite")
        except TomoTutorError as problem:
            log.warning("%s", problem)
            return
        settings = self.path.with_name("session.toml")
        with suppress(OSError, TomoTutorError), new_file(folder / settings.name) as path:
            shutil.copyfile(settings, path)
        for old in sorted(folder.glob("labels-[0-9]*.sqlite"))[:-COPIES]:
            old.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the database and give the lock back."""
        with self._guard:
            self._connection.close()
            if self._lock:
                self._lock.release()
