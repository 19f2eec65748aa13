"""Undo, redo, classes in midstream, rounds gone back to, and sessions opened to look only."""

import json
import re
import shlex
import sqlite3

import numpy as np
import pytest

from helpers import answer_truthfully
from tomotutor.base.errors import TomoTutorError
from tomotutor.cli import main
from tomotutor.session import Session, classes
from tomotutor.session.database import Database


def changes(session):
    return session.class_table


def test_redo_brings_back_what_undo_took_until_something_is_answered(session, session_folder):
    first, second = session.current.id, session.upcoming(1)[0].id
    session.label(first, "ball")
    session.label(second, "slab")
    session.undo()
    session.undo()
    assert session.labels() == {}
    assert session.redo().id == first
    assert list(session.labels().values()) == ["ball"]
    session.close()
    with Session(session_folder) as again:  # the log knows what can be brought back
        assert again.redo().id == second
        assert sorted(again.labels().values()) == ["ball", "slab"]
        assert again.redo() is None
        again.undo()
        again.label(first, "slab")
        assert again.redo() is None


def test_a_renamed_class_takes_its_labels_and_predictions_along(session, session_folder):
    answer_truthfully(session, 14)
    session.run_round()
    before = session.predictions()
    audit = session.status.audit
    session.change_classes(classes.rename(changes(session), "ball", "F1/Fo"))
    assert session.classes == ("F1/Fo", "slab", "junk")
    assert set(session.labels().values()) == {"F1/Fo", "slab"}
    after = session.predictions()
    np.testing.assert_array_equal(after.class_N, before.class_N)
    assert session.status.audit == audit
    with pytest.raises(TomoTutorError, match="class 'ball' is not one of F1/Fo, slab, junk"):
        session.label(session.current.id, "ball")
    session.run_round()
    session.close()
    with Session(session_folder) as again:
        assert again.classes == ("F1/Fo", "slab", "junk")
        for _ in range(1):
            again.undo()
        assert again.classes == ("ball", "slab", "junk")
        assert set(again.labels().values()) == {"ball", "slab"}


def test_a_merged_class_is_gone_and_its_labels_are_those_of_the_other(session):
    answer_truthfully(session, 14)
    session.run_round()
    session.change_classes(classes.add(changes(session), "third"))
    assert session.classes == ("ball", "slab", "third", "junk")
    assert len(session.current.teacher_probs or session.upcoming(9)[-1].teacher_probs) in (0, 4)
    slabs = sum(name == "slab" for name in session.labels().values())
    session.label(session.current.id, "third")
    session.change_classes(classes.merge(changes(session), "slab", "third"))
    assert session.classes == ("ball", "third", "junk")
    assert sum(name == "third" for name in session.labels().values()) == slabs + 1
    answers = session.predictions()
    assert set(answers.class_N.tolist()) <= {0, 1, 2}
    session.run_round()  # trains for the classes of now
    assert session.model.classes == ("ball", "third", "junk")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: classes.add(c, "BALL"), "a name is there twice"),
        (lambda c: classes.rename(c, "cube", "x"), "class 'cube' is not one of ball, slab, junk"),
        (lambda c: classes.merge(c, "ball", "ball"), "cannot become part of"),
        (lambda c: classes.reorder(c, ["ball"]), "expected each of ball, slab, junk once"),
        (lambda c: classes.recolour(c, "ball", "red"), "colour 'red'"),
        (lambda c: classes.rekey(c, "ball", "F1"), "key 'F1'"),
        (lambda c: classes.add(c, "../x"), "no usable name"),
    ],
)
def test_a_change_of_classes_that_makes_no_sense_is_refused(session, change, message):
    with pytest.raises(TomoTutorError, match=message):
        session.change_classes(change(changes(session)))
    assert session.classes == ("ball", "slab", "junk")


def test_colours_keys_and_order_are_kept(session, session_folder):
    session.change_classes(classes.recolour(changes(session), "slab", "#1F77B4"))
    session.change_classes(classes.rekey(changes(session), "slab", "q"))
    session.change_classes(classes.reorder(changes(session), ["slab", "ball", "junk"]))
    session.close()
    with Session(session_folder, write=False) as again:
        assert again.classes == ("slab", "ball", "junk")
        assert again.class_table.colours == {"slab": "#1f77b4"}
        assert again.class_table.keys == {"slab": "q"}


