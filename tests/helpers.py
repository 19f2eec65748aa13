"""What several tests share."""

from dataclasses import dataclass, field
from pathlib import Path

import mrcfile
import numpy as np

from tomotutor.data.pool import Cut, Pool
from tomotutor.learn.strategies import Arrays, Candidates, Scores
from tomotutor.session import Session

FAST = {
    "steps": "4",
    "batch_size": "8",
    "width": "0.25",
    "precision": "float32",
    "initial_size": "8",
    "query_size": "6",
    "start": "scratch",
    "between": "round",
}
SET = [word for key, value in FAST.items() for word in ("--set", f"{key}={value}")]


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
    lines = [
        "# version 50001",
        "",
        f"data_{block}",
        "",
        "loop_",
        *(f"_{name} #{i}" for i, name in enumerate(columns, 1)),
    ]
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


@dataclass(frozen=True)
class Counting(Arrays):
    """Arrays that remember what was asked of them."""

    calls: list = field(default_factory=list)

    def score(self, name, rows):
        self.calls.append((name, len(rows)))
        return super().score(name, rows)


def make_candidates(n=50, classes=4, seed=0, labeled=12):
    """Candidates with random scores; teacher, student, the last teacher and three further committee
    members all differ.
    """
    rng = np.random.default_rng(seed)
    names = ("teacher", "student", "previous", "member 1", "member 2", "member 3", "member 4")
    found = {
        name: Scores(log_softmax(rng.normal(0, 2, (200, classes))), rng.normal(size=(200, 8)).astype(np.float32))
        for name in names
    }
    rows = rng.permutation(200)
    backend = Counting(found, feature_ND=rng.normal(size=(200, 6)).astype(np.float32))
    labeled_rows = np.sort(rows[n : n + labeled])
    candidates = Candidates(
        rows[:n],
        backend,
        np.random.default_rng(5),
        labeled_rows=labeled_rows,
        labels=rng.integers(0, classes, len(labeled_rows)),
    )
    candidates.calls = backend.calls
    return candidates


def discs(n: int = 14, height: int = 20, width: int = 28, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Grey images with a bright disc (class 1) on dark ground (class 0), and their masks; a border of one pixel is void
    (255).
    """
    rng = np.random.default_rng(seed)
    y, x = np.indices((height, width))
    at = rng.uniform((6, 6), (height - 6, width - 6), (n, 2))
    y_NYX = (((y - at[:, 0, None, None]) ** 2 + (x - at[:, 1, None, None]) ** 2) < 25).astype(np.uint8)
    x_NYX = np.clip(80 + 90.0 * y_NYX + rng.normal(0, 8, y_NYX.shape), 0, 255).astype(np.uint8)
    y_NYX[:, [0, -1]] = y_NYX[:, :, [0, -1]] = 255
    return x_NYX, y_NYX


def array_pool(x_NC) -> Pool:
    """A pool on (N, C, ...spatial)."""
    return Pool(tuple(f"i{k}" for k in range(len(x_NC))), x_NC.shape[1:], lambda row: Cut(x_NC[row]))


def on_embeddings(x_ND, labeled_rows=(), labels=None, probs_NC=None, seed=0):
    """Candidates whose embedding and self-supervised features are x_ND; all rows without a label are candidates."""
    x_ND = np.asarray(x_ND, np.float32)
    probs_NC = np.full((len(x_ND), 2), 0.5) if probs_NC is None else probs_NC
    labeled_rows = np.array(labeled_rows, dtype=np.int64)
    rows = np.setdiff1d(np.arange(len(x_ND)), labeled_rows)
    backend = Arrays({"teacher": Scores(np.log(probs_NC), x_ND)}, feature_ND=x_ND)
    labels = np.zeros(len(labeled_rows), np.int64) if labels is None else labels
    return Candidates(rows, backend, np.random.default_rng(seed), labeled_rows=labeled_rows, labels=labels)


def new_of_tomograms(folder, *more):
    """Make a session `folder`/s of the tomograms that the fixture `tomogram_set` left there; return the exit status."""
    from tomotutor.cli import main

    return main(
        [
            "new",
            str(folder / "s"),
            "--particles",
            str(folder / "particles.star"),
            "--tomogram-dir",
            str(folder),
            "--box",
            "16",
            "--classes",
            "ball,slab",
            *SET,
            *more,
        ]
    )
