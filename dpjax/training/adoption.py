"""Starting from another model: its variables, and what it does otherwise than the model of the input."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from dpjax.config import HybridConfig, ModelConfig
from dpjax.config.descriptors import DESCRIPTORS
from dpjax.config.fittings import FITTINGS
from dpjax.config.models import LinearEnergyConfig, PairTableConfig
from dpjax.config.schema import Registry
from dpjax.errors import ConfigError
from dpjax.models import init_variables
from dpjax.models.pair_table import with_table_sizes

log = logging.getLogger(__name__)

_EXCLUSIONS = ("pair_exclude_types", "atom_exclude_types")
_SHORT_RANGE = ("smin_alpha", "sw_rmin", "sw_rmax")

MAY_DIFFER = {  # from a model that is continued: settings of the training, of fresh parameters and of statistics
    "trainable", "seed", "precision", "rcond", "atom_ener", "set_davg_zero", "default_fparam", "default_chg_spin", "layer_name",
}  # fmt: skip


def adopted_variables(
    config: ModelConfig, model: nn.Module, initial: tuple[ModelConfig, dict], exact: bool = False
) -> dict[str, Any]:
    """Variables of another run, checked against the model of this input.

    Raises:
        ConfigError: other types, or parameters of other names or shapes; if ``exact``, any setting that changes what the
            parameters mean. Otherwise such a setting costs a warning.
    """
    theirs, variables = initial
    if theirs.type_map != config.type_map:
        raise ConfigError(
            f"model/type_map: found {list(config.type_map)}, but the model to start from has {list(theirs.type_map)}. "
            "Use the same elements in the same order."
        )
    _require_same_heads(config, theirs)
    _require_same_form(config, theirs)
    differences = changed_settings(config, theirs)
    if exact and config.lora != theirs.lora:
        differences.append(_differs("model/lora", config.lora, theirs.lora))
    like = with_table_sizes(jax.eval_shape(lambda: init_variables(model)), variables)
    expected = _shapes(like)
    given = _shapes(variables)
    wrong = sorted(set(expected.items()) ^ set(given.items()))
    if wrong and not differences:
        name = wrong[0][0]
        differences = [
            f"model: {name} has shape {given.get(name, 'none')} in the model to start from, but this input needs "
            f"{expected.get(name, 'none')}"
        ]
    if wrong or (exact and differences):
        raise ConfigError(f"{differences[0]}. Copy the model section of that model, or start without it.")
    for difference in differences:
        log.warning("%s; training goes on with the setting of this input", difference)
    return jax.tree.map(lambda x, own: np.asarray(x).astype(own.dtype), variables, like)


def _require_same_heads(config: ModelConfig, theirs: ModelConfig) -> None:
    """Forces that are given directly have parameters of their own.

    Raises:
        ConfigError: one of the models has them, and the other has not.
    """
    if config.direct_forces == theirs.direct_forces:
        return
    kinds = "dens, whose models give forces directly", "another, whose models differentiate the energy"
    ours, other = kinds if config.direct_forces else kinds[::-1]
    raise ConfigError(
        f"loss/type: the loss is {ours}, but that of the model to start from was {other}. Use the loss of that model, or start "
        "without it."
    )


def _require_same_form(config: ModelConfig, theirs: ModelConfig) -> None:
    """Parameters of a model for the NVNMD hardware mean something else in other models.

    Raises:
        ConfigError: one of the models is for it, or for another version, and the other is not; or is quantised where the other is
            not, so that it has tables.
    """
    ours, other = (_form(model) for model in (config, theirs))
    if ours != other:
        raise ConfigError(
            f"nvnmd: this input asks for {ours}, but the model to start from is {other}. Start from files by nvnmd/weight_file and "
            "nvnmd/map_file, or use the section nvnmd of that model."
        )


def _form(config: ModelConfig) -> str:
    own = config.nvnmd
    if own is None:
        return "a model for any hardware"
    descriptor, fitting = (
        "quantised" if flag else "continuous" for flag in (own.quantize_descriptor, own.quantize_fitting_net)
    )
    return f"one of NVNMD version {own.version} with {descriptor} descriptor and {fitting} fitting net"


def filled(variables: dict[str, Any], fresh: dict[str, Any]) -> dict[str, Any]:
    """Variables of another run, with those of ``fresh`` for what it does not have; a warning names these."""
    missing = [name for name in _shapes(fresh) if name not in _shapes(variables)]
    if missing:
        parts = dict.fromkeys(".".join(name.split(".")[:3]) for name in missing)
        log.warning(
            "%d arrays are not in the model to start from and are those of a new model: %s",
            len(missing),
            ", ".join(parts),
        )
    return _merged(variables, fresh)


def _merged(theirs: Any, own: Any) -> Any:
    if not isinstance(own, dict):
        return theirs
    return {**theirs, **{key: _merged(theirs[key], value) if key in theirs else value for key, value in own.items()}}


def changed_settings(config: ModelConfig, theirs: ModelConfig) -> list[str]:
    """What the model of the input does otherwise than the one to start from, a sentence each."""
    if isinstance(config, ModelConfig) and isinstance(theirs, ModelConfig):
        return [
            _differs(path, ours, other)
            for path, ours, other in _model_settings("model", config, theirs)
            if ours != other
        ]
    values = list(_settings_of_parts(config, theirs))
    return [_differs(path, ours, other) for path, ours, other in values if ours != other]


def _settings_of_parts(config: Any, theirs: Any) -> Iterator[tuple[str, Any, Any]]:
    """Path and values of the settings of two models, one of which at least is made of parts."""
    if type(config) is not type(theirs):
        yield "model/type", config.type, theirs.type
        return
    yield from ((f"model/{n}", getattr(config, n), getattr(theirs, n)) for n in _EXCLUSIONS)
    if isinstance(config, PairTableConfig):
        yield from ((f"model/{n}", getattr(config, n), getattr(theirs, n)) for n in ("rcut", "sel"))
        return
    kinds = [[type(part).__name__ for part in own.parts] for own in (config, theirs)]
    if isinstance(config, LinearEnergyConfig):
        yield "model/weights", config.factors, theirs.factors
    if kinds[0] != kinds[1]:
        yield "model/models", *kinds
        return
    for place, ours, other in zip(config.places, config.parts, theirs.parts, strict=True):
        path = f"model/{place}"
        if isinstance(ours, ModelConfig):
            yield from _model_settings(path, ours, other)
        else:
            yield from ((f"{path}/{n}", getattr(ours, n), getattr(other, n)) for n in ("rcut", "sel", *_EXCLUSIONS))


def _model_settings(path: str, config: ModelConfig, theirs: ModelConfig) -> list[tuple[str, Any, Any]]:
    """Path and values of the settings of two models with networks."""
    values = [
        *_settings(f"{path}/descriptor", DESCRIPTORS, config.descriptor, theirs.descriptor),
        *_settings(f"{path}/fitting_net", FITTINGS, config.fitting_net, theirs.fitting_net),
    ]
    vectors = config.type_embedding, theirs.type_embedding
    if None not in vectors:
        values += _values(f"{path}/type_embedding", *vectors)
    elif vectors[0] != vectors[1]:
        values.append((f"{path}/type_embedding", *vectors))
    values.append((f"{path}/spin/virtual_scale", config.virtual_scale, theirs.virtual_scale))
    values.append((f"{path}/modifier", *(None if m.modifier is None else m.modifier.options for m in (config, theirs))))
    return values + [(f"{path}/{n}", getattr(config, n), getattr(theirs, n)) for n in (*_EXCLUSIONS, *_SHORT_RANGE)]


def _differs(path: str, ours: Any, theirs: Any) -> str:
    return f"{path}: found {_as_written(ours)}, but the model to start from has {_as_written(theirs)}"


def _settings(path: str, registry: Registry, ours: Any, theirs: Any) -> Iterator[tuple[str, Any, Any]]:
    """Path and values of the settings of a section in two models; of its type only where that differs."""
    kinds = [registry.name_of(section) for section in (ours, theirs)]
    if kinds[0] != kinds[1]:
        yield f"{path}/type", *kinds
    elif isinstance(ours, HybridConfig):
        names = [[registry.name_of(part) for part in section.list] for section in (ours, theirs)]
        if len(names[0]) != len(names[1]):
            yield f"{path}/list", *names
        else:
            for i, pair in enumerate(zip(ours.list, theirs.list, strict=True)):
                yield from _settings(f"{path}/list/{i}", registry, *pair)
    else:
        yield from _values(path, ours, theirs)


def _values(path: str, ours: Any, theirs: Any) -> Iterator[tuple[str, Any, Any]]:
    """Path and values of the settings of a section, and of the sections in it, in two models of one kind."""
    for name in (f.name for f in fields(ours) if f.name not in MAY_DIFFER):
        own, other = getattr(ours, name), getattr(theirs, name)
        if is_dataclass(own) and is_dataclass(other):
            yield from _values(f"{path}/{name}", own, other)
        else:
            yield f"{path}/{name}", own, other


def _as_written(value: Any) -> str:
    """As in the input, where tuples are lists."""
    return json.dumps(value, default=asdict)


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.shape(leaf) for path, leaf in leaves}
