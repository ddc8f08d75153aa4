"""Fitting layers that parts of a sum share because they have one name (``layer_name``): which can."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dpjax.config.descriptors import DESCRIPTORS
from dpjax.config.descriptors.kinds import BY_TYPE
from dpjax.config.fittings import EnerFittingConfig
from dpjax.config.problems import Problem
from dpjax.config.suggestions import join

_ALIKE = ("activation_function", "resnet_dt", "precision")  # options of nets that share layers
_BY_TYPE = tuple(DESCRIPTORS[name].config for name in BY_TYPE)


def check_shared_layers(named: Sequence[tuple[str | int, Any]], path: str) -> Iterator[Problem]:
    """The rules for layers that have the name of a layer in an earlier part.

    Whether the widths of first layers agree shows when the model is made, as they depend on the descriptors.

    Args:
        named: the parts with their names or positions.
        path: of the section that holds them.
    """
    first: dict[str, tuple[str | int, Any, int]] = {}
    for part_name, part in named:
        told = set()
        for i, layer in named_layers(part):
            other, theirs, j = first.setdefault(layer, (part_name, part, i))
            text = "" if other == part_name or other in told else _difference(part, theirs, i, j)
            if text:
                told.add(other)
                where = f"found the name {layer!r}, which models/{other} has, too; layers of one name share their parameters"
                yield Problem(join(path, f"{part_name}/fitting_net/layer_name"), f"{where}, {text}")


def named_layers(part: Any) -> Iterator[tuple[int, str]]:
    """Numbers and names of the layers of a part that have a name."""
    net = getattr(part, "fitting_net", None)
    names = getattr(net, "layer_name", None) or ()
    if names and len(names) == len(net.neuron) + 1:  # what is wrong here is reported where it stands
        yield from ((i, name) for i, name in enumerate(names) if name is not None)


def _difference(part: Any, other: Any, i: int, j: int) -> str:
    """Why layer ``i`` of a part cannot be layer ``j`` of another; empty where it can."""
    nets = part.fitting_net, other.fitting_net
    if any(type(net) is not EnerFittingConfig for net in nets):
        return "which only nets of type 'ener' can. Choose other names."
    for key in _ALIKE:
        ours, theirs = (getattr(net, key) for net in nets)
        if ours != theirs:
            return f"but {key} is {ours!r} here and {theirs!r} there. Make them the same, or choose other names."
    if part.type_map != other.type_map:
        return f"but the types are {list(part.type_map)} here and {list(other.type_map)} there. Choose other names."
    if _has_net_per_type(part) != _has_net_per_type(other):
        return "but one of these parts has a fitting net for each type and the other one for all. Choose other names."
    ours, theirs = _widths(nets[0], i), _widths(nets[1], j)
    if ours[1] != theirs[1] or (None not in (ours[0], theirs[0]) and ours[0] != theirs[0]):
        return (
            f"but the widths around layer {i} are {_shown(ours)} here and those around layer {j} are {_shown(theirs)} there. Only "
            "layers of equal input and output width can share parameters."
        )
    return ""


def _widths(net: Any, i: int) -> tuple[int | None, int | str]:
    """Input and output width of a layer; None for that of a descriptor, a word for the output layer, which is like no other."""
    widths = (None, *net.neuron, "output")
    return widths[i], widths[i + 1]


def _shown(widths: tuple[int | None, int | str]) -> str:
    before, after = widths
    return f"{'descriptor' if before is None else before} and {after}"


def _has_net_per_type(part: Any) -> bool:
    members = getattr(part.descriptor, "list", (part.descriptor,))
    return all(isinstance(own, _BY_TYPE) for own in members)
