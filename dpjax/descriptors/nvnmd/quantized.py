"""The quantised forms: displacements in, fixed-point numbers out, by the operations of the hardware one after another.

Tables stand in the collection ``stats``; parameters of the embedding nets, from which they were made, stay where they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from dpjax.descriptors.expansion import Expansion
from dpjax.descriptors.facts import kept
from dpjax.descriptors.nearest import nearest_neighbors
from dpjax.descriptors.neighborhood import Features, Neighborhood, Section
from dpjax.descriptors.nvnmd.continuous import ContinuousSeAtten, ContinuousSeE2A, banded, divisor
from dpjax.nn.chebyshev import Grid
from dpjax.nn.nvnmd import FunctionTable, copied, dot, fixed_product, lookup, mul, product, quantized, scaled, truncated
from dpjax.nn.type_embedding import rows_of

TABLE_ROWS = 512
PLACES = (23, 23, -1)  # binary places of the descriptor, of its derivative, and none for that of the derivative


@jax.custom_vjp
def squared(disp: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Squared lengths (n, 1) of displacements (n, 3), and the displacements, both in the format; derivatives are not rounded."""
    own = truncated(disp)
    return dot(own, own), own


def _push_squared(disp):
    out = squared(disp)
    return out, out[1]


squared.defvjp(_push_squared, lambda own, pulls: (2.0 * pulls[0] * own + pulls[1],))


