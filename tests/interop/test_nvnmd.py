"""NVNMD models against DeePMD-kit 3.2.0: tables, energies bit for bit, forces, and the files."""

from __future__ import annotations

import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from dpjax.config import parse_model
from dpjax.config.nvnmd import in_form
from dpjax.errors import ModelError
from dpjax.formats.nvnmd import read_dictionary, write_dictionary
from dpjax.interfaces.potential import Potential
from dpjax.interop import nvnmd
from dpjax.interop.nvnmd_config import check_config, hardware_config, nearest_of
from dpjax.models import build_model, init_variables
from tests.models.reference import SITUATIONS
from tests.shared import golden, shared

VERSIONS = (0, 1)


def configured(given: dict, quantized: bool):
    flags = {"quantize_descriptor": quantized, "quantize_fitting_net": quantized}
    return in_form(parse_model(given["model"]), given["nvnmd"] | flags)


class Reference:
    """One model of the larger set."""

    def __init__(self, version: int):
        self.folder = shared("golden", "tf", f"nvnmd_v{version}")
        self.given = json.loads((self.folder / "model.json").read_text())
        self.weights = self.arrays("weights")

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        return dict(np.load(self.folder / f"{name}.npz"))

    @property
    def tables(self) -> dict:
        """As in ``map.npy``, where a name may have a list of arrays."""
        out: dict = {}
        for name, array in self.arrays("map_tables").items():
            key, several, _ = name.partition("/")
            out.setdefault(key, []).append(array) if several else out.update({key: array})
        return out


@pytest.fixture(scope="module", params=VERSIONS)
def reference(request) -> Reference:
    return Reference(request.param)


