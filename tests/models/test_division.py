"""Slabs: everyone is owned once, slabs are alike, and what a slab is sent holds all its atoms have within the cut-off."""

from __future__ import annotations

import numpy as np
import pytest

from dpjax.errors import DataError
from dpjax.models.spread import divide
from dpjax.models.spread.division import _cut, _exists, _hops
from dpjax.neighbors import search
from dpjax.neighbors.lattice import heights
from tests.export.frames import THIN, frame, thin_frame

RCUT = 3.0
STRUCTURES = {
    "periodic": frame(150),
    "open": frame(150, periodic=False),
    "thin": thin_frame(),
    "three slabs empty": frame(5, periodic=False),
}


def given(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    frame = STRUCTURES[name]
    return frame["coord"][0], frame["atype"], None if frame["cell"] is None else frame["cell"][0]


@pytest.mark.parametrize("n_slab", [1, 2, 4, 8])
@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("n_section", [1, 2])
def test_every_atom_has_one_place(name, n_slab, n_section):
    coord, atype, cell = given(name)
    atype = np.where(np.arange(len(atype)) == 1, -1, atype)
    plan, place, _ = divide(coord, atype, cell, n_slab, n_type=2, n_section=n_section, rcut=RCUT)
    real = atype >= 0
    assert (place[~real] == -1).all()
    assert len(np.unique(place[real])) == real.sum() and place.max() < n_slab * plan.n_own
    owned = np.bincount(place[real] // plan.n_own, minlength=n_slab)
    assert owned.max() - owned.min() <= 1
    if n_section == 2:  # atoms of a type stand together, in the same places of every slab
        assert ((place % plan.n_own >= plan.atoms[0]) == (atype == 1))[real].all()


@pytest.mark.parametrize("n_slab", [1, 2, 3, 7])
@pytest.mark.parametrize("name", STRUCTURES)
def test_a_slab_is_sent_all_that_its_atoms_see(name, n_slab):
    coord, atype, cell = given(name)
    box = np.eye(3) if cell is None else cell
    plan, _, frac = divide(coord, atype, cell, n_slab, n_type=2, n_section=1, rcut=RCUT)
    period = heights(box)[plan.axis] if plan.periodic else np.inf
    cut = _cut(frac[:, plan.axis] * heights(box)[plan.axis], np.arange(len(coord)), n_slab, period)
    table = search(frac @ box, atype, 2, RCUT, cell)
    owner = np.empty(len(coord), int)
    owner[cut.order] = np.repeat(np.arange(n_slab), np.diff(cut.bounds))
    assert plan.hops == _hops(cut, RCUT)
    for slab in range(n_slab):
        there = {(int(a), 0) for a in cut.order[cut.bounds[slab] : cut.bounds[slab + 1]]}
        for hop, room in plan.sent:
            sender, image = cut.target(slab, -hop)
            atoms = cut.order[cut.needed(sender, hop, RCUT)] if _exists(cut, slab, -hop) else []
            assert len(atoms) <= room
            there |= {(int(a), image) for a in atoms}
        own = owner[table.centre()] == slab
        seen = set(zip(table.index[own].tolist(), table.shift[own][:, plan.axis].tolist(), strict=True))
        assert seen <= there


def test_slabs_follow_the_largest_height_and_the_longest_extent():
    coord, atype, _ = given("periodic")
    sizes = {"n_type": 2, "n_section": 1, "rcut": RCUT}
    assert divide(coord[:3], atype[:3], THIN, 2, **sizes).plan.axis == int(np.argmax(heights(THIN)))
    assert divide(coord * [1.0, 3.0, 1.0], atype, None, 2, **sizes).plan.axis == 1
    assert divide(coord, atype, None, 2, axis=2, **sizes).plan.axis == 2


def test_sizes_of_an_earlier_plan_are_kept():
    coord, atype, cell = given("periodic")
    sizes = {"n_type": 2, "n_section": 2, "rcut": RCUT}
    before = divide(coord, atype, cell, 2, **sizes).plan
    rng = np.random.default_rng(1)
    moved = coord + rng.uniform(-0.05, 0.05, coord.shape)
    after = divide(moved, atype, cell, 2, like=before, **sizes).plan
    assert after.atoms == before.atoms
    assert all(new >= old for (_, new), (_, old) in zip(after.sent, before.sent, strict=True))
    assert divide(coord, atype, cell, 2, like=before, **sizes).plan == before


def test_two_atoms_on_one_point_are_refused():
    coord, atype, cell = given("periodic")
    coord = np.concatenate([coord, coord[:1]])
    with pytest.raises(DataError, match="on one point"):
        divide(coord, np.append(atype, 0), cell, 2, n_type=2, n_section=1, rcut=RCUT)
