"""`bench gpu` at toy size, from its first line to weights that a session can start from."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tomotutor.benchmark.machine import gpu
from tomotutor.cli import main
from tomotutor.learn.models import build_pair
from tomotutor.learn.start import find_start, load_start


def test_a_toy_runs_to_its_end_on_a_cpu(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["bench", "gpu", "--toy", "--minutes", "20", "--out", str(out)]) == 0
    record = json.loads((out / "gpu.json").read_text())
    parts = record["parts"]
    assert list(parts) == ["layers", "speed", "round", "pretraining"]
    assert not [part["error"] for part in parts.values() if "error" in part]
    assert parts["layers"]["figures"]["resnet18_3d channels-last"]["relative_error"] < 0.05
    assert parts["speed"]["figures"]["width 0.25 bfloat16"]["training_items_per_s"] > 0
    assert parts["round"]["figures"]["labels"] == 8
    assert record["command"] == "tomotutor bench gpu --toy --minutes 20 --out out"
    assert record["machine"]["date"] and record["missing_modules"] == []
    assert all(path.stat().st_size < 16e6 for path in out.rglob("*.*"))
    pair = build_pair("resnet18", ndim=3, channels=1, edge=16, classes=2, width=0.25, seed=0)
    load_start(pair, find_start(str(out / "weights"))[0])
    assert capsys.readouterr().out.startswith("bench gpu: ")


def test_what_is_set_aside_is_never_trained_on(tmp_path):
    here = Path(__file__).parents[2] / "docs" / "benchmarks" / "set_aside.json"
    (tmp_path / "set_aside.json").write_text(here.read_text())
    held_out = set(gpu.never_trained_on(None))
    assert "1MNF" in held_out and "1Q3Q" not in held_out
    aside = json.loads(here.read_text())
    assert len({*aside["development"], *aside["final"]}) == 20
    assert set(gpu.never_trained_on(tmp_path)) == {
        *held_out,
        *aside["development"],
        *aside["final"],
        *aside["relatives"],
    }
    # the command of the next weights names the relatives among the structures of which more.csv knows nothing
    makefile = (here.parents[2] / "Makefile").read_text()
    never = re.findall(r"^(?:HELD_OUT|RELATED) := (.*)$", makefile, re.MULTILINE)
    assert set(",".join(never).split(",")) == {*held_out, "1YYF", "2MNR", "5IDE"}
    assert {"1YYF", "2MNR", "5IDE"} <= set(aside["relatives"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(tmp_path, capsys):
    assert main(["bench", "gpu", "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == (
        "tomotutor: bench gpu: torch sees no CUDA GPU here; run it where one is, or try it with --toy\n"
    )
    assert not (tmp_path / "out").exists()


def test_a_part_that_fails_is_recorded_and_the_rest_goes_on(tmp_path, monkeypatch):
    def broken(_place):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(gpu, "PARTS", {"one": (broken, 1.0), "two": (lambda place: {"left": place.left_s}, 5.0)})
    record = gpu.run_gpu(tmp_path, 1, True, None, "x")
    assert record["parts"]["one"]["error"] == "RuntimeError: no kernel"
    assert 4 < record["parts"]["two"]["figures"]["left"] <= 5
    assert json.loads((tmp_path / "gpu.json").read_text())["parts"] == record["parts"]


def test_the_process_ends_when_its_time_is_over(tmp_path):
    code = """
import time
from pathlib import Path
from tomotutor.benchmark.machine import gpu
gpu.PARTS = {"one": (lambda place: {"a": 1}, 1.0), "two": (lambda place: time.sleep(600), 1.0)}
gpu.PIECE_BYTES = 10
Path("weights.checkpoint").write_bytes(bytes(range(25)))
gpu.run_gpu(Path("."), 0.02, True, None, "x")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, timeout=120, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert "the time is over" in done.stdout
    assert json.loads((tmp_path / "gpu.json").read_text())["parts"]["one"]["figures"] == {"a": 1}
    checkpoint = tmp_path / "weights.checkpoint"
    assert sorted(path.name for path in tmp_path.glob("weights*")) == [f"{checkpoint.name}.{i}" for i in range(3)]
    gpu.join(checkpoint)
    assert checkpoint.read_bytes() == bytes(range(25))
    assert list(tmp_path.glob("weights*")) == [checkpoint]


def test_its_first_parts_need_torch_and_little_else():
    code = """
import sys
import tomotutor.cli.bench, tomotutor.benchmark.machine.gpu
names = "gemmi mrcfile psygnal tomli_w filelock skimage sklearn h5py matplotlib napari qtpy PySide6"
print([name for name in names.split() if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
