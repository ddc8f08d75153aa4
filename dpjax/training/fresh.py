"""Variables of a fresh run: new parameters, statistics of the training data, and which parameters are trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from dpjax.config import Config, ModelConfig
from dpjax.config.fittings import Dpa4EnerFittingConfig
from dpjax.config.models import LinearEnergyConfig, MadeOfParts, PairTableConfig, PairwiseDPRcConfig
from dpjax.descriptors import members
from dpjax.descriptors.dpa4 import lora
from dpjax.errors import ConfigError
from dpjax.fittings.layers import layer_owners, trainable_layers
from dpjax.models import init_variables, with_tables
from dpjax.models.linear import part_name
from dpjax.training import environment, fragments, preparation
from dpjax.training.samples import sampled_frames
from dpjax.training.sides import DataSide
from dpjax.training.stat_file import load_statistics, required_statistics, save_statistics, statistics_key


def fresh_variables(config: Config, model: nn.Module, data: DataSide, seed: int, keep: bool = True) -> dict[str, Any]:
    """New parameters and the statistics of the training data, from ``stat_file`` where it has them.

    New statistics are written there if ``keep``.

    Raises:
        DataError: they may only be read, and are not there; a pair table is missing or malformed.
    """
    variables = with_tables(config.model, init_variables(model, seed))
    stats = jax.tree.map(np.asarray, variables["stats"])
    return {"params": variables["params"], "stats": _statistics_of(config)(config, stats, data, seed, keep)}


def _statistics_of(config: Config) -> Callable[..., dict[str, Any]]:
    if isinstance(config.model, PairwiseDPRcConfig):
        return _statistics_of_fragments
    return _statistics_of_sum if isinstance(config.model, LinearEnergyConfig) else _statistics


def _statistics_of_fragments(
    config: Config, stats: dict[str, Any], data: DataSide, seed: int, keep: bool
) -> dict[str, Any]:
    """Of both parts the environment in the terms that they are the energies of, and of the whole the bias of QM atoms."""
    whole, found = config.model, dict(stats)
    for i, ((name, _), part) in enumerate(zip(whole.named, whole.parts, strict=True)):
        before = stats[part_name(i)]
        if not isinstance(part, PairTableConfig):
            found[part_name(i)] = _statistics_of_terms(config, name, part, before, data, seed, keep)
    last = found[part_name(1)]
    found[part_name(1)] = last | {"out_bias": fragments.energies_alone(whole) + np.zeros_like(last["out_bias"])}
    return found | preparation.output_statistics(whole, data.systems)


def _statistics_of_terms(
    config: Config, name: str, part: ModelConfig, stats: dict[str, Any], data: DataSide, seed: int, keep: bool
) -> dict[str, Any]:
    """Of one part of a model of fragments."""
    key = f"{statistics_key(part)}-{name}"
    computed = _known(config, key)
    if computed is None:
        drawn = sampled_frames(data.sampler, data.systems, part.data_stat_nbatch, seed)
        terms = fragments.terms(name, data.systems, data.source.neighbors, drawn)
        progress = config.dpjax.progress != "none"
        fragments.warn_crowded(part, name, terms)
        computed = {
            **environment.environment_statistics(part, terms.sources, terms, terms.drawn, progress),
            **preparation.parameter_statistics(part, data.systems, drawn),
        }
        _keep(config, key, computed, keep)
    return stats | {
        "descriptor": placed(computed, stats["descriptor"], needed=("davg", "dstd")),
        "fitting_net": placed(computed, stats["fitting_net"]),
    }


def _known(config: Config, key: str) -> dict[str, np.ndarray] | None:
    """Statistics of ``stat_file``; None where they are to be computed."""
    only_read = config.training.stat_file_mode == "read"
    return (required_statistics if only_read else load_statistics)(config.training.stat_file, key)


def _keep(config: Config, key: str, computed: dict[str, np.ndarray], keep: bool) -> None:
    if keep:
        save_statistics(config.training.stat_file, key, computed)


def _statistics_of_sum(config: Config, stats: dict[str, Any], data: DataSide, seed: int, keep: bool) -> dict[str, Any]:
    """Of all parts their environment, and of the whole the bias."""
    whole, found = config.model, dict(stats)
    for i, ((name, _), part) in enumerate(zip(whole.named, whole.parts, strict=True)):
        if isinstance(part, PairTableConfig):
            continue
        if part.type_map != whole.type_map:
            raise ConfigError(
                f"model/models/{name}/type_map: found {list(part.type_map)}, but a part that is trained must have the types of the "
                f"whole model, {list(whole.type_map)}, in the same order. Remove the key."
            )
        before = stats[part_name(i)]
        after = _statistics(replace(config, model=part), before, data, seed, keep)
        found[part_name(i)] = after | {key: before[key] for key in ("out_bias", "out_std")}
    return found | preparation.output_statistics(whole, data.systems)


def _statistics(config: Config, stats: dict[str, Any], data: DataSide, seed: int, keep: bool) -> dict[str, Any]:
    """Of a model with one descriptor and one fitting net; ``stats`` are those of a fresh one."""
    key = statistics_key(config.model)
    computed = _known(config, key)
    if computed is None:
        drawn = sampled_frames(data.sampler, data.systems, config.model.data_stat_nbatch, seed)
        computed = {
            **environment.environment_statistics(
                config.model, data.source.points, data.source.neighbors, drawn, config.dpjax.progress != "none"
            ),
            **preparation.output_statistics(config.model, data.systems),
            **preparation.parameter_statistics(config.model, data.systems, drawn),
            **preparation.force_statistics(config.model, data.systems),
        }
        _keep(config, key, computed, keep)
    here = {
        "descriptor": placed(computed, stats["descriptor"], needed=("davg", "dstd")),
        "fitting_net": placed(computed, stats["fitting_net"]),
        **{name: computed[name] for name in ("out_bias", "out_std")},
    }
    if config.model.direct_forces:
        head = placed(computed, stats["dens_fitting_net"]["energy_head"])
        here |= {"dens_fitting_net": {"energy_head": head}, "dens_force_rmsd": computed["dens_force_rmsd"]}
    return stats | here


def placed(computed: dict[str, np.ndarray], like: dict[str, Any], needed: tuple[str, ...] = ()) -> dict[str, Any]:
    """The tree ``like`` with those leaves replaced that were computed; these are named by their path, joined by dots.

    Args:
        needed: last names of leaves that must be among them; others may have no data to come from.

    Raises:
        KeyError: a needed one is not.
    """

    def leaf(path: tuple, value: np.ndarray) -> np.ndarray:
        name = ".".join(key.key for key in path)
        return computed[name].astype(value.dtype) if path[-1].key in needed or name in computed else value

    return jax.tree_util.tree_map_with_path(leaf, like)


def trainable_labels(config: ModelConfig, params: dict) -> dict:
    """True for every parameter that is trained, in the structure of ``params``; follows ``trainable``, ``lora`` and ``nvnmd``.

    The fitting net of a model that gives its forces directly takes no part, and stays as it is.
    """
    if isinstance(config, MadeOfParts):
        named = {part_name(i): part for i, part in enumerate(config.parts)}
        return {
            name: trainable_labels(named[name], own) if name in named else _vector_labels(config, own)
            for name, own in params.items()
        }
    if isinstance(config, PairTableConfig):
        return {}
    fitting = _fitting_labels(config.fitting_net, params.get("fitting_net", {}))
    descriptor = _descriptor_labels(config.descriptor, params["descriptor"])
    if config.lora is not None:
        descriptor = jax.tree_util.tree_map_with_path(
            lambda path, flag: flag and lora.is_trained([key.key for key in path]), descriptor
        )
    if config.nvnmd is not None and config.nvnmd.keeps_descriptor:
        descriptor = jax.tree.map(lambda _: False, descriptor)
    labels = {"descriptor": descriptor} | ({"fitting_net": fitting} if "fitting_net" in params else {})
    if config.type_embedding is not None:
        if "type_embedding" in params:  # else it is that of the whole model
            labels["type_embedding"] = _vector_labels(config, params["type_embedding"])
    if config.direct_forces:
        labels["fitting_net"] = jax.tree.map(lambda _: False, fitting)
        labels["dens_fitting_net"] = _head_labels(config.fitting_net, params["dens_fitting_net"])
    return labels


def _vector_labels(config: Any, params: dict) -> dict:
    """Of the type vectors of a model."""
    return jax.tree.map(lambda _: config.type_embedding.trainable, params)


def _head_labels(config: Any, params: dict) -> dict:
    """Of the heads of a model that gives its forces directly: all layers of the one for energies, or none but of it."""
    every = all(trainable_layers(config))
    labels = {name: jax.tree.map(lambda _: every, own) for name, own in params.items()}
    return labels | {"energy_head": _fitting_labels(config, params["energy_head"])}


def _fitting_labels(config: Any, params: dict) -> dict:
    per_layer = trainable_layers(config)
    if isinstance(config, Dpa4EnerFittingConfig):
        return {net: _gated_labels(per_layer, layers) for net, layers in params.items()}
    owners = layer_owners(config)
    flags = {f"layers_{i}": flag for i, flag in enumerate(per_layer) if owners[i] == i}
    return {
        net: {layer: jax.tree.map(lambda _, flag=flags[layer]: flag, leaves) for layer, leaves in layers.items()}
        for net, layers in params.items()
    }


def _gated_labels(per_layer: list[bool], params: dict) -> dict:
    """Of a net of ``dpa4_ener``; what scales and shifts its layers is trained as soon as one of them is."""

    def label(path: tuple, _: Any) -> bool:
        part = path[0].key
        if part == "hidden_layers":
            return per_layer[int(path[1].key)]
        return per_layer[-1] if part == "output_layer" else any(per_layer)

    return jax.tree_util.tree_map_with_path(label, params)


def _descriptor_labels(config: Any, params: dict) -> dict:
    own = members(config)
    if config is own[0]:
        fixed = set() if getattr(config, "trainable_ln", True) else {"norm"}  # layers that are left as they are
        return jax.tree_util.tree_map_with_path(
            lambda path, _: config.trainable and fixed.isdisjoint(key.key for key in path), params
        )
    return {name: _descriptor_labels(own[int(name.rpartition("_")[2])], part) for name, part in params.items()}
