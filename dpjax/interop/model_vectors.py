"""Weight maps of what only DeePMD-kit's TensorFlow backend has: type vectors of a model, and descriptors whose networks take them.

No ``.dp`` file holds such a model, so the trees are our own, in the form of those.  They are what checkpoints from TensorFlow are
read through, and what ``dpjax show`` shows.
"""

from __future__ import annotations

from typing import Any

from dpjax.config import SeE2AConfig
from dpjax.config.descriptors import DESCRIPTORS, SeATpeConfig
from dpjax.config.models import TypeEmbeddingConfig
from dpjax.interop import se_e2_a
from dpjax.interop.networks import (
    common_precision,
    read_embeddings,
    read_layer,
    read_stack,
    write_embeddings,
    write_layer,
)

Tree = dict[str, Any]
WITH_VECTORS = "se_e2_a_vectors"  # stored type of an se_e2_a whose network takes type vectors
NETWORKS = {"network": "embeddings", "type_network": "embeddings_strip"}  # our names and those of the tree
TYPE_LAYERS, AMPLIFY = "type_layers", "amplify"  # of se_a_tpe
NAMES: dict[str, Any] = {}  # no other backend has these descriptors
_TPE = ("type_nchanl", "type_nlayer", "numb_aparam")  # options of se_a_tpe
_OPTIONS = ("neuron", "activation_function", "resnet_dt", "use_econf_tebd", "use_tebd_bias", "trainable")


def stored_type(config: Any, params: Tree) -> str:
    """The type under which a descriptor (not a hybrid) is stored."""
    return WITH_VECTORS if type(config) is SeE2AConfig and "network" in params else DESCRIPTORS.name_of(config)


def read_section(tree: Tree) -> Tree:
    """The input section that describes the stored descriptor."""
    kind = tree["type"]
    own = {key: tree[key] for key in _TPE if key in tree}
    return se_e2_a.read_section(tree) | own | {"type": "se_e2_a" if kind == WITH_VECTORS else kind}


def read_variables(tree: Tree) -> tuple[Tree, Tree]:
    """Collections ``params`` and ``stats`` of the stored descriptor."""
    params = read_embeddings(tree, NETWORKS, "descriptor")
    if AMPLIFY in tree:
        layers = read_stack(tree[TYPE_LAYERS])
        params |= {f"type_{name}": layer for name, layer in layers.items()} | {AMPLIFY: read_layer(tree[AMPLIFY])}
    return params, se_e2_a.read_statistics(tree)


def write_tree(config: SeE2AConfig, type_map: tuple[str, ...], params: Tree, stats: Tree) -> Tree:
    """The tree of our descriptor."""
    widths = {name: params[name]["layers_0"]["matrix"].shape[0] for name in NETWORKS if name in params}
    return {
        **(_write_tpe(config, params) if AMPLIFY in params else {}),
        **se_e2_a.write_options(config, type_map, stats),
        **write_embeddings(config, params, NETWORKS, widths, len(type_map)),
        "type": stored_type(config, params),
        "axis_neuron": config.axis_neuron,
        "type_one_side": config.type_one_side,
    }


def _write_tpe(config: SeATpeConfig, params: Tree) -> Tree:
    """What a tree of ``se_a_tpe`` has beside that of ``se_e2_a``."""
    form = {"resnet": False, "precision": common_precision(config.precision), "trainable": config.trainable}
    n_layer = config.type_nlayer + 1
    acts = [*(config.activation_function,) * config.type_nlayer, "none"]
    layers = [write_layer(params[f"type_layers_{i}"], activation_function=acts[i], **form) for i in range(n_layer)]
    return {
        **{key: getattr(config, key) for key in _TPE},
        TYPE_LAYERS: {"@class": "NativeNet", "layers": layers},
        AMPLIFY: write_layer(params[AMPLIFY], activation_function="none", **form),
    }


def write_model_vectors(config: TypeEmbeddingConfig, type_map: tuple[str, ...], params: Tree) -> Tree:
    """The ``TypeEmbedNet`` tree of a model's type vectors."""
    precision = common_precision(config.precision)
    form = {"activation_function": config.activation_function, "precision": precision, "trainable": config.trainable}
    layers = [write_layer(params["net"][f"layers_{i}"], resnet=True, **form) for i in range(len(config.neuron))]
    return {
        "@class": "TypeEmbedNet",
        "@version": 2,
        **{key: _plain(getattr(config, key)) for key in _OPTIONS},
        "precision": precision,
        "padding": True,
        "type_map": list(type_map),
        "embedding": {"@class": "EmbeddingNetwork", "@version": 2, "layers": layers},
    }


def read_model_vectors(tree: Tree) -> tuple[Tree, Tree]:
    """The section ``type_embedding`` of a model and the parameters of the stored net."""
    return {key: tree[key] for key in (*_OPTIONS, "precision")}, {"net": read_stack(tree["embedding"])}


def _plain(value: Any) -> Any:
    return [int(n) for n in value] if isinstance(value, tuple) else value
