"""Options of the ``dpa3`` descriptor: messages between atoms, pairs of neighbours and angles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config import options
from dpjax.config.charge_spin import check_chg_spin
from dpjax.config.checks import check_activation
from dpjax.config.descriptors.dpa3_repflow import REPFLOW, RepflowConfig
from dpjax.config.descriptors.layers import check_surroundings
from dpjax.config.problems import Problem
from dpjax.config.schema import REQUIRED, Component, Context, Option
from dpjax.config.suggestions import join


@dataclass(frozen=True)
class DPA3Config:
    """Hyper-parameters of ``dpa3``; lengths in angstrom."""

    repflow: RepflowConfig
    concat_output_tebd: bool = False
    add_chg_spin_ebd: bool = False
    default_chg_spin: tuple[float, float] | None = None  # charge and spin of a frame that gives none
    activation_function: str = "silu"
    precision: str = "default"
    exclude_types: tuple[tuple[int, int], ...] = ()
    env_protection: float = 0.0  # added to the distance in denominators
    trainable: bool = True
    seed: int | None = None
    use_econf_tebd: bool = False
    use_tebd_bias: bool = False
    use_loc_mapping: bool = True

    # what other descriptors have as options of their own
    rcut = property(lambda self: self.repflow.e_rcut)
    rcut_smth = property(lambda self: self.repflow.e_rcut_smth)
    sel = property(lambda self: self.repflow.e_sel)
    tebd_dim = property(lambda self: self.repflow.n_dim)
    set_davg_zero = property(lambda self: True)


def _options() -> list[Option]:
    return [
        Option("repflow", dict, REPFLOW.doc, REQUIRED, sub_fields=REPFLOW.options()),
        options.concat_output_tebd(False),
        options.add_chg_spin_ebd(not_built=""),
        options.default_chg_spin(not_built=""),
        options.activation("silu", "the layers"),
        options.precision(),
        options.exclude_types(),
        options.env_protection(),
        options.trainable(),
        options.seed("the descriptor"),
        options.use_econf_tebd(),
        options.use_tebd_bias(),
        Option(
            "use_loc_mapping",
            bool,
            "Look a periodic image's vector up at the atom that it repeats instead of copying it to the image.",
            True,
            no_effect="both ways give the same numbers, and images are never copied",
        ),
    ]


def _sections(section: dict, path: str, context: Context) -> dict[str, RepflowConfig | None]:
    inside = section.get("repflow")
    return {"repflow": None if inside is None else REPFLOW.parse(inside, join(path, "repflow"), context)}


def _check(cfg: DPA3Config, path: str, context: Context) -> Iterator[Problem]:
    yield from check_surroundings(cfg, path, context)
    yield from check_activation(cfg.activation_function, join(path, "activation_function"))
    yield from check_chg_spin(cfg.default_chg_spin, cfg.add_chg_spin_ebd, join(path, "default_chg_spin"))


def _idle(cfg: DPA3Config) -> Iterator[tuple[str, str]]:
    if cfg.default_chg_spin is not None and not cfg.add_chg_spin_ebd:
        yield "default_chg_spin", "without add_chg_spin_ebd no charge and no spin is an input"


DPA3 = Component(
    "dpa3",
    DPA3Config,
    _options,
    _check,
    doc="Messages between atoms, pairs of neighbours and angles, in layers.",
    sections=_sections,
    idle=_idle,
)
