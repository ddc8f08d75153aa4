"""The ``dpa4`` model: a dpa4 descriptor, a fitting net made for it, and what only this pair has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from dpjax.config.checks import check_at_least, check_positive
from dpjax.config.descriptors.dpa4 import DPA4_NAMES, Dpa4Config
from dpjax.config.models import type_embedding
from dpjax.config.models.bridging import bridging_options, check_bridging
from dpjax.config.models.standard import ModelConfig, check_networks, network_options, network_sections
from dpjax.config.problems import Problem, Report
from dpjax.config.schema import REQUIRED, Component, Context, Option, to_dataclass
from dpjax.config.suggestions import join, show

_FITTINGS = ("dpa4_ener", "property")
_TYPES = {"descriptor": "dpa4", "fitting_net": "dpa4_ener"}  # where the section names none


@dataclass(frozen=True)
class LoraConfig:
    """Fine-tuning by small corrections of the weights."""

    rank: int
    alpha: float | None = None  # None: rank

    @property
    def scaling(self) -> float:
        """What corrections are multiplied by."""
        return 1.0 if self.alpha is None else self.alpha / self.rank


@dataclass(frozen=True, kw_only=True)
class Dpa4ModelConfig(ModelConfig):
    """A ``dpa4`` model: in all but its options a ``standard`` one."""

    descriptor: Dpa4Config
    fitting_net: Any
    use_compile: bool = False
    enable_tf32: bool = True
    bridging_method: str = "None"
    bridging_r_inner: float = 0.5
    bridging_r_outer: float = 0.8
    lora: LoraConfig | None = None


def _options() -> list[Option]:
    return [
        *network_options(),
        Option(
            "use_compile",
            bool,
            "Whether to compile the model before training.",
            False,
            no_effect="the model is always compiled, by XLA",
        ),
        Option(
            "enable_tf32",
            bool,
            "Let training on a GPU round the factors of matrix products to 10 bits after the point (TF32), which is faster.",
            True,
        ),
        *bridging_options(),
        _lora(),
    ]


def _lora() -> Option:
    return Option(
        "lora",
        [None, dict],
        "Fine-tune by a correction of low rank to each weight matrix of the blocks, which itself stays as it was; the fitting "
        "net, the radial net and small parameters are trained as usual. For one model only.",
        None,
        sub_fields=[
            Option("rank", int, "Rank of the corrections, at least 1.", REQUIRED),
            Option("alpha", [None, float], "The corrections are multiplied by alpha/rank; rank if absent.", None),
        ],
    )


def _sections(section: dict, path: str, context: Context) -> dict[str, Any]:
    parts = network_sections(section, path, context)
    lora = section.get("lora")
    if lora is not None:
        wrong = context.report.touches(join(path, "lora"))
        parts["lora"] = None if wrong else to_dataclass(LoraConfig, lora)
    return parts


def _check(cfg: Dpa4ModelConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_networks(cfg, path, context)
    yield from check_bridging(cfg, path, context)
    descriptor, fitting = cfg.raw["descriptor"]["type"], cfg.raw["fitting_net"]["type"]
    if descriptor != _TYPES["descriptor"]:
        text = f'found {show(descriptor)}; a model of type dpa4 has a dpa4 descriptor. Use model type "standard" for others.'
        yield Problem(join(path, "descriptor/type"), text)
    if fitting not in _FITTINGS:
        text = f"found {show(fitting)}; a model of type dpa4 takes one of: {', '.join(_FITTINGS)}."
        yield Problem(join(path, "fitting_net/type"), text)
    yield from _check_exclusions(cfg, path)
    if cfg.lora is not None:
        yield from check_at_least(cfg.lora, 1, ["rank"], join(path, "lora"))
        yield from check_positive(cfg.lora, ["alpha"], join(path, "lora"))
        if not cfg.descriptor.trainable:
            text = "found corrections of a descriptor that is not trained (descriptor/trainable is false). Remove one of the two."
            yield Problem(join(path, "lora"), text)


def _lacks(section: dict, path: str) -> Iterator[Problem]:
    yield from type_embedding.lacks(section, path)
    if section.get("spin") is not None:
        yield Problem(
            join(path, "spin"),
            "found a section, but a dpa4 model with spins is not built yet in this version. Remove it.",
        )


def _check_exclusions(cfg: Dpa4ModelConfig, path: str) -> Iterator[Problem]:
    """Descriptor and model may both name excluded pairs, but not different ones."""
    inner = getattr(cfg.descriptor, "exclude_types", ())
    if inner and cfg.pair_exclude_types and inner != cfg.pair_exclude_types:
        text = f"found {show(inner)}, but pair_exclude_types of the model is {show(cfg.pair_exclude_types)}. Keep one of them."
        yield Problem(join(path, "descriptor/exclude_types"), text)


def check_direct_forces(cfg: ModelConfig, path: str) -> Iterator[Problem]:
    """The rules of a model that gives its forces directly, as the loss dens trains it."""
    if cfg.bridge is not None:
        text = (
            f"found {cfg.bridging_method!r}, but the loss dens trains forces that the model gives directly, and the repulsion of "
            'bridging acts by its derivative. Set it to "None", or use the loss ener.'
        )
        yield Problem(join(path, "bridging_method"), text)
    if cfg.modifier is not None:
        text = "found a section, but the loss dens trains forces that the model gives directly. Remove it, or use the loss ener."
        yield Problem(join(path, "modifier"), text)
    if getattr(cfg, "lora", None) is not None:
        text = "found a section, but the heads that the loss dens trains have no such corrections. Remove it, or use the loss ener."
        yield Problem(join(path, "lora"), text)
    degrees = cfg.descriptor.l_schedule or (cfg.descriptor.lmax,)
    key = "l_schedule" if cfg.descriptor.l_schedule else "lmax"
    if min(degrees[0], degrees[-1]) < 1:
        text = (
            f"found {show(getattr(cfg.descriptor, key))}, but forces that the model gives directly are read from vectors, which "
            "states have from degree 1 on. Give the first and the last block at least 1, or use the loss ener."
        )
        yield Problem(join(path, f"descriptor/{key}"), text)


def with_direct_forces(cfg: ModelConfig) -> ModelConfig:
    """The model with heads for forces.

    Raises:
        ConfigError: it is of another type, or cannot have them.
    """
    report = Report()
    if cfg.type != DPA4_NAMES[0]:
        text = f"found {show(cfg.type)}, but only a model of type {DPA4_NAMES[0]} gives forces directly."
        report.extend([Problem("model/type", text)])
    else:
        report.extend(check_direct_forces(cfg, "model"))
    report.raise_any()
    return replace(cfg, direct_forces=True)


def fill_types(section: Any) -> None:
    """Adds the types that a ``dpa4`` model leaves out to a model section as the user gave it, and renames newer keys.

    The reference takes ``dpa4`` and ``dpa4_ener`` there, while in every other model the descriptor must be named and the
    fitting net is ``ener``.  Sections of other types, and what is no section at all, are left alone.
    """
    if not isinstance(section, dict) or section.get("type") not in DPA4_NAMES:
        return
    for key, name in _TYPES.items():
        inner = section.get(key)
        if isinstance(inner, dict) and "type" not in inner:
            section[key] = {"type": name, **inner}
    rename_newer(section.get("descriptor"))


def rename_newer(descriptor: Any) -> None:
    """Gives ``mixing_layers`` of a dpa4 descriptor its name in the list of options, ``so2_layers``.

    A descriptor that has both is left alone, unless they agree.
    """
    if (
        not isinstance(descriptor, dict)
        or descriptor.get("type") not in DPA4_NAMES
        or "mixing_layers" not in descriptor
    ):
        return
    value = descriptor["mixing_layers"]
    if descriptor.setdefault("so2_layers", value) == value:
        del descriptor["mixing_layers"]


DPA4_MODEL = Component(
    DPA4_NAMES[0],
    Dpa4ModelConfig,
    _options,
    _check,
    alias=DPA4_NAMES[1:],
    doc="A dpa4 descriptor with a fitting net for energies or properties.",
    sections=_sections,
    lacks=_lacks,
)
