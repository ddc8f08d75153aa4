"""The ``pairwise_dprc`` model: one network for a molecule treated by quantum mechanics, one for it and each fragment.

A range correction of a QM/MM calculation (DPRc): Zeng, Giese, Ekesan & York, JCTC 17, 6993 (2021), with a sum over pairs of the QM
region and one MM fragment each.  The atomic parameter numbers the fragments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from dpjax.config.descriptors.kinds import MODEL_VECTORS
from dpjax.config.fittings.outputs import ENERGY
from dpjax.config.models import type_embedding
from dpjax.config.models.common import (
    CommonModelConfig,
    check_common,
    check_no_short_range_table,
    common_options,
    common_sections,
    parse_model,
)
from dpjax.config.models.layer_names import named_layers
from dpjax.config.models.parts import (
    Descriptors,
    EnergyModelFacts,
    EnergySum,
    MadeOfParts,
    descriptors_of,
    frame_parameters,
)
from dpjax.config.problems import Problem
from dpjax.config.schema import REQUIRED, Component, Context, Option, Registry
from dpjax.config.suggestions import join, show

NAME = "pairwise_dprc"
PARTS = ("qm_model", "qmmm_model")
DEFAULT_VECTORS = {"activation_function": "none"}  # as in DeePMD-kit's TensorFlow backend: one linear layer
_KINDS = ("standard", "pairtab")  # of models that parts can be in this version


@dataclass(frozen=True)
class FragmentEnergies(EnergySum):
    """Energies of the QM atoms and of these with each fragment; one atomic parameter, the number of the fragment."""

    numb_aparam: int = 1
    atom_ener: tuple[float | None, ...] = ()  # of single QM atoms of each type, eV; None where data decide


@dataclass(frozen=True, kw_only=True)
class PairwiseDPRcConfig(MadeOfParts, EnergyModelFacts, CommonModelConfig):
    """Two energy models; the type names of both are those of the whole, and so are their type vectors."""

    qm_model: CommonModelConfig
    qmmm_model: CommonModelConfig
    type: str = NAME
    takes_fragments = True

    @property
    def named(self) -> list[tuple[str, CommonModelConfig]]:
        """The parts with their names."""
        return [(key, getattr(self, key)) for key in PARTS]

    @property
    def places(self) -> tuple[str, ...]:
        """Where the parts stand in the section of the model."""
        return PARTS

    @cached_property
    def parts(self) -> tuple[CommonModelConfig, ...]:
        """The parts with what they inherit: type vectors, conventions, and pairs that the whole model excludes."""
        return tuple(self._inheriting(part) for _, part in self.named)

    @cached_property
    def descriptor(self) -> Descriptors:
        """What the parts need of the neighbour table."""
        found = [item for key, part in zip(PARTS, self.parts, strict=True) for item in descriptors_of(key, part)]
        return Descriptors(tuple(own for _, own in found), tuple(path for path, _ in found), in_terms=True)

    @cached_property
    def fitting_net(self) -> FragmentEnergies:
        """What the whole model predicts and takes."""
        alone = tuple(getattr(self.parts[0].fitting_net, "atom_ener", ()))
        return FragmentEnergies(atom_ener=alone, **frame_parameters(self.parts))

    def with_parts(self, parts: dict[str, CommonModelConfig]) -> PairwiseDPRcConfig:
        """The same model with other parts, by name."""
        return replace(self, **parts, raw={**self.raw, **{key: part.raw for key, part in parts.items()}})

    def _inheriting(self, part: CommonModelConfig) -> CommonModelConfig:
        pairs = tuple(dict.fromkeys((*part.pair_exclude_types, *self.pair_exclude_types)))
        own = {"conventions": self.conventions, "pair_exclude_types": pairs}
        if part.type == "standard":
            vectors = self.type_embedding
            own |= {
                "type_embedding": vectors,
                "descriptor": type_embedding.with_model_vectors(part.descriptor, vectors),
            }
        return replace(part, **own)


def pairwise_dprc(simple: tuple[Component, ...]) -> Component:
    """The component; ``simple`` are the kinds of model that its parts can be."""
    parts = Registry("model", simple, default="standard", doc="How this part is put together.")

    def options() -> list[Option]:
        return [
            _part(parts, "qm_model", "Model of the energy of the QM molecule alone."),
            _part(parts, "qmmm_model", "Model of the energy of the QM molecule together with each single MM fragment."),
        ]

    def sections(section: dict, path: str, context: Context) -> dict[str, Any]:
        inner = {key: parse_model(parts, section.get(key), join(path, key), context) for key in PARTS}
        return common_sections(section, path, context) | inner

    return Component(
        NAME,
        PairwiseDPRcConfig,
        options,
        _check,
        doc="Range correction of a QM/MM calculation as a sum over fragments, which the atomic parameter numbers.",
        sections=sections,
        lacks=_lacks,
    )


def completed(section: Any) -> None:
    """Give a model section of this type as the user wrote it, in place, the type vectors that it cannot do without."""
    if section.get("type") == NAME:
        section.setdefault("type_embedding", dict(DEFAULT_VECTORS))


def _part(parts: Registry, name: str, doc: str) -> Option:
    return Option(
        name, dict, doc, REQUIRED, sub_fields=common_options(), sub_variants=[parts.variant()], fold_subdoc=True
    )


def _check(cfg: PairwiseDPRcConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_common(cfg, path, context)
    yield from check_no_short_range_table(cfg, path)
    for key in PARTS:
        part, here = getattr(cfg, key), join(path, key)
        if cfg.type_map and part.type_map != cfg.type_map:
            text = f"found {list(part.type_map)}, but {path}/type_map is {list(cfg.type_map)}. Keep the latter only."
            yield Problem(join(here, "type_map"), text)
        if part.type_embedding is not None:
            text = f"both parts share one type embedding. Give it as {path}/type_embedding."
            yield Problem(join(here, "type_embedding"), text)
        yield from _check_part(part, here, path)
    for name in sorted(set.intersection(*({name for _, name in named_layers(part)} for _, part in cfg.named))):
        text = f"found {name!r}, which {PARTS[0]} has, too. The two parts have no layers in common here: choose another name."
        yield Problem(join(path, f"{PARTS[1]}/fitting_net/layer_name"), text)


def _check_part(part: CommonModelConfig, here: str, path: str) -> Iterator[Problem]:
    net = getattr(part, "fitting_net", None)
    if getattr(net, "output", ENERGY) is not ENERGY:
        yield Problem(join(here, "fitting_net/type"), f"predicts {net.output.label}; both parts predict energies.")
    if getattr(net, "numb_aparam", 0):
        text = (
            f"found {net.numb_aparam}, but the atomic parameter of such a model is the number of the fragment, which networks are "
            "not given. Remove the key."
        )
        yield Problem(join(here, "fitting_net/numb_aparam"), text)
    for key, remedy in (("preset_out_bias", f"Give them in {path}/preset_out_bias."), ("atom_exclude_types", "")):
        if getattr(part, key):
            remedy = remedy or f"Give them in {path}/{key}."
            yield Problem(join(here, key), f"found values in a part, but they belong to the whole model. {remedy}")


def _lacks(section: dict, path: str) -> Iterator[Problem]:
    """What parts ask for that this version does not have between fragments."""
    if section.get("modifier") is not None:
        yield Problem(join(path, "modifier"), _missing("a section"))
    for key in PARTS:
        part, here = section[key], join(path, key)
        kind = part.get("type", "standard")
        if kind not in _KINDS:
            text = f"{_missing(show(kind))} Take one of {', '.join(_KINDS)}."
            yield Problem(join(here, "type"), text)
            continue
        if part.get("use_srtab") is not None:
            yield Problem(join(here, "use_srtab"), _missing(show(part["use_srtab"])))
        if kind == "pairtab":
            continue
        descriptor = part["descriptor"]
        place = join(here, "descriptor")
        listed = [(join(place, f"list/{i}"), own) for i, own in enumerate(descriptor.get("list", ()))]
        for where, own in listed or [(place, descriptor)]:
            if own["type"] not in MODEL_VECTORS:
                text = f"{_missing(show(own['type']))} Take one of {', '.join(MODEL_VECTORS)}."
                yield Problem(join(where, "type"), text)
            elif own.get("concat_output_tebd") is False:
                text = "found false, but the fitting net is always given the type of the atom. Set it to true."
                yield Problem(join(where, "concat_output_tebd"), text)


def _missing(what: str) -> str:
    return f"found {what} in a model of type {NAME!r}, which is not built yet in this version."
