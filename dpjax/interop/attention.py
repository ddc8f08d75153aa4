"""Weight map of the attention between neighbours: DeePMD-kit's ``NeighborGatedAttention`` tree, version 1, both ways."""

from __future__ import annotations

from typing import Any

from dpjax.interop.networks import common_precision, read_norm, read_stack, write_layer, write_norm

Tree = dict[str, Any]


def read_attention(tree: Tree) -> Tree:
    """Parameters of :class:`dpjax.nn.attention.NeighborAttention` in a stored tree."""
    return {f"layers_{i}": _read_layer(layer) for i, layer in enumerate(tree["attention_layers"])}


def _read_layer(tree: Tree) -> Tree:
    projections = [tree["attention_layer"][name] for name in ("in_proj", "out_proj")]
    stack = read_stack({"layers": projections})
    return {
        "in_proj": stack["layers_0"],
        "out_proj": stack["layers_1"],
        "norm": read_norm(tree["attn_layer_norm"]),
    }


def write_attention(config: Any, params: Tree, *, n_place: int, smooth: bool) -> Tree:
    """The ``NeighborGatedAttention`` tree of a descriptor's attention.

    Args:
        config: the descriptor's hyper-parameters.
        params: of the attention.
        n_place: places for neighbours.
        smooth: whether it is the smooth form.
    """
    precision = common_precision(config.precision)
    eps = 1e-5 if config.ln_eps is None else config.ln_eps
    size = {"nnei": n_place, "embed_dim": config.neuron[-1], "hidden_dim": config.attn}
    form = {
        "dotr": config.attn_dotr,
        "do_mask": False,
        "scaling_factor": config.scaling_factor,
        "normalize": config.normalize,
        "temperature": config.temperature,
        "precision": precision,
    }
    norm = {"trainable_ln": config.trainable_ln, "ln_eps": eps}

    def projection(weights: Tree) -> Tree:
        return write_layer(
            weights, activation_function="none", resnet=False, precision=precision, trainable=config.trainable
        )

    def layer(weights: Tree) -> Tree:
        projections = {name: projection(weights[name]) for name in ("in_proj", "out_proj")}
        return {
            **size,
            **form,
            **norm,
            "attention_layer": {**size, **form, "num_heads": 1, "bias": True, "smooth": smooth, **projections},
            "attn_layer_norm": write_norm(weights["norm"], eps=eps, trainable=config.trainable_ln, precision=precision),
        }

    return {
        "@class": "NeighborGatedAttention",
        "@version": 1,
        "layer_num": config.attn_layer,
        **size,
        **form,
        **norm,
        "attention_layers": [layer(params[f"layers_{i}"]) for i in range(config.attn_layer)],
    }
