"""Sessions made by an earlier version (earlier/make.py says which) are read as they are, and go on after a copy."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from earlier.make import CLASSES, PLACE, seen, write_inputs
from safetensors.torch import save

from helpers import two_kinds
from tomotutor.learn.models import build_pair
from tomotutor.session import Session

EARLIER = Path(__file__).parent / "earlier"


def expected(kind: str) -> dict:
    return json.loads((EARLIER / f"{kind}.json").read_text())


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but the lock."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def earlier(tmp_path):
    """Return a copy of an earlier session, with its inputs where it looks for them."""

    def copy(kind: str) -> Path:
        folder = tmp_path / kind
        shutil.copytree(EARLIER / kind, folder)
        write_inputs(tmp_path)
        settings = folder / "session.toml"
        settings.write_text(settings.read_text().replace(PLACE, str(tmp_path)))
        with closing(sqlite3.connect(folder / "labels.sqlite")) as connection, connection:
            connection.execute("UPDATE meta SET value = replace(value, ?, ?)", (PLACE, str(tmp_path)))
        for round_folder in folder.glob("rounds/*"):
            pair = build_pair("resnet18", ndim=3, channels=1, edge=16, classes=3, width=0.25, seed=0)
            for name, net in pair.parts().items():
                (round_folder / f"{name}.safetensors").write_bytes(save(net.state_dict()))
        return folder

    return copy


@pytest.mark.parametrize("kind", ["array", "particles"])
def test_opened_for_reading_an_earlier_session_is_as_it_was_and_stays_so(earlier, kind):
    folder, was = earlier(kind), expected(kind)
    before = contents(folder)
    with Session(folder, write=False) as session:
        assert seen(session) == {name: was[name] for name in ("queue", "labels", "audit")}
        assert np.isfinite(session.pool.read(np.arange(len(session.ids)))).all()
        assert session.classes == (*CLASSES, "junk")
    assert contents(folder) == before


def test_predictions_and_answers_of_an_earlier_session_are_as_before(earlier):
    was = expected("array")
    with Session(earlier("array"), write=False) as session:
        predictions = session.predictions()
        assert predictions.class_N.tolist() == was["classes"]
        np.testing.assert_allclose(predictions.confidence_N, was["confidences"], atol=1e-6)
        assert session.recipe.network.width == 0.25
        assert session.recipe.flat()["audit_share"] == 3


@pytest.mark.parametrize("kind", ["array", "particles"])
def test_opened_for_writing_an_earlier_session_migrates_after_a_copy_and_is_the_same(earlier, kind):
    folder, was = earlier(kind), expected(kind)
    before = contents(folder)
    for _ in range(2):  # and once it has migrated it is left as it is
        with Session(folder) as session:
            assert seen(session) == {name: was[name] for name in ("queue", "labels", "audit")}
    after = contents(folder)
    assert after["session.toml.old"] == before["session.toml"]
    with closing(sqlite3.connect(folder / "labels-layout-1.sqlite")) as old:
        assert old.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone() == ("1",)
        copied = old.execute("SELECT item, action, label, annotator FROM labels ORDER BY seq").fetchall()
    with closing(sqlite3.connect(folder / "labels.sqlite")) as new:
        assert new.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone() == ("2",)
        assert new.execute("SELECT item, action, label, annotator FROM labels ORDER BY seq").fetchall() == copied
    kept = [name for name in before if name not in ("session.toml", "labels.sqlite")]
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}


def test_an_earlier_session_goes_on_with_a_new_round(earlier):
    folder, was = earlier("array"), expected("array")
    y_N = two_kinds(24)[1]
    with Session(folder) as session:
        for _ in range(2):
            session.label(session.current.id, CLASSES[y_N[session.current.row]])
        assert session.run_round().round == 2
        assert len(session.labels()) == len(was["labels"]) + 2
        assert session.labels().items() >= {int(row): name for row, name in was["labels"].items()}.items()
        assert session.undo() is not None
    with Session(folder, write=False) as again:
        assert [point.round for point in again.curve] == [1, 2]
        assert len(again.labels()) == len(was["labels"]) + 1
