"""A model from its definition and its weights by name: checkpoints of DeePMD-kit's backends.

The definition gives an empty model tree, the name maps say which array goes where in it, and the tree is read as a ``.dp`` file is.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from dpjax.config import ModelConfig, parse_model, with_direct_forces
from dpjax.config.descriptors import DESCRIPTORS as DESCRIPTOR_TYPES
from dpjax.errors import ModelError
from dpjax.interop import dpa4, spin, tensorflow_names, tensorflow_parts
from dpjax.interop.direct_forces import has_heads
from dpjax.interop.names import SOURCES, names_of, source_of, weights_only
from dpjax.interop.standard import DESCRIPTORS, flatten, read_model, write_model
from dpjax.models import build_model, init_variables
from dpjax.models.adapters import plain

Tree = dict[str, Any]
_UNSEEN = ("layer_name", "sel_type", "pol_type", "dipole_type")  # options of fittings that only TensorFlow has
_INTERNAL = ("bias_out",)  # of DeePMD-kit's class of dpa4_ener; inputs have no such option
_SHOWN = 12  # names of each kind in an error


def read_weights(
    section: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    source: str | None = None,
    conventions: str = "reference",
) -> tuple[ModelConfig, Tree]:
    """Configuration and variables of a model, from its definition and DeePMD-kit's names of its weights; adapters go into these.

    Options that only DeePMD-kit's TensorFlow backend has are left out where the names are another backend's: there, layers of one
    ``layer_name`` are different layers, tensors are those of all types, and ``se_e2_r`` has a network for each type of neighbour.

    Args:
        section: the ``model`` section of an input.
        arrays: every weight and statistic of the model under its name; they are brought into the precision that the section says.
        source: whose names they are: ``"pytorch"``, ``"jax"`` or ``"tensorflow"``; None: seen from the names.
        conventions: ``"reference"``: cut-offs of a model of TensorFlow are rounded to single precision, as it rounds them.

    Raises:
        ConfigError: the section is not valid, or describes a model that is not built yet.
        ModelError: a name is missing or left over, or an array has another shape.
    """
    source = source_of(arrays) if source is None else source
    if source not in SOURCES:
        raise ModelError(f"source: found {source!r}, expected one of {', '.join(SOURCES)}, or nothing")
    if tensorflow_parts.is_made_of_parts(section):
        if source != "tensorflow":
            raise ModelError(
                f"a model made of several parts is not read from {source} names, only from .dp and .yaml files. Convert it with "
                "DeePMD-kit (dp convert-backend model.pth model.dp) and load that."
            )
        return tensorflow_parts.read(
            section, arrays, lambda own, given: read_weights(own, given, source, conventions), conventions
        )
    dpa4.check_stored_version(arrays)
    by_tensorflow = source == "tensorflow"
    defined = parse_model(tensorflow_names.as_built(section, conventions) if by_tensorflow else _as_built(section))
    config = plain(defined)
    config = with_direct_forces(config) if has_heads(arrays) else config
    if config.virtual_scale and source == "tensorflow":
        config = spin.as_in_tensorflow(config)
        arrays = spin.filled_up(arrays, config)
    elif config.virtual_scale:
        arrays = spin.backbone_arrays(arrays)
    with jax.enable_x64(True):
        shapes = jax.eval_shape(lambda: init_variables(build_model(config)))
    tree = write_model(config, jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes))["model"]
    tree = tree.get("backbone_model", tree)
    tree["fitting"]["layer_name"] = getattr(config.fitting_net, "layer_name", None)
    names = names_of(tree, source)
    given = dict(arrays)
    if by_tensorflow:
        tensorflow_names.check_skips(tree)
        given = tensorflow_names.weights_only(arrays)
    else:
        alone = any(energy is not None for energy in getattr(config.fitting_net, "atom_ener", ()))
        given = dpa4.without_adapters(
            without_output_bias(weights_only(arrays, set(names.values())), alone), defined.lora
        )
    _check_names(set(names.values()), set(given), source)
    empty = flatten(tree)
    for path, name in names.items():
        _put(tree, path, _fitted(name, given[name], empty[path], reshape=by_tensorflow))
    _, variables = read_model(tree)
    return config, _own(variables, shapes)


def without_output_bias(given: dict[str, np.ndarray], alone: bool) -> dict[str, np.ndarray]:
    """Weights by name, where biases of output layers of ``dpa4_ener`` have become a part of the energies of the types.

    Where energies of atoms alone are given (``alone``: the option ``atom_ener``), what the network makes of those is taken away,
    and the bias with it.
    """
    for fitting in ("atomic_model.fitting_net", "atomic_model.dens_fitting_net.energy_head"):
        bias, energies = f"{fitting}.filter_layers.networks.0.output_layer.bias", f"{fitting}.bias_atom_e"
        if bias in given:
            own = {name: array for name, array in given.items() if name != bias}
            given = own | {energies: own[energies] + (0.0 if alone else given[bias])}
    return given


def _as_built(section: Mapping[str, Any]) -> Tree:
    """The section of the model that the PyTorch and JAX backends build, which do not look at some options."""
    built = copy.deepcopy(dict(section))
    for part, change in (("descriptor", _descriptor_as_built), ("fitting_net", _fitting_as_built)):
        if isinstance(built.get(part), dict):
            built[part] = change(built[part])
    return built


def _descriptor_as_built(section: Tree) -> Tree:
    if isinstance(section.get("list"), list):
        return section | {"list": [_descriptor_as_built(m) if isinstance(m, dict) else m for m in section["list"]]}
    own = DESCRIPTORS.get(DESCRIPTOR_TYPES.canonical(section.get("type")))
    return section | getattr(own, "FIXED", {})


def _fitting_as_built(section: Tree) -> Tree:
    return {key: value for key, value in section.items() if key not in (*_UNSEEN, *_INTERNAL)}


def _check_names(wanted: set[str], given: set[str], source: str) -> None:
    missing, unknown = sorted(wanted - given), sorted(given - wanted)
    if not missing and not unknown:
        return
    lines = [
        f"{len(names)} {what}: {_listed(names)}"
        for names, what in (
            (missing, "weights of the model are missing"),
            (unknown, "names belong to nothing in the model"),
        )
        if names
    ]
    raise ModelError(
        f"the weights do not fit to the model section ({source} names). "
        + "; ".join(lines)
        + ". Give the section that the "
        "weights were trained with, and all of them."
    )


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _fitted(name: str, array: Any, like: np.ndarray, *, reshape: bool) -> np.ndarray:
    """The array in the precision of ``like``, and in its shape where another program keeps it flat.

    Raises:
        ModelError: it has another shape, or holds no numbers.
    """
    array = np.asarray(array)
    if reshape and array.size == like.size:
        array = array.reshape(like.shape)
    if array.shape != like.shape:
        raise ModelError(f"{name}: found shape {array.shape}, the model section needs {like.shape}")
    if array.dtype == object:
        raise ModelError(f"{name}: found no array of numbers")
    return array.astype(like.dtype)


def _put(tree: Any, path: str, array: np.ndarray) -> None:
    *parts, last = path.split(".")
    for part in parts:
        tree = tree[int(part)] if isinstance(tree, list) else tree[part]
    tree[int(last) if isinstance(tree, list) else last] = array


def _own(variables: Any, shapes: Any) -> Any:
    """Without the copies of shared layers, which a tree writes out wherever they are used."""
    if not isinstance(shapes, Mapping):
        return variables
    return {key: _own(variables[key], inner) for key, inner in shapes.items()}
