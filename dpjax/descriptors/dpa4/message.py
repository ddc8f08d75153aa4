"""Messages of ``dpa4``: the state of a neighbour, turned into the frame of the edge, mixed there, turned back and summed.

About the edge there is only a turn to respect, so in its frame degrees of one order may be mixed by dense matrices, and messages
have an array for each order (:data:`~dpjax.nn.equivariant.packed.Orders`).  Arrays of edges are (b, k, ...) for a block of b atoms
with k places for neighbours; those with streams have an axis for them before all others.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.descriptors.dpa4.averages import mean_shares
from dpjax.descriptors.dpa4.edges import Radial
from dpjax.descriptors.dpa4.parameters import Weights
from dpjax.descriptors.dpa4.sizes import Sizes
from dpjax.nn.activations import Activation
from dpjax.nn.equivariant.activations import gated_orders, on_sphere
from dpjax.nn.equivariant.grids import angles, lebedev, to_and_back
from dpjax.nn.equivariant.linear import by_degree, by_order, turning
from dpjax.nn.equivariant.norms import kept_norm, rms
from dpjax.nn.equivariant.packed import Orders, by_orders, degrees, in_a_row, leaving
from dpjax.nn.precision import bfloat16_factors
from dpjax.nn.products import outer_sum, product, small_products
from dpjax.nn.ranks import lifted, of_streams

COMPETING = 0.98  # of the weight of a stream, which the streams compete for; the rest they share


class Shape(NamedTuple):
    """Degree of a block, and the order that its messages keep."""

    lmax: int
    mmax: int


class Sent(NamedTuple):
    """What edges bring to a block of atoms."""

    near: jax.Array  # (b, k, (L + 1)^2, hidden) states of the neighbours
    keys: jax.Array | None  # (b, k, hidden) of the neighbours, for attention
    radial: Radial  # what the distance says, and both types
    weight: jax.Array  # (b, k) of an edge
    share: jax.Array | None  # (b, k) what bridging leaves of it
    into: Orders  # (b, k, ..., (L + 1)^2) rotations into the frame of the edge


class Own(NamedTuple):
    """What the atoms of a block have themselves."""

    scalars: jax.Array  # (b, hidden) degree 0 of their states
    degree: jax.Array  # (b,) by which sums over edges are multiplied


class How(NamedTuple):
    """How messages are computed."""

    act: Activation
    exact: bool  # attention as it is meant (:func:`attention`)
    bfloat16: bool  # factors of products are rounded to it; not in attention


def message(weights: Weights, sizes: Sizes, shape: Shape, how: How, sent: Sent, own: Own) -> jax.Array:
    """(b, (L + 1)^2, hidden) what atoms receive.

    Args:
        weights: of the messages of a block of the descriptor, as :func:`prepared` gives them.
        sizes: of the descriptor.
        shape: of the block.
        how: it is computed.
        sent, own: what there is to receive, and who receives it.
    """
    weighing = attention(weights, sizes, how.exact, sent, own) if sizes.heads else None
    with bfloat16_factors(how.bfloat16):
        x = entered(weights, sizes, shape, sent)
        x = tuple(split(part, sizes.streams) for part in x)
        x = layers(weights, sizes, shape, how.act, sent.radial.scalars() * sent.weight[..., None], x)
        x = tuple(joined(part) for part in x)
        factors = leaving(*shape)[degrees(shape.lmax)]
        back = tuple(rows * lifted(jnp.asarray(factors, rows.dtype), rows.ndim) for rows in sent.into)
        if weighing is not None:
            return heard(weights, sizes, weighing, back, x, own)
        share = sent.weight if sent.share is None else sent.weight * sent.share
        return summed(back, x, share[..., None]) * own.degree[:, None, None]


def in_message(weights: Weights, radial: Radial) -> Radial:
    """What distances say to the channels of a message, of what they say to those of a state."""
    if "radial_hidden_proj" not in weights:
        return radial
    into = weights["radial_hidden_proj"]["weight"]
    return Radial(radial.net, product(radial.last, into), product(radial.types, into))


def prepared(weights: Weights, streams: int) -> Weights:
    """Weights whose layers have a matrix for each order and stream."""
    if "so2_linears" not in weights:
        return weights
    layers = {}
    for key, own in weights["so2_linears"].items():
        others = own.get("weight_m", {})
        matrices = [split(own["weight_m0"], streams)]
        matrices += [turning(split(others[str(m)], streams)) for m in range(len(others))]
        layers[key] = {"maps": matrices, **{name: split(own[name], streams) for name in ("bias0",) if name in own}}
    return {**weights, "so2_linears": layers}


def entered(weights: Weights, sizes: Sizes, shape: Shape, sent: Sent) -> Orders:
    """States of neighbours in the frames of edges, and what distances do to them: scale degrees, or mix them.

    A kernel that all channels share mixes the rows of the rotation, which have no channels; weights of channels are in ``near``
    already (:func:`weighed`).
    """
    cfg, into, near = sizes.config, sent.into, sent.near
    if cfg.radial_so2_mode == "none":
        radial = sent.radial.degrees(shape.lmax)
        scales = [radial] + [radial[..., None, m:, :] for m in range(1, shape.mmax + 1)]
        return tuple(_turned(rows, near) * scale for rows, scale in zip(into, scales, strict=True))
    own = weights["radial_degree_mixer"]
    values = sent.radial.through(own["weight"].reshape(shape.lmax + 1, sizes.hidden, -1))
    kernels = _kernels(values, shape, sizes.kernels)
    if sizes.kernels > 1:
        basis = own.get("channel_basis")
        return tuple(_mixed(kernel, _turned(rows, near), basis) for kernel, rows in zip(kernels, into, strict=True))
    return tuple(_turned(_mixed_rows(kernel[..., 0], rows), near) for kernel, rows in zip(kernels, into, strict=True))


def _turned(rows: jax.Array, near: jax.Array) -> jax.Array:
    """(b, k, ..., hidden) rows (b, k, ..., (L + 1)^2) of a rotation times states."""
    flat = small_products(rows.reshape(*rows.shape[:2], -1, rows.shape[-1]), near)
    return flat.reshape(*rows.shape[:-1], near.shape[-1])


def weighed(weights: Weights, sizes: Sizes, x: jax.Array) -> jax.Array:
    """States (n_atom, (L + 1)^2, hidden) before they are sent, times what channels make of the one kernel that they share."""
    basis = weights.get("radial_degree_mixer", {}).get("channel_basis")
    return x if basis is None or sizes.kernels > 1 else x * lifted(basis[0], x.ndim)


def _mixed_rows(kernel: jax.Array, rows: jax.Array) -> jax.Array:
    """A kernel (b, k, n, n) from degree to degree, of rows (b, k, n, m) or (b, k, 2, n, m) of a rotation."""
    kernel = jnp.swapaxes(kernel, -2, -1)
    if rows.ndim == kernel.ndim:
        return small_products(kernel, rows)
    signs = [small_products(kernel, rows[:, :, sign]) for sign in range(2)]
    return jnp.stack(signs, axis=2)


def _kernels(values: jax.Array, shape: Shape, number: int) -> list[jax.Array]:
    """For each order (b, k, n, n, number) from degree to degree."""
    values = values.reshape(*values.shape[:-1], -1, number)
    sizes = [shape.lmax - m + 1 for m in range(shape.mmax + 1)]
    ends = np.cumsum([n * n for n in sizes])[:-1]
    parts = jnp.split(values, ends, axis=-2)
    return [part.reshape(*part.shape[:-2], n, n, number) for part, n in zip(parts, sizes, strict=True)]


def _mixed(kernel: jax.Array, x: jax.Array, basis: jax.Array | None) -> jax.Array:
    """Several kernels (b, k, n, n, x), which channels combine by ``basis`` (x, hidden), or one for each channel."""
    sign = "s" if x.ndim == 5 else ""
    if basis is None:
        return jnp.einsum(f"bkioc,bk{sign}ic->bk{sign}oc", kernel, x)
    return jnp.einsum(f"bkiox,bk{sign}ic,xc->bk{sign}oc", kernel, x, basis)


def split(x: jax.Array, streams: int) -> jax.Array:
    """(stream, ..., n) of (..., stream n)."""
    return jnp.moveaxis(x.reshape(*x.shape[:-1], streams, -1), -2, 0) if streams > 1 else x[None]


def joined(x: jax.Array) -> jax.Array:
    """The way back from :func:`split`."""
    if x.shape[0] == 1:
        return x[0]
    x = jnp.moveaxis(x, 0, -2)
    return x.reshape(*x.shape[:-2], -1)


def layers(weights: Weights, sizes: Sizes, shape: Shape, act: Activation, bias_scale: jax.Array, x: Orders) -> Orders:
    """The layers of a message (stream, b, k, ..., n); ``bias_scale`` (b, k, hidden) multiplies the bias of the first."""
    cfg, streams = sizes.config, sizes.streams
    first, sources = x[0][..., 0, :], [x]
    for k in range(cfg.so2_layers):
        key, last = str(k), k == cfg.so2_layers - 1
        if cfg.so2_attn_res != "none":
            x = _mean(weights["so2_layer_attn_res"][key], sources, x, cfg.eps)
        y = x
        if cfg.so2_norm and not last:
            norm = weights["so2_inter_norms"][key]
            y = by_orders(kept_norm(in_a_row(y), shape.mmax, norm["adam_scale"], norm["bias0"]), *shape)
        own = weights["so2_linears"][key]
        y = by_order(y, own["maps"], _bias(own, streams, bias_scale if k == 0 else None, x[0].ndim - 1))
        if not last:
            y = _activated(weights.get("non_linearities", {}).get(key, {}), sizes, shape, act, y)
        if cfg.layer_scale:
            y = tuple(part * of_streams(weights["adam_so2_layer_scales"][key], part.ndim) for part in y)
        if cfg.so2_attn_res != "none":
            sources.append(y)
        x = tuple(a + b for a, b in zip(x, y, strict=True))
    return _competed(weights, cfg.eps, first, x) if streams > 1 else x


def _mean(own: Weights, sources: list[Orders], x: Orders, eps: float) -> Orders:
    """A weighted mean of messages, by their degree 0 in all streams together."""
    shares = mean_shares(own, [joined(source[0][..., 0, :]) for source in sources], joined(x[0][..., 0, :]), eps)
    return tuple(
        sum(
            share.reshape(1, *share.shape, *(1,) * (part.ndim - 3)) * part
            for share, part in zip(shares, parts, strict=True)
        )
        for parts in zip(*sources, strict=True)
    )


def _bias(own: Weights, streams: int, scale: jax.Array | None, ndim: int) -> jax.Array | None:
    if "bias0" not in own:
        return None
    bias = of_streams(own["bias0"], ndim)
    if scale is None:
        return bias
    scale = split(scale, streams)
    return bias * jnp.concatenate([scale] * (bias.shape[-1] // scale.shape[-1]), axis=-1)


def _activated(own: Weights, sizes: Sizes, shape: Shape, act: Activation, x: Orders) -> Orders:
    (gate,) = own.values() or ({},)
    weight, bias = (split(gate[name], sizes.streams) if name in gate else None for name in ("weight", "bias"))
    if not sizes.message_on_sphere:
        return gated_orders(x, weight, bias, act)
    points = lebedev(shape.lmax) if sizes.lebedev[0] else angles(*shape)
    grid = to_and_back(points, *shape, framed=True) if shape.lmax > 0 else None
    return by_orders(on_sphere(in_a_row(x), weight, bias, grid), *shape)


def _competed(weights: Weights, eps: float, scalars: jax.Array, x: Orders) -> Orders:
    """Messages times the share of their stream; ``scalars`` (stream, b, k, n) were there before the layers."""
    norm, w = weights["focus_compete_norm"]["adam_scale"], weights["adamw_focus_compete_w"]
    level = jnp.einsum("fbkc,fc,cf->fbk", rms(scalars, jnp.ones_like(norm[0]), eps), norm, w)
    if "focus_compete_bias" in weights:
        level = level + weights["focus_compete_bias"][:, None, None]
    share = COMPETING * jax.nn.softmax(level, axis=0) + (1.0 - COMPETING) / level.shape[0]
    return tuple(part * share.reshape(*share.shape, *(1,) * (part.ndim - 3)) for part in x)


def queries_and_keys(weights: Weights, sizes: Sizes, scalars: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(n, hidden) each, of degree 0 of states (n, hidden)."""
    streams = sizes.attention[0]
    x = _normalised(weights, sizes, "attn_qk_norm", scalars)
    return tuple(joined(product(x, split(weights[f"attn_{w}_proj"]["weight"], streams))) for w in ("q", "k"))


