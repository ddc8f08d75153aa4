"""Layers of message passing: one after another where there is room to keep what is in them for the backward pass, else as loops.

Loops are over layers of equal shape, and within each over blocks of atoms.  A loop over layers is compiled once, however many there
are, and in the backward pass a block is computed again from what its layer was given: what is between is the largest part of the
memory, and to stack it up for a loop, and take it apart again, costs more than to compute it.

A step that trains forces takes a derivative of a derivative.  What one ``jax.checkpoint`` computes again for the first, the second
keeps; so there are two, one inside the other: around a layer and around its blocks, or both around blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpjax.nn.blocks import CPU_MESSAGES, Work, block_size, map_blocks

State = TypeVar("State")


def repeated(layers: Sequence[nn.Module], state: State, *others: object, work: Work) -> State:
    """What the layers make of a state, each of what the one before it has left.

    Args:
        layers: bound modules ``layer(state, *others, work=work) -> state`` whose parameters have equal shapes and that have nothing
            else.
        state: tree of arrays whose shapes and dtypes layers do not change.
        others: trees of arrays that all layers are given.
        work: how it is divided.
    """
    if work.one_by_one(len(layers)):
        for layer in layers:
            state = layer(state, *others, work=work)
        return state
    own = [layer.variables["params"] for layer in layers]
    stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *own)
    shell = layers[0].clone(parent=None, name=None)

    def layer(params: object, state: State, others: object) -> State:
        return shell.apply({"params": params}, state, *others, work=work)

    run = jax.checkpoint(layer) if work.recomputes else layer

    def step(state: State, params: object) -> tuple[State, None]:
        return run(params, state, others), None

    return jax.lax.scan(step, state, stacked)[0]


def in_blocks(
    module: nn.Module,
    method: Callable[..., Any],
    arrays: tuple[Any, ...],
    n_atom: int,
    pairs: int,
    work: Work,
    most: int = CPU_MESSAGES,
    within: bool = False,
) -> Any:
    """``method(module, *arrays)`` for blocks of atoms one after another, results joined.

    Args:
        module: bound module with all its parameters.
        method: takes and gives trees of arrays with atoms on the leading axis, each atom on its own.
        arrays: what it takes, (n_atom, ...).
        n_atom: length of that axis.
        pairs: of an atom's neighbours that there are arrays for.
        work: how it is divided.
        most: pairs of a block on a CPU.
        within: a layer of :func:`repeated`, which is itself computed again.
    """
    shell = module.clone(parent=None, name=None)

    def block(variables: object, own: tuple[Any, ...]) -> Any:
        return shell.apply(variables, *own, method=method)

    size = block_size(n_atom, work.atoms, pairs=pairs, most=most)
    if size >= n_atom and not work.recomputes:
        return method(module, *arrays)
    return blockwise(block, module.variables, arrays, n_atom, pairs, work, most, within)


def blockwise(
    fn: Callable[[Any, Any], Any],
    weights: Any,
    arrays: Any,
    n_atom: int,
    pairs: int,
    work: Work,
    most: int = CPU_MESSAGES,
    within: bool = False,
) -> Any:
    """``fn(weights, arrays)`` for blocks of atoms one after another, results joined; arguments as for :func:`in_blocks`."""
    size = block_size(n_atom, work.atoms, pairs=pairs, most=most)
    run = fn
    if work.recomputes:
        run = jax.checkpoint(fn if within else jax.checkpoint(fn))
    return map_blocks(lambda own: run(weights, own), arrays, n_atom, size)
