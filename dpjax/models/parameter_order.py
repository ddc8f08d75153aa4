"""The order of a model's parameters in DeePMD-kit, which decides what some optimizers treat together.

DeePMD-kit's order is that in which its modules register their parts; a parameter tree of ours is sorted by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

DPA4 = (  # parts of dpa4 and dpa4_ener
    *(
        "charge_spin_embedding",
        "env_seed_embedding",
        "film_scale_norm",
        "film_shift_norm",
        "radial_basis",
        "radial_embedding",
    ),
    *("blocks", "final_full_attn_res", "final_block_attn_res", "output_ffn"),
    *("rbf_proj_layer1", "rbf_proj_layer2", "env_type_embed", "g_layer1", "g_layer2", "output_proj"),
    *("pre_so2_norm", "post_so2_norm", "so2_conv", "pre_ffn_norms", "post_ffn_norms", "ffns"),
    *("full_attn_res_so2", "full_attn_res_ffns", "block_attn_res_so2", "block_attn_res_ffns", "adam_ffn_layer_scales"),
    *(
        "adamw_attn_logit_w",
        "adamw_attn_z_bias_raw",
        "adamw_attn_gate_w",
        "adamw_focus_compete_w",
        "focus_compete_bias",
    ),
    *("so2_linears", "so2_inter_norms", "non_linearities", "adam_so2_layer_scales", "so2_layer_attn_res"),
    *(
        "attn_qk_norm",
        "attn_q_proj",
        "attn_k_proj",
        "attn_focus_mix",
        "attn_v_proj",
        "attn_o_proj",
        "attn_output_gate_norm",
    ),
    *("focus_compete_norm", "radial_hidden_proj", "radial_degree_mixer", "pre_focus_mix", "post_focus_mix"),
    *(
        "so3_linear_1",
        "gate_linear",
        "scalar_gate",
        "act",
        "scalar_mlp",
        "linear_1",
        "linear_2",
        "pointwise_grid_mlp",
        "so3_linear_2",
    ),
    *("adamw_pseudo_query", "key_norm", "query_proj"),
    *("hidden_layers", "linear", "adam_case_film_scale_strength_log", "adam_case_film_shift_strength_log"),
    *("case_layer1", "case_layer2", "projectors", "case_film", "output_layer"),
    *("energy_head", "force_embedding", "direct_force_head", "denoising_head", "proj"),
)
# Names that stand side by side in a tree, numbers aside, in DeePMD-kit's order.
SIBLINGS = (
    *("parts", "descriptor", "fitting_net", "dens_fitting_net"),  # a type embedding of the model comes behind them
    *("repinit", "repinit_three_body", "repformers", "g2_embd", "edge_embd", "angle_embd", "layers"),
    *("film_scale_strength_log", "film_shift_strength_log"),
    *("degree_gain", "attention", "embedding", "type_pair_embedding", "type_embedding", "charge_spin"),
    *("chg_embedding", "charge_embedding", "spin_embedding", "mix_cs_mlp", "mix_layer"),
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
    *("network", "type_network", "amplify", "type_layers"),
    *("in_proj", "out_proj", "norm", "direction_map"),
    *("adam_scale", "weight", "weight_m0", "A_m0", "B_m0", "A_by_l", "B_by_l"),
    *("matrix", "bias", "idt"),
    *("bias0", "weight_m", "A_m", "B_m", "channel_basis", "adam_type_embedding", "adam_freqs"),
    *("members", "layer", "net", "net_all"),
    *DPA4,
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
    if part.isdigit():  # an entry of a list
        return -1, [int(part)]
    word, numbers = NUMBERED.fullmatch(part).groups()
    if part in SIBLINGS:  # a word that ends in a number
        word, numbers = part, ""
    return SIBLINGS.index(word), [int(number) for number in reversed(numbers.split("_")[1:])]
