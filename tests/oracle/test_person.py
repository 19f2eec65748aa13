"""A simulated person: one who names pages of look-alikes, and one who errs."""

import shutil

import numpy as np

from tomotutor.cli import main
from tomotutor.oracle.report import table
from tomotutor.session import Session


def test_a_person_names_pages_and_decisions_are_counted(mapped_session, tmp_path, capsys):
    shutil.copytree(mapped_session, tmp_path / "s")
    run = ["run", tmp_path / "s", "--oracle", "y", "--by", "page", "--init", 14, "--query", 1, "--rounds", 0]
    assert main([*map(str, run)]) == 0
    out = capsys.readouterr().out
    assert "| round | labels | decisions | to 0.95 | to 0.99 | audit |" in out
    with Session(tmp_path / "s", write=False) as session:
        log = session.state.log.active
        steps = {e.of_step for e in log if e.origin == "page"}
        singles = [e for e in log if e.origin == "oracle"]
        y = np.load(session.array_file)["y"]
        assert all(("ball", "slab")[y[row]] == name for row, name in session.labels().items())
        metrics = session.rounds[-1].record["metrics"]
        assert 1 < len(steps) <= 12
        assert metrics["decisions"] == len(steps) + len(singles)
        assert len(session.labels()) > 2 * metrics["decisions"]  # a page is one decision
        decisions, labels = metrics["reached"]["0.95"]
        assert 0 < decisions <= metrics["decisions"] and labels > decisions
        assert f"| {decisions} |" in table(session.curve)


def test_a_person_errs_as_often_as_told_and_the_queue_learns_between_rounds(mapped_session, tmp_path, capsys):
    shutil.copytree(mapped_session, tmp_path / "s")
    run = ["run", tmp_path / "s", "--oracle", "y", "--oracle-error", 0.3, "--init", 40, "--query", 1, "--rounds", 0]
    assert main([*map(str, run)]) == 0
    with Session(tmp_path / "s", write=False) as session:
        y = np.load(session.array_file)["y"]
        wrong = sum(name != ("ball", "slab")[y[row]] for row, name in session.labels().items())
        assert 4 <= wrong <= 20
        assert session.rounds[-1].record["metrics"]["decisions"] == 40
    assert main([*map(str, run), "--set", "between=round", "--by", "page"]) == 1
    assert "give --set between=uherding" in capsys.readouterr().err
