"""Precision keys."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from dpjax.errors import ConfigError, ModelError
from dpjax.nn.precision import dtype_of, require_x64


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("default", jnp.float64), ("double", jnp.float64), ("Float32", jnp.float32), ("bfloat16", jnp.bfloat16)],
)
def test_keys_name_dtypes(name, dtype):
    assert dtype_of(name) == dtype


def test_an_unknown_key_lists_the_known_ones():
    with pytest.raises(ConfigError, match="'float8'.*default, float64"):
        dtype_of("float8")


def test_float64_needs_64_bit_types():
    require_x64(jnp.float64)  # on in these tests
    with jax.enable_x64(False):
        require_x64(jnp.float32, jnp.bfloat16)
        with pytest.raises(ModelError, match=r'jax\.config\.update\("jax_enable_x64", True\)'):
            require_x64(jnp.float32, jnp.float64)
