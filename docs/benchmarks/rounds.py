"""Can a round of the app's recipe be shorter? The pretrained teacher is trained by changed recipes, on the same labels.

rounds.py DATA OUT.jsonl --sets noise/train --seeds 100,101 --labels 20,80 --changes "app+warm, 100" --embeddings FOLDER

DATA: sets as `bench answers` takes them, and heldout_hard of frozen_data.sh. A seed is four fifths of a set, 20
typical items, then UHerding on the start's embedding; all changes have these labels. A line each: the share of right
answers on all other items and the calibration error, means over half turns, of the model, of the fast head on the
trained embedding and of the mean of both; `start` is the head before any training. Seconds are of one thread's CPU, for
the teacher; the student, which cannot change the teacher, is left out.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tomotutor.benchmark import answers
from tomotutor.benchmark.data import find_set
from tomotutor.data.sources import open_pool
from tomotutor.learn.augment import augment, half_turn
from tomotutor.learn.calibration import expected_calibration_error
from tomotutor.learn.compute import Compute
from tomotutor.learn.head import fit_head
from tomotutor.learn.inference import new_pair
from tomotutor.learn.models import Net
from tomotutor.learn.recipe import preset
from tomotutor.learn.train import _optimizer, batches, predict

ROUNDS = (20, 40)  # labels of the rounds that went before a warm one


@dataclass(frozen=True)
class Change:
    """What differs from the app's recipe.

    Attributes
    ----------
    steps, rate, batch
        Mini-batches, the highest rate, items in a mini-batch.
    fitted : bool
        The last layer begins as the regression on the start's embedding of the labels.
    frozen : int
        Stages that are not trained, the stem being the first; their batch norm keeps its statistics.
    views : int
        Augmented views of each label, which the frozen stages see once; 0 makes new ones for each mini-batch.
    warm : bool
        Weights go on from round to round, the first of which is the app's.
    """

    steps: int = 200
    rate: float = 0.01
    batch: int = 16
    fitted: bool = False
    frozen: int = 0
    views: int = 0
    warm: bool = False


CHANGES = {
    "app": Change(),
    "100": Change(100),
    "fitted, 100": Change(100, fitted=True),
    "fitted, 50": Change(50, fitted=True),
    "fitted, 100, rate 0.02": Change(100, 0.02, fitted=True),
    "fitted, stage 1 frozen, 100": Change(100, fitted=True, frozen=2),
    "stage 1 frozen": Change(frozen=2, views=8),
    "stage 2 frozen": Change(frozen=3, views=8),
    "batches of 8": Change(batch=8),
    "fitted, batches of 8": Change(batch=8, fitted=True),
    "warm, 100": Change(100, warm=True),
}


def run_stages(net: Net, h: Tensor, first: int, last: int) -> Tensor:
    """Return the output of some stages, the stem being stage 0; as in `ResNet.forward`."""
    for k in range(first, last):
        if k == 0:
            h = net.stem(h)
        elif h.shape[-1] < 2 * net.float32_below:
            with torch.autocast(h.device.type, enabled=False):
                h = net.stages[k - 1](h.float())
        else:
            h = net.stages[k - 1](h)
    return h


def fit_last_layer(net: Net, x_NC: np.ndarray, y_L: np.ndarray, compute: Compute) -> None:
    """Begin with linear probing (Kumar et al., ICLR 2022)."""
    h_LD = predict({"net": net}, lambda rows: x_NC[rows], np.arange(len(x_NC)), compute)["net"].embedding_ND
    head = fit_head(h_LD, np.arange(len(h_LD)), y_L, len(net.fc.weight), temperature=1.0)
    scale = np.sqrt(h_LD.shape[1]) / np.linalg.norm(h_LD - head.centre_D, axis=1).mean()
    w_DC = np.zeros((h_LD.shape[1], len(net.fc.weight)), np.float32)
    b_C = np.full(len(net.fc.weight), head.bias_K.min(), np.float32)
    w_DC[:, head.known] = scale * head.weight_DK
    b_C[head.known] = head.bias_K
    with torch.no_grad():
        net.fc.weight.copy_(torch.from_numpy(w_DC.T))
        net.fc.bias.copy_(torch.from_numpy(b_C - head.centre_D @ w_DC))


def train(net: Net, x_NC: np.ndarray, y_L: np.ndarray, change: Change, compute: Compute, seed: int) -> None:
    """Train a teacher as `tomotutor.learn.train.fit` does, changed."""
    recipe = preset("app", 3).replace(width=0.25, learning_rate=change.rate)
    compute.prepare(net)
    if change.fitted:
        fit_last_layer(net, x_NC, y_L, compute)
    generator, lot = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    x, y = torch.from_numpy(x_NC), torch.from_numpy(y_L)
    net.train()
    for part in [net.stem, *net.stages][: change.frozen]:
        part.eval().requires_grad_(False)
    seen = []
    for _ in range(change.views):
        for part in augment(x.clone(), "strong", generator).split(64):
            with torch.no_grad(), compute.autocast():
                seen.append(run_stages(net, compute.put(part), 0, change.frozen))
    optimizer, schedule = _optimizer(net, recipe, change.steps)
    for index in batches(len(y), change.batch, change.steps, generator):
        with compute.autocast():
            if seen:
                view = torch.from_numpy(lot.integers(change.views, size=len(index)))
                h = torch.cat(seen)[view * len(y) + index]
            else:
                with torch.set_grad_enabled(not change.frozen):
                    h = run_stages(net, compute.put(augment(x[index], "strong", generator)), 0, change.frozen)
            logits = net.logits_of(run_stages(net, h, change.frozen, 5).flatten(2).mean(2).float())
        net.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(logits, y[index]).backward()
        optimizer.step()
        schedule.step()


def answer(net: Net, x_NC: np.ndarray, compute: Compute) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and embedding, means over the half turns."""

    def read(rows: np.ndarray, turn: str) -> np.ndarray:
        return half_turn(torch.from_numpy(x_NC[rows]), turn).numpy() if turn else x_NC[rows]

    found = [
        predict({"net": net}, lambda rows, turn=turn: read(rows, turn), np.arange(len(x_NC)), compute)["net"]
        for turn in ("", "x", "y", "z")
    ]
    return np.mean([f.probs_NC for f in found], 0), np.mean([f.embedding_ND for f in found], 0)


