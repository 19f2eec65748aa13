"""Whole runs of a session with the truth answering, whatever the task. Adding a task is a line in ORACLES."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.progress import Report, ignore
from tomotutor.data.pool import Pool
from tomotutor.oracle.classes import read_truth
from tomotutor.oracle.masks import MaskOracle
from tomotutor.oracle.pages import PersonOracle
from tomotutor.session import Session
from tomotutor.session.status import CurvePoint


class Oracle(Protocol):
    """A truth in place of the person, and the test set that it measures on, if it was given one."""

    def test_on(self, pool: Pool) -> None:
        """Test on the items of a data set that has its truth."""

    def test_on_session(self, other: Session, oracle: str) -> None:
        """Test on the items of another session; `oracle` is their truth, as `read_oracle` takes it."""

    def hold_out(self, fraction: float) -> None:
        """Test on a random share of the session's own items, set apart before the first label."""

    def check(self) -> None:
        """Refuse a session that it cannot answer."""

    def answer(self, labels: int) -> None:
        """Answer the queue until the session has so many labels; what the truth does not know is called unsure."""

    def measure(self, report: Report | None) -> dict[str, Any]:
        """Return figures of the model in use, on the pool and on the test set."""
        ...

    def write_report(self, folder: Path) -> list[Path]:
        """Write pictures and predictions; return their paths."""
        ...


def _person(session: Session, oracle: str, by_page: bool, error: float) -> Oracle:
    if not 0 <= error < 1:
        raise TomoTutorError(f"run: an error of {error:g}; expected 0 or more, and less than 1")
    return PersonOracle(session, read_truth(session, oracle), by_page=by_page, error=error)


def _painter(session: Session, oracle: str, by_page: bool, error: float) -> Oracle:
    if by_page or error:
        raise TomoTutorError("run: --by page and --oracle-error are for classes; this session takes masks")
    return MaskOracle.read(session, oracle)


ORACLES: dict[str, Callable[[Session, str, bool, float], Oracle]] = {
    "classification": _person,
    "segmentation": _painter,
}


def read_oracle(session: Session, oracle: str, *, by_page: bool = False, error: float = 0.0) -> Oracle:
    """Read the truth of a session: a CSV file of classes, a folder of masks, or "y" for that of the data set or .npz
    file. The person who knows it may name whole pages of look-alikes, and may err in a share of the answers.

    Raises
    ------
    TomoTutorError
        It names an item or a class that there is not, or the input does not have its truth.
    """
    return ORACLES[session.recipe.task](session, oracle, by_page, error)


def play(
    session: Session, labels: Sequence[int], answer: Callable[[int], None], report: Report | None = None
) -> Iterator[int]:
    """Answer up to each number of labels and train; yield the number of each round, those of an earlier run first.

    Only the last round's model is in use, so a caller measures it before asking for the next number.
    """
    session.map_pool(report or ignore)
    for number, wanted in enumerate(labels, start=1):
        if len(session.rounds) < number:
            before = len(session.labels())
            answer(wanted)
            if number > 1 and len(session.labels()) == before:
                return  # nothing is left to ask
            # in the app the item in front stays there; here it would be an old pick among the new ones
            session.put_back()
            session.run_round(report)
        yield number


def run(
    session: Session,
    oracle: Oracle,
    *,
    init: int,
    query: int,
    rounds: int,
    told: Callable[[CurvePoint], None] | None = None,
    report: Report | None = None,
) -> tuple[CurvePoint, ...]:
    """Run `rounds` queries and rounds + 1 trainings; a run that was interrupted goes on where it stopped.

    Parameters
    ----------
    session : Session
        With the recipe to use.
    oracle : Oracle
        What answers, and measures each model.
    init, query : int
        Labels before the first training, and before each further one.
    rounds : int
        Number of queries.
    told : callable, optional
        Called with each round's point when it is measured.
    report : callable, optional
        Progress.
    """
    oracle.check()
    for number in play(session, [init + k * query for k in range(rounds + 1)], oracle.answer, report):
        metrics = session.rounds[-1].record["metrics"]
        if number == len(session.rounds) and not any(name.startswith("pool_") for name in metrics):
            session.add_metrics(number, oracle.measure(report))
        if told:
            told(session.curve[number - 1])
    return session.curve
