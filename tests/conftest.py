import os

os.environ.setdefault("NAPARI_CONFIG", "")  # napari neither reads nor writes a person's settings
os.environ.setdefault("MPLBACKEND", "agg")

from pathlib import Path

import numpy as np
import pytest

from helpers import FAST, two_kinds
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
