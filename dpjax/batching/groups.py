"""Frames of any sizes in batches of similar ones: which go together, and in which of few layouts.

An atom of a batch has as many neighbour slots as the one that needs most, so frames come sorted by what their atoms need.  A layout
is a program to compile: one that is there is used for other frames, too, until the work that is wasted on it adds up to what a
better one costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dpjax.batching.batch import Layout
from dpjax.batching.inner import InnerSizes
from dpjax.batching.ladder import round_up
from dpjax.batching.lists import ListSizes
from dpjax.batching.packing import Frame, make_layout

FITTING = 16  # slots that an atom's own share of the work, as in the fitting net, is worth
WASTE = 1.25  # work in a layout that is there over that in the best one, up to which no new one is thought of
ROUNDED = 1.2  # what the ladder may add to the size of a batch
SLACK = 1.2  # the same for layouts that are new, of which one is to hold many batches
FEW = 4  # layouts after which the next must save twice as much
BATCHES = 100  # so many batches are worth a program
FRAMES = 4  # atoms to each place for a frame where a layout has several: a place costs next to nothing


@dataclass(frozen=True)
class Needs:
    """What frames need room for.

    Attributes:
        atoms: (n, n_section) atoms of each section.
        nbrs: (n, n_section) neighbours that an atom has at most of each section.
        columns: (n,) numbers that each atom has beside those of its neighbours, as in a Hessian.
    """

    atoms: np.ndarray
    nbrs: np.ndarray
    columns: np.ndarray

    @staticmethod
    def of(frames: Sequence[Frame], n_section: int, hessian: bool = False) -> Needs:
        """What these frames need; with Hessians nine numbers for each pair of atoms."""
        sizes = np.array([len(frame.atype) for frame in frames], int)
        owner = np.repeat(np.arange(len(frames)), sizes)
        atype = np.concatenate([frame.atype for frame in frames]) if frames else np.zeros(0, int)
        section = np.minimum(atype, n_section - 1)
        real = section >= 0
        held = np.bincount(owner[real] * n_section + section[real], minlength=len(frames) * n_section)
        atoms = held.reshape(len(frames), n_section)
        nbrs = np.zeros((len(frames), n_section), int)
        some = np.flatnonzero(sizes)
        if len(some):
            count = np.concatenate([frames[i].table.count for i in some])
            count = count if n_section > 1 else count.sum(axis=1, keepdims=True)
            nbrs[some] = np.maximum.reduceat(count, np.cumsum(sizes[some]) - sizes[some], axis=0)
        return Needs(atoms, nbrs, 9 * atoms.sum(axis=1) * hessian)

    @staticmethod
    def joined(parts: Sequence[Needs]) -> Needs:
        """Those of all parts."""
        return Needs(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("atoms", "nbrs", "columns")))

    def __getitem__(self, rows) -> Needs:
        return Needs(self.atoms[rows], self.nbrs[rows], self.columns[rows])

    def __len__(self) -> int:
        return len(self.atoms)

    @property
    def width(self) -> np.ndarray:
        """(n,) slots that an atom has at least."""
        return self.nbrs.sum(axis=1) + self.columns

    @property
    def work(self) -> np.ndarray:
        """(n,) size of a batch of each frame alone."""
        return _size(self)

    @property
    def together(self) -> Needs:
        """The same with row k for the first k + 1 frames in one batch."""
        return Needs(
            np.cumsum(self.atoms, axis=0),
            np.maximum.accumulate(self.nbrs, axis=0),
            np.maximum.accumulate(self.columns),
        )


def size_of(layout: Layout, columns: int = 0) -> int:
    """Size of a batch, which work and memory follow: slots of all atoms, with ``FITTING`` and ``columns`` more for each."""
    return layout.n_atom * (layout.n_nbr + FITTING + columns)


@dataclass
class Layouts:
    """The layouts that batches were packed into so far.

    Attributes:
        n_section, sel: as for :func:`make_layout`.
        cost: work that compiling a program is worth.
        lists: what batches list beside their tables, in sizes that suit those before.
        inner: places for neighbours within shorter cut-offs, likewise.
        known: layouts, in the order in which they were first used.
        wasted: work that went into layouts that are there in place of better ones, since the last one was added.
    """

    n_section: int
    sel: Sequence[int | None] | None
    cost: float
    lists: ListSizes = field(default_factory=ListSizes)
    inner: InnerSizes = field(default_factory=InnerSizes)
    known: list[Layout] = field(default_factory=list)
    wasted: float = 0.0

    def alone(self, needs: Needs) -> Layout:
        """The layout of a batch that is all there is: just large enough, whatever was there before."""
        return make_layout(needs.atoms.sum(axis=0), needs.nbrs.max(axis=0, initial=0), round_up(len(needs)), self.sel)

    def choose(self, needs: Needs, room: float, most_atoms: float = np.inf) -> tuple[np.ndarray, Layout]:
        """The next batch, which has the first frame and others that do well with it.

        Args:
            needs: of the frames that wait, those whose atoms need most first.
            room: size that it may have; a frame that is larger makes a batch of its own.
            most_atoms: places for atoms that it may have, with the same exception.

        Returns:
            Positions of the frames that it takes, and its layout.
        """
        chosen, own = self._new(needs, room, most_atoms)
        best = self._ratio(own, needs, chosen)
        choices = [
            (self._ratio(layout, needs, rows), rows, layout)
            for layout in self.known
            if len(rows := fitting(needs, layout)) and rows[0] == 0
            and _within(layout, own, ROUNDED * room, ROUNDED * most_atoms)
        ]  # fmt: skip
        if choices:
            ratio, rows, layout = min(choices, key=lambda choice: choice[0])
            waste = (ratio - best) * needs.work[rows].sum() if ratio > WASTE * best else 0.0
            if self.wasted + waste <= self.cost * self._reluctance:
                self.wasted += waste
                return rows, layout
        self.known.append(own)
        self.wasted = 0.0
        return chosen, own

    @property
    def _reluctance(self) -> float:
        """How much more a new layout must save, and how much more it must be good for, the more there are."""
        return 2 ** (len(self.known) / FEW)

    def _ratio(self, layout: Layout, needs: Needs, rows: np.ndarray) -> float:
        """Work of a batch, with what each batch costs whatever its size, over that of its frames."""
        return (size_of(layout) + self.cost / BATCHES) / max(1.0, needs.work[rows].sum())

    def _new(self, needs: Needs, room: float, most_atoms: float) -> tuple[np.ndarray, Layout]:
        """A batch whose atoms have at most as many neighbours as those of some of the first frames.

        The more frames set the measure, the more other batches will find room in the layout: it is the largest number with which
        little more is wasted than with the best one.
        """
        most = np.maximum.accumulate(needs.nbrs, axis=0)
        numbers = [2**i for i in range(len(needs).bit_length())] + [len(needs)]
        choices = [self._within(needs, most[number - 1], room, most_atoms) for number in numbers]
        ratios = [self._ratio(layout, needs, rows) for rows, layout in choices]
        return choices[max(i for i, ratio in enumerate(ratios) if ratio <= SLACK**self._reluctance * min(ratios))]

    def _within(self, needs: Needs, nbrs: np.ndarray, room: float, most_atoms: float) -> tuple[np.ndarray, Layout]:
        """The first frame and the next ones with at most so many neighbours, as many as there is room for."""
        rows = np.flatnonzero((needs.nbrs <= nbrs).all(axis=1))
        total = needs[rows].together
        within = (_size(total) * ROUNDED <= room) & (total.atoms.sum(axis=1) <= most_atoms)
        rows = rows[: max(1, _leading(within))]
        atoms, number = total.atoms[len(rows) - 1], len(rows)
        frames = 1 if number == 1 else 1 << (max(number, int(atoms.sum()) // FRAMES) - 1).bit_length()
        return rows, make_layout(atoms, total.nbrs[len(rows) - 1], frames, self.sel)


def fitting(needs: Needs, layout: Layout) -> np.ndarray:
    """Positions of frames that fit into a layout together: the first ones whose atoms do not have too many neighbours."""
    rows = np.flatnonzero((needs.nbrs <= layout.nbrs).all(axis=1))[: layout.frames]
    return rows[: _leading((np.cumsum(needs.atoms[rows], axis=0) <= layout.atoms).all(axis=1))]


def _within(layout: Layout, own: Layout, size: float, n_atom: float) -> bool:
    """Whether a layout is within bounds, or no larger than the one that was made for the frames."""
    return size_of(layout) <= max(size, size_of(own)) and layout.n_atom <= max(n_atom, own.n_atom)


def _leading(flags: np.ndarray) -> int:
    """How many are true before the first that is not."""
    return len(flags) if flags.all() else int(np.argmin(flags))


def _size(needs: Needs) -> np.ndarray:
    """(n,) size of batches that just hold what is needed."""
    return needs.atoms.sum(axis=1) * (needs.width + FITTING)
