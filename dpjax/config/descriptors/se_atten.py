"""Options of the ``se_atten`` descriptor (DPA-1) and of ``se_atten_v2``, its form with a separate net for the types.

A two-body embedding with a trained vector per atom type, refined by attention between the neighbours of an atom.
Zhang et al., arXiv:2208.08236.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config import options
from dpjax.config.checks import (
    check_at_least,
    check_axis_neuron,
    check_choice,
    check_positive,
)
from dpjax.config.descriptors.rules import check_activation_and_environment, check_common_nets
from dpjax.config.problems import Problem
from dpjax.config.schema import Component, Context, Option
from dpjax.config.suggestions import join


@dataclass(frozen=True, kw_only=True)
class AttentionConfig:
    """What ``se_atten`` and ``se_atten_v2`` have in common; lengths in angstrom."""

    rcut: float = 6.0
    rcut_smth: float = 0.5
    sel: int | tuple[int, ...] | str = (
        "auto"  # of all types, a tuple is summed; "auto[:factor]" until data has been counted
    )
    neuron: tuple[int, ...] = (10, 20, 40)
    axis_neuron: int = 4
    lmax: int | None = None  # None is 1
    activation_function: str = "tanh"
    resnet_dt: bool = False
    type_one_side: bool = False
    precision: str = "default"
    trainable: bool = True
    seed: int | None = None
    exclude_types: tuple[tuple[int, int], ...] = ()
    env_protection: float = 0.0  # added to the distance in denominators
    attn: int = 128
    attn_layer: int = 2
    attn_dotr: bool = True
    attn_mask: bool = False
    trainable_ln: bool = True
    ln_eps: float | None = None  # None is 1e-5
    tebd_dim: int = 8
    use_econf_tebd: bool = False
    use_tebd_bias: bool = False
    scaling_factor: float = 1.0
    normalize: bool = True
    temperature: float | None = None  # None is 1 / sqrt(attn * scaling_factor)
    concat_output_tebd: bool = True


@dataclass(frozen=True, kw_only=True)
class SeAttenConfig(AttentionConfig):
    """Hyper-parameters of ``se_atten``."""

    stripped_type_embedding: bool | None = None  # unless None, it decides instead of tebd_input_mode
    smooth_type_embedding: bool = False
    set_davg_zero: bool = True
    tebd_input_mode: str = "concat"


@dataclass(frozen=True, kw_only=True)
class SeAttenV2Config(AttentionConfig):
    """Hyper-parameters of ``se_atten_v2``."""

    set_davg_zero: bool = False


def _embedding_options() -> list[Option]:
    lmax = (
        "Highest angular degree, 1 to 4, of the functions of a neighbour's direction that the embedding is multiplied with. "
        "Degree 1, its three components, is taken if absent."
    )
    return [
        options.sel_in_all(),
        *options.cutoff(),
        options.neuron(),
        options.axis_neuron(),
        Option("lmax", int, lmax, neutral=1, newer=True),
        options.activation(),
        options.resnet_dt(),
        options.type_one_side_of_vectors(),
        options.precision(),
        options.trainable(),
        options.seed("the descriptor"),
        options.exclude_types(),
        options.env_protection(),
    ]


def _attention_options() -> list[Option]:
    return [
        Option("attn", int, "Length of the query, key and value vectors of the attention layers.", 128),
        Option(
            "attn_layer",
            int,
            "How many attention layers mix the embeddings of an atom's neighbours; 0 leaves attention out.",
            2,
        ),
        Option(
            "attn_dotr",
            bool,
            "Multiply the attention weight of two neighbours by the cosine of the angle between them.",
            True,
        ),
        Option(
            "attn_mask",
            bool,
            "Keep a neighbour from attending to itself.",
            False,
        ),
    ]


def _norm_options() -> list[Option]:
    return [
        Option(
            "trainable_ln",
            bool,
            "Whether training changes the scale and shift of the layer normalisation that ends each attention layer.",
            True,
        ),
        Option(
            "ln_eps",
            [float, None],
            "Number added to the variance in the layer normalisation, against division by zero; null is 1e-5.",
            None,
        ),
    ]


def _type_vector_options() -> list[Option]:
    return [options.tebd_dim(), options.use_econf_tebd(), options.use_tebd_bias()]


def _score_options() -> list[Option]:
    return [
        Option(
            "scaling_factor",
            float,
            "Attention scores, the products of queries and keys, are divided by the square root of attn times this number.",
            1.0,
        ),
        Option("normalize", bool, "Bring queries, keys and values to unit length before they are used.", True),
        Option(
            "temperature",
            float,
            "Number by which attention scores are multiplied; scaling_factor then has no say.",
            also=[None],
        ),
        options.concat_output_tebd(),
    ]


def _se_atten_options() -> list[Option]:
    return [
        *_embedding_options(),
        *_attention_options(),
        Option(
            "stripped_type_embedding",
            [bool, None],
            "Older spelling of tebd_input_mode, which it overrides: true is `strip`, false is `concat`, null says nothing.",
            None,
        ),
        Option(
            "smooth_type_embedding",
            bool,
            "Let attention weights go smoothly to zero at rcut and, with tebd_input_mode `strip`, the effect of the type "
            "vectors too.",
            False,
            alias=["smooth_type_embdding"],
        ),
        options.set_davg_zero(True),
        *_norm_options(),
        *_type_vector_options(),
        options.tebd_input_mode(),
        *_score_options(),
    ]


def _se_atten_v2_options() -> list[Option]:
    return [
        *_embedding_options(),
        *_attention_options(),
        options.set_davg_zero(),
        *_norm_options(),
        *_type_vector_options(),
        *_score_options(),
    ]


def _check_attention(cfg: AttentionConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_common_nets(cfg, path, context)
    yield from check_axis_neuron(cfg.axis_neuron, cfg.neuron, join(path, "axis_neuron"))
    if cfg.lmax is not None and not 1 <= cfg.lmax <= 4:
        yield Problem(join(path, "lmax"), f"found {cfg.lmax}; it must lie between 1 and 4.")
    yield from check_activation_and_environment(cfg, path, context)
    yield from check_at_least(cfg, 0, ["attn_layer"], path)
    yield from check_at_least(cfg, 1, ["tebd_dim"], path)
    yield from check_positive(cfg, ["ln_eps", "temperature"], path)
    if cfg.attn_layer > 0:  # without layers these say nothing
        yield from check_at_least(cfg, 1, ["attn"], path)
        yield from check_positive(cfg, ["scaling_factor"] if cfg.temperature is None else [], path)


def _check_se_atten(cfg: SeAttenConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from _check_attention(cfg, path, context)
    yield from check_choice(cfg.tebd_input_mode, options.TEBD_INPUT_MODES, join(path, "tebd_input_mode"))


SE_ATTEN = Component(
    "se_atten",
    SeAttenConfig,
    _se_atten_options,
    _check_se_atten,
    alias=("dpa1",),
    doc="Two-body embedding with a trained vector per atom type and attention between neighbours (DPA-1).",
)
SE_ATTEN_V2 = Component(
    "se_atten_v2",
    SeAttenV2Config,
    _se_atten_v2_options,
    _check_attention,
    doc="se_atten with a separate net for the type vectors, smooth at the cut-off.",
)
