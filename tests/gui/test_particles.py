"""The grid of particles, the dialogs and the status line, with real keys and clicks in a real napari window."""

import csv

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from scipy.ndimage import gaussian_filter

from helpers import answer_truthfully
from tomotutor.export.averages import average_of_rows
from tomotutor.export.rendering import project
from tomotutor.gui.canvas.sheet import FIRST_TURN, prepare_sheet
from tomotutor.gui.particles.grid import ParticleGrid
from tomotutor.gui.particles.listing import Known, Section
from tomotutor.gui.particles.thumbnails import Thumbnails
from tomotutor.gui.theme import colours_of

Key, Left = Qt.Key, Qt.MouseButton.LeftButton
Control, Shift = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier


def click(page, row, modifier=Qt.KeyboardModifier.NoModifier):
    grid = page.particles.grid
    QTest.mouseClick(grid.viewport(), Left, modifier, grid.place(row).center())


def show(page, what):
    page.particles.show_box.setCurrentText(what)


def test_the_grid_shows_the_queue_and_a_double_click_takes_a_particle(page):
    rows = page.particles.grid.rows
    assert rows.tolist() == [page.session.current.row, *(v.row for v in page.session.upcoming(59))]
    grid = page.particles.grid
    QTest.mouseDClick(grid.viewport(), Left, pos=grid.place(rows[3]).center())
    assert page.session.current.row == rows[3]


def test_clicks_and_keys_select(page):
    grid = page.particles.grid
    rows = grid.rows.tolist()
    click(page, rows[1])
    click(page, rows[4], Shift)
    assert grid.selected.tolist() == rows[1:5]
    click(page, rows[2], Control)
    assert grid.selected.tolist() == [rows[1], rows[3], rows[4]]
    click(page, rows[0])
    QTest.keyClick(grid, Key.Key_Right, Shift)
    assert grid.selected.tolist() == rows[:2]
    QTest.keyClick(grid, Key.Key_A, Control)
    assert grid.selected.tolist() == rows
    QTest.keyClick(grid, Key.Key_Escape)
    assert grid.selected.tolist() == []
    assert page.session.status.labeled == 0


def test_dragging_selects_what_the_rectangle_touches(page):
    grid = page.particles.grid
    rows = grid.rows.tolist()
    view = grid.viewport()
    QTest.mousePress(view, Left, pos=grid.place(rows[0]).topLeft() - QPoint(2, 2))
    QTest.mouseMove(view, grid.place(rows[2]).center())
    QTest.mouseRelease(view, Left, pos=grid.place(rows[2]).center())
    assert grid.selected.tolist() == rows[:3]


def test_a_number_key_labels_the_selection_as_one_step(page, press):
    grid, session = page.particles.grid, page.session
    rows = [row for row in grid.rows.tolist() if not session.view(row).is_audit][:6]
    for row in rows:
        click(page, row, Control)
    QTest.keyClick(grid, Key.Key_2)
    assert session.labels() == dict.fromkeys(rows, "slab")
    assert "6 labeled slab" in page.notice.text()
    assert grid.selected.tolist() == []
    QTest.keyClick(grid, Key.Key_Z)
    assert session.labels() == {}
    QTest.keyClick(grid, Key.Key_Y)
    assert len(session.labels()) == 6
    row = session.current.row
    click(page, grid.rows.tolist()[5])
    press(Key.Key_1)  # the focus is on the canvas: the current particle, not the selection
    assert session.labels()[row] == "ball"
    assert session.status.labeled in (6, 7)  # the current one may be one that is asked again


def test_a_selection_of_one_is_a_plain_label(page):
    row = next(r for r in page.particles.grid.rows.tolist()[2:] if not page.session.view(r).is_audit)
    click(page, row)
    QTest.keyClick(page.particles.grid, Key.Key_1)
    assert page.session.labels() == {row: "ball"}
    assert not page.session.state.asked_again()


