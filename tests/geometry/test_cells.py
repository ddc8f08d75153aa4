"""Cell functions against linear algebra, for NumPy and jax."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.geometry.cells import heights, inverse3, volume, wrap

CELLS = np.random.default_rng(0).normal(size=(5, 3, 3)) * 4.0


@pytest.mark.parametrize("module", [np, jnp], ids=["numpy", "jax"])
@pytest.mark.parametrize("cell", [CELLS, CELLS[0], CELLS[1, [1, 0, 2]]], ids=["stack", "one", "other hand"])
def test_inverse_and_volume(module, cell):
    np.testing.assert_allclose(inverse3(module.asarray(cell)), np.linalg.inv(cell), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(volume(module.asarray(cell)), np.linalg.det(cell), rtol=1e-12)


def test_numpy_stays_numpy_and_the_precision_is_kept():
    assert isinstance(inverse3(CELLS), np.ndarray)
    assert inverse3(jnp.asarray(CELLS, jnp.float32)).dtype == jnp.float32
    assert wrap(jnp.ones((2, 3), jnp.float32), jnp.asarray(CELLS[0], jnp.float32))[0].dtype == jnp.float32


def test_heights_are_distances_between_planes():
    def height(cell, a):
        return abs(np.linalg.det(cell)) / np.linalg.norm(np.cross(cell[(a + 1) % 3], cell[(a + 2) % 3]))

    want = [height(cell, a) for cell in CELLS for a in range(3)]
    np.testing.assert_allclose(np.ravel(heights(CELLS)), want, rtol=1e-12)
    np.testing.assert_allclose(heights(np.diag([2.0, 3.0, 4.0])), [2.0, 3.0, 4.0])


@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True)])
def test_wrap_moves_by_whole_vectors_into_the_cell(pbc):
    coord = np.random.default_rng(1).normal(size=(7, 3)) * 30
    inside, turns = wrap(coord, CELLS[0], pbc)
    np.testing.assert_allclose(inside + turns @ CELLS[0], coord, atol=1e-12)
    frac = inside @ np.linalg.inv(CELLS[0])
    for a in range(3):
        assert ((frac[:, a] > -1e-12) & (frac[:, a] < 1 + 1e-12)).all() == pbc[a]
    assert (turns == np.round(turns)).all()


def test_open_frames_stay_finite():
    zero = jnp.zeros((3, 3))
    coord = jnp.ones((2, 3)) * 9.0
    np.testing.assert_array_equal(wrap(coord, zero)[0], coord)
    for fn in (inverse3, heights, volume):
        assert np.isfinite(jax.grad(lambda c, f=fn: jnp.sum(f(c)))(zero)).all()
        np.testing.assert_array_equal(fn(zero), 0.0)


def test_runs_under_jit_without_lapack():
    text = jax.jit(lambda c: (inverse3(c), volume(c), heights(c))).lower(jnp.asarray(CELLS)).as_text()
    assert "custom_call" not in text
