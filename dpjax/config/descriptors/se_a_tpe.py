"""Options of ``se_a_tpe`` and ``se_a_ebd_v2``: ``se_e2_a`` with one embedding net for all types and a vector per type."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from dpjax.config import options
from dpjax.config.checks import check_at_least
from dpjax.config.descriptors.se_e2_a import SeE2AConfig, check_se_e2_a, se_e2_a_options
from dpjax.config.problems import Problem
from dpjax.config.schema import Component, Context, Option


@dataclass(frozen=True)
class SeATpeConfig(SeE2AConfig):
    """Hyper-parameters of ``se_a_tpe``, which makes its type vectors itself."""

    type_nchanl: int = 4
    type_nlayer: int = 2
    numb_aparam: int = 0

    @property
    def near_parameters(self) -> int:
        """How many atomic parameters of each neighbour the descriptor takes."""
        return self.numb_aparam if self.type_one_side else 0


@dataclass(frozen=True)
class SeAEbdV2Config(SeE2AConfig):
    """Hyper-parameters of ``se_a_ebd_v2``, which gets its type vectors from ``model/type_embedding``."""


def in_effect(descriptor: Any) -> Any:
    """The dataclass of a descriptor without ``exclude_types`` of ``se_a_tpe``, so that nothing that reads them must look twice."""
    if hasattr(descriptor, "list"):
        return replace(descriptor, list=tuple(map(in_effect, descriptor.list)))
    return replace(descriptor, exclude_types=()) if isinstance(descriptor, SeATpeConfig) else descriptor


def _se_e2_a_options_but(*others: Option) -> list[Option]:
    """The options of ``se_e2_a``, some of them replaced by ``others`` of the same name."""
    by_name = {option.name: option for option in others}
    return [by_name.get(option.name, option) for option in se_e2_a_options()]


def _se_a_ebd_v2_options() -> list[Option]:
    return _se_e2_a_options_but(options.type_one_side_of_vectors())


def _se_a_tpe_options() -> list[Option]:
    exclude_types = Option(
        "exclude_types",
        list[list[int]],
        "Pairs of types; they are not left out, whatever stands here. Use model/pair_exclude_types for that.",
        [],
        no_effect="this descriptor sees every pair of types, in DeePMD-kit too; use model/pair_exclude_types instead",
    )
    return [
        *_se_e2_a_options_but(options.type_one_side_of_vectors(), exclude_types),
        Option("type_nchanl", int, "Length of the trained vector that stands for an atom type.", 4),
        Option("type_nlayer", int, "How many hidden layers the net has that makes the type vectors.", 2),
        Option(
            "numb_aparam",
            int,
            "How many numbers describe each atom and enter the net of the type vectors; read from aparam.npy. Only "
            "type_one_side makes use of them.",
            0,
        ),
    ]


def _check_se_a_tpe(cfg: SeATpeConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_se_e2_a(cfg, path, context)
    yield from check_at_least(cfg, 1, ["type_nchanl", "type_nlayer"], path)
    yield from check_at_least(cfg, 0, ["numb_aparam"], path)


SE_A_TPE = Component(
    "se_a_tpe",
    SeATpeConfig,
    _se_a_tpe_options,
    _check_se_a_tpe,
    alias=("se_a_ebd",),
    doc="se_e2_a with one embedding net for all types, whose output is weighed by trained type vectors.",
)
SE_A_EBD_V2 = Component(
    "se_a_ebd_v2",
    SeAEbdV2Config,
    _se_a_ebd_v2_options,
    check_se_e2_a,
    alias=("se_a_tpe_v2",),
    doc="se_e2_a with one embedding net for distances and one for the type vectors of model/type_embedding.",
)
