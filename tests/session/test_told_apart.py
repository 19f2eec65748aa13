"""Moved, no permission, read-only and damaged are told apart, for each file that a session needs."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

from helpers import FAST, answer_truthfully, two_kinds
from tomotutor.cli import main
from tomotutor.data.sources import Source
from tomotutor.session import Session
from tomotutor.session.create import create_session

NOBODY = 65534
WORDS = ("moved", "repair", "no permission", "the disk is read-only", "damaged")

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")


@pytest.fixture(scope="module")
def made():
    """A session with labels and its array, in a folder that everybody may look into: pytest's are the owner's alone."""
    folder = Path(tempfile.mkdtemp())
    x, y = two_kinds(24)
    np.savez(folder / "a.npz", x=x, y=y)
    create_session(folder / "session", Source("array", str(folder / "a.npz")), ["ball", "slab"], settings=FAST)
    with Session(folder / "session") as session:
        answer_truthfully(session, 8)
        (folder / "labels.csv").write_text(f"item,class\n{session.ids[20]},ball\n")
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextlib.contextmanager
def somebody():
    """Be somebody without rights: root reads and writes whatever the permissions say."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def told(capsys, *words):
    """Run a command that fails and return the one word of WORDS that it says."""
    assert main([*map(str, words)]) == 1
    sentence = capsys.readouterr().err
    assert sentence.startswith("tomotutor: ")
    print(sentence)
    return [word for word in WORDS if word in sentence]


FILES = ("a.npz", "session/session.toml", "session/labels.sqlite", "labels.csv")


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_may_not_be_read_is_no_damaged_one(made, capsys, name):
    path = made / name
    path.chmod(0)
    owned = [made / "session", *(made / "session").rglob("*")] if os.geteuid() == 0 else []
    for one in owned:
        os.chown(one, NOBODY, NOBODY)
    try:
        with somebody():
            found = told(capsys, "import-labels", made / "session", made / "labels.csv")
    finally:
        for one in owned:
            os.chown(one, 0, 0)
        path.chmod(0o644)
    assert found == ["no permission"]


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_no_lost_one(made, capsys, name):
    path = made / name
    raw = path.read_bytes()
    path.write_bytes(b"\xff\xfe\0" + raw[50:])
    try:
        assert told(capsys, "import-labels", made / "session", made / "labels.csv")[-1:] == ["damaged"]
    finally:
        path.write_bytes(raw)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_there_is_no_damaged_one(made, capsys, name):
    path = made / name
    path.rename(made / "elsewhere")
    try:
        found = told(capsys, "import-labels", made / "session", made / "labels.csv")
    finally:
        (made / "elsewhere").rename(path)
    assert found == (["moved"] if "session/" not in name else ["repair"])


def test_a_session_of_somebody_else_may_be_read_alone(made, capsys):
    parts = [made / "session", *(path for path in (made / "session").rglob("*") if path.is_dir())]
    for part in parts:
        part.chmod(0o555)
    try:
        with somebody():
            assert main(["status", str(made / "session")]) == 0
            assert told(capsys, "import-labels", made / "session", made / "labels.csv") == ["no permission"]
    finally:
        for part in parts:
            part.chmod(0o755)


def test_a_disk_that_is_read_only_is_said(made, tmp_path, capsys):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not permitted")
    try:
        shutil.copytree(made / "session", disk / "session")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert main(["status", str(disk / "session")]) == 0
        assert told(capsys, "import-labels", disk / "session", made / "labels.csv") == ["the disk is read-only"]
    finally:
        subprocess.run(["umount", str(disk)], check=False)
