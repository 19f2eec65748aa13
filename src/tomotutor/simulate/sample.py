"""The sample data that ships with TomoTutor: two small tomograms of idealised complexes, and a small 2D set."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch

from tomotutor.base.files import new_folder
from tomotutor.simulate.complexes import COMPLEXES
from tomotutor.simulate.densities import find_structures, make_density, stack_densities
from tomotutor.simulate.fourier import squared_frequency
from tomotutor.simulate.imaging import Imaging
from tomotutor.simulate.optics import ctf
from tomotutor.simulate.records import check_new
from tomotutor.simulate.rotation import place, random_matrix
from tomotutor.simulate.tomograms import TomogramSettings, simulate_tomograms

SAMPLE_TOMOGRAMS = TomogramSettings(
    shape=(64, 224, 224), count=2, particles=150, imbalance=2.0, false_picks=0.2, vesicles=2, gold_beads=2, seed=1
)
SAMPLE_IMAGING = Imaging(snr=0.07, defocus_um=(3.0, 5.0))
_README = """# Sample data

Simulated by `tomotutor simulate sample` (`make sample-data` makes it again, byte for byte on one machine): every
setting and version is in simulate.toml, and what is simulated in docs/simulator.md. The complexes are idealised ones of
TomoTutor's own, Gaussian beads with the size and symmetry of a ribosome, a 20S proteasome, a chaperonin and a ferritin;
no structure from elsewhere is in them. Same licence as TomoTutor.

- `tomograms/`, `particles.star`, `tomograms.star`: two tomograms with their picks, protein dark
- `truth.csv`: class of each pick; junk is empty ice, debris, membrane and gold
- `images.npz`: 32² projections of the same complexes, x, y and classes
"""


def write_images(path: Path, per_class: int, *, snr: float = 0.3, seed: int = 0) -> None:
    """Write noisy 32² projections of the complexes with a CTF as an .npz of uint8 images x, labels y and
    class names.
    """
    rng = np.random.default_rng(seed)
    fine_KDHW = stack_densities([make_density(s, 32, 10.0) for s in find_structures([])])
    label_N = rng.permutation(np.repeat(np.arange(len(COMPLEXES)), per_class))
    images = []
    for label in label_N.tolist():
        projection = place(fine_KDHW[label][None], random_matrix(rng)[None], np.zeros((1, 3)), 32).sum(1)
        transfer = ctf(squared_frequency((32, 32), 10.0), torch.tensor([[[rng.uniform(2e4, 4e4)]]]))
        seen = torch.fft.irfftn(torch.fft.rfftn(projection, dim=(1, 2)) * transfer, s=(32, 32), dim=(1, 2))[0].numpy()
        image = (seen - seen.mean()) / seen.std() + rng.normal(0, np.sqrt(1 / snr), seen.shape)
        images.append(np.clip(128 + 32 * image, 0, 255).astype(np.uint8))
    np.savez_compressed(path, x=np.stack(images), y=label_N, classes=np.array(list(COMPLEXES)))


def make_sample_data(folder: Path) -> None:
    """Make the sample data in a new folder."""
    check_new(folder)
    with new_folder(folder) as partial:
        simulate_tomograms(partial / "made", find_structures([]), SAMPLE_TOMOGRAMS, SAMPLE_IMAGING)
        for path in (partial / "made").iterdir():
            shutil.move(path, partial / path.name)
        (partial / "made").rmdir()
        write_images(partial / "images.npz", 100)
        (partial / "README.md").write_text(_README)
