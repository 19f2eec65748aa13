"""Inputs of a session: each file is read once, all are kept in one place, and those of earlier versions are brought
there.
"""

import json
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from gemmi import cif

from helpers import FAST, write_mrc, write_star
from tomotutor.base.errors import TomoTutorError
from tomotutor.cli import main
from tomotutor.data.sources import Source
from tomotutor.session import Session
from tomotutor.session.create import create_session
from tomotutor.session.database import Database
from tomotutor.session.inputs import INPUTS, read_inputs, to_json
from tomotutor.session.session_file import NAME, SessionFile

BOX = 8
AT = {"a": [(10, 12, 14), (20, 22, 24), (15, 30, 9)], "b": [(11, 11, 11), (25, 20, 15), (12, 28, 20)]}


def write_project(folder: Path) -> Path:
    """A RELION project of two tomograms with their tilt series, and its optimisation set, which is returned."""
    rng = np.random.default_rng(0)
    for name in AT:
        write_mrc(folder / "rec" / f"{name}.mrc", rng.normal(size=(40, 40, 40)).astype(np.float32))
        write_star(
            folder / "tilts" / f"{name}.star",
            name,
            {"rlnTomoNominalStageTiltAngle": [-60, 0, 50 + ord(name) - ord("a")]},
        )
    write_star(
        folder / "tomograms.star",
        "global",
        {
            "rlnTomoName": ["a", "b"],
            "rlnTomoReconstructedTomogram": ["rec/a.mrc", "rec/b.mrc"],
            "rlnTomoTiltSeriesStarFile": ["tilts/a.star", "tilts/b.star"],
            "rlnTomoTiltSeriesPixelSize": [10, 10],
            "rlnTomoTomogramBinning": [1, 1],
            **{f"rlnTomoSize{axis}": [40, 40] for axis in "XYZ"},
        },
    )
    rows = [(name, *((np.array(at) - 20) * 10)) for name, places in AT.items() for at in places]
    columns = ["rlnTomoName", *(f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ")]
    write_star(
        folder / "particles.star", "particles", dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))
    )
    names = {"rlnTomoParticlesFile": ["particles.star"], "rlnTomoTomogramsFile": ["tomograms.star"]}
    return write_star(folder / "optimisation_set.star", "optimisation_set", names)


@pytest.fixture
def parsed(monkeypatch):
    """Counts how often a text is parsed as STAR, by the names of its blocks; a copy of a file counts as the file."""
    counts, real = Counter(), cif.read_string

    def read(text):
        document = real(text)
        counts.update(block.name for block in document)
        return document

    monkeypatch.setattr(cif, "read_string", read)
    return counts


ONCE = {"optimisation_set": 1, "particles": 1, "global": 1, "a": 1, "b": 1}


@pytest.mark.parametrize("start", ["scratch", "pretrained"])
def test_each_file_is_read_once(tmp_path, parsed, start):
    made = ["new", str(tmp_path / "s"), "--particles", str(write_project(tmp_path)), "--box", "8", "--classes", "A,B"]
    assert main([*made, "--start", start, "--set", "initial_size=4"]) == 0
    assert parsed == ONCE

    parsed.clear()
    session = Session(tmp_path / "s", write=False)
    assert not parsed  # one that only looks reads them when it needs them
    assert len(session.pool) == 6
    assert parsed == {name: count for name, count in ONCE.items() if name != "optimisation_set"}
    np.testing.assert_array_equal(session.pool.tilt_range_N2[[0, 3]], [[-60, 50], [-60, 51]])


def test_adding_and_exporting_read_each_file_once(tmp_path, parsed):
    source = Source("particles", str(write_project(tmp_path)), box=BOX)
    create_session(tmp_path / "s", source, ["A", "B"], settings={**FAST, "audit_share": "0"})
    write_project(tmp_path / "more")
    session = Session(tmp_path / "s")
    parsed.clear()
    assert session.add_items(Source("particles", str(tmp_path / "more" / "optimisation_set.star"))) == (6, 6)
    assert parsed == ONCE
    assert session.pool.ids[6] == "particles/a:1"
    for item, name in (("a:1", "A"), ("a:2", "B"), ("b:4", "A"), ("b:5", "B")):
        session.label(item, name)
    session.run_round()
    session.close()
    parsed.clear()
    assert main(["export", str(tmp_path / "s"), "--format", "relion", "--per-class", "--out", str(tmp_path / "o")]) == 0
    opened, exported = 2, 2  # lists: both inputs, each opened once and written again from one reading
    assert parsed == {"particles": opened + exported, "global": 2, "a": 2, "b": 2}


def as_an_earlier_version_made_it(folder: Path) -> None:
    """Put the first input into session.toml and the others under `added`, as versions before did."""
    store = Database(folder, write=True)
    first, *others = read_inputs(store)
    store.set_meta("added", to_json(others))
    store._connection.execute("DELETE FROM meta WHERE key = ?", (INPUTS,))
    store.close()
    file = SessionFile.read(folder)
    SessionFile(file.classes, file.recipe, first.source).write(folder)


@pytest.fixture
def earlier(tmp_path):
    """A session of an earlier version, with an input that was added."""
    write_project(tmp_path / "here")
    write_project(tmp_path / "here" / "more")
    source = Source("particles", str(tmp_path / "here" / "optimisation_set.star"), box=BOX)
    create_session(tmp_path / "s", source, ["A", "B"], settings=FAST)
    session = Session(tmp_path / "s")
    session.add_items(Source("particles", str(tmp_path / "here" / "more" / "optimisation_set.star")))
    session.close()
    as_an_earlier_version_made_it(tmp_path / "s")
    return tmp_path / "s"


