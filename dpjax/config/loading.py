"""From a file or dict to checked dataclasses: read, upgrade, check, fill in defaults, build.

:func:`normalize` gives the dict that DeePMD-kit would write as ``out.json``, for everything the language has;
:func:`load` the :class:`Config` of a training that this version can run.
"""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

from dargs import Argument

from dpjax.config import (
    cross_checks,
    dpjax_section,
    editor_schema,
    learning_rate,
    losses,
    meaning,
    models,
    nvnmd,
    optimizers,
    tasks,
    training,
    validating,
)
from dpjax.config import multi_task as multi_task_input
from dpjax.config.descriptors import DESCRIPTORS
from dpjax.config.descriptors.hybrid import descriptor_parts
from dpjax.config.dpjax_section import DpjaxConfig
from dpjax.config.files import read
from dpjax.config.learning_rate import LEARNING_RATES, LearningRateConfig
from dpjax.config.losses import LOSSES, LossConfig
from dpjax.config.models import ModelConfig
from dpjax.config.models.common import CommonModelConfig
from dpjax.config.optimizers import OPTIMIZERS, AdamConfig
from dpjax.config.positions import Lines, line_of
from dpjax.config.problems import Problem, Report
from dpjax.config.schema import Context, Registry
from dpjax.config.tasks import Pieces
from dpjax.config.training import TrainingConfig
from dpjax.config.upgrade import upgraded
from dpjax.config.validating import ValidatingConfig
from dpjax.config.walk import normalized
from dpjax.errors import ConfigError

log = logging.getLogger(__name__)

Source = dict | str | PathLike

LONG = 10**9  # steps that stand for a length which follows from the data


@dataclass(frozen=True)
class Config:
    """A whole input.

    Attributes:
        model, learning_rate, optimizer, loss, training, validating, dpjax: the sections.
        raw: the normalised input, JSON-serialisable.
        base: folder of the input file; None for a dict. Paths in the input are relative to the current folder, not to
            this one.
    """

    model: ModelConfig
    learning_rate: LearningRateConfig
    optimizer: AdamConfig
    loss: LossConfig
    training: TrainingConfig
    validating: ValidatingConfig
    dpjax: DpjaxConfig
    raw: dict[str, Any]
    base: Path | None = None

    @property
    def first(self) -> Config:
        """The input itself, as of one task."""
        return self


@dataclass(frozen=True)
class Tasks:
    """A whole input of several tasks.

    Attributes:
        configs: what each task would be trained with alone, by its name.
        pieces: of each task, place in the tree of its parameters to the name of the piece that stands there.
        model_prob, num_epoch_dict: how often each is drawn, as written; empty where they are not given.
        raw: the normalised input, JSON-serialisable.
    """

    configs: dict[str, Config]
    pieces: dict[str, Pieces]
    model_prob: dict[str, float]
    num_epoch_dict: dict[str, float]
    raw: dict[str, Any]

    @property
    def first(self) -> Config:
        """The input of the first task; what tasks have in common stands in each."""
        return next(iter(self.configs.values()))


@dataclass(frozen=True)
class _Input:
    """An input as it was given, and what was made of it."""

    data: dict[str, Any]
    name: str = ""
    lines: Lines = field(default_factory=dict)
    report: Report = field(default_factory=Report)
    raw: dict[str, Any] = field(default_factory=dict)

    def raise_any(self) -> None:
        """Raise ConfigError with everything that is wrong, if anything is."""
        self.report.raise_any(self.name, lambda path: line_of(self.lines, path))


def arguments(multi_task: bool = False) -> list[Argument]:
    """The top-level dargs arguments of an input with one model, or with several."""
    if multi_task:
        model, loss, run = multi_task_input.arguments()
    else:
        model, loss, run = models.argument(), losses.argument(), training.argument()
    return [
        model,
        learning_rate.argument(),
        optimizers.argument(),
        loss,
        run,
        validating.argument(),
        nvnmd.argument(),
        dpjax_section.argument(),
    ]


def json_schema(multi_task: bool = False) -> dict[str, Any]:
    """The JSON Schema (draft 7) of an input with one model, or with several."""
    tasks = " for several tasks" if multi_task else ""
    return editor_schema.json_schema(arguments(multi_task), f"dpjax training input{tasks}", shared=multi_task)


@functools.cache
def _root(multi_task: bool = False) -> Argument:
    return Argument("input", dict, arguments(multi_task))


@functools.cache
def _model_root() -> Argument:
    return Argument("input", dict, [models.argument()])


def options_table() -> list[meaning.Meaning]:
    """What every option means in this version, in the order of the input; see :class:`~dpjax.config.meaning.Meaning`."""
    tasks = [meaning.leaf(option, path, newer=True) for path, option in multi_task_input.own_options()]
    return [*meaning.table(_root().sub_fields.values()), *tasks]


def normalize(source: Source) -> dict[str, Any]:
    """The input with aliases resolved, defaults filled in, older spellings upgraded and comments removed.

    Everything that the input language has is accepted, whether this version can run it or not.

    Args:
        source: a dict (left unchanged), or the path of a JSON or YAML file.

    Raises:
        ConfigError: names the file, and for every mistake its line, the path of the key, what was found and what would be
            right.
    """
    return _checked(source)[0].raw


