"""The model section of a pretrained model in the types of an input, and in the place of the input's own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from dpjax.config import ModelConfig, multi_task
from dpjax.config.problems import Report
from dpjax.descriptors import has_type_networks, members, selections
from dpjax.errors import ConfigError
from dpjax.finetune.types import TypeChange

Section = dict[str, Any]


def with_pretrained_model(data: Section, pretrained: ModelConfig, new_head: bool) -> Section:
    """An input whose descriptor, type embedding and fitting net are those of the pretrained model, in the types of the input.

    The input keeps its ``type_map``, the ``trainable`` flags, and all else of its model section; with a new head its fitting net,
    too.

    Args:
        data: the input as read; left as it is.

    Raises:
        ConfigError: the pretrained model says nothing about a new type that its descriptor must know.
    """
    model = data.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("type_map"), list):
        return data  # what is wrong is said when the input is checked
    types = TypeChange(pretrained.data_types, tuple(model["type_map"]))
    theirs = in_our_types(pretrained, types)
    parts = [
        "descriptor",
        *([] if new_head else ["fitting_net"]),
        *(["type_embedding"] if "type_embedding" in theirs else []),
    ]
    taken = {name: _with_flags(theirs[name], model.get(name)) for name in parts}
    own = {name: value for name, value in model.items() if name != "type_embedding"}
    return {**copy.deepcopy(data), "model": {**copy.deepcopy(own), **taken}}


def with_pretrained_models(
    data: Section, pretrained: Mapping[str, tuple[ModelConfig, bool]], whole: bool = False
) -> Section:
    """:func:`with_pretrained_model` for each task of an input of several; what they share goes into ``shared_dict``.

    Args:
        data: the input as read; left as it is.
        pretrained: task -> model that it starts from, and whether it has a new head.
        whole: take the whole section of the model in place of that of the task.

    Raises:
        ConfigError: tasks share what is not the same in the models that they start from.
    """
    data, report = copy.deepcopy(data), Report()
    sharing = multi_task.resolved(data, report)
    if report.problems:
        return data  # what is wrong is said when the input is checked
    branches = data["model"]["model_dict"]
    for task, (config, new_head) in pretrained.items():
        own = {**data, "model": branches[task]}
        taken = copy.deepcopy(config.raw) if whole else with_pretrained_model(own, config, new_head)["model"]
        branches[task] = taken
    seen: dict[str, tuple[str, Any]] = {}
    for path, text in sharing.names.items():
        task, *inner = path.split("/")[2:]
        section = _at(branches[task], inner)
        first, theirs = seen.setdefault(text.partition(":")[0], (task, section))
        if section is None or section != theirs:
            raise ConfigError(
                f"use_pretrain_script: {first} and {task} share {text.partition(':')[0]!r} of model/shared_dict, which is not the "
                "same in the models that they start from. Let them start from one, or write the sections out without sharing them."
            )
    multi_task.shared_again(data, sharing)
    return data


def _at(section: Any, keys: Sequence[str]) -> Any:
    """What stands at a path; None where there is nothing."""
    for key in keys:
        if isinstance(section, list):
            section = section[int(key)] if int(key) < len(section) else None
        else:
            section = section.get(key) if isinstance(section, dict) else None
    return section


def _with_flags(section: Section, own: Any) -> Section:
    """A section with the ``trainable`` flag of the input's own; that of a hybrid for each part, else for all."""
    own = own if isinstance(own, dict) else {}
    if "list" not in section:
        return {**section, "trainable": own.get("trainable", True)} if "trainable" in section else section
    listed = own.get("list")
    given = listed if isinstance(listed, list) and len(listed) == len(section["list"]) else [own] * len(section["list"])
    return {**section, "list": [_with_flags(part, flags) for part, flags in zip(section["list"], given, strict=True)]}


def require_like_spins(ours: ModelConfig, theirs: ModelConfig) -> None:
    """Raise where one model has spins and the other has not: what one knows of virtual atoms would have no place in the other.

    Raises:
        ConfigError: it is so.
    """
    if bool(ours.virtual_scale) != bool(theirs.virtual_scale):
        found, has = ("found", "none") if ours.virtual_scale else ("missing", "one")
        raise ConfigError(
            f"model/spin: {found}, but the pretrained model has {has}. A model with spins is fine-tuned from one with spins, and "
            "one without from one without: add the section, or remove it."
        )


