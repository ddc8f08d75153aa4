"""An artifact back into a model: configuration and variables, without its programs."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from dpjax.config import ModelConfig, parse_model, with_direct_forces
from dpjax.config.models.compress import Compression
from dpjax.config.models.modifier import DipoleModel
from dpjax.config.nvnmd import in_form as in_nvnmd_form
from dpjax.errors import ModelError
from dpjax.export.runtime import ArtifactError, Container


def read_artifact(path: str | os.PathLike) -> tuple[ModelConfig, dict, str]:
    """Model configuration, variables (NumPy) and conventions of a ``.dpx`` file.

    Raises:
        ModelError: the file is missing, damaged or newer than this version.
    """
    try:
        return _read(Container(path))
    except ArtifactError as error:
        raise ModelError(str(error)) from error


def _read(container: Container) -> tuple[ModelConfig, dict, str]:
    manifest, weights = container.manifest, container.weights()
    variables: dict[str, Any] = {"params": {}, "stats": {}}
    for name, array in weights.items():
        *parents, leaf = name.split("/")
        branch = variables
        for key in parents:
            branch = branch.setdefault(key, {})
        branch[leaf] = array
    config = _configuration(manifest["model"])
    config = with_direct_forces(config) if manifest.get("direct_forces") else config
    if config.modifier is not None:
        own, theirs, conventions = _read(container.inside(manifest["modifier"]["member"]))
        dipole = DipoleModel(dataclasses.replace(own, conventions=conventions), theirs)
        config = dataclasses.replace(config, modifier=dataclasses.replace(config.modifier, dipole=dipole))
    return in_nvnmd_form(config, manifest.get("nvnmd")), variables, manifest["conventions"]


def _configuration(section: dict[str, Any]) -> ModelConfig:
    """Of a model section; how a compressed model was made is no option of the input language."""
    if "compress" not in section:
        return parse_model(section)
    config = parse_model({key: value for key, value in section.items() if key != "compress"})
    made = Compression.from_section(section["compress"])
    return dataclasses.replace(config, compress=made, raw={**config.raw, "compress": made.to_section()})