def load_any(source: Source) -> Config | Tasks:
    """The input of a training of one task or of several; arguments and errors as for :func:`load`."""
    data = _read(source).data
    return load_tasks(source) if multi_task_input.is_multi_task(data) else load(source)


def load_tasks(source: Source) -> Tasks:
    """The input of a training of several tasks; arguments and errors as for :func:`load`."""
    checked, _ = _checked(source)
    raw = checked.raw
    checked.report.extend(_missing_for_training(raw))
    checked.report.extend(tasks.problems(raw))
    checked.report.extend(_hardware_of_tasks(raw))
    checked.report.extend(_branches_without_networks(raw["model"]["model_dict"]))
    checked.raise_any()
    run = raw["training"]
    steps = run.get("numb_steps")
    inputs = tasks.task_inputs(raw, LONG if steps is None else steps)
    configs = {name: _of_task(name, task.section) for name, task in inputs.items()}
    pieces = {name: task.pieces for name, task in inputs.items()}
    return Tasks(configs, pieces, run.get("model_prob") or {}, run.get("num_epoch_dict") or {}, raw)


def _hardware_of_tasks(raw: dict[str, Any]) -> Iterator[Problem]:
    if raw.get("nvnmd", {}).get("enable"):
        yield Problem(
            "nvnmd/enable",
            "found true in an input of several tasks; the NVNMD hardware has one model. Set it to false.",
        )


def _of_task(name: str, section: dict[str, Any]) -> Config:
    try:
        return load(section)
    except ConfigError as error:
        raise ConfigError(f"task {name}: {error}") from error


def load(source: Source) -> Config:
    """The input of a training as frozen dataclasses; arguments and errors as for :func:`normalize`.

    Raises:
        ConfigError: also where the input asks for what this version cannot do, or lacks what a training needs.
    """
    checked, parts = _checked(source)
    if multi_task_input.is_multi_task(checked.raw):
        raise ConfigError("model/model_dict: this is an input of several tasks; read it with load_tasks or load_any.")
    checked.report.extend(_missing_for_training(checked.raw))
    hardware = parts.pop("nvnmd", None)
    checked.report.extend(cross_checks.problems(parts))
    if hardware is not None:
        checked.report.extend(nvnmd.problems(hardware, parts))
    checked.report.extend(_refusals(checked))
    checked.raise_any()
    for problem in (*meaning.without_effect(_root(), checked.raw), *_idle(parts)):
        log.info("%s", problem)
    parts["optimizer"] = _rounding_as_said(parts["optimizer"], parts["dpjax"])
    parts["model"] = as_trained(parts["model"], checked.raw)
    return Config(**parts, raw=checked.raw, base=None if isinstance(source, dict) else Path(source).parent)


def as_trained(model: ModelConfig, raw: dict[str, Any]) -> ModelConfig:
    """The model in the form that other sections of a normalised input say: the loss, which may train heads, and ``nvnmd``."""
    model = models.with_direct_forces(model) if raw.get("loss", {}).get("type") == "dens" else model
    return nvnmd.in_form(model, raw.get("nvnmd"))


def model_of(raw: dict[str, Any]) -> ModelConfig:
    """The model of a normalised input of a training of one model; errors as for :func:`parse_model`."""
    return as_trained(parse_model(raw["model"]), raw)


def _rounding_as_said(optimizer: Any, dpjax: DpjaxConfig) -> Any:
    """An optimizer that rounds is told how; DeePMD-kit has no option for it, so it does not stand in its section."""
    return replace(optimizer, precision=dpjax.muon_precision) if hasattr(optimizer, "precision") else optimizer


def not_built(source: Source) -> list[Problem]:
    """What a valid input asks for and this version cannot do; arguments and errors as for :func:`normalize`."""
    return _refusals(_checked(source)[0])


def _checked(source: Source) -> tuple[_Input, dict[str, Any]]:
    """The input, normalised and free of mistakes, and its dataclasses by section."""
    given = _read(source)
    data = upgraded(given.data, given.report)
    several = multi_task_input.is_multi_task(data)
    sharing = multi_task_input.resolved(data, given.report) if several else multi_task_input.Sharing()
    branches = data["model"]["model_dict"] if several else {"": data.get("model")}
    for section in branches.values() if isinstance(branches, dict) else ():
        models.complete(section)
    for name in ("optimizer", "validating", "dpjax", *(() if several else ("loss",))):
        data.setdefault(name, {})  # empty sections get their defaults, absent ones would not
    raw = normalized(_root(several), data, given.report)
    if "learning_rate" in raw:
        learning_rate.fill(raw["learning_rate"])
    context = Context(report=given.report)
    parts = _parsed(raw, context, several)
    given = replace(given, raw=raw, report=given.report.moved(sharing.written_at))
    given.raise_any()
    if several:
        multi_task_input.shared_again(raw, sharing)
    return given, parts


