"""Sessions whose labels are masks: on disk before the row that names them, and through a whole cycle."""

import csv
import json
import sqlite3

import numpy as np
import pytest
from PIL import Image

from helpers import discs
from tomotutor.base.errors import TomoTutorError
from tomotutor.base.files import new_file
from tomotutor.cli import main
from tomotutor.data.sources import Source
from tomotutor.formats import mask_png
from tomotutor.session import Session
from tomotutor.session.create import create_session

FAST = {
    "steps": "3",
    "batch_size": "4",
    "width": "0.25",
    "precision": "float32",
    "initial_size": "4",
    "query_size": "3",
}
SET = [word for key, value in FAST.items() for word in ("--set", f"{key}={value}")]
X, Y = discs()


@pytest.fixture
def array(tmp_path):
    np.savez(tmp_path / "discs.npz", x=X, y=Y, classes=np.array(["ground", "disc"]))
    return tmp_path / "discs.npz"


@pytest.fixture
def folder(tmp_path, array):
    create_session(tmp_path / "s", Source("array", str(array)), settings=FAST)
    return tmp_path / "s"


@pytest.fixture
def session(folder):
    opened = Session(folder)
    yield opened
    opened.close()


def give(session, n):
    for _ in range(n):
        row = session.current.row
        session.label(session.current.id, Y[row])


def test_a_data_set_with_masks_makes_a_segmentation_session(session):
    assert not session.one_class
    assert session.classes == ("ground", "disc")
    assert (session.recipe.network.teacher, session.recipe.audit.share) == ("drn_d_22", 0)


def test_a_mask_is_on_disk_when_label_mask_returns(session, folder):
    row = session.current.row
    view = session.label(session.current.id, Y[row])
    assert view.label.startswith(f"{row:06d}-")
    file = folder / "masks" / view.label
    with Image.open(file) as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), Y[row])  # values are class numbers, whatever the palette shows
    (name,) = sqlite3.connect(folder / "labels.sqlite").execute("SELECT label FROM labels").fetchone()
    assert name == view.label
    other = Session(folder, write=False)
    np.testing.assert_array_equal(other.mask(row), Y[row])
    assert other.labels() == {row: view.label}
    assert other.status.counts == {"ground": 1, "disc": 1}
    assert session.current.row != row


def test_the_mask_is_written_before_the_row_that_names_it(session, folder, monkeypatch):
    seen = []
    append = session._core.database.append

    def spy(entries, *, together=False):
        seen.append((folder / "masks" / entries[0].label).is_file())
        return append(entries, together=together)

    monkeypatch.setattr(session._core.database, "append", spy)
    give(session, 2)
    assert seen == [True, True]


def test_a_disk_that_is_full_leaves_neither_mask_nor_label(session, folder, monkeypatch):
    def full(image, *args, **kwargs):
        raise OSError(28, "No space left on device")

    current = session.current
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", full)
        with pytest.raises(TomoTutorError, match="the disk is full"):
            session.label(current.id, Y[current.row])
    assert session.labels() == {}
    assert not list((folder / "masks").glob("*"))
    assert session.current == current


def test_undo_and_painting_again_keep_every_file(session, folder):
    row, item = session.current.row, session.current.id
    first = session.label(item, Y[row]).label
    other = np.where(Y[row] == 255, 0, Y[row])
    second = session.label(item, other).label
    assert first != second
    np.testing.assert_array_equal(session.mask(row), other)
    session.undo()
    np.testing.assert_array_equal(session.mask(row), Y[row])
    session.undo()
    assert session.mask(row) is None
    assert {p.name for p in (folder / "masks").iterdir()} == {first, second}
    assert session.label(item, Y[row]).label == first  # the same mask, the same file


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((20, 27), np.uint8), "item 0: the mask has 27×20 pixels; expected 28×20"),
        (np.full((20, 28), 2, np.uint8), "the mask holds the value 2; expected 0 to 1 for the 2 classes, or 255"),
        (np.full((20, 28), -1), "the mask holds the value -1"),
        (np.zeros((20, 28)), "the mask holds float64; expected class numbers"),
    ],
)
def test_wrong_masks_are_refused(session, folder, mask, message):
    with pytest.raises(TomoTutorError, match=message):
        session.label("0", mask)
    assert not (folder / "masks").exists()
    assert session.labels() == {}


