"""What sessions start from: where it is found, what is wrong with it, what of it is loaded."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers import FAST, answer_truthfully, two_kinds
from tomotutor.base.errors import TomoTutorError
from tomotutor.cli import main
from tomotutor.data.sources import Source
from tomotutor.learn import start as module
from tomotutor.learn.models import build_pair
from tomotutor.learn.start import CARD, FOLDER, PARTS, SHIPPED, find_start, load_start, read_card, write_start
from tomotutor.session import Session
from tomotutor.session.create import create_session
from tomotutor.session.session_file import SessionFile

SCRATCH = {**FAST, "start": "scratch"}
FROM_START = {key: value for key, value in FAST.items() if key not in ("start", "width")}
# what the benchmarks measure on, and what looks like it: no weights that ship may have seen it
HELD_OUT = (
    "1F4A",
    "1MNF",
    "2UV8",
    "3J9I",
    "4CR2",
    "4V4R",
    "6Z6U",
    "1AON",
    "6PXM",
    "3IPM",
    "6UTJ",
    "4V4R_50S",
    "4V4R_30S",
    "4V7R",
    "6QZP",
    "5MRC",
    "1QVR",
    "1BXN",
    "6XLU",
    "3JB9",
    "8TUX",
    "7N4Y",
    "1WCM",
    "1LNL",
    "6RD4",
    "1NCB",
)


def pair_of(classes=3, width=0.25, seed=0):
    return build_pair("resnet18", ndim=3, channels=1, edge=16, classes=classes, width=width, seed=seed)


def write_weights(folder, width=0.25):
    folder.mkdir(parents=True)
    write_start(folder, pair_of(6, width, seed=9).parts(), {"teacher": "resnet18", "stem": "3s2", "width": width})
    return folder


@pytest.fixture
def weights(tmp_path):
    return write_weights(tmp_path / "weights")


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Weights that ship, whether or not there are any."""
    folder = write_weights(tmp_path / "shipped")
    monkeypatch.setattr(module, "SHIPPED", folder)
    return folder


def new(folder, array_file, start="", settings=None, recipe="app", **more):
    create_session(
        folder,
        Source("array", str(array_file), **more),
        ["ball", "slab"],
        recipe=recipe,
        settings=settings,
        start=start,
    )
    return SessionFile.read(folder).recipe


def test_a_folder_and_a_file_in_it_are_found(weights, shipped):
    for name in (weights, weights / CARD, weights / "teacher.safetensors"):
        folder, card = find_start(str(name))
        assert folder == weights
        assert card == {"teacher": "resnet18", "stem": "3s2", "width": 0.25}
    assert find_start("pretrained")[0] == shipped
    with pytest.raises(
        TomoTutorError,
        match=r"nowhere: no such file or folder; expected .* for images, a .safetensors file",
    ):
        find_start("nowhere")
    with pytest.raises(
        TomoTutorError, match=rf"found no {CARD}; expected a folder that 'tomotutor pretrain' made, or a session"
    ):
        find_start(str(weights.parent))


def test_a_session_is_a_start_once_it_has_trained(tmp_path, array_file):
    first = tmp_path / "first"
    new(first, array_file, "scratch", SCRATCH)
    with pytest.raises(TomoTutorError, match="first: this session has no trained networks yet"):
        find_start(str(first))
    session = Session(first)
    answer_truthfully(session, 8)
    session.run_round()
    session.close()
    for name in (first, first / "session.toml"):
        folder, card = find_start(str(name))
        assert folder == first / "rounds" / "0001"
        assert card == {"teacher": "resnet18", "stem": "auto", "width": 0.25, "session": "first", "round": 1}

    recipe = new(tmp_path / "second", array_file, str(first), FROM_START)
    assert (recipe.network.start, recipe.network.width) == ("pretrained", 0.25)
    copied = tmp_path / "second" / FOLDER
    for part in PARTS:
        assert (copied / f"{part}.safetensors").read_bytes() == (folder / f"{part}.safetensors").read_bytes()
    assert read_card(copied) == card

    (folder / "metrics.json").write_text("{}")
    with pytest.raises(TomoTutorError, match="0001: damaged .* expected a finished round"):  # noqa: RUF043
        find_start(str(first))


