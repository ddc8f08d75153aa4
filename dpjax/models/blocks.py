"""Running a function over the atom axis in blocks that stay in the processor's cache.

On a CPU a training step is bound by memory traffic: the activations of all neighbours of all atoms do not fit into the cache, those
of a few atoms do.  Block size is decided here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

CPU_BLOCK = 32  # atoms, where embedding networks are evaluated for every neighbour
CPU_SERIES_BLOCK = 128  # atoms, where series replace them


def block_size(n_atom: int, requested: int | None = None, largest: int = CPU_BLOCK) -> int:
    """Atoms per block: ``requested``, or on a CPU the largest of 128, 64, 32 and 16 up to ``largest`` that divides ``n_atom``.

    A section that no block divides is run at once; ladder sizes above 16 are multiples of 16.
    """
    if requested is not None:
        return requested if requested > 0 and n_atom % requested == 0 else n_atom
    if jax.default_backend() != "cpu":
        return n_atom
    return next((size for size in (128, 64, 32, 16) if size <= largest and n_atom % size == 0), n_atom)


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
