"""Models in the files of DeePMD-kit's backends: ``.pt`` and ``.pth`` of PyTorch, ``.jax`` folders of its JAX backend.

Each holds a definition, the ``model`` section of the training that made it, and weights by name.  None of DeePMD-kit's code, nor
PyTorch, is needed to read them.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dpjax.checkpoints.folder import read_foreign
from dpjax.config import ModelConfig
from dpjax.config.descriptors import DESCRIPTORS as DESCRIPTOR_TYPES
from dpjax.errors import ConfigError, ModelError
from dpjax.formats.torch_archive import read_script, read_torch
from dpjax.interop import spin
from dpjax.interop.branches import aliases, chosen
from dpjax.interop.standard import DESCRIPTORS
from dpjax.interop.weights import read_weights

Tree = dict[str, Any]
CHECKPOINT_SUFFIXES = (".pt", ".pth", ".jax")
FOREIGN_SUFFIXES = (
    ".pb",
    ".pbtxt",
    ".savedmodel",
    ".savedmodeltf",
    ".pt2",
    ".pte",
    ".pd",
    ".tf2",
)  # which only it reads
_FITTING_DEFAULTS = {"neuron": [128, 128, 128]}  # of DeePMD-kit's classes, where they differ from those of inputs
_DERIVED = {  # what DeePMD-kit adds to sections when it builds a model, and what is about a file and not the model in it
    "descriptor": ("ntypes", "type_map"),
    "fitting_net": (
        *("ntypes", "type_map", "mixed_types", "embedding_width", "dim_descrpt", "out_dim", "return_energy"),
    ),
    "model": ("model_branch_alias", "finetune_head", "hessian_mode", "_min_nbor_dist", "current_step"),
}


@dataclass(frozen=True)
class Stored:
    """What a file holds.

    Attributes:
        definition: a ``model`` section, or one with ``model_dict`` for several branches.
        arrays: weights of each branch by name; a single model's below ``""``.
        source: whose names these are.
    """

    definition: Tree
    arrays: dict[str, dict[str, np.ndarray]]
    source: str


def read_checkpoint_file(path: Path, head: str | None = None) -> tuple[ModelConfig, Tree]:
    """Configuration and variables of the model in a ``.pt`` or ``.pth`` file or a ``.jax`` folder.

    Args:
        path: of the file.
        head: which branch, or an alias of it, where there are several; None: the one with the alias ``Default``.

    Raises:
        ModelError: the file is damaged, holds a model that is not built yet, a weight too many or too few, or has no such branch.
    """
    stored = _stored(path)
    name = chosen(aliases(stored.definition), head, path)
    definition = stored.definition["model_dict"][name] if name else stored.definition
    try:
        return read_weights(completed(definition), stored.arrays[name], stored.source)
    except (ConfigError, ModelError) as error:
        raise ModelError(f"{path}: {error}") from error


def branch_names(path: Path) -> dict[str, tuple[str, ...]]:
    """Names of the branches of a file, each with its aliases; none of a single model.

    Raises:
        ModelError: the file is damaged.
    """
    return aliases(_stored(path).definition)


def completed(definition: Tree) -> Tree:
    """A stored definition as the ``model`` section that means the same in an input.

    DeePMD-kit builds a model from a definition with the defaults of its classes, some of which are not those of inputs.  A
    definition that ``dp train`` wrote has every key.
    """
    section = {key: value for key, value in copy.deepcopy(definition).items() if key not in _DERIVED["model"]}
    if not isinstance(section.get("descriptor"), dict):
        return section
    section["descriptor"] = _descriptor(section["descriptor"])
    fitting = section.get("fitting_net") or {}
    section["fitting_net"] = _FITTING_DEFAULTS | _without(fitting, "fitting_net")
    return spin.as_in_input(section)


def _descriptor(section: Tree) -> Tree:
    section = _without(section, "descriptor")
    if section.get("type") == "hybrid":
        return section | {"list": [_descriptor(member) for member in section["list"]]}
    kind = DESCRIPTOR_TYPES.canonical(section.get("type"))
    own = DESCRIPTORS.get(kind)
    defaults = dict(getattr(own, "CLASS_DEFAULTS", {}))
    if kind == "se_atten_v2":
        defaults.pop("smooth_type_embedding", None)  # which it has no choice of
    return defaults | section


def _without(section: Tree, kind: str) -> Tree:
    return {key: value for key, value in section.items() if key not in _DERIVED[kind]}


def _stored(path: Path) -> Stored:
    if not path.exists():
        raise ModelError(f"{path}: no such file or folder")
    return {".pt": _read_pt, ".pth": _read_pth, ".jax": _read_jax}[path.suffix](path)


def _read_pt(path: Path) -> Stored:
    """A training checkpoint, or the state of one alone."""
    found = read_torch(path)
    state = found.get("model", found) if isinstance(found, dict) else None
    extra = state.get("_extra_state") if isinstance(state, dict) else None
    if not isinstance(extra, dict) or not isinstance(extra.get("model_params"), dict):
        raise ModelError(
            f"{path}: found no _extra_state with model_params, so this is no checkpoint of DeePMD-kit's PyTorch backend, or one "
            "of a version before 3.0"
        )
    definition = extra["model_params"]
    branches = definition.get("model_dict", {})
    arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
    if not branches:
        return Stored(definition, {"": arrays}, "pytorch")
    split = {
        branch: {
            name.removeprefix(f"model.{branch}."): array
            for name, array in arrays.items()
            if name.startswith(f"model.{branch}.")
        }
        for branch in branches
    }
    return Stored(definition, split, "pytorch")


def _read_pth(path: Path) -> Stored:
    """A frozen model: TorchScript, whose weights keep the names that they had in training."""
    state, attributes = read_script(path)
    try:
        definition = json.loads(attributes["model_def_script"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path}: found no definition of the model (model_def_script), so this is no model that DeePMD-kit 3 froze. Convert "
            f"it with the version that wrote it: dp convert-backend {path.name} {path.stem}.dp"
        ) from error
    return Stored(definition, {"": state}, "pytorch")


def _read_jax(path: Path) -> Stored:
    """A checkpoint folder of DeePMD-kit's JAX backend, written with Orbax."""
    try:
        state, definition = read_foreign(path, "state", "model_def_script")
    except Exception as error:  # Orbax and TensorStore raise whatever fits
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelError(
            f"{path}: not a readable checkpoint of DeePMD-kit's JAX backend ({reason}). Expected a folder with an Orbax state and "
            "a model_def_script; if a copy was interrupted, copy the folder again."
        ) from error
    if "model_dict" in definition:
        models = state.get("models", state)
        arrays = {name: _dotted(models[name]) for name in definition["model_dict"]}
        return Stored(definition, arrays, "jax")
    return Stored(definition, {"": _dotted(state)}, "jax")


def _dotted(node: Any, prefix: str = "") -> dict[str, np.ndarray]:
    """Every array of a nested tree under its dotted path."""
    if isinstance(node, (dict, list, tuple)):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        return {
            name: array
            for key, value in items
            for name, array in _dotted(value, f"{prefix}.{key}" if prefix else str(key)).items()
        }
    return {} if node is None else {prefix: np.asarray(node)}
