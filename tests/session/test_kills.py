"""kill -9 at any moment of everything that writes. Promise: what was acknowledged is there, what was not is whole or
absent, and the next opening goes on.
"""

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tomotutor.session import Session, bulk

KILLS = int(os.environ.get("TOMOTUTOR_KILLS", "520"))  # in the slow test
WAYS = ("label", "take_over", "select", "accept", "turn", "change", "train", "write")  # see kills.py
RENEWED = 20  # kills of a way, after which it begins with a fresh session: a log that only grows takes long to open

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


@pytest.fixture(scope="module")
def server():
    """What starts a process for each kill, see kills.py."""
    words = [sys.executable, str(Path(__file__).with_name("kills.py"))]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.communicate(timeout=60)


def kill(server: subprocess.Popen, folder: Path, way: str, after_s: float) -> list[list[str]]:
    """Run one way of writing, kill it, and return what it acknowledged."""
    server.stdin.write(f"{folder} {way}\n")
    server.stdin.flush()
    ready, pid = server.stdout.readline().split()
    assert ready == "ready"
    started = {"train": "trained", "write": "ready to write", "select": "from", "accept": "from"}.get(way)
    lines = []
    while started and not (lines and lines[-1].startswith(started)):
        lines.append(server.stdout.readline())
        assert not lines[-1].startswith("ended"), "it ended by itself"
    time.sleep(after_s)
    os.kill(int(pid), signal.SIGKILL)
    while not (line := server.stdout.readline()).startswith("ended"):
        lines.append(line)
    assert line == f"ended {-signal.SIGKILL}\n", "it ended by itself"
    return [line.split() for line in lines]


def check(folder: Path, way: str, told: list[list[str]]) -> int:
    """Open the session again and hold it against what was acknowledged; return how many answers that were."""
    with Session(folder) as session:
        labels = session.labels()
        answers = [line for line in told if line[0] in ("label", "all", "renamed", "step")]
        if way in ("label", "train"):
            known = {int(row): name for _, row, name in answers}
            coming = {(int(answers[-1][1]) + 1) % len(session.ids)} if answers else {0}  # committed, not yet said
            wrong = [row for row, name in known.items() if labels.get(row) != name and row not in coming]
            assert not wrong
        if way == "take_over" and answers:
            assert len(labels) == len(session.ids)
            assert len(set(labels.values())) == 1  # all of them or none
        if way in ("select", "accept"):
            given = {int(seq): int(count) for _, seq, count in answers}
            first = next(int(line[1]) for line in told if line[0] == "from")
            logged = Counter(e.of_step for e in session._core.database.entries() if e.seq > first and bulk.is_bulk(e))
            assert given.items() <= logged.items()
            assert len(logged) <= len(given) + 1  # committed, not yet said
            assert len(set(logged.values())) <= 1, "a step is whole"
            if told and told[-1][0] == "undone":
                assert all(e.of_step not in given for e in session.state.log.active)
        if way == "turn":
            begun = [int(line[1]) for line in told if line[0] == "begin"]
            done = {int(row): name for _, row, name in answers}
            for row, name in done.items():
                assert row == begun[-1] or labels.get(row, "-") == name
        if way == "change" and answers:
            last = int(answers[-1][-1])
            assert session.classes[0] in (f"name_{last}", f"name_{last + 1}")
        rounds = [int(line[1]) for line in told if line[0] == "trained"]
        if rounds:
            assert rounds[-1] <= len(session.rounds) <= rounds[-1] + 1
        if session.rounds:
            assert len(session.predictions().class_N) == len(session.ids)
        assert not session.notices
    if way == "write" and any(line[0] == "exported" for line in told):
        (table,) = (folder.parent / "out").glob("*.csv")
        with table.open(newline="") as handle:
            assert len(list(csv.DictReader(handle))) == len(labels | dict.fromkeys(range(60)))
    return len(answers)


def kill_many(server: subprocess.Popen, folder: Path, ways: tuple[str, ...], count: int) -> None:
    rng, answers = random.Random(0), 0
    for number in range(count):
        way = ways[number % len(ways)]
        session = folder.parent / way / "session"
        if number // len(ways) % RENEWED == 0:
            shutil.rmtree(session.parent, ignore_errors=True)
            shutil.copytree(folder, session)
        if number % 40 == 0:
            print(f"{number} kills, {answers} answers", flush=True)
        after_s = rng.choice([rng.uniform(0, 0.05), rng.uniform(0, 0.6)])
        answers += check(session, way, kill(server, session, way, after_s))
    print(f"kills while {', '.join(ways)}: {count} tried, {answers} answers acknowledged, 0 lost")
    assert answers


def test_killed_in_bulk_undo_and_changes_of_classes(session_folder, server):
    kill_many(server, session_folder, ("take_over", "select", "turn", "change"), 4)


@pytest.mark.slow
def test_killed_many_times(session_folder, server):
    kill_many(server, session_folder, WAYS, KILLS)


def _small_disk(folder: Path) -> bool:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
def test_a_full_disk_loses_nothing_and_is_said(session_folder, tmp_path):
    from tomotutor.base.errors import TomoTutorError

    disk = tmp_path / "disk"
    if not _small_disk(disk):
        pytest.skip("mounting a small disk is not permitted")
    try:
        shutil.copytree(session_folder, disk / "session")
        with Session(disk / "session") as session:
            left = shutil.disk_usage(disk).free
            (disk / "ballast").write_bytes(bytes(max(left - 40_000, 0)))
            done = 0
            with pytest.raises(TomoTutorError, match=r"the label could not be saved .*free some space"):
                for n in range(10_000):
                    session.label(session.ids[n % 60], "ball" if n % 120 < 60 else "slab")
                    done += 1
            with pytest.raises(TomoTutorError):
                session.run_round()
            (disk / "ballast").unlink()
            session.label(session.ids[0], "slab")
            assert session.status.labeled == min(done, 60)
        with Session(disk / "session") as again:
            assert len(again.state.log.active) == done + 1
        print(f"full disk: {done} labels acknowledged before it, 0 lost")
    finally:
        subprocess.run(["umount", str(disk)], capture_output=True, check=False)