def with_pretrained_sel(data: Section, pretrained: ModelConfig) -> Section:
    """An input whose descriptors take ``sel`` from the pretrained model where they leave it to be counted.

    The same object if nothing is to be changed: where all is given, the descriptors differ, or a new type needs its own number.
    """
    model = data.get("model")
    own = model.get("descriptor") if isinstance(model, dict) else None
    if not isinstance(own, dict) or not isinstance(model.get("type_map"), list):
        return data
    if bool(pretrained.virtual_scale) != (model.get("spin") is not None):
        return data  # they do not count the same
    types = TypeChange(pretrained.data_types, tuple(model["type_map"]))
    parts, theirs = _parts(own), _parts(pretrained.raw["descriptor"])
    alike = len(parts) == len(theirs) and all(
        isinstance(part, dict) and part.get("type", "se_e2_a") == other["type"] for part, other in zip(parts, theirs)
    )
    configs = members(pretrained.descriptor)
    counted = alike and any(_left_open(part, path) for part, own in zip(parts, configs) for path in selections(own))
    if not counted or (types.new and any(map(has_type_networks, configs))):
        return data
    descriptor = in_our_types(pretrained, types)["descriptor"]
    filled = [
        _filled(part, other, [path for path in selections(config) if _left_open(part, path)])
        for part, other, config in zip(parts, _parts(descriptor), configs, strict=True)
    ]
    section = {**own, "list": filled} if "list" in own else filled[0]
    return {**data, "model": {**model, "descriptor": section}}


def _left_open(part: Section, path: Sequence[str]) -> bool:
    """Whether the length of a list is to be counted; ``sel`` is, too, where it is missing."""
    given = _at(part, path)
    return isinstance(given, str) or (given is None and tuple(path) == ("sel",))


def _filled(part: Section, other: Section, paths: Sequence[Sequence[str]]) -> Section:
    """A section with what another has at some paths."""
    for key, *inner in paths:
        value = _filled(part[key], other[key], [inner]) if inner else other[key]
        part = {**part, key: value}
    return part


def _parts(descriptor: Section) -> list[Any]:
    """The sections of a hybrid, or the section itself."""
    listed = descriptor.get("list", [descriptor])
    return listed if isinstance(listed, list) else []


def in_our_types(pretrained: ModelConfig, types: TypeChange, ours: ModelConfig | None = None) -> Section:
    """The model section of the pretrained model with everything that is given per type in our types.

    Args:
        types: of atoms, without virtual ones for spins.
        ours: says what new types have; without it a new type that needs a number is an error.

    Raises:
        ConfigError: a descriptor with networks per type has no ``sel`` for a new type.
    """
    raw = copy.deepcopy(pretrained.raw)
    raw.pop("modifier", None)  # is about labels, and the input's own
    if types.unchanged:
        return raw
    sections, configs = _parts(raw["descriptor"]), members(pretrained.descriptor)
    fills = [None] * len(configs) if ours is None else members(ours.descriptor)
    fills = fills if len(fills) == len(configs) else [None] * len(configs)
    for section, config, fill in zip(sections, configs, fills, strict=True):
        _write_sels(section, config, types, fill)
        section["exclude_types"] = types.pairs(section.get("exclude_types") or [])
    fitting = raw["fitting_net"]
    for name, default in (("atom_ener", None), ("scale", 1.0)):
        if isinstance(fitting.get(name), list) and fitting[name]:
            fitting[name] = types.entries(fitting[name], [default] * len(types.ours))
    if fitting.get("sel_type") is not None:
        fitting["sel_type"] = types.indices(fitting["sel_type"])
    raw["type_map"] = list(types.ours)
    raw["pair_exclude_types"] = types.pairs(raw.get("pair_exclude_types") or [])
    raw["atom_exclude_types"] = types.indices(raw.get("atom_exclude_types") or [])
    if pretrained.virtual_scale:
        raw["spin"] = _spin_section(pretrained, types, ours)
    for name, values in (raw.get("preset_out_bias") or {}).items():
        raw["preset_out_bias"][name] = None if values is None else types.entries(values)
    return raw


def _spin_section(pretrained: ModelConfig, types: TypeChange, ours: ModelConfig | None) -> Section:
    """Which of our types carry a spin, and where their virtual atoms stand; new types as in our model, else without."""
    fill = (0.0,) * len(types.ours) if ours is None or not ours.virtual_scale else ours.virtual_scale
    scale = types.entries(pretrained.virtual_scale, fill)
    return {"use_spin": [length != 0.0 for length in scale], "virtual_scale": scale}


def _write_sels(section: dict[str, Any], config: Any, types: TypeChange, fill: Any) -> None:
    """Put the lengths of a descriptor's lists into its section, in our types."""
    if has_type_networks(config):
        section["sel"] = _sel(config, types, getattr(fill, "sel", None))
        return
    for path, selection in selections(config).items():
        place = section if len(path) == 1 else section[path[0]]
        place[path[-1]] = selection.sel if isinstance(selection.sel, int) else sum(selection.sel)


def _sel(config: Any, types: TypeChange, fill: Any) -> list[int]:
    """``sel`` of a descriptor with networks per type in our types."""
    known = isinstance(fill, Sequence) and not isinstance(fill, str) and len(fill) >= len(types.ours)
    given = fill[: len(types.ours)] if known else None  # behind them stand those of virtual atoms
    if types.new and given is None:
        raise ConfigError(
            f"model/descriptor/sel: the pretrained model has networks per type, and no number of neighbours for "
            f"{', '.join(types.new)}. Write its descriptor into the input, with a sel for each type, and leave "
            "--use-pretrain-script out."
        )
    return types.entries(config.sel, given)
