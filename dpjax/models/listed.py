"""A model on a neighbour list with a skin, which serves while atoms move: cut to the cut-off anew inside the program.

A list with a skin holds pairs up to ``rcut + skin``.  As long as no pair that it lacks can have come within ``rcut``
(:func:`still_serves`), the neighbours of every atom are among its slots: :func:`within_cutoff` keeps those that are nearer than
``rcut`` now, and the model is handed exactly the table that a fresh search would give.  So a pair in the skin is an empty place,
and what ``sel`` keeps is decided by the distances of now, as DeePMD-kit's two-step rule asks.  The work of the model follows the
neighbours within the cut-off, not the width of the list.

    batch, places = pack([frame], layout)            # table searched with rcut + skin; layout with room for it
    nbrs = slots(most_within_rcut, model.sel)        # room for what is within rcut, from the same ladder
    out = jit(predict_listed, ...)(model, variables, batch, nbrs=nbrs)      # again and again with other ``batch.coord``
    if (out[NEEDED] > nbrs).any(): ...               # make nbrs larger and run again: the output is not to be used
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from dpjax.batching.batch import Batch
from dpjax.batching.packing import neighbor_capacity
from dpjax.geometry.cells import inverse3
from dpjax.geometry.displacements import displacements
from dpjax.models.derivatives import Variables, predict
from dpjax.models.spins import point_positions
from dpjax.models.standard import StandardModel

NEEDED = "needed"  # output that says how many slots the neighbours within the cut-off take
MARGIN = 1.1  # slots over what one structure needs


def slots(most: Sequence[int], sel: Sequence[int | None], margin: float = MARGIN) -> tuple[int, ...]:
    """Slots of each section for neighbours within the cut-off, with room for a few more.

    Args:
        most: (n_section,) neighbours of each section within the cut-off that one atom has at most.
        sel: of the model, as ``model.sel``: a section is no wider as long as ``most`` is not, so that no truncation is compiled.
        margin: room over ``most``.
    """
    sizes = []
    for need, keep in zip(most, sel, strict=True):
        size = math.ceil(int(need) * margin)
        size = min(size, keep) if keep is not None and need <= keep else size
        sizes.append(neighbor_capacity(size, keep))
    return tuple(sizes)


def within_cutoff(batch: Batch, rcut: float, nbrs: Sequence[int]) -> tuple[Batch, jax.Array]:
    """The same batch with those neighbours only that are nearer than ``rcut``, in narrower sections.  Pure; for use under ``jit``.

    Nothing is sorted: within a section neighbours keep their order.  No derivative goes through the choice, and that of the
    displacements of the batch by ``coord`` and ``cell`` is what it is.

    Args:
        batch: whose sections may hold pairs beyond the cut-off.
        rcut: angstrom.
        nbrs: slots of each section that are left.

    Returns:
        The batch with ``layout.nbrs == nbrs``, and (n_section,) int32 the most neighbours within ``rcut`` that an atom has in each
        section.  Where that is more than ``nbrs``, neighbours are missing in the batch: it must not be used.
    """
    nbrs = tuple(int(n) for n in nbrs)
    layout = batch.layout
    geometry = (jax.lax.stop_gradient(jnp.asarray(x)) for x in (point_positions(batch), batch.cell))
    disp = displacements(*geometry, jnp.asarray(batch.frame), jnp.asarray(batch.index), jnp.asarray(batch.shift))
    near = jnp.sum(disp * disp, axis=-1) < rcut * rcut
    count = jnp.asarray(batch.count)
    listed = [jnp.arange(width)[None, :] < count[:, t, None] for t, width in enumerate(layout.nbrs)]
    pick, count = kept_slots(near & jnp.concatenate(listed, axis=1), layout.nbrs, nbrs)
    kept = batch.replace(
        index=jnp.take_along_axis(jnp.asarray(batch.index), pick, axis=1),
        shift=jnp.take_along_axis(jnp.asarray(batch.shift), pick[..., None], axis=1),
        count=jnp.minimum(count, jnp.asarray(nbrs, count.dtype)[None, :]),
        layout=replace(layout, nbrs=nbrs),
    )
    return kept, jnp.max(count, axis=0)


def kept_slots(near: jax.Array, widths: Sequence[int], nbrs: Sequence[int]) -> tuple[jax.Array, jax.Array]:
    """Where the neighbours that are kept stand in a list, section by section and in their order.

    Args:
        near: (n, sum(widths)) bool, which slots are kept.
        widths: slots of each section of the list.
        nbrs: of each section of what is kept.

    Returns:
        (n, sum(nbrs)) slots, behind the last one kept the first of its section; and (n, n_section) int32 how many are kept, which
        may be more than ``nbrs``.
    """
    picks, counts, start = [], [], 0
    for width, room in zip(widths, nbrs, strict=True):
        pick, count = _packed(near[:, start : start + width], room)
        picks.append(start + pick)
        counts.append(count)
        start += width
    return jnp.concatenate(picks, axis=1), jnp.stack(counts, axis=1)


def _packed(near: jax.Array, room: int) -> tuple[jax.Array, jax.Array]:
    """(n, room) positions in each row of ``near`` (n, width) that are true, then zeros; and (n,) int32 how many there are."""
    n, width = near.shape
    rank = jnp.cumsum(near, axis=1, dtype=jnp.int32)
    target = jnp.where(near, rank - 1, room)  # beyond the last slot: dropped
    column = jnp.broadcast_to(jnp.arange(width, dtype=jnp.int32), (n, width))
    pick = jnp.zeros((n, room), jnp.int32).at[jnp.arange(n)[:, None], target].set(column, mode="drop")
    return pick, rank[:, -1]


def predict_listed(
    model: StandardModel,
    variables: Variables,
    batch: Batch,
    *,
    nbrs: Sequence[int],
    function: Callable[..., dict[str, jax.Array]] = predict,
    **options: Any,
) -> dict[str, jax.Array]:
    """What :func:`dpjax.models.predict` says about a batch whose list has a skin.

    Args:
        nbrs: slots for the neighbours within the cut-off, from :func:`slots`.
        function: another one that is called like ``predict``.
        options: those of ``function``; ``grid`` belongs to the layout with ``nbrs``.

    Returns:
        The output of ``function`` and ``needed`` (n_section,) int32; only right where that is at most ``nbrs``.
    """
    kept, needed = within_cutoff(batch, model.rcut, nbrs)
    return {**function(model, variables, kept, **options), NEEDED: needed}


def still_serves(rcut: float, skin: float, coord, listed, cell=None, listed_cell=None) -> Any:
    """() bool: whether a list with a skin still holds every pair within ``rcut``; for NumPy or jax arrays, pure.

    With an unchanged cell: no atom moved more than half the skin.  Where the cell changed from ``h0`` to ``h0 F``, an atom is
    compared with where the cell would have carried it, ``r0 F``.  If it is at most u from there, a pair that is at the distance
    ``rcut`` now was no farther apart than ``(rcut + 2 u) |F^-1|`` when the list was made.  The largest singular value ``|F^-1|`` is
    at most a growth common to all directions plus that of what remains, whose square is at most the product of its largest sums of
    absolute values along rows and along columns.  NaN never serves.

    Args:
        rcut, skin: angstrom.
        coord, cell: now; (n_atom, 3) and (3, 3) angstrom.
        listed, listed_cell: those that the list was made from.  Without cells: these are unchanged, or there are none.
    """
    xp = coord.__array_namespace__()
    stretch, carried = 1.0, listed
    if cell is not None:
        back = inverse3(cell) @ listed_cell  # F^-1
        common = xp.linalg.trace(back) / 3.0
        rest = xp.abs(back - common * xp.eye(3, dtype=cell.dtype))
        stretch = xp.abs(common) + xp.sqrt(xp.max(xp.sum(rest, axis=0)) * xp.max(xp.sum(rest, axis=1)))
        carried = listed @ (inverse3(listed_cell) @ cell)
    moved = xp.sqrt(xp.max(xp.sum((coord - carried) ** 2, axis=-1)))
    return (rcut + 2.0 * moved) * stretch <= rcut + skin
