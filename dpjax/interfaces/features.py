"""What a model knows of atoms on the way to its prediction: descriptors, the last hidden layer of the fitting, type vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from dpjax.config import ModelConfig
from dpjax.config.models.common import CommonModelConfig
from dpjax.descriptors import build_descriptor
from dpjax.errors import ModelError
from dpjax.fittings.widths import with_widths
from dpjax.interfaces.batches import Job
from dpjax.interfaces.inputs import read_structures
from dpjax.interfaces.results import Reading
from dpjax.models import FEATURES, predict_features

if TYPE_CHECKING:
    from dpjax.interfaces.potential import Potential

DESCRIPTOR, LAST_LAYER = FEATURES


class FeatureMethods:
    """The methods of a :class:`~dpjax.interfaces.potential.Potential` that give features in place of predictions."""

    def descriptor(self: Potential, coord, atype, cell=None, charge_spin=None, *, aparam=None, spin=None) -> Any:
        """Descriptors of atoms, as the fitting net is given them.

        Atoms of types that are excluded from the prediction have one, too.  Frame and atomic parameters do not enter, but for
        those of neighbours where the descriptor takes them (``se_a_tpe``).

        Args:
            coord, atype, cell, charge_spin, aparam, spin: as for :meth:`~dpjax.interfaces.potential.Potential.evaluate`.

        Returns:
            (n_frame, n_atom, dim) float64, atoms in the given order, zero for placeholders; a list of (n_atom, dim) if frames were
            given as a list.  For a ``hybrid`` those of its parts stand one after another.

        Raises:
            DataError: as for ``evaluate``.
            ModelError: charge and spin, or the spins of atoms, are given or missing, and should not be.
        """
        return self.features(coord, atype, cell, None, aparam, charge_spin, spin, names=(DESCRIPTOR,))[DESCRIPTOR]

    def fitting_last_layer(
        self: Potential, coord, atype, cell=None, fparam=None, aparam=None, charge_spin=None, spin=None
    ) -> Any:
        """What the last layer of the fitting net is given: the activations of its last hidden layer, ``neuron[-1]`` per atom.

        Args:
            coord, atype, cell, fparam, aparam, charge_spin, spin: as for :meth:`~dpjax.interfaces.potential.Potential.evaluate`.

        Returns:
            (n_frame, n_atom, dim) in the precision of the fitting net, laid out as those of :meth:`descriptor`.

        Raises:
            DataError, ModelError: as for ``evaluate``.
        """
        return self.features(coord, atype, cell, fparam, aparam, charge_spin, spin, names=(LAST_LAYER,))[LAST_LAYER]

    def features(
        self: Potential,
        coord,
        atype,
        cell=None,
        fparam=None,
        aparam=None,
        charge_spin=None,
        spin=None,
        *,
        names: Sequence[str] = FEATURES,
    ) -> dict[str, Any]:
        """Descriptors and last hidden layer, or one of the two, in one pass.

        Args:
            coord, atype, cell, fparam, aparam, charge_spin, spin: as for :meth:`~dpjax.interfaces.potential.Potential.evaluate`.
            names: ``descriptor``, ``fitting_last_layer``.  For the descriptor alone frame and atomic
                parameters may be left out.

        Returns:
            name -> array as :meth:`descriptor` and :meth:`fitting_last_layer` give it.

        Raises:
            ModelError: another name; else as for ``evaluate``.
        """
        _require_networks(self.config)
        strangers = [name for name in names if name not in FEATURES]
        if strangers:
            raise ModelError(f"features: found {', '.join(strangers)}, expected any of {', '.join(FEATURES)}")
        seen = self.model.sees_parameters
        needed = LAST_LAYER in names or seen or fparam is not None or aparam is not None
        structures = read_structures(
            self.config, coord, atype, cell, fparam, aparam, charge_spin, spin, parameters=needed
        )
        reading = Reading(lambda n_atom: {name: (n_atom, self.feature_width(name)) for name in names}, per_atom=names)
        job = Job(predict_features, {"names": tuple(names)})
        found = self.computed(self.searched(structures), structures.atype, not structures.ragged, job, reading)
        if not found:
            empty = () if structures.ragged else (0, np.shape(coord)[1])
            return {name: np.zeros((*empty, self.feature_width(name))) if empty else [] for name in names}
        return found

    def feature_width(self: Potential, name: str) -> int:
        """Numbers that a feature has for an atom."""
        _require_networks(self.config)
        descriptor = build_descriptor(self.config).dim_out
        neuron = with_widths(self.config.fitting_net, descriptor).neuron
        return descriptor if name == DESCRIPTOR or not neuron else neuron[-1]

    def type_vectors(self: Potential) -> np.ndarray:
        """The vectors by which the descriptor tells types apart.

        Returns:
            (n_type + 1, tebd_dim), the last row, zeros, is that of placeholders and empty places; of a ``hybrid`` the vectors of
            its parts side by side.

        Raises:
            ModelError: the descriptor has networks per type instead.
        """
        with jax.enable_x64(True):
            parts = self.model.apply(self.variables, method=type(self.model).type_vectors)
            if parts:
                return np.concatenate([np.asarray(part) for part in parts], axis=1)
        kind = self.config.title
        raise ModelError(f"type vectors: a descriptor of type {kind!r} has none; it has networks for each type")


def _require_networks(config: CommonModelConfig) -> None:
    """Raises ModelError for a model that has no descriptor of its own."""
    if not isinstance(config, ModelConfig):
        raise ModelError(
            f"a model of type {config.type!r} is made of parts and has no descriptor of its own, so it has no features; take those "
            "of a model that is one of its parts"
        )


def structural(potential: Potential, last_layer: np.ndarray, atype: np.ndarray) -> np.ndarray:
    """(n_frame, dim) the sum of last hidden layers (n_frame, n_atom, dim) over the atoms that contribute to the prediction."""
    counted = (atype >= 0) & ~np.isin(atype, potential.config.silent_types)
    return np.sum(np.where(counted[..., None], last_layer, 0), axis=1, dtype=last_layer.dtype)
