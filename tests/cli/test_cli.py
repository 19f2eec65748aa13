"""The commands, run as a person runs them: through main(), in real folders."""

import csv
import inspect
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import starfile
from gemmi import cif

from helpers import SET, write_mrc, write_star
from helpers import new_of_tomograms as new
from tomotutor.cli import main, make_parser
from tomotutor.cli.bench import BENCH_NAMES
from tomotutor.session import Session
from tomotutor.session.sample import create_sample_session


def test_a_whole_run(tomogram_set, capsys, caplog):
    folder = tomogram_set
    assert new(folder) == 0
    assert capsys.readouterr().out == f"{folder / 's'}: 40 items\n"
    run = [
        "run",
        str(folder / "s"),
        "--oracle",
        str(folder / "truth.csv"),
        "--init",
        "12",
        "--query",
        "6",
        "--rounds",
        "2",
    ]
    assert main(run) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert [line.split("labels")[1].split()[0] for line in lines[:3]] == ["12", "18", "24"]
    assert "audit" in lines[1]
    assert "pool 0." in lines[1] or "pool 1." in lines[1]
    assert "| round | labels | decisions | to 0.95 | to 0.99 | audit | interval | n | pool | t1 | t2 | seconds |" in out
    report = folder / "s" / "report"
    assert {p.name for p in report.iterdir()} == {"learning_curve.png", "confusion.png", "queue.png", "predictions.csv"}
    assert all(
        (report / n).read_bytes().startswith(b"\x89PNG") for n in ("learning_curve.png", "confusion.png", "queue.png")
    )

    assert main(["status", str(folder / "s"), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert {"items", "labeled", "round", "audit_accuracy", "audit_interval", "classes"} <= set(status)
    assert (status["items"], status["labeled"], status["round"]) == (40, 24, 3)
    assert sum(status["classes"].values()) == 24

    assert main(["predict", str(folder / "s"), "--out", str(folder / "p.csv")]) == 0
    table = list(csv.DictReader((folder / "p.csv").open()))
    assert [row["item"] for row in table] == [
        f"t{1 + (i >= 20)}:{i + 1}" for i in range(40)
    ]  # every item, in the list's order
    truth = {f"{r['tomogram']}:{r['star_row']}": r["class"] for r in csv.DictReader((folder / "truth.csv").open())}
    assert all(row["class"] == truth[row["item"]] for row in table if row["labeled"] == "1")
    assert sum(row["labeled"] == "1" for row in table) == 24

    capsys.readouterr()
    assert (
        main(
            [
                "export",
                str(folder / "s"),
                "--format",
                "relion",
                "--out",
                str(folder / "relion"),
                "--per-class",
                "--json",
            ]
        )
        == 0
    )
    written = json.loads(capsys.readouterr().out)
    assert str(folder / "relion" / "particles_ball.star") in written
    exported = cif.read(str(folder / "relion" / "particles.star"))["particles"]
    original = cif.read(str(folder / "particles.star"))["particles"]
    for tag in original.find_loop("_rlnTomoName").get_loop().tags:
        assert list(exported.find_loop(tag)) == list(original.find_loop(tag))
    assert [["ball", "slab", "junk"][int(n) - 1] for n in exported.find_loop("_rlnClassNumber")] == [
        row["class"] for row in table
    ]

    assert main(["export", str(folder / "s"), "--format", "averages", "--out", str(folder / "averages")]) == 0
    assert "the input has no angles" in caplog.text
    with mrcfile.open(folder / "averages" / "average_ball.mrc") as mrc:
        assert f"average of {sum(row['class'] == 'ball' for row in table)} particles" in mrc.get_labels()[0]
        assert mrc.data[6:11, 6:11, 6:11].mean() > mrc.data[:3].mean()  # a bright ball

    assert main(run) == 0  # a run that is complete does nothing new
    assert json.loads((folder / "s" / "rounds" / "0003" / "metrics.json").read_text())["metrics"]["trained_on"] <= 24
    assert not (folder / "s" / "rounds" / "0004").exists()

    apply = [
        "apply",
        str(folder / "s"),
        "--particles",
        str(folder / "particles.star"),
        "--tomogram-dir",
        str(folder),
        "--box",
        "16",
    ]
    assert main([*apply, "--out", str(folder / "applied")]) == 0
    assert {p.name for p in (folder / "applied").iterdir()} == {"predictions.csv", "particles.star", "classes.csv"}
    assert all(row["labeled"] == "0" for row in csv.DictReader((folder / "applied" / "predictions.csv").open()))
    capsys.readouterr()
    assert main([*apply, "--out", str(folder / "applied"), "--voxel-size", "12"]) == 0
    assert "the new voxels have 12 Å, the model was trained at 10 Å; see --rescale" in capsys.readouterr().err


def test_new_items_are_answered_with_the_tilts_of_the_session(array_file, tmp_path):
    session = str(tmp_path / "s")
    new = ["new", session, "--array", str(array_file), "--classes", "ball,slab", "--tilt-range", "-60", "40"]
    assert main([*new, *SET, "--set", "audit_share=0"]) == 0
    assert main(["run", session, "--oracle", "y", "--init", "8", "--query", "6", "--rounds", "0"]) == 0
    assert main(["predict", session, "--out", str(tmp_path / "p.csv")]) == 0
    assert main(["apply", session, "--array", str(array_file), "--out", str(tmp_path / "applied")]) == 0
    own, applied = (
        list(csv.DictReader(path.open())) for path in (tmp_path / "p.csv", tmp_path / "applied" / "predictions.csv")
    )
    compared = [(a, b) for a, b in zip(own, applied, strict=True) if a["labeled"] == "0"]
    assert len(compared) == 60 - 8
    assert all(a["confidence"] == b["confidence"] for a, b in compared)  # turned about y alone, both times

    other, own_tilts = tmp_path / "other.npz", tmp_path / "own.npz"
    for path, seed in ((other, 1), (own_tilts, 2)):
        np.savez(path, x=np.random.default_rng(seed).normal(0, 1, (4, 16, 16, 16)).astype(np.float32))
    assert main(["add", session, "--array", str(other)]) == 0
    assert main(["add", session, "--array", str(own_tilts), "--tilt-range", "-50", "50"]) == 0
    tilts_N2 = Session(session, write=False).pool.tilt_range_N2
    assert tilts_N2[:64].tolist() == [[-60, 40]] * 64
    assert tilts_N2[64:].tolist() == [[-50, 50]] * 4


def test_label_train_and_look_by_hand(tomogram_set, capsys):
    folder = tomogram_set
    new(folder, "--no-junk")
    assert main(["predict", str(folder / "s"), "--out", str(folder / "p.csv")]) == 1
    assert "no model yet" in capsys.readouterr().err
    assert not (folder / "p.csv").exists()
    assert main(["queue", str(folder / "s"), "-n", "12", "--json"]) == 0
    asked = json.loads(capsys.readouterr().out)
    assert [q["position"] for q in asked] == list(range(1, 13))
    truth = {f"{r['tomogram']}:{r['star_row']}": r["class"] for r in csv.DictReader((folder / "truth.csv").open())}
    rows = "".join(f"{q['item']},{truth[q['item']]},me\n" for q in asked)
    (folder / "labels.csv").write_text("item,class,annotator\n" + rows)
    assert main(["import-labels", str(folder / "s"), str(folder / "labels.csv")]) == 0
    assert "12 labels imported" in capsys.readouterr().out
    assert main(["round", str(folder / "s"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"] == 12
    assert main(["queue", str(folder / "s"), "-n", "5", "--csv", str(folder / "q.csv")]) == 0
    queue = list(csv.DictReader((folder / "q.csv").open()))
    assert len(queue) == 5
    scores = [float(q["disagreement"]) for q in queue if q["audit"] == "False"]
    assert scores == sorted(scores, reverse=True)
    assert main(["status", str(folder / "s")]) == 0
    assert "round     1" in capsys.readouterr().out


def test_arrays_answer_with_their_own_y(array_file, tmp_path, capsys):
    assert main(["new", str(tmp_path / "s"), "--array", str(array_file), "--classes", "ball,slab", *SET]) == 0
    assert main(["run", str(tmp_path / "s"), "--oracle", "y", "--init", "10", "--query", "5", "--rounds", "0"]) == 0
    capsys.readouterr()
    assert main(["export", str(tmp_path / "s"), "--format", "relion", "--out", str(tmp_path / "o")]) == 1
    assert "use --format csv" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "s"), "--format", "csv", "--out", str(tmp_path / "o")]) == 0


def test_images_in_2d(tmp_path):
    from tomotutor.session.sample import CLASSES, sample_data

    session, images = str(tmp_path / "s"), str(sample_data() / "images.npz")
    assert main(["new", session, "--array", images, "--classes", ",".join(CLASSES), "--no-junk", *SET]) == 0
    assert main(["run", session, "--oracle", "y", "--init", "12", "--query", "5", "--rounds", "1"]) == 0


def test_padded_boxes_and_duplicates_are_said(tmp_path, capsys):
    write_mrc(tmp_path / "t1.mrc", np.random.default_rng(0).normal(size=(24, 30, 30)).astype(np.float32))
    columns = {"rlnTomoName": ["t1"] * 4, "rlnCenteredCoordinateXAngst": [0, 0, -120, 9999]}
    columns |= {"rlnCenteredCoordinateYAngst": [0] * 4, "rlnCenteredCoordinateZAngst": [0] * 4}
    write_star(tmp_path / "particles.star", "particles", columns)
    assert new(tmp_path) == 0
    err = capsys.readouterr().err
    assert "warning: 2 boxes leave their tomogram" in err
    assert "1 of them lie outside altogether" in err
    assert "warning: 1 items are exact duplicates" in err


def bad(tmp_path, capsys, *arguments):
    """Run a command that must fail; return its one sentence."""
    assert main(["new", str(tmp_path / "s"), *arguments]) == 1
    assert not (tmp_path / "s").exists()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("tomotutor: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_bad_input_is_one_sentence_and_leaves_nothing(tomogram_set, tmp_path, capsys):
    star, where = str(tmp_path / "particles.star"), ["--tomogram-dir", str(tmp_path)]
    ok = ["--particles", star, *where, "--box", "16"]
    assert "expected two at least" in bad(tmp_path, capsys, *ok, "--classes", "a", "--no-junk")
    assert "less than the box of 64" in bad(
        tmp_path, capsys, "--particles", star, *where, "--box", "64", "--classes", "a,b"
    )
    assert "no such file" in bad(tmp_path, capsys, "--particles", star + "x", "--classes", "a,b")
    assert (
        "--tomogram-dir"
        in bad(tmp_path / "x", capsys, "--particles", star, "--tomogram-dir", "/nowhere", "--classes", "a,b")
        or True
    )
    assert "expected KEY=VALUE" in bad(tmp_path, capsys, *ok, "--classes", "a,b", "--set", "steps")
    raw = (tmp_path / "t2.mrc").read_bytes()
    (tmp_path / "t2.mrc").write_bytes(raw[: len(raw) // 2])
    assert "t2.mrc: the file is cut short" in bad(tmp_path, capsys, *ok, "--classes", "a,b")
    (tmp_path / "t2.mrc").unlink()
    assert "tomogram t2: no file t2.mrc" in bad(tmp_path, capsys, *ok, "--classes", "a,b")
    mrcfile.write(tmp_path / "t2.mrc", np.zeros((24, 96, 96), np.complex64))
    assert "MRC mode 4" in bad(tmp_path, capsys, *ok, "--classes", "a,b")


def test_a_session_in_use_and_a_missing_one(tomogram_set, capsys):
    from tomotutor.session import Session

    new(tomogram_set)
    session = Session(tomogram_set / "s")
    assert main(["round", str(tomogram_set / "s")]) == 1
    assert "open in another TomoTutor" in capsys.readouterr().err
    assert main(["status", str(tomogram_set / "s")]) == 0  # looking is allowed
    session.close()
    for command in (["status"], ["round"], ["queue"], ["label"]):
        assert main([*command, str(tomogram_set / "nothing")]) == 1
        assert "not a session" in capsys.readouterr().err


def test_a_session_follows_its_tomograms_to_another_folder(tomogram_set, tmp_path_factory, capsys):
    session, before = tomogram_set / "s", tomogram_set / "data"
    before.mkdir()
    for path in [*tomogram_set.glob("*.mrc"), tomogram_set / "particles.star"]:
        path.rename(before / path.name)
    assert (
        main(
            [
                "new",
                str(session),
                "--particles",
                str(before / "particles.star"),
                "--tomogram-dir",
                str(before),
                "--box",
                "16",
                "--classes",
                "ball,slab",
            ]
        )
        == 0
    )
    voxels = Session(session, write=False).pool.read(np.array([3]))
    after = tmp_path_factory.mktemp("elsewhere") / "lab"
    before.rename(after)
    capsys.readouterr()

    assert main(["status", str(session)]) == 0  # where a session stands needs no input
    assert main(["round", str(session)]) == 1
    assert f"run 'tomotutor relocate {session} --from {before} --to THE_NEW_PLACE'" in capsys.readouterr().err
    kept = (session / "session.toml").read_bytes()
    for old, moved, problem in (
        ("/other", after, "none of its paths lies under /other; they are"),
        (before, tomogram_set, "no file t1.mrc in"),
    ):
        assert main(["relocate", str(session), "--from", str(old), "--to", str(moved)]) == 1
        assert problem in capsys.readouterr().err
        assert (session / "session.toml").read_bytes() == kept
    assert main(["relocate", str(session), "--from", str(before), "--to", str(after)]) == 0
    assert "its 40 items are read from" in capsys.readouterr().out
    np.testing.assert_array_equal(Session(session, write=False).pool.read(np.array([3])), voxels)


def test_names_in_the_parser_are_those_of_the_registry():
    from tomotutor.benchmark.machine.speed import BENCHES

    assert (*BENCHES, "screen", "all") == BENCH_NAMES


def test_help_needs_no_heavy_import():
    code = (
        "import sys, tomotutor.cli as c\n"
        "try: c.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'numpy', 'napari', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_demo_without_a_screen(tmp_path, capsys, monkeypatch):
    # the demo's own session, but for the length of a training and of what is asked of a model
    monkeypatch.setattr("tomotutor.session.pool_embedding.LONGEST_S", 0.0)
    short = {"steps": "4", "passes": "0", "tta": "none", "candidate_factor": "2"}
    create_sample_session(tmp_path / "demo" / "session", settings=short)
    assert main(["demo", "--headless", "--dir", str(tmp_path / "demo")]) == 0
    assert (tmp_path / "demo" / "relion" / "particles_ribosome.star").is_file()
    assert (tmp_path / "demo" / "report" / "learning_curve.png").is_file()
    session = Session(tmp_path / "demo" / "session", write=False)
    assert session.recipe.network.start == "pretrained"
    assert session.pool_map is not None
    assert main(["demo", "--headless", "--dir", str(tmp_path / "demo")]) == 0  # a second time goes on from the first


def test_particles_are_added_in_the_midst_of_labeling(tomogram_set, capsys):
    folder, session = tomogram_set, tomogram_set / "s"
    star = (folder / "particles.star").read_text().splitlines()
    head, rows = [line for line in star if not line.startswith("t")], [line for line in star if line.startswith("t")]
    (folder / "particles.star").write_text("\n".join([*head, *rows[:24]]) + "\n")
    (folder / "more.star").write_text("\n".join([*head, rows[3], *rows[24:]]) + "\n")  # the first is in both lists
    assert new(folder) == 0
    run = ["run", str(session), "--oracle", str(folder / "truth.csv"), "--init", "12", "--query", "6"]
    (folder / "truth.csv").write_text("\n".join((folder / "truth.csv").read_text().splitlines()[:25]) + "\n")
    assert main([*run, "--rounds", "0"]) == 0
    opened = Session(session)
    labels, audits = opened.labels(), set(opened.state.audit_kind)
    opened.close()

    capsys.readouterr()
    assert main(["add", str(session), "--particles", str(folder / "more.star"), "--tomogram-dir", str(folder)]) == 0
    told = capsys.readouterr()
    assert told.out == f"{session}: 17 items added, called like more/t2:17; 41 in all\n"
    assert "warning: 1 of them are exact duplicates" in told.err
    opened = Session(session)
    assert opened.labels().items() >= labels.items()
    assert {
        row for row in opened.state.audit_kind if row < 24
    } == audits  # what was drawn before stays; the new ones draw their own
    assert any(row >= 24 for row in opened.state.audit_kind)
    shared, twin = opened.row("more/t1:1"), opened.row("t1:4")
    np.testing.assert_array_equal(opened.pool.read(np.array([shared])), opened.pool.read(np.array([twin])))
    opened.label("more/t1:1", "slab")
    assert opened.view(twin).label == "slab"  # an exact duplicate shares its label
    opened.label("more/t2:5", "ball")
    opened.close()
    (folder / "more.star").unlink()  # the session has its own copy

    assert main(["round", str(session)]) == 0
    assert main(["export", str(session), "--format", "relion", "--out", str(folder / "out")]) == 0
    assert len(starfile.read(folder / "out" / "particles.star")) == 24
    added = starfile.read(folder / "out" / "more" / "particles.star")
    assert len(added) == 17
    assert added["rlnClassNumber"][4] == 1
    assert main(["add", str(session), "--array", str(folder / "none.npy")]) == 1
    assert "none.npy" in capsys.readouterr().err
    assert len(Session(session, write=False).pool) == 41


def test_threads_are_limited_before_torch_comes(tmp_path, monkeypatch, capsys):
    """OpenMP reads what it may do once, when torch is imported: the limit and that waiting threads sleep come first."""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert main(["round", str(tmp_path / "none"), "--threads", "2"]) == 1
    from tomotutor.learn.compute import available_threads, cores

    assert available_threads() == min(2, cores())
    with pytest.raises(SystemExit):
        main(["round", str(tmp_path), "--threads", "0"])
    assert "0: expected a number above 0" in capsys.readouterr().err
    code = "import sys, os, tomotutor; print('torch' in sys.modules, os.environ['OMP_WAIT_POLICY'])"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert shown.stdout == "False PASSIVE\n"


def test_every_command_that_computes_takes_threads():
    (commands,) = (a for a in make_parser()._actions if isinstance(a.choices, dict))
    (kinds,) = (a for a in commands.choices["simulate"]._actions if isinstance(a.choices, dict))
    found = {name for name, sub in commands.choices.items() if "--threads" in sub.format_help()}
    rounds = {"new", "add", "label", "round", "predict", "export", "apply", "run", "demo", "pretrain", "bench"}
    between = {"groups", "accept", "doubts", "similar", "check-class", "answers", "average"}
    assert found == rounds | between
    assert all("--threads" in sub.format_help() for sub in kinds.choices.values())


def python(*words, **how):
    return subprocess.run([sys.executable, *words], stderr=subprocess.PIPE, text=True, timeout=120, **how)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_one_sentence(session_folder):
    with Path("/dev/full").open("w") as full:
        ran = python("-m", "tomotutor", "status", str(session_folder), stdout=full)
    assert (ran.returncode, ran.stderr) == (1, "tomotutor: standard output: the disk is full; make room\n")


@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
def test_a_closed_standard_output_harms_nothing(session_folder):
    command = shlex.join([sys.executable, "-m", "tomotutor", "status", str(session_folder)])
    ran = subprocess.run(["sh", "-c", f"{command} >&-"], stderr=subprocess.PIPE, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")


# as installers write it, from the line in pyproject.toml
ENTRY = "import sys\nfrom {} import {}\nsys.exit({}())\n"


def entry():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    module, function = project["scripts"]["tomotutor"].split(":")
    return ENTRY.format(module, function, function)


class Dropping:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)


def converting():
    """What compiled code does that imports."""
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt as problem:
        raise ImportError from problem


@pytest.mark.parametrize(
    ("module", "how"),
    [
        ("tomotutor.base.errors", "os.kill(os.getpid(), 2)"),
        ("argparse", "converting()"),
        ("tomotutor.cli.session", "converting()"),
        ("tomotutor.cli.session", "Dropping()"),
    ],
)
def test_an_interrupt_while_python_imports_is_one_line(module, how):
    interrupting = (
        "import os, signal, sys\n"
        + inspect.getsource(converting)
        + inspect.getsource(Dropping)
        + "class Interrupting:\n"
        "    def find_spec(self, name, *more):\n"
        f"        if name == {module!r}:\n"
        f"            {how}\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "sys.argv[1:] = ['status', 'x']\n"
    )
    ran = python("-c", interrupting + entry())
    assert ran.returncode in (130, -signal.SIGINT)
    assert re.fullmatch("(tomotutor: interrupted.*\n)?", ran.stderr)


@pytest.mark.slow
def test_an_interrupt_at_any_moment_is_one_line(session_folder):
    telling = (  # before the command line is imported it is Python's own start
        "import os, sys\n"
        "class Telling:\n"
        "    def find_spec(self, name, *more):\n"
        "        if name == 'tomotutor.cli':\n"
        "            os.write(1, b'.')\n"
        "sys.meta_path.insert(0, Telling())\n"
    )
    words, statuses = [sys.executable, "-c", telling + entry(), "status", str(session_folder)], []
    for delay_ms in range(0, 600, 6):
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout.read(1) == "."
            time.sleep(delay_ms / 1000)
            process.send_signal(signal.SIGINT)
            shown = process.stderr.read()
        statuses.append(process.returncode)
        assert process.returncode in (0, 130, -signal.SIGINT)
        assert re.fullmatch("(tomotutor: interrupted.*\n)?", shown)
    assert 130 in statuses
