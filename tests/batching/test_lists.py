"""Flat lists of edges and angles hold those of the table, each once, whatever the blocks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dpjax.batching import choose_layout, pack
from dpjax.batching.lists import ListPlan, ListSizes, make_lists, with_lists
from dpjax.geometry.displacements import displacements
from tests.batching.test_packing import FRAMES

PLAN = ListPlan(e_rcut=2.8, a_rcut=2.2, e_sel=100, a_sel=100, block=4)


@pytest.fixture(scope="module")
def batch():
    layout = choose_layout(FRAMES, 1)
    return pack(FRAMES, replace(layout, atoms=(32,)))[0]


def table_edges(batch, rcut: float, sel: int) -> dict[int, list[int]]:
    """Slots of the flat table of each atom's neighbours within ``rcut``, the nearest ``sel`` in the order of distance."""
    disp = np.asarray(displacements(batch.coord, batch.cell, batch.frame, batch.index, batch.shift))
    found = {}
    for i, row in enumerate(np.linalg.norm(disp, axis=2)):
        row = np.where(np.arange(len(row)) < batch.count[i].sum(), row, np.inf)
        near = [k for k in np.argsort(row, kind="stable") if row[k] < rcut][:sel]
        found[i] = [i * len(row) + k for k in near]
    return found


def listed(lists, batch):
    """Edges {centre: slots} and angles {centre: (first slot, last slot)} of the lists, read back."""
    atoms, angles = lists
    edges, pairs = {i: [] for i in range(batch.layout.n_atom)}, {i: [] for i in range(batch.layout.n_atom)}
    number = {place: k for k, place in enumerate(atoms.nodes.reshape(-1))}
    assert sorted(number) == list(range(batch.layout.n_atom))
    for b, (n_edge, n_angle) in enumerate(zip(atoms.n_edge, angles.n_edge, strict=True)):
        assert np.all(np.diff(atoms.receivers[b, :n_edge]) >= 0), "edges are sorted by their atom"
        assert np.all(np.diff(angles.receivers[b, :n_angle]) >= 0), "angles are sorted by their first edge"
        slots = atoms.edges[b, :n_edge]
        places = atoms.nodes[b, atoms.receivers[b, :n_edge]]
        assert np.array_equal(slots // batch.layout.n_nbr, places)
        ends = batch.index.reshape(-1)[slots]
        assert [number[end] for end in ends] == atoms.senders[b, :n_edge].tolist()
        for place, slot in zip(places, slots, strict=True):
            edges[place].append(slot)
        for first, last in zip(angles.receivers[b, :n_angle], angles.senders[b, :n_angle], strict=True):
            assert places[first] == places[last]
            pairs[places[first]].append((slots[first], slots[last]))
    return edges, pairs


@pytest.mark.parametrize(
    "plan",
    [PLAN, replace(PLAN, block=0), replace(PLAN, block=5), replace(PLAN, e_sel=6, a_sel=3), replace(PLAN, a_rcut=0.1)],
    ids=["blocks", "one block", "no divisor", "truncated", "no angles"],
)
def test_lists_hold_the_edges_and_angles_of_the_table(batch, plan):
    edges, pairs = listed(make_lists(batch, plan), batch)
    wanted, corners = table_edges(batch, plan.e_rcut, plan.e_sel), table_edges(batch, plan.a_rcut, plan.a_sel)
    assert sum(map(len, wanted.values())) > 50
    for i, slots in wanted.items():
        assert sorted(edges[i]) == sorted(slots)
        near = set(corners[i]) & set(slots)
        assert sorted(pairs[i]) == sorted((a, b) for a in near for b in near)


def test_blocks_have_about_equally_many_angles(batch):
    n_angle = make_lists(batch, PLAN).angles.n_edge
    work = np.array([len(slots) ** 2 for slots in table_edges(batch, PLAN.a_rcut, 100).values()])
    assert n_angle.sum() == work.sum()
    assert np.ptp(n_angle) <= work.max()
    assert np.ptp(work.reshape(-1, 4).sum(axis=1)) > np.ptp(n_angle)  # as they lie in the batch


def test_batches_of_several_devices_get_lists_of_one_size(batch):
    small = pack(FRAMES[1:2], batch.layout)[0]
    own, plan = with_lists([batch, small], PLAN)
    assert own[0].lists.sizes == own[1].lists.sizes == (plan.edges, plan.angles)
    again, kept = with_lists([small], plan)
    assert again[0].lists.sizes == (plan.edges, plan.angles)
    assert kept == plan
    assert listed(again[0].lists, small)[0] == listed(own[1].lists, small)[0]


def test_sizes_that_are_remembered_only_grow(batch):
    small, sizes = pack(FRAMES[1:2], batch.layout)[0], ListSizes(PLAN)
    (first,), (large,), (again,) = sizes.added([small]), sizes.added([batch]), sizes.added([small])
    (alone,) = sizes.alone([small])
    (roomy,) = ListSizes(PLAN).added([small], make_lists(batch, PLAN).sizes)
    assert all(ours >= need for ours, need in zip(roomy.lists.sizes, make_lists(batch, PLAN).sizes, strict=True))
    assert first.lists.sizes != large.lists.sizes == again.lists.sizes
    assert alone.lists.sizes < first.lists.sizes
    assert listed(again.lists, small) == listed(alone.lists, small)
    assert ListSizes().added([batch])[0] is batch


def test_a_batch_without_neighbours_has_lists_without_entries(batch):
    table = FRAMES[1].table
    table = replace(table, count=0 * table.count, index=table.index[:0], shift=table.shift[:0])
    lists = make_lists(pack([replace(FRAMES[1], table=table)], batch.layout)[0], PLAN)
    assert not lists.atoms.n_edge.any()
    assert not lists.angles.n_edge.any()
