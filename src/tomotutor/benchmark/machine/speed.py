"""Speed and memory on this machine, as ratios against a plain peer or against a measured ceiling, in one run."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.files import new_file
from tomotutor.benchmark.machine.answers import answers
from tomotutor.benchmark.machine.hardware import machine
from tomotutor.benchmark.machine.lists import lists
from tomotutor.benchmark.machine.selection import gradients, selection
from tomotutor.data.sources import Source
from tomotutor.session import Session
from tomotutor.session.create import create_session

Figures = dict[str, Any]


def _matmul_gflops() -> float:
    """Measure float32 matrix products, the ceiling of what a convolution can reach (2 operations a multiply-add)."""
    import torch

    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    a @ b
    start = time.perf_counter()
    for _ in range(5):
        a @ b
    return 5 * 2 * 2048**3 / (time.perf_counter() - start) / 1e9


def _alternate(ours: Callable[[], object], plain: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Time two functions by turns after one warm-up each; return the median seconds of both."""
    ours(), plain()
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for found, function in zip(seconds, (ours, plain), strict=True):
            start = time.perf_counter()
            function()
            found.append(time.perf_counter() - start)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def _pair_and_path(width: float) -> Any:
    from tomotutor.learn import compute as computing
    from tomotutor.learn.models import build_pair

    def build() -> Any:
        return build_pair("resnet18", ndim=3, channels=1, edge=32, classes=10, width=width, seed=0)

    return build, computing.choose(lambda: build().teacher, (1, 32, 32, 32))


def _mflop(build: Any) -> float:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        for net in build().parts().values():
            net.eval()(torch.zeros(1, 1, 32, 32, 32))
    return counter.get_total_flops() / 1e6


def _rates(items: int, ours_s: float, plain_s: float, mflop: float) -> Figures:
    return {
        "pair_samples_per_s": items / ours_s,
        "plain_loop_samples_per_s": items / plain_s,
        "ratio": plain_s / ours_s,
        "gflops": mflop * items / ours_s / 1e3,
        "plain_gflops": mflop * items / plain_s / 1e3,
        "matmul_ceiling_gflops": _matmul_gflops(),
    }


def training(width: float = 1.0, batch: int = 16, repeats: int = 3) -> Figures:
    """Pair training against a plain float32 loop over two networks in torch's default layout."""
    import torch
    from torch.nn.functional import cross_entropy

    from tomotutor.learn.recipe import Recipe
    from tomotutor.learn.train import fit
    from tomotutor.learn.transfer import attention_mean_sq

    build, path = _pair_and_path(width)
    ours, plain = build(), build()
    generator = np.random.default_rng(0)
    x = generator.normal(size=(batch, 1, 32, 32, 32)).astype(np.float32)
    y = generator.integers(0, 10, batch)
    recipe = Recipe(steps=1, batch_size=batch, augmentation="none", width=width, schedule="step")
    optimizers = [torch.optim.SGD(net.parameters(), 0.05, 0.9, weight_decay=5e-4) for net in plain.parts().values()]
    x_plain, y_plain = torch.from_numpy(x).to(path.device), torch.from_numpy(y).to(path.device)
    for net in plain.parts().values():
        net.to(path.device).train()

    def plain_step() -> float:
        teacher = plain.teacher(x_plain)
        loss = cross_entropy(teacher.logits, y_plain)
        student = plain.student(x_plain)
        loss_s = cross_entropy(student.logits, y_plain) + 100 * attention_mean_sq(student.modules, teacher.modules)
        for optimizer in optimizers:
            optimizer.zero_grad()
        (loss + loss_s).backward()
        for optimizer in optimizers:
            optimizer.step()
        return float(loss.detach())

    ours_s, plain_s = _alternate(lambda: fit(ours, x.__getitem__, y, recipe, path, seed=0), plain_step, repeats)
    return {
        "width": width,
        "batch": batch,
        "path": path.describe(),
        **_rates(batch, ours_s, plain_s, 3 * _mflop(build)),
    }


def scoring(width: float = 1.0, items: int = 64, repeats: int = 3) -> Figures:
    """Scoring by both networks against a plain float32 loop in torch's default layout."""
    import torch

    from tomotutor.learn.train import predict

    build, path = _pair_and_path(width)
    ours, plain = build(), build()
    x = np.random.default_rng(0).normal(size=(items, 1, 32, 32, 32)).astype(np.float32)
    x_plain = torch.from_numpy(x).to(path.device)
    for net in plain.parts().values():
        net.to(path.device).eval()

    def plain_loop() -> None:
        with torch.no_grad():
            for net in plain.parts().values():
                net(x_plain).logits.softmax(1).cpu()

    ours_s, plain_s = _alternate(
        lambda: predict(ours.parts(), lambda rows: x[rows], np.arange(items), path), plain_loop, repeats
    )
    return {"width": width, "items": items, "path": path.describe(), **_rates(items, ours_s, plain_s, _mflop(build))}


def _noise_session(folder: Path, items: int, classes: int = 8, settings: dict[str, str] | None = None) -> Session:
    """Make a session on noise: what a round costs does not depend on what is in the boxes."""
    x = np.random.default_rng(0).normal(size=(items, 32, 32, 32)).astype(np.float16)
    np.save(folder / "x.npy", x)
    names = [f"c{i}" for i in range(classes)]
    create_session(folder / "s", Source("array", str(folder / "x.npy")), names, junk=False, settings=settings)
    return Session(folder / "s")


