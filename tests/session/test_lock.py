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
from tomotutor.cli import main
from tomotutor.session import Session, lock

OPENER = """
import sys
from tomotutor.base.errors import TomoTutorError
from tomotutor.session import Session
print("ready", flush=True)
sys.stdin.readline()
try:
    session = Session(sys.argv[1])
except TomoTutorError as problem:
    assert "the session is open in another TomoTutor" in str(problem), problem
    print("refused", flush=True)
else:
    session.label(session.current.id, session.classes[0])
    print("got it", flush=True)
sys.stdin.readline()
"""


def opener(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", OPENER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


def go(process):
    process.stdin.write("\n")
    process.stdin.flush()


def race(folder, count):
    """Let processes open a session at once; one gets it, the others a sentence, and what it wrote is there."""
    with Session(folder, write=False) as session:
        before = len(session.labels())
    openers = [opener(folder) for _ in range(count)]
    for one in openers:
        go(one)
    answers = [one.stdout.readline().strip() for one in openers]
    for one in openers:
        one.communicate("\n", timeout=60)
        assert one.returncode == 0
    assert sorted(answers) == ["got it"] + ["refused"] * (count - 1)
    assert not list(folder.rglob("*.partial"))
    with Session(folder) as session:
        assert len(session.labels()) == before + 1
        assert not session.notices


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
    with pytest.raises(TomoTutorError, match=r"process 5 on node17.*if that machine is gone, give --take-lock to the"):
        Session(session_folder)


GONE = {"host": "node17", "boot": "00000000-0000", "pid": 5, "since": "2026-01-01"}


@pytest.fixture
def holder(session_folder):
    """A process that has the session open."""
    process = opener(session_folder)
    go(process)
    assert process.stdout.readline() == "got it\n"
    yield process
    process.communicate("\n", timeout=60)
    assert process.returncode == 0


@pytest.fixture
def labels(session_folder, tmp_path):
    """A file of one label for the session."""
    with Session(session_folder, write=False) as session:
        (tmp_path / "l.csv").write_text(f"item,class\n{session.ids[0]},ball\n")
    return ["import-labels", str(session_folder), str(tmp_path / "l.csv")]


def test_the_lock_of_a_live_process_is_never_taken(session_folder, holder, labels, capsys):
    before = (session_folder / ".lock.json").read_text()
    inode = (session_folder / ".lock").stat().st_ino
    assert main([*labels, "--take-lock"]) == 1
    assert f"runs on this machine (process {holder.pid} on " in capsys.readouterr().err
    # what stands there of a holder of before, or of another container, does not count where this machine knows better
    assert json.loads(before)["boot"] or sys.platform != "linux"
    for told in ({**json.loads(before), "host": "container"}, GONE):
        (session_folder / ".lock.json").write_text(json.dumps(told))
        if sys.platform == "linux":
            assert main([*labels, "--take-lock"]) == 1
            assert "runs on this machine" in capsys.readouterr().err
    (session_folder / ".lock.json").write_text("{")
    assert main([*labels, "--take-lock"]) == 1
    assert "does not say in which; nothing was changed" in capsys.readouterr().err
    assert (session_folder / ".lock").stat().st_ino == inode


def test_the_lock_of_a_machine_that_is_gone_is_taken_when_that_is_said(
    session_folder, holder, labels, tmp_path, monkeypatch, capsys
):
    (session_folder / ".lock.json").write_text(json.dumps(GONE))
    monkeypatch.setattr(lock, "_HELD", tmp_path / "none")  # the process stands for one of another machine
    assert main(labels) == 1
    assert "give --take-lock to the command" in capsys.readouterr().err
    assert main([*labels, "--take-lock"]) == 0
    with Session(session_folder) as session:
        assert set(session.labels().values()) == {"ball"}
        with pytest.raises(TomoTutorError, match=rf"process {os.getpid()} on .*; close it there first$"):
            Session(session_folder)
        assert main([*labels, "--take-lock"]) == 1  # the new holder lives
        assert "runs on this machine" in capsys.readouterr().err


def test_a_lock_that_nobody_holds_needs_no_taking(session_folder, labels):
    for _ in range(2):
        assert main([*labels, "--take-lock"]) == 0
    inode = (session_folder / ".lock").stat().st_ino
    assert main([*labels, "--take-lock"]) == 0
    assert (session_folder / ".lock").stat().st_ino == inode


def test_every_command_that_writes_to_a_session_can_take_its_lock():
    from tomotutor.cli import make_parser

    commands = next(a for a in make_parser()._actions if hasattr(a, "choices") and isinstance(a.choices, dict)).choices
    takes = {name for name, command in commands.items() if "--take-lock" in command._option_string_actions}
    writes = {"add", "relocate", "label", "import-labels", "round", "run", "repair", "classes", "accept", "check-class"}
    assert takes == writes


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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["session.toml", ".lock.json", "compute.json"])
def test_a_pipe_in_a_session_is_not_waited_for(session, session_folder, name):
    session.close()
    (session_folder / name).unlink(missing_ok=True)
    os.mkfifo(session_folder / name)
    with pytest.raises(TomoTutorError, match=rf"{name}: (a pipe|neither a file nor a folder)"):
        Session(session_folder)


@pytest.mark.parametrize(
    "name",
    [
        "rounds",
        ".lock",
        "rounds/0001",
        "labels.sqlite",
        "backups",
        "added",
        "compute.json",
        "embeddings/start/teacher.npy",
    ],
)
def test_links_that_lead_out_of_a_session_are_refused_before_anything_is_written(session, session_folder, name):
    session.close()
    outside = session_folder.parent / "outside"
    outside.mkdir()
    (outside / "0001").mkdir()
    (outside / "0001" / "victim.star").write_text("mine")
    target = outside if "." not in name else outside / "0001" / "victim.star"
    path = session_folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
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
