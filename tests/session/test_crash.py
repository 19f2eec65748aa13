"""Real kill -9 at any moment: every acknowledged label is there, and the session goes on."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from tomotutor.session import Session

LABELER = """
import sys, numpy as np
from tomotutor.session import Session
session = Session(sys.argv[1], automatic=sys.argv[2] == "train")
y = np.load(session.array_file)["y"]
print("ready", flush=True)
while (item := session.current) is not None:
    name = ["ball", "slab"][y[item.row]]
    session.label(item.id, name)
    print(item.id, name, flush=True)  # acknowledged: label() returned
    if sys.argv[2] == "train" and session.status.labeled > 8:
        session.wait()
session.wait()
print("end", flush=True)
"""


def wait_for_a_round(folder, timeout_s=60):
    """Wait until a round is being written or has just been."""
    before = set((folder / "rounds").glob("*"))
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and set((folder / "rounds").glob("*")) == before:
        time.sleep(0.002)


def run_and_kill(folder, mode, after_s):
    process = subprocess.Popen([sys.executable, "-c", LABELER, str(folder), mode], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    if mode == "train":
        wait_for_a_round(folder)
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    out = process.stdout.read()
    process.wait()
    complete = out[: out.rfind("\n") + 1].splitlines()  # a line cut in two was not acknowledged to anybody
    return dict(line.split() for line in complete if line != "end")


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_killed_while_labeling(session_folder):
    rng = random.Random(0)
    acknowledged = {}
    for _ in range(6):
        acknowledged |= run_and_kill(session_folder, "label", rng.uniform(0, 0.06))
        session = Session(session_folder)  # the lock of the killed one is gone
        labels = {session.pool.ids[row]: name for row, name in session.labels().items()}
        session.close()
        assert acknowledged.items() <= labels.items()
        assert len(labels) <= len(acknowledged) + 1  # one may have been committed and not yet acknowledged
        acknowledged = labels
    assert acknowledged


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_killed_while_training_and_writing_rounds(session_folder):
    rng = random.Random(1)
    acknowledged, rounds = {}, 0
    for attempt in range(3):
        acknowledged |= run_and_kill(session_folder, "train", rng.choice([0.0, 0.0, 0.005, 0.05, 1.0]))
        session = Session(session_folder)
        labels = {session.pool.ids[row]: name for row, name in session.labels().items()}
        assert acknowledged.items() <= labels.items()
        acknowledged = labels
        assert len(session.rounds) >= rounds
        rounds = len(session.rounds)
        if rounds:
            assert len(session.predictions().class_N) == 60  # weights and scores of the last recorded round are whole
        if session.is_trainable() and attempt == 2:
            assert session.run_round().round == rounds + 1
            rounds += 1
        session.close()
    assert rounds >= 1


def test_the_first_labels_wait_for_no_torch(session_folder):
    code = """
import sys
from tomotutor.session import Session
session = Session(sys.argv[1])
session.label(session.current.id, "ball")
session.upcoming(5), session.status
print([name for name in ("torch", "sklearn") if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code, str(session_folder)], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
