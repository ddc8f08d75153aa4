"""Dynamics with a modifier: numbers are those of ``evaluate``, and a cell that grows gets more reciprocal vectors."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dpjax
from dpjax.errors import DataError
from tests.models.corrected import corrected

pytest.importorskip("jax_md", reason="JAX-MD is not installed")
pytest.importorskip("ase", reason="ASE is not installed")

from dpjax.interfaces.jax_md import neighbor_fn_and_energy
from dpjax.interfaces.md import Dynamics, Simulation
from dpjax.interfaces.moving_correction import CELL_GREW
from dpjax.models.dipole_charge import sizes_of
from tests.interfaces.test_jax_md import CELL, close, continued, structure, waters


@pytest.fixture(scope="module")
def pot():
    return corrected()


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@pytest.mark.slow
def test_energy_force_and_virial_are_those_of_evaluate_in_cells_of_any_size(pot):
    coord, atype = waters(4)
    fractions = jnp.asarray(coord @ np.linalg.inv(CELL) % 1.0)
    neighbor_fn, energy_fn = neighbor_fn_and_energy(pot, CELL.T, atype)
    neighbors = neighbor_fn.allocate(fractions)
    evaluated = jax.jit(lambda R, neighbors, box: energy_fn.evaluate(R, neighbors, box=box))
    rng = np.random.default_rng(0)
    for box in (CELL.T, 0.99 * CELL.T):
        moved = (fractions + rng.normal(size=fractions.shape) * 0.005) % 1.0
        out, want = evaluated(moved, neighbors, box), pot.evaluate((moved @ box.T)[None], atype, box.T[None])
        close(out["energy"], want["energy"][0, 0], 1e-10)
        close(out["force"], want["force"][0])
        close(np.ravel(out["virial"]), want["virial"][0])
    large = 1.25 * CELL.T  # more vectors than there is room for
    anew = neighbor_fn.update(fractions, neighbors, box=large)
    assert np.isnan(evaluated(fractions, anew, large)["force"]).all()
    flags = neighbor_fn.diagnose(fractions, anew, box=large)
    assert "the cell grew" in flags.reasons
    grown = neighbor_fn.enlarged(fractions, anew, flags, box=large)
    assert all(a > b for a, b in zip(grown.sizes.half, neighbors.sizes.half, strict=True))
    want = pot.evaluate((np.asarray(fractions) @ large.T)[None], atype, large.T[None])
    close(energy_fn.evaluate(fractions, grown, box=large)["force"], want["force"][0])


def test_room_for_vectors_follows_the_cell_and_only_grows(pot):
    coord, atype = waters(4)
    fractions = jnp.asarray(coord @ np.linalg.inv(CELL) % 1.0)
    neighbor_fn, _ = neighbor_fn_and_energy(pot, CELL.T, atype)
    neighbors = neighbor_fn.allocate(fractions)
    assert neighbors.sizes == sizes_of(CELL[None], len(atype), pot.correction.charges.spacing)
    assert not neighbor_fn.diagnose(fractions, neighbors).bits
    flags = neighbor_fn.diagnose(fractions, neighbors, box=1.25 * CELL.T)
    assert flags.bits & CELL_GREW and "reciprocal vectors up to (4, 4, 4)" in flags.reasons
    capacity = neighbor_fn.places.system.grow(neighbors.capacity, flags, 1.0)
    assert capacity.sizes.half == (4, 4, 4) and capacity.network == neighbors.capacity.network
    again = neighbor_fn.allocate(fractions, least=capacity)
    assert again.sizes == capacity.sizes


def test_lists_that_are_stored_come_back_bit_by_bit(pot):
    coord, atype = waters(4)
    fractions = jnp.asarray(coord @ np.linalg.inv(CELL) % 1.0)
    neighbor_fn, _ = neighbor_fn_and_energy(pot, CELL.T, atype)
    neighbors = neighbor_fn.allocate(fractions)
    arrays, facts = neighbor_fn.places.system.stored(neighbors)
    again = neighbor_fn.places.system.restored(arrays, json.loads(json.dumps(facts)))
    assert again.capacity == neighbors.capacity
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(neighbors), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_open_structure_is_refused(pot):
    for pbc in ((False,) * 3, (True, True, False)):
        box = CELL.T if any(pbc) else None
        with pytest.raises(DataError, match="the structure: .*repeats in all directions"):
            neighbor_fn_and_energy(pot, box, waters(2)[1], pbc=pbc, fractional_coordinates=False)


@pytest.mark.slow
def test_a_mesh_gives_the_same(pot):
    coord, atype = waters(4)
    sizes = []
    for mesh in (False, True):
        own = dpjax.Potential(pot.config, pot.variables)
        own.correction.mesh = mesh
        neighbor_fn, energy_fn = neighbor_fn_and_energy(own, CELL.T, atype, fractional_coordinates=False)
        neighbors = neighbor_fn.allocate(jnp.asarray(coord))
        sizes.append(neighbors.sizes)
        close(energy_fn.force(coord, neighbors), pot.evaluate(coord[None], atype, CELL[None])["force"][0])
    assert sizes[0].mesh is None and sizes[1].mesh is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    "dynamics",
    [
        Dynamics("nve", temperature=40.0),
        Dynamics("nvt", temperature=60.0),
        Dynamics("npt", temperature=60.0, pressure=500.0, barostat_time=50.0),
    ],
    ids=lambda dynamics: dynamics.ensemble,
)
def test_dynamics_and_exact_restart(pot, dynamics):
    start = structure()
    one, first, _ = continued(pot, start, dynamics, 40)
    last, now = one.observe(), one.snapshot()
    want = pot.evaluate(now["coord"][None], start.atype, now["cell"][None])
    close(now["energy"], want["energy"][0, 0], 1e-10)
    close(now["force"], want["force"][0])
    close(np.ravel(now["virial"]), want["virial"][0])
    assert abs(last["conserved"] - first["conserved"]) < 0.05 * abs(last["potential"] - first["potential"]) + 2e-4


@pytest.mark.slow
def test_a_cell_that_grows_beyond_its_vectors_loses_no_step(pot, caplog):
    dynamics = Dynamics("npt", temperature=60.0, pressure=-2e4, barostat_time=60.0)
    run = Simulation(pot, structure(), dynamics, seed=3)
    before = run.neighbors.sizes
    with caplog.at_level("INFO", logger="dpjax"):
        run.advance(12)
    now = run.snapshot()
    assert "the cell grew" in caplog.text and run.neighbors.sizes.half > before.half
    close(now["force"], pot.evaluate(now["coord"][None], run.structure.atype, now["cell"][None])["force"][0])


@pytest.mark.slow
def test_many_structures_are_corrected_one_by_one(pot):
    starts, boxes = [waters(2), waters(4)], [CELL.T, 1.1 * CELL.T]
    coord, atypes = np.concatenate([x for x, _ in starts]), [t for _, t in starts]
    neighbor_fn, energy_fn = neighbor_fn_and_energy(pot, boxes, atypes)
    neighbors = neighbor_fn.allocate(jnp.asarray(coord))
    want = pot.evaluate([x for x, _ in starts], atypes, [box.T for box in boxes])
    close(energy_fn.each(coord, neighbors), np.ravel(want["energy"]), 1e-10)
    close(energy_fn.force(coord, neighbors), np.concatenate(want["force"]))
