"""Weight map of ``dpa2``: DeePMD-kit's ``Descriptor`` tree, versions 1 to 3, both ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from dpjax.config.descriptors import DPA2Config
from dpjax.descriptors.dpa2.parts import repformers_of, repinit_of, three_body_of
from dpjax.descriptors.facts import kept
from dpjax.errors import ModelError
from dpjax.interop import se_atten, se_e3_tebd
from dpjax.interop.networks import common_precision, read_embeddings, read_layer, write_embeddings, write_layer
from dpjax.interop.repformer_layers import read_repformer_layer, write_repformer_layer
from dpjax.interop.se_e2_a import shared_row
from dpjax.interop.type_embedding import read_type_embedding, write_type_embedding

Tree = dict[str, Any]
_KEYS = (
    "concat_output_tebd",
    "precision",
    "smooth",
    "exclude_types",
    "env_protection",
    "trainable",
    "add_tebd_to_repinit_out",
    "use_econf_tebd",
    "use_tebd_bias",
)
_REPINIT_KEYS = (
    "rcut", "rcut_smth", "nsel", "neuron", "axis_neuron", "tebd_dim", "tebd_input_mode", "set_davg_zero",
    "activation_function", "resnet_dt", "type_one_side", "use_three_body", "three_body_neuron", "three_body_sel",
    "three_body_rcut", "three_body_rcut_smth",
)  # fmt: skip
_REPFORMER_KEYS = (
    "rcut", "rcut_smth", "nsel", "nlayers", "g1_dim", "g2_dim", "axis_neuron", "direct_dist", "update_g1_has_conv",
    "update_g1_has_drrd", "update_g1_has_grrg", "update_g1_has_attn", "update_g2_has_g1g1", "update_g2_has_attn", "update_h2",
    "attn1_hidden", "attn1_nhead", "attn2_hidden", "attn2_nhead", "attn2_has_gate", "activation_function", "update_style",
    "update_residual", "update_residual_init", "set_davg_zero", "trainable_ln", "use_sqrt_nnei", "g1_out_conv", "g1_out_mlp",
    "ln_eps",
)  # fmt: skip
_BEFORE_VERSION_3 = dict.fromkeys(("use_sqrt_nnei", "g1_out_conv", "g1_out_mlp"), False)
_LINEAR = ("g1_shape_tranform", "tebd_transform")
NAMES = {
    source: {
        "repinit_variable.embeddings": f"repinit.{embeddings}",
        "repinit_variable.embeddings_strip": f"repinit.{embeddings}_strip",
        "repinit_variable.@variables.davg": "repinit.mean",
        "repinit_variable.@variables.dstd": "repinit.stddev",
        "repinit_three_body_variable.embeddings": f"repinit_three_body.{embeddings}",
        "repinit_three_body_variable.embeddings_strip": f"repinit_three_body.{embeddings}_strip",
        "repinit_three_body_variable.@variables.davg": "repinit_three_body.mean",
        "repinit_three_body_variable.@variables.dstd": "repinit_three_body.stddev",
        "repformers_variable.g2_embd": "repformers.g2_embd",
        "repformers_variable.repformer_layers": "repformers.layers",
        "repformers_variable.@variables.davg": "repformers.mean",
        "repformers_variable.@variables.dstd": "repformers.stddev",
        "type_embedding.embedding": vectors,
        "g1_shape_tranform": "g1_shape_tranform",
        "tebd_transform": "tebd_transform",
    }
    for source, embeddings, vectors in (
        ("pytorch", "filter_layers", "type_embedding.embedding.embedding_net"),
        ("jax", "embeddings", "type_embedding.embedding_net"),
    )
}
_PARTS = ("repinit", "repinit_three_body", "repformers")  # with statistics; theirs are called NAME_variable


def read_section(tree: Tree) -> Tree:
    """The input section that describes the stored descriptor.

    Raises:
        ModelError: the stored descriptor is compressed.
    """
    if tree["repinit_variable"].get("compress") is not None:
        raise ModelError("descriptor/repinit_variable/compress: compressed embeddings are not built yet")
    section = {"type": "dpa2", **{key: tree[key] for key in _KEYS if key in tree}}
    section.setdefault("use_tebd_bias", True)  # which version 1 always had
    older = _BEFORE_VERSION_3 if tree["@version"] < 3 else {}
    repinit, repformer = tree["repinit_args"], tree["repformer_args"] | older
    return section | {
        "repinit": {key: repinit[key] for key in _REPINIT_KEYS if key in repinit},
        "repformer": {key: repformer[key] for key in _REPFORMER_KEYS if key in repformer},
    }


def read_variables(tree: Tree) -> tuple[Tree, Tree]:
    """Collections ``params`` and ``stats`` of the stored descriptor."""
    parts = {name: tree[f"{name}_variable"] for name in _PARTS if f"{name}_variable" in tree}
    params = {"type_embedding": read_type_embedding(tree["type_embedding"])}
    params["repinit"] = {
        "embedding": read_embeddings(parts["repinit"], se_atten.NETWORKS, "descriptor/repinit_variable")
    }
    if "repinit_three_body" in parts:
        where = "descriptor/repinit_three_body_variable"
        params["repinit_three_body"] = read_embeddings(parts["repinit_three_body"], se_e3_tebd.NETWORKS, where)
    params["repformers"] = {"g2_embd": read_layer(parts["repformers"]["g2_embd"])}
    for i, layer in enumerate(parts["repformers"]["repformer_layers"]):
        params["repformers"][f"layers_{i}"] = read_repformer_layer(layer)
    params |= {name: read_layer(tree[name]) for name in _LINEAR if "@variables" in tree.get(name, {})}
    return params, dict(_read_statistics(parts))


def _read_statistics(parts: Tree) -> Iterator[tuple[str, Tree]]:
    for name, part in parts.items():
        where = f"descriptor/{name}_variable"
        yield name, {key: shared_row(part["@variables"][key], f"{where}/{key}") for key in ("davg", "dstd")}


def write_tree(config: DPA2Config, type_map: tuple[str, ...], params: Tree, stats: Tree) -> Tree:
    """The ``Descriptor`` tree of our descriptor."""
    n_type, precision = len(type_map), common_precision(config.precision)
    linear = {"activation_function": "none", "resnet": False, "precision": precision, "trainable": config.trainable}
    repinit = {key: _plain(getattr(config.repinit, key)) for key in _REPINIT_KEYS}
    repformer = {key: getattr(config.repformer, key) for key in _REPFORMER_KEYS}
    identity = {"@class": "Identity", "@version": 1}
    shape = params.get("g1_shape_tranform")
    tree = {
        "@class": "Descriptor",
        "type": "dpa2",
        "@version": 3,
        "ntypes": n_type,
        "repinit_args": repinit,
        "repformer_args": repformer | {"ln_eps": 1e-5 if config.repformer.ln_eps is None else config.repformer.ln_eps},
        **{key: _plain(getattr(config, key)) for key in _KEYS},
        "precision": precision,
        "type_map": list(type_map),
        "type_embedding": write_type_embedding(config, type_map, params["type_embedding"]),
        "g1_shape_tranform": identity if shape is None else write_layer(shape, **linear),
        **_write_parts(config, n_type, params, stats, linear),
    }
    if config.add_tebd_to_repinit_out:
        tree["tebd_transform"] = write_layer(params["tebd_transform"], **linear)
    return tree


def _write_parts(config: DPA2Config, n_type: int, params: Tree, stats: Tree, linear: Tree) -> Tree:
    own, layers = {"repinit": repinit_of(config)}, params["repformers"]
    networks = params["repinit"]["embedding"]
    trees = {
        "repinit": write_embeddings(
            own["repinit"], networks, se_atten.NETWORKS, se_atten.widths_of(own["repinit"]), n_type
        )
    }
    if config.repinit.use_three_body:
        angles = own["repinit_three_body"] = three_body_of(config)
        networks, widths = params["repinit_three_body"], se_e3_tebd.widths_of(angles)
        trees["repinit_three_body"] = write_embeddings(angles, networks, se_e3_tebd.NETWORKS, widths, n_type)
    own["repformers"] = repformers_of(config)
    trees["repformers"] = {
        "g2_embd": write_layer(layers["g2_embd"], **linear),
        "repformer_layers": [
            write_repformer_layer(config, n_type, layers[f"layers_{i}"], linear, last=i == config.repformer.nlayers - 1)
            for i in range(config.repformer.nlayers)
        ],
    }
    return {f"{name}_variable": tree | _environment(own[name], stats[name]) for name, tree in trees.items()}


def _environment(part: Any, stats: Tree) -> Tree:
    """What says and normalises the environment of a part; DeePMD-kit stores no protection here, and reads the option."""
    reach = {"rcut": part.rcut, "rcut_smth": part.rcut_smth, "protection": 0.0, "use_exp_switch": False}
    slots = kept(part)[0]
    arrays = {key: np.repeat(np.asarray(stats[key])[:, None], slots, axis=1) for key in ("davg", "dstd")}
    return {"env_mat": reach, "@variables": arrays}


def _plain(value: Any) -> Any:
    """Tuples as lists."""
    return [_plain(v) for v in value] if isinstance(value, tuple) else value
