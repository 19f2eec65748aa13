"""Placement without overlap: complexes, vesicles, gold and debris in one volume, and picks of all of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.ndimage import binary_dilation
from torch import Tensor

from tomotutor.simulate.clutter import GOLD_RADIUS_ANGST, LEAFLET_ANGST, bilayer, debris, distance, gold
from tomotutor.simulate.rotation import place, random_matrix

log = logging.getLogger(__name__)

TRIES = 300  # positions tried for each body before it is left out
GIVE_UP = 5  # bodies of a class left out before the rest of it is
_SOLID = 0.12  # of a density's maximum: what may not overlap


@dataclass
class Scene:
    """A volume that is being filled.

    Attributes
    ----------
    shape : tuple of int
        (z, y, x) voxels.
    voxel_size_angst : float
        Voxel size.
    margin : int
        Voxels that the centre of a pick keeps from the border.
    complexes, others : ndarray
        Density of the complexes, and of everything else.
    occupied : ndarray
        Where something solid is.
    on_membrane, on_gold : list of ndarray
        Points (z, y, x) of membranes and of gold beads inside the margin, for false picks.
    """

    shape: tuple[int, int, int]
    voxel_size_angst: float
    margin: int
    complexes: np.ndarray = field(init=False)
    others: np.ndarray = field(init=False)
    occupied: np.ndarray = field(init=False)
    on_membrane: list[np.ndarray] = field(default_factory=list)
    on_gold: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.complexes, self.others = np.zeros(self.shape, np.float32), np.zeros(self.shape, np.float32)
        self.occupied = np.zeros(self.shape, bool)

    def inside(self, zyx_N3: np.ndarray) -> np.ndarray:
        """Whether picks there keep the margin."""
        return np.all((zyx_N3 >= self.margin) & (zyx_N3 <= np.array(self.shape) - self.margin - 1), axis=-1)

    def draw_voxel(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a voxel (z, y, x) that keeps the margin."""
        return rng.integers(self.margin, np.array(self.shape) - self.margin)

    def add(self, body_DHW: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
        """Add a cube centred on its voxel edge // 2 to `target` where it overlaps nothing; return where, None if no
        place is found.
        """
        edge = body_DHW.shape[0]
        # one voxel of ice around everything
        solid = binary_dilation(body_DHW > _SOLID * body_DHW.max())
        for _ in range(TRIES):
            voxel = self.draw_voxel(rng)
            start = voxel - edge // 2
            low, high = np.maximum(start, 0), np.minimum(start + edge, self.shape)
            there = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            part = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
            if not (self.occupied[there] & solid[part]).any():
                self.occupied[there] |= solid[part]
                target[there] += body_DHW[part]
                return voxel
        return None


def add_vesicles(scene: Scene, count: int, rng: np.random.Generator) -> None:
    """Add closed membranes: ellipsoids of up to a third of the volume's depth or 600 Å in radius, that may leave the
    volume.
    """
    largest = min(0.35 * min(scene.shape) * scene.voxel_size_angst, 600.0)
    for _ in range(count):
        radius = rng.uniform(0.55, 1) * largest
        ratio = rng.uniform(0.85, 1.15, 3)
        for _ in range(TRIES):
            centre = rng.uniform(0, scene.shape)
            away = (distance(scene.shape, centre, scene.voxel_size_angst, ratio) - radius).astype(np.float32)
            solid = np.abs(away) < LEAFLET_ANGST + 2 * scene.voxel_size_angst
            if not (scene.occupied & solid).any():
                scene.others += bilayer(away)
                scene.occupied |= solid
                break
        else:
            log.warning("no room for another vesicle; fewer were placed")
            return
        direction = rng.standard_normal((400, 3))
        direction /= np.linalg.norm(direction, axis=1)[:, None]
        surface = centre + direction * ratio * radius / scene.voxel_size_angst
        scene.on_membrane += list(surface[scene.inside(surface)])


def add_gold(scene: Scene, count: int, rng: np.random.Generator) -> None:
    """Add gold beads."""
    edge = 2 * int(np.ceil(GOLD_RADIUS_ANGST / scene.voxel_size_angst) + 2)
    body = gold(distance((edge,) * 3, np.full(3, edge // 2), scene.voxel_size_angst), scene.voxel_size_angst)
    for _ in range(count):
        voxel = scene.add(body, scene.others, rng)
        if voxel is None:
            log.warning("no room for another gold bead; fewer were placed")
            return
        scene.on_gold.append(voxel.astype(float))


def add_complex(scene: Scene, fine_DHW: Tensor, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """Add a complex in a random pose; return its exact centre (z, y, x; voxels) and rotation, None where it finds no
    room.
    """
    matrix, part_xyz = random_matrix(rng), rng.uniform(-0.5, 0.5, 3)
    body = place(fine_DHW[None], matrix[None], part_xyz[None], fine_DHW.shape[0] // 2)[0].cpu().numpy()
    voxel = scene.add(body, scene.complexes, rng)
    return None if voxel is None else (voxel + part_xyz[::-1], matrix)


def add_false_pick(scene: Scene, kind: str, rng: np.random.Generator) -> np.ndarray | None:
    """Return the centre of a false pick on ice ("empty"), new debris, a membrane or a gold bead; None where there is no
    place for it.
    """
    if kind == "debris":
        body = debris((16, 16, 16), np.full(3, 8.0), scene.voxel_size_angst, rng)
        voxel = scene.add(body, scene.others, rng)
        return None if voxel is None else voxel.astype(float)
    if kind in ("membrane", "gold"):
        points = scene.on_membrane if kind == "membrane" else scene.on_gold
        points = [p for p in points if scene.inside(p)]
        return points[rng.integers(len(points))] + rng.normal(0, 0.5, 3) if points else None
    for _ in range(TRIES):
        voxel = scene.draw_voxel(rng)
        if not scene.occupied[tuple(slice(v - 4, v + 5) for v in voxel)].any():
            return voxel.astype(float)
    return None


def fill(
    scene: Scene,
    fine_KDHW: Tensor,
    diameter_K: list[float],
    counts: list[int],
    false_counts: dict[str, int],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place complexes, largest first, then false picks, on ice where there is none of their kind of place.

    Returns
    -------
    zyx_N3, class_N, matrix_N33 : ndarray
        Centres, classes (−1 for false picks) and rotations of what found room, shuffled.
    """
    centres, classes, matrices = [], [], []
    order = sorted(range(len(counts)), key=lambda k: -diameter_K[k])
    failed = dict.fromkeys(order, 0)
    for k in np.repeat(order, [counts[k] for k in order]).tolist():
        # a class that found no room so often finds none later on, and trying costs time
        placed = add_complex(scene, fine_KDHW[k], rng) if failed[k] < GIVE_UP else None
        failed[k] += placed is None
        if placed:
            centres.append(placed[0])
            matrices.append(placed[1])
            classes.append(k)
    for kind in [name for name, count in false_counts.items() for _ in range(count)]:
        centre = add_false_pick(scene, kind, rng)
        if centre is None:
            centre = add_false_pick(scene, "empty", rng)
        if centre is not None:
            centres.append(centre)
            matrices.append(random_matrix(rng))
            classes.append(-1)
    shuffled = rng.permutation(len(centres))
    return (
        np.array(centres).reshape(-1, 3)[shuffled],
        np.array(classes, int)[shuffled],
        np.array(matrices).reshape(-1, 3, 3)[shuffled],
    )


@torch.inference_mode()
def signal_power(signal: Tensor, zyx_N3: np.ndarray, box: int) -> float:
    """Return the mean variance of a volume in boxes around points (z, y, x)."""
    powers = []
    for z, y, x in np.floor(zyx_N3 + 0.5).astype(int) - box // 2:
        powers.append(float(signal[z : z + box, y : y + box, x : x + box].double().var()))
    return float(np.mean(powers))
