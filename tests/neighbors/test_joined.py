"""Searching many structures at once gives the tables of one after another."""

from __future__ import annotations

import numpy as np
import pytest

from dpjax.errors import DataError
from dpjax.neighbors import expected_neighbors, search, search_many
from tests.contracts.structures import make

RCUT = 3.0


def given(number: int = 30):
    """Clusters, some far from the origin, some with placeholders, with a crystal here and there."""
    rng = np.random.default_rng(3)
    out = [make("cluster" if i % 4 else "crystal", numbers=tuple(rng.integers(1, 9, 2)), seed=i) for i in range(number)]
    out = [one.replace(coord=one.coord + rng.normal(size=3) * 50) for one in out]
    out[5] = out[5].replace(atype=np.full_like(out[5].atype, -1))
    out[6] = out[6].replace(atype=np.where(np.arange(len(out[6].atype)) == 1, -1, out[6].atype))
    out[7] = out[7].take([0])
    out[9] = out[9].take([])
    return out


def lists(structures):
    return [s.coord for s in structures], [s.atype for s in structures], [s.cell for s in structures]


def test_the_tables_are_the_same():
    structures = given()
    coord, atype, cell = lists(structures)
    found = search_many(coord, atype, 2, RCUT, cell)
    for own, s in zip(found, structures, strict=True):
        want = search(s.coord, s.atype, 2, RCUT, s.cell)
        for name in ("count", "index", "shift"):
            assert getattr(own, name).dtype == getattr(want, name).dtype
            np.testing.assert_array_equal(getattr(own, name), getattr(want, name))
    assert search_many([], [], 2, RCUT, []) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.replace(coord=np.zeros_like(s.coord)), "third: atoms 0 and 1 are on one point"),
        (lambda s: s.replace(coord=s.coord * np.nan), "third: the coordinates of atom 0"),
        (lambda s: s.replace(atype=s.atype + 1), "third: atom types run from"),
    ],
)
def test_what_is_wrong_is_named(change, message):
    structures = [make("cluster", seed=i) for i in range(4)]
    structures[2] = change(structures[2])
    coord, atype, cell = lists(structures)
    with pytest.raises(DataError, match=message):
        search_many(coord, atype, 2, RCUT, cell, ["first", "second", "third", "fourth"])


def test_expected_neighbors():
    cells = [None, np.diag([10.0, 10, 10]), None]
    sphere = 4 / 3 * np.pi * 27
    np.testing.assert_allclose(expected_neighbors(np.array([4, 50, 500]), 3.0, cells), [3, 0.05 * sphere, 0.1 * sphere])


def test_a_cut_off_far_beyond_open_structures_costs_nothing():
    """vesin alone would look through the cube of the cut-off over the extent."""
    rng = np.random.default_rng(5)
    coord = [rng.uniform(0, 6, (n, 3)) for n in (9, 6)]
    atype = [rng.integers(0, 2, len(x)) for x in coord]
    for x, t, table in zip(coord, atype, search_many(coord, atype, 2, 1e4, [None, None]), strict=True):
        alone = search(x, t, 2, 1e4)
        for found in (table, alone):
            assert (found.count.sum(axis=1) == len(x) - 1).all()
            np.testing.assert_array_equal(found.count, alone.count)
            np.testing.assert_array_equal(found.index, alone.index)
