"""Does it help to take the statistics of batch norm from the pool at hand? The frozen teacher, before any label.

pool_statistics.py DATA FROZEN > LINES      DATA: folder with microtubule and ribosome; FROZEN: sets of frozen_data.sh

Mean and variance of each batch norm become (1 - b) times those of the weights that ship plus b times those of 512 items
of the pool, b of 0, 0.3 and 1. Sets: two of FROZEN; one of these blurred, by a median filter, turned so that the tilt
axis is x, and binned to 16³ boxes of 24 Å; real ones (real_data.py). A line each: set, b, figures of `bench frozen`
(mean of two seeds), or of real_data.py for 1, 2, 5 and 10 labels a class.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import real_data
import torch
from scipy.ndimage import gaussian_filter, median_filter

from tomotutor.benchmark.answers import Embedded
from tomotutor.benchmark.data import find_set
from tomotutor.benchmark.frozen import measure
from tomotutor.data.pool import Pool
from tomotutor.data.sources import open_pool
from tomotutor.learn.compute import Compute
from tomotutor.learn.embedding import embed_pool
from tomotutor.learn.inference import new_pair
from tomotutor.learn.recipe import preset
from tomotutor.learn.start import SHIPPED, read_card

SHARES, ITEMS = (0, 0.3, 1), 512


def binned(x_NDHW: np.ndarray) -> np.ndarray:
    """Return means over 2³ voxels."""
    return real_data.binned(x_NDHW, 2)


FILTERS = {
    "gauss": lambda x: np.stack([gaussian_filter(box, 1.2) for box in x]),
    "median": lambda x: np.stack([median_filter(box, 3) for box in x]),
    "axis x": lambda x: np.ascontiguousarray(x.transpose(0, 1, 3, 2)[..., ::-1]),
    "coarse": binned,
}


def load(folder: Path, name: str) -> tuple[Pool, np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return a set's pool, which of it have a class, these, and their names."""
    source, labels = find_set(folder, name)
    pool, label_of = open_pool(source), {row.item: row.label for row in labels}
    classes = tuple(sorted(set(label_of.values())))
    known = np.array([item in label_of for item in pool.ids])
    return pool, known, np.array([classes.index(label_of[i]) for i in pool.ids if i in label_of]), classes


def embedded(pool: Pool, share: float, work: Path) -> np.ndarray:
    """Return the teacher's embedding of a pool with a share of its own statistics."""
    recipe = preset("app", pool.ndim).replace(width=read_card(SHIPPED)["width"])
    pair = new_pair(pool.shape, 2, recipe, SHIPPED)
    norms = [m for m in pair.teacher.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    before = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    compute = Compute(channels_last=True)
    compute.prepare(pair.teacher.train())
    rows = np.random.default_rng(0).permutation(len(pool))[:ITEMS]
    with torch.inference_mode():
        for part in np.array_split(rows, max(1, len(rows) // 64)):
            pair.teacher(compute.put(torch.from_numpy(pool.read(part))))
    for norm, (mean, var) in zip(norms, before, strict=True):
        norm.running_mean = (share * norm.running_mean + (1 - share) * mean).clone()
        norm.running_var = (share * norm.running_var + (1 - share) * var).clone()
    pair.teacher.eval()
    folder = Path(tempfile.mkdtemp(dir=work)) / "embedding"
    return np.asarray(embed_pool(pair, pool, folder, compute, network="start").teacher_ND, np.float32)


def main(data: Path, frozen: Path, work: Path) -> None:
    """Print a line for each set and share."""
    names = [(frozen, "heldout_snr010"), (frozen, "heldout_hard")]
    pool, known, y, classes = load(*names[0])
    x = pool.read(np.flatnonzero(known))[:, 0]
    for how, change in FILTERS.items():
        np.savez(work / f"{how}.npz", x=change(x).astype(np.float32), y=y, classes=np.array(classes))
        names.append((work, how))
    for folder, name in names:
        pool, known, y, classes = load(folder, name)
        for share in SHARES:
            x_ND = embedded(pool, share, work)[known]
            found: dict[str, list[float]] = {}
            for seed in range(2):
                for line in measure(Embedded(name, x_ND, x_ND, y, classes), seed):
                    found.setdefault(line["what"], []).append(line["found"])
            print(name, share, {what: round(float(np.mean(v)), 3) for what, v in found.items()}, flush=True)
    for by in (1, 2):
        for kind, read in real_data.SETS.items():
            boxes, y, tomogram = read(data / kind)
            np.savez(work / "real.npz", x=real_data.binned(boxes, by), y=y, classes=np.array(["background", kind]))
            pool = load(work, "real")[0]
            for share in SHARES:
                x_ND = embedded(pool, share, work)
                print(kind, by, share, [real_data.asked(x_ND, y, tomogram, k)["mean"] for k in real_data.LABELS])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(sys.argv[1]), Path(sys.argv[2]), Path(folder))
