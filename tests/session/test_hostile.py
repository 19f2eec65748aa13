"""A session that somebody sent: whatever its files say, nothing outside it and the folder asked for is written, deleted
or shown, and a command ends in a result or in one sentence.
"""

import json
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from helpers import FAST, answer_truthfully, discs, two_kinds
from tomotutor.cli import main
from tomotutor.data.sources import Source
from tomotutor.session import Session
from tomotutor.session.create import create_session


@pytest.fixture(scope="module")
def sent(tmp_path_factory):
    """A session on an array with a second input and labels, and one of masks."""
    folder = tmp_path_factory.mktemp("sent")
    x, y = two_kinds(24)
    np.savez(folder / "x.npz", x=x, y=y)
    np.savez(folder / "more.npz", x=x[:4] + 1, y=y[:4])
    few = {**FAST, "steps": "1", "initial_size": "4"}
    create_session(folder / "a", Source("array", str(folder / "x.npz")), ["ball", "slab"], settings=few)
    with Session(folder / "a") as session:
        answer_truthfully(session, 8)
        session.add_items(Source("array", str(folder / "more.npz")))
        session.run_round()
    x, y = discs(6)
    (folder / "images").mkdir()
    for number, image in enumerate(x):
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
    source = Source("images", str(folder / "images"))
    create_session(folder / "b", source, ["ground", "disc"], task="segmentation", settings=few)
    with Session(folder / "b") as session:
        for row in range(3):
            session.label(session.ids[row], y[row])
    return folder


def everything(folder, *but):
    """Return all files under a folder with their contents, but those in some of its folders."""
    return {
        path: path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(path.is_relative_to(one) for one in but)
    }


def change_log(do):
    return (
        "INSERT INTO labels (at, item, action, label, annotator, origin, round, audit) VALUES "
        f"('2026-01-01T00:00:00', -1, 'class', '{json.dumps(do)}', '', 'screen', 0, '')"
    )


def prefixed(prefix):
    return f"UPDATE meta SET value = json_set(value, '$[1].prefix', '{prefix}') WHERE key = 'inputs'"


HOSTILE = {
    "a class in session.toml": ("a", '"ball"', '"../../../pwned"'),
    "another one": ("a", '"ball"', '"/abs/pwned"'),
    "a class renamed in the log": ("a", change_log({"do": "rename", "name": "ball", "to": "../../../pwned"})),
    "a class added in the log": ("a", change_log({"do": "add", "name": "/abs/pwned"})),
    "a formula for a class": ("a", change_log({"do": "rename", "name": "ball", "to": "=HYPERLINK(1)"})),
    "a class twice": ("a", change_log({"do": "rename", "name": "ball", "to": "slab"})),
    "another order": ("a", change_log({"do": "reorder", "names": ["../x", "../x"]})),
    "a class that is not": ("a", change_log({"do": "merge", "name": "nobody", "to": "../x"})),
    "all classes gone": ("a", change_log({"do": "reorder", "names": ["ball"]})),
    "a colour": ("a", change_log({"do": "recolour", "name": "ball", "to": "url(file:///etc/passwd)"})),
    "a key": ("a", change_log({"do": "rekey", "name": "ball", "to": "Ctrl+Q"})),
    "an input above": ("a", prefixed("..")),
    "an input with an absolute path": ("a", prefixed("/abs")),
    "an input far above": ("a", prefixed("../../../up")),
    "a label of no class": ("a", "UPDATE labels SET label = '../../../pwned' WHERE action = 'label'"),
    "draws of no class": ("a", """INSERT OR REPLACE INTO meta VALUES ('class checks', '[{"name": 3}]')"""),
    "draws that are no list": ("a", "INSERT OR REPLACE INTO meta VALUES ('class checks', '{')"),
    "draws of items that are not": (
        "a",
        "INSERT OR REPLACE INTO meta VALUES "
        """('class checks', '[{"name": "ball", "threshold": 0, "rows": [99999, -7], "seq": 1}]')""",
    ),
    "a mask elsewhere": ("b", "UPDATE labels SET label = '../../victim.png'"),
    "a mask with an absolute path": ("b", "UPDATE labels SET label = '{root}/victim.png'"),
}


OFTEN = (
    *("a class in session.toml", "a class renamed in the log", "an input above", "an input with an absolute path"),
    *("draws of items that are not", "a mask with an absolute path"),
)
TRIED = [what if what in OFTEN else pytest.param(what, marks=pytest.mark.slow) for what in HOSTILE]


@pytest.mark.parametrize("what", TRIED)
def test_a_session_that_somebody_sent_stays_in_its_folder(sent, tmp_path, what, capsys):
    which, *change = HOSTILE[what]
    session, out = tmp_path / "deep" / "down" / "session", tmp_path / "deep" / "out"
    shutil.copytree(sent / which, session)
    Image.fromarray(np.zeros((20, 28), np.uint8)).save(tmp_path / "victim.png")
    Image.fromarray(np.zeros((20, 28), np.uint8)).save(tmp_path / "deep" / "victim.png")
    (tmp_path / "pwned.csv").write_text("mine")
    if len(change) == 2:
        settings = (session / "session.toml").read_text()
        assert change[0] in settings
        (session / "session.toml").write_text(settings.replace(*change))
    else:
        with closing(sqlite3.connect(session / "labels.sqlite")) as connection, connection:
            assert connection.execute(change[0].replace("{root}", str(tmp_path))).rowcount > 0
    before = everything(tmp_path, session, out)
    elsewhere = everything(sent)
    commands = [
        ["status", str(session)],
        ["queue", str(session)],
        ["classes", str(session)],
        ["export", str(session), "--format", "csv", "--out", str(out), "--per-class"],
        ["classes", str(session), "--rename", "../../../pwned", "ball"],
        ["repair", str(session)],
        ["status", str(session)],
    ]
    for command in commands:
        status = main(command)
        told = capsys.readouterr()
        assert status == 0 or (status == 1 and told.err.startswith("tomotutor: ")), (command, told.err)
    assert everything(tmp_path, session, out) == before
    assert everything(sent) == elsewhere
