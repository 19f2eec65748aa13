from pathlib import Path

import pytest

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.files import new_file, new_folder


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
