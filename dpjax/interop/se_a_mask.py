"""Weight map of ``se_a_mask``.  No ``.dp`` file of DeePMD-kit holds it; the tree is our own, in the form of theirs."""

from __future__ import annotations

from typing import Any

from dpjax.config.descriptors import SeAMaskConfig
from dpjax.interop.networks import collection, common_precision, networks_of, read_stack, write_embedding
from dpjax.interop.se_e2_a import network_order

Tree = dict[str, Any]
_KEYS = ("sel", "neuron", "axis_neuron", "activation_function", "resnet_dt", "type_one_side", "precision")
_KEYS += ("trainable", "exclude_types")


def read_section(tree: Tree) -> Tree:
    """The input section that describes the stored descriptor."""
    return {"type": "se_a_mask", **{key: tree[key] for key in _KEYS}}


def read_variables(tree: Tree) -> tuple[Tree, Tree]:
    """Collections ``params`` and ``stats``, which is empty, of the stored descriptor."""
    names = network_order(tree["type_one_side"], len(tree["sel"]))
    networks = networks_of(tree["embeddings"], len(names), "descriptor/embeddings")
    return {f"embedding_{name}": read_stack(network) for name, network in zip(names, networks, strict=True)}, {}


def write_tree(config: SeAMaskConfig, type_map: tuple[str, ...], params: Tree, stats: Tree) -> Tree:
    """The tree of our descriptor."""
    one_side, n_type = config.type_one_side, len(type_map)
    networks = [write_embedding(config, params[f"embedding_{name}"], 1) for name in network_order(one_side, n_type)]
    return {
        "@class": "Descriptor",
        "@version": 1,
        "type": "se_a_mask",
        "sel": list(config.sel),
        "neuron": list(config.neuron),
        "axis_neuron": config.axis_neuron,
        "activation_function": config.activation_function,
        "resnet_dt": config.resnet_dt,
        "type_one_side": one_side,
        "precision": common_precision(config.precision),
        "trainable": config.trainable,
        "exclude_types": [list(pair) for pair in config.exclude_types],
        "type_map": list(type_map),
        "embeddings": collection("embedding_network", networks, 1 if one_side else 2, n_type),
    }
