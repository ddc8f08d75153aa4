"""Second derivatives of the energy: against automatic and numerical differentiation, and trained on."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.batching import Frame, choose_layout, pack, unpack_pairs
from dpjax.errors import ModelError
from dpjax.models import batch_geometry, hessian, predict
from dpjax.neighbors import search
from dpjax.nn.blocks import Work
from dpjax.nn.chebyshev import Grid
from tests.contracts.cases import model, potential, se_atten, se_e2_a, se_e2_r
from tests.contracts.structures import make

NET = {"neuron": [4]}
MIXED = model(se_atten(neuron=[3], attn_layer=0), fitting=NET)
CASES = {
    "type vectors": (MIXED, None),
    "networks per type, series": (model(se_e2_r(neuron=[3]), fitting=NET), Grid(10, 4, 8)),
    "attention": (model(se_atten(neuron=[3])), None),
    "networks per type": (model(se_e2_a(neuron=[3, 6], type_one_side=False)), None),
}


def cases(quick: int) -> list:
    """Names of the cases, all but the first few slow."""
    return [pytest.param(name, marks=[pytest.mark.slow] * (i >= quick)) for i, name in enumerate(CASES)]


A, B = make("crystal", numbers=(2, 3), seed=1), make("cluster", numbers=(2, 1), seed=2)
B = B.joined(B.take([0]).replace(coord=np.full((1, 3), 9.0), atype=np.array([-1]))).take([1, 3, 0, 2])  # a placeholder


@pytest.fixture(scope="module", params=cases(2))
def case(request):
    """A model with its grid and a batch of two frames, their places, and columns for more atoms than there are."""
    section, grid = CASES[request.param]
    pot = potential(section)
    frames = [Frame(s.coord, s.atype, search(s.coord, s.atype, 2, pot.rcut, s.cell), s.cell) for s in (A, B)]
    layout = replace(choose_layout(frames, pot.model.n_section, pot.model.sel), frames=3)
    batch, places = pack(frames, layout)
    return pot, grid, jax.tree.map(jnp.asarray, batch), places


@pytest.fixture(scope="module")
def computed(case) -> np.ndarray:
    """Directions of two atoms at once, of the last one alone."""
    pot, grid, batch, _ = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hessian, "atoms_at_once", lambda *sizes: 2)
        return np.asarray(jax.jit(partial(predict, pot.model, hessian=7, grid=grid))(pot.variables, batch)["hessian"])


def test_columns_are_derivatives_of_the_energy(case, computed):
    """Of the same batch with one function of all coordinates, networks in the place of series."""
    pot, _, batch, places = case

    def energy(coord):
        return jnp.sum(pot.model.apply(pot.variables, batch_geometry(batch.replace(coord=coord)), batch)["atom_energy"])

    want = np.asarray(jax.jit(jax.hessian(energy))(batch.coord))
    assert computed.shape == (batch.layout.n_atom, 63)
    for own in places:
        here = np.where(own < 0, 0, own)
        square = np.where((own < 0)[:, None, None, None] | (own < 0)[None, None, :, None], 0, want[here][:, :, here])
        np.testing.assert_allclose(unpack_pairs(computed, own), square.reshape(3 * len(own), -1), atol=1e-10)
    assert np.abs(computed).max() > 1e-3
    assert np.count_nonzero(computed) <= 9 * (5**2 + 3**2)  # all else is padding
    assert not computed[np.asarray(batch.atype) < 0].any()


@pytest.mark.parametrize("case", cases(1), indirect=True)
def test_gradients_by_parameters_pass_through_it(case):
    """Against the difference of two losses along a random direction of the parameters."""
    pot, grid, batch, _ = case
    rng = np.random.default_rng(5)
    weights = jnp.asarray(rng.normal(size=(batch.layout.n_atom, 45)))
    along = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape)), pot.variables["params"])

    def loss(params):
        variables = {**pot.variables, "params": params}
        out = predict(pot.model, variables, batch, force=False, hessian=5, work=Work(block=4), grid=grid)
        return jnp.sum(weights * out["hessian"] ** 2)

    params, step = pot.variables["params"], 1e-4
    loss_and_gradient = jax.jit(jax.value_and_grad(loss))
    gradient = loss_and_gradient(params)[1]

    def at(h):
        return loss_and_gradient(jax.tree.map(lambda p, d: p + h * d, params, along))[0]

    slope = sum(jnp.vdot(g, d) for g, d in zip(*map(jax.tree.leaves, (gradient, along)), strict=True))
    np.testing.assert_allclose(slope, (at(step) - at(-step)) / (2 * step), rtol=1e-5)


def test_atoms_are_counted_within_their_frame(case):
    _, _, batch, places = case
    got = np.asarray(hessian.ranks(batch))
    want = np.full(batch.layout.n_atom, -1)
    for own in places:
        atoms = np.sort(own[own >= 0])
        want[atoms] = np.arange(len(atoms))
    np.testing.assert_array_equal(got, want)


@pytest.fixture(scope="module")
def pot():
    return potential(MIXED)


@pytest.fixture(scope="module")
def ragged(pot) -> list[np.ndarray]:
    return pot.evaluate([A.coord, B.coord], [A.atype, B.atype], [A.cell, None], hessian=True)["hessian"]


def test_rows_are_slopes_of_the_forces(pot, ragged):
    step = 1e-4
    for frame, got in zip((A, B), ragged, strict=True):
        n = len(frame.coord)
        moves = step * np.eye(3 * n).reshape(3 * n, n, 3)
        coord = np.concatenate([frame.coord + moves, frame.coord - moves])
        cell = None if frame.cell is None else np.stack([frame.cell] * len(coord))
        force = pot.evaluate(coord, frame.atype, cell)["force"].reshape(2, 3 * n, 3 * n)
        np.testing.assert_allclose(got, -(force[0] - force[1]) / (2 * step), atol=1e-6)


def test_it_is_symmetric_and_blind_to_translations(ragged):
    for got in ragged:
        np.testing.assert_allclose(got, got.T, atol=1e-11)
        np.testing.assert_allclose(got.reshape(len(got), -1, 3).sum(axis=1), 0, atol=1e-11)
    placeholder = np.repeat(B.atype < 0, 3)
    assert not ragged[1][placeholder].any() and not ragged[1][:, placeholder].any()


def test_frames_of_one_size_are_one_array(pot, ragged):
    order = np.array([3, 0, 4, 2, 1])  # of the atoms of the second frame
    out = pot.evaluate(
        np.stack([A.coord, A.coord[order]]), np.stack([A.atype, A.atype[order]]), [A.cell] * 2, hessian=True
    )
    assert out["hessian"].shape == (2, 15, 15)
    axis = (3 * order[:, None] + np.arange(3)).ravel()
    np.testing.assert_allclose(out["hessian"][0], ragged[0], atol=1e-12)
    np.testing.assert_allclose(out["hessian"][1], ragged[0][axis[:, None], axis], atol=1e-12)
    assert pot.evaluate(np.zeros((0, 4, 3)), np.zeros(4, int), hessian=True)["hessian"].shape == (0, 12, 12)


def test_only_energies_have_one():
    dipole = potential(model(se_e2_a(neuron=[3]), fitting={"type": "dipole"}))
    with pytest.raises(ModelError, match="Hessian.*global_dipole, not energies"):
        dipole.evaluate(A.coord[None], A.atype, A.cell[None], hessian=True)
