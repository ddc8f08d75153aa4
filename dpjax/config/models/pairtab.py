"""The ``pairtab`` model: pair energies from a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config.checks import check_positive, check_sel_in_all
from dpjax.config.models.common import (
    CommonModelConfig,
    check_common,
    check_file,
    check_no_short_range_table,
    common_sections,
)
from dpjax.config.models.parts import EnergyModelFacts, lacks
from dpjax.config.problems import Problem
from dpjax.config.schema import REQUIRED, Component, Context, Option
from dpjax.config.suggestions import join


@dataclass(frozen=True, kw_only=True)
class PairTableConfig(EnergyModelFacts, CommonModelConfig):
    """Energies of pairs of atoms from a table; lengths in angstrom, energies in eV."""

    tab_file: str
    rcut: float
    sel: int | tuple[int, ...] | str
    type: str = "pairtab"
    precision: str = "float64"  # this and the seed are asked for of every descriptor; they are no options
    seed: int | None = None

    @property
    def descriptor(self) -> PairTableConfig:
        """What the model needs of the neighbour table, as facts ask a descriptor for it: itself."""
        return self


def _options() -> list[Option]:
    sel = (
        "How many neighbours count, of all types together: a number, or a list of which only the sum matters. `auto` counts "
        "them in the training data and adds 10 %; `auto:f` multiplies the count by f instead."
    )
    return [
        Option(
            "tab_file",
            str,
            "Text file with the table: the distance in angstrom in even steps, then the energy in eV of each pair of types "
            "(0-0, 0-1, ..., 1-1, ...).",
            REQUIRED,
        ),
        Option(
            "rcut",
            float,
            "Distance in angstrom beyond which pairs do not interact. A table that ends before it is continued smoothly to "
            "zero.",
            REQUIRED,
        ),
        Option("sel", [str, int, list[int]], sel, REQUIRED),
    ]


def _check(cfg: PairTableConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_common(cfg, path, context)
    yield from check_no_short_range_table(cfg, path)
    yield from check_file(cfg, "tab_file", path)
    yield from check_positive(cfg, ["rcut"], path)
    yield from check_sel_in_all(cfg.sel, context.type_map, join(path, "sel"))


PAIRTAB = Component(
    "pairtab",
    PairTableConfig,
    _options,
    _check,
    doc="Energies of pairs of atoms from a table, such as a dispersion correction.",
    sections=common_sections,
    lacks=lacks,
)
