"""Damaged files of every format end in our error or in valid data (see fuzz.py, which reads them in processes of its
own).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from formats.fuzz import FORMATS

SCRIPT = Path(__file__).with_name("fuzz.py")


def fuzz(names, count, folder):
    """Return what processes found; where one dies, the file it was reading counts as failed and another one goes on."""
    found, left, skip = [], list(names), 0
    while left:
        words = [sys.executable, str(SCRIPT), ",".join(left), str(count), str(folder), str(skip)]
        ran = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        done = [json.loads(line) for line in ran.stdout.splitlines()]
        found += done
        left, skip = left[len(done) :], 0 if done else skip
        if ran.returncode:
            assert (folder / "now").exists(), ran.stderr
            name, number, raw = (folder / "now").read_text().split(" ", 2)
            failed = [f"{number}: died with {ran.returncode} for {raw}"]
            found.append({"format": name, "tried": int(number) + 1 - skip, "read": 0, "failed": failed})
            skip = int(number) + 1
    return found


def test_damaged_files_of_every_format(tmp_path):
    found = fuzz(FORMATS, 40, tmp_path)
    assert sum(one["tried"] for one in found) == 40 * len(FORMATS)
    assert [one["failed"] for one in found if one["failed"]] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_many_damaged_files(tmp_path, name):
    count = int(os.environ.get("TOMOTUTOR_MUTANTS", "20000"))
    found = fuzz([name], count, tmp_path)
    failed = [line for one in found for line in one["failed"]]
    tried, read = (sum(one[key] for one in found) for key in ("tried", "read"))
    print(
        f"\npromise: a damaged {name} file ends in one sentence or in valid data, within 10 s and 1 GiB; "
        f"tried {tried}, of which {read} could be read; failed {len(failed)}"
    )
    assert tried == count
    assert failed == []
