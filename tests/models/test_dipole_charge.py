"""The correction dipole_charge: DeePMD-kit's numbers from both of its backends, the mesh, and frames in one batch."""

from __future__ import annotations

import functools
import json

import jax
import numpy as np
import pytest

import dpjax
from dpjax.config.models.modifier import DipoleChargeConfig, DipoleModel
from dpjax.errors import DataError
from dpjax.interfaces.dipole_charge import DipoleCharge
from dpjax.models.dipole_charge import sizes_of
from tests.shared import golden

TYPE_MAP = ("O", "H")
SITUATIONS = ("ortho", "triclinic")
TOLERANCE = {"energy": 1e-10, "force": 1e-9, "virial": 1e-9}


def frames_of(ref) -> tuple[list, list, list]:
    """All frames of a reference: coordinates, types, cells."""
    places = [(s, i) for s in SITUATIONS for i in range(len(ref[f"{s}/coord"]))]
    return tuple([ref[f"{s}/{key}"][i] if key != "atype" else ref[f"{s}/atype"] for s, i in places]
                 for key in ("coord", "atype", "box"))  # fmt: skip


def compare(out, ref) -> None:
    for name, tolerance in TOLERANCE.items():
        want = [own for s in SITUATIONS for own in ref[f"{s}/{name}"]]
        scale = max(1.0, max(np.abs(own).max() for own in want))
        for got, own in zip(out[name], want, strict=True):
            assert np.abs(got - np.reshape(own, got.shape)).max() <= tolerance * scale, name


@functools.cache
def pytorch(mesh: bool | None = None, type_map: tuple[str, ...] = TYPE_MAP) -> DipoleCharge:
    """The modifier made with the PyTorch backend, which does not round."""
    dipole = dpjax.load(golden("dipole_charge", "model.dp"))
    section = json.loads(golden("dipole_charge", "modifier.json").read_text())
    section["sys_charge_map"] = [dict(zip(TYPE_MAP, section["sys_charge_map"], strict=True))[t] for t in type_map]
    config = DipoleChargeConfig(**section, dipole=DipoleModel(dipole.config, dipole.variables))
    return DipoleCharge(config, type_map, "corrected", mesh=mesh)


@pytest.fixture(scope="module")
def ref() -> dict[str, np.ndarray]:
    return dict(np.load(golden("dipole_charge", "modifier_ref.npz")))


def test_pytorch_numbers(ref):
    compare(pytorch().of(*frames_of(ref)), ref)


@pytest.mark.slow
def test_a_mesh_gives_the_same(ref):
    compare(pytorch(mesh=True).of(*frames_of(ref)), ref)


@pytest.mark.slow
def test_types_go_by_their_names(ref):
    coord, atype, cell = frames_of(ref)
    compare(pytorch(type_map=("H", "O")).of(coord, [1 - own for own in atype], cell), ref)


def test_placeholders_and_the_order_of_atoms_change_nothing(ref):
    coord, atype, cell = frames_of(ref)
    want = pytorch().of(coord, atype, cell)
    rng = np.random.default_rng(1)
    orders = [rng.permutation(len(own)) for own in atype]
    padded = [np.concatenate([x[order], np.full((2, 3), 1e3)]) for x, order in zip(coord, orders, strict=True)]
    types = [np.concatenate([own[order], [-1, -1]]) for own, order in zip(atype, orders, strict=True)]
    got = pytorch().of(padded, types, cell)
    for i, order in enumerate(orders):
        np.testing.assert_allclose(got["energy"][i], want["energy"][i], rtol=1e-12)
        np.testing.assert_allclose(got["virial"][i], want["virial"][i], atol=1e-11)
        np.testing.assert_allclose(got["force"][i][:-2], want["force"][i][order], atol=1e-11)
        np.testing.assert_array_equal(got["force"][i][-2:], 0.0)


def test_an_open_structure_is_refused():
    with pytest.raises(DataError, match="frame 1: .*dipole_charge"):
        pytorch().of([np.zeros((1, 3))] * 2, [np.zeros(1, int)] * 2, [10.0 * np.eye(3), None])


def test_large_cells_take_the_mesh_and_small_ones_the_sum():
    assert sizes_of(8.0 * np.eye(3)[None], 50, 1.0).mesh is None
    assert sizes_of(100.0 * np.eye(3)[None], 100_000, 1.0).mesh is not None


@pytest.mark.slow
def test_tensorflow_numbers():
    ref = dict(np.load(golden("dipole_charge_tf", "ref.npz")))
    section = json.loads(golden("dipole_charge_tf", "model.json").read_text())["model"]
    modifier = section.pop("modifier")
    for key in ("rcut", "rcut_smth"):  # reach the kernels as float32
        section["descriptor"][key] = float(np.float32(section["descriptor"][key]))
    potential = dpjax.build(section)
    variables = jax.tree.map(np.array, potential.variables)
    fill(variables, dict(np.load(golden("dipole_charge_tf", "weights.npz"))))
    config = DipoleChargeConfig(**modifier, dipole=DipoleModel(potential.config, variables))
    compare(DipoleCharge(config, TYPE_MAP, "reference").of(*frames_of(ref)), ref)


def fill(variables: dict, weights: dict[str, np.ndarray]) -> None:
    """Puts TensorFlow's arrays in place; the network of the type without dipoles is not among them."""
    for network, layers in variables["params"]["descriptor"].items():
        for layer, leaves in layers.items():
            number, neighbor = int(layer.rpartition("_")[2]) + 1, network.rpartition("_")[2]
            for leaf, array in leaves.items():
                array[...] = weights[f"filter_type_all/{leaf}_{number}_{neighbor}"].reshape(array.shape)
    for layer, leaves in variables["params"]["fitting_net"]["net_0"].items():
        scope = {"layers_2": "final_layer"}.get(layer, layer.replace("layers", "layer"))
        for leaf, array in leaves.items():
            array[...] = weights[f"{scope}_type_0/{leaf}"]
    for name, source in (("davg", "t_avg"), ("dstd", "t_std")):
        variables["stats"]["descriptor"][name][...] = weights[f"descrpt_attr/{source}"].reshape(2, -1, 4)[:, 0]


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [False, True])
def test_devices_share_frames(ref, mesh):
    coord, atype, cell = frames_of(ref)
    want = pytorch(mesh).of(coord * 3, atype * 3, cell * 3)
    got = pytorch(mesh).of(coord * 3, atype * 3, cell * 3, atoms_per_batch=24)
    for name, rows in want.items():
        for a, b in zip(got[name], rows, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-10)
