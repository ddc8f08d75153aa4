"""The ``linear_ener`` model: a weighted sum of other energy models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from dpjax.config.checks import check_choice
from dpjax.config.descriptors import DESCRIPTORS
from dpjax.config.descriptors.kinds import BY_TYPE, MESSAGES, OWN_CUT
from dpjax.config.fittings.outputs import ENERGY
from dpjax.config.models.bridging import bridged
from dpjax.config.models.common import (
    CommonModelConfig,
    check_common,
    check_no_short_range_table,
    common_options,
    common_sections,
    parse_model,
)
from dpjax.config.models.inner_potential import INNER_POTENTIAL, InnerPotentialConfig
from dpjax.config.models.layer_names import check_shared_layers
from dpjax.config.models.parts import (
    Descriptors,
    EnergyModelFacts,
    EnergySum,
    MadeOfParts,
    descriptors_of,
    frame_parameters,
    lacks,
)
from dpjax.config.problems import Problem
from dpjax.config.schema import REQUIRED, Component, Context, Option, Registry
from dpjax.config.suggestions import found, join
from dpjax.config.values import matches


@dataclass(frozen=True, kw_only=True)
class LinearEnergyConfig(MadeOfParts, EnergyModelFacts, CommonModelConfig):
    """A weighted sum of energy models."""

    models: tuple[CommonModelConfig, ...] | dict[str, CommonModelConfig]
    weights: tuple[float, ...] | str
    shared_dict: dict[str, Any] | None = None
    type: str = "linear_ener"

    @property
    def named(self) -> list[tuple[str | int, CommonModelConfig]]:
        """The parts with their names, or with their positions where they have none."""
        return list(self.models.items() if isinstance(self.models, dict) else enumerate(self.models))

    @property
    def places(self) -> tuple[str, ...]:
        """Where the parts stand in the section of the model."""
        return tuple(f"models/{name}" for name, _ in self.named)

    @cached_property
    def parts(self) -> tuple[CommonModelConfig, ...]:
        """The parts in their order, with what they inherit: conventions, and pairs that the whole model excludes."""
        return tuple(
            replace(part, conventions=self.conventions, pair_exclude_types=_pairs_of(part, self))
            for _, part in self.named
        )

    def with_parts(self, parts: dict[str | int, CommonModelConfig]) -> LinearEnergyConfig:
        """The same model with other parts, by name or position."""
        models = {name: parts.get(name, part) for name, part in self.named}
        sections = {name: part.raw for name, part in models.items()}
        if not isinstance(self.models, dict):
            models, sections = tuple(models.values()), list(sections.values())
        return replace(self, models=models, raw={**self.raw, "models": sections})

    @property
    def factors(self) -> tuple[float, ...]:
        """The factor of each part."""
        if isinstance(self.weights, str):
            return ((1.0 if self.weights == "sum" else 1.0 / len(self.models)),) * len(self.models)
        return tuple(map(float, self.weights))

    @cached_property
    def descriptor(self) -> Descriptors:
        """What the parts need of the neighbour table."""
        pairs = [(place, part) for place, (_, part) in zip(self.places, self.named, strict=True)]
        found = [(path, own, part) for place, part in pairs for path, own in descriptors_of(place, part)]
        own = tuple(_reordered(own, part, self.type_map) for _, own, part in found)
        return Descriptors(own, tuple(path for path, *_ in found))

    @cached_property
    def fitting_net(self) -> EnergySum:
        """What the whole model predicts and takes."""
        most = max(part.fitting_net.numb_aparam for part in self.parts)
        return EnergySum(numb_aparam=most, **frame_parameters(self.parts))


def _pairs_of(part: CommonModelConfig, whole: CommonModelConfig) -> tuple[tuple[int, int], ...]:
    """Pairs that a part excludes, by its own types: its own, and those of the whole model."""
    theirs = [tuple(part.type_map.index(whole.type_map[t]) for t in pair) for pair in whole.pair_exclude_types]
    return tuple(dict.fromkeys((*part.pair_exclude_types, *theirs)))


def _reordered(descriptor: Any, part: CommonModelConfig, type_map: tuple[str, ...]) -> Any:
    """A descriptor of a part whose ``sel`` counts by the types of the whole model, where it counts them apart."""
    if not any(type(descriptor) is DESCRIPTORS[name].config for name in BY_TYPE) or isinstance(descriptor.sel, str):
        return descriptor
    return replace(descriptor, sel=tuple(descriptor.sel[part.type_map.index(t)] for t in type_map))


def linear_ener(simple: tuple[Component, ...]) -> Component:
    """The component; ``simple`` are the kinds of model that its parts can be."""
    parts = Registry("model", (*simple, INNER_POTENTIAL), default="standard", doc="How this part is put together.")

    def sections(section: dict, path: str, context: Context) -> dict[str, Any]:
        models = _parse_parts(parts, section.get("models"), join(path, "models"), context)
        return common_sections(section, path, context) | {"models": models}

    return Component(
        "linear_ener",
        LinearEnergyConfig,
        lambda: _options(parts),
        _check,
        doc="A weighted sum of energy models.",
        sections=sections,
        lacks=_lacks,
    )


def _options(parts: Registry) -> list[Option]:
    return [
        Option(
            "models",
            [list, dict],
            "The models to add up: a list of sections like this one, or sections by name. A part without type_map has that "
            "of the whole.",
            REQUIRED,
            sub_fields=common_options(),
            sub_variants=[parts.variant()],
            repeat=True,
            fold_subdoc=True,
        ),
        Option(
            "weights",
            [list, str],
            "Factor of each part: a list of numbers in the order of the models, `sum` (1 for all) or `mean` (1 divided by "
            "their number).",
            REQUIRED,
        ),
        Option(
            "shared_dict",
            dict,
            "Sections by name that several of the models refer to, so that these share their parameters.",
            neutral={},
            newer=True,
            not_built="parameters shared by the parts of a linear model",
        ),
    ]


def _parse_parts(parts: Registry, models: Any, path: str, context: Context) -> tuple | dict | None:
    """The dataclasses of the parts; None where something in one of them is wrong."""
    if models is None:
        return None
    named = list(models.items() if isinstance(models, dict) else enumerate(models))
    parsed = {name: parse_model(parts, section, join(path, name), context) for name, section in named}
    if any(part is None for part in parsed.values()):
        return None
    return parsed if isinstance(models, dict) else tuple(parsed.values())


def _check(cfg: LinearEnergyConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_common(cfg, path, context)
    yield from check_no_short_range_table(cfg, path)
    if not cfg.models:
        yield Problem(join(path, "models"), "found no model; give at least one.")
        return
    yield from _check_weights(cfg, join(path, "weights"))
    for name, part in cfg.named:
        yield from _check_part(part, cfg.type_map, join(path, f"models/{name}"))
    for key in ("numb_fparam", "numb_aparam"):
        yield from _check_parameters(cfg, key, path)
    yield from check_shared_layers(cfg.named, join(path, "models"))
    if any(isinstance(part, InnerPotentialConfig) for _, part in cfg.named):
        yield from _check_inner_potential(cfg, path)


def _check_weights(cfg: LinearEnergyConfig, path: str) -> Iterator[Problem]:
    if isinstance(cfg.weights, str):
        yield from check_choice(cfg.weights, ("mean", "sum"), path)
        return
    for i, weight in enumerate(cfg.weights):
        if not matches(weight, float):
            yield Problem(join(path, i), f"{found(weight)}, expected a number.")
    if len(cfg.weights) != len(cfg.models):
        text = f'found {len(cfg.weights)} numbers for {len(cfg.models)} models. Give one for each, "mean" or "sum".'
        yield Problem(path, text)


def _check_part(part: CommonModelConfig, type_map: tuple[str, ...], path: str) -> Iterator[Problem]:
    missing = [name for name in type_map if name not in part.type_map]
    if missing:
        text = f"lacks {', '.join(missing)}; every part must know all types of the whole model ({', '.join(type_map)})."
        yield Problem(join(path, "type_map"), text)
    output = getattr(getattr(part, "fitting_net", None), "output", ENERGY)
    if output is not ENERGY:
        text = f"predicts {output.label}; the parts of a linear model predict energies."
        yield Problem(join(path, "fitting_net/type"), text)
    if part.lora is not None:
        text = "found a section in a part of a linear model; only a model by itself has corrections. Remove it."
        yield Problem(join(path, "lora"), text)
    if part.preset_out_bias:
        text = "found values in a part of a linear model, whose bias belongs to the whole. Give them in model/preset_out_bias."
        yield Problem(join(path, "preset_out_bias"), text)
    if hasattr(part, "bridging_method") and bridged(part):
        text = (
            f"found {part.bridging_method!r} in a part of a linear model. Add a part of type inner_potential instead."
        )
        yield Problem(join(path, "bridging_method"), text)


def _check_parameters(cfg: LinearEnergyConfig, key: str, path: str) -> Iterator[Problem]:
    """All parts that take frame or atomic parameters get the same ones."""
    counts = {name: getattr(getattr(part, "fitting_net", None), key, 0) for name, part in cfg.named}
    if len({n for n in counts.values() if n}) > 1:
        listed = ", ".join(f"{n} in models/{name}" for name, n in counts.items() if n)
        text = f"{key} must be the same in all parts that have it, because they get the same numbers; found {listed}."
        yield Problem(join(path, "models"), text)


def _lacks(section: dict, path: str) -> Iterator[Problem]:
    """Parts that pass messages see all atoms at once; those with networks per type see the atoms of one type at a time."""
    yield from lacks(section, path)
    models = section["models"]
    named = list(models.items() if isinstance(models, dict) else enumerate(models))
    for name, part in named:
        if part.get("type_embedding") is not None:
            text = "found a section in a part of a linear model, which is not built yet in this version. Remove it."
            yield Problem(join(path, f"models/{name}/type_embedding"), text)
        for own in _descriptor_sections(part):
            if own["type"] in OWN_CUT:
                text = f"found {own['type']!r} in a part of a linear model, which is not built yet in this version."
                yield Problem(join(path, f"models/{name}/descriptor/type"), text)
    types = [(name, own["type"]) for name, part in named for own in _descriptor_sections(part)]
    messages, by_type = ([own for own in types if own[1] in kind] for kind in (MESSAGES, BY_TYPE))
    if messages and by_type:
        text = (
            f"found {messages[0][1]} in models/{messages[0][0]}, which passes messages between all atoms, beside "
            f"{by_type[0][1]} in models/{by_type[0][0]}, whose networks per type need atoms in sections by type; such a sum is "
            f"not built yet in this version. Take se_atten or se_e3_tebd in the place of {by_type[0][1]}."
        )
        yield Problem(join(path, "models"), text)


def _descriptor_sections(part: dict) -> list[dict]:
    """Sections of the descriptors of a part, those of a hybrid one by one."""
    own = part.get("descriptor")
    return [] if own is None else own.get("list", [own])


def _check_inner_potential(cfg: LinearEnergyConfig, path: str) -> Iterator[Problem]:
    """A formula for short distances stands beside exactly one network, whose descriptor knows it."""
    others = [(name, part) for name, part in cfg.named if not isinstance(part, InnerPotentialConfig)]
    if len(cfg.models) != 2 or len(others) != 1:
        n_inner = len(cfg.models) - len(others)
        text = f"found {n_inner} of type inner_potential among {len(cfg.models)} parts; one stands beside exactly one other."
        yield Problem(join(path, "models"), text)
        return
    name, other = others[0]
    if other.raw.get("descriptor", {}).get("type") != "dpa4":
        text = "the model beside an inner_potential must have a descriptor of type dpa4."
        yield Problem(join(path, f"models/{name}"), text)
    if other.type_map != cfg.type_map:
        text = f"must be that of the whole model, {list(cfg.type_map)}, beside an inner_potential."
        yield Problem(join(path, f"models/{name}/type_map"), text)
    if cfg.weights != "sum":
        yield Problem(join(path, "weights"), 'must be "sum" with a part of type inner_potential.')
    if cfg.shared_dict:
        yield Problem(join(path, "shared_dict"), "cannot be used with a part of type inner_potential. Remove the key.")
