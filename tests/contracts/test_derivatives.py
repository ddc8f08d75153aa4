"""Forces and virials are the derivatives of the energy, and those of the forces exist everywhere.

Of other quantities that have them force and virial are derivatives of each number.  What has none is differentiated here: its
slopes and second derivatives are as smooth as those of an energy.
"""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tests.contracts.outputs import has_force, of_frames, only
from tests.contracts.slopes import SecondDerivatives

STEPS = np.array([-2.0, -1.0, 1.0, 2.0])
WEIGHTS = np.array([1.0, -8.0, 8.0, -1.0]) / 12.0  # fourth-order central difference


@only(has_force)
def test_force_is_minus_the_slope_of_the_energy(bench, kind):
    s, h = bench.structure(kind), bench.case.step
    for atom, axis in ((0, 0), (2, 1), (len(s.coord) - 1, 2)):
        step = np.zeros_like(s.coord)
        step[atom, axis] = h
        here, *around = bench(s, *[s.replace(coord=s.coord + k * step) for k in STEPS])
        np.testing.assert_allclose(here["force"][atom, ..., axis], -slope(bench, around, h), rtol=1e-7, atol=1e-8)


@only(has_force)
def test_virial_is_minus_the_slope_under_strain(bench, kind):
    s, h = bench.structure(kind), bench.case.step
    strain = np.random.default_rng(0).normal(size=(3, 3))
    here, *around = bench(s, *[s.strained(np.eye(3) + k * h * strain) for k in STEPS])
    virial = here["virial"].reshape(*bench.output.shape, 3, 3)
    along = np.sum(virial * strain.T.reshape(*(1,) * len(bench.output.shape), 3, 3), axis=(-2, -1))
    np.testing.assert_allclose(along, -slope(bench, around, h), rtol=1e-7, atol=1e-8)


@only(case=lambda case: "spin" in case.section)
def test_magnetic_force_is_minus_the_slope_by_the_spin(bench, kind):
    s, h = bench.structure(kind), 1e-3
    here = bench(s)[0]
    np.testing.assert_array_equal(here["mask_mag"][:, 0], s.atype == 0)
    for atom, axis in ((0, 0), (2, 1), (len(s.coord) - 1, 2)):
        step = np.zeros_like(s.coord)
        step[atom, axis] = h
        around = bench(*[s.replace(spin=s.spin + k * step) for k in STEPS])
        np.testing.assert_allclose(here["force_mag"][atom, axis], -slope(bench, around, h), rtol=1e-7, atol=1e-8)


@only(case=lambda case: "spin" in case.section)
def test_slopes_at_spins_of_zero_are_means(bench):
    """The virtual atom is on its atom: the distance has a kink there, and what goes with it cancels between opposite spins."""
    s = bench.structure()
    still = s.replace(spin=np.where(np.arange(len(s.spin))[:, None] < 5, 0.0, s.spin))
    small = 1e-10 * np.random.default_rng(1).normal(size=s.spin.shape) * (still.spin == 0.0)
    here, one, other = bench(still, *(still.replace(spin=still.spin + sign * small) for sign in (1, -1)))
    assert np.isfinite(here["force_mag"]).all()
    for key in ("force", "force_mag"):
        np.testing.assert_allclose(here[key], (one[key] + other[key]) / 2, rtol=1e-3, atol=1e-5, err_msg=key)


def slope(bench, around, h: float) -> np.ndarray:
    """Derivative of a frame's value, (*output.shape), from those at :data:`STEPS`."""
    return np.tensordot(WEIGHTS, [out[bench.output.total].reshape(bench.output.shape) for out in around], 1) / h


def dimer(bench, distance: float):
    """Two atoms of a pair that no option excludes, a third atom near the first one, a fourth far from all."""
    first, second = bench.case.touching
    s = bench.structure("cluster", numbers=(2, 2))
    along = np.array([0.6, 0.0, 0.8])
    near = 1.0 if "use_srtab" in bench.case.section else 1.3  # whose soft minimum forgets what is 2 angstrom farther
    coord = np.stack([np.zeros(3), distance * along, np.array([0.0, near, 0.0]), np.array([40.0, 0.0, 0.0])])
    spin = None if s.spin is None else np.zeros_like(s.spin)  # virtual atoms cross the cut-off with their atoms
    return s.replace(coord=coord, atype=np.array([first, second, second, first]), spin=spin)


