"""Grids, run as a person runs them: real trainings on the small set that `bench smoke` makes."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from helpers import array_pool, two_kinds, write_mrc
from tomotutor.base.errors import TomoTutorError
from tomotutor.benchmark import grid
from tomotutor.benchmark.cell import Cell, append_line, read_lines, run_cell
from tomotutor.benchmark.data import choose_items, find_set, open_data
from tomotutor.benchmark.experiment import SCALES, Experiment, Plan
from tomotutor.benchmark.experiments import EXPERIMENTS
from tomotutor.benchmark.measure import PROBES, measure_masks
from tomotutor.cli import main
from tomotutor.cli.bench import BENCH_NAMES
from tomotutor.data.pool import ItemCache
from tomotutor.data.sources import Source, open_pool
from tomotutor.formats.label_csv import LabelRow
from tomotutor.learn.recipe import preset
from tomotutor.oracle import masks as mask_oracle
from tomotutor.session import Session
from tomotutor.session.create import create_session

SECONDS = ("seconds", "at", "deeper")  # what two runs of the same cell may differ in


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The whole smoke grid, in this process, with one thread as in a process of its own."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out = tmp_path_factory.mktemp("smoke")
    assert main(["bench", "smoke", "--out", str(out), "--cell", "1/1"]) == 0
    yield out / "smoke-small"
    monkeypatch.undo()


def same(line):
    return {key: value for key, value in line.items() if key not in SECONDS}


def test_every_line_of_a_grid_can_be_traced(smoke):
    files = sorted(path.stem for path in (smoke / "cells").iterdir())
    assert files == ["all_labels-0", "random-0", "random-1", "teacher_student-0", "teacher_student-1"]
    assert not [path for path in (smoke / "work").iterdir() if path.is_dir()]  # sessions of finished cells are gone
    for name in files:
        lines = read_lines(smoke / "cells" / f"{name}.jsonl")
        method, _, seed = name.rpartition("-")
        assert [line["round"] for line in lines] == [1] if method == "all_labels" else [1, 2]
        assert [line["labels"] for line in lines] == ([60] if method == "all_labels" else [12, 18])
        for line in lines:
            assert (line["method"], line["seed"], line["recipe"]["seed"]) == (method, int(seed), int(seed))
            assert {"torch", "numpy", "python", "tomotutor"} <= set(line["versions"])
            assert line["compute"]
            assert set(line["seconds"]) == {"train", "score", "select", "measure"}
            assert all(value >= 0 for value in line["seconds"].values())
            assert line["recipe"]["audit_share"] == 0
            assert sum(line["labels_per_class"]) == line["labels"]
            assert 0 <= line["accuracy"] <= 1
            assert 0 <= line["train_accuracy"] <= 1
            assert len(line["commit"]) >= 12 or line["commit"] == ""
        assert lines[-1]["deeper"]["teacher"] == "resnet18"
        assert len({row for line in lines for row in line["picked"]}) == lines[-1]["labels"]


def test_methods_of_a_seed_are_paired(smoke):
    cells = {
        name: read_lines(smoke / "cells" / f"{name}.jsonl") for name in ("random-0", "teacher_student-0", "random-1")
    }
    a, b, other = cells["random-0"], cells["teacher_student-0"], cells["random-1"]
    assert a[0]["picked"] == b[0]["picked"] != other[0]["picked"]
    for key in (
        "accuracy",
        "ece",
        "per_class",
        "train_accuracy",
        "pool_accuracy",
    ):  # same set, order and networks: the same model
        assert a[0][key] == b[0][key]
    assert a[1]["picked"] != b[1]["picked"]
    # R_U is the head of one permutation a round, without what is labeled
    order = np.random.default_rng([0, 1]).permutation(60)
    candidates = [row for row in order.tolist() if row not in a[0]["picked"]][: 4 * 6]
    assert set(a[1]["picked"]) < set(candidates)
    assert set(b[1]["picked"]) < set(candidates)


@pytest.mark.slow
def test_a_killed_grid_goes_on_and_ends_with_the_same_numbers(smoke, tmp_path):
    command = ["bench", "smoke", "--out", str(tmp_path), "--methods", "teacher_student", "--seeds", "0", "--jobs", "1"]
    run = subprocess.Popen(
        [sys.executable, "-m", "tomotutor", *command],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    path = tmp_path / "smoke-small" / "cells" / "teacher_student-0.jsonl"
    deadline = time.monotonic() + 120
    while not read_lines(path):
        assert time.monotonic() < deadline
        assert run.poll() is None
        time.sleep(0.005)
    os.killpg(run.pid, signal.SIGKILL)  # the grid and its cell, in the second round
    run.wait()
    assert len(read_lines(path)) == 1
    with path.open("ab") as handle:
        handle.write(b'{"round": 2, "labels": 1')  # and the cell was just writing its second line
    first = path.read_bytes().splitlines()[0]
    assert main(command) == 0
    lines = read_lines(path)
    assert path.read_bytes().splitlines()[0] == first  # the finished round was not run again
    expected = read_lines(smoke / "cells" / "teacher_student-0.jsonl")
    assert [line["picked"] for line in lines] == [line["picked"] for line in expected]
    assert [line["accuracy"] for line in lines] == [line["accuracy"] for line in expected]
    assert {"summary.md", "rounds.csv", "accuracy.svg"} <= {
        p.name for p in (tmp_path / "smoke-small" / "report").iterdir()
    }

    stamp = path.stat().st_mtime_ns
    assert main([*command, "--cell", "1/1"]) == 0
    assert path.stat().st_mtime_ns == stamp  # a finished cell is not run again


def test_a_cell_whose_session_is_lost_begins_again(smoke, tmp_path):
    out = tmp_path / "smoke-small"
    finished = (smoke / "cells" / "random-0.jsonl").read_bytes().splitlines(keepends=True)
    append_line(out / "cells" / "random-0.jsonl", json.loads(finished[0]))
    assert main(["bench", "smoke", "--out", str(tmp_path), "--methods", "random", "--seeds", "0", "--cell", "1/1"]) == 0
    lines = read_lines(out / "cells" / "random-0.jsonl")
    assert [same(line) for line in lines] == [same(json.loads(line)) for line in finished]


def test_a_cell_ends_with_the_process_that_started_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(grid.PARENT, "1000000")
    assert (
        main(["bench", "smoke", "--out", str(tmp_path), "--methods", "random", "--seeds", "0", "--cell", "1/1"]) == 130
    )
    assert "interrupted" in capsys.readouterr().err
    assert not (tmp_path / "smoke-small" / "cells").exists()


def test_lines_of_other_settings_are_not_taken_for_these(smoke, capsys):
    command = ["bench", "smoke", "--out", str(smoke.parent), "--set", "steps=9", "--cell", "1/1"]
    assert main(command) == 1
    assert "made with other settings than these; choose another --out" in capsys.readouterr().err


def test_lines_survive_what_a_crash_leaves(tmp_path):
    path = tmp_path / "cells" / "a-0.jsonl"
    assert read_lines(path) == []
    append_line(path, {"round": 1})
    with path.open("ab") as handle:
        handle.write(b'{"round": 2, "acc')
    assert read_lines(path) == [{"round": 1}]
    append_line(path, {"round": 2})
    assert read_lines(path) == [{"round": 1}, {"round": 2}]
    path.write_bytes(b"oops\n" + path.read_bytes())
    with pytest.raises(TomoTutorError, match="line 1 is damaged; delete the file"):
        read_lines(path)


def test_shares_are_all_cells_once():
    cells = grid.find_cells("tomograms", "small")
    assert len(cells) == len({(cell.method, cell.seed) for cell in cells})
    for of in (1, 3, len(cells)):
        shares = [grid.share_of(cells, f"{i}/{of}") for i in range(1, of + 1)]
        assert sorted(id(cell) for share in shares for cell in share) == sorted(map(id, cells))
    for wrong in ("0/3", "4/3", "3", "a/b"):
        with pytest.raises(TomoTutorError, match="expected I/N"):
            grid.share_of(cells, wrong)


def test_the_compared_methods_come_first_seed_by_seed():
    cells = grid.find_cells("tomograms", "small")
    named = EXPERIMENTS["tomograms"].named
    first = cells[: 10 * len(named)]
    assert {cell.method for cell in first} == set(named)
    assert [cell.seed for cell in first] == [seed for seed in range(10) for _ in named]
    assert {cell.seed for cell in cells[len(first) :]} == {0, 1, 2}


def test_time_left(tmp_path):
    cells = grid.find_cells("smoke", "small", ["random"], [0, 1, 2])
    assert grid.remaining_seconds(cells, tmp_path, 2) is None
    append_line(cells[0].file(tmp_path), {"round": 1, "seconds": {"train": 3.0, "score": 1.0}})
    assert grid.remaining_seconds(cells, tmp_path, 1) == 5 * 4.0  # all rounds as the only one known
    append_line(cells[0].file(tmp_path), {"round": 2, "seconds": {"train": 9.0}, "deeper": {"seconds": 1.0}})
    assert grid.remaining_seconds(cells, tmp_path, 1) == 2 * (4.0 + 10.0)
    assert (
        grid.remaining_seconds(cells, tmp_path, 8) == 4.0 + 10.0
    )  # two cells are left, so no more than two run side by side
    assert grid.describe(cells, tmp_path, 8) == (2 / 6, "2 of 6 rounds, 1 of 3 cells, about 14 s left")


def test_each_cell_has_one_thread_and_one_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    cells = grid.find_cells("smoke", "small")
    tell = ["sh", "-c", 'echo "$OMP_NUM_THREADS $CUDA_VISIBLE_DEVICES $2"', "cell"]
    grid.run_grid(cells, tmp_path, tell, 2, lambda ended: None)
    told = [cell.work(tmp_path).with_suffix(".log").read_text().split() for cell in cells]
    assert [words[0] for words in told] == ["1"] * 5
    assert {words[1] for words in told} == {"3", "5"}
    assert [words[2] for words in told] == [f"{i}/5" for i in range(1, 6)]


def test_a_failed_cell_does_not_stop_the_others(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    cells, ended = grid.find_cells("smoke", "small"), []
    fail = ["sh", "-c", 'test "$2" != 2/5 || { echo "no such file" >&2; exit 1; }', "cell"]
    with pytest.raises(
        TomoTutorError, match="1 of 5 cells failed; first random-0: no such file; run the same command again"
    ):
        grid.run_grid(cells, tmp_path, fail, 1, ended.append)
    assert [name for name in ended if name] == [f"{cell.method}-{cell.seed}" for cell in cells]


def test_a_slurm_array_runs_the_same_cells(tmp_path, capsys):
    data = tmp_path / "with space"
    command = [
        "bench",
        "tomograms",
        "--data",
        str(data),
        "--out",
        str(tmp_path),
        "--seeds",
        "0-2,5",
        "--set",
        "steps=9",
        "--slurm",
    ]
    assert main(command) == 0
    script = capsys.readouterr().out
    assert "#SBATCH --array=1-56\n" in script  # 13 methods and all labels, 4 seeds
    (tmp_path / "tomotutor").write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    (tmp_path / "tomotutor").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": "7"}
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=True)
    words = done.stdout.splitlines()
    assert words[words.index("--data") + 1] == str(data)
    assert words[-2:] == ["--cell", "7/56"]
    assert words[words.index("--set") + 1] == "steps=9"


def test_a_plan_costs_nothing(tmp_path, capsys):
    assert main(["bench", "smoke", "--out", str(tmp_path), "--plan", "--rate", "100"]) == 0
    # 5 cells; 9 trainings of 4 mini-batches of 8. Scored a round: R_U (24, for gradients twice), test 30, labeled, pool
    # 60
    scored = 4 * (24 * 2 + 30 + 12 + 60) + 4 * (24 * 2 + 30 + 18 + 60) + (0 + 30 + 60 + 60)
    assert capsys.readouterr().out.startswith(
        f"5 cells, 9 trainings: 144 pair samples to train on, {scored} to score; 0.0 hours"
    )
    assert not (tmp_path / "smoke-small" / "cells").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tomograms"], "give the folder of its data with --data"),
        (["tomograms", "--data", "nowhere", "--cell", "1/1"], "no such folder; expected tomograms.npz beside it"),
        (["smoke", "--scale", "full"], "has no scale 'full'; expected small"),
        (
            ["smoke", "--methods", "margin"],
            "has no method 'margin'; expected some of teacher_student, random, all_labels",
        ),
        (["smoke", "--seeds", "a-b"], "expected numbers and ranges"),
        (["startup", "--data", "x"], "--data is for experiments"),
    ],
)
def test_what_cannot_be_run_is_said_in_a_sentence(words, message, tmp_path, capsys):
    assert main(["bench", *words, "--out", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_names_do_not_collide_and_recipes_exist():
    assert not set(EXPERIMENTS) & set(BENCH_NAMES)
    for name, experiment in EXPERIMENTS.items():
        assert set(experiment.named) <= set(experiment.methods)
        assert set(experiment.probes) <= set(PROBES)
        ndim, seen = 2 if experiment.dataset else 3, set()
        assert set(experiment.plans) <= set(SCALES)
        for scale in experiment.plans:
            for cell in grid.find_cells(name, scale):
                key = (cell.plan.recipe, *sorted((k, v) for k, v in cell.settings.items() if k != "seed"))
                if key in seen:
                    continue
                seen.add(key)
                recipe = preset(cell.plan.recipe, ndim, experiment.dataset).with_settings(cell.settings)
                assert recipe.audit.share == 0
                assert recipe.network.precision != "auto"
                assert recipe.network.width


# ---- data
# ---------------------------------------------------------------------------------------------------------------


def test_items_are_chosen_by_class_and_imbalance():
    labels = [LabelRow(f"{name}{i}", name) for i in range(50) for name in "abc"]
    chosen = choose_items(labels, ("a", "b", "c"), 40, 4.0)
    assert [sum(row.label == name for row in chosen) for name in "abc"] == [40, 20, 10]
    assert chosen == choose_items(labels, ("a", "b", "c"), 40, 4.0)
    assert chosen == [row for row in labels if row in chosen]  # the order stays
    assert choose_items(labels, ("a", "b", "c"), 0, 4.0) == labels
    with pytest.raises(TomoTutorError, match="class a: found 50 items in the pool; the experiment asks for 60"):
        choose_items(labels, ("a", "b", "c"), 60, 1.0)


def test_sets_are_found_in_three_layouts(tmp_path):
    x, y = two_kinds(6)
    np.savez(tmp_path / "one.npz", x=x, y=y, classes=np.array(["ball", "slab"]))
    write_mrc(tmp_path / "two" / "stack.mrc", x)
    (tmp_path / "two" / "truth.csv").write_text(
        "item,class\n" + "".join(f"{i},{['ball', 'slab'][k]}\n" for i, k in enumerate(y))
    )
    (array, labels), (stack, same_labels) = find_set(tmp_path, "one"), find_set(tmp_path, "two")
    assert (array.kind, stack.kind) == ("array", "stack")
    assert labels == same_labels
    write_mrc(tmp_path / "two" / "another.mrc", x)
    with pytest.raises(TomoTutorError, match=r"2 MRC files in it; expected two\.npz beside it"):
        find_set(tmp_path, "two")


def test_classes_can_be_kept_for_confirmation(tmp_path):
    for name in ("train", "test"):
        np.savez(
            tmp_path / f"{name}.npz",
            x=np.zeros((40, 8, 8), np.uint8),
            y=np.arange(40) % 4,
            classes=np.array(list("dabc")),
        )
    plan = Plan("app", {}, (4, 6, 8))
    experiment = Experiment("", {"random": {}}, {"small": plan})
    first, second = (open_data(experiment, dataclasses.replace(plan, classes=c), tmp_path) for c in ((0, 2), (2, 4)))
    assert (first.classes, second.classes) == (("a", "b"), ("c", "d"))
    assert {row.label for row in first.labels} == {row.label for row in first.test_labels} == {"a", "b"}
    assert first.fingerprint != second.fingerprint
    with pytest.raises(TomoTutorError, match="found 4 classes; the experiment uses numbers 4 to 5"):
        open_data(experiment, dataclasses.replace(plan, classes=(3, 5)), tmp_path)
    with pytest.raises(TomoTutorError, match="asks for 44 labels, but its pool has 40"):
        open_data(experiment, dataclasses.replace(plan, budgets=(40, 44)), tmp_path)


def test_a_published_data_set_is_taken_as_it_was_published(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    names = [f"data_batch_{i}" for i in range(1, 6)]
    for name in (*names, "test_batch"):
        records = np.hstack([np.arange(30)[:, None] % 10, rng.integers(0, 256, (30, 3072))]).astype(np.uint8)
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    (folder / "batches.meta.txt").write_text("\n".join(classes))
    plan = dataclasses.replace(EXPERIMENTS["cifar10"].plans["tiny"], budgets=(50, 100), per_class=12)
    found = open_data(EXPERIMENTS["cifar10"], plan, tmp_path)
    assert (found.source.where.split, found.test_source.where.split, found.classes, found.masks) == (
        "train",
        "test",
        classes,
        False,
    )
    assert [sum(row.label == name for row in found.labels) for name in classes] == [12] * 10
    assert {row.item.partition(":")[0] for row in found.labels} == set(names)
    assert len(found.test_labels) == 30
    for row in found.labels:
        assert row.label == classes[int(row.item.partition(":")[2]) % 10]


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """A data set like CamVid: dark road below, bright sky above, the border between them anywhere."""
    folder, rng = tmp_path_factory.mktemp("street"), np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        for i in range(count):
            border = int(rng.integers(12, 20))
            mask = np.where(np.arange(32)[:, None] < border, 0, 3) + np.zeros((32, 40), int)
            image = np.where(mask[..., None] == 0, 200, 40) + rng.integers(0, 40, (32, 40, 3))
            for name, values in ((split, image), (f"{split}annot", mask)):
                (folder / name).mkdir(exist_ok=True)
                Image.fromarray(values.astype(np.uint8)).save(folder / name / f"{i:03d}.png")
    return folder


def test_masks_are_measured_by_their_overlap(street, tmp_path, capsys):
    settings = {"width": "0.25", "epochs": "60", "precision": "float32", "batch_size": "4"}
    experiment = dataclasses.replace(EXPERIMENTS["fig3"], size=(), plans={"tiny": Plan("paper", settings, (4, 6))})
    cells = [Cell("fig3", "tiny", experiment, method, 0, {}) for method in ("teacher_student", "random")]
    for cell in cells:
        run_cell(cell, tmp_path, street, lambda line: None)
        lines = read_lines(cell.file(tmp_path))
        assert [line["labels"] for line in lines] == [4, 6]
        assert len({row for line in lines for row in line["picked"]}) == 6
        for line in lines:
            sky, road = line["per_class"][0], line["per_class"][3]
            assert line["miou"] > 0.3  # learned something; a network that says "road" everywhere has 0.25 at most
            assert line["miou"] == pytest.approx(np.mean([iou for iou in line["per_class"] if iou is not None]))
            assert min(sky, road) <= line["pixel_accuracy"] <= 1
            assert 0 < line["train_miou"] <= 1
            assert (line["pool"], line["test"]) == (12, 4)
    first = [read_lines(cell.file(tmp_path))[0] for cell in cells]
    assert first[0]["miou"] == first[1]["miou"]  # paired: the same first masks and the same training
    assert main(["bench-report", str(tmp_path / "cells"), "--out", str(tmp_path / "report")]) == 0
    text = (tmp_path / "report" / "summary.md").read_text()
    assert "## Mean IoU on the test set" in text
    assert "## Mean IoU by class after 6 labels" in text
    assert "have a label" not in text
    header = (tmp_path / "report" / "rounds.csv").read_text().splitlines()[0].split(",")
    assert {"miou", "iou_Sky", "iou_Road"} <= set(header)
    assert "accuracy_Sky" not in header


def test_mean_iou_against_a_calculation_by_hand(street, tmp_path):
    settings = {"width": "0.25", "epochs": "20", "precision": "float32", "batch_size": "4"}
    create_session(tmp_path / "s", Source("camvid", str(street)), recipe="paper", settings=settings)
    session = Session(tmp_path / "s")
    truth = mask_oracle.read_truth(session, session.pool, "y")
    mask_oracle.answer(session, truth, 4)
    session.run_round()
    test = open_pool(session.source.replace(split="test"))
    found = measure_masks(session, truth, test, mask_oracle.read_truth(session, test, "y"))
    for split, pool, name in (
        ("test", test, "miou"),
        ("train", session.pool.take(np.array(sorted(session.labels()))), "train_miou"),
    ):
        predicted = {}
        session.model.score_masks(pool, lambda row, mask, kept=predicted: kept.update({row: mask}))
        truths = [np.asarray(Image.open(street / f"{split}annot" / pool.ids[row])) for row in range(len(pool))]
        assert len(predicted) == len(truths) == 4
        iou = []
        for number in range(11):
            both = sum(int(((predicted[row] == number) & (mask == number)).sum()) for row, mask in enumerate(truths))
            either = sum(int(((predicted[row] == number) | (mask == number)).sum()) for row, mask in enumerate(truths))
            iou += [both / either] if either else []
        assert found[name] == pytest.approx(np.mean(iou), rel=1e-12)
        assert 0 < found[name] < 1  # imperfect, so that a mix-up of images would show
    session.close()


def test_some_items_of_a_pool_are_as_they_were_in_it():
    x, _ = two_kinds(12, edge=8)
    names, tilts = np.array([f"t{i}" for i in range(12)], object), np.array([[-60.0, 60 - i] for i in range(12)])
    whole = dataclasses.replace(
        array_pool(x[:, None]),
        tomogram_N=names,
        tilt_range_N2=tilts,
        truth_N=names[::-1],
        statistics=lambda row: (float(row), 2.0),
        cache=ItemCache(),
    )
    rows = np.array([7, 2, 9])
    whole.read(np.arange(12))  # what the cache has by row is the whole pool's
    some = whole.take(rows)
    assert some.ids == ("i7", "i2", "i9")
    np.testing.assert_array_equal(some.read(np.arange(3)), whole.read(rows))
    for name in ("tomogram_N", "tilt_range_N2", "truth_N"):
        np.testing.assert_array_equal(getattr(some, name), getattr(whole, name)[rows])
    assert len(some.padded_N) == 3


def test_the_tomograms(data):
    experiment = EXPERIMENTS["tomograms"]
    found = open_data(experiment, experiment.plans["small"], data)
    assert found.classes == ("1F4A", "1MNF", "2UV8", "3J9I", "4CR2", "4V4R", "6Z6U", "junk")
    assert (len(found.labels), len(found.test_labels)) == (780, 520)
