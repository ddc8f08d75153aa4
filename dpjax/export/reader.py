"""An artifact back into a model: configuration and variables, without its programs."""

from __future__ import annotations

import os
from typing import Any

from dpjax.config import ModelConfig, parse_model
from dpjax.errors import ModelError
from dpjax.export.runtime import ArtifactError, Container


def read_artifact(path: str | os.PathLike) -> tuple[ModelConfig, dict, str]:
    """Model configuration, variables (NumPy) and conventions of a ``.dpx`` file.

    Raises:
        ModelError: the file is missing, damaged or newer than this version.
    """
    try:
        container = Container(path)
        manifest, weights = container.manifest, container.weights()
    except ArtifactError as error:
        raise ModelError(str(error)) from error
    variables: dict[str, Any] = {"params": {}, "stats": {}}
    for name, array in weights.items():
        *parents, leaf = name.split("/")
        branch = variables
        for key in parents:
            branch = branch.setdefault(key, {})
        branch[leaf] = array
    return parse_model(manifest["model"]), variables, manifest["conventions"]
