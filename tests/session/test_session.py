import re
import threading
import time

import numpy as np
import pytest

from helpers import FAST, answer_truthfully, two_kinds
from tomotutor.base.errors import CancelledError, TomoTutorError
from tomotutor.data.sources import Source
from tomotutor.session import Session
from tomotutor.session.classes import check_classes
from tomotutor.session.create import create_session
from tomotutor.session.status import Phase


def test_a_new_session_asks_at_random_and_mixes_audit_items_in(session):
    assert session.classes == ("ball", "slab", "junk")
    status = session.status
    assert (status.items, status.labeled, status.round, status.phase) == (60, 0, 0, Phase.IDLE)
    rows = [session.current.row, *(v.row for v in session.upcoming(100))]
    assert sorted(rows) == list(range(60))
    audits = [v.is_audit for v in [session.current, *session.upcoming(100)]]
    assert [i for i, a in enumerate(audits) if a] == [7, 15, 23, 31, 39, 47, 55, 59]


def test_labels_are_on_disk_when_the_call_returns(session, session_folder):
    item = session.current
    session.label(item.id, "slab", annotator="ann")
    other = Session(session_folder, write=False)  # another program's eyes
    assert other.labels() == {item.row: "slab"}
    assert other.current.row == session.current.row != item.row


def test_wrong_class_or_item_changes_nothing(session):
    with pytest.raises(TomoTutorError, match="class 'cube' is not one of ball, slab, junk"):
        session.label(session.current.id, "cube")
    with pytest.raises(TomoTutorError, match="item '999' is not in this session; its items are called like '0'"):
        session.label("999", "ball")
    assert session.status.labeled == 0


def test_undo_brings_the_item_back(session):
    first = session.current
    session.label(first.id, "ball")
    second = session.current
    assert session.undo().id == first.id
    assert session.current.id == first.id
    assert session.status.labeled == 0
    session.label(first.id, "slab")
    assert session.current.id == second.id
    assert session.labels() == {first.row: "slab"}
    session.undo()
    assert session.undo() is None


def test_unsure_is_not_asked_again_and_not_trained_on(session):
    item = session.current
    session.unsure(item.id)
    assert item.row not in [v.row for v in [session.current, *session.upcoming(100)]]
    assert session.status.unsure == 1
    assert session.labels() == {}


def test_skip_puts_to_the_end_and_back_returns_to_it(session, session_folder):
    item = session.current
    session.skip(item.id)
    assert session.upcoming(100)[-1].row == item.row
    assert Session(session_folder, write=False).upcoming(100)[-1].row == item.row  # after a restart too
    session.back()
    assert session.current.id == item.id
    session.label(item.id, "ball")
    assert session.status.skipped == 0


def test_import_is_all_or_none(session):
    with pytest.raises(TomoTutorError, match="item '99'"):
        session.import_labels([("1", "ball", ""), ("99", "slab", "")])
    with pytest.raises(TomoTutorError, match="class 'x'"):
        session.import_labels([("1", "ball", ""), ("2", "x", "")])
    assert session.status.labeled == 0
    current = session.current
    assert session.import_labels([(current.id, "ball", "ann"), ("2", "slab", "")]) == 2
    assert session.current.id != current.id
    assert session.undo() is None  # a person's undo does not reach into imports


def test_training_needs_two_labels_in_each_of_two_classes(session):
    with pytest.raises(
        TomoTutorError, match="0 labels in 0 classes so far; expected 4 labels and two classes at least"
    ):
        session.run_round()
    assert not session.start_round()
    with pytest.raises(TomoTutorError, match="no model yet"):
        session.predictions()
    assert session.phase is Phase.IDLE


