"""Range corrections of QM/MM energies (``pairwise_dprc``).

    E = E_qm(QM atoms) + sum over fragments f of E_qmmm(QM atoms and f)

Each term is the whole energy of its atoms as if there were no others.  Zeng, Giese, Ekesan & York, JCTC 17, 6993 (2021).

An atom of a fragment is in one term, a QM atom in all.  In the terms of fragments that are not near to it, a QM atom has one and
the same energy, which is computed once; those of fragments that are near come one after another, as many as any atom of the block
has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dpjax.batching.batch import Layout
from dpjax.config.models import PairwiseDPRcConfig
from dpjax.descriptors import Neighborhood, cutoff
from dpjax.descriptors.hybrid import Expansions, Grids, common_levels
from dpjax.fittings import of_type
from dpjax.models.fragments import near_fragments, seen
from dpjax.models.linear import WithoutNetworks, build_part, part_name
from dpjax.models.standard import StandardModel, contributes
from dpjax.nn.type_embedding import ModelTypeEmbedding

QM, QMMM = 0, 1  # the parts
Energies = Callable[[jax.Array], jax.Array]  # (n_atom,) eV of atoms that see some of their neighbours, (n_atom, k) bool


class PairwiseDPRc(WithoutNetworks):
    """A model of the QM atoms, and one of these with each fragment.

    Collections: ``params`` and ``stats`` of the parts (``parts_0``, ``parts_1``), in ``params`` their common ``type_embedding``,
    and in ``stats`` the bias of the whole, which QM atoms have.
    """

    config: PairwiseDPRcConfig

    def setup(self):
        self.type_embedding = ModelTypeEmbedding(self.config.type_embedding, self.config.type_map)
        self.add_output_statistics()

    def atomic_output(
        self,
        view: Neighborhood,
        fparam: jax.Array | None = None,
        aparam: jax.Array | None = None,
        expansion: Expansions | None = None,
    ) -> jax.Array:
        """(n_atom,) eV; arguments as for :meth:`StandardModel.atomic_output`, of which ``aparam`` is in ``view`` already."""
        if view.centre in self.config.silent_types:
            return jnp.zeros(view.n_atom, view.disp.dtype)
        energies = [self._energies(i, view, fparam, expansion) for i in (QM, QMMM)]
        is_qm, is_member = view.fragment == 0, view.fragment_nbrs == 0
        alone = jax.lax.cond(
            jnp.any(is_qm), lambda: energies[QM](is_member), lambda: jnp.zeros(view.n_atom, view.disp.dtype)
        )
        bias = of_type(self.out_bias.value[:, 0].astype(view.disp.dtype), view)
        total = jnp.where(is_qm, alone + bias, 0.0) + self._with_fragments(energies[QMMM], view)
        counted = view.fragment >= 0
        if view.centre is None:
            counted &= contributes(self.config, view.types)
        return jnp.where(counted, total, 0.0)

    def _with_fragments(self, energies: Energies, view: Neighborhood) -> jax.Array:
        """(n_atom,) eV of atoms in all terms of fragments."""
        is_qm, is_member = view.fragment == 0, view.fragment_nbrs == 0
        place, n_near = near_fragments(view, cutoff(self.config.parts[QMMM].descriptor))
        # a fragment's atom sees its own, of which a QM atom sees none here: its terms without an atom near to it
        once = energies(is_member | (view.fragment_nbrs == view.fragment[:, None]))
        total = jnp.where(is_qm, view.n_fragment - n_near, 1).astype(once.dtype) * once

        def add(total: jax.Array, i: jax.Array) -> tuple[jax.Array, None]:
            def term() -> jax.Array:
                return jnp.where(n_near > i, energies(is_member | (place == i)), 0.0)

            return total + jax.lax.cond(jnp.any(n_near > i), term, lambda: jnp.zeros_like(total)), None

        most = jnp.arange(view.disp.shape[1], dtype=jnp.int32)  # every neighbour could be a fragment of its own
        return jax.lax.scan(jax.checkpoint(add, prevent_cse=False), total, most)[0]

    def _energies(self, i: int, view: Neighborhood, fparam: jax.Array | None, expansion: Expansions | None) -> Energies:
        part, variables = self._part(i)
        given = fparam if part.config.fitting_net.numb_fparam else None
        own, reach = None if expansion is None else expansion.members[i], self.rcut

        def energies(members: jax.Array) -> jax.Array:
            return part.apply(variables, seen(view, members, reach), given, None, own, method=type(part).atomic_output)

        return energies

    def _part(self, i: int) -> tuple[StandardModel, dict[str, Any]]:
        """A part by itself, and its variables.  Loops may run it, which they may not with modules inside this one."""
        config, name = self.config.parts[i], part_name(i)
        params, stats = (self.variables.get(collection, {}) for collection in ("params", "stats"))
        own = dict(params.get(name, {}))
        if config.type_embedding is not None:
            own["type_embedding"] = params["type_embedding"]
        return build_part(config, parent=None), {"params": own, "stats": stats[name]}

    def type_vectors(self) -> tuple[jax.Array, ...]:
        """(n_type + 1, dim) of the whole; the last row is that of padding."""
        return (self.type_embedding(),)

    def grids(self, layout: Layout) -> tuple[Grids, ...]:
        """Resolutions, coarse to fine, at which series save time in at least one part."""
        parts = [self._part(i) for i in (QM, QMMM)]
        return common_levels([part.apply(variables, layout, method=type(part).grids) for part, variables in parts])

    def expand(self, nearest: jax.Array, grid: Grids) -> Expansions:
        """The embedding networks of the parts as series, for atoms no nearer to each other than ``nearest`` (), angstrom."""

        def series(i: int) -> Any:
            part, variables = self._part(i)
            return part.apply(variables, nearest, grid.members[i], method=type(part).expand)

        return Expansions(tuple(None if grid.members[i] is None else series(i) for i in (QM, QMMM)))

    def init_parameters(self) -> None:
        """Touch the type vectors once; parts have parameters of their own, made one by one."""
        self.type_embedding.init_parameters()
