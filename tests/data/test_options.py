import argparse
import dataclasses
import json

import numpy as np
import pytest

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.settings import declared
from tomotutor.cli.common import add_source_arguments, read_source
from tomotutor.data.options import OPTIONS, Source
from tomotutor.session import Session

OTHER = {  # of each option, a value that is not its default, and how it is written on the command line
    "tomograms": ("t.star", ["t.star"]),
    "tomogram_dir": ("t", ["t"]),
    "tilt_dir": ("d", ["d"]),
    "denoised_dir": ("n", ["n"]),
    "key": ("items", ["items"]),
    "split": ("test", ["test"]),
    "voxel_size": (7.5, ["7.5"]),
    "protein": ("dark", ["dark"]),
    "ndim": (3, ["3"]),
    "byte_sign": ("signed", ["signed"]),
    "coordinate_pixel_size": (2.5, ["2.5"]),
    "centre": ("relion-napari", ["relion-napari"]),
    "tilt_range": ((-60.0, 50.0), ["-60", "50"]),
    "box": (40, ["40"]),
    "rescale": (12.0, ["12"]),
    "low_pass": (30.0, ["30"]),
    "normalise": ("tomogram", ["tomogram"]),
    "size": ((90, 120), ["120x90"]),
}


def read(*words):
    parser = argparse.ArgumentParser()
    add_source_arguments(parser)
    return read_source(parser.parse_args(["--particles", "/data/p.star", *words]))


def test_every_declared_option_is_an_argument_that_reaches_the_source():
    assert OTHER.keys() == OPTIONS.keys() == declared(Source).keys() - {"kind", "path", "root", "mean", "std"}
    assert read() == Source("particles", "/data/p.star", root="/data")
    for name, (value, words) in OTHER.items():
        assert read(OPTIONS[name].more["flag"], *words) == read().replace(**{name: value}), name
        assert OPTIONS[name].help, name


def test_an_option_is_declared_in_one_place(monkeypatch):
    """Declaring it, as a field would, is all that a new one needs."""
    new = dataclasses.replace(OPTIONS["low_pass"], name="low_pass", more={"flag": "--blur", "metavar": "A"})
    monkeypatch.setitem(OPTIONS, "low_pass", new)
    assert read("--blur", "25").preparation.low_pass == 25


def test_a_source_is_kept_by_concern_and_read_flat_too():
    source = read("--box", "40", "--tilt-range", "-60", "50", "--tomogram-dir", "/t")
    kept = json.loads(json.dumps(source.to_dict()))
    assert set(kept) == {"kind", "path", "where", "reading", "preparation"}
    assert (kept["preparation"]["box"], kept["reading"]["tilt_range"]) == (40, [-60.0, 50.0])
    assert Source.from_dict(kept) == Source.from_dict(source.flat()) == source
    assert source.paths() == {"path": "/data/p.star", "root": "/data", "tomogram_dir": "/t"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "holograms"}, "kind is 'holograms'; expected one of particles, stack"),
        ({"path": 3}, "path is 3; expected text"),
        ({"colour": "red"}, "unknown setting 'colour'; expected one of kind, path"),
        ({"box": 10**22}, "box is .*; expected 8 to 256"),
        ({"box": 32.5}, "box is 32.5; expected a whole number"),
        ({"ndim": 4}, "ndim is 4; expected one of 0, 2, 3"),
        ({"voxel_size": float("inf")}, "voxel_size is inf; expected a finite number"),
        ({"voxel_size": "5"}, "voxel_size is '5'; expected a number"),
        ({"mean": (float("nan"),)}, r"mean is \(nan,\); expected a finite number"),
        ({"std": (-1.0,)}, r"std is \(-1.0,\); expected a list, each entry a number of 0 or more"),
        ({"size": (8, 8, 8)}, "size has 3 edges; expected one, or WIDTHxHEIGHT"),
        ({"size": 224}, "size is 224; expected a list, each entry a whole number"),
        ({"tilt_range": (-100.0, 60.0)}, "tilt_range is .*; expected -90 to 90"),
        ({"tilt_range": (60.0,)}, "tilt_range is .*; expected the smallest and the largest"),
    ],
)
def test_wrong_options_are_said(options, message):
    with pytest.raises(TomoTutorError, match=f"^input: {message}"):
        Source(**{"kind": "particles", "path": "p.star"} | options)


def test_a_source_needs_a_path():
    with pytest.raises(TomoTutorError, match="input: path is missing"):
        Source("array")


FLAT = """
classes = ["ball", "slab", "junk"]
[source]
kind = "array"
path = "{path}"
root = ""
box = 32
mean = []
[recipe]
name = "app"
strategy = "entropy"
steps = 8
audit_share = 4
"""


def test_a_session_of_flat_settings_opens_and_is_written_by_concern(session_folder):
    path = Session(session_folder, write=False).source.path
    (session_folder / "session.toml").write_text(FLAT.format(path=path))
    session = Session(session_folder)
    assert (session.recipe.query.strategy, session.recipe.training.steps, session.recipe.audit.share) == (
        "entropy",
        8,
        4,
    )
    session.set_recipe(session.recipe.replace(steps=9))
    session.close()
    text = (session_folder / "session.toml").read_text()
    assert "[recipe.training]" in text
    assert "[source" not in text  # the database has it now
    assert Session(session_folder, write=False).recipe.training.steps == 9
    np.testing.assert_equal(Session(session_folder, write=False).source.path, path)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("steps = 8", "steps = inf", r"session\.toml: recipe: steps is inf; expected a whole number"),
        ("steps = 8", 'steps = "8"', r"session\.toml: recipe: steps is '8'; expected a whole number"),
        ("steps = 8", f"steps = {'[' * 5000}{']' * 5000}", r"session\.toml: damaged"),
        ("[recipe]", "[recipe.of.a.kind]", r"session\.toml: recipe: unknown setting 'of'"),
        ('kind = "array"', 'kind = "hologram"', r"session\.toml: input: kind is 'hologram'"),
        ("box = 32", "box = nan", r"session\.toml: input: box is nan"),
    ],
)
def test_a_wrong_session_toml_is_said(session_folder, before, after, message):
    (session_folder / "session.toml").write_text(FLAT.format(path="x.npz").replace(before, after))
    with pytest.raises(TomoTutorError, match=message) as problem:
        Session(session_folder, write=False)
    assert len(str(problem.value)) < 1500
