"""The order of a model's parameters in DeePMD-kit, which decides what some optimizers treat together.

DeePMD-kit's order is that in which its modules register their parts; a parameter tree of ours is sorted by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# Names that stand side by side in a tree, numbers aside, in DeePMD-kit's order.
SIBLINGS = (
    *("descriptor", "fitting_net"),
    *("repinit", "repinit_three_body", "repformers", "g2_embd", "edge_embd", "angle_embd", "layers"),
    *("degree_gain", "attention", "embedding", "type_pair_embedding", "type_embedding", "charge_spin"),
    *("chg_embedding", "spin_embedding", "mix_cs_mlp"),
    *("g1_shape_tranform", "tebd_transform"),
    *("linear1", "linear2", "g1_self_mlp", "proj_g1g2", "proj_g1g1g2", "attn2", "loc_attn"),
    *(
        "node_self_mlp",
        "node_sym_linear",
        "node_edge_linear",
        "edge_self_linear",
        "a_compress_n_linear",
        "a_compress_e_linear",
    ),
    *("edge_angle_linear1", "edge_angle_linear2", "angle_self_linear"),
    *("n_residual", "e_residual", "a_residual", "g1_residual", "g2_residual", "h2_residual"),
    *("mapqk", "mapv", "mapq", "mapkv", "head_map"),
    *("network", "type_network"),
    *("in_proj", "out_proj", "norm", "direction_map"),
    *("matrix", "bias", "idt"),
    *("members", "layer", "net", "net_all"),
)
NUMBERED = re.compile(r"(.+?)((?:_\d+)*)")


def reference_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of parameters (paths joined by ".") in DeePMD-kit's order.

    Raises:
        ValueError: a name has a part that ``SIBLINGS`` lacks.
    """
    return tuple(sorted(names, key=lambda name: [_rank(part) for part in name.split(".")]))


def _rank(part: str) -> tuple[int, list[int]]:
    """Where a part of a name stands among its siblings; of networks for pairs of types the first type runs fastest."""
    word, numbers = NUMBERED.fullmatch(part).groups()
    return SIBLINGS.index(word), [int(number) for number in reversed(numbers.split("_")[1:])]
