"""A session that starts from weights: what it asks first, what it keeps, and when it lets go of them."""

import json
import logging

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers import FAST, answer_truthfully, two_kinds
from tomotutor.base.errors import TomoTutorError
from tomotutor.data.sources import Source
from tomotutor.learn.augment import half_turn
from tomotutor.learn.compute import Compute
from tomotutor.learn.inference import load_pair
from tomotutor.learn.models import build_pair
from tomotutor.learn.recipe import PRETRAINED, Recipe
from tomotutor.learn.start import load_start, write_start
from tomotutor.learn.strategies.geometry import unit
from tomotutor.learn.train import predict
from tomotutor.session import Session
from tomotutor.session.audit import is_better
from tomotutor.session.create import create_session
from tomotutor.session.round_folder import round_folder

SETTINGS = {key: value for key, value in FAST.items() if key != "start"}


def write_weights(folder):
    """Weights of a pair that has learned nothing."""
    folder.mkdir()
    pair = build_pair("resnet18", ndim=3, channels=1, edge=16, classes=3, width=0.25, seed=0)
    write_start(folder, pair.parts(), {"teacher": "resnet18", "stem": "3s2", "width": 0.25})
    return folder


def make_session(tmp_path, array_file, name="s", **settings):
    weights = tmp_path / "weights"
    if not weights.exists():
        write_weights(weights)
    create_session(
        tmp_path / name,
        Source("array", str(array_file)),
        ["ball", "slab"],
        settings={**SETTINGS, **settings},
        start=str(weights),
    )
    return Session(tmp_path / name)


def test_the_first_questions_are_typical_members_of_different_groups(tmp_path, array_file):
    session = make_session(tmp_path, array_file, audit_share="0")
    session.map_pool()
    look = session.pool_map
    assert sorted(look.rows) == list(range(60))
    assert len(set(look.group_N)) == 8  # as many as labels are asked for before the first training
    size = np.bincount(look.group_N)
    assert (np.diff(size) <= 0).all()
    asked = [session.current.row, *(item.row for item in session.upcoming(59))]
    assert asked == look.order.tolist()
    assert [look.group(row) for row in asked[:8]] == list(range(8))
    # typical: nobody of the group is nearer to its centre, by an embedding of our own
    pair = build_pair("resnet18", ndim=3, channels=1, edge=16, classes=3, width=0.25, seed=0)
    load_start(pair, tmp_path / "weights")
    x_ND = unit(predict({"t": pair.teacher}, session.pool.read, np.arange(60), Compute())["t"].embedding_ND)
    for row in asked[:8]:
        inside = look.rows[look.group_N == look.group(row)]
        away = np.linalg.norm(x_ND[inside] - x_ND[inside].mean(0), axis=1)
        assert away[inside == row] <= away.min() + 1e-4
    session.close()
    again = Session(tmp_path / "s")  # kept on disk
    assert [again.current.row, *(item.row for item in again.upcoming(59))] == asked
    again.close()


@pytest.mark.parametrize("items", [1, 2, 5])
def test_a_pool_of_a_few_items_has_a_look_too(tmp_path, items):
    x, _ = two_kinds(items)
    np.savez(tmp_path / "few.npz", x=x)
    session = make_session(tmp_path, tmp_path / "few.npz")
    session.map_pool()
    assert session.pool_map.xy_N2.shape == (items, 2)
    assert sorted(session.pool_map.order) == list(range(items))
    session.close()


def test_labels_given_before_the_look_stay_and_are_not_asked_again(tmp_path, array_file):
    session = make_session(tmp_path, array_file)
    first = session.current
    session.label(first.id, "ball")
    session.map_pool()
    assert session.labels() == {first.row: "ball"}
    assert first.row not in [session.current.row, *(item.row for item in session.upcoming(59))]
    session.close()


