"""Whole models dpa4: rotations at degrees up to 6, and smoothness where bridging begins and ends."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import dpjax
from tests.contracts.cases import dpa4, model, potential

pytestmark = pytest.mark.slow

ATOMS = np.array(
    [[0.0, 0.0, 0.0], [0.0, 0.0, 1.1], [1.0, 0.3, -0.2], [-0.4, 0.9, 0.5], [0.3, -1.2, 0.8]]
)  # an edge along z
TYPES = np.array([0, 1, 1, 0, 1])
INNER, OUTER = 0.9, 1.6
VARIANTS = {
    "gates": {"mmax": 2, "n_atten_head": 2},
    "spheres": {
        "mmax": 1,
        "s2_activation": [True, True],
        "lebedev_quadrature": True,
        "n_atten_head": 0,
        "so2_norm": True,
    },
}


def of(descriptor: dict, **options) -> dpjax.Potential:
    return potential(model(descriptor, type="dpa4", fitting={"type": "dpa4_ener", "neuron": [4]}, **options))


@pytest.mark.parametrize("variant", VARIANTS)
def test_forces_turn_with_the_structure_at_degree_6(variant):
    pot = of(dpa4(lmax=6, n_blocks=1, channels=4, ffn_neurons=4, **VARIANTS[variant]))
    turns = [np.eye(3), *Rotation.random(3, random_state=5).as_matrix()]
    out = pot.evaluate(coord=np.stack([ATOMS @ turn.T for turn in turns]), atype=np.tile(TYPES, (len(turns), 1)))
    forces = np.stack([force @ turn for force, turn in zip(out["force"], turns, strict=True)])
    assert np.abs(forces[0]).max() > 1e-3
    np.testing.assert_allclose(forces, forces[:1].repeat(len(turns), axis=0), rtol=0, atol=1e-10 * np.abs(forces).max())
    np.testing.assert_allclose(out["energy"], np.repeat(out["energy"][:1], len(turns), axis=0), rtol=1e-12)


def test_energies_have_two_derivatives_where_bridging_begins_and_ends():
    """Slopes of the force on both sides of either end, of an atom that comes near; what the network sees stands still within."""
    bridging = {"bridging_method": "ZBL", "bridging_r_inner": INNER, "bridging_r_outer": OUTER}
    pot, h = of(dpa4(n_blocks=1), **bridging), 1e-4
    ends = np.repeat([INNER, OUTER], 5) + np.tile(np.arange(-2, 3) * h, 2)
    coord = np.stack([np.concatenate([ATOMS[:1], [[r, 0.0, 0.0]], ATOMS[3:] - [1.0, 0.0, 0.0]]) for r in ends])
    out = pot.evaluate(coord=coord, atype=np.tile([0, 1, 0, 1], (len(ends), 1)))
    for energy, force in zip(np.reshape(out["energy"], (2, 5)), np.reshape(out["force"], (2, 5, 4, 3)), strict=True):
        f = force[:, 1, 0]
        np.testing.assert_allclose((energy[3] - energy[1]) / (2 * h), -f[2], rtol=1e-6)
        left = (3.0 * f[2] - 4.0 * f[1] + f[0]) / (2 * h)
        right = (-3.0 * f[2] + 4.0 * f[3] - f[4]) / (2 * h)
        assert abs(left) > 1.0
        np.testing.assert_allclose(left, right, rtol=1e-4)
