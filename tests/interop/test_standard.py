"""Weight maps both ways: what DeePMD-kit stored is what we store, name by name."""

from __future__ import annotations

import copy
import dataclasses
import json

import jax
import numpy as np
import pytest

import dpjax
from dpjax.config import parse_model
from dpjax.descriptors import members
from dpjax.errors import ModelError
from dpjax.formats import read_model_tree, write_model_tree
from dpjax.interop import flatten, read_model, read_weights, write_model
from dpjax.interop.names import names_of
from dpjax.models import build_model, init_variables
from tests.contracts.cases import model, potential, se_e2_a
from tests.shared import golden

# those made of others are in test_parts.py
CASES = sorted(p.name for p in golden("models").iterdir() if p.is_dir() and not p.name.startswith(("linear", "zbl")))


def tree_of(case: str) -> dict:
    return read_model_tree(golden("models", case, "model.dp"))


@pytest.mark.parametrize("source", ["pytorch", "jax"])
@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("spin")])
def test_weights_are_found_by_the_names_of_the_backends(case, source):
    """Also those whose names are of tables in other models, as ``mean`` is."""
    stored = tree_of(case)
    config, want = read_model(stored)
    arrays, names = flatten(write_model(config, want)["model"]), names_of(write_model(config, want)["model"], source)
    _, got = read_weights(config.raw, {name: arrays[path] for path, name in names.items()}, source)
    for one, other in zip(jax.tree.leaves(want), jax.tree.leaves(got), strict=True):
        np.testing.assert_array_equal(other, one)


