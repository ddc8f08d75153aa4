"""The energy fitting: network inputs, fixed atomic energies, shared layers."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.config import parse_model
from dpjax.descriptors import Features, Neighborhood
from dpjax.errors import ConfigError
from dpjax.fittings import build_fitting
from dpjax.fittings.layers import layer_owners, trainable_layers
from tests.contracts.cases import model, se_atten, se_e2_a

DIM = 5
RNG = np.random.default_rng(0)


def fitting(**options):
    """A fitting with random statistics for descriptors of dimension 5."""
    net = build_fitting(parse_model(model(se_e2_a(), fitting=options)), SimpleNamespace(dim_out=DIM, dim_frame=0))
    variables = net.init(jax.random.key(0), method="init_parameters")
    stats = jax.tree.map(lambda x: jnp.asarray(RNG.uniform(0.5, 2.0, x.shape)), variables["stats"])
    return net, {"params": variables["params"], "stats": stats}


def energies(net, variables, centre: int, d, *parameters):
    """Of atoms of one type with descriptors ``d``."""
    view = Neighborhood(np.zeros((len(d), 1, 3)), np.zeros((len(d), 2)), nbrs=(1, 0), centre=centre)
    return net.apply(variables, view, Features(jnp.asarray(d)), *parameters)


def network(net, variables, centre: int, x):
    """The bare network of a type."""
    return net.apply(variables, jnp.asarray(x), method=lambda m, v: m.net[str(centre)](v))[:, 0]


def test_inputs_are_descriptor_then_normalised_parameters_then_case():
    net, variables = fitting(numb_fparam=2, numb_aparam=1, dim_case_embd=3)
    d, f, a, s = RNG.normal(size=(4, DIM)), RNG.normal(size=(4, 2)), RNG.normal(size=(4, 1)), variables["stats"]
    parts = [
        d,
        (f - s["fparam_avg"][None]) * s["fparam_inv_std"][None],
        (a - s["aparam_avg"][None]) * s["aparam_inv_std"][None],
    ]
    want = network(net, variables, 1, np.concatenate([*parts, np.tile(s["case_embd"], (4, 1))], axis=1))
    np.testing.assert_allclose(energies(net, variables, 1, d, f, a), want, rtol=1e-13)
    assert net.dim_extra == 6


def test_a_mask_parameter_does_not_enter_the_net():
    net, variables = fitting(numb_aparam=1, use_aparam_as_mask=True)
    d = RNG.normal(size=(4, DIM))
    given = [energies(net, variables, 0, d, None, np.full((4, 1), value)) for value in (0.0, 1.0)]
    np.testing.assert_array_equal(*given)
    assert net.dim_extra == 0


def test_a_given_atomic_energy_removes_the_networks_own():
    """An atom without neighbours (zero descriptor) then has the given energy exactly; other types are left alone."""
    net, variables = fitting(atom_ener=[-3.0, None], numb_fparam=1)
    zero, f = np.zeros((2, DIM)), RNG.normal(size=(2, 1))
    np.testing.assert_array_equal(energies(net, variables, 0, zero, f), 0.0)
    assert np.abs(energies(net, variables, 1, zero, f)).min() > 1e-3
    d = RNG.normal(size=(2, DIM))
    assert np.abs(energies(net, variables, 0, d, f)).min() > 1e-6


def test_every_type_has_its_own_network():
    net, variables = fitting()
    d = RNG.normal(size=(3, DIM))
    assert np.abs(energies(net, variables, 0, d) - energies(net, variables, 1, d)).min() > 1e-4


def config(**options):
    return parse_model(model(se_e2_a(), fitting=options)).fitting_net


def test_layers_of_one_name_share_parameters():
    options = {"neuron": [6, 6, 6, 6]}
    _, apart = fitting(**options)
    _, together = fitting(**options, layer_name=["a", "b", "b", "b", None])
    owners = layer_owners(config(**options, layer_name=["a", "b", "b", "b", None]))
    assert owners == (0, 1, 1, 1, 4)
    assert sorted(apart["params"]["net_0"]) == [f"layers_{i}" for i in range(5)]
    assert sorted(together["params"]["net_0"]) == ["layers_0", "layers_1", "layers_4"]


@pytest.mark.parametrize(
    ("neuron", "names", "message"),
    [
        (
            [6, 8, 8],
            [None, "b", "b", None],
            r"layers 1 and 2 share the name 'b' but not their shape \(neuron \[6, 8, 8\]\)",
        ),
        ([6, 6], ["a", "a", None], "layers 0 and 1"),  # the first layer takes the descriptor
        ([6, 1], [None, "c", "c"], "layers 1 and 2"),  # a hidden layer is no output layer
    ],
)
def test_layers_of_one_name_must_have_one_shape(neuron, names, message):
    with pytest.raises(ConfigError, match=f"model/fitting_net/layer_name: {message}"):
        layer_owners(config(neuron=neuron, layer_name=names))


def test_trainable_is_a_flag_for_each_layer():
    assert trainable_layers(config(neuron=[6, 6])) == [True] * 3
    assert trainable_layers(config(neuron=[6, 6], trainable=False)) == [False] * 3
    assert trainable_layers(config(neuron=[6, 6], trainable=[True, False, True])) == [True, False, True]


def test_one_network_for_all_types_loses_its_own_energy_of_an_atom_for_all_of_them():
    """As in the reference, where one ``atom_ener`` counts for all types; with networks per type each counts for its own."""
    section = model(se_atten(), fitting={"atom_ener": [-3.0, None]})
    net = build_fitting(parse_model(section), SimpleNamespace(dim_out=DIM, dim_frame=0))
    variables = net.init(jax.random.key(0), method="init_parameters")
    view = Neighborhood(np.zeros((2, 1, 3)), np.zeros((2, 1)), types=jnp.array([0, 1]), nbrs=(1,))
    alone = net.apply(variables, view, Features(jnp.zeros((2, DIM))))
    np.testing.assert_array_equal(alone, np.zeros(2))
    assert fitting(atom_ener=[-3.0, None])[0].fixed_energies() == (True, False)