def test_check_particles_in_a_selection_are_passed_over(page):
    grid, session = page.particles.grid, page.session
    click(page, grid.rows.tolist()[0])
    QTest.keyClick(grid, Key.Key_A, Control)
    QTest.keyClick(grid, Key.Key_1)
    assert len(session.labels()) > 40
    assert not set(session.labels()) & set(session.state.audit_kind)
    assert "passed over" in page.notice.text()


def test_filter_and_sort(known_page, qtbot):
    particles, session = known_page.particles, known_page.session
    labels = session.labels()
    show(known_page, "labeled")
    shown = particles.grid.rows.tolist()
    assert set(shown) == {row for row in labels if row not in session.state.asked_again()}
    show(known_page, "class")
    particles.class_box.setCurrentText("slab")
    answers = session.answers
    assert set(particles.grid.rows.tolist()) == set(np.flatnonzero(answers.class_N == 1).tolist())
    particles.sort_box.setCurrentText("confidence")
    open_rows = [row for row in particles.grid.rows.tolist() if not answers.labeled_N[row]]
    assert (np.diff(answers.confidence_N[open_rows]) >= 0).all()
    show(known_page, "all")
    particles.sort_box.setCurrentText("disagreement")
    assert len(particles.grid.rows) == 80
    told = [row for row in particles.grid.rows.tolist() if np.isfinite(answers.disagreement_N[row])]
    assert (np.diff(answers.disagreement_N[told]) <= 0).all()
    particles.text.setText("7")
    assert set(particles.grid.rows.tolist()) == {row for row, name in enumerate(session.ids) if "7" in name}


def test_hidden_particles_have_no_frame(known_page):
    known = known_page.particles.grid._known
    blind = sorted(known_page.session.state.hidden())
    assert blind and (known.class_N[blind] == -1).all()
    told = np.flatnonzero(known.class_N >= 0)
    assert (known.class_N[told] == known_page.session.answers.class_N[told]).all()


def test_a_group_is_named_by_one_click_and_one_key(known_page, qtbot):
    particles, session = known_page.particles, known_page.session
    show(known_page, "groups")
    qtbot.waitUntil(lambda: bool(particles.grid.titles), timeout=60000)
    assert particles.grid.titles[0].startswith("group 1 · ") and "like " in particles.grid.titles[0]
    members = next(iter(particles._groups)).rows
    QTest.mouseClick(particles.grid.viewport(), Left, pos=QPoint(40, 8))  # the header
    assert set(particles.grid.selected.tolist()) == set(members.tolist())
    QTest.keyClick(particles.grid, Key.Key_0)
    labels = session.labels()
    assert all(labels[row] == "junk" for row in members.tolist())
    assert {e.origin for e in session.state.log.last_step()} == {"group"}


def test_enter_accepts_predictions(known_page):
    session, grid = known_page.session, known_page.particles.grid
    show(known_page, "class")
    answers = session.answers
    rows = [row for row in grid.rows.tolist() if not answers.labeled_N[row]][:5]
    grid.select(np.array(rows))
    grid.setFocus()
    QTest.keyClick(grid, Key.Key_Return)
    assert all(session.labels()[row] == session.classes[answers.class_N[row]] for row in rows)


def test_m_shows_more_like_this(known_page, press, qtbot):
    session, particles = known_page.session, known_page.particles
    y = np.load(session.array_file)["y"]
    row = int(particles.grid.rows[1])
    click(known_page, row)
    QTest.keyClick(particles.grid, Key.Key_M)
    qtbot.waitUntil(lambda: particles.sort_box.currentText() == "likeness", timeout=20000)
    assert particles.grid.rows[0] == row
    near = particles.grid.rows[1:11]
    assert (y[near] == y[row]).mean() > 0.7


def test_a_shows_the_average_of_the_selection_aligned(page, qtbot):
    particles = page.particles
    rows = particles.grid.rows[:4]
    particles.grid.select(rows)
    particles.grid.setFocus()
    QTest.keyClick(particles.grid, Key.Key_A)
    qtbot.waitUntil(lambda: getattr(particles, "popup", None) is not None, timeout=90000)
    volume, how = average_of_rows(page.session.pool, rows)  # the list has no angles
    np.testing.assert_allclose(particles.popup.slices._volume, gaussian_filter(volume, 1.0), atol=1e-4)
    assert "aligned to each other" in how and how in particles.popup.text.text()
    assert particles.popup.text.text().endswith("smoothed for the eye")
    particles.popup.close()


