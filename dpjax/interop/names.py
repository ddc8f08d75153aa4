"""Names of weights in DeePMD-kit's checkpoints, for each array of a stored model tree.

A tree (:func:`dpjax.interop.write_model`) and a checkpoint hold the same arrays in the same shapes; only their names differ.  Each
weight map of a descriptor says in ``NAMES`` what its parts are called, fittings are alike, and the rest is here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from dpjax.errors import ModelError
from dpjax.interop import direct_forces, dpa4, tensorflow_names
from dpjax.interop.standard import DESCRIPTORS, flatten

Tree = dict[str, Any]
SOURCES = ("pytorch", "jax", "tensorflow")
_LAYER = {"pytorch": {"w": "matrix", "b": "bias", "idt": "idt"}, "jax": {"w": "w", "b": "b", "idt": "idt"}}
_ABSENT = {
    "pytorch": ("scale", "constant_matrix"),
    "jax": (),
}  # of a polarizability; the definition says them, or they are zero
_REPEATED = "._networks."  # DeePMD-kit's collections have their networks under two names
# what a checkpoint holds beside weights: masks and tables that follow from the definition
_BOOKKEEPING = re.compile(
    r"(?:^|\.)(?:min_nbor_dist|_extra_state|(?:emask|atom_excl|pair_excl)\.type_mask|nlist_cut_idx\.\d+"
    r"|type_embedding\.econf_tebd|(?:fitting_net|energy_head)\.(?:default_fparam_tensor|bias_dos)"
    r"|dens_fitting_net\.(?:.*\.(?:expand_index|sqrt_inv_3|sqrt_2|sh_norm|cartesian_scale))"
    rf"|descriptor\.(?:{dpa4.TABLES.pattern}))$"
)
_SPREAD = re.compile(r"(?:^|\.)dens_force_rmsd$")  # which models without direct forces store, too, but do not use
_COMPRESSED = re.compile(r"(?:^|\.)(?:compress_info\.\d+|compress_data\.\d+|type_embd_data)$")


def source_of(names: Mapping[str, Any]) -> str:
    """Which program wrote weights of such names: an entry of :data:`SOURCES`."""
    if any("/" in name for name in names):
        return "tensorflow"
    return "jax" if any(name.rpartition(".")[2] in ("w", "b") for name in names) else "pytorch"


def names_of(model: Tree, source: str) -> dict[str, str]:
    """Dotted paths of the arrays of a model tree, and what ``source`` calls them; those it does not store are left out.

    Raises:
        ModelError: the names of this model in that program are not known.
    """
    paths = flatten(model)
    if source == "tensorflow":
        found = {path: tensorflow_names.name_of(model, path) for path in paths}
        return {path: name for path, name in found.items() if name}
    found = {path: _name(model, path, source) for path in paths}
    return {path: name for path, name in found.items() if name}


def _name(model: Tree, path: str, source: str) -> str | None:
    part, _, rest = path.partition(".")
    if part == "descriptor":
        name = f"descriptor.{_descriptor_name(model['descriptor'], rest, source)}"
    elif part == "fitting":
        own = _fitting_name(model["fitting"], rest, source)
        name = own and f"fitting_net.{own}"
    elif part == "dens_fitting":
        name = f"{direct_forces.PREFIX}.{rest.removeprefix('@variables.')}"
    else:
        name = rest
    return name and f"atomic_model.{name}"


def _descriptor_name(tree: Tree, path: str, source: str) -> str:
    if tree["type"] == "hybrid":
        _, i, rest = path.split(".", 2)
        return f"descrpt_list.{i}.{_descriptor_name(tree['list'][int(i)], rest, source)}"
    return _replaced(path, DESCRIPTORS[tree["type"]].NAMES[source], source)


def _fitting_name(tree: Tree, path: str, source: str) -> str | None:
    own = path.removeprefix("@variables.")
    if own == path:
        return _replaced(path, {"nets": "filter_layers" if source == "pytorch" else "nets"}, source)
    return None if own in _ABSENT[source] else own


def _replaced(path: str, parts: Mapping[str, str], source: str) -> str:
    """The path with its first part, and the array of a layer, under the other names."""
    ours = max((part for part in parts if path == part or path.startswith(f"{part}.")), key=len)
    stem, inside, leaf = (parts[ours] + path[len(ours) :]).partition(".@variables.")
    name = f"{stem}.{_LAYER[source].get(leaf, leaf)}" if inside else stem
    return name.lstrip(".")


def weights_only(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights of a checkpoint, each once: without bookkeeping and second names, and without the wrapper's prefix.

    Raises:
        ModelError: the model is compressed, or the two names of one weight hold different numbers.
    """
    found: dict[str, np.ndarray] = {}
    direct = direct_forces.has_heads(arrays)
    for given, value in arrays.items():
        name = given.removeprefix("model.Default.")
        if _BOOKKEEPING.search(name) or (_SPREAD.search(name) and not direct):
            continue
        array = np.asarray(value)
        if _COMPRESSED.search(name):
            _check_empty(name, array)
            continue
        name = name.replace(_REPEATED, ".networks.")
        if name in found and not np.array_equal(found[name], array):
            raise ModelError(f"{name}: stored under two names ({given}) with different numbers; write the file again")
        found[name] = array
    return found


def _check_empty(name: str, array: np.ndarray) -> None:
    if array.size:
        raise ModelError(
            f"{name}: this model is compressed, and tables of compressed models are not read from checkpoints. Give the model that "
            "it was compressed from."
        )
