"""The parameters of ``dpa4``: names, shapes and first values, in one list.

Names are those of DeePMD-kit's module SeZM, so that its checkpoints are read by name, and its optimizer HybridMuon, which goes by
names, treats them alike.  A tree has a level for each part of a name: ``blocks.0.so2_conv.pre_focus_mix.weight``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.config.charge_spin import RANGES
from dpjax.config.descriptors import Dpa4Config
from dpjax.descriptors.dpa4.sizes import Sizes

Weights = dict[str, Any]  # a tree of arrays
Draw = Callable[[jax.Array, tuple[int, ...]], jax.Array]
HALF = 0.5413  # softplus of it is 1
STRENGTH = math.log(0.01)  # of what the environment says to the first state
SCALE = 1e-3  # of what layers add, where that is scaled


class Parameter(NamedTuple):
    """Shape of a parameter and how its first value is drawn."""

    shape: tuple[int, ...]
    draw: Draw
    in_block: bool = (
        False  # a linear map within a block, which has the precision of the option; others have at least float32
    )


def _constant(value: float) -> Draw:
    return lambda key, shape: jnp.full(shape, value)


ZEROS, ONES = _constant(0.0), _constant(1.0)


def _normal(std: float) -> Draw:
    return lambda key, shape: std * jax.random.normal(key, shape)


def _table(rows: int, width: int) -> Draw:
    """Vectors of types, the last of which is that of padding: zero."""
    std = 1.0 / math.sqrt(rows + width)
    return lambda key, shape: (std * jax.random.normal(key, shape)).at[-1].set(0.0)


def _truncated(std: float) -> Draw:
    return lambda key, shape: std * jax.random.truncated_normal(key, -3.0, 3.0, shape)


def _uniform(bound: float) -> Draw:
    return lambda key, shape: jax.random.uniform(key, shape, minval=-bound, maxval=bound)


def _layer(n_in: int, n_out: int) -> Parameter:
    return Parameter((n_in, n_out), _normal(1.0 / math.sqrt(n_in + n_out)))


def parameters(config: Dpa4Config, n_type: int) -> dict[str, Parameter]:
    """All parameters of a descriptor by name."""
    sizes = Sizes(config)
    found = dict(_of_types(sizes, n_type)) | dict(_of_start(sizes, n_type)) | dict(_of_distances(sizes))
    for i in range(len(sizes.degrees)):
        found |= _prefixed(f"blocks.{i}", _of_block(sizes, i))
    kind, mode = _residuals(config)
    if kind:
        found |= _prefixed(f"final_{kind}_attn_res", _of_mean(mode, sizes.channels, config.mlp_bias))
    found |= _prefixed("output_ffn", _of_head(sizes))
    return found


def _prefixed(prefix: str, found: Iterator[tuple[str, Parameter]]) -> dict[str, Parameter]:
    return {f"{prefix}.{name}": parameter for name, parameter in found}


def _residuals(config: Dpa4Config) -> tuple[str, str]:
    """Which attention there is over what was computed before, ``full`` or ``block``, and its kind; empty without."""
    for kind in ("full", "block"):
        mode = getattr(config, f"{kind}_attn_res")
        if mode != "none":
            return kind, mode
    return "", ""


def _of_types(sizes: Sizes, n_type: int) -> Iterator[tuple[str, Parameter]]:
    n = sizes.channels
    yield "type_embedding.adam_type_embedding", Parameter((n_type + 1, n), _table(n_type, n))
    if sizes.config.add_chg_spin_ebd:
        for name, least, most in RANGES:
            rows = most - least + 1
            draw = _normal(1.0 / math.sqrt(rows + n))
            yield f"charge_spin_embedding.{name}_embedding.adam_type_embedding", Parameter((rows, n), draw)
        yield "charge_spin_embedding.mix_layer.matrix", _layer(2 * n, n)
        yield "charge_spin_embedding.mix_layer.bias", Parameter((n,), _normal(1.0))


def _of_start(sizes: Sizes, n_type: int) -> Iterator[tuple[str, Parameter]]:
    cfg, own, n = sizes.config, sizes.seed, sizes.channels
    if not cfg.use_env_seed:
        return
    layers = {
        "rbf_proj_layer1": (cfg.n_radial, own.radial),
        "rbf_proj_layer2": (own.radial, own.radial),
        "g_layer1": (own.radial + 2 * own.type_width, own.hidden),
        "g_layer2": (own.hidden, own.embedded),
    }
    for name, (n_in, n_out) in layers.items():
        yield f"env_seed_embedding.{name}.matrix", _layer(n_in, n_out)
        if cfg.mlp_bias:
            yield f"env_seed_embedding.{name}.bias", Parameter((n_out,), _normal(1.0))
    table = Parameter((n_type + 1, own.type_width), _table(n_type, own.type_width))
    yield "env_seed_embedding.env_type_embed.adam_type_embedding", table
    yield "env_seed_embedding.output_proj.matrix", Parameter((own.embedded * own.axis, 2 * n), ZEROS)
    for part in ("scale", "shift"):
        yield f"film_{part}_norm.adam_scale", Parameter((1, n), ONES)
        yield f"film_{part}_strength_log", Parameter((1,), _constant(STRENGTH))


def _of_distances(sizes: Sizes) -> Iterator[tuple[str, Parameter]]:
    cfg, widths = sizes.config, sizes.radial
    n = cfg.n_radial
    if cfg.basis_type.lower() == "bessel":
        first = np.arange(1, n + 1) * math.pi / cfg.rcut
    else:
        first = np.linspace(0.0, cfg.rcut, n)
    yield "radial_basis.adam_freqs", Parameter((1, n), lambda key, shape: jnp.asarray(first).reshape(shape))
    for k, (n_in, n_out) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        yield f"radial_embedding.net.{3 * k}.matrix", _layer(n_in, n_out)
        if k < len(widths) - 2:
            yield f"radial_embedding.net.{3 * k + 1}.adam_scale", Parameter((n_out,), ONES)


def _of_block(sizes: Sizes, i: int) -> Iterator[tuple[str, Parameter]]:
    cfg, n, lmax = sizes.config, sizes.channels, sizes.degrees[i]
    before, after, ffn_before, ffn_after = cfg.sandwich_norm
    yield from _norm("pre_so2_norm", lmax, n, before)
    yield from _norm("post_so2_norm", lmax, n, after)
    for name, parameter in _of_message(sizes, i):
        yield f"so2_conv.{name}", parameter
    kind, mode = _residuals(cfg)
    if kind:
        yield from _prefixed(f"{kind}_attn_res_so2", _of_mean(mode, n, cfg.mlp_bias)).items()
    for k in range(cfg.ffn_blocks):
        yield from _norm(f"pre_ffn_norms.{k}", lmax, n, ffn_before)
        yield from _norm(f"post_ffn_norms.{k}", lmax, n, ffn_after)
        yield from _prefixed(f"ffns.{k}", _of_feed_forward(sizes, lmax)).items()
        if cfg.layer_scale:
            yield f"adam_ffn_layer_scales.{k}", Parameter((n,), _constant(SCALE))
        if kind:
            yield from _prefixed(f"{kind}_attn_res_ffns.{k}", _of_mean(mode, n, cfg.mlp_bias)).items()


def _norm(name: str, lmax: int, n: int, used: bool) -> Iterator[tuple[str, Parameter]]:
    if used:
        yield f"{name}.adam_scale", Parameter((lmax + 1, 1, n), ONES)
        yield f"{name}.bias", Parameter((1, n), ZEROS)


def _of_mean(mode: str, n: int, use_bias: bool) -> Iterator[tuple[str, Parameter]]:
    yield "key_norm.adam_scale", Parameter((1, n), ONES)
    if mode == "independent":
        yield "adamw_pseudo_query", Parameter((n,), ZEROS)
        return
    yield "query_proj.weight", Parameter((n, n), ZEROS)
    if use_bias:
        yield "query_proj.bias", Parameter((n,), ZEROS)


def _by_degree(lmax: int, n_in: int, n_out: int, streams: int = 1, draw: Draw | None = None) -> Parameter:
    std = 1.0 / math.sqrt(n_in + streams * n_out)
    return Parameter((lmax + 1, n_in, streams * n_out), draw or _truncated(std), in_block=True)


def _of_message(sizes: Sizes, i: int) -> Iterator[tuple[str, Parameter]]:
    cfg, n, hidden, lmax = sizes.config, sizes.channels, sizes.hidden, sizes.degrees[i]
    streams, width = sizes.streams, sizes.stream
    yield from _biased("pre_focus_mix", _by_degree(lmax, n, hidden), hidden, cfg.mlp_bias)
    yield from _biased("post_focus_mix", _by_degree(lmax, hidden, n, draw=ZEROS), n, cfg.mlp_bias)
    if hidden != n:
        bound = 1.0 / math.sqrt(n)
        yield "radial_hidden_proj.weight", Parameter((n, hidden), _uniform(bound), in_block=True)
    if cfg.radial_so2_mode != "none":
        n_in, n_out = (lmax + 1) * hidden, sizes.mixers(i) * sizes.kernels
        std = 1.0 / math.sqrt(n_in + n_out)
        yield "radial_degree_mixer.weight", Parameter((n_in, n_out), _truncated(std), in_block=True)
        if cfg.radial_so2_mode == "degree_channel" and cfg.radial_so2_rank:
            rank = cfg.radial_so2_rank
            draw = _truncated(1.0 / math.sqrt(rank + hidden))
            yield "radial_degree_mixer.channel_basis", Parameter((rank, hidden), draw, in_block=True)
    for k in range(cfg.so2_layers):
        yield from _of_message_layer(sizes, i, k)
    if streams > 1:
        yield "focus_compete_norm.adam_scale", Parameter((streams, width), ONES)
        yield "adamw_focus_compete_w", Parameter((width, streams), _normal(0.01))
        if cfg.mlp_bias:
            yield "focus_compete_bias", Parameter((streams,), ZEROS)
    if sizes.heads:
        yield from _of_attention(sizes, lmax)


def _biased(name: str, weight: Parameter, n: int, use_bias: bool) -> Iterator[tuple[str, Parameter]]:
    yield f"{name}.weight", weight
    if use_bias:
        yield f"{name}.bias", Parameter((n,), ZEROS)


def _of_message_layer(sizes: Sizes, i: int, k: int) -> Iterator[tuple[str, Parameter]]:
    cfg, lmax, streams, width = sizes.config, sizes.degrees[i], sizes.streams, sizes.stream
    last = k == cfg.so2_layers - 1
    out = 2 * width if sizes.message_on_sphere and not last else width

    def linear(n: int, factor: int) -> Parameter:
        n_in, n_out = n * width, factor * n * out
        std = 1.0 / math.sqrt((n_in + n_out) * factor)
        return Parameter((n_in, streams * n_out), _truncated(std), in_block=True)

    name = f"so2_linears.{k}"
    yield f"{name}.weight_m0", linear(lmax + 1, 1)
    if cfg.mlp_bias:
        yield f"{name}.bias0", Parameter((streams * out,), ZEROS)
    for m in range(1, sizes.orders[i] + 1):
        yield f"{name}.weight_m.{m - 1}", linear(lmax - m + 1, 2)
    if not last:
        yield from _of_activation(f"non_linearities.{k}", sizes.message_on_sphere, lmax, width, streams, cfg.mlp_bias)
        if cfg.so2_norm:
            yield f"so2_inter_norms.{k}.adam_scale", Parameter((streams, lmax + 1, width), ONES)
            yield f"so2_inter_norms.{k}.bias0", Parameter((streams, width), ZEROS)
    if cfg.so2_attn_res != "none":
        found = _of_mean(cfg.so2_attn_res, sizes.hidden, cfg.mlp_bias)
        yield from _prefixed(f"so2_layer_attn_res.{k}", found).items()
    if cfg.layer_scale:
        yield f"adam_so2_layer_scales.{k}", Parameter((streams, width), _constant(SCALE))


def _of_activation(
    name: str, on_sphere: bool, lmax: int, n: int, streams: int, use_bias: bool
) -> Iterator[tuple[str, Parameter]]:
    """Gates of an activation of ``n`` channels."""
    if not on_sphere and lmax == 0:
        return
    part, n_in, n_out = ("scalar_gate", 2 * n, n) if on_sphere else ("gate_linear", n, lmax * n)
    yield f"{name}.{part}.weight", Parameter((n_in, streams * n_out), _normal(0.01), in_block=True)
    if use_bias:
        yield f"{name}.{part}.bias", Parameter((streams * n_out,), ZEROS)


def _of_attention(sizes: Sizes, lmax: int) -> Iterator[tuple[str, Parameter]]:
    cfg, hidden, heads = sizes.config, sizes.hidden, sizes.heads
    streams, width = sizes.attention
    for name in ("attn_qk_norm", "attn_output_gate_norm"):
        yield f"{name}.adam_scale", Parameter((streams, width), ONES)
    for name in ("attn_q_proj", "attn_k_proj"):
        yield f"{name}.weight", Parameter((width, streams * width), _uniform(1.0 / math.sqrt(width)), in_block=True)
    for name in ("adamw_attn_logit_w", "adamw_attn_gate_w"):
        yield name, Parameter((width, streams, heads), _normal(0.01))
    yield "adamw_attn_z_bias_raw", Parameter((streams, heads), _constant(HALF))
    if cfg.atten_f_mix:
        yield "attn_focus_mix.weight", _by_degree(lmax, hidden, hidden)
    for name, used in (("attn_v_proj", cfg.atten_v_proj), ("attn_o_proj", cfg.atten_o_proj)):
        if used:
            yield f"{name}.weight", _by_degree(lmax, width, width, streams)


def _of_feed_forward(sizes: Sizes, lmax: int) -> Iterator[tuple[str, Parameter]]:
    cfg, n, width = sizes.config, sizes.channels, sizes.feed_forward(sizes.gated)
    wide = width if sizes.point_by_point or not sizes.gated else 2 * width
    yield from _biased("so3_linear_1", _by_degree(lmax, n, wide), wide, cfg.mlp_bias)
    if sizes.point_by_point:
        yield "scalar_mlp.0.weight", Parameter((n, 2 * width), _uniform(1.0 / math.sqrt(n)), in_block=True)
        if cfg.mlp_bias:
            yield "scalar_mlp.0.bias", Parameter((2 * width,), ZEROS)
        draw = _uniform(1.0 / math.sqrt(width))
        yield "pointwise_grid_mlp.linear_1.weight", Parameter((width, 2 * width), draw, in_block=True)
        yield "pointwise_grid_mlp.linear_2.weight", Parameter((width, width), draw, in_block=True)
    else:
        yield from _of_activation("act", sizes.feed_forward_on_sphere, lmax, width, 1, cfg.mlp_bias)
    yield from _biased("so3_linear_2", _by_degree(lmax, width, n, draw=ZEROS), n, cfg.mlp_bias)


def _of_head(sizes: Sizes) -> Iterator[tuple[str, Parameter]]:
    cfg, n = sizes.config, sizes.channels
    width = sizes.feed_forward(cfg.glu_activation)
    wide = 2 * width if cfg.glu_activation else width
    for name, n_in, n_out, draw in (("so3_linear_1", n, wide, None), ("so3_linear_2", width, n, ZEROS)):
        weight = _by_degree(0, n_in, n_out, draw=draw)._replace(in_block=False)
        yield from _biased(name, weight, n_out, cfg.mlp_bias)


def nested(found: Mapping[str, Any]) -> Weights:
    """A tree with a level for each part of a name."""
    tree: Weights = {}
    for name, value in found.items():
        *parts, last = name.split(".")
        here = tree
        for part in parts:
            here = here.setdefault(part, {})
        here[last] = value
    return tree


def drawn(key: jax.Array, found: Any, dtypes: tuple[jnp.dtype, jnp.dtype]) -> Weights:
    """First values of a tree of parameters, or of one; ``dtypes`` of linear maps in blocks, and of all others."""
    leaves, structure = jax.tree.flatten(found, is_leaf=lambda leaf: isinstance(leaf, Parameter))
    keys = jax.random.split(key, len(leaves))
    values = [own.draw(k, own.shape).astype(dtypes[not own.in_block]) for k, own in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, values)
