"""Makes the screenshots in docs/images from the real app on the sample session; needs a display."""

import csv
import tempfile
import time
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from tomotutor.gui.app import make_window
from tomotutor.session import Session
from tomotutor.session.sample import CLASSES, create_sample_session, sample_data
from tomotutor.session.status import Phase

IMAGES = Path(__file__).parent / "images"


def spin(seconds: float) -> None:
    """Let the screen live."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def main() -> None:
    """Label with keys, train, and photograph."""
    IMAGES.mkdir(exist_ok=True)
    with (sample_data() / "truth.csv").open() as handle:
        truth = {f"{row['tomogram']}:{row['star_row']}": row["class"] for row in csv.DictReader(handle)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "sample-session"
        create_sample_session(folder)
        with Session(folder) as session:
            session.map_pool()
        viewer, dock = make_window(folder)
        window = viewer.window._qt_window
        window.resize(1400, 900)
        page = dock.page
        session = page.session
        canvas = viewer.window._qt_viewer.canvas.native
        keys = {name: getattr(Qt.Key, f"Key_{number}") for number, name in enumerate(CLASSES, start=1)} | {
            "junk": Qt.Key.Key_0
        }

        def label(count: int) -> None:
            for _ in range(count):
                QTest.keyClick(canvas, keys[truth[session.current.id]])
                spin(0.02)

        def wait() -> None:
            while session.phase is not Phase.IDLE:
                spin(0.1)
            spin(0.5)

        spin(1)
        viewer.screenshot(str(IMAGES / "lookalikes.png"), canvas_only=False, flash=False)
        label(20)  # the first training starts by itself
        wait()
        label(20)
        wait()
        label(24)
        while "training · epoch" not in page.rounds.bar.format():
            spin(0.1)
        spin(8)
        viewer.screenshot(str(IMAGES / "labeling.png"), canvas_only=False, flash=False)
        wait()
        QTest.keyClick(canvas, Qt.Key.Key_V)
        spin(0.5)
        viewer.screenshot(str(IMAGES / "isosurface.png"), canvas_only=False, flash=False)
        dock.leave()
        dock.welcome.new_session()
        spin(0.5)
        dock.grab().save(str(IMAGES / "new_session.png"))
        viewer.close()


if __name__ == "__main__":
    main()
