"""Weight maps of the network parts: DeePMD-kit's ``Layer`` and ``NetworkCollection`` trees and our parameter trees.

Ours: ``{"layers_0": {"matrix", "bias", "idt"}, ...}``.  Theirs: a ``Layer`` holds ``w``, ``b``, ``idt`` below ``@variables``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dpjax.errors import ModelError

Tree = dict[str, Any]
_NAMES = {"matrix": "w", "bias": "b", "idt": "idt"}


def read_stack(network: Tree) -> Tree:
    """Parameters of one network tree."""
    return {f"layers_{i}": read_layer(layer) for i, layer in enumerate(network["layers"])}


def read_layer(layer: Tree) -> Tree:
    variables = layer["@variables"]
    return {ours: np.asarray(variables[theirs]) for ours, theirs in _NAMES.items() if variables.get(theirs) is not None}


def write_layer(
    params: Tree, *, activation_function: str, resnet: bool, precision: str, trainable: bool = True
) -> Tree:
    """The ``Layer`` tree of one dense layer."""
    return {
        "@class": "Layer",
        "@version": 2,
        "bias": "bias" in params,
        "use_timestep": "idt" in params,
        "activation_function": activation_function,
        "resnet": resnet,
        "precision": precision,
        "trainable": trainable,
        "@variables": {theirs: _array(params.get(ours)) for ours, theirs in _NAMES.items()},
    }


def _array(value) -> np.ndarray | None:
    return None if value is None else np.asarray(value)


def write_embedding(config: Any, params: Tree, n_in: int) -> Tree:
    """The ``EmbeddingNetwork`` tree of a network with a descriptor's ``neuron``, activation function, precision and time steps.

    Args:
        config: the descriptor's hyper-parameters.
        params: of the network.
        n_in: length of its input.
    """
    common = {"activation_function": config.activation_function, "precision": common_precision(config.precision)}
    layers = [
        write_layer(params[f"layers_{i}"], resnet=True, trainable=config.trainable, **common)
        for i in range(len(config.neuron))
    ]
    return {
        "@class": "EmbeddingNetwork",
        "@version": 2,
        "in_dim": n_in,
        "neuron": list(config.neuron),
        "resnet_dt": config.resnet_dt,
        "bias": True,
        **common,
        "layers": layers,
    }


def collection(network_type: str, networks: Sequence[Tree], ndim: int, n_type: int) -> Tree:
    """A ``NetworkCollection`` tree: one network for each tuple of ``ndim`` types, first type fastest."""
    return {
        "@class": "NetworkCollection",
        "@version": 1,
        "ndim": ndim,
        "ntypes": n_type,
        "network_type": network_type,
        "networks": list(networks),
    }


def networks_of(tree: Tree, n_expected: int, where: str) -> list[Tree]:
    """The networks of a ``NetworkCollection``.

    Raises:
        ModelError: their number is not what the model's types need.
    """
    networks = tree["networks"]
    if len(networks) != n_expected or any(n is None for n in networks):
        raise ModelError(
            f"{where}: found {len(networks)} networks, expected {n_expected} (one for each type or pair of types)"
        )
    return networks


def read_embeddings(tree: Tree, names: Mapping[str, str], where: str) -> Tree:
    """Parameters of the embedding networks that a descriptor has one of each for all types.

    Args:
        tree: which holds a collection for each network.
        names: ours of the networks, and theirs of the collections; networks that are not stored are left out.
        where: the tree's place, for errors.
    """
    return {
        ours: read_stack(networks_of(tree[theirs], 1, f"{where}/{theirs}")[0])
        for ours, theirs in names.items()
        if tree.get(theirs) is not None
    }


def write_embeddings(
    config: Any, params: Tree, names: Mapping[str, str], widths: Mapping[str, int], n_type: int
) -> Tree:
    """The collections of networks that :func:`read_embeddings` reads.

    Args:
        config: hyper-parameters of the networks.
        params: of the networks.
        names: ours of the networks, and theirs of the collections.
        widths: lengths of the inputs of the networks that there are.
        n_type: number of types.
    """
    return {
        names[name]: collection("embedding_network", [write_embedding(config, params[name], n_in)], 0, n_type)
        for name, n_in in widths.items()
    }


def write_norm(params: Tree, *, eps: float, trainable: bool, precision: str) -> Tree:
    """The ``LayerNorm`` tree of a normalisation layer."""
    return {
        "@class": "LayerNorm",
        "@version": 1,
        "eps": eps,
        "trainable": trainable,
        "precision": precision,
        "@variables": {"w": params["matrix"], "b": params["bias"]},
    }


def read_norm(tree: Tree) -> Tree:
    """Parameters of one normalisation layer."""
    return {ours: np.asarray(tree["@variables"][theirs]) for ours, theirs in _NAMES.items() if ours != "idt"}


def common_precision(precision: str) -> str:
    """The spelling DeePMD-kit stores: ``default`` is float64."""
    return {"default": "float64", "double": "float64"}.get(precision.lower(), precision.lower())