def _missing_for_training(raw: dict[str, Any]) -> Iterator[Problem]:
    yield from () if "model_dict" in raw["model"] else _type_map_missing(raw["model"])
    if "learning_rate" not in raw:
        example = '{"type": "exp", "start_lr": 0.001}'
        yield Problem("learning_rate", f"missing; it is required for training, for example {example}.")


def _idle(parts: dict[str, Any]) -> Iterator[Problem]:
    """Options of the loss and of descriptors that change nothing beside the others."""
    sections = [("loss", LOSSES[parts["loss"].type], parts["loss"])]
    descriptor = getattr(parts["model"], "descriptor", None)  # not every model has one
    for path, part in () if descriptor is None else descriptor_parts(descriptor):
        if isinstance(part, CommonModelConfig):  # a pair table
            continue
        sections.append((path, DESCRIPTORS[DESCRIPTORS.name_of(part)], part))
    for path, component, config in sections:
        for key, reason in component.idle(config):
            yield Problem(f"{path}/{key}", f"changes nothing: {reason}.")


def _refusals(checked: _Input) -> list[Problem]:
    """What a single input asks for and this version cannot do, or each of several tasks."""
    if multi_task_input.is_multi_task(checked.raw):
        made_of_parts = list(_branches_without_networks(checked.raw["model"]["model_dict"]))
        if made_of_parts:
            return made_of_parts
        inputs = tasks.task_inputs(checked.raw, LONG)
        each = {
            name: meaning.refusals(_root(), normalized(_root(), task.section, Report()))
            for name, task in inputs.items()
        }
        return [Problem(p.path, f"task {name}: {p.text}") for name, problems in each.items() for p in problems]
    return list(meaning.refusals(_root(), checked.raw))


def _branches_without_networks(branches: dict[str, Any]) -> Iterator[Problem]:
    """What several tasks share are descriptors and fitting nets."""
    for name, branch in branches.items():
        if "descriptor" not in branch:
            text = (
                f"found {branch['type']!r}, which is trained by itself, not among several tasks: it has no descriptor to share. "
                "Train it with an input of its own."
            )
            yield Problem(f"model/model_dict/{name}/type", text)


def parse_model(section: dict) -> ModelConfig:
    """The dataclasses of a bare ``model`` section that this version can build, normalised first."""
    report, section = Report(), copy.deepcopy(section)
    models.complete(section)
    root = _model_root()
    raw = normalized(root, {"model": section}, report)
    config = models.parse(raw.get("model"), "model", Context(report=report))
    if not report.problems:
        report.extend(_type_map_missing(raw["model"]))
        report.extend(meaning.refusals(root, raw))
    report.raise_any()
    return config


def parse_learning_rate(section: dict) -> LearningRateConfig:
    """The dataclass of a bare ``learning_rate`` section."""
    return _parse_typed(LEARNING_RATES, learning_rate.argument, section, learning_rate.fill)


def parse_optimizer(section: dict) -> AdamConfig:
    """The dataclass of a bare ``optimizer`` section."""
    return _parse_typed(OPTIMIZERS, optimizers.argument, section)


def parse_loss(section: dict) -> LossConfig:
    """The dataclass of a bare ``loss`` section."""
    return _parse_typed(LOSSES, losses.argument, section)


def _parse_typed(
    registry: Registry, argument: Callable[[], Argument], section: dict, fill: Callable[[dict], None] | None = None
) -> Any:
    report, own = Report(), argument()
    root, name = Argument("input", dict, [own]), own.name
    raw = normalized(root, {name: copy.deepcopy(section)}, report)
    if fill and name in raw:
        fill(raw[name])
    config = registry.parse(raw.get(name), name, Context(report=report))
    if not report.problems:
        report.extend(meaning.refusals(root, raw))
    report.raise_any()
    return config


def _read(source: Source) -> _Input:
    if isinstance(source, dict):
        return _Input(copy.deepcopy(source))
    data, lines = read(Path(source))
    return _Input(data, str(source), lines)


def _parsed(raw: dict[str, Any], context: Context, several: bool) -> dict[str, Any]:
    """The dataclasses by section; those that could not be made are missing, and the report says why."""
    parsers = {
        "learning_rate": LEARNING_RATES.parse,
        "optimizer": OPTIMIZERS.parse,
        "dpjax": dpjax_section.parse,
        "validating": validating.parse,
    }
    hardware = nvnmd.parse(raw.get("nvnmd"), "nvnmd", context)
    if several:
        multi_task_input.check(raw, context)
    else:
        parsers |= {"model": models.parse, "loss": LOSSES.parse, "training": training.parse}
    found = {name: parse(raw[name], name, context) for name, parse in parsers.items() if name in raw}
    return found if hardware is None else found | {"nvnmd": hardware}


def _type_map_missing(section: dict) -> Iterator[Problem]:
    text = (
        'missing; it is required. Give the names of the atom types, as in ["O", "H"]; entries of sel and of other lists per '
        "type follow this order."
    )
    if not section.get("type_map"):
        yield Problem("model/type_map", text)
