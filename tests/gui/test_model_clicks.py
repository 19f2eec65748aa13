"""From the Model page to the grid and to the next items, by real clicks and keys."""

import numpy as np
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from helpers import answer_truthfully

Key, Left = Qt.Key, Qt.MouseButton.LeftButton


def show_model(page, qtbot, widget):
    bar = page.tabs.tabBar()
    qtbot.mouseClick(bar, Left, pos=bar.tabRect(1).center())
    inner = page.model.tabs.tabBar()
    qtbot.mouseClick(inner, Left, pos=inner.tabRect(page.model.tabs.indexOf(widget)).center())
    qtbot.waitUntil(lambda: page.model.report is not None and widget.isVisible(), timeout=30000)


def click_cell(qtbot, table, row, column):
    qtbot.mouseClick(table.viewport(), Left, pos=table.visualItemRect(table.item(row, column)).center())


def test_a_lasso_on_the_map_fills_the_grid_and_a_key_labels_it(looked_page, qtbot):
    page, session = looked_page, looked_page.session
    show_model(page, qtbot, page.model.tabs.widget(0))
    canvas, look = page.model.map, session.pool_map
    qtbot.waitUntil(lambda: canvas.width() > 100)
    canvas.draw()
    pixels = canvas.figure.axes[0].transData.transform(look.xy_N2) / canvas.devicePixelRatioF()
    at = np.stack([pixels[:, 0], canvas.height() - pixels[:, 1]], 1)
    left, right = at[:, 0].min() - 6, (at[:, 0].min() + at[:, 0].max()) / 2
    top, bottom = at[:, 1].min() - 6, at[:, 1].max() + 6
    corners = [QPoint(round(x), round(y)) for x, y in ((left, top), (right, top), (right, bottom), (left, bottom))]
    QTest.mousePress(canvas, Left, pos=corners[0])
    for corner in (*corners[1:], corners[0]):
        QTest.mouseMove(canvas, corner)
    QTest.mouseRelease(canvas, Left, pos=corners[0])
    inside = (at[:, 0] > left) & (at[:, 0] < right)
    grid = page.particles.grid
    assert 0 < inside.sum() < len(look.rows)
    assert set(grid.rows.tolist()) == set(look.rows[inside].tolist())
    assert grid.titles == [f"{inside.sum()} of the map"]
    QTest.mouseClick(grid.viewport(), Left, pos=QPoint(40, 8))  # the header selects them all
    assert set(canvas.chosen.tolist()) == set(grid.selected.tolist()) == set(grid.rows.tolist())
    QTest.keyClick(grid, Key.Key_2)
    labels = session.labels()
    checks = set(session.state.audit_kind)
    assert set(labels) == set(look.rows[inside].tolist()) - checks and set(labels.values()) == {"slab"}
    QTest.keyClick(grid, Key.Key_Z)
    assert session.labels() == {}


def test_check_this_class_asks_its_predictions_blind_and_tells_the_purity(known_page, press, qtbot):
    page, session = known_page, known_page.session
    table = page.model.classes
    show_model(page, qtbot, table)
    row = [table.item(k, 0).text() for k in range(table.rowCount())].index("ball")
    predicted = np.flatnonzero((session.answers.class_N == 0) & ~session.answers.labeled_N)
    click_cell(qtbot, table, row, 6)
    assert "random predictions of ball are asked singly and blind" in page.notice.text()
    drawn = int(page.notice.text().split()[0])
    y = np.load(session.array_file)["y"]
    asked = session.state.asked_again()
    assert len(asked) == drawn > 3 and set(asked) <= set(predicted.tolist())
    qtbot.waitUntil(lambda: all(page.particles.grid._known.class_N[row] == -1 for row in asked))  # nothing is told
    answered = 0
    while answered < 2:
        item = session.current
        answered += item.row in asked
        press((Key.Key_1, Key.Key_2)[y[item.row]])
    found = session.class_purity("ball")
    assert found.n == 2
    expected = f"{found.right}/{found.n} "
    qtbot.waitUntil(lambda: table.item(row, 5).text().startswith(expected), timeout=30000)


def test_a_click_on_a_doubted_label_shows_its_particle(known_page, press, qtbot):
    page, session = known_page, known_page.session
    y = np.load(session.array_file)["y"]
    answer_truthfully(session, 8)
    item = next(i for i in session.upcoming(60) if not i.is_audit)
    session.show(item.id)
    press((Key.Key_2, Key.Key_1)[y[item.row]])  # wrong
    table = page.model.doubts
    show_model(page, qtbot, table)
    qtbot.waitUntil(lambda: item.id in [table.item(k, 0).text() for k in range(table.rowCount())], timeout=30000)
    at = [table.item(k, 0).text() for k in range(table.rowCount())].index(item.id)
    wrong = session.labels()[item.row]
    assert table.item(at, 1).text() == wrong != table.item(at, 2).text()
    assert session.current.row != item.row
    click_cell(qtbot, table, at, 0)
    assert session.current.row == item.row
    press((Key.Key_1, Key.Key_2)[y[item.row]])  # mended
    assert session.labels()[item.row] != wrong


def test_use_this_one_goes_back_to_an_earlier_model(looked_page, qtbot):
    page, session = looked_page, looked_page.session
    session.automatic = False
    answer_truthfully(session, 8)
    for _ in range(2):
        session.run_round()
        answer_truthfully(session, 2)
    table = page.model.rounds
    show_model(page, qtbot, table)
    qtbot.waitUntil(lambda: table.rowCount() == 2, timeout=30000)
    assert [table.item(k, 0).text() for k in range(2)] == ["2 · in use", "1"]
    before = session.labels()
    click_cell(qtbot, table, 0, 4)  # it is in use already
    assert "answers now" not in page.notice.text()
    click_cell(qtbot, table, 1, 4)
    assert "the model of round 1 answers now" in page.notice.text()
    qtbot.waitUntil(lambda: table.item(1, 0).text() == "1 · in use", timeout=30000)
    assert table.item(0, 4).text() == "Use this one ▸"
    assert session.labels() == before


def test_a_class_and_a_cell_fill_the_grid(known_page, qtbot):
    page, session = known_page, known_page.session
    show_model(page, qtbot, page.model.classes)
    click_cell(qtbot, page.model.classes, 1, 0)
    predicted = (session.answers.class_N == 1) & ~session.answers.labeled_N
    assert page.particles.grid.titles[0].endswith("predicted slab")
    hidden = session.state.hidden()
    assert set(page.particles.grid.rows.tolist()) == set(np.flatnonzero(predicted).tolist()) - hidden


def test_a_label_against_a_sure_model_holds_and_is_remarked_on(known_page, press, qtbot):
    page, session = known_page, known_page.session
    answer_truthfully(session, 10)
    qtbot.waitUntil(lambda: session.answers.labeled_N.sum() >= 22, timeout=30000)
    answers = session.answers
    sure = np.where(answers.labeled_N, 0, answers.confidence_N)
    sure[list(session.state.hidden())] = 0
    row = int(sure.argmax())
    assert sure[row] >= 0.9
    session.show(session.ids[row])
    name = session.classes[1 - answers.class_N[row]]
    press(Key.Key_1 if name == "ball" else Key.Key_2)
    assert session.labels()[row] == name
    other = session.classes[answers.class_N[row]]
    assert (
        page.notice.text()
        == f"{session.ids[row]} is labeled {name}; the model is {100 * sure[row]:.0f} % sure of {other}"
    )
    session.show(session.upcoming(1)[0].id)
    press(Key.Key_Z)
    assert row not in session.labels()