def test_one_goes_back_to_an_earlier_model(session, session_folder):
    answer_truthfully(session, 12)
    session.run_round()
    first = session.predictions().confidence_N
    answer_truthfully(session, 6)
    session.run_round()
    session.use_round(1)
    assert session.status.round == 1
    np.testing.assert_array_equal(
        session.predictions().confidence_N[~session.predictions().labeled_N], first[~session.predictions().labeled_N]
    )
    session.close()
    with Session(session_folder) as again:
        assert again.status.round == 1
        again.run_round()
        assert again.status.round == 3
    with pytest.raises(TomoTutorError, match="no round 9"), Session(session_folder) as again:
        again.use_round(9)


def test_a_session_opened_to_look_changes_nothing_on_disk(session, session_folder):
    answer_truthfully(session, 12)
    session.run_round()

    def files():
        return {p: p.read_bytes() for p in session_folder.rglob("*") if p.is_file() and p.name != ".lock"}

    before = files()
    with Session(session_folder, write=False) as looking:  # while it is open elsewhere
        assert len(looking.predictions().class_N) == 60
        for change in (
            lambda: looking.set_recipe(looking.recipe.replace(query_size=7)),
            lambda: looking.label(looking.current.id, "ball"),
            lambda: looking.undo(),
            lambda: looking.run_round(),
            lambda: looking.hold_out(np.array([1])),
            lambda: looking.change_classes(classes.add(looking.class_table, "x")),
            lambda: looking.use_round(1),
        ):
            with pytest.raises(TomoTutorError, match="opened to look only"):
                change()
        assert not looking.start_round()
    assert files() == before
    with pytest.raises(TomoTutorError, match="the session was closed"):
        session.close()
        session.label("1", "ball")


def test_the_share_of_audit_items_is_settled_by_the_first_label(session):
    session.set_recipe(session.recipe.replace(audit_share=5))
    answer_truthfully(session, 1)
    with pytest.raises(TomoTutorError, match=r"share of audit items \(5\) cannot change after the first label"):
        session.set_recipe(session.recipe.replace(audit_share=2))


def test_other_settings_tell_that_the_queue_changed(session):
    told = []
    session.queue_changed.connect(lambda: told.append(1))
    session.set_recipe(session.recipe.replace(query_size=7))
    assert told


@pytest.mark.parametrize("damage", ["scores", "folder", "weights", "pool"])
def test_a_session_goes_on_without_a_lost_or_damaged_round(session, session_folder, damage):
    import shutil

    answer_truthfully(session, 12)
    session.run_round()
    session.predictions()
    session.close()
    folder = session_folder / "rounds" / "0001"
    if damage == "folder":
        shutil.rmtree(folder)
    else:
        name = {"scores": "scores.npz", "weights": "teacher.safetensors", "pool": "pool.npz"}[damage]
        (folder / name).write_bytes((folder / name).read_bytes()[:50])
    with Session(session_folder) as again:
        assert (len(again.notices) == 1) == (damage in ("scores", "folder"))
        assert again.status.labeled == 12
        if damage in ("weights", "folder"):
            (folder / "pool.npz").unlink(missing_ok=True)
            what = "no such file; it was moved" if damage == "folder" else "damaged, or not the weights"
            with pytest.raises(TomoTutorError, match=rf"teacher\.safetensors: {what}.*train anew \('tomotutor round'"):
                again.predictions()
        answer_truthfully(again, 6)
        assert again.run_round().round == 2
        assert len(again.predictions().class_N) == 60


def test_a_class_renamed_by_hand_is_said_on_opening(session, session_folder):
    answer_truthfully(session, 3)
    session.close()
    path = session_folder / "session.toml"
    path.write_text(path.read_text().replace('"ball"', '"sphere"'))
    with pytest.raises(TomoTutorError, match=r"session\.toml: does not name the class 'ball'.*--rename"):
        Session(session_folder)


def test_class_names_that_leave_the_folder_are_refused_on_reading(session, session_folder):
    session.close()
    path = session_folder / "session.toml"
    path.write_text(path.read_text().replace('"ball"', '"../../../pwned"'))
    with pytest.raises(TomoTutorError, match=r"session\.toml: class .*no usable name"):
        Session(session_folder)


