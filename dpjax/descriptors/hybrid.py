"""Several descriptors side by side (``hybrid``): their outputs one after another describe an atom.

The members share one neighbour list, as DeePMD-kit has it: the neighbours within the largest cut-off, at most as many as the widest
member keeps, nearest first.  Out of these each member takes its own cut.  So a neighbour may count for a member whose cut-off it is
beyond; see :class:`~dpjax.descriptors.neighborhood.Listing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from dpjax.config import HybridConfig
from dpjax.descriptors.expansion import Expansion
from dpjax.descriptors.facts import cutoff, kept, listed_neighbors
from dpjax.descriptors.neighborhood import Features, Listing, Neighborhood
from dpjax.nn.chebyshev import Grid


class Grids(NamedTuple):
    """Resolutions of the series of each member; None for members without."""

    members: tuple[Grid | None, ...]

    @property
    def panels(self) -> int:
        """Of the finest."""
        return max(grid.panels for grid in self.members if grid is not None)


def common_levels(found: Sequence[Sequence[Grid]]) -> tuple[Grids, ...]:
    """Resolutions of several side by side, coarse to fine: at each level one for each of them, its finest where it has no more.

    Args:
        found: those of each, coarse to fine; none where it has no series.
    """
    levels = range(max(map(len, found), default=0))
    return tuple(Grids(tuple(own[min(i, len(own) - 1)] if own else None for own in found)) for i in levels)


@flax.struct.dataclass
class Expansions:
    """Series of each member, an :class:`~dpjax.descriptors.expansion.Expansion` or None for members without."""

    members: tuple[Expansion | None, ...]

    @property
    def resolved(self) -> jax.Array:
        """() bool, whether all series are exact to rounding."""
        return jnp.stack([part.resolved for part in self.members if part is not None]).all()

    @property
    def complete(self) -> bool:
        """Whether no member is left that evaluates networks for every neighbour."""
        return None not in self.members


def shared_list(config: HybridConfig) -> Listing:
    """The list that the members share.

    Where all tell types apart by networks, it has room for as many neighbours of each type as any member keeps; else for as many
    neighbours in all.
    """
    return Listing(cutoff(config), listed_neighbors(config))


class Hybrid(nn.Module):
    """Descriptors whose outputs are joined.

    Attributes:
        config: hyper-parameters.
        members: the modules of ``config.list``.
    """

    config: HybridConfig
    members: tuple[nn.Module, ...]

    @property
    def dtype(self) -> jnp.dtype:
        """The widest of the members."""
        with jax.enable_x64(True):  # else float64 would count as float32 here, and the model would not refuse to run
            return jnp.result_type(*[member.dtype for member in self.members])

    @property
    def dim_out(self) -> int:
        return sum(member.dim_out for member in self.members)

    @property
    def dim_frame(self) -> int:
        return sum(member.dim_frame for member in self.members)

    def init_parameters(self) -> None:
        """Create the parameters and statistics of all members."""
        for member in self.members:
            member.init_parameters()

    def __call__(self, view: Neighborhood, expansion: Expansions | None = None) -> Features:
        """Descriptors of a block of centres.

        Args:
            view: the centres and their neighbours within the largest cut-off.
            expansion: the embedding networks as series; None: the networks themselves.

        Returns:
            Values and frames of the members in their order.  Members without a frame add nothing to it.
        """
        view = view.replace(shared=shared_list(self.config))
        series = expansion.members if expansion is not None else (None,) * len(self.members)
        parts = [member(view, own) for member, own in zip(self.members, series, strict=True)]
        frames = [part.frame for part in parts if part.frame is not None]
        values = jnp.concatenate([part.values.astype(self.dtype) for part in parts], axis=1)
        return Features(values, jnp.concatenate([f.astype(self.dtype) for f in frames], axis=1) if frames else None)

    def grids(self, n_atom: int, nbrs: Sequence[int]) -> tuple[Grids, ...]:
        """Resolutions, coarse to fine, at which series save time for ``n_atom`` centres in at least one member."""
        return common_levels([member.grids(n_atom, _own_widths(member.config, nbrs)) for member in self.members])

    def expand(self, nearest: jax.Array, grid: Grids) -> Expansions:
        """The embedding networks of the members as series.

        Args:
            nearest: () smallest distance of two atoms, angstrom.
            grid: one of :meth:`grids`.
        """
        pairs = zip(self.members, grid.members, strict=True)
        return Expansions(tuple(None if own is None else member.expand(nearest, own) for member, own in pairs))


def _own_widths(member, nbrs: Sequence[int]) -> tuple[int, ...]:
    """Widths of the sections that a member is left with after its cut."""
    keep = kept(member)
    return tuple(map(min, nbrs, keep)) if len(keep) == len(nbrs) else tuple(nbrs)
