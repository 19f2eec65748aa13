"""Repair: a session's database made anew from what can be read of the damaged one and of the copies kept of it."""

from __future__ import annotations

import datetime
import json
import shutil
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.files import new_file
from tomotutor.data.pool import concat, find_twins
from tomotutor.session.bulk import CLASS_CHECKS, read_checks
from tomotutor.session.classes import Classes
from tomotutor.session.database import BACKUPS, LAYOUT, NAME, TABLES, Database
from tomotutor.session.inputs import INPUTS, from_json, open_all, read_inputs, without_fingerprints
from tomotutor.session.label_log import Entry, replay
from tomotutor.session.labels import labels_of
from tomotutor.session.lock import take_lock
from tomotutor.session.lost_settings import made_anew
from tomotutor.session.rows import entry_fits, record_fits
from tomotutor.session.session_file import NAME as SETTINGS
from tomotutor.session.session_file import SessionFile
from tomotutor.session.sqlite_pages import Value, rows_in

_COLUMNS = len(fields(Entry))
Item = tuple[str, int, int]  # id, first exact duplicate, held out


@dataclass
class Rows:
    """What can be read of a database, by key: append-only rows are the same wherever they can be read.

    Attributes
    ----------
    meta : dict
        Values by key.
    items : dict
        Item by row.
    entries : dict
        Label log by `seq`.
    rounds : dict
        (at, labels, record) by number.
    audits : dict
        Predicted class by (round, item).
    last : int
        The last `seq` that was ever given; 0 where it is not known.
    """

    meta: dict[str, str] = field(default_factory=dict)
    items: dict[int, Item] = field(default_factory=dict)
    entries: dict[int, Entry] = field(default_factory=dict)
    rounds: dict[int, tuple[str, int, str]] = field(default_factory=dict)
    audits: dict[tuple[int, int], str] = field(default_factory=dict)
    last: int = 0

    @staticmethod
    def read(path: Path) -> Rows:
        """Read every row that can be read and is what it should be; which table it is of follows from its values."""
        found = Rows()
        for number, values in rows_in(path.read_bytes()):
            found._take(number, values)
        return found

    def _take(self, number: int, values: Sequence[Value]) -> None:
        match values:
            case ["labels", int(last)]:
                self.last = max(self.last, last)
            case [str(key), str(value)]:
                self.meta[key] = value
            case [None, str(item_id), int(twin), 0 | 1 as held_out] if 0 <= twin <= number:
                self.items[number] = (item_id, twin, int(held_out))
            case [None, str(at), int(labels), str(record)] if number > 0 and _is_record(record):
                self.rounds[number] = (at, labels, record)
            case [int(of_round), int(item), str(predicted)]:
                self.audits[of_round, item] = predicted
            case [None, *rest] if len(rest) in (_COLUMNS - 1, _COLUMNS - 2):  # an earlier layout had no step
                entry = Entry(number, *rest)  # type: ignore[arg-type]
                if entry_fits(entry, 2**31):
                    self.entries[number] = entry

    def merged(self, copy: Rows) -> Rows:
        """Return these rows with those of a copy, which holds for what is never changed; the rest is newer here."""
        held_out = {row: item[2] for row, item in self.items.items()}
        items = {row: (one[0], one[1], held_out.get(row, one[2])) for row, one in copy.items.items()}
        return Rows(
            {**copy.meta, **self.meta},
            {**self.items, **items},
            {**self.entries, **copy.entries},
            {**copy.rounds, **self.rounds},
            {**self.audits, **copy.audits},
            max(self.last, copy.last),
        )


def _is_record(text: str) -> bool:
    try:
        return record_fits(json.loads(text))
    except (ValueError, RecursionError):
        return False


