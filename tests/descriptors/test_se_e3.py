"""se_e3 against its definition written out place by place and pair by pair, empty places included."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.config import parse_model
from dpjax.descriptors import Neighborhood, build_descriptor
from dpjax.descriptors.se_e3 import own_products
from dpjax.errors import ModelError
from dpjax.interop import read_model, write_model
from tests.contracts.cases import model, potential, se_e3
from tests.descriptors.places import embed, switch
from tests.descriptors.test_se_e2_a import N_SLOT, SEL, slots


def written_out(cfg, variables, centre, disp, count, silent):
    """The definition: every one of ``sum(sel)`` places has an angular row, and every pair of places is embedded."""
    dstd = np.asarray(variables["stats"]["dstd"][centre, 1:])
    rows, start = [], 0
    for t, (width, places) in enumerate(zip(N_SLOT, cfg.sel)):
        near = [d for d in disp[start : start + count[t]] if np.linalg.norm(d) < cfg.rcut]
        start += width
        own = np.zeros((places, 3))
        for k, d in enumerate(near if {centre, t} not in silent else []):
            r = np.linalg.norm(d)
            own[k] = switch(r, cfg.rcut_smth, cfg.rcut) * d / (r + cfg.env_protection) ** 2
        rows.append(own / dstd)
    total = 0.0
    for s, t in ((0, 0), (0, 1), (1, 1)):
        products = (rows[s] @ rows[t].T).reshape(-1, 1)
        total += (
            (products * embed(variables["params"][f"embedding_{s}_{t}"], products)).sum(axis=0)
            / len(rows[s])
            / len(rows[t])
        )
    return total


VARIANTS = {
    "plain": ({}, {}),
    "deeper": ({"resnet_dt": True, "neuron": [3, 3, 6, 5]}, {}),
    "protected": ({"env_protection": 0.2}, {}),
    "excluded by the descriptor": ({"exclude_types": [[0, 1]]}, {}),
    "excluded by the model": ({}, {"pair_exclude_types": [[0, 1]]}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_definition_is_met(name):
    options, whole = VARIANTS[name]
    config = parse_model(model(se_e3(sel=list(SEL), **options), **whole))
    descriptor = build_descriptor(config)
    variables = descriptor.init(jax.random.key(0), method="init_parameters")
    rng = np.random.default_rng(1)
    stats = {"davg": rng.normal(size=(2, 4)) * [1, 0, 0, 0], "dstd": rng.uniform(0.3, 1.0, (2, 4))}
    variables = {"params": variables["params"], "stats": stats}
    disp, count = slots()
    views = lambda d, c: [Neighborhood(d, c, nbrs=tuple(N_SLOT), centre=centre) for centre in range(2)]  # noqa: E731
    compute = jax.jit(lambda v, d, c: [descriptor.apply(v, view) for view in views(d, c)])
    silent = [set(p) for p in (*config.descriptor.exclude_types, *config.pair_exclude_types)]
    for centre, got in enumerate(compute(variables, jnp.asarray(disp), jnp.asarray(count))):
        assert got.values.shape == (5, descriptor.dim_out) and got.frame is None
        for i in range(5):
            want = written_out(config.descriptor, variables, centre, disp[i], count[i], silent)
            np.testing.assert_allclose(got.values[i], want, rtol=1e-11, atol=1e-13)


def test_each_pair_of_one_type_is_embedded_once():
    rows = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 5)))
    products, number = own_products(rows)
    assert products.shape == (2, 15)
    want = np.einsum("ndj,ndk->njk", rows, rows)
    np.testing.assert_allclose((products * number).sum(axis=1), want.sum(axis=(1, 2)), rtol=1e-13)


def test_networks_that_are_never_asked_are_kept():
    pot = potential(model(se_e3()))
    _, variables = read_model(write_model(pot.config, pot.variables))
    ours, theirs = (v["params"]["descriptor"] for v in (pot.variables, variables))
    assert sorted(theirs) == [f"embedding_{s}_{t}" for s in range(2) for t in range(2)]
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_angular_mean_is_refused():
    pot = potential(model(se_e3()))
    tree = write_model(pot.config, pot.variables)
    tree["model"]["descriptor"]["@variables"]["davg"][..., 2] = 0.1
    with pytest.raises(ModelError, match="descriptor/davg: an angular column has a mean"):
        read_model(tree)
