"""Pair tables in programs: their ends, the soft minimum, and what is said of ensembles of types."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dpjax
from dpjax.errors import ConfigError, DataError, ModelError
from dpjax.formats.pair_table import pair_table
from dpjax.interfaces.ase import DPCalculator
from dpjax.models.pair_table import pair_energies, soft_minimum
from tests.contracts.cases import dpa3, linear, model, pairtab, se_atten, se_e2_a

ROWS = np.array([[0.5, 4.0, 3.0, 2.0], [1.0, 2.0, 1.5, 1.0], [1.5, 1.0, 0.5, 0.4], [2.0, 0.0, 0.0, 0.0]])


def energies(distance, here=0, there=1):
    table = pair_table(ROWS, 2)
    types = [jnp.full(np.shape(distance), t) for t in (here, there)]
    return pair_energies(jnp.asarray(distance), *types, table.pieces, jnp.array(table.start), jnp.array(table.spacing))


def test_the_energy_is_that_of_the_rows_and_its_ends_are_as_documented():
    with jax.enable_x64(True):
        np.testing.assert_allclose(energies(ROWS[:, 0]), ROWS[:, 2], atol=1e-14)
        np.testing.assert_array_equal(energies(np.array([2.0, 2.3, 9.0])), 0.0)
        np.testing.assert_array_equal(energies(np.array([0.0, 0.3, 0.5])), 3.0)
        slope = jax.vmap(jax.grad(lambda r: energies(r[None])[0]))(jnp.array([0.0, 0.3, 0.5, 0.7, 1.9, 2.0, 3.0]))
    assert np.all(np.isfinite(slope))
    np.testing.assert_allclose(slope[jnp.array([0, 1, 2, 5, 6])], 0.0, atol=1e-14)
    assert np.all(slope[3:5] < 0)


@pytest.mark.parametrize("clamped", [True, False])
def test_the_soft_minimum(clamped):
    distance = np.array([[1.0, 2.0, 5.0], [3.0, 1.5, 1.0], [7.0, 7.5, 1.0]])
    mask = np.array([[True, True, True], [True, True, False], [True, True, False]])
    with jax.enable_x64(True):
        found = np.asarray(soft_minimum(jnp.asarray(distance), jnp.asarray(mask), 0.1, clamped=clamped))
        none = soft_minimum(jnp.ones((1, 2)), jnp.zeros((1, 2), bool), 0.1, clamped=clamped)
        slope = jax.jacrev(lambda d: soft_minimum(d, jnp.asarray(mask), 0.1, clamped=clamped))(jnp.asarray(distance))
    weights = np.exp(-(distance - 1.0) / 0.1) * mask
    want = (weights * distance).sum(1) / weights.sum(1)
    np.testing.assert_allclose(found[:2], want[:2], atol=1e-13)
    # all neighbours far away: DeePMD-kit's quotient falls to zero, the other is exact
    np.testing.assert_allclose(found[2], 0.0 if clamped else want[2], atol=1e-9)
    assert np.isinf(none[0]) and np.all(np.isfinite(slope))


def test_the_ase_calculator_refuses_atoms_below_the_table():
    ase = pytest.importorskip("ase")
    atoms = ase.Atoms("OH", [[0, 0, 0], [0.2, 0, 0]])
    atoms.calc = DPCalculator(dpjax.build(pairtab(type_map=["O", "H"])))
    with pytest.raises(DataError, match="two atoms are 0.2 angstrom apart, .* begins at 0.3"):
        atoms.get_potential_energy()


def test_a_sum_has_no_features():
    pot = dpjax.build(linear(pairtab()))
    with pytest.raises(ModelError, match="is made of parts and has no descriptor of its own"):
        pot.descriptor(np.zeros((1, 1, 3)), [0])


def test_messages_beside_networks_per_type_are_refused():
    with pytest.raises(ConfigError, match=r"model/models: found dpa3 in models/0, .* beside se_e2_a in models/1"):
        dpjax.build(linear(model(dpa3()), model(se_e2_a())))


def test_parts_without_seeds_are_not_alike():
    one = model(se_atten())
    one["descriptor"].pop("seed")
    one["fitting_net"].pop("seed")
    params = dpjax.build(linear(one, one)).variables["params"]
    first, second = (jax.tree.leaves(params[name]) for name in ("parts_0", "parts_1"))
    assert any(np.any(a != b) for a, b in zip(first, second, strict=True))


def test_parts_of_a_sum_may_be_named():
    pot = dpjax.build(linear() | {"models": {"near": pairtab(), "net": model(se_atten())}})
    assert [name for name, _ in pot.config.named] == ["near", "net"]
    with pytest.raises(DataError, match="^model/models/near/tab_file: none.tab"):
        dpjax.build(linear() | {"models": {"near": pairtab(tab_file="none.tab")}})
