"""Settings of a round that are not the strategy's: start of training, twin, temperatures, uncertainty."""

import dataclasses

import numpy as np
import pytest
import torch

from helpers import array_pool, two_kinds
from tomotutor.base.errors import TrainingDivergedError
from tomotutor.learn.augment import half_turn
from tomotutor.learn.compute import Compute
from tomotutor.learn.inference import load_pair, new_pair, predict_answer, score_pool
from tomotutor.learn.recipe import Recipe
from tomotutor.learn.round import RoundView, held_out, run_round, shrink_and_perturb
from tomotutor.session import Session
from tomotutor.session.round_folder import RoundScores, round_folder, write_round

CPU = Compute(threads=1)
RECIPE = Recipe(steps=3, batch_size=8, precision="float32", width=0.25, query_size=4)
X, Y = two_kinds(60, edge=8)
POOL = array_pool(X[:, None])


def view(number=1, weights=None):
    rows = np.arange(60)
    return RoundView(
        number=number,
        pool=POOL,
        classes=2,
        train_rows=rows[:20],
        train_labels=Y[:20],
        labels=20,
        candidate_rows=rows[20:40],
        other_rows=rows[55:],
        weights=weights,
        open_rows=rows[20:],
    )


def saved(tmp_path, result):
    scores = RoundScores(*(np.zeros(1) for _ in range(5)))
    write_round(tmp_path, 1, result.pair.parts(), scores, {})
    return round_folder(tmp_path, 1)


def test_shrink_and_perturb_is_half_of_the_old_and_a_tenth_of_fresh_weights():
    old, fresh = new_pair(POOL.shape, 2, RECIPE), new_pair(POOL.shape, 2, RECIPE.replace(seed=9))
    before = {n: [p.detach().double().numpy().copy() for p in net.parameters()] for n, net in old.parts().items()}
    shrink_and_perturb(old, fresh)
    for name, net in old.parts().items():
        for p, b, f in zip(net.parameters(), before[name], fresh.parts()[name].parameters(), strict=True):
            np.testing.assert_allclose(p.detach().numpy(), 0.5 * b + 0.1 * f.detach().double().numpy(), atol=1e-6)


def test_each_way_to_start_a_round_gives_another_model(tmp_path):
    folder = saved(tmp_path, run_round(view(), RECIPE, CPU))
    found = {}
    for init in ("warm", "scratch", "shrink_perturb"):
        result = run_round(view(2, folder), RECIPE.replace(init=init), CPU)
        found[init] = torch.cat([p.detach().flatten() for p in result.pair.teacher.parameters()])
    assert not torch.equal(found["warm"], found["scratch"])
    assert not torch.equal(found["shrink_perturb"], found["scratch"])
    assert not torch.equal(found["shrink_perturb"], found["warm"])
    alone = run_round(view(2, None), RECIPE.replace(init="scratch"), CPU)  # scratch does not look at the last round
    assert torch.equal(found["scratch"], torch.cat([p.detach().flatten() for p in alone.pair.teacher.parameters()]))


def test_a_twin_has_the_teachers_depth_and_other_weights():
    pair = new_pair(POOL.shape, 2, RECIPE.replace(student="twin"))
    shapes = [[tuple(p.shape) for p in net.parameters()] for net in pair.parts().values()]
    assert shapes[0] == shapes[1]
    assert not torch.equal(pair.teacher.fc.weight, pair.student.fc.weight)
    shallow = new_pair(POOL.shape, 2, RECIPE)
    assert len(list(shallow.student.parameters())) < len(shapes[0])
    assert torch.equal(shallow.teacher.fc.weight, pair.teacher.fc.weight)
    assert len(run_round(view(), RECIPE.replace(student="twin"), CPU).queue_rows) == 20


def test_a_tenth_of_the_labels_is_held_out_for_the_temperatures():
    assert not held_out(RECIPE, 1, Y[:20]).any()
    out = [held_out(RECIPE.replace(calibration="temperature"), number, Y[:40]) for number in (1, 1, 2)]
    assert out[0].sum() == 4
    assert (out[0] == out[1]).all()
    assert (out[0] != out[2]).any()


