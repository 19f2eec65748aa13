"""Idealised complexes of our own: Gaussian beads with the sizes and symmetries of well-known ones, and no structure
from elsewhere.

They are what sample_data is made of. Subunits are ellipsoids filled with beads at random, once and for all, so that
surfaces are uneven as those of real proteins; symmetry copies them exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.spatial.transform import Rotation

from tomotutor.simulate.points import Points

BEAD_SIGMA_ANGST = 5.0
_SPACING_ANGST3 = 500.0  # volume for each bead


def _ellipsoid(
    centre: tuple[float, float, float], radii: tuple[float, float, float], seed: int, turn_deg: tuple[float, ...] = ()
) -> np.ndarray:
    """Fill an ellipsoid (x, y, z; Å) with beads; `turn_deg` are Euler angles xyz about its centre."""
    rng = np.random.default_rng(seed)
    count = max(1, round(4 / 3 * math.pi * math.prod(radii) / _SPACING_ANGST3))
    direction = rng.standard_normal((count, 3))
    direction *= (rng.random(count) ** (1 / 3) / np.linalg.norm(direction, axis=1))[:, None]
    beads = direction * np.array(radii)
    if turn_deg:
        beads = Rotation.from_euler("xyz", turn_deg, degrees=True).apply(beads)
    return beads + np.array(centre)


def _copies(subunit: np.ndarray, group: str) -> np.ndarray:
    """Copy a subunit by a point group (scipy's name: C7, D7, O), its axis along z."""
    return np.concatenate([turn.apply(subunit) for turn in Rotation.create_group(group, axis="Z")])


def ribosome() -> np.ndarray:
    """Two subunits with a cleft between them: 260 Å across, no symmetry.

    The large one is a half ball with central protuberance and two stalks, the small one long and bent, with head, beak
    and foot.
    """
    large = [
        _ellipsoid((-38, 0, -5), (62, 92, 84), 1),
        _ellipsoid((-30, 0, 84), (26, 28, 30), 2),  # central protuberance
        _ellipsoid((-22, 98, 48), (16, 34, 16), 3, (35, 0, 0)),  # L1 stalk
        _ellipsoid((-20, -102, 38), (13, 38, 13), 4, (-25, 0, 0)),  # L7/L12 stalk
    ]
    small = [
        _ellipsoid((52, 8, -22), (28, 52, 66), 5, (0, 8, 10)),  # body
        _ellipsoid((48, -6, 68), (30, 42, 28), 6),  # head
        _ellipsoid((44, -52, 74), (14, 22, 12), 7),  # beak
        _ellipsoid((46, 48, 18), (20, 24, 22), 8),  # platform
        _ellipsoid((54, 0, -96), (18, 20, 20), 9),  # foot
        _ellipsoid((16, 20, -20), (14, 9, 9), 10),  # a bridge between the two
    ]
    beads = np.concatenate(large)
    # the cleft: the large subunit ends at a hollowed face
    face = 14 - 10 * np.exp(-(beads[:, 1] ** 2 + (beads[:, 2] - 20) ** 2) / 45**2)
    return np.concatenate((beads[beads[:, 0] < face], *small))


def proteasome() -> np.ndarray:
    """A barrel of four sevenfold rings, 115 Å wide and 150 Å long, with a narrow gate at both ends and three chambers
    (D7).
    """
    beta = _ellipsoid((41, 0, 19), (15, 19, 18), 11, (0, 10, 0))
    alpha = np.concatenate(
        (
            _ellipsoid((41, 6, 56), (15, 19, 17), 12, (0, -10, 0)),
            _ellipsoid((24, 6, 66), (9, 9, 7), 13),  # what narrows the gate
        )
    )
    return _copies(np.concatenate((beta, alpha)), "D7")


def chaperonin() -> np.ndarray:
    """Two sevenfold rings back to back, 140 Å wide and 150 Å long, each an open cage with side windows (D7)."""
    subunit = np.concatenate(
        (
            _ellipsoid((46, 0, 17), (21, 21, 16), 21, (0, 15, 0)),  # equatorial
            _ellipsoid((55, 4, 40), (10, 13, 14), 22),  # intermediate
            _ellipsoid((49, 8, 62), (17, 21, 12), 23, (0, -20, 0)),  # apical
        )
    )
    return _copies(subunit, "D7")


def ferritin() -> np.ndarray:
    """A hollow cage of 24 rods, 125 Å wide (O)."""
    return _copies(_ellipsoid((42, 23, 13), (12, 24, 14), 31, (0, 0, 30)), "O")  # a corner of the snub cube


COMPLEXES: dict[str, Callable[[], np.ndarray]] = {
    "ribosome": ribosome,
    "proteasome": proteasome,
    "chaperonin": chaperonin,
    "ferritin": ferritin,
}


def _bead_factor(k2: np.ndarray) -> np.ndarray:
    return np.exp(-2 * math.pi**2 * BEAD_SIGMA_ANGST**2 * k2)


MADE_UP = "made-up-"  # made-up-7 is the seventh of as many complexes as one likes
_GROUPS = (
    "C1",
    "C1",
    "C1",
    "C2",
    "C2",
    "C3",
    "C3",
    "C4",
    "C5",
    "C6",
    "C7",
    "C8",
    "D2",
    "D2",
    "D3",
    "D4",
    "D5",
    "D6",
    "D7",
    "T",
    "O",
    "I",
)


def made_up(number: int) -> np.ndarray:
    """Make up a complex: one to four ellipsoids, copied by a point group that is drawn too.

    Its ellipsoids reach no farther than 45 to 165 Å from the centre, a limit drawn on a logarithmic scale, and seldom
    so far: nine in ten are 75 to 285 Å across, none more than 330.
    """
    rng = np.random.default_rng([0x3AD3, number])
    group = str(rng.choice(_GROUPS))
    order = len(Rotation.create_group(group))
    parts = []
    for part in range(rng.integers(1, 5) if order < 12 else rng.integers(1, 3)):
        radii = rng.uniform(0.12, 0.5, 3) * (1.4 if order == 1 else (8 / order) ** 0.33)
        centre = rng.normal(0, 0.45, 3)
        parts.append((centre, radii, int(1000 * number + part), tuple(rng.uniform(0, 180, 3))))
    reach = max(float(np.linalg.norm(centre) + radii.max()) for centre, radii, _, _ in parts)
    scale = float(np.exp(rng.uniform(np.log(45), np.log(165)))) / reach
    subunit = [
        _ellipsoid(tuple(scale * centre), tuple(scale * radii), seed, turn) for centre, radii, seed, turn in parts
    ]
    return _copies(np.concatenate(subunit), group)


def complex_points(name: str) -> list[Points]:
    """Return the beads of an idealised complex, or of a made-up one."""
    xyz_N3 = made_up(int(name.removeprefix(MADE_UP))) if name.startswith(MADE_UP) else COMPLEXES[name]()
    return [Points(xyz_N3, np.ones(len(xyz_N3)), _bead_factor)]
