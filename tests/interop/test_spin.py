"""Models with spins from DeePMD-kit: weights by TensorFlow's names, checkpoints, and files that are not whole."""

from __future__ import annotations

import json

import numpy as np
import pytest

import dpjax
from dpjax.config import parse_model
from dpjax.errors import DataError, ModelError
from dpjax.formats import read_model_tree
from dpjax.interop import flatten, read_model, read_weights
from dpjax.interop.checkpoint_files import completed
from dpjax.interop.names import names_of
from tests.shared import golden, shared

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
    with pytest.raises(DataError, match="spin of frame 0: that of atom 0 is zero, where this model has no energy"):
        pot.evaluate(coord[0][None], ref["ortho/atype"][:7], ref["ortho/box"][:1], spin=np.zeros((1, 7, 3)))
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


def stored() -> dict:
    return read_model_tree(golden("models", "spin_dpa3", "model.dp"))["model"]


def expanded(section: dict) -> dict:
    """What DeePMD-kit notes as the definition of a frozen model: that of the standard model over all types."""
    pairs = [[3, other] for other in range(4)]
    descriptor = section["descriptor"] | {"exclude_types": pairs, "env_protection": 0.01}
    names = section["type_map"] + [f"{name}_spin" for name in section["type_map"]]
    return section | {
        "type_map": names,
        "pair_exclude_types": pairs,
        "atom_exclude_types": [2, 3],
        "descriptor": descriptor,
    }


def test_definitions_of_frozen_models_are_those_of_inputs():
    section = json.loads(golden("models", "spin_dpa3", "model.json").read_text())
    ours, theirs = parse_model(completed(section)), parse_model(completed(expanded(section)))
    for name in ("type_map", "virtual_scale", "pair_exclude_types", "atom_exclude_types", "fitting_net"):
        assert getattr(theirs, name) == getattr(ours, name), name
    assert theirs.descriptor == ours.descriptor


def test_weights_by_pytorch_names():
    """With the prefix of the standard model inside, and tables that follow from the definition."""
    tree, section = stored(), json.loads(golden("models", "spin_dpa3", "model.json").read_text())
    arrays, names = flatten(tree["backbone_model"]), names_of(tree["backbone_model"], "pytorch")
    weights = {f"model.Default.backbone_model.{name}": arrays[path] for path, name in names.items()}
    weights |= {"model.Default.virtual_scale_mask": np.array([0.35, 0.0]), "model.Default.spin_mask": np.array([1, 0])}
    config, variables = read_weights(completed(section), weights)
    _, want = read_model(tree)
    assert config.virtual_scale == (0.35, 0.0)
    np.testing.assert_array_equal(
        variables["stats"]["fitting_net"]["bias_atom_e"], want["stats"]["fitting_net"]["bias_atom_e"]
    )
    np.testing.assert_array_equal(variables["stats"]["descriptor"]["davg"], want["stats"]["descriptor"]["davg"])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda tree: tree.pop("spin"), "spin: missing in a model of type 'spin_ener'"),
        (lambda tree: tree["spin"].update(virtual_scale=None), "spin/virtual_scale: missing"),
        (lambda tree: tree["spin"].update(use_spin=[True]), "backbone_model/type_map: found 4 types, expected 2"),
        (
            lambda tree: tree["backbone_model"].update(atom_exclude_types=[3]),
            r"types \[2\] are excluded here but not",
        ),
    ],
)
def test_damaged_files_are_refused(edit, message):
    tree = stored()
    edit(tree)
    with pytest.raises(ModelError, match=message):
        read_model(tree)
