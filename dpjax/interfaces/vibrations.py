"""Normal modes of molecules, and of crystals at the centre of the Brillouin zone, from analytic second derivatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dpjax.errors import DataError
from dpjax.interfaces.potential import Potential

# CODATA 2018: eV in J, atomic mass constant in kg, speed of light in m/s
_EV, _AMU, _LIGHT = 1.602176634e-19, 1.66053906660e-27, 299792458.0
WAVENUMBER = np.sqrt(_EV / _AMU) * 1e10 / (2 * np.pi * _LIGHT * 100)  # cm^-1 of the root of 1 eV/angstrom^2/amu


@dataclass(frozen=True)
class NormalModes:
    """Harmonic vibrations of one structure.

    Attributes:
        frequencies: (3 n,) cm^-1, ascending.  Negative for imaginary ones: along these modes the energy falls.
        modes: (3 n, n, 3) displacements of the atoms in each mode, 1/sqrt(amu): ``modes[i] * sqrt(masses)`` has length 1.
        hessian: (3 n, 3 n) eV/angstrom^2, symmetric.
        force: (n, 3) eV/angstrom.  Where it is not near zero the structure is not at rest, and rotations of a molecule have
            frequencies, too.
    """

    frequencies: np.ndarray
    modes: np.ndarray
    hessian: np.ndarray
    force: np.ndarray


def normal_modes(
    potential: Potential, coord, atype, cell=None, *, masses, fparam=None, aparam=None, charge_spin=None, spin=None
) -> NormalModes:
    """The normal modes of one structure, translations and rotations among them.

    Args:
        potential: an energy model.
        coord: (n, 3) angstrom.
        atype: (n,) types.
        cell: (3, 3) angstrom, rows are cell vectors; None for a molecule.
        masses: (n,) amu.
        fparam, aparam, charge_spin, spin: (numb_fparam,), (n, numb_aparam), (2,) and (n, 3), as ``Potential.evaluate`` takes them
            for one frame.  Spins are held fixed.

    Raises:
        DataError: masses that are not positive, or not one for each atom; what ``Potential.evaluate`` finds wrong.
        ModelError: the model predicts no energies.
    """
    coord, masses = np.asarray(coord, np.float64), np.asarray(masses, np.float64)
    if masses.shape != coord.shape[:1] or not (masses > 0).all():
        raise DataError(f"masses: found shape {masses.shape}, expected {coord.shape[:1]}, positive numbers in amu")
    one = {"cell": cell, "fparam": fparam, "aparam": aparam, "charge_spin": charge_spin, "spin": spin}
    one = {name: None if value is None else np.asarray(value)[None] for name, value in one.items()}
    out = potential.evaluate(coord[None], np.asarray(atype), **one, hessian=True)
    hessian = out["hessian"][0]
    hessian = (hessian + hessian.T) / 2
    weight = 1 / np.sqrt(np.repeat(masses, 3))
    square, vectors = np.linalg.eigh(hessian * weight[:, None] * weight[None, :])
    frequencies = WAVENUMBER * np.sign(square) * np.sqrt(np.abs(square))
    modes = (vectors * weight[:, None]).T.reshape(-1, len(coord), 3)
    return NormalModes(frequencies, modes, hessian, out["force"][0])
