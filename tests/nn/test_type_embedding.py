"""Type vectors and the electron configurations they may start from."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.config.elements import ELEMENTS
from dpjax.errors import ConfigError, ModelError
from dpjax.interop.type_embedding import read_type_embedding, write_type_embedding
from dpjax.nn.electrons import DIMENSION, configuration_vectors, electrons, spins
from dpjax.nn.type_embedding import TypeEmbedding, rows_of

# of the table in DeePMD-kit 3.2.0 (deepmd/utils/econf_embd.py) as int8, in the order of atomic numbers
REFERENCE_TABLE = "306fe19a29d49dbedebe1c8ee400eb89bd5ccbae623894269c3f62725fecbbc0"


def made(**options):
    net = TypeEmbedding(2, **options)
    params = net.init(jax.random.key(0), method=TypeEmbedding.init_parameters)["params"]
    return net, params, np.asarray(net.apply({"params": params}))


def test_all_elements_have_the_vectors_of_the_reference():
    table = np.stack([spins(symbol) for symbol in ELEMENTS])
    assert hashlib.sha256(table.astype(np.int8).tobytes()).hexdigest() == REFERENCE_TABLE


def test_electrons_add_up_to_the_atomic_number():
    assert [sum(electrons(symbol).values()) for symbol in ELEMENTS] == list(range(1, 119))
    assert electrons("Cr") | {} == electrons("Ar") | {"3d": 5, "4s": 1}


def test_no_element_no_configuration():
    with pytest.raises(ConfigError, match="'X1' is no element"):
        configuration_vectors(["O", "X1"])


@pytest.mark.parametrize("width", [2, 4, 8])
def test_one_hot_vectors_are_rows_of_the_matrix(width):
    """With the skip connection where the width is the number of types or twice it."""
    _, params, table = made(width=width, use_bias=True)
    skip = {2: np.eye(2), 4: np.concatenate([np.eye(2)] * 2, axis=1)}.get(width, 0.0)
    np.testing.assert_allclose(table[:2], params["layer"]["matrix"] + params["layer"]["bias"] + skip, rtol=1e-14)
    assert table.shape == (3, width) and not table[2].any()


def test_configurations_go_through_the_layer():
    _, params, table = made(width=4, type_map=("O", "Cu"), electronic=True)
    assert params["layer"]["matrix"].shape == (DIMENSION, 4) and "bias" not in params["layer"]
    np.testing.assert_allclose(table[:2], configuration_vectors(["O", "Cu"]) @ params["layer"]["matrix"], rtol=1e-12)


def test_padding_takes_the_last_row():
    table = jnp.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(rows_of(table, jnp.array([[0, -1], [1, -1]])), [[[0, 1], [4, 5]], [[2, 3], [4, 5]]])


def test_weights_go_out_and_come_back():
    config = SimpleNamespace(tebd_dim=3, use_econf_tebd=False, use_tebd_bias=True, precision="default", trainable=True)
    _, params, _ = made(width=3, use_bias=True)
    tree = write_type_embedding(config, ("O", "H"), params)
    back = read_type_embedding(tree)
    assert jax.tree.all(jax.tree.map(np.array_equal, back, dict(params)))
    with pytest.raises(ModelError, match="one linear layer"):
        read_type_embedding(tree | {"padding": False})
