"""ASE calculators: a potential gives energies, forces and stresses to relaxations, molecular dynamics and phonons of ASE.

from dpjax.interfaces.ase import DPCalculator
atoms.calc = DPCalculator("model.dp")
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dpjax.config.fittings.outputs import ENERGY
from dpjax.errors import DataError, DPError, ModelError
from dpjax.interfaces.files import in_precision, load
from dpjax.interfaces.listed import SKIN
from dpjax.interfaces.listed_correction import listed_potential
from dpjax.interfaces.potential import Output, Potential

try:
    from ase import Atoms
    from ase.calculators.calculator import Calculator, all_changes
    from ase.stress import full_3x3_to_voigt_6_stress
except ImportError as error:
    raise DPError("the ASE calculator needs ASE, which is not installed: pip install 'dpjax[ase]'") from error

PARAMETERS = ("fparam", "aparam", "charge_spin", "charge", "spin")  # of ``atoms.info`` that a calculation depends on


class DPCalculator(Calculator):
    """Energy, forces and stress of a potential; energies and stresses of atoms where they are asked for.

    Cells may repeat in any directions.  A neighbour list with a skin is kept until atoms have moved too far; results do not depend
    on it.  Frame parameters are taken from ``atoms.info["fparam"]``, atomic ones from ``atoms.arrays["aparam"]`` or
    ``atoms.info["aparam"]``, charge and spin from ``atoms.info["charge_spin"]`` or ``["charge"]`` and ``["spin"]``.  Charges and
    spins are refused where the model cannot follow them.  The spins of single atoms (``model/spin``) are their initial magnetic
    moments, a number being one along z; results then have ``magnetic_forces`` (n_atom, 3), eV per unit of spin.  Models that give
    their forces directly (loss ``dens``) have no stress.

    Args:
        model: a potential, or what :func:`dpjax.load` takes.
        head: branch of a multi-task model.
        skin: angstrom by which the neighbour list reaches beyond the cut-off; 0: a new list for every calculation.
        dtype: precision of all networks (``float32``, ``float64``, ...) instead of the model's own.
        type_dict: type of each chemical symbol, instead of its place in the model's ``type_map``.
        device: where to evaluate, with a path; None: JAX's default device.
        label, directory, atoms: as for every calculator of ASE.

    Attributes:
        potential: the potential.
        listed: what evaluates it; ``listed.searches`` and ``listed.programs`` say how often neighbours were searched and what was
            compiled.

    Raises:
        ModelError: the model cannot be read, or predicts no energies.
    """

    name = "dpjax"
    implemented_properties = ["energy", "free_energy", "forces", "stress", "energies", "stresses"]

    def __init__(
        self,
        model: Potential | str | os.PathLike,
        *,
        head: str | None = None,
        skin: float = SKIN,
        dtype: str | None = None,
        type_dict: Mapping[str, int] | None = None,
        device: Any = None,
        label: str | None = None,
        directory: str | os.PathLike = ".",
        atoms: Atoms | None = None,
    ):
        self.potential = _potential(model, head, dtype, device)
        if self.potential.model.output is not ENERGY:
            raise ModelError(
                f"this model predicts {self.potential.model.output.total}, not energies, so it gives no forces to ASE; evaluate "
                "it with Potential.evaluate"
            )
        if self.potential.config.direct_forces:  # which are no derivatives: ASE then says that there are no stresses
            self.implemented_properties = [name for name in self.implemented_properties if "stress" not in name]
        self.listed = listed_potential(self.potential, skin)
        if self.potential.correction is not None:  # which is not shared out among atoms
            self.implemented_properties = [n for n in self.implemented_properties if n not in ("energies", "stresses")]
        self._type_of = _types(type_dict, self.potential.type_map)
        self._numbers, self._atype = None, None
        self._inputs: dict[str, Any] = {}
        super().__init__(label=label, directory=directory, atoms=atoms)

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """What changed since the last calculation, by at least one bit: what a result depends on, ``atoms.info`` included.

        ASE's own test does not look there, and takes a good part of the time that Python spends on a step.
        """
        if self.atoms is None:
            return [*all_changes]
        facts = [(own.positions, own.numbers, own.cell.array, own.pbc) for own in (self.atoms, atoms)]
        names = ("positions", "numbers", "cell", "pbc")
        changes = [name for name, before, after in zip(names, *facts) if not np.array_equal(before, after)]
        now = self._inputs_of(atoms)
        if now or self._inputs:
            same = now.keys() == self._inputs.keys() and all(np.array_equal(now[k], self._inputs[k]) for k in now)
            changes += [] if same else ["info"]
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill ``results``; called by ASE.

        Raises:
            DataError: an element that the model does not know, NaN or coincident positions, a cell without volume.
            ModelError: a parameter that the model does not take, or needs and did not get.
        """
        atoms = self.atoms if atoms is None else atoms
        inputs = {key: np.copy(value) for key, value in self._inputs_of(atoms).items()}
        periodic = atoms.pbc.any()
        moments = {}
        if self.potential.config.virtual_scale:
            moments["spin"] = _vectors(inputs.get("moments"))
        out = self.listed.evaluate(
            atoms.positions,
            self._types_of(atoms),
            atoms.cell.array if periodic else None,
            pbc=atoms.pbc,
            **_given(inputs, "charge_spin" in self.potential.config.inputs),
            **moments,
            atomic="energies" in properties or "stresses" in properties,
        )
        if atoms is not self.atoms:
            self.atoms = atoms.copy()
        self._inputs = inputs
        self.results = self._results(out, atoms.get_volume() if periodic and atoms.cell.rank == 3 else None)

    def _results(self, out: Output, volume: float | None) -> dict[str, Any]:
        """ASE's names and signs; no stress without a volume."""
        energy = float(out["energy"][0])
        results = {"energy": energy, "free_energy": energy, "forces": out["force"]}
        if volume is not None and "virial" in out:
            results["stress"] = _stress(out["virial"], volume)
        if "force_mag" in out:
            results["magnetic_forces"] = out["force_mag"]
        if "atom_energy" in out:
            results["energies"] = out["atom_energy"][:, 0]
            if volume is not None and "atom_virial" in out:
                results["stresses"] = _stress(out["atom_virial"], volume)
        return results

    def _inputs_of(self, atoms: Atoms) -> dict[str, Any]:
        """What a calculation depends on beside positions, elements, cell and boundaries."""
        moments = atoms.arrays.get("initial_magmoms") if self.potential.config.virtual_scale else None
        return _inputs(atoms) | ({} if moments is None else {"moments": moments})

    def _types_of(self, atoms: Atoms) -> np.ndarray:
        """(n_atom,) types, found anew only when elements changed."""
        if self._numbers is None or not np.array_equal(self._numbers, atoms.numbers):
            symbols = atoms.get_chemical_symbols()
            for place, symbol in enumerate(symbols):
                if symbol not in self._type_of:
                    known = ", ".join(self._type_of)
                    raise DataError(
                        f"atom {place} is {symbol}, which the model does not know; it has {known}. If it goes by another name "
                        "there, give type_dict, the type of each symbol"
                    )
            self._numbers = atoms.numbers.copy()
            self._atype = np.array([self._type_of[symbol] for symbol in symbols], np.int32)
        return self._atype


