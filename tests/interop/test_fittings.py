"""Weight maps of the fittings beside ``ener``: the larger set, what files of other origin have, what is refused."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

import dpjax
from dpjax.config import parse_model
from dpjax.errors import ModelError
from dpjax.formats import read_model_tree
from dpjax.interop import flatten, read_model, write_model
from tests.contracts.cases import hybrid, model, potential, se_atten, se_e2_a, se_e2_r, se_e3, se_e3_tebd
from tests.contracts.structures import make
from tests.interop.test_standard import plain
from tests.shared import golden, shared, shared_root

FITTINGS = {
    "dos": {"type": "dos", "numb_dos": 4},
    "property": {"type": "property", "property_name": "gap", "task_dim": 2, "intensive": True},
    "dipole": {"type": "dipole", "sel_type": [1]},
    "polar": {"type": "polar", "fit_diag": False, "scale": [2.0, 0.5], "pol_type": 0},
}


def stored(case: str) -> dict:
    return copy.deepcopy(read_model_tree(golden("models", case, "model.dp")))


def larger_set() -> list[str]:
    """Cases of the larger set that have one of these fittings on a descriptor this version has."""
    folder, found = shared_root().joinpath("golden", "models"), []
    for path in sorted(folder.glob("*/model.json")) if folder.is_dir() else ():
        section = json.loads(path.read_text())
        descriptor = section.get("descriptor", {}).get("type")
        if section.get("fitting_net", {}).get("type") in FITTINGS and descriptor in ("se_e2_a", "se_atten"):
            found.append(path.parent.name)
    return found


@pytest.mark.parametrize("case", larger_set() or ["*"])
def test_reading_and_writing_the_larger_set_changes_nothing(case):
    tree = read_model_tree(shared("golden", "models", case) / "model.dp")
    again = write_model(*read_model(tree))
    want, got = flatten(tree), flatten(again)
    assert got.keys() == want.keys()
    for name, array in want.items():
        assert got[name].dtype == array.dtype, name
        np.testing.assert_array_equal(got[name], array, err_msg=name)
    assert plain(again["model"]) == plain(tree["model"])


def test_the_larger_set_is_found_whole():
    shared("golden", "models")
    assert len(larger_set()) >= 21


def test_the_factor_of_polarizabilities_is_one_number_or_one_per_type():
    tree = stored("polar_sea_full")
    assert read_model(tree)[0].fitting_net.scale == 1.0
    scale = np.array([[1.7], [0.5]])
    tree["model"]["fitting"]["@variables"]["scale"] = scale
    config, variables = read_model(tree)
    assert config.fitting_net.scale == (1.7, 0.5)
    np.testing.assert_array_equal(write_model(config, variables)["model"]["fitting"]["@variables"]["scale"], scale)


def test_old_properties_do_not_distinguish_types():
    tree = stored("property_sea_intensive")
    assert read_model(tree)[0].fitting_net.distinguish_types
    tree["model"]["fitting"].pop("distinguish_types")
    tree["model"]["fitting"]["@version"] = 5
    assert not read_model(tree)[0].fitting_net.distinguish_types


@pytest.mark.parametrize("name", FITTINGS)
def test_saved_and_loaded_models_give_the_same_numbers(name, tmp_path):
    pot = potential(model(se_e2_a(), fitting={"numb_fparam": 1, **FITTINGS[name]}, atom_exclude_types=[]))
    dpjax.save(pot, tmp_path / "m.dp")
    again = dpjax.load(tmp_path / "m.dp")
    s = make("crystal", numbers=(4, 5), fparam=1)
    inputs = {"coord": s.coord[None], "cell": s.cell[None], "atype": s.atype, "fparam": s.fparam[None]}
    want, got = (p.evaluate(**inputs, atomic=True) for p in (pot, again))
    assert got.keys() == want.keys() and len(want) > 2
    for key, array in want.items():
        np.testing.assert_array_equal(got[key], array, err_msg=key)
    assert set(want["mask"][0]) == ({0.0, 1.0} if pot.config.silent_types else {1.0})


def test_types_without_a_tensor_are_excluded_by_the_stored_model():
    """DeePMD-kit's PyTorch backend has no ``sel_type``."""
    pot = potential(model(se_e2_a(), fitting=FITTINGS["dipole"]))
    tree = write_model(pot.config, pot.variables)["model"]
    assert tree["atom_exclude_types"] == tree["fitting"]["exclude_types"] == [0]
    both = potential(model(se_e2_a(), fitting=FITTINGS["dipole"], atom_exclude_types=[1]))
    assert write_model(both.config, both.variables)["model"]["atom_exclude_types"] == [0, 1]


