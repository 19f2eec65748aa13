"""Pretraining: a tiny one, as a person runs it, and what it leaves behind."""

import argparse
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from helpers import two_kinds, write_mrc
from tomotutor.base.errors import CancelledError, TomoTutorError
from tomotutor.base.progress import Progress, ignore
from tomotutor.cli import main, make_parser
from tomotutor.cli.pretrain import choose_structures, command_line, reporter
from tomotutor.learn import pretrain as module
from tomotutor.learn.compute import Compute
from tomotutor.learn.models import build_pair
from tomotutor.learn.pretrain import pretrain
from tomotutor.learn.pretrain_settings import PretrainSettings
from tomotutor.learn.start import find_start, load_start
from tomotutor.simulate import Structure
from tomotutor.simulate.variation import Variation

SMALL = Variation(box=16, voxel_size_angst=(11.0, 15.0), neighbours=2, pick_error_voxel=1.0)
QUICK = PretrainSettings(steps=3, batch_size=32, width=0.25, learning_rate=0.02, workers=0)
THREE = [Structure(name) for name in ("made-up-0", "made-up-1", "ferritin")]


@pytest.fixture(autouse=True)
def few_test_items(monkeypatch):
    monkeypatch.setattr(module, "TEST_ITEMS", 64)


def run(folder, settings=QUICK, report=ignore, more=None):
    return pretrain(folder, THREE, settings, SMALL, Compute(), report, more)


def tensors(folder):
    return {name: load_file(folder / f"{name}.safetensors") for name in ("teacher", "student")}


def same(one, other):
    return all(torch.equal(value, other[name][key]) for name, net in one.items() for key, value in net.items())


def test_weights_are_small_halves_and_follow_from_the_seed(tmp_path):
    threads = torch.get_num_threads()
    try:
        for name, changes in (("a", {}), ("b", {"workers": 1}), ("c", {"seed": 1})):
            run(tmp_path / name, PretrainSettings(**{**vars(QUICK), **changes}))
    finally:
        torch.set_num_threads(threads)
    found = {name: tensors(tmp_path / name) for name in "abc"}
    assert same(found["a"], found["b"])  # simulated beside the training or in it
    assert not same(found["a"], found["c"])
    files = sorted((tmp_path / "a").iterdir())
    assert [path.name for path in files] == ["start.json", "student.safetensors", "teacher.safetensors"]
    assert all(path.stat().st_size < 5e6 for path in files)
    assert sorted(tmp_path.iterdir()) == [tmp_path / name for name in "abc"]
    for net in found["a"].values():
        assert {value.dtype for value in net.values() if value.is_floating_point()} == {torch.float16}
        assert all(value.isfinite().all() for value in net.values())
        assert net["fc.weight"].shape == (4, 128)  # three complexes and false picks


def test_it_learns(tmp_path):
    """Ferritin, a hollow cage, and a ribosome at a kind SNR."""
    kind = Variation(
        box=16,
        voxel_size_angst=(13.0, 15.0),
        snr=(20.0, 20.0),
        tilt_deg=(70, 70),
        tilt_step_deg=(1, 1),
        neighbours=0,
        pick_error_voxel=0,
        false_picks=0,
        defocus_um=(1.5, 1.5),
    )
    losses = []

    def keep(progress):
        if progress.stage == "train":
            losses.append(progress.loss)

    settings = PretrainSettings(steps=12, batch_size=32, learning_rate=0.02, workers=0)
    card = pretrain(tmp_path / "w", [Structure("ribosome"), Structure("ferritin")], settings, kind, Compute(), keep)
    assert losses[-1] < 0.5 * losses[0]
    assert card["accuracy"]["teacher"] > 0.8


@pytest.mark.parametrize("objective", ["classes", "metric"])
def test_the_weights_are_a_start(tmp_path, objective):
    settings = PretrainSettings(**{**vars(QUICK), "objective": objective})
    run(tmp_path / "a", settings)
    pair = build_pair("resnet18", ndim=3, channels=1, edge=16, classes=2, width=0.25, seed=5)
    folder, card = find_start(str(tmp_path / "a"))
    load_start(pair, folder)
    assert (card["teacher"], card["stem"], card["width"]) == ("resnet18", "3s2", 0.25)
    run(tmp_path / "b", settings)
    assert same(tensors(tmp_path / "a"), tensors(tmp_path / "b"))


