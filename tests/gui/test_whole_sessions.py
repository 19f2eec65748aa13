"""Sessions as a person has them, with real keys and clicks: through restarts, damage and every page."""

import os
import threading

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from helpers import FAST, answer_truthfully, discs, two_kinds, write_mrc
from tomotutor.data.sources import Source
from tomotutor.gui.dock import dock_in
from tomotutor.session import Session
from tomotutor.session.create import create_session
from tomotutor.session.status import Phase

Key, Left = Qt.Key, Qt.MouseButton.LeftButton


@pytest.mark.slow
def test_three_rounds_by_keys_alone(page, press, qtbot):
    session, y = page.session, np.load(page.session.array_file)["y"]
    for number in (1, 2, 3):
        while session.phase is Phase.IDLE and session.status.round < number:
            press((Key.Key_1, Key.Key_2)[y[session.current.row]])
        qtbot.waitUntil(lambda n=number: session.status.round == n and session.phase is Phase.IDLE, timeout=120000)
    labels = session.labels()
    assert len(labels) >= 20
    assert all(name == ("ball", "slab")[y[row]] for row, name in labels.items())
    assert [point.round for point in session.curve] == [1, 2, 3]


def test_undo_and_redo_go_on_after_a_restart(page, press, dock, session_folder):
    first, second = page.session.current.row, None
    press(Key.Key_1)
    second = page.session.current.row
    press(Key.Key_2)
    press(Key.Key_Z)
    assert page.session.labels() == {first: "ball"}
    dock.leave()
    assert dock.open(session_folder)
    press(Key.Key_Y)
    assert dock.page.session.labels() == {first: "ball", second: "slab"}
    press(Key.Key_Z)
    press(Key.Key_Z)
    assert dock.page.session.labels() == {}
    dock.leave()
    assert dock.open(session_folder)
    press(Key.Key_Y)
    press(Key.Key_Y)
    assert dock.page.session.labels() == {first: "ball", second: "slab"}


def test_the_window_closes_while_exporting_and_nothing_is_lost(make_napari_viewer, session_folder, qtbot, tmp_path):
    viewer = make_napari_viewer(show=True)
    dock = dock_in(viewer)
    assert dock.open(session_folder)
    page, session = dock.page, dock.page.session
    answer_truthfully(session, 5)
    labels, closed = session.labels(), threading.Event()
    session.closed.connect(closed.set)
    qtbot.mouseClick(page.rounds.export, Left)
    dialog = page.dialogs["export"]
    dialog.folder.setText(str(tmp_path / "out"))
    dialog.which.setCurrentText("labels only")
    qtbot.mouseClick(dialog.start, Left)
    assert dialog.runs
    viewer.close()
    assert dock.page is None and not dialog.isVisible()
    assert closed.wait(30)
    qtbot.waitUntil(lambda: not dialog.runs, timeout=30000)
    files = [path.name for path in (tmp_path / "out").iterdir()] if (tmp_path / "out").exists() else []
    assert files in ([], ["predictions.csv"])  # all of it or nothing, and no half file
    with Session(session_folder) as again:
        assert again.labels() == labels


def test_a_file_that_shrinks_while_it_is_open_is_said_and_labels_stay(dock, press, tmp_path, qtbot):
    x, _ = two_kinds(40)
    stack = write_mrc(tmp_path / "stack.mrcs", x.reshape(-1, 16, 16))
    np.save(tmp_path / "x.npy", x)
    whole = (tmp_path / "x.npy").read_bytes()
    del stack
    create_session(tmp_path / "s", Source("array", str(tmp_path / "x.npy")), ["ball", "slab"], settings=FAST)
    assert dock.open(tmp_path / "s")
    page = dock.page
    press(Key.Key_1)
    os.truncate(tmp_path / "x.npy", 200)
    for _ in range(12):
        press(Key.Key_2)
    qtbot.waitUntil(lambda: "x.npy" in page.notice.text(), timeout=10000)
    labels = page.session.labels()
    assert Session(tmp_path / "s", write=False).labels() == labels
    with (tmp_path / "x.npy").open("r+b") as file:
        file.write(whole)
    for _ in range(3):
        press(Key.Key_1)
    assert len(page.session.labels()) > len(labels)
    assert page.views.is_seen


