"""Messages of ``dpa4``: the state of a neighbour, turned into the frame of the edge, mixed there, turned back and summed.

About the edge there is only a turn to respect, so in its frame degrees of one order may be mixed by dense matrices.  Arrays of
edges are (b, k, ...) for a block of b atoms with k places for neighbours; those with streams have an axis for them before all
others.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dpjax.descriptors.dpa4.averages import weighted_mean
from dpjax.descriptors.dpa4.parameters import Weights
from dpjax.descriptors.dpa4.sizes import Sizes
from dpjax.nn.activations import Activation
from dpjax.nn.equivariant.activations import gated, on_sphere
from dpjax.nn.equivariant.grids import angles, lebedev, to_and_back
from dpjax.nn.equivariant.linear import by_degree, by_order
from dpjax.nn.equivariant.norms import kept_norm, rms
from dpjax.nn.equivariant.packed import degrees, kept, leaving, order_slices
from dpjax.nn.equivariant.rotations import into_frame
from dpjax.nn.products import product
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
    radial: jax.Array  # (b, k, L + 1, channels) what the distance says, and both types
    weight: jax.Array  # (b, k) of an edge
    share: jax.Array | None  # (b, k) what bridging leaves of it
    rotations: tuple[jax.Array, ...]  # (b, k, rows, 2 l + 1) into the frame of the edge


class Own(NamedTuple):
    """What the atoms of a block have themselves."""

    scalars: jax.Array  # (b, hidden) degree 0 of their states
    degree: jax.Array  # (b,) by which sums over edges are multiplied


def message(
    weights: Weights, sizes: Sizes, shape: Shape, act: Activation, exact: bool, sent: Sent, own: Own
) -> jax.Array:
    """(b, (L + 1)^2, hidden) what atoms receive.

    Args:
        weights: of the messages of a block of the descriptor.
        sizes: of the descriptor.
        shape: of the block.
        act: the activation function.
        exact: attention as it is meant (:func:`attention`).
        sent, own: what there is to receive, and who receives it.
    """
    into = into_frame(list(sent.rotations[: shape.lmax + 1]), *shape)
    radial = sent.radial[..., : shape.lmax + 1, :]
    if "radial_hidden_proj" in weights:
        radial = product(radial, weights["radial_hidden_proj"]["weight"])
    x = jnp.einsum("bkrd,bkdc->bkrc", into, sent.near)
    x = by_distance(weights, sizes, shape, radial, x)
    x = layers(weights, sizes, shape, act, radial[..., 0, :] * sent.weight[..., None], split(x, sizes.streams))
    back = into * lifted(jnp.asarray(leaving(*shape)[degrees(shape.lmax)], into.dtype), into.ndim)
    x = joined(x)
    if not sizes.heads:
        share = sent.weight if sent.share is None else sent.weight * sent.share
        return summed(back, x * share[..., None, None]) * own.degree[:, None, None]
    weighing = attention(weights, sizes, exact, sent, own, radial[..., 0, :])
    return heard(weights, sizes, weighing, back, x, own)


def split(x: jax.Array, streams: int) -> jax.Array:
    """(stream, ..., n) of (..., stream n)."""
    return jnp.moveaxis(x.reshape(*x.shape[:-1], streams, -1), -2, 0) if streams > 1 else x[None]


def joined(x: jax.Array) -> jax.Array:
    """The way back from :func:`split`."""
    if x.shape[0] == 1:
        return x[0]
    x = jnp.moveaxis(x, 0, -2)
    return x.reshape(*x.shape[:-2], -1)


def streams_of(weight: jax.Array, streams: int) -> jax.Array:
    """(stream, n, m) of a stored matrix (n, stream m), or (stream, m) of a vector."""
    return split(weight, streams)


def by_distance(weights: Weights, sizes: Sizes, shape: Shape, radial: jax.Array, x: jax.Array) -> jax.Array:
    """What distances do to messages (b, k, n_kept, hidden): scale degrees, or mix them."""
    cfg, (lmax, mmax) = sizes.config, shape
    if cfg.radial_so2_mode == "none":
        return x * radial[..., kept(lmax, mmax)[:, 0], :]
    own = weights["radial_degree_mixer"]
    kernels = product(radial.reshape(*radial.shape[:-2], -1), own["weight"])
    kernels = kernels.reshape(*kernels.shape[:-1], -1, sizes.kernels)
    parts, start = [], 0
    for order, rows in enumerate(order_slices(lmax, mmax)):
        n = lmax - order + 1
        kernel = kernels[..., start : start + n * n, :].reshape(*kernels.shape[:-2], n, n, -1)
        start += n * n
        part = x[..., rows, :].reshape(*x.shape[:-2], -1, n, x.shape[-1])
        parts.append(
            _mixed(kernel, part, own.get("channel_basis"), cfg.radial_so2_mode).reshape(*x[..., rows, :].shape)
        )
    return jnp.concatenate(parts, axis=-2)


def _mixed(kernel: jax.Array, x: jax.Array, basis: jax.Array | None, mode: str) -> jax.Array:
    """Kernels (b, k, n, n, x) from degree to degree, of components (b, k, sign, n, hidden) of one order."""
    if mode == "degree":
        return jnp.einsum("bkio,bksic->bksoc", kernel[..., 0], x)
    if basis is None:
        return jnp.einsum("bkioc,bksic->bksoc", kernel, x)
    if basis.shape[0] == 1:
        return jnp.einsum("bkio,bksic->bksoc", kernel[..., 0], x * lifted(basis[0], x.ndim))
    return jnp.einsum("bkiox,bksic,xc->bksoc", kernel, x, basis)


def layers(
    weights: Weights, sizes: Sizes, shape: Shape, act: Activation, bias_scale: jax.Array, x: jax.Array
) -> jax.Array:
    """The layers of a message (stream, b, k, n_kept, n); ``bias_scale`` (b, k, hidden) multiplies the bias of the first."""
    cfg, (lmax, mmax), streams = sizes.config, shape, sizes.streams
    first, sources = x[..., 0, :], [x]
    grid = None
    if sizes.message_on_sphere and lmax > 0:
        points = lebedev(lmax) if sizes.lebedev[0] else angles(lmax, mmax)
        grid = to_and_back(points, lmax, mmax, framed=True)
    for k in range(cfg.so2_layers):
        key, last = str(k), k == cfg.so2_layers - 1
        if cfg.so2_attn_res != "none":
            scalars = [joined(source[..., 0, :]) for source in sources]
            x = weighted_mean(weights["so2_layer_attn_res"][key], scalars, joined(x[..., 0, :]), sources, cfg.eps)
        y = x
        if cfg.so2_norm and not last:
            norm = weights["so2_inter_norms"][key]
            y = kept_norm(y, mmax, norm["adam_scale"], norm["bias0"])
        y = _linear(weights["so2_linears"][key], sizes, lmax, y, bias_scale if k == 0 else None)
        if not last:
            y = _activated(weights.get("non_linearities", {}).get(key, {}), sizes, shape, act, grid, y)
        if cfg.layer_scale:
            y = y * of_streams(weights["adam_so2_layer_scales"][key], y.ndim)
        if cfg.so2_attn_res != "none":
            sources.append(y)
        x = x + y
    return _competed(weights, cfg.eps, first, x) if streams > 1 else x


def _linear(own: Weights, sizes: Sizes, lmax: int, x: jax.Array, bias_scale: jax.Array | None) -> jax.Array:
    streams = sizes.streams
    others = own.get("weight_m", {})
    matrices = [streams_of(others[str(m)], streams) for m in range(len(others))]
    y = by_order(x, streams_of(own["weight_m0"], streams), matrices, lmax)
    if "bias0" not in own:
        return y
    bias = of_streams(streams_of(own["bias0"], streams), y.ndim - 1)
    if bias_scale is not None:
        scale = split(bias_scale, streams)
        bias = bias * jnp.concatenate([scale] * (bias.shape[-1] // scale.shape[-1]), axis=-1)
    return jnp.concatenate([y[..., :1, :] + bias[..., None, :], y[..., 1:, :]], axis=-2)


def _activated(own: Weights, sizes: Sizes, shape: Shape, act: Activation, grid, x: jax.Array) -> jax.Array:
    (gate,) = own.values() or ({},)
    weight, bias = (None if name not in gate else streams_of(gate[name], sizes.streams) for name in ("weight", "bias"))
    if sizes.message_on_sphere:
        return on_sphere(x, weight, bias, grid)
    return gated(x, None, weight, bias, act, kept(*shape)[:, 0])


def _competed(weights: Weights, eps: float, scalars: jax.Array, x: jax.Array) -> jax.Array:
    """Messages times the share of their stream; ``scalars`` (stream, b, k, n) were there before the layers."""
    norm, w = weights["focus_compete_norm"]["adam_scale"], weights["adamw_focus_compete_w"]
    level = jnp.einsum("fbkc,fc,cf->fbk", rms(scalars, jnp.ones_like(norm[0]), eps), norm, w)
    if "focus_compete_bias" in weights:
        level = level + weights["focus_compete_bias"][:, None, None]
    share = COMPETING * jax.nn.softmax(level, axis=0) + (1.0 - COMPETING) / x.shape[0]
    return x * share[..., None, None]


def queries_and_keys(weights: Weights, sizes: Sizes, scalars: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(n, hidden) each, of degree 0 of states (n, hidden)."""
    streams = sizes.attention[0]
    x = _normalised(weights, sizes, "attn_qk_norm", scalars)
    return tuple(joined(product(x, streams_of(weights[f"attn_{w}_proj"]["weight"], streams))) for w in ("q", "k"))


