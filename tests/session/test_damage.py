"""Damage on purpose: bit flips and cuts of every file of a session. Promise: a sentence or a session that goes on,
never another exception; every label in a page that can be read is saved by `repair`.
"""

import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import FAST, answer_truthfully, discs, two_kinds
from tomotutor.base.errors import TomoTutorError
from tomotutor.cli import main
from tomotutor.data.sources import Source
from tomotutor.session import Session, classes
from tomotutor.session.create import create_session
from tomotutor.session.database import Database
from tomotutor.session.label_log import Entry
from tomotutor.session.repair import repair_session

MANY = int(os.environ.get("TOMOTUTOR_DAMAGED", "400"))  # of each file, in the slow tests
NO_ROUND = ("session.toml", "labels.sqlite", "rounds/0001/scores.npz", "start/look.npz", "masks")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A session on volumes that began with pretrained weights, and one of masks; both with a round."""
    folder = tmp_path_factory.mktemp("whole")
    x, y = two_kinds(24)
    np.savez(folder / "x.npz", x=x, y=y, classes=np.array(["ball", "slab"]))
    few = {**FAST, "steps": "2", "initial_size": "6"}
    create_session(
        folder / "a", Source("array", str(folder / "x.npz")), ["ball", "slab"], settings={**few, "start": "pretrained"}
    )
    with Session(folder / "a") as session:
        session.map_pool()
        answer_truthfully(session, 8)
        session.undo()
        session.change_classes(classes.add(session.class_table, "third"))
        session.run_round()
        session.predictions()
        answer_truthfully(session, 2)
    x, y = discs(8)
    (folder / "images").mkdir()
    for number, image in enumerate(x):
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
    create_session(
        folder / "b",
        Source("images", str(folder / "images")),
        ["ground", "disc"],
        task="segmentation",
        settings=few,
    )
    with Session(folder / "b") as session:
        for row in range(4):
            session.label(session.ids[row], y[row])
    return folder


def damaged(raw: bytes, rng: np.random.Generator) -> bytes:
    """Return bytes with one to three bits turned, half of them near the beginning, or cut."""
    broken = bytearray(raw)
    if rng.random() < 0.25:
        return bytes(broken[: int(rng.integers(0, len(broken)))])
    for _ in range(rng.integers(1, 4)):
        most = min(len(broken), 600) if rng.random() < 0.5 else len(broken)
        broken[int(rng.integers(0, most))] ^= 1 << int(rng.integers(8))
    return bytes(broken)


def use(folder: Path, *, with_round: bool) -> list[str]:
    """Look at a session, label, train; return the sentences of what failed. Other exceptions are the caller's."""
    said = []
    try:
        with Session(folder, write=False) as session:
            assert session.status.items in (8, 24)
            session.upcoming(5)
            _ = session.curve
            if session.rounds and with_round:
                session.predictions()
    except TomoTutorError as problem:
        said.append(str(problem))
    try:
        with Session(folder) as session:
            session.undo()
            session.redo()
            if not session.one_class:
                for row in session.labels():
                    session.mask(row)
            elif session.current:
                session.label(session.current.id, session.classes[0])
            if with_round:
                session.run_round()
    except TomoTutorError as problem:
        said.append(str(problem))
    assert all("\n" not in sentence and len(sentence) <= 1500 for sentence in said)
    return said


def damage(whole: Path, tmp_path: Path, name: str, count: int) -> None:
    """Damage one file of a copy of a session, `count` times."""
    which = whole / ("b" if name == "masks" else "a")
    rng = np.random.default_rng(len(name))
    told = 0
    for number in range(count):
        folder = tmp_path / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(which, folder)
        path = next(iter(sorted((folder / "masks").iterdir()))) if name == "masks" else folder / name
        raw = damaged(path.read_bytes(), rng)
        path.write_bytes(raw)
        try:
            told += bool(use(folder, with_round=name not in NO_ROUND and number % 4 == 0))
        except Exception as problem:
            (tmp_path / "failed").write_bytes(raw)
            raise AssertionError(f"{name}, {number}: {type(problem).__name__}: {problem}") from problem
    print(f"damaged {name}: {count} tried, {told} said in a sentence, 0 failed")


