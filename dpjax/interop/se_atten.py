"""Weight map of ``se_atten`` (stored as ``dpa1``) and ``se_atten_v2``: DeePMD-kit's ``Descriptor`` tree, versions 2 and 4."""

from __future__ import annotations

from typing import Any

import numpy as np

from dpjax.config.descriptors import SeAttenConfig, SeAttenV2Config
from dpjax.descriptors.facts import kept
from dpjax.descriptors.se_atten import highest_degree, is_smooth, is_stripped
from dpjax.errors import ModelError
from dpjax.interop.attention import read_attention, write_attention
from dpjax.interop.networks import common_precision, read_embeddings, write_embeddings
from dpjax.interop.se_e2_a import shared_row
from dpjax.interop.type_embedding import read_type_embedding, write_type_embedding

Tree = dict[str, Any]
_SAME = (  # options that are stored under their names
    "rcut",
    "rcut_smth",
    "neuron",
    "axis_neuron",
    "tebd_dim",
    "set_davg_zero",
    "attn",
    "attn_layer",
    "attn_dotr",
    "activation_function",
    "resnet_dt",
    "scaling_factor",
    "normalize",
    "temperature",
    "trainable_ln",
    "ln_eps",
    "type_one_side",
    "concat_output_tebd",
    "use_econf_tebd",
    "exclude_types",
    "env_protection",
    "trainable",
)
_FORM = ("tebd_input_mode", "smooth_type_embedding")  # what se_atten_v2 has no choice of
NETWORKS = {"network": "embeddings", "type_network": "embeddings_strip"}  # our names and theirs
NAMES = {
    "pytorch": {
        "embeddings": "se_atten.filter_layers",
        "embeddings_strip": "se_atten.filter_layers_strip",
        "attention_layers": "se_atten.dpa1_attention",
        "type_embedding.embedding": "type_embedding.embedding.embedding_net",
        "@variables.davg": "se_atten.mean",
        "@variables.dstd": "se_atten.stddev",
        "@variables.degree_gain_raw": "se_atten.adam_degree_gain_raw",
    },
    "jax": {
        "embeddings": "se_atten.embeddings",
        "embeddings_strip": "se_atten.embeddings_strip",
        "attention_layers": "se_atten.dpa1_attention",
        "type_embedding.embedding": "type_embedding.embedding_net",
        "@variables.davg": "se_atten.mean",
        "@variables.dstd": "se_atten.stddev",
        "@variables.degree_gain_raw": "se_atten.adam_degree_gain_raw",
    },
}
CLASS_DEFAULTS = {"neuron": [25, 50, 100], "axis_neuron": 16, "smooth_type_embedding": True, "set_davg_zero": True}


def read_section(tree: Tree) -> Tree:
    """The input section that describes the stored descriptor.

    Raises:
        ModelError: the stored descriptor uses something this version does not have.
    """
    refused = {
        "compress": (None, "compressed embeddings are not built yet"),
        "spin": (None, "spin descriptors are not built yet"),
    }
    for key, (neutral, why) in refused.items():
        if tree.get(key, neutral) != neutral:
            raise ModelError(f"descriptor/{key}: {why}")
    if tree.get("env_mat", {}).get("use_exp_switch"):
        raise ModelError("descriptor/env_mat: use_exp_switch is true, which se_atten does not have")
    section = {key: tree[key] for key in (*_SAME, "precision", "sel")}
    section["attn_mask"] = bool(tree.get("attn_mask", False))
    section |= {"lmax": tree["lmax"]} if tree.get("lmax", 1) != 1 else {}
    if len(section["sel"]) == 1:  # files hold lists only
        section["sel"] = section["sel"][0]
    bias = tree.get("use_tebd_bias", True)  # which version 1 always had
    if tree["type"] == "se_atten_v2":
        return {"type": "se_atten_v2", **section, "use_tebd_bias": bias}
    return {"type": "se_atten", **section, "use_tebd_bias": bias, **{key: tree[key] for key in _FORM}}


