"""The molecules and boxes in ``examples/mixed``, and the parts of the script behind them that need no quantum chemistry."""

from __future__ import annotations

import numpy as np
import pytest

from dpjax.data import find_systems, label_requirements, open_system
from tests.shared import REPOSITORY, load_script

chemistry, water = (load_script(f"make_{name}_data") for name in ("molecules", "water"))
maker = load_script("make_mixed_data")
FOLDER = REPOSITORY / "examples" / "mixed"
SYSTEMS = [FOLDER / path for path in find_systems(["train", "valid"], base=FOLDER)]
RCUT = 5.0  # angstrom, of the config


def opened(path):
    return open_system(path, chemistry.TYPE_MAP, label_requirements(("energy", "force", "virial")))


@pytest.fixture(scope="module", params=SYSTEMS, ids=lambda path: path.relative_to(FOLDER).as_posix())
def frames(request):
    """A system and all its arrays."""
    system = opened(request.param)
    assert all(system.found[name] for name in ("energy", "force", "virial"))
    return system, system.arrays(range(system.n_frame), ["coord", "energy", "force", "virial"])


def cells(system) -> np.ndarray:
    return np.stack([system.cell(i) for i in range(system.n_frame)])


def heights(box: np.ndarray) -> np.ndarray:
    """(..., 3) distances between opposite faces of cells."""
    return 1.0 / np.linalg.norm(np.linalg.inv(box), axis=-2)


def test_every_system_is_in_both_parts_with_as_many_frames_as_the_script_makes():
    want: dict[str, int] = {}
    for trajectory in maker.trajectories():
        name = f"{trajectory.part}/{trajectory.system}"
        want[name] = want.get(name, 0) + trajectory.n_frame
    assert {path.relative_to(FOLDER).as_posix(): opened(path).n_frame for path in SYSTEMS} == want


def test_the_set_has_what_a_model_of_everything_must_bear():
    """Open and periodic frames of 3 to 60 atoms of four elements; oblique cells, and such that are smaller than the cut-off."""
    systems = [opened(path) for path in SYSTEMS]
    assert {t for system in systems for t in system.types} == {0, 1, 2, 3}
    assert (min(s.n_atom for s in systems), max(s.n_atom for s in systems)) == (3, 60)
    periodic = [system for system in systems if system.periodic]
    assert 0 < len(periodic) < len(systems)
    assert min(heights(cells(system)).min() for system in periodic) < RCUT
    assert sum(np.all(heights(cells(system)) < 2 * RCUT) for system in periodic) > 2
    unit = [box / np.linalg.norm(box, axis=-1, keepdims=True) for box in map(cells, periodic)]
    cosines = np.concatenate([np.abs(u @ u.swapaxes(1, 2))[:, [0, 0, 1], [1, 2, 2]].max(axis=1) for u in unit])
    assert np.mean(cosines > 0.05) > 0.5


def test_the_data_stay_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 1_500_000


def test_forces_cancel_and_virials_are_symmetric(frames):
    system, arrays = frames
    assert np.abs(arrays["force"].reshape(system.n_frame, -1, 3).sum(axis=1)).max() < 1e-3
    assert 0.3 < arrays["force"].std() < 3.0
    virial = arrays["virial"].reshape(-1, 3, 3)
    np.testing.assert_allclose(virial, virial.swapaxes(1, 2), atol=2e-3)


def test_virials_of_molecules_are_those_of_their_forces(frames):
    system, arrays = frames
    if system.periodic:
        assert np.abs(arrays["virial"]).max() > 0.1
        return
    coord, force = (arrays[name].reshape(system.n_frame, -1, 3) for name in ("coord", "force"))
    np.testing.assert_allclose(arrays["virial"].reshape(-1, 3, 3), force.swapaxes(1, 2) @ coord, atol=2e-4)


def test_atoms_keep_apart_and_energies_vary(frames):
    system, arrays = frames
    coord = arrays["coord"].reshape(system.n_frame, -1, 3)
    disp = coord[:, None] - coord[:, :, None]
    if system.periodic:
        box = cells(system)
        disp -= np.rint(disp @ np.linalg.inv(box)[:, None]) @ box[:, None]
    near = np.linalg.norm(disp, axis=-1)[:, ~np.eye(system.n_atom, dtype=bool)]
    assert 0.7 < near.min() < 1.3
    assert 0.0 < np.ptp(arrays["energy"]) / system.n_atom < 0.6


def test_every_trajectory_has_a_seed_of_its_own():
    made = maker.trajectories()
    assert len({tuple(trajectory.seed) for trajectory in made}) == len(made)


def test_points_of_a_grid_are_apart():
    rng = np.random.default_rng(0)
    cell = water.random_cell(200.0, 0.1, rng)
    np.testing.assert_allclose(np.linalg.det(cell), 200.0)
    for number in (1, 6, 8, 20):
        points = maker.grid(number, cell, rng)
        assert points.shape == (number, 3)
        gaps = np.linalg.norm(points[:, None] - points, axis=-1) + 9.0 * np.eye(number)
        assert gaps.min() > 1.5
