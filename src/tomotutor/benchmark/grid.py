"""A grid of cells: which there are, running them side by side in processes of their own, and how long it will take."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tomotutor.base.errors import TomoTutorError
from tomotutor.benchmark.cell import Cell, read_lines
from tomotutor.benchmark.data import open_data
from tomotutor.benchmark.experiment import REFERENCE
from tomotutor.benchmark.experiments import EXPERIMENTS

PARENT = "TOMOTUTOR_BENCH_PARENT"  # tells a cell's process who started it


def find_cells(
    name: str, scale: str, methods: Sequence[str] = (), seeds: Sequence[int] = (), changes: dict[str, str] | None = None
) -> list[Cell]:
    """Return the cells of an experiment, in the order in which they run: seed by seed, the compared methods before the
    others.

    Parameters
    ----------
    name, scale : str
        Which experiment, and how large.
    methods : sequence of str
        Only these; default all.
    seeds : sequence of int
        These for every method; default those of the plan.
    changes : dict of str to str
        Settings to change in the recipe of every method.
    """
    experiment = EXPERIMENTS[name]
    if scale not in experiment.plans:
        raise TomoTutorError(f"bench {name}: has no scale {scale!r}; expected {' or '.join(experiment.plans)}")
    plan = experiment.plans[scale]
    known = [*experiment.methods, *([REFERENCE] if experiment.reference is not None else [])]
    for method in methods:
        if method not in known:
            raise TomoTutorError(f"bench {name}: has no method {method!r}; expected some of {', '.join(known)}")
    cells = []
    for order, method in enumerate(known):
        if methods and method not in methods:
            continue
        compared = method in experiment.named
        for seed in seeds or range(plan.seeds if compared else plan.other_seeds):
            cells.append(((not compared, seed, order), Cell(name, scale, experiment, method, seed, changes or {})))
    return [cell for _, cell in sorted(cells, key=lambda pair: pair[0])]


def share_of(cells: Sequence[Cell], share: str) -> list[Cell]:
    """Return the cells of I/N: every N-th, beginning with the I-th (from 1)."""
    first, _, of = share.partition("/")
    if not (first.isdecimal() and of.isdecimal() and 1 <= int(first) <= int(of)):
        raise TomoTutorError(f"--cell {share}: expected I/N with I from 1 to N, for example 3/20")
    return list(cells[int(first) - 1 :: int(of)])


def samples(cell: Cell, pool: int, test: int) -> tuple[int, int]:
    """Return how many pair samples a cell trains on and how many it scores.

    Parameters
    ----------
    cell : Cell
        Which.
    pool, test : int
        Items of the pool in use, and of the test set.
    """
    from tomotutor.learn.recipe import preset
    from tomotutor.learn.train import number_of_steps

    kind = cell.experiment.dataset
    recipe = preset(cell.plan.recipe, 2 if kind else 3, kind).with_settings(cell.settings)
    trained = scored = 0
    for k in range(cell.trainings):
        labels = pool if cell.method == REFERENCE else cell.plan.budgets[k]
        trained += recipe.training.batch_size * number_of_steps(
            recipe, labels, warm=k > 0 and recipe.training.init == "warm"
        )
        candidates = min(recipe.query.candidate_factor * cell.queries[k], pool - labels)
        probes = cell.experiment.probes
        answers = (test + labels + pool * ("pool" in probes)) * (4 if recipe.network.tta == "half_turns" else 1)
        scored += candidates * (1 + ("gradient" in probes)) + answers
    return trained, scored


def plan(cells: Sequence[Cell], data_folder: Path, rate: float) -> str:
    """Say what a grid costs: trainings, samples and, at `rate` pair samples trained a second and process, hours of one
    process.
    """
    data = open_data(cells[0].experiment, cells[0].plan, data_folder)
    trained, scored = map(
        sum, zip(*(samples(cell, len(data.labels), len(data.test_labels)) for cell in cells), strict=True)
    )
    text = (
        f"{len(cells)} cells, {sum(cell.trainings for cell in cells)} trainings: {trained} pair samples "
        f"to train on, {scored} to score"
    )
    # a forward pass is a third of a training step
    return text + (f"; {(trained + scored / 3) / rate / 3600:.1f} hours of one process" if rate else "")


def remaining_seconds(cells: Sequence[Cell], folder: Path, jobs: int) -> float | None:
    """Estimate the wall time left: the k-th round takes as long as the k-th rounds already measured did; None without
    any.
    """
    found = [(cell, read_lines(cell.file(folder))) for cell in cells]
    seconds: dict[tuple[bool, int], list[float]] = {}
    for cell, lines in found:
        for line in lines:
            took = sum(line["seconds"].values()) + line.get("deeper", {}).get("seconds", 0.0)
            seconds.setdefault((cell.method == REFERENCE, line["round"]), []).append(took)
    if not seconds:
        return None
    every = [value for values in seconds.values() for value in values]
    left = 0.0
    for cell, lines in found:
        for number in range(len(lines) + 1, cell.trainings + 1):
            known = seconds.get((cell.method == REFERENCE, number), every)
            left += sum(known) / len(known)
    return left / max(1, min(jobs, sum(len(lines) < cell.trainings for cell, lines in found)))


def describe(cells: Sequence[Cell], folder: Path, jobs: int) -> tuple[float, str]:
    """Return the share of rounds that are done, and a sentence about them."""
    rounds = sum(cell.trainings for cell in cells)
    counts = [len(read_lines(cell.file(folder))) for cell in cells]
    whole = sum(count == cell.trainings for count, cell in zip(counts, cells, strict=True))
    left = remaining_seconds(cells, folder, jobs)
    eta = "" if left is None else f", about {duration(left)} left"
    return sum(
        counts
    ) / rounds, f"{sum(counts)} of {rounds} rounds, {whole} of {len(cells)} cells{eta if whole < len(cells) else ''}"


def duration(seconds: float) -> str:
    """Say a time span."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def visible_gpus() -> list[str]:
    """Return the GPUs that cells are dealt out to, as CUDA_VISIBLE_DEVICES names them."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name.strip()]
    import torch

    return [str(i) for i in range(torch.cuda.device_count())]


def run_grid(
    cells: Sequence[Cell], folder: Path, command: Sequence[str], jobs: int, tick: Callable[[str], None]
) -> None:
    """Run all unfinished cells, each in a process of its own with one thread and, by turns, one of the GPUs.

    Parameters
    ----------
    cells : sequence of Cell
        All of them.
    folder : Path
        Of the grid; output of a cell goes to work/METHOD-SEED.log.
    command : sequence of str
        What runs a share of these cells when `--cell I/N` is added.
    jobs : int
        Processes side by side.
    tick : callable
        Called a few times a second, and with the name of each cell that ended.

    Raises
    ------
    TomoTutorError
        Cells failed, after all others were run.
    """
    gpus = visible_gpus()
    waiting = [(i, cell) for i, cell in enumerate(cells, start=1) if len(cell.lines(folder)) < cell.trainings]
    slots = list(range(jobs))
    running: list[tuple[subprocess.Popen[bytes], Cell, int]] = []
    failed: list[str] = []
    try:
        while waiting or running:
            while waiting and slots:
                i, cell = waiting.pop(0)
                slot = slots.pop(0)
                environment = {**os.environ, "OMP_NUM_THREADS": "1", PARENT: str(os.getpid())}
                if gpus:
                    environment["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
                log = cell.work(folder).with_suffix(".log")
                log.parent.mkdir(parents=True, exist_ok=True)
                with log.open("ab") as handle:
                    words = [*command, "--cell", f"{i}/{len(cells)}"]
                    process = subprocess.Popen(
                        words, stdin=subprocess.DEVNULL, stdout=handle, stderr=handle, env=environment
                    )
                running.append((process, cell, slot))
            time.sleep(0.2)
            tick("")
            for entry in [entry for entry in running if entry[0].poll() is not None]:
                running.remove(entry)
                slots.append(entry[2])
                name = f"{entry[1].method}-{entry[1].seed}"
                if entry[0].returncode:
                    text = entry[1].work(folder).with_suffix(".log").read_text(errors="replace").strip()
                    failed.append(f"{name}: {text.splitlines()[-1] if text else f'status {entry[0].returncode}'}")
                tick(name)
    finally:
        for process, _, _ in running:
            process.terminate()
        for process, _, _ in running:
            process.wait()
    if failed:
        raise TomoTutorError(
            f"{len(failed)} of {len(cells)} cells failed; first {failed[0]}; run the same command again to go on"
        )


def parent_is_gone() -> bool:
    """Whether the process that started this cell has died, so that the cell should end, too."""
    return PARENT in os.environ and os.getppid() != int(os.environ[PARENT])


def slurm_script(name: str, command: Sequence[str], count: int, gpu: bool) -> str:
    """Return an sbatch script that runs a grid as an array of `count` tasks; what ran is not run again when it is
    submitted twice.
    """
    lines = [
        "#!/bin/sh",
        f"#SBATCH --job-name=tomotutor-{name}",
        f"#SBATCH --array=1-{count}",
        "#SBATCH --cpus-per-task=1",
        *(["#SBATCH --gres=gpu:1"] if gpu else []),
        "#SBATCH --mem=8G",
        "#SBATCH --time=24:00:00",
        "#SBATCH --requeue",
        f"#SBATCH --output=tomotutor-{name}-%a.log",
        "export OMP_NUM_THREADS=1",
        f'exec {shlex.join(command)} --cell "$SLURM_ARRAY_TASK_ID/{count}"',
    ]
    return "\n".join(lines)


def this_command(*words: str) -> list[str]:
    """Return a command of this program, run by this interpreter."""
    return [sys.executable, "-m", "tomotutor", *words]