def _label(session: Session, count: int) -> list[float]:
    """Label the queue round-robin; return the seconds of each call."""
    seconds = []
    for i in range(count):
        item = session.current
        assert item is not None
        start = time.perf_counter()
        session.label(item.id, session.classes[i % len(session.classes)])
        seconds.append(time.perf_counter() - start)
    return seconds


def round_(items: int = 780) -> Figures:
    """Time rounds of the app recipe, the first one with 60 labels and the second with 100."""
    with tempfile.TemporaryDirectory() as folder:
        session = _noise_session(Path(folder), items)
        _label(session, 60)
        start = time.perf_counter()
        first = session.run_round()
        first_s = time.perf_counter() - start
        _label(session, 40)
        start = time.perf_counter()
        second = session.run_round()
        second_s = time.perf_counter() - start
        figures = {
            "pool": items,
            "width": session.recipe.network.width,
            "path": session.rounds[0].record["compute"],
            "first_round_60_labels_s": first_s,
            "second_round_100_labels_s": second_s,
            "candidates": second.metrics["candidates"],
            "first_parts_s": first.metrics["seconds"],
            "second_parts_s": second.metrics["seconds"],
        }
        session.close()
    return figures


def labels(count: int = 500) -> Figures:
    """Time from the call to the label being on disk."""
    with tempfile.TemporaryDirectory(dir=".") as folder:  # /tmp may be memory, where nothing is committed
        session = _noise_session(Path(folder), count + 10)
        seconds = np.array(_label(session, count)) * 1e3
        session.close()
    return {
        "labels": count,
        "median_ms": float(np.median(seconds)),
        "p99_ms": float(np.percentile(seconds, 99)),
        "max_ms": float(seconds.max()),
    }


_MEMORY = """
import sys, numpy as np
from tomotutor.session import Session
session = Session(sys.argv[1])
for row in range(0, len(session.pool), 64):
    session.pool.read(np.arange(row, min(row + 64, len(session.pool))))
for i in range(24):
    session.label(session.current.id, session.classes[i % 2])
session.run_round()
session.predictions()
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["RssAnon"].split()[0]) / 1e6, int(status["RssFile"].split()[0]) / 1e6)
"""


def memory(particles: int = 1000) -> Figures:
    """Unique memory of a session on a 4 GB tomogram after reading every box, a round and predictions; mapped pages
    apart.
    """
    if not sys.platform.startswith("linux"):
        raise TomoTutorError("bench memory: reads /proc, which only Linux has")
    shape = (1000, 2000, 2000)
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        with mrcfile.new_mmap(folder / "big.mrc", shape, mrc_mode=0) as mrc:  # a sparse file: it takes no room on disk
            mrc.voxel_size = 10.0
        rng = np.random.default_rng(0)
        xyz = (rng.uniform(0.05, 0.95, (particles, 3)) - 0.5) * np.array(shape[::-1]) * 10
        volume = np.memmap(folder / "big.mrc", np.int8, "r+", offset=1024, shape=shape)
        for x, y, z in (xyz / 10 + np.array(shape[::-1]) / 2).astype(int):
            volume[z - 20 : z + 20, y - 20 : y + 20, x - 20 : x + 20] = rng.integers(-50, 50, (40, 40, 40))
        del volume
        header = "data_particles\n\nloop_\n_rlnTomoName\n" + "".join(f"_rlnCenteredCoordinate{a}Angst\n" for a in "XYZ")
        (folder / "p.star").write_text(header + "".join(f"big {x:.2f} {y:.2f} {z:.2f}\n" for x, y, z in xyz))
        source = Source("particles", str(folder / "p.star"), tomogram_dir=str(folder))
        create_session(folder / "s", source, ["a", "b"], settings={"steps": "10"})
        done = subprocess.run(
            [sys.executable, "-c", _MEMORY, str(folder / "s")], capture_output=True, text=True, check=True
        )
    unique, mapped = map(float, done.stdout.split())
    return {
        "tomogram_gb": float(np.prod(shape) / 1e9),
        "particles": particles,
        "unique_gb": unique,
        "file_pages_gb": mapped,
    }


def startup(repeats: int = 5) -> Figures:
    """Time `tomotutor --help` as a whole process."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "tomotutor", "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - start)
    return {"help_median_s": statistics.median(seconds), "help_max_s": max(seconds)}


BENCHES: dict[str, Callable[[], Figures]] = {
    "training": training,
    "scoring": scoring,
    "round": round_,
    "labels": labels,
    "memory": memory,
    "lists": lists,
    "startup": startup,
    "selection": selection,
    "gradients": gradients,
    "answers-speed": answers,
}


def run_bench(name: str, bench: Callable[[], Figures], out: Path | None) -> None:
    """Run one bench, print its figures, and write them to `out`/NAME.json."""
    figures = bench()
    print(name)
    for key, value in figures.items():
        print(f"  {key:28s} {value:.4g}" if isinstance(value, float) else f"  {key:28s} {value}", flush=True)
    if out:
        record = {"command": f"tomotutor bench {name}", "machine": machine(), "figures": figures}
        with new_file(out / f"{name}.json") as path:
            path.write_text(json.dumps(record, indent=1) + "\n")
