"""What every loss is and does, whatever it compares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from dpjax.losses.inputs import Arrays, Inputs


class Loss:
    """A callable with four attributes that say what it takes and gives.  A kind of loss says in :meth:`evaluate` what it computes.

    Attributes:
        labels: names of the labels that the active terms compare.
        optional_labels: labels that it takes where data have them -> what stands for them elsewhere.
        predictions: names of the predictions that the active terms compare.
        metrics: names of the printed metrics, sorted.
    """

    labels: tuple[str, ...]
    predictions: tuple[str, ...]
    metrics: tuple[str, ...]

    @property
    def optional_labels(self) -> Mapping[str, float]:
        """None but where a kind of loss says so."""
        return {}

    def evaluate(
        self, inputs: Inputs, learning_rate: float | jax.Array, from_model: Mapping[str, Any]
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Loss value () and metrics of one batch, from what :meth:`__call__` was given."""
        raise NotImplementedError

    def __call__(
        self,
        prediction: Arrays,
        label: Arrays,
        *,
        natoms: int | jax.Array,
        learning_rate: float | jax.Array,
        find: Mapping[str, Any],
        atom_weight: jax.Array | None = None,
        frame_weight: jax.Array | None = None,
        frame: jax.Array | None = None,
        **from_model: Any,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Loss value () and metrics of one batch.

        Args:
            prediction, label: by name. Values of frames are (n_frame, ...), values of atoms (n_frame, n_atom, ...) or flat,
                (n_atom, ...), with the atoms of all frames on one axis. Models without energies also predict ``mask``, shaped
                like the atoms, 0 where an atom does not count, and ``counted`` (n_frame,), the number of those that do.
            natoms: real atoms of each frame, (n_frame,), or one number for all.
            learning_rate: of this step.
            find: label -> 1 if the data have it, else 0: then its term is 0 and its metric NaN. A label that is absent from
                ``label`` counts as not found, one that is absent from ``find`` as found.
            atom_weight: shaped like the atoms, or (n_atom,) for all frames; 0 on padding atoms.
            frame_weight: (n_frame,); 0 on padding frames.
            frame: (n_atom,) frame of each atom, where the atoms of all frames are on one axis.
            from_model: facts about the model, before those the loss was made with; those it has no use for are ignored.

        Raises:
            ModelError: the model does not predict what an active term compares, or a fact is missing.
        """
        inputs = Inputs(prediction, label, natoms, find, atom_weight, frame_weight, frame)
        return self.evaluate(inputs, learning_rate, from_model)