def repair_session(folder: Path) -> list[str]:
    """Make the database of a session anew from all that can be read of it and of its copies; the damaged one is kept.

    Returns
    -------
    list of str
        What was saved and what was not, a sentence each.

    Raises
    ------
    TomoTutorError
        The session is open elsewhere, or the list of its items cannot be had; nothing was changed.
    """
    path, told = folder / NAME, []
    copies = sorted((folder / BACKUPS).glob("labels-[0-9]*.sqlite"))
    if not path.is_file() and not copies:
        raise TomoTutorError(f"{folder}: not a session (no {NAME} and no copy of it); expected a session folder")
    lock = take_lock(folder)
    try:
        told += _settings(folder, copies)
        if _is_whole(folder):
            told += _masks(folder)
            return told or [f"{path}: nothing is wrong with it; nothing was changed"]
        kept = _keep(path)
        with suppress(sqlite3.Error, UnicodeDecodeError), closing(sqlite3.connect(path)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master")  # rolls back what was half-written
        damaged, whole = _read([path]), _read([path, *copies])
        whole.meta = _meta(damaged, whole, copies)
        items = _complete_items(folder, whole, bool(copies))
        items += _class_checks(whole)
        if any(one.fingerprint is None for one in from_json(whole.meta.get(INPUTS, "[]"))):
            items.append("what the input looked like is lost: when it is opened next, it is taken for the right one")
        whole.entries = {seq: e for seq, e in whole.entries.items() if entry_fits(e, len(whole.items))}
        whole.last = max([whole.last, *whole.entries])
        _write(path, whole)
        told += [*_told(whole, damaged, copies), *items, *_masks(folder)]
    finally:
        lock.release()
    return [*told, *([f"the damaged database is kept as {kept}"] if kept else [])]


def _settings(folder: Path, copies: Iterable[Path]) -> list[str]:
    """Bring a session.toml that cannot be read back from its copy or, without one, from what the database tells."""
    path, copy = folder / SETTINGS, folder / BACKUPS / SETTINGS
    with suppress(TomoTutorError):
        SessionFile.read(folder)
        return []
    try:
        found, what = SessionFile.read(copy.parent), "as it was at the last round"
    except TomoTutorError:
        rows = _read([folder / NAME, *copies])
        if INPUTS not in rows.meta:  # of an earlier version, which kept them in session.toml alone
            raise TomoTutorError(
                f"{path}: cannot be read, there is no copy of it, and {NAME} does not say where the items come from; "
                "nothing was changed; bring back a copy of the file from elsewhere"
            ) from None
        records = [json.loads(rows.rounds[number][2]) for number in sorted(rows.rounds)]
        found, told = made_anew(folder, [rows.entries[seq] for seq in sorted(rows.entries)], records)
        what = f"made anew: {told}"
    kept = _keep(path)
    found.write(folder)
    return [f"{path} is {what}; the damaged one is kept as {kept}" if kept else f"{path} was gone and is {what}"]


def _read(paths: Iterable[Path]) -> Rows:
    """Read what can be read of a database and its copies."""
    whole = Rows()
    for path in paths:
        with suppress(OSError):
            whole = whole.merged(Rows.read(path))
    return whole


def _masks(folder: Path) -> list[str]:
    """Ask those images again whose masks cannot be read."""
    file = SessionFile.read(folder)
    path, labels = folder / NAME, labels_of(file.recipe.task, folder, Classes(file.classes))
    with closing(Database(folder, write=False)) as database:
        given = replay(database.entries()).labels()
    lost = labels.unreadable({row: entry.label or "" for row, entry in given.items()})
    if not lost:
        return []
    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    columns = "at, item, action, annotator, origin, round, audit"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            f"INSERT INTO labels ({columns}) VALUES (?, ?, 'skip', '', 'repair', 0, '')", [(at, row) for row in lost]
        )
    return [f"{len(lost)} masks cannot be read; those images are asked again"]


def _is_whole(folder: Path) -> bool:
    first = None  # the input of a session of an earlier version is in session.toml
    with suppress(TomoTutorError):
        first = SessionFile.read(folder).source
    try:
        with closing(Database(folder, write=False)) as database:
            ids, _, _ = database.items()
            database.entries(), database.rounds(), database.audits()
            read_inputs(database, first)
            read_checks(database.meta(CLASS_CHECKS, "[]"), len(ids))
    except (TomoTutorError, ValueError):
        return False
    return True


def _keep(path: Path) -> Path | None:
    """Keep a damaged file, with what SQLite has beside it."""
    if not path.is_file():
        return None
    number = 1
    while (kept := path.with_name(f"{path.stem}-damaged-{number}{path.suffix}")).exists():
        number += 1
    for ending in ("", "-journal"):
        if Path(f"{path}{ending}").is_file():
            shutil.copyfile(f"{path}{ending}", f"{kept}{ending}")
    return kept


def _meta(damaged: Rows, whole: Rows, copies: Iterable[Path]) -> dict[str, str]:
    """Return the values kept, with the newest list of inputs that can be read."""
    found = {**whole.meta, "schema": str(LAYOUT)}
    metas = [damaged.meta, *(Rows.read(copy).meta for copy in reversed(list(copies)))]
    texts = [meta.get(INPUTS, "[]") for meta in metas]
    for known in (str, without_fingerprints):  # what inputs looked like is given up last, and taken as it is then
        for text in texts:
            with suppress(TomoTutorError, ValueError):
                if from_json(known(text)):
                    return {**found, INPUTS: known(text)}
    found.pop(INPUTS, None)
    return found


