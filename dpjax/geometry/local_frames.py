"""Coordinates of neighbours in a frame that two of them span: what ``loc_frame`` sees of an atom.

The neighbours of each type, the nearest first, fill slots.  Those in slots of class 0 are seen with their coordinates, those in
slots of class 1 with their distance.  A rule says which two of them lie on the first axis and in the plane of the second.  Zhang
et al., Phys. Rev. Lett. 120, 143001 (2018), arXiv:1707.09571.  Lengths in angstrom.

Results turn with nothing, but a reflection changes their sign along the third axis.  They are not smooth: neighbours that change
places, or leave, change them at once.  The same functions serve NumPy arrays, for statistics of data, and jax arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Array = Any  # of NumPy or of jax

OPPOSITE = 1e-4  # a cosine that is nearer to -1: the axes are opposite, and the next neighbour takes the second one
PARALLEL = 1e-16  # a square of the sine that is smaller: two directions are one
CANDIDATES = 3  # nearest neighbours of each type of which one may lie on an axis whose type is open


class Axis(NamedTuple):
    """Which neighbour lies on an axis: of which class and type, and its rank by distance from 0.

    A negative type leaves it open: all types but one are asked, ``-(atype + 1)`` for class 0 and ``-atype`` for class 1.
    """

    kind: int
    atype: int
    rank: int

    @property
    def next(self) -> Axis:
        """The neighbour behind this one."""
        return self._replace(rank=self.rank + 1)


@dataclass(frozen=True)
class FrameRule:
    """What atoms of one type see.

    Attributes:
        rcut: angstrom.
        sel_a, sel_r: slots of class 0 and of class 1 for each type of neighbour.
        axes: which neighbours span the frame.
        unseen: types of neighbours that are none.
    """

    rcut: float
    sel_a: tuple[int, ...]
    sel_r: tuple[int, ...]
    axes: tuple[Axis, Axis]
    unseen: frozenset[int] = frozenset()

    @property
    def width(self) -> int:
        """Numbers that describe an atom."""
        return 4 * sum(self.sel_a) + sum(self.sel_r)


def default_axes(sel_a: Sequence[int]) -> tuple[Axis, Axis]:
    """The first two slots: of class 0, unless there is at most one of these."""
    kind = 0 if sum(sel_a) > 1 else 1
    return Axis(kind, 0, 0), Axis(kind, 0, 1)


class Slots(NamedTuple):
    """Neighbours of one class."""

    disp: Array  # (n, m, 3) neighbour minus centre, angstrom; zero in empty slots
    square: Array  # (n, m) squared distance; infinite in empty slots
    sel: tuple[int, ...]  # slots of each type


class Chosen(NamedTuple):
    """A neighbour for each of some centres."""

    disp: Array  # (n, 3)
    there: Array  # (n,) bool; False: there is none


def local_coordinates(sections: Sequence[tuple[Array, Array]], rule: FrameRule) -> tuple[Array, Array]:
    """What centres of one type see of their neighbours.

    Args:
        sections: for each type of neighbour (n, k, 3) displacements, angstrom, any finite value where there is none, and (n, k)
            bool where there is one; in any order, and k may be a symbol of ``jax.export``.
        rule: of this type.

    Returns:
        (n, rule.width): ``1/r, q3/r^2, q1/r^2, q2/r^2`` of each slot of class 0, with q the coordinates in the frame, then ``1/r``
        of those of class 1; zero in empty slots.  And (n,) bool, whether there is a frame.  There is none where a neighbour that an
        axis asks for is missing, or both lie in one direction: such a centre sees distances only, all q are zero.
    """
    slots = _slots(sections, rule)
    axes, framed = _axes(slots, rule.axes)
    near, far = slots
    xp = near.disp.__array_namespace__()
    inverse = [xp.where(own.square < np.inf, 1.0, 0.0) / xp.sqrt(_finite(own.square)) for own in slots]
    q = xp.einsum("nkd,nad->nka", near.disp, axes) * (inverse[0] ** 2)[..., None]
    rows = xp.concatenate([inverse[0][..., None], q[..., 2:], q[..., :2]], axis=-1)
    n = near.disp.shape[0]
    return xp.concatenate([rows.reshape(n, rows.shape[1] * 4), inverse[1]], axis=1), framed


def _finite(square: Array) -> Array:
    """Squared distances with 1 in empty slots, which keeps NaN out of derivatives."""
    xp = square.__array_namespace__()
    return xp.where(square < np.inf, square, 1.0)


def _slots(sections: Sequence[tuple[Array, Array]], rule: FrameRule) -> tuple[Slots, Slots]:
    """The slots of both classes."""
    xp = sections[0][0].__array_namespace__()
    near, far = [], []
    for t, (disp, listed) in enumerate(sections):
        room = rule.sel_a[t] + rule.sel_r[t]
        square = xp.sum(disp * disp, axis=-1)
        seen = listed & (square < rule.rcut**2) if t not in rule.unseen else xp.zeros_like(listed)
        # so many empty slots more that there are always enough
        n = disp.shape[0]
        disp = xp.concatenate([xp.where(seen[..., None], disp, 0.0), xp.zeros((n, room, 3), disp.dtype)], axis=1)
        seen = xp.concatenate([seen, xp.zeros((n, room), bool)], axis=1)
        square = xp.where(seen, xp.sum(disp * disp, axis=-1), np.inf)
        order = xp.argsort(square, axis=1, stable=True)[:, :room]
        disp = xp.take_along_axis(disp, order[..., None], axis=1)
        square = xp.take_along_axis(square, order, axis=1)
        near.append((disp[:, : rule.sel_a[t]], square[:, : rule.sel_a[t]]))
        far.append((disp[:, rule.sel_a[t] :], square[:, rule.sel_a[t] :]))

    def joined(parts: list[tuple[Array, Array]], sel: tuple[int, ...]) -> Slots:
        return Slots(*(xp.concatenate(own, axis=1) for own in zip(*parts, strict=True)), sel)

    return joined(near, rule.sel_a), joined(far, rule.sel_r)


def _axes(slots: tuple[Slots, Slots], axes: tuple[Axis, Axis]) -> tuple[Array, Array]:
    """(n, 3, 3) unit vectors of the frame, one after the other, and (n,) whether there is one; zero where not."""
    first, second = _aligned(_chosen(slots, axes[0]), _chosen(slots, axes[1]), _chosen(slots, axes[1].next))
    xp = first.disp.__array_namespace__()
    there = first.there & second.there
    along = first.disp / xp.sqrt(_length(first, there))[:, None]
    across = second.disp - xp.sum(second.disp * along, axis=-1)[:, None] * along
    square = xp.sum(across * across, axis=-1)
    framed = there & (square > PARALLEL * xp.sum(second.disp * second.disp, axis=-1))
    across = across / xp.sqrt(xp.where(framed, square, 1.0))[:, None]
    unit = xp.stack([along, across, xp.cross(along, across)], axis=1)
    return xp.where(framed[:, None, None], unit, 0.0), framed


def _length(chosen: Chosen, there: Array) -> Array:
    """(n,) squared distances, 1 where it is not ``there``."""
    xp = chosen.disp.__array_namespace__()
    return xp.where(there, xp.sum(chosen.disp * chosen.disp, axis=-1), 1.0)


def _aligned(first: Chosen, second: Chosen, spare: Chosen) -> tuple[Chosen, Chosen]:
    """Both axes; ``spare`` takes the place of a second one that points away from the first."""
    xp = first.disp.__array_namespace__()
    there = first.there & second.there
    scale = xp.sqrt(_length(first, there) * _length(second, there))
    opposite = there & (xp.sum(first.disp * second.disp, axis=-1) / scale + 1.0 < OPPOSITE)
    disp = xp.where(opposite[:, None], spare.disp, second.disp)
    return first, Chosen(disp, xp.where(opposite, spare.there, second.there))


def _chosen(slots: tuple[Slots, Slots], axis: Axis) -> Chosen:
    """The neighbour that an axis asks for, of each centre."""
    own = slots[axis.kind]
    if axis.atype >= 0:
        slot = (
            sum(own.sel[: axis.atype]) + axis.rank
        )  # beyond the last of its type it is one of the next, as in the reference
        return _at(own, slot) if slot < sum(own.sel) else _nobody(own)
    candidates = _candidates(own.sel, -axis.atype if axis.kind else -(axis.atype + 1))
    if axis.rank >= len(candidates):
        return _nobody(own)
    xp = own.disp.__array_namespace__()
    order = xp.argsort(own.square[:, candidates], axis=1, stable=True)[:, axis.rank]
    slot = xp.asarray(candidates)[order][:, None]
    square = xp.take_along_axis(own.square, slot, axis=1)[:, 0]
    return Chosen(xp.take_along_axis(own.disp, slot[..., None], axis=1)[:, 0], square < np.inf)


def _candidates(sel: Sequence[int], unasked: int) -> np.ndarray:
    """Slots of the nearest neighbours of every type but one."""
    starts = np.cumsum([0, *sel])
    return np.array(
        [starts[t] + k for t, n in enumerate(sel) if t != unasked for k in range(min(n, CANDIDATES))], dtype=int
    )


def _at(own: Slots, slot: int) -> Chosen:
    return Chosen(own.disp[:, slot], own.square[:, slot] < np.inf)


def _nobody(own: Slots) -> Chosen:
    xp = own.disp.__array_namespace__()
    n = own.disp.shape[0]
    return Chosen(xp.zeros((n, 3), own.disp.dtype), xp.zeros((n,), bool))