def test_pictures_are_slices_sums_or_small_volumes(page, qtbot):
    particles, row = page.particles, int(page.particles.grid.rows[0])
    x_ZYX = page.session.pool.read([row])[0, 0]
    found = {}
    for look in ("slice", "sum", "3D"):
        particles.look_box.setCurrentText(look)
        qtbot.waitUntil(lambda: particles.thumbnails.get(row) is not None)
        image = particles.thumbnails.get(row)
        found[look] = np.array(
            [[image.pixelColor(x, y).red() for x in range(image.width())] for y in range(image.height())]
        )
    blurred = gaussian_filter(x_ZYX, 1.0)
    assert np.corrcoef(found["slice"].ravel(), blurred[6:11].mean(0).ravel())[0, 1] > 0.95
    assert np.corrcoef(found["sum"].ravel(), gaussian_filter(x_ZYX.mean(0), 1.0).ravel())[0, 1] > 0.95
    volume = prepare_sheet(page.session.pool.read, [row], 1.0, masked=True)
    np.testing.assert_allclose(found["3D"] / 255, project(volume, FIRST_TURN, 48)[0], atol=1 / 128)


def test_a_hundred_thousand_particles_are_scrolled(qtbot):
    n = 100_000
    drawn = []
    thumbnails = Thumbnails(lambda row: drawn.append(row) or np.full((8, 8), 0.5))
    grid = ParticleGrid(thumbnails, n, colours_of("dark"))
    qtbot.addWidget(grid)
    known = Known(np.zeros(n, int), np.zeros(n, bool), np.full(n, 0.5), np.zeros(n))
    grid.set_known(known, [colours_of("dark").text], ["a"])
    halves = [Section("first", np.arange(n // 2)), Section("second", np.arange(n // 2, n))]
    grid.set_sections(halves)
    grid.resize(800, 300)
    grid.show()
    grid.verticalScrollBar().setValue(grid.verticalScrollBar().maximum())
    qtbot.waitUntil(lambda: n - 1 in drawn)
    assert len(drawn) < 500  # of what is seen only
    assert grid.viewport().rect().contains(grid.place(n - 1).center())
    thumbnails.stop()


def test_classes_are_added_renamed_merged_and_undone_in_midstream(page, press, qtbot):
    session = page.session
    press(Key.Key_1)
    qtbot.mouseClick(page.rounds.classes, Left)
    dialog = page.dialogs["classes"]
    dialog.name.setFocus()
    QTest.keyClicks(dialog.name, "tube")
    QTest.keyClick(dialog.name, Key.Key_Return)
    assert session.classes == ("ball", "slab", "tube", "junk")
    qtbot.waitUntil(lambda: "tube" in page.panel.rows)
    press(Key.Key_3)
    assert list(session.labels().values()) == ["ball", "tube"]
    dialog.table.item(0, 1).setText("sphere")
    qtbot.waitUntil(lambda: "sphere" in page.panel.rows)
    dialog.table.item(0, 2).setText("q")
    qtbot.waitUntil(lambda: page.panel.keys["sphere"] == "q")
    press(Key.Key_Q)
    assert list(session.labels().values()) == ["sphere", "tube", "sphere"]
    dialog.recolour("sphere", "#ff0000")
    qtbot.waitUntil(lambda: page.panel.rows["sphere"]._colour.name() == "#ff0000")
    dialog.table.selectRow(2)
    dialog.into.setCurrentText("slab")
    qtbot.mouseClick(dialog.buttons["merge"], Left)
    assert list(session.labels().values()) == ["sphere", "slab", "sphere"]
    qtbot.mouseClick(dialog.buttons["undo"], Left)
    assert list(session.labels().values()) == ["sphere", "tube", "sphere"]
    dialog.table.item(0, 1).setText("slab")
    assert "twice" in dialog.notice.text()
    dialog.table.item(0, 2).setText("z")
    assert "other letters act" in dialog.notice.text()
    dialog.close()


def test_export_of_labels_while_labeling_goes_on(page, press, qtbot, tmp_path):
    answer_truthfully(page.session, 5)
    qtbot.mouseClick(page.rounds.export, Left)
    dialog = page.dialogs["export"]
    dialog.folder.setText(str(tmp_path / "out"))
    dialog.which.setCurrentText("labels only")
    qtbot.mouseClick(dialog.start, Left)
    press(Key.Key_1)
    assert page.session.status.labeled == 6
    qtbot.waitUntil(lambda: "written to" in dialog.notice.text(), timeout=20000)
    with (tmp_path / "out" / "predictions.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert 5 <= len(lines) <= 6 and {line["labeled"] for line in lines} == {"1"}
    dialog.close()


def test_export_counts_what_stays_and_says_what_is_wrong(known_page, qtbot, tmp_path):
    qtbot.mouseClick(known_page.rounds.export, Left)
    dialog = known_page.dialogs["export"]
    qtbot.waitUntil(lambda: dialog.counts.rowCount() == 3, timeout=20000)
    everything = [dialog.counts.item(0, column).text() for column in range(5)]
    assert everything[:2] == ["ball", everything[2]] and everything[3].endswith(" %")
    assert everything[4] == "–"  # no check was asked yet
    dialog.threshold.setValue(1.0)
    kept = [dialog.counts.item(0, column).text() for column in range(5)]
    assert kept[2] == everything[2] and int(kept[1]) < int(everything[1]) and kept[3] == "100 %"
    dialog.folder.setText(str(tmp_path / "out"))
    qtbot.mouseClick(dialog.start, Left)
    qtbot.waitUntil(lambda: "written to" in dialog.notice.text(), timeout=20000)
    with (tmp_path / "out" / "predictions.csv").open() as file:
        kept = list(csv.DictReader(file))
    assert all(line["labeled"] == "1" or float(line["confidence"]) >= 0.999 for line in kept)
    (tmp_path / "file").write_text("")
    dialog.folder.setText(str(tmp_path / "file" / "out"))
    qtbot.mouseClick(dialog.start, Left)
    qtbot.waitUntil(lambda: "cannot be written" in dialog.notice.text(), timeout=20000)
    dialog.close()


def test_the_status_line_tells_how_right_the_answers_are(known_page):
    text = known_page.rounds.text.text()
    assert text.startswith("12 of 80 labeled · about ")
    assert "% of all answers right (" in text
    assert "junk has too few labels" in text  # what to do next


def test_the_screen_tells_how_single_answers_contradict_labels_of_many(known_page, press, qtbot):
    page, grid, session = known_page, known_page.particles.grid, known_page.session
    page.tabs.setCurrentWidget(page.model)
    qtbot.waitUntil(lambda: page.model.report is not None, timeout=60000)
    assert page.model.bulk.rowCount() == 0 and "many at a time" in page.model.bulk.empty_text
    show(page, "all")
    free = [row for row in range(80) if not session.view(row).is_audit and session.view(row).label is None]
    grid.setFocus()
    grid.select(np.array(free[:20]))
    QTest.keyClick(grid, Key.Key_1)
    again = session.state.rechecks[0].row
    session.show(session.ids[again])
    press(Key.Key_2)  # singly and blind, and another class
    said = page.particles.contradicted
    qtbot.waitUntil(lambda: said.isVisible())
    assert said.text() == (
        "labels given many at once: 1 of 1 that were asked again singly says otherwise, so 21–100 % of them are wrong"
    )
    page.window().resize(1280, 800)
    qtbot.wait(100)
    whole = said.label.fontMetrics().boundingRect(
        0, 0, said.label.width(), 999, int(Qt.TextFlag.TextWordWrap), said.text()
    )
    assert said.label.height() >= whole.height()  # nothing of it is cut
    assert page.bottom.rect().contains(said.mapTo(page.bottom, said.rect().bottomRight()))
    qtbot.waitUntil(lambda: page.model.bulk.rowCount() == 1, timeout=60000)
    qtbot.waitUntil(lambda: page.model.bulk.item(0, 1).text() == "1 of 1", timeout=60000)
    line = [page.model.bulk.item(0, column).text() for column in range(5)]
    assert line == ["20 ball", "1 of 1", "1", "21–100 %", "Look again ▸"]
    page.model.tabs.setCurrentWidget(page.model.bulk)
    click_cell(page.model.bulk, 0, 0)
    assert sorted(grid.rows.tolist()) == free[:20] and grid.titles == ["labeled at once: 20 ball"]
    page.model.tabs.setCurrentWidget(page.model.doubts)
    told = page.model.doubts.rowCount() or "no label looks wrong: of" in page.model.doubts.empty_text
    assert told


def click_cell(table, row, column):
    QTest.mouseClick(table.viewport(), Left, pos=table.visualItemRect(table.item(row, column)).center())


def test_headers_of_tomograms_count_the_answers(dock, sample_session, press, qtbot):
    assert dock.open(sample_session)
    particles, session = dock.page.particles, dock.page.session
    rows = [row for row in range(300) if not session.view(row).is_audit and session.ids[row].startswith("tomo_1:")]
    session.label_many(rows[:20], "ribosome")
    session.label_many(rows[20:23], "junk")
    particles.show_box.setCurrentText("all")
    particles.sort_box.setCurrentText("tomogram")
    waiting = len(session.state.rechecks)  # they have no answer that may be told
    assert waiting == 2
    first, second = particles.grid.titles
    assert first == "tomo_1 · 150 particles: 129 no answer, 19 ribosome, 2 junk"
    assert second == "tomo_2 · 150 particles"


def test_labeled_look_alikes_stand_beside_the_particle(known_page, press, qtbot):
    page, session = known_page, known_page.session
    page.fit(800)
    query = next(row for row in range(80) if not session.view(row).is_audit and session.view(row).label is None)
    session.show(session.ids[query])
    qtbot.waitUntil(lambda: len(page.references.shown) == 2, timeout=20000)
    assert page.title.text().startswith(session.ids[query])
    labels, similar = session.labels(), session.answering.similar(query, 80).tolist()
    for one in page.references.shown:
        nearest = [row for row in similar if labels.get(row) == one.name][:6]
        assert list(one.rows) == nearest and len(one.pictures) == len(nearest) > 0
    check = next(row for row in range(80) if session.view(row).is_audit and session.view(row).label is None)
    session.show(session.ids[check])
    assert page.references.shown == () and "after your answer" in page.references.text
    press(Key.Key_N)
    assert not page.references.isVisible()


def test_an_export_uses_the_scores_that_were_counted(page, qtbot, tmp_path):
    session = page.session
    session.automatic = False
    answer_truthfully(session, 10)
    session.run_round()
    kept = session.folder / "rounds" / f"{session.status.round:04d}" / "pool.npz"
    kept.unlink(missing_ok=True)
    qtbot.mouseClick(page.rounds.export, Left)
    dialog = page.dialogs["export"]
    qtbot.waitUntil(lambda: dialog.counts.rowCount() == 3, timeout=30000)
    first = kept.stat().st_mtime_ns  # scored once, and kept for what is written
    dialog.folder.setText(str(tmp_path / "out"))
    qtbot.mouseClick(dialog.start, Left)
    qtbot.waitUntil(lambda: "written to" in dialog.notice.text(), timeout=30000)
    assert kept.stat().st_mtime_ns == first
    with (tmp_path / "out" / "predictions.csv").open() as file:
        classes = [session.classes.index(line["class"]) for line in csv.DictReader(file)]
    assert classes == session.predictions().class_N.tolist()
    dialog.close()


def test_labels_of_another_person_are_compared_shown_and_taken(page, press, qtbot, tmp_path):
    session, particles = page.session, page.particles
    answer_truthfully(session, 12)
    own = session.labels()
    rows = sorted(own)
    other = {"ball": "slab", "slab": "ball"}
    theirs = [(row, other[own[row]] if row in rows[:3] else own[row]) for row in rows]
    new = [row for row in range(60) if row not in own][:4]
    theirs += [(row, "slab") for row in new]
    path = tmp_path / "theirs.csv"
    path.write_text("item,class,annotator\n" + "".join(f"{session.ids[row]},{name},Ola\n" for row, name in theirs))
    qtbot.mouseClick(page.rounds.imports, Left)
    dialog = page.dialogs["import"]
    dialog.path.setText(str(path))
    QTest.keyClick(dialog.path, Key.Key_Return)
    qtbot.waitUntil(lambda: "agree" in dialog.notice.text(), timeout=30000)
    mine, yours = (
        np.array([name == "ball" for name in names])
        for names in ([own[row] for row in rows], [dict(theirs)[row] for row in rows])
    )
    agreed = float((mine == yours).mean())
    chance = mine.mean() * yours.mean() + (1 - mine.mean()) * (1 - yours.mean())
    assert f"9 of 12 (75 %) agree, Cohen's κ {(agreed - chance) / (1 - chance):.2f}; 4 are new" in dialog.notice.text()
    qtbot.mouseClick(dialog.show_button, Left)
    assert sorted(particles.grid.rows.tolist()) == rows[:3]
    assert particles.grid.titles == ["labeled otherwise in theirs.csv"]
    assert session.labels() == own
    qtbot.mouseClick(dialog.take_button, Left)
    assert session.labels() == own | dict.fromkeys(new, "slab")
    path.write_text("item,class\nnobody,ball\n")
    QTest.keyClick(dialog.path, Key.Key_Return)
    qtbot.waitUntil(lambda: "nobody" in dialog.notice.text(), timeout=30000)
    assert not dialog.take_button.isEnabled()
    dialog.close()


def test_an_item_shows_its_newest_prediction_before_the_first_training(known_page, press, qtbot):
    page, session = known_page, known_page.session
    assert not session.rounds
    row = next(r for r in range(80) if not session.view(r).is_audit and session.view(r).label is None)
    session.show(session.ids[row])
    qtbot.waitUntil(lambda: page.session.current.row == row)
    likely = session.classes[session.answers.class_N[row]]
    probs = dict(zip(session.classes, session.current.teacher_probs, strict=True))
    assert max(probs, key=probs.get) == likely
    assert probs[likely] == pytest.approx(session.answers.confidence_N[row], abs=1e-3)
    assert "no model" not in page.reason.text()
    hidden = next(r for r in range(80) if session.view(r).is_audit and session.view(r).label is None)
    assert session.view(hidden).teacher_probs == ()


def test_a_selection_that_no_class_fits_becomes_a_class(page, press, qtbot):
    session, particles = page.session, page.particles
    rows = [row for row in particles.grid.rows.tolist() if not session.view(row).is_audit][:5]
    press(Key.Key_Plus)
    assert "select particles" in page.notice.text()
    particles.grid.setFocus()
    particles.grid.select(np.array(rows))
    QTest.keyClick(particles.grid, Key.Key_Plus, Shift)  # where + is above another key
    particles.asked.setTextValue("filament")
    particles.asked.accept()
    assert session.classes == ("ball", "slab", "filament", "junk")
    assert session.labels() == dict.fromkeys(rows, "filament")
    press(Key.Key_Z)
    press(Key.Key_Z)
    assert session.labels() == {} and session.classes == ("ball", "slab", "junk")


def test_what_the_program_says_can_be_hidden_until_the_answer(known_page, press, qtbot):
    page, session = known_page, known_page.session
    row = next(r for r in range(80) if not session.view(r).is_audit and session.view(r).label is None)
    session.show(session.ids[row])
    qtbot.waitUntil(lambda: any(one._probs is not None for one in page.panel.rows.values()))
    qtbot.mouseClick(page.view.blind, Left, pos=QPoint(8, page.view.blind.height() // 2))
    assert all(one._probs is None for one in page.panel.rows.values())
    assert page.reason.text() == "what the program says is hidden until you answer"
    press(Key.Key_1)
    press(Key.Key_B)
    qtbot.waitUntil(lambda: any(one._probs is not None for one in page.panel.rows.values()))
