"""Weight map of models with spins: a standard model over all types, virtual partners included, and which types have spins."""

from __future__ import annotations

from typing import Any

from dpjax.config import ModelConfig, parse_model
from dpjax.config.models.virtual_atoms import without_partners
from dpjax.descriptors import capacity
from dpjax.errors import ModelError

Tree = dict[str, Any]
TYPE = "spin_ener"


def unwrapped(tree: Tree) -> tuple[Tree, Tree]:
    """The standard model in a stored one with spins, and its ``spin``.

    Raises:
        ModelError: something is missing, or the types are not real ones and as many virtual ones.
    """
    missing = [key for key in ("backbone_model", "spin") if not isinstance(tree.get(key), dict)]
    if missing:
        raise ModelError(f"{missing[0]}: missing in a model of type {TYPE!r}; the file is damaged")
    backbone, spin = tree["backbone_model"], tree["spin"]
    if spin.get("virtual_scale") is None:
        raise ModelError(
            "spin/virtual_scale: missing; models whose spins are vectors in the descriptor are not built yet"
        )
    found, expected = len(backbone.get("type_map", ())), 2 * len(spin["use_spin"])
    if found != expected:
        text = f"found {found} types, expected {expected}: those of spin/use_spin and as many virtual ones"
        raise ModelError(f"backbone_model/type_map: {text}")
    return backbone, {
        "use_spin": list(map(bool, spin["use_spin"])),
        "virtual_scale": list(map(float, spin["virtual_scale"])),
    }


def read_config(section: Tree, spin: Tree) -> ModelConfig:
    """The configuration of a stored model, whose standard model has this section.

    Raises:
        ModelError: it is not what DeePMD-kit makes of any input.
    """
    config = parse_model(without_partners(section, spin))
    stored = parse_model(section)
    for name in ("pair_exclude_types", "atom_exclude_types"):
        ours, theirs = (set(getattr(own, name)) for own in (config, stored))
        if ours != theirs:
            raise ModelError(f"backbone_model/{name}: found {sorted(theirs)}, expected {sorted(ours)} with these spins")
    ours, theirs = (capacity(own.descriptor, len(own.type_map)) for own in (config, stored))
    if ours != theirs:
        raise ModelError(
            f"backbone_model/descriptor/sel: found {list(theirs)}, expected {list(ours)}: the numbers of the types twice"
        )
    return config


def wrapped(tree: Tree, config: ModelConfig) -> Tree:
    """The stored model whose standard model is ``tree``."""
    carriers = config.spin.carriers(config.data_types)
    return {
        "type": TYPE,
        "backbone_model": tree,
        "spin": {"use_spin": list(carriers), "virtual_scale": list(config.virtual_scale)},
    }
