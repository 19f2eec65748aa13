"""Golden orders of asking: what rounds rank at a fixed seed, on one thread and in float32. Remade by make golden."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import two_kinds
from tomotutor.data.sources import Source
from tomotutor.session import Session
from tomotutor.session.create import create_session
from tomotutor.session.round_folder import read_scores

GOLDEN = Path(__file__).parent / "golden" / "queues.json"
# two steps and a low rate: processors round differently, and each step multiplies that, until an order flips
SETTINGS = {"steps": "2", "batch_size": "8", "width": "0.25", "precision": "float32", "learning_rate": "0.005"}
SETTINGS |= {"initial_size": "8", "query_size": "6", "candidate_factor": "3", "tta": "none"}
STRATEGIES = ("teacher_student", "margin", "badge", "pair_badge")


def queue_orders(strategy: str) -> list[list[int]]:
    """Return the rows that each of two rounds would ask, the best first; the second learns what the first asked."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        x_NZYX, y_N = two_kinds(48)
        np.savez(folder / "a.npz", x=x_NZYX)
        source = Source("array", str(folder / "a.npz"))
        settings = {**SETTINGS, "strategy": strategy}
        create_session(folder / "s", source, ["ball", "slab"], settings=settings, start="scratch")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        rows, found = list(range(12)), []
        try:
            with Session(folder / "s") as session:
                for number in (1, 2):
                    for row in rows:
                        session.label(session.ids[row], ["ball", "slab"][y_N[row]])
                    session.run_round()
                    found.append(read_scores(session.folder, number, len(session.ids)).queue_rows.tolist())
                    rows = found[-1][:6]
        finally:
            torch.set_num_threads(threads)
        return found


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_golden_queues(strategy):
    assert queue_orders(strategy) == json.loads(GOLDEN.read_text())[strategy]
