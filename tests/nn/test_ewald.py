"""The reciprocal sum: DeePMD-kit's numbers, a plain sum, the formula of the virial, and the mesh that converges to it."""

from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.nn.ewald import COULOMB, half_widths, reciprocal_energy
from dpjax.nn.particle_mesh import mesh_energy, mesh_points, spline_values
from tests.shared import golden

SITUATIONS = ("ortho", "triclinic", "charged_coarse", "outside_cell")
CELL = np.array([[7.1, 0.0, 0.0], [1.3, 8.4, 0.0], [-0.6, 0.9, 6.2]])
BETA, SPACING = 0.45, 0.9


@pytest.fixture(scope="module")
def charges() -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (n, 3), some outside the cell, and charges (n,), which do not add up to 0."""
    rng = np.random.default_rng(4)
    return (3.0 * rng.random((11, 3)) - 1.0) @ CELL, rng.normal(size=11)


def plain_sum(coord, charge, cell, beta, spacing):
    """Energy and virial, vector by vector, as the papers write them."""
    inverse, volume = np.linalg.inv(cell), abs(np.linalg.det(cell))
    points = [int(np.ceil(np.linalg.norm(row) / spacing)) for row in cell]
    ranges = [np.arange(-(k + k % 2) // 2, (k + k % 2) // 2 + 1) for k in points]
    energy, virial = 0.0, np.zeros((3, 3))
    for n in np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3):
        if not n.any():
            continue
        g = n @ inverse.T
        square = g @ g
        factor = abs(np.sum(charge * np.exp(2j * np.pi * coord @ g))) ** 2
        term = np.exp(-((np.pi / beta) ** 2) * square) / square * factor
        energy += term
        virial += term * (np.eye(3) - 2 * (1 + (np.pi / beta) ** 2 * square) * np.outer(g, g) / square)
    scale = COULOMB / (2 * np.pi * volume)
    return scale * energy, scale * virial


def evaluated(coord, charge, cell, beta=BETA, spacing=SPACING, half=None, energy=reciprocal_energy, **options):
    """Energy, force (n, 3) and virial (3, 3) by differentiation."""
    sizes = {"half": half or half_widths(cell, spacing)} if energy is reciprocal_energy else {}

    def function(coord, cell):
        return energy(coord, jnp.asarray(charge), cell, beta=beta, spacing=spacing, **sizes, **options)

    value, (by_coord, by_cell) = jax.jit(jax.value_and_grad(function, (0, 1)))(jnp.asarray(coord), jnp.asarray(cell))
    return float(value), -np.asarray(by_coord), -np.asarray(by_coord.T @ coord + by_cell.T @ cell)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_numbers_of_deepmd_kit(situation):
    ref = np.load(golden("ewald", "ref.npz"))
    beta, spacing = (float(np.float32(ref[f"{situation}/{key}"])) for key in ("beta", "h"))
    for i in range(2):
        own = [ref[f"{situation}/{key}"][i] for key in ("coord", "charge", "box")]
        energy, force, virial = evaluated(*own, beta, spacing)
        want = [ref[f"{situation}/{key}"][i] for key in ("energy", "force", "virial")]
        np.testing.assert_allclose(energy, want[0], rtol=1e-12)
        np.testing.assert_allclose(force, want[1], atol=1e-12)
        np.testing.assert_allclose(virial, want[2], atol=1e-12)


def test_a_plain_sum_and_its_virial(charges):
    energy, _, virial = evaluated(*charges, CELL)
    want = plain_sum(*charges, CELL, BETA, SPACING)
    np.testing.assert_allclose(energy, want[0], rtol=1e-13)
    np.testing.assert_allclose(virial, want[1], atol=1e-12)
    np.testing.assert_allclose(virial, virial.T, atol=1e-12)


def test_room_for_more_vectors_and_charges_of_zero_change_nothing(charges):
    coord, charge = charges
    want = evaluated(coord, charge, CELL)
    wide = tuple(h + 3 for h in half_widths(CELL, SPACING))
    padded = np.concatenate([coord, np.full((4, 3), 1e5)]), np.concatenate([charge, np.zeros(4)])
    got = evaluated(*padded, CELL, half=wide)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-13)
    np.testing.assert_allclose(got[1][:11], want[1], atol=1e-12)
    np.testing.assert_array_equal(got[1][11:], 0.0)
    np.testing.assert_allclose(got[2], want[2], atol=1e-10)


def test_images_and_translations_change_nothing(charges):
    coord, charge = charges
    want = evaluated(coord, charge, CELL)
    shifts = np.random.default_rng(0).integers(-3, 4, size=coord.shape)
    got = evaluated(coord + shifts @ CELL + np.array([0.3, -2.0, 5.0]), charge, CELL)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-12)
    np.testing.assert_allclose(got[1], want[1], atol=1e-11)
    np.testing.assert_allclose(want[1].sum(axis=0), 0.0, atol=1e-12)


@pytest.mark.parametrize("energy", [reciprocal_energy, mesh_energy])
def test_second_derivatives_are_finite_and_symmetric(charges, energy):
    coord, charge = (jnp.asarray(own[:4]) for own in charges)
    half = half_widths(CELL, SPACING)
    sizes = {"half": half} if energy is reciprocal_energy else {"mesh": mesh_points(half, order=4), "order": 4}

    def function(flat):
        return energy(flat.reshape(-1, 3), charge, jnp.asarray(CELL), beta=BETA, spacing=SPACING, **sizes)

    second = jax.jit(jax.jacrev(jax.grad(function)))(coord.ravel())
    assert np.isfinite(second).all() and np.abs(second).max() > 1e-2
    np.testing.assert_allclose(second, second.T, atol=1e-9 * np.abs(second).max())


def test_splines_add_up_to_one_and_their_first_moment_is_half_of_the_order():
    offset = jnp.linspace(0.0, 1.0, 9)[:-1]
    for order in (2, 4, 10):
        values = np.asarray(jax.jit(spline_values, static_argnums=1)(offset, order))
        np.testing.assert_allclose(values.sum(axis=1), 1.0, rtol=1e-14)
        np.testing.assert_allclose(np.sum(values * (np.asarray(offset)[:, None] + np.arange(order)), axis=1), order / 2)


@pytest.mark.parametrize("orders", [(6, 10), pytest.param((4, 6, 8, 10, 12), marks=pytest.mark.slow)])
def test_the_mesh_converges_to_the_sum(charges, orders):
    want = evaluated(*charges, CELL)
    errors = {}
    for order in orders:
        mesh = mesh_points(half_widths(CELL, SPACING), 2.0, order)
        got = evaluated(*charges, CELL, energy=mesh_energy, mesh=mesh, order=order)
        errors[order] = max(np.abs(a - b).max() / max(1.0, np.abs(b).max()) for a, b in zip(got, want, strict=True))
    assert all(errors[after] < errors[before] / 4 for before, after in pairwise(orders)), errors
    assert errors[10] < 1e-9 and errors.get(12, 0.0) < 1e-11, errors
