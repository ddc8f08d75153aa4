"""Models of type ``frozen``, as a whole or as a part of a sum: read from their files, and never changed by a training.

The section of a frozen model becomes that of the model in its file, whose networks are then not trained; its variables take the
places of fresh ones.  So what is written, exported or continued later holds the model itself and asks for no other file.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from dpjax.compress import refuse_compressed
from dpjax.config import ModelConfig
from dpjax.errors import ConfigError, ModelError
from dpjax.interop import check_written

Tree = dict[str, Any]
Model = tuple[Any, Tree, str]  # configuration, variables, conventions
Load = Callable[[str], Model]
FROZEN = "frozen"
_PLAIN = ("se_e2_a", "se_e2_r", "se_r")  # descriptors about which conventions do not differ


def thawed(section: Any, load: Load) -> tuple[Any, dict[str | int, Tree]]:
    """A model section as a user wrote it without frozen models, and the variables of these.

    Args:
        section: the section; what is no section at all is left alone.
        load: gives the model of a file.

    Returns:
        The section with those of the files in the places of frozen parts, and their variables by the name of the part, or its
        position.  A section that is frozen as a whole stays as it is.

    Raises:
        ModelError: a file is missing, damaged, or none that this version reads.
        ConfigError: its model cannot stand there.
    """
    if not isinstance(section, Mapping):
        return section, {}
    models = section.get("models")
    if not isinstance(models, list | dict):
        return section, {}
    found: dict[str | int, Tree] = {}
    parts = copy.copy(models)
    for name, part in list(models.items() if isinstance(models, dict) else enumerate(models)):
        if isinstance(part, Mapping) and part.get("type") == FROZEN:
            types = part.get("type_map") or section.get("type_map")
            parts[name], found[name] = _thawed(dict(part), types, load, f"model/models/{name}")
            if parts[name]["type"] == "linear_ener":
                raise ConfigError(
                    f"model/models/{name}/model_file: {part['model_file']} is a sum of models itself. List its parts in "
                    "model/models instead, or freeze one of them."
                )
    return {**section, "models": parts}, found


def _thawed(section: Tree, type_map: Any, load: Load, path: str) -> tuple[Tree, Tree]:
    """The section and the variables of the model that a frozen section names."""
    file, others = section.get("model_file"), sorted(set(section) - {"type", "model_file", "type_map"})
    if not isinstance(file, str) or not file.strip():
        raise ConfigError(f"{path}/model_file: found {file!r}, expected the path of a model.")
    if others:
        raise ConfigError(
            f"{path}/{others[0]}: a frozen model is what its file says, and no option changes it. Remove the key."
        )
    try:
        config, variables, conventions = load(file)
        refuse_compressed(config, file)
    except ModelError as error:
        raise ModelError(f"{path}/model_file: {error}") from error
    if config.direct_forces or config.fitting_net.output.label != "energy":
        raise ConfigError(f"{path}/model_file: {file} is no model whose forces are derivatives of an energy.")
    if type_map and list(type_map) != list(config.type_map):
        raise ConfigError(
            f"{path}/model_file: the types of {file} are {list(config.type_map)}, expected {list(type_map)} in this order."
        )
    if conventions == "reference":
        _require_agreement(config, variables, f"{path}/model_file: {file}")
    return untrained(_apart(config.raw, path)) | {"type_map": list(config.type_map)}, variables


def _apart(section: Tree, path: str) -> Tree:
    """A section whose fitting layers share parameters with each other as before, but not with those of other parts of a sum."""
    net = section.get("fitting_net", {})
    if not net.get("layer_name"):
        return section
    names = [name and f"{name} of {path}" for name in net["layer_name"]]
    return section | {"fitting_net": net | {"layer_name": names}}


def _require_agreement(config: Any, variables: Tree, name: str) -> None:
    """A model of DeePMD-kit must give the same numbers by the rules of new models.

    Raises:
        ConfigError: it would not.
    """
    if isinstance(config, ModelConfig) and config.raw["descriptor"]["type"] in _PLAIN and config.use_srtab is None:
        return
    try:
        check_written(replace(config, conventions="corrected"), variables["stats"])
    except ModelError as error:
        raise ConfigError(f"{name} cannot be a constant part of a new model: {error}") from error


def untrained(section: Tree) -> Tree:
    """A normalised section of a model, none of whose networks is trained."""
    section = copy.deepcopy(section)
    for part in section.get("models", ()):
        part.update(untrained(part))
    for net in ("descriptor", "fitting_net"):
        for own in section[net].get("list", [section[net]]) if net in section else ():
            own["trainable"] = False
    return section