def test_a_round_ranks_the_queue_and_leaves_its_traces(session, session_folder):
    answer_truthfully(session, 20)
    before = session.current
    point = session.run_round()
    assert (point.round, point.labels) == (1, 20)
    assert session.current.row == before.row  # what is in front of the person stays
    ranked = [v for v in session.upcoming(30) if not v.is_audit]
    disagreement = [v.disagreement for v in ranked]
    assert disagreement == sorted(disagreement, reverse=True)
    assert sum(ranked[0].teacher_probs) == pytest.approx(1)
    record = session.rounds[0].record
    assert record["recipe"]["strategy"] == "teacher_student"
    assert record["versions"]["torch"]
    assert "CPU" in record["compute"]
    names = {p.name for p in (session_folder / "rounds" / "0001").iterdir()}
    assert names == {"teacher.safetensors", "student.safetensors", "scores.npz", "metrics.json"}
    predictions = session.predictions()
    y = np.load(session.array_file)["y"]
    assert predictions.labeled_N.sum() == 20
    assert (predictions.class_N == y)[predictions.labeled_N].all()
    assert (predictions.confidence_N[predictions.labeled_N] == 1).all()
    assert (session_folder / "rounds" / "0001" / "pool.npz").is_file()


def test_what_is_put_back_is_ranked_with_the_others(session):
    answer_truthfully(session, 20)
    session.put_back()
    assert session.current is None
    session.run_round()
    ranked = [view for view in (session.current, *session.upcoming(39)) if not view.is_audit]
    disagreement = [view.disagreement for view in ranked]
    assert len(ranked) > 30
    assert disagreement == sorted(disagreement, reverse=True)


def test_resuming_shows_the_same_queue_and_goes_on_warm(session, session_folder):
    answer_truthfully(session, 12)
    session.run_round()
    answer_truthfully(session, 3)
    expected = [v.row for v in [session.current, *session.upcoming(100)]]
    session.close()
    again = Session(session_folder)
    assert [v.row for v in [again.current, *again.upcoming(100)]] == expected
    assert again.curve[0].labels == 12
    answer_truthfully(again, 4)
    assert again.run_round().round == 2
    again.close()


def test_audit_predictions_stay_hidden_until_the_answer(session):
    answer_truthfully(session, 14)
    session.run_round()
    audit = next(v for v in session.upcoming(60) if v.is_audit)
    assert audit.teacher_probs == ()
    assert audit.disagreement is None
    session.show(audit.id)
    session.unsure(audit.id)
    assert session.view(audit.row).teacher_probs == ()  # still none: unsure is no answer
    session.undo()
    answered = session.label(audit.id, "ball")
    assert len(answered.teacher_probs) == 3
    entry = session._core.database.entries()[-1]
    assert entry.audit in ("check", "train")
    assert entry.predicted in session.classes


def test_check_items_are_never_trained_on_and_the_figure_counts_them(session):
    answer_truthfully(session, 40)
    point = session.run_round()
    check = [row for row, kind in session.state.audit_kind.items() if kind == "check"]
    answered = [row for row in check if row in session.labels()]
    assert len(answered) == 3
    assert point.metrics["trained_on"] == 40 - 3
    assert session.status.audit.n == 3
    answer_truthfully(session, 8)
    assert session.status.audit.n == 4


def test_audit_items_are_never_queried_by_the_strategy(session):
    answer_truthfully(session, 14)
    session.run_round()
    from tomotutor.session.round_folder import read_scores

    queue_rows = read_scores(session.folder, 1, len(session.ids)).queue_rows
    assert not set(queue_rows.tolist()) & set(session.state.audit_kind)


def test_labeling_goes_on_while_a_round_trains(session):
    answer_truthfully(session, 12)
    session.set_recipe(session.recipe.replace(steps=400))
    started = threading.Event()
    session.progressed.connect(lambda p: started.set())
    assert session.start_round()
    assert started.wait(60)
    assert not session.start_round()
    with pytest.raises(TomoTutorError, match="a round is running already"):
        session.run_round()
    answer_truthfully(session, 5)
    session.cancel()
    assert session.phase in (Phase.CANCELLING, Phase.IDLE)
    assert session.wait(30)
    assert session.phase is Phase.IDLE
    assert (session.status.labeled, session.status.round) == (17, 0)
    assert not (session.folder / "rounds").exists() or not list((session.folder / "rounds").iterdir())


def test_items_labeled_meanwhile_are_gone_from_the_new_queue(session):
    answer_truthfully(session, 12)
    first = threading.Event()
    session.progressed.connect(lambda p: first.set())
    session.start_round()
    first.wait(60)
    answer_truthfully(session, 3)
    held = session.current
    assert session.wait(60)
    assert session.status.round == 1
    assert session.current.row == held.row
    rows = [v.row for v in session.upcoming(100)]
    assert not set(rows) & set(session.labels())
    assert held.row not in rows
    assert session.curve[0].labels == 12
    assert session.status.since_round == 3


