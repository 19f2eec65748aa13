"""Whole runs with a truth in place of the person, through the command line."""

import json

import pytest

from helpers import SET, new_of_tomograms
from tomotutor.cli import main


def test_an_interrupted_run_goes_on(tomogram_set, capsys):
    folder = tomogram_set
    new_of_tomograms(folder)
    run = ["run", str(folder / "s"), "--oracle", str(folder / "truth.csv"), "--init", "12", "--query", "6", "--json"]
    assert main([*run, "--rounds", "1"]) == 0
    capsys.readouterr()
    assert main([*run, "--rounds", "2"]) == 0
    points = json.loads(capsys.readouterr().out)
    assert [p["labels"] for p in points] == [12, 18, 24]
    assert all("pool_accuracy" in p for p in points)


def test_test_sets(tomogram_set, capsys):
    folder = tomogram_set
    new_of_tomograms(folder)
    other = [
        "new",
        str(folder / "s2"),
        "--particles",
        str(folder / "particles.star"),
        "--tomogram-dir",
        str(folder),
        "--box",
        "16",
    ]
    assert main([*other, "--classes", "ball,slab"]) == 0
    run = [
        "run",
        str(folder / "s"),
        "--oracle",
        str(folder / "truth.csv"),
        "--init",
        "10",
        "--query",
        "4",
        "--rounds",
        "0",
        "--json",
    ]
    capsys.readouterr()
    assert (
        main(
            [
                *run,
                "--test",
                str(folder / "s2"),
                "--test-oracle",
                str(folder / "truth.csv"),
                "--strategy",
                "random",
                "--seed",
                "3",
            ]
        )
        == 0
    )
    assert 0 <= json.loads(capsys.readouterr().out)[0]["test_accuracy"] <= 1
    new_folder = folder / "held"
    new_folder.mkdir()
    assert main(["new", str(new_folder / "s"), *other[2:], "--classes", "ball,slab", *SET]) == 0
    run[1] = str(new_folder / "s")
    assert main([*run, "--test-fraction", "0.25", "--audit-share", "0"]) == 0
    out = capsys.readouterr().out
    assert "test_accuracy" in out
    assert main([*run, "--test-fraction", "0.25", "--audit-share", "0"]) == 0  # again: the same test set


@pytest.mark.parametrize(
    ("oracle", "message"),
    [
        ("item,class\nt9:1,ball\n", "item 't9:1' is not in the session"),
        ("item,class\nt1:1,cube\n", "class 'cube' of item t1:1 is not one of ball, slab, junk"),
        ("name,class\nt1:1,ball\n", "expected item,class or tomogram,star_row,class"),
    ],
)
def test_a_wrong_oracle_stops_before_anything_is_written(tomogram_set, capsys, oracle, message):
    folder = tomogram_set
    new_of_tomograms(folder)
    (folder / "o.csv").write_text(oracle)
    assert (
        main(
            [
                "run",
                str(folder / "s"),
                "--oracle",
                str(folder / "o.csv"),
                "--init",
                "12",
                "--query",
                "6",
                "--rounds",
                "2",
            ]
        )
        == 1
    )
    assert message in capsys.readouterr().err
    assert main(["import-labels", str(folder / "s"), str(folder / "o.csv")]) == 1
    main(["status", str(folder / "s"), "--json"])
    assert json.loads(capsys.readouterr().out)["labeled"] == 0


def test_items_the_oracle_does_not_know_are_unsure(tomogram_set, capsys):
    folder = tomogram_set
    new_of_tomograms(folder)
    lines = (folder / "truth.csv").read_text().splitlines()
    (folder / "o.csv").write_text("\n".join(lines[:31]) + "\n")
    assert (
        main(
            [
                "run",
                str(folder / "s"),
                "--oracle",
                str(folder / "o.csv"),
                "--init",
                "35",
                "--query",
                "6",
                "--rounds",
                "2",
            ]
        )
        == 0
    )
    capsys.readouterr()
    main(["status", str(folder / "s"), "--json"])
    status = json.loads(capsys.readouterr().out)
    assert (status["labeled"], status["unsure"]) == (30, 10)