def test_inputs_of_an_earlier_version_are_gathered_when_a_session_is_opened_for_writing(earlier):
    before = (earlier / NAME).read_bytes()
    looked = Session(earlier, write=False)
    assert (earlier / NAME).read_bytes() == before
    assert looked.pool.ids[0] == "a:1"
    session = Session(earlier)
    assert [prefix for prefix, _, _ in session.inputs] == ["", "particles"]
    assert session.pool.ids == looked.pool.ids
    assert session.source == looked.source
    session.label("a:1", "A")
    session.close()
    assert "source" not in tomllib.loads((earlier / NAME).read_text())
    assert (earlier / f"{NAME}.old").read_bytes() == before
    again = Session(earlier, write=False)
    assert again.labels() == {0: "A"}
    assert again.inputs == session.inputs


@pytest.mark.parametrize("old", [True, False])
def test_all_inputs_move_at_once(earlier, tmp_path, old):
    if not old:
        Session(earlier).close()
    (tmp_path / "here").rename(tmp_path / "there")
    assert main(["relocate", str(earlier), "--from", str(tmp_path / "here"), "--to", str(tmp_path / "there")]) == 0
    session = Session(earlier, write=False)
    assert {source.where.root for _, source, _ in session.inputs} == {
        str(tmp_path / p) for p in ("there", "there/more")
    }
    assert np.isfinite(session.pool.read(np.array([0, 11]))).all()
    assert "here" not in (earlier / NAME).read_text()
    store = Database(earlier, write=False)
    assert "/here" not in store.meta(INPUTS)
    assert len(json.loads(store.meta(INPUTS))) == 2
    store.close()


def swap(path: Path, first: str, second: str) -> None:
    lines = path.read_text().splitlines()
    i, j = (next(k for k, line in enumerate(lines) if line.split()[:2] == name.split()) for name in (first, second))
    lines[i], lines[j] = lines[j], lines[i]
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("rows", r"s/particles\.star: this is the session's own copy of its particle list, and it was changed"),
        ("voxels", r"3 of 6 items that were looked at have other voxels .* \(b:4, b:5, b:6\); bring the original"),
        ("size", r"3 of 6 items that were looked at have other voxels .* \(b:4, b:5, b:6\)"),
        ("voxel size", r"its voxels have 11 Å, those of this session 10 Å"),
    ],
)
def test_particles_that_were_replaced_are_refused(tmp_path, change, told):
    write_project(tmp_path)
    source = Source("particles", str(tmp_path / "particles.star"), str(tmp_path / "tomograms.star"), box=BOX)
    create_session(tmp_path / "s", source, ["A", "B"], settings=FAST)
    Session(tmp_path / "s", write=False)
    other = np.random.default_rng(5).normal(size=(40, 40, 44 if change == "size" else 40)).astype(np.float32)
    if change == "rows":
        swap(tmp_path / "s" / "particles.star", "a -100", "a 0")
    elif change in ("voxels", "size"):
        write_mrc(tmp_path / "rec" / "b.mrc", other)
    else:
        for name in AT:
            write_mrc(tmp_path / "rec" / f"{name}.mrc", other, 11.0)
    for write in (True, False):
        with pytest.raises(TomoTutorError, match=told):
            _ = Session(tmp_path / "s", write=write).pool  # one that only looks opens its items when it needs them


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((20, 12, 12, 12), r"a\.npy: 20 of 20 items that were looked at have other voxels .*\(0, 1, 2, 3, 4, …\)"),
        ((20, 16, 16, 16), r"a\.npy: its items have 16×16×16 voxels, those of this session 12×12×12"),
    ],
)
def test_an_array_that_was_replaced_is_refused(tmp_path, shape, told):
    x = np.random.default_rng(0).normal(size=(20, 12, 12, 12)).astype(np.float32)
    np.save(tmp_path / "a.npy", x)
    create_session(tmp_path / "s", Source("array", str(tmp_path / "a.npy")), ["A", "B"], settings=FAST)
    np.save(tmp_path / "a.npy", (3 * x + 7).astype(np.float64))  # another unit and type: the same particles
    Session(tmp_path / "s").close()
    np.save(tmp_path / "a.npy", np.random.default_rng(1).normal(size=shape).astype(np.float32))
    with pytest.raises(TomoTutorError, match=told):
        Session(tmp_path / "s")


def test_a_session_of_an_earlier_version_is_looked_at_when_it_is_opened_for_writing(earlier):
    Session(earlier, write=False)
    session = Session(earlier)
    session.close()
    looked = [one.fingerprint for one in session._core.inputs]
    assert [one.rows for one in looked] == [(0, 1, 2, 3, 4, 5)] * 2
    store = Database(earlier, write=False)
    assert [one.fingerprint for one in read_inputs(store)] == looked
    store.close()
    other = np.random.default_rng(9).normal(size=(40, 40, 40)).astype(np.float32)
    write_mrc(earlier.parent / "here" / "more" / "rec" / "a.mrc", other)
    with pytest.raises(TomoTutorError, match=r"\(particles/a:1, particles/a:2, particles/a:3\)"):
        _ = Session(earlier, write=False).pool
