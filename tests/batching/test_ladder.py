"""The capacity ladder: enough, not much more, few sizes."""

from __future__ import annotations

import pytest

from dpjax.batching import round_up
from dpjax.batching.packing import make_layout, neighbor_capacity


@pytest.mark.parametrize("multiple", [1, 4, 16])
def test_sizes_hold_what_they_must_with_little_waste(multiple):
    for n in range(1, 3000):
        size = round_up(n, multiple=multiple)
        assert size >= n
        assert size - n <= max(n / 8, multiple - 1)
        assert size % multiple == 0 or size <= multiple
        assert round_up(size, multiple=multiple) == size  # a size of the ladder stays
        assert size <= round_up(n + 1, multiple=multiple)


def test_nothing_costs_nothing():
    assert round_up(0) == round_up(0, multiple=16) == 0


def test_there_are_few_sizes():
    assert len({round_up(n) for n in range(1, 100_001)}) <= 8 * 17
    assert len({round_up(n, multiple=16) for n in range(1, 1025)}) <= 16 + 8 * 6


@pytest.mark.parametrize(
    ("most", "sel", "capacity"),
    [(0, 46, 1), (0, 0, 1), (3, None, 3), (5, None, 8), (45, 46, 46), (46, 46, 46), (47, 46, 48), (3, 0, 3)],
)
def test_neighbour_capacity_stays_at_sel_until_more_is_there(most, sel, capacity):
    """At most ``sel`` slots mean that no truncation code is compiled."""
    assert neighbor_capacity(most, sel) == capacity


def test_layouts_start_from_a_floor_and_only_grow():
    layout = make_layout([5, 100], [3, 20], 2, sel=(46, 92), floor=(10, 12))
    assert layout.nbrs == (10, 20)
    assert layout.frames == 2
    assert layout.atoms[0] == 5 and layout.atoms[1] >= 100 and layout.atoms[1] % 16 == 0
    assert layout.n_atom == sum(layout.atoms) and layout.n_nbr == 30
    assert layout.atom_start == (0, 5, 5 + layout.atoms[1]) and layout.nbr_start == (0, 10, 30)
