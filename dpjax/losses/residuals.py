"""Errors of what energy models are trained on, with the weights that keep padding out.

Every function takes arrays of a rectangular batch, (n_frame, n_atom, ...), as well as those of a flat one, (n_atom, ...), and
gives rows.  ``present`` () is 0 where the labels are missing, and with it all weights.  Energies in eV, lengths in angstrom.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from dpjax.errors import ModelError
from dpjax.losses.forms import Residuals, length
from dpjax.losses.inputs import Inputs, atom_frames, compared, label_rows, row_weights
from dpjax.losses.means import error_of, real_values

Measure = Callable[[Inputs, jax.Array], Residuals]


def energy(inputs: Inputs, present: jax.Array) -> Residuals:
    """Energy of frames (n_frame, 1), eV."""
    ours, theirs = compared(inputs.prediction["energy"], inputs.label, "energy", 1)
    return _of_frames(inputs, ours, theirs, present)


def weighted_energy(inputs: Inputs, present: jax.Array) -> Residuals:
    """Sum of atomic energies times ``atom_ener_coeff``, eV; the coefficients are 1 where the label is absent.

    Raises:
        ModelError: the frames of atoms on one axis are not given.
    """
    ours = inputs.prediction["atom_energy"]
    frame, n_frame = atom_frames(inputs, ours, "atom_energy")
    weight = _atom_weights(inputs, len(frame), present)
    coefficients = label_rows(inputs.label, "atom_ener_coeff", len(frame), 1.0)
    each = real_values(ours.reshape(-1, 1), weight) * real_values(coefficients, weight)
    total = jax.ops.segment_sum(each, frame, n_frame)
    return _of_frames(inputs, *compared(total, inputs.label, "energy", 1), present)


def virial(inputs: Inputs, present: jax.Array) -> Residuals:
    """Virial of frames (n_frame, 9), eV."""
    ours, theirs = compared(inputs.prediction["virial"], inputs.label, "virial", 9)
    return _of_frames(inputs, ours, theirs, present)


def atomic_energy(inputs: Inputs, present: jax.Array) -> Residuals:
    """Energies of atoms (n_row, 1), eV."""
    return _of_atoms(inputs, "atom_energy", "atom_ener", 1, present)


def force(inputs: Inputs, present: jax.Array, *, relative: float | None = None) -> Residuals:
    """Forces (n_row, 3), eV/angstrom; with ``relative`` divided by the length of the labelled force plus this number."""
    residuals = _of_atoms(inputs, "force", "force", 3, present)
    if relative is None or "force" not in inputs.label:
        return residuals
    labelled = length(real_values(inputs.label["force"].reshape(-1, 3), residuals.weight))
    divisor = jnp.where(residuals.weight > 0.0, labelled + relative, 1.0)
    return residuals._replace(error=residuals.error / divisor)


def preferred_force(inputs: Inputs, present: jax.Array, *, relative: float | None = None) -> Residuals:
    """As :func:`force`, each atom with its ``atom_pref``, or one for each component; 1 where the label is absent."""
    residuals = force(inputs, present, relative=relative)
    preference = label_rows(inputs.label, "atom_pref", len(residuals.error), 1.0, columns=(1, 3))
    return residuals._replace(factor=real_values(preference, residuals.weight))


def magnetic_force(inputs: Inputs, present: jax.Array) -> Residuals:
    """Magnetic forces (n_row, 3) of the atoms that ``mask_mag`` flags, eV per unit of spin."""
    residuals = _of_atoms(inputs, "force_mag", "force_mag", 3, present)
    flagged = row_weights(inputs.prediction["mask_mag"], len(residuals.error)) > 0.0
    weight = residuals.weight * flagged[:, None].astype(float)
    return residuals._replace(error=real_values(residuals.error, weight), weight=weight)


def by_frame(inputs: Inputs, present: jax.Array, *, of: Measure, name: str) -> Residuals:
    """Residuals ``of`` the prediction ``name`` of atoms; each atom has one over the number of atoms of its frame that count.

    Raises:
        ModelError: the frames of atoms on one axis are not given.
    """
    residuals = of(inputs, present)
    frame, n_frame = atom_frames(inputs, inputs.prediction[name], name)
    count = jax.ops.segment_sum(residuals.weight, frame, n_frame)
    return residuals._replace(factor=1.0 / jnp.where(count > 0.0, count, 1.0)[frame])


def generalized_force(inputs: Inputs, present: jax.Array, *, number: int) -> Residuals:
    """Forces along ``number`` generalised coordinates q, ``sum(F * dr/dq)`` over a frame, (n_frame, number).

    The label ``drdq`` has 3 * number numbers for each atom, the index of the coordinate last.

    Raises:
        ModelError: the label has another width, or the frames of atoms on one axis are not given.
    """
    residuals = force(inputs, present)
    frame, n_frame = atom_frames(inputs, inputs.prediction["force"], "force")
    drdq = real_values(label_rows(inputs.label, "drdq", len(frame), 0.0, columns=(3 * number,)), residuals.weight)
    each = jnp.einsum("na,naj->nj", residuals.error, drdq.reshape(-1, 3, number))
    return Residuals(jax.ops.segment_sum(each, frame, n_frame), _frame_weights(inputs, n_frame, present))


def hessian(inputs: Inputs, present: jax.Array) -> Residuals:
    """Second derivatives of the energy, (n_row, 3, n_column, 3) for pairs of atoms of a frame, eV/angstrom^2.

    Prediction and label are (n_frame, (3 n_atom)^2), or in flat batches (n_atom, 9 M): three rows for each atom, with columns for
    the M atoms of the largest frame in their order in the frame.  Columns beyond the atoms of a frame do not count.

    Raises:
        ModelError: the two have other shapes.
    """
    ours = inputs.prediction["hessian"]
    ours, theirs = compared(ours, inputs.label, "hessian", ours.size // len(ours))
    n_row, n_column, columns = (_square_pairs if inputs.frame is None else _flat_pairs)(inputs, *ours.shape)
    rows = _atom_weights(inputs, n_row, present)
    weight = rows[:, :, None, None] * columns[:, None, :, None]
    pairs = (n_row, 3, n_column, 3)
    return Residuals(error_of(ours.reshape(pairs), theirs.reshape(pairs), weight), weight)


def _square_pairs(inputs: Inputs, n_frame: int, size: int) -> tuple[int, int, jax.Array]:
    """Rows, columns, and which columns count, (row, column); of one square matrix for each frame."""
    n_atom = math.isqrt(size) // 3
    if size != (3 * n_atom) ** 2:
        raise _other_hessian(n_frame, size)
    n_row = n_frame * n_atom
    counts = row_weights(inputs.atom_weight, n_row).reshape(n_frame, n_atom)
    return n_row, n_atom, jnp.repeat(counts, n_atom, axis=0)


def _flat_pairs(inputs: Inputs, n_row: int, size: int) -> tuple[int, int, jax.Array]:
    """The same of three rows for each atom, with columns for the atoms of its frame."""
    if size % 9 or jnp.size(inputs.frame) != n_row:
        raise _other_hessian(n_row, size)
    natoms = jnp.asarray(inputs.natoms)
    own = natoms[jnp.reshape(inputs.frame, -1)] if natoms.ndim else jnp.full(n_row, natoms)
    return n_row, size // 9, (jnp.arange(size // 9)[None, :] < own[:, None]).astype(float)


def _other_hessian(n_row: int, size: int) -> ModelError:
    return ModelError(
        f"loss: the prediction hessian has {n_row} rows of {size} numbers. Give (frames, (3 atoms)^2), or, together with the frame "
        "of each atom, (atoms, 9 times the atoms of the largest frame)."
    )


def _of_frames(inputs: Inputs, ours: jax.Array, theirs: jax.Array, present: jax.Array) -> Residuals:
    """Residuals of quantities that grow with the frame."""
    weight = _frame_weights(inputs, len(ours), present)
    counts = jnp.broadcast_to(jnp.asarray(inputs.natoms), (len(ours),))[:, None]
    natoms = jnp.where(weight > 0.0, counts, 1).astype(float)
    return Residuals(error_of(ours, theirs, weight), weight, natoms)


def _of_atoms(inputs: Inputs, prediction: str, label: str, size: int, present: jax.Array) -> Residuals:
    ours, theirs = compared(inputs.prediction[prediction], inputs.label, label, size)
    weight = _atom_weights(inputs, len(ours), present)
    return Residuals(error_of(ours, theirs, weight), weight)


def _frame_weights(inputs: Inputs, n_row: int, present: jax.Array) -> jax.Array:
    return row_weights(inputs.frame_weight, n_row)[:, None] * present


def _atom_weights(inputs: Inputs, n_row: int, present: jax.Array) -> jax.Array:
    return row_weights(inputs.atom_weight, n_row)[:, None] * present
