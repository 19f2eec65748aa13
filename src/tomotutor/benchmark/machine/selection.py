"""How long strategies take to choose, apart from training and scoring: 2,500 of 25,000 items with 512 numbers each."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from tomotutor.learn.recipe import Recipe
from tomotutor.learn.strategies import STRATEGIES, Arrays, Candidates, Scores

# choose from what networks have said already; the others read images or train networks of their own
PURE = (
    "teacher_student",
    "random",
    "entropy",
    "margin",
    "least_confidence",
    "mc_dropout",
    "bald",
    "qbc",
    "core_set",
    "badge",
    "cod",
    "typiclust",
    "prob_cover",
    "pair_badge",
    "residual",
)
CLASSES = 10
PEER_PICKS = 100  # scikit-activeml's core-set costs the same for each pick, and is measured on fewer


def _candidates(items: int, labeled: int, width: int) -> Candidates:
    """Make items in classes, as a network half-way through its training embeds them."""
    from torch import nn

    rng = np.random.default_rng(0)
    total = items + labeled
    centres = rng.normal(0, 1, (CLASSES, width))
    embedding = np.maximum(centres[rng.integers(0, CLASSES, total)] + rng.normal(0, 1, (total, width)), 0).astype(
        np.float32
    )

    def said() -> Scores:
        logits = (embedding @ centres.T / 20 + rng.normal(0, 0.5, (total, CLASSES))).astype(np.float64)
        return Scores(logits - np.log(np.exp(logits).sum(1, keepdims=True)), embedding)

    net = nn.Module()
    net.fc = nn.Linear(width, CLASSES)
    backend = Arrays(
        {name: said() for name in ("teacher", "student", "previous", "member 1", "member 2")},
        embedding,
        {"teacher": net},
    )
    rows = rng.permutation(total)
    return Candidates(
        rows[:items],
        backend,
        np.random.default_rng(1),
        labeled_rows=np.sort(rows[items:]),
        labels=np.zeros(labeled, np.int64),
    )


def _peer_s_a_pick(candidates: Candidates) -> float | None:
    """Time scikit-activeml's core-set on the same embeddings, where it is installed (it is no dependency)."""
    try:
        from skactiveml.pool._core_set import k_greedy_center
    except ImportError:
        return None
    x_ND = np.concatenate([candidates.teacher.embedding_ND, candidates.labeled.embedding_ND])
    y_N = np.full(len(x_ND), np.nan)
    y_N[len(candidates) :] = 0
    seconds = []
    for picks in (1, PEER_PICKS + 1):  # the difference leaves out the distances to the labeled items
        start = time.perf_counter()
        k_greedy_center(x_ND, y_N, picks)
        seconds.append(time.perf_counter() - start)
    return (seconds[1] - seconds[0]) / PEER_PICKS


def selection(items: int = 25_000, labeled: int = 5_000, k: int = 2_500, width: int = 512) -> dict[str, Any]:
    """Time score and select of each strategy that needs nothing but scores, embeddings and features."""
    from tomotutor.learn.compute import available_threads

    figures: dict[str, Any] = {
        "items": items,
        "labeled": labeled,
        "picks": k,
        "width": width,
        "threads": available_threads(),
    }
    candidates = _candidates(items, labeled, width)
    # computed outside the clock
    candidates.teacher, candidates.student, candidates.previous, candidates.labeled, candidates.features  # noqa: B018
    for name in PURE:
        strategy = STRATEGIES[name](Recipe(query_size=k))
        start = time.perf_counter()
        strategy.select(strategy.score(candidates), k, candidates)
        figures[f"{name}_s"] = time.perf_counter() - start
    peer_s = _peer_s_a_pick(candidates)
    if peer_s is not None:
        figures["scikit_activeml_core_set_s_a_pick"] = peer_s
        figures["core_set_s_a_pick"] = figures["core_set_s"] / k
        figures["core_set_ratio"] = peer_s * k / figures["core_set_s"]
    return figures


def gradients(items: int = 32, width: float = 0.25) -> dict[str, Any]:
    """Time gradient norms of 32³ items in one batch against a loop that goes backward for one item at a time."""
    import torch

    from tomotutor.learn.models import build_pair

    net = build_pair("resnet18", ndim=3, channels=1, edge=32, classes=CLASSES, width=width, seed=0).teacher.eval()
    x = torch.randn(items, 1, 32, 32, 32)

    class Images(Arrays):
        def run(self, rows: np.ndarray, function: Any, *, gradients: bool) -> np.ndarray:
            return np.concatenate(
                [function(x[part].clone()).double().numpy() for part in np.array_split(rows, max(1, items // 16))]
            )

    with torch.inference_mode():
        output = net(x)
    said = Scores(torch.log_softmax(output.logits.double(), 1).numpy(), output.embedding.numpy())
    candidates = Candidates(
        np.arange(items), Images({"teacher": said}, nets={"teacher": net}), np.random.default_rng(0)
    )
    candidates.teacher  # noqa: B018  # computed outside the clock

    def loop() -> np.ndarray:
        found = []
        for item in x:
            p = torch.softmax(net(item[None]).logits, 1)
            gradients = torch.autograd.grad(-(p * p.log()).sum(), list(net.parameters()))
            found.append(sum(float(g.norm()) for g in gradients))
        return np.array(found)

    seconds, values = {}, {}
    for name, function in {
        "loop": loop,
        "batched": lambda: STRATEGIES["entropy_gradnorm"](Recipe()).score(candidates),
        "last_layer": lambda: STRATEGIES["entropy_gradnorm"](Recipe(gradient_norm="last")).score(candidates),
    }.items():
        function()
        start = time.perf_counter()
        values[name] = function()
        seconds[name] = time.perf_counter() - start
    return {
        "items": items,
        "width": width,
        **{f"{name}_s": value for name, value in seconds.items()},
        "batched_ratio": seconds["loop"] / seconds["batched"],
        "last_layer_ratio": seconds["loop"] / seconds["last_layer"],
        "largest_relative_difference": float(np.abs(values["batched"] / values["loop"] - 1).max()),
    }
