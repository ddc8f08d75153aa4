"""Distances that bridging clamps, gates of atoms, the screened repulsion, and switches of dpa4, against tables of DeePMD-kit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.descriptors.dpa4.edges import radial_functions, switch
from dpjax.nn.bridging import Bridge, clamped, faded, gate, protons, screened_repulsion
from tests.shared import golden

BRIDGE = Bridge(0.6, 1.1)


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def table() -> dict[str, np.ndarray]:
    return dict(np.load(golden("dpa4_tables", "envelope.npz")))


def seen(distance: jax.Array) -> jax.Array:
    """What the network sees of distances along a slanted line."""
    direction = jnp.asarray([0.36, 0.48, 0.8])
    disp, length = clamped(distance[:, None] * direction[None], BRIDGE)
    np.testing.assert_allclose(jnp.linalg.norm(disp, axis=1), length, rtol=1e-14)
    return length


@pytest.mark.parametrize("exponent", [1, 3, 5, 7, 8])
def test_switches(table, exponent):
    got = switch(jnp.asarray(table["r"] / table["rcut"]), exponent)
    np.testing.assert_allclose(got, table[f"envelope_p{exponent}"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["bessel", "gaussian"])
def test_radial_functions(table, kind):
    r, rcut, n = jnp.asarray(table["r"]), float(table["rcut"]), table[kind].shape[1]
    first = np.arange(1, n + 1) * np.pi / rcut if kind == "bessel" else np.linspace(0.0, rcut, n)
    got = radial_functions(r[:, None], jnp.asarray(first)[None], kind, rcut)[:, 0]
    weighed = got * switch(r / rcut, 7)[:, None]
    assert min(np.abs(np.asarray(x) - table[kind]).max() for x in (got, weighed)) < 1e-13


def test_clamped_distances_and_the_gate(table):
    length = seen(jnp.asarray(table["r_bridge"]))
    np.testing.assert_allclose(length, table["clamp_0.6_1.1"], atol=1e-14)
    alone = jnp.ones((len(length), 1), bool)
    np.testing.assert_allclose(gate(length[:, None], alone, BRIDGE), table["switch_of_clamp_0.6_1.1"], atol=1e-13)


def test_what_is_seen_is_smooth_at_both_ends():
    """Two derivatives of distance and gate are those beyond: of standing still, and of the truth."""

    def gates(r):
        return gate(clamped(jnp.stack([r, 0.0, 0.0])[None], BRIDGE)[1], jnp.ones(1, bool), BRIDGE)

    def length(r):
        return clamped(jnp.stack([r, 0.0, 0.0])[None], BRIDGE)[1][0]

    for fn, inside, outside in ((length, (0.6, 0.0), (1.1, 1.0)), (gates, (0.0, 0.0), (1.0, 0.0))):
        for r, (value, slope) in ((0.6 + 1e-7, inside), (1.1 - 1e-7, outside)):
            assert abs(float(fn(r)) - value) < 1e-6
            assert abs(float(jax.grad(fn)(r)) - slope) < 1e-5
            assert abs(float(jax.grad(jax.grad(fn))(r))) < 1e-3


def test_what_fades_is_smooth_at_both_ends():
    def fn(r):
        return faded(r, 2.0, 4.0)

    assert [float(fn(r)) for r in (1.0, 2.0, 3.0, 4.0, 5.0)] == [1.0, 1.0, 0.5, 0.0, 0.0]
    for r in (2.0 + 1e-6, 4.0 - 1e-6):
        assert abs(float(jax.grad(fn)(r))) < 1e-12 and abs(float(jax.grad(jax.grad(fn))(r))) < 1e-9


@pytest.mark.slow
def test_atoms_that_vanish_have_finite_derivatives():
    """Of the gate, by distances of which several stand still, once and twice."""
    distances = jnp.asarray([0.6, 0.6, 0.9, 2.0, 5.0])
    mask = jnp.asarray([True, True, True, True, False])

    def fn(x):
        return gate(x, mask, BRIDGE)

    assert float(fn(distances)) == 0.0
    assert np.all(jax.grad(fn)(distances) == 0.0)
    assert np.isfinite(jax.hessian(fn)(distances)).all()


@pytest.mark.parametrize(("pair", "name"), [(("H", "O"), "zbl_HO"), (("Cu", "O"), "zbl_CuO")])
def test_repulsion_of_nuclei(table, pair, name):
    first, second = protons(pair)
    got = screened_repulsion(jnp.asarray(table["r_zbl"]), first, second)
    np.testing.assert_allclose(got, table[name], rtol=1e-12)
