"""The ``precision`` keys of the input language as dtypes.

``default`` is float64, as in the reference.  float64 needs ``jax_enable_x64``; dpjax's own doors (``evaluate``, ``train``, the
command line) switch it on locally, and :func:`require_x64` tells users of the functional core what to do.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import ParamSpec, TypeVar

import jax
import jax.numpy as jnp

from dpjax.errors import ConfigError, ModelError

P, R = ParamSpec("P"), TypeVar("R")

_DTYPES = {
    "default": jnp.float64,
    "float64": jnp.float64,
    "double": jnp.float64,
    "float32": jnp.float32,
    "float16": jnp.float16,
    "bfloat16": jnp.bfloat16,
}


def dtype_of(precision: str) -> jnp.dtype:
    """The dtype that a ``precision`` key names.

    Raises:
        ConfigError: for an unknown name.
    """
    try:
        return jnp.dtype(_DTYPES[precision.lower()])
    except KeyError:
        raise ConfigError(f"precision {precision!r} is unknown. Choose one of: {', '.join(_DTYPES)}.") from None


def require_x64(*dtypes: jnp.dtype) -> None:
    """Raise unless 64-bit types are on or none of ``dtypes`` needs them.

    Raises:
        ModelError: a float64 network would silently be evaluated in float32.
    """
    if jnp.dtype(jnp.float64) in map(jnp.dtype, dtypes) and not jax.config.jax_enable_x64:
        raise ModelError(
            "this model has float64 networks but JAX's 64-bit types are off, so they would silently become float32. "
            'Add `jax.config.update("jax_enable_x64", True)` before using the model, or wrap the call in '
            "`with jax.enable_x64(True):`."
        )


def with_all_digits(fn: Callable[P, R]) -> Callable[P, R]:
    """``fn`` with products of float32 matrices that keep all digits on accelerators, too, where JAX unasked leaves some out.

    A caller who has chosen, by ``jax.default_matmul_precision``, gets what was chosen.
    """

    @wraps(fn)
    def precise(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.default_matmul_precision(jax.config.jax_default_matmul_precision or "highest"):
            return fn(*args, **kwargs)

    return precise


def bfloat16_factors(wanted: bool) -> AbstractContextManager:
    """Within it, if ``wanted``, products of float32 matrices round factors to bfloat16 and add up in float32; derivatives, too."""
    return jax.default_matmul_precision("BF16_BF16_F32") if wanted else nullcontext()
