"""Running a function over the atom axis in blocks that stay in the processor's cache.

On a CPU a training step is bound by memory traffic: the activations of all neighbours of all atoms do not fit into the cache, those
of a few atoms do.  Block size is decided here and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp

from dpjax.machine import whole_memory

CPU_BLOCK = 32  # atoms, where embedding networks are evaluated for every neighbour
CPU_SERIES_BLOCK = 128  # atoms, where series replace them
CPU_PAIRS = 2500  # pairs of neighbours, where networks are evaluated for each of them
CPU_MESSAGES = 40_000  # pairs of neighbours in layers of messages, whose blocks cost more to begin than to fetch
CPU_ANGLES = 4000  # pairs of neighbours where each has a vector of its own
CPU_LISTED = 4  # atoms whose edges and angles are listed together
DEVICE_PAIRS = 2_000_000  # the same on accelerators, whose memory is the limit: about 2 kB for each
LEAST_KEPT = 4 * 2**30  # bytes for the backward pass that layers keep on any machine, as computing them again is slower
ONE_BY_ONE = 8  # layers whose programs are compiled one after another, where a loop would cost time in every run
DEVICE_TANGENTS = 500_000  # displacements on accelerators whose changes are followed together: about 10 kB for each


@dataclass(frozen=True)
class Work:
    """How the work of a model is divided and done; but for ``bfloat16`` nothing of it changes results.

    Attributes:
        block: atoms whose descriptors are computed together; None: as many as suit the backend.
        recompute: compute what lies inside layers of message passing again in a backward pass; False: keep it; None: as suits the
            descriptor and the size of the batch.
        bfloat16: factors of matrix products in layers of messages may be rounded to it, by descriptors that have an option for it.
    """

    block: int | None = None
    recompute: bool | None = None
    bfloat16: bool = False

    @property
    def recomputes(self) -> bool:
        """Whether layers are computed again: unless somebody said or found out that there is room to keep what is in them."""
        return self.recompute is not False

    @property
    def atoms(self) -> int | None:
        """Atoms of a block that were asked for; 0, all of them, where everything is kept, so that no loop copies it."""
        return 0 if self.block is None and not self.recomputes else self.block

    def one_by_one(self, number: int) -> bool:
        """Whether so many layers are compiled one by one: what they keep is then not copied to and from the arrays of a loop."""
        return number == 1 or (not self.recomputes and number <= ONE_BY_ONE)

    def decided(self, number: int, *kept: int) -> Work:
        """With ``recompute`` said, where it was left open: by the product of ``kept``, bytes for the backward pass of all layers,
        and by their ``number``.  What a loop keeps, over more layers than are compiled one by one, costs more than computing it.

        Where a factor is a symbol of jax.export nobody knows, and it stays open.
        """
        if self.recompute is not None or not all(isinstance(factor, Integral) for factor in kept):
            return self
        return replace(self, recompute=number > ONE_BY_ONE or math.prod(kept) > room())


def room() -> int:
    """Bytes that layers may keep: a quarter of the memory of an accelerator, or of the machine, which all CPU devices share.

    Of memory that is there, not of what is free: a run that is repeated computes in the same order.
    """
    if jax.default_backend() == "cpu":
        whole = whole_memory()
        return LEAST_KEPT if math.isinf(whole) else max(LEAST_KEPT, int(whole / jax.device_count()) // 4)
    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("bytes_limit", 4 * LEAST_KEPT) // 4


AS_SUITS = Work()


def block_size(
    n_atom: int, requested: int | None = None, largest: int = CPU_BLOCK, pairs: int = 0, most: int = CPU_PAIRS
) -> int:
    """Atoms per block: ``requested``, or all where a block may hold them, or the largest power of 2 that divides them.

    A block may hold ``largest`` atoms on a CPU and any number elsewhere, and fewer where networks run for pairs of neighbours:
    those that have ``most`` or ``DEVICE_PAIRS`` of them.  Without pairs blocks have at least 16 atoms, and a section that
    no block divides is run at once; ladder sizes above 16 are multiples of 16.

    Args:
        n_atom: atoms of the section.
        requested: by the user.
        largest: on a CPU.
        pairs: of one atom's neighbours that networks are evaluated for.
        most: of them in a block on a CPU.
    """
    if not isinstance(n_atom, int):  # a symbol of jax.export, of a program for several backends
        return n_atom
    if requested is not None:
        return requested if requested > 0 and n_atom % requested == 0 else n_atom
    on_cpu = jax.default_backend() == "cpu"
    largest = largest if on_cpu else n_atom
    if pairs:
        largest = min(largest, max(1, (most if on_cpu else DEVICE_PAIRS) // pairs))
    if largest >= n_atom:
        return n_atom
    sizes = [2**i for i in reversed(range(largest.bit_length())) if pairs or 2**i >= 16]
    return next((size for size in sizes if n_atom % size == 0), n_atom)


def listed_block() -> int:
    """Atoms of a block of flat lists (``batching.lists``): few on a CPU; 0, which is all of a batch, elsewhere."""
    return CPU_LISTED if jax.default_backend() == "cpu" else 0


def atoms_at_once(n_atom: int, n_nbr: int, most: int) -> int:
    """Of how many atoms of a frame, out of ``most``, the second derivatives are taken together; on a CPU of one.

    Each has three directions, in which all displacements of a batch may change: ``n_atom`` times ``n_nbr``.
    """
    if jax.default_backend() == "cpu":
        return 1
    return max(1, min(most, DEVICE_TANGENTS // max(1, 3 * n_atom * n_nbr)))


def map_blocks(fn: Callable[..., Any], arrays: Any, n_atom: int, size: int) -> Any:
    """``fn`` over blocks of ``size`` entries of the leading axis of ``arrays``, results joined again.

    Args:
        fn: takes the tree ``arrays`` cut to one block, returns a tree of arrays with the block as leading axis.
        arrays: tree of arrays (n_atom, ...).
        n_atom: length of the leading axis.
        size: block size; must divide ``n_atom``.
    """
    if size >= n_atom:
        return fn(arrays)
    cut = jax.tree.map(lambda a: jnp.reshape(a, (n_atom // size, size, *a.shape[1:])), arrays)
    out = jax.lax.map(fn, cut)
    return jax.tree.map(lambda a: jnp.reshape(a, (n_atom, *a.shape[2:])), out)
