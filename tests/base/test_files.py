import errno
import os
from pathlib import Path

import pytest

from tomotutor.base.errors import TomoTutorError, unreadable
from tomotutor.base.files import new_file, new_folder, safe_names


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "a" / "round"
    with new_folder(target) as partial:
        (partial / "x").write_text("1")
        assert not target.exists()
    assert (target / "x").read_text() == "1"
    with pytest.raises(ValueError, match="half-way"), new_folder(tmp_path / "a" / "other") as partial:
        (partial / "x").write_text("1")
        raise ValueError("half-way")
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["round"]


def test_a_file_is_the_old_one_or_the_new_one(tmp_path):
    target = tmp_path / "f"
    target.write_text("old")
    with pytest.raises(ValueError, match="half-way"), new_file(target) as partial:
        partial.write_text("ne")
        raise ValueError("half-way")
    assert target.read_text() == "old"
    with new_file(target) as partial:
        partial.write_text("new")
    assert target.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_written_to_and_stays(tmp_path):
    target = tmp_path / "f"
    os.mkfifo(target)
    with pytest.raises(TomoTutorError, match=r"f: cannot be written"), new_file(target) as partial:
        partial.write_text("nobody reads")
    reader = os.open(target, os.O_RDONLY | os.O_NONBLOCK)
    with new_file(target) as partial:
        partial.write_text("new")
    assert target.is_fifo()
    assert os.read(reader, 100) == b"new"
    os.close(reader)
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path):
    target = tmp_path / "f"
    target.write_text("old")
    with (
        pytest.raises(TomoTutorError, match=r"cannot be written \(the disk is full; make room\); nothing was changed"),
        new_file(target) as partial,
    ):
        partial.symlink_to("/dev/full")
        partial.write_text("x" * 100000)
    assert target.read_text() == "old"


def test_every_name_has_a_file_of_its_own_that_stays_in_its_folder(tmp_path):
    names = [
        "a b",
        "a_b",
        "a_b-2",
        "A_B",
        "F1/Fo",
        "../../../pwned",
        "/abs",
        "..",
        "",
        "c:\\x",
        ".hidden",
        "é",
        "e\u0301",
    ]
    files = safe_names(names)
    assert files[:3] == ("a_b-4", "a_b", "a_b-2")  # those that are files already keep their names
    assert len({name.casefold() for name in files}) == len(names)
    for name in files:
        assert (tmp_path / name).resolve().parent == tmp_path.resolve()
        (tmp_path / name).write_text(name)
    assert len(list(tmp_path.iterdir())) == len(names)


def test_what_the_disk_says_is_told_apart(tmp_path):
    def told(number):
        return str(unreadable(tmp_path / "f", OSError(number, os.strerror(number)), "a list"))

    words = {"moved": errno.ENOENT, "permission": errno.EACCES, "read-only": errno.EROFS, "full": errno.ENOSPC}
    for word, number in words.items():
        assert [w for w in (*words, "damaged") if w in told(number)] == [word]
    assert str(unreadable("f", ValueError("a\nb"), "a list", "copy it")) == (
        "f: damaged, or not a list that can be read (a); copy it"
    )
    with pytest.raises(TomoTutorError, match="it is a folder; expected a file"), new_file(tmp_path) as partial:
        partial.write_text("a file cannot replace a folder")


def test_no_message_echoes_a_file():
    text = str(TomoTutorError("f: found " + "x\n\x1b[2J" * 100_000))
    assert len(text) <= 1500
    assert text.isprintable()