def test_dipoles_of_the_tensorflow_backend_have_selected_types():
    """There the fitting alone leaves out types, and has no networks for them."""
    tree = stored("dipole_sea")
    fitting = tree["model"]["fitting"]
    fitting["exclude_types"] = [0]
    fitting["nets"]["networks"][0] = None
    config, variables = read_model(tree)
    assert (config.fitting_net.sel_type, config.silent_types) == ((1,), (0,))
    absent, present = (variables["params"]["fitting_net"][f"net_{t}"] for t in "01")
    assert {k: v["matrix"].shape for k, v in absent.items()} == {k: v["matrix"].shape for k, v in present.items()}
    assert not any(np.any(array) for layer in absent.values() for array in layer.values())


def edited(edit, case: str) -> dict:
    tree = stored(case)
    edit(tree["model"]["fitting"])
    return tree


REFUSALS = {
    "newer version": (
        lambda f: f.update({"@version": 7}),
        "property_sea_intensive",
        "version 7 of 'property'.*up to 6",
    ),
    "frozen tensor": (lambda f: f.update(trainable=[True, False, True]), "dipole_sea", "fitting/trainable"),
    "condition": (lambda f: f.update(rcond=1e-3), "property_sea_intensive", "fitting/rcond: found 0.001"),
    "mask": (lambda f: f.update(use_aparam_as_mask=True), "polar_sea_full", "fitting/use_aparam_as_mask"),
    "no derivative": (lambda f: f.update(r_differentiable=False), "dipole_sea", "fitting/r_differentiable"),
    "spin": (lambda f: f.update(spin={"use_spin": [True]}), "polar_sea_full", "spin"),
    "frame": (lambda f: f.update(embedding_width=12), "dipole_sea", "embedding_width: found 12, .* has 16 vectors"),
    "exclusion": (lambda f: f.update(exclude_types=[1]), "polar_sea_full", "fitting/exclude_types: types \\[1\\]"),
    "missing network": (
        lambda f: f["nets"]["networks"].__setitem__(0, None),
        "dipole_sea",
        "fitting/nets: .* expected 2",
    ),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_what_cannot_be_represented_is_refused(what):
    edit, case, message = REFUSALS[what]
    with pytest.raises(ModelError, match=message):
        read_model(edited(edit, case))


@pytest.mark.parametrize("other", [se_e2_r(), se_e3(), se_e3_tebd()], ids=lambda part: part["type"])
def test_tensors_of_a_member_without_vectors_are_not_saved(other, tmp_path):
    """DeePMD-kit counts the width of such a member as if it had vectors, and fails."""
    pot = potential(model(hybrid(se_e2_a(), other), fitting=FITTINGS["dipole"]))
    with pytest.raises(ModelError, match=f"model/descriptor/list/1: .*{other['type']!r}"):
        dpjax.save(pot, tmp_path / "m.dp")
    assert not (tmp_path / "m.dp").exists()


def test_tensors_of_members_with_vectors_are_saved(tmp_path):
    section = model(hybrid(se_e2_a(), se_atten(set_davg_zero=True)), fitting=FITTINGS["polar"])
    pot = potential(section)
    dpjax.save(pot, tmp_path / "m.dp")
    fitting = read_model_tree(tmp_path / "m.dp")["model"]["fitting"]
    assert (fitting["embedding_width"], fitting["nets"]["networks"][0]["out_dim"]) == (14, 14**2)
    assert parse_model(section).silent_types == (1,)
