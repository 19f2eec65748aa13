"""Training of the other pairs: through the same loop, with the same promise about the teacher."""

import numpy as np
import pytest
import torch

from helpers import discs, two_kinds
from tomotutor.learn.compute import Compute
from tomotutor.learn.models import build_pair
from tomotutor.learn.recipe import Recipe
from tomotutor.learn.train import fit, predict

CPU = Compute(threads=1)
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(12, 3, 32, 32)).astype(np.float32)
DISCS, MASKS = discs(8)
VOLUMES, KINDS = two_kinds(12)


@pytest.mark.parametrize(
    ("teacher", "x", "y", "changes"),
    [
        ("vgg16", IMAGES, np.arange(12) % 2, {}),
        ("efficientnet-lite0", IMAGES, np.arange(12) % 2, {}),
        ("resnet50", IMAGES, np.arange(12) % 2, {"augmentation": "flip"}),
        ("resnet34", VOLUMES[:, None], KINDS, {}),
        ("drn_d_22", DISCS[:, None].astype(np.float32) / 100, MASKS, {"task": "segmentation", "audit_share": 0}),
    ],
)
def test_the_teacher_is_bit_identical_with_and_without_its_student(teacher, x, y, changes):
    recipe = Recipe(steps=2, batch_size=4, precision="float32", teacher=teacher, **changes)

    def pair():
        return build_pair(
            teacher, ndim=x.ndim - 2, channels=x.shape[1], edge=min(x.shape[2:]), classes=2, width=0.25, seed=0
        )

    both, alone = pair(), pair()
    fit(both, x.__getitem__, y, recipe, CPU, seed=1)
    fit(alone, x.__getitem__, y, recipe, CPU, seed=1, with_student=False)
    for a, b in zip(both.teacher.parameters(), alone.teacher.parameters(), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a.grad, b.grad)
    assert not torch.equal(next(both.student.parameters()), next(alone.student.parameters()))
    assert all(torch.isfinite(p).all() for p in both.student.parameters())


def test_what_every_batch_gives_can_be_looked_at():
    pair = build_pair("vgg16", ndim=2, channels=3, edge=32, classes=2, width=0.25, seed=0)
    seen = []

    def look(rows, outputs):
        seen.append((rows.tolist(), outputs["teacher"].logits.shape))

    scores = predict(pair.parts(), lambda rows: IMAGES[rows], np.array([3, 1, 7]), CPU, batch_size=2, each=look)
    assert seen == [([3, 1], (2, 2)), ([7], (1, 2))]
    assert len(scores["student"].log_probs_NC) == 3