@only(case=lambda case: case.smooth and not case.whole)
def test_values_and_slopes_are_smooth_at_the_cutoff(bench, second_derivatives):
    """Crossing the cut-off turns a neighbour into an empty place; with davg not zero an empty place counts too."""
    rcut, output = bench.model.rcut, bench.output
    gaps = np.array([-1e-3, -1e-6, 1e-6, 1e-3])
    dimers = [dimer(bench, rcut + g) for g in gaps]
    virtual = (
        0 if dimers[0].spin is None else 1
    )  # of two atoms; they are neighbours of these, and of what their atoms see
    want = [4 + 8 * virtual, 2 + 6 * virtual]
    assert [int(bench.pack([dimers[i]])[0].count.sum()) for i in (0, -1)] == want
    keys = (output.total, output.atomic, *(("force", "virial") if has_force(output) else ()))
    states = [{key: out[key] for key in keys} for out in bench(*dimers)]
    if not has_force(output):
        states = [out | {"slopes": second_derivatives.slopes(s)} for out, s in zip(states, dimers, strict=True)]
    inside, near, beyond, outside = states
    for key in near:
        np.testing.assert_allclose(near[key], beyond[key], atol=1e-10, err_msg=key)
        np.testing.assert_allclose(beyond[key], outside[key], atol=1e-13, err_msg=key)
        np.testing.assert_allclose(inside[key], beyond[key], atol=1e-4, err_msg=key)


@pytest.fixture(scope="module")
def second_derivatives(bench) -> SecondDerivatives:
    return SecondDerivatives(bench)


@only(lambda output: not has_force(output))
def test_slopes_without_forces_are_those_of_the_values(bench, second_derivatives, kind):
    s, h = bench.structure(kind), 5e-4
    direction = np.random.default_rng(2).normal(size=s.coord.shape)
    around = bench(*[s.replace(coord=s.coord + k * h * direction) for k in STEPS])
    want = np.sum(slope(bench, around, h) * second_derivatives.weights)
    np.testing.assert_allclose(-np.sum(second_derivatives.slopes(s) * direction), want, rtol=1e-7, atol=1e-8)


def test_second_derivatives_are_finite(bench, second_derivatives):
    """Isolated atoms, padded slots full of rubbish and unused frames included."""
    lone = bench.structure("cluster", numbers=(1, 0))
    batch, _ = bench.pack([bench.structure(), bench.structure("cluster"), lone, dimer(bench, 1.0)])
    for filled in (batch, rubbish(batch, 1e9)):
        for leaf in jax.tree.leaves(second_derivatives(filled)):
            assert np.isfinite(leaf).all()


def test_second_derivatives_are_the_slope_of_the_forces(bench, second_derivatives):
    s, h = bench.structure(), bench.case.step
    direction = np.random.default_rng(2).normal(size=s.coord.shape)
    batch, (places,) = bench.pack([s])
    found = np.sum(second_derivatives(batch)[1][places] * direction)
    moved = [second_derivatives.slopes(s.replace(coord=s.coord + k * h * direction)) for k in STEPS]
    sums = [np.sum(slopes * second_derivatives.probe[places]) for slopes in moved]
    np.testing.assert_allclose(found, WEIGHTS @ sums / h, rtol=1e-6)


def test_rubbish_in_padding_reaches_no_parameter(bench, second_derivatives):
    batch, places = bench.pack([bench.structure(), bench.structure("cluster")])
    clean, dirty = second_derivatives(batch), second_derivatives(rubbish(batch, 1e9))
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
        real = np.arange(3) if key in of_frames(bench.output) else np.concatenate(places)
        np.testing.assert_allclose(got[key][real], value[real], rtol=1e-13, atol=1e-13, err_msg=key)
    assert not got[bench.output.atomic][batch.atype < 0].any()
    assert not got[bench.output.total][3:].any()
