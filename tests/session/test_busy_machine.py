"""A round beside other programs, as people label beside their other jobs."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from helpers import FAST, answer_truthfully, two_kinds
from tomotutor.data.sources import Source
from tomotutor.session import Session
from tomotutor.session.session_file import create_session

ROUND = """
import sys, time
from tomotutor.session import Session
session = Session(sys.argv[1])
start = time.perf_counter()
session.run_round()
print(time.perf_counter() - start)
session.close()
"""
PROGRAMS, LIMIT = 3, 1.5


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a way to take two cores")
def test_a_round_beside_three_programs_on_two_cores_takes_its_share_and_little_more(tmp_path):
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        pytest.skip("needs two cores")
    x, y = two_kinds(60, 32)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    settings = {**FAST, "steps": "30", "batch_size": "16", "precision": "auto"}
    create_session(tmp_path / "s", Source("array", str(tmp_path / "a.npz")), ["ball", "slab"], settings=settings)
    session = Session(tmp_path / "s")
    answer_truthfully(session, 20)
    session.close()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_"))}

    def start(*words: str) -> subprocess.Popen:
        pinned = f"import os; os.sched_setaffinity(0, {cores}); exec({words[0]!r})"
        return subprocess.Popen(
            [sys.executable, "-c", pinned, *words[1:]], stdout=subprocess.PIPE, text=True, env=environment
        )

    def seconds(name: str) -> float:
        shutil.copytree(tmp_path / "s", tmp_path / name)
        run = start(ROUND, str(tmp_path / name))
        out, _ = run.communicate()
        assert run.returncode == 0
        return float(out)

    seconds("first")  # measures the path, once a machine
    shutil.copy(tmp_path / "first" / "compute.json", tmp_path / "s")
    alone = seconds("alone")
    others = [start("while True: pass") for _ in range(PROGRAMS)]
    try:
        beside = seconds("beside")
    finally:
        for other in others:
            other.kill()
            other.communicate()
    assert beside <= LIMIT * alone * (PROGRAMS + 1) / len(cores), f"{beside:.1f} s, alone {alone:.1f} s"