def test_one_label_of_each_class_is_enough_to_train_on(tmp_path):
    """What is typical of four groups may be four classes."""
    x, _ = two_kinds(8)
    np.savez(tmp_path / "four.npz", x=x)
    weights = write_weights(tmp_path / "weights")
    create_session(
        tmp_path / "s",
        Source("array", str(tmp_path / "four.npz")),
        list("abcd"),
        junk=False,
        start=str(weights),
        settings={**SETTINGS, "audit_share": "0"},
    )
    session = Session(tmp_path / "s")
    for row, name in enumerate("abc"):
        session.label(str(row), name)
    assert not session.is_trainable()
    session.label("3", "d")
    assert session.is_trainable()
    assert session.run_round().labels == 4
    session.close()


def test_audit_items_stay_a_uniform_share_whatever_is_typical(tmp_path, array_file):
    session = make_session(tmp_path, array_file)
    before = {row for row in range(60) if session.view(row).is_audit}
    session.map_pool()
    assert {row for row in range(60) if session.view(row).is_audit} == before
    assert [item.is_audit for item in [session.current, *session.upcoming(7)]] == [False] * 7 + [True]
    session.close()


def test_a_session_from_scratch_has_nothing_to_look_with(session):
    before = session.current
    session.map_pool()
    assert session.pool_map is None
    assert session.current == before


def test_every_training_begins_with_the_weights_where_the_recipe_says_scratch(tmp_path, array_file):
    """With no step of any size, what comes out is what went in."""
    session = make_session(
        tmp_path, array_file, init="scratch", learning_rate="1e-30", weight_decay="0", audit_share="0"
    )
    answer_truthfully(session, 10)
    session.run_round()
    start, after = (
        load_file(folder / "teacher.safetensors")
        for folder in (tmp_path / "s" / "start", tmp_path / "s" / "rounds" / "0001")
    )
    convolution = next(name for name in start if name.startswith("stages.2") and name.endswith("conv1.weight"))
    torch.testing.assert_close(after[convolution], start[convolution].float(), rtol=0, atol=0)
    assert after["fc.weight"].shape[0] == 3
    session.close()


def test_the_next_session_of_a_lab_starts_from_the_last_one(tmp_path, array_file):
    session = make_session(tmp_path, array_file)
    answer_truthfully(session, 10)
    session.run_round()
    session.close()
    create_session(
        tmp_path / "next",
        Source("array", str(array_file)),
        ["disc", "rod", "ring"],
        settings=SETTINGS,
        start=str(tmp_path / "s"),
    )
    kept = load_file(tmp_path / "next" / "start" / "student.safetensors")
    trained = load_file(tmp_path / "s" / "rounds" / "0001" / "student.safetensors")
    assert all(torch.equal(kept[name], trained[name]) for name in trained)
    assert json.loads((tmp_path / "next" / "start" / "start.json").read_text())["session"] == "s"
    following = Session(tmp_path / "next")
    following.map_pool()
    assert following.pool_map is not None
    following.close()


def test_features_of_low_budget_strategies_are_those_of_the_start(tmp_path, array_file):
    session = make_session(tmp_path, array_file, strategy="typiclust", audit_share="0")
    answer_truthfully(session, 10)
    session.run_round()
    (path,) = (tmp_path / "s").glob("features-*.npy")
    pair = build_pair("resnet18", ndim=3, channels=1, edge=16, classes=3, width=0.25, seed=0)
    load_start(pair, tmp_path / "weights")
    expected = predict({"t": pair.teacher}, session.pool.read, np.arange(60), Compute())["t"].embedding_ND
    np.testing.assert_allclose(np.load(path), expected, rtol=1e-3, atol=1e-4)
    session.close()