def test_temperatures_scale_the_answers_of_both_networks():
    result = run_round(view(), RECIPE.replace(calibration="temperature"), CPU)
    assert set(result.temperatures) == {"teacher", "student"}
    assert set(result.metrics) == {
        f"{n}_{k}" for n in ("teacher", "student") for k in ("temperature", "ece", "ece_scaled")
    }
    with torch.inference_mode():
        rows = np.concatenate([np.arange(20, 40), np.arange(55, 60)])
        logits = result.pair.teacher.eval()(torch.from_numpy(POOL.read(rows))).logits.double()
    expected = torch.softmax(logits / result.temperatures["teacher"], 1).numpy()
    np.testing.assert_allclose(result.teacher_probs_NC, expected, atol=1e-5)


@pytest.mark.parametrize("uncertainty", ["kl_st", "js", "mse", "l1", "at"])
@pytest.mark.parametrize("transfer", ["kl"])
def test_a_round_ranks_by_another_distance(uncertainty, transfer):
    result = run_round(view(), RECIPE.replace(uncertainty=uncertainty, transfer=transfer), CPU)
    assert sorted(result.queue_rows.tolist()) == list(range(20, 40))


def test_cod_compares_with_the_last_rounds_teacher(tmp_path):
    first = run_round(view(), RECIPE, CPU)
    folder = saved(tmp_path, first)
    second = run_round(view(2, folder), RECIPE.replace(strategy="cod", init="scratch"), CPU)
    x = torch.from_numpy(POOL.read(np.arange(20, 40)))
    with torch.inference_mode():
        p = second.pair.teacher.eval()(x).logits.double().softmax(1)
        q = load_pair(POOL.shape, 2, RECIPE, folder).teacher.eval()(x).logits.double().softmax(1)
    change = ((p - q) ** 2).sum(1).numpy() / 2
    assert second.queue_rows.tolist() == (20 + np.argsort(-change, kind="stable")).tolist()


def test_a_session_keeps_temperatures_and_features_and_predicts_with_them(session: Session):
    y = np.load(session.array_file)["y"]
    session.set_recipe(
        session.recipe.replace(strategy="typiclust", calibration="temperature", audit_share=0, tta="none")
    )
    session.import_labels([(session.pool.ids[r], ["ball", "slab"][y[r]], "") for r in range(20)])
    point = session.run_round()
    (kept,) = session.folder.glob("features-*.npy")
    assert np.load(kept, allow_pickle=False).shape == (60, 128)
    assert point.metrics["teacher_temperature"] == session.rounds[0].record["temperatures"]["teacher"]
    scores = session.model.score(session.pool)
    item = session.current
    np.testing.assert_allclose(scores.teacher_probs_NC[item.row], item.teacher_probs, atol=1e-5)


@pytest.mark.parametrize("strategy", ["random", "core_set", "typiclust"])
def test_a_model_that_is_not_finite_does_not_replace_a_good_one(session: Session, strategy):
    y = np.load(session.array_file)["y"]
    session.import_labels([(session.pool.ids[r], ["ball", "slab"][y[r]], "") for r in range(20)])
    session.run_round()
    before = session.predictions()
    session.set_recipe(session.recipe.replace(strategy=strategy, steps=1, learning_rate=1e30))
    with pytest.raises(TrainingDivergedError, match=r"the previous model stays in use. Lower the learning rate"):
        session.run_round()
    assert len(session.curve) == 1
    np.testing.assert_array_equal(session.predictions().confidence_N, before.confidence_N)
    assert not (session.folder / "rounds" / "0002").exists()


def test_finite_weights_that_compute_no_numbers_are_refused_too(monkeypatch):
    def fit(pair, *args, **settings):
        torch.nn.init.constant_(pair.student.fc.weight, 3e38)

    monkeypatch.setattr("tomotutor.learn.round.fit", fit)
    with pytest.raises(TrainingDivergedError, match="what the student says is not finite"):
        run_round(view(), RECIPE, CPU)


def test_a_round_holds_no_more_items_than_a_mini_batch():
    most = []

    class Watched(type(POOL)):
        def read(self, rows):
            most.append(len(rows))
            return super().read(rows)

    watched = Watched(**{f.name: getattr(POOL, f.name) for f in dataclasses.fields(POOL)})
    result = run_round(dataclasses.replace(view(), pool=watched, train_rows=np.arange(60), train_labels=Y), RECIPE, CPU)
    assert max(most[:4]) == 8
    plain = run_round(dataclasses.replace(view(), train_rows=np.arange(60), train_labels=Y), RECIPE, CPU)
    np.testing.assert_array_equal(result.teacher_probs_NC, plain.teacher_probs_NC)


