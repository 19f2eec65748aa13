"""Makes the sessions in this folder anew, with the last version that kept its settings flat and its labels in layout 1:

    git worktree add ../before c34da55
    PYTHONPATH=../before/src:../before/tests python tests/session/earlier/make.py

Inputs are not kept, nor are weights: the test makes the first from the same seed, and others in place of the second.
"""

import json
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np

from helpers import two_kinds, write_mrc, write_star

HERE = Path(__file__).parent
PLACE = "/place/of/the/inputs"
CLASSES = ["ball", "slab"]


def write_inputs(folder: Path) -> None:
    """Write an array, and two tomograms with a list each."""
    x_NZYX, y_N = two_kinds(24)
    np.savez(folder / "two_kinds.npz", x=x_NZYX, y=y_N, classes=np.array(CLASSES))
    for name, seed in (("first", 1), ("second", 2)):
        rng = np.random.default_rng(seed)
        write_mrc(folder / f"{name}.mrc", rng.normal(0, 1, (24, 40, 40)).astype(np.float32))
        xyz_N3 = rng.integers(8, 16, (6, 3)) + np.array([8, 8, 0])
        names = ("rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ")
        columns = {label: xyz_N3[:, k].tolist() for k, label in enumerate(names)}
        write_star(folder / f"{name}.star", "particles", {**columns, "rlnMicrographName": [f"{name}.mrc"] * 6})


def seen(session) -> dict:
    """Return what a person sees of a session."""
    item = session.current
    return {
        "queue": [item.id, *(view.id for view in session.upcoming(100))] if item else [],
        "labels": {str(row): name for row, name in session.labels().items()},
        "audit": [[p.audit.correct, p.audit.n, p.audit.accuracy, *(p.audit.interval or ())] for p in session.curve],
    }


def _array(folder: Path, inputs: Path) -> dict:
    from tomotutor.session_file import create_session
    from tomotutor.sources import Source

    from tomotutor.session import Session

    settings = {"steps": "4", "batch_size": "8", "width": "0.25", "precision": "float32", "audit_share": "3"}
    settings |= {"initial_size": "8", "query_size": "4", "start": "scratch"}
    create_session(folder, Source("array", str(inputs / "two_kinds.npz")), CLASSES, settings=settings)
    session = Session(folder)
    y_N = two_kinds(24)[1]

    def label(n: int) -> None:
        for _ in range(n):
            session.label(session.current.id, CLASSES[y_N[session.current.row]], annotator="Ada")

    label(5)
    session.label(session.current.id, "junk")
    session.undo()
    session.unsure(session.current.id)
    session.skip(session.current.id)
    label(5)
    session.run_round()
    label(2)
    found = session.predictions()
    what = seen(session) | {"classes": found.class_N.tolist(), "confidences": found.confidence_N.tolist()}
    session.close()
    return what


def _particles(folder: Path, inputs: Path) -> dict:
    from tomotutor.session_file import create_session
    from tomotutor.sources import Source

    from tomotutor.session import Session

    first, second = (
        Source(
            "particles",
            str(inputs / f"{name}.star"),
            tomogram_dir=str(inputs),
            box=16,
            coordinate_pixel_size=10.0,
        )
        for name in ("first", "second")
    )
    create_session(folder, first, CLASSES, settings={"width": "0.25", "start": "scratch"})
    session = Session(folder)
    session.add_items(second)
    for name in ("ball", "slab", "junk"):
        session.label(session.current.id, name)
    what = seen(session)
    session.close()
    return what


def _without_place(folder: Path, inputs: Path) -> None:
    """Write PLACE for the folder of the inputs, and leave out the weights."""
    text = (folder / "session.toml").read_text()
    (folder / "session.toml").write_text(text.replace(str(inputs), PLACE))
    with closing(sqlite3.connect(folder / "labels.sqlite")) as connection, connection:
        connection.execute("UPDATE meta SET value = replace(value, ?, ?)", (str(inputs), PLACE))
    for path in [*folder.rglob("*.safetensors"), *folder.rglob(".lock"), *folder.rglob("compute.json")]:
        path.unlink()


def main() -> None:
    """Make both sessions, and what the version that made them shows."""
    with tempfile.TemporaryDirectory() as name:
        inputs = Path(name)
        write_inputs(inputs)
        for kind, make in (("array", _array), ("particles", _particles)):
            target = HERE / kind
            shutil.rmtree(target, ignore_errors=True)
            expected = make(target, inputs)
            _without_place(target, inputs)
            (HERE / f"{kind}.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main()
