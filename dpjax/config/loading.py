"""From a file or dict to checked dataclasses: read, upgrade, check, fill in defaults, build.

:func:`normalize` gives the dict that DeePMD-kit would write as ``out.json``; :func:`load` the :class:`Config`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from dargs import Argument
from dargs.dargs import ArgumentError

from dpjax.config import dpjax_section, learning_rate, loss, model, optimizer, training
from dpjax.config.dpjax_section import DpjaxConfig
from dpjax.config.files import read
from dpjax.config.learning_rate import LEARNING_RATES, LearningRateConfig
from dpjax.config.loss import LOSSES, EnerLossConfig
from dpjax.config.model import ModelConfig
from dpjax.config.optimizer import OPTIMIZERS, AdamConfig
from dpjax.config.schema import Context, Option, Registry
from dpjax.config.training import TrainingConfig
from dpjax.config.upgrade import upgraded
from dpjax.config.walk import checked
from dpjax.errors import ConfigError

Source = dict | str | PathLike


@dataclass(frozen=True)
class Config:
    """A whole input.

    Attributes:
        model, learning_rate, optimizer, loss, training, dpjax: the sections.
        raw: the normalised input, JSON-serialisable.
        base: folder of the input file; None for a dict. Paths in the input are relative to the current folder, not to
            this one.
    """

    model: ModelConfig
    learning_rate: LearningRateConfig
    optimizer: AdamConfig
    loss: EnerLossConfig
    training: TrainingConfig
    dpjax: DpjaxConfig
    raw: dict[str, Any]
    base: Path | None = None


def arguments() -> list[Argument]:
    """The top-level dargs arguments of an input."""
    return [
        model.argument(),
        learning_rate.argument(),
        optimizer.argument(),
        loss.argument(),
        training.argument(),
        training.validating_argument(),
        Option("nvnmd", dict, "Training for the NVNMD hardware.", not_built="NVNMD"),
        dpjax_section.argument(),
    ]


def document() -> str:
    """Every option of the input with type, default and meaning, as text."""
    return "\n".join(argument.gen_doc() for argument in arguments())


def normalize(source: Source) -> dict[str, Any]:
    """The input with aliases resolved, defaults filled in, older spellings upgraded and comments removed.

    Args:
        source: a dict (left unchanged), or the path of a JSON or YAML file.

    Raises:
        ConfigError: names the file or the path of the key, what was found and what would be right.
    """
    return load(source).raw


def load(source: Source) -> Config:
    """The input as frozen dataclasses; arguments and errors as for :func:`normalize`."""
    if isinstance(source, dict):
        return _with_file_name(lambda: _build(copy.deepcopy(source), None), None)
    path = Path(source)
    data = read(path)
    return _with_file_name(lambda: _build(data, path.parent), path)


def parse_model(section: dict) -> ModelConfig:
    """The dataclasses of a bare ``model`` section, normalised first."""
    return model.parse(_normalized_section(model.argument(), section))


def parse_learning_rate(section: dict) -> LearningRateConfig:
    """The dataclass of a bare ``learning_rate`` section."""
    normal = _normalized_section(learning_rate.argument(), section)
    learning_rate.fill(normal)
    return LEARNING_RATES.parse(normal, "learning_rate", Context())


def parse_optimizer(section: dict) -> AdamConfig:
    """The dataclass of a bare ``optimizer`` section."""
    return _parse_typed(OPTIMIZERS, optimizer.argument(), section)


def parse_loss(section: dict) -> EnerLossConfig:
    """The dataclass of a bare ``loss`` section."""
    return _parse_typed(LOSSES, loss.argument(), section)


def _parse_typed(registry: Registry, argument: Argument, section: dict) -> Any:
    return registry.parse(_normalized_section(argument, section), argument.name, Context())


def _normalized_section(argument: Argument, section: dict) -> dict:
    return _filled(argument, checked(argument, copy.deepcopy(section), argument.name))


def _build(data: dict[str, Any], base: Path | None) -> Config:
    root = Argument("input", dict, arguments())
    data = upgraded(data)
    for name in (
        "optimizer",
        "loss",
        "validating",
        "dpjax",
    ):  # empty sections get their defaults, absent ones would not
        data.setdefault(name, {})
    raw = _filled(root, checked(root, data))
    if "learning_rate" not in raw:
        raise ConfigError(
            'learning_rate: missing; it is required for training, for example {"type": "exp", "start_lr": 0.001}.'
        )
    learning_rate.fill(raw["learning_rate"])
    parsed_model = model.parse(raw["model"])
    context = Context(parsed_model.type_map)
    return Config(
        model=parsed_model,
        learning_rate=LEARNING_RATES.parse(raw["learning_rate"], "learning_rate", context),
        optimizer=OPTIMIZERS.parse(raw["optimizer"], "optimizer", context),
        loss=LOSSES.parse(raw["loss"], "loss", context),
        training=training.parse(raw["training"]),
        dpjax=dpjax_section.parse(raw["dpjax"]),
        raw=raw,
        base=base,
    )


def _filled(argument: Argument, value: dict) -> dict:
    """The checked value with aliases resolved and defaults in place; dargs has the last word on its validity."""
    try:
        value = argument.normalize_value(value)
        argument.check_value(value, strict=True)
    except ArgumentError as error:
        raise ConfigError(f"{error.path or argument.name}: {error.message}") from error
    return value


def _with_file_name(build: Callable[[], Config], path: Path | None) -> Config:
    try:
        return build()
    except ConfigError as error:
        if path is None:
            raise
        raise ConfigError(f"{path}: {error}") from error
