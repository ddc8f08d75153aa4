"""The host search against an exhaustive sum over images, and its errors."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from dpjax.errors import DataError
from dpjax.neighbors import search

THIN = np.array([[2.1, 0.0, 0.0], [0.9, 6.3, 0.0], [-1.7, 2.2, 7.9]])
ORTHO = np.diag([8.0, 9.0, 10.0])
LEFT_HANDED = ORTHO[[1, 0, 2]] + 0.3


def exhaustive(coord, atype, rcut, cell, reach=14, pbc=(True, True, True)):
    """Set of (centre, neighbour, shift) by trying every pair and every image."""
    ranges = [range(-reach, reach + 1) if cell is not None and p else range(1) for p in pbc]
    shifts = np.array(list(product(*ranges)))
    image = shifts @ (np.zeros((3, 3)) if cell is None else cell)
    found = set()
    for i, j in product(np.flatnonzero(atype >= 0), repeat=2):
        dist = np.linalg.norm(coord[j] + image - coord[i], axis=1)
        for s in shifts[(dist < rcut) & ((i != j) | shifts.any(axis=1))]:
            found.add((int(i), int(j), *map(int, s)))
    return found


def edges(table):
    return [(int(i), int(j), *map(int, s)) for i, j, s in zip(table.centre(), table.index, table.shift, strict=True)]


def structure(cell, n=12, seed=0, spread=0.0):
    rng = np.random.default_rng(seed)
    frac = rng.uniform(-spread, 1 + spread, (n, 3))
    coord = frac @ (np.eye(3) * 6 if cell is None else cell)
    return coord, rng.integers(-1, 3, n)


@pytest.mark.parametrize("cell", [ORTHO, THIN, LEFT_HANDED, None], ids=["ortho", "thin", "left", "cluster"])
@pytest.mark.parametrize("spread", [0.0, 2.5])
def test_equals_exhaustive_search(cell, spread):
    coord, atype = structure(cell, spread=spread if cell is not None else spread / 5)
    table = search(coord, atype, 3, 5.0, cell)
    got = edges(table)
    assert len(got) == len(set(got)) > 0
    assert set(got) == exhaustive(coord, atype, 5.0, cell)


@pytest.mark.parametrize("cell", [ORTHO, THIN, None])
def test_order_counts_and_displacements(cell):
    coord, atype = structure(cell, seed=3, spread=1.0)
    table = search(coord, atype, 3, 5.0, cell)
    centre, nbr_type = table.centre(), atype[table.index]
    dist = np.linalg.norm(table.displacements(coord, cell), axis=1)
    assert dist.max() < 5.0
    order = np.lexsort((dist, nbr_type, centre))
    np.testing.assert_array_equal(dist[order], dist)
    np.testing.assert_array_equal(order, np.arange(table.n_edge))
    for i, t in product(range(len(coord)), range(3)):
        assert table.count[i, t] == np.sum((centre == i) & (nbr_type == t))


def test_virtual_atoms_and_their_coordinates_do_not_matter():
    coord, atype = structure(ORTHO)
    atype[::3] = -1
    want = search(coord, atype, 3, 4.0, ORTHO)
    coord[::3] = np.nan
    coord[3] = 0.0
    got = search(coord, atype, 3, 4.0, ORTHO)
    np.testing.assert_array_equal(got.index, want.index)
    assert got.count[::3].sum() == 0 and not np.isin(got.index, np.arange(0, 12, 3)).any()


def test_self_images_of_one_atom():
    table = search(np.array([[0.3, 0.1, 9.0]]), np.array([0]), 1, 3.1, np.eye(3) * 3.0)
    assert table.count.tolist() == [[6]] and set(table.index) == {0}


@pytest.mark.parametrize("pbc", [(True, True, False), (False, False, True), (False, False, False)])
def test_partial_periodicity(pbc):
    coord, atype = structure(THIN, spread=0.5)
    got = edges(search(coord, atype, 3, 4.0, THIN, pbc=pbc))
    assert set(got) == exhaustive(coord, atype, 4.0, THIN, pbc=pbc)


def test_open_direction_needs_no_cell_vector():
    coord, atype = structure(None)
    slab = np.diag([5.0, 6.0, 0.0])
    got = edges(search(coord, atype, 3, 4.0, slab, pbc=(True, True, False)))
    assert set(got) == exhaustive(coord, atype, 4.0, slab, pbc=(True, True, False))


def test_far_outside_widens_the_shift():
    coord, atype = structure(ORTHO)
    atype[:] = 0
    coord[0, 0] += 8.0 * 300
    table = search(coord, atype, 1, 5.0, ORTHO)
    assert table.shift.dtype == np.int16
    assert np.linalg.norm(table.displacements(coord, ORTHO), axis=1).max() < 5.0
    assert search(coord % 8.0, atype, 1, 5.0, ORTHO).shift.dtype == np.int8
    coord[0, 0] += 8.0 * 1e5
    assert search(coord, atype, 1, 5.0, ORTHO).shift.dtype == np.int32


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_atoms(n):
    table = search(np.arange(3.0 * n).reshape(n, 3) * 10, np.zeros(n, int), 2, 3.0)
    assert table.count.shape == (n, 2) and table.n_edge == 0 and table.shift.shape == (0, 3)


def _bad(name):
    coord, atype = structure(ORTHO)
    atype[:] = 0
    cell = ORTHO.copy()
    match name:
        case "nan":
            coord[7, 1] = np.nan
        case "inf":
            coord[7, 1] = np.inf
        case "coincident":
            coord[9] = coord[4] + [0, 0, 5e-7]
        case "coincident image":
            coord[9] = coord[4] + cell[0] - cell[2]
        case "zero cell":
            cell[:] = 0
        case "singular cell":
            cell[2] = cell[0] + cell[1]
        case "nan cell":
            cell[0, 0] = np.nan
        case "cell shape":
            cell = cell[:2]
        case "coord shape":
            coord = coord[:, :2]
        case "type count":
            atype = atype[:-1]
        case "type range":
            atype[0] = 1
        case "tiny cell":
            cell = cell * 1e-4
        case "far away":
            coord[0] = 1e300
    return coord, atype, cell


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nan", "atom 7"),
        ("inf", "atom 7"),
        ("coincident", "atoms 4 and 9"),
        ("coincident image", "atoms 4 and 9"),
        ("zero cell", "no volume"),
        ("singular cell", "no volume"),
        ("nan cell", "not finite"),
        ("cell shape", r"\(2, 3\)"),
        ("coord shape", r"\(12, 2\)"),
        ("type count", r"\(11,\)"),
        ("type range", "from 0 to 1"),
        ("tiny cell", "units"),
        ("far away", "units"),
    ],
)
def test_bad_input_is_named(name, message):
    coord, atype, cell = _bad(name)
    with pytest.raises(DataError, match=message):
        search(coord, atype, 1, 5.0, cell)


@pytest.mark.parametrize("rcut", [0.0, -1.0, np.nan])
def test_bad_cutoff(rcut):
    with pytest.raises(DataError, match="cut-off"):
        search(np.zeros((1, 3)), np.zeros(1, int), 1, rcut)
