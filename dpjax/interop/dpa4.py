"""Weight map of ``dpa4``: a descriptor's options, and its weights under the names that DeePMD-kit's SeZM has for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import jax
import numpy as np

from dpjax.config.descriptors import Dpa4Config
from dpjax.config.models.dpa4 import LoraConfig
from dpjax.descriptors.dpa4.lora import corrected
from dpjax.descriptors.dpa4.parameters import nested
from dpjax.errors import ModelError
from dpjax.interop.networks import common_precision

Tree = dict[str, Any]
NAMES = {"pytorch": {"@variables": ""}, "jax": {"@variables": ""}}
VERSION = 1.1  # in which radial functions carry the weight of an edge
# what a module stores beside weights; it follows from the options
TABLES = re.compile(
    r"version_tensor|mean|stddev|.*\.(?:expand_index|balance_weight|kernel_\w+_index|m0_idx|\w+_indices|l1_perm|l1_sign_outer"
    r"|non_scalar_row_index|\w+_index_for_row)"
)
DPA4_ENER_NAMES = ("dpa4_ener", "sezm_ener")
_FACTOR = re.compile(r"(?P<layer>.+)\.A_(?P<kind>by_l|m0|m\.\d+)")
_SCALING = "lora_scaling"
_DERIVED = ("ntypes", "type_map", "inner_clamp_r_inner", "inner_clamp_r_outer", "use_spin")  # by DeePMD-kit
_UNKEPT = ("seed",)  # of first values, which stored ones are not


def read_section(tree: Tree) -> Tree:
    """The input section that describes the stored descriptor.

    Raises:
        ModelError: it is of a version whose mathematics differ.
    """
    _check_version(float(tree.get("@version", VERSION)))
    config = {
        key: value for key, value in tree["config"].items() if key not in (*_DERIVED, *_UNKEPT) and value is not None
    }
    if not np.any(config.get("grid_branch", 0)):  # zeros for each grid
        config.pop("grid_branch", None)
    if "mixing_layers" in config:
        config["so2_layers"] = config.pop("mixing_layers")
    return {"type": "dpa4", **config}


def _check_version(version: float) -> None:
    if version < VERSION:
        raise ModelError(
            f"descriptor: found version {version} of dpa4, in which distances act otherwise than from version {VERSION} on. It is "
            "not read; train such a model anew."
        )


def check_stored_version(given: Mapping[str, np.ndarray]) -> None:
    """Of the weights of a checkpoint, where they say it.

    Raises:
        ModelError: it is of a version whose mathematics differ.
    """
    for name, value in given.items():
        if name.endswith("descriptor.version_tensor"):
            _check_version(round(float(np.reshape(value, ())), 4))


def unwrapped(model: Tree) -> Tree:
    """A model tree as DeePMD-kit's PyTorch backend writes it for ``dpa4``, in the form of all others.

    It has an atomic model inside, weights under dotted names, adapters beside weights, and tables that follow from the options.
    """
    inner, lora = model["atomic_model"], model.get("lora")
    lora = None if lora is None else LoraConfig(**lora)
    descriptor, fitting = dict(inner["descriptor"]), dict(inner["fitting"])
    weights = {name: array for name, array in descriptor["@variables"].items() if not TABLES.fullmatch(name)}
    descriptor |= {"type": "dpa4", "@variables": nested(without_adapters(weights, lora))}
    if fitting["type"] in DPA4_ENER_NAMES:
        networks = [own | {"@variables": nested(own["@variables"])} for own in fitting["nets"]["networks"]]
        fitting |= {"type": DPA4_ENER_NAMES[0], "nets": fitting["nets"] | {"networks": networks}}
    if not fitting.get("atom_ener"):
        fitting["atom_ener"] = None
    options = {key: value for key, value in model.items() if key.startswith("bridging_")}
    heads = inner.get("dens_fitting") if inner.get("active_mode") == "dens" else None
    return {**inner, **options, "type": "dpa4", "descriptor": descriptor, "fitting": fitting, "dens_fitting": heads}


def read_variables(tree: Tree) -> tuple[Tree, Tree]:
    """Collections ``params`` and ``stats`` of the stored descriptor."""
    return jax.tree.map(np.asarray, tree["@variables"]), {}


def write_tree(config: Dpa4Config, type_map: tuple[str, ...], params: Tree, stats: Tree) -> Tree:
    """The tree of our descriptor."""
    own = {field.name: _plain(getattr(config, field.name)) for field in fields(config)}
    return {
        "@class": "Descriptor",
        "type": "dpa4",
        "@version": VERSION,
        "config": own
        | {"ntypes": len(type_map), "type_map": list(type_map), "precision": common_precision(config.precision)},
        "@variables": jax.tree.map(np.asarray, params),
    }


def _plain(value: Any) -> Any:
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else value


def without_adapters(given: Mapping[str, np.ndarray], lora: LoraConfig | None) -> dict[str, np.ndarray]:
    """Weights by DeePMD-kit's names, with adapters taken into the weights that they correct.

    Args:
        given: all of a model, of whatever kind.
        lora: what its section says of adapters; what is stored beside them says it better.

    Raises:
        ModelError: neither of them says what corrections are multiplied by.
    """
    plain = {name: array for name, array in given.items() if not name.endswith(f".{_SCALING}")}
    for name in given:
        found = _FACTOR.fullmatch(name)
        layer, kind = found.group("layer", "kind") if found else ("", "")
        weight, other = f"{layer}.weight{'' if kind == 'by_l' else f'_{kind}'}", f"{layer}.B_{kind}"
        if found and {weight, other} <= set(given):
            a, b = plain.pop(name), plain.pop(other)
            plain[weight] = corrected(plain[weight], a, b, _scaling(given, layer, lora))
    return plain


def _scaling(given: Mapping[str, np.ndarray], layer: str, lora: LoraConfig | None) -> float:
    stored = given.get(f"{layer}.{_SCALING}")
    if stored is None and lora is None:
        raise ModelError(
            f"{layer}: found adapters, and neither {_SCALING} beside them nor lora in the model section, so that it is not known "
            "what they are multiplied by. Give the section that they were trained with."
        )
    return lora.scaling if stored is None else float(stored)
