"""Fitting layers that parts of a sum share: where their parameters stand, what they do, and what cannot share."""

from __future__ import annotations

import copy

import jax
import numpy as np
import pytest

import dpjax
from dpjax.errors import ConfigError
from dpjax.models.shared_layers import borrowed, completed, without_borrowed
from tests.contracts.cases import dpa4, linear, model, pairtab, se_atten, se_e2_a, se_e2_r
from tests.contracts.structures import make

WEIGHTS = [0.7, 1.6, -0.4]
NAMES = ["first", "second", "last"], [None, None, None], ["first", "own", "last"]


def part(names, **options):
    return model(se_e2_a(**options), fitting={"layer_name": names, "neuron": [6, 6], "resnet_dt": True})


def section(names=NAMES):
    return linear(part(names[0]), part(names[1], rcut=2.6), part(names[2], seed=5), weights=WEIGHTS)


@pytest.fixture(scope="module")
def pot():
    return dpjax.build(section(), seed=3)


def evaluated(potential):
    s = make("cluster")
    return potential.evaluate(s.coord[None], s.atype)


def of_parts(potential):
    """The parts as models of their own, with all their layers."""
    params = completed(potential.config, potential.variables["params"])
    for i, own in enumerate(potential.config.raw["models"]):
        alone = dpjax.build(copy.deepcopy(own))
        variables = {"params": params[f"parts_{i}"], "stats": potential.variables["stats"][f"parts_{i}"]}
        assert jax.tree.structure(alone.variables) == jax.tree.structure(variables)
        yield alone.with_variables(variables)


def test_a_shared_layer_stands_in_the_first_part_that_has_it(pot):
    nets = [pot.variables["params"][f"parts_{i}"]["fitting_net"]["net_1"] for i in range(3)]
    assert [sorted(net) for net in nets] == [["layers_0", "layers_1", "layers_2"]] * 2 + [["layers_1"]]
    assert borrowed(pot.config) == {(2, 0): (0, 0), (2, 2): (0, 2)}


@pytest.mark.slow
def test_nothing_is_left_of_a_net_that_borrows_all_its_layers():
    pot = dpjax.build(section((NAMES[0], NAMES[1], NAMES[0])))
    assert "fitting_net" not in pot.variables["params"]["parts_2"]
    assert np.isfinite(evaluated(pot)["energy"]).all()


def test_left_out_and_put_back(pot):
    params = pot.variables["params"]
    whole = completed(pot.config, params)
    for net in ("net_0", "net_1"):
        assert whole["parts_2"]["fitting_net"][net]["layers_2"] is params["parts_0"]["fitting_net"][net]["layers_2"]
    again = without_borrowed(pot.config, whole)
    assert jax.tree.structure(again) == jax.tree.structure(params)
    assert "layers_0" not in params["parts_2"]["fitting_net"]["net_0"]  # which stayed as it was


@pytest.mark.slow
def test_the_sum_is_that_of_its_parts_with_all_their_layers(pot):
    out, each = evaluated(pot), [evaluated(alone) for alone in of_parts(pot)]
    for name in ("energy", "force"):
        want = sum(w * one[name] for w, one in zip(WEIGHTS, each, strict=True))
        np.testing.assert_allclose(out[name], want, atol=1e-12)
    assert np.abs(each[0]["force"] - each[2]["force"]).max() > 1e-3


@pytest.mark.slow
def test_a_change_of_the_array_reaches_both_parts(pot):
    moved = jax.tree.map(np.copy, pot.variables)
    moved["params"]["parts_0"]["fitting_net"]["net_1"]["layers_2"]["matrix"] += 0.1
    before, after = (
        [evaluated(alone)["energy"] for alone in of_parts(one)] for one in (pot, pot.with_variables(moved))
    )
    changes = [float(np.abs(a - b).max()) for a, b in zip(before, after, strict=True)]
    assert min(changes[0], changes[2]) > 1e-3 and changes[1] == 0.0
    total = evaluated(pot.with_variables(moved))["energy"]
    np.testing.assert_allclose(total, sum(w * e for w, e in zip(WEIGHTS, after, strict=True)), atol=1e-12)


@pytest.mark.slow
def test_a_frozen_part_shares_with_no_other(tmp_path):
    """Its layers keep what their file says, also where names are the same."""
    dpjax.export.save(dpjax.build(part(NAMES[0]), seed=9), tmp_path / "model.dpx", platforms=("cpu",))
    given = linear(part(NAMES[0]), {"type": "frozen", "model_file": str(tmp_path / "model.dpx")}, weights="sum")
    pot, alone = dpjax.build(given), dpjax.load(tmp_path / "model.dpx")
    assert not borrowed(pot.config)
    for own, theirs in zip(
        jax.tree.leaves(pot.variables["params"]["parts_1"]), jax.tree.leaves(alone.variables["params"]), strict=True
    ):
        np.testing.assert_array_equal(own, theirs)


OTHER = {
    "kind": (
        model(dpa4(), type="dpa4", fitting={"type": "dpa4_ener", "layer_name": NAMES[0]}),
        "which only nets of type 'ener' can",
    ),
    "activation": (
        model(se_e2_a(), fitting={"layer_name": NAMES[0], "resnet_dt": True, "activation_function": "silu"}),
        "but activation_function is 'silu' here and 'tanh' there",
    ),
    "time-step": (
        model(se_e2_a(), fitting={"layer_name": NAMES[0], "resnet_dt": False}),
        "but resnet_dt is False here and True there",
    ),
    "types": (part(NAMES[0]) | {"type_map": ["H", "O"]}, r"but the types are \['H', 'O'\] here"),
    "nets": (
        model(se_atten(attn_layer=0), fitting={"layer_name": NAMES[0], "resnet_dt": True}),
        "one of these parts has a fitting net for each type",
    ),
    "widths": (
        model(se_e2_a(), fitting={"layer_name": ["x", "second", "y"], "neuron": [5, 6], "resnet_dt": True}),
        "the widths around layer 1 are 5 and 6 here and those around layer 1 are 6 and 6 there",
    ),
    "output": (
        part(["x", "last", "y"]),
        "around layer 1 are 6 and 6 here and those around layer 2 are 6 and output there",
    ),
    "descriptor": (
        part(["first", None, None], neuron=[4, 6]),
        "layer 0 shares the name 'first' with layer 0 of models/0, but its matrix is 12 x 6 and the other 16 x 6",
    ),
}


@pytest.mark.parametrize("name", OTHER)
def test_what_cannot_share_is_refused(name):
    other, message = OTHER[name]
    with pytest.raises(ConfigError, match=rf"models/2/fitting_net/layer_name: .*{message}"):
        dpjax.build(linear(part(NAMES[0]), pairtab(), other, weights="sum"))


def test_first_layers_of_different_descriptors_may_have_one_width():
    """``se_e2_r`` with 16 numbers beside ``se_e2_a`` with 8 times 2."""
    radial = model(se_e2_r(neuron=[16]), fitting={"layer_name": NAMES[0], "resnet_dt": True})
    pot = dpjax.build(linear(part(NAMES[0]), radial, weights="sum"))
    assert len(borrowed(pot.config)) == 3
