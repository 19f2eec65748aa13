"""The Model tab with real clicks, and its report against the session."""

import numpy as np
from qtpy.QtCore import Qt

from tomotutor.base.progress import ignore

Key = Qt.Key


def test_the_model_page_says_how_good_the_model_is(looked_page, press, qtbot):
    page, y = looked_page, np.load(looked_page.session.array_file)["y"]
    page.session.automatic = False
    page.tabs.setCurrentWidget(page.model)
    for _ in range(10):
        press((Key.Key_1, Key.Key_2)[y[page.session.current.row]])
    page.session.run_round()
    page.session.answering.pool_embedding.embed(ignore, half_turns=False)
    page.session.refresh_answers()
    model = page.model
    qtbot.waitUntil(lambda: model.report is not None and model.report.pool_map is not None, timeout=60000)
    qtbot.waitUntil(lambda: len(model.report.judged.rows) > 0, timeout=60000)
    report = model.report
    assert [one.labels for one in report.by_class] == [
        list(page.session.labels().values()).count(n) for n in report.classes
    ]
    assert model.advice.text()
    chosen = []
    model.rows_chosen.connect(lambda rows, what: chosen.append((rows, what)))
    model.tabs.setCurrentWidget(model.confusion)
    counts = model.confusion.counts
    assert counts.sum() == len(report.judged.rows) > 0
    i, j = np.argwhere(counts)[0].tolist()
    cell = model.confusion.visualItemRect(model.confusion.item(i, j)).center()
    qtbot.mouseClick(model.confusion.viewport(), Qt.MouseButton.LeftButton, pos=cell)
    rows, _ = chosen[-1]
    assert len(rows) == counts[i, j]
    assert {page.session.labels()[row] for row in rows.tolist()} == {report.classes[i]}
    assert page.particles.grid.rows.tolist() == rows.tolist()
    assert page.views.shown == "Particle"  # the canvas stays as it was
    assert model.rounds.item(0, 0).text() == "1 · in use"
