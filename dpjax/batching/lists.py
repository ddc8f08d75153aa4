"""Flat lists of edges and angles beside the neighbour table of a batch, for models whose atoms differ much in number of neighbours.

Where an array of all pairs of neighbours would mostly be padding, edges and angles are listed one after another.  Atoms come in
blocks of equally many, dealt out so that blocks have about equally many angles; a block's edges are sorted by their atom and its
angles by their first edge, and both count within the block.  So a block can be worked on by itself.

The carrier is ``jraph.GraphsTuple`` with an axis for the blocks before all others: one of atoms and edges, and one of edges and
angles, whose nodes are the edges of the first.  Receivers are what messages go to.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from jraph import GraphsTuple

from dpjax.batching.batch import Batch, Layout
from dpjax.batching.ladder import round_up

SLACK = 1.04  # times the places that the lists of a batch need, where there were too few: later batches may need a little more
FINE = 32  # of which such numbers are multiples


@dataclass(frozen=True)
class ListPlan:
    """What is listed.

    Attributes:
        e_rcut, a_rcut: angstrom within which neighbours are edges, and within which edges form angles.
        e_sel, a_sel: the nearest that are, at most.
        block: atoms of a block; 0, or where it does not divide those of a batch: all.
        edges, angles: places of a block, at least, in :func:`with_lists`.
    """

    e_rcut: float
    a_rcut: float
    e_sel: int
    a_sel: int
    block: int
    edges: int = 0
    angles: int = 0

    def with_room(self, edges: int, angles: int, slack: float | None) -> ListPlan:
        """The same with at least so many places.

        Args:
            slack: times the places that are needed, where there were too few; None: as many as the ladder says.
        """

        def room(have: int, need: int) -> int:
            if need <= have:
                return have
            return round_up(need, multiple=16) if slack is None else -(-int(slack * need) // FINE) * FINE

        return replace(self, edges=room(self.edges, edges), angles=room(self.angles, angles))

    @property
    def sizes(self) -> tuple[int, int]:
        """Places of a block for edges and for angles, at least."""
        return self.edges, self.angles


class Lists(NamedTuple):
    """Edges and angles of a batch; places behind ``n_edge`` are padding and name any valid entry."""

    atoms: GraphsTuple
    """nodes: (n_block, b) place on the atom axis; edges: (n_block, E) slot of the flat table; receivers: (n_block, E) atom of the
    block at the centre; senders: (n_block, E) number of the other atom, counted over all blocks; n_edge: (n_block,)."""
    angles: GraphsTuple
    """receivers, senders: (n_block, A) first and last edge, of the block; n_edge: (n_block,); nodes and edges are None."""

    @property
    def sizes(self) -> tuple[int, int]:
        """Places of a block for edges and for angles."""
        return self.atoms.senders.shape[1], self.angles.senders.shape[1]

    def padded(self, edges: int, angles: int) -> Lists:
        """The same with so many places in a block, no fewer than now."""

        def more(x: np.ndarray, number: int) -> np.ndarray:
            return np.pad(x, [(0, 0), (0, number - x.shape[1])])

        atoms, pairs = self
        return Lists(
            atoms._replace(
                edges=more(atoms.edges, edges),
                receivers=more(atoms.receivers, edges),
                senders=more(atoms.senders, edges),
            ),
            pairs._replace(receivers=more(pairs.receivers, angles), senders=more(pairs.senders, angles)),
        )


def make_lists(batch: Batch, plan: ListPlan) -> Lists:
    """Edges and angles of a packed batch with one section, by its positions, in lists that just hold them.  Plain NumPy."""
    n_atom, n_nbr = batch.layout.n_atom, batch.layout.n_nbr
    block = plan.block if plan.block and n_atom % plan.block == 0 else n_atom
    centre, slot, dist = _edges(batch, plan)
    near = dist < plan.a_rcut
    near[near] = _nearest(centre[near], dist[near], plan.a_sel)
    number = _dealt(np.bincount(centre[near], minlength=n_atom), block)  # of an atom, over all blocks
    order = np.argsort(number[centre], kind="stable")
    centre, slot, near = centre[order], slot[order], near[order]
    owner = number[centre]
    atoms = _atoms_graph(batch, number, block, owner, centre * n_nbr + slot)
    within = _counted(owner // block, n_atom // block)  # number of an edge in its block
    angles = _angles_graph(owner[near], within[near], block, n_atom // block)
    return Lists(atoms, angles)


def _edges(batch: Batch, plan: ListPlan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre, slot and distance of every edge, sorted by centre and then by slot; the nearest ``e_sel`` of each."""
    listed = np.arange(batch.layout.n_nbr) < batch.count.sum(axis=1, keepdims=True)
    centre, slot = np.nonzero(listed)
    other, shift = batch.index[centre, slot], batch.shift[centre, slot]
    disp = batch.coord[other] - batch.coord[centre]
    disp += np.einsum("ea,eab->eb", shift.astype(float), batch.cell[batch.frame[centre]])
    dist = np.sqrt(np.einsum("ed,ed->e", disp, disp))
    near = dist < plan.e_rcut
    near[near] = _nearest(centre[near], dist[near], plan.e_sel)
    return centre[near], slot[near], dist[near]


