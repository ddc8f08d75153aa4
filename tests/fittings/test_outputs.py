"""Fittings beside energies: what they make of the networks' numbers, and what the statistics of the data add."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.config import parse_model
from dpjax.descriptors import Features, Neighborhood
from dpjax.fittings import build_fitting
from tests.contracts.cases import model, se_atten, se_e2_a

DIM, VECTORS, N = 5, 3, 6
RNG = np.random.default_rng(0)
D, R = RNG.normal(size=(N, DIM)), RNG.normal(size=(N, VECTORS, 3))
TYPES = np.array([0, 1, 1, 0, 1, 0])


def fitting(mixed: bool, **options):
    """A fitting with random statistics, and its variables."""
    section = model(se_atten() if mixed else se_e2_a(), fitting=options)
    net = build_fitting(parse_model(section), SimpleNamespace(dim_out=DIM, dim_frame=VECTORS))
    variables = net.init(jax.random.key(0), method="init_parameters")
    stats = jax.tree.map(lambda x: jnp.asarray(RNG.uniform(0.5, 2.0, x.shape)), variables["stats"])
    return net, {"params": variables["params"], "stats": stats}


def evaluated(net, variables, mixed: bool, out_bias, out_std) -> tuple[np.ndarray, np.ndarray]:
    """Values of all atoms and what the networks gave for them, in the order of TYPES."""
    parts = [np.arange(N)] if mixed else [np.flatnonzero(TYPES == t) for t in range(2)]
    values, numbers = {}, {}
    for t, own in enumerate(parts):
        kind = {"types": TYPES[own]} if mixed else {"centre": t}
        view = Neighborhood(np.zeros((len(own), 1, 3)), np.zeros((len(own), 2)), nbrs=(1, 0), **kind)
        features = Features(jnp.asarray(D[own]), jnp.asarray(R[own]))

        def run(module, view=view, features=features):
            return module.shifted(module(view, features), view, out_bias, out_std)

        def bare(module, view=view, features=features):
            return module.network_values(view, features, None, None)

        for of, method in ((values, run), (numbers, bare)):
            of.update(zip(own, np.asarray(net.apply(variables, method=method)), strict=True))
    return np.stack([values[i] for i in range(N)]), np.stack([numbers[i] for i in range(N)])


@pytest.fixture(params=[False, True], ids=["net per type", "one net"])
def mixed(request) -> bool:
    return request.param


def statistics(size: int) -> tuple[np.ndarray, np.ndarray]:
    return RNG.normal(size=(2, size)), RNG.uniform(0.5, 2.0, (2, size))


def test_density_of_states_has_a_bias_of_each_type(mixed):
    net, variables = fitting(mixed, type="dos", numb_dos=4)
    bias, spread = statistics(4)
    values, numbers = evaluated(net, variables, mixed, bias, spread)
    np.testing.assert_allclose(values, numbers + (variables["stats"]["bias_atom_e"] + bias)[TYPES], rtol=1e-13)


@pytest.mark.parametrize("distinguish", [True, False])
def test_a_property_is_in_units_of_its_spread(mixed, distinguish):
    net, variables = fitting(mixed, type="property", property_name="gap", task_dim=2, distinguish_types=distinguish)
    bias, spread = statistics(2)
    values, numbers = evaluated(net, variables, mixed, bias, spread)
    of = TYPES if distinguish else np.zeros(N, int)
    want = (numbers + variables["stats"]["bias_atom_e"][TYPES]) * spread[of] + bias[of]
    np.testing.assert_allclose(values, want, rtol=1e-13)


def test_a_dipole_is_a_sum_of_vectors(mixed):
    net, variables = fitting(mixed, type="dipole")
    values, numbers = evaluated(net, variables, mixed, *statistics(3))
    want = np.einsum("nm,nma->na", numbers + variables["stats"]["bias_atom_e"][TYPES], R)
    np.testing.assert_allclose(values, want, rtol=1e-12)


@pytest.mark.parametrize("fit_diag", [True, False])
@pytest.mark.parametrize(("scale", "factors"), [(1.5, [1.5, 1.5]), ([2.0, 0.5], [2.0, 0.5])])
def test_a_polarizability_is_symmetric_scaled_and_shifted(mixed, fit_diag, scale, factors):
    net, variables = fitting(mixed, type="polar", fit_diag=fit_diag, scale=scale)
    bias, spread = statistics(9)
    values, numbers = evaluated(net, variables, mixed, bias, spread)
    coefficients, factors = numbers + variables["stats"]["bias_atom_e"][TYPES], np.array(factors)
    if fit_diag:
        raw = np.einsum("nm,nma,nmb->nab", coefficients, R, R)
    else:
        matrix = coefficients.reshape(N, VECTORS, VECTORS)
        raw = np.einsum("nma,nmk,nkb->nab", R, (matrix + matrix.transpose(0, 2, 1)) / 2, R)
    shift = np.asarray(variables["stats"]["constant_matrix"]) + bias.reshape(2, 3, 3).trace(axis1=1, axis2=2) / 3
    want = factors[TYPES][:, None, None] * (raw + shift[TYPES][:, None, None] * np.eye(3))
    np.testing.assert_allclose(values, want, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(values, values.transpose(0, 2, 1), atol=1e-13)


def test_without_shift_the_bias_of_a_polarizability_is_left_out(mixed):
    net, variables = fitting(mixed, type="polar", shift_diag=False)
    first, second = (evaluated(net, variables, mixed, *statistics(9))[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
