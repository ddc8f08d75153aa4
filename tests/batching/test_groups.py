"""Which frames share batches: what they need, within bounds, in few layouts."""

from __future__ import annotations

import numpy as np
import pytest

from dpjax.batching import Frame, choose_layout, most_neighbors
from dpjax.batching.groups import Layouts, Needs, fitting, size_of
from dpjax.neighbors import search
from tests.contracts.structures import make


def frames() -> list[Frame]:
    structures = [make("cluster", numbers=(i % 4, 1 + i % 3), seed=i) for i in range(9)]
    found = [Frame(s.coord, s.atype, search(s.coord, s.atype, 2, 3.0)) for s in structures]
    nothing = Frame(np.zeros((2, 3)), np.array([-1, -1]), search(np.zeros((2, 3)), np.array([-1, -1]), 2, 3.0))
    empty = Frame(np.zeros((0, 3)), np.zeros(0, int), search(np.zeros((0, 3)), np.zeros(0, int), 2, 3.0))
    return [empty, *found, nothing, empty]


@pytest.mark.parametrize("n_section", [1, 2])
def test_needs_are_those_of_each_frame(n_section):
    own = frames()
    needs = Needs.of(own, n_section, hessian=True)
    for i, frame in enumerate(own):
        np.testing.assert_array_equal(needs.nbrs[i], most_neighbors([frame], n_section))
        counted = np.bincount(frame.atype[frame.atype >= 0], minlength=2)
        np.testing.assert_array_equal(needs.atoms[i], counted if n_section == 2 else [counted.sum()])
        assert needs.columns[i] == 9 * counted.sum()
    assert len(Needs.of([], n_section)) == 0
    layout, chosen = Layouts(n_section, None, 1.0).alone(needs), choose_layout(own, n_section)
    assert (layout.atoms, layout.nbrs) == (chosen.atoms, chosen.nbrs) and layout.frames >= len(own)


def random_needs(number: int, seed: int = 0) -> Needs:
    """Of molecules whose composition varies, sorted."""
    rng = np.random.default_rng(seed)
    size = rng.integers(3, 61, number)
    share = rng.dirichlet([8, 8, 2], number)
    atoms = np.stack([rng.multinomial(n, p) for n, p in zip(size, share)])
    needs = Needs(atoms, np.maximum(atoms - 1, 0), np.zeros(number, int))
    return needs[np.argsort(-needs.width, kind="stable")]


def all_batches(layouts: Layouts, needs: Needs, room: float, most_atoms: float = np.inf):
    """(needs, layout) of each batch."""
    out = []
    while len(needs):
        rows, layout = layouts.choose(needs, room, most_atoms)
        assert len(rows) and rows[0] == 0
        out.append((needs[rows], layout))
        needs = needs[np.setdiff1d(np.arange(len(needs)), rows)]
    return out


def test_thousands_of_molecules_need_few_layouts():
    needs = random_needs(1500)
    room = 150_000
    layouts = Layouts(3, None, cost=150_000)
    for _ in range(4):
        made = all_batches(layouts, needs, room)
        assert sum(len(own) for own, _ in made) == len(needs)
        for own, layout in made:
            assert (own.atoms.sum(axis=0) <= layout.atoms).all() and (own.nbrs.max(axis=0) <= layout.nbrs).all()
            assert len(own) <= layout.frames and size_of(layout) <= 1.3 * room
    assert len(layouts.known) < 12
    done, all_at_once = (
        sum(size_of(layout) for _, layout in made),
        needs.atoms.sum() * (needs.nbrs.max(axis=0).sum() + 16),
    )
    assert done < 0.85 * all_at_once


def test_a_large_frame_is_alone():
    needs = random_needs(20)
    needs = Needs.joined([Needs(np.array([[900, 900, 0]]), np.array([[80, 80, 0]]), np.zeros(1, int)), needs])
    (own, layout), *rest = all_batches(Layouts(3, None, 1e4), needs, 20_000)
    assert len(own) == 1 and layout.frames == 1 and size_of(layout) > 20_000
    assert all(size_of(layout) <= 1.3 * 20_000 for _, layout in rest)
    for own, _ in all_batches(Layouts(3, None, 1e4), needs, np.inf, most_atoms=100):
        assert len(own) == 1 or own.atoms.sum() <= 100


def test_frames_are_picked_that_fit():
    needs = Needs(
        np.array([[2, 2], [1, 5], [2, 1], [2, 2]]), np.array([[3, 3], [0, 4], [1, 1], [1, 1]]), np.zeros(4, int)
    )
    layout = Layouts(2, None, 1.0).alone(needs[[0, 2]])
    assert layout.atoms == (4, 3)
    assert fitting(needs, layout).tolist() == [0, 2]
