"""Vectors of charge and spin."""

from __future__ import annotations

import jax
import numpy as np

from dpjax.nn.charge_spin import ChargeSpinEmbedding


def made(width: int):
    net = ChargeSpinEmbedding(width, "tanh")
    params = net.init(jax.random.key(1), method=ChargeSpinEmbedding.init_parameters)["params"]
    return net, jax.tree.map(np.asarray, params)


def by_hand(params, charge: int, spin: int) -> np.ndarray:
    """The layer of two rows side by side; tables of a width of their length have a skip connection."""
    tables = [params[name]["layer"]["matrix"] for name in ("chg_embedding", "spin_embedding")]
    rows = []
    for table, index in zip(tables, (charge + 100, spin), strict=True):
        length, width = table.shape
        rows.append(table[index] + (np.tile(np.eye(length), width // length)[index] if width % length == 0 else 0))
    return np.tanh(np.concatenate(rows) @ params["mix_cs_mlp"]["matrix"] + params["mix_cs_mlp"]["bias"])


def test_every_charge_and_spin_has_a_vector_and_digits_are_cut_off():
    with jax.enable_x64(True):
        net, params = made(4)
        given = np.array([[-100.0, 0.0], [-100.9, -0.9], [99.9, 99.9], [99, 99], [-0.5, 1.5], [0, 1], [-1, 1]])
        found = np.asarray(net.apply({"params": params}, given))
    for row, numbers in zip(found, [(-100, 0)] * 2 + [(99, 99)] * 2 + [(0, 1)] * 2 + [(-1, 1)], strict=True):
        np.testing.assert_allclose(row, by_hand(params, *numbers), rtol=0, atol=1e-14)
    assert len(np.unique(found, axis=0)) == 4


def test_tables_as_wide_as_they_are_long_have_a_skip_connection():
    with jax.enable_x64(True):
        net, params = made(200)
        found = np.asarray(net.apply({"params": params}, np.array([[3.0, 7.0]])))
    np.testing.assert_allclose(found[0], by_hand(params, 3, 7), rtol=0, atol=1e-14)
    assert not np.allclose(found[0], by_hand(params, 4, 7))


def test_only_vectors_that_occur_have_a_slope():
    with jax.enable_x64(True):
        net, params = made(4)
        slope = jax.grad(lambda params: net.apply({"params": params}, np.array([[1.0, 2.0], [-3.0, 2.0]])).sum())(
            params
        )
    changed = [
        np.flatnonzero(np.any(slope[name]["layer"]["matrix"] != 0, axis=1)).tolist() for name in slope if "emb" in name
    ]
    assert changed == [[97, 101], [2]]
