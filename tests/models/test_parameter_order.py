"""The reference's order of parameters."""

from __future__ import annotations

import json

import jax
import pytest

from dpjax.config import parse_model
from dpjax.models import build_model, init_variables
from dpjax.models.parameter_order import reference_order
from dpjax.optimizers import parameter_names
from tests.contracts.cases import CASES, model, se_atten, se_e2_a
from tests.shared import golden


def names_of(section: dict) -> list[str]:
    """Names of a model's parameters, sorted."""
    params = jax.eval_shape(lambda: init_variables(build_model(parse_model(section)))["params"])
    return list(parameter_names(params))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_parameter_has_its_place(case):
    names = names_of(case.section)
    assert sorted(reference_order(names)) == sorted(names)


def test_networks_and_layers_are_counted_and_the_type_of_the_centre_runs_fastest():
    section = model(se_e2_a(type_one_side=False, neuron=[2] * 11), fitting={"neuron": [3, 3], "resnet_dt": True})
    order = reference_order(names_of(section))
    assert order[:4] == tuple(
        f"descriptor.embedding_0_0.layers_{i}.{leaf}" for i in (0, 1) for leaf in ("matrix", "bias")
    )
    assert list(dict.fromkeys(name.split(".")[1] for name in order)) == [
        *(f"embedding_{pair}" for pair in ("0_0", "1_0", "0_1", "1_1")),
        *("net_0", "net_1"),
    ]
    layers = [int(name.split(".")[2].removeprefix("layers_")) for name in order if "embedding_0_0" in name]
    assert layers == sorted(layers) and max(layers) == 10
    last = ("layers_1.matrix", "layers_1.bias", "layers_1.idt", "layers_2.matrix", "layers_2.bias")
    assert order[-5:] == tuple(f"fitting_net.net_1.{leaf}" for leaf in last)


def test_parts_of_a_descriptor_with_attention():
    order = reference_order(names_of(model(se_atten(lmax=2, attn_layer=0, tebd_input_mode="strip"))))
    parts = list(dict.fromkeys(".".join(name.split(".")[:3]) for name in order if name.startswith("descriptor")))
    assert parts == [
        "descriptor.degree_gain",
        "descriptor.embedding.network",
        "descriptor.embedding.type_network",
        "descriptor.type_embedding.layer",
    ]


def test_the_order_of_dpa4_is_that_of_its_module():
    theirs = [
        name.removeprefix("atomic_model.") for name in json.loads(golden("dpa4", "base", "params.json").read_text())
    ]
    ours = [name.replace("fitting_net.filter_layers.networks.0", "fitting_net.net_all") for name in theirs]
    assert list(reference_order(sorted(ours))) == ours


def test_an_unknown_part_is_an_error():
    with pytest.raises(ValueError, match="not in tuple"):
        reference_order(["descriptor.unheard_of.matrix"])