def test_a_session_of_other_networks_is_no_start(tmp_path, array_file):
    folder = tmp_path / "s"
    new(folder, array_file, "scratch", SCRATCH)
    (folder / "rounds" / "0001").mkdir(parents=True)
    recipe = {"task": "classification", "teacher": "resnet18", "stem": "auto", "student": "twin", "width": 0.25}
    (folder / "rounds" / "0001" / "metrics.json").write_text(json.dumps({"recipe": recipe}))
    with pytest.raises(TomoTutorError, match="its networks are no pair for classification"):
        find_start(str(folder))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"teacher": "resnet18"}', '{"teacher": "resnet18", "width": "wide"}', "7"]
)
def test_a_damaged_card_is_said(weights, text):
    (weights / CARD).write_text(text)
    with pytest.raises(TomoTutorError, match=r"start.json: damaged \(.*expected the card of pretrained weights"):
        find_start(str(weights))


@pytest.mark.parametrize("classes", [4, 6])  # the weights have 6, too, but other ones
def test_all_but_the_last_layer_is_loaded_bit_for_bit(weights, classes):
    pair, fresh = pair_of(classes, seed=3), pair_of(classes, seed=3)
    load_start(pair, weights)
    for name, net in pair.parts().items():
        saved, own, before = (
            load_file(weights / f"{name}.safetensors"),
            net.state_dict(),
            fresh.parts()[name].state_dict(),
        )
        assert set(saved) == set(own)
        changed = 0
        for key, value in own.items():
            expected = before[key] if key.startswith("fc.") else saved[key].to(value.dtype)
            assert torch.equal(value, expected), key
            changed += not torch.equal(value, before[key])
        assert changed > 8
        assert own["fc.weight"].shape == (classes, 128)