def test_stages_are_told_and_a_stopped_pretraining_leaves_its_checkpoint(tmp_path):
    told = []
    run(tmp_path / "a", report=told.append)
    assert [(p.stage, p.done, p.total) for p in told] == [
        *(("densities", i, 3) for i in (1, 2, 3)),
        *(("train", i, 3) for i in (1, 2, 3)),
        ("score", 32, 64),
        ("score", 64, 64),
    ]

    def stop(progress):
        if progress.stage == "score":
            raise CancelledError

    with pytest.raises(CancelledError):
        run(tmp_path / "b", report=stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b.checkpoint", "b.densities"]
    told.clear()
    run(tmp_path / "b", report=told.append)
    assert {p.stage for p in told} == {"score"}
    assert same(tensors(tmp_path / "a"), tensors(tmp_path / "b"))


def stop_after(step):
    def report(progress):
        if progress.stage == "train" and progress.done == step:
            raise CancelledError

    return report


def test_a_pretraining_in_parts_gives_the_numbers_of_one_in_one_go(tmp_path):
    settings = PretrainSettings(**{**vars(QUICK), "steps": 5, "objective": "metric"})
    told = []
    run(tmp_path / "whole", settings, told.append)
    losses = {p.done: p.loss for p in told if p.stage == "train"}
    for step in (1, 3):
        with pytest.raises(CancelledError):
            run(tmp_path / "parts", settings, stop_after(step))
    told.clear()
    card = run(tmp_path / "parts", settings, told.append)
    assert {p.done: p.loss for p in told if p.stage == "train"} == {4: losses[4], 5: losses[5]}
    assert same(tensors(tmp_path / "whole"), tensors(tmp_path / "parts"))
    assert card["accuracy"] == json.loads((tmp_path / "whole" / "start.json").read_text())["accuracy"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts", "whole"]


def test_a_pretraining_may_become_longer_and_nothing_else(tmp_path):
    with pytest.raises(CancelledError):
        run(tmp_path / "a", report=stop_after(2))
    for changes, message in (
        ({"seed": 1}, "another seed; give the command that began it"),
        ({"batch_size": 64}, "another batch_size"),
        ({"steps": 1}, "2 mini-batches are done already"),
    ):
        with pytest.raises(TomoTutorError, match=message):
            run(tmp_path / "a", PretrainSettings(**{**vars(QUICK), **changes}))
    with pytest.raises(TomoTutorError, match="another complexes"):
        pretrain(tmp_path / "a", THREE[:2], QUICK, SMALL, Compute())
    card = run(tmp_path / "a", PretrainSettings(**{**vars(QUICK), "steps": 4}))
    assert card["settings"]["steps"] == 4


def test_a_damaged_checkpoint_is_one_sentence(tmp_path):
    for content in (b"", b"nothing of the kind", (8).to_bytes(8, "little") + b"{}      "):
        (tmp_path / "a.checkpoint").write_bytes(content)
        with pytest.raises(TomoTutorError, match=r"a\.checkpoint: damaged .* remove it to begin anew"):
            run(tmp_path / "a")


def test_densities_are_made_again_only_where_they_must_be(tmp_path):
    """Of a structure that has changed, of another range or box, or where the file is damaged."""

    def stages(variation=SMALL):
        told = []

        def stop_at_training(progress):
            told.append(progress.stage)
            if progress.stage == "train":
                raise CancelledError

        (tmp_path / "a.checkpoint").unlink(missing_ok=True)
        structures = [Structure("map", tmp_path / "map.mrc"), Structure("ferritin")]
        with pytest.raises(CancelledError):
            pretrain(tmp_path / "a", structures, QUICK, variation, Compute(), stop_at_training)
        return set(told)

    write_mrc(tmp_path / "map.mrc", two_kinds(1, 16)[0][0].clip(0), 10.0)
    assert stages() == {"densities", "train"}
    assert stages() == {"train"}
    assert stages(Variation(**{**vars(SMALL), "snr": (0.1, 0.2)})) == {"train"}
    assert stages(Variation(**{**vars(SMALL), "box": 20})) == {"densities", "train"}
    assert stages(Variation(**{**vars(SMALL), "voxel_size_angst": (10.0, 15.0)})) == {"densities", "train"}
    assert stages() == {"densities", "train"}
    write_mrc(tmp_path / "map.mrc", two_kinds(1, 16, seed=5)[0][0].clip(0), 10.0)
    assert stages() == {"densities", "train"}
    (tmp_path / "a.densities").write_bytes(b"nothing of the kind")
    assert stages() == {"densities", "train"}


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.slow
def test_killed_at_any_moment_and_given_again(tmp_path):
    """The command itself, ended by kill -9 and by SIGTERM, in the end has the weights of one that was left alone."""
    command = [*COMMAND, "--steps", "16", "--precision", "float32", "--device", "cpu", "--checkpoint", "0"]

    def start(out, workers):
        words = ["pretrain", "--out", str(out), *command, "--workers", workers]
        code = "from tomotutor.cli import main; import sys; sys.exit(main(sys.argv[1:]))"
        return subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    assert start(tmp_path / "whole", "0").wait() == 0
    for number, workers in ((signal.SIGKILL, "0"), (signal.SIGTERM, "1"), (signal.SIGKILL, "1")):
        before = (tmp_path / "parts.checkpoint").stat().st_mtime_ns if (tmp_path / "parts.checkpoint").exists() else 0
        process = start(tmp_path / "parts", workers)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            time.sleep(0.01)
            if (tmp_path / "parts.checkpoint").exists() and (tmp_path / "parts.checkpoint").stat().st_mtime_ns > before:
                break
        process.send_signal(number)
        shown = process.communicate()[0].decode()
        assert process.returncode == (-9 if number == signal.SIGKILL else 130), shown
        if number != signal.SIGKILL:
            assert "interrupted; the same command goes on from" in shown
    assert start(tmp_path / "parts", "0").wait() == 0
    assert same(tensors(tmp_path / "whole"), tensors(tmp_path / "parts"))


@pytest.mark.parametrize(
    ("problem", "kind", "message"),
    [
        (
            "DataLoader worker (pid 7) is killed by signal: Killed. ",
            TomoTutorError,
            "is killed by signal: Killed); take fewer workers, or 0",
        ),
        ("a bug", RuntimeError, "a bug"),
    ],
)
def test_a_lost_worker_is_one_sentence(tmp_path, monkeypatch, problem, kind, message):
    def lose(*_args):
        raise RuntimeError(problem)

    monkeypatch.setattr(module, "learn", lose)
    with pytest.raises(kind, match=re.escape(message)):
        run(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a.densities"]


COMMAND = [
    "--made-up",
    "2",
    "--steps",
    "2",
    "--batch-size",
    "32",
    "--box",
    "16",
    "--voxel-size",
    "11,15",
    "--workers",
    "0",
]


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tomotutor.learn.compute.candidates", lambda device, threads: [])
    volume = two_kinds(1, 16)[0][0].clip(0)
    for name in ("held", "kept"):
        write_mrc(tmp_path / "maps" / f"{name}.mrc", volume, 10.0)
    out = tmp_path / "deep" / "weights"
    words = [
        "pretrain",
        "--structures",
        str(tmp_path / "maps"),
        "ferritin",
        f"--out={out}",
        "--exclude",
        "held",
        *COMMAND,
        "--device",
        "cpu",
    ]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "4 complexes, 2 mini-batches of 32 on" in shown
    assert f"next: tomotutor new SESSION ... --start {out}" in shown
    text = (out / "start.json").read_text()
    card = json.loads(text)
    assert f"teacher {card['accuracy']['teacher']:.3f}, student {card['accuracy']['student']:.3f}" in shown
    assert [c["name"] for c in card["complexes"]] == ["kept", "ferritin", "made-up-0", "made-up-1"]
    assert card["complexes"][0]["file"] == "kept.mrc"
    assert card["complexes"][0]["sha256"] == hashlib.sha256((tmp_path / "maps" / "kept.mrc").read_bytes()).hexdigest()
    assert card["excluded"] == ["held"]
    assert (
        card["command"]
        == "tomotutor pretrain --structures maps ferritin --out=weights --exclude held "
        + " ".join(COMMAND)
        + " --device cpu"
    )
    assert str(tmp_path) not in text
    assert card["settings"] == {**vars(PretrainSettings()), "steps": 2, "batch_size": 32, "workers": 0}
    assert (card["variation"]["box"], card["variation"]["voxel_size_angst"]) == (16, [11.0, 15.0])
    assert set(card) == {
        "teacher",
        "stem",
        "width",
        "box",
        "complexes",
        "variation",
        "settings",
        "compute",
        "accuracy",
        "date",
        "seconds",
        "versions",
        "excluded",
        "command",
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--exclude", "ferritin,FERRITIN"],
            "--exclude: found no complex called 'FERRITIN'; expected some of ribosome, proteasome",
        ),
        (["--exclude", "made-up-0", "--made-up", "2"], "found no complex called 'made-up-0'"),
        (
            ["--exclude", "ribosome,proteasome,chaperonin,ferritin", "--made-up", "1", "--precision", "float32"],
            "found 1 complexes that fit",
        ),
        (["--structures", "nowhere"], "nowhere: no such file or folder"),
        (["--made-up", "-2"], "--made-up -2: expected a number from 0"),
        (["--tilt", "70,40"], "tilt 70,40: expected two numbers between 10 and 80 degrees, the smaller one first"),
        (["--tilt", "-60,60"], "tilt -60,60"),
        (["--batch-size", "20"], "batch_size is 20; expected a whole number of 32 or more"),
        (["--batch-size", "48"], "batch_size is 48; expected a multiple of 32"),
        (["--steps", "0"], "steps is 0; expected a whole number of 1 or more"),
        (["--learning-rate", "0"], "learning_rate is 0.0; expected a number above 0"),
        (["--workers", "-1"], "workers is -1"),
        (["--seed", "-1"], "seed is -1"),
        (["--box", "200"], "box 200"),
        (["--false-picks", "1"], "false picks 1"),
        (["--out", "{here}"], "exists already; choose another folder"),
        (["--out", "{here}/file/weights"], "file/weights: cannot be written"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(tmp_path, capsys, words, message):
    (tmp_path / "file").write_text("")
    words = [word.format(here=tmp_path) for word in words]
    short = ["--steps", "1", "--batch-size", "32", "--workers", "0", "--box", "16", "--precision", "float32"]
    assert main(["pretrain", "--out", str(tmp_path / "weights"), *short, *words]) == 1
    shown = capsys.readouterr().err.strip().splitlines()[-1]
    assert shown.startswith("tomotutor: ")
    assert message in shown
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_command_s_defaults_are_those_of_python():
    args = vars(make_parser().parse_args(["pretrain", "--out", "x"]))
    renamed = {
        "tilt_deg": "tilt",
        "voxel_size_angst": "voxel_size",
        "tilt_step_deg": "tilt_step",
        "defocus_um": "defocus",
    }
    renamed["pick_error_voxel"] = "pick_error"
    for value in (PretrainSettings(), Variation()):
        for name, default in vars(value).items():
            if name != "amplitude_contrast":
                assert args[renamed.get(name, name)] == default, name


def test_made_up_complexes_and_structures_of_one_name_are_refused(tmp_path):
    path = write_mrc(tmp_path / "made-up-1.mrc", two_kinds(1)[0][0])
    assert len(choose_structures([str(path)], [], 1)) == 2
    with pytest.raises(TomoTutorError, match="called 'made-up-1' too"):
        choose_structures([str(path)], [], 2)


def test_a_command_line_tells_no_folders():
    words = ["pretrain", "--structures", "/home/me/maps/", "a/b.csv", "--out=/scratch/me/w x", "--voxel-size", "6,12"]
    assert command_line(words) == "tomotutor pretrain --structures maps b.csv '--out=w x' --voxel-size 6,12"


def test_a_log_gets_a_line_now_and_then_and_a_person_one_that_changes(capsys, monkeypatch):
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    report = reporter(64, 0)
    report(Progress("densities", 3, 45))
    report(Progress("train", 10, 20, 1, 1, 2.5, 90.0))
    report(Progress("train", 11, 20, 1, 1, 1.5, 90.0))
    assert capsys.readouterr().err.splitlines() == [
        "densities: 3 of 45",
        "training: 640 of 1280 items, loss 2.500, 1.5 min left",
        "training: 704 of 1280 items, 32 a second, loss 1.500, 1.5 min left",
    ]
    seldom = reporter(64, 1000)
    seldom(Progress("train", 10, 20, 1, 1, 2.5, 90.0))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    report = reporter(64)
    report(Progress("densities", 3, 45))
    report(Progress("train", 10, 20, 1, 1, 2.5, 90.0))
    shown = capsys.readouterr().err
    assert "densities:   7%|" in shown and "3/45" in shown
    assert "training:  50%|" in shown and "640/1280" in shown and "loss 2.500" in shown
    report(Progress("train", 20, 20, 1, 1, 2.5, busy=True))
    assert "the machine is busy" not in capsys.readouterr().err  # it is over
    report(Progress("score", 1, 20, busy=True))
    assert re.search(r"scoring:   5%\|.*the machine is busy", capsys.readouterr().err)


@pytest.mark.parametrize(("precision", "below"), [("float32", 0), ("bfloat16", 4)])
def test_a_worker_has_its_core(monkeypatch, precision, below):
    from tomotutor.cli.pretrain import _compute

    monkeypatch.setattr("tomotutor.learn.compute.available_threads", lambda: 4)
    args = argparse.Namespace(device="cpu", precision=precision)
    for workers, threads in ((0, 4), (1, 3), (9, 1)):
        settings = PretrainSettings(workers=workers)
        assert _compute(args, settings, SMALL, 3) == Compute("cpu", precision, True, below, threads)