class DP(DPCalculator):
    """:class:`DPCalculator` under the name, with the arguments and with the further result of DeePMD-kit's calculator.

    Args:
        model: model file or checkpoint folder.
        label: of the calculator, for ASE.
        type_dict: type of each chemical symbol.
        neighbor_list: refused unless None: the calculator has a list of its own.
        head: branch of a multi-task model.
        nlist_backend: accepted as ``"auto"`` only, for the same reason.
        options: as for :class:`DPCalculator`.
    """

    name = "DP"

    def __init__(
        self,
        model: Potential | str | os.PathLike,
        label: str = "DP",
        type_dict: Mapping[str, int] | None = None,
        neighbor_list: None = None,
        head: str | None = None,
        nlist_backend: str = "auto",
        **options: Any,
    ):
        if neighbor_list is not None or nlist_backend != "auto":
            raise ModelError(
                "neighbor_list and nlist_backend choose how DeePMD-kit searches neighbours; dpjax has one search, whose list "
                "reaches beyond the cut-off by `skin`. Leave both out"
            )
        super().__init__(model, head=head, type_dict=type_dict, label=label, **options)

    def _results(self, out: Output, volume: float | None) -> dict[str, Any]:
        virial = {"virial": out["virial"].reshape(3, 3)} if "virial" in out else {}
        return super()._results(out, volume) | virial


