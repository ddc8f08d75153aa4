"""The ``standard`` model: one descriptor and one fitting net."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from dpjax.config.charge_spin import default_charge_spin, takes_charge_spin
from dpjax.config.descriptors import (
    DESCRIPTORS,
    Dpa4Config,
    HybridConfig,
    LocFrameConfig,
    SeAMaskConfig,
    SeE2AConfig,
    SeE2RConfig,
    SeE3Config,
    SeE3TebdConfig,
)
from dpjax.config.descriptors.hybrid import descriptor_parts
from dpjax.config.descriptors.se_a_tpe import in_effect
from dpjax.config.fittings import (
    FITTINGS,
    DipoleFittingConfig,
    EnerFittingConfig,
    PolarFittingConfig,
    PropertyFittingConfig,
)
from dpjax.config.fittings.outputs import ENERGY
from dpjax.config.models import type_embedding, virtual_atoms
from dpjax.config.models.bridging import bridge_of, bridging_options, check_bridging
from dpjax.config.models.common import CommonModelConfig, check_common, common_sections
from dpjax.config.nvnmd import NvnmdConfig
from dpjax.config.problems import Problem
from dpjax.config.schema import REQUIRED, Component, Context, Option
from dpjax.config.suggestions import did_you_mean, join

# descriptors without vectors that turn with the frame
WITHOUT_VECTORS = (SeE2RConfig, SeE3Config, SeE3TebdConfig, LocFrameConfig, Dpa4Config)


@dataclass(frozen=True, kw_only=True)
class ModelConfig(CommonModelConfig):
    """A ``standard`` model: one descriptor and one fitting net."""

    descriptor: SeE2AConfig
    fitting_net: EnerFittingConfig
    model_branch_alias: tuple[str, ...] = ()
    info: dict[str, Any] = field(default_factory=dict)
    bridging_method: str | None = None
    bridging_r_inner: float | None = None
    bridging_r_outer: float | None = None
    direct_forces: bool = False  # has heads for forces, which the loss dens trains; follows from the loss, no option
    nvnmd: NvnmdConfig | None = (
        None  # in the form of that hardware; follows from the section nvnmd of the input, no option
    )
    # with spins, for each type of the data: distance of its virtual atom per unit of spin, angstrom; ``type_map`` then has the
    # virtual partners behind these types
    virtual_scale: tuple[float, ...] = ()

    @property
    def data_types(self) -> tuple[str, ...]:
        """Types of atoms in data and results; those of :attr:`type_map` without virtual partners."""
        return self.type_map[: len(self.virtual_scale) or None]

    @property
    def bridge(self) -> tuple[float, float] | None:
        """Distances (angstrom) between which the network gives way to an analytical repulsion; None: nowhere."""
        return bridge_of(self)

    @property
    def silent_types(self) -> tuple[int, ...]:
        """Types whose atoms contribute nothing: those excluded, and those that ``sel_type`` of a tensor fitting leaves out."""
        selected = getattr(self.fitting_net, "sel_type", None)
        every = set(range(len(self.type_map)))
        kept = every if selected is None else {selected} if isinstance(selected, int) else set(selected)
        return tuple(sorted((every - kept) | set(self.atom_exclude_types)))

    @property
    def inputs(self) -> dict[str, int]:
        """What the model takes beside atoms and cells, with its length: of a frame or, ``aparam`` and ``spin``, of an atom."""
        fitting, charged = self.fitting_net, takes_charge_spin(self.descriptor)
        lengths = {"fparam": fitting.numb_fparam, "aparam": fitting.numb_aparam, "charge_spin": 2 * charged}
        lengths["spin"] = 3 * bool(self.virtual_scale)
        return {name: length for name, length in lengths.items() if length}

    @property
    def takes_mask(self) -> bool:
        """Whether the atomic parameter says which atoms are real (1) or virtual (0); frames of such a model have no cell."""
        return isinstance(self.descriptor, SeAMaskConfig)

    @property
    def default_inputs(self) -> dict[str, tuple[float, ...]]:
        """Those of :attr:`inputs` that a frame need not give, and what the model then takes."""
        given = {"fparam": self.fitting_net.default_fparam, "charge_spin": default_charge_spin(self.descriptor)}
        return {name: tuple(value) for name, value in given.items() if name in self.inputs and value is not None}


def network_options() -> list[Option]:
    """Descriptor, fitting net and remarks, of every model that has networks of its own."""
    return [
        Option(
            "descriptor",
            dict,
            "How an atom's neighbourhood becomes numbers.",
            REQUIRED,
            sub_variants=[DESCRIPTORS.variant()],
        ),
        Option(
            "fitting_net", dict, "How these numbers become a prediction.", REQUIRED, sub_variants=[FITTINGS.variant()]
        ),
        Option(
            "model_branch_alias",
            list[str],
            "Other names of this model, for use where a branch of several is chosen by name.",
            [],
            used_with="model_dict",
        ),
        Option("info", dict, "Free remarks that are stored with the model.", {}),
    ]


def network_sections(section: dict, path: str, context: Context) -> dict[str, Any]:
    """The dataclasses of descriptor, fitting net and whatever else the section holds."""
    common = common_sections(section, path, context)
    descriptor = DESCRIPTORS.parse(section.get("descriptor"), join(path, "descriptor"), context)
    return {
        **common,
        "descriptor": type_embedding.with_model_vectors(in_effect(descriptor), common.get("type_embedding")),
        "fitting_net": FITTINGS.parse(section.get("fitting_net"), join(path, "fitting_net"), context),
    }


def check_networks(cfg: Any, path: str, context: Context) -> Iterator[Problem]:
    """The rules that bind descriptor, fitting net and model."""
    yield from check_common(cfg, path, context)
    predicted = getattr(cfg.fitting_net, "output", None)
    output = predicted.name if predicted else cfg.raw["fitting_net"]["type"]
    for name in cfg.preset_out_bias or {}:
        if name != output:
            text = f"unknown output; a model with this fitting net has: {output}.{did_you_mean(name, [output])}"
            yield Problem(join(path, f"preset_out_bias/{name}"), text)
    yield from _check_vectors(cfg, path)
    if cfg.use_srtab is not None and predicted is not None and predicted is not ENERGY:
        text = (
            f"found {cfg.use_srtab!r}, a table of energies, but the model predicts {predicted.label}. Remove the key."
        )
        yield Problem(join(path, "use_srtab"), text)
    for place, part in descriptor_parts(cfg.descriptor):
        near, own = getattr(part, "near_parameters", 0), cfg.fitting_net.numb_aparam
        if near and near != own:
            text = (
                f"found {near}, but fitting_net/numb_aparam is {own}. The descriptor and the fitting net take the same atomic "
                "parameters: give both the same number."
            )
            yield Problem(f"{path}{place.removeprefix('model')}/numb_aparam", text)
    yield from _check_mask(cfg, path)


def _check_mask(cfg: Any, path: str) -> Iterator[Problem]:
    """Which atoms are real is an atomic parameter."""
    if isinstance(cfg.descriptor, SeAMaskConfig) and cfg.fitting_net.numb_aparam != 1:
        text = (
            f"found {cfg.fitting_net.numb_aparam}, but the descriptor 'se_a_mask' needs one atomic parameter, which says whether "
            "an atom is real (1) or virtual (0). Set it to 1, and use_aparam_as_mask to true so that the net is not given it."
        )
        yield Problem(join(path, "fitting_net/numb_aparam"), text)


def _check_vectors(cfg: Any, path: str) -> Iterator[Problem]:
    """Tensors are made of vectors of the descriptor."""
    if not isinstance(cfg.fitting_net, (DipoleFittingConfig, PolarFittingConfig)):
        return
    parts = cfg.descriptor.list if isinstance(cfg.descriptor, HybridConfig) else (cfg.descriptor,)
    if all(isinstance(part, WITHOUT_VECTORS) for part in parts):
        descriptor, fitting = (cfg.raw[part]["type"] for part in ("descriptor", "fitting_net"))
        text = (
            f"found {fitting!r}, which makes its prediction of vectors that turn with the frame, but the descriptor "
            f"{descriptor!r} has none. Use a descriptor that has, such as se_e2_a or se_atten."
        )
        yield Problem(join(path, "fitting_net/type"), text)


def _check(cfg: Any, path: str, context: Context) -> Iterator[Problem]:
    yield from check_networks(cfg, path, context)
    yield from check_bridging(cfg, path, context)
    if isinstance(cfg.fitting_net, PropertyFittingConfig) and 0 in cfg.fitting_net.neuron:
        here = join(path, f"fitting_net/neuron/{cfg.fitting_net.neuron.index(0)}")
        yield Problem(here, "found 0; only in a model of type dpa4 is the width then found from the input.")


def _lacks(section: dict, path: str) -> Iterator[Problem]:
    yield from type_embedding.lacks(section, path)
    yield from virtual_atoms.lacks(section, path)


STANDARD = Component(
    "standard",
    ModelConfig,
    lambda: [*network_options(), *bridging_options(newer=True)],
    _check,
    doc="One descriptor and one fitting net.",
    sections=network_sections,
    lacks=_lacks,
)