@pytest.mark.parametrize("case", CASES)
def test_reading_and_writing_keeps_every_array(case):
    stored = tree_of(case)
    want, got = flatten(stored), flatten(write_model(*read_model(stored)))
    assert got.keys() == want.keys()
    for name, array in want.items():
        assert got[name].dtype == array.dtype, name
        np.testing.assert_array_equal(got[name], array, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_reading_and_writing_keeps_every_setting(case):
    """Everything beside arrays that DeePMD-kit stores for the model: options, classes, versions."""
    stored = tree_of(case)["model"]
    assert plain(write_model(*read_model(tree_of(case)))["model"]) == plain(stored)


def plain(node, prefix="") -> dict:
    """Leaves of a tree that are no arrays, by dotted path."""
    if isinstance(node, dict):
        items = node.items()
    elif isinstance(node, list):
        items = enumerate(node)
    else:
        return {} if isinstance(node, np.ndarray) else {prefix: node}
    out = {}
    for key, value in items:
        out |= plain(value, f"{prefix}.{key}" if prefix else str(key))
    return out


@pytest.mark.parametrize("case", CASES)
def test_a_stored_model_and_its_input_section_describe_the_same(case):
    """The configuration read from weights equals the one parsed from ``model.json``, seeds and spellings apart."""
    given = parse_model(json.loads(golden("models", case, "model.json").read_text()))
    read, _ = read_model(tree_of(case))
    pairs = [
        *zip(members(read.descriptor), members(given.descriptor), strict=True),
        (read.fitting_net, given.fitting_net),
    ]
    for ours, theirs in pairs:
        spelt = {"precision": theirs.precision, "seed": theirs.seed}
        if type(ours).__name__ == "SeE2RConfig":
            assert ours.type_one_side  # in PyTorch, whatever the input says
            spelt["type_one_side"] = theirs.type_one_side
        if type(ours).__name__ == "SeE3TebdConfig":
            spelt["use_tebd_bias"] = theirs.use_tebd_bias  # these models were built without an input's defaults
        if type(ours).__name__ in ("SeAttenConfig", "SeAttenV2Config"):
            assert ours.ln_eps == 1e-5  # which null means
            spelt["ln_eps"] = theirs.ln_eps
        if type(ours).__name__ == "DPA2Config":
            assert ours.repformer.ln_eps == 1e-5
            spelt["repformer"] = dataclasses.replace(ours.repformer, ln_eps=theirs.repformer.ln_eps)
        if type(ours).__name__ == "SeAttenConfig" and "not_smooth" not in case:
            assert ours.smooth_type_embedding  # again a default that inputs do not have
            spelt["smooth_type_embedding"] = theirs.smooth_type_embedding
        if ours is read.fitting_net:
            if hasattr(theirs, "trainable"):
                spelt["trainable"] = theirs.trainable  # a list per layer in files
                assert set(np.atleast_1d(ours.trainable)) == {True}
        assert dataclasses.replace(ours, **spelt) == theirs
    for key in ("type_map", "pair_exclude_types", "atom_exclude_types", "preset_out_bias"):
        assert getattr(read, key) == getattr(given, key), key


@pytest.mark.parametrize("case", CASES)
def test_variables_read_are_those_a_fresh_model_has(case):
    """Names, shapes and dtypes; nothing missing, nothing left over."""
    config, variables = read_model(tree_of(case))
    fresh = jax.eval_shape(lambda: init_variables(build_model(config)))
    assert jax.tree.structure(variables) == jax.tree.structure(fresh)
    for a, b in zip(jax.tree.leaves(variables), jax.tree.leaves(fresh), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)


def test_shared_layers_are_written_wherever_they_are_used(tmp_path):
    shared_net = {"neuron": [6, 6, 6], "layer_name": [None, "same", "same", None]}
    pot = potential(model(se_e2_a(), fitting=shared_net))
    layers = write_model(pot.config, pot.variables)["model"]["fitting"]["nets"]["networks"][0]["layers"]
    np.testing.assert_array_equal(layers[1]["@variables"]["w"], layers[2]["@variables"]["w"])
    assert layers[0]["@variables"]["w"].shape != layers[1]["@variables"]["w"].shape
    dpjax.save(pot, tmp_path / "m.dp")  # a file has no names of layers: read back, each layer is on its own
    assert len(dpjax.load(tmp_path / "m.dp").variables["params"]["fitting_net"]["net_0"]) == 4


def changed(edit) -> dict:
    tree = copy.deepcopy(tree_of("ener_aparam"))
    edit(tree["model"])
    return tree


def one_slot_differs(m):
    m["descriptor"]["@variables"]["davg"][0, -1, 0] += 1e-3


REFUSALS = {
    "davg of one slot": (one_slot_differs, "descriptor/davg: the rows of different neighbour slots differ"),
    "unknown descriptor": (lambda m: m["descriptor"].update(type="se_e9"), "descriptor type 'se_e9'"),
    "unknown fitting": (lambda m: m["fitting"].update(type="charm"), "fitting type 'charm'"),
    "no descriptor": (lambda m: m.pop("descriptor"), "standard single-task models"),
    "spin": (lambda m: m["descriptor"].update(spin={"use_spin": [True]}), "spin"),
    "exponential switch": (lambda m: m["descriptor"]["env_mat"].update(use_exp_switch=True), "use_exp_switch"),
    "missing network": (lambda m: m["descriptor"]["embeddings"]["networks"].pop(), "found 1 networks, expected 2"),
    "mixed fitting": (lambda m: m["fitting"].update(mixed_types=True), "mixed_types"),
    "fitting exclusion": (
        lambda m: m["fitting"].update(exclude_types=[1]),
        r"types \[1\] are excluded here but not by the model",
    ),
    "total energy": (lambda m: m["fitting"].update(tot_ener_zero=True), "tot_ener_zero"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_what_cannot_be_represented_is_refused(what, tmp_path):
    edit, message = REFUSALS[what]
    tree = changed(edit)
    with pytest.raises(ModelError, match=message):
        read_model(tree)
    write_model_tree(tmp_path / "odd.dp", tree)
    with pytest.raises(ModelError, match=r"odd\.dp"):  # through the door the file is named too
        dpjax.load(tmp_path / "odd.dp")


def test_multi_task_files_are_refused():
    with pytest.raises(ModelError, match=r"several branches \(a\)"):
        read_model({"model_dict": {"a": {}}, "@variables": {}})


def test_a_tree_without_a_needed_key_names_file_and_key(tmp_path):
    write_model_tree(tmp_path / "cut.dp", changed(lambda m: m["descriptor"].pop("rcut")))
    with pytest.raises(ModelError, match=r"cut\.dp: .*'rcut'"):
        dpjax.load(tmp_path / "cut.dp")


def test_flatten_names_arrays_by_their_path():
    tree = {"a": [{"w": np.ones(2)}, None], "b": {"c": np.zeros(1), "d": "text"}}
    assert list(flatten(tree)) == ["a.0.w", "b.c"]
