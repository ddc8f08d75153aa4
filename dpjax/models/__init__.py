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
from dpjax.models.derived import require_curvature, require_derived, require_no_spins
from dpjax.models.geometry import Geometry
from dpjax.models.linear import LinearEnergy, PairTableModel, part_name
from dpjax.models.pairwise_dprc import PairwiseDPRc
from dpjax.models.shared_layers import without_borrowed
from dpjax.models.standard import FEATURES, StandardModel, batch_geometry
from dpjax.models.table_files import with_tables

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
    "require_no_spins",
    "resolutions",
    "with_tables",
]

MODELS: dict[str, type[nn.Module]] = {
    "standard": StandardModel,
    "dpa4": StandardModel,
    "linear_ener": LinearEnergy,
    "pairtab": PairTableModel,
    "pairwise_dprc": PairwiseDPRc,
}


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

    Descriptor, fitting and type embedding draw from their own ``seed`` keys where the input gives them, else from ``seed``; every
    ``member`` of an ensemble draws others.
    """
    config = model.config
    if not isinstance(config, ModelConfig):
        return _of_parts(model, seed, member)

    def initial(own: int | None, salt: int) -> dict:
        key = jax.random.fold_in(jax.random.key(seed if own is None else own), salt)
        key = jax.random.fold_in(key, member) if member else key
        return model.init(key, method=type(model).init_parameters)

    own = members(config.descriptor)
    descriptor, fitting = initial(own[0].seed, 1), initial(config.fitting_net.seed, 2)
    heads = {}
    if config.direct_forces:
        heads["dens_fitting_net"] = initial(config.fitting_net.seed, 3)["params"]["dens_fitting_net"]
    if config.type_embedding is not None:
        heads["type_embedding"] = initial(config.type_embedding.seed, 4)["params"]["type_embedding"]
    params = descriptor["params"].get("descriptor", {})  # not every descriptor has networks
    for i, part in enumerate(own if config.descriptor is not own[0] else ()):
        params[f"members_{i}"] = initial(part.seed, 1)["params"].get("descriptor", {}).get(f"members_{i}", {})
    stats = {f"members_{i}": {} for i in range(len(own)) if config.descriptor is not own[0]}
    stats |= descriptor["stats"].get("descriptor", {})  # which not every descriptor has
    return {
        "params": {"descriptor": params, "fitting_net": fitting["params"]["fitting_net"], **heads},
        "stats": {**descriptor["stats"], "descriptor": stats},
    }


def _of_parts(model: nn.Module, seed: int, member: int) -> dict:
    """:func:`init_variables` of a model of several, whose parts draw different numbers, or of a pair table."""
    vectors = model.config.type_embedding
    own_seed = None if vectors is None else vectors.seed
    key = jax.random.key(seed) if own_seed is None else jax.random.fold_in(jax.random.key(own_seed), 4)
    key = jax.random.fold_in(key, member) if member else key
    whole = model.init(key, method=type(model).init_parameters)
    stats, params = whole["stats"], {}
    for i, part in enumerate(getattr(model.config, "parts", ())):
        own = init_variables(build_model(part), seed + i, member)
        stats[part_name(i)] = own["stats"]
        params |= {part_name(i): own["params"]} if own["params"] else {}
    if vectors is None:
        return {"params": without_borrowed(model.config, params), "stats": stats}
    params = {name: {key: own for key, own in tree.items() if key != "type_embedding"} for name, tree in params.items()}
    return {"params": params | {"type_embedding": whole["params"]["type_embedding"]}, "stats": stats}
