"""The formulas of the segmentation task, each against loops in float64."""

import math

import numpy as np
import pytest
import torch

from helpers import make_candidates
from tomotutor.base.errors import TomoTutorError
from tomotutor.learn.models import Output
from tomotutor.learn.recipe import preset
from tomotutor.learn.strategies import STRATEGIES, Arrays, Candidates, Scores, disagreement_of
from tomotutor.learn.task_rules import PER_PIXEL
from tomotutor.learn.tasks import TASKS, VOID, Confusion

TASK = TASKS["segmentation"]
N, C, H, W = 3, 4, 5, 6
RNG = np.random.default_rng(0)
LOGITS = {name: RNG.normal(0, 2, (N, C, H, W)) for name in ("teacher", "student")}


def softmax(z):
    p = [math.exp(v - max(z)) for v in z]
    return [v / sum(p) for v in p]


def outputs(logits=LOGITS):
    return {
        name: Output(torch.from_numpy(z).float(), torch.from_numpy(z.mean((2, 3))).float(), ())
        for name, z in logits.items()
    }


def test_loss_is_the_mean_over_pixels_that_are_not_void():
    y = RNG.integers(0, C, (N, H, W))
    y[0, :2] = VOID
    y[2, 3, 3:] = VOID
    total = [
        -math.log(softmax(LOGITS["teacher"][n, :, i, j])[y[n, i, j]])
        for n, i, j in np.ndindex(N, H, W)
        if y[n, i, j] != VOID
    ]
    z = torch.from_numpy(LOGITS["teacher"]).requires_grad_()
    loss = TASK.loss(z, torch.from_numpy(y)).mean()
    assert loss.item() == pytest.approx(sum(total) / len(total))
    loss.backward()
    assert (z.grad[0, :, :2] == 0).all()  # nothing is learnt from void
    assert (z.grad[0, :, 2:] != 0).all()


def test_a_batch_of_void_gives_no_gradient_and_no_nan():
    z = torch.randn(2, C, H, W, requires_grad=True)
    loss = TASK.loss(z, torch.full((2, H, W), VOID)).mean()
    loss.backward()
    assert loss.item() == 0
    assert (z.grad == 0).all()


def test_scores_are_averages_over_pixels():
    scores = TASK.scores(outputs())
    for name, z in LOGITS.items():
        for n in range(N):
            entropy = margin = least = 0.0
            share = np.zeros(C)
            for i, j in np.ndindex(H, W):
                p = softmax(z[n, :, i, j])
                best = sorted(p)[::-1]
                entropy += -sum(v * math.log(v) for v in p) / (H * W)
                margin += (best[0] - best[1]) / (H * W)
                least += (1 - best[0]) / (H * W)
                share += np.array(p) / (H * W)
            found = scores[name]
            assert found.averages["entropy"][n] == pytest.approx(entropy, rel=1e-5)
            assert found.averages["margin"][n] == pytest.approx(margin, rel=1e-5)
            assert found.averages["least_confidence"][n] == pytest.approx(least, rel=1e-5)
            assert found.confidence_N[n] == pytest.approx(1 - least, rel=1e-5)
            np.testing.assert_allclose(found.probs_NC[n], share, rtol=1e-5)


def test_disagreement_is_the_mean_squared_difference_of_the_maps():
    scores = TASK.scores(outputs())
    for n in range(N):
        total = 0.0
        for i, j in np.ndindex(H, W):
            p, q = (softmax(LOGITS[name][n, :, i, j]) for name in ("teacher", "student"))
            total += sum((a - b) ** 2 for a, b in zip(p, q, strict=True))
        assert disagreement_of(scores["teacher"], scores["student"])[n] == pytest.approx(total / (C * H * W), rel=1e-5)
    same = TASK.scores(outputs({"teacher": LOGITS["teacher"], "student": LOGITS["teacher"]}))
    assert disagreement_of(same["teacher"], same["student"]) == pytest.approx(0, abs=1e-12)


def test_what_is_kept_does_not_grow_with_the_images():
    for size in (8, 64):
        maps = {name: np.zeros((2, C, size, size)) for name in ("teacher", "student")}
        for found in TASK.scores(outputs(maps)).values():
            assert found.log_probs_NC.size + found.embedding_ND.size + sum(
                v.size for v in found.averages.values()
            ) <= 2 * (2 * C + 4)


