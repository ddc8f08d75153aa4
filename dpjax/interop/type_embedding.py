"""Weight map of the type vector net: DeePMD-kit's ``TypeEmbedNet`` tree, version 2, both ways."""

from __future__ import annotations

from typing import Any

from dpjax.errors import ModelError
from dpjax.interop.networks import common_precision, read_stack, write_layer
from dpjax.nn.electrons import DIMENSION

Tree = dict[str, Any]


def check_type_embedding(tree: Tree, where: str = "descriptor/type_embedding") -> None:
    """Raise if a stored net is none that a descriptor makes.

    Raises:
        ModelError: more than one layer, a time step, an activation function or no padding.
    """
    layers = tree["embedding"]["layers"]
    plain = str(tree["activation_function"]).lower() in ("linear", "none") and not tree["resnet_dt"]
    if len(layers) != 1 or not plain or not tree["padding"]:
        raise ModelError(
            f"{where}: a net of {len(layers)} layers with activation_function {tree['activation_function']!r}, resnet_dt "
            f"{tree['resnet_dt']} and padding {tree['padding']}; descriptors have one linear layer and a row for padding"
        )


def read_type_embedding(tree: Tree) -> Tree:
    """Parameters of :class:`dpjax.nn.type_embedding.TypeEmbedding` in a stored net."""
    check_type_embedding(tree)
    return {"layer": read_stack(tree["embedding"])["layers_0"]}


def write_type_embedding(config: Any, type_map: tuple[str, ...], params: Tree) -> Tree:
    """The ``TypeEmbedNet`` tree of a descriptor with options ``tebd_dim``, ``use_econf_tebd`` and ``use_tebd_bias``.

    Args:
        config: the descriptor's hyper-parameters.
        type_map: symbols of the types.
        params: parameters of the net.
    """
    options = {"use_econf_tebd": config.use_econf_tebd, "use_tebd_bias": config.use_tebd_bias}
    return write_table(config, len(type_map), params, type_map=list(type_map), **options)


def write_table(
    config: Any,
    n_type: int,
    params: Tree,
    *,
    type_map: list[str] | None = None,
    use_econf_tebd: bool = False,
    use_tebd_bias: bool = False,
) -> Tree:
    """The ``TypeEmbedNet`` tree of any table of vectors of the length ``tebd_dim`` of a descriptor.

    Args:
        config: the descriptor's hyper-parameters.
        n_type: vectors of the table, without that of padding.
        params: parameters of the net.
        type_map: names of what the vectors stand for, if it has any.
        use_econf_tebd: the net takes electron configurations.
        use_tebd_bias: its layer has a bias.
    """
    common = {"activation_function": "Linear", "precision": common_precision(config.precision)}
    shape = {"neuron": [config.tebd_dim], "resnet_dt": False, **common}
    layer = write_layer(params["layer"], resnet=True, trainable=config.trainable, **common)
    return {
        "@class": "TypeEmbedNet",
        "@version": 2,
        "ntypes": n_type,
        **shape,
        "trainable": config.trainable,
        "padding": True,
        "use_econf_tebd": use_econf_tebd,
        "use_tebd_bias": use_tebd_bias,
        "type_map": type_map,
        "embedding": {
            "@class": "EmbeddingNetwork",
            "@version": 2,
            "in_dim": DIMENSION if use_econf_tebd else n_type,
            **shape,
            "bias": use_tebd_bias,
            "layers": [layer],
        },
    }