def test_an_earlier_layout_is_migrated_after_a_copy_and_left_alone_by_readers(session, session_folder):
    answer_truthfully(session, 5)
    labels = session.labels()
    session.close()
    path = session_folder / "labels.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("ALTER TABLE labels DROP COLUMN step")
    connection.execute("UPDATE meta SET value = '1' WHERE key = 'schema'")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with Session(session_folder, write=False) as looking:
        assert looking.labels() == labels
    assert path.read_bytes() == before
    with Session(session_folder) as again:
        assert again.labels() == labels
        again.undo()
        again.redo()
    copy = Database(_alone(session_folder, "labels-layout-1.sqlite"), write=False)
    assert copy.meta("schema") == "1"
    assert len(copy.entries()) == 5
    copy.close()


def _alone(folder, name):
    """A folder in which a copy of the database has the name it is opened by."""
    target = folder / "alone"
    target.mkdir()
    (target / "labels.sqlite").write_bytes((folder / name).read_bytes())
    return target


def test_each_round_leaves_a_copy_of_the_labels_and_few_are_kept(session, session_folder):
    for n in range(5):
        answer_truthfully(session, 12 if n == 0 else 3)
        session.run_round()
    copies = sorted(p.name for p in (session_folder / "backups").glob("labels-*"))
    assert copies == ["labels-0003.sqlite", "labels-0004.sqlite", "labels-0005.sqlite"]
    newest = sqlite3.connect(session_folder / "backups" / copies[-1])
    assert newest.execute("SELECT count(*) FROM labels").fetchone() == (24,)
    (record,) = newest.execute("SELECT record FROM rounds WHERE number = 5").fetchone()
    assert json.loads(record)["classes"] == ["ball", "slab", "junk"]
    newest.close()


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (["--rename", "ball", "sphere"], ("sphere", "slab", "junk")),
        (["--rename", "ball", "disc"], ("sphere", "slab", "disc", "junk")),
        (["--merge", "ball", "slab"], ("sphere", "slab", "junk")),
    ],
)
def test_a_class_renamed_by_hand_is_mended_by_the_command(session, session_folder, capsys, change, names):
    answer_truthfully(session, 6)
    given = session.labels()
    session.close()
    folder = session_folder.rename(session_folder.parent / "my session's")
    path = folder / "session.toml"
    path.write_text(path.read_text().replace('"ball"', '"sphere"'))
    assert main(["classes", str(folder)]) == 1
    told = capsys.readouterr().err
    copied = [shlex.split(words) for words in re.findall(r"'(tomotutor .*?)'(?=,? or|\n)", told)]
    assert copied == [
        ["tomotutor", "classes", str(folder), *more, word]
        for more, word in ((["--rename", "ball"], "NEW"), (["--merge", "ball"], "INTO"))
    ]
    assert main(["classes", str(folder), *change]) == 0
    with Session(folder) as again:
        assert again.classes == names
        assert again.labels() == {row: change[2] if name == "ball" else name for row, name in given.items()}


def test_the_command_lists_and_changes_classes(session, session_folder, capsys):
    answer_truthfully(session, 6)
    balls = list(session.labels().values()).count("ball")
    session.close()
    for change in (
        ["--add", "third"],
        ["--rename", "slab", "plate"],
        ["--recolour", "ball", "#FF0000"],
        ["--key", "plate", "p"],
        ["--order", "plate,ball,third,junk"],
        ["--merge", "ball", "third"],
    ):
        assert main(["classes", str(session_folder), *change]) == 0
    capsys.readouterr()
    assert main(["classes", str(session_folder)]) == 0
    told = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert told == [
        ["1", "plate", str(6 - balls), "labels", "key", "p"],
        ["2", "third", str(balls), "labels"],
        ["3", "junk", "0", "labels"],
    ]
    assert main(["classes", str(session_folder), "--add", "x", "--rename", "third", "y"]) == 1
    assert main(["classes", str(session_folder), "--rename", "fourth", "y"]) == 1
    assert "class 'fourth' is not one of plate, third, junk" in capsys.readouterr().err
