"""The options of the ``dpa4`` descriptor, by theme; those of its blocks and the newer ones stand in files of their own.

An atom's state has scalars (degree l = 0), vectors (l = 1) and so on up to ``lmax``, each with ``channels`` channels.  In every
block the atoms send messages along the edges to their neighbours, which are worked out in a frame whose axis is the edge;
then a feed-forward net acts on each atom's state.
"""

from __future__ import annotations

from dpjax.config import options
from dpjax.config.descriptors.dpa4_blocks import RESIDUAL, block_options
from dpjax.config.descriptors.dpa4_newer import newer_options
from dpjax.config.schema import Option

ATTENTION_RESIDUALS = ("none", "independent", "dependent")
RADIAL_MODES = ("none", "degree", "degree_channel")
BASES = ("bessel", "gaussian")


def dpa4_options() -> list[Option]:
    """All options of ``dpa4``."""
    return [
        *_edge_options(),
        *_degree_options(),
        *_message_options(),
        *_attention_options(),
        *block_options(),
        *_other_options(),
        *newer_options(),
    ]


def _edge_options() -> list[Option]:
    return [
        Option(
            "sel",
            [list[int], int, str],
            "How many neighbours of an atom count, of all types together: a number, or a list of which only the sum matters. "
            "The farthest ones beyond it are dropped; a number that is large enough changes nothing. `auto` counts them in the "
            "training data and adds 10 %; `auto:f` multiplies the count by f instead. The result is rounded up to a multiple "
            "of 4.",
            "auto",
        ),
        options.cutoff()[0],
        Option(
            "env_exp",
            list[int],
            "Two exponents of the switches that take a neighbour to zero at rcut: of the radial functions, and of the weight "
            "of a message. A larger one keeps distant neighbours strong for longer.",
            [7, 5],
        ),
        Option(
            "channels",
            int,
            "Number of channels of an atom's state, and of components of the descriptor.",
            64,
        ),
        Option(
            "basis_type",
            str,
            "Radial functions: `bessel`, that is sin(f r)/r, or `gaussian`. Their frequencies or centres are trained.",
            "bessel",
        ),
        Option("n_radial", int, "Number of radial functions.", 16),
        Option(
            "radial_mlp",
            list[int],
            "Widths of the hidden layers of the net that turns the radial functions into a number for each degree and "
            "channel; 0 stands for channels. The output layer is added to them.",
            [0],
        ),
        Option(
            "use_env_seed",
            bool,
            "Start from a state that knows where the neighbours of an atom are. false starts from its type alone.",
            True,
        ),
        Option(
            "random_gamma",
            bool,
            "Turn the frame of every edge about the edge by a random angle, anew at each evaluation. Results differ by "
            "rounding only.",
            True,
            no_effect="a rule chooses the angle, on which results depend by rounding only, so that evaluations repeat",
        ),
    ]


def _degree_options() -> list[Option]:
    return [
        Option(
            "lmax",
            int,
            "Highest degree of the state: 0 has scalars only, 1 adds vectors, and so on. Ignored where l_schedule is given.",
            3,
        ),
        Option(
            "l_schedule",
            [None, list[int]],
            "Highest degree in each block, as in [3, 3, 2]; it may fall from block to block but not rise. Replaces lmax and "
            "n_blocks.",
            None,
        ),
        Option(
            "mmax",
            [int, None],
            "Highest order |m| of the components that a message keeps in the frame of its edge; smaller is cheaper, null keeps "
            "all. Ignored where m_schedule is given.",
            1,
        ),
        Option(
            "m_schedule",
            [None, list[int]],
            "Highest order |m| in each block, at most the degree of that block. Replaces mmax.",
            None,
        ),
        Option(
            "n_blocks",
            int,
            "Number of blocks; 0 reads the descriptor from the first state. Ignored where l_schedule is given.",
            3,
        ),
    ]


def _message_options() -> list[Option]:
    return [
        Option(
            "so2_norm",
            bool,
            "Normalise a message before each of its so2_layers layers except the last.",
            False,
        ),
        Option(
            "so2_layers",
            int,
            "Number of layers that mix degrees and channels of a message in the frame of its edge.",
            4,
        ),
        Option(
            "so2_attn_res",
            str,
            "Feed each of these layers a weighted mean of what the layers before it gave." + RESIDUAL,
            "none",
        ),
        Option(
            "radial_so2_mode",
            str,
            "How distance acts on a message: `none` scales each degree, `degree` mixes degrees with one matrix for all "
            "channels, `degree_channel` mixes them differently in each channel.",
            "degree_channel",
        ),
        Option(
            "radial_so2_rank",
            int,
            "Number of matrices that the channels combine with weights of their own in radial_so2_mode degree_channel; 0 gives "
            "each channel its own matrix.",
            1,
        ),
        Option(
            "n_focus",
            int,
            "Number of parallel streams in a message. Where there are several, a trained softmax weighs them for every edge.",
            1,
        ),
        Option("focus_dim", int, "Number of channels of a stream; 0 stands for channels.", 0),
    ]


def _attention_options() -> list[Option]:
    only = " Only where n_atten_head is above 0."
    return [
        Option(
            "n_atten_head",
            int,
            "Number of attention heads that weigh the messages an atom receives; it must divide the number of channels of a "
            "stream, or of all streams with atten_f_mix. 0 weighs messages by distance alone.",
            1,
        ),
        Option("atten_f_mix", bool, "Join the streams into one before attention." + only, False),
        Option("atten_v_proj", bool, "Pass messages through a linear map before attention sums them." + only, False),
        Option("atten_o_proj", bool, "Pass the result of attention through a linear map." + only, False),
    ]


def _other_options() -> list[Option]:
    return [
        Option(
            "use_amp",
            bool,
            "Round factors of the matrix products of the blocks to bfloat16 in training on a GPU, where `precision` is float32; "
            "sums are float32. Evaluation keeps the precision.",
            True,
        ),
        options.add_chg_spin_ebd(""),
        options.default_chg_spin(""),
        options.exclude_types(),
        options.precision("float32"),
        Option(
            "eps",
            float,
            "Small number that keeps lengths (angstrom) and denominators away from zero. The norms of the state have "
            "constants of their own.",
            1e-7,
        ),
        options.trainable(),
        options.seed("the descriptor", default=None),
    ]