def measure(probs_NC: np.ndarray, y_N: np.ndarray) -> dict[str, float]:
    """Return the share of right answers and the calibration error."""
    right = float((probs_NC.argmax(1) == y_N).mean())
    return {"right": round(right, 4), "ece": round(expected_calibration_error(probs_NC, y_N), 4)}


def order_of(data: answers.Embedded, seed: int, most: int) -> np.ndarray:
    """Return the rows that a session labels, in order."""
    answers.COLD = 20
    session = answers.Session(data, seed)
    for _ in answers.one_by_one(session, "uherding", most):
        pass
    return np.array(list(session.labels))


def compare(folder: Path, name: str, seed: int, budgets: Sequence[int], changes: Sequence[str], work: Path, out: Path):
    """Add a line to `out` for each change."""
    whole, compute = answers.embed_set(folder, name, work), Compute("cpu", "bfloat16", True, 4, 1)
    data, y = whole.part(seed), whole.part(seed).truth_N
    rows = np.sort(np.random.default_rng([seed, 0xA45]).permutation(len(whole.truth_N))[: len(y)])
    pool = open_pool(find_set(folder, name)[0])
    order, x_NC = order_of(data, seed, max(budgets)), pool.read(rows)
    for n in budgets:
        told, rest = order[:n], np.setdiff1d(np.arange(len(y)), order[:n])
        for what in ("start", *changes):
            line = {"set": name, "seed": seed, "labels": n, "change": what}
            h_ND = data.teacher_ND
            if what != "start":
                recipe, change = preset("app", 3).replace(width=0.25, seed=seed), CHANGES[what]
                net = new_pair(pool.shape, len(data.classes), recipe, answers.SHIPPED).teacher
                for k, earlier in enumerate(e for e in ROUNDS if change.warm and e < n):
                    some = order[:earlier]
                    train(net, x_NC[some], y[some], change if k else CHANGES["app"], compute, seed + earlier)
                clock = time.process_time()
                train(net, x_NC[told], y[told], change, compute, seed)
                line["seconds"] = round(time.process_time() - clock, 2)
                p_NC, h_ND = answer(net, x_NC, compute)
                line["model"] = measure(p_NC[rest], y[rest])
            head_NC = fit_head(h_ND, told, y[told], len(data.classes)).probs(h_ND)
            line["head"] = measure(head_NC[rest], y[rest])
            if what != "start":
                line["mean"] = measure((head_NC + p_NC)[rest] / 2, y[rest])
            with out.open("a") as lines:
                lines.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    for option in ("sets", "seeds", "labels", "changes", "embeddings"):
        parser.add_argument(f"--{option}", required=True)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    budgets = [int(n) for n in asked.labels.split(",")]
    changes = asked.changes.split("+")
    for seed in asked.seeds.split(","):
        for name in asked.sets.split(","):
            compare(asked.data, name, int(seed), budgets, changes, Path(asked.embeddings), asked.out)
