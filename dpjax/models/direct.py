"""What models predict that give their forces directly: no derivative is taken, so a virial does not exist."""

from __future__ import annotations

from typing import Any

import jax

from dpjax.batching.batch import Batch
from dpjax.models.standard import StandardModel, atom_rows, batch_geometry, extra_rows, neighborhood, where_rows
from dpjax.nn.blocks import AS_SUITS, Work


def predict_directly(
    model: StandardModel, variables: dict[str, Any], batch: Batch, work: Work = AS_SUITS
) -> dict[str, jax.Array]:
    """Everything such a model says about a batch, on the batch's padded axes.

    Returns:
        ``energy`` (n_frame, 1) and ``atom_energy`` (n_atom,) eV, ``force`` (n_atom, 3) eV/angstrom and ``denoising_force_norm``
        (n_atom, 3), how far atoms were displaced in units of the standard deviation.  Where the batch was disturbed, also what was
        done to it: ``noise_mask`` (n_atom,), and ``noise`` (n_atom, 3) angstrom.
    """
    layout, every = batch.layout, slice(0, batch.layout.n_atom)
    disp = batch_geometry(batch).disp
    view = neighborhood(model, 0, disp, atom_rows(model, batch, every), layout.nbrs, work, layout.inner)
    rows = (*extra_rows(batch, every), batch.disturbance)
    found = model.apply(variables, view, *rows, method=type(model).direct_output)
    out = {name: where_rows(batch.atype >= 0, values) for name, values in found.items()}
    total = jax.ops.segment_sum(out["atom_energy"], batch.frame, layout.frames)
    out["energy"] = total.reshape(-1, 1)
    if batch.disturbance is not None:
        out |= {"noise_mask": batch.disturbance.mask, "noise": batch.disturbance.noise}
    return out
