"""Put real ribosomes among simulated items of other complexes: train.npz and test.npz with x, y and classes.

ribosome_set.py RIBOSOMES.npz FOLDER
"""

import csv
import sys
from pathlib import Path

import mrcfile
import numpy as np

ribosomes, folder = np.load(sys.argv[1])["subtomo"].astype(np.float32), Path(sys.argv[2])
order = np.random.default_rng(0).permutation(len(ribosomes))
for part, real in (("train", order[: len(order) // 2]), ("test", order[len(order) // 2 :])):
    with (folder / f"simulated_{part}" / "truth.csv").open() as handle:
        labels = [row["class"] for row in csv.DictReader(handle)]
    simulated = mrcfile.read(folder / f"simulated_{part}" / "subtomograms.mrc").astype(np.float32)
    classes = sorted({*labels, "ribosome"}, key=lambda name: (name == "junk", name))
    y = [classes.index(name) for name in [*labels, *["ribosome"] * len(real)]]
    np.savez(
        folder / f"{part}.npz", x=np.concatenate([simulated, ribosomes[real]]), y=np.array(y), classes=np.array(classes)
    )
    print(f"{part}: {len(real)} real ribosomes, {len(labels)} simulated items of {len(classes) - 1} other classes")
