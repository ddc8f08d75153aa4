"""From the types of one model to those of another: which is where, which are new."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TypeChange:
    """Two type maps.

    Attributes:
        theirs: names of the types of the pretrained model.
        ours: of the model that is trained.
    """

    theirs: tuple[str, ...]
    ours: tuple[str, ...]

    @property
    def index(self) -> tuple[int | None, ...]:
        """For each of our types its place among theirs; None for a new one."""
        return tuple(self.theirs.index(name) if name in self.theirs else None for name in self.ours)

    @property
    def new(self) -> tuple[str, ...]:
        """Types that the pretrained model does not have."""
        return tuple(name for name in self.ours if name not in self.theirs)

    @property
    def unchanged(self) -> bool:
        """Whether the types are the same in the same order."""
        return self.theirs == self.ours

    def entries(self, values: Sequence[Any], fill: Sequence[Any] | None = None) -> list[Any]:
        """A list with one entry for each of their types as one for ours; new types take theirs from ``fill``, else None."""
        spare = [None] * len(self.ours) if fill is None else fill
        return [other if i is None else values[i] for i, other in zip(self.index, spare, strict=True)]

    def indices(self, types: Iterable[int]) -> list[int]:
        """Their types, given by number, as ours; those that are gone are left out."""
        return [self.ours.index(self.theirs[t]) for t in types if self.theirs[t] in self.ours]

    def pairs(self, pairs: Iterable[Sequence[int]]) -> list[list[int]]:
        """The same for pairs of types; a pair is gone with either."""
        moved = [self.indices(pair) for pair in pairs]
        return [pair for pair in moved if len(pair) == 2]
