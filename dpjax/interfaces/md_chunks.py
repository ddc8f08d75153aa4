"""Many steps of a simulator in one program on the device; a list that overflows costs its chunk, never a step.

A chunk stops at the first step whose result is not finite, and energies are NaN where a list lacks neighbours.  Then the host asks
why.  If room was missing, the chunk is thrown away, capacities grow, and it is run again from its start.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp

from dpjax.errors import CapacityError, NonFiniteError
from dpjax.interfaces.moving import Neighbors

log = logging.getLogger(__name__)

ATTEMPTS = 12  # to run a chunk with more and more room


def run_chunk(
    neighbor_fn: Any,
    apply_fn: Callable[..., Any],
    state: Any,
    neighbors: Neighbors,
    n_steps: int,
    *,
    step: int = 0,
) -> tuple[Any, Neighbors]:
    """``n_steps`` steps, in a loop on the device.

    Args:
        neighbor_fn: from :func:`dpjax.interfaces.jax_md.neighbor_fn_and_energy`.
        apply_fn: ``apply_fn(state, neighbor=...)``, a step of a JAX-MD simulator or minimiser.
        state: with ``position``, ``box`` where the cell changes, and ``spin`` where spins do.
        neighbors: a list for the state; it may be too small.
        n_steps: how many; one program serves all numbers.
        step: number of steps before, for messages.

    Returns:
        The state, and the neighbour list with the capacity that was needed.

    Raises:
        NonFiniteError: the model, or the simulator, gives NaN or infinity; the message names the step.
        CapacityError: no capacity was enough.
    """
    program = _program(neighbor_fn, apply_fn)
    for _ in range(ATTEMPTS):
        done, end, used = program(state, neighbors, n_steps)
        if int(done) == n_steps and _finite(end):
            return end, used
        failed = step + int(done)
        flags = neighbor_fn.diagnose(end.position, used, **moving_of(end))
        if not int(flags.bits):
            raise NonFiniteError(
                f"step {failed}: forces or velocities are NaN or infinite, though all neighbours are there: atoms overlap, the "
                "time step is too long, or the structure is far from what the model was trained on"
            )
        try:
            neighbors = neighbor_fn.enlarged(state.position, neighbors, flags, **moving_of(state))
        except (CapacityError, NonFiniteError) as error:
            raise type(error)(f"step {failed}: {error}") from None
        log.info(
            "step %d: %s; the last %d steps are run again with more room: %s", failed, flags.reasons, int(done), neighbors.capacity
        )  # fmt: skip
    raise CapacityError(
        f"step {failed}: the neighbour list is still too small after {ATTEMPTS} enlargements: {flags.reasons}"
    )


def moving_of(state: Any) -> dict[str, Any]:
    """Box and spins of a state where they change; else they are those of the start."""
    found = {name: getattr(state, name, None) for name in ("box", "spin")}
    return {name: value for name, value in found.items() if value is not None}


@lru_cache(maxsize=32)
def _program(neighbor_fn: Any, apply_fn: Callable[..., Any]) -> Callable[..., Any]:
    """(state, neighbors, n_steps) -> (steps done, state, neighbors that the last step used)."""

    def body(carry):
        done, state, neighbors = carry
        neighbors = neighbor_fn.update(state.position, neighbors, **moving_of(state))
        state = _typed_as(apply_fn(state, neighbor=neighbors), state)
        return done + 1, state, neighbors

    @jax.jit
    def program(state, neighbors, n_steps):
        start = (jnp.int32(0), jax.tree.map(_strong, state), neighbors)
        return jax.lax.while_loop(lambda carry: (carry[0] < n_steps) & _finite(carry[1]), body, start)

    return program


def _finite(state: Any) -> jax.Array:
    """() bool: every number of a state is finite."""
    leaves = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating)]
    return jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]).all()


def _strong(leaf: Any) -> jax.Array:
    """An array whose type does not give way: JAX-MD's states hold Python numbers, too."""
    return jax.lax.convert_element_type(leaf, jnp.result_type(leaf))


def _typed_as(state: Any, before: Any) -> Any:
    """A state with the types of the one before it."""
    return jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), state, before)
