"""Atomic structures (PDB, mmCIF) to points, through gemmi."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import gemmi
import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.simulate.points import Points

# Volume of solvent that an atom displaces, Å³ (Fraser, MacRae and Suzuki 1978); others: a ball of the van der Waals
# radius
_VOLUME_ANGST3 = {"C": 16.44, "N": 2.49, "O": 9.13, "S": 19.86, "P": 5.73}
# Vitreous ice of 0.93 g/cm³ holds 0.0311 molecules per Å³; each scatters as one oxygen and two hydrogens do at k = 0
_ICE_ANGST = 0.0311 * (sum(gemmi.Element("O").c4322.a) + 2 * sum(gemmi.Element("H").c4322.a))

TRACE_SIGMA_ANGST = 4.0  # deviation of the Gaussian that stands for a residue


def contrast_factor(element: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return the electron scattering factor of an element in ice, Å, as a function of k² (1/Å²).

    f(k) = Σ a_i exp(−b_i k²/4) − ρ V exp(−π V^(2/3) k²): the five Gaussians of the International Tables C, table
    4.3.2.2 (gemmi's c4322), less the ice that the atom displaces (Fraser, MacRae and Suzuki 1978).
    """
    atom = gemmi.Element(element)
    if atom.atomic_number == 0:
        atom = gemmi.Element("C")
    a, b = np.array(atom.c4322.a), np.array(atom.c4322.b)
    volume = _VOLUME_ANGST3.get(atom.name, 4 / 3 * math.pi * atom.vdw_r**3)

    def factor(k2: np.ndarray) -> np.ndarray:
        return sum(ai * np.exp(-bi * k2 / 4) for ai, bi in zip(a, b, strict=True)) - _ICE_ANGST * volume * np.exp(
            -math.pi * volume ** (2 / 3) * k2
        )

    return factor


def _read_model(path: Path, assembly: str) -> gemmi.Model:
    """Read the atoms of an assembly, as `read_atoms` says."""
    if not path.is_file():
        raise TomoTutorError(f"{path}: no such file")
    try:
        structure = gemmi.read_structure(str(path))
    except (RuntimeError, ValueError, OSError) as problem:
        reason = (str(problem).splitlines() or ["unknown reason"])[0].replace(str(path), "").strip(" :")
        raise TomoTutorError(f"{path}: not a structure that can be read ({reason}); expected PDB or mmCIF") from None
    if len(structure) == 0:
        raise TomoTutorError(f"{path}: found no atoms; expected a PDB or mmCIF file with coordinates")
    structure.setup_entities()
    structure.remove_alternative_conformations()
    structure.remove_hydrogens()
    structure.remove_waters()
    names = [a.name for a in structure.assemblies]
    model = structure[0]
    wanted = assembly or ("1" if "1" in names else "asu")
    if wanted != "asu":
        if wanted not in names:
            raise TomoTutorError(
                f"{path}: it has no assembly {wanted!r}; expected asu{''.join(f' or {n}' for n in names)}"
            )
        try:
            model = gemmi.make_assembly(
                structure.assemblies[names.index(wanted)], model, gemmi.HowToNameCopiedChain.Dup
            )
        except RuntimeError as problem:  # the file names chains that it does not hold
            raise TomoTutorError(
                f"{path}: its assembly {wanted} cannot be made ({problem}); take the coordinates as they are, asu"
            ) from None
    atoms = [atom for chain in model for residue in chain for atom in residue]
    if not any(atom.occ for atom in atoms):  # of models that were computed, nobody has filled them in
        for atom in atoms:
            atom.occ = 1.0
    return model


def read_atoms(path: Path, assembly: str = "") -> list[Points]:
    """Read the atoms of a structure, by element, in the file's own coordinates.

    Waters are left out, and hydrogens, whose contrast against ice is almost nothing (0.53 Å against 0.49 Å displaced).
    Of alternative conformations the first is taken, of models the first.

    Parameters
    ----------
    path : Path
        .pdb, .ent, .cif or .mmcif, also with .gz.
    assembly : str
        Name of a biological assembly, "asu" for the coordinates as they are, or "" for assembly 1 where the file has
        it, else "asu".

    Raises
    ------
    TomoTutorError
        The file is missing, no structure, without atoms, or without that assembly.
    """
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    for chain in _read_model(path, assembly):
        for residue in chain:
            for atom in residue:
                position = atom.pos
                found.setdefault(atom.element.name, []).append((position.x, position.y, position.z, atom.occ))
    if not found:
        raise TomoTutorError(f"{path}: found no atoms but water and hydrogen; expected a macromolecule")
    tables = {element: np.array(rows) for element, rows in sorted(found.items())}
    return [Points(rows[:, :3], rows[:, 3], contrast_factor(element)) for element, rows in tables.items()]


def read_trace(path: Path, assembly: str = "") -> list[Points]:
    """Read the Cα of proteins and the P of nucleic acids, each a Gaussian that stands for its residue.

    For files that hold no other atoms. Its weight is the residue's mass, its deviation `TRACE_SIGMA_ANGST`. A residue
    that gemmi does not know weighs as alanine or a nucleotide does.

    Parameters
    ----------
    path, assembly
        See `read_atoms`.

    Raises
    ------
    TomoTutorError
        As `read_atoms`, or there is no Cα and no P.
    """
    rows = []
    for chain in _read_model(path, assembly):
        for residue in chain:
            for atom in residue:
                if (atom.name, atom.element.name) in (("CA", "C"), ("P", "P")):
                    mass = gemmi.find_tabulated_residue(residue.name).weight or (89.1 if atom.name == "CA" else 340.0)
                    # the tables hold free molecules; in a chain each has lost a water
                    rows.append((*atom.pos.tolist(), atom.occ * (mass - 18.0)))
    if not rows:
        raise TomoTutorError(f"{path}: found no Cα and no P; expected a trace of a macromolecule")
    table = np.array(rows)
    return [Points(table[:, :3], table[:, 3], lambda k2: np.exp(-2 * math.pi**2 * TRACE_SIGMA_ANGST**2 * k2))]
