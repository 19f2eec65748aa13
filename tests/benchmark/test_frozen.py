"""What an embedding is worth before any training: each figure against one that is known beforehand."""

import json

import numpy as np
import pytest

from helpers import two_kinds
from tomotutor.benchmark.answers import Embedded
from tomotutor.benchmark.frozen import (
    accuracy,
    all_labels,
    episode,
    measure,
    others,
    purity,
    report,
    towards_neighbours,
)
from tomotutor.cli import main


def clouds(apart, per_class=40):
    """Four clouds of points, the corners `apart` deviations from each other; one class has twice the items."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2, 3, 3], per_class)
    x = (apart * np.eye(16)[:4] / np.sqrt(2))[y] + rng.normal(0, 1, (len(y), 16))
    return Embedded("clouds", x.astype(np.float16), x.astype(np.float16), y, ("a", "b", "c", "d"))


def test_far_apart_all_is_right_and_without_any_difference_it_is_chance():
    far, none = clouds(60.0), clouds(0.0)
    for shots in (1, 5):
        assert episode(far, shots, 0) == 1
    assert purity(far, 8, 0) == all_labels(far, 0) == 1
    assert np.mean([episode(none, 1, seed) for seed in range(40)]) == pytest.approx(0.25, abs=0.03)
    assert 0.4 <= purity(none, 8, 0) < 0.6  # the largest class has 0.4
    assert purity(none, 60, 0) > purity(none, 8, 0)


def test_an_item_is_drawn_to_its_nearest_neighbours_and_not_to_itself():
    x = np.random.default_rng(0).normal(2, 1, (50, 8))
    centred = x - x.mean(0)
    one = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    moved = towards_neighbours(x)
    for row in (0, 17, 49):
        cosine = one @ one[row]
        near = [other for other in np.argsort(-cosine) if other != row][:5]
        np.testing.assert_allclose(moved[row], (one[row] + one[near].mean(0)) / 2, atol=1e-5)


def test_labeled_items_are_not_asked_and_a_class_without_labels_is_wrong():
    data = clouds(60.0)
    rows = np.array([0, 41, 81])  # none of the largest class
    asked = others(data, rows)
    assert len(asked) == 197 and not np.isin(rows, asked).any()
    assert accuracy(data, rows, asked) == pytest.approx(117 / 197)


def test_the_same_seed_gives_the_same_lines_and_the_table_has_their_mean():
    lines = [
        {"start": "abc", "set": "clouds", "items": 200, "classes": 4, "embedding": "teacher", "seed": seed, **line}
        for seed in (0, 1)
        for line in measure(clouds(3.0), seed)
    ]
    again = list(measure(clouds(3.0), 0))
    assert [line["found"] for line in lines[: len(again)]] == [line["found"] for line in again]
    text = report(lines)
    first = [line["found"] for line in lines if line["what"] == "1-shot"]
    assert f"| clouds | 200 | 4 | teacher | {np.mean(first):.3f} ± {np.std(first):.3f} |" in text
    assert "2 seeds" in text


def test_the_command(tmp_path, capsys):
    x_N, y_N = two_kinds(60, 16)
    (tmp_path / "data").mkdir(parents=True)
    np.savez(tmp_path / "data" / "shapes.npz", x=x_N, y=y_N, classes=np.array(["ball", "slab"]))
    assert main(["bench", "frozen", "--out", str(tmp_path)]) != 0
    assert "give the folder of its data" in capsys.readouterr().err
    assert main(["bench", "frozen", "--data", str(tmp_path), "--out", str(tmp_path)]) != 0
    assert "found no set in it" in capsys.readouterr().err
    assert main(["bench", "answers", "--data", str(tmp_path), "--start", "x"]) != 0
    assert "--start is for frozen" in capsys.readouterr().err
    words = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--seeds", "0"]
    assert main(["bench", "frozen", *words, "--start", str(tmp_path / "nowhere")]) != 0
    assert "nowhere: no such file or folder" in capsys.readouterr().err
    assert main(["bench", "frozen", *words]) == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "frozen" / "frozen.jsonl").read_text().splitlines()]
    assert {line["set"] for line in lines} == {"shapes"}
    assert {line["embedding"] for line in lines} == {"teacher", "pair", "pair, neighbours"}
    found = {line["what"]: line["found"] for line in lines}
    assert 0.5 < found["head, all"] <= 1
    assert "| shapes | 60 | 2 | pair, neighbours |" in (tmp_path / "out" / "frozen" / "frozen.md").read_text()