def test_the_model_in_use_computes_as_its_round_did_whatever_the_settings_are_now(session: Session):
    y = np.load(session.array_file)["y"]
    session.import_labels([(session.pool.ids[r], ["ball", "slab"][y[r]], "") for r in range(20)])
    session.run_round()
    before = session.model.score(session.pool)
    session.set_recipe(session.recipe.replace(precision="bfloat16"))
    np.testing.assert_array_equal(session.model.score(session.pool).teacher_probs_NC, before.teacher_probs_NC)


def test_the_answer_over_half_turns_is_the_mean_of_four_answers():
    pair = new_pair(POOL.shape, 2, RECIPE)
    rows = np.arange(7, 20)
    told = []
    found = predict_answer(pair.parts(), POOL, rows, RECIPE.replace(tta="half_turns"), CPU, told.append)
    plain = predict_answer(pair.parts(), POOL, rows, RECIPE, CPU)
    for name, net in pair.parts().items():
        x = torch.from_numpy(POOL.read(rows))
        n = x.shape[-1]
        index = torch.arange(n)
        back = (n - index) % n  # 180 degrees about voxel n/2
        views = [x, x[..., back, :, :][..., back, :], x[..., back, :, :][..., back], x[..., back, :][..., back]]
        net.eval()
        with torch.inference_mode():
            probs = [torch.softmax(net(view.contiguous()).logits.double(), 1).numpy() for view in views]
        np.testing.assert_allclose(found[name].probs_NC, np.mean(probs, 0), atol=1e-6)
        np.testing.assert_allclose(plain[name].probs_NC, probs[0], atol=1e-6)
        assert np.abs(probs[0] - np.mean(probs, 0)).max() > 1e-4  # the turns matter
        np.testing.assert_array_equal(found[name].embedding_ND, plain[name].embedding_ND)
    assert [p.done for p in told] == sorted(p.done for p in told)
    assert (told[-1].done, told[-1].total) == (4 * 13, 4 * 13)


def test_a_lopsided_wedge_is_turned_about_y_alone():
    tilts = np.tile([[-60.0, 60.0]], (60, 1))
    tilts[10] = (-60, 40)
    pool = dataclasses.replace(POOL, tilt_range_N2=tilts)
    nets = new_pair(POOL.shape, 2, RECIPE).parts()
    recipe, rows = RECIPE.replace(tta="half_turns"), np.array([9, 10, 11])
    found, all_turns = (predict_answer(nets, p, rows, recipe, CPU)["teacher"].probs_NC for p in (pool, POOL))
    np.testing.assert_array_equal(found[[0, 2]], all_turns[[0, 2]])
    x = torch.from_numpy(POOL.read(rows))
    with torch.inference_mode():
        two = [
            torch.softmax(nets["teacher"].eval()(view).logits.double(), 1)[1].numpy() for view in (x, half_turn(x, "y"))
        ]
    np.testing.assert_allclose(found[1], np.mean(two, 0), atol=1e-6)
    assert np.abs(found[1] - all_turns[1]).max() > 1e-5


def test_audit_items_and_the_final_answer_are_turned_and_candidates_are_not():
    turned, plain = (run_round(view(), RECIPE.replace(tta=tta), CPU) for tta in ("half_turns", "none"))
    audits = np.isin(turned.scored_rows, np.arange(55, 60))
    np.testing.assert_array_equal(turned.teacher_probs_NC[~audits], plain.teacher_probs_NC[~audits])
    np.testing.assert_array_equal(turned.queue_rows, plain.queue_rows)
    answer = predict_answer(turned.pair.parts(), POOL, np.arange(55, 60), RECIPE.replace(tta="half_turns"), CPU)
    np.testing.assert_allclose(turned.teacher_probs_NC[audits], answer["teacher"].probs_NC, atol=1e-6)
    final = score_pool(turned.pair, POOL.shape, POOL, RECIPE.replace(tta="half_turns"), CPU)
    np.testing.assert_allclose(final.teacher_probs_NC[55:], answer["teacher"].probs_NC, atol=1e-6)
    assert not np.allclose(final.teacher_probs_NC[55:], plain.teacher_probs_NC[audits], atol=1e-6)