def test_a_session_takes_one_kind_of_answer(session, session_folder):
    with pytest.raises(TomoTutorError, match="item 0: found the class 'disc'; this session takes masks"):
        session.label("0", "disc")
    with pytest.raises(TomoTutorError, match="made for segmentation; make a new session for classification"):
        session.set_recipe(session.recipe.replace(task="classification", teacher="resnet18"))
    plain = Session(session_folder)
    with pytest.raises(TomoTutorError, match="item 0: found a mask; expected a class"):
        plain.label("0", np.zeros((16, 16)))
    plain.close()


def test_what_cannot_be_segmented_is_said(tmp_path, array_file, array):
    with pytest.raises(TomoTutorError, match="segmentation works on images, and these items are volumes"):
        create_session(tmp_path / "v", Source("array", str(array_file)), ["a", "b"], task="segmentation")
    np.savez(tmp_path / "n.npz", x=X)
    with pytest.raises(TomoTutorError, match="does not say what its classes are; name them with --classes"):
        create_session(tmp_path / "n", Source("array", str(tmp_path / "n.npz")), task="segmentation")
    assert not (tmp_path / "n").exists()


def test_a_round_ranks_by_disagreement_and_training_lowers_the_loss(session):
    give(session, 4)
    losses = []
    session.set_recipe(session.recipe.replace(steps=40))
    session.run_round(lambda p: losses.append(p.loss) if p.stage == "train" else None)
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    values = [item.disagreement for item in (session.current, *session.upcoming(5))]
    assert values == sorted(values, reverse=True) or values[1:] == sorted(
        values[1:], reverse=True
    )  # the one in front stays
    assert 0 < values[1] < 1
    assert len(session.current.teacher_probs) == 2
    assert sum(session.current.teacher_probs) == pytest.approx(1, abs=1e-4)
    again = Session(session.folder, write=False)
    assert again.view(again.current.row) == session.view(again.current.row)
    assert again.current.disagreement == max(values)  # the most disputed one, when nothing is in front yet
    confusion_right = []
    session.predict_masks(lambda row, mask: confusion_right.append((mask == Y[row])[Y[row] != 255].mean()))
    assert np.mean(confusion_right) > 0.8


def test_a_damaged_mask_is_said_and_named(session, folder):
    give(session, 2)
    name = next(iter(session.labels().values()))
    (folder / "masks" / name).write_bytes(b"\x89PNG rubbish")
    with pytest.raises(TomoTutorError, match=f"{name}: damaged, or not a PNG that can be read"):
        Session(folder, write=False).mask(next(iter(session.labels())))


def test_masks_are_counted_without_the_images(session, folder, array):
    give(session, 2)
    session.close()
    array.unlink()
    with Session(folder, write=False) as looking:
        assert looking.status.counts == {"ground": 2, "disc": 2}


def test_a_session_of_classes_has_no_masks(session_folder):
    with Session(session_folder, write=False) as plain:
        assert plain.mask(0) is None
        with pytest.raises(TomoTutorError, match="gives a class to each item, no masks"):
            plain.predict_masks(lambda row, mask: None)


def test_colours_are_no_class_numbers(tmp_path):
    Image.new("RGB", (28, 20)).save(tmp_path / "m.png")
    with pytest.raises(TomoTutorError, match=r"m\.png: found colours \(RGB\)"):
        mask_png.read_mask(tmp_path / "m.png", (20, 28), 2)
    with new_file(tmp_path / "n.png") as path:
        mask_png.write_mask(path, Y[0])
    np.testing.assert_array_equal(mask_png.read_mask(tmp_path / "n.png", (20, 28), 2), Y[0])
    Image.fromarray(Y[0]).save(tmp_path / "grey.png")  # as other programs write them
    np.testing.assert_array_equal(mask_png.read_mask(tmp_path / "grey.png", (20, 28), 2), Y[0])


# ---- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path):
    """Images and masks as files: eight to train on."""
    for i in range(8):
        name = f"{'ab'[i % 2]}/{i:03d}"
        for kind, pixels, suffix in (("images", X, "png"), ("truth", Y, "png")):
            path = tmp_path / kind / f"{name}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[i]).save(path)
    return tmp_path


