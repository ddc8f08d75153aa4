"""Normal modes from analytic second derivatives, against finite differences of forces by ASE."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.vibrations import Vibrations

from dpjax.errors import DataError
from dpjax.interfaces.ase import DPCalculator
from dpjax.interfaces.vibrations import normal_modes
from tests.contracts.cases import model, potential, se_e2_a
from tests.interfaces.quick import quick


@pytest.fixture(scope="module")
def pot():
    return quick(potential(model(se_e2_a(rcut=4.0)), seed=3))


@pytest.fixture(scope="module")
def water(pot) -> Atoms:
    """A molecule that is not at rest: a random potential has no minimum that looks like one."""
    atoms = Atoms("OHH", positions=[[0, 0, 0], [0.96, 0.1, 0], [-0.2, 0.95, 0.1]], calculator=DPCalculator(pot))
    assert np.abs(atoms.get_forces()).max() > 0.01
    return atoms


def test_frequencies_are_those_of_finite_differences(pot, water, tmp_path):
    found = normal_modes(pot, water.positions, [0, 1, 1], masses=water.get_masses())
    vibrations = Vibrations(water, name=str(tmp_path / "vib"), delta=1e-3, nfree=4)
    vibrations.run()
    want = vibrations.get_frequencies()
    want = np.sort(want.real - want.imag)  # imaginary ones are negative here
    scale = np.abs(want).max()
    assert scale > 1
    np.testing.assert_allclose(np.sort(found.frequencies)[[0, 1, -1]], want[[0, 1, -1]], atol=1e-3 * scale)
    np.testing.assert_allclose(
        found.hessian, vibrations.get_vibrations().get_hessian_2d(), atol=1e-5 * np.abs(found.hessian).max()
    )


def test_translations_and_rotations_cost_nothing(pot, water):
    """Where forces vanish; elsewhere they turn with the molecule, and that is all that a rotation changes."""
    masses = water.get_masses()
    found = normal_modes(pot, water.positions, [0, 1, 1], masses=masses)
    np.testing.assert_allclose(found.force, water.get_forces(), atol=1e-9)
    scale = np.abs(found.hessian).max()
    for axis in np.eye(3):
        np.testing.assert_allclose(found.hessian @ np.tile(axis, 3), 0, atol=1e-12 * scale)
        turned = found.hessian @ np.cross(axis, water.positions).reshape(9)
        np.testing.assert_allclose(turned, -np.cross(axis, found.force).reshape(9), atol=1e-10 * scale)
    size = np.sort(np.abs(found.frequencies))
    assert size[2] < 1e-4 * size[3]
    np.testing.assert_allclose(np.einsum("ink,jnk,n->ij", found.modes, found.modes, masses), np.eye(9), atol=1e-12)


def test_a_mode_moves_as_its_frequency_says(pot, water):
    """Force along a mode is minus the square of its frequency times masses times displacement."""
    masses = water.get_masses()
    found = normal_modes(pot, water.positions, [0, 1, 1], masses=masses)
    step = 1e-4 * found.modes[-1]
    pair = [pot.evaluate((water.positions + sign * step)[None], [0, 1, 1])["force"][0] for sign in (1, -1)]
    curvature = -np.sum((pair[0] - pair[1]) / 2 * found.modes[-1]) / 1e-4
    wavenumber = np.sqrt(abs(curvature)) * 521.4708  # cm^-1 of 1 eV/angstrom^2/amu
    np.testing.assert_allclose(wavenumber, abs(found.frequencies[-1]), rtol=1e-4)


def test_masses_must_be_there(pot, water):
    with pytest.raises(DataError, match="masses: found shape"):
        normal_modes(pot, water.positions, [0, 1, 1], masses=[16.0, 1.0])
    with pytest.raises(DataError, match="positive numbers in amu"):
        normal_modes(pot, water.positions, [0, 1, 1], masses=[16.0, 1.0, 0.0])