def _nearest(centre: np.ndarray, dist: np.ndarray, most: int) -> np.ndarray:
    """(n,) bool: which of the edges of each centre, in ascending order of these, are among the ``most`` shortest."""
    if np.bincount(centre).max(initial=0) <= most:
        return np.ones(len(centre), bool)
    order = np.lexsort((dist, centre))
    kept = np.empty(len(centre), bool)
    kept[order] = _counted(centre, int(centre[-1]) + 1) < most
    return kept


def _dealt(work: np.ndarray, block: int) -> np.ndarray:
    """(n_atom,) new numbers of atoms, ``block`` of which in turn make a block: those with most work are dealt out to and fro."""
    n_block = len(work) // block
    rounds = np.argsort(-work, kind="stable").reshape(block, n_block)
    rounds[1::2] = rounds[1::2, ::-1]
    number = np.empty(len(work), int)
    number[rounds.T.reshape(-1)] = np.arange(len(work))
    return number


def _atoms_graph(batch: Batch, number: np.ndarray, block: int, owner: np.ndarray, slot: np.ndarray) -> GraphsTuple:
    n_block = len(number) // block
    ends = {"edges": slot, "receivers": owner % block, "senders": number[batch.index.reshape(-1)[slot]]}
    nodes = np.empty(len(number), np.int32)
    nodes[number] = np.arange(len(number))
    return GraphsTuple(
        nodes=nodes.reshape(n_block, block),
        n_node=np.full(n_block, block, np.int32),
        globals=None,
        **_in_blocks(owner // block, n_block, ends),
    )


def _angles_graph(owner: np.ndarray, edge: np.ndarray, block: int, n_block: int) -> GraphsTuple:
    """Angles between the edges of each atom.

    Args:
        owner: (n,) atoms, ascending, of the edges that form angles.
        edge: (n,) numbers of these edges in their blocks.
    """
    degree = np.bincount(owner, minlength=n_block * block)
    start = np.cumsum(degree) - degree
    first = np.repeat(np.arange(len(owner)), degree[owner])  # as many angles as its atom has edges
    last = start[owner[first]] + _counted(first, len(owner))
    ends = {"receivers": edge[first], "senders": edge[last]}
    return GraphsTuple(
        nodes=None, edges=None, globals=None, n_node=None, **_in_blocks(owner[first] // block, n_block, ends)
    )


def _in_blocks(where: np.ndarray, n_block: int, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Values (n,) of entries that belong to ascending blocks as (n_block, room), padded with zero, and their numbers ``n_edge``."""
    number = np.bincount(where, minlength=n_block)
    room = int(number.max(initial=1))
    place = (where, _counted(where, n_block))
    arrays = {name: np.zeros((n_block, room), np.int32) for name in values}
    for name, array in arrays.items():
        array[place] = values[name]
    return arrays | {"n_edge": number.astype(np.int32)}


def _counted(group: np.ndarray, n: int) -> np.ndarray:
    """Number of each entry within its group, of ascending groups below ``n``."""
    count = np.bincount(group, minlength=n)
    return np.arange(len(group)) - (np.cumsum(count) - count)[group]


def with_lists(batches: list[Batch], plan: ListPlan, slack: float | None = None) -> tuple[list[Batch], ListPlan]:
    """Batches of one layout, one for each device, with lists of one size, and a plan that has room for as much.

    Args:
        slack: as for :meth:`ListPlan.with_room`, so that the next batches fit as well.
    """
    lists = [make_lists(batch, plan) for batch in batches]
    for own in lists:
        plan = plan.with_room(*own.sizes, slack)
    return [batch.replace(lists=own.padded(*plan.sizes)) for batch, own in zip(batches, lists, strict=True)], plan


@dataclass
class ListSizes:
    """Lists for the batches of a model, whose sizes only grow, so that few programs are compiled.

    Attributes:
        plan: what is listed; None: nothing.
    """

    plan: ListPlan | None = None
    _grown: dict[Layout, ListPlan] = field(default_factory=dict)

    def alone(self, batches: list[Batch]) -> list[Batch]:
        """Batches of one layout with lists that are just large enough, whatever there was before or will be."""
        return batches if self.plan is None else with_lists(batches, self.plan)[0]

    def added(self, batches: list[Batch], places: tuple[int, int] = (0, 0)) -> list[Batch]:
        """Batches of one layout with their lists.

        Args:
            places: for edges and angles, that such batches are known to need.
        """
        if self.plan is None:
            return batches
        layout = batches[0].layout
        plan = self._grown.get(layout) or self.plan.with_room(*places, 1.0)
        batches, self._grown[layout] = with_lists(batches, plan, SLACK)
        return batches
