"""Find complexes that look alike, and choose by a fixed rule those that no weights are trained on.

relatives.py DATA OUT.json

Complexes of DATA/structures and DATA/structures_more at 20 Å are turned against each other through rotations some 15°
apart, centre on centre; where two correlate at NEAR or more, the best rotations are refined, with all translations.
Relatives correlate at LIMIT or more. Of structures_more of 200 kDa and more, in an order drawn from a fixed seed, the
first twenty without a relative anywhere are set aside: ten for development, ten to be opened once. What is related to
complexes that the card of the shipped weights excludes is listed, too.
"""

import csv
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch.nn.functional import grid_sample

from tomotutor.base.errors import TomoTutorError
from tomotutor.learn.start import SHIPPED, read_card
from tomotutor.simulate.densities import MAP_SUFFIXES, Structure, find_structures, make_density
from tomotutor.simulate.fourier import low_pass, squared_frequency
from tomotutor.simulate.points import spread
from tomotutor.simulate.rotation import place
from tomotutor.simulate.structures import read_atoms, read_trace

BOX, VOXEL_ANGST, RESOLUTION_ANGST = 32, 12.0, 20.0
LIMIT, NEAR, ROTATIONS, BEST = 0.85, 0.8, 4608, 2
SEED, EACH, LEAST_KDA = 0, 10, 200.0
# of complexes that are excluded, by what they are
KNOWN = {
    **dict.fromkeys(("1IOK", "1Q3Q"), "1MNF"),
    "1BJI": "1NCB",
    "7T9K": "6XLU",
    **dict.fromkeys(("5FJ8", "5NSS", "3IYD"), "1WCM"),
    **dict.fromkeys(("5T4O", "1E79"), "6RD4"),
}


def rotations(count: int) -> np.ndarray:
    """Return (count, 3, 3) rotations spread evenly over SO(3) by super-Fibonacci spirals (Alexa 2022)."""
    s = np.arange(count) + 0.5
    r, big_r = np.sqrt(s / count), np.sqrt(1 - s / count)
    a, b = 2 * np.pi * s / np.sqrt(2), 2 * np.pi * s / 1.533751168755204288118041
    return Rotation.from_quat(
        np.stack([r * np.sin(a), r * np.cos(a), big_r * np.sin(b), big_r * np.cos(b)], 1)
    ).as_matrix()


def fine_density(structure: Structure) -> np.ndarray:
    """Return (2 BOX,)³ at half the voxel size and at 20 Å, centred. Atoms of all elements count alike here."""
    assert structure.path is not None
    if Path(structure.path.name.removesuffix(".gz")).suffix in MAP_SUFFIXES:
        return make_density(structure, BOX, VOXEL_ANGST, RESOLUTION_ANGST).fine_DHW
    groups = (read_trace if structure.trace else read_atoms)(structure.path, structure.assembly)
    xyz_N3, mass_N = np.concatenate([g.xyz_angst_N3 for g in groups]), np.concatenate([g.mass_N for g in groups])
    centre = (xyz_N3 * mass_N[:, None]).sum(0) / mass_N.sum()
    grid = spread((xyz_N3 - centre) / (VOXEL_ANGST / 2) + BOX, mass_N, 2 * BOX)
    k2 = squared_frequency(grid.shape, VOXEL_ANGST / 2).numpy()
    return np.fft.irfftn(np.fft.rfftn(grid) * low_pass(k2, RESOLUTION_ANGST, VOXEL_ANGST), s=grid.shape, axes=(0, 1, 2))


def standardised(map_DHW: torch.Tensor) -> torch.Tensor:
    """Return a map of mean 0 and norm 1: products of two such are correlations."""
    centred = map_DHW - map_DHW.mean()
    return centred / centred.norm()


def coarse(fine: torch.Tensor, others_KV: torch.Tensor, matrix_R33: np.ndarray) -> torch.Tensor:
    """Correlate a density in all rotations with other maps (K, BOX³), standardised; return (R, K)."""
    own = fine[::2, ::2, ::2]
    axis = torch.arange(BOX) - BOX // 2
    zyx_V3 = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    radius_V = zyx_V3.double().norm(dim=1)
    # beyond this a density is nothing in any rotation
    inside = radius_V <= radius_V[own.flatten() > 0.04 * own.max()].max()
    xyz_P3 = zyx_V3[inside].flip(1).float()
    own_norm, found = (own - own.mean()).norm(), []
    for part in np.array_split(matrix_R33, 24):
        # the density at R⁻¹ x, in grid_sample's units
        grid = (xyz_P3 @ torch.from_numpy(part).float()) * (2 * 2 / (2 * BOX - 1)) + (2 * BOX / (2 * BOX - 1) - 1)
        turned = grid_sample(fine[None, None], grid[None, :, None], align_corners=True)[0, 0, :, 0]
        found.append(turned @ others_KV[:, inside].T / own_norm)
    return torch.cat(found)


