"""What a training needs of models with a modifier: their dipole models read from files, and data corrected by them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from dpjax.config import ModelConfig
from dpjax.data import System
from dpjax.data.corrected import CORRECTED, CorrectedSystem
from dpjax.errors import ConfigError, DataError
from dpjax.interfaces.dipole_charge import DipoleCharge
from dpjax.interfaces.files import with_dipole_model
from dpjax.training.modifier import Modifiers

log = logging.getLogger(__name__)

UNCORRECTED = ("atom_ener", "atom_ener_coeff", "hessian")  # labels that the correction is not computed for
ATOMS = 200_000  # of frames whose correction is computed in one call


def corrected_systems(config: ModelConfig, systems: Sequence[System]) -> list[System]:
    """Systems with the correction of a bound model taken off their labels.

    Raises:
        DataError: a system is not periodic.
        ConfigError: a label that is used cannot be corrected.
    """
    correction = DipoleCharge(config.modifier, config.type_map, config.conventions)
    for system in systems:
        if not system.periodic:
            raise DataError(
                f"system {system.name} has no cell, and model/modifier is an Ewald sum over one. Give it a box.npy with enough "
                "room around the atoms, or take it out of `systems`."
            )
        for name in UNCORRECTED:
            if system.found.get(name):
                raise ConfigError(
                    f"model/modifier: system {system.name} has the label {name}, which the loss uses and the correction is not "
                    "built for. Set its prefactor to 0, or take the file away."
                )
    return [CorrectedSystem.of(system, _Correct(correction)) for system in systems]


class _Correct:
    """Corrections of all frames of a system."""

    def __init__(self, correction: DipoleCharge):
        self._correction = correction

    def __call__(self, system: System) -> dict[str, np.ndarray]:
        found: dict[str, list[np.ndarray]] = {name: [] for name in CORRECTED}
        for frames in system.portions(ATOMS):
            arrays = system.arrays(frames, ["coord", "box"])
            cells = arrays["box"].reshape(-1, 3, 3)

            def name(i: int, frames: np.ndarray = frames) -> str:
                return f"{system.name}, frame {frames[i]}"

            out = self._correction.of(arrays["coord"], system.frames_types(frames), cells, name)
            for key in CORRECTED:
                found[key].extend(out[key])
        return {key: np.array(rows) for key, rows in found.items()}


MODIFIERS = Modifiers(with_dipole_model, corrected_systems)
