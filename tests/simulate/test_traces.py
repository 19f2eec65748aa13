"""Files of Cα and P alone, and the list that says so."""

import csv
from dataclasses import replace

import gemmi
import numpy as np
import pytest

from tomotutor.base.errors import TomoTutorError
from tomotutor.simulate import Structure, find_structures, make_density

# atoms beside N, Cα, C and O (but for glycine, side chains are drawn at random around their middle)
SIDE = {"GLY": 0, "ALA": 1, "LEU": 4, "TRP": 10, "ARG": 7}


def write_protein(path, trace=False, residues=400, seed=0, occupancy=1.0):
    """Write a molecule of two lobes, one of small residues and one of large ones, as all its atoms or as its Cα."""
    rng = np.random.default_rng(seed)
    model, chain = gemmi.Model(1), gemmi.Chain("A")
    for i in range(residues):
        middle = rng.normal(0, 14, 3) + ([45, 0, 0] if i % 2 else [-45, 20, 0])
        residue = gemmi.Residue()
        residue.name = str(rng.choice(["TRP", "ARG"] if i % 2 else ["GLY", "ALA", "LEU"]))
        residue.seqid = gemmi.SeqId(str(i + 1))
        out = rng.normal(0, 1, 3)
        places = [("CA", "C", np.zeros(3)), *((n, n[0], rng.normal(0, 1, 3)) for n in ("N", "C", "O"))]
        places += [
            (f"C{k}", "C", (1.5 + 0.5 * k) * out / np.linalg.norm(out) + rng.normal(0, 0.7, 3))
            for k in range(SIDE[residue.name])
        ]
        for name, element, offset in places[: 1 if trace else None]:
            atom = gemmi.Atom()
            atom.name, atom.element, atom.pos = name, gemmi.Element(element), gemmi.Position(*(middle + offset))
            atom.occ = occupancy
            residue.add_atom(atom)
        chain.add_residue(residue)
    model.add_chain(chain)
    structure = gemmi.Structure()
    structure.add_model(model)
    structure.setup_entities()
    structure.make_mmcif_document().write_file(str(path))
    return path


def correlation(a, b):
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_a_trace_is_the_density_of_all_atoms_at_20_angst(tmp_path):
    whole = make_density(Structure("a", write_protein(tmp_path / "a.cif")), 32, 8.0, 20.0)
    path = write_protein(tmp_path / "ca.cif", trace=True)
    traced = make_density(Structure("a", path, trace=True), 32, 8.0, 20.0)
    assert correlation(traced.map_DHW, whole.map_DHW) > 0.985
    # the same file as if it held all atoms: every residue weighs the same, and the large ones too little
    plain = make_density(Structure("a", path), 32, 8.0, 20.0)
    assert correlation(plain.map_DHW, whole.map_DHW) < correlation(traced.map_DHW, whole.map_DHW) - 0.02


def test_atoms_of_no_occupancy_are_there_all_the_same(tmp_path):
    found = [
        make_density(Structure("a", write_protein(tmp_path / f"{occupancy}.cif", occupancy=occupancy)), 32, 8.0)
        for occupancy in (0.0, 1.0)
    ]
    np.testing.assert_array_equal(found[0].fine_DHW, found[1].fine_DHW)


def test_a_list_tells_kinds_and_names_by_id(tmp_path):
    rows = [
        ("1ABC", "a protein, or two", "CA/P-trace:bio1", "ca.cif"),
        ("2ABC", "a map", "map10A@5A", "m.mrc"),
        ("3ABC", "atoms", "atoms:asu", "a.cif"),
        ("4ABC", "atoms", "", "a.cif"),
    ]
    with (tmp_path / "table.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([("id", "name", "kind", "file"), *rows])
    write_protein(tmp_path / "a.cif"), write_protein(tmp_path / "ca.cif", trace=True)
    found = find_structures([str(tmp_path / "table.csv")])
    assert [(s.name, s.trace, s.voxel_size_angst, s.assembly) for s in found] == [
        ("1ABC", True, 0, "asu"),
        ("2ABC", False, 5, ""),
        ("3ABC", False, 0, "asu"),
        ("4ABC", False, 0, ""),
    ]
    assert found[0].describe()["kind"] == "trace"
    assert "kind" not in found[2].describe()
    (tmp_path / "table.csv").write_text("name,file,kind\na,a.cif,beads\n")
    with pytest.raises(TomoTutorError, match=r"row 2: the kind is 'beads'; expected atoms, CA/P-trace or map10A@5A"):
        find_structures([str(tmp_path / "table.csv")])


def test_real_ones_are_read(data):
    table = data / "structures_more" / "table.csv"
    structures = {s.name: s for s in find_structures([str(table)])}
    with table.open() as handle:
        rows = {row["id"]: row for row in csv.DictReader(handle)}
    assert structures.keys() == rows.keys()
    for kind in ("CA/P-trace:bio1", "atoms:bio1", "atoms:asu", "map10A@5A:bio1"):
        name = [i for i, row in rows.items() if row["kind"] == kind][-1]
        density = make_density(structures[name], 32, 12.0)
        assert density.diameter_angst == pytest.approx(float(rows[name]["diameter_A"]), rel=0.25), name
        if kind == "atoms:bio1":
            traced = make_density(replace(structures[name], trace=True), 32, 10.0, 20.0)
            whole = make_density(structures[name], 32, 10.0, 20.0)
            assert correlation(traced.map_DHW, whole.map_DHW) > 0.95
