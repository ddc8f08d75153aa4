"""One layer of ``dpa3``: nodes, edges and angles are updated from one another.

Each new vector is an activation of a linear function of vectors side by side, such as node, neighbour and edge.  The parts of
the matrix meet their vectors before these are spread over edges and angles, which is the same sum with far less work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpjax.config.descriptors.dpa3_repflow import RepflowConfig
from dpjax.descriptors.dpa3.flat import FlatGraph
from dpjax.descriptors.dpa3.graph import Graph as DenseGraph
from dpjax.nn.activations import activation
from dpjax.nn.blocks import CPU_ANGLES, Work
from dpjax.nn.dense import Dense, with_bias
from dpjax.nn.moments import invariants
from dpjax.nn.products import product
from dpjax.nn.repeated import in_blocks
from dpjax.nn.updates import joined, residual_weights

Graph = DenseGraph | FlatGraph


class State(NamedTuple):
    """What layers hand on."""

    nodes: jax.Array  # (n_atom, n_dim)
    edges: jax.Array  # (*edges of the graph, e_dim)
    angles: jax.Array | None  # (*angles of the graph, a_dim); None: there are none


class Near(NamedTuple):
    """Of each edge what the node at its other end is, the only thing that comes from other atoms.

    Matrices act on nodes before these are spread over edges, of which there are many more.
    """

    nodes: jax.Array  # (*edges of the graph, n_dim)
    for_nodes: jax.Array  # their part of what messages to nodes are made of
    for_edges: jax.Array  # their part of what edges get from themselves


class Scales(NamedTuple):
    """What sums over neighbours are divided by."""

    edges: float
    angles: float

    @classmethod
    def of(cls, config: RepflowConfig) -> Scales:
        factor = config.sel_reduce_factor if config.use_dynamic_sel else 1.0
        return cls(config.e_sel / factor, config.a_sel / factor)


class RepflowLayer(nn.Module):
    """The networks of a layer.

    Attributes:
        config: hyper-parameters.
        activation_function: of all of them.
    """

    config: RepflowConfig
    activation_function: str = "silu"
    dtype: jnp.dtype = jnp.float64

    def setup(self):
        cfg = self.config

        def linear(width: int, bias: bool = True) -> Dense:
            return Dense(width, "none", use_bias=bias, dtype=self.dtype)

        self.node_self_mlp = linear(cfg.n_dim)
        self.node_sym_linear = linear(cfg.n_dim)
        self.node_edge_linear = linear(cfg.n_multi_edge_message * cfg.n_dim)
        self.edge_self_linear = linear(cfg.e_dim)
        if cfg.update_angle:
            self.edge_angle_linear1 = linear(cfg.e_dim)
            self.edge_angle_linear2 = linear(cfg.e_dim)
            self.angle_self_linear = linear(cfg.a_dim)
            if cfg.a_compress_rate and not cfg.a_compress_use_split:
                self.a_compress_n_linear = linear(self.dim_node_in_angle, bias=False)
                self.a_compress_e_linear = linear(self.dim_edge_in_angle, bias=False)
        numbers = {"n": (2 + cfg.n_multi_edge_message, cfg.n_dim), "e": (1 + cfg.update_angle, cfg.e_dim)}
        numbers["a"] = (int(cfg.update_angle), cfg.a_dim)
        self.weights = {
            name: residual_weights(self, cfg, f"{name}_residual", *shape, self.dtype) for name, shape in numbers.items()
        }

    @property
    def dim_node_in_angle(self) -> int:
        """Length of what angles see of their node."""
        return self.config.a_dim // self.config.a_compress_rate if self.config.a_compress_rate else self.config.n_dim

    @property
    def dim_edge_in_angle(self) -> int:
        """Length of what angles see of each of their edges."""
        cfg = self.config
        return cfg.a_dim // (2 * cfg.a_compress_rate) * cfg.a_compress_e_rate if cfg.a_compress_rate else cfg.e_dim

    def init_parameters(self) -> None:
        """Create all parameters."""
        cfg = self.config
        pair = 2 * cfg.n_dim + cfg.e_dim
        self.node_self_mlp.parameters(cfg.n_dim)
        self.node_sym_linear.parameters((cfg.n_dim + cfg.e_dim) * cfg.axis_neuron)
        self.node_edge_linear.parameters(pair)
        self.edge_self_linear.parameters(pair)
        if cfg.update_angle:
            corner = cfg.a_dim + self.dim_node_in_angle + 2 * self.dim_edge_in_angle
            self.edge_angle_linear1.parameters(corner)
            self.edge_angle_linear2.parameters(cfg.e_dim)
            self.angle_self_linear.parameters(corner)
            if cfg.a_compress_rate and not cfg.a_compress_use_split:
                self.a_compress_n_linear.parameters(cfg.n_dim)
                self.a_compress_e_linear.parameters(cfg.e_dim)

    def __call__(self, state: State, graph: Graph, *, work: Work) -> State:
        """The layer on all atoms."""
        near = Near(
            graph.near(state.nodes),
            graph.near(self._of_near(self.node_edge_linear, state.nodes)),
            graph.near(self._of_near(self.edge_self_linear, state.nodes)),
        )
        arrays, n_atom, work = (state, near, graph.alone()), state.nodes.shape[0], graph.divided(work)
        return in_blocks(self, RepflowLayer.updated, arrays, n_atom, graph.n_angle, work, most=CPU_ANGLES, within=True)

    def _of_near(self, layer: Dense, nodes: jax.Array) -> jax.Array:
        """What the node at the other end gives to the linear function of a pair."""
        n = self.config.n_dim
        return product(nodes, layer.parameters(2 * n + self.config.e_dim)[0][n : 2 * n])

    def updated(self, state: State, near: Near, graph: Graph) -> State:
        """What becomes of a block of atoms."""
        in_turn = self.config.sequential_update
        return self._in_sequence(state, near, graph) if in_turn else self._at_once(state, near, graph)

    def _at_once(self, state: State, near: Near, graph: Graph) -> State:
        """Everything from what was there before the layer."""
        new_edges, new_angles = [self._edge_alone(state, near, graph)], []
        if self.config.update_angle:
            from_angles, from_itself = self._angle_messages(state, state.angles, graph)
            new_edges.append(self._edge_from_angles(from_angles, state.edges, graph))
            new_angles.append(from_itself)
        return State(
            self._joined("n", state.nodes, self._node_messages(state, near, graph)),
            self._joined("e", state.edges, new_edges),
            self._joined("a", state.angles, new_angles),
        )

    def _in_sequence(self, state: State, near: Near, graph: Graph) -> State:
        """Edges, angles, edges from angles and nodes one after another, each from the newest values."""
        alone, from_angles = self.weights["e"]
        edges = joined("res_residual", state.edges, [self._edge_alone(state, near, graph)], [alone])
        state = state._replace(edges=edges)
        messages = self._angle_messages(state, state.angles, graph, parts=("angle",))
        angles = self._joined("a", state.angles, messages)
        messages = self._angle_messages(state, angles, graph, parts=("edge",))
        new = [self._edge_from_angles(messages[0], edges, graph)]
        edges = joined("res_residual", edges, new, [from_angles])
        state = State(state.nodes, edges, angles)
        return state._replace(nodes=self._joined("n", state.nodes, self._node_messages(state, near, graph)))

    def _joined(self, name: str, old: jax.Array | None, new: Sequence[jax.Array]) -> jax.Array | None:
        return joined(self.config.update_style, old, new, self.weights[name])

    def _act(self, x: jax.Array) -> jax.Array:
        return activation(self.activation_function)(x)

    def _node_messages(self, state: State, near: Near, graph: Graph) -> list[jax.Array]:
        """(n_atom, n_dim) what a node gets: from itself, from invariants of its edges and neighbours, from its edges."""
        cfg, scale = self.config, Scales.of(self.config).edges
        symmetric = [
            invariants(graph.turned_sums(source) / scale**0.5, cfg.axis_neuron) for source in (state.edges, near.nodes)
        ]
        edges = self._act(self._of_pairs(self.node_edge_linear, state, near.for_nodes, graph))
        return [
            self._act(self.node_self_mlp(state.nodes)),
            self._act(self.node_sym_linear(jnp.concatenate(symmetric, axis=-1))),
            *jnp.split(graph.edge_sums(edges) / scale, cfg.n_multi_edge_message, axis=-1),
        ]

    def _edge_alone(self, state: State, near: Near, graph: Graph) -> jax.Array:
        """What an edge gets from itself and both its ends, of length e_dim."""
        return self._act(self._of_pairs(self.edge_self_linear, state, near.for_edges, graph))

    def _of_pairs(self, layer: Dense, state: State, near: jax.Array, graph: Graph) -> jax.Array:
        """Linear function of node, neighbour and edge side by side, for each edge; ``near`` is the part of the neighbour."""
        n = self.config.n_dim
        matrix, bias, _ = layer.parameters(2 * n + self.config.e_dim)
        return (
            graph.to_edges(with_bias(product(state.nodes, matrix[:n]), bias))
            + near
            + product(state.edges, matrix[2 * n :])
        )

    def _angle_messages(
        self, state: State, angles: jax.Array, graph: Graph, parts: Sequence[str] = ("edge", "angle")
    ) -> list[jax.Array]:
        """Of each part, for each angle, activations of a linear function of angle, node and both edges side by side."""
        cfg = self.config
        nodes, edges = state.nodes, graph.of_angles(state.edges)
        if cfg.a_compress_rate and cfg.a_compress_use_split:
            nodes, edges = nodes[..., : self.dim_node_in_angle], edges[..., : self.dim_edge_in_angle]
        elif cfg.a_compress_rate:
            nodes, edges = self.a_compress_n_linear(nodes), self.a_compress_e_linear(edges)
        layers = {"edge": self.edge_angle_linear1, "angle": self.angle_self_linear}
        return [self._act(self._of_corners(layers[part], angles, nodes, edges, graph)) for part in parts]

    def _of_corners(
        self, layer: Dense, angles: jax.Array, nodes: jax.Array, edges: jax.Array, graph: Graph
    ) -> jax.Array:
        n_angle, n_node, n_edge = angles.shape[-1], nodes.shape[-1], edges.shape[-1]
        matrix, bias, _ = layer.parameters(n_angle + n_node + 2 * n_edge)
        of_angle, of_node, of_last, of_first = jnp.split(
            matrix, [n_angle, n_angle + n_node, n_angle + n_node + n_edge], axis=0
        )
        first = graph.to_edges(with_bias(product(nodes, of_node), bias)) + product(edges, of_first)
        return graph.to_angles(first, product(edges, of_last)) + product(angles, of_angle)

    def _edge_from_angles(self, messages: jax.Array, edges: jax.Array, graph: Graph) -> jax.Array:
        """What an edge gets from the angles at it, of length e_dim."""
        summed = graph.angle_sums(messages) / Scales.of(self.config).angles ** 0.5
        if not self.config.smooth_edge_update:  # an edge without angles gets its own vector in their place
            summed = jnp.where(graph.has_angles[..., None], summed, edges)
        return self._act(self.edge_angle_linear2(summed))