def _normalised(weights: Weights, sizes: Sizes, name: str, scalars: jax.Array) -> jax.Array:
    """(stream, n, width) of attention."""
    x = split(scalars, sizes.attention[0])
    return rms(x, jnp.ones_like(x[0, 0]), sizes.config.eps) * of_streams(weights[name]["adam_scale"], x.ndim)


def attention(weights: Weights, sizes: Sizes, exact: bool, sent: Sent, own: Own) -> jax.Array:
    """(b, k, stream, head) weights of messages: a soft-max of products of queries and keys, and of distances.

    Weights of edges multiply its terms, and a trained number stands for a message of nothing.  The reference adds ``eps`` to a
    denominator from which the largest exponent was taken out, so that it depends on the latter; ``exact``: before it was.
    """
    streams, heads = sizes.attention[0], sizes.heads
    queries, _ = queries_and_keys(weights, sizes, own.scalars)
    level = product(queries[:, None] * sent.keys, _heads(sizes, queries.dtype))
    level = level + sent.radial.through(_by_head(weights["adamw_attn_logit_w"])[None])
    level = level.reshape(*level.shape[:-1], streams, heads)
    share = jnp.square(sent.weight) if sent.share is None else jnp.square(sent.weight) * sent.share
    share = share[..., None, None]
    top = jnp.max(jnp.where(share > 0.0, level, -jnp.inf), axis=1, keepdims=True)
    top = jnp.where(jnp.isfinite(top), top, 0.0)
    nothing = jax.nn.softplus(lifted(weights["adamw_attn_z_bias_raw"], 4))
    if exact:
        top = jax.lax.stop_gradient(jnp.maximum(top, 0.0))  # no exponent overflows
        rest = (nothing + sizes.config.eps) * jnp.exp(-top)
    else:
        rest = nothing * jnp.exp(-top) + sizes.config.eps
    terms = share * jnp.exp(jnp.where(share > 0.0, level - top, 0.0))
    return terms / (jnp.sum(terms, axis=1, keepdims=True) + rest)


