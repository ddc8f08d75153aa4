"""Artifacts of DPRc models."""

from __future__ import annotations

import numpy as np
import pytest

import dpjax
from dpjax.export import Artifact, save
from dpjax.export.runtime import ArtifactError
from tests.contracts.cases import dprc, potential, se_atten, se_e2_a
from tests.contracts.structures import make

NUMBERS = np.array([2.0, 9, 2, 4, 9, -1, 7, 4, 2, 2, 11])[:, None]


@pytest.mark.slow
@pytest.mark.parametrize("qm", [se_e2_a(sel=[6, 8]), se_atten(attn_layer=0, sel=12)], ids=["by-type", "mixed"])
def test_fragments(tmp_path, qm):
    """``sel`` is narrower than the whole list, of which it says nothing."""
    pot = potential(dprc(qm, se_atten(attn_layer=0, rcut=2.6, sel=12)))
    path = save(pot, tmp_path / "model.dpx", ("cpu",))
    artifact = Artifact(path)
    for kind in ("crystal", "cluster"):
        s = make(kind)
        cell = None if s.cell is None else s.cell[None]
        coord = np.where(NUMBERS < 0, 0.0, s.coord)[None]
        want = pot.evaluate(coord, s.atype, cell, aparam=NUMBERS[None], atomic=True)
        for options in ({"atomic": True}, {"search_on_device": True}):
            for name, value in artifact.evaluate(coord, s.atype, cell, aparam=NUMBERS[None], **options).items():
                np.testing.assert_allclose(value, want[name], atol=1e-11, err_msg=name)
    with pytest.raises(ArtifactError, match="frame 0: aparam of atom 0 is 2.5; expected the number of its fragment"):
        artifact.evaluate(coord, s.atype, aparam=NUMBERS[None] + 0.5)
    again = dpjax.load(path)
    np.testing.assert_array_equal(again.evaluate(coord, s.atype, aparam=NUMBERS[None])["force"], want["force"])
