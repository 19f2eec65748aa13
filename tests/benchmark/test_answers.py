"""Simulated labeling with the fast head: what is counted, and that it is reproducible."""

import json

import numpy as np
import pytest

from tomotutor.benchmark import answers_run
from tomotutor.benchmark.answers import PAGE, PAGES, Embedded, Session, by_page, decisions_to, one_by_one, play
from tomotutor.benchmark.answers_run import decisions, doubts, estimates, report
from tomotutor.benchmark.machine.answers import answers as speed_of_answers
from tomotutor.cli import main


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = rng.integers(4, size=400)
    centre = rng.normal(0, 1, (4, 16))
    teacher, student = ((3 + centre[y] + rng.normal(0, spread, (400, 16))).astype(np.float16) for spread in (1.0, 1.2))
    return Embedded("clouds", teacher, student, y, ("a", "b", "c", "d"))


def test_single_labels_are_one_decision_each_and_answers_get_better(data):
    session = Session(data, 0)
    curve = play(session, lambda s: one_by_one(s, "margin", 40), last=2)
    assert [d for d, _, _ in curve] == list(range(1, 41)) == [n for _, n, _ in curve]
    assert all(session.labels[row] == data.truth_N[row] for row in session.labels)
    assert curve[-1][2] > 0.85 > curve[0][2]


@pytest.mark.parametrize("strays_named", [False, True])
def test_a_page_costs_one_decision_and_one_for_each_that_is_taken_out(data, strays_named):
    session = Session(data, 0)
    strays, known, several = 0, 0, False
    for page, _ in zip(range(1, PAGES + 1), by_page(session, 90, strays_named), strict=False):
        new = list(session.labels.values())[known:]
        known, several = len(session.labels), several or len(set(new)) > 1
        assert known <= page * PAGE
        strays = session.decisions - page
        shown = known + (0 if strays_named else strays)
        assert page * PAGE * 0.8 < shown <= page * PAGE
    assert several == strays_named  # what is left out has no label
    assert strays > 0
    assert all(session.labels[row] == data.truth_N[row] for row in session.labels)


def test_a_person_who_errs_errs_as_often_as_told_and_mostly_between_look_alikes(data):
    session = Session(data, 0, error=0.2)
    said = np.array([session.say(row) for row in range(400) for _ in range(5)])
    truth = np.repeat(data.truth_N, 5)
    wrong = said != truth
    assert wrong.mean() == pytest.approx(0.2, abs=0.03)
    assert (said == np.repeat(session.look_alike_N, 5))[wrong].mean() > 0.7
    assert (session.look_alike_N != data.truth_N).all()


def test_decisions_to_a_target():
    curve = [(1, 1, 0.5), (4, 24, 0.96), (5, 25, 0.94), (6, 26, 0.99)]
    assert (decisions_to(curve, 0.95), decisions_to(curve, 0.99), decisions_to(curve, 1)) == (4, 6, None)


def test_results_are_the_same_again_and_the_report_counts_them(data):
    lines = [decisions(data, "page", 1, 0.0), doubts(data, 0, True), *estimates(data, 0)]
    assert lines == [decisions(data, "page", 1, 0.0), doubts(data, 0, True), *estimates(data, 0)]
    assert lines == json.loads(json.dumps(lines))
    text = report(lines)
    assert f"| page | {lines[0]['to_0.95']}" in text
    assert f"| clouds | a look-alike | {lines[1]['found']:.2f}" in text
    inside = lines[-1]["low"] <= lines[-1]["truth"] <= lines[-1]["high"]
    assert f"| clouds | 80 | {lines[-1]['truth']:.3f} | {inside:.2f} |" in text


def test_it_needs_data(tmp_path, capsys):
    assert main(["bench", "answers", "--out", str(tmp_path)]) != 0
    assert "give the folder of its data" in capsys.readouterr().err
    assert main(["bench", "answers", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) != 0
    assert "found none of the sets tomograms" in capsys.readouterr().err
    assert answers_run.SETS[0] == "tomograms"


def test_the_speed_of_answers_is_measured_in_a_real_session(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = speed_of_answers(items=120, labels=14, many=1000, embedded=2, edge=16)
    assert 0 < found["label_to_answers_median_ms"] <= found["label_to_answers_p95_ms"]
    assert found["head_s"] > 0 and found["embedding_s"] > 0
    assert list(tmp_path.iterdir()) == []
