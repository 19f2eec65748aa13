"""What is measured between rounds, in a real session on a small set."""

import numpy as np
import pytest

from helpers import FAST, two_kinds
from tomotutor.benchmark.between import play, table
from tomotutor.session import Session


@pytest.mark.slow
def test_three_answerers_are_held_against_the_truth_at_each_number_of_labels(tmp_path):
    x, y = two_kinds(70, 16)
    np.savez(tmp_path / "set.npz", x=x, y=y, classes=np.array(["ball", "slab"]))
    settings = {**FAST, "between": "margin", "start": "pretrained", "learning_rate": "0.01"}
    lines = []
    play(tmp_path, "set", 0, tmp_path / "s", lines.append, settings=settings)
    assert [(line["round"], line["labels"]) for line in lines] == [(1, 20), (1, 30), (1, 40), (2, 40), (2, 50), (2, 60)]
    assert all(0.5 <= line[name] <= 1 for line in lines for name in ("model", "head", "mean"))
    with Session(tmp_path / "s", write=False) as session:
        kept = session.labels()
        assert len(kept) == 60
        assert all(("ball", "slab")[y[row]] == name for row, name in kept.items())
    shown = table([*lines, {**lines[0], "seed": 1, "model": 0.5, "head": 0.75, "mean": 0.75}])
    expected = f"| set | 1 | 20 | {(lines[0]['model'] + 0.5) / 2:.3f} | {(lines[0]['head'] + 0.75) / 2:.3f} |"
    assert expected in shown
