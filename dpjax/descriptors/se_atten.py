"""Two-body descriptor with a vector per atom type and attention between neighbours (``se_atten``, DPA-1, and ``se_atten_v2``).

As in ``se_e2_a``, each centre's environment matrix R (one row per neighbour) meets the embeddings G of its neighbours:
``X = R^T G / sel``, ``D = X^T X_<`` with ``X_<`` the first ``axis_neuron`` columns.  One network makes G for all pairs of types,
which it tells apart by type vectors (:mod:`dpjax.nn.pair_embedding`), and attention between the neighbours of an atom refines it
(:mod:`dpjax.nn.attention`).  Zhang et al., arXiv:2208.08236.  ``se_atten_v2`` is the form with separate, smooth type networks.
With ``lmax`` above 1, R has more rows, of higher degree, whose weight in D is trained (:mod:`dpjax.descriptors.degrees`); attention
does not see them.  Lengths in angstrom.

All empty places (fewer neighbours than ``sel``) are alike, so they enter as one of them times their number.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dpjax.config.descriptors import SeAttenConfig, SeAttenV2Config
from dpjax.descriptors.degrees import row_weights, with_degrees
from dpjax.descriptors.facts import kept
from dpjax.descriptors.nearest import Surroundings
from dpjax.descriptors.neighborhood import Features, Neighborhood
from dpjax.descriptors.type_vectors import TypeVectors
from dpjax.nn.attention import NeighborAttention, Scoring, Slots, unit
from dpjax.nn.dense import normal_init
from dpjax.nn.pair_embedding import PairEmbedding

SHORT_ARM = 1e-6  # length of rows below which TensorFlow, whose models have type vectors of their own, does not make them longer
AttentionConfig = SeAttenConfig | SeAttenV2Config


def is_stripped(config: AttentionConfig) -> bool:
    """Whether a network of its own takes the type vectors."""
    if isinstance(config, SeAttenV2Config):
        return True
    given = config.stripped_type_embedding
    return config.tebd_input_mode == "strip" if given is None else given


def is_smooth(config: AttentionConfig) -> bool:
    """Whether attention and, if they have their own network, types lose their effect smoothly at the cut-off."""
    return isinstance(config, SeAttenV2Config) or config.smooth_type_embedding


def empty_types_matter(config: AttentionConfig) -> bool:
    """Whether the type vector that is given to empty places has an effect, where their rows are not zero (``davg``)."""
    return not (is_stripped(config) and is_smooth(config))


def highest_degree(config: AttentionConfig) -> int:
    """Degree up to which the environment matrix has functions of a neighbour's direction."""
    return config.lmax or 1


def scoring(config: AttentionConfig) -> Scoring:
    """How attention scores are formed."""
    given = config.temperature
    scale = (config.attn * config.scaling_factor) ** -0.5 if given is None and config.attn_layer else given or 0.0
    return Scoring(scale, config.normalize, is_smooth(config), config.attn_dotr, config.attn_mask)


class SeAtten(TypeVectors):
    """Descriptor of dimension ``neuron[-1] * axis_neuron``, ``tebd_dim`` more with ``concat_output_tebd``, for any centres."""

    config: AttentionConfig

    def add_networks(self) -> None:
        super().add_networks()
        cfg = self.config
        self.embedding = PairEmbedding(
            cfg.neuron,
            cfg.tebd_dim,
            cfg.activation_function,
            cfg.resnet_dt,
            is_stripped(cfg),
            cfg.type_one_side,
            self.tabulated,
            self.dtype,
        )
        eps = 1e-5 if cfg.ln_eps is None else cfg.ln_eps
        self.attention = NeighborAttention(cfg.attn_layer, cfg.neuron[-1], cfg.attn, scoring(cfg), eps, self.dtype)
        n_higher = highest_degree(cfg) - 1
        if n_higher:
            self.degree_gain = self.param("degree_gain", normal_init(0.1), (n_higher,), self.dtype)

    @property
    def dim_out(self) -> int:
        cfg = self.config
        return cfg.neuron[-1] * cfg.axis_neuron + self.dim_appended

    @property
    def dim_frame(self) -> int:
        return self.config.neuron[-1]

    def init_networks(self) -> None:
        """Create what there is beside type vectors."""
        self.embedding.init_parameters()
        self.attention.init_parameters()

    def described(self, view: Neighborhood, vectors: jax.Array) -> Features:
        """The descriptor before type vectors are appended, from those that it is given, (n_type + 1, tebd_dim)."""
        cfg = self.config
        highest = highest_degree(cfg)
        around = with_degrees(self.surroundings(view), highest, cfg.env_protection)
        moments = self._sums(view, around, vectors) + self._empty_sums(view, around, vectors)
        moments = moments / float(kept(cfg)[0])
        axis = moments[..., : cfg.axis_neuron]
        if highest > 1:
            axis = axis * row_weights(self.degree_gain)[None, :, None]
        values = jnp.einsum("ncm,nca->nma", moments, axis).reshape(view.n_atom, -1)
        return Features(values, jnp.swapaxes(moments[:, 1:4], 1, 2))

    def _sums(self, view: Neighborhood, around: Surroundings, vectors: jax.Array) -> jax.Array:
        """(n_atom, n_row, neuron[-1]) what the neighbours add."""
        fading = self._fading(around)
        switch = fading if is_smooth(self.config) else None
        if self.tabulated:  # then there is no attention
            return self.embedding.sums(around.rows, around.rows[:, 0], vectors, view.centre_types, around.types, switch)
        embedded = self.embedding(around.rows[:, 0], vectors, view.centre_types, around.types, switch)
        arms = unit(around.rows[:, 1:4], axis=1, least=1e-12 if self.vectors is None else SHORT_ARM)
        slots = Slots(around.mask, fading, arms, kept(self.config)[0])
        return jnp.einsum("nck,nkm->ncm", around.rows, self.attention(embedded, slots))

    def _fading(self, around: Surroundings) -> jax.Array:
        """(n_atom, k) how much types and attention count in the smooth form: 0 at the cut-off and where there is no neighbour.

        Models with type vectors of their own, which only TensorFlow has, make it of the radial row s = w / r as that program does:
        ``1 - (1 - rcut_smth s)^3``, and 1 where that exceeds it.
        """
        if self.vectors is None:
            return around.switch
        rest = jnp.maximum(1.0 - self.config.rcut_smth * around.switch / around.dist, 0.0)
        return 1.0 - rest * rest * rest

    def _empty_sums(self, view: Neighborhood, around: Surroundings, vectors: jax.Array) -> jax.Array:
        """(n_atom, n_row, neuron[-1]) what the empty places add: nothing where ``davg`` is zero."""
        radial = around.empty_row[:, :1]
        switch = jnp.zeros_like(radial) if is_smooth(self.config) else None
        embedded = self.embedding(radial, vectors, view.centre_types, view.empty_types[:, None], switch)
        weighted = around.empty_row * around.n_empty[:, None]
        return weighted[:, :, None] * self.attention.lonely(embedded)
