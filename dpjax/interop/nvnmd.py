"""Weight map of NVNMD models: the names of DeePMD-kit's files ``weight.npy`` and ``map.npy``.

A scope and a variable are joined by a dot, as in ``filter_type_all.matrix_1_0``.  The weights are those of the continuous model;
the quantised one takes its descriptor from the tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dpjax.config import ModelConfig
from dpjax.descriptors.nvnmd import tables_of
from dpjax.errors import ModelError
from dpjax.interop.se_e2_a import shared_row
from dpjax.models import build_model, init_variables

Tree = dict[str, Any]
Path = tuple[str, ...]

_MIN_DISTANCE = "train_attr.min_nbor_dist"
_FIRST = "layer_0"
_TYPES = "tweight"  # of the first layer, for type vectors
_STATISTICS = {"davg": "descrpt_attr.t_avg", "dstd": "descrpt_attr.t_std"}
_BIASES = ("fitting_attr.t_bias_atom_e", "t_bias_atom_e")


def _layers(prefix: Path, count: int, name: str) -> Iterator[tuple[Path, str]]:
    """Arrays of the layers of an embedding net; ``name`` has places for the array and the number of the layer, from 1."""
    for i in range(count):
        for leaf in ("matrix", "bias"):
            yield (*prefix, f"layers_{i}", leaf), name.format(leaf, i + 1)


def _descriptor_names(config: ModelConfig) -> Iterator[tuple[Path, str]]:
    count, scope = len(config.descriptor.neuron), "filter_type_all."
    if config.nvnmd.version == 0:
        for t in range(len(config.type_map)):
            yield from _layers(("descriptor", f"embedding_{t}"), count, f"{scope}{{}}_{{}}_{t}")
        return
    embedding = ("descriptor", "embedding")
    yield from _layers((*embedding, "network"), count, f"{scope}{{}}_{{}}")
    yield from _layers((*embedding, "type_network"), count, f"{scope}{{}}_{{}}_two_side_ebd")
    for leaf in ("matrix", "bias") if config.descriptor.use_tebd_bias else ("matrix",):
        yield ("descriptor", "type_embedding", "layer", leaf), f"type_embed_net.{leaf}_1"


def _fitting_names(config: ModelConfig) -> Iterator[tuple[Path, str]]:
    mixed, last = config.nvnmd.version == 1, len(config.fitting_net.neuron)
    for net, suffix in [("all", "")] if mixed else [(t, f"_type_{t}") for t in range(len(config.type_map))]:
        for i in range(last + 1):
            scope = ("final_layer" if i == last else f"layer_{i}") + suffix
            for leaf in ("matrix", "bias"):
                yield ("fitting_net", f"net_{net}", f"layers_{i}", leaf), f"{scope}.{leaf}"


def read_weights(
    config: ModelConfig, arrays: Mapping[str, np.ndarray], tables: Mapping[str, Any] | None = None
) -> Tree:
    """Variables of a model from the content of ``weight.npy``, and of ``map.npy`` for a quantised descriptor.

    The file of a quantised model has no weights of the embedding nets; where there are tables they are not needed, and are zero.

    Args:
        config: the model, of a version of NVNMD.
        arrays: by name.
        tables: by name; None: they are made from the weights.

    Raises:
        ModelError: a weight is missing or has another shape.
    """
    variables = _merged(_zeros(config), read_parts(config, arrays, ("descriptor", "fitting_net"), tables))
    if config.nvnmd.quantize_descriptor and tables is None:
        return with_tables(config, variables, float(arrays.get(_MIN_DISTANCE, 0.0)))
    return variables


def read_parts(
    config: ModelConfig, arrays: Mapping[str, np.ndarray], parts: Sequence[str], tables: Mapping[str, Any] | None = None
) -> Tree:
    """Those variables of ``descriptor`` or ``fitting_net`` that files have; arguments and errors as for :func:`read_weights`.

    Energy biases and statistics of the environment come with the parts that they belong to, tables whatever ``parts`` says.
    """
    tree: Tree = {"params": {}, "stats": {}}
    shapes = jax.eval_shape(lambda: init_variables(build_model(config)))["params"] if parts else {}
    for path, name in (*_descriptor_names(config), *_fitting_names(config)):
        needless = path[0] == "descriptor" and tables is not None and _find(arrays, name) is None
        if path[0] in parts and not needless:
            _place(tree["params"], path, _weight(arrays, name, _shape(shapes, path)))
    n_type = len(config.type_map)
    if "descriptor" in parts:
        for leaf, name in _STATISTICS.items():
            rows = np.asarray(_required(arrays, name), np.float64).reshape(n_type, -1, 4)
            _place(tree["stats"], ("descriptor", leaf), shared_row(rows, name))
    if "fitting_net" in parts:
        bias = np.asarray(_required(arrays, *_BIASES), np.float64).reshape(n_type, 1)
        _place(tree["stats"], ("fitting_net", "bias_atom_e"), bias)
        tree["stats"] |= {"out_bias": np.zeros_like(bias), "out_std": np.ones_like(bias)}
    if tables is not None and config.nvnmd.quantize_descriptor:
        for leaf, value in read_tables(config, tables).items():
            _place(tree["stats"], ("descriptor", leaf), value)
    return tree


def _zeros(config: ModelConfig) -> Tree:
    """Variables of a model, all zero."""
    shapes = jax.eval_shape(lambda: init_variables(build_model(config)))
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def _merged(like: Tree, own: Tree) -> Tree:
    """``like`` with the leaves of ``own`` in their places."""
    return {
        key: value if key not in own else _merged(value, own[key]) if isinstance(value, dict) else own[key]
        for key, value in like.items()
    }


def with_tables(config: ModelConfig, variables: Tree, nearest: float) -> Tree:
    """Variables with the tables of a quantised descriptor, made of its parameters and statistics.

    Args:
        config: the model.
        variables: its variables, or those of the continuous model; tables in them are replaced.
        nearest: smallest distance of two atoms in the data, angstrom; 0 where it is not known.
    """
    variables = _merged(_zeros(config), variables)
    made = build_model(config).apply(
        variables, nearest, method=lambda model, nearest: tables_of(model.descriptor, nearest)
    )
    stats = variables["stats"]
    return variables | {"stats": stats | {"descriptor": stats["descriptor"] | made}}


def _find(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray | None:
    """An array, which TensorFlow may have given a number at the end of its name."""
    return arrays.get(name, arrays.get(f"{name}_1"))


def _required(arrays: Mapping[str, np.ndarray], *names: str) -> np.ndarray:
    for name in names:
        found = _find(arrays, name)
        if found is not None:
            return found
    raise ModelError(
        f"NVNMD weights: {names[0]} is missing; there are {', '.join(sorted(arrays)) or 'none'}. Give weights of a model with "
        "these types, layers and version."
    )


def _weight(arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A weight of the given shape; that of the first layer has the rows for type vectors apart."""
    value = np.asarray(_required(arrays, name), np.float64)
    types = arrays.get(f"{_FIRST}.{_TYPES}") if name == f"{_FIRST}.matrix" else None
    value = value if types is None else np.concatenate([value, np.asarray(types, np.float64)])
    if value.shape != shape:
        raise ModelError(f"NVNMD weights: {name} has shape {value.shape}, but the model needs {shape}.")
    return value