def cut_short(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def no_weights(path):
    path.write_text("teacher")


def with_nan(path):
    tensors = load_file(path)
    next(value for key, value in tensors.items() if "stages" in key and value.is_floating_point()).view(-1)[0] = float(
        "nan"
    )
    save_file(tensors, path)


def with_less(path):
    tensors = load_file(path)
    del tensors["stem.0.weight"]
    save_file(tensors, path)


def of_another_width(path):
    write_weights(path.parent / "other", 0.5)
    shutil.copy(path.parent / "other" / path.name, path)


BROKEN = [
    (cut_short, "cannot be read"),
    (empty, "cannot be read"),
    (no_weights, "cannot be read"),
    (with_nan, "holds numbers that are not finite"),
    (with_less, "made for other networks (stem.0.weight does not fit)"),
    (of_another_width, "made for other networks"),
    (lambda path: path.unlink(), ""),
]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(("break_it", "message"), BROKEN)
def test_broken_weights_are_said(weights, part, break_it, message):
    break_it(weights / f"{part}.safetensors")
    with pytest.raises(TomoTutorError, match=rf"{part}\.safetensors: .*{re.escape(message)}"):
        load_start(pair_of(), weights)


def new_command(tmp_path, array_file, weights):
    settings = [word for key, value in FROM_START.items() for word in ("--set", f"{key}={value}")]
    return main(["new", str(tmp_path / "s"), "--array", str(array_file), "--start", str(weights), *settings])


@pytest.mark.parametrize(("break_it", "message"), BROKEN)
def test_the_command_says_it_in_a_sentence(tmp_path, array_file, weights, capsys, break_it, message):
    break_it(weights / "teacher.safetensors")
    assert new_command(tmp_path, array_file, weights) == 1
    shown = capsys.readouterr().err.strip().splitlines()
    assert shown[-1].startswith("tomotutor: ")
    assert message in shown[-1]
    assert not any("Traceback" in line for line in shown)


@pytest.mark.parametrize("part", PARTS)
def test_broken_weights_leave_no_session(tmp_path, array_file, weights, part):
    cut_short(weights / f"{part}.safetensors")
    assert new_command(tmp_path, array_file, weights) == 1
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("start", ["nowhere", "{weights}/nothing", "{empty}"])
def test_the_command_refuses_what_is_no_start(tmp_path, array_file, weights, capsys, start):
    (tmp_path / "empty").mkdir()
    words = [
        "new",
        str(tmp_path / "s"),
        "--array",
        str(array_file),
        "--start",
        start.format(weights=weights, empty=tmp_path / "empty"),
    ]
    assert main(words) == 1
    assert re.fullmatch(r"tomotutor: .*; expected .*\n", capsys.readouterr().err)
    assert not (tmp_path / "s").exists()


def test_a_session_keeps_a_copy_of_its_start(tmp_path, array_file, weights):
    kept = {part: (weights / f"{part}.safetensors").read_bytes() for part in PARTS}
    new(tmp_path / "s", array_file, str(weights), FROM_START)
    shutil.rmtree(weights)
    moved = shutil.move(tmp_path / "s", tmp_path / "moved")
    assert {part: (moved / FOLDER / f"{part}.safetensors").read_bytes() for part in PARTS} == kept
    session = Session(moved)
    answer_truthfully(session, 8)
    assert session.run_round().round == 1
    session.close()


def test_volumes_start_pretrained_by_default(tmp_path, array_file, shipped):
    recipe = new(tmp_path / "s", array_file, settings=FROM_START)
    assert (recipe.network.start, recipe.network.width) == ("pretrained", 0.25)
    assert (tmp_path / "s" / FOLDER / "teacher.safetensors").read_bytes() == (
        shipped / "teacher.safetensors"
    ).read_bytes()


@pytest.mark.parametrize("asked", [{"start": "scratch"}, {"settings": {"start": "scratch"}}, {"recipe": "paper"}])
def test_scratch_and_the_paper_s_recipe_start_from_nothing(tmp_path, array_file, shipped, asked):
    recipe = new(tmp_path / "s", array_file, **asked)
    assert recipe.network.start == "scratch"
    assert not (tmp_path / "s" / FOLDER).exists()


def test_images_start_from_scratch(tmp_path, shipped):
    x, y = two_kinds(20)
    path = tmp_path / "images.npz"
    np.savez(path, x=x[:, 8], y=y, classes=np.array(["ball", "slab"]))
    recipe = new(tmp_path / "a", path, ndim=2)
    assert recipe.network.start == "scratch"
    assert not (tmp_path / "a" / FOLDER).exists()
    for asked in ({"start": "pretrained"}, {"start": str(shipped)}, {"settings": {"start": "pretrained"}}):
        with pytest.raises(TomoTutorError, match="these weights are for volumes with a class for each"):
            new(tmp_path / "b", path, ndim=2, **asked)
        assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("settings", [{"width": "1"}, {"teacher": "resnet34"}, {"stem": "3s1"}, {"student": "twin"}])
def test_networks_of_another_shape_start_from_scratch_or_are_refused(tmp_path, array_file, shipped, settings):
    recipe = new(tmp_path / "a", array_file, settings=settings)
    assert recipe.network.start == "scratch"
    assert not (tmp_path / "a" / FOLDER).exists()
    with pytest.raises(TomoTutorError, match="choose the start scratch, or leave teacher, stem and width as they are"):
        new(tmp_path / "b", array_file, "pretrained", settings)
    assert not (tmp_path / "b").exists()


def test_the_weights_that_ship():
    card = read_card(SHIPPED)
    for name in (*(f"{part}.safetensors" for part in PARTS), CARD):
        assert (SHIPPED / name).stat().st_size < 5e6
    load_start(pair_of(4, width=0.25), SHIPPED)
    assert (card["teacher"], card["stem"], card["width"]) == ("resnet18", "3s2", 0.25)
    assert len(card["complexes"]) > 10
    never = (*HELD_OUT, *card["set_aside"], *card["relatives"])
    for entry in card["complexes"]:
        for text in (entry["name"], entry.get("file", "")):
            assert not [name for name in never if name in text.upper()], text


def test_the_card_names_all_that_is_set_aside():
    chosen = json.loads((Path(__file__).parents[2] / "docs/benchmarks/set_aside.json").read_text())
    card, text = read_card(SHIPPED), (SHIPPED / "README.md").read_text()
    assert set(card["set_aside"]) == {*chosen["development"], *chosen["final"]}
    assert set(card["relatives"]) == set(chosen["relatives"])
    assert all(name in text for name in (*card["set_aside"], *card["relatives"], *HELD_OUT))
