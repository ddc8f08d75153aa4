"""Weight map of ``se_e2_a``: DeePMD-kit's ``Descriptor`` tree, version 2, both ways."""

from __future__ import annotations

from typing import Any

import numpy as np

from dpjax.config import SeE2AConfig
from dpjax.errors import ModelError
from dpjax.interop.networks import collection, common_precision, networks_of, read_stack, write_layer

Tree = dict[str, Any]
_KEYS = (
    "rcut",
    "rcut_smth",
    "sel",
    "neuron",
    "axis_neuron",
    "activation_function",
    "resnet_dt",
    "type_one_side",
    "precision",
)
_KEYS += ("trainable", "exclude_types", "env_protection", "set_davg_zero")
NAMES = {  # parts of the tree under the names of checkpoints
    "pytorch": {"embeddings": "sea.filter_layers", "@variables.davg": "sea.mean", "@variables.dstd": "sea.stddev"},
    "jax": {"embeddings": "embeddings", "@variables.davg": "davg", "@variables.dstd": "dstd"},
}
CLASS_DEFAULTS = {
    "neuron": [25, 50, 100],
    "axis_neuron": 16,
    "type_one_side": True,
}  # where they differ from those of inputs


def read_section(tree: Tree) -> Tree:
    """The input section that describes the stored descriptor.

    Raises:
        ModelError: the stored descriptor uses something this version does not have.
    """
    refuse_unknown(tree, "se_e2_a")
    return {"type": "se_e2_a", **{key: tree[key] for key in _KEYS}}


def refuse_unknown(tree: Tree, name: str) -> None:
    """Refuse a stored descriptor with networks per type that uses something this version does not have.

    Raises:
        ModelError: it does.
    """
    if tree.get("spin") is not None or tree.get("compress") is not None:
        raise ModelError("descriptor: spin descriptors and compressed embeddings are not built yet")
    if tree.get("env_mat", {}).get("use_exp_switch"):
        raise ModelError(f"descriptor/env_mat: use_exp_switch is true, which {name} does not have")


def network_order(one_side: bool, n_type: int) -> list[str]:
    """Our network names in the order of the stored list: the centre's type runs fastest."""
    if one_side:
        return [str(t) for t in range(n_type)]
    return [f"{c}_{t}" for t in range(n_type) for c in range(n_type)]


def read_variables(tree: Tree) -> tuple[Tree, Tree]:
    """Collections ``params`` and ``stats`` of the stored descriptor."""
    return read_common(tree, one_side=tree["type_one_side"])


def read_common(tree: Tree, *, one_side: bool) -> tuple[Tree, Tree]:
    """Collections of a descriptor with networks per type (``one_side``) or per pair of types."""
    names = network_order(one_side, len(tree["sel"]))
    networks = networks_of(tree["embeddings"], len(names), "descriptor/embeddings")
    params = {f"embedding_{name}": read_stack(network) for name, network in zip(names, networks, strict=True)}
    return params, read_statistics(tree)


def read_statistics(tree: Tree) -> Tree:
    """Collection ``stats`` of a stored descriptor."""
    return {key: shared_row(tree["@variables"][key], f"descriptor/{key}") for key in ("davg", "dstd")}


def shared_row(array: np.ndarray, where: str) -> np.ndarray:
    """(n_type, n_slot, n_column) statistics as (n_type, n_column).

    Raises:
        ModelError: the slots of a type differ; the design carries one row for all slots of a type.
    """
    array = np.asarray(array)
    if array.size and np.any(array != array[:, :1]):
        raise ModelError(
            f"{where}: the rows of different neighbour slots differ, but statistics are the same for all slots of a type in every "
            "model that DeePMD-kit trains. This file was edited or made by other means and cannot be read."
        )
    return array[:, 0]


def write_tree(config: SeE2AConfig, type_map: tuple[str, ...], params: Tree, stats: Tree) -> Tree:
    """The ``Descriptor`` tree of our descriptor."""
    return {
        "type": "se_e2_a",
        **write_common(config, type_map, params, stats, one_side=config.type_one_side),
        "axis_neuron": config.axis_neuron,
        "type_one_side": config.type_one_side,
        "spin": None,
    }


def write_common(config: Any, type_map: tuple[str, ...], params: Tree, stats: Tree, *, one_side: bool) -> Tree:
    """What the trees of all descriptors with networks per type have; ``one_side``: a network per type, not per pair."""
    common = {"activation_function": config.activation_function, "precision": common_precision(config.precision)}

    def network(weights: Tree) -> Tree:
        layers = [
            write_layer(weights[f"layers_{i}"], resnet=True, trainable=config.trainable, **common)
            for i in range(len(config.neuron))
        ]
        return {
            "@class": "EmbeddingNetwork",
            "@version": 2,
            "in_dim": 1,
            "neuron": list(config.neuron),
            "resnet_dt": config.resnet_dt,
            "bias": True,
            **common,
            "layers": layers,
        }

    n_type = len(type_map)
    networks = [network(params[f"embedding_{name}"]) for name in network_order(one_side, n_type)]
    return write_options(config, type_map, stats) | {
        "embeddings": collection("embedding_network", networks, 1 if one_side else 2, n_type)
    }


def write_options(config: Any, type_map: tuple[str, ...], stats: Tree) -> Tree:
    """What such trees have beside their networks."""
    slots = sum(config.sel)
    return {
        "@class": "Descriptor",
        "@version": 2,
        "rcut": config.rcut,
        "rcut_smth": config.rcut_smth,
        "sel": list(config.sel),
        "neuron": list(config.neuron),
        "resnet_dt": config.resnet_dt,
        "set_davg_zero": config.set_davg_zero,
        "activation_function": config.activation_function,
        "precision": common_precision(config.precision),
        "env_mat": {
            "rcut": config.rcut,
            "rcut_smth": config.rcut_smth,
            "protection": config.env_protection,
            "use_exp_switch": False,
        },
        "exclude_types": [list(pair) for pair in config.exclude_types],
        "env_protection": config.env_protection,
        "@variables": {key: np.repeat(np.asarray(stats[key])[:, None], slots, axis=1) for key in ("davg", "dstd")},
        "type_map": list(type_map),
        "trainable": config.trainable,
    }
