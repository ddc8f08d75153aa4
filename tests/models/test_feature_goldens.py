"""Descriptors and last hidden layers of the reference models against DeePMD-kit 3.2.0."""

from __future__ import annotations

import numpy as np
import pytest

import dpjax
from dpjax.models import FEATURES
from tests.models.reference import Reference
from tests.shared import golden

QUICK = ("hybrid_att_sea_rcut", "dipole_sea")
CASES = sorted({name.partition("/")[0] for name in np.load(golden("models", "features.npz")).files})


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=() if case in QUICK else pytest.mark.slow) for case in CASES]
)
def test_features(case):
    """The first frame of each situation; placeholders, which are zero here, have the features of some other atom there."""
    stored, reference = np.load(golden("models", "features.npz")), Reference(golden("models", case))
    found = dpjax.load(reference.folder / "model.dp").features(**reference.arguments())
    compared = 0
    for name in FEATURES:
        for (situation, frame), got in zip(reference.frames, found[name], strict=True):
            if frame:
                continue
            want, real = stored[f"{case}/{situation}/{name}"][0], reference.arrays[f"{situation}/atype"] >= 0
            assert got.shape == want.shape and not got[~real].any()
            np.testing.assert_allclose(got[real], want[real], rtol=0, atol=1e-10 * max(1.0, np.abs(want).max()))
            compared += 1
    assert compared == 2 * len(reference.frames) // 2