@pytest.mark.parametrize(
    ("name", "measure", "sign"),
    [("entropy", "entropy", 1), ("margin", "margin", -1), ("least_confidence", "least_confidence", 1)],
)
def test_strategies_rank_by_the_averages(name, measure, sign):
    found = TASK.scores(outputs())
    candidates = Candidates(np.arange(N), Arrays(found), np.random.default_rng(0))
    np.testing.assert_allclose(
        STRATEGIES[name]().score(candidates), sign * found["teacher"].averages[measure], atol=1e-12
    )
    np.testing.assert_allclose(
        STRATEGIES["teacher_student"]().score(candidates), found["student"].averages["disagreement"]
    )


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_works_per_pixel_or_refuses_in_a_sentence(name):
    if name in PER_PIXEL:
        found = TASK.scores(outputs())
        candidates = Candidates(np.arange(N), Arrays(found), np.random.default_rng(0))
        assert np.isfinite(STRATEGIES[name]().score(candidates)).all()
    else:
        with pytest.raises(
            TomoTutorError, match=f"strategy {name} is not for segmentation: .*; expected teacher_student, random"
        ):
            preset("app", 2, task="segmentation").replace(strategy=name)


def test_scores_of_batches_join_and_split():
    whole = TASK.scores(outputs())["student"]
    parts = [TASK.scores(outputs({k: z[a:b] for k, z in LOGITS.items()}))["student"] for a, b in ((0, 1), (1, 3))]
    joined = Scores.join(parts)
    np.testing.assert_allclose(joined.log_probs_NC, whole.log_probs_NC, rtol=1e-5)
    for name in whole.averages:
        np.testing.assert_allclose(joined.averages[name], whole.averages[name], rtol=1e-5)
        np.testing.assert_array_equal(joined.take(np.array([2])).averages[name], joined.averages[name][2:])
    plain = make_candidates().teacher
    np.testing.assert_allclose(plain.confidence_N, plain.probs_NC.max(1))


@pytest.mark.parametrize("kind", ["none", "flip", "strong"])
def test_image_and_mask_move_together(kind):
    y = torch.from_numpy(RNG.integers(0, 6, (12, 16, 20)))
    y[:, 3, 4] = VOID
    x = y[:, None].float() * 10 + 1  # the image tells the mask, void included
    x2, y2 = TASK.augment(x, y, kind, torch.Generator().manual_seed(0))
    assert y2.dtype == torch.long
    inside = x2[:, 0] > 0  # what a shift brings in is 0
    assert torch.equal(x2[:, 0][inside], y2[inside].float() * 10 + 1)
    assert (y2[~inside] == VOID).all()
    moved = [not torch.equal(a, b) for a, b in zip(y, y2, strict=True)]
    if kind == "none":
        assert not any(moved)
    else:
        assert any(moved)
    if kind == "flip":
        assert all(torch.equal(b, a.flip(-1) if m else a) for a, b, m in zip(y, y2, moved, strict=True))
        assert 0 < sum(moved) < 12
        assert (y2 == VOID).sum() == (y == VOID).sum()


def test_confusion_and_iou_by_loops():
    truth, predicted = RNG.integers(0, 5, (4, 9, 7)), RNG.integers(0, 4, (4, 9, 7))
    truth[truth == 4] = VOID
    truth[truth == 2] = 1  # class 2 is never true, only predicted
    confusion = Confusion(5)
    for t, p in zip(truth, predicted, strict=True):
        confusion.add(t, p)
    ious = []
    for c in range(5):
        both = sum(t == c and p == c for t, p in zip(truth.flat, predicted.flat, strict=True) if t != VOID)
        either = sum(t == c or p == c for t, p in zip(truth.flat, predicted.flat, strict=True) if t != VOID)
        ious.append(both / either if either else math.nan)
    np.testing.assert_allclose(confusion.iou_C, ious)
    assert ious[2] == 0
    assert math.isnan(ious[4])
    assert confusion.mean_iou == pytest.approx(sum(ious[:4]) / 4)
    known = truth != VOID
    assert confusion.pixel_accuracy == pytest.approx((truth == predicted)[known].mean())
    assert math.isnan(Confusion(3).mean_iou)


def test_two_masks_with_two_classes_are_needed():
    good = np.array([[[0, 1]], [[1, VOID]]])
    TASK.check_trainable(good)
    for masks in (good[:1], np.zeros((5, 1, 2)), np.full((3, 1, 2), VOID)):
        with pytest.raises(TomoTutorError, match="expected two masks and two classes at least"):
            TASK.check_trainable(masks)
