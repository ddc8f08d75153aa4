"""Where ``sel`` is too small: how many neighbours descriptors have on the host's tables, and how many they keep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dpjax.config import ModelConfig
from dpjax.descriptors.facts import cutoff, has_type_networks, is_one_of, kept, members
from dpjax.neighbors import NeighborTable


@dataclass(frozen=True)
class Cut:
    """What one descriptor of a model keeps of its neighbours.

    Attributes:
        part: where it stands in a hybrid, as in ``list/0``, or in a model of several parts, as in ``models/0/descriptor``; empty
            for the only descriptor of a model.
        section: of the input that this counts from.
        rcut: its cut-off, angstrom.
        inner: whether the model's table reaches farther.
        sel: how many it keeps, of each type or of all.
        names: of the types that ``sel`` counts; empty where it counts all together.
        option: in the descriptor's section, that says so.
        in_terms: it keeps so many of some of the atoms at a time, of which a whole list says nothing.
    """

    part: str
    rcut: float
    inner: bool
    sel: tuple[int, ...]
    names: tuple[str, ...]
    section: str = "model/descriptor"
    option: str = "sel"
    in_terms: bool = False

    @property
    def path(self) -> str:
        """Of ``sel`` in the input."""
        return "/".join(word for word in (self.section, self.part, self.option) if word)

    def most(self, table: NeighborTable, coord: np.ndarray, cell: np.ndarray | None) -> np.ndarray:
        """(len(sel),) neighbours within the cut-off that an atom has at most.

        Args:
            table: the neighbours of one structure.
            coord: (n_atom, 3) angstrom; without meaning where the table reaches no farther than the cut-off.
            cell: (3, 3) angstrom or None.
        """
        count = table.count_within(self.rcut, coord, cell) if self.inner else table.count
        return (count if self.names else count.sum(axis=1, keepdims=True)).max(axis=0, initial=0)

    def shortage(self, most: np.ndarray) -> Iterator[tuple[int, str]]:
        """Positions in ``sel`` that keep fewer than ``most`` (len(sel),), each with a sentence about it."""
        for t in () if self.in_terms else np.flatnonzero(most > np.asarray(self.sel)):
            kind = f" of type {self.names[t]}" if self.names else ""
            whose = f"sel of {self.part}" if self.part else "sel"
            yield (
                int(t),
                f"has {most[t]} neighbours{kind} within {self.rcut:g} angstrom, but {whose} keeps {self.sel[t]}: the farthest "
                "are left out",
            )


def cuts(config: ModelConfig) -> tuple[Cut, ...]:
    """Of the descriptors of a model, those of a hybrid in their order."""
    own, rcut = members(config.descriptor), cutoff(config.descriptor)
    single = config.descriptor is own[0]
    paths = getattr(config.descriptor, "paths", None)  # of a model of several parts
    parts = [f"list/{i}" for i in range(len(own))] if paths is None else paths
    return tuple(
        Cut(
            part="" if single else part,
            rcut=member.rcut,
            inner=member.rcut < rcut,
            sel=kept(member),
            names=tuple(config.type_map) if has_type_networks(member) else (),
            section="model" if single and member is config or paths is not None else "model/descriptor",
            option="sel_r" if is_one_of(member, ("loc_frame",)) else "sel",
            in_terms=getattr(config.descriptor, "in_terms", False),
        )
        for part, member in zip(parts, own, strict=True)
    )


def most_neighbors_of(
    cuts: Sequence[Cut], table: NeighborTable, coord: np.ndarray, cell: np.ndarray | None
) -> np.ndarray:
    """(sum of len(sel),) :meth:`Cut.most` of all descriptors in a row."""
    return np.concatenate([cut.most(table, coord, cell) for cut in cuts])


def by_cut(cuts: Sequence[Cut], most: np.ndarray) -> list[tuple[Cut, np.ndarray]]:
    """Each descriptor with its own part of :func:`most_neighbors_of`."""
    ends = np.cumsum([len(cut.sel) for cut in cuts])
    return list(zip(cuts, np.split(most, ends[:-1]), strict=True))
