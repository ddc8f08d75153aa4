"""Models with a modifier on one structure that moves: network and electrostatics each keep a neighbour list of their own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from dpjax.batching import Batch, Frame
from dpjax.interfaces.dipole_charge import correction_shapes, require_cell
from dpjax.interfaces.listed import SKIN, ListedPotential
from dpjax.interfaces.potential import Output, Potential
from dpjax.models.derived import require_no_modifier
from dpjax.models.dipole_charge import predict_correction
from dpjax.models.listed import predict_listed


def listed_potential(potential: Potential, skin: float = SKIN) -> ListedPotential:
    """What evaluates a potential on one structure again and again, its modifier included."""
    return (
        ListedPotential(potential, skin) if potential.correction is None else CorrectedListedPotential(potential, skin)
    )


class CorrectedListedPotential(ListedPotential):
    """:class:`~dpjax.interfaces.listed.ListedPotential` of a model with a modifier.

    Attributes:
        correction: what evaluates the modifier.
    """

    def __init__(self, potential: Potential, skin: float = SKIN):
        super().__init__(potential, skin)
        self.correction = _ListedCorrection(potential, skin)

    def evaluate(
        self,
        coord: np.ndarray,
        atype: np.ndarray,
        cell: np.ndarray | None = None,
        *,
        pbc: Sequence[bool] = (True, True, True),
        atomic: bool = False,
        **inputs: Any,
    ) -> Output:
        """As for every :class:`~dpjax.interfaces.listed.ListedPotential`.

        Raises:
            DataError: the structure does not repeat in all directions.
            ModelError: ``atomic`` is asked for.
        """
        if atomic:
            require_no_modifier(self.potential.config, "atomic energies and virials")
        require_cell(cell, "the structure", pbc)
        out = super().evaluate(coord, atype, cell, pbc=pbc, **inputs)
        added = self.correction.evaluate(coord, self.correction.types[np.asarray(atype)], cell, pbc=pbc)
        return out | {name: out[name] + own for name, own in added.items()}


class _ListedCorrection(ListedPotential):
    """The electrostatics of a structure, whose types are those of the dipole model."""

    def __init__(self, potential: Potential, skin: float):
        own = potential.correction
        config = own.dipole_config
        super().__init__(
            Potential(config, own.variables, conventions=config.conventions, device=potential.device), skin
        )
        self.types, self._sized, self._charges = own.types, own.sized, own.charges
        run = partial(predict_listed, self.potential.model, function=predict_correction)
        self._program, self.programs = jax.jit(run, static_argnames=("nbrs", "grid", "charges", "sizes")), set()

    def _options(self, batch: Batch, atomic: bool) -> dict[str, Any]:
        # the structure's own size, so that a frame of the batch's real atoms stands for it
        n_atom = int(np.sum(np.asarray(batch.natoms)))
        frame = Frame(np.zeros((n_atom, 3)), np.zeros(n_atom, np.int32), None, np.asarray(batch.cell)[0])
        return {"charges": self._charges, **self._sized([frame])}

    def _shapes(self, n_atom: int, atomic: bool) -> dict[str, tuple[int, ...]]:
        return correction_shapes(n_atom)
