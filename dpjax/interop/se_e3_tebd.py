"""Weight map of ``se_e3_tebd``: DeePMD-kit's ``Descriptor`` tree, version 1, both ways."""

from __future__ import annotations

from typing import Any

import numpy as np

from dpjax.config.descriptors import SeE3TebdConfig
from dpjax.descriptors.facts import kept
from dpjax.errors import ModelError
from dpjax.interop.networks import common_precision, read_embeddings, write_embeddings
from dpjax.interop.se_e2_a import shared_row
from dpjax.interop.type_embedding import read_type_embedding, write_type_embedding

Tree = dict[str, Any]
_KEYS = (
    "rcut",
    "rcut_smth",
    "sel",
    "neuron",
    "tebd_dim",
    "tebd_input_mode",
    "resnet_dt",
    "set_davg_zero",
    "activation_function",
    "env_protection",
    "smooth",
    "exclude_types",
    "precision",
    "trainable",
    "concat_output_tebd",
    "use_econf_tebd",
)
NETWORKS = {"embedding": "embeddings", "type_pair_embedding": "embeddings_strip"}  # our names and theirs
NAMES = {
    "pytorch": {
        "embeddings": "se_ttebd.filter_layers",
        "embeddings_strip": "se_ttebd.filter_layers_strip",
        "type_embedding.embedding": "type_embedding.embedding.embedding_net",
        "@variables.davg": "se_ttebd.mean",
        "@variables.dstd": "se_ttebd.stddev",
    },
    "jax": {
        "embeddings": "se_ttebd.embeddings",
        "embeddings_strip": "se_ttebd.embeddings_strip",
        "type_embedding.embedding": "type_embedding.embedding_net",
        "@variables.davg": "se_ttebd.mean",
        "@variables.dstd": "se_ttebd.stddev",
    },
}
CLASS_DEFAULTS = {"neuron": [2, 4, 8], "use_tebd_bias": False}


def read_section(tree: Tree) -> Tree:
    """The input section that describes the stored descriptor.

    Raises:
        ModelError: the stored descriptor uses something this version does not have.
    """
    if tree.get("compress") is not None:
        raise ModelError("descriptor: compressed embeddings are not built yet")
    if tree.get("env_mat", {}).get("use_exp_switch"):
        raise ModelError("descriptor/env_mat: use_exp_switch is true, which se_e3_tebd does not have")
    section = {"type": "se_e3_tebd", **{key: tree[key] for key in _KEYS}}
    if len(section["sel"]) == 1:  # files hold lists only
        section["sel"] = section["sel"][0]
    return section | {"use_tebd_bias": tree["type_embedding"]["use_tebd_bias"]}


def read_variables(tree: Tree) -> tuple[Tree, Tree]:
    """Collections ``params`` and ``stats`` of the stored descriptor."""
    params = read_embeddings(tree, NETWORKS, "descriptor")
    params["type_embedding"] = read_type_embedding(tree["type_embedding"])
    stats = {key: shared_row(tree["@variables"][key], f"descriptor/{key}") for key in ("davg", "dstd")}
    return params, stats


def widths_of(config: SeE3TebdConfig) -> dict[str, int]:
    """Lengths of the inputs of the networks by our names."""
    pair = 2 * config.tebd_dim
    strip = config.tebd_input_mode == "strip"
    return {"embedding": 1, "type_pair_embedding": pair} if strip else {"embedding": 1 + pair}


def write_tree(config: SeE3TebdConfig, type_map: tuple[str, ...], params: Tree, stats: Tree) -> Tree:
    """The ``Descriptor`` tree of our descriptor."""
    n_type, slots = len(type_map), kept(config)[0]
    networks = write_embeddings(config, params, NETWORKS, widths_of(config), n_type)
    return {
        "@class": "Descriptor",
        "type": "se_e3_tebd",
        "@version": 1,
        "rcut": config.rcut,
        "rcut_smth": config.rcut_smth,
        "sel": [config.sel] if isinstance(config.sel, int) else list(config.sel),
        "ntypes": n_type,
        "neuron": list(config.neuron),
        "tebd_dim": config.tebd_dim,
        "tebd_input_mode": config.tebd_input_mode,
        "set_davg_zero": config.set_davg_zero,
        "activation_function": config.activation_function,
        "resnet_dt": config.resnet_dt,
        "concat_output_tebd": config.concat_output_tebd,
        "use_econf_tebd": config.use_econf_tebd,
        "type_map": list(type_map),
        "precision": common_precision(config.precision),
        **networks,
        "env_mat": {
            "rcut": config.rcut,
            "rcut_smth": config.rcut_smth,
            "protection": config.env_protection,
            "use_exp_switch": False,
        },
        "type_embedding": write_type_embedding(config, type_map, params["type_embedding"]),
        "exclude_types": [list(pair) for pair in config.exclude_types],
        "env_protection": config.env_protection,
        "smooth": config.smooth,
        "@variables": {key: np.repeat(np.asarray(stats[key])[:, None], slots, axis=1) for key in ("davg", "dstd")},
        "trainable": config.trainable,
    }
