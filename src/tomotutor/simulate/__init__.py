"""Simulated subtomograms, tomograms and sample data, with the truth beside them.

Structures, maps or idealised complexes become densities, densities in random poses become volumes, and volumes are
imaged with a missing wedge, a CTF and noise. docs/simulator.md has the formulas.
"""

from tomotutor.simulate.complexes import COMPLEXES
from tomotutor.simulate.densities import Density, Structure, find_structures, make_density
from tomotutor.simulate.imaging import Imaging
from tomotutor.simulate.sample import make_sample_data
from tomotutor.simulate.subtomograms import SubtomogramSettings, simulate_subtomograms
from tomotutor.simulate.tomograms import TomogramSettings, simulate_tomograms

__all__ = [
    "COMPLEXES",
    "Density",
    "Imaging",
    "Structure",
    "SubtomogramSettings",
    "TomogramSettings",
    "find_structures",
    "make_density",
    "make_sample_data",
    "simulate_subtomograms",
    "simulate_tomograms",
]
