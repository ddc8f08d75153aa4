"""``loc_frame`` and ``se_a_mask`` with weights of DeePMD-kit's TensorFlow backend (3.2.0) against what they give there.

Forces and virials of ``loc_frame`` are exact gradients of the same energies: DeePMD-kit's own have a term that belongs to another
atom (``tf_raw``), so that they do not add up to zero.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

import dpjax
from dpjax.errors import ModelError
from tests.models.reference import Reference
from tests.shared import golden, shared

SHIPPED = ("loc_frame_rule2", "se_a_mask_two_side")
OTHERS = ("loc_frame_rule1", "se_a_mask_one_side")


def model(folder) -> tuple[dict, dict]:
    """The section and the weights of a reference model."""
    return json.loads((folder / "model.json").read_text())["model"], dict(np.load(folder / "weights.npz"))


class OfTensorFlow(Reference):
    """Frames without an axis for the number of an energy, virials as matrices, cells of open frames left out."""

    def __init__(self, folder):
        self.folder = folder
        self.arrays = dict(np.load(folder / "ref.npz"))
        situations = [s for s in ("ortho", "triclinic", "cluster") if f"{s}/coord" in self.arrays]
        self.frames = [(s, i) for s in situations for i in range(len(self.arrays[f"{s}/coord"]))]
        for name in [name for name in self.arrays if name.endswith("/box") and not len(self.arrays[name])]:
            del self.arrays[name]
        width = {"energy": 1, "virial": 9, "atom_energy": 1, "atom_virial": 9}
        for name, value in self.arrays.items():
            if (own := name.rpartition("/")[2]) in width:
                lead = 2 if own.startswith("atom") else 1
                self.arrays[name] = value.reshape(*value.shape[:lead], width[own])

    def outputs(self) -> list[str]:
        return ["atom_energy", "atom_virial", "energy", "force", "virial"]


def check(folder) -> None:
    reference = OfTensorFlow(folder)
    pot = dpjax.interop.from_weights(*model(folder))
    reference.compare(pot.evaluate(**reference.arguments(), atomic=True))
    if "cluster/descriptor" in reference.arrays:
        for (situation, i), got in zip(reference.frames, pot.descriptor(**reference.arguments()), strict=True):
            np.testing.assert_allclose(got, reference.arrays[f"{situation}/descriptor"][i], atol=1e-12)


@pytest.mark.parametrize("case", SHIPPED)
def test_shipped(case):
    check(golden("tf", case))


@pytest.mark.slow
@pytest.mark.parametrize("case", OTHERS)
def test_all(case):
    check(shared("golden", "tf", case))


def test_forces_of_deepmd_kit_do_not_add_up():
    """The defect that is not reproduced is there in the numbers."""
    arrays = np.load(golden("tf", "loc_frame_rule2", "ref.npz"))
    assert np.abs(arrays["cluster/tf_raw/force"].sum(axis=1)).max() > 1e-3
    np.testing.assert_allclose(arrays["cluster/force"].sum(axis=1), 0.0, atol=1e-12)


def test_every_name_is_needed():
    section, weights = model(golden("tf", "se_a_mask_two_side"))
    assert "filter_type_0/matrix_1_2" not in weights  # of an excluded pair
    extra = weights | {"filter_type_0/matrix_1_2": weights["filter_type_0/matrix_1_1"]}
    with pytest.raises(ModelError, match="1 names belong to nothing in the model: filter_type_0/matrix_1_2"):
        dpjax.interop.from_weights(section, extra)
    del weights["filter_type_1/bias_1_2"]
    with pytest.raises(ModelError, match="1 weights of the model are missing: filter_type_1/bias_1_2"):
        dpjax.interop.from_weights(section, weights)


def test_virials_of_whole_frames_are_zero_in_the_reference_only():
    folder = golden("tf", "se_a_mask_two_side")
    reference = OfTensorFlow(folder)
    pot = dpjax.interop.from_weights(*model(folder), conventions="corrected")
    out = pot.evaluate(**reference.arguments(), atomic=True)
    for (_, i), virial, force in zip(reference.frames, out["virial"], out["force"], strict=True):
        want = np.einsum("ia,ib->ab", force, reference.arrays["cluster/coord"][i])
        np.testing.assert_allclose(virial.reshape(3, 3), want, atol=1e-12)
        assert np.abs(virial).max() > 1e-4


def test_reference_models_keep_neutral_statistics_of_the_mask():
    pot = dpjax.interop.from_weights(*model(golden("tf", "se_a_mask_two_side")))
    assert pot.variables["stats"]["descriptor"] == {}
    assert pot.conventions == "reference"
