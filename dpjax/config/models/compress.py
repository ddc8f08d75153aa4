"""Compression: tables in the place of embedding networks, by DeePMD-kit's names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dpjax.config.schema import Option


@dataclass(frozen=True)
class Compression:
    """How the tables of a compressed model were made; :mod:`dpjax.compress` makes them."""

    min_nbor_dist: float  # angstrom; the smallest distance of two atoms in the data
    step: float = 0.01  # between nodes, in units of the networks' normalised input
    extrapolate: float = 5.0  # the tables end at so many times the largest input that min_nbor_dist gives
    frequency: int = -1  # every so many evaluated frames are checked for inputs beyond the tables; -1: none
    nearest: tuple[float, ...] = ()  # angstrom, by type of the centre: neighbours nearer than this are beyond a table

    def to_section(self) -> dict[str, Any]:
        """What artifacts hold under ``model/compress``."""
        config = [self.extrapolate, self.step, 10 * self.step, self.frequency]  # DeePMD-kit's order
        return {"min_nbor_dist": self.min_nbor_dist, "table_config": config, "nearest": list(self.nearest)}

    @classmethod
    def from_section(cls, section: dict[str, Any]) -> Compression:
        """The inverse of :meth:`to_section`."""
        extrapolate, step, _, frequency = section["table_config"]
        return cls(section["min_nbor_dist"], step, extrapolate, int(frequency), tuple(section["nearest"]))


def argument() -> Option:
    """The ``compress`` section, which DeePMD-kit's own ``dp compress`` writes into the input it stores."""
    doc = (
        "Tables in place of embedding nets: which model file they come from, their steps, and the smallest distance between "
        "atoms. Written by `dp compress`, not by hand."
    )
    reason = "a model is compressed after its training: `dpjax compress -i MODEL -o model.dpx`"
    return Option("compress", dict, doc, refused=reason)
