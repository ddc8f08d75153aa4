"""What is compared with labels, for models of every output, and how it is named.

Names of detail files and of their columns are DeePMD-kit's (``deepmd/infer/model_test``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from dpjax.config.fittings.outputs import DIPOLE, ENERGY, POLARIZABILITY, AtomicOutput


@dataclass(frozen=True, eq=False)
class Structures:
    """Some frames of one system, atoms in the order of the files.

    Attributes:
        real: (n_frame, n_atom) whether the atom is no padding.
        counted: (n_frame, n_atom) whether its type contributes to the model's output, too.
        magnetic: (n_frame, n_atom) whether it carries a spin.
        volume: (n_frame,) cubic angstrom, or None without cells.
    """

    real: np.ndarray
    counted: np.ndarray
    magnetic: np.ndarray
    volume: np.ndarray | None


def per_atom(structures: Structures) -> np.ndarray:
    """(n_frame,) one over the number of atoms."""
    return 1 / structures.real.sum(axis=1)


def per_counted_atom(structures: Structures) -> np.ndarray:
    """(n_frame,) one over the number of atoms that contribute; infinite where there are none."""
    with np.errstate(divide="ignore"):
        return 1 / structures.counted.sum(axis=1)


def per_root_of_counted_atoms(structures: Structures) -> np.ndarray:
    """(n_frame,) one over the square root of that number."""
    return np.sqrt(per_counted_atom(structures))


def stress_of_virial(structures: Structures) -> np.ndarray:
    """(n_frame,) minus one over the volume."""
    return -1 / structures.volume


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One thing that is compared.

    Attributes:
        name: its key in reports.
        title: its name in tables and pictures.
        unit: of its numbers; empty for that of the label, which no file says.
        label: the array of the data set that holds it.
        output: what ``evaluate`` calls it.
        columns: of the detail file, without ``data_`` and ``pred_``; longer rows are written one below the other.
        suffix: of the detail file, which has the ending ``out``; None: there is no such file.
        atoms: which atoms have a row each, "real", "counted" or "magnetic"; "pairs": each number that belongs to two real atoms
            has one; None: there is a row per frame.
        factor: multiplies the rows of frames; frames where it is infinite are left out.
        needs_cell: open systems have none.
        on_demand: ``evaluate`` gives it with ``atomic=True`` only.
        drawn: has a panel in pictures.
    """

    name: str
    title: str
    unit: str = ""
    label: str
    output: str
    columns: tuple[str, ...] = ()
    suffix: str | None = None
    atoms: str | None = None
    factor: Callable[[Structures], np.ndarray] | None = None
    needs_cell: bool = False
    on_demand: bool = False
    drawn: bool = False

    def rows(self, values: np.ndarray, structures: Structures) -> np.ndarray:
        """The numbers that count, (n_row, n_column), of a label or a prediction with axes (frame, ...) or (frame, atom, ...)."""
        if self.atoms == "pairs":
            n_atom = structures.real.shape[1]
            both = structures.real[:, :, None, None, None] & structures.real[:, None, None, :, None]
            square = values.reshape(-1, n_atom, 3, n_atom, 3)
            return square[np.broadcast_to(both, square.shape)][:, None]
        if self.atoms is not None:
            chosen = getattr(structures, self.atoms)
            return values.reshape(*chosen.shape, -1)[chosen]
        values = values.reshape(len(values), -1)
        if self.factor is None:
            return values
        factor = self.factor(structures)
        finite = np.isfinite(factor)
        return values[finite] * factor[finite, None]


_PAIRS = tuple(a + b for a in "xyz" for b in "xyz")
_VIRIAL = {"label": "virial", "output": "virial", "needs_cell": True}