def read_variables(tree: Tree) -> tuple[Tree, Tree]:
    """Collections ``params`` and ``stats`` of the stored descriptor."""
    networks = read_embeddings(tree, NETWORKS, "descriptor")
    params = {"embedding": networks}
    if tree["type_embedding"] is not None:  # else they are those of the model
        params["type_embedding"] = read_type_embedding(tree["type_embedding"])
    attention = read_attention(tree["attention_layers"])
    if attention:
        params["attention"] = attention
    if tree.get("lmax", 1) != 1:
        params["degree_gain"] = _degree_gain(tree)
    stats = {key: shared_row(tree["@variables"][key], f"descriptor/{key}") for key in ("davg", "dstd")}
    return params, stats


def widths_of(config: SeAttenConfig | SeAttenV2Config) -> dict[str, int]:
    """Lengths of the inputs of the networks by our names."""
    n_vector = config.tebd_dim * (1 if config.type_one_side else 2)
    return {"network": 1, "type_network": n_vector} if is_stripped(config) else {"network": 1 + n_vector}


def _degree_gain(tree: Tree) -> np.ndarray:
    """(lmax - 1,) numbers whose squares are the weights of degrees 2 to ``lmax``."""
    found, expected = tree["@variables"].get("degree_gain_raw"), (tree["lmax"] - 1,)
    if found is None or np.shape(found) != expected:
        shape = "none" if found is None else f"shape {np.shape(found)}"
        raise ModelError(
            f"descriptor/@variables/degree_gain_raw: found {shape}, but lmax {tree['lmax']} needs {expected[0]} numbers; "
            "write the file again from the model's checkpoint"
        )
    return found


def write_tree(config: SeAttenConfig | SeAttenV2Config, type_map: tuple[str, ...], params: Tree, stats: Tree) -> Tree:
    """The ``Descriptor`` tree of our descriptor.

    Raises:
        ModelError: ``attn_mask`` is true, with which DeePMD-kit makes no model from such a file.
    """
    if config.attn_mask and config.attn_layer:
        raise ModelError(
            "model/descriptor/attn_mask: found true, which no backend of DeePMD-kit that reads this file has. "
            "Keep the checkpoint, or freeze the model as a .dpx artifact."
        )
    n_type, n_place, strip = len(type_map), kept(config)[0], is_stripped(config)
    networks = write_embeddings(config, params["embedding"], NETWORKS, widths_of(config), n_type)
    form = {"tebd_input_mode": "strip" if strip else "concat", "smooth_type_embedding": is_smooth(config)}
    newer = isinstance(config, SeAttenV2Config)
    arrays = {key: np.repeat(np.asarray(stats[key])[:, None], n_place, axis=1) for key in ("davg", "dstd")}
    degrees = {}
    if highest_degree(config) > 1:  # only then the tree is of version 4
        degrees["lmax"] = config.lmax
        arrays["degree_gain_raw"] = np.asarray(params["degree_gain"])
    return {
        "@class": "Descriptor",
        "type": "se_atten_v2" if newer else "dpa1",
        "@version": 4 if degrees else 2,
        **degrees,
        **{key: _plain(getattr(config, key)) for key in _SAME},
        **({} if newer else form),
        **({} if "type_embedding" in params else {"concat_output_tebd": True}),  # by the model, whose vectors they are
        "ln_eps": 1e-5 if config.ln_eps is None else config.ln_eps,
        "sel": [config.sel] if isinstance(config.sel, int) else list(config.sel),
        "ntypes": n_type,
        "attn_mask": config.attn_mask,
        "use_tebd_bias": config.use_tebd_bias,
        "type_map": list(type_map),
        "precision": common_precision(config.precision),
        **networks,
        "attention_layers": write_attention(
            config, params.get("attention", {}), n_place=n_place, smooth=is_smooth(config)
        ),
        "env_mat": {
            "rcut": config.rcut,
            "rcut_smth": config.rcut_smth,
            "protection": config.env_protection,
            "use_exp_switch": False,
        },
        "type_embedding": write_type_embedding(config, type_map, params["type_embedding"])
        if "type_embedding" in params
        else None,
        "@variables": arrays,
        "spin": None,
    }


def _plain(value: Any) -> Any:
    """Tuples as lists."""
    return [_plain(v) for v in value] if isinstance(value, tuple) else value
