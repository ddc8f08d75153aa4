"""What descriptors with networks per type have in common: networks, statistics, and the sums of two-body descriptors.

Such a descriptor sees centres of one type at a time, with neighbours in sections by type, so that types are known before anything
runs.  In two-body descriptors the embedding network G of a neighbour takes one number s, and what counts of a centre are sums over
its neighbours of rows times embeddings, ``R^T G``.

G depends on one number, so for many neighbours its networks are expanded in series (:mod:`dpjax.descriptors.expansion`): the sum
over neighbours is then taken of basis functions, and the coefficients come in once per atom instead of once per neighbour.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from dpjax.descriptors.base import Descriptor
from dpjax.descriptors.expansion import (
    Expansion,
    embedding_expansion,
    paying_grids,
    radial_intervals,
    stored_expansion,
    stored_grids,
)
from dpjax.descriptors.neighborhood import Neighborhood, Section, ordered_pairs
from dpjax.geometry.environment import env_components
from dpjax.nn.chebyshev import BASIS_SUMS, Grid, Interval, Series, weighted_sums
from dpjax.nn.dense import DenseStack, in_double
from dpjax.nn.table import Tabulated


class TypeNetworks(Descriptor):
    """An embedding network for each ordered pair of types."""

    def add_networks(self) -> None:
        cfg = self.config

        def network() -> DenseStack | Tabulated:
            if self.tabulated:
                return Tabulated(self.dtype)
            return DenseStack(cfg.neuron, cfg.activation_function, cfg.resnet_dt, dtype=self.dtype)

        sides, neighbors = range(self.n_side), range(self.n_type)
        self.embedding = {self.network_key(s, t): network() for s in sides for t in neighbors}

    @property
    def n_side(self) -> int:
        """How many types the first of a pair may have."""
        return self.n_type

    def network_key(self, side: int, neighbor: int) -> str:
        """Name of the embedding network of a type pair."""
        return f"{side}_{neighbor}"

    def init_parameters(self) -> None:
        """Touch every network and statistic once, so that ``init`` creates all of them."""
        for network in self.embedding.values():
            network.init_parameters(1)

    def _environment(self, section: Section, columns: Callable[..., jax.Array] = env_components) -> jax.Array:
        """The environment matrix of one section before normalisation, in the descriptor's precision.

        Slots come last, so that the long axis lies innermost: (n_atom, 4, k), or what else ``columns`` gives of it.
        """
        cfg = self.config
        disp = jnp.swapaxes(section.disp.astype(self.dtype), 1, 2)
        return columns(disp, section.mask, r_on=cfg.rcut_smth, r_off=cfg.rcut, protection=cfg.env_protection)

    def _excluded(self, centre: int, neighbor: int) -> bool:
        """Whether the model or the descriptor excludes a pair of types, so that it does not matter where such neighbours are."""
        return (centre, neighbor) in self.pair_exclude | ordered_pairs(self.config.exclude_types)


class TwoBodyNetworks(TypeNetworks):
    """Networks of one number for each type of the neighbour, or pair of types (centre, neighbour), and their sums.

    A descriptor says what is summed: ``_rows(centre, section)`` gives the networks' input s (n_atom, k) and the rows
    (n_atom, n_column, k), zero in unused slots.
    """

    @property
    def n_side(self) -> int:
        """How many types of the centre have networks of their own; 1 where networks serve all."""
        return 1 if self.config.type_one_side else self.n_type

    def network_key(self, side: int, neighbor: int) -> str:
        """Name of the embedding network of a type pair."""
        return f"{neighbor}" if self.config.type_one_side else f"{side}_{neighbor}"

    def grids(self, n_atom: int, nbrs: Sequence[int]) -> tuple[Grid, ...]:
        """Resolutions, coarse to fine, at which series in place of the networks save time for ``n_atom`` centres.

        Tables may bring series of their own.
        """
        if self.tabulated:
            return stored_grids([network.table for network in self.embedding.values()])
        n_network = self.n_side * self.n_type
        return paying_grids(self.config, self.dtype, n_atom, nbrs, n_network, self.n_column)

    def expand(self, nearest: jax.Array, grid: Grid) -> Expansion:
        """The embedding networks as series.

        Args:
            nearest: () smallest distance of two atoms, angstrom.
            grid: resolution.
        """
        davg, dstd = self.davg.value[:, 0], self.dstd.value[:, 0]
        intervals = radial_intervals(self.config, nearest, davg, dstd, self.dtype)
        pairs = [(s, t) for s in range(self.n_side) for t in range(self.n_type)]
        if self.tabulated:
            tables = {pair: self.embedding[self.network_key(*pair)].table for pair in pairs}
            return stored_expansion(tables, intervals, grid)
        return embedding_expansion({pair: self.network_in_double(*pair) for pair in pairs}, intervals, self.dtype, grid)

    def neighbor_sums(self, view: Neighborhood, expansion: Expansion | None) -> tuple[jax.Array, jax.Array]:
        """Sums of rows times embeddings over the neighbours of centres that all have one type.

        Args:
            view: the centres, in sections by type.
            expansion: the embedding networks as series; None: the networks themselves.

        Returns:
            (n_atom, n_column, neuron[-1]) sums and (n_atom, n_type) how many neighbours there are of each type.
        """
        heard = [t for t, width in enumerate(view.nbrs) if not self._excluded(view.centre, t) and width]
        return self._network_sums(view) if expansion is None or not heard else self._series_sums(view, expansion, heard)

    def _network_sums(self, view: Neighborhood) -> tuple[jax.Array, jax.Array]:
        """:meth:`neighbor_sums` from the networks, or the tables in their place."""
        cfg, centre = self.config, view.centre
        sums, kept = jnp.zeros((view.n_atom, self.n_column, cfg.neuron[-1]), self.dtype), []
        for t, section in enumerate(view.sections(cfg.sel, cfg.rcut)):
            kept.append(section.kept)
            if self._excluded(centre, t) or not section.mask.shape[1]:
                continue
            radial, rows = self._rows(centre, section)
            sums = sums + self.pair_sums(centre, t, rows, radial)
        return sums, jnp.stack(kept, axis=1)

    def _series_sums(
        self, view: Neighborhood, expansion: Expansion, heard: Sequence[int]
    ) -> tuple[jax.Array, jax.Array]:
        """:meth:`neighbor_sums` from series, for neighbours of the types ``heard``.

        The basis functions at the neighbours are computed again in backward passes, as they are larger than what they come from.
        """
        cfg, centre = self.config, view.centre
        side = 0 if cfg.type_one_side else centre

        def sums(view: Neighborhood, interval: Interval, functions: Series) -> tuple[jax.Array, jax.Array]:
            cut = view.sections(cfg.sel, cfg.rcut)
            parts = [self._rows(centre, cut[t]) for t in heard]
            radial = jnp.concatenate([radial for radial, _ in parts], axis=1)
            rows = jnp.concatenate([rows for _, rows in parts], axis=2)
            widths = tuple(cut[t].mask.shape[1] for t in heard)
            total = weighted_sums(rows, radial, interval, functions, expansion.grid, widths)
            return total, jnp.stack([section.kept for section in cut], axis=1)

        functions = jax.tree.map(lambda *c: jnp.concatenate(c), *(expansion.functions[side, t] for t in heard))
        keep = jax.checkpoint_policies.save_only_these_names(BASIS_SUMS)
        return jax.checkpoint(sums, prevent_cse=False, policy=keep)(view, expansion.intervals[side], functions)

    def pair_sums(self, centre: int, neighbor: int, rows: jax.Array, radial: jax.Array) -> jax.Array:
        """:func:`summed` with the network of a pair of types."""
        return summed(self.embedding[self.network_key(centre, neighbor)], rows, radial)

    def network_in_double(self, side: int, neighbor: int) -> Callable[[jax.Array], jax.Array]:
        """The network of a pair of types computed in float64, (..., 1) -> (..., neuron[-1])."""
        return in_double(self.embedding[self.network_key(side, neighbor)])

    def _embedded(self, centre: int, neighbor: int, radial: jax.Array) -> jax.Array:
        """(1, neuron[-1]) embedding of one value (1,)."""
        return self.embedding[self.network_key(centre, neighbor)](radial[None])

    def _empty(self, centre: int, neighbor: int, kept: jax.Array) -> jax.Array:
        """(n_atom,) empty places of a neighbour type, of (n_atom, n_type) neighbours."""
        keep, here = self.config.sel[neighbor], kept[:, neighbor]
        if (centre, neighbor) in self.pair_exclude:  # not a neighbour at all: its place is empty
            return jnp.full_like(here, keep)
        return keep - here


def summed(network: Callable[[jax.Array], jax.Array], rows: jax.Array, radial: jax.Array) -> jax.Array:
    """Sums over neighbours of rows (n_atom, n_row, k) times embeddings of (n_atom, k) numbers: (n_atom, n_row, neuron[-1])."""
    if isinstance(network, Tabulated):
        return network.sums(rows, radial)
    return jnp.einsum("ndk,nkm->ndm", rows, network(radial[..., None]))
