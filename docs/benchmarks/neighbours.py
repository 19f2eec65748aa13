"""Does the fast head gain where each item's embedding is drawn halfway to its five nearest neighbours?

neighbours.py DATA OUT.jsonl EMBEDDINGS SETS      DATA, SETS: as `bench answers` takes them, sets with commas between

A seed is four fifths of a set. 20 typical items are labeled first, then by UHerding on the embedding as it is. Both
heads, on the teacher's embedding as it is (`plain`) and drawn to its neighbours (`drawn`), have these labels. A line
each: accuracy, calibration error and mean confidence on all other items.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from tomotutor.benchmark import answers
from tomotutor.benchmark.frozen import towards_neighbours
from tomotutor.learn.calibration import expected_calibration_error
from tomotutor.learn.head import fit_head

LABELS, SEEDS = (10, 20, 40, 80), range(5)


def asked(data: answers.Embedded, seed: int) -> np.ndarray:
    """Return the rows that a session labels, in order."""
    answers.COLD = 20
    session = answers.Session(data, seed)
    for _ in answers.one_by_one(session, "uherding", max(LABELS)):
        pass
    return np.array(list(session.labels))


def main(folder: Path, out: Path, embeddings: Path, names: list[str]) -> None:
    """Write a line for each set, seed, number of labels and kind."""
    with out.open("w") as lines:
        for name in names:
            whole = answers.embed_set(folder, name, embeddings)
            for seed in SEEDS:
                plain = whole.part(seed)
                drawn = replace(plain, teacher_ND=towards_neighbours(plain.teacher_ND))
                order = asked(plain, seed)
                for kind, data in (("plain", plain), ("drawn", drawn)):
                    for n in LABELS:
                        told = order[:n]
                        rest = np.setdiff1d(np.arange(len(data.truth_N)), told)
                        y_N = data.truth_N[rest]
                        head = fit_head(data.teacher_ND, told, data.truth_N[told], len(data.classes))
                        p_NC = head.probs(data.teacher_ND, rest)
                        right = float((p_NC.argmax(1) == y_N).mean())
                        line = {"set": name, "seed": seed, "labels": n, "kind": kind, "right": round(right, 4)}
                        line["ece"] = round(expected_calibration_error(p_NC, y_N), 4)
                        line["sure"] = round(float(p_NC.max(1).mean()), 4)
                        lines.write(json.dumps(line) + "\n")
                        lines.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4].split(","))