def refined(fine: torch.Tensor, other: torch.Tensor, matrix_33: np.ndarray) -> float:
    """Return the highest correlation around a rotation, over all translations."""
    spectrum = torch.fft.rfftn(other.reshape((BOX,) * 3)).conj()
    best = 0.0
    for angle in (7.5, 4.0):
        turns = angle * np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), -1).reshape(-1, 3)
        matrix_N33 = Rotation.from_rotvec(turns, degrees=True).as_matrix() @ matrix_33
        turned = place(fine[None, None].expand(len(turns), -1, -1, -1, -1)[:, 0], matrix_N33, np.zeros((27, 3)), BOX)
        turned = torch.stack([standardised(one) for one in turned])
        product = torch.fft.irfftn(torch.fft.rfftn(turned, dim=(1, 2, 3)) * spectrum, s=(BOX,) * 3, dim=(1, 2, 3))
        highest_N = product.flatten(1).amax(1)
        best, matrix_33 = max(best, float(highest_N.max())), matrix_N33[int(highest_N.argmax())]
    return best


def relatives(fine: torch.Tensor, others_KV: torch.Tensor, matrix_R33: np.ndarray) -> Iterator[tuple[int, float]]:
    """Give the numbers of the maps that a density is related to, with their correlations, the nearest first."""
    found = coarse(fine, others_KV, matrix_R33)
    highest_K = found.amax(0)
    for k in highest_K.argsort(descending=True).tolist():
        r = float(highest_K[k])
        if r < NEAR:
            return
        for row in found[:, k].topk(BEST).indices.tolist():
            if r < LIMIT:
                r = max(r, refined(fine, others_KV[k], matrix_R33[row]))
        if r >= LIMIT:
            yield k, round(r, 3)


def all_structures(data: Path, scratch: Path) -> Iterator[Structure]:
    """Give every structure; of a BinaryCIF, which is not read, its map."""
    templates = np.load(data / "structures" / "templates_10A_32.npz")
    maps = dict(zip(templates["ids"].tolist(), templates["maps"], strict=True))
    with (data / "structures" / "table.csv").open() as handle:
        for row in csv.DictReader(handle):
            path, assembly = data / "structures" / "orig" / row["file"], row["assembly"].strip("-")
            if ".bcif" in path.name:
                path, assembly = scratch / f"{row['id']}.mrc", ""
                with mrcfile.new(path, maps[row["id"]].astype(np.float32)) as mrc:
                    mrc.voxel_size = 10.0
            yield Structure(row["id"], path, assembly)
    yield from find_structures([str(data / "structures_more" / "table.csv")])


def main(data: Path, out: Path) -> None:
    """Choose, and write what was chosen."""
    torch.set_num_threads(1)
    fine, names, left_out = [], [], []
    with tempfile.TemporaryDirectory() as scratch:
        for structure in all_structures(data, Path(scratch)):
            try:
                fine.append(torch.from_numpy(fine_density(structure)).float())
                names.append(structure.name)
            except TomoTutorError as problem:
                left_out.append(structure.name)
                print(problem)
    print(f"{len(names)} densities", flush=True)
    others_KV = torch.stack([standardised(one[::2, ::2, ::2]).flatten() for one in fine])
    matrix_R33 = rotations(ROTATIONS)
    with (data / "structures_more" / "table.csv").open() as handle:
        mass = {row["id"]: float(row["mass_kDa"]) for row in csv.DictReader(handle)}
    excluded = read_card(SHIPPED)["excluded"]
    related: dict[str, dict[str, Any]] = {name: {"of": of, "correlation": None} for name, of in KNOWN.items()}
    for name in excluded:
        if name in names:
            k = names.index(name)
            found = {names[o]: r for o, r in relatives(fine[k], others_KV, matrix_R33) if names[o] not in excluded}
            related |= {other: {"of": name, "correlation": r} for other, r in found.items()}
            print(f"relatives of {name}, which is excluded: {found or 'none'}", flush=True)
    taken: list[str] = []
    drawn = np.random.default_rng(SEED).permutation([name for name in mass if mass[name] >= LEAST_KDA])
    for name in map(str, drawn):
        if len(taken) == 2 * EACH:
            break
        if name in related or name not in names:
            continue
        k = names.index(name)
        first = next(((names[o], r) for o, r in relatives(fine[k], others_KV, matrix_R33) if o != k), None)
        print(f"{name}: {first or 'taken'}", flush=True)
        if not first:
            taken.append(name)
    record = {
        "command": "python docs/benchmarks/relatives.py DATA docs/benchmarks/set_aside.json",
        "rule": f"of structures_more, {LEAST_KDA:g} kDa and more, in an order drawn from seed {SEED}, the first "
        f"{2 * EACH} that correlate with none at {LIMIT} or more at {RESOLUTION_ANGST:g} Å",
        "development": taken[:EACH],
        "final": taken[EACH:],
        "relatives": dict(sorted(related.items())),
        "not_compared": left_out,
    }
    out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
