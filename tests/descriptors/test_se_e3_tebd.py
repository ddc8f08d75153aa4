"""se_e3_tebd against its definition written out place by place: every pair of ``sel`` places, empty ones included."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.config import parse_model
from dpjax.descriptors import Neighborhood, build_descriptor
from dpjax.descriptors.bands import band, band_number
from tests.contracts.cases import model, se_e3_tebd
from tests.descriptors.places import SEL, WIDTH, compare, embed, slots, switch


def written_out(cfg, variables, vectors, centre, disp, kinds, pair_exclude, empty_kind):
    """The definition: one row, type and switch for each of ``sel`` places, and a network for each ordered pair of them."""
    params, stats = variables["params"], variables["stats"]
    dist = np.linalg.norm(disp, axis=1)
    order = [k for k in np.argsort(dist) if dist[k] < cfg.rcut][: SEL_OF(cfg)]
    order = [k for k in order if {centre, kinds[k]} not in [set(p) for p in pair_exclude]]
    rows, types, weight = [], [], []
    for k in order:
        r = dist[k] + cfg.env_protection
        row = switch(dist[k], cfg.rcut_smth, cfg.rcut) * disp[k] / r**2
        silent = {centre, kinds[k]} in [set(p) for p in cfg.exclude_types]
        rows.append(0.0 * row if silent else (row - stats["davg"][centre, 1:]) / stats["dstd"][centre, 1:])
        types.append(kinds[k])
        weight.append(switch(dist[k], cfg.rcut_smth, cfg.rcut))
    for _ in range(SEL_OF(cfg) - len(order)):
        rows.append(-stats["davg"][centre, 1:] / stats["dstd"][centre, 1:])
        types.append(empty_kind)
        weight.append(0.0)
    total = 0.0
    for a, ta, wa in zip(rows, types, weight, strict=True):
        for b, tb, wb in zip(rows, types, weight, strict=True):
            c, pair = np.array([[a @ b]]), np.concatenate([vectors[ta], vectors[tb]])[None]
            if cfg.tebd_input_mode == "concat":
                value = embed(params["embedding"], np.concatenate([c, pair], axis=1))
            else:
                value = embed(params["embedding"], c)
                value = value * (1.0 + embed(params["type_pair_embedding"], pair) * (wa * wb if cfg.smooth else 1.0))
            total = total + c[0, 0] * value[0]
    out = total / SEL_OF(cfg) ** 2
    return np.concatenate([out, vectors[centre]]) if cfg.concat_output_tebd else out


def SEL_OF(cfg):
    return cfg.sel if isinstance(cfg.sel, int) else sum(cfg.sel)


VARIANTS = {
    "concat": ({}, {}),
    "concat, skip from the input": ({"neuron": [14, 14], "tebd_dim": 3, "resnet_dt": True}, {}),
    "concat, truncated": ({"sel": [3, 2]}, {}),
    "concat, protected": ({"env_protection": 0.2, "concat_output_tebd": False}, {}),
    "strip": ({"tebd_input_mode": "strip", "use_tebd_bias": True}, {}),
    "strip, even number of places": ({"tebd_input_mode": "strip", "sel": 5, "resnet_dt": True}, {}),
    "strip, not smooth": ({"tebd_input_mode": "strip", "smooth": False, "exclude_types": [[0, 1]]}, {}),
    "excluded by the descriptor": ({"exclude_types": [[0, 1]]}, {}),
    "excluded by the model": ({}, {"pair_exclude_types": [[0, 1]]}),
}


@pytest.mark.parametrize("empty_kind", [None, 1], ids=["corrected", "reference"])
@pytest.mark.parametrize("name", VARIANTS)
def test_the_definition_is_met(name, empty_kind):
    options, whole = VARIANTS[name]
    section = model(se_e3_tebd(**({"sel": SEL} | options)))
    got = compare(written_out, section, whole, empty_kind, rtol=1e-11, atol=1e-13)
    assert got.frame is None


def test_a_table_in_sections_by_type_gives_the_same():
    config = parse_model(model(se_e3_tebd()))
    descriptor = build_descriptor(config)
    variables = descriptor.init(jax.random.key(0), method="init_parameters")
    disp, _ = slots()
    count = np.array([[0, 0], [5, 6], [3, 2], [1, 0], [2, 4]], np.int32)
    sorted_view = Neighborhood(jnp.asarray(disp), count, nbrs=(5, 6), centre=1)
    kinds = np.repeat([[0] * 5 + [1] * 6], 5, axis=0)
    here = np.concatenate([np.arange(5)[None] < count[:, :1], np.arange(6)[None] < count[:, 1:]], axis=1)
    front = np.argsort(~here, axis=1, kind="stable")
    mixed_view = Neighborhood(
        jnp.asarray(np.take_along_axis(disp, front[..., None], 1)),
        count.sum(1, keepdims=True),
        np.full(5, 1),
        np.take_along_axis(kinds, front, 1),
        nbrs=(WIDTH,),
    )
    one, other = (descriptor.apply(variables, view).values for view in (sorted_view, mixed_view))
    np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_the_band_has_every_pair_once(n):
    codes = np.arange(n)[:, None] * n + np.arange(n)
    square = codes + codes.T + np.abs(np.subtract.outer(np.arange(n), np.arange(n))) * 1000.0
    rows = np.asarray(band(jnp.asarray(square)[None]))
    number = np.broadcast_to(band_number(n), rows.shape)
    found = {value: number[rows == value].sum() for value in np.unique(rows)}
    assert found == {value: np.sum(square == value) for value in np.unique(square)}
