"""A driver for dpdata: ``system.predict(dp="model.dp", driver="dpjax")`` labels structures with a model.

dpdata finds it by the entry point ``dpdata.plugins`` of an installed dpjax.  This module is read whenever dpdata is imported, so it
loads nothing of jax before a driver is made.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from dpjax.errors import DataError

try:
    from dpdata.driver import Driver
except ImportError as error:
    raise ImportError("the driver for dpdata needs dpdata: pip install 'dpjax[dpdata]'") from error

if TYPE_CHECKING:
    from dpjax.interfaces.deepmd import DeepPot
    from dpjax.interfaces.potential import Potential


@Driver.register("dpjax")
class DPJaxDriver(Driver):
    """Energies, forces and virials of structures.

    Args:
        dp: a file or folder that ``dpjax.load`` reads, a potential, or an open ``DeepPot`` of ``dpjax.interfaces.deepmd``.
        head: branch of a model with several.

    Raises:
        ModelError: the file cannot be read, or its model predicts no energies.
    """

    def __init__(self, dp: str | os.PathLike | Potential | DeepPot, head: str | None = None) -> None:
        from dpjax.interfaces.deepmd import DeepPot
        from dpjax.models import require_no_spins

        self.dp = dp if isinstance(dp, DeepPot) else DeepPot(dp, head=head)
        require_no_spins(self.dp.potential.config, "the driver for dpdata, whose systems have no spins")

    def label(self, data: dict[str, Any]) -> dict[str, Any]:
        """The data of a system with what the model predicts.

        Args:
            data: of dpdata: ``coords`` (n_frame, n_atom, 3) angstrom, ``cells`` (n_frame, 3, 3) unless ``nopbc``, ``atom_types``
                (n_atom,) by their place in ``atom_names``; elements are found in the model's type map by name.

        Returns:
            The same with ``energies`` (n_frame,) eV, ``forces`` (n_frame, n_atom, 3) eV/angstrom and ``virials`` (n_frame,
            3, 3) eV.

        Raises:
            DataError: an element that the model does not know.
        """
        cells = None if data.get("nopbc", False) else data["cells"]
        energy, force, virial, *_ = self.dp.eval(data["coords"], cells, self._types(data))
        found = {"energies": energy[:, 0], "forces": force, "virials": virial.reshape(-1, 3, 3)}
        return {**data, **found}

    def _types(self, data: dict[str, Any]) -> np.ndarray:
        """(n_atom,) types of the model."""
        known = {name: t for t, name in enumerate(self.dp.get_type_map())}
        names, types = data["atom_names"], np.asarray(data["atom_types"])
        strangers = sorted({names[t] for t in types} - known.keys())
        if strangers:
            raise DataError(
                f"the system has {', '.join(strangers)}, which the model does not know; its types are {', '.join(known)}"
            )
        return np.array([known.get(name, -1) for name in names], int)[types]
