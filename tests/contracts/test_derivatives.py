"""Forces and virials are the derivatives of the energy, and so are those of the forces, everywhere."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.models import predict
from tests.contracts.bench import QUICK

STEPS = np.array([-2.0, -1.0, 1.0, 2.0])
WEIGHTS = np.array([1.0, -8.0, 8.0, -1.0]) / 12.0  # fourth-order central difference


def test_force_is_minus_the_slope_of_the_energy(bench, kind):
    s, h = bench.structure(kind), 1e-3
    for atom, axis in ((0, 0), (2, 1), (len(s.coord) - 1, 2)):
        step = np.zeros_like(s.coord)
        step[atom, axis] = h
        here, *around = bench(s, *[s.replace(coord=s.coord + k * step) for k in STEPS])
        slope = WEIGHTS @ [out["energy"].item() for out in around] / h
        np.testing.assert_allclose(here["force"][atom, axis], -slope, rtol=1e-7, atol=1e-8)


def test_virial_is_minus_the_slope_under_strain(bench, kind):
    s, h = bench.structure(kind), 1e-3
    strain = np.random.default_rng(0).normal(size=(3, 3))
    here, *around = bench(s, *[s.mapped(np.eye(3) + k * h * strain) for k in STEPS])
    slope = WEIGHTS @ [out["energy"].item() for out in around] / h
    np.testing.assert_allclose(np.sum(here["virial"].reshape(3, 3) * strain.T), -slope, rtol=1e-7, atol=1e-8)


def dimer(bench, distance: float):
    """Two atoms of a pair that no option excludes, a third atom near the first one, a fourth far from all."""
    first, second = bench.case.touching
    s = bench.structure("cluster", numbers=(2, 2))
    along = np.array([0.6, 0.0, 0.8])
    coord = np.stack([np.zeros(3), distance * along, np.array([0.0, 1.3, 0.0]), np.array([40.0, 0.0, 0.0])])
    return s.replace(coord=coord, atype=np.array([first, second, second, first]))


def test_energy_and_force_are_smooth_at_the_cutoff(bench):
    """Crossing the cut-off turns a neighbour into an empty place; with davg not zero an empty place counts too."""
    rcut = bench.model.rcut
    gaps = np.array([-1e-3, -1e-6, 1e-6, 1e-3])
    assert [int(bench.pack([dimer(bench, rcut + g)])[0].count.sum()) for g in gaps[[0, -1]]] == [4, 2]
    inside, near, beyond, outside = bench(*[dimer(bench, rcut + g) for g in gaps])
    for key in ("energy", "force", "virial", "atom_energy"):
        np.testing.assert_allclose(near[key], beyond[key], atol=1e-10, err_msg=key)
        np.testing.assert_allclose(beyond[key], outside[key], atol=1e-13, err_msg=key)
        np.testing.assert_allclose(inside[key], beyond[key], atol=1e-4, err_msg=key)


@pytest.fixture(scope="module")
def second_derivatives(bench):
    """Derivatives of a random projection of all forces with respect to coordinates and parameters, compiled once."""
    probe = np.random.default_rng(1).normal(size=(bench.layout.n_atom, 3))

    def projection(params, coord, batch):
        out = predict(
            bench.model, {**bench.variables, "params": params}, batch.replace(coord=coord), grid=bench.case.grid
        )
        return jnp.sum(out["force"] * jnp.where(batch.atype >= 0, 1.0, 0.0)[:, None] * probe)

    gradient = jax.jit(jax.grad(projection, argnums=(0, 1)), compiler_options=QUICK)
    return probe, lambda batch: jax.device_get(gradient(bench.variables["params"], jnp.asarray(batch.coord), batch))


def test_second_derivatives_are_finite(bench, second_derivatives):
    """Isolated atoms, padded slots full of rubbish and unused frames included."""
    lone = bench.structure("cluster", numbers=(1, 0))
    batch, _ = bench.pack([bench.structure(), bench.structure("cluster"), lone, dimer(bench, 1.0)])
    for filled in (batch, rubbish(batch, 1e9)):
        for leaf in jax.tree.leaves(second_derivatives[1](filled)):
            assert np.isfinite(leaf).all()


def test_second_derivatives_are_the_slope_of_the_forces(bench, second_derivatives):
    probe, gradient = second_derivatives
    s, h = bench.structure(), 1e-3
    direction = np.random.default_rng(2).normal(size=s.coord.shape)
    batch, (places,) = bench.pack([s])
    slope = np.sum(gradient(batch)[1][places] * direction)
    sums = []
    for k in STEPS:
        sums.append(np.sum(bench(s.replace(coord=s.coord + k * h * direction))[0]["force"] * probe[places]))
    np.testing.assert_allclose(slope, WEIGHTS @ sums / h, rtol=1e-6)


def test_rubbish_in_padding_reaches_no_parameter(bench, second_derivatives):
    batch, places = bench.pack([bench.structure(), bench.structure("cluster")])
    clean, dirty = second_derivatives[1](batch), second_derivatives[1](rubbish(batch, 1e9))
    for want, got in zip(jax.tree.leaves(clean[0]), jax.tree.leaves(dirty[0]), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
    real = np.concatenate(places)
    np.testing.assert_allclose(dirty[1][real], clean[1][real], rtol=1e-12, atol=1e-12)


def rubbish(batch, size: float):
    """The same batch with finite rubbish wherever a batch is padded: atoms, slots, frames."""
    rng = np.random.default_rng(6)
    empty_atom = batch.atype < 0
    slot = np.concatenate(
        [np.arange(k)[None] >= batch.count[:, t, None] for t, k in enumerate(batch.layout.nbrs)], axis=1
    )
    slot |= empty_atom[:, None]
    coord, cell, index, shift = batch.coord.copy(), batch.cell.copy(), batch.index.copy(), batch.shift.copy()
    coord[empty_atom] = size * rng.uniform(-1, 1, (empty_atom.sum(), 3))
    cell[batch.natoms == 0] = size
    index[slot] = rng.integers(0, batch.layout.n_atom, slot.sum())
    shift[slot] = rng.integers(-100, 100, (slot.sum(), 3))
    return batch.replace(coord=coord, cell=cell, index=index, shift=shift)


@pytest.mark.parametrize("size", [1.0, 1e9])
def test_rubbish_in_padding_changes_no_output(bench, size):
    batch, places = bench.pack([bench.structure(), bench.structure("cluster"), bench.structure(numbers=(0, 3))])
    want, got = bench.run(batch), bench.run(rubbish(batch, size))
    for key, value in want.items():
        real = np.arange(3) if key in ("energy", "virial") else np.concatenate(places)
        np.testing.assert_allclose(got[key][real], value[real], rtol=1e-13, atol=1e-13, err_msg=key)
    assert not got["atom_energy"][batch.atype < 0].any()
    assert not got["energy"][3:].any()
