"""Options of the ``dpa4`` descriptor: messages between equivariant states, worked out in the frame of each edge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config.charge_spin import check_chg_spin
from dpjax.config.checks import (
    check_activation,
    check_at_least,
    check_choice,
    check_positive,
    check_precision,
    check_sel_in_all,
    check_type_pairs,
)
from dpjax.config.descriptors.dpa4_newer import READOUTS
from dpjax.config.descriptors.dpa4_options import ATTENTION_RESIDUALS, BASES, RADIAL_MODES, dpa4_options
from dpjax.config.problems import Problem
from dpjax.config.schema import Component, Context
from dpjax.config.suggestions import join, show

DPA4_NAMES = ("dpa4", "DPA4", "SeZM", "sezm")  # of the descriptor, and of the model made for it


@dataclass(frozen=True, kw_only=True)
class Dpa4Config:
    """Hyper-parameters of ``dpa4``; the last ones, None where absent, are of a newer form."""

    sel: int | tuple[int, ...] | str = "auto"  # of all types together; only the sum of a tuple counts
    rcut: float = 6.0  # angstrom
    env_exp: tuple[int, ...] = (7, 5)  # radial functions, messages
    channels: int = 64
    basis_type: str = "bessel"
    n_radial: int = 16
    radial_mlp: tuple[int, ...] = (0,)  # 0: channels
    use_env_seed: bool = True
    random_gamma: bool = True
    lmax: int = 3
    l_schedule: tuple[int, ...] | None = None  # in place of lmax and n_blocks
    mmax: int | None = 1
    m_schedule: tuple[int, ...] | None = None  # in place of mmax
    n_blocks: int = 3
    so2_norm: bool = False
    so2_layers: int = 4
    so2_attn_res: str = "none"
    radial_so2_mode: str = "degree_channel"
    radial_so2_rank: int = 1
    n_focus: int = 1
    focus_dim: int = 0  # 0: channels
    n_atten_head: int = 1  # 0: no attention
    atten_f_mix: bool = False
    atten_v_proj: bool = False
    atten_o_proj: bool = False
    ffn_neurons: int = 0  # 0: from channels
    grid_mlp: bool | tuple[bool, ...] = False
    ffn_blocks: int = 1
    sandwich_norm: tuple[bool, ...] = (False, True, True, False)  # message: before, after; feed-forward: before, after
    mlp_bias: bool = False
    layer_scale: bool = False
    full_attn_res: str = "none"
    block_attn_res: str = "none"
    s2_activation: tuple[bool, ...] = (False, True)  # messages, feed-forward nets
    lebedev_quadrature: bool | tuple[bool, ...] = True  # messages, feed-forward nets
    activation_function: str = "silu"
    glu_activation: bool = True
    use_amp: bool = True
    add_chg_spin_ebd: bool = False
    default_chg_spin: tuple[float, ...] | None = None
    exclude_types: tuple[tuple[int, int], ...] = ()
    precision: str = "float32"
    eps: float = 1e-7
    trainable: bool = True
    seed: int | None = None
    edge_norm: bool | None = None
    edge_cartesian: bool | None = None
    node_cartesian: str | int | None = None
    kmax: int | None = None
    extra_node_l: int | None = None
    grid_branch: int | tuple[int, ...] | None = None
    ffn_so3_grid: bool | None = None
    node_wise_s2: bool | None = None
    node_wise_so3: bool | None = None
    message_node_s2: bool | None = None
    message_node_so3: bool | None = None
    so3_readout: str | None = None
    readout_layers: int | None = None

    @property
    def lmax_first(self) -> int:
        """Highest degree of the first state."""
        return self.l_schedule[0] if self.l_schedule else self.lmax

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return self.n_blocks if self.l_schedule is None else len(self.l_schedule)

    @property
    def stream_width(self) -> int:
        """Number of channels that the attention heads share."""
        width = self.focus_dim or self.channels
        return width * self.n_focus if self.atten_f_mix else width


def check_dpa4(cfg: Dpa4Config, path: str, context: Context) -> Iterator[Problem]:
    """The rules of ``dpa4``."""
    yield from check_sel_in_all(cfg.sel, (), join(path, "sel"))
    yield from check_positive(cfg, ["rcut"], path)
    yield from check_at_least(cfg, 1, ["channels", "n_radial", "n_focus", "ffn_blocks", "readout_layers"], path)
    counts = [
        "so2_layers",
        "radial_so2_rank",
        "focus_dim",
        "n_atten_head",
        "ffn_neurons",
        "eps",
        "kmax",
        "extra_node_l",
    ]
    yield from check_at_least(cfg, 0, counts, path)
    yield from _check_words(cfg, path)
    yield from _check_lists(cfg, path)
    yield from _check_degrees(cfg, path)
    yield from _check_attention(cfg, path)
    yield from _check_newer(cfg, path)
    if cfg.use_env_seed and cfg.channels == 1:
        yield Problem(join(path, "channels"), "found 1; use_env_seed needs at least 2.")
    yield from check_chg_spin(cfg.default_chg_spin, cfg.add_chg_spin_ebd, join(path, "default_chg_spin"))
    yield from check_type_pairs(cfg.exclude_types, context.type_map, join(path, "exclude_types"))


def _check_words(cfg: Dpa4Config, path: str) -> Iterator[Problem]:
    yield from check_choice(cfg.basis_type.lower(), BASES, join(path, "basis_type"))
    yield from check_choice(cfg.radial_so2_mode, RADIAL_MODES, join(path, "radial_so2_mode"))
    for key in ("so2_attn_res", "full_attn_res", "block_attn_res"):
        yield from check_choice(getattr(cfg, key), ATTENTION_RESIDUALS, join(path, key))
    if cfg.so3_readout is not None:
        yield from check_choice(cfg.so3_readout, READOUTS, join(path, "so3_readout"))
    yield from check_activation(cfg.activation_function, join(path, "activation_function"))
    yield from check_precision(cfg.precision, join(path, "precision"))


def _check_lists(cfg: Dpa4Config, path: str) -> Iterator[Problem]:
    lengths = {
        "env_exp": (2, "two exponents: radial functions, messages"),
        "sandwich_norm": (4, "four switches: before and after the message step, before and after a feed-forward net"),
        "s2_activation": (2, "two switches: messages, feed-forward nets"),
        "lebedev_quadrature": (2, "true, false, or two switches: messages, feed-forward nets"),
        "grid_mlp": (3, "true, false, or three switches: node-wise, message with node, feed-forward"),
        "grid_branch": (3, "a number, or three: node-wise, message with node, feed-forward"),
    }
    for key, (length, what) in lengths.items():
        value = getattr(cfg, key)
        if isinstance(value, tuple) and len(value) != length:
            yield Problem(join(path, key), f"found {len(value)} entries; give {what}.")
    yield from _check_entries(cfg, path, "env_exp", 1)
    yield from _check_entries(cfg, path, "radial_mlp", 0)
    yield from _check_entries(cfg, path, "grid_branch", 0)


def _check_entries(cfg: Dpa4Config, path: str, key: str, least: int) -> Iterator[Problem]:
    """Every entry of a list, or the number itself, is at least ``least``."""
    value = getattr(cfg, key)
    entries = enumerate(value) if isinstance(value, tuple) else [(None, value)]
    for i, entry in entries:
        if entry is not None and entry < least:
            here = join(path, key) if i is None else join(path, f"{key}/{i}")
            yield Problem(here, f"found {show(entry)}; it must be at least {least}.")


def _check_degrees(cfg: Dpa4Config, path: str) -> Iterator[Problem]:
    """``lmax``, ``mmax``, ``n_blocks`` and the schedules that replace them."""
    unused = {"lmax", "n_blocks"} if cfg.l_schedule else {"n_blocks"} if cfg.l_schedule is not None else set()
    unused |= {"mmax"} if cfg.m_schedule is not None else set()
    yield from check_at_least(cfg, 0, [k for k in ("lmax", "n_blocks", "mmax") if k not in unused], path)
    yield from _check_entries(cfg, path, "l_schedule", 0)
    yield from _check_entries(cfg, path, "m_schedule", 0)
    degrees = cfg.l_schedule or ()
    for i in range(1, len(degrees)):
        if degrees[i] > degrees[i - 1]:
            text = f"found {degrees[i]} after {degrees[i - 1]}; the degree must not rise from block to block."
            yield Problem(join(path, f"l_schedule/{i}"), text)
    if cfg.m_schedule is None:
        return
    if len(cfg.m_schedule) != cfg.depth:
        where = "n_blocks" if cfg.l_schedule is None else "l_schedule"
        text = f"found {len(cfg.m_schedule)} entries, but {where} makes {cfg.depth} blocks. Give one entry per block."
        yield Problem(join(path, "m_schedule"), text)
        return
    for i, order in enumerate(cfg.m_schedule):
        degree = degrees[i] if degrees else cfg.lmax
        if order > degree:
            yield Problem(join(path, f"m_schedule/{i}"), f"found {order}; the degree of this block is only {degree}.")


def _check_attention(cfg: Dpa4Config, path: str) -> Iterator[Problem]:
    width = cfg.stream_width
    if cfg.n_atten_head > 0 and width > 0 and width % cfg.n_atten_head:
        parts = "focus_dim" if cfg.focus_dim else "channels"
        parts = f"n_focus * {parts}" if cfg.atten_f_mix else parts
        text = f"found {cfg.n_atten_head}; it must divide {parts}, which is {width}, or be 0."
        yield Problem(join(path, "n_atten_head"), text)
    if "none" not in (cfg.full_attn_res, cfg.block_attn_res):
        text = f'found {show(cfg.block_attn_res)}, but full_attn_res is {show(cfg.full_attn_res)}. Set one of them to "none".'
        yield Problem(join(path, "block_attn_res"), text)


def _check_newer(cfg: Dpa4Config, path: str) -> Iterator[Problem]:
    if cfg.kmax is not None and cfg.kmax > cfg.lmax_first:
        text = f"found {cfg.kmax}; it must not exceed the degree of the first block, {cfg.lmax_first}."
        yield Problem(join(path, "kmax"), text)
    yield from _check_node_cartesian(cfg.node_cartesian, join(path, "node_cartesian"))
    degrees = {cfg.lmax} if cfg.l_schedule is None and cfg.n_blocks > 0 else set(cfg.l_schedule or ())
    if cfg.edge_cartesian and degrees & {1, 2}:
        for key in ("node_wise_s2", "node_wise_so3", "message_node_s2", "message_node_so3"):
            if getattr(cfg, key):
                yield Problem(join(path, key), "found true, but edge_cartesian has no grids. Switch one of them off.")


def _check_node_cartesian(value: str | int | None, path: str) -> Iterator[Problem]:
    text = str(value).strip().lower()
    mode, colon, layers = text.partition(":")
    plain = not colon and (text in ("", "none", "default", "parity") or text.isdecimal())
    if not plain and not (mode.strip() in ("", "default", "parity") and layers.strip().isdecimal()):
        rule = 'write "none", "default:n" or "parity:n" with the number n of layers, or that number alone'
        yield Problem(path, f"found {show(value)}; {rule}.")


DPA4 = Component(
    DPA4_NAMES[0],
    Dpa4Config,
    dpa4_options,
    check_dpa4,
    alias=DPA4_NAMES[1:],
    doc="Messages between equivariant states, worked out in the frame of each edge (DPA4, also called SeZM).",
)
