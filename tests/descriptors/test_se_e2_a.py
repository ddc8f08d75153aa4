"""se_e2_a against its definition written out slot by slot, empty places included."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.config import parse_model
from dpjax.descriptors import Neighborhood, build_descriptor
from dpjax.errors import ConfigError
from tests.contracts.cases import model, se_e2_a
from tests.descriptors.places import displacements, embed, switch

N_SLOT = (7, 9)
SEL = (9, 12)


def slots(seed: int = 0):
    """Five atoms with 0 to all neighbours of each type; rubbish in unused slots."""
    disp = displacements(np.random.default_rng(seed), sum(N_SLOT))
    count = np.array([[0, 0], [7, 9], [3, 0], [0, 5], [2, 6]], np.int32)
    return disp, count


def written_out(cfg, variables, centre, disp, count, pair_exclude):
    """The definition: every one of ``sum(sel)`` places has a row of R and of G."""
    davg, dstd = (np.asarray(variables["stats"][k][centre]) for k in ("davg", "dstd"))
    silent = {frozenset(p) for p in cfg.exclude_types}
    moments, start = 0.0, 0
    for t, (width, places) in enumerate(zip(N_SLOT, cfg.sel)):
        near = [d for d in disp[start : start + count[t]] if np.linalg.norm(d) < cfg.rcut]
        start += width
        rows = np.zeros((places, 4))
        if {centre, t} not in [set(p) for p in pair_exclude]:
            for k, d in enumerate(near):
                r = np.linalg.norm(d) + cfg.env_protection
                s = switch(np.linalg.norm(d), cfg.rcut_smth, cfg.rcut) / r
                rows[k] = s * np.array([1.0, *(d / r)])
        rows = (rows - davg) / dstd
        if frozenset((centre, t)) in silent:
            rows[: len(near)] = 0.0
        key = f"embedding_{t}" if cfg.type_one_side else f"embedding_{centre}_{t}"
        moments = moments + rows.T @ embed(variables["params"][key], rows[:, :1])
    moments = moments / sum(cfg.sel)
    return (moments.T @ moments[:, : cfg.axis_neuron]).reshape(-1)


VARIANTS = {
    "plain": ({}, {}),
    "two sides": ({"type_one_side": False, "resnet_dt": True, "neuron": [3, 3, 6, 5]}, {}),
    "protected": ({"env_protection": 0.2}, {}),
    "excluded by the descriptor": ({"exclude_types": [[0, 1]], "type_one_side": False}, {}),
    "excluded by the model": ({}, {"pair_exclude_types": [[0, 1]]}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_definition_is_met(name):
    options, whole = VARIANTS[name]
    config = parse_model(model(se_e2_a(sel=list(SEL), **options), **whole))
    descriptor = build_descriptor(config)
    variables = descriptor.init(jax.random.key(0), method="init_parameters")
    rng = np.random.default_rng(1)
    stats = {"davg": rng.normal(size=(2, 4)), "dstd": rng.uniform(0.3, 1.0, (2, 4))}
    variables = {"params": variables["params"], "stats": stats}
    disp, count = slots()
    views = lambda d, c: [Neighborhood(d, c, nbrs=tuple(N_SLOT), centre=centre) for centre in range(2)]  # noqa: E731
    compute = jax.jit(lambda v, d, c: [descriptor.apply(v, view).values for view in views(d, c)])
    for centre, got in enumerate(compute(variables, jnp.asarray(disp), jnp.asarray(count))):
        assert got.shape == (5, descriptor.dim_out)
        for i in range(5):
            want = written_out(config.descriptor, variables, centre, disp[i], count[i], config.pair_exclude_types)
            np.testing.assert_allclose(got[i], want, rtol=1e-11, atol=1e-13)


def test_sel_must_be_numbers_by_now():
    with pytest.raises(ConfigError, match=r"model/descriptor/sel: found 'auto:1.3'"):
        build_descriptor(parse_model(model(se_e2_a(sel="auto:1.3"))))
