"""A model with spins of DeePMD-kit's TensorFlow backend, whose weights come by their names there."""

from __future__ import annotations

import json

import numpy as np
import pytest

import dpjax
from dpjax.errors import ModelError
from tests.shared import shared

SITUATIONS = ("ortho", "triclinic", "cluster")


@pytest.fixture(scope="module")
def case() -> tuple[dict, dict, dict]:
    """Model section, weights, and reference."""
    folder = shared("golden", "tf", "spin_tf")
    section = json.loads((folder / "model.json").read_text())["model"]
    return section, dict(np.load(folder / "weights.npz")), dict(np.load(folder / "ref.npz"))


def spins(ref: dict, situation: str, i: int) -> np.ndarray:
    """(n, 3): of the atoms of the first type, which come first and alone have some."""
    own = ref[f"{situation}/spin"][i]
    return np.concatenate([own, np.zeros((ref[f"{situation}/coord_real"].shape[1] - len(own), 3))])


def test_energies_forces_and_virials(case):
    section, weights, ref = case
    pot = dpjax.interop.from_weights(section, weights)
    frames = [(s, i) for s in SITUATIONS for i in range(2)]
    coord = [ref[f"{s}/coord_real"][i] for s, i in frames]
    out = pot.evaluate(
        coord,
        [ref[f"{s}/atype"][: len(x)] for (s, _), x in zip(frames, coord, strict=True)],
        [None if s == "cluster" else ref[f"{s}/box"][i] for s, i in frames],
        spin=[spins(ref, s, i) for s, i in frames],
        atomic=True,
    )
    names = {
        "energy": "energy",
        "atom_energy": "atom_energy",
        "force": "force_real",
        "force_mag": "force_mag",
        "virial": "virial",
    }
    for ours, theirs in names.items():
        for (s, i), got in zip(frames, out[ours], strict=True):
            want = ref[f"{s}/{theirs}"][i]
            got = got[: len(want)] if ours == "force_mag" else got
            limit = (1e-10 if "energy" in ours else 1e-9) * max(1.0, np.abs(want).max())
            np.testing.assert_allclose(got.reshape(want.shape), want, rtol=0, atol=limit, err_msg=f"{ours} of {s}")


def test_what_the_backend_cannot_have_is_refused(case):
    section, weights, _ = case
    behind = section | {"spin": section["spin"] | {"use_spin": [False, True]}}
    with pytest.raises(ModelError, match="types with spin come before the others"):
        dpjax.interop.from_weights(behind, weights)
    two = section | {"descriptor": section["descriptor"] | {"type_one_side": False}}
    with pytest.raises(ModelError, match="type_one_side true only"):
        dpjax.interop.from_weights(two, weights)