def _shape(tree: Tree, path: Path) -> tuple[int, ...]:
    for key in path:
        tree = tree[key]
    return tree.shape


def _place(tree: Tree, path: Path, value: np.ndarray) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value


def _at(tree: Tree, path: Path) -> np.ndarray:
    for key in path:
        tree = tree[key]
    return np.asarray(tree)


def write_weights(config: ModelConfig, variables: Tree, nearest: float) -> dict[str, np.ndarray]:
    """What DeePMD-kit stores in ``weight.npy``; ``nearest`` (angstrom) is the smallest distance of two atoms in the data."""
    params, stats = variables["params"], variables["stats"]
    sel = config.descriptor.sel
    places = sel if isinstance(sel, int) else sum(sel)
    out = {name: np.tile(np.asarray(stats["descriptor"][leaf]), (1, places)) for leaf, name in _STATISTICS.items()}
    for path, name in (*_descriptor_names(config), *_fitting_names(config)):
        out[name] = _at(params, path)
    if config.nvnmd.version == 1:
        own = out[f"{_FIRST}.matrix"].shape[0] - config.descriptor.tebd_dim
        out[f"{_FIRST}.{_TYPES}"] = out[f"{_FIRST}.matrix"][own:]
        out[f"{_FIRST}.matrix_1"] = out.pop(f"{_FIRST}.matrix")[:own]  # as TensorFlow calls it beside the other
    bias = np.asarray(stats["fitting_net"]["bias_atom_e"] + stats["out_bias"])[:, 0]
    return out | {name: bias for name in _BIASES} | {_MIN_DISTANCE: np.float64(nearest)}


