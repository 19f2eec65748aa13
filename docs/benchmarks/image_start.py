"""What a start is worth on photographs: CIFAR-10, 5,000 training images to label from, 2,000 test images to answer.

image_start.py CIFAR10 OUT frozen|scratch|round [SEEDS] [LABELS] [STEPS]

- frozen: the fast head on what EfficientNet-Lite0 sees (teacher and student), and on the pixels (50 principal
  components), from random and from typical first labels.
- scratch: a first training by the app's recipe from scratch, with the same random labels; of the teacher alone, which a
  student does not change. What the network answers, and the fast head on it.
- round: one from EfficientNet-Lite0.

CIFAR10 is the folder as it is published. Lines are added to OUT/lines.jsonl, and the embedding is kept in OUT. STEPS is
a number of mini-batches in place of the recipe's.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import PCA

from tomotutor.base.progress import Progress
from tomotutor.benchmark.answers import GROUPS
from tomotutor.data.pool import Pool, concat
from tomotutor.data.sources import Source, measure_statistics, open_pool
from tomotutor.learn.compute import Compute, available_threads
from tomotutor.learn.embedding import embed_pool
from tomotutor.learn.groups import find_groups
from tomotutor.learn.head import fit_head
from tomotutor.learn.inference import new_pair
from tomotutor.learn.recipe import Recipe, preset
from tomotutor.learn.start import find_start
from tomotutor.learn.train import fit, predict

START = "efficientnet-lite0"
POOL, TEST, LABELS = 5000, 2000, (50, 100, 200, 500)
CLASSES = 10
Line = dict[str, Any]


def read(folder: Path) -> tuple[Pool, np.ndarray]:
    """Return both sets as one pool, the items to label in front, and their class numbers."""
    parts = []
    for split, items in (("train", POOL), ("test", TEST)):
        whole = open_pool(Source("cifar10", str(folder), split=split))
        parts.append(whole.take(np.sort(np.random.default_rng(0).permutation(len(whole))[:items])))
    mean, std = measure_statistics(parts[0])
    both = concat([replace(part, mean_C=mean, std_C=std) for part in parts])
    truth_N = np.concatenate([part.truth_N for part in parts])
    return both, np.unique(truth_N, return_inverse=True)[1]


def first_labels(seed: int, embedding_ND: np.ndarray | None = None) -> np.ndarray:
    """Return the rows to label in their order: at random, or the typical ones of groups of look-alikes."""
    if embedding_ND is None:
        return np.random.default_rng([seed, 0xC1FA]).permutation(POOL)
    return find_groups(embedding_ND[:POOL], np.arange(POOL), GROUPS, seed).typical()


def frozen(
    pool: Pool, truth_N: np.ndarray, out: Path, compute: Compute, seeds: list[int], asked: list[int]
) -> Iterator[Line]:
    """Yield what the head makes of each embedding."""
    file, _ = find_start(START)
    pair = new_pair(pool.shape, CLASSES, recipe_of(True), file)
    found = embed_pool(pair, pool, out / "embedding", compute, network=START, report=tell)
    pixels = PCA(50, svd_solver="full").fit_transform(pool.read(np.arange(len(pool))).reshape(len(pool), -1))
    seen = {"teacher": found.teacher_ND, "student": found.student_ND, "pixels": pixels.astype(np.float32)}
    for what, x_ND in seen.items():
        for seed in seeds:
            for first in ("random", "typical"):
                order = first_labels(seed, x_ND if first == "typical" else None)
                for labels in asked:
                    rows = order[:labels]
                    head = fit_head(x_ND, rows, truth_N[rows], CLASSES, temperature=1.0)
                    right = head.probs(x_ND, np.arange(POOL, len(pool))).argmax(1) == truth_N[POOL:]
                    known = len(np.unique(truth_N[rows]))
                    yield {
                        "what": f"head, {what}",
                        "first": first,
                        "labels": labels,
                        "seed": seed,
                        "classes": known,
                        "accuracy": float(right.mean()),
                    }


def recipe_of(pretrained: bool) -> Recipe:
    """Return the app's recipe, as a session on a CPU has it."""
    recipe = preset("app", 2)
    return recipe.pretrained(2).replace(teacher=START, width=1.0) if pretrained else recipe.replace(width=0.25)


def trained(
    pool: Pool, truth_N: np.ndarray, compute: Compute, what: str, seeds: list[int], asked: list[int], steps: int
) -> Iterator[Line]:
    """Yield what a first training makes of the labels."""
    recipe = recipe_of(what == "round")
    recipe = recipe.replace(steps=steps) if steps else recipe
    what = f"{what}, {steps} mini-batches" if steps else what
    start = find_start(START)[0] if recipe.network.start == "pretrained" else None
    asked_rows = np.arange(POOL, len(pool))
    for labels in asked:
        for seed in seeds:
            rows = first_labels(seed)[:labels]
            pair = new_pair(pool.shape, CLASSES, recipe.replace(seed=seed), start)
            fit(
                pair,
                lambda at, rows=rows: pool.read(rows[at]),
                truth_N[rows],
                recipe,
                compute,
                seed=seed,
                with_student=False,
                report=tell,
            )
            all_rows = np.concatenate([rows, asked_rows])
            found = predict({"teacher": pair.teacher}, pool.read, all_rows, compute)["teacher"]
            head = fit_head(found.embedding_ND, np.arange(labels), truth_N[rows], CLASSES, temperature=1.0)
            answers = {"network": found.log_probs_NC, "head": head.probs(found.embedding_ND)}
            line = {"what": what, "first": "random", "labels": labels, "seed": seed}
            for name, scores_NC in answers.items():
                right = scores_NC[labels:].argmax(1) == truth_N[asked_rows]
                yield {**line, "what": f"{what}, {name}", "accuracy": float(right.mean())}


def tell(progress: Progress) -> None:
    """Say how far it is."""
    print(f"\r{progress.stage} {progress.done}/{progress.total} ", end="", file=sys.stderr, flush=True)


def main(data: Path, out: Path, what: str, seeds: str = "0,1,2,3,4", labels: str = "", steps: str = "0") -> None:
    """Measure one kind, and add its lines."""
    out.mkdir(exist_ok=True)
    pool, truth_N = read(data)
    compute = Compute(channels_last=True, threads=available_threads())
    of_seeds = [int(seed) for seed in seeds.split(",")]
    asked = [int(n) for n in labels.split(",")] if labels else list(LABELS)
    if what == "frozen":
        lines = frozen(pool, truth_N, out, compute, of_seeds, asked)
    else:
        lines = trained(pool, truth_N, compute, what, of_seeds, asked, int(steps))
    for line in lines:
        with (out / "lines.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(*line.values(), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
