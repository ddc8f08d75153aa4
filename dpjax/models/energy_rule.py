"""Energies of atoms with the one derivative as their derivative rule, for programs that differentiate by themselves.

A simulator that takes ``jax.grad`` of an energy would send derivatives backwards through everything that the energy was computed
from.  With the rule it gets what :func:`dpjax.models.outputs_and_gradient` computes block by block, while a block of atoms is in
cache: energies and their derivative by the displacements.  What lies before them (periodic images, a strained cell) is plain
arithmetic that JAX differentiates, so forces and stresses come out of one pass.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from dpjax.batching.batch import Batch
from dpjax.descriptors.expansion import Expansion
from dpjax.models.derivatives import Variables, atomic_outputs, outputs_and_gradient
from dpjax.models.geometry import Geometry
from dpjax.models.standard import StandardModel


def atomic_energies(
    model: StandardModel, variables: Variables, batch: Batch, expansion: Expansion | None, disp: jax.Array
) -> jax.Array:
    """(n_atom,) eV, zero on padding.  Differentiable by ``disp`` only; may be differentiated again.

    Args:
        model: a model of energies whose atoms see only their own row of ``disp``.
        variables: its collections; no derivative goes through them.
        batch: the batch; its coordinates and cells are not used.
        expansion: series for the embedding networks, from :func:`dpjax.models.expand`; None: the networks themselves.
        disp: (n_atom, n_nbr, 3) neighbour minus centre, angstrom.
    """
    fixed = jax.lax.stop_gradient((variables, batch, expansion))
    return _energies(model, fixed, disp)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _energies(model, fixed, disp):
    variables, batch, expansion = fixed
    return atomic_outputs(model, variables, Geometry(disp=disp), batch, expansion=expansion)


@_energies.defjvp
def _energies_jvp(model, primals, tangents):
    (variables, batch, expansion), disp = primals
    values, gradient = outputs_and_gradient(model, variables, Geometry(disp=disp), batch, expansion=expansion)
    return values, jnp.sum(gradient.disp * tangents[1], axis=(1, 2)).astype(values.dtype)