FILES = [
    *("session.toml", "masks"),
    *(f"rounds/0001/{name}" for name in ("scores.npz", "metrics.json", "pool.npz", "teacher.safetensors")),
    *(f"start/{name}" for name in ("look.npz", "start.json", "teacher.safetensors", "student.safetensors")),
]


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_of_a_session_ends_in_a_sentence_or_is_done_without(whole, tmp_path, name):
    damage(whole, tmp_path, name, 10 if name in NO_ROUND else 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FILES, "labels.sqlite"])
def test_many_damaged_files(whole, tmp_path, name):
    damage(whole, tmp_path, name, MANY)


# ---- the database ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_log(whole, tmp_path_factory):
    """A session whose label log spans several pages; every entry names another annotator."""
    folder = tmp_path_factory.mktemp("long") / "session"
    shutil.copytree(whole / "a", folder)
    database = Database(folder, write=True)
    entries = [
        Entry(0, f"2026-01-01T00:{n // 60:02d}:{n % 60:02d}", n % 24, "label", "ball", f"annotator{n:04d}", "import")
        for n in range(200)
    ]
    database.append(entries)
    database.close()
    return folder


def repair_many(long_log, tmp_path, count):
    whole = long_log
    valid = (whole / "labels.sqlite").read_bytes()
    pages = {n: valid.find(b"annotator%04d" % n) // 4096 for n in range(200)}  # no reader of ours is asked
    assert len(set(pages.values())) > 3
    rng, saved, raised = np.random.default_rng(1), 0, 0
    for number in range(count):
        folder = tmp_path / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        if number % 3 == 0:
            shutil.rmtree(folder / "backups")
        raw = damaged(valid, rng)
        (folder / "labels.sqlite").write_bytes(raw)
        try:
            use(folder, with_round=False)
        except Exception as problem:
            (tmp_path / "failed").write_bytes(raw)
            raise AssertionError(f"{number}: {type(problem).__name__}: {problem}") from problem
        (folder / "labels.sqlite").write_bytes(raw)  # as it was before anybody tried
        if number % 3 == 0:
            shutil.rmtree(folder / "backups", ignore_errors=True)
        readable = [n for n, page in pages.items() if raw[page * 4096 :][:4096] == valid[page * 4096 :][:4096]]
        try:
            sentences = repair_session(folder)
        except TomoTutorError as problem:  # without a copy, and where it came from is lost: nothing was changed
            assert number % 3 == 0
            assert "nothing was changed" in str(problem)
            assert (folder / "labels.sqlite").read_bytes() == raw
            raised += 1
            continue
        assert sentences
        database = Database(folder, write=False)
        found = {e.annotator for e in database.entries()}
        database.items(), database.rounds(), database.audits()
        database.close()
        lost = [n for n in readable if f"annotator{n:04d}" not in found]
        assert not lost, (number, lost, sentences)
        saved += len(readable)
        said = use(folder, with_round=False)
        # a bit in what the database remembers of the voxels looks like other voxels, where no copy tells better
        fine = ("does not name the class", *(("have other voxels",) if number % 3 == 0 else ()))
        assert all(any(part in one for part in fine) for one in said), (number, said)
    print(f"damaged labels.sqlite: {count} tried, {saved} readable labels, 0 of them lost, {raised} without a way back")


def test_every_label_that_can_be_read_is_saved(long_log, tmp_path):
    repair_many(long_log, tmp_path, 18)


@pytest.mark.slow
def test_every_label_that_can_be_read_is_saved_from_many(long_log, tmp_path):
    repair_many(long_log, tmp_path, MANY)


def test_a_file_without_its_header_and_schema_gives_its_labels_back(long_log, tmp_path, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(long_log, folder)
    path = folder / "labels.sqlite"
    raw = path.read_bytes()
    path.write_bytes(bytes(4096) + raw[4096:])
    with pytest.raises(TomoTutorError, match=r"damaged or no database of labels .*'tomotutor repair"):
        Session(folder)
    assert main(["repair", str(folder)]) == 0
    told = capsys.readouterr().out
    assert re.search(r"212 entries of the label log are saved: 212 read in labels.sqlite", told), told
    assert "labels-damaged-1.sqlite" in told
    assert (folder / "labels-damaged-1.sqlite").read_bytes() == bytes(4096) + raw[4096:]
    with Session(folder) as session, Session(long_log) as before:
        assert session.labels() == before.labels()
        assert session.classes == before.classes
        assert session.status.round == 1
    assert main(["repair", str(folder)]) == 0
    assert "nothing was changed" in capsys.readouterr().out


def test_what_is_lost_is_said_and_no_number_of_the_log_is_given_twice(long_log, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(long_log, folder)
    path = folder / "labels.sqlite"
    raw = bytearray(path.read_bytes())
    page = raw.find(b"annotator0100") // 4096
    lost = sorted(int(n) for n in re.findall(rb"annotator(\d{4})", bytes(raw[page * 4096 : (page + 1) * 4096])))
    raw[page * 4096 : (page + 1) * 4096] = bytes(4096)
    path.write_bytes(raw)
    told = repair_session(folder)
    assert any(f"{len(lost)} entries are lost" in one and "asked again" in one for one in told), told
    database = Database(folder, write=True)
    assert database.append([Entry(0, "", 1, "skip")])[0].seq == 213
    database.close()


def test_rows_of_other_kinds_are_refused_with_a_sentence(long_log, tmp_path):
    changes = [
        "UPDATE labels SET item = 'x' WHERE seq = 20",
        "UPDATE labels SET item = 99 WHERE seq = 20",
        "UPDATE labels SET label = x'ff00' WHERE seq = 20",
        "UPDATE labels SET at = 7.5 WHERE seq = 20; UPDATE labels SET confidence = 'a' WHERE seq = 21",
        "UPDATE labels SET label = '[' WHERE action = 'class'",
        "UPDATE labels SET undoes = 5000 WHERE action = 'undo'",
        "UPDATE items SET twin = 'a' WHERE item = 3",
        "UPDATE items SET id = x'ff' WHERE item = 3",
        "UPDATE meta SET value = '[{}]' WHERE key = 'inputs'",
        "UPDATE meta SET value = '[[[' WHERE key = 'inputs'",
        "INSERT INTO meta VALUES ('class checks', '[{}]')",
        """INSERT INTO meta VALUES ('class checks', '[{"name": "ball", "threshold": 0, "rows": [99], "seq": 1}]')""",
        "INSERT INTO meta VALUES ('class checks', '{')",
        "UPDATE rounds SET record = '[]'",
        "UPDATE rounds SET record = json_set(record, '$.classes', 3)",
        "UPDATE rounds SET record = json_set(record, '$.shape', json('[\"a\"]'))",
        "UPDATE audits SET predicted = x'ff'",
    ]
    for change in changes:
        folder = tmp_path / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(long_log, folder)
        connection = sqlite3.connect(folder / "labels.sqlite")
        connection.execute("INSERT OR IGNORE INTO audits VALUES (1, 0, 'ball')")
        connection.executescript(change)
        connection.commit()
        connection.close()
        for write in (False, True):
            with pytest.raises(TomoTutorError, match=r"labels\.sqlite: damaged.*'tomotutor repair"):
                Session(folder, write=write)
        repair_session(folder)
        with Session(folder) as session:
            assert session.status.labeled == 24


def test_settings_and_masks_that_are_damaged_are_mended(whole, tmp_path, capsys):
    folder = tmp_path / "a"
    shutil.copytree(whole / "a", folder)
    settings = (folder / "session.toml").read_text()
    (folder / "session.toml").write_text(settings[:100])
    with pytest.raises(TomoTutorError, match=r"session\.toml: .*'tomotutor repair"):
        Session(folder)
    assert main(["repair", str(folder)]) == 0
    assert "session-damaged-1.toml" in capsys.readouterr().out
    assert (folder / "session.toml").read_text() == settings
    folder = tmp_path / "b"
    shutil.copytree(whole / "b", folder)
    path = min((folder / "masks").iterdir())
    path.write_bytes(path.read_bytes()[:60])
    assert main(["repair", str(folder)]) == 0
    assert "1 masks cannot be read; those images are asked again" in capsys.readouterr().out
    with Session(folder) as session:
        assert session.status.labeled == 3
        assert session.labels().keys() == {1, 2, 3}


@pytest.mark.parametrize("how", ["damaged", "gone"])
def test_settings_without_a_copy_are_made_anew_from_labels_and_rounds(whole, tmp_path, how, capsys):
    folder = tmp_path / "a"
    shutil.copytree(whole / "a", folder)
    with Session(folder) as session:
        session.change_classes(classes.rename(session.class_table, "ball", "sphere"))
        before, labels, recipe = session.classes, session.labels(), session.recipe
        ids = session.state.audit_kind
    (folder / "backups" / "session.toml").unlink()
    if how == "gone":
        (folder / "session.toml").unlink()
    else:
        (folder / "session.toml").write_text("classes = [")
    with pytest.raises(TomoTutorError, match=r"session\.toml: .*'tomotutor repair"):
        Session(folder)
    assert main(["repair", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "made anew: its classes are those of the labels and rounds (ball, slab, junk)" in told, told
    assert "its settings are those of the last round" in told
    with Session(folder) as session:
        assert session.classes == before == ("sphere", "slab", "third", "junk")
        assert (session.labels(), session.recipe, session.state.audit_kind) == (labels, recipe, ids)
        assert not session.notices
        session.undo()
        assert session.classes[0] == "ball"


def test_settings_without_a_copy_and_without_a_round_are_those_of_a_new_session(session, session_folder):
    answer_truthfully(session, 8)
    labels = session.labels()
    session.close()
    shutil.rmtree(session_folder / "backups")
    (session_folder / "session.toml").unlink()
    (told,) = repair_session(session_folder)
    assert "its settings are those of a new session" in told
    with Session(session_folder) as again:
        assert again.labels() == labels
        assert again.is_trainable()
    assert "nothing was changed" in repair_session(session_folder)[0]


def test_masks_do_not_tell_their_classes(whole, tmp_path):
    folder = tmp_path / "b"
    shutil.copytree(whole / "b", folder)
    shutil.rmtree(folder / "backups")
    (folder / "session.toml").write_text("[")
    with pytest.raises(TomoTutorError, match=r"no copy of session\.toml, and the labels do not say"):
        repair_session(folder)
    assert (folder / "session.toml").read_text() == "["


@pytest.mark.parametrize("copies", [True, False])
def test_a_bit_in_what_the_input_looked_like_does_not_lock_the_session(long_log, tmp_path, copies):
    folder = tmp_path / "copy"
    shutil.copytree(long_log, folder)
    if not copies:
        shutil.rmtree(folder / "backups")
    with closing(sqlite3.connect(folder / "labels.sqlite")) as connection, connection:
        (text,) = connection.execute("SELECT value FROM meta WHERE key = 'inputs'").fetchone()
        at = text.index('"projection_RD": [[') + len('"projection_RD": [[')
        at += text[at] == "-"
        changed = text[:at] + ("1" if text[at] == "3" else "3") + text[at + 1 :]
        connection.execute("UPDATE meta SET value = ? WHERE key = 'inputs'", (changed,))
    with pytest.raises(TomoTutorError, match=r"labels\.sqlite: damaged.*looked like is damaged.*'tomotutor repair"):
        Session(folder)
    told = " ".join(repair_session(folder))
    assert ("what the input looked like is lost" in told) == (not copies)
    with Session(folder) as session:
        assert session.status.labeled == 24
    assert "nothing is wrong" in repair_session(folder)[0]
