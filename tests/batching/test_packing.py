"""Packing: every atom and neighbour finds its place, and results find their way back."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dpjax.batching import (
    Frame,
    Layout,
    choose_layout,
    most_neighbors,
    pack,
    pack_atoms,
    pack_pairs,
    unpack_atoms,
    unpack_pairs,
)
from dpjax.errors import CapacityError
from dpjax.geometry.displacements import displacements
from dpjax.neighbors import search
from tests.contracts.structures import make

RCUT = 3.0


def frame(kind: str, numbers, seed: int, holes: int = 0) -> Frame:
    """A structure with ``holes`` placeholders among its atoms."""
    s = make(kind, numbers=numbers, fparam=2, aparam=1, seed=seed)
    rng = np.random.default_rng(seed)
    s = s.joined(s.take(np.arange(holes)).replace(coord=rng.uniform(0, 5, (holes, 3)), atype=np.full(holes, -1)))
    s = s.take(rng.permutation(len(s.coord)))
    return Frame(s.coord, s.atype, search(s.coord, s.atype, 2, RCUT, s.cell), s.cell, s.fparam, s.aparam)


FRAMES = [frame("crystal", (4, 7), 0), frame("cluster", (3, 1), 1, holes=2), frame("crystal", (0, 5), 2, holes=1)]


@pytest.fixture(params=[2, 1], ids=["by type", "one section"])
def n_section(request) -> int:
    return request.param


def edges_of_frame(f: Frame) -> set:
    """(centre, neighbour, displacement) of a frame's table."""
    disp = f.table.displacements(f.coord, f.cell)
    return {(i, j, *np.round(d, 9)) for i, j, d in zip(f.table.centre(), f.table.index, disp)}


def edges_of_batch(batch, places) -> list[set]:
    """The same, read back from the padded arrays with the package's own displacements."""
    disp = np.asarray(displacements(batch.coord, batch.cell, batch.frame, batch.index, batch.shift))
    home = {place: (f, i) for f, own in enumerate(places) for i, place in enumerate(own) if place >= 0}
    found = [set() for _ in places]
    for place, (f, i) in home.items():
        for t, start in enumerate(batch.layout.nbr_start[:-1]):
            for slot in range(start, start + batch.count[place, t]):
                g, j = home[batch.index[place, slot]]
                assert f == g, "a neighbour from another frame"
                assert len(batch.layout.nbrs) == 1 or batch.atype[batch.index[place, slot]] == t
                found[f].add((i, j, *np.round(disp[place, slot], 9)))
    return found


def test_every_neighbour_survives(n_section):
    batch, places = pack(FRAMES, choose_layout(FRAMES, n_section))
    assert edges_of_batch(batch, places) == [edges_of_frame(f) for f in FRAMES]


def test_slots_of_a_section_are_sorted_by_distance():
    batch, _ = pack(FRAMES, choose_layout(FRAMES, 2))
    disp = np.asarray(displacements(batch.coord, batch.cell, batch.frame, batch.index, batch.shift))
    dist = np.linalg.norm(disp, axis=-1)
    for t, start in enumerate(batch.layout.nbr_start[:-1]):
        for place in np.flatnonzero(batch.atype >= 0):
            assert (np.diff(dist[place, start : start + batch.count[place, t]]) >= -1e-6).all()


def test_atoms_lie_in_the_section_of_their_type():
    layout = choose_layout(FRAMES, 2)
    batch, places = pack(FRAMES, layout)
    for t, (start, size) in enumerate(zip(layout.atom_start, layout.atoms)):
        inside = batch.atype[start : start + size]
        number = int((inside == t).sum())
        assert (inside[:number] == t).all() and (inside[number:] == -1).all()  # real atoms first
    assert batch.natoms.tolist() == [11, 4, 5]
    for f, own in enumerate(places):
        np.testing.assert_array_equal(own >= 0, FRAMES[f].atype >= 0)
        real = own[own >= 0]
        assert len(set(real)) == len(real)
        assert (batch.frame[real] == f).all()
        np.testing.assert_array_equal(batch.coord[real], FRAMES[f].coord[FRAMES[f].atype >= 0])
        np.testing.assert_array_equal(batch.aparam[real], FRAMES[f].aparam[FRAMES[f].atype >= 0])
        np.testing.assert_array_equal(batch.fparam[f], FRAMES[f].fparam)
    assert not batch.count[batch.atype < 0].any()