def _heads(sizes: Sizes, dtype: jnp.dtype) -> jax.Array:
    """(hidden, stream head) what makes sums over the channels of each head of products of queries and keys."""
    (streams, width), heads = sizes.attention, sizes.heads
    return jnp.asarray(np.kron(np.eye(streams * heads), np.ones((width // heads, 1))) * (width // heads) ** -0.5, dtype)


def _by_head(weight: jax.Array) -> jax.Array:
    """(stream n, stream head) of (n, stream, head): each stream for itself."""
    n, streams, heads = weight.shape
    apart = jnp.eye(streams, dtype=weight.dtype)[:, None, :, None] * jnp.moveaxis(weight, 1, 0)[:, :, None, :]
    return apart.reshape(streams * n, streams * heads)


def heard(weights: Weights, sizes: Sizes, weighing: jax.Array, back: Orders, x: Orders, own: Own) -> jax.Array:
    """(b, (L + 1)^2, hidden) sums of messages that attention weighs, gated by what an atom is."""
    (streams, width), heads = sizes.attention, sizes.heads
    maps = [(name, streams if name == "attn_v_proj" else 1) for name in ("attn_focus_mix", "attn_v_proj")]
    maps = [(weights[name]["weight"], n) for name, n in maps if name in weights]
    if not maps:
        out = summed(back, x, _spread(weighing.reshape(*weighing.shape[:2], -1), width // heads))
    else:  # linear maps of channels act on sums, which there are fewer of; each head has its own
        parts = [summed(back, x, _spread(weighing[..., h], width)) for h in range(heads)]
        for weight, n in maps:
            parts = [by_stream(part, weight, n) for part in parts]
        parts = [part.reshape(*part.shape[:2], streams, heads, -1)[:, :, :, h] for h, part in enumerate(parts)]
        out = jnp.stack(parts, axis=3).reshape(*parts[0].shape[:2], -1)
    scalars = _normalised(weights, sizes, "attn_output_gate_norm", own.scalars)
    gate = jax.nn.sigmoid(jnp.einsum("fbc,cfh->bfh", scalars, weights["adamw_attn_gate_w"]))
    out = out * jnp.repeat(gate.reshape(gate.shape[0], -1), width // heads, axis=-1)[:, None]
    return by_stream(out, weights["attn_o_proj"]["weight"], streams) if "attn_o_proj" in weights else out


def by_stream(x: jax.Array, weight: jax.Array, streams: int) -> jax.Array:
    """A matrix for each degree and stream, stored as (L + 1, n, stream m), of states (b, (L + 1)^2, stream n)."""
    if streams == 1:
        return by_degree(x, weight)
    parts = zip(split(x, streams), split(weight, streams), strict=True)
    return jnp.concatenate([by_degree(part, own) for part, own in parts], axis=-1)


def _spread(shares: jax.Array, width: int) -> jax.Array:
    """(b, k, n) shares (b, k, s) for ``width`` channels each; one share stays alone."""
    return shares if shares.shape[-1] == 1 else jnp.repeat(shares, width, axis=-1)


def summed(back: Orders, x: Orders, share: jax.Array) -> jax.Array:
    """(b, (L + 1)^2, n) messages times shares (b, k, n) or (b, k, 1), turned back and summed over neighbours."""
    out = []
    for rows, values in zip(back, x, strict=True):
        own = share.reshape(*share.shape[:2], *(1,) * (rows.ndim - 3), share.shape[-1])
        if share.shape[-1] == 1:  # rotations are narrower than messages
            rows = rows * own
        else:
            values = values * own
        out.append(outer_sum(*(part.reshape(part.shape[0], -1, part.shape[-1]) for part in (rows, values))))
    return sum(out)


def biased(x: jax.Array, own: Weights) -> jax.Array:
    """A map by degree of states, with its bias where it has one."""
    return by_degree(x, own["weight"], own.get("bias"))
