"""Two-body smooth descriptor of distances alone (``se_e2_r``).

The radial column s of the environment matrix, normalised, enters an embedding network G per neighbour type.  The descriptor is the
mean of G over all ``sum(sel)`` places, divided by 5 as in the reference: ``D = sum_k G(s_k) / (5 sum(sel))``.  Zhang et al.,
NeurIPS 2018, arXiv:1805.09003.  Lengths in angstrom.  Directions do not enter, so there is no frame.

All empty places of a section (fewer neighbours than ``sel``) are alike, so they enter as one of them times their number.
As in :mod:`dpjax.descriptors.se_e2_a` the networks may be expanded in series, because G depends on one number.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpjax.config.descriptors import SeE2RConfig
from dpjax.descriptors.expansion import Expansion, embedding_expansion, paying_grids, radial_intervals
from dpjax.descriptors.neighborhood import Features, Neighborhood, Section, ordered_pairs
from dpjax.geometry.environment import env_radial
from dpjax.nn.chebyshev import BASIS_SUMS, Grid, Interval, Series, weighted_sums
from dpjax.nn.dense import DenseStack
from dpjax.nn.precision import dtype_of

RESCALE = 0.2  # a constant of the reference


class SeE2R(nn.Module):
    """Descriptor of dimension ``neuron[-1]`` for centres of one type at a time.

    Attributes:
        config: hyper-parameters; ``sel`` is resolved.
        n_type: number of types.
        pair_exclude: ordered pairs (centre, neighbour) that the model removes from the neighbour list.
    """

    by_type = True  # networks per type: centres and neighbours come in sections

    config: SeE2RConfig
    n_type: int
    pair_exclude: frozenset[tuple[int, int]] = frozenset()

    def setup(self):
        cfg = self.config
        self.embedding = {
            self.network_key(c, t): DenseStack(cfg.neuron, cfg.activation_function, cfg.resnet_dt, dtype=self.dtype)
            for c in range(1 if cfg.type_one_side else self.n_type)
            for t in range(self.n_type)
        }
        self.davg = self.variable("stats", "davg", jnp.zeros, (self.n_type, 1), self.dtype)
        self.dstd = self.variable("stats", "dstd", jnp.ones, (self.n_type, 1), self.dtype)

    @property
    def dtype(self) -> jnp.dtype:
        return dtype_of(self.config.precision)

    @property
    def dim_out(self) -> int:
        return self.config.neuron[-1]

    @property
    def dim_frame(self) -> int:
        return 0

    def network_key(self, centre: int, neighbor: int) -> str:
        """Name of the embedding network of a type pair."""
        return f"{neighbor}" if self.config.type_one_side else f"{centre}_{neighbor}"

    def init_parameters(self) -> None:
        """Touch every network and statistic once, so that ``init`` creates all of them."""
        for network in self.embedding.values():
            network.init_parameters(1)

    def __call__(self, view: Neighborhood, expansion: Expansion | None = None) -> Features:
        """Descriptor of centres that all have one type.

        Args:
            view: the centres, in sections by type.
            expansion: the embedding networks as series; None: the networks themselves.

        Returns:
            Values (n_atom, neuron[-1]) in the descriptor's precision; no frame.
        """
        sums = self._network_sums if expansion is None else partial(self._series_sums, expansion)
        total, kept = sums(view)
        return Features(RESCALE / sum(self.config.sel) * (total + self._constant_sums(view.centre, kept)))

    def grids(self, n_atom: int, nbrs: Sequence[int]) -> tuple[Grid, ...]:
        """Resolutions, coarse to fine, at which series in place of the networks save time for ``n_atom`` centres."""
        return paying_grids(self.config, self.dtype, n_atom, nbrs, n_network=len(self.embedding), n_column=1)

    def expand(self, nearest: jax.Array, grid: Grid) -> Expansion:
        """The embedding networks as series.

        Args:
            nearest: () smallest distance of two atoms, angstrom.
            grid: resolution.
        """
        davg, dstd = self.davg.value[:, 0], self.dstd.value[:, 0]
        intervals = radial_intervals(self.config, nearest, davg, dstd, self.dtype)
        networks = {
            (c, t): self.embedding[self.network_key(c, t)] for c in range(len(intervals)) for t in range(self.n_type)
        }
        return embedding_expansion(networks, intervals, self.dtype, grid)

    def _network_sums(self, view: Neighborhood) -> tuple[jax.Array, jax.Array]:
        """Sums of embeddings over the neighbours, (n_atom, neuron[-1]), and how many there are of each type."""
        cfg, centre = self.config, view.centre
        total, kept = jnp.zeros((view.n_atom, cfg.neuron[-1]), self.dtype), []
        for t, section in enumerate(view.sections(cfg.sel, cfg.rcut)):
            kept.append(section.kept)
            if self._constant(centre, t) or not section.mask.shape[1]:
                continue
            embedded = self.embedding[self.network_key(centre, t)](self._radial(centre, section)[..., None])
            total = total + jnp.einsum("nk,nkm->nm", section.mask.astype(self.dtype), embedded)
        return total, jnp.stack(kept, axis=1)

    def _series_sums(self, expansion: Expansion, view: Neighborhood) -> tuple[jax.Array, jax.Array]:
        """:meth:`_network_sums` from series; the basis functions are computed again in backward passes."""
        cfg, centre = self.config, view.centre
        side = 0 if cfg.type_one_side else centre
        heard = [t for t, width in enumerate(view.nbrs) if width and not self._constant(centre, t)]
        if not heard:
            return self._network_sums(view)

        def sums(view: Neighborhood, interval: Interval, functions: Series) -> tuple[jax.Array, jax.Array]:
            cut = view.sections(cfg.sel, cfg.rcut)
            radial = jnp.concatenate([self._radial(centre, cut[t]) for t in heard], axis=1)
            mask = jnp.concatenate([cut[t].mask for t in heard], axis=1).astype(self.dtype)
            widths = tuple(cut[t].mask.shape[1] for t in heard)
            total = weighted_sums(mask[:, None], radial, interval, functions, expansion.grid, widths)
            return total[:, 0], jnp.stack([section.kept for section in cut], axis=1)

        functions = jax.tree.map(lambda *c: jnp.concatenate(c), *(expansion.functions[side, t] for t in heard))
        keep = jax.checkpoint_policies.save_only_these_names(BASIS_SUMS)
        return jax.checkpoint(sums, prevent_cse=False, policy=keep)(view, expansion.intervals[side], functions)

    def _radial(self, centre: int, section: Section) -> jax.Array:
        """(n_atom, k) normalised radial column of one section; that of an empty place in unused slots."""
        cfg = self.config
        disp = jnp.swapaxes(section.disp.astype(self.dtype), 1, 2)
        raw = env_radial(disp, section.mask, r_on=cfg.rcut_smth, r_off=cfg.rcut, protection=cfg.env_protection)
        return (raw - self.davg.value[centre, 0]) / self.dstd.value[centre, 0]

    def _excluded(self, centre: int, neighbor: int) -> bool:
        """Whether the descriptor's options exclude a pair of types."""
        return (centre, neighbor) in ordered_pairs(self.config.exclude_types)

    def _constant(self, centre: int, neighbor: int) -> bool:
        """Whether it does not matter where neighbours of this type are."""
        return (centre, neighbor) in self.pair_exclude or self._excluded(centre, neighbor)

    def _constant_sums(self, centre: int, kept: jax.Array) -> jax.Array:
        """What empty places and excluded neighbours add, (n_atom, neuron[-1]) for (n_atom, n_type) neighbours.

        With one network for each neighbour type an excluded neighbour is embedded as s = 0, and its empty places count like any.
        With networks per pair there is none for an excluded pair, which adds nothing at all: so it is in TensorFlow, the only
        backend of DeePMD-kit that has them.
        """
        total = jnp.zeros((kept.shape[0], self.dim_out), self.dtype)
        for t, keep in enumerate(self.config.sel):
            if self._excluded(centre, t) and not self.config.type_one_side:
                continue
            here = kept[:, t] if (centre, t) not in self.pair_exclude else jnp.zeros_like(kept[:, t])
            empty = -self.davg.value[centre] / self.dstd.value[centre]
            total = total + self._times(keep - here, centre, t, empty)
            if self._excluded(centre, t):
                total = total + self._times(here, centre, t, jnp.zeros_like(empty))
        return total

    def _times(self, number: jax.Array, centre: int, neighbor: int, radial: jax.Array) -> jax.Array:
        """(n_atom, neuron[-1]) embedding of one radial value (1,), times (n_atom,) how often it is there."""
        embedded = self.embedding[self.network_key(centre, neighbor)](radial[None])
        return number.astype(self.dtype)[:, None] * embedded