_KINDS = (("", "values"), ("_grad", "slopes"))


def read_tables(config: ModelConfig, tables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Statistics of a quantised descriptor from the content of ``map.npy``.

    Raises:
        ModelError: a table is missing or has another shape.
    """

    def rows(name: str, number: int) -> np.ndarray:
        found = tables.get(name)
        if found is None or len(found) != number:
            what = "is missing" if found is None else f"has {len(found)} tables, but the model needs {number}"
            raise ModelError(f"NVNMD tables: {name} {what}. Give the map file of a model with these types and version.")
        parts = [np.asarray(part, np.float64) for part in found]
        return np.stack([part.reshape(len(part), -1, 4) for part in parts])

    mixed, n = config.nvnmd.version == 1, len(config.type_map)
    number = 1 if mixed else n
    out = {}
    for suffix, kind in _KINDS:
        out[f"radial_{kind}"] = np.concatenate([rows(f"{x}{suffix}", number) for x in ("s", "h")], axis=2)
        out[f"embedding_{kind}"] = rows(f"g{suffix}", number)
    for name, key in (("radial_intervals", "cfg_u2s"), ("embedding_intervals", "cfg_s2g")):
        out[name] = np.asarray(_required(tables, key), np.float64).reshape(-1, 5)
    if mixed:
        out["type_vectors"] = np.asarray(_required(tables, "t_ebd"), np.float64)
        out["pair_factors"] = np.asarray(_required(tables, "gt"), np.float64)
        out["dstd_inverse"] = np.asarray(_required(tables, "dstd_inv"), np.float64)[:, :2]
    return out


def write_tables(config: ModelConfig, variables: Tree) -> dict[str, Any]:
    """What DeePMD-kit stores in ``map.npy``, of a model with a quantised descriptor."""
    own = {name: np.asarray(value) for name, value in variables["stats"]["descriptor"].items()}
    out: dict[str, Any] = {}
    for key, name in (("cfg_u2s", "radial_intervals"), ("cfg_s2g", "embedding_intervals")):
        out[key] = [[*row[:3].tolist(), int(row[3]), int(row[4])] for row in own[name]]
    for i, letter in enumerate("sh"):
        for suffix, kind in _KINDS:
            out[letter + suffix] = [part[:, i] for part in own[f"radial_{kind}"]]
    for suffix, kind in _KINDS:
        out[f"g{suffix}"] = [part.reshape(len(part), -1) for part in own[f"embedding_{kind}"]]
    if config.nvnmd.version == 1:
        out |= {"t_ebd": own["type_vectors"], "gt": own["pair_factors"]}
        out |= {"davg_opp": -own["davg"], "dstd_inv": 1.0 / own["dstd"]}
    return out
