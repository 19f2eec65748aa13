"""Tables and figures of lines whose numbers are known, and the one command that makes them."""

import csv
import json
import re

import numpy as np
import pytest

from tomotutor.base.errors import TomoTutorError
from tomotutor.benchmark.comparison import curve_table, picks_table, significance_table, target_table
from tomotutor.benchmark.results import accuracy, gap, read_runs
from tomotutor.cli import main

METHODS = {"teacher_student": 0.06, "margin": 0.02, "random": 0.0}
CLASSES = ["ball", "slab", "junk"]


def a_line(method, seed, k, gain, **more):
    """The k-th round of a method: accuracy 0.6, 0.7, 0.8 and its gain, with a little of the seed's luck, which all
    methods share.
    """
    value = 0.6 + 0.1 * k + gain + 0.001 * seed + 0.0002 * ((seed * 7 + k * 3 + len(method)) % 5)
    asked = {"recipe": "app", "budgets": [60, 100, 140]}
    rng = np.random.default_rng([seed, k])
    return {
        "experiment": "tomograms",
        "scale": "small",
        "method": method,
        "seed": seed,
        "rounds": 3,
        "round": k + 1,
        "labels": 60 + 40 * k,
        "named": ["teacher_student", "margin", "random"],
        "asked": asked,
        "recipe": {"candidate_factor": 10},
        "data": "0123",
        "pool": 780,
        "test": 520,
        "classes": CLASSES,
        "at": "2026-11-22T12:00:00+00:00",
        "versions": {"torch": "2.13"},
        "commit": "abc",
        "compute": "1 CPU thread",
        "machine": {"processor": "P", "gpu": None},
        "accuracy": value,
        "balanced_accuracy": value - 0.1,
        "macro_f1": value,
        "ece": 0.1,
        "per_class": [value, None, value / 2],
        "train_accuracy": 1.0,
        "pick_accuracy": 0.5,
        "gradient": {"picks": 40, "candidates": 400, "hits": 10, "chance": 4.0, "z": 3.0},
        "seconds": {"train": 30.0, "score": 3.0, "select": 0.1, "measure": 5.0},
        "labels_per_class": [30, 0, 30],
        "picked": [],
        "map": {"method": "PCA", "xy": rng.normal(size=(30, 2)).round(2).tolist(), "class": [0, 2] * 15, "picked": 6},
        **more,
    }


