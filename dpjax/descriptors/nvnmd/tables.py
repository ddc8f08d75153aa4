"""Tables of a quantised descriptor from the parameters and statistics of the continuous one.

Between two nodes a function is the cubic polynomial with its values and slopes there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.descriptors.nvnmd.quantized import TABLE_ROWS, QuantizedSeAtten, QuantizedSeE2A
from dpjax.geometry.environment import switch_weight

REACH = 64.0  # squares of distances up to which there are rows, angstrom^2
SPAN, FINE_SPAN = 16.0, 1.0  # of the inputs of embeddings, and the part of it that has finer rows
NEAREST = 0.5  # angstrom, below which distances may count as that


def tables_of(descriptor: QuantizedSeE2A | QuantizedSeAtten, nearest: float) -> dict[str, np.ndarray]:
    """The tables of a bound descriptor by the names of its statistics.

    Args:
        descriptor: with the parameters and statistics of the continuous model.
        nearest: smallest distance of two atoms of the data, angstrom; 0 where it is not known.
    """
    build = _mixed if isinstance(descriptor, QuantizedSeAtten) else _by_type
    return {name: np.asarray(value) for name, value in build(descriptor, nearest).items()}


def _by_type(descriptor: QuantizedSeE2A, nearest: float) -> dict[str, np.ndarray]:
    davg, dstd = (np.asarray(stat.value, np.float64) for stat in (descriptor.davg, descriptor.dstd))
    start = np.floor(np.min(-davg[:, 0] / dstd[:, 0]) * 256.0 - 1.0) / 256.0
    radial = [_radial_rows(descriptor.config, nearest, a, d) for a, d in zip(davg, dstd, strict=True)]
    networks = [descriptor.embedding[descriptor.network_key(0, t)] for t in range(descriptor.n_type)]
    embedding = [embedding_rows(lambda x, net=net: net(x[:, None]), start) for net in networks]
    return _joined(radial, embedding, start)


def _mixed(descriptor: QuantizedSeAtten, nearest: float) -> dict[str, np.ndarray]:
    dstd = np.asarray(descriptor.dstd.value, np.float64)
    radial = [_radial_rows(descriptor.config, nearest, np.zeros(2), np.ones(2))]
    embedding = [embedding_rows(lambda x: descriptor.embedding.network(x[:, None]), 0.0)]
    vectors = descriptor.type_embedding()
    count = vectors.shape[0]
    centre, neighbor = (
        jnp.asarray(x.reshape(-1)) for x in np.meshgrid(np.arange(count), np.arange(count), indexing="ij")
    )
    pairs = jnp.concatenate([vectors[neighbor], vectors[centre]], axis=1)
    return _joined(radial, embedding, 0.0) | {
        "type_vectors": vectors,
        "pair_factors": 1.0 + descriptor.embedding.type_network(pairs),
        "dstd_inverse": 1.0 / dstd[:, :2],
    }


def _joined(radial: list[np.ndarray], embedding: list[np.ndarray], start: float) -> dict[str, np.ndarray]:
    """Lists of (values, slopes), and where their rows lie."""
    step, half = REACH / TABLE_ROWS, TABLE_ROWS // 2
    fine = [start, start + FINE_SPAN, FINE_SPAN / half, 0, half]
    return {
        "radial_values": np.stack([values for values, _ in radial]),
        "radial_slopes": np.stack([slopes for _, slopes in radial]),
        "radial_intervals": np.array([[0.0, REACH, step, 0, TABLE_ROWS]]),
        "embedding_values": np.stack([values for values, _ in embedding]),
        "embedding_slopes": np.stack([slopes for _, slopes in embedding]),
        "embedding_intervals": np.array([fine, [start, start + SPAN, SPAN / half, half, TABLE_ROWS]]),
    }


def cubic_rows(values: np.ndarray, slopes: np.ndarray, width: float) -> np.ndarray:
    """(n - 1, m, 4) coefficients, of the cube first, between nodes at equal distances ``width``, from (n, m) numbers."""
    y0, y1, d0, d1 = values[:-1], values[1:], slopes[:-1], slopes[1:]
    a = (width * d1 - 2 * y1 + width * d0 + 2 * y0) / width**3
    b = (3 * y1 - width * d1 - 2 * width * d0 - 3 * y0) / width**2
    return np.stack([a, b, d0, y0], axis=-1)


def derivatives(function: Callable[[jax.Array], jax.Array], nodes: np.ndarray) -> list[np.ndarray]:
    """A function (n,) -> (n, m) at nodes, its first and its second derivative, each (n, m)."""

    def slope(f: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
        return jax.jvp(f, (x,), (jnp.ones_like(x),))[1]

    first = partial(slope, function)
    second = partial(slope, first)
    return [np.array(f(jnp.asarray(nodes))) for f in (function, first, second)]


def embedding_rows(network: Callable[[jax.Array], jax.Array], start: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows of an embedding net (n,) -> (n, m) and of its slope, each (512, m, 4): fine ones for 1 unit, then coarse ones for 16."""
    nodes = SPAN * (np.arange(4097) / 4096) + start
    fine, coarse = slice(0, 257), slice(0, 4097, 16)
    y, first, second = derivatives(network, nodes)
    half = TABLE_ROWS // 2
    widths = ((fine, FINE_SPAN / half), (coarse, SPAN / half))
    return tuple(
        np.concatenate([cubic_rows(f[part], df[part], width) for part, width in widths])
        for f, df in ((y, first), (first, second))
    )


def _radial_rows(config: Any, nearest: float, davg: np.ndarray, dstd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of s and h as functions of the squared distance, and of their slopes, each (512, 2, 4).

    Args:
        config: hyper-parameters with ``rcut`` and ``rcut_smth``.
        nearest: smallest distance of two atoms, angstrom; 0 where it is not known.
        davg, dstd: statistics of one type of the centre, at least the first two columns.
    """
    known = nearest if nearest > 1e-6 else config.rcut_smth
    least = NEAREST if known > NEAREST else known - 0.1

    def columns(square: jax.Array) -> jax.Array:
        r = jnp.sqrt(square)
        held = jnp.where(r < least, least, jnp.where(r > config.rcut, config.rcut, r))
        s = switch_weight(r, config.rcut_smth, config.rcut) / held
        return jnp.stack([(s - davg[0]) / dstd[0], s / held / dstd[1]], axis=1)

    nodes = REACH * (np.arange(TABLE_ROWS + 1) / TABLE_ROWS)
    y, first, second = derivatives(columns, nodes)
    for f in (y, first, second):  # at the centre itself, where empty places are put
        f[0] = 0.0
    y[0, 0] = -davg[0] / dstd[0]
    width = REACH / TABLE_ROWS
    return cubic_rows(y, first, width), cubic_rows(first, second, width)