def _potential(model: Potential | str | os.PathLike, head: str | None, dtype: str | None, device: Any) -> Potential:
    if not isinstance(model, Potential):
        return load(model, head=head, dtype=dtype, device=device)
    for name, value in (("head", head), ("device", device)):
        if value is not None:
            raise ModelError(f"{name} was given with a Potential, which has one already; give it to dpjax.load")
    if dtype is None:
        return model
    config, variables = in_precision(model.config, model.variables, dtype)
    return Potential(config, variables, conventions=model.conventions, device=model.device)


def _types(type_dict: Mapping[str, int] | None, type_map: Sequence[str]) -> dict[str, int]:
    """Type of each chemical symbol."""
    if not type_dict:
        return {symbol: place for place, symbol in enumerate(type_map)}
    for symbol, number in type_dict.items():
        if not (isinstance(number, (int, np.integer)) and 0 <= number < len(type_map)):
            raise DataError(
                f"type_dict: found {number!r} for {symbol}, expected 0 to {len(type_map) - 1} for the types {', '.join(type_map)}"
            )
    return {symbol: int(number) for symbol, number in type_dict.items()}


def _inputs(atoms: Atoms) -> dict[str, Any]:
    """What a calculation depends on beside positions, elements, cell and boundaries."""
    found = {key: atoms.info[key] for key in PARAMETERS if atoms.info.get(key) is not None}
    if "aparam" in atoms.arrays:
        found["aparam"] = atoms.arrays["aparam"]
    return found


def _given(inputs: Mapping[str, np.ndarray], charged: bool) -> dict[str, np.ndarray]:
    """Inputs of the model in the shapes of one frame.

    Args:
        inputs: as ``atoms.info`` has them.
        charged: whether the model takes charge and spin.

    Raises:
        ModelError: a charge or spin that the model cannot follow, or one of the two without the other.
    """
    out = _charge_and_spin(inputs) if charged else {}
    if not charged:
        _refuse_charges(inputs)
    if "fparam" in inputs:
        out["fparam"] = np.atleast_1d(inputs["fparam"])
    if "aparam" in inputs:
        rows = inputs["aparam"]
        out["aparam"] = rows[:, None] if rows.ndim == 1 else rows
    return out


def _vectors(moments: np.ndarray | None) -> np.ndarray:
    """(n_atom, 3) magnetic moments of as many vectors, or of numbers, which are along z.

    Raises:
        ModelError: the atoms have none.
    """
    if moments is None:
        raise ModelError(
            "this model needs the spin of each atom: give them to the atoms with set_initial_magnetic_moments, an array "
            "(n_atom, 3), or (n_atom,) of moments along z; zeros for none"
        )
    return moments if moments.ndim == 2 else np.stack([0.0 * moments, 0.0 * moments, moments], axis=1)


def _refuse_charges(inputs: Mapping[str, np.ndarray]) -> None:
    for key, harmless in (("charge_spin", ()), ("charge", (0,)), ("spin", (0, 1))):
        if key in inputs and inputs[key].tolist() not in harmless:
            raise ModelError(
                f"atoms.info[{key!r}] is {inputs[key].tolist()}, but this model has no input for charge and spin: its energy "
                "would be that of the states it was trained on. Take it out of atoms.info"
            )


def _charge_and_spin(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """``charge_spin``, if the atoms have one: from the key of this name, or from ``charge`` and ``spin``."""
    apart = [inputs[key] for key in ("charge", "spin") if key in inputs]
    both = np.ravel(apart) if len(apart) == 2 else None
    whole = inputs.get("charge_spin", both)
    if apart and (both is None or not np.array_equal(np.ravel(whole), both)):
        found = {key: inputs[key].tolist() for key in ("charge_spin", "charge", "spin") if key in inputs}
        raise ModelError(
            f"atoms.info has {found}; give this model a charge and a spin, or both numbers as charge_spin, which must then agree"
        )
    return {} if whole is None else {"charge_spin": whole}


def _stress(virial: np.ndarray, volume: float) -> np.ndarray:
    """(..., 6) eV/angstrom^3 in Voigt order from (..., 9) virials, positive under tension."""
    return full_3x3_to_voigt_6_stress(-virial.reshape(*virial.shape[:-1], 3, 3) / volume)  # symmetrised there
