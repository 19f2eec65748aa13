"""`bench gpu`: what is to be done in the few minutes when a GPU is at hand, into one folder of small files.

Layers in bfloat16 are checked, training and scoring timed, a round of a session is run, and a pretraining takes the
rest of the time. Each part fails on its own. At the top only torch, numpy and what both need are imported: a lent
machine may lack the rest, and then the first two parts run all the same.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tomotutor.base.errors import CancelledError, TomoTutorError
from tomotutor.base.files import new_file
from tomotutor.base.progress import Progress
from tomotutor.benchmark.machine.hardware import machine
from tomotutor.learn.compute import TOLERANCE, Compute, available_threads, cores, layer_errors
from tomotutor.learn.models import Pair, build_pair
from tomotutor.learn.recipe import Recipe
from tomotutor.learn.start import SHIPPED, read_card
from tomotutor.learn.train import fit, predict

Figures = dict[str, Any]
MODULES = ("filelock", "gemmi", "mrcfile", "psygnal", "safetensors", "scipy", "skimage", "sklearn", "tomli_w", "tqdm")
PIECE_BYTES = 15_000_000  # of a file, so that each can be fetched
LAST_S = 20.0  # kept for the end: the last checkpoint, and what is written
TEST_S = 40.0  # kept for the accuracy on unseen items
FIRST = 5  # mini-batches at least that its rate is measured on
MADE_UP = 60


@dataclass(frozen=True)
class Place:
    """Where and how long a part runs.

    Attributes
    ----------
    out : Path
        Folder for what it writes.
    device : str
        torch device.
    toy : bool
        Everything as small as it can be, to see that it runs.
    until : float
        When it should be done, by time.monotonic().
    data : Path, optional
        Folder with the lists that docs/benchmarks/structure_list.py makes; without it all complexes are made up.
    """

    out: Path
    device: str
    toy: bool
    until: float
    data: Path | None = None

    @property
    def left_s(self) -> float:
        """Seconds left."""
        return self.until - time.monotonic()

    def report(self, _progress: Progress) -> None:
        """End what reports its progress when the time is over."""
        if self.left_s < 0:
            raise CancelledError("its time is over")


def _pair(width: float, edge: int) -> Pair:
    return build_pair("resnet18", ndim=3, channels=1, edge=edge, classes=10, width=width, seed=0)


def _synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()  # kernels run behind the calls that start them


def layers(place: Place) -> Figures:
    """Compare each layer in bfloat16 with itself in float32, in all the networks, full width."""
    edge, width = (16, 0.25) if place.toy else (32, 1.0)
    images = build_pair(
        "drn_d_22", ndim=2, channels=3, edge=2 * edge, classes=12, width=0.25 if place.toy else 1.0, seed=0
    )
    nets = {
        "resnet18_3d": (_pair(width, edge).teacher, (1, edge, edge, edge)),
        "resnet10_3d": (_pair(width, edge).student, (1, edge, edge, edge)),
        "drn_d_22_2d": (images.teacher, (3, 2 * edge, 2 * edge)),
        "drn_d_14_2d": (images.student, (3, 2 * edge, 2 * edge)),
    }
    figures: Figures = {"limit": TOLERANCE, "width": width}
    for name, (net, shape) in nets.items():
        for layout in (True,) if place.toy else (False, True):
            if place.left_s < 0:
                return {**figures, "note": "its time was over before the last network"}
            compute = Compute(place.device, "bfloat16", layout, threads=available_threads())
            x = torch.randn(2 if place.toy else 8, *shape, generator=torch.Generator().manual_seed(0))
            layer, error = max(layer_errors(net, x, compute).items(), key=lambda found: found[1])
            key = f"{name} {'channels-last' if layout else 'contiguous'}"
            figures[key] = {"worst_layer": layer, "relative_error": error, "agrees": error <= TOLERANCE}
            print(f"  {key}: worst layer {layer}, relative error {error:.2g}", flush=True)
    return figures


def _items_per_s(run: Callable[[int], object], items: int, device: str, seconds: float) -> float:
    """Time `run`(n), which does n batches of `items`: twice to warm up and to learn how many fill the seconds."""
    run(1)
    took, count = 0.0, 2
    for _ in range(2):
        _synchronize(device)
        start = time.perf_counter()
        run(count)
        _synchronize(device)
        took, done = time.perf_counter() - start, count
        count = max(2, min(200, int(count * seconds / took)))
    return done * items / took


def speed(place: Place) -> Figures:
    """Time training and scoring of the pair: width 1 and a quarter, float32 and bfloat16."""
    edge, batch, seconds = (16, 4, 0.01) if place.toy else (32, 64, 3.0)
    rng = np.random.default_rng(0)
    x_N = rng.normal(size=(batch, 1, edge, edge, edge)).astype(np.float32)
    y_N = rng.integers(0, 10, batch)
    figures: Figures = {"batch": batch, "edge": edge}
    for width in (0.25,) if place.toy else (1.0, 0.25):
        for precision in ("float32", "bfloat16"):
            if place.left_s < 0:
                return {**figures, "note": "its time was over before the last network"}
            compute = Compute(place.device, precision, True, threads=available_threads())
            pair = _pair(width, edge)
            recipe = Recipe(steps=1, batch_size=batch, augmentation="none", width=width, schedule="step")

            def train(count: int, pair: Pair = pair, recipe: Recipe = recipe, compute: Compute = compute) -> None:
                fit(pair, x_N.__getitem__, y_N, recipe.replace(steps=count), compute, seed=0)

            def score(count: int, pair: Pair = pair, compute: Compute = compute) -> None:
                rows = np.arange(count * batch) % batch
                predict(pair.parts(), x_N.__getitem__, rows, compute, batch_size=batch)

            key = f"width {width:g} {precision}"
            figures[key] = {
                "training_items_per_s": _items_per_s(train, batch, place.device, seconds),
                "scoring_items_per_s": _items_per_s(score, batch, place.device, seconds),
            }
            if place.device.startswith("cuda"):
                figures[key]["peak_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
                torch.cuda.reset_peak_memory_stats()
            print(f"  {key}: {figures[key]}", flush=True)
    return figures


def session_round(place: Place) -> Figures:
    """Run a round of `app` on the sample session, its first labels answered by the truth."""
    from tomotutor.oracle.classes import answer, measure, read_truth
    from tomotutor.session import Session
    from tomotutor.session.sample import create_sample_session, sample_data

    toy = {"start": "scratch", "steps": "2", "width": "0.25", "batch_size": "4", "tta": "none", "precision": "float32"}
    labels = 8 if place.toy else 20
    with tempfile.TemporaryDirectory() as folder:
        create_sample_session(Path(folder) / "s", place.report, toy if place.toy else None)
        with Session(Path(folder) / "s") as session:
            truth_N = read_truth(session, str(sample_data() / "truth.csv"))
            answer(session, truth_N, labels)
            start = time.perf_counter()
            point = session.run_round(place.report)
            seconds = time.perf_counter() - start
            return {
                "items": len(truth_N),
                "labels": labels,
                "round_s": seconds,
                "parts_s": point.metrics["seconds"],
                "compute": session.rounds[0].record["compute"],
                "width": session.recipe.network.width,
                **measure(session, truth_N, None),
            }


def never_trained_on(data: Path | None) -> list[str]:
    """Return the complexes that no weights see: what the card of those that ship excludes, and what is set aside."""
    names = list(read_card(SHIPPED)["excluded"])
    if data and (path := data / "set_aside.json").is_file():
        aside = json.loads(path.read_text())
        names += [name for part in ("development", "final", "relatives") for name in aside[part]]
    return names


def pretraining(place: Place) -> Figures:
    """Pretrain a pair of quarter width in the time that is left; what an earlier call left unfinished goes on.

    Its steps follow from a rate measured in its first seconds. Where it does not get to its end all the same, the
    checkpoint stays, in pieces.
    """
    from tomotutor.learn.pretrain import checkpoint_path, pretrain
    from tomotutor.learn.pretrain_settings import PretrainSettings
    from tomotutor.simulate import Structure, find_structures
    from tomotutor.simulate.complexes import MADE_UP as PREFIX
    from tomotutor.simulate.variation import Variation
    from tomotutor.simulate.varied import make_library

    folder = place.out / "weights"
    checkpoint = checkpoint_path(folder)
    join(checkpoint)
    variation = Variation(box=16, voxel_size_angst=(11.0, 15.0), neighbours=2) if place.toy else Variation()
    structures = [Structure(f"{PREFIX}{i}") for i in range(3 if place.toy else MADE_UP)]
    excluded = never_trained_on(place.data)
    if place.data:
        found = find_structures([str(path) for path in sorted(place.data.glob("*.csv"))])
        structures = [s for s in found if s.name not in excluded] + structures
    many = cores() - 1 if place.device.startswith("cuda") else 0
    start = time.perf_counter()
    library = make_library(structures, variation, lambda done, total: place.report(Progress("", done, total)), many)
    figures: Figures = {"complexes": len(library.names), "densities_s": time.perf_counter() - start}
    print(f"  {figures}", flush=True)
    rates, workers = _simulation(place, library, variation, many)
    figures |= rates
    compute = Compute(
        place.device, "float32" if place.device == "cpu" else "bfloat16", True, threads=available_threads()
    )
    settings = PretrainSettings(2 if place.toy else 10**7, 32 if place.toy else 256, workers=workers)
    more = {"excluded": excluded, "machine": machine(), "command": "tomotutor bench gpu"}
    first: list[tuple[int, float]] = []

    def measured(progress: Progress) -> None:
        place.report(progress)
        if progress.stage == "train":
            first.append((progress.done, time.perf_counter()))
            if len(first) >= FIRST and time.perf_counter() - first[0][1] > min(15.0, place.left_s / 4):
                raise CancelledError

    said = time.perf_counter()

    def told(progress: Progress) -> None:
        nonlocal said
        if time.perf_counter() - said > 10:
            said = time.perf_counter()
            print(f"  {progress.stage} {progress.done} of {progress.total}, loss {progress.loss:.3f}", flush=True)
        place.report(progress)

    def run(report: Callable[[Progress], None]) -> Figures:
        return pretrain(folder, structures, settings, variation, compute, report, more, 60.0, library)

    try:
        if not place.toy:
            with contextlib.suppress(CancelledError):
                run(measured)
            if len(first) < FIRST:
                raise CancelledError
            half = len(first) // 2  # the first mini-batches wait for the workers and for cuDNN
            rate = (first[-1][0] - first[half][0]) / (first[-1][1] - first[half][1])
            steps = first[-1][0] + max(1, int(0.93 * rate * (place.left_s - TEST_S)))
            settings = replace(settings, steps=steps)
            figures |= {"steps": steps, "items_per_s": rate * settings.batch_size}
            print(f"  {figures}", flush=True)
        card = run(told)
    except CancelledError:
        split(checkpoint)
        return {**figures, "note": "not at its end; the same command goes on"}
    return {**figures, "items": settings.steps * settings.batch_size, "accuracy": card["accuracy"]}


def _simulation(place: Place, library: Any, variation: Any, many: int) -> tuple[Figures, int]:
    """Time the simulation on a core and on the device; return how many workers are faster than the device (0: none)."""
    from tomotutor.simulate.varied import make_varied

    def rate(device: str) -> float:
        there = library.to(device)
        return _items_per_s(
            lambda count: [make_varied(there, np.arange(32) + 32 * i, 1, variation, device) for i in range(count)],
            32,
            device,
            0.01 if place.toy else 2.0,
        )

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a worker has
    core = rate("cpu")
    torch.set_num_threads(threads)
    if place.device == "cpu":
        return {"simulated_items_per_s_core": core}, 0
    device = rate(place.device)
    return {"simulated_items_per_s_core": core, "simulated_items_per_s_device": device}, many * (core * many > device)


def split(path: Path) -> None:
    """Replace a file by pieces of `PIECE_BYTES`: NAME.0, NAME.1 and so on; nothing where there is none."""
    if path.is_file():
        data = path.read_bytes()
        for number in range(math.ceil(len(data) / PIECE_BYTES)):
            piece = data[number * PIECE_BYTES : (number + 1) * PIECE_BYTES]
            path.with_name(f"{path.name}.{number}").write_bytes(piece)
        path.unlink()


def join(path: Path) -> None:
    """Make a file of the pieces that `split` left."""
    pieces = sorted(path.parent.glob(f"{path.name}.[0-9]*"), key=lambda piece: int(piece.suffix[1:]))
    if pieces:
        path.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
        for piece in pieces:
            piece.unlink()


# seconds at most; the last part has the rest
PARTS: dict[str, tuple[Callable[[Place], Figures], float]] = {
    "layers": (layers, 60.0),
    "speed": (speed, 90.0),
    "round": (session_round, 90.0),
    "pretraining": (pretraining, math.inf),
}


def _commit() -> str:
    """Return the commit of the checkout, or what the environment says where there is none."""
    found = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or os.environ.get("TOMOTUTOR_COMMIT", "")


def run_gpu(out: Path, minutes: float, toy: bool, data: Path | None, command: str) -> Figures:
    """Run all parts; write gpu.json after each.

    Parameters
    ----------
    out : Path
        Folder for gpu.json and the weights; pieces of a checkpoint in it go on.
    minutes : float
        For everything; when they are over, the process ends whatever it does.
    toy : bool
        As small as possible, also on a CPU.
    data : Path, optional
        See `Place`.
    command : str
        For the record.

    Raises
    ------
    TomoTutorError
        There is no GPU, and it is not `toy`.
    """
    begin = time.monotonic()
    if not (torch.cuda.is_available() or toy):
        raise TomoTutorError("bench gpu: torch sees no CUDA GPU here; run it where one is, or try it with --toy")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    record: Figures = {"command": command, "commit": _commit(), "machine": machine(), "minutes": minutes, "toy": toy}
    record["missing_modules"] = [name for name in MODULES if importlib.util.find_spec(name) is None]
    record["parts"] = {}
    print(f"bench gpu: {device}, {minutes:g} minutes, {json.dumps(record['machine'])}", flush=True)
    if record["missing_modules"]:
        print(f"missing: {', '.join(record['missing_modules'])}; parts that need them will fail", flush=True)

    def write() -> None:
        record["seconds"] = time.monotonic() - begin
        with new_file(out / "gpu.json") as partial:
            partial.write_text(json.dumps(record, indent=1) + "\n")

    def give_up() -> None:
        print("bench gpu: the time is over; gpu.json has what was done", flush=True)
        split(out / "weights.checkpoint")
        os._exit(3)  # whatever hangs, the machine has to go back

    out.mkdir(parents=True, exist_ok=True)
    guard = threading.Timer(60 * minutes, give_up)
    guard.daemon = True
    guard.start()
    try:
        for name, (part, seconds) in PARTS.items():
            now = time.monotonic()
            print(f"{name} ({now - begin:.0f} s of {60 * minutes:.0f} are gone)", flush=True)
            place = Place(out, device, toy, min(now + seconds, begin + 60 * minutes - LAST_S), data)
            try:
                told: Figures = {"figures": part(place)}
            except (Exception, CancelledError) as problem:  # whatever it is, the other parts go on
                told = {"error": f"{type(problem).__name__}: {problem}"}
                print(f"  failed: {told['error']}", flush=True)
            record["parts"][name] = {"seconds": time.monotonic() - now, **told}
            write()
    finally:
        guard.cancel()
    print(f"{out / 'gpu.json'}: {time.monotonic() - begin:.0f} s", flush=True)
    return record