@pytest.fixture(params=["volumes", "images", "masks", "one item"])
def any_page(request, dock, tmp_path, qtbot):
    """A session of any kind, open in the dock."""
    folder, task = tmp_path / "s", ""
    if request.param in ("volumes", "one item"):
        np.save(tmp_path / "x.npy", two_kinds(12 if request.param == "volumes" else 1, 12)[0])
        source = Source("array", str(tmp_path / "x.npy"))
    else:
        (tmp_path / "images").mkdir()
        for i, pixels in enumerate(discs(8)[0]):
            Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
        source, task = Source("images", str(tmp_path / "images")), "segmentation" if request.param == "masks" else ""
    create_session(folder, source, ["a", "b"], task=task, settings=FAST if task == "" else {**FAST, "between": "round"})
    assert dock.open(folder)
    qtbot.waitUntil(lambda: dock.page.isVisible())
    return dock.page


def test_every_page_opens_for_every_kind_of_session(any_page, press, qtbot, dock, tmp_path):
    page, session = any_page, any_page.session
    for name, button in page.views.buttons.items():
        qtbot.mouseClick(button, Left)
        assert page.views.shown == name or (not button.isEnabled() and button.toolTip())
    qtbot.mouseClick(page.views.buttons["Particle"], Left)
    for number in range(page.particles.show_box.count()):
        page.particles.show_box.setCurrentIndex(number)
        for sort in range(page.particles.sort_box.count()):
            page.particles.sort_box.setCurrentIndex(sort)
    bar = page.tabs.tabBar()
    qtbot.mouseClick(bar, Left, pos=bar.tabRect(1).center())
    for number in range(page.model.tabs.count()):
        inner = page.model.tabs.tabBar()
        qtbot.mouseClick(inner, Left, pos=inner.tabRect(number).center())
        qtbot.wait(20)
    qtbot.mouseClick(bar, Left, pos=bar.tabRect(0).center())
    for key in (Key.Key_M, Key.Key_A, Key.Key_S, Key.Key_B, Key.Key_U, Key.Key_Z, Key.Key_Y, Key.Key_R, Key.Key_V):
        press(key)
    qtbot.mouseClick(page.rounds.export, Left)
    dialog = page.dialogs["export"]
    dialog.folder.setText(str(tmp_path / "out"))
    dialog.which.setCurrentText("labels only")
    qtbot.mouseClick(dialog.start, Left)
    qtbot.waitUntil(lambda: dialog.notice.text() != "", timeout=20000)
    assert "Error:" not in dialog.notice.text()
    assert "Error:" not in page.notice.text()
    if page.painter:
        press(Key.Key_1)
        dock._viewer.layers["mask"].paint((5, 5), 1)
        press(Key.Key_Return)
    else:
        while session.current is not None and session.current.label is not None:
            press(Key.Key_S)
        if session.current is not None:
            press(Key.Key_1)
    assert session.status.labeled == (1 if session.status.unsure < session.status.items else 0)


def test_a_pool_of_one_item_and_one_class_can_be_answered_to_its_end(dock, press, tmp_path, qtbot):
    np.save(tmp_path / "x.npy", two_kinds(3, 12)[0])
    create_session(tmp_path / "s", Source("array", str(tmp_path / "x.npy")), ["a", "b"], settings=FAST, junk=False)
    assert dock.open(tmp_path / "s")
    page = dock.page
    for _ in range(4):  # one key more than there are items
        press(Key.Key_1)
    assert list(page.session.labels().values()) == ["a"] * 3
    assert "every item has an answer" in page.title.text()
    press(Key.Key_R)
    assert "two classes" in page.notice.text()
    page.particles.show_box.setCurrentText("class")
    assert len(page.particles.grid.rows) == 3
    QTest.keyClick(page.particles.grid, Key.Key_A)
    press(Key.Key_Z)
    assert page.session.status.labeled == 2
