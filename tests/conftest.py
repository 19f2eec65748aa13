import os

os.environ.setdefault("NAPARI_CONFIG", "")  # napari neither reads nor writes a person's settings
os.environ.setdefault("MPLBACKEND", "agg")

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tomotutor.session import Session
from tomotutor.session_file import create_session
from tomotutor.sources import Source

FAST = {"steps": "4", "batch_size": "8", "width": "0.25", "precision": "float32", "initial_size": "8", "query_size": "6"}


@pytest.fixture(scope="session")
def data() -> Path:
    """Real and realistic data, which are no part of the project: TOMOTUTOR_DATA says where they are."""
    folder = os.environ.get("TOMOTUTOR_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("TOMOTUTOR_DATA does not name a folder with the project's test data")
    return Path(folder)


def two_kinds(n: int = 60, edge: int = 16, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Volumes with a bright ball (class 0) or a bright slab (class 1) in noise."""
    rng = np.random.default_rng(seed)
    y_N = rng.permutation(np.arange(n) % 2)
    z, y, x = np.indices((edge,) * 3) - edge // 2
    shapes = [z**2 + y**2 + x**2 < (edge / 4) ** 2, np.abs(z) < 2]
    x_N = np.stack([2.0 * shapes[k] for k in y_N]) + rng.normal(0, 1, (n, edge, edge, edge))
    return x_N.astype(np.float32), y_N


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


def write_mrc(path: Path, data: np.ndarray, voxel_size: float = 10.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with mrcfile.new(path, data, overwrite=True) as mrc:
        mrc.voxel_size = voxel_size
    return path


def write_star(path: Path, block: str, columns: dict[str, list]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["# version 50001", "", f"data_{block}", "", "loop_", *(f"_{name} #{i}" for i, name in enumerate(columns, 1))]
    lines += [" ".join(str(v) for v in row) for row in zip(*columns.values(), strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


def answer_truthfully(session: Session, n: int) -> None:
    """Label n items as the array's y says, through the queue."""
    y = np.load(session.array_file)["y"]
    for _ in range(n):
        item = session.current
        assert item is not None
        session.label(item.id, ["ball", "slab"][y[item.row]])
