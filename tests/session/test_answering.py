"""Answers between rounds: each label moves the whole pool; bulk labels are honest. Real sessions, real networks."""

import itertools
import threading

import numpy as np
import pytest

from helpers import answer_truthfully
from tomotutor.base.errors import TomoTutorError
from tomotutor.session import Session, bulk
from tomotutor.session import classes as changes
from tomotutor.session.pool_embedding import FOLDER

N = 80


@pytest.fixture
def session(mapped_session, tmp_path):
    import shutil

    shutil.copytree(mapped_session, tmp_path / "s")
    with Session(tmp_path / "s") as opened:
        yield opened


def truth(session):
    return np.load(session.array_file)["y"]


def blind(session):
    return {row for row in session.state.audit_kind if session.view(row).action != "label"}


def test_two_labels_answer_the_whole_pool_before_any_training(session):
    assert session.refresh_answers() is None  # nothing is known of two classes yet
    answer_truthfully(session, 12)
    answers = session.refresh_answers()
    assert answers.source == "head on start"
    assert session.rounds == ()
    told = answers.class_N >= 0
    assert set(np.flatnonzero(~told)) == blind(session)
    assert (answers.class_N[told] == truth(session)[told]).mean() > 0.7
    assert answers.unknown == (2,)  # junk has no label
    labeled = list(session.labels())
    np.testing.assert_array_equal(
        answers.class_N[labeled], [("ball", "slab").index(session.labels()[r]) for r in labeled]
    )
    assert (answers.confidence_N[labeled] == 1).all()


def test_the_next_item_follows_from_each_label_with_its_reason(session):
    answer_truthfully(session, 12)
    session.refresh_answers()
    ranked = [v for v in session.upcoming(40) if v.rank is not None]
    assert [v.rank for v in ranked] == sorted(v.rank for v in ranked)
    assert all(v.reason and v.measure == "unsure cover gained" and v.number is not None for v in ranked)
    audits = [v for v in session.upcoming(60) if v.is_audit]
    assert audits and all(v.reason == "check particle" and v.rank is None and v.teacher_probs == () for v in audits)
    session.set_recipe(session.recipe.replace(between="teacher_student"))
    session.refresh_answers()
    queue = [v for v in session.upcoming(60) if v.rank is not None]
    numbers = [v.number for v in queue]
    assert numbers == sorted(numbers, reverse=True)  # the queue is ordered by the disagreement
    disagreement = session.answers.disagreement_N[[v.row for v in queue]]
    np.testing.assert_array_equal(np.argsort(-disagreement, kind="stable"), np.arange(len(queue)))


def test_check_particles_never_enter_the_head(session):
    answer_truthfully(session, 40)
    session.refresh_answers()
    checks = {row for row, kind in session.state.audit_kind.items() if kind == "check"}
    assert checks & set(session.labels())
    assert not checks & set(session.answering.fitted.teacher.rows.tolist())
    assert not checks & set(session.answering.groups()[0].rows.tolist())


def test_answers_come_in_the_background_while_labels_go_on(mapped_session, tmp_path):
    import shutil

    shutil.copytree(mapped_session, tmp_path / "s")
    with Session(tmp_path / "s", live=True) as session:
        come, rows = threading.Event(), []
        session.answers_changed.connect(lambda changed: (rows.append(changed), come.set()))
        answer_truthfully(session, 12)
        assert come.wait(30)
        come.clear()
        item = session.current
        session.label(item.id, "ball")
        while come.wait(30) and not session.answers.labeled_N[item.row]:
            come.clear()
        assert session.answers.class_N[item.row] == 0
        assert any(item.row in changed for changed in rows)
        finished = threading.Event()
        while not session.answering.pool_embedding.newest.is_complete:  # the half turns come in idle time
            assert not finished.wait(0.2)


def test_a_round_brings_its_own_embedding_and_the_old_one_goes(session):
    answer_truthfully(session, 12)
    session.refresh_answers()
    session.run_round()
    assert session.answers.source == "head on round 1"
    answer_truthfully(session, 4)
    session.run_round()
    assert session.answers.source == "head on round 2"
    assert sorted(p.name for p in (session.folder / FOLDER).iterdir()) == ["round-0002", "start"]


def test_an_embedding_that_was_cancelled_leaves_the_old_pair_in_use(session):
    from tomotutor.base.errors import CancelledError

    answer_truthfully(session, 12)
    session.refresh_answers()

    def stop(progress):
        if progress.stage == "embed":
            raise CancelledError

    session.run_round(stop)
    assert session.status.round == 1
    assert session.refresh_answers().source == "head on start"


@pytest.mark.parametrize("damage", ["teacher.npy", "embedding.json"])
def test_a_damaged_embedding_is_said_and_labels_go_on(session, damage, caplog):
    (session.folder / FOLDER / "start" / damage).write_bytes(b"nonsense")
    answer_truthfully(session, 12)
    assert session.refresh_answers() is None
    assert "it is made anew" in caplog.text
    assert len(session.labels()) == 12


def group_of(session, wanted, n):
    return [row for row in np.flatnonzero(truth(session) == wanted).tolist() if row not in session.state.audit_kind][:n]


