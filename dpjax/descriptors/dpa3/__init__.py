"""Descriptor in which nodes, edges and angles exchange messages (``dpa3``).

A node is an atom, an edge an atom and one of its neighbours, an angle an atom and two of them.  Nodes start as activated type
vectors, edges from the smoothed 1/r, angles from their cosine; layers update them from one another, and the nodes are the
descriptor.  Zhang et al., arXiv:2506.01686.  Lengths in angstrom.

With ``add_chg_spin_ebd`` a vector for the charge and the spin of the frame is added to the type vectors of its atoms.

A neighbour is an atom of the structure, whichever of its periodic images is near, so nothing is exchanged with copies.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from dpjax.config.descriptors import DPA3Config
from dpjax.descriptors.dpa3.flat import flat_graph_of
from dpjax.descriptors.dpa3.graph import graph_of
from dpjax.descriptors.dpa3.layer import Graph, RepflowLayer, Scales, State
from dpjax.descriptors.neighborhood import Features, Neighborhood
from dpjax.descriptors.type_vectors import TypeVectors
from dpjax.nn.activations import activation
from dpjax.nn.blocks import Work
from dpjax.nn.charge_spin import ChargeSpinEmbedding
from dpjax.nn.dense import Dense
from dpjax.nn.repeated import repeated

KEPT = 12  # numbers for a backward pass where there is one of a layer's result, about


class DPA3(TypeVectors):
    """Descriptor of dimension ``n_dim``, and as much more with ``concat_output_tebd``, for all atoms of a batch."""

    config: DPA3Config

    def add_networks(self) -> None:
        super().add_networks()
        flow = self.config.repflow
        self.edge_embd = Dense(flow.e_dim, "none", dtype=self.dtype)
        self.angle_embd = Dense(flow.a_dim, "none", use_bias=False, dtype=self.dtype)
        self.layers = [RepflowLayer(flow, self.config.activation_function, self.dtype) for _ in range(flow.nlayers)]
        if self.config.add_chg_spin_ebd:
            self.charge_spin = ChargeSpinEmbedding(flow.n_dim, self.config.activation_function, self.dtype)

    @property
    def dim_out(self) -> int:
        return self.config.repflow.n_dim + self.dim_appended

    @property
    def dim_frame(self) -> int:
        return self.config.repflow.e_dim

    def init_parameters(self) -> None:
        """Touch every network and statistic once, so that ``init`` creates all of them."""
        super().init_parameters()
        self.edge_embd.parameters(1)
        self.angle_embd.parameters(1)
        for layer in self.layers:
            layer.init_parameters()
        if self.config.add_chg_spin_ebd:
            self.charge_spin.init_parameters()

    def __call__(self, view: Neighborhood, expansion: None = None) -> Features:
        """Descriptor of all atoms; values (n_atom, dim_out) and frame (n_atom, e_dim, 3) in its precision."""
        graph = self._graph(view)
        vectors = self.type_embedding()[view.centre_types]  # padding has type -1, the last vector
        if self.config.add_chg_spin_ebd:
            vectors = vectors + self.charge_spin(view.condition)
        vectors = graph.start(vectors)
        state = repeated(self.layers, self._start(vectors, graph), graph, work=self._work(view, graph))
        scale = Scales.of(self.config.repflow).edges ** 0.5
        frame = jnp.swapaxes(graph.turned_sums(state.edges), -2, -1) / scale
        nodes = jnp.concatenate([state.nodes, vectors], axis=-1) if self.config.concat_output_tebd else state.nodes
        return Features(graph.end(nodes), graph.end(frame))

    def _graph(self, view: Neighborhood) -> Graph:
        statistics = self.pair_exclude, self.davg.value, self.dstd.value
        if view.lists is None:
            return graph_of(view, self.config, *statistics)
        return flat_graph_of(view, view.lists, self.config, *statistics)

    def _work(self, view: Neighborhood, graph: Graph) -> Work:
        """How the work is divided; what lies inside layers is not computed again where there is room for it."""
        flow, (number, width) = self.config.repflow, graph.index.shape
        kept = width * (flow.n_dim + flow.e_dim) + graph.n_angle * flow.a_dim
        return view.work.decided(flow.nlayers, number, flow.nlayers * kept, KEPT * self.dtype.itemsize)

    def _start(self, vectors: jax.Array, graph: Graph) -> State:
        act = activation(self.config.activation_function)
        edges = self.edge_embd(graph.length[..., None])
        edges = edges if self.config.repflow.edge_init_use_dist else act(edges)
        return State(act(vectors), edges, self.angle_embd(graph.cosine[..., None] / math.sqrt(math.pi)))
