"""Options of ``repformer``, the second block of ``dpa2``: layers that pass messages between atoms.

The layers keep three things: ``g1``, a vector per atom; ``g2``, a vector per pair of neighbours; and ``h2``, the direction
of each pair, which turns with the system.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config import options
from dpjax.config.checks import check_activation, check_at_least, check_cutoff, check_sel_in_all
from dpjax.config.descriptors.layers import check_axis_within, check_update, update_options
from dpjax.config.problems import Problem
from dpjax.config.schema import REQUIRED, Component, Context, Option
from dpjax.config.suggestions import join


@dataclass(frozen=True)
class RepformerConfig:
    """Hyper-parameters of ``repformer``; lengths in angstrom."""

    rcut: float
    rcut_smth: float
    nsel: int | str  # of all types together, or "auto[:factor]" until data has been counted
    nlayers: int = 3
    g1_dim: int = 128
    g2_dim: int = 16
    axis_neuron: int = 4
    direct_dist: bool = False
    update_g1_has_conv: bool = True
    update_g1_has_drrd: bool = True
    update_g1_has_grrg: bool = True
    update_g1_has_attn: bool = True
    update_g2_has_g1g1: bool = True
    update_g2_has_attn: bool = True
    use_sqrt_nnei: bool = True
    g1_out_conv: bool = True
    g1_out_mlp: bool = True
    update_h2: bool = False
    attn1_hidden: int = 64
    attn1_nhead: int = 4
    attn2_hidden: int = 16
    attn2_nhead: int = 4
    attn2_has_gate: bool = False
    activation_function: str = "tanh"
    update_style: str = "res_avg"
    update_residual: float = 0.001
    update_residual_init: str = "norm"
    set_davg_zero: bool = True
    trainable_ln: bool = True
    ln_eps: float | None = None  # 1e-5


def _options() -> list[Option]:
    return [
        *_size_options(),
        *_term_options(),
        *_attention_options(),
        options.activation(of="the layers"),
        *update_options("res_avg", 0.001, "norm"),
        options.set_davg_zero(True),
        Option("trainable_ln", bool, "Whether the layer normalisation has a trained scale and shift.", True),
        Option(
            "ln_eps",
            [None, float],
            "Small number added to the variance in the layer normalisation; null is 1e-5.",
            None,
        ),
    ]


def _size_options() -> list[Option]:
    return [
        Option(
            "rcut",
            float,
            "Cut-off radius in angstrom within which atoms exchange messages; smaller than that of repinit.",
            REQUIRED,
        ),
        Option(
            "rcut_smth",
            float,
            "Distance in angstrom from which a neighbour's weight is switched smoothly to zero at rcut.",
            REQUIRED,
        ),
        options.nsel(),
        Option("nlayers", int, "How many layers follow one another.", 3),
        Option("g1_dim", int, "Length of g1, the vector of an atom, and so of the descriptor.", 128),
        Option("g2_dim", int, "Length of g2, the vector of a pair of neighbours.", 16),
        Option(
            "axis_neuron",
            int,
            "How many columns form the second factor of the products grrg and drrd; at most g2_dim and g1_dim.",
            4,
        ),
        Option(
            "direct_dist",
            bool,
            "Start g2 and h2 from the distance vector divided by rcut instead of from the smoothed 1/r.",
            False,
        ),
    ]


def _term_options() -> list[Option]:
    return [
        Option("update_g1_has_conv", bool, "Let g1 gather the g1 of the neighbours, weighted by g2.", True),
        Option(
            "update_g1_has_drrd",
            bool,
            "Let g1 gather products of the neighbours' g1 and directions, a smooth invariant.",
            True,
        ),
        Option("update_g1_has_grrg", bool, "Let g1 gather products of g2 and directions, a smooth invariant.", True),
        Option("update_g1_has_attn", bool, "Let g1 attend to the g1 of the neighbours.", True),
        Option("update_g2_has_g1g1", bool, "Let g2 gather the product of the g1 of its two atoms.", True),
        Option(
            "update_g2_has_attn",
            bool,
            "Let g2 attend to the other pairs of the same centre, weighted by the angle between them.",
            True,
        ),
        Option(
            "use_sqrt_nnei",
            bool,
            "Divide the products grrg and drrd by the square root of the number of neighbours. false: by the number itself.",
            True,
        ),
        Option(
            "g1_out_conv",
            bool,
            "Add the term of update_g1_has_conv to g1 directly. false: pass it through the common layer of the other terms.",
            True,
        ),
        Option(
            "g1_out_mlp",
            bool,
            "Pass g1 itself through a layer of its own. false: through the common layer of the other terms.",
            True,
        ),
        Option("update_h2", bool, "Let the directions h2 of the pairs change from layer to layer, too.", False),
    ]


def _attention_options() -> list[Option]:
    return [
        Option("attn1_hidden", int, "Length of the queries and keys of update_g1_has_attn.", 64),
        Option("attn1_nhead", int, "Number of heads of update_g1_has_attn.", 4),
        Option("attn2_hidden", int, "Length of the queries and keys of update_g2_has_attn and update_h2.", 16),
        Option("attn2_nhead", int, "Number of heads of update_g2_has_attn and update_h2.", 4),
        Option(
            "attn2_has_gate",
            bool,
            "Multiply the scores of update_g2_has_attn and update_h2 by the scalar product of the two h2 before the softmax.",
            False,
        ),
    ]


def _check(cfg: RepformerConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_cutoff(cfg.rcut, cfg.rcut_smth, path)
    yield from check_sel_in_all(cfg.nsel, (), join(path, "nsel"))
    yield from check_at_least(cfg, 0, ["nlayers", "ln_eps"], path)
    yield from check_at_least(cfg, 1, ["g1_dim", "g2_dim", *_used_attention(cfg)], path)
    factors = {"g2_dim": cfg.update_g1_has_grrg, "g1_dim": cfg.update_g1_has_drrd}
    widths = {name: getattr(cfg, name) for name, used in factors.items() if used}
    yield from check_axis_within(cfg.axis_neuron, widths, join(path, "axis_neuron"))
    yield from check_activation(cfg.activation_function, join(path, "activation_function"))
    yield from check_update(cfg, path)
    conv = cfg.update_g1_has_conv and not cfg.g1_out_conv
    if cfg.nlayers > 0 and cfg.g1_out_mlp and not (conv or widths):
        yield Problem(
            join(path, "g1_out_mlp"),
            "found true, which leaves nothing for the common layer of g1. Set it to false, or set update_g1_has_grrg or "
            "update_g1_has_drrd to true.",
        )


def _used_attention(cfg: RepformerConfig) -> Iterator[str]:
    """Names of the sizes that matter; the last layer leaves g2 and h2 as they are."""
    if cfg.update_g1_has_attn:
        yield from ("attn1_hidden", "attn1_nhead")
    if cfg.nlayers > 1 and (cfg.update_g2_has_attn or cfg.update_h2):
        yield from ("attn2_hidden", "attn2_nhead")


REPFORMER = Component(
    "repformer",
    RepformerConfig,
    _options,
    _check,
    doc="Layers in which atoms and pairs of neighbours exchange messages and attend to each other.",
)
