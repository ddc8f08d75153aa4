"""Layers of fitting nets: which share their parameters, which are trained."""

from __future__ import annotations

from typing import Any

from dpjax.errors import ConfigError


def layer_owners(config: Any) -> tuple[int, ...]:
    """For each layer, output layer included, the one whose parameters it uses: itself, or the first of its ``layer_name``.

    Raises:
        ConfigError: layers of one name have different shapes.
    """
    n_layer = len(config.neuron) + 1
    names = getattr(config, "layer_name", None) or (None,) * n_layer
    owners = tuple(i if name is None else names.index(name) for i, name in enumerate(names))
    widths = (*config.neuron, None)  # no other layer is like the output layer
    for i, owner in enumerate(owners):
        alike = i == owner or (0 < owner and i < n_layer - 1 and widths[owner - 1 : owner + 1] == widths[i - 1 : i + 1])
        if not alike:
            raise ConfigError(
                f"model/fitting_net/layer_name: layers {owner} and {i} share the name {names[i]!r} but not their shape "
                f"(neuron {list(config.neuron)}). Only layers of equal input and output width can share parameters."
            )
    return owners


def trainable_layers(config: Any) -> list[bool]:
    """``trainable`` as one flag for each layer, output layer included; nets without the option are trained."""
    n_layer, trainable = len(config.neuron) + 1, getattr(config, "trainable", True)
    return [trainable] * n_layer if isinstance(trainable, bool) else list(trainable)
