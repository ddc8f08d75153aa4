"""Weight map of ``dpa3``: DeePMD-kit's ``Descriptor`` tree, version 2, both ways."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from dpjax.config.charge_spin import RANGES
from dpjax.config.descriptors import DPA3Config
from dpjax.interop.networks import common_precision, read_layer, write_layer
from dpjax.interop.se_e2_a import shared_row
from dpjax.interop.type_embedding import read_type_embedding, write_table, write_type_embedding

Tree = dict[str, Any]
_KEYS = (
    "concat_output_tebd",
    "activation_function",
    "precision",
    "exclude_types",
    "env_protection",
    "trainable",
    "use_econf_tebd",
    "use_tebd_bias",
    "use_loc_mapping",
    "add_chg_spin_ebd",
    "default_chg_spin",
)
_FLOW_KEYS = (
    "n_dim", "e_dim", "a_dim", "nlayers", "e_rcut", "e_rcut_smth", "e_sel", "a_rcut", "a_rcut_smth", "a_sel",
    "a_compress_rate", "a_compress_e_rate", "a_compress_use_split", "n_multi_edge_message", "axis_neuron", "update_angle",
    "update_style", "update_residual", "update_residual_init", "fix_stat_std", "optim_update", "smooth_edge_update",
    "edge_init_use_dist", "use_exp_switch", "use_dynamic_sel", "sel_reduce_factor", "sequential_update",
)  # fmt: skip
_LAYER_KEYS = (
    "e_rcut", "e_rcut_smth", "a_rcut", "a_rcut_smth", "a_sel", "n_dim", "e_dim", "a_dim", "a_compress_rate",
    "a_compress_use_split", "a_compress_e_rate", "n_multi_edge_message", "axis_neuron", "update_angle", "update_style",
    "update_residual", "update_residual_init", "optim_update", "use_dynamic_sel", "sel_reduce_factor", "sequential_update",
    "smooth_edge_update",
)  # fmt: skip
NAMES = {
    source: {
        "repflow_variable.edge_embd": "repflows.edge_embd",
        "repflow_variable.angle_embd": "repflows.angle_embd",
        "repflow_variable.repflow_layers": "repflows.layers",
        "repflow_variable.@variables.davg": "repflows.mean",
        "repflow_variable.@variables.dstd": "repflows.stddev",
        "type_embedding.embedding": f"type_embedding.{vectors}",
        "chg_embedding.embedding": f"chg_embedding.{vectors}",
        "spin_embedding.embedding": f"spin_embedding.{vectors}",
        "mix_cs_mlp": "mix_cs_mlp",
    }
    for source, vectors in (
        ("pytorch", "embedding.embedding_net"),
        ("jax", "embedding_net"),
    )
}
_TABLES = {  # of charges and of spins, with their lengths
    name: most - least + 1 for name, (_, least, most) in zip(("chg_embedding", "spin_embedding"), RANGES, strict=True)
}
_MIXING = "mix_cs_mlp"  # the layer behind both
_RESIDUAL = re.compile(r"([nea]_residual)_(\d+)")  # ours; theirs are lists


def read_section(tree: Tree) -> Tree:
    """The input section that describes the stored descriptor."""
    flow = tree["repflow_args"]
    section = {"type": "dpa3", **{key: tree[key] for key in _KEYS if key in tree}}
    return section | {"repflow": {key: flow[key] for key in _FLOW_KEYS if key in flow}}


def read_variables(tree: Tree) -> tuple[Tree, Tree]:
    """Collections ``params`` and ``stats`` of the stored descriptor."""
    flow = tree["repflow_variable"]
    params = {"type_embedding": read_type_embedding(tree["type_embedding"])}
    if tree.get("add_chg_spin_ebd"):
        params["charge_spin"] = _read_charge_spin(tree)
    params |= {name: read_layer(flow[name]) for name in ("edge_embd", "angle_embd")}
    params |= {f"layers_{i}": _read_repflow_layer(layer) for i, layer in enumerate(flow["repflow_layers"])}
    stats = {key: shared_row(flow["@variables"][key], f"descriptor/{key}") for key in ("davg", "dstd")}
    return params, stats


def _read_charge_spin(tree: Tree) -> Tree:
    tables = {name: read_type_embedding(tree[name]) for name in _TABLES}
    return tables | {_MIXING: read_layer(tree[_MIXING])}


def _read_repflow_layer(tree: Tree) -> Tree:
    own = {name: read_layer(part) for name, part in tree.items() if isinstance(part, dict) and "@variables" in part}
    for name, arrays in tree.get("@variables", {}).items():
        own |= {f"{name}_{i}": np.asarray(array) for i, array in enumerate(arrays)}
    return own


def write_tree(config: DPA3Config, type_map: tuple[str, ...], params: Tree, stats: Tree) -> Tree:
    """The ``Descriptor`` tree of our descriptor."""
    flow, n_type, precision = config.repflow, len(type_map), common_precision(config.precision)
    linear = {
        "activation_function": "none", "resnet": False, "precision": precision, "trainable": config.trainable
    }  # fmt: skip
    layers = [_write_repflow_layer(config, n_type, params[f"layers_{i}"], linear) for i in range(flow.nlayers)]
    return {
        "@class": "Descriptor",
        "type": "dpa3",
        "@version": 2,
        "ntypes": n_type,
        "repflow_args": {key: getattr(flow, key) for key in _FLOW_KEYS},
        **{key: getattr(config, key) for key in _KEYS},
        "precision": precision,
        "exclude_types": [list(pair) for pair in config.exclude_types],
        "type_map": list(type_map),
        "default_chg_spin": None if config.default_chg_spin is None else list(config.default_chg_spin),
        "type_embedding": write_type_embedding(config, type_map, params["type_embedding"]),
        **(_write_charge_spin(config, params["charge_spin"], linear) if config.add_chg_spin_ebd else {}),
        "repflow_variable": {
            "edge_embd": write_layer(params["edge_embd"], **linear),
            "angle_embd": write_layer(params["angle_embd"], **linear),
            "repflow_layers": layers,
            "env_mat": {  # DeePMD-kit stores these whatever the options are, and reads the options
                "rcut": flow.e_rcut,
                "rcut_smth": flow.e_rcut_smth,
                "protection": 0.0,
                "use_exp_switch": False,
            },
            "@variables": {
                key: np.repeat(np.asarray(stats[key])[:, None], flow.e_sel, axis=1) for key in ("davg", "dstd")
            },
        },
    }


def _write_charge_spin(config: DPA3Config, params: Tree, linear: Tree) -> Tree:
    tables = {name: write_table(config, n, params[name]) for name, n in _TABLES.items()}
    return tables | {_MIXING: write_layer(params[_MIXING], **linear)}


def _write_repflow_layer(config: DPA3Config, n_type: int, params: Tree, linear: Tree) -> Tree:
    flow = config.repflow
    tree = {"@class": "RepFlowLayer", "@version": 2, **{key: getattr(flow, key) for key in _LAYER_KEYS}}
    tree |= {"e_sel": [flow.e_sel], "ntypes": n_type, "activation_function": config.activation_function}
    tree |= {"precision": linear["precision"]}
    residuals: dict[str, dict[int, np.ndarray]] = {name: {} for name in ("n_residual", "e_residual", "a_residual")}
    for name, part in params.items():
        if found := _RESIDUAL.fullmatch(name):
            residuals[found[1]][int(found[2])] = np.asarray(part)
        else:
            tree[name] = write_layer(part, **linear)
    if flow.update_style == "res_residual":
        tree["@variables"] = {name: [arrays[i] for i in sorted(arrays)] for name, arrays in residuals.items()}
    return tree
