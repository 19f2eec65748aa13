"""One writer: who holds a session, what a killed writer left, and links that lead out of it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from helpers import answer_truthfully
from tomotutor.base.errors import TomoTutorError
from tomotutor.session import Session

OPENER = """
import sys, time
from pathlib import Path
from tomotutor.base.errors import TomoTutorError
from tomotutor.session.database import Database
folder = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    Database(folder, write=True)
except TomoTutorError as problem:
    assert "open in another TomoTutor" in str(problem), problem
    print("refused", flush=True)
else:
    print("got it", flush=True)
sys.stdin.readline()
"""


def race(folder, count):
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(count)
    ]
    for one in openers:
        assert one.stdout.readline() == "ready\n"
    for one in openers:
        one.stdin.write("\n")
        one.stdin.flush()
    answers = [one.stdout.readline().strip() for one in openers]
    for one in openers:
        one.communicate("\n", timeout=60)
    assert sorted(answers) == ["got it"] + ["refused"] * (count - 1)


def test_of_several_openers_one_gets_the_session(session_folder):
    race(session_folder, 3)


@pytest.mark.slow
def test_of_twenty_openers_one_gets_the_session(session_folder):
    for _ in range(5):
        race(session_folder, 20)
    print("openers racing: 5 × 20 tried, 0 failed")


def test_who_holds_a_session_is_said_and_what_to_do_when_that_machine_is_gone(session, session_folder):
    with pytest.raises(TomoTutorError, match=rf"\(process {os.getpid()} on .*, since .*\); close it there first$"):
        Session(session_folder)
    (session_folder / ".lock.json").write_text(json.dumps({"host": "node17", "pid": 5, "since": "2026-01-01"}))
    with pytest.raises(TomoTutorError, match=r"process 5 on node17.*if that machine is gone, delete .*\.lock$"):
        Session(session_folder)
    (session_folder / ".lock").unlink()
    Session(session_folder).close()


def test_what_a_killed_writer_left_is_removed_and_nothing_else(session, session_folder):
    session.close()
    rounds = session_folder / "rounds"
    (rounds / ".0001.abc.partial").mkdir(parents=True)
    (rounds / ".0001.abc.partial" / "scores.npz").write_bytes(b"x")
    ours = [rounds / ".0001.abc.partial", session_folder / ".session.toml.17.partial"]
    others = [session_folder / ".notes.txt.1.partial", session_folder / "mine.partial", session_folder / "report"]
    for path in (ours[1], others[0], others[1]):
        path.write_text("x")
    others[2].mkdir()
    Session(session_folder, write=False).close()
    assert all(path.exists() for path in ours)
    Session(session_folder).close()
    assert not any(path.exists() for path in ours)
    assert all(path.exists() for path in others)


@pytest.mark.parametrize(
    "name", ["rounds", ".lock", "rounds/0001", "labels.sqlite", "backups", "added", "compute.json"]
)
def test_links_that_lead_out_of_a_session_are_refused_before_anything_is_written(session, session_folder, name):
    session.close()
    outside = session_folder.parent / "outside"
    outside.mkdir()
    (outside / "0001").mkdir()
    (outside / "0001" / "victim.star").write_text("mine")
    target = outside if "." not in name else outside / "0001" / "victim.star"
    path = session_folder / name
    path.parent.mkdir(exist_ok=True)
    if path.exists() and path.is_dir():
        path.rename(session_folder.parent / "moved")
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    with pytest.raises(TomoTutorError, match=r"a link that leads out of the session"):
        Session(session_folder)
    assert (outside / "0001" / "victim.star").read_text() == "mine"
    assert sorted(p.name for p in outside.rglob("*")) == ["0001", "victim.star"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_sigterm_gives_a_running_round_up_in_order(session, session_folder):
    answer_truthfully(session, 8)
    session.set_recipe(session.recipe.replace(steps=100_000))
    session.close()
    code = "import sys; from tomotutor.cli import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "round", str(session_folder)], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (session_folder / ".lock.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    before = (session_folder / ".lock.json").read_text()
    while json.loads(before)["pid"] != process.pid and time.monotonic() < deadline:
        time.sleep(0.05)
        before = (session_folder / ".lock.json").read_text() or before
    time.sleep(2)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "ended by SIGTERM; all labels and finished rounds are saved" in told
    assert "Traceback" not in told
    with Session(session_folder) as again:
        assert again.status.labeled == 8
        assert again.status.round == 0
        assert not list(session_folder.rglob("*.partial"))