class Tables:
    """What both quantised descriptors have: tables, and what follows the sums over neighbours."""

    n_table = 1

    def add_tables(self, n_radial: int, others: dict[str, tuple[int, ...]] | None = None) -> None:
        """Create the tables of distances and of embeddings, and others of given shapes."""
        width = self.config.neuron[-1]
        shapes = {
            "radial_values": (n_radial, TABLE_ROWS, 2, 4),
            "radial_slopes": (n_radial, TABLE_ROWS, 2, 4),
            "radial_intervals": (1, 5),
            "embedding_values": (self.n_table, TABLE_ROWS, width, 4),
            "embedding_slopes": (self.n_table, TABLE_ROWS, width, 4),
            "embedding_intervals": (2, 5),
            **(others or {}),
        }
        self.tables = {
            name: self.variable("stats", name, jnp.zeros, shape, jnp.float64) for name, shape in shapes.items()
        }

    def grids(self, n_atom: int, nbrs: Sequence[int]) -> tuple[Grid, ...]:
        """No series: there are tables."""
        return ()

    def table(self, name: str, i: int) -> FunctionTable:
        """The i-th table of a kind."""
        values, slopes, intervals = (self.tables[f"{name}_{part}"].value for part in ("values", "slopes", "intervals"))
        return FunctionTable(values[i], slopes[i], intervals)

    def radial(self, disp: jax.Array, table: FunctionTable) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Radial column s (n, k), h (n, k), which makes the others of displacements, and these (n, k, 3)."""
        n_atom, width = disp.shape[:2]
        square, own = squared(disp.reshape(-1, 3))
        pair = lookup(truncated(square)[:, 0], table)
        s, h = (truncated(pair[:, i]).reshape(n_atom, width) for i in (0, 1))
        return s, h, truncated(own).reshape(n_atom, width, 3)

    def rows(self, s: jax.Array, h: jax.Array, own: jax.Array) -> tuple[jax.Array, jax.Array]:
        """What is embedded, (n, k), and rows of the environment matrix, (n, 4, k)."""
        rows = jnp.concatenate([s[..., None], truncated(scaled(h[..., None], own))], axis=-1)
        for_embedding, rows = copied(rows)
        return for_embedding[..., 0], jnp.swapaxes(rows, 1, 2)

    def embedded(self, s: jax.Array, i: int) -> jax.Array:
        """(n, k, neuron[-1]) of numbers (n, k), from the i-th table."""
        return truncated(lookup(s.reshape(-1), self.table("embedding", i))).reshape(*s.shape, -1)

    def described_by(self, moments: jax.Array, sel: int) -> Features:
        """The descriptor from sums over neighbours (n, 4, neuron[-1])."""
        moments = truncated(moments * (1.0 / divisor(sel)))
        products = product(jnp.swapaxes(moments, 1, 2), moments, True, True)
        values = quantized(truncated(banded(products, self.config.axis_neuron)), PLACES, False)
        return Features(values, jnp.swapaxes(moments[:, 1:], 1, 2))


def with_empty(
    rows: jax.Array, embedded: jax.Array, empty_row: jax.Array, empty: jax.Array, mask: jax.Array, number: jax.Array
) -> jax.Array:
    """Sums over neighbours of rows times embeddings with a place for those that are empty, (n, 4, m).

    Args:
        rows: (n, 4, k).
        embedded: (n, k, m).
        empty_row, empty: (n, 4) and (n, m) of an empty place.
        mask: (n, k) bool: where there is a neighbour.
        number: (n,) empty places.
    """
    rows = jnp.concatenate([jnp.where(mask[:, None], rows, 0.0), empty_row[:, :, None]], axis=2)
    embedded = jnp.concatenate([embedded, empty[:, None]], axis=1)
    weight = jnp.concatenate([mask.astype(rows.dtype), number[:, None].astype(rows.dtype)], axis=1)
    return fixed_product(rows, embedded, weight)


class QuantizedSeE2A(Tables, ContinuousSeE2A):
    """``se_e2_a`` of version 0."""

    def add_networks(self) -> None:
        super().add_networks()
        self.add_tables(self.n_type)

    @property
    def n_table(self) -> int:
        """Embeddings by the type of the neighbour."""
        return self.n_type

    def __call__(self, view: Neighborhood, expansion: Expansion | None = None) -> Features:
        """Descriptor of centres that all have one type; as that of :class:`~dpjax.descriptors.se_e2_a.SeE2A`."""
        cfg, moments = self.config, 0.0
        for t, section in enumerate(view.sections(cfg.sel, cfg.rcut)):
            moments = moments + self._sums(view.centre, t, section)
        return self.described_by(moments, sum(cfg.sel))

    def _sums(self, centre: int, t: int, section: Section) -> jax.Array:
        """(n, 4, neuron[-1]) of the neighbours of one type, and of the places left empty."""
        n_atom, table = section.disp.shape[0], self.table("radial", centre)
        s, rows = self.rows(*self.radial(jnp.where(section.mask[..., None], section.disp, 0.0), table))
        nothing, empty_row = self.rows(*self.radial(jnp.zeros((1, 1, 3), s.dtype), table))
        empty = jnp.broadcast_to(self.embedded(nothing, t)[0], (n_atom, self.config.neuron[-1]))
        empty_row = jnp.broadcast_to(empty_row[..., 0], (n_atom, 4))
        number = self.config.sel[t] - section.kept
        return with_empty(rows, self.embedded(s, t), empty_row, empty, section.mask, number)


class QuantizedSeAtten(Tables, ContinuousSeAtten):
    """``se_atten`` of version 1."""

    def add_networks(self) -> None:
        super().add_networks()
        n, cfg = self.n_type, self.config
        shapes = {"type_vectors": (n + 1, cfg.tebd_dim), "pair_factors": ((n + 1) ** 2, cfg.neuron[-1])}
        self.add_tables(1, shapes | {"dstd_inverse": (n, 2)})

    def __call__(self, view: Neighborhood, expansion: None = None) -> Features:
        """Descriptor of centres of any type, with their type vectors at its end; (n, dim_out)."""
        sel = kept(self.config)[0]
        near = nearest_neighbors(view, sel, self.config.rcut)
        n_atom = view.n_atom
        disp = jnp.where(near.mask[..., None], near.disp, 0.0)
        s, rows = self.rows(*self._spread(view.centre_types, *self.radial(disp, self.table("radial", 0))))
        nothing = self.radial(jnp.zeros((n_atom, 1, 3), s.dtype), self.table("radial", 0))
        nothing, empty_row = self.rows(*self._spread(view.centre_types, *nothing))
        empty = self._embedded(nothing, view.centre_types, jnp.full((n_atom, 1), -1))[:, 0]
        embedded = self._embedded(s, view.centre_types, near.types)
        number = sel - jnp.sum(near.mask, axis=1)
        moments = with_empty(rows, embedded, empty_row[..., 0], empty, near.mask, number)
        features = self.described_by(moments, sel)
        own = rows_of(jnp.asarray(self.tables["type_vectors"].value), view.centre_types)
        return features._replace(values=jnp.concatenate([features.values, own], axis=1))

    def _spread(self, centres: jax.Array, s: jax.Array, h: jax.Array, own: jax.Array) -> tuple[jax.Array, ...]:
        """Numbers of :meth:`radial` in units of their spread, by the types (n,) of the centres."""
        inverse = jnp.asarray(self.tables["dstd_inverse"].value)[jnp.maximum(centres, 0)]
        return truncated(scaled(inverse[:, :1], s)), truncated(scaled(inverse[:, 1:], h)), own

    def _embedded(self, s: jax.Array, centres: jax.Array, neighbors: jax.Array) -> jax.Array:
        """(n, k, neuron[-1]) embeddings of numbers (n, k) times factors of the types (n,) and (n, k); -1: an empty place."""
        n = self.n_type
        pair = jnp.maximum(centres, 0)[:, None] * (n + 1) + jnp.where(neighbors < 0, n, neighbors)
        return truncated(mul(self.embedded(s, 0), truncated(jnp.asarray(self.tables["pair_factors"].value)[pair])))
