"""Fitting layers that parts of a sum have in common: layers of one name (``layer_name``) are one array of parameters.

The parameters stand where the first part has them; the other parts *borrow* them, and have nothing in that place of the tree.
So what trains, stores or averages parameters needs to know nothing of it: there is one array, which all of these parts use.
Networks share type by type, as they do within one part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from dpjax.config.models import LinearEnergyConfig
from dpjax.errors import ConfigError
from dpjax.fittings.layers import layer_owners

Tree = dict[str, Any]
Place = tuple[int, int]  # number of a part, number of a layer of its fitting net
FITTING = "fitting_net"


def part_name(i: int) -> str:
    """Of a part of a sum among its variables."""
    return f"parts_{i}"


def layer_key(j: int) -> str:
    """Of a layer among the variables of its network."""
    return f"layers_{j}"


def borrowed(config: Any) -> dict[Place, Place]:
    """For each layer whose parameters stand in an earlier part, where; empty for a model that is no sum."""
    first: dict[str, Place] = {}
    found: dict[Place, Place] = {}
    for i, part in enumerate(config.parts if isinstance(config, LinearEnergyConfig) else ()):
        for j, name in _named_layers(part):
            place = first.setdefault(name, (i, j))
            if place[0] != i:
                found[i, j] = place
    return found


def _named_layers(part: Any) -> Iterator[tuple[int, str]]:
    """Layers of a part that have a name and parameters of their own within it."""
    names = getattr(part.fitting_net, "layer_name", None)
    if not names or not any(names):
        return
    for j, owner in enumerate(layer_owners(part.fitting_net)):
        if owner == j and names[j] is not None:
            yield j, names[j]


def without_borrowed(config: Any, params: Tree) -> Tree:
    """The parameters of a sum, of whose parts each came with all its layers, with what is borrowed left out.

    Raises:
        ConfigError: layers of one name have different shapes.
    """
    for (i, j), (k, m) in borrowed(config).items():
        nets = dict(params[part_name(i)][FITTING])
        for net, layers in nets.items():
            _check_alike(config, (i, j), layers[layer_key(j)], (k, m), params[part_name(k)][FITTING][net][layer_key(m)])
            nets[net] = {key: own for key, own in layers.items() if key != layer_key(j)}
        params = _with_nets(params, i, {net: layers for net, layers in nets.items() if layers})
    return params


def completed(config: Any, params: Tree) -> Tree:
    """The parameters of a sum with those that a part borrows put in its own places; undoes :func:`without_borrowed`."""
    for (i, j), (k, m) in borrowed(config).items():
        lent = {net: layers[layer_key(m)] for net, layers in params[part_name(k)][FITTING].items()}
        nets = params[part_name(i)].get(FITTING, {})
        params = _with_nets(params, i, {net: {**nets.get(net, {}), layer_key(j): own} for net, own in lent.items()})
    return params


def _with_nets(params: Tree, i: int, nets: Tree) -> Tree:
    own = {key: tree for key, tree in params[part_name(i)].items() if key != FITTING}
    return params | {part_name(i): own | ({FITTING: nets} if nets else {})}


def _check_alike(config: LinearEnergyConfig, one: Place, ours: Mapping, other: Place, theirs: Mapping) -> None:
    shapes = [{name: np.shape(array) for name, array in layer.items()} for layer in (theirs, ours)]
    if shapes[0] == shapes[1]:
        return
    (i, j), (k, m) = one, other
    name = config.parts[i].fitting_net.layer_name[j]
    theirs, ours = (shape["matrix"] for shape in shapes)
    raise ConfigError(
        f"model/models/{config.named[i][0]}/fitting_net/layer_name: layer {j} shares the name {name!r} with layer {m} of "
        f"models/{config.named[k][0]}, but its matrix is {ours[0]} x {ours[1]} and the other {theirs[0]} x {theirs[1]}. Layers "
        "that share parameters have the same input and output widths; those of the first layer also depend on the descriptor."
    )
