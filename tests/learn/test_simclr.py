import math

import numpy as np
import pytest
import torch

from helpers import two_kinds
from tomotutor.base.errors import TomoTutorError
from tomotutor.learn import simclr
from tomotutor.learn.compute import Compute
from tomotutor.learn.models import build_pair

X, Y = two_kinds(48, edge=8)
X = X[:, None]
CPU = Compute(threads=1)


def network():
    return build_pair("resnet18", ndim=3, channels=1, edge=8, classes=2, width=0.25, seed=0).teacher


def test_the_loss_against_a_loop():
    z = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    unit = (z / z.norm(dim=1, keepdim=True)).double().tolist()
    total = 0.0
    for i in range(6):
        similarity = [sum(a * b for a, b in zip(unit[i], unit[j], strict=True)) / 0.5 for j in range(6)]
        total -= (
            math.log(math.exp(similarity[(i + 3) % 6]) / sum(math.exp(s) for j, s in enumerate(similarity) if j != i))
            / 6
        )
    assert float(simclr.nt_xent(z)) == pytest.approx(total, rel=1e-5)


def test_views_differ_keep_their_shape_and_follow_the_seed():
    for x in (torch.from_numpy(X[:4]), torch.rand(4, 3, 20, 24)):
        before = x.clone()
        a, b, again = (simclr.view(x, torch.Generator().manual_seed(seed)) for seed in (1, 2, 1))
        assert torch.equal(x, before)
        assert a.shape == x.shape
        assert torch.isfinite(a).all()
        assert torch.equal(a, again)
        assert not torch.allclose(a, b)


def test_views_of_a_volume_keep_its_hand(monkeypatch):
    """No view of a chiral object is closer to its mirror image than to one of the four turns that the wedge allows."""
    from tomotutor.learn.augment import half_turn

    z, y, x = np.indices((16,) * 3) - 8
    chiral = sum(
        np.exp(-((z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2) / 3)
        for a, b, c in [(0, 0, 0), (4, 0, 0), (4, 4, 0), (4, 4, 4)]
    )
    chiral = torch.from_numpy(chiral).float()[None, None]
    turns = [chiral, *(half_turn(chiral, axis) for axis in "xyz")]

    def best(view, references):
        shifted = [
            r.roll(s, (2, 3, 4))
            for r in references
            for s in [(i, j, k) for i in range(-2, 3) for j in range(-2, 3) for k in range(-2, 3)]
        ]
        return max(float(torch.nn.functional.cosine_similarity(view.flatten(), s.flatten(), 0)) for s in shifted)

    hand, mirrored = [], []
    for seed in range(6):
        view = simclr.view(chiral, torch.Generator().manual_seed(seed))
        hand.append(best(view, turns))
        mirrored.append(best(view, [t.flip(2) for t in turns]))
    assert np.mean(hand) > np.mean(mirrored) + 0.05


def test_features_tell_two_kinds_apart_without_labels_and_are_kept(tmp_path):
    key = {"seed": 0}
    reads = []

    def read(rows):
        reads.append(len(rows))
        return X[rows]

    def get(**changes):
        key.update(changes)
        return simclr.features(tmp_path, key, network, read, np.arange(40), 48, CPU, steps=12, batch_size=32, seed=0)

    found = get()
    assert found.shape == (48, 128)
    assert [p.name.startswith("features-") and p.suffix == ".npy" for p in tmp_path.iterdir()] == [True]
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    nearest = (unit @ unit.T - 2 * np.eye(48)).argmax(1)
    assert (Y[nearest] == Y).mean() > 0.8
    reads.clear()
    np.testing.assert_array_equal(get(), found)
    assert not reads
    get(seed=1)
    assert reads
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_or_foreign_file_is_said(tmp_path):
    def get():
        return simclr.features(
            tmp_path, {}, network, lambda rows: X[rows], np.arange(8), 48, CPU, steps=1, batch_size=8, seed=0
        )

    get()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TomoTutorError, match=r"features-.*npy: damaged.*delete it"):
        get()
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(TomoTutorError, match="damaged"):
        get()
    np.save(path, np.zeros((3, 2)))
    with pytest.raises(TomoTutorError, match="expected a row for each of 48 items"):
        get()
