"""Options of the ``dpa4`` descriptor: feed-forward nets, norms, connections between blocks, and activations."""

from __future__ import annotations

from dpjax.config import options
from dpjax.config.schema import Option

RESIDUAL = (
    " `none` switches it off; with `independent` the weights of that mean come from trained vectors, with `dependent` from "
    "the state itself."
)


def block_options() -> list[Option]:
    """What the blocks are made of beside messages."""
    return [*_feed_forward_options(), *_residual_options(), *_activation_options()]


def _feed_forward_options() -> list[Option]:
    return [
        Option(
            "ffn_neurons",
            int,
            "Hidden width of the feed-forward nets in the blocks and of the read-out. 0 takes 8/3 of channels for a net with "
            "gates and 4 times channels for one without, rounded up to a multiple of 32.",
            0,
        ),
        Option(
            "grid_mlp",
            bool,
            "Let the feed-forward nets of the blocks act on the values of the state at points of a sphere. Rotational symmetry "
            "then holds approximately. A list of three (node-wise, message with node, feed-forward) says it for each grid of "
            "the newer form.",
            False,
            also=[list[bool]],
        ),
        Option("ffn_blocks", int, "Number of feed-forward nets in a block, one after the other.", 1),
    ]


def _residual_options() -> list[Option]:
    return [
        Option(
            "sandwich_norm",
            list[bool],
            "Where to normalise in a block, as four switches: before and after the message step, before and after each "
            "feed-forward net.",
            [False, True, True, False],
        ),
        Option(
            "mlp_bias",
            bool,
            "Whether linear maps and gates have a bias on their scalars. Norms have one in any case.",
            False,
        ),
        Option(
            "layer_scale",
            bool,
            "Multiply what message layers and feed-forward nets add to the state by trained factors that start at 0.001.",
            False,
        ),
        Option(
            "full_attn_res",
            str,
            "Feed each message step and each feed-forward net a weighted mean of everything computed before, instead of adding "
            "up. Excludes block_attn_res." + RESIDUAL,
            "none",
        ),
        Option(
            "block_attn_res",
            str,
            "The same with one entry per finished block in that mean. Excludes full_attn_res." + RESIDUAL,
            "none",
        ),
    ]


def _activation_options() -> list[Option]:
    return [
        Option(
            "s2_activation",
            list[bool],
            "Two switches, for messages and for the feed-forward nets of the blocks: multiply two halves of the signal at "
            "points of a sphere, with silu gates, instead of scaling each degree by an activated scalar.",
            [False, True],
        ),
        Option(
            "lebedev_quadrature",
            [bool, list[bool]],
            "Points of these spheres: true takes Lebedev rules, false a grid in two angles. A list of two says it for messages "
            "and for feed-forward nets.",
            True,
        ),
        options.activation("silu", "the radial net, gates and the read-out, where s2_activation does not choose silu"),
        Option(
            "glu_activation",
            bool,
            "Let one half of a hidden layer gate the other in feed-forward nets. Those of the blocks always do with "
            "s2_activation.",
            True,
        ),
    ]