MAGNETIC_FORCE = Quantity(
    name="force_mag",
    title="Magnetic force",
    unit="eV per unit of spin",
    label="force_mag",
    output="force_mag",
    columns=("fmx", "fmy", "fmz"),
    suffix="fm",
    atoms="magnetic",
    drawn=True,
)
ENERGY_QUANTITIES = (
    Quantity(name="energy", title="Energy", unit="eV", label="energy", output="energy", columns=("e",), suffix="e"),
    Quantity(
        name="energy_per_atom",
        title="Energy per atom",
        unit="eV",
        label="energy",
        output="energy",
        columns=("e",),
        suffix="e_peratom",
        factor=per_atom,
        drawn=True,
    ),
    Quantity(
        name="force",
        title="Force",
        unit="eV/Å",
        label="force",
        output="force",
        columns=("fx", "fy", "fz"),
        suffix="f",
        atoms="real",
        drawn=True,
    ),
    Quantity(name="virial", title="Virial", unit="eV", columns=tuple(f"v{ab}" for ab in _PAIRS), suffix="v", **_VIRIAL),
    Quantity(
        name="virial_per_atom",
        title="Virial per atom",
        unit="eV",
        columns=tuple(f"v{ab}" for ab in _PAIRS),
        suffix="v_peratom",
        factor=per_atom,
        drawn=True,
        **_VIRIAL,
    ),
    Quantity(
        name="stress",
        title="Stress",
        unit="eV/Å³",
        columns=tuple(f"s{ab}" for ab in _PAIRS),
        suffix="s",
        factor=stress_of_virial,
        **_VIRIAL,
    ),
    Quantity(
        name="atomic_energy",
        title="Atomic energy",
        unit="eV",
        label="atom_ener",
        output="atom_energy",
        columns=("ae",),
        suffix="ae",
        atoms="counted",
        on_demand=True,
    ),
    Quantity(
        name="hessian",
        title="Hessian",
        unit="eV/Å²",
        label="hessian",
        output="hessian",
        columns=("h",),
        suffix="h",
        atoms="pairs",
    ),
)


def quantities_of(
    output: AtomicOutput, atomic: bool, direct: bool = False, magnetic: bool = False
) -> tuple[Quantity, ...]:
    """What is compared for a model of this output.

    Args:
        output: what its fitting net predicts.
        atomic: compare the values of atoms, too.
        direct: the model gives its forces directly, so that there are neither virials nor second derivatives.
        magnetic: it takes spins, and has magnetic forces.
    """
    known = ENERGY_QUANTITIES if output == ENERGY else _other_quantities(output)
    if magnetic:
        known = _with_magnetic_forces(known)
    if direct:
        known = tuple(quantity for quantity in known if quantity.output not in ("virial", "hessian"))
    return tuple(quantity for quantity in known if atomic or quantity.label != output.atom_label)


def _with_magnetic_forces(known: tuple[Quantity, ...]) -> tuple[Quantity, ...]:
    """Those of a model with spins; the file of forces is then called as DeePMD-kit calls that of real atoms."""
    place = [quantity.name for quantity in known].index("force")
    force = replace(known[place], suffix="fr")
    return (*known[:place], force, MAGNETIC_FORCE, *known[place + 1 :])


def _other_quantities(output: AtomicOutput) -> tuple[Quantity, ...]:
    if output == DIPOLE:
        return _tensor_quantities(output, ("Dipole", "Atomic dipole"), tuple("xyz"))
    if output == POLARIZABILITY:
        titles = ("Polarizability", "Atomic polarizability")
        return _tensor_quantities(output, titles, tuple(f"p{ab}" for ab in _PAIRS))
    if "dos" in output.losses:
        titles = ("Density of states", "Atomic density of states")
        total, atoms = _total_and_atoms(output, titles, (("dos",), ("ados",)), ("dos", "ados"))
        return total, _scaled(total, "per_atom", "per atom", per_atom), atoms
    titles = (output.label, f"Atomic {output.label}")
    return _total_and_atoms(output, titles, (("property",), ("aproperty",)), ("property", "aproperty"))


def _tensor_quantities(output: AtomicOutput, titles: tuple[str, str], columns: tuple[str, ...]) -> tuple[Quantity, ...]:
    total, atoms = _total_and_atoms(output, titles, (columns, columns), ("", "atomic"))
    per_root = _scaled(total, "per_sqrt_atom", "per √atoms", per_root_of_counted_atoms)
    return total, per_root, _scaled(total, "per_atom", "per atom", per_counted_atom), atoms


def _total_and_atoms(
    output: AtomicOutput,
    titles: tuple[str, str],
    columns: tuple[tuple[str, ...], tuple[str, ...]],
    suffixes: tuple[str, str],
) -> tuple[Quantity, Quantity]:
    """The value of a frame and those of its atoms; titles, columns and suffixes come in this order, too."""
    total = Quantity(
        name=output.label,
        title=titles[0],
        label=output.label,
        output=output.total,
        columns=columns[0],
        suffix=suffixes[0],
        drawn=True,
    )
    atoms = Quantity(
        name=f"atomic_{output.label}",
        title=titles[1],
        label=output.atom_label,
        output=output.atomic,
        columns=columns[1],
        suffix=suffixes[1],
        atoms="counted",
        drawn=True,
    )
    return total, atoms


def _scaled(total: Quantity, ending: str, words: str, factor: Callable[[Structures], np.ndarray]) -> Quantity:
    """The value of a frame divided by something; DeePMD-kit prints its error, but writes no file."""
    return Quantity(
        name=f"{total.name}_{ending}",
        title=f"{total.title} {words}",
        label=total.label,
        output=total.output,
        factor=factor,
    )
