"""Frames of any number and sizes as a stream of batches, packed and placed on their devices ahead of their use.

Frames are made and searched for neighbours in threads, those first whose atoms have most neighbours.  Some wait, so that similar
ones find each other; what is held at a time is a few batches, however many frames there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from dpjax.batching import Batch, Frame, Layout, make_layout, pack, round_up
from dpjax.batching.groups import FITTING, Layouts, Needs, fitting
from dpjax.data.threads import default_workers, in_threads
from dpjax.training.devices import AXIS, device_count, stacked

PORTION = 200_000  # size of frames that are searched together
PORTION_FRAMES = 256
LOOKAHEAD = 2  # batches whose frames wait
LEAST_SHARE = 200_000  # size of a batch for each of several devices that is worth dealing out


class Source(Protocol):
    """Frames that are made when they are needed."""

    atoms: np.ndarray  # (n_frame,)
    width: np.ndarray  # (n_frame,) neighbours of an atom, roughly

    def frames(self, numbers: Sequence[int]) -> list[Frame]:
        """Some of them, with their neighbours; called in threads."""


@dataclass(frozen=True)
class Given:
    """Frames that are there."""

    all: Sequence[Frame]

    @property
    def atoms(self) -> np.ndarray:
        """(n_frame,)"""
        return np.array([len(frame.atype) for frame in self.all], int)

    @property
    def width(self) -> np.ndarray:
        """(n_frame,)"""
        return np.array([frame.table.count.sum(axis=1).max(initial=0) for frame in self.all], int)

    def frames(self, numbers: Sequence[int]) -> list[Frame]:
        """Some of them."""
        return [self.all[i] for i in numbers]


@dataclass(frozen=True)
class Plan:
    """How batches are made.

    Attributes:
        layouts: those that there are programs for.
        room: asked before each batch: the size (``size_of``) it may have on a device.
        most_atoms: atoms it may have there.
        hessian: whether each pair of atoms has numbers.
        several: whether there may be more than one; else all frames make one, whatever layouts there are.
        device: where it goes, if ``mesh`` is None.
        mesh: of devices that each have a part.
    """

    layouts: Layouts
    room: Callable[[], float]
    most_atoms: float
    hessian: bool
    several: bool
    device: jax.Device
    mesh: Any = None

    @property
    def parts(self) -> int:
        """Devices that share a batch."""
        return device_count(self.mesh)


@dataclass(frozen=True)
class Group:
    """Frames on one device, and their numbers among all."""

    numbers: list[int]
    frames: list[Frame]

    def halves(self) -> tuple[Group, Group]:
        """The first and the other half."""
        k = -(-len(self.frames) // 2)
        return Group(self.numbers[:k], self.frames[:k]), Group(self.numbers[k:], self.frames[k:])


@dataclass(frozen=True)
class Packed:
    """A batch on its devices.

    Attributes:
        groups: what it holds, device by device.
        batch: its arrays, with an axis for the devices before the others if there are several.
        places: of the atoms of each frame, on the atom axes of the devices joined.
        rows: of each frame, likewise.
    """

    groups: list[Group]
    batch: Batch
    places: list[np.ndarray]
    rows: list[int]

    @property
    def numbers(self) -> list[int]:
        """Which frames it holds."""
        return [number for group in self.groups for number in group.numbers]


class Waiting:
    """Frames that wait for a batch, those whose atoms need most first."""

    def __init__(self, n_section: int):
        self.numbers, self._frames = np.zeros(0, int), np.zeros(0, object)
        self.needs = Needs.of([], n_section)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def work(self) -> int:
        """Size of all."""
        return int(self.needs.work.sum())

    def add(self, numbers: Sequence[int], frames: Sequence[Frame], needs: Needs) -> None:
        """More frames."""
        joined = Needs.joined([self.needs, needs])
        order = np.argsort(-joined.width, kind="stable")
        more = np.empty(len(frames), object)
        more[:] = frames
        self.numbers = np.concatenate([self.numbers, np.asarray(numbers, int)])[order]
        self._frames, self.needs = np.concatenate([self._frames, more])[order], joined[order]

    def take(self, rows: np.ndarray) -> Group:
        """Removes frames."""
        taken = Group(self.numbers[rows].tolist(), self._frames[rows].tolist())
        rest = np.setdiff1d(np.arange(len(self)), rows)
        self.numbers, self._frames, self.needs = self.numbers[rest], self._frames[rest], self.needs[rest]
        return taken


def batches(source: Source, plan: Plan) -> Iterator[Packed]:
    """All frames of a source, in batches; the order is that of the work, not of the source.

    Raises:
        DataError: what making a frame raises.
    """
    n_section = plan.layouts.n_section

    def found(numbers: np.ndarray) -> tuple[np.ndarray, list[Frame], Needs]:
        frames = source.frames(numbers.tolist())
        return numbers, frames, Needs.of(frames, n_section, plan.hessian)

    portions = _portions(source, plan.hessian)
    more = in_threads(found, portions, min(default_workers(), len(portions)))
    share = max(LEAST_SHARE, _expected(source, plan.hessian).sum() / plan.parts)
    waiting, ended = Waiting(n_section), False
    while True:
        room = min(plan.room(), share) if plan.several else np.inf
        while not ended and (not len(waiting) or waiting.work < LOOKAHEAD * plan.parts * room):
            portion = next(more, None)
            ended = portion is None
            if portion is not None:
                waiting.add(*portion)
        if not len(waiting):
            return
        yield placed(*(_next(waiting, plan, room) if plan.several else _all(waiting, plan)), plan)


def _next(waiting: Waiting, plan: Plan, room: float) -> tuple[list[Group], Layout]:
    """Frames for the devices, and the layout that holds those of each."""
    rows, layout = plan.layouts.choose(waiting.needs, room, plan.most_atoms)
    groups = [waiting.take(rows)]
    while len(groups) < plan.parts and len(rows := fitting(waiting.needs, layout)):
        groups.append(waiting.take(rows))
    return groups, layout


def _all(waiting: Waiting, plan: Plan) -> tuple[list[Group], Layout]:
    layout = common_layout([waiting.needs], plan)
    return [waiting.take(np.argsort(waiting.numbers, kind="stable"))], layout


def common_layout(needs: Sequence[Needs], plan: Plan) -> Layout:
    """The layout that just holds each of these groups of frames."""
    atoms = np.max([own.atoms.sum(axis=0) for own in needs], axis=0)
    nbrs = np.max([own.nbrs.max(axis=0, initial=0) for own in needs], axis=0)
    return make_layout(atoms, nbrs, round_up(max(map(len, needs))), plan.layouts.sel)


def placed(groups: list[Group], layout: Layout, plan: Plan) -> Packed:
    """Groups of frames packed and put on the devices."""
    layouts = plan.layouts
    fitted = layouts.inner.added if plan.several else layouts.inner.alone
    layout = fitted(layout, [frame for group in groups for frame in group.frames])
    packed = [pack(group.frames, layout) for group in groups]
    places = [
        np.where(own >= 0, own + device * layout.n_atom, -1)
        for device, (_, places) in enumerate(packed)
        for own in places
    ]
    rows = [device * layout.frames + i for device, group in enumerate(groups) for i in range(len(group.frames))]
    where = plan.device
    parts = (layouts.lists.added if plan.several else layouts.lists.alone)([batch for batch, _ in packed])
    if plan.mesh is not None:
        parts += [_idle(parts[0])] * (plan.parts - len(parts))
        where = NamedSharding(plan.mesh, PartitionSpec(AXIS))
    with jax.enable_x64(True):
        batch = jax.device_put(parts[0] if plan.mesh is None else stacked(parts), where)
    return Packed(groups, batch, places, rows)


def halved(packed: Packed, plan: Plan) -> list[Packed]:
    """The frames of a batch in two smaller ones."""
    out = []
    for half in zip(*(group.halves() for group in packed.groups), strict=True):
        groups = [group for group in half if group.frames]
        needs = [Needs.of(group.frames, plan.layouts.n_section) for group in groups]
        if groups:
            out.append(placed(groups, common_layout(needs, plan), plan))
    return out


def _idle(like: Batch) -> Batch:
    """A batch of padding in the layout of another one."""
    return jax.tree.map(np.zeros_like, like).replace(atype=np.full_like(like.atype, -1))


def _columns(source: Source, hessian: bool) -> np.ndarray:
    return 9 * source.atoms * hessian


def _expected(source: Source, hessian: bool) -> np.ndarray:
    """(n_frame,) sizes, roughly."""
    return source.atoms * (source.width + FITTING + _columns(source, hessian))


def expected_size(source: Source, hessian: bool) -> float:
    """Size of all frames, roughly."""
    return float(_expected(source, hessian).sum())


def _portions(source: Source, hessian: bool) -> list[np.ndarray]:
    """Frames that are searched together, those with most neighbours first."""
    order = np.argsort(-(source.width + _columns(source, hessian)), kind="stable")
    size = _expected(source, hessian)[order]
    portions, start, held = [], 0, 0.0
    for i, own in enumerate(size.tolist()):
        if i > start and (held + own > PORTION or i - start == PORTION_FRAMES):
            portions.append(order[start:i])
            start, held = i, 0.0
        held += own
    return [*portions, order[start:]]