def test_automatic_rounds_start_after_every_m_labels(session_folder):
    session = Session(session_folder, automatic=True)
    finished = []
    session.round_finished.connect(lambda p: finished.append(p.labels))
    answer_truthfully(session, 7)
    assert session.phase is Phase.IDLE
    answer_truthfully(session, 1)
    assert session.phase is Phase.TRAINING
    answer_truthfully(session, 6)  # enough for another round while the first one trains
    deadline = time.monotonic() + 60
    while len(finished) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    session.close()
    assert finished[0] in range(8, 15)
    assert finished[-1] == 14


def test_a_round_that_fails_keeps_the_old_model(session, tmp_path):
    answer_truthfully(session, 12)
    session.run_round()
    queue = [v.row for v in session.upcoming(100)]
    session.set_recipe(session.recipe.replace(learning_rate=1e30))
    failed = []
    session.failed.connect(failed.append)
    assert session.start_round()
    session.wait(60)
    assert "the previous model stays in use" in failed[0]
    assert session.status.round == 1
    assert [v.row for v in session.upcoming(100)] == queue
    assert len(session.predictions().class_N) == 60


def test_a_receiver_that_raises_disturbs_nobody(session, caplog):
    def broken(*args):
        raise ValueError("broken receiver")

    session.labeled.connect(broken)
    session.label(session.current.id, "ball")
    assert session.status.labeled == 1
    assert "a receiver of labeled raised" in caplog.text


def test_cancel_in_a_blocking_round(session):
    answer_truthfully(session, 12)
    with pytest.raises(CancelledError):
        session.run_round(lambda progress: session.cancel())
    assert session.status.round == 0
    session.run_round()
    assert session.status.round == 1


def test_duplicates_are_asked_once_and_share_the_label(tmp_path):
    x, y = two_kinds(30)
    x[7] = x[3]
    x[9] = x[3]
    np.savez(tmp_path / "a.npz", x=x, y=y)
    made = create_session(tmp_path / "s", Source("array", str(tmp_path / "a.npz")), ["ball", "slab"], settings=FAST)
    assert (made.items, made.duplicates) == (30, 2)
    session = Session(tmp_path / "s")
    rows = [session.current.row, *(v.row for v in session.upcoming(100))]
    assert len(rows) == 28
    session.label("9", "slab")
    assert session.view(3).label == session.view(7).label == "slab"
    assert session.status.labeled == 1
    answer_truthfully(session, 12)
    session.run_round()
    assert session.predictions().labeled_N[[3, 7, 9]].all()
    session.close()


def test_held_out_items_are_never_asked(session):
    session.hold_out(np.array([1, 2, 3]))
    assert session.held_out.tolist() == [1, 2, 3]
    assert not {1, 2, 3} & {session.current.row, *(v.row for v in session.upcoming(100))}
    session.label(session.current.id, "ball")
    with pytest.raises(TomoTutorError, match="before the first label"):
        session.hold_out(np.array([4]))
    with pytest.raises(TomoTutorError, match=r"seed .* cannot change"):
        session.set_recipe(session.recipe.replace(seed=5))


def test_the_end_of_the_queue(session):
    answer_truthfully(session, 60)
    assert session.current is None
    assert session.upcoming(5) == []
    session.run_round()
    assert session.current is None
    session.undo()
    assert session.current is not None


def test_session_opened_twice(session, session_folder):
    with pytest.raises(TomoTutorError, match="open in another TomoTutor"):
        Session(session_folder)


def test_changed_input_is_noticed(session, session_folder, array_file):
    session.close()
    x, y = two_kinds(50)
    np.savez(array_file, x=x, y=y)
    with pytest.raises(TomoTutorError, match="now has 50 items, other than the 60"):
        Session(session_folder)
    array_file.unlink()
    with pytest.raises(TomoTutorError, match="no such file"):
        Session(session_folder)


