"""Weight map of the layers of ``dpa2``: DeePMD-kit's ``RepformerLayer`` tree, version 2, both ways."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from dpjax.config.descriptors import DPA2Config
from dpjax.interop.networks import read_layer, read_norm, write_layer, write_norm

Tree = dict[str, Any]
_SAME = (  # options that are stored under their names
    "rcut", "rcut_smth", "g1_dim", "g2_dim", "axis_neuron", "update_g1_has_conv", "update_g1_has_drrd", "update_g1_has_grrg",
    "update_g1_has_attn", "attn1_hidden", "attn1_nhead", "attn2_hidden", "attn2_nhead", "attn2_has_gate",
    "activation_function", "update_style", "trainable_ln", "use_sqrt_nnei", "g1_out_conv", "g1_out_mlp",
)  # fmt: skip
_OF_PAIRS = ("update_g2_has_g1g1", "update_g2_has_attn", "update_h2")  # stored as false for the last layer
_PAIR_ATTENTION = {  # our names of its layers, and theirs
    "mapqk": ("attn2g_map", "mapqk"),
    "mapv": ("attn2_mh_apply", "mapv"),
    "head_map": ("attn2_mh_apply", "head_map"),
    "direction_map": ("attn2_ev_apply", "head_map"),
}
_CLASSES = {"attn2g_map": "Atten2Map", "attn2_mh_apply": "Atten2MultiHeadApply", "attn2_ev_apply": "Atten2EquiVarApply"}
_RESIDUALS = ("g1_residual", "g2_residual", "h2_residual")
_RESIDUAL = re.compile(r"([gh][12]_residual)_(\d+)")  # ours; theirs are lists


def read_repformer_layer(tree: Tree) -> Tree:
    """Parameters of :class:`dpjax.descriptors.dpa2.layer.RepformerLayer`."""
    params = {name: read_layer(part) for name, part in tree.items() if isinstance(part, dict) and _is_linear(part)}
    if "loc_attn" in tree:
        params["loc_attn"] = {
            name: read_layer(part) for name, part in tree["loc_attn"].items() if isinstance(part, dict)
        }
    if "attn2g_map" in tree:
        params["attn2"] = {
            ours: read_layer(tree[outer][inner]) for ours, (outer, inner) in _PAIR_ATTENTION.items() if outer in tree
        }
    if "attn2_lm" in tree:
        params["attn2"]["norm"] = read_norm(tree["attn2_lm"])
    for name in _RESIDUALS:
        vectors = tree.get("@variables", {}).get(name, [])
        params |= {f"{name}_{i}": np.asarray(vector) for i, vector in enumerate(vectors)}
    return params


def _is_linear(part: Tree) -> bool:
    return part.get("@class") == "Layer"


def write_repformer_layer(config: DPA2Config, n_type: int, params: Tree, linear: Tree, *, last: bool) -> Tree:
    """The ``RepformerLayer`` tree.

    Args:
        config: the descriptor's hyper-parameters.
        n_type: number of types.
        params: of the layer.
        linear: options of all its linear layers.
        last: whether it leaves pairs and directions as they are.
    """
    own, precision = config.repformer, linear["precision"]
    tree = {"@class": "RepformerLayer", "@version": 2, **{key: getattr(own, key) for key in _SAME}}
    tree |= {key: getattr(own, key) and not last for key in _OF_PAIRS}
    eps = 1e-5 if own.ln_eps is None else own.ln_eps
    tree |= {"sel": [own.nsel], "ntypes": n_type, "update_chnnl_2": not last, "smooth": config.smooth}
    tree |= {"precision": precision, "ln_eps": eps}
    tree |= {name: write_layer(part, **linear) for name, part in params.items() if "matrix" in part}
    if "loc_attn" in params:
        tree["loc_attn"] = _atom_attention(config, params["loc_attn"], linear)
    if "attn2" in params:
        tree |= _pair_attention(config, params["attn2"], linear)
    if "norm" in params.get("attn2", {}):
        norm = params["attn2"]["norm"]
        tree["attn2_lm"] = write_norm(norm, eps=eps, trainable=own.trainable_ln, precision=precision)
    if own.update_style == "res_residual":
        tree["@variables"] = _residuals(params)
    return tree


def _atom_attention(config: DPA2Config, params: Tree, linear: Tree) -> Tree:
    own = config.repformer
    size = {"input_dim": own.g1_dim, "hidden_dim": own.attn1_hidden, "head_num": own.attn1_nhead}
    form = {"smooth": config.smooth, "attnw_shift": 20.0, "precision": linear["precision"]}
    layers = {name: write_layer(params[name], **linear) for name in ("mapq", "mapkv", "head_map")}
    return {"@class": "LocalAtten", "@version": 1, **size, **form, **layers}


def _pair_attention(config: DPA2Config, params: Tree, linear: Tree) -> Tree:
    own = config.repformer
    tree: Tree = {}
    for ours, (outer, inner) in _PAIR_ATTENTION.items():
        if ours not in params:
            continue
        size = {"input_dim": own.g2_dim, "head_num": own.attn2_nhead, "precision": linear["precision"]}
        part = tree.setdefault(outer, {"@class": _CLASSES[outer], "@version": 1, **size})
        part[inner] = write_layer(params[ours], **linear)
    gate = {"has_gate": own.attn2_has_gate, "smooth": config.smooth, "attnw_shift": 20.0}
    tree["attn2g_map"] |= {"hidden_dim": own.attn2_hidden, **gate}
    return tree


def _residuals(params: Tree) -> Tree:
    found: dict[str, dict[int, np.ndarray]] = {name: {} for name in _RESIDUALS}
    for name, array in params.items():
        if match := _RESIDUAL.fullmatch(name):
            found[match[1]][int(match[2])] = np.asarray(array)
    return {name: [vectors[i] for i in sorted(vectors)] for name, vectors in found.items()}
