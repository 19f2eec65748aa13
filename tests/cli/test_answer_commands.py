"""Commands on the answers between rounds, run as a person runs them."""

import csv
import json
import shutil

import mrcfile
import numpy as np
import pytest

from helpers import FAST, answer_truthfully, write_mrc, write_star
from tomotutor.cli import main
from tomotutor.data.sources import Source
from tomotutor.session import Session
from tomotutor.session.create import create_session
from tomotutor.session.pool_embedding import FOLDER

N = 80


@pytest.fixture(scope="module")
def made(tmp_path_factory, mapped_session):
    """A session that starts pretrained, mapped and embedded, with 16 labels."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copytree(mapped_session, folder / "s")
    with Session(folder / "s") as session:
        answer_truthfully(session, 16)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    shutil.copytree(made / "s", tmp_path / "s")
    return tmp_path / "s"


def told(capsys, *words):
    capsys.readouterr()
    assert main([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def hidden_ids(folder):
    with Session(folder, write=False) as session:
        return {session.ids[row] for row in session.state.hidden()}


def test_groups_are_told_with_what_they_probably_are(folder, capsys):
    groups = told(capsys, "groups", folder, "-n", 6)
    assert [g["group"] for g in groups] == list(range(1, 7))
    assert [g["size"] for g in groups] == sorted((g["size"] for g in groups), reverse=True)
    assert {g["likely"] for g in groups} == {"ball", "slab"}
    assert all(0 < g["purity"] <= 1 and 1 <= len(g["typical"]) <= 5 for g in groups)
    assert not hidden_ids(folder) & {item for g in groups for item in g["typical"]}
    assert main(["groups", str(folder)]) == 0
    assert "items  " in capsys.readouterr().out


def test_a_pool_that_has_not_been_looked_at_is_embedded_or_says_what_to_run(folder, tmp_path, capsys):
    shutil.rmtree(folder / FOLDER)
    assert told(capsys, "groups", folder, "-n", 4)
    assert (folder / FOLDER / "start").is_dir()
    with Session(folder, write=False) as session:
        array = session.array_file
    create_session(tmp_path / "scratch", Source("array", str(array)), ["ball", "slab"], settings=FAST)
    assert main(["groups", str(tmp_path / "scratch")]) == 1
    assert "run 'tomotutor round" in capsys.readouterr().err


def test_confident_predictions_of_a_class_are_accepted(folder, capsys):
    with Session(folder, write=False) as session:
        answers, before = session.refresh_answers(), session.labels()
        sure = (answers.class_N == 0) & ~answers.labeled_N & (answers.confidence_N >= 0.6)
    assert sure.any()
    found = told(capsys, "accept", folder, "--min-confidence", 0.6, "--class", "ball")
    assert found["accepted"] == sure.sum()
    assert found["asked_again"] == max(1, round(sure.sum() / 20))
    with Session(folder, write=False) as session:
        new = {row: name for row, name in session.labels().items() if row not in before}
    assert new == dict.fromkeys(np.flatnonzero(sure).tolist(), "ball")
    with pytest.raises(SystemExit):
        main(["accept", str(folder), "--min-confidence", "1.5"])


def test_a_wrong_label_is_doubted_and_hidden_items_are_not_told(folder, capsys):
    with Session(folder) as session:
        y = np.load(session.array_file)["y"]
        row = next(row for row in session.labels() if row not in session.state.audit_kind)
        item = session.ids[row]
        session.label(item, ("slab", "ball")[y[row]])
    doubts = told(capsys, "doubts", folder, "-n", 3)
    assert item in [d["item"] for d in doubts]
    assert all(d["label"] != d["predicted"] and d["doubt"] > 0 for d in doubts)
    near = told(capsys, "similar", folder, item, "-n", 7)
    assert len({n["item"] for n in near} - {item} - hidden_ids(folder)) == 7
    blind = min(hidden_ids(folder))
    assert main(["similar", str(folder), blind]) == 1
    assert "asked blind" in capsys.readouterr().err


def test_a_class_is_checked_once_and_then_told(folder, capsys):
    first = told(capsys, "check-class", folder, "ball", "-n", 6)
    assert first == {"class": "ball", "asked": 0, "right": 0, "waiting": 6, "precision": None, "interval": None}
    with Session(folder) as session:
        rows = list(session.state.asked_again())
        assert len(rows) == 6
        for row in rows[:4]:
            session.label(session.ids[row], "ball")
    again = told(capsys, "check-class", folder, "ball")
    assert (again["asked"], again["right"], again["waiting"], again["precision"]) == (4, 4, 2, 1.0)
    assert again["interval"][0] < 1 and again["interval"][1] == 1
    assert main(["check-class", str(folder), "cube"]) == 1


def test_answers_are_told_in_words_and_as_a_table(folder, tmp_path, capsys):
    found = told(capsys, "answers", folder, "--csv", tmp_path / "answers.csv")
    assert found["source"] == "head on start"
    assert found["unknown"] == ["junk"]
    assert found["estimate"]["interval"][0] <= found["estimate"]["share"] <= found["estimate"]["interval"][1]
    assert found["advice"]
    assert found["left_out"] == []  # an array lies in no tomogram
    table = list(csv.DictReader((tmp_path / "answers.csv").open()))
    assert len(table) == N
    assert {row["item"] for row in table if not row["class"]} == hidden_ids(folder)
    with Session(folder, write=False) as session:
        labels = session.labels()
        assert all(table[row]["class"] == name and table[row]["labeled"] == "1" for row, name in labels.items())
    assert sum(found["classes"].values()) == N - found["hidden"]
    assert main(["answers", str(folder)]) == 0
    assert "head on start" in capsys.readouterr().out


def test_averages_of_any_rows(folder, tmp_path, capsys):
    out = tmp_path / "average.mrc"
    found = told(capsys, "average", folder, "--label", "ball", "--no-align", "--out", out)
    with Session(folder, write=False) as session:
        labeled = [row for row, name in session.labels().items() if name == "ball"]
        x = np.load(session.array_file)["x"][labeled].astype(float)
        ids = [session.ids[row] for row in labeled[:3]]
    assert found["particles"] == len(labeled)
    with mrcfile.open(out) as mrc:
        own = ((x - x.mean((1, 2, 3), keepdims=True)) / x.std((1, 2, 3), keepdims=True)).mean(0)
        assert np.corrcoef(mrc.data.ravel(), own.ravel())[0, 1] > 0.999
        assert f"label ball, average of {len(labeled)} particles" in mrc.get_labels()[0]
    (tmp_path / "items.csv").write_text("item,note\n" + "".join(f"{item},x\n" for item in ids))
    assert told(capsys, "average", folder, "--items", tmp_path / "items.csv", "--out", out)["particles"] == 3
    found = told(capsys, "average", folder, "--group", 2, "--groups", 6, "--no-align", "--out", out)
    assert found["particles"] == told(capsys, "groups", folder, "-n", 6)[1]["size"]
    assert main(["average", str(folder), "--label", "junk", "--out", str(out)]) == 1
    assert "no particle" in capsys.readouterr().err


def test_overlapping_picks_are_flagged(tmp_path, capsys):
    volume = np.random.default_rng(0).normal(0, 1, (24, 64, 64)).astype(np.float32)
    write_mrc(tmp_path / "t1.mrc", volume)
    x_voxels = [12, 15, 40, 12]  # 3 voxels apart overlap, at a box of 16; others do not
    columns = {"rlnTomoName": ["t1"] * 4}
    for axis, at, size in (("X", x_voxels, 64), ("Y", [12, 12, 12, 50], 64), ("Z", [12] * 4, 24)):
        columns[f"rlnCenteredCoordinate{axis}Angst"] = [(a - size / 2) * 10 for a in at]
    star = write_star(tmp_path / "particles.star", "particles", columns)
    source = Source("particles", str(star), tomogram_dir=str(tmp_path), box=16)
    create_session(tmp_path / "s", source, ["ball", "slab"], settings=FAST)
    with Session(tmp_path / "s") as session:
        assert [session.view(row).overlaps for row in range(4)] == [1, 1, 0, 0]
    assert told(capsys, "status", tmp_path / "s")["overlapping"] == 2
    queue = told(capsys, "queue", tmp_path / "s")
    assert {row["item"]: row["overlaps"] for row in queue} == {"t1:1": 1, "t1:2": 1, "t1:3": 0, "t1:4": 0}
