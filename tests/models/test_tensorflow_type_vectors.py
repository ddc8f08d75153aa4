"""Models that tell types apart as DeePMD-kit's TensorFlow backend does, against its numbers (3.2.0): weights under its names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import dpjax
from dpjax import export
from dpjax.errors import ConfigError, ModelError
from tests.shared import golden, shared

SHIPPED = ("se_e2_a_tebd_two_side", "se_a_tpe_aparam")
CASES = (
    "layer_name_share_tebd",
    "se_a_ebd_v2_one_side",
    "se_a_ebd_v2_two_side",
    "se_a_tpe_one_side",
    "se_a_tpe_two_side",
    "se_atten_tebd",
    "se_e2_a_tebd_atom_ener",
    "se_e2_a_tebd_one_side",
    "se_e2_r_tebd",
    "se_e3_tebd",
)
SITUATIONS = ("ortho", "triclinic", "cluster")
LIMITS = {"energy": 1e-10, "atom_energy": 1e-10, "force": 1e-9, "virial": 1e-9, "atom_virial": 1e-9}
LOOSER = {
    "se_e2_a_tebd_one_side": 2.0,  # its gelu_tf has a coefficient in single precision
    "se_atten_tebd": 10.0,  # a pair 0.002 angstrom before the cut-off, whose direction is rounded in rows of 1e-8
}


def section_of(folder: Path) -> dict:
    return json.loads((folder / "model.json").read_text())["model"]


def weights_of(folder: Path) -> dict[str, np.ndarray]:
    return dict(np.load(folder / "weights.npz"))


def evaluated(pot: dpjax.Potential, ref: dict, situation: str) -> dict:
    given = {name: ref[f"{situation}/{name}"] for name in ("fparam", "aparam") if f"{situation}/{name}" in ref}
    cell = ref[f"{situation}/box"]
    return pot.evaluate(
        ref[f"{situation}/coord"], ref[f"{situation}/atype"], cell if cell.size else None, atomic=True, **given
    )


def compare(folder: Path, found: dict[str, dict], ref: dict, factor: float = 1.0) -> None:
    for situation, out in found.items():
        for name, limit in LIMITS.items():
            want = ref[f"{situation}/{name}"]
            error = np.abs(out[name].reshape(want.shape) - want).max() / max(1.0, np.abs(want).max())
            assert error <= limit * factor, f"{folder.name}, {name} of {situation}: off by {error:.2e}"


def check(folder: Path) -> None:
    ref = dict(np.load(folder / "ref.npz"))
    pot = dpjax.interop.from_weights(section_of(folder), weights_of(folder))
    found = {situation: evaluated(pot, ref, situation) for situation in SITUATIONS}
    compare(folder, found, ref, LOOSER.get(folder.name, 1.0))


@pytest.mark.parametrize("case", SHIPPED)
def test_shipped_cases(case):
    check(golden("tf", case))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_all_cases(case):
    check(shared("golden", "tf", case))


@pytest.mark.slow
def test_layers_that_two_models_share():
    """Both parts of a linear model, each with the layers that its ``layer_name`` says; the file has each layer once."""
    folder = golden("tf", "layer_name_share")
    check(folder)
    params = dpjax.interop.from_weights(section_of(folder), weights_of(folder)).variables["params"]
    assert set(params["parts_0"]["fitting_net"]["net_0"]) == {"layers_0", "layers_1", "layers_3"}
    assert set(params["parts_1"]["fitting_net"]["net_0"]) == {"layers_1", "layers_3"}


@pytest.mark.slow
def test_mixed_precision_is_what_single_precision_rounds_to():
    """float16 products: DeePMD-kit's own numbers are some 1e-3 from those of its float32."""
    folder = shared("golden", "tf", "mixed_precision_se_e2_a")
    ref = dict(np.load(folder / "ref.npz"))
    pot = dpjax.interop.from_weights(section_of(folder), weights_of(folder))
    for situation in SITUATIONS:
        out = evaluated(pot, ref, situation)
        for name in LIMITS:
            want = ref[f"{situation}/{name}"]
            assert np.abs(out[name].reshape(want.shape) - want).max() <= 2e-3 * max(1.0, np.abs(want).max()), name


def test_cut_offs_are_rounded_only_as_the_reference_does():
    folder = golden("tf", SHIPPED[0])
    for conventions, rcut in (("reference", float(np.float32(3.4))), ("corrected", 3.4)):
        pot = dpjax.interop.from_weights(section_of(folder), weights_of(folder), conventions=conventions)
        assert pot.rcut == rcut


@pytest.mark.parametrize("case", SHIPPED)
def test_missing_and_unknown_names_are_listed(case):
    folder = golden("tf", case)
    weights = weights_of(folder)
    weights["filter_type_all/matrix_7"] = weights.pop("filter_type_all/matrix_2")
    with pytest.raises(
        ModelError, match="missing: filter_type_all/matrix_2;.*nothing in the model: filter_type_all/matrix_7"
    ):
        dpjax.interop.from_weights(section_of(folder), weights)


@pytest.mark.parametrize("case", SHIPPED)
def test_no_file_of_deepmd_kit_holds_such_a_model(case, tmp_path):
    folder = golden("tf", case)
    pot = dpjax.interop.from_weights(section_of(folder), weights_of(folder))
    with pytest.raises(ModelError, match="only DeePMD-kit's TensorFlow backend has such models"):
        dpjax.save(pot, tmp_path / "model.dp")


@pytest.mark.slow
@pytest.mark.parametrize("case", SHIPPED)
def test_artifacts_keep_every_bit(case, tmp_path):
    folder = golden("tf", case)
    pot, ref = dpjax.interop.from_weights(section_of(folder), weights_of(folder)), dict(np.load(folder / "ref.npz"))
    export.save(pot, tmp_path / "model.dpx", platforms=("cpu",))
    again = dpjax.load(tmp_path / "model.dpx")
    want, got = evaluated(pot, ref, "triclinic"), evaluated(again, ref, "triclinic")
    np.testing.assert_array_equal(got["energy"], want["energy"])
    np.testing.assert_array_equal(got["force"], want["force"])
    compare(folder, {"triclinic": evaluated(export.Artifact(tmp_path / "model.dpx"), ref, "triclinic")}, ref)


def test_descriptors_that_tell_types_apart_themselves_are_refused_beside_a_type_embedding():
    section = {"type_map": ["O", "H"], "type_embedding": {}, "fitting_net": {}}
    with pytest.raises(
        ConfigError, match="descriptor/type: found 'se_a_tpe'.*or remove the section model/type_embedding"
    ):
        dpjax.build(section | {"descriptor": {"type": "se_a_tpe", "sel": [4, 4]}})
    appended = {"type": "se_atten", "sel": 8, "concat_output_tebd": False}
    with pytest.raises(ConfigError, match="concat_output_tebd: found false"):
        dpjax.build(section | {"descriptor": appended})


def test_parameters_of_neighbours_are_those_of_the_fitting_net():
    descriptor = {"type": "se_a_tpe", "sel": [4, 4], "type_one_side": True, "numb_aparam": 2}
    section = {"type_map": ["O", "H"], "descriptor": descriptor, "fitting_net": {"numb_aparam": 1}}
    with pytest.raises(ConfigError, match="descriptor/numb_aparam: found 2, but fitting_net/numb_aparam is 1"):
        dpjax.build(section)