def test_a_whole_run_through_the_command_line(pictures, capsys):
    s, truth = str(pictures / "s"), str(pictures / "truth")
    new = ["new", s, "--images", str(pictures / "images"), "--task", "segmentation", "--classes", "ground,disc", *SET]
    assert main(new) == 0
    run = ["run", s, "--oracle", truth, "--init", "3", "--query", "2", "--rounds", "1", "--test-fraction", "0.25"]
    assert main([*run, "--strategy", "entropy"]) == 0
    out = capsys.readouterr().out
    assert "| round | labels | test mIoU | pool mIoU |" in out
    assert "test mIoU 0." in out
    metrics = json.loads((pictures / "s" / "rounds" / "0002" / "metrics.json").read_text())["metrics"]
    assert metrics["trained_on"] == 5
    for name in ("learning_curve.png", "iou.png", "queue.png"):
        assert (pictures / "s" / "report" / name).read_bytes().startswith(b"\x89PNG")

    assert main(["export", s, "--format", "csv", "--out", str(pictures / "out"), "--json"]) == 0
    capsys.readouterr()
    table = list(csv.DictReader((pictures / "out" / "predictions.csv").open()))
    assert [row["item"] for row in table[:2]] == ["a/000.png", "a/002.png"]
    assert sum(row["labeled"] == "1" for row in table) == 5
    for row in table:
        mask = np.asarray(Image.open(pictures / "out" / row["mask"]))
        given = np.asarray(Image.open(pictures / "truth" / row["item"]))
        assert mask.shape == (20, 28)
        if row["labeled"] == "1":
            assert float(row["confidence"]) == 1
            np.testing.assert_array_equal(mask, given)  # a label is kept as it was given
        else:
            assert set(np.unique(mask)) <= {0, 1}
            assert 0.5 <= float(row["confidence"]) <= 1
        assert float(row["disagreement"]) >= 0

    assert main(["predict", s, "--out", str(pictures / "p.csv")]) == 0
    assert (pictures / "p_masks" / "b" / "001.png").is_file()
    assert main(["apply", s, "--images", str(pictures / "images"), "--out", str(pictures / "applied")]) == 0
    assert len(list((pictures / "applied" / "masks").rglob("*.png"))) == 8
    assert main(["status", s]) == 0
    assert "labeled   5 (ground 5, disc 5)" in capsys.readouterr().out
    assert main(["export", s, "--format", "relion", "--out", str(pictures / "r")]) == 1
    assert "which --format relion cannot hold; use --format csv" in capsys.readouterr().err


def test_masks_painted_elsewhere_are_imported_all_or_none(pictures, capsys):
    s = str(pictures / "s")
    main(["new", s, "--images", str(pictures / "images"), "--task", "segmentation", "--classes", "ground,disc", *SET])
    painted = pictures / "painted" / "a"
    painted.mkdir(parents=True)
    for name in ("000.png", "002.png"):
        (painted / name).write_bytes((pictures / "truth" / "a" / name).read_bytes())
    Image.new("L", (28, 20), 7).save(painted / "004.png")
    assert main(["import-labels", s, str(painted.parent)]) == 1
    assert "004.png: the mask holds the value 7" in capsys.readouterr().err
    assert Session(s, write=False).labels() == {}
    (painted / "004.png").rename(painted / "999.png")
    assert main(["import-labels", s, str(painted.parent)]) == 1
    assert "mask a/999.png belongs to no item; expected names like a/000.png" in capsys.readouterr().err
    (painted / "999.png").unlink()
    assert main(["import-labels", s, str(painted.parent)]) == 0
    assert capsys.readouterr().out.endswith("2 labels imported\n")
    assert len(Session(s, write=False).labels()) == 2


def test_a_strategy_without_meaning_for_masks_is_refused_when_the_session_is_made(pictures, capsys):
    from tomotutor.learn.recipe import CHOICES
    from tomotutor.learn.task_rules import PER_PIXEL

    unfit = [name for name in CHOICES["strategy"] if name not in PER_PIXEL]
    for name in unfit[:1]:
        new = [
            "new",
            str(pictures / "s"),
            "--images",
            str(pictures / "images"),
            "--task",
            "segmentation",
            "--classes",
            "a,b",
        ]
        assert main([*new, "--set", f"strategy={name}"]) == 1
        assert "cannot rank masks" in capsys.readouterr().err
        assert not (pictures / "s").exists()