def _normalised(weights: Weights, sizes: Sizes, name: str, scalars: jax.Array) -> jax.Array:
    """(stream, n, width) of attention."""
    x = split(scalars, sizes.attention[0])
    return rms(x, jnp.ones_like(x[0, 0]), sizes.config.eps) * of_streams(weights[name]["adam_scale"], x.ndim)


def attention(weights: Weights, sizes: Sizes, exact: bool, sent: Sent, own: Own, radial: jax.Array) -> jax.Array:
    """(b, k, stream, head) weights of messages: a soft-max of products of queries and keys, and of distances (b, k, hidden).

    Weights of edges multiply its terms, and a trained number stands for a message of nothing.  The reference adds ``eps`` to a
    denominator from which the largest exponent was taken out, so that it depends on the latter; ``exact``: before it was.
    """
    (streams, width), heads = sizes.attention, sizes.heads
    queries, _ = queries_and_keys(weights, sizes, own.scalars)
    terms = (queries[:, None] * sent.keys).reshape(*sent.keys.shape[:2], streams, heads, -1)
    level = jnp.sum(terms, axis=-1) * (width // heads) ** -0.5
    spread = weights["adamw_attn_logit_w"]
    level = level + jnp.einsum("bkfc,cfh->bkfh", radial.reshape(*radial.shape[:2], streams, width), spread)
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


def heard(weights: Weights, sizes: Sizes, weighing: jax.Array, back: jax.Array, x: jax.Array, own: Own) -> jax.Array:
    """(b, (L + 1)^2, hidden) sums of messages (b, k, n_kept, hidden) that attention weighs, gated by what an atom is."""
    (streams, width), heads = sizes.attention, sizes.heads
    maps = [(name, streams if name == "attn_v_proj" else 1) for name in ("attn_focus_mix", "attn_v_proj")]
    maps = [(weights[name]["weight"], n) for name, n in maps if name in weights]
    if not maps:
        spread = jnp.repeat(weighing.reshape(*weighing.shape[:2], -1), width // heads, axis=-1)
        out = summed(back, x * spread[:, :, None])
    else:  # linear maps of channels act on sums, which there are fewer of; each head has its own
        parts = [summed(back, x * jnp.repeat(weighing[..., h], width, axis=-1)[:, :, None]) for h in range(heads)]
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


def summed(back: jax.Array, x: jax.Array) -> jax.Array:
    """(b, (L + 1)^2, n) messages (b, k, n_kept, n) turned back and summed over neighbours."""
    return jnp.einsum("bkrd,bkrc->bdc", back, x)


def biased(x: jax.Array, own: Weights) -> jax.Array:
    """A map by degree of states, with its bias where it has one."""
    return by_degree(x, own["weight"], own.get("bias"))
