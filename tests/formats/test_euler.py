"""Against matrices of scipy and of loops; A maps particle space to tomogram space."""

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies
from scipy.spatial.transform import Rotation

from tomotutor.formats.particles.euler import (
    angles_to_matrix,
    dynamo_from_relion,
    em_from_relion,
    matrix_to_angles,
    relion_from_dynamo,
    relion_from_em,
)

ANGLES = strategies.tuples(*[strategies.floats(-360, 360, allow_subnormal=False)] * 3).map(lambda a: np.array([a]))


def scipy_matrix(angles):
    """RELION's angles are a passive intrinsic ZYZ rotation (teamtomo's eulerangles says so too)."""
    return Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix()


def relion_matrix(angles):
    """`Euler::anglesToMatrix3` of RELION's C++ code, term by term."""
    (sr, st, sp), (cr, ct, cp) = (function(np.deg2rad(angles)).T for function in (np.sin, np.cos))
    rows = [
        [cp * ct * cr - sp * sr, cp * ct * sr + sp * cr, -cp * st],
        [-sp * ct * cr - cp * sr, -sp * ct * sr + cp * cr, sp * st],
        [st * cr, st * sr, ct],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


@settings(max_examples=200, deadline=None)
@given(ANGLES)
@example(np.array([[30.0, 0.0, 40.0]]))
@example(np.array([[30.0, 180.0, 40.0]]))
@example(np.array([[30.0, 1e-9, 40.0]]))
def test_relion(angles):
    np.testing.assert_allclose(angles_to_matrix(angles), relion_matrix(angles), atol=1e-12)
    back = matrix_to_angles(angles_to_matrix(angles))
    np.testing.assert_allclose(angles_to_matrix(back), scipy_matrix(angles), atol=1e-6)


@settings(max_examples=200, deadline=None)
@given(ANGLES)
def test_dynamo_and_em_turn_the_particle_alike(angles):
    dynamo = Rotation.from_euler(
        "zxz", dynamo_from_relion(angles), degrees=True
    )  # passive, extrinsic: tdrot, tilt, narot
    np.testing.assert_allclose(dynamo.inv().as_matrix(), scipy_matrix(angles), atol=1e-12)
    phi, psi, theta = em_from_relion(angles).T
    em = Rotation.from_euler(
        "zxz", np.stack([phi, theta, psi], axis=1), degrees=True
    )  # active: about z by phi, x by theta, z by psi
    np.testing.assert_allclose(em.as_matrix(), scipy_matrix(angles), atol=1e-12)
    for there, back in ((dynamo_from_relion, relion_from_dynamo), (em_from_relion, relion_from_em)):
        again = back(there(angles))
        np.testing.assert_allclose((again - angles + 180) % 360, 180, atol=1e-9)  # the same angles, but for whole turns


@pytest.mark.parametrize("seed", range(3))
def test_the_formulas_of_cryocat(seed):
    """Its relion -> motive list (scipy's zxz of ZYZ, negated and turned round) and its motive list ->
    Dynamo (negated).
    """
    angles = Rotation.random(50, rng=np.random.default_rng(seed)).as_euler("ZYZ", degrees=True)
    a, b, c = Rotation.from_euler("ZYZ", angles, degrees=True).as_euler("zxz", degrees=True).T
    phi, theta, psi = -c, -b, -a
    np.testing.assert_allclose(
        angles_to_matrix(relion_from_em(np.stack([phi, psi, theta], axis=1))), scipy_matrix(angles), atol=1e-9
    )
    dynamo = np.stack([-psi, -theta, -phi], axis=1)
    np.testing.assert_allclose(angles_to_matrix(relion_from_dynamo(dynamo)), scipy_matrix(angles), atol=1e-9)
    back = Rotation.from_euler("ZXZ", np.stack([phi, theta, psi], axis=1), degrees=True).as_euler(
        "ZYZ", degrees=True
    ) * [-1, 1, -1]
    np.testing.assert_allclose(angles_to_matrix(back), scipy_matrix(angles), atol=1e-9)