def test_many_labels_are_one_step_and_one_in_twenty_is_asked_again(session):
    rows = group_of(session, 1, 30)
    check = next(row for row, kind in session.state.audit_kind.items() if kind == "check")
    assert session.label_many([*rows, check], "slab", origin="group") == 30
    assert check not in session.labels()
    again = session.state.asked_again()
    assert len(again) == 2
    assert set(again) <= set(rows)
    for row in again:
        view = session.view(row)
        assert (view.label, view.action, view.reason) == (None, None, "asked again")
    assert set(again) <= {v.row for v in [session.current, *session.upcoming(12)]}
    session.undo()
    assert session.labels() == {}
    session.redo()
    assert len(session.labels()) == 30


def test_a_single_answer_stands_against_the_bulk_and_is_counted(session):
    rows = group_of(session, 1, 30)
    session.label_many(rows, "slab", origin="selection")
    wrong, right = session.state.asked_again()
    session.label(session.ids[wrong], "ball")
    session.label(session.ids[right], "slab")
    assert session.labels()[wrong] == "ball"
    assert session.state.asked_again() == {}
    (figure,) = session.bulk_figures()
    assert (figure.against, figure.n, figure.labels) == (1, 2, 30)
    assert figure.low < 0.5 < figure.high
    assert figure.needs_review
    assert session.label_many([wrong], "slab") == 0  # what was said singly is not overruled in bulk
    assert session.labels()[wrong] == "ball"


def test_what_is_asked_again_comes_among_others_where_the_queue_is_renewed_after_each_label(session):
    session.label_many(group_of(session, 1, 15), "slab", origin="group")
    session.label_many(group_of(session, 0, 15), "ball", origin="group")
    session.refresh_answers()
    assert session.check_class("ball", n=4) == 4
    again, y, asked = set(session.state.asked_again()), truth(session), []
    for _ in range(20):
        row = session.current.row
        asked.append(row in again)
        session.label(session.ids[row], ("ball", "slab")[y[row]])
        session.refresh_answers()
    assert sum(asked) == len(again) == 6
    assert not any(a and b for a, b in itertools.pairwise(asked))  # never two of them in a row


def test_bulk_labels_survive_reopening_and_the_same_items_are_asked_again(session):
    session.label_many(group_of(session, 0, 25), "ball", origin="page")
    again = session.state.asked_again()
    with Session(session.folder, write=False) as looking:
        assert looking.state.asked_again() == again


def test_accepting_takes_confident_predictions_and_no_others(session):
    answer_truthfully(session, 16)
    with pytest.raises(TomoTutorError, match="nothing is predicted yet"):
        session.accept(range(N))
    answers = session.refresh_answers()
    count = session.accept(range(N), min_confidence=0.7)
    sure = (answers.confidence_N >= 0.7) & ~answers.labeled_N & (answers.class_N >= 0)
    assert count == sure.sum()
    labels = session.labels()
    assert all(labels[row] == ("ball", "slab")[answers.class_N[row]] for row in np.flatnonzero(sure).tolist())


def test_a_class_is_checked_by_members_drawn_at_random_and_asked_blind(session):
    answer_truthfully(session, 16)
    session.refresh_answers()
    n = session.check_class("ball", n=8)
    assert n == 8
    asked = session.state.asked_again()
    assert len(asked) == 8
    y, wrong = truth(session), 0
    for row in asked:
        assert session.view(row).teacher_probs == ()
        session.label(session.ids[row], ("ball", "slab")[y[row]])
        wrong += y[row] != 0
    found = session.class_purity("ball")
    assert (found.n, found.right) == (8, 8 - wrong)
    assert found.low <= found.precision <= found.high
    with Session(session.folder, write=False) as looking:
        assert looking.class_purity("ball") == found


def test_doubts_estimate_advice_neighbours(session):
    answer_truthfully(session, 30)
    labeled = [row for row in session.labels() if row not in session.state.audit_kind]
    y = truth(session)
    flipped = labeled[0]
    session.label(session.ids[flipped], ("slab", "ball")[y[flipped]])
    doubts = session.answering.doubts()
    assert flipped in doubts.rows[:6].tolist()
    found = session.answering.estimate()
    assert 0 <= found.low <= found.share <= found.high <= 1
    assert "check particles" in found.basis
    assert session.answering.advice()[0].action in ("label", "doubts", "class", "stop")
    assert session.answering.estimate() == found
    session.label(session.ids[flipped], ("ball", "slab")[y[flipped]])
    mended = session.answering.doubts()
    assert mended.label_L[mended.rows == flipped] == y[flipped]
    assert session.answering.estimate() != found
    near = session.answering.similar(labeled[1], 5)
    assert len(near) == 5
    assert labeled[1] not in near


def test_classes_change_under_the_head(session):
    answer_truthfully(session, 16)
    session.refresh_answers()
    session.change_classes(changes.add(session.class_table, "third"))
    session.change_classes(changes.rename(session.class_table, "ball", "F1/Fo"))
    answers = session.refresh_answers()
    assert session.classes == ("F1/Fo", "slab", "third", "junk")
    assert answers.unknown == (2, 3)
    assert len(session.upcoming(20)) == 20


def test_the_paper_and_masks_keep_their_rounds():
    from tomotutor.learn.recipe import preset

    assert preset("paper", 3).query.between == "round"
    assert preset("app", 2, task="segmentation").query.between == "round"
    with pytest.raises(TomoTutorError, match="expected round"):
        preset("app", 2, task="segmentation").replace(between="margin")


def test_origins_are_those_that_are_known(session):
    with pytest.raises(TomoTutorError, match="come from selection, group, page, similar, accept"):
        session.label_many([1], "ball", origin="whim")
    assert bulk.ONE_IN == 20
