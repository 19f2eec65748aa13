"""Embedding a pool: what is written, in which order, and what a break leaves."""

import json

import numpy as np
import pytest
import torch

from tomotutor.base.errors import CancelledError, TomoTutorError
from tomotutor.data.pool import Cut, Pool
from tomotutor.learn import busy
from tomotutor.learn import embedding as embeddings
from tomotutor.learn.augment import half_turn
from tomotutor.learn.compute import Compute
from tomotutor.learn.embedding import embed_pool, open_embedding
from tomotutor.learn.models import build_pair

COMPUTE = Compute()
N = 10


def make_pool(n=N, tilts=None, prefix="item"):
    x = np.random.default_rng(0).normal(size=(n, 1, 8, 8, 8)).astype(np.float32)
    tilt = None if tilts is None else np.array(tilts, float)
    return Pool(tuple(f"{prefix} {i}" for i in range(n)), (1, 8, 8, 8), lambda row: Cut(x[row]), tilt_range_N2=tilt)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(embeddings, "BLOCK", 4)


@pytest.fixture(scope="module")
def pair():
    return build_pair("resnet18", ndim=3, channels=1, edge=8, classes=2, width=0.25, seed=0)


def embedding_of(net, x):
    net.eval()
    with torch.inference_mode():
        return net(torch.from_numpy(x)).embedding.numpy()


def test_rows_are_the_mean_over_the_box_and_its_half_turns(pair, tmp_path):
    tilts = [(-60, 60)] * (N - 1) + [(-40, 60)]  # the last one turns about y alone
    pool = make_pool(tilts=tilts)
    found = embed_pool(pair, pool, tmp_path / "e", COMPUTE, network="start")
    x = pool.read(np.arange(N))
    for name, net in pair.parts().items():
        views = [embedding_of(net, x)]
        views += [embedding_of(net, half_turn(torch.from_numpy(x), axis).numpy()) for axis in "xyz"]
        expected = np.mean(views, axis=0)
        expected[-1] = (views[0][-1] + views[2][-1]) / 2
        got = getattr(found, f"{name}_ND")
        assert got.dtype == np.float16 and isinstance(got, np.memmap)
        np.testing.assert_allclose(got, expected, rtol=3e-3, atol=3e-3)
    assert found.is_complete and found.network == "start"


def test_it_says_that_the_machine_is_busy_and_goes_on_with_the_threads_that_are_fastest(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(busy, "BUSY", 2.0)  # of a thread that is never interrupted
    seen, threads = [], []

    def watch(*_):
        threads.append(torch.get_num_threads())

    hook = pair.student.register_forward_hook(watch)
    try:
        embed_pool(pair, make_pool(), tmp_path / "e", Compute(threads=2), network="start", report=seen.append)
    finally:
        hook.remove()
        torch.set_num_threads(1)
    assert {progress.busy for progress in seen} == {True}
    assert threads[:4] == [2, 2, 1, 1]  # the first of each makes ready; over more than one block


def test_urgent_rows_first_and_a_cancellation_keeps_what_is_done(pair, tmp_path):
    pool, seen = make_pool(), []

    def stop(progress):
        seen.append((progress.done, progress.total))
        raise CancelledError

    order = np.array([7, 2, 9, 0])
    with pytest.raises(CancelledError):
        embed_pool(pair, pool, tmp_path / "e", COMPUTE, network="start", order=order, report=stop)
    left = open_embedding(tmp_path / "e", pool)
    assert seen == [(4, 20)] and np.flatnonzero(left.view_N).tolist() == [0, 2, 7, 9]
    kept = np.array(left.teacher_ND[order])
    one = embed_pool(pair, pool, tmp_path / "e", COMPUTE, network="start", half_turns=False)
    np.testing.assert_array_equal(one.teacher_ND[order], kept)
    assert one.is_usable and not one.is_complete
    np.testing.assert_allclose(
        one.teacher_ND, embedding_of(pair.teacher, pool.read(np.arange(N))), rtol=3e-3, atol=3e-3
    )
    whole = embed_pool(pair, pool, tmp_path / "e", COMPUTE, network="start")
    straight = embed_pool(pair, pool, tmp_path / "other", COMPUTE, network="start")
    np.testing.assert_allclose(whole.teacher_ND, straight.teacher_ND, rtol=2e-3, atol=2e-3)
    told = []
    embed_pool(pair, pool, tmp_path / "e", COMPUTE, network="start", report=told.append)
    assert not told  # nothing left to do


def test_an_embedding_of_another_pool_or_network_is_refused(pair, tmp_path):
    embed_pool(pair, make_pool(), tmp_path / "e", COMPUTE, network="start", half_turns=False)
    for other in (make_pool(N - 1), make_pool(prefix="pick")):
        with pytest.raises(TomoTutorError, match="an embedding of another pool"):
            open_embedding(tmp_path / "e", other)
    with pytest.raises(TomoTutorError, match="holds the embedding of start; expected that of round 1"):
        embed_pool(pair, make_pool(), tmp_path / "e", COMPUTE, network="round 1")


def test_a_damaged_file_is_one_sentence(pair, tmp_path):
    pool, folder = make_pool(), tmp_path / "e"
    embed_pool(pair, pool, folder, COMPUTE, network="start", half_turns=False)
    whole = (folder / "student.npy").read_bytes()
    (folder / "student.npy").write_bytes(whole[:-100])
    with pytest.raises(TomoTutorError, match="cannot be read"):
        open_embedding(folder, pool)
    np.save(folder / "student.npy", np.zeros((N, 3)))
    with pytest.raises(TomoTutorError, match=r"holds float64 \(10, 3\); expected float16"):
        open_embedding(folder, pool)
    (folder / "embedding.json").write_text(json.dumps({"items": 10}))
    with pytest.raises(TomoTutorError, match="damaged"):
        open_embedding(folder, pool)
    with pytest.raises(TomoTutorError, match=r"found no embedding\.json"):
        open_embedding(tmp_path / "none", pool)


def test_a_broken_network_writes_nothing(pair, tmp_path):
    broken = build_pair("resnet18", ndim=3, channels=1, edge=8, classes=2, width=0.25, seed=0)
    with torch.no_grad():
        next(broken.student.parameters()).fill_(np.nan)
    with pytest.raises(TomoTutorError, match="the student of start gives numbers that are not finite"):
        embed_pool(broken, make_pool(), tmp_path / "e", COMPUTE, network="start")
    assert not open_embedding(tmp_path / "e", make_pool()).view_N.any()
