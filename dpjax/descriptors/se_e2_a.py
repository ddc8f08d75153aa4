"""Two-body smooth descriptor with radial and angular detail (``se_e2_a``).

Each centre's environment matrix R (one row per neighbour) meets the embedding G of its radial column:
``X = R^T G / sum(sel)``, ``D = X^T X_<`` with ``X_<`` the first ``axis_neuron`` columns.  Zhang et al., NeurIPS 2018,
arXiv:1805.09003.  Lengths in angstrom.  Nothing here knows about frames, boxes, files or devices.

All empty places of a section (fewer neighbours than ``sel``) are alike, so they enter the sum as one of them times their number.
G depends on one number, so for many neighbours its networks are expanded in series (:mod:`dpjax.descriptors.expansion`): the sum
over neighbours is then taken of basis functions, and the coefficients come in once per atom instead of once per neighbour.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpjax.config import SeE2AConfig
from dpjax.descriptors.expansion import Expansion, embedding_expansion, paying_grids, radial_intervals
from dpjax.descriptors.neighborhood import Features, Neighborhood, Section, ordered_pairs
from dpjax.geometry.environment import env_components
from dpjax.nn.chebyshev import BASIS_SUMS, Grid, Interval, Series, weighted_sums
from dpjax.nn.dense import DenseStack
from dpjax.nn.precision import dtype_of

Pair = tuple[int, int]


def normalized_rows(
    section: Section, davg: jax.Array, dstd: jax.Array, config: SeE2AConfig
) -> tuple[jax.Array, jax.Array]:
    """Normalised environment rows of one section, components before slots so that the long axis lies innermost.

    Args:
        section: neighbours of one type, n_atom centres with k slots.
        davg, dstd: (4,) statistics of the centre's type.

    Returns:
        radial: (n_atom, k, 1) input of the embedding network.
        rows: (n_atom, 4, k), zero in unused slots.
    """
    raw = env_components(
        jnp.swapaxes(section.disp, 1, 2),
        section.mask,
        r_on=config.rcut_smth,
        r_off=config.rcut,
        protection=config.env_protection,
    )
    rows = (raw - davg[None, :, None]) / dstd[None, :, None]
    return rows[:, 0, :, None], jnp.where(section.mask[:, None, :], rows, 0.0)


class SeE2A(nn.Module):
    """Descriptor of dimension ``neuron[-1] * axis_neuron`` for centres of one type at a time.

    Attributes:
        config: hyper-parameters; ``sel`` is resolved.
        n_type: number of types.
        pair_exclude: ordered pairs (centre, neighbour) that the model removes from the neighbour list.
    """

    by_type = True  # networks per type: centres and neighbours come in sections

    config: SeE2AConfig
    n_type: int
    pair_exclude: frozenset[Pair] = frozenset()

    def setup(self):
        cfg = self.config
        self.embedding = {
            self.network_key(c, t): DenseStack(cfg.neuron, cfg.activation_function, cfg.resnet_dt, dtype=self.dtype)
            for c in range(1 if cfg.type_one_side else self.n_type)
            for t in range(self.n_type)
        }
        self.davg = self.variable("stats", "davg", jnp.zeros, (self.n_type, 4), self.dtype)
        self.dstd = self.variable("stats", "dstd", jnp.ones, (self.n_type, 4), self.dtype)

    @property
    def dtype(self) -> jnp.dtype:
        return dtype_of(self.config.precision)

    @property
    def dim_out(self) -> int:
        return self.config.neuron[-1] * self.config.axis_neuron

    @property
    def dim_frame(self) -> int:
        return self.config.neuron[-1]

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
            Values (n_atom, dim_out) and frame (n_atom, neuron[-1], 3) in the descriptor's precision.
        """
        cfg = self.config
        sums = self._network_sums if expansion is None else partial(self._series_sums, expansion)
        moments, kept = sums(view)
        moments = (moments + self._empty_sums(view.centre, kept)) / sum(cfg.sel)
        values = jnp.einsum("ndm,nda->nma", moments, moments[..., : cfg.axis_neuron])
        return Features(values.reshape(values.shape[0], -1), jnp.swapaxes(moments[:, 1:], 1, 2))

    def grids(self, n_atom: int, nbrs: Sequence[int]) -> tuple[Grid, ...]:
        """Resolutions, coarse to fine, at which series in place of the networks save time for ``n_atom`` centres."""
        return paying_grids(self.config, self.dtype, n_atom, nbrs, n_network=len(self.embedding))

    def expand(self, nearest: jax.Array, grid: Grid) -> Expansion:
        """The embedding networks as series.

        Args:
            nearest: () smallest distance of two atoms, angstrom.
            grid: resolution.
        """
        cfg = self.config
        davg, dstd = self.davg.value[:, 0], self.dstd.value[:, 0]
        intervals = radial_intervals(cfg, nearest, davg, dstd, self.dtype)
        networks = {
            (c, t): self.embedding[self.network_key(c, t)] for c in range(len(intervals)) for t in range(self.n_type)
        }
        return embedding_expansion(networks, intervals, self.dtype, grid)

    def _network_sums(self, view: Neighborhood) -> tuple[jax.Array, jax.Array]:
        """Sums of rows times embeddings over the neighbours, (n_atom, 4, neuron[-1]), and how many there are of each type."""
        cfg, centre = self.config, view.centre
        moments, kept = jnp.zeros((view.n_atom, 4, cfg.neuron[-1]), self.dtype), []
        for t, section in enumerate(view.sections(cfg.sel, cfg.rcut)):
            kept.append(section.kept)
            if self._silent(centre, t) or not section.mask.shape[1]:
                continue
            radial, rows = self._rows(centre, section)
            embedded = self.embedding[self.network_key(centre, t)](radial)
            moments = moments + jnp.einsum("ndk,nkm->ndm", rows, embedded)
        return moments, jnp.stack(kept, axis=1)

    def _series_sums(self, expansion: Expansion, view: Neighborhood) -> tuple[jax.Array, jax.Array]:
        """:meth:`_network_sums` from series.

        The basis functions at the neighbours are computed again in backward passes, as they are larger than what they come from.
        """
        cfg, centre = self.config, view.centre
        side = 0 if cfg.type_one_side else centre
        heard = [t for t, width in enumerate(view.nbrs) if width and not self._silent(centre, t)]
        if not heard:
            return self._network_sums(view)

        def sums(view: Neighborhood, interval: Interval, functions: Series) -> tuple[jax.Array, jax.Array]:
            cut = view.sections(cfg.sel, cfg.rcut)
            parts = [self._rows(centre, cut[t]) for t in heard]
            radial = jnp.concatenate([radial[..., 0] for radial, _ in parts], axis=1)
            rows = jnp.concatenate([rows for _, rows in parts], axis=2)
            widths = tuple(cut[t].mask.shape[1] for t in heard)
            moments = weighted_sums(rows, radial, interval, functions, expansion.grid, widths)
            return moments, jnp.stack([section.kept for section in cut], axis=1)

        functions = jax.tree.map(lambda *c: jnp.concatenate(c), *(expansion.functions[side, t] for t in heard))
        keep = jax.checkpoint_policies.save_only_these_names(BASIS_SUMS)
        return jax.checkpoint(sums, prevent_cse=False, policy=keep)(view, expansion.intervals[side], functions)

    def _rows(self, centre: int, section: Section) -> tuple[jax.Array, jax.Array]:
        """:func:`normalized_rows` of a section in the descriptor's precision."""
        section = section._replace(disp=section.disp.astype(self.dtype))
        return normalized_rows(section, self.davg.value[centre], self.dstd.value[centre], self.config)

    def _silent(self, centre: int, neighbor: int) -> bool:
        """Whether neighbours of this type add nothing."""
        return (centre, neighbor) in self.pair_exclude | ordered_pairs(self.config.exclude_types)

    def _empty_sums(self, centre: int, kept: jax.Array) -> jax.Array:
        """What the empty places add, (n_atom, 4, neuron[-1]) for (n_atom, n_type) neighbours."""
        moments = jnp.zeros((kept.shape[0], 4, self.config.neuron[-1]), self.dtype)
        for t, keep in enumerate(self.config.sel):
            if (centre, t) in self.pair_exclude:  # not a neighbour at all: its place is empty
                empty = jnp.full_like(kept[:, t], keep)
            else:
                empty = keep - kept[:, t]
            moments = moments + empty.astype(self.dtype)[:, None, None] * self.empty_place(centre, t)[None]
        return moments

    def empty_place(self, centre: int, neighbor: int) -> jax.Array:
        """(4, neuron[-1]) contribution of one empty place: a zero row, which is ``-davg/dstd`` after normalisation."""
        row = -self.davg.value[centre] / self.dstd.value[centre]
        embedded = self.embedding[self.network_key(centre, neighbor)](row[None, None, :1])
        return row[:, None] * embedded[0]
