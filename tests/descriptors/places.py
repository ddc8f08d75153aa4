"""What the definitions written out place by place have in common: atoms with neighbours, the switch, networks.

Below the functions that all use stands the set-up of descriptors that tell types apart by vectors.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.config import parse_model
from dpjax.descriptors import Features, Neighborhood, build_descriptor

WIDTH, SEL = 11, 14
COUNT = np.array([0, 11, 3, 6, 1], np.int32)
TYPES = np.array([0, 1, 1, 0, 1], np.int32)


def displacements(rng: np.random.Generator, width: int) -> np.ndarray:
    """(5, width, 3) in all directions, 0.8 to 3.4 angstrom long."""
    disp = rng.normal(size=(5, width, 3))
    return disp * (rng.uniform(0.8, 3.4, (5, width, 1)) / np.linalg.norm(disp, axis=-1, keepdims=True))


def switch(r, on, off):
    u = np.clip((r - on) / (off - on), 0, 1)
    return u**3 * (-6 * u**2 + 15 * u - 10) + 1


def embed(params, x):
    """Residual tanh layers of rows (n, n_in)."""
    for i in range(len(params)):
        layer = params[f"layers_{i}"]
        y = np.tanh(x @ layer["matrix"] + layer["bias"][None]) * (layer["idt"][None] if "idt" in layer else 1.0)
        x = y + (x if y.shape == x.shape else np.tile(x, 2) if y.shape[1] == 2 * x.shape[1] else 0.0)
    return x


# --- types told apart by vectors ---------------------------------------------------------------------------------------------


def slots(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Displacements and types of the neighbours of five atoms with 0 to all neighbours; rubbish in unused slots."""
    rng = np.random.default_rng(seed)
    return displacements(rng, WIDTH), rng.integers(0, 2, (5, WIDTH)).astype(np.int32)


def seen(disp: jax.Array, kinds: np.ndarray, empty_kind: int | None = None) -> Neighborhood:
    """The five atoms as a descriptor is handed them."""
    empty = None if empty_kind is None else jnp.full(5, empty_kind)
    return Neighborhood(disp, COUNT[:, None], jnp.asarray(TYPES), jnp.asarray(kinds), empty, nbrs=(WIDTH,))


def compare(written_out: Callable, section: dict, whole: dict, empty_kind: int | None, **tolerances) -> Features:
    """Asserts that a descriptor with random statistics says what its definition, written out for one atom, says.

    Args:
        written_out: ``(cfg, variables, vectors, centre, disp, kinds, pair_exclude, empty_kind)`` -> values of one atom.
        section: of the model.
        whole: further options of the model.
        empty_kind: type whose vector empty places get; None: that of padding.
        tolerances: ``rtol`` and ``atol``.

    Returns:
        What the descriptor says.
    """
    config = parse_model(section | whole)
    descriptor = build_descriptor(config)
    variables = descriptor.init(jax.random.key(0), method="init_parameters")
    rng = np.random.default_rng(1)
    stats = {"davg": rng.normal(size=(2, 4)) / 5, "dstd": rng.uniform(0.3, 1.0, (2, 4))}
    variables = {"params": variables["params"], "stats": variables["stats"] | stats}
    vectors = np.asarray(descriptor.apply(variables, method=lambda m: m.type_embedding()))
    disp, kinds = slots()
    got = jax.jit(descriptor.apply)(variables, seen(jnp.asarray(disp), kinds, empty_kind))
    assert got.values.shape == (5, descriptor.dim_out)
    assert descriptor.dim_frame == (0 if got.frame is None else got.frame.shape[1])
    last, excluded = 2 if empty_kind is None else empty_kind, config.pair_exclude_types
    for i, n in enumerate(COUNT):
        want = written_out(config.descriptor, variables, vectors, TYPES[i], disp[i, :n], kinds[i, :n], excluded, last)
        np.testing.assert_allclose(got.values[i], want, **tolerances)
    return got
