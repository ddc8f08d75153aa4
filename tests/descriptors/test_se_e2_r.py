"""se_e2_r against its definition written out place by place, empty places included."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.config import parse_model
from dpjax.descriptors import Neighborhood, build_descriptor
from dpjax.descriptors.neighborhood import Listing
from dpjax.nn.chebyshev import Grid
from tests.contracts.cases import model, se_e2_r
from tests.descriptors.places import embed, switch
from tests.descriptors.test_se_e2_a import N_SLOT, SEL, slots


def written_out(cfg, variables, centre, disp, count, pair_exclude):
    """The definition: every one of ``sum(sel)`` places is embedded."""
    davg, dstd = (np.asarray(variables["stats"][k][centre, 0]) for k in ("davg", "dstd"))
    silent, excluded = ([set(p) for p in pairs] for pairs in (pair_exclude, cfg.exclude_types))
    total, start = 0.0, 0
    for t, (width, places) in enumerate(zip(N_SLOT, cfg.sel)):
        near = [np.linalg.norm(d) for d in disp[start : start + count[t]]]
        start += width
        if {centre, t} in excluded and not cfg.type_one_side:
            continue  # there is no network for this pair
        inside = [r for r in near if r < cfg.rcut] if {centre, t} not in silent else []
        radial = np.zeros(places)
        radial[: len(inside)] = [switch(r, cfg.rcut_smth, cfg.rcut) / (r + cfg.env_protection) for r in inside]
        radial = (radial - davg) / dstd
        if {centre, t} in excluded:
            radial[: len(inside)] = 0.0
        key = f"embedding_{t}" if cfg.type_one_side else f"embedding_{centre}_{t}"
        total = total + embed(variables["params"][key], radial[:, None]).sum(axis=0)
    return total / sum(cfg.sel) / 5.0


VARIANTS = {
    "plain": ({}, {}),
    "two sides": ({"type_one_side": False, "resnet_dt": True, "neuron": [3, 3, 6, 5]}, {}),
    "protected": ({"env_protection": 0.2}, {}),
    "excluded by the descriptor": ({"exclude_types": [[0, 1]]}, {}),
    "excluded by the descriptor, two sides": ({"exclude_types": [[0, 1]], "type_one_side": False}, {}),
    "excluded by the model": ({}, {"pair_exclude_types": [[0, 1]]}),
}


def prepared(options, whole):
    """Descriptor and random variables."""
    config = parse_model(model(se_e2_r(sel=list(SEL), **options), **whole))
    descriptor = build_descriptor(config)
    variables = descriptor.init(jax.random.key(0), method="init_parameters")
    rng = np.random.default_rng(1)
    stats = {"davg": rng.normal(size=(2, 1)), "dstd": rng.uniform(0.3, 1.0, (2, 1))}
    return config, descriptor, {"params": variables["params"], "stats": stats}


@pytest.mark.parametrize("series", [False, True], ids=["networks", "series"])
@pytest.mark.parametrize("name", VARIANTS)
def test_the_definition_is_met(name, series):
    config, descriptor, variables = prepared(*VARIANTS[name])
    disp, count = slots()

    def compute(variables, disp, count):
        expansion = None
        if series:
            expansion = descriptor.apply(variables, jnp.array(0.8), Grid(8, 4, 8), method="expand")
        views = [Neighborhood(disp, count, nbrs=tuple(N_SLOT), centre=centre) for centre in range(2)]
        return [descriptor.apply(variables, view, expansion) for view in views]

    for centre, got in enumerate(jax.jit(compute)(variables, jnp.asarray(disp), jnp.asarray(count))):
        assert got.values.shape == (5, descriptor.dim_out) and got.frame is None
        for i in range(5):
            want = written_out(config.descriptor, variables, centre, disp[i], count[i], config.pair_exclude_types)
            np.testing.assert_allclose(got.values[i], want, rtol=1e-11, atol=1e-13)


def test_neighbours_of_a_shared_list_beyond_the_own_cutoff_are_like_empty_places():
    """Unless they are excluded: then they are there, with s = 0."""
    disp, count = slots()
    for options, alike in (({}, True), ({"exclude_types": [[0, 1]]}, False)):
        _, descriptor, variables = prepared({"rcut": 2.0, **options}, {})
        alone = Neighborhood(disp, count, nbrs=tuple(N_SLOT), centre=0)
        compute = jax.jit(lambda v, view, d=descriptor: d.apply(v, view).values)
        own, shared = (compute(variables, view) for view in (alone, alone.replace(shared=Listing(3.5, 21))))
        assert np.allclose(own, shared, rtol=0, atol=1e-13) is alike
