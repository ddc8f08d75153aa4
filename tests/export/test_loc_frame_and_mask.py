"""Artifacts of descriptors that choose among all neighbours by a rule of their own."""

from __future__ import annotations

import numpy as np
import pytest

import dpjax
from dpjax.export import Artifact, save
from dpjax.export.runtime import ArtifactError
from tests.contracts.cases import loc_frame, model, potential, se_a_mask
from tests.contracts.structures import make

MASKED = model(se_a_mask(sel=[3, 6]), fitting={"numb_aparam": 1, "use_aparam_as_mask": True})


@pytest.mark.slow
def test_local_frames_with_more_neighbours_than_slots(tmp_path):
    pot = potential(model(loc_frame(sel_a=[1, 2], sel_r=[2, 3], rcut=3.0)))
    artifact = Artifact(save(pot, tmp_path / "model.dpx", ("cpu",)))
    for kind in ("crystal", "cluster"):
        s = make(kind)
        cell = None if s.cell is None else s.cell[None]
        want = pot.evaluate(s.coord[None], s.atype, cell, atomic=True)
        for options in ({"atomic": True}, {"search_on_device": True}):
            for name, value in artifact.evaluate(s.coord[None], s.atype, cell, **options).items():
                np.testing.assert_allclose(value, want[name], atol=1e-12, err_msg=name)


@pytest.mark.slow
def test_virtual_atoms(tmp_path):
    pot = potential(MASKED)
    path = save(pot, tmp_path / "model.dpx", ("cpu",))
    artifact, s = Artifact(path), make("cluster")
    mask = np.ones((1, len(s.coord), 1))
    mask[0, [3, 7]] = 0.0
    coord = np.where(mask == 0.0, 0.0, s.coord[None])  # virtual atoms on one point
    want = pot.evaluate(coord, s.atype, aparam=mask, atomic=True)
    for options in ({"atomic": True}, {"search_on_device": True}):
        for name, value in artifact.evaluate(coord, s.atype, aparam=mask, **options).items():
            np.testing.assert_allclose(value, want[name], atol=1e-12, err_msg=name)
    with pytest.raises(ArtifactError, match="cell: this model is for open boundaries"):
        artifact.evaluate(coord, s.atype, np.eye(3)[None] * 9, aparam=mask)
    with pytest.raises(ArtifactError, match="frame 0: aparam of atom 0 is 3; expected 1 for a real or 0"):
        artifact.evaluate(coord, s.atype, aparam=3.0 * mask)
    again = dpjax.load(path)
    np.testing.assert_array_equal(again.evaluate(coord, s.atype, aparam=mask)["force"], want["force"])