def _class_checks(rows: Rows) -> list[str]:
    """Forget what was drawn of classes where it is not whole; return what was done."""
    try:
        read_checks(rows.meta.get(CLASS_CHECKS, "[]"), len(rows.items))
    except ValueError:
        del rows.meta[CLASS_CHECKS]
        return ["which members of classes were drawn to be asked blind is lost; 'tomotutor check-class' draws anew"]
    return []


def _complete_items(folder: Path, rows: Rows, has_copies: bool) -> list[str]:
    """Fill in items that could not be read from the inputs themselves; return what was done."""
    count = max([*rows.items, *(e.item for e in rows.entries.values())], default=-1) + 1
    lost = [row for row in range(count) if row not in rows.items]
    if has_copies and count and not lost:
        return []
    if INPUTS not in rows.meta:
        raise TomoTutorError(
            f"{folder / NAME}: cannot be repaired: neither it nor a copy says where the items come from; nothing was "
            "changed; bring back a copy of the file from elsewhere"
        )
    opened = open_all(from_json(rows.meta[INPUTS]), folder)
    pool = concat([one.pool for one in opened])
    other = [row for row, one in rows.items.items() if row >= len(pool) or pool.ids[row] != one[0]]
    if len(other) > len(rows.items) // 2:
        raise TomoTutorError(
            f"{opened[0].source.path}: its items are other ones than those of the session; bring the original files "
            "back and repair again; nothing was changed"
        )
    lost = [row for row in range(len(pool)) if row not in rows.items or row in other]
    twin_N = find_twins(pool) if lost else np.zeros(0, int)
    for row in lost:
        rows.items[row] = (pool.ids[row], int(twin_N[row]), 0)
    rows.items = {row: rows.items[row] for row in range(len(pool))}
    if not lost:
        return []
    return [f"{len(lost)} items were taken from the input again; whether they were set apart as a test set is lost"]


def _write(path: Path, rows: Rows) -> None:
    """Write the new database in the place of the old one."""
    with new_file(path) as partial:
        partial.unlink(missing_ok=True)
        with closing(sqlite3.connect(partial, isolation_level=None)) as connection:
            connection.executescript(TABLES)
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO meta VALUES (?, ?)", rows.meta.items())
            connection.executemany(
                "INSERT INTO items VALUES (?, ?, ?, ?)", [(row, *rows.items[row]) for row in sorted(rows.items)]
            )
            names = [one.name for one in fields(Entry)]
            connection.executemany(
                f"INSERT INTO labels ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})",
                [asdict(rows.entries[seq]) for seq in sorted(rows.entries)],
            )
            connection.executemany(
                "INSERT INTO rounds VALUES (?, ?, ?, ?)", [(n, *rows.rounds[n]) for n in sorted(rows.rounds)]
            )
            audits = [(*key, name) for key, name in sorted(rows.audits.items()) if key[0] in rows.rounds]
            connection.executemany("INSERT INTO audits VALUES (?, ?, ?)", audits)
            if rows.last:  # a number of the log is never given twice, also where its entry is lost
                connection.execute("DELETE FROM sqlite_sequence WHERE name = 'labels'")
                connection.execute("INSERT INTO sqlite_sequence VALUES ('labels', ?)", (rows.last,))
            connection.execute("COMMIT")
        Path(f"{path}-journal").unlink(missing_ok=True)  # of the damaged one: it would be played into the new one


def _told(whole: Rows, damaged: Rows, copies: Sequence[Path]) -> list[str]:
    entries = whole.entries
    here = sum(seq in damaged.entries for seq in entries)
    told = [f"{len(entries)} entries of the label log are saved: {here} read in {NAME}"]
    if len(entries) > here:
        told[0] += f", {len(entries) - here} from the copies in backups"
    lost = [seq for seq in range(1, whole.last + 1) if seq not in entries]
    if lost:
        before = max((seq for seq in entries if seq < lost[0]), default=None)
        after = min((seq for seq in entries if seq > lost[-1]), default=None)
        when = [f"{word} {entries[seq].at}" for word, seq in (("after", before), ("before", after)) if seq]
        many = f"{len(lost)} entries are lost" if len(lost) > 1 else "1 entry is lost"
        given = f", given {' and '.join(when)}" if when else ""
        told.append(f"{many} (of numbers {lost[0]} to {lost[-1]}{given}); those items are asked again")
    elif not copies and not damaged.last:
        told.append("whether entries are lost at the end cannot be told")
    missing = [n for n in range(1, max(whole.rounds, default=0) + 1) if n not in whole.rounds]
    if missing:
        told.append(f"the records of rounds {', '.join(map(str, missing))} are lost")
    return told
