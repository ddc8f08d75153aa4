"""One large structure on several devices: evaluation, and forces for molecular dynamics.

Each device holds one slab of the structure (:mod:`dpjax.models.spread`), so that memory per device falls with their number.
``docs/large.md`` shows how to use it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from dpjax.descriptors.crowding import cuts
from dpjax.errors import DataError, ModelError
from dpjax.interfaces.inputs import read_structures
from dpjax.interfaces.potential import Output, Potential
from dpjax.interfaces.spread_structure import SpreadStructure
from dpjax.models import StandardModel, require_no_spins
from dpjax.models.derived import require_derived, require_no_modifier
from dpjax.models.spread import SlabFlags, SlabPlan, SpreadPrograms, slab_mesh

log = logging.getLogger(__name__)


class SpreadPotential:
    """A potential whose structures are spread over several devices.

    Attributes:
        potential: the model and its variables.
        devices: one slab of a structure is on each.
    """

    def __init__(self, potential: Potential, devices: Sequence[jax.Device] | int | None = None) -> None:
        """
        Args:
            potential: from ``dpjax.load``, ``dpjax.build`` or a training.
            devices: devices of this process, or how many of them; None: all.

        Raises:
            ModelError: no :class:`Potential`, or a model that slabs cannot compute.
            DataError: more devices than there are, or none.
        """
        if not isinstance(getattr(potential, "model", None), StandardModel):
            raise ModelError(
                f"found {type(potential).__name__}; a structure is spread over devices for a Potential with a standard model, as "
                "dpjax.load gives it for .dp files and checkpoints"
            )
        require_no_spins(potential.config, "one structure on several devices")
        require_no_modifier(potential.config, "one structure on several devices")
        require_derived(potential.config, "one structure on several devices")
        if potential.model.sees_parameters:
            raise ModelError(
                "the descriptor takes atomic parameters of neighbours, which slabs do not exchange. Use Potential.evaluate, or "
                "several frames on several devices."
            )
        if potential.model.takes_mask:
            raise ModelError(
                "the descriptor se_a_mask has no cut-off: every atom sees all others, so no slab could do with its neighbours. Use "
                "Potential.evaluate."
            )
        if potential.model.takes_fragments:
            raise ModelError(
                "a model of type pairwise_dprc counts the fragments of the whole frame, which slabs do not know. Use "
                "Potential.evaluate, or several frames on several devices."
            )
        self.potential, self.devices = potential, _devices(devices)
        self.programs = SpreadPrograms(potential.model, slab_mesh(self.devices))
        self.level = 0  # among the resolutions of series; raised where one was too coarse
        self._cuts, self._warned = cuts(potential.config), False
        self._variables = None
        self._plans: dict[int, SlabPlan] = {}  # of evaluations, by number of atoms

    @property
    def variables(self) -> Any:
        """The variables of the potential, on every device."""
        if self._variables is None:
            with jax.enable_x64(True):
                self._variables = jax.device_put(self.potential.variables, self.programs.common)
        return self._variables

    def evaluate(
        self, coord, atype, cell=None, fparam=None, aparam=None, charge_spin=None, atomic: bool = False
    ) -> Output:
        """What ``Potential.evaluate`` gives, with the same arguments but for Hessians; one frame after the other.

        Raises:
            DataError: arrays of wrong shape, NaN, coincident atoms, singular cells, unknown types.
            ModelError: an input this model does not take or needs and did not get.
        """
        structures = read_structures(self.potential.config, coord, atype, cell, fparam, aparam, charge_spin)
        rows = []
        for i in range(len(structures.coord)):
            names = ("coord", "atype", "cell", "fparam", "aparam", "charge_spin")
            own = {name: getattr(structures, name)[i] for name in names}
            if not len(own["coord"]):
                given = {name: None if value is None else value[None] for name, value in own.items() if name != "atype"}
                out = self.potential.evaluate(atype=own["atype"], **given, atomic=atomic)
                rows.append({name: value[0] for name, value in out.items()})
                continue
            try:
                frame = SpreadStructure(self, **own, skin=0.0, like=self._plans.get(len(own["coord"])))
                rows.append(frame.outputs(own["coord"], own["cell"], atomic))
            except DataError as error:
                raise DataError(f"frame {i}: {error}") from None
            self._plans[len(own["coord"])] = frame.plan
        if not rows:
            return self.potential.evaluate(coord, atype, cell, fparam, aparam, charge_spin=charge_spin, atomic=atomic)
        joined = {name: [row[name] for row in rows] for name in rows[0]}
        return joined if structures.ragged else {name: np.stack(value) for name, value in joined.items()}

    def structure(
        self,
        coord,
        atype,
        cell=None,
        fparam=None,
        aparam=None,
        charge_spin=None,
        *,
        skin: float = 1.0,
        axis: int | None = None,
    ) -> SpreadStructure:
        """A structure whose atoms will move a little from call to call, as in molecular dynamics.

        Args:
            coord: (n_atom, 3) angstrom.
            atype: (n_atom,) types; -1 marks a placeholder.
            cell: (3, 3) angstrom, rows are cell vectors; None for open boundaries.
            fparam: (numb_fparam,); aparam: (n_atom, numb_aparam); charge_spin: (2,), where the model takes them.
            skin: neighbours are listed so far beyond the cut-off, angstrom; a list serves until an atom has moved half of it.
            axis: cell vector along which slabs follow each other; None: the one with the largest height.

        Raises:
            DataError, ModelError: as for :meth:`evaluate`.
        """
        if not (np.isfinite(skin) and skin >= 0):
            raise DataError(f"skin: found {skin}, expected a number of angstrom that is not negative")
        if axis not in (None, 0, 1, 2):
            raise DataError(f"axis: found {axis!r}, expected 0, 1 or 2 for one of the cell vectors, or None")
        given = [None if a is None else [a] for a in (cell, fparam, aparam, charge_spin)]
        own = read_structures(self.potential.config, [np.asarray(coord)], [np.asarray(atype)], *given)
        if not len(own.coord[0]):
            raise DataError("a structure that is spread over devices needs at least one atom; found none")
        first = (own.coord[0], own.atype[0], own.cell[0], own.fparam[0], own.aparam[0], own.charge_spin[0])
        return SpreadStructure(self, *first, skin=skin, axis=axis)

    def warn_truncation(self, flags: SlabFlags) -> None:
        """Say once that ``sel`` leaves neighbours out, with type and numbers."""
        sentences = [
            sentence
            for cut, most in zip(self._cuts, flags.crowd, strict=True)
            for _, sentence in cut.shortage(np.asarray(most))
        ]
        for sentence in () if self._warned else sentences:
            self._warned = True
            log.warning("an atom %s", sentence)


def _devices(devices: Sequence[jax.Device] | int | None) -> list[jax.Device]:
    there = jax.local_devices()
    if isinstance(devices, int):
        if not 1 <= devices <= len(there):
            raise DataError(
                f"devices: found {devices}, but this process has {len(there)}: {', '.join(map(str, there))}. On a CPU "
                "XLA_FLAGS=--xla_force_host_platform_device_count=N makes N of it"
            )
        return there[:devices]
    chosen = there if devices is None else list(devices)
    if not chosen or len(set(chosen)) < len(chosen):
        raise DataError(f"devices: found {chosen}, expected one or more different devices")
    return chosen
