"""The modifier ``dipole_charge`` on structures: energies, forces and virials of the charges of atoms and Wannier centroids.

:mod:`dpjax.models.dipole_charge` says what is computed.  Here a dipole model and the charges of an input become a correction, to
be taken off labels before a training and added to what the trained model predicts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dpjax.batching import Frame
from dpjax.config import ModelConfig
from dpjax.config.fittings.outputs import DIPOLE
from dpjax.config.models import DipoleChargeConfig
from dpjax.errors import ConfigError, DataError, ModelError
from dpjax.interfaces.batches import Job, Runner
from dpjax.interfaces.programs import Programs
from dpjax.interfaces.results import Reading, Results
from dpjax.models import build_model
from dpjax.models.dipole_charge import Charges, predict_correction, sizes_of
from dpjax.models.resolution import Resolver
from dpjax.neighbors import expected_neighbors, search_many

Correction = dict[str, list[np.ndarray]]


class DipoleCharge:
    """Electrostatics of structures.

    Args:
        config: of the modifier, with its dipole model.
        type_map: of the model that is corrected.
        conventions: its; ``"reference"`` rounds ``ewald_beta`` and ``ewald_h`` to float32, as DeePMD-kit does.
        device: where to evaluate.
        mesh: take the mesh or the direct sum; None: what is faster for a structure.

    Attributes:
        dipole_model: the module.
        charges: what carries charge.

    Raises:
        ConfigError: the dipole model does not fit the charges or the types.
        ModelError: it was not read.
    """

    def __init__(
        self,
        config: DipoleChargeConfig,
        type_map: Sequence[str],
        conventions: str,
        device: Any = None,
        mesh: bool | None = None,
    ):
        if config.dipole is None:
            raise ModelError(
                f"the dipole model {config.model_name} of the modifier was not read; dpjax.load, dpjax.build and dpjax.train do it"
            )
        own, variables = config.dipole.config, config.dipole.variables
        check_dipole_model(config, own, type_map)
        self.config, self.variables, self.mesh, self.device = config, variables, mesh, device
        self.dipole_config, self.dipole_model = own, build_model(own)
        # -1 stays a placeholder
        self.types = np.array([*(own.type_map.index(name) for name in type_map), -1], np.int32)
        self.charges = charges_of(config, own, type_map, conventions)
        self._runner = Runner(Programs.of(self.dipole_model), Resolver(self.dipole_model, variables), device)

    def of(
        self,
        coord: Sequence[np.ndarray],
        atype: Sequence[np.ndarray],
        cell: Sequence[np.ndarray | None],
        names: Callable[[int], str] = "frame {}".format,
        atoms_per_batch: int | None = None,
    ) -> Correction:
        """Energy (1,) eV, force (n_atom, 3) eV/angstrom and virial (9,) eV of each frame, as lists.

        Args:
            coord, atype, cell: (n_atom, 3) angstrom, (n_atom,) types of the model that is corrected, -1 for placeholders, and
                (3, 3) angstrom of each frame.
            names: of frames in messages.
            atoms_per_batch: as for ``Potential.evaluate``.

        Raises:
            DataError: a frame is not periodic, or has atoms on one point.
        """
        for i, own in enumerate(cell):
            require_cell(own, names(i))
        types = [self.types[own] for own in atype]
        results = Results(Reading(correction_shapes, per_atom=("force",)), types, False)
        job = Job(predict_correction, {"charges": self.charges}, atoms_per_batch, sized=self.sized)
        self._runner.run(self.variables, _Searched(self, list(coord), types, list(cell), names), job, results)
        return results.values or {name: [] for name in correction_shapes(0)}

    def sized(self, frames: Sequence[Frame]) -> dict[str, Any]:
        """Static sizes of the sum for some frames."""
        cells = np.stack([frame.cell for frame in frames])
        atoms = max(int(np.count_nonzero(frame.atype >= 0)) for frame in frames)
        return {"sizes": sizes_of(cells, max(1, atoms), self.charges.spacing, self.mesh)}


def correction_shapes(n_atom: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the correction of a frame."""
    return {"energy": (1,), "force": (n_atom, 3), "virial": (9,)}


