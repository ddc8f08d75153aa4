"""The tables of a model, from its networks: configuration and variables of the compressed model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from dpjax.compress.checks import check_compressible, check_options
from dpjax.compress.ranges import input_range, nearest_covered
from dpjax.compress.series import with_series
from dpjax.config import ModelConfig
from dpjax.config.models.compress import Compression
from dpjax.descriptors import Hybrid, SeAtten, SeE3, SeE3Tebd, se_e3_tebd
from dpjax.errors import ModelError
from dpjax.models import build_model
from dpjax.nn import pair_embedding
from dpjax.nn.dense import DenseStack, in_double
from dpjax.nn.table import COARSE, COLLECTION, PLACES, Table, reach, tabulate

LARGEST = 4e9  # bytes of all tables of a model
Tree = dict[str, Any]


class _Network(NamedTuple):
    """A network that becomes a table."""

    path: tuple[str, ...]  # below the descriptor's variables
    stack: DenseStack
    centres: tuple[int, ...]  # types of the centres that use it
    in_sums: bool  # whether its embeddings are summed over neighbours, so that series may stand for it


def compressed(config: ModelConfig, variables: Tree, options: Compression) -> tuple[ModelConfig, Tree]:
    """A model with tables in the place of its embedding networks.

    Args:
        config, variables: of the model.
        options: of the tables; ``nearest`` is found here.

    Returns:
        The configuration, which says how the tables were made, and the variables, with the tables as a collection of their own.

    Raises:
        ModelError: what :func:`~dpjax.compress.checks.check_compressible` refuses; options out of range; tables that would be too
            large.
    """
    check_compressible(config)
    with jax.enable_x64(True):
        model = build_model(config)
        check_options(options, model.rcut)
        bound = model.bind(jax.tree.map(jnp.asarray, variables))
        params, tables, nearest = _copied(variables["params"]), {}, []
        _check_size(config, bound.descriptor, variables["stats"]["descriptor"], options)
        for path, module, stats in _members(bound.descriptor, variables["stats"]["descriptor"]):
            ends = _tabulate_member(module, path, stats, options, params, tables)
            nearest.append(nearest_covered(module.config, stats, ends))
    options = replace(options, nearest=tuple(float(r) for r in np.max(nearest, axis=0)))
    raw = {**config.raw, "compress": options.to_section()}
    tables = jax.tree.map(np.asarray, tables)
    return replace(config, compress=options, raw=raw), {**variables, "params": params, COLLECTION: tables}


def _members(descriptor: nn.Module, stats: Tree) -> Iterator[tuple[tuple[str, ...], nn.Module, Tree]]:
    """Path of the variables, module and statistics of each descriptor."""
    if not isinstance(descriptor, Hybrid):
        yield ("descriptor",), descriptor, stats
        return
    for i, member in enumerate(descriptor.members):
        yield ("descriptor", f"members_{i}"), member, stats[f"members_{i}"]


def _networks(module: nn.Module) -> list[_Network]:
    """The networks of a descriptor that are asked."""
    every = tuple(range(module.n_type))
    if isinstance(module, SeE3Tebd):
        return [_Network(("embedding",), module.embedding, every, False)]
    if isinstance(module, SeAtten):
        few = module.n_type <= pair_embedding.FEW_TYPES
        return [_Network(("embedding", "network"), module.embedding.network, every, few)]
    keys = [
        (s, t) for s in range(module.n_side) for t in range(module.n_type) if not isinstance(module, SeE3) or s <= t
    ]
    one_for_all = isinstance(module, SeE3) or module.n_side == 1
    return [
        _Network(
            (f"embedding_{module.network_key(s, t)}",),
            module.embedding[module.network_key(s, t)],
            every if one_for_all else (s,),
            not isinstance(module, SeE3),
        )
        for s, t in keys
    ]


def _range_of(
    module: nn.Module, network: _Network, stats: Tree, options: Compression
) -> tuple[float, float, float, tuple]:
    """Where data lie, the step there, and where the table ends."""
    lower, upper = (
        values[list(network.centres)] for values in input_range(module.config, stats, options.min_nbor_dist)
    )
    low, high = float(lower.min()), float(upper.max())
    angles = isinstance(
        module, (SeE3, SeE3Tebd)
    )  # whose inputs are squares, and steps ten times as long, as in DeePMD-kit
    step = options.step * (COARSE if angles else 1)
    return low, high, step, (options.extrapolate * low if angles else low, max(high, options.extrapolate * high))


def _check_size(config: ModelConfig, descriptor: nn.Module, stats: Tree, options: Compression) -> None:
    size = 0.0
    for _, module, own in _members(descriptor, stats):
        for network in _networks(module):
            low, high, step, (first, last) = _range_of(module, network, own, options)
            nodes = (high - low) / step + (last - high + low - first) / (COARSE * step)
            size += 3 * nodes * module.config.neuron[-1] * jnp.dtype(module.dtype).itemsize
    if size > LARGEST:
        raise ModelError(
            f"step {options.step:g}: the tables would take {size / 1e9:.1f} GB, more than {LARGEST / 1e9:g}. Choose a larger step "
            "or a smaller extrapolate, or train with type_one_side true, which needs fewer networks."
        )


def _tabulate_member(
    module: nn.Module, path: tuple, stats: Tree, options: Compression, params: Tree, tables: Tree
) -> np.ndarray:
    """Move the networks of one descriptor out of ``params`` and their tables into ``tables``.

    Returns:
        (n_type,) where the tables end, by type of the centre.
    """
    dtype, ends = jnp.dtype(module.dtype), np.full(module.n_type, np.inf)
    networks, exact = _networks(module), []
    for network in networks:
        low, high, step, outer = _range_of(module, network, stats, options)
        double = in_double(network.stack)
        function = Partial(_of_numbers, Partial(double.func, *double.args))
        exact.append(tabulate(function, low, high, step, outer))
    if all(network.in_sums for network in networks):
        exact = with_series(exact, dtype)
    for network, table in zip(networks, exact, strict=True):
        own = list(network.centres)
        ends[own] = np.minimum(ends[own], reach(table)[1])
        _put(tables, (*path, *network.path), _stored(table, dtype))
    kept = _at(params, path)
    if isinstance(module, SeAtten):
        factors = module.embedding.factors(module.type_table())
        _put(tables, (*path, "embedding"), {pair_embedding.FACTORS: factors})
    if isinstance(module, SeE3Tebd):
        _put(tables, path, {se_e3_tebd.FACTORS: module.pair_factors(module.type_table())})
    for name in [name for name in kept if name.startswith("embedding") or name == "type_pair_embedding"]:
        del kept[name]
    return ends


def _of_numbers(network: Partial, x: jax.Array) -> jax.Array:
    """(n,) -> (n, n_out)."""
    return network(x[:, None])


def _stored(table: Table, dtype: jnp.dtype) -> Tree:
    """The arrays of a table, numbers of the function in the descriptor's precision."""
    arrays = {name: array for name, array in table._asdict().items() if array is not None}
    return {name: array if name in PLACES else array.astype(dtype) for name, array in arrays.items()}


def series_share(variables: Tree) -> tuple[int, int]:
    """How many tables of a compressed model have series beside them, and how many there are."""
    leaves = jax.tree_util.tree_flatten_with_path(variables[COLLECTION])[0]
    names = [path[-1].key for path, _ in leaves]
    return names.count("value"), names.count("nodes")


def _copied(tree: Any) -> Any:
    """Dictionaries of their own, with the same leaves."""
    return {key: _copied(value) for key, value in tree.items()} if isinstance(tree, dict) else tree


def _at(tree: Tree, path: tuple[str, ...]) -> Tree:
    for key in path:
        tree = tree[key]
    return tree


def _put(tree: Tree, path: tuple[str, ...], entries: Tree) -> None:
    for key in path:
        tree = tree.setdefault(key, {})
    tree.update(entries)