@pytest.fixture
def cells(tmp_path):
    folder = tmp_path / "cells"
    folder.mkdir()
    for method, gain in METHODS.items():
        for seed in range(8):
            lines = [a_line(method, seed, k, gain) for k in range(3)]
            lines[-1]["deeper"] = {"teacher": "resnet34", "accuracy": 0.9, "seconds": 100.0}
            (folder / f"{method}-{seed}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    full = {**a_line("all_labels", 0, 0, 0.3), "labels": 780, "rounds": 1}
    (folder / "all_labels-0.jsonl").write_text(json.dumps(full) + "\n")
    return folder


def cut(path, lines):
    path.write_text("".join(line + "\n" for line in path.read_text().splitlines()[:lines]))


def test_one_command_makes_every_table_and_figure(cells, tmp_path, capsys):
    out = tmp_path / "report"
    assert main(["bench-report", str(cells), "--out", str(out)]) == 0
    written = {path.name for path in out.iterdir()}
    figures = ("accuracy", "balanced_accuracy", "gap", "classes", "penalty", "picks")
    assert written == {"rounds.csv", "summary.md", *(f"{name}.{kind}" for name in figures for kind in ("png", "svg"))}
    assert sorted(capsys.readouterr().out.split()) == sorted(str(out / name) for name in written)
    for name in figures:
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (out / f"{name}.svg").read_text().rstrip().endswith("</svg>")
    rows = list(csv.DictReader((out / "rounds.csv").open()))
    assert len(rows) == 3 * 8 * 3 + 1
    assert {row["method"] for row in rows} == {*METHODS, "all_labels"}
    assert rows[0]["accuracy_slab"] == ""
    text = (out / "summary.md").read_text()
    assert "tomotutor bench tomograms --scale small" in text
    assert len(re.findall(r"^## ", text, re.MULTILINE)) == 11

    before = {path.name: path.read_bytes() for path in out.iterdir()}
    merged = tmp_path / "all.jsonl"
    merged.write_text("".join(path.read_text() for path in sorted(cells.iterdir(), reverse=True)))
    assert main(["bench-report", str(merged), "--out", str(out)]) == 0  # cells together in one file, in another order
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_tables_against_a_calculation_by_hand(cells):
    runs = read_runs([cells])
    assert list(runs.lines) == ["teacher_student", "margin", "random"]
    values = {
        m: np.array([[a_line(m, s, k, g)["accuracy"] for k in range(3)] for s in range(8)]) for m, g in METHODS.items()
    }
    header, *rows = curve_table(runs, accuracy)
    assert header == ["method", "seeds", "60", "100", "140", "AUBC"]
    area = values["margin"] @ [0.25, 0.5, 0.25]
    expected = [f"{v.mean():.3f} ± {v.std(ddof=1):.3f}" for v in (*values["margin"].T, area)]
    assert rows[1] == ["margin", "8", *expected]
    assert (
        curve_table(runs, gap)[3][2]
        == f"{(1 - values['random'][:, 0]).mean():.3f} ± {values['random'][:, 0].std(ddof=1):.3f}"
    )

    header, first, second = significance_table(runs)
    difference = (values["teacher_student"] - values["margin"]) @ [0.25, 0.5, 0.25]
    assert first[:3] == ["teacher_student − margin", "8", f"{difference.mean():+.4f}"]
    assert first[header.index("p (sign flip)")] == f"{2 / 256:.4f}"
    assert first[header.index("p (sign flip, Holm)")] == second[header.index("p (sign flip, Holm)")] == f"{4 / 256:.4f}"

    # 90 % of 0.9 (+ a little) is met between the second and the third point of random, and before for the others
    target = 0.9 * a_line("all_labels", 0, 0, 0.3)["accuracy"]
    needed = {
        m: np.median([60 + 40 * np.interp(target, row, range(3)) for row in v])
        for m, v in values.items()
        if m != "random"
    }
    header, *rows = target_table(runs)
    assert [row[2] for row in rows] == [f"{needed['teacher_student']:.0f}", f"{needed['margin']:.0f}", "> 140"]
    assert [row[4] for row in rows] == ["0", "0", "8"]
    assert picks_table(runs)[1] == ["teacher_student", "0.500", "10.0 of 40", "4.0", f"{3 * 24**0.5:+.1f}"]


def test_half_done_cells_are_left_out_and_counted(cells):
    cut(cells / "random-3.jsonl", 2)
    runs = read_runs([cells])
    assert (runs.unfinished, sorted(runs.lines["random"])) == (1, [0, 1, 2, 4, 5, 6, 7])
    assert significance_table(runs)[2][1] == "7"  # only seeds that both have are paired


def test_a_single_seed_gives_figures_without_spread(cells, tmp_path):
    for path in cells.iterdir():
        if not path.stem.endswith("-0"):
            path.unlink()
    assert main(["bench-report", str(cells), "--out", str(tmp_path / "o")]) == 0
    assert "±" not in (tmp_path / "o" / "summary.md").read_text().split("\n## ", 1)[1]


def test_lines_that_do_not_belong_together_are_refused(cells, tmp_path, capsys):
    with pytest.raises(TomoTutorError, match="no such file"):
        read_runs([tmp_path / "nothing.jsonl"])
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps(a_line("margin", 0, 1, 0.5)) + "\n")
    with pytest.raises(TomoTutorError, match="round 2 of margin with seed 0 is there twice, and differs"):
        read_runs([cells, other])
    other.write_text(json.dumps({**a_line("margin", 20, 0, 0.5), "data": "4567"}) + "\n")
    with pytest.raises(TomoTutorError, match="lines of different experiments"):
        read_runs([cells, other])
    other.write_text('{"labels": 3}\n')
    assert main(["bench-report", str(other), "--out", str(tmp_path / "o")]) == 1
    assert "a line has no 'method'; expected lines that tomotutor bench wrote" in capsys.readouterr().err
    for path in cells.iterdir():
        cut(path, 0)
    with pytest.raises(TomoTutorError, match="no finished cell among 25 files"):
        read_runs([cells])
    assert not (tmp_path / "o").exists()
