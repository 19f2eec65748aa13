"""Walks through the sample session by mouse and keys, as docs/tutorial.md says, and photographs it; needs a display.

--size and --theme photograph it otherwise, to look at; what is committed is made without them.
"""

import argparse
import csv
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
import starfile
from PIL import Image
from qtpy.QtCore import QPoint, QSettings, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QTabWidget, QWidget

from tomotutor.export.figures import thumbnail
from tomotutor.gui.canvas.views import DISPUTE, PARTICLE, SHEET, TOMOGRAM
from tomotutor.gui.dock import dock_in
from tomotutor.session import Session
from tomotutor.session.sample import CLASSES, create_sample_session, sample_data
from tomotutor.session.status import Phase

IMAGES = Path(__file__).parent / "images"
KEYS = {name: getattr(Qt.Key, f"Key_{number}") for number, name in enumerate(CLASSES, start=1)} | {"junk": Qt.Key.Key_0}
GROUPS = 8  # that are named


def spin(seconds: float) -> None:
    """Let the screen live."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def wait(known: Callable[[], object], most_s: float = 300) -> None:
    """Wait until something is so."""
    end = time.perf_counter() + most_s
    while not known():
        spin(0.05)
        if time.perf_counter() > end:
            raise TimeoutError("the screen did not get there")


def click(widget: QWidget, at: QPoint | None = None, modifier: Qt.KeyboardModifier | None = None) -> None:
    """Click with the left button, in the middle where no place is said."""
    none = Qt.KeyboardModifier.NoModifier
    QTest.mouseClick(widget, Qt.MouseButton.LeftButton, modifier or none, at or widget.rect().center())
    spin(0.1)


class Walk:
    """A person who knows the truth, in front of napari."""

    def __init__(self, folder: Path, size: tuple[int, int], theme: str, out: Path) -> None:
        with (sample_data() / "truth.csv").open() as handle:
            self.truth = {f"{row['tomogram']}:{row['star_row']}": row["class"] for row in csv.DictReader(handle)}
        self.out = out
        self.viewer = napari.Viewer(title="TomoTutor", ndisplay=3)
        self.viewer.theme = theme
        self.window = self.viewer.window._qt_window
        self.resize(size)
        self.dock = dock_in(self.viewer)
        spin(0.5)
        self.dock.open(folder)
        self.page = self.dock.page
        self.session = self.page.session
        self.grid = self.page.particles.grid
        self.canvas = self.viewer.window._qt_viewer.canvas.native
        spin(1)

    def resize(self, size: tuple[int, int]) -> None:
        """Make the window so many pixels wide and high."""
        self.size = size
        self.window.move(0, 0)
        self.window.resize(*size)
        spin(0.5)

    def photograph(self, name: str) -> None:
        """Write what is on the screen, in 256 colours: a third of the bytes."""
        spin(0.5)
        path = self.out / f"{name}.png"
        QApplication.primaryScreen().grabWindow(0, 0, 0, *self.size).save(str(path))
        whole = Image.open(path).convert("RGB")
        whole.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)

    def show(self, what: str, sort: str = "queue order") -> None:
        """Choose what the grid shows."""
        self.page.particles.show_box.setCurrentText(what)
        self.page.particles.sort_box.setCurrentText(sort)
        wait(lambda: len(self.grid.rows))
        spin(1.5)

    def look_at(self, view: str) -> None:
        """Choose what the canvas shows."""
        click(self.page.views.buttons[view])
        spin(2)

    def open_tab(self, name: str, tabs: QTabWidget) -> None:
        """Click a tab."""
        place = next(k for k in range(tabs.count()) if tabs.tabText(k) == name)
        click(tabs.tabBar(), tabs.tabBar().tabRect(place).center())

    def label(self, count: int) -> None:
        """Answer the particle in front, with keys."""
        for _ in range(count):
            QTest.keyClick(self.canvas, KEYS[self.truth[self.session.current.id]])
            spin(0.05)

    def place(self, row: int) -> QPoint:
        """Scroll a particle into view and return where it is."""
        bar = self.grid.verticalScrollBar()
        bar.setValue(bar.value() + self.grid.place(row).top() - 30)
        spin(0.1)
        return self.grid.place(row).center()

    def select_group(self, number: int) -> str:
        """Click the header of a group, and with Ctrl those that do not belong; return its class."""
        sizes = [int(title.split(" · ")[1].split()[0]) for title in self.grid.titles]
        start = sum(sizes[:number])
        rows = self.grid.rows[start : start + sizes[number]].tolist()
        classes = Counter(self.truth[self.session.ids[row]] for row in rows)
        name = classes.most_common(1)[0][0]
        first = self.place(rows[0])
        click(self.grid.viewport(), QPoint(first.x(), self.grid.place(rows[0]).top() - 10))
        for row in rows:
            if self.truth[self.session.ids[row]] != name:
                click(self.grid.viewport(), self.place(row), Qt.KeyboardModifier.ControlModifier)
        self.place(rows[0])
        return name

    def show_new_session(self) -> None:
        """Let the page of a new session look at the sample data; the picture has no paths of this machine."""
        page = self.dock.welcome.new
        page.path.value = sample_data() / "particles.star"
        spin(6)
        for field, text in ((page.path, "project/particles.star"), (page.tomograms, "project/tomograms.star")):
            line = field.line_edit.native
            line.blockSignals(True)
            line.setText(text)
            line.blockSignals(False)

    def finish_training(self) -> None:
        """Wait until no training runs."""
        wait(lambda: self.session.phase is Phase.IDLE, 900)
        spin(1)


def draw_kinds(session: Session, truth: dict[str, str], path: Path) -> None:
    """Write how each class looks: slices of five particles, one class a line."""
    lines = []
    for name in (*CLASSES, "junk"):
        rows = [row for row, item in enumerate(session.ids) if truth[item] == name][:5]
        lines.append(np.hstack([np.pad(thumbnail(session.pool.read([row])[0]), 1) for row in rows]))
    picture = (255 * np.clip(np.vstack(lines), 0, 1)).astype(np.uint8)
    Image.fromarray(picture).resize((2 * picture.shape[1], 2 * picture.shape[0])).save(path, optimize=True)


def walk(person: Walk, exported: Path) -> None:
    """Classify, check and export the sample session."""
    page, session = person.page, person.session
    person.photograph("lookalikes")

    person.show("groups")
    for number in range(GROUPS):
        name = person.select_group(number)
        if number == 0:
            person.photograph("groups")
        QTest.keyClick(person.grid, KEYS[name])
        spin(1)
    person.show("all", "confidence")
    person.photograph("answers")

    person.show("queue")
    person.look_at(SHEET)
    wait(lambda: session.disputed(1))
    click(page.views.orders[DISPUTE])
    spin(2)
    person.photograph("sheet")
    person.look_at(PARTICLE)
    person.label(12)
    if session.phase is Phase.IDLE:
        QTest.keyClick(person.canvas, Qt.Key.Key_R)
    wait(lambda: "training" in page.rounds.bar.format())
    while session.current.is_audit:  # the bars and references of one are hidden
        person.label(1)
    spin(4)
    person.photograph("labeling")
    person.look_at(TOMOGRAM)
    person.photograph("tomogram")
    person.look_at(PARTICLE)
    QTest.keyClick(person.canvas, Qt.Key.Key_V)
    person.photograph("isosurface")
    QTest.keyClick(person.canvas, Qt.Key.Key_V)
    person.finish_training()

    person.open_tab("Model", page.tabs)
    wait(lambda: page.model.report is not None)
    spin(3)
    person.photograph("model")
    person.open_tab("Classes", page.model.tabs)
    table = page.model.classes
    cell = table.visualItemRect(table.item(CLASSES.index("ribosome"), table.columnCount() - 1)).center()
    click(table.viewport(), cell)
    person.label(24)
    person.finish_training()
    spin(4)
    person.photograph("check")
    person.open_tab("Label", page.tabs)

    click(page.rounds.export)
    dialog = page.dialogs["export"]
    dialog.folder.setText(str(exported))
    dialog.format.setCurrentIndex(dialog.format.findData("relion"))
    dialog.per_class.setChecked(True)
    wait(lambda: dialog.counts.rowCount())
    click(dialog.start)
    wait(lambda: "written" in dialog.notice.text())
    person.photograph("export")
    dialog.close()


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="1400x900")
    parser.add_argument("--theme", default="dark", choices=["dark", "light"])
    parser.add_argument("--out", type=Path, default=IMAGES)
    answer = parser.parse_args()
    width, height = map(int, answer.size.split("x"))
    answer.out.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        QSettings.setPath(QSettings.Format.NativeFormat, QSettings.Scope.UserScope, name)
        out = answer.out.resolve()
        os.chdir(name)  # paths in the pictures are short
        folder, exported = Path("demo"), Path("classified")
        create_sample_session(folder)
        with Session(folder) as session:
            session.map_pool()
        person = Walk(folder, (width, height), answer.theme, out)
        draw_kinds(person.session, person.truth, out / "kinds.png")
        walk(person, exported)
        found = starfile.read(exported / "particles.star")
        table = found["particles"] if isinstance(found, dict) else found
        print(table["rlnClassNumber"].value_counts())
        predicted = [person.session.classes[number - 1] for number in table["rlnClassNumber"]]
        right = sum(a == b for a, b in zip(predicted, person.truth.values(), strict=True))
        print(f"{right} of {len(predicted)} right after {person.session.status.labeled} labels")
        person.viewer.theme = "light"
        person.resize((1280, 800))
        person.photograph("light")
        person.viewer.theme = answer.theme
        person.resize((width, height))
        person.dock.leave()
        person.dock.welcome.new_session()
        person.show_new_session()
        person.photograph("new_session")
        person.viewer.close()
        spin(1)


if __name__ == "__main__":
    main()