@pytest.mark.parametrize("version", VERSIONS)
def test_shipped_descriptors(version):
    """The continuous one to rounding, the quantised one with every bit, from tables that are made here."""
    case = dict(np.load(golden("nvnmd", f"v{version}.npz")))
    given = json.loads(str(case["input"]))
    weights = {name.removeprefix("weights/"): x for name, x in case.items() if name.startswith("weights/")}
    for quantized, name in ((False, "cnn_descriptor"), (True, "descriptor")):
        config = configured(given, quantized)
        variables = jax.tree.map(np.asarray, init_variables(build_model(config)))
        own = nvnmd.read_parts(config, weights, ("descriptor",))
        variables["params"]["descriptor"] = own["params"]["descriptor"]
        variables["stats"]["descriptor"] |= own["stats"]["descriptor"]
        if quantized:
            variables = nvnmd.with_tables(config, variables, float(weights["train_attr.min_nbor_dist"]))
        got = Potential(config, variables).descriptor(case["coord"], case["atype"], cell=case["box"])
        got = np.asarray(got).reshape(1, 9, -1)[..., : case[name].shape[-1]]
        if quantized:
            np.testing.assert_array_equal(got, case[name])
        else:
            np.testing.assert_allclose(got, case[name], rtol=0, atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("made_here", [False, True], ids=["stored tables", "tables made here"])
def test_quantised_models(reference, made_here):
    config = configured(reference.given, True)
    weights = reference.weights | reference.arrays("weights_quantised_stage")
    pot = Potential(config, nvnmd.read_weights(config, weights, None if made_here else reference.tables))
    compare(pot, reference, "", exact=True)


@pytest.mark.slow
def test_continuous_models(reference):
    config = configured(reference.given, False)
    compare(Potential(config, nvnmd.read_weights(config, reference.weights)), reference, "cnn_", exact=False)


def compare(pot: Potential, reference: Reference, prefix: str, exact: bool) -> None:
    arrays = reference.arrays("ref")
    for situation in SITUATIONS:
        own = {name.partition("/")[2]: x for name, x in arrays.items() if name.startswith(f"{situation}/")}
        cell = own["box"] if len(own["box"]) else None
        out = pot.evaluate(own["coord"], own["atype"], cell=cell, atomic=True)
        for name in ("energy", "force", "virial", "atom_energy", "atom_virial"):
            want = own[prefix + name]
            got = np.asarray(out[name]).reshape(want.shape)
            if exact and name == "atom_energy":
                np.testing.assert_array_equal(got, want)
            else:
                np.testing.assert_allclose(got, want, rtol=0, atol=1e-13)


def test_tables_are_those_of_the_reference(reference):
    """As functions; the coefficients of cubes are differences of values, divided by the cube of a small width."""
    config = configured(reference.given, True)
    made = nvnmd.read_weights(config, reference.weights)["stats"]["descriptor"]
    want = nvnmd.read_tables(config, reference.tables)
    for name, table in want.items():
        if not name.endswith(("values", "slopes")):
            np.testing.assert_allclose(made[name], table, rtol=0, atol=1e-14)
            continue
        width = 1 / 8 if name.startswith("radial") else 1 / 16
        powers = width ** np.arange(3, -1, -1)
        scale = np.abs(table * powers).max()
        np.testing.assert_allclose(made[name] * powers, table * powers, rtol=0, atol=1e-11 * max(1.0, scale))


def test_weights_go_there_and_back(reference, tmp_path):
    config = configured(reference.given, True)
    variables = nvnmd.read_weights(config, reference.weights)
    nearest = float(reference.weights["train_attr.min_nbor_dist"])
    write_dictionary(tmp_path / "weight.npy", nvnmd.write_weights(config, variables, nearest))
    back = read_dictionary(tmp_path / "weight.npy")
    assert back.keys() == reference.weights.keys()
    for name, want in reference.weights.items():
        np.testing.assert_array_equal(back[name], want)
    write_dictionary(tmp_path / "map.npy", nvnmd.write_tables(config, variables))
    tables = nvnmd.read_tables(config, read_dictionary(tmp_path / "map.npy"))
    for name, want in tables.items():
        np.testing.assert_array_equal(variables["stats"]["descriptor"][name], want)


def test_the_hardware_configuration(reference):
    """All but the sizes of memory images, which come later."""
    want = json.loads((reference.folder / "nvnmd_config.json").read_text())
    config = configured(reference.given, False)
    stats = nvnmd.read_weights(config, reference.weights)["stats"]
    got = hardware_config(config, stats, float(reference.weights["train_attr.min_nbor_dist"]))
    for name in ("NH_DATA", "NW_DATA"):
        assert len(got["size"].pop(name)) == len(want["size"].pop(name))
    assert got == want
    assert nearest_of(want) == reference.weights["train_attr.min_nbor_dist"]
    check_config(config, want, "config.npy")
    other = want | {"dscp": want["dscp"] | {"rcut": 5.5}}
    with pytest.raises(ModelError, match=r"config.npy: dscp/rcut is 5.5, but the model of this input has 4.0"):
        check_config(config, other, "config.npy")


def test_what_is_wrong_with_weights():
    case = dict(np.load(golden("nvnmd", "v0.npz")))
    config = configured(json.loads(str(case["input"])), False)
    with pytest.raises(ModelError, match=r"filter_type_all.matrix_1_0 is missing; there are none"):
        nvnmd.read_parts(config, {}, ("descriptor",))
    weights = {name.removeprefix("weights/"): x for name, x in case.items() if name.startswith("weights/")}
    weights["filter_type_all.bias_1_0"] = np.zeros(7)
    with pytest.raises(ModelError, match=r"filter_type_all.bias_1_0 has shape \(7,\), but the model needs \(8,\)"):
        nvnmd.read_parts(config, weights, ("descriptor",))
    quantized = replace(config, nvnmd=replace(config.nvnmd, quantize_descriptor=True))
    with pytest.raises(ModelError, match="NVNMD tables: s is missing"):
        nvnmd.read_parts(quantized, weights, (), {})
