"""Adapters of ``dpa4``: corrections of low rank that are trained in place of weights (Hu et al., LoRA, arXiv:2106.09685).

A weight W (..., n_in, n_out) that mixes channels within a degree, or within an order in the frame of an edge, has two factors
beside it, A (..., R, n_in) and B (..., n_out, R), and acts as W + scaling (B A)^T.  W itself stays as it was.  B begins as zero, so
a model with new adapters gives the numbers of the one without.  All here are functions of trees of parameters, as
:mod:`dpjax.descriptors.dpa4.parameters` has them; names are those of DeePMD-kit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from dpjax.descriptors.dpa4.parameters import ZEROS, Parameter, Weights, drawn

# names that stand beside each other in a tree; in the last of them, those of each order
FACTORS = {"weight": ("A_by_l", "B_by_l"), "weight_m0": ("A_m0", "B_m0"), "weight_m": ("A_m", "B_m")}
ADAPTERS = frozenset(name for pair in FACTORS.values() for name in pair)
WHOLE = {  # parts whose parameters are all trained
    "radial_embedding", "env_seed_embedding", "film_scale_norm", "film_shift_norm", "final_full_attn_res", "final_block_attn_res",
    "full_attn_res_so2", "full_attn_res_ffns", "block_attn_res_so2", "block_attn_res_ffns", "attn_q_proj", "attn_k_proj",
    "attn_qk_norm", "attn_output_gate_norm", "focus_compete_norm", "radial_hidden_proj", "so2_layer_attn_res",
}  # fmt: skip
SMALL = {  # trained wherever they are, as are biases
    "adam_scale", "adam_so2_layer_scales", "adam_ffn_layer_scales", "film_scale_strength_log", "film_shift_strength_log",
    "adamw_attn_logit_w", "adamw_attn_z_bias_raw", "adamw_attn_gate_w", "adamw_focus_compete_w", "adamw_pseudo_query",
}  # fmt: skip
FIXED = {"adam_type_embedding", "adam_freqs", "gate_linear"}  # left as they are wherever they are


def adapters(found: Mapping[str, Parameter], rank: int) -> dict[str, Parameter]:
    """The factors that belong to a list of parameters, by name.

    Args:
        found: of a descriptor, by name.
        rank: R.
    """
    added: dict[str, Parameter] = {}
    for name, weight in found.items():
        places = _places(name, weight)
        if places:
            *lead, n_in, n_out = weight.shape
            added[places[0]] = weight._replace(shape=(*lead, rank, n_in), draw=_small)
            added[places[1]] = weight._replace(shape=(*lead, n_out, rank), draw=ZEROS)
    return added


def _places(name: str, weight: Parameter) -> tuple[str, str] | None:
    """Names of the factors of a weight; None if it has none: among ``weight`` those that have a matrix for each degree do."""
    parts = name.split(".")
    for i, part in enumerate(parts):
        if part in FACTORS and (part != "weight" or len(weight.shape) == 3):
            first, second = (".".join([*parts[:i], factor, *parts[i + 1 :]]) for factor in FACTORS[part])
            return first, second
    return None


def _small(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.random.normal(key, shape) / math.sqrt(shape[-2])


def drawn_with(key: jax.Array, found: Any, added: Any, dtypes: tuple) -> Weights:
    """First values of trees of parameters and of factors; the former are those of a model without adapters."""
    return with_adapters(drawn(key, found, dtypes), drawn(jax.random.fold_in(key, 1), added, dtypes))


def with_adapters(weights: Weights, fresh: Weights) -> Weights:
    """Parameters, or one of them, with the factors of another tree, which has the same parts; what else that has is left out."""
    if not isinstance(weights, dict) or not isinstance(fresh, dict):
        return weights
    own = {name: part for name, part in fresh.items() if name in ADAPTERS}
    return own | {name: with_adapters(part, fresh.get(name)) for name, part in weights.items()}


def merged(weights: Weights, scaling: float) -> Weights:
    """The parameters of the model without adapters that gives the same numbers.

    Args:
        weights: arrays of JAX, also while they are traced, or of numpy; all may have further axes in front, as ensembles have.
        scaling: of the corrections.
    """
    plain = {
        name: merged(part, scaling) if isinstance(part, dict) else part
        for name, part in weights.items()
        if name not in ADAPTERS
    }
    for name, (first, second) in FACTORS.items():
        if first in weights:
            correct = partial(corrected, scaling=scaling)
            plain[name] = jax.tree.map(correct, weights[name], weights[first], weights[second])
    return plain


def corrected(weight: Any, a: Any, b: Any, scaling: float) -> Any:
    """W + scaling (B A)^T (..., n_in, n_out) in the precision of W, computed in at least float32.

    Args:
        weight: W (..., n_in, n_out).
        a: (..., R, n_in).
        b: (..., n_out, R).
        scaling: a number.
    """
    dtype = jax.numpy.promote_types(weight.dtype, np.float32)
    correction = scaling * (b.astype(dtype) @ a.astype(dtype))
    return (weight.astype(dtype) + correction.swapaxes(-1, -2)).astype(weight.dtype)


def is_adapter(path: Iterable[str]) -> bool:
    """Whether a parameter, given by the parts of its name, is a factor of a correction."""
    return not ADAPTERS.isdisjoint(path)


def is_trained(path: Sequence[str]) -> bool:
    """Whether a parameter of a descriptor, given by the parts of its name, is trained where there are adapters.

    The factors are, and what has few numbers or makes the input of blocks; weights are not, whether they have factors or none.
    """
    parts = [part for part in path if not part.isdigit()]
    if not FIXED.isdisjoint(parts):
        return False
    return is_adapter(parts) or not WHOLE.isdisjoint(parts) or parts[-1] in SMALL or "bias" in parts[-1]
