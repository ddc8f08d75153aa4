"""The blocks of ``dpa4``: messages, then feed-forward nets on each atom's state; how their results are added up; the read-out."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from dpjax.descriptors.dpa4.averages import weighted_mean
from dpjax.descriptors.dpa4.edges import Edges, Radial, last_layer
from dpjax.descriptors.dpa4.message import (
    How,
    Own,
    Sent,
    Shape,
    biased,
    in_message,
    message,
    prepared,
    queries_and_keys,
    weighed,
)
from dpjax.descriptors.dpa4.parameters import Weights
from dpjax.descriptors.dpa4.sizes import Sizes
from dpjax.descriptors.neighborhood import Copies, at_neighbors
from dpjax.nn.activations import activation
from dpjax.nn.blocks import Work
from dpjax.nn.dense import with_bias
from dpjax.nn.equivariant.activations import gated, on_sphere, point_by_point, swiglu
from dpjax.nn.equivariant.grids import angles, lebedev, to_and_back
from dpjax.nn.equivariant.norms import state_norm
from dpjax.nn.equivariant.packed import Orders, degrees
from dpjax.nn.equivariant.rotations import into_frame
from dpjax.nn.precision import bfloat16_factors
from dpjax.nn.products import product
from dpjax.nn.ranks import lifted
from dpjax.nn.repeated import blockwise


class Graph:
    """What the messages of all blocks have in common.

    Args:
        weights: of the descriptor.
        sizes: of its arrays.
        vectors: (n_atom, channels) of types.
        edges: of all atoms.
        exact: attention as it is meant (:func:`dpjax.descriptors.dpa4.message.attention`).
        work: how it is divided.
        copies: of the view.
    """

    def __init__(
        self,
        weights: Weights,
        sizes: Sizes,
        vectors: jax.Array,
        edges: Edges,
        exact: bool,
        work: Work,
        copies: Copies | None = None,
    ):
        self.weights, self.sizes, self.vectors, self.edges, self.copies = weights, sizes, vectors, edges, copies
        self.there = self._near(vectors)
        single = all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(weights["blocks"]))
        rounded = work.bfloat16 and sizes.config.use_amp and single
        self.how, self.work = How(activation(sizes.config.activation_function), exact, rounded), work
        self.shapes = [Shape(*shape) for shape in zip(sizes.degrees, sizes.orders, strict=True)]
        self.frames = {} if work.recomputes else {shape: self._frames(edges, shape) for shape in set(self.shapes)}

    def received(self, own: Weights, shape: Shape, x: jax.Array) -> jax.Array:
        """(n_atom, (L + 1)^2, channels) what atoms in states (n_atom, (L + 1)^2, channels) receive."""
        sizes, edges = self.sizes, self.edges
        x = self._mapped(x, own["pre_focus_mix"])
        scalars = x[:, 0]
        near = self._near(weighed(own, sizes, x))
        keys = self._near(queries_and_keys(own, sizes, scalars)[1]) if sizes.heads else None
        arrays = (Own(scalars, edges.degree), near, keys, self.there, self.vectors, edges, self.frames.get(shape))
        last = last_layer(self.weights["radial_embedding"], sizes.first_degree)
        use = {"message": prepared(own, sizes.streams), "radial": self.weights["radial_embedding"], "last": last}

        def block(use: Weights, arrays: tuple) -> jax.Array:
            atoms, near, keys, there, here, edges, frames = arrays
            types = there + here[:, None]
            radial = in_message(use["message"], Radial(edges.radial(use["radial"], self.how.act), use["last"], types))
            frames = self._frames(edges, shape) if frames is None else frames
            sent = Sent(near, keys, radial, edges.weight, edges.share, frames)
            return message(use["message"], sizes, shape, self.how, sent, atoms)

        summed = blockwise(block, use, arrays, x.shape[0], edges.index.shape[1], self.work)
        return self._mapped(summed, own["post_focus_mix"])

    def _near(self, values: jax.Array) -> jax.Array:
        """(n_atom, k, ...) of values (n_atom, ...) those of the neighbours."""
        return at_neighbors(values, self.edges.index, self.copies)

    def _mapped(self, x: jax.Array, own: Weights) -> jax.Array:
        with bfloat16_factors(self.how.bfloat16):
            return biased(x, own)

    @staticmethod
    def _frames(edges: Edges, shape: Shape) -> Orders:
        """Rotations into the frames of edges, of blocks of a shape."""
        return into_frame(edges.rotations[: shape.lmax + 1], *shape)

    def message_step(self, own: Weights, shape: Shape, x: jax.Array) -> jax.Array:
        """What messages add to states, with the norms before and after them."""
        return _normalised(
            own, "post_so2_norm", self.received(own["so2_conv"], shape, _normalised(own, "pre_so2_norm", x))
        )

    def feed_forward_step(self, own: Weights, shape: Shape, k: int, x: jax.Array) -> jax.Array:
        """What a feed-forward net adds to states, with its norms."""
        key = str(k)
        y = _normalised(own.get("pre_ffn_norms", {}), key, x)
        with bfloat16_factors(self.how.bfloat16):
            y = feed_forward(own["ffns"][key], self.sizes, shape.lmax, y)
        y = _normalised(own.get("post_ffn_norms", {}), key, y)
        scales = own.get("adam_ffn_layer_scales")
        return y if scales is None else y * lifted(scales[key], y.ndim)

    def run(self, x: jax.Array) -> jax.Array:
        """(n_atom, (L + 1)^2, channels) the state after all blocks, of the first one."""
        cfg = self.sizes.config
        if self._alike():
            return self._repeated(x)
        history, kind = [x], "full" if cfg.full_attn_res != "none" else "block" if cfg.block_attn_res != "none" else ""
        for i, shape in enumerate(self.shapes):
            own = self.weights["blocks"][str(i)]
            history = [_cut(source, shape.lmax) for source in history]
            x = _cut(x, shape.lmax)
            step = {"": self._added, "full": self._over_all, "block": self._over_blocks}[kind]
            x, history = step(own, shape, x, history)
        return self._mean(self.weights[f"final_{kind}_attn_res"], history, x) if kind else x

    def _alike(self) -> bool:
        """Whether a loop runs over blocks: several of one shape, each of which is given what the one before it has left."""
        cfg, alike = self.sizes.config, len(set(self.shapes)) == 1
        return (
            alike and not self.work.one_by_one(len(self.shapes)) and cfg.full_attn_res == cfg.block_attn_res == "none"
        )

    def _repeated(self, x: jax.Array) -> jax.Array:
        """A loop over blocks, which is compiled once."""
        own = [self.weights["blocks"][str(i)] for i in range(len(self.shapes))]
        stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *own)
        shape = self.shapes[0]

        def step(x: jax.Array, own: Weights) -> tuple[jax.Array, None]:
            return self._added(own, shape, x, [])[0], None

        return jax.lax.scan(step, x, stacked)[0]

    def _added(self, own: Weights, shape: Shape, x: jax.Array, history: list) -> tuple[jax.Array, list]:
        x = x + self.message_step(own, shape, x)
        for k in range(self.sizes.config.ffn_blocks):
            x = x + self.feed_forward_step(own, shape, k, x)
        return x, history

    def _over_all(self, own: Weights, shape: Shape, x: jax.Array, history: list) -> tuple[jax.Array, list]:
        """Each step is given a mean of all that steps gave before."""
        x = self.message_step(own, shape, self._mean(own["full_attn_res_so2"], history, x))
        history = [*history, x]
        for k in range(self.sizes.config.ffn_blocks):
            x = self.feed_forward_step(own, shape, k, self._mean(own["full_attn_res_ffns"][str(k)], history, x))
            history = [*history, x]
        return x, history

    def _over_blocks(self, own: Weights, shape: Shape, x: jax.Array, history: list) -> tuple[jax.Array, list]:
        """Each step is given a mean of what blocks added, this one so far included."""
        x = self.message_step(own, shape, self._mean(own["block_attn_res_so2"], history, x))
        added = x
        for k in range(self.sizes.config.ffn_blocks):
            mean = self._mean(own["block_attn_res_ffns"][str(k)], [*history, added], x)
            x = self.feed_forward_step(own, shape, k, mean)
            added = added + x
        return x, [*history, added]

    def _mean(self, own: Weights, sources: list[jax.Array], x: jax.Array) -> jax.Array:
        sources = [_cut(source, round(x.shape[1] ** 0.5) - 1) for source in sources]
        return weighted_mean(own, x, sources, self.sizes.config.eps)


def _cut(x: jax.Array, lmax: int) -> jax.Array:
    """A state without degrees above ``lmax``."""
    return x[:, : (lmax + 1) ** 2]


def _normalised(own: Weights, name: str, x: jax.Array) -> jax.Array:
    """States through a norm, where there is one."""
    norm = own.get(name)
    return x if norm is None else state_norm(x, norm["adam_scale"][:, 0], norm["bias"][0])


def feed_forward(own: Weights, sizes: Sizes, lmax: int, x: jax.Array) -> jax.Array:
    """(n_atom, (L + 1)^2, channels) a net on the state of each atom."""
    y = biased(x, own["so3_linear_1"])
    if sizes.point_by_point:
        y = _at_points(own, sizes, lmax, x[:, 0], y)
    elif sizes.feed_forward_on_sphere:
        gate = own["act"]["scalar_gate"]
        y = on_sphere(y[None], gate["weight"][None], _first(gate), _grid(sizes, lmax) if lmax else None)[0]
    else:
        act, gate = activation(sizes.config.activation_function), own.get("act", {}).get("gate_linear", {})
        value, source = jnp.split(y, 2, axis=-1) if sizes.gated else (y, None)
        source = None if source is None else source[None, :, 0]
        weight = gate["weight"][None] if gate else None
        y = gated(value[None], source, weight, _first(gate), act, degrees(lmax))[0]
    return biased(y, own["so3_linear_2"])


def _first(gate: Weights) -> jax.Array | None:
    return gate["bias"][None] if "bias" in gate else None


def _grid(sizes: Sizes, lmax: int) -> tuple[Any, Any]:
    points = lebedev(lmax) if sizes.lebedev[1] else angles(lmax, lmax, square=True)
    return to_and_back(points, lmax, lmax, framed=False)


def _at_points(own: Weights, sizes: Sizes, lmax: int, scalars: jax.Array, y: jax.Array) -> jax.Array:
    """States (n_atom, (L + 1)^2, hidden) through a net at points of a sphere; degree 0 also through one of its own."""
    net, direct = own["pointwise_grid_mlp"], own["scalar_mlp"]["0"]
    y = point_by_point(y, net["linear_1"]["weight"], net["linear_2"]["weight"], _grid(sizes, lmax))
    first = product(scalars, direct["weight"])
    first = swiglu(with_bias(first, direct["bias"]) if "bias" in direct else first)
    return jnp.concatenate([y[:, :1] + first[:, None], y[:, 1:]], axis=1)


def read_out(own: Weights, sizes: Sizes, scalars: jax.Array) -> jax.Array:
    """(n_atom, channels) the descriptor, of degree 0 of the last state."""
    act, x = activation(sizes.config.activation_function), scalars[:, None]
    y = biased(x, own["so3_linear_1"])
    if sizes.config.glu_activation:
        value, source = jnp.split(y, 2, axis=-1)
        y = value * act(source)
    else:
        y = act(y)
    return scalars + biased(y, own["so3_linear_2"])[:, 0]
