"""Displacements: images, frames, and what unused slots may hold."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.geometry.displacements import displacements

COORD = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [5.0, 5.0, 5.0]])
CELL = np.array([[[4.0, 0, 0], [1.0, 5.0, 0], [0, 0, 6.0]], np.zeros((3, 3))])
FRAME = np.array([0, 0, 1], np.int32)


def test_displacement_is_image_of_neighbour_minus_centre():
    index = np.array([[1, 0], [0, 0], [2, 2]], np.int32)
    shift = np.array([[[0, 0, 0], [1, -1, 2]], [[0, 1, 0], [0, 0, -1]], [[0, 0, 0], [3, 3, 3]]], np.int8)
    got = displacements(COORD, CELL, FRAME, index, shift)
    want = [
        [[1.0, 2.0, 3.0], [4.0 - 1.0, -5.0, 12.0]],
        [[1.0 - 1.0, 5.0 - 2.0, -3.0], [-1.0, -2.0, -6.0 - 3.0]],
        [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],  # frame 1 has no cell: shifts mean nothing there
    ]
    np.testing.assert_allclose(got, want)


def test_slopes_reach_centre_neighbour_and_cell():
    index, shift = np.array([[1], [0], [2]], np.int32), np.array([[[2, 0, 0]], [[0, 0, 0]], [[0, 0, 0]]], np.int8)

    def x_of_first(coord, cell):
        return displacements(coord, cell, FRAME, index, shift)[0, 0, 0]

    coord, cell = jax.grad(x_of_first, argnums=(0, 1))(jnp.asarray(COORD), jnp.asarray(CELL))
    np.testing.assert_array_equal(coord[:, 0], [-1.0, 1.0, 0.0])
    assert cell[0, 0, 0] == 2.0
    assert float(jnp.abs(coord).sum() + jnp.abs(cell).sum()) == 4.0