def test_damaged_files_of_a_session_are_said(session, session_folder):
    answer_truthfully(session, 12)
    session.run_round()
    session.close()
    scores = session_folder / "rounds" / "0001" / "scores.npz"
    content = scores.read_bytes()
    scores.write_bytes(content[:100])
    with Session(session_folder, write=False) as opened:
        assert len(opened.notices) == 1
        assert re.search(r"scores\.npz: damaged.*the labels are safe: train anew", opened.notices[0])
        assert len(opened.labels()) == 12
        assert opened.current is not None
    scores.write_bytes(content)
    (session_folder / "session.toml").write_text("classes = [")
    with pytest.raises(TomoTutorError, match=r"session\.toml: damaged"):
        Session(session_folder)
    (session_folder / "session.toml").unlink()
    with pytest.raises(TomoTutorError, match=r"session\.toml: not there any more.*tomotutor repair"):
        Session(session_folder)


def test_creating_leaves_nothing_behind_when_it_fails(tmp_path):
    x, _ = two_kinds(10)
    x[4, 0, 0, 0] = np.nan
    np.savez(tmp_path / "a.npz", x=x)
    with pytest.raises(TomoTutorError, match="item 4: 1 of its 4096 voxels are NaN"):
        create_session(tmp_path / "s", Source("array", str(tmp_path / "a.npz")), ["a", "b"])
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_a_folder_in_use_is_not_overwritten(session, session_folder, array_file):
    with pytest.raises(TomoTutorError, match="exists already and is not empty"):
        create_session(session_folder, Source("array", str(array_file)), ["a", "b"])


@pytest.mark.parametrize(
    ("names", "junk", "message"),
    [
        (["a"], False, "found only a; expected two"),
        ([], True, "found only junk; expected two"),
        (["a", "A"], True, "a name is there twice"),
        (["a\tb", "b"], True, "no usable name"),
        (["a", ""], True, "no usable name"),
        (["a,b", "c"], True, "no usable name"),
        (["=1+1", "c"], True, "no usable name"),
        (["x" * 61, "c"], True, "no usable name"),
        (["a\nb", "c"], True, "no usable name"),
        ([".hidden", "c"], True, "no usable name"),
    ],
)
def test_class_names(names, junk, message):
    with pytest.raises(TomoTutorError, match=message):
        check_classes(names, junk=junk)


def test_class_names_as_people_write_them():
    names = ("F1/Fo", "+ribosome", "-", "α-tubulin (14 pf)", "a b", "a_b")
    assert check_classes(names, junk=False) == names


def test_junk_is_last_whatever_the_order():
    assert check_classes(["junk", "a", "b"]) == ("a", "b", "junk")
    assert check_classes(["a", "b"], junk=False) == ("a", "b")
    assert check_classes(["a"]) == ("a", "junk")


def test_skipping_an_answered_item_goes_on_and_leaves_its_answer(session, session_folder):
    first = session.current
    session.label(first.id, "ball")
    second = session.current
    session.back()
    assert session.current.row == first.row
    session.skip(first.id)
    assert session.current.row == second.row
    assert session.labels() == {first.row: "ball"}
    assert session.status.skipped == 0
    session.unsure(second.id)
    session.back()
    session.skip(second.id)
    assert session.status.unsure == 1


def test_one_can_go_back_to_what_was_answered_before_the_session_was_opened(session, session_folder):
    rows = []
    for _ in range(3):
        rows.append(session.current.row)
        session.label(session.current.id, "slab")
    session.close()
    again = Session(session_folder)
    front = again.current.row
    assert front not in rows
    for row in reversed(rows):
        again.back()
        assert again.current.row == row
    again.close()


def test_closing_without_waiting_leaves_the_round_to_end_by_itself(session, session_folder):
    answer_truthfully(session, 8)
    session.set_recipe(session.recipe.replace(steps=3000))
    ended = threading.Event()
    session.closed.connect(ended.set)
    assert session.start_round()
    session.close(wait=False)
    assert not ended.is_set()  # it came back while the round still runs
    assert not session.start_round()
    assert ended.wait(60)
    again = Session(session_folder)
    assert (again.status.labeled, again.status.round) == (8, 0)
    again.close()
