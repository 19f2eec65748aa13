import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from tomotutor.base.errors import TomoTutorError
from tomotutor.session.database import Database, RoundRecord
from tomotutor.session.label_log import Entry, replay


@pytest.fixture
def folder(tmp_path):
    Database.create(tmp_path, ["a:1", "a:2", "b:3"], np.array([0, 1, 1]))
    return tmp_path


@pytest.fixture
def store(folder):
    opened = Database(folder, write=True)
    yield opened
    opened.close()


def entry(item, action="label", label="x", **more):
    return Entry(0, "2026-01-01T00:00:00", item, action, label if action == "label" else None, **more)


def test_items(store):
    ids, twin_N, held_out_N = store.items()
    assert ids == ("a:1", "a:2", "b:3")
    assert twin_N.tolist() == [0, 1, 1]
    assert held_out_N.tolist() == [False] * 3
    store.hold_out(np.array([2]))
    assert store.items()[2].tolist() == [False, False, True]


def test_entries_come_back_as_they_were(store, folder):
    written = store.append(
        [entry(1, annotator="ann", round=2, audit="check", predicted="y", confidence=0.5, disagreement=0.25)]
    )
    assert written[0].seq == 1
    store.append([entry(2, "unsure")])
    store.close()
    assert Database(folder, write=False).entries() == [written[0], Entry(2, "2026-01-01T00:00:00", 2, "unsure")]


def test_undo_is_a_new_row_and_the_label_before_holds_again(store):
    first, second = store.append([entry(0, label="x"), entry(0, label="y")])
    undo = store.append([Entry(0, "", 0, "undo", undoes=second.seq)])
    assert len(store.entries()) == 3
    state = replay(store.entries())
    assert state.last(0).label == "x"
    state.apply(store.append([Entry(0, "", 0, "undo", undoes=first.seq)])[0])
    assert state.last(0) is None
    assert undo[0].undoes == 2


def test_state_lists_items_by_their_last_answer():
    entries = [entry(0), entry(1, "skip"), entry(2, "skip"), entry(1, "unsure"), entry(2, "skip")]
    state = replay([Entry(**{**e.__dict__, "seq": i}) for i, e in enumerate(entries, 1)])
    assert state.items("skip") == [2]
    assert state.items("unsure") == [1]
    assert {item: e.label for item, e in state.labels().items()} == {0: "x"}
    assert state.first_answer(0).seq == 1


def test_all_or_none(store):
    with pytest.raises(TomoTutorError, match="2 labels could not be saved"):
        store.append([entry(0), entry(99999)] if False else [entry(0), Entry(0, "", 1, "no such action")])
    assert store.entries() == []


def test_a_full_disk_loses_nothing_that_was_acknowledged(store):
    store.append([entry(0, label="x" * 100)])
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLite itself now reports a full disk
    done = 1
    with pytest.raises(
        TomoTutorError,
        match=r"labels\.sqlite: the label could not be saved \(database or disk is full\); free some space",
    ):
        for _ in range(1000):
            store.append([entry(1, label="x" * 100)])
            done += 1
    assert len(store.entries()) == done
    store._connection.execute("PRAGMA max_page_count = 100000")
    store.append([entry(2)])
    assert len(store.entries()) == done + 1


def test_rounds_and_audit_predictions(store):
    record = RoundRecord(1, "2026", 40, {"recipe": {"seed": 1}, "metrics": {"a": 1}})
    store.add_round(record, {0: "x", 2: "y"})
    store.update_metrics(1, {"b": 0.5})
    assert store.rounds() == [RoundRecord(1, "2026", 40, {"recipe": {"seed": 1}, "metrics": {"a": 1, "b": 0.5}})]
    assert store.audits() == {1: {0: "x", 2: "y"}}


def test_one_writer_many_readers(store, folder):
    with pytest.raises(TomoTutorError, match=r"open in another TomoTutor .*; close it there first"):
        Database(folder, write=True)
    code = (
        "from tomotutor.session.database import Database; from pathlib import Path; "
        f"Database(Path({str(folder)!r}), write=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "open in another TomoTutor" in done.stderr
    reader = Database(folder, write=False)
    store.append([entry(0)])
    assert len(reader.entries()) == 1
    with pytest.raises(TomoTutorError):
        reader.append([entry(0)])
    store.close()
    Database(folder, write=True).close()


def test_commits_are_synchronous_with_a_rollback_journal(store):
    assert store._connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert store._connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete"


def test_what_is_no_session_is_said(tmp_path):
    with pytest.raises(TomoTutorError, match="not a session"):
        Database(tmp_path, write=True)
    (tmp_path / "labels.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(TomoTutorError, match=r"damaged or no database of labels .*tomotutor repair"):
        Database(tmp_path, write=True)
    (tmp_path / "labels.sqlite").unlink()
    Database.create(tmp_path, ["a"], np.array([0]))
    connection = sqlite3.connect(tmp_path / "labels.sqlite")
    connection.execute("UPDATE meta SET value = '99'")
    connection.commit()
    connection.close()
    with pytest.raises(TomoTutorError, match="another version of TomoTutor"):
        Database(tmp_path, write=True)
    with pytest.raises(TomoTutorError, match="another version"):  # and the lock was given back
        Database(tmp_path, write=True)
