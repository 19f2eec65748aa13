"""A simulated annotator of segmentation sessions: the truth paints, and mean IoU is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.progress import Report
from tomotutor.data.pool import Pool
from tomotutor.export import figures
from tomotutor.export.lists import read_masks
from tomotutor.formats.mask_png import VOID, check_mask, palette
from tomotutor.learn.tasks import Confusion
from tomotutor.session import Session

MaskTruth = Callable[[int], np.ndarray | None]


@dataclass(frozen=True)
class MaskTest:
    """Images that are never asked, and the mask of each row."""

    pool: Pool
    truth: MaskTruth


def read_truth(session: Session, pool: Pool, oracle: str) -> MaskTruth:
    """Return a function from row to mask (None where it is not known): "y" is the truth of the data set, all else a
    folder of PNGs.
    """
    if oracle != "y":
        masks = read_masks(Path(oracle), pool, len(session.classes))
        return lambda row: masks.get(pool.ids[row])
    read = pool.truth_mask
    if read is None:
        raise TomoTutorError("oracle y: the input has no masks; give a folder of masks, PNG files named as the images")
    names = pool.class_names or session.classes
    table = np.full(256, VOID, np.uint8)  # classes of the data set that the session does not have are void
    for number, name in enumerate(names):
        if name in session.classes:
            table[number] = session.classes.index(name)
    return lambda row: table[
        check_mask(np.asarray(read(row)), pool.shape[1:], len(names), f"the truth of item {pool.ids[row]}")
    ]


def hold_out(session: Session, fraction: float) -> None:
    """Set a random share of the images apart, unless that was done before."""
    if not 0 < fraction < 1:
        raise TomoTutorError(f"test fraction {fraction}: expected a number between 0 and 1")
    if not len(session.held_out):
        rng = np.random.default_rng([session.recipe.seed, 0x7E57])
        session.hold_out(rng.choice(len(session.pool), max(1, round(fraction * len(session.pool))), replace=False))


def answer(session: Session, truth: MaskTruth, labels: int) -> None:
    """Answer the queue until the session has so many masks or nothing is left; what the oracle does not know is called
    unsure.
    """
    while len(session.labels()) < labels and (item := session.current) is not None:
        mask = truth(item.row)
        if mask is None:
            session.unsure(item.id, annotator="oracle", origin="oracle")
        else:
            session.label(item.id, mask, annotator="oracle", origin="oracle")


def measure(session: Session, truth: MaskTruth, test: MaskTest | None, report: Report | None = None) -> dict[str, Any]:
    """Measure the model in use: mean IoU of the final answer for the pool (masks kept, the rest predicted), and on a
    test set.

    Images that are held out count as test, not as pool.
    """
    classes = len(session.classes)
    pool, held = Confusion(classes), Confusion(classes)
    held_rows = set(session.held_out.tolist())

    def add(confusion: Confusion, mask: np.ndarray | None, predicted: np.ndarray) -> None:
        if mask is not None:
            confusion.add(mask, predicted)

    session.predict_masks(lambda row, mask: add(held if row in held_rows else pool, truth(row), mask), report)
    if test is not None:
        session.model.score_masks(test.pool, lambda row, mask: add(held, test.truth(row), mask), report)
    metrics: dict[str, Any] = {"pool_miou": pool.mean_iou, "pool_pixel_accuracy": pool.pixel_accuracy}
    if held_rows or test is not None:
        by_class = {name: iou for name, iou in zip(session.classes, held.iou_C.tolist(), strict=True) if iou == iou}
        metrics |= {
            "test_miou": held.mean_iou,
            "test_pixel_accuracy": held.pixel_accuracy,
            "test_iou_by_class": by_class,
        }
    return metrics


def write_report(folder: Path, session: Session, truth: MaskTruth) -> list[Path]:
    """Write learning_curve.png, iou.png (of the pool's images without a mask) and queue.png (image, truth and
    prediction).
    """
    written = [folder / name for name in ("learning_curve.png", "iou.png", "queue.png")]
    figures.save(figures.learning_curve(session.curve), written[0])
    disagreement_N = session.predictions().disagreement_N
    labels = session.labels()
    most = [row for row in np.argsort(-disagreement_N, kind="stable").tolist() if row not in labels][:6]
    confusion, shown = Confusion(len(session.classes)), dict[int, np.ndarray]()

    def look(row: int, mask: np.ndarray) -> None:
        known = truth(row)
        if known is not None and row not in labels:
            confusion.add(known, mask)
        if row in most:
            shown[row] = mask

    session.predict_masks(look)
    figures.save(
        figures.iou_bars(confusion.iou_C, session.classes, f"predicted images: mean IoU {confusion.mean_iou:.3f}"),
        written[1],
    )
    pictures, titles = [], []
    for row in most:
        (x_C,) = session.pool.read(np.array([row]))
        known = truth(row)
        pictures += [figures.thumbnail(x_C)] + [
            figures.mask_picture(x_C, mask, palette())
            for mask in (np.full_like(shown[row], VOID) if known is None else known, shown[row])
        ]
        titles += [session.pool.ids[row], "truth", f"predicted · {disagreement_N[row]:.4f}"]
    figures.save(
        figures.picture_grid(pictures, titles, "most disputed: mean squared difference of the maps", across=6),
        written[2],
    )
    return written


@dataclass
class MaskOracle:
    """See `tomotutor.oracle.play.Oracle`."""

    session: Session
    truth: MaskTruth
    test: MaskTest | None = None

    @classmethod
    def read(cls, session: Session, oracle: str) -> MaskOracle:
        """Read the truth of a session."""
        return cls(session, read_truth(session, session.pool, oracle))

    def test_on(self, pool: Pool) -> None:
        """Test on a data set that has its truth."""
        self.test = MaskTest(pool, read_truth(self.session, pool, "y"))

    def test_on_session(self, other: Session, oracle: str) -> None:
        """Test on the images of another session."""
        self.test = MaskTest(other.pool, read_truth(self.session, other.pool, oracle))

    def hold_out(self, fraction: float) -> None:
        """Test on a share of the session's own images."""
        hold_out(self.session, fraction)

    def check(self) -> None:
        """Take any session."""

    def answer(self, labels: int) -> None:
        """Answer the queue until there are so many masks."""
        answer(self.session, self.truth, labels)

    def measure(self, report: Report | None) -> dict[str, Any]:
        """Measure the model in use."""
        return measure(self.session, self.truth, self.test, report)

    def write_report(self, folder: Path) -> list[Path]:
        """Write pictures."""
        return write_report(folder, self.session, self.truth)
