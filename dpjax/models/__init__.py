"""Models: from batches to energies or other quantities and, in one place, their derivatives."""

from __future__ import annotations

import flax.linen as nn
import jax

from dpjax.config import ModelConfig
from dpjax.descriptors import members
from dpjax.errors import ConfigError
from dpjax.models.derivatives import (
    RESOLVED,
    atomic_features,
    atomic_outputs,
    expand,
    fold,
    outputs_and_gradient,
    predict,
    predict_features,
    resolutions,
)
from dpjax.models.derived import require_curvature, require_derived
from dpjax.models.geometry import Geometry
from dpjax.models.standard import FEATURES, StandardModel, batch_geometry

__all__ = [
    "FEATURES",
    "MODELS",
    "RESOLVED",
    "Geometry",
    "StandardModel",
    "atomic_features",
    "atomic_outputs",
    "batch_geometry",
    "build_model",
    "expand",
    "fold",
    "init_variables",
    "outputs_and_gradient",
    "predict",
    "predict_features",
    "require_curvature",
    "require_derived",
    "resolutions",
]

MODELS: dict[str, type[nn.Module]] = {"standard": StandardModel, "dpa4": StandardModel}


def build_model(config: ModelConfig) -> nn.Module:
    """The module of a model section.

    Raises:
        ConfigError: no ``type_map``, or a model type this version does not have.
    """
    if not config.type_map:
        raise ConfigError(
            'model/type_map: missing. List the elements in the order of the model\'s types, as in ["O", "H"].'
        )
    if config.type not in MODELS:
        raise ConfigError(f"model/type: {config.type!r} is not built yet; this version has: {', '.join(MODELS)}.")
    return MODELS[config.type](config)


def init_variables(model: nn.Module, seed: int = 0, member: int = 0) -> dict:
    """Fresh parameters and neutral statistics.

    The descriptor and the fitting draw from their own ``seed`` keys where the input gives them, else from ``seed``; every
    ``member`` of an ensemble draws others.
    """
    config = model.config

    def initial(own: int | None, salt: int) -> dict:
        key = jax.random.fold_in(jax.random.key(seed if own is None else own), salt)
        key = jax.random.fold_in(key, member) if member else key
        return model.init(key, method=type(model).init_parameters)

    own = members(config.descriptor)
    descriptor, fitting = initial(own[0].seed, 1), initial(config.fitting_net.seed, 2)
    heads = {}
    if config.direct_forces:
        heads["dens_fitting_net"] = initial(config.fitting_net.seed, 3)["params"]["dens_fitting_net"]
    params = descriptor["params"]["descriptor"]
    for i, part in enumerate(own if config.descriptor is not own[0] else ()):
        params[f"members_{i}"] = initial(part.seed, 1)["params"]["descriptor"][f"members_{i}"]
    stats = {f"members_{i}": {} for i in range(len(own)) if config.descriptor is not own[0]}
    stats |= descriptor["stats"].get("descriptor", {})  # which not every descriptor has
    return {
        "params": {"descriptor": params, "fitting_net": fitting["params"]["fitting_net"], **heads},
        "stats": {**descriptor["stats"], "descriptor": stats},
    }
