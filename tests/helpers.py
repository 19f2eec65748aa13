"""What several tests share."""

from pathlib import Path

import mrcfile
import numpy as np

from tomotutor.session import Session
from tomotutor.strategies import Candidates, Scores

FAST = {"steps": "4", "batch_size": "8", "width": "0.25", "precision": "float32", "initial_size": "8", "query_size": "6"}


def two_kinds(n: int = 60, edge: int = 16, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Volumes with a bright ball (class 0) or a bright slab (class 1) in noise."""
    rng = np.random.default_rng(seed)
    y_N = rng.permutation(np.arange(n) % 2)
    z, y, x = np.indices((edge,) * 3) - edge // 2
    shapes = [z**2 + y**2 + x**2 < (edge / 4) ** 2, np.abs(z) < 2]
    x_N = np.stack([2.0 * shapes[k] for k in y_N]) + rng.normal(0, 1, (n, edge, edge, edge))
    return x_N.astype(np.float32), y_N


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


def log_softmax(logits):
    logits = logits - logits.max(1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def make_candidates(n=50, classes=4, seed=0, order=None):
    rng = np.random.default_rng(seed)
    found = {
        name: Scores(log_softmax(rng.normal(0, 2, (n, classes))), rng.normal(size=(n, 8)).astype(np.float32))
        for name in ("teacher", "student")
    }
    rows = rng.permutation(1000)[:n]
    if order is not None:
        rows, found = rows[order], {name: s.take(order) for name, s in found.items()}
    calls = []

    def score(name):
        calls.append(name)
        return found[name]

    candidates = Candidates(rows, score, np.random.default_rng(5))
    candidates.calls = calls
    return candidates


def discs(n: int = 14, height: int = 20, width: int = 28, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Grey images with a bright disc (class 1) on dark ground (class 0), and their masks; a border of one pixel is void (255)."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((height, width))
    at = rng.uniform((6, 6), (height - 6, width - 6), (n, 2))
    y_NYX = (((y - at[:, 0, None, None]) ** 2 + (x - at[:, 1, None, None]) ** 2) < 25).astype(np.uint8)
    x_NYX = np.clip(80 + 90.0 * y_NYX + rng.normal(0, 8, y_NYX.shape), 0, 255).astype(np.uint8)
    y_NYX[:, [0, -1]] = y_NYX[:, :, [0, -1]] = 255
    return x_NYX, y_NYX
