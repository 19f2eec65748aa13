"""How long answers take: from a label to those of the whole pool, of a head on very many items, and the embedding."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from tomotutor.base.progress import ignore
from tomotutor.data.sources import Source, open_pool
from tomotutor.session import Session
from tomotutor.session.create import create_session

CLASSES = 8
WIDTH = 128  # numbers of an item, as the shipped networks give them


def _clouds(items: int, width: int, seed: int) -> np.ndarray:
    """Return embeddings of items in classes, (N, D) float16; item n is of class n mod `CLASSES`."""
    rng = np.random.default_rng(seed)
    centre_CD = 3 + rng.normal(0, 1, (CLASSES, width))
    found_ND = np.empty((items, width), np.float16)
    for first in range(0, items, 65536):
        rows = np.arange(first, min(first + 65536, items))
        found_ND[rows] = centre_CD[rows % CLASSES] + rng.normal(0, 1, (len(rows), width))
    return found_ND


def make_embedded_session(folder: Path, items: int) -> Path:
    """Make a session on noise whose pool has an embedding that no network made, and return its folder.

    Parameters
    ----------
    folder : Path
        Where it and its items go.
    items : int
        Boxes of 8³; item n is of class n mod `CLASSES`.
    """
    from tomotutor.learn.embedding import CARD, PARTS, pool_mark
    from tomotutor.session.pool_embedding import FOLDER, START

    x_N = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float16, (items, 8, 8, 8))
    rng = np.random.default_rng(0)
    for first in range(0, items, 65536):
        x_N[first : first + 65536] = rng.standard_normal(x_N[first : first + 65536].shape, np.float32)
    x_N.flush()
    names = [f"c{c}" for c in range(CLASSES)]
    settings = {"start": "scratch", "between": "uherding"}
    source = Source("array", str(folder / "x.npy"))
    create_session(folder / "s", source, names, junk=False, settings=settings)
    place = folder / "s" / FOLDER / START
    place.mkdir(parents=True)
    for seed, part in enumerate(PARTS):
        np.save(place / f"{part}.npy", _clouds(items, WIDTH, seed))
    np.save(place / "view.npy", np.full(items, 2, np.uint8))
    _write_card(place / CARD, {"network": START, **pool_mark(open_pool(source))})
    return folder / "s"


def _write_card(path: Path, card: dict[str, Any]) -> None:
    import json

    path.write_text(json.dumps(card))


def _label_to_answers_s(session: Session, labels: int) -> np.ndarray:
    """Return the seconds of each label, until the answers that know it are there and the queue is renewed."""
    seconds = []
    for k in range(labels):
        item, told = session.current, threading.Event()
        assert item is not None

        def come(rows: np.ndarray, row: int = item.row, told: threading.Event = told) -> None:
            if session.answers is not None and session.answers.labeled_N[row]:
                told.set()

        session.answers_changed.connect(come)
        begin = time.perf_counter()
        session.label(item.id, session.classes[item.row % CLASSES])
        if k >= CLASSES and told.wait(60):  # before two classes have a label there are no answers
            seconds.append(time.perf_counter() - begin)
        session.answers_changed.disconnect(come)
    return np.array(seconds)


def _head_s(items: int, labels: int) -> float:
    """Return the seconds of fitting both heads and answering very many items, the temperature known."""
    from tomotutor.learn.head import answer, fit_head

    embeddings = [_clouds(items, WIDTH, seed) for seed in (0, 1)]
    rows = np.random.default_rng(2).permutation(items)[:labels]
    begin = time.perf_counter()
    teacher, student = (fit_head(x, rows, rows % CLASSES, CLASSES, temperature=1.0) for x in embeddings)
    answer(teacher, student, *embeddings, source="bench", version=1, label_rows=rows, label_M=rows % CLASSES)
    return time.perf_counter() - begin


def _embed_s(items: int, edge: int) -> float:
    """Return the seconds of embedding boxes with the weights that ship, half turns and all, on one core as the app
    computes there.
    """
    from tomotutor.data.pool import Cut, Pool
    from tomotutor.learn.embedding import embed_pool
    from tomotutor.learn.inference import compute_for, new_pair
    from tomotutor.learn.recipe import preset
    from tomotutor.learn.start import SHIPPED, read_card

    x = np.random.default_rng(0).normal(size=(items, 1, edge, edge, edge)).astype(np.float32)
    tilts = np.tile([-60.0, 60.0], (items, 1))
    ids = tuple(f"i{k}" for k in range(items))
    pool = Pool(ids, x.shape[1:], lambda row: Cut(x[row]), tilt_range_N2=tilts)
    recipe = preset("app", 3).replace(width=read_card(SHIPPED)["width"])
    pair, compute = new_pair(pool.shape, CLASSES, recipe, SHIPPED), compute_for(pool.shape, CLASSES, recipe, 1, None)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        embed_pool(pair, pool, Path(folder) / "e", compute, network="start", report=ignore)
        return time.perf_counter() - begin


def answers(
    items: int = 10_000, labels: int = 200, many: int = 1_000_000, embedded: int = 780, edge: int = 32
) -> dict[str, Any]:
    """Time label → answers of the whole pool in a live session, a head on many items, and the embedding of a pool."""
    # in this folder: /tmp may be memory, where nothing is committed
    with (
        tempfile.TemporaryDirectory(dir=".") as folder,
        Session(make_embedded_session(Path(folder), items), live=True) as session,
    ):
        seconds = _label_to_answers_s(session, labels)
    return {
        "items": items,
        "labels": labels,
        "label_to_answers_median_ms": float(np.median(seconds) * 1e3),
        "label_to_answers_p95_ms": float(np.percentile(seconds, 95) * 1e3),
        "head_items": many,
        "head_s": _head_s(many, labels),
        "embedded_items": embedded,
        "embedding_s": _embed_s(embedded, edge),
    }
