"""The clusters in ``examples/dprc``, and the parts of the script behind them that need no quantum chemistry."""

from __future__ import annotations

import numpy as np
import pytest

from dpjax.data import LabelSpec, find_systems, label_requirements, open_system
from tests.shared import REPOSITORY, load_script

FOLDER = REPOSITORY / "examples" / "dprc"
SYSTEMS = [FOLDER / path for path in find_systems(["train", "valid"], base=FOLDER)]
FRAGMENT = LabelSpec("aparam", per_atom=True, required=True)

load_script("make_molecules_data")
maker = load_script("make_dprc_data")


@pytest.fixture(scope="module", params=SYSTEMS, ids=lambda path: path.relative_to(FOLDER).as_posix())
def frames(request):
    """Path, types and all arrays of one system."""
    system = open_system(request.param, maker.TYPE_MAP, (*label_requirements(("energy", "force")), FRAGMENT))
    assert not system.periodic
    return request.param, system.types, system.arrays(range(system.n_frame), ["coord", "energy", "force", "aparam"])


def test_every_system_has_as_many_frames_as_the_script_makes(frames):
    path, types, arrays = frames
    part, waters = path.parent.name, int(path.name.rpartition("_")[2])
    starts, n_frame = maker.PLAN[part, waters]
    assert len(arrays["coord"]) == starts * n_frame
    assert len(types) == maker.N_QM + 3 * waters


def test_the_data_are_complete_and_small():
    names = [f"{part}/waters_{n}" for part, n in maker.PLAN]
    assert sorted(path.relative_to(FOLDER).as_posix() for path in SYSTEMS) == sorted(names)
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 300_000


def test_fragments_are_molecules_and_types_tell_them_from_methanol(frames):
    _, types, arrays = frames
    names = np.array(maker.TYPE_MAP)[types]
    for number, coord in zip(arrays["aparam"][..., 0], arrays["coord"], strict=True):
        assert sorted(names[number == 0]) == sorted("CHHHOH")
        for f in range(1, int(number.max()) + 1):
            own = coord[number == f]
            assert sorted(names[number == f]) == ["HW", "HW", "OW"]
            oxygen = own[names[number == f] == "OW"]
            assert 0.8 < np.sort(np.linalg.norm(own - oxygen, axis=1))[1:].min() < 1.25


def test_a_correction_moves_no_centre_of_mass_and_is_largest_in_the_qm_region(frames):
    _, _, arrays = frames
    force, qm = arrays["force"], arrays["aparam"][..., 0] == 0
    assert np.abs(force.sum(axis=1)).max() < 2e-3
    assert force[qm].std() > 2.0 * force[~qm].std() > 0.0


def test_every_trajectory_has_a_seed_of_its_own():
    assert len({tuple(own.seed) for own in maker.TRAJECTORIES}) == len(maker.TRAJECTORIES) == 6


def test_water_is_told_from_methanol_by_its_types():
    assert maker.named(["C", "O", "H", "H", "H", "H", "O", "H", "H"])[5:] == ["H", "OW", "HW", "HW"]