def test_a_start_that_is_worse_than_none_is_noticed_and_left(tmp_path, caplog):
    """Weights that let nothing through: the pretrained pair stays at chance, networks from scratch do not."""
    x, y = two_kinds(120)
    array_file = tmp_path / "two_kinds.npz"
    np.savez(array_file, x=x, y=y, classes=np.array(["ball", "slab"]))
    for path in write_weights(tmp_path / "weights").glob("*.safetensors"):
        save_file({k: torch.zeros_like(v) if "weight" in k else v for k, v in load_file(path).items()}, path)
    session = make_session(
        tmp_path, array_file, audit_share="2", steps="50", learning_rate="0.05", init="scratch", batch_size="16"
    )
    notices = []
    session.notice.connect(notices.append)
    answer_truthfully(session, 60)
    with caplog.at_level(logging.WARNING):
        session.run_round()
    check = session.rounds[-1].record["metrics"]["start_check"]
    assert check["n"] >= 8
    assert check["scratch"] > check["pretrained"]
    assert session.recipe.network.start == "scratch"
    assert session.recipe.query.cold_start == "random"
    (notice,) = notices
    assert (
        f"have {check['scratch']} of {check['n']} check items right, the pretrained ones {check['pretrained']}"
        in notice
    )
    assert "starts from scratch" in notice
    session.run_round()  # and nothing of the old networks is in the new ones
    assert session.rounds[-1].record["recipe"]["start"] == "scratch"
    assert session.predictions().class_N[y == 0].mean() < 0.3 < 0.7 < session.predictions().class_N[y == 1].mean()
    session.close()


def test_a_start_that_is_as_good_is_kept_and_asked_about_only_when_the_items_have_doubled(tmp_path, array_file):
    session = make_session(tmp_path, array_file, audit_share="2")
    answer_truthfully(session, 36)
    session.run_round()
    session.run_round()
    checks = [record.record["metrics"].get("start_check") for record in session.rounds]
    assert checks[0]["n"] == 9
    assert checks[1] is None
    assert session.recipe.network.start == "pretrained"
    session.close()


@pytest.mark.parametrize(
    ("wins", "losses", "both", "better"),
    [(5, 0, 10, True), (4, 0, 10, False), (10, 3, 0, True), (9, 3, 0, False), (0, 0, 20, False), (0, 9, 3, False)],
)
def test_better_is_what_chance_does_not_explain(wins, losses, both, better):
    """Binomial tails by hand: 2⁻⁵ = 0.031, 2⁻⁴ = 0.0625; P(X ≥ 10 of 13) = 378/8192 = 0.046, P(X ≥ 9 of 12) = 299/4096
    = 0.073.
    """
    challenger = np.repeat([True, False, True], [wins, losses, both])
    holder = np.repeat([False, True, True], [wins, losses, both])
    assert is_better(challenger, holder) is better


def test_a_recipe_goes_back_to_scratch_without_what_belongs_to_the_start():
    recipe = Recipe(**PRETRAINED).replace(query_size=33, seed=5)
    assert recipe.from_scratch() == Recipe(query_size=33, seed=5, tta="half_turns")  # answers stay comparable
    assert recipe.replace(steps=77).from_scratch().training.steps == 77  # what a person chose stays
    assert recipe.with_settings({"start": "scratch", "steps": "9"}) == Recipe(
        query_size=33, seed=5, steps=9, tta="half_turns"
    )
    fresh = Recipe(init="scratch")
    assert fresh.from_scratch() is fresh


def test_a_typical_cold_start_needs_a_start():
    with pytest.raises(TomoTutorError, match="cold_start is typical, which pretrained networks tell"):
        Recipe(cold_start="typical")


def test_the_final_answer_is_the_mean_over_half_turns(tmp_path, array_file):
    session = make_session(tmp_path, array_file, audit_share="0")
    assert session.recipe.network.tta == "half_turns"
    answer_truthfully(session, 8)
    session.run_round()
    found = session.predictions()
    parts = load_pair(session.pool.shape, len(session.classes), session.recipe, round_folder(session.folder, 1)).parts()
    x = torch.from_numpy(session.pool.read(np.arange(60)))
    with torch.inference_mode():
        turned = [x, *(half_turn(x, axis) for axis in "xyz")]
        probs = [torch.softmax(parts["teacher"].eval()(view).logits.double(), 1).numpy() for view in turned]
    unlabeled = np.setdiff1d(np.arange(60), list(session.labels()))
    expected = np.mean(probs, 0).max(1)[unlabeled]
    np.testing.assert_allclose(found.confidence_N[unlabeled], expected, atol=1e-5)
    assert np.abs(probs[0].max(1)[unlabeled] - expected).max() > 1e-4
    session.close()


def test_a_session_of_before_answers_as_before():
    old = {key: value for key, value in Recipe(**PRETRAINED).flat().items() if key != "tta"}
    assert Recipe.from_dict(old).network.tta == "none"