class _Searched:
    """Frames of the dipole model, searched for neighbours when they are needed."""

    def __init__(self, correction: DipoleCharge, coord: list, types: list, cell: list, names: Callable[[int], str]):
        self._of, self._coord, self._types, self._cell, self._names = correction, coord, types, cell, names
        self.atoms = np.array([len(own) for own in coord], int)
        self.width = expected_neighbors(self.atoms, correction.dipole_model.rcut, cell)

    def frames(self, numbers: Sequence[int]) -> list[Frame]:
        """Some of them."""
        model = self._of.dipole_model
        coord, types, cell = ([own[i] for i in numbers] for own in (self._coord, self._types, self._cell))
        names = [self._names(i) for i in numbers]
        tables = search_many(coord, types, model.n_type, model.rcut, cell, names)
        return [Frame(*row) for row in zip(coord, types, tables, cell, strict=True)]


def charges_of(config: DipoleChargeConfig, dipole: ModelConfig, type_map: Sequence[str], conventions: str) -> Charges:
    """The charges by the types of the dipole model.

    Args:
        config: of the modifier; ``model_charge_map`` follows ``sel_type`` of the dipole model.
        dipole: its model.
        type_map: of the model that is corrected, which ``sys_charge_map`` follows.
        conventions: ``"reference"`` or ``"corrected"``.
    """
    by_name = dict(zip(type_map, config.sys_charge_map, strict=True))
    centroids = dict(zip(centroid_types(dipole), config.model_charge_map, strict=True))
    beta, spacing = (
        float(np.float32(value)) if conventions == "reference" else value
        for value in (config.ewald_beta, config.ewald_h)
    )
    return Charges(
        tuple(float(by_name.get(name, 0.0)) for name in dipole.type_map),
        tuple(float(centroids.get(t, 0.0)) for t in range(len(dipole.type_map))),
        beta,
        spacing,
    )


def centroid_types(dipole: ModelConfig) -> tuple[int, ...]:
    """Types of a dipole model that have a centroid, in the order of ``model_charge_map``."""
    selected = dipole.fitting_net.sel_type
    if selected is None:
        selected = range(len(dipole.type_map))
    listed = (selected,) if isinstance(selected, int) else tuple(selected)
    return tuple(t for t in listed if t not in dipole.atom_exclude_types)


def check_dipole_model(config: DipoleChargeConfig, dipole: ModelConfig, type_map: Sequence[str]) -> None:
    """Raises ConfigError unless a model predicts dipoles, from atoms and cells alone, for the charges and types of an input."""
    here = f"model/modifier/model_name: {config.model_name}"
    if dipole.fitting_net.output != DIPOLE:
        raise ConfigError(
            f"{here} predicts {dipole.fitting_net.output.total}; expected a model with the fitting_net `dipole`, trained on the "
            "displacements of Wannier centroids."
        )
    if dipole.inputs:
        raise ConfigError(
            f"{here} takes {', '.join(dipole.inputs)}; expected a dipole model that takes atoms and cells only."
        )
    lacking = [name for name in type_map if name not in dipole.type_map]
    if lacking:
        raise ConfigError(
            f"{here} does not know {', '.join(lacking)}; its type_map is {', '.join(dipole.type_map)}. Train the dipole model "
            "with all types of model/type_map."
        )
    if len(config.sys_charge_map) != len(type_map):
        raise ConfigError(
            f"model/modifier/sys_charge_map: found {len(config.sys_charge_map)} charges, but model/type_map has {len(type_map)} "
            f"({', '.join(type_map)}). Give one charge per type."
        )
    wanted = centroid_types(dipole)
    if len(config.model_charge_map) != len(wanted):
        names = ", ".join(dipole.type_map[t] for t in wanted)
        raise ConfigError(
            f"model/modifier/model_charge_map: found {len(config.model_charge_map)} charges, but {config.model_name} has "
            f"centroids on {len(wanted)} types ({names}). Give one charge for each of them, in this order."
        )


def require_cell(cell: np.ndarray | None, name: str, pbc: Sequence[bool] = (True, True, True)) -> None:
    """Raises DataError unless a structure repeats in all directions."""
    if cell is None or not all(pbc):
        raise DataError(
            f"{name}: this model has the modifier dipole_charge, an Ewald sum over a cell that repeats in all directions, and the "
            "structure does not. Give it a cell with enough room around it."
        )
