"""A weighted sum of energy models (``linear_ener``), and a pair table by itself (``pairtab``).

The parts of a sum see one neighbour table, of which each takes its own view: cut-off, exclusions, and the order of the types.  So a
sum is evaluated for a block of atoms at a time as any other model, and everything that rests on that works for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpjax.batching.batch import Layout
from dpjax.config.models import LinearEnergyConfig, PairTableConfig
from dpjax.descriptors import Neighborhood, kept, ordered_pairs
from dpjax.descriptors.hybrid import Expansions, Grids, common_levels
from dpjax.errors import ModelError
from dpjax.fittings import of_type
from dpjax.models.pair_table import PairEnergies
from dpjax.models.shared_layers import borrowed, part_name
from dpjax.models.standard import FEATURES, StandardModel, contributes, where_rows
from dpjax.nn.precision import require_x64


class WithoutNetworks(StandardModel):
    """What a model lacks that has no descriptor and no fitting net itself."""

    def atomic_features(self, view, fparam=None, aparam=None, expansion=None, *, names: Sequence[str] = FEATURES):
        """There are none."""
        raise ModelError(
            f"{', '.join(names)}: a model of type {self.config.type!r} is made of parts and has no descriptor of its own; ask its "
            "parts."
        )

    def direct_output(self, *args, **options):
        """There is none."""
        raise ModelError(f"a model of type {self.config.type!r} gives no forces directly")

    def type_vectors(self) -> tuple[jax.Array, ...]:
        """There are none."""
        return ()

    def _biased(self, view: Neighborhood, values: jax.Array) -> jax.Array:
        """Energies with the bias of the whole model, zero for types that are excluded."""
        values = values + of_type(self.out_bias.value[:, 0].astype(values.dtype), view)
        silent = self.config.silent_types
        return where_rows(contributes(self.config, view.types), values) if view.centre is None and silent else values


class PairTableModel(WithoutNetworks):
    """Energies of pairs from a table.

    Collections: ``stats`` (the table, out_bias); there are no parameters.
    """

    config: PairTableConfig

    def setup(self):
        require_x64(jnp.float64)
        own = self.config
        self.pair_table = PairEnergies(self.n_type, own.rcut, kept(own)[0], ordered_pairs(own.pair_exclude_types))
        self.add_output_statistics()

    def atomic_output(self, view: Neighborhood, fparam=None, aparam=None, expansion=None) -> jax.Array:
        """(n_atom,) eV; arguments as for :meth:`StandardModel.atomic_output`, of which only the first has an effect."""
        if view.centre in self.config.silent_types:
            return jnp.zeros(view.n_atom, view.disp.dtype)
        return self._biased(view, self.pair_table(view).astype(view.disp.dtype))

    def grids(self, layout: Layout) -> tuple[Grids, ...]:
        """None: there are no embedding networks."""
        return ()

    def init_parameters(self) -> None:
        """Touch every statistic once."""
        self.pair_table.init_parameters()


class LinearEnergy(WithoutNetworks):
    """A weighted sum of energy models.

    Collections: ``params`` and ``stats`` of the parts (``parts_0``, ...), and in ``stats`` the bias of the whole.  Layers that
    several parts share have their parameters in the first of them (:mod:`dpjax.models.shared_layers`).
    """

    config: LinearEnergyConfig

    def setup(self):
        for i, part in enumerate(self.config.parts):  # one after another, as later parts use layers of those before
            setattr(self, part_name(i), build_part(part, lent=self._lent_to(i)))
        self.add_output_statistics()

    @property
    def parts(self) -> tuple[StandardModel, ...]:
        """The modules of the parts."""
        return tuple(getattr(self, part_name(i)) for i in range(len(self.config.parts)))

    def _lent_to(self, i: int) -> dict[str, dict[str, nn.Module]] | None:
        """Layers of earlier parts that a part uses, by network and number; None where there are none."""
        lent: dict[str, dict[str, nn.Module]] = {}
        for (part, layer), (owner, theirs) in borrowed(self.config).items():
            for net, stack in getattr(self, part_name(owner)).fitting_net.net.items() if part == i else ():
                lent.setdefault(net, {})[str(layer)] = stack.layers[str(theirs)]
        return lent or None

    def atomic_output(
        self,
        view: Neighborhood,
        fparam: jax.Array | None = None,
        aparam: jax.Array | None = None,
        expansion: Expansions | None = None,
    ) -> jax.Array:
        """(n_atom,) eV; arguments as for :meth:`StandardModel.atomic_output`.  Parts without parameters are given none."""
        if view.centre in self.config.silent_types:
            return jnp.zeros(view.n_atom, view.disp.dtype)
        series = (None,) * len(self.parts) if expansion is None else expansion.members
        total = jnp.zeros(view.n_atom, view.disp.dtype)
        for part, factor, own in zip(self.parts, self.config.factors, self._of_parts(series), strict=True):
            net = part.config.fitting_net
            inputs = fparam if net.numb_fparam else None, aparam if net.numb_aparam else None
            total = total + factor * part.atomic_output(self._view_of(part, view), *inputs, own)
        return self._biased(view, total)

    def grids(self, layout: Layout) -> tuple[Grids, ...]:
        """Resolutions, coarse to fine, at which series save time in at least one part."""
        return common_levels([part.grids(self._layout_of(part, layout)) for part in self._with_networks])

    def expand(self, nearest: jax.Array, grid: Grids) -> Expansions:
        """The embedding networks of the parts as series, for atoms no nearer to each other than ``nearest`` (), angstrom."""
        pairs = zip(self._with_networks, grid.members, strict=True)
        return Expansions(tuple(None if own is None else part.expand(nearest, own) for part, own in pairs))

    def init_parameters(self) -> None:
        """Touch every parameter and statistic once."""
        for part in self.parts:
            part.init_parameters()

    @property
    def _with_networks(self) -> list[StandardModel]:
        return [part for part in self.parts if not isinstance(part, PairTableModel)]

    def _of_parts(self, series: Sequence) -> list:
        """Series of the parts with networks as one entry for each part."""
        if len(series) == len(self.parts):
            return list(series)
        own = iter(series)
        return [None if isinstance(part, PairTableModel) else next(own) for part in self.parts]

    def _types_of(self, part: StandardModel) -> tuple[int, ...]:
        """Which type of a part each type of the whole model is."""
        return tuple(part.config.type_map.index(name) for name in self.config.type_map)

    def _view_of(self, part: StandardModel, view: Neighborhood) -> Neighborhood:
        order = self._types_of(part)
        same = order == tuple(range(part.n_type))
        return view if same else in_types_of(view, order, part.n_type)

    def _layout_of(self, part: StandardModel, layout: Layout) -> Layout:
        """The layout with the sections that a part with networks per type sees."""
        if not part.by_type:
            return layout
        order = self._types_of(part)
        nbrs = [layout.nbrs[order.index(t)] if t in order else 0 for t in range(part.n_type)]
        return replace(layout, nbrs=tuple(nbrs))


def build_part(config: Any, **options: Any) -> StandardModel:
    """The module of a part of a sum; ``options`` are those of any module."""
    return (PairTableModel if isinstance(config, PairTableConfig) else StandardModel)(config, **options)


def in_types_of(view: Neighborhood, order: Sequence[int], n_type: int) -> Neighborhood:
    """The same atoms and neighbours, counted by the types of another model.

    Args:
        view: by types of the whole model.
        order: of each of these the type in the other model.
        n_type: how many that has.
    """
    if view.centre is None:
        table = jnp.array((*order, -1))  # the last entry is that of -1, which says padding
        named = {name: getattr(view, name) for name in ("types", "kinds", "empty_kinds")}
        return view.replace(**{name: None if own is None else table[own] for name, own in named.items()})
    starts = [sum(view.nbrs[:t]) for t in range(len(view.nbrs))]
    from_ours = [order.index(t) if t in order else None for t in range(n_type)]
    nbrs = tuple(0 if t is None else view.nbrs[t] for t in from_ours)

    def columns(array: jax.Array) -> jax.Array:
        ours = [t for t in from_ours if t is not None]
        parts = [jax.lax.slice_in_dim(array, starts[t], starts[t] + view.nbrs[t], axis=1) for t in ours]
        return jnp.concatenate(parts, axis=1)

    none = jnp.zeros_like(view.count[:, 0])
    return view.replace(
        disp=columns(view.disp),
        index=None if view.index is None else columns(view.index),
        count=jnp.stack([none if t is None else view.count[:, t] for t in from_ours], axis=1),
        empty_kinds=None if view.empty_kinds is None else jnp.array((*order, -1))[view.empty_kinds],
        nbrs=nbrs,
        centre=order[view.centre],
    )
