"""Layer-wise Kalman filter: each update follows one scalar error along its gradient, weighted by a covariance of the parameters.

The covariance P is kept for blocks i of parameters.  With the error e, its gradient H and the forgetting factor lambda::

    A = 1 / sum_i (lambda + H_i^T P_i H_i)
    w_i <- w_i + A e K_i,  K_i = P_i H_i;   P_i <- (P_i - A K_i K_i^T) / lambda;   lambda <- nu lambda + 1 - nu

Hu et al., "RLEKF: An optimizer for deep potential with ab initio accuracy", AAAI 2023, arXiv:2212.06989.  P is by far the largest
thing in a training (200 MB for each block of 5120 numbers), so several updates can be held as vectors K (:class:`Corrections`) and
carried out in P in one pass (:func:`settled`), in place where the old state is donated.  All of it is float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from dpjax.config.optimizers import LkfConfig
from dpjax.optimizers.freezing import parameter_names

FORGET = 0.98  # lambda at the start: how much of the old covariance counts
APPROACH = 0.9987  # nu: how slowly lambda moves to 1

Stacks = tuple[jax.Array, ...]  # blocks of one size together, in the order in which sizes first appear


@flax.struct.dataclass
class LkfState:
    """What the filter remembers."""

    forget: jax.Array  # (), lambda
    covariance: Stacks  # (n_block, n, n) each


@flax.struct.dataclass
class Corrections:
    """Updates that P does not have yet: the covariance is ``scale * P - sum_j weight_j gain_j gain_j^T``.

    There are places for a fixed number of them; those that are free have weight zero.
    """

    forget: jax.Array  # (), lambda after these updates
    scale: jax.Array  # ()
    weights: jax.Array  # (n_place,)
    gains: Stacks  # (n_place, n_block, n) each, the vectors K


@dataclass(frozen=True)
class Blocks:
    """Which numbers share a block: the named parameters one after another, cut at the given sizes; others are in no block."""

    names: tuple[str, ...]
    sizes: tuple[int, ...]

    @property
    def stacked(self) -> dict[int, list[int]]:
        """Size -> blocks of this size."""
        return {n: [i for i, size in enumerate(self.sizes) if size == n] for n in dict.fromkeys(self.sizes)}

    def gather(self, tree: Any) -> Stacks:
        """The numbers of a tree like the parameters, (n_block, n) for each size; matrices are read column by column."""
        leaves = parameter_names(tree)
        vector = jnp.concatenate([jnp.zeros(0), *(jnp.ravel(leaves[name].T).astype(float) for name in self.names)])
        parts = jnp.split(vector, np.cumsum(self.sizes)[:-1])
        return tuple(jnp.stack([parts[i] for i in blocks]) for blocks in self.stacked.values())

    def scatter(self, stacks: Stacks, like: Any) -> Any:
        """The inverse of :meth:`gather`, in the shapes and dtypes of the tree ``like``; zero in parameters without a block."""
        parts = {
            i: row
            for blocks, stack in zip(self.stacked.values(), stacks, strict=True)
            for i, row in zip(blocks, stack, strict=True)
        }
        vector = jnp.concatenate([jnp.zeros(0), *(parts[i] for i in range(len(self.sizes)))])
        leaves = parameter_names(like)
        ends = np.cumsum([leaves[name].size for name in self.names])
        values = dict(zip(self.names, jnp.split(vector, ends[:-1]), strict=True)) if self.names else {}

        def leaf(path: tuple, old: jax.Array) -> jax.Array:
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            new = values[name].reshape(old.shape[::-1]).T if name in values else jnp.zeros(old.shape)
            return new.astype(old.dtype)

        return jax.tree_util.tree_map_with_path(leaf, like)


def block_layout(sizes: Sequence[int], kf_blocksize: int) -> tuple[int, ...]:
    """Sizes of the blocks of parameters with so many numbers each, in order.

    Neighbours share a block as long as they fit; a parameter that is larger than a block is cut into blocks of its own.
    """
    groups = [0]
    for size in sizes:
        if groups[-1] and groups[-1] + size > kf_blocksize:
            groups.append(0)
        groups[-1] += size
    whole = [[kf_blocksize] * (n // kf_blocksize) + [n % kf_blocksize] for n in groups]
    return tuple(size for pieces in whole for size in pieces if size)


def block_plan(tree: Any, kf_blocksize: int, order: Sequence[str] | None = None) -> Blocks:
    """The blocks of the parameters ``order`` (None: all, in tree order) of a tree; names are paths joined by ".".

    Raises:
        KeyError: the tree lacks a parameter that ``order`` names.
    """
    leaves = parameter_names(tree)
    names = tuple(name for name in (leaves if order is None else order) if leaves[name].size)
    return Blocks(names, block_layout([leaves[name].size for name in names], kf_blocksize))


def initial_state(blocks: Blocks) -> LkfState:
    """Unit covariance."""
    stacks = blocks.stacked.items()
    covariance = tuple(jnp.broadcast_to(jnp.eye(n, dtype=float), (len(of_size), n, n)) for n, of_size in stacks)
    return LkfState(jnp.asarray(FORGET, float), covariance)


def no_corrections(state: LkfState, n_place: int) -> Corrections:
    """Free places for so many updates after ``state``."""
    gains = tuple(jnp.zeros((n_place, *p.shape[:2]), float) for p in state.covariance)
    return Corrections(state.forget, jnp.ones((), float), jnp.zeros(n_place, float), gains)


def observed(
    state: LkfState, past: Corrections, place: int | jax.Array, slope: Stacks, error: jax.Array
) -> tuple[Corrections, Stacks]:
    """One update.

    Args:
        state: covariance before all of ``past``.
        past: updates since.
        place: free place for this one.
        slope: H, the gradient of what is observed.
        error: e, how much less it is than it should be, ().

    Returns:
        The corrections with this one, and the change of the parameters like ``slope``.
    """
    gains = tuple(
        _product(p, past.scale, past.weights, k, h) for p, k, h in zip(state.covariance, past.gains, slope, strict=True)
    )
    n_block = sum(h.shape[0] for h in slope)
    spread = sum(jnp.sum(h * k) for h, k in zip(slope, gains, strict=True))
    share = 1.0 / (n_block * past.forget + spread)
    new = Corrections(
        forget=APPROACH * past.forget + 1.0 - APPROACH,
        scale=past.scale / past.forget,
        weights=past.weights.at[place].set(share) / past.forget,
        gains=tuple(old.at[place].set(k) for old, k in zip(past.gains, gains, strict=True)),
    )
    return new, tuple(share * error * k for k in gains)


def _product(covariance: jax.Array, scale: jax.Array, weights: jax.Array, gains: jax.Array, h: jax.Array) -> jax.Array:
    """Corrected covariance (n_block, n, n) times ``h`` (n_block, n)."""
    along = jnp.einsum("jbn,bn->jb", gains, h)
    return scale * jnp.einsum("bmn,bn->bm", covariance, h) - jnp.einsum("j,jb,jbn->bn", weights, along, gains)


def settled(state: LkfState, corrections: Corrections) -> LkfState:
    """The state with the corrections carried out; the covariance stays symmetric to the bit."""

    def corrected(covariance: jax.Array, gains: jax.Array) -> jax.Array:
        outer = [w * (k[:, :, None] * k[:, None, :]) for w, k in zip(corrections.weights, gains, strict=True)]
        return corrections.scale * covariance - sum(
            outer
        )  # one loop over the covariance, nothing of its size in between

    return LkfState(corrections.forget, tuple(map(corrected, state.covariance, corrections.gains)))


def kalman_filter(cfg: LkfConfig, order: Sequence[str] | None = None) -> optax.GradientTransformationExtraArgs:
    """The filter, one update for each call; no learning rate has a part in it.

    ``update`` takes the gradient of what is observed and two arguments more: ``error`` (), how much less that is than it should be,
    and ``grad_prefactor`` (), by which the gradient is divided.

    Args:
        cfg: size of the blocks; the prefactors belong to the training step.
        order: names of the trained parameters in the order that decides which share a block; others are left alone. None: all that
            there are, in tree order, which sorts names.
    """

    def init_fn(params: Any) -> LkfState:
        return initial_state(block_plan(params, cfg.kf_blocksize, order))

    def update_fn(
        updates: Any, state: LkfState, params: Any = None, *, error: jax.Array, grad_prefactor: jax.Array, **others: Any
    ) -> tuple[Any, LkfState]:
        del params, others
        blocks = block_plan(updates, cfg.kf_blocksize, order)
        slope = tuple(h / grad_prefactor for h in blocks.gather(updates))
        corrections, change = observed(state, no_corrections(state, 1), 0, slope, error)
        return blocks.scatter(change, updates), settled(state, corrections)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
