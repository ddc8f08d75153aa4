"""Descriptor in which atoms and pairs of neighbours exchange messages (``dpa2``).

``repinit`` describes each atom by its neighbourhood, as ``se_atten`` without attention does, and by the angles between its nearest
neighbours if asked for.  The layers of ``repformer`` then refine three things: ``g1``, a vector for each atom, which becomes the
descriptor; ``g2``, a vector for each pair of neighbours; and ``h2``, the direction of each pair, which turns with the system.
Zhang et al., arXiv:2312.15492.  Lengths in angstrom.

A neighbour is an atom of the structure, whichever of its periodic images is near, so nothing is exchanged with copies.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dpjax.config.descriptors import DPA2Config
from dpjax.descriptors.dpa2.parts import repformers_of, repinit_of, three_body_of
from dpjax.descriptors.dpa2.repformers import Repformers
from dpjax.descriptors.nearest import first, in_order
from dpjax.descriptors.neighborhood import Features, Neighborhood
from dpjax.descriptors.se_atten import SeAtten
from dpjax.descriptors.se_e3_tebd import SeE3Tebd
from dpjax.descriptors.type_vectors import TypeVectors
from dpjax.nn.blocks import Work
from dpjax.nn.dense import Dense
from dpjax.nn.repeated import in_blocks
from dpjax.nn.type_embedding import rows_of

KEPT = 8  # numbers for a backward pass where there is one of a layer's result, about


class DPA2(TypeVectors):
    """Descriptor of dimension ``g1_dim``, and ``tebd_dim`` more with ``concat_output_tebd``, for all atoms of a batch."""

    config: DPA2Config

    def add_networks(self) -> None:
        super().add_networks()
        cfg, shared = self.config, (self.n_type, self.pair_exclude)
        width = cfg.repformer.g1_dim
        self.repinit = SeAtten(repinit_of(cfg), *shared)
        if cfg.repinit.use_three_body:
            self.repinit_three_body = SeE3Tebd(three_body_of(cfg), *shared)
        self.repformers = Repformers(repformers_of(cfg), *shared)
        if self.dim_repinit != width:
            self.g1_shape_tranform = Dense(width, "none", use_bias=False, dtype=self.dtype)
        if cfg.add_tebd_to_repinit_out:
            self.tebd_transform = Dense(width, "none", use_bias=False, dtype=self.dtype)

    def add_statistics(self) -> None:
        """None: each part has its own."""

    @property
    def dim_out(self) -> int:
        return self.config.repformer.g1_dim + self.dim_appended

    @property
    def dim_frame(self) -> int:
        return self.config.repformer.g2_dim

    @property
    def dim_repinit(self) -> int:
        """Length of what repinit says of an atom."""
        own = self.config.repinit
        return own.neuron[-1] * own.axis_neuron + (own.three_body_neuron[-1] if own.use_three_body else 0)

    def init_networks(self) -> None:
        """Create what there is beside type vectors."""
        cfg = self.config
        self.repinit.init_networks()
        if cfg.repinit.use_three_body:
            self.repinit_three_body.init_networks()
        self.repformers.init_networks()
        if self.dim_repinit != cfg.repformer.g1_dim:
            self.g1_shape_tranform.parameters(self.dim_repinit)
        if cfg.add_tebd_to_repinit_out:
            self.tebd_transform.parameters(cfg.repinit.tebd_dim)

    def described(self, view: Neighborhood, vectors: jax.Array) -> Features:
        """The descriptor before type vectors are appended, from those that it is given, (n_type + 1, tebd_dim)."""
        inner = self.config.repformer
        copies = view.copies
        # of a hybrid's list, too, each part takes its own cut-off; only layers need what other atoms have become
        view = view.replace(shared=None, copies=None, work=self._work(view))
        near = self._sorted(view)
        g1 = in_blocks(self, DPA2.start, (view, near), view.n_atom, self._pairs(view), view.work)
        return self.repformers(first(near, near.places(inner.nsel, inner.rcut)).replace(copies=copies), g1)

    def start(self, view: Neighborhood, near: Neighborhood) -> jax.Array:
        """(n_atom, g1_dim) what a block of atoms starts from.

        Args:
            view: the atoms and their neighbours.
            near: the same, from :meth:`_sorted`.
        """
        cfg, vectors = self.config, self.type_embedding()
        g1 = self.repinit.described(view, vectors).values
        if cfg.repinit.use_three_body:
            corners = first(near, self._corners(near))
            angles = self.repinit_three_body.described(corners, vectors).values
            g1 = jnp.concatenate([g1, angles], axis=1)
        if self.dim_repinit != cfg.repformer.g1_dim:
            g1 = self.g1_shape_tranform(g1)
        if cfg.add_tebd_to_repinit_out:
            g1 = g1 + self.tebd_transform(rows_of(vectors, view.centre_types))
        return g1

    def _sorted(self, view: Neighborhood) -> Neighborhood:
        """The nearest neighbours by distance, as far as angles and layers need them."""
        outer, inner = self.config.repinit, self.config.repformer
        rcuts, numbers = (inner.rcut,), (view.places(inner.nsel, inner.rcut),)
        if outer.use_three_body:
            rcuts, numbers = (*rcuts, outer.three_body_rcut), (*numbers, self._corners(view))
        return in_order(view, max(numbers), max(rcuts))

    def _corners(self, view: Neighborhood) -> int:
        """Places for the neighbours of an atom that form angles."""
        outer = self.config.repinit
        return view.places(outer.three_body_sel, outer.three_body_rcut)

    def _work(self, view: Neighborhood) -> Work:
        """How the work is divided; what lies inside layers is not computed again where there is room for it."""
        outer, inner = self.config.repinit, self.config.repformer
        k = view.places(inner.nsel, inner.rcut)
        kept = view.disp.shape[1] * sum(outer.neuron) + inner.nlayers * k * (inner.g1_dim + inner.g2_dim)
        if outer.use_three_body:
            kept += self._corners(view) ** 2 * sum(outer.three_body_neuron)
        if inner.update_g2_has_attn or inner.update_h2:
            kept += inner.nlayers * k**2 * inner.attn2_nhead
        return view.work.decided(inner.nlayers, view.n_atom, kept, KEPT * self.dtype.itemsize)

    def _pairs(self, view: Neighborhood) -> int:
        """Neighbours, or pairs of them, that there are arrays for in an atom's start, at most."""
        outer = self.config.repinit
        return self._corners(view) ** 2 if outer.use_three_body else outer.nsel