def test_per_atom_results_come_back_in_the_callers_order(n_section):
    layout = choose_layout(FRAMES, n_section)
    _, places = pack(FRAMES, layout)
    values = np.random.default_rng(0).normal(size=(sum(len(f.atype) for f in FRAMES), 3))
    on_batch = pack_atoms(values, np.concatenate(places), layout.n_atom)
    ends = np.cumsum([len(f.atype) for f in FRAMES])[:-1]
    for f, own, want in zip(FRAMES, places, np.split(values, ends)):
        want = np.where((f.atype >= 0)[:, None], want, 0.0)
        np.testing.assert_array_equal(unpack_atoms(on_batch, own), want)
    assert np.count_nonzero(on_batch) == 3 * 20


def test_second_derivatives_follow_the_atoms_on_both_axes(n_section):
    """Of an outer product every entry says where it belongs."""
    layout = choose_layout(FRAMES, n_section)
    _, places = pack(FRAMES, layout)
    rng = np.random.default_rng(0)
    own = [rng.normal(size=(len(f.atype), 3)) * (f.atype >= 0)[:, None] for f in FRAMES]
    squares = [np.outer(x, x) for x in own]
    packed = pack_pairs([square.ravel() for square in squares], places, layout.n_atom, 12)
    by_atom = packed.reshape(layout.n_atom, 3, 12, 3)
    on_batch = pack_atoms(np.concatenate(own), np.concatenate(places), layout.n_atom)
    for square, of_frame in zip(squares, places, strict=True):
        here = np.sort(of_frame[of_frame >= 0])
        want = np.einsum("ia,jb->iajb", on_batch[here], on_batch[here])
        np.testing.assert_array_equal(by_atom[here][:, :, : len(here)], want)
        np.testing.assert_array_equal(unpack_pairs(packed, of_frame), square)
    assert np.count_nonzero(packed) == 9 * (11**2 + 4**2 + 5**2)
    one = pack_pairs([square.ravel() for square in squares], places, layout.n_atom, 1)
    np.testing.assert_array_equal(one.reshape(-1, 3, 1, 3), by_atom[:, :, :1])


def test_spare_frames_are_empty():
    tight = choose_layout(FRAMES, 2)
    batch, _ = pack(FRAMES, dataclasses.replace(tight, frames=5))
    assert batch.natoms.tolist() == [11, 4, 5, 0, 0]
    assert batch.fparam.shape == (5, 2) and batch.cell.shape == (5, 3, 3)
    assert not batch.fparam[3:].any() and not batch.cell[3:].any()


def test_layouts_are_just_large_enough():
    layout = choose_layout(FRAMES, 2)
    assert layout.atoms == (7, 13) and layout.frames == 3
    most = most_neighbors(FRAMES, 2)
    assert most.tolist() == np.max([f.table.count.max(axis=0) for f in FRAMES], axis=0).tolist()
    assert all(have >= need for have, need in zip(layout.nbrs, most))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"atoms": (6, 13)}, "7 atoms of section 0 do not fit into a batch with 6 places"),
        ({"nbrs": (2, 40)}, r"do not fit into slots \[2, 40\]"),
        ({"frames": 2}, "3 frames do not fit into a batch for 2"),
    ],
)
def test_what_does_not_fit_is_said(change, message):
    layout = dataclasses.replace(Layout((7, 13), (40, 40), 3), **change)
    with pytest.raises(CapacityError, match=message):
        pack(FRAMES, layout)


def test_wide_image_numbers_keep_their_integers():
    """Atoms far outside of their cell need more than 8 bits."""
    f = FRAMES[0]
    coord = f.coord.copy()
    coord[0] += 300 * f.cell[0]
    far = dataclasses.replace(f, coord=coord, table=search(coord, f.atype, 2, RCUT, f.cell))
    assert far.table.shift.dtype == np.int16
    batch, places = pack([far, f], choose_layout([far, f], 2))
    assert edges_of_batch(batch, places)[0] == edges_of_frame(far)


def test_a_structure_of_placeholders_alone_is_an_empty_frame():
    hole = frame("cluster", (0, 0), 0)
    hole = dataclasses.replace(
        hole,
        coord=np.zeros((2, 3)),
        atype=np.array([-1, -1]),
        table=search(np.zeros((2, 3)), np.array([-1, -1]), 2, RCUT),
        aparam=np.ones((2, 1)),
    )
    batch, places = pack([hole, FRAMES[0]], choose_layout([hole, FRAMES[0]], 2))
    assert places[0].tolist() == [-1, -1]
    assert batch.natoms.tolist() == [0, 11]
