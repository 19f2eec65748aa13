"""What the frozen embedding of the weights that ship knows of real subtomograms, from 1, 2, 5 and 10 labels a class.

real_data.py DATA OUT.json [START]

Two sets, each with a background of its own. Labels come from one part of the tomograms, questions from the others.
- microtubule: 32³ boxes on one and beside it in two tomogram crops (10.52 Å); labels in one, questions in the other.
- ribosome: 40 subtomograms of four tomograms (12 Å). There is no background of theirs: it is made of each of them by
  random phases, with its power spectrum and without its structure. Labels in three tomograms, questions in the fourth.
Both as they are, and binned twofold: 16³ boxes of 21 and 24 Å. The same is asked of networks with random weights, and
of the voxels themselves (smoothed, and of 30 components).
"""

import csv
import json
import sys
import tempfile
from pathlib import Path

import mrcfile
import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.decomposition import PCA

from tomotutor.benchmark.answers import embed_set
from tomotutor.learn.head import fit_head
from tomotutor.learn.models import build_pair
from tomotutor.learn.start import SHIPPED, read_card, write_start

EDGE, LABELS, DRAWS = 32, (1, 2, 5, 10), 20


def microtubules(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return boxes (N, 32, 32, 32), classes (1 a microtubule) and tomograms."""
    boxes, classes, names = [], [], []
    with (folder / "picks_inside.csv").open(newline="") as handle:
        for row in csv.DictReader(handle):
            corner = [round(float(row[axis])) - EDGE // 2 for axis in "zyx"]
            volume = mrcfile.read(folder / f"{row['tomogram']}.mrc").astype(np.float32)
            boxes.append(volume[tuple(slice(c, c + EDGE) for c in corner)])
            classes.append(int(row["class"] == "microtubule"))
            names.append(row["tomogram"])
    return np.stack(boxes), np.array(classes), np.array(names)


def ribosomes(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ribosomes and the same in random phases, classes (1 a ribosome) and tomograms."""
    packed = np.load(folder / "ribo70S_real_40x32.npz")
    x = packed["subtomo"].astype(np.float32)
    noise = np.fft.rfftn(np.random.default_rng(0).normal(size=x.shape), axes=(1, 2, 3))
    amplitude = np.abs(np.fft.rfftn(x, axes=(1, 2, 3)))
    without = np.fft.irfftn(noise / np.abs(noise) * amplitude, s=x.shape[1:], axes=(1, 2, 3)).astype(np.float32)
    names = packed["tomo"].astype(str)
    return np.concatenate([x, without]), np.repeat([1, 0], len(x)), np.concatenate([names, names])


SETS = {"microtubule": microtubules, "ribosome": ribosomes}


def binned(x_NDHW: np.ndarray, by: int) -> np.ndarray:
    """Return means over cubes of voxels."""
    edge = x_NDHW.shape[1] // by
    return x_NDHW.reshape(-1, edge, by, edge, by, edge, by).mean((2, 4, 6))


def untrained(folder: Path) -> Path:
    """Write a start of random weights."""
    card = read_card(SHIPPED)
    pair = build_pair(card["teacher"], ndim=3, channels=1, edge=EDGE, classes=2, width=card["width"], seed=0)
    folder.mkdir()
    write_start(folder, pair.parts(), {**card, "complexes": []})
    return folder


def asked(embedding_ND: np.ndarray, truth_N: np.ndarray, tomogram_N: np.ndarray, labels: int) -> dict[str, float]:
    """Return mean, least and deviation of the accuracy (mean over both classes) over draws and held-out tomograms."""
    found = []
    for held_out in np.unique(tomogram_N):
        inside = tomogram_N == held_out
        for draw in range(DRAWS):
            rng = np.random.default_rng([draw, 0x4EA1])
            rows = np.concatenate([rng.permutation(np.flatnonzero(~inside & (truth_N == c)))[:labels] for c in (0, 1)])
            answer_N = fit_head(embedding_ND, rows, truth_N[rows], 2, temperature=1.0).probs(embedding_ND).argmax(1)
            found.append(np.mean([(answer_N == c)[inside & (truth_N == c)].mean() for c in (0, 1)]))
    return {
        "mean": round(float(np.mean(found)), 3),
        "sd": round(float(np.std(found)), 3),
        "least": round(min(found), 3),
    }


def main(data: Path, out: Path, start: Path) -> None:
    """Ask both sets of all three."""
    record = []
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        starts = {"start": start, "random weights": untrained(work / "untrained")}
        for kind, read, by in ((k, r, by) for by in (1, 2) for k, r in SETS.items()):
            boxes_NDHW, truth_N, tomogram_N = read(data / kind)
            x_NDHW, name = binned(boxes_NDHW, by), f"{kind}{', binned' * (by > 1)}"
            np.savez(work / f"{name}.npz", x=x_NDHW, y=truth_N, classes=np.array(["background", kind]))
            seen = {what: embed_set(work, name, work / what, start=folder) for what, folder in starts.items()}
            embedding = {what: np.asarray(found.teacher_ND, np.float32) for what, found in seen.items()}
            smooth = gaussian_filter(boxes_NDHW, (0, 2, 2, 2))[:, ::2, ::2, ::2].reshape(len(x_NDHW), -1)
            embedding["voxels"] = PCA(30, svd_solver="full").fit_transform(smooth).astype(np.float32)
            for what, embedding_ND in embedding.items():
                for labels in LABELS:
                    row = {"set": name, "what": what, "labels": labels, "items": len(truth_N)}
                    record.append({**row, **asked(embedding_ND, truth_N, tomogram_N, labels)})
                    print(*record[-1].values(), flush=True)
    out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else SHIPPED)
