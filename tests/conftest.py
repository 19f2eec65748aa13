import os

os.environ.setdefault("NAPARI_CONFIG", "")  # napari neither reads nor writes a person's settings
os.environ.setdefault("MPLBACKEND", "agg")

from pathlib import Path

import numpy as np
import pytest

from helpers import FAST, two_kinds, write_mrc, write_star
from tomotutor.data.sources import Source
from tomotutor.session import Session
from tomotutor.session.create import create_session


@pytest.fixture(scope="session")
def data() -> Path:
    """Real and realistic data, which are no part of the project: TOMOTUTOR_DATA says where they are."""
    folder = os.environ.get("TOMOTUTOR_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("TOMOTUTOR_DATA does not name a folder with the project's test data")
    return Path(folder)


@pytest.fixture
def array_file(tmp_path: Path) -> Path:
    x, y = two_kinds()
    path = tmp_path / "two_kinds.npz"
    np.savez(path, x=x, y=y, classes=np.array(["ball", "slab"]))
    return path


@pytest.fixture
def session_folder(tmp_path: Path, array_file: Path) -> Path:
    folder = tmp_path / "session"
    create_session(folder, Source("array", str(array_file)), ["ball", "slab"], settings=FAST)
    return folder


@pytest.fixture
def session(session_folder: Path):
    opened = Session(session_folder)
    yield opened
    opened.close()


@pytest.fixture
def tomogram_set(tmp_path):
    """Two tomograms with balls and slabs, their list and truth."""
    x, y = two_kinds(40, seed=3)
    rows, truth = [], ["tomogram,star_row,class"]
    for t, name in enumerate(("t1", "t2")):
        volume = np.random.default_rng(t).normal(0, 1, (24, 96, 96)).astype(np.float32)
        for i in range(20):
            at = (12, 12 + 18 * (i // 5), 12 + 18 * (i % 5))
            volume[tuple(slice(a - 8, a + 8) for a in at)] = -x[20 * t + i]
            rows.append((name, *((a - s / 2) * 10 for a, s in zip(at[::-1], (96, 96, 24), strict=True))))
            truth.append(f"{name},{len(rows)},{['ball', 'slab'][y[20 * t + i]]}")
        write_mrc(tmp_path / f"{name}.mrc", volume)
    columns = {"rlnTomoName": [r[0] for r in rows]} | {
        f"rlnCenteredCoordinate{a}Angst": [r[1 + i] for r in rows] for i, a in enumerate("XYZ")
    }
    write_star(tmp_path / "particles.star", "particles", columns)
    (tmp_path / "truth.csv").write_text("\n".join(truth) + "\n")
    return tmp_path


@pytest.fixture(scope="session")
def mapped_session(tmp_path_factory):
    """A session that starts pretrained and has looked at its pool, without labels; to be copied."""
    folder = tmp_path_factory.mktemp("mapped")
    x, y = two_kinds(80, 16)
    np.savez(folder / "a.npz", x=x, y=y, classes=np.array(["ball", "slab"]))
    settings = {**FAST, "between": "uherding", "learning_rate": "0.01", "audit_share": "8"}
    del settings["start"]
    create_session(folder / "s", Source("array", str(folder / "a.npz")), ["ball", "slab"], settings=settings)
    with Session(folder / "s") as session:
        session.map_pool()
    return folder / "s"
