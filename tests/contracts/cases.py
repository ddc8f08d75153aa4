"""The models that every contract test runs on.  A new descriptor or fitting joins the list and gets the whole suite."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

import dpjax
from dpjax.config import parse_model
from dpjax.config.fittings import AtomicOutput
from dpjax.config.nvnmd import in_form
from dpjax.descriptors import members
from dpjax.descriptors.hybrid import Grids
from dpjax.models import build_model, init_variables
from dpjax.nn.chebyshev import Grid
from tests.shared import golden


@dataclass(frozen=True)
class Case:
    """A tiny model.

    ``grid``: evaluate with series for the embedding networks.

    ``touching`` are two types whose pair no option excludes: an excluded pair keeps a place in ``sel`` while it is near, so with
    non-zero ``davg`` the energy may jump where such a pair parts, in the reference as here.

    ``form``: section ``nvnmd``, of models for that hardware.

    ``slow``: its parts are in other cases, too, which `make test` runs.

    ``in_pytorch``: DeePMD-kit's PyTorch backend has such a model, and reads it from our files.  ``storable``: files may hold it.

    ``smooth``: nothing jumps where a neighbour leaves the cut-off.  ``chiral``: mirror images have other energies.  ``whole``:
    every atom sees all of its frame, which has no cell; the atomic parameter says which atoms are real.  ``in_fragments``: the
    atomic parameter numbers fragments; atoms of type O are the QM region.  ``step``, angstrom, of
    numerical derivatives: a smaller one where slopes jump when neighbours become equally far.
    """

    name: str
    section: dict[str, Any]
    touching: tuple[int, int] = (0, 1)
    grid: Grid | Grids | None = None
    form: dict[str, Any] | None = None
    in_pytorch: bool = True
    storable: bool = True
    slow: bool = False
    smooth: bool = True
    chiral: bool = False
    whole: bool = False
    in_fragments: bool = False
    step: float = 1e-3

    @property
    def output(self) -> AtomicOutput:
        """What the model predicts."""
        return parse_model(self.section).fitting_net.output


def se_e2_a(**options) -> dict[str, Any]:
    base = {"type": "se_e2_a", "rcut": 3.0, "rcut_smth": 0.6, "sel": [20, 28], "neuron": [4, 8], "axis_neuron": 2}
    return base | {"type_one_side": True, "seed": 1} | options


def se_e2_r(**options) -> dict[str, Any]:
    base = {"type": "se_e2_r", "rcut": 3.0, "rcut_smth": 0.6, "sel": [20, 28], "neuron": [4, 8]}
    return base | {"type_one_side": True, "seed": 1} | options


def se_e3(**options) -> dict[str, Any]:
    return {"type": "se_e3", "rcut": 3.0, "rcut_smth": 0.6, "sel": [20, 28], "neuron": [2, 4], "seed": 1} | options


def se_e3_tebd(**options) -> dict[str, Any]:
    base = {"type": "se_e3_tebd", "rcut": 3.0, "rcut_smth": 2.0, "sel": 48, "neuron": [3, 6], "tebd_dim": 2}
    return base | {"set_davg_zero": False, "seed": 3} | options


def se_atten(**options) -> dict[str, Any]:
    base = {"type": "se_atten", "rcut": 3.0, "rcut_smth": 2.0, "sel": 48, "neuron": [3, 6], "axis_neuron": 2}
    base |= {"tebd_dim": 2, "attn": 4, "attn_layer": 1, "ln_eps": 1e-4, "seed": 4}
    if options.get("type") != "se_atten_v2":
        base["smooth_type_embedding"] = True
    return base | options


def dpa3(flow: dict | None = None, **options) -> dict[str, Any]:
    base = {"n_dim": 6, "e_dim": 5, "a_dim": 4, "nlayers": 2, "axis_neuron": 2, "update_residual_init": "norm"}
    base |= {"e_rcut": 3.0, "e_rcut_smth": 2.0, "e_sel": 48, "a_rcut": 2.4, "a_rcut_smth": 1.6, "a_sel": 40}
    return {"type": "dpa3", "repflow": base | {"smooth_edge_update": True} | (flow or {}), "seed": 1} | options


def dpa2(inner: dict | None = None, outer: dict | None = None, **options) -> dict[str, Any]:
    repinit = {"rcut": 3.0, "rcut_smth": 0.6, "nsel": 48, "neuron": [3, 6], "axis_neuron": 2, "tebd_dim": 3}
    repformer = {"rcut": 2.8, "rcut_smth": 0.6, "nsel": 40, "nlayers": 2, "g1_dim": 6, "g2_dim": 4, "axis_neuron": 2}
    repformer |= {"attn1_hidden": 4, "attn1_nhead": 2, "attn2_hidden": 4, "attn2_nhead": 2, "ln_eps": 1e-5}
    repformer |= {"update_style": "res_residual", "update_residual": 0.3, "update_residual_init": "norm"}
    return {
        "type": "dpa2",
        "repinit": repinit | (outer or {}),
        "repformer": repformer | (inner or {}),
        "seed": 1,
    } | options


def dpa4(**options) -> dict[str, Any]:
    base = {
        "type": "dpa4",
        "rcut": 3.0,
        "sel": 48,
        "channels": 4,
        "n_radial": 4,
        "lmax": 2,
        "n_blocks": 2,
        "so2_layers": 2,
    }
    return base | {"ffn_neurons": 6, "precision": "float64", "seed": 1} | options


def loc_frame(**options) -> dict[str, Any]:
    base = {"type": "loc_frame", "rcut": 2.6, "sel_a": [4, 6], "sel_r": [16, 22]}
    return base | {"axis_rule": [0, 1, 0, 0, 1, 1, 0, -3, 0, 1, -2, 0]} | options


def se_a_mask(**options) -> dict[str, Any]:
    base = {"type": "se_a_mask", "sel": [7, 10], "neuron": [4, 8], "axis_neuron": 2, "seed": 1}
    return base | options


def hybrid(*parts) -> dict[str, Any]:
    return {"type": "hybrid", "list": list(parts)}


def nvnmd(version: int = 0, quantized: bool = False) -> dict[str, Any]:
    """A section ``nvnmd`` without files."""
    names = ("restore_descriptor", "restore_fitting_net", "quantize_descriptor", "quantize_fitting_net")
    flags = dict(zip(names, (False, False, quantized, quantized), strict=True))
    files = dict.fromkeys(("map_file", "config_file", "weight_file"), "none")
    return {"version": version, "max_nnei": 128, "net_size": 128, **files, "enable": True, **flags}


def model(descriptor: dict, *, fitting: dict | None = None, **options) -> dict[str, Any]:
    net = {"neuron": [6, 6], "seed": 2, "precision": "float64"} | (fitting or {})
    return {"type_map": ["O", "H"], "descriptor": descriptor, "fitting_net": net} | options


def linear(*parts, weights="mean", **options) -> dict[str, Any]:
    return {"type": "linear_ener", "type_map": ["O", "H"], "models": list(parts), "weights": weights} | options


# what makes the terms of fragments vanish that are far from the QM region: no pairs within either, and no mean to be taken off
BETWEEN = {"exclude_types": [[0, 0], [1, 1]], "set_davg_zero": True, "attn_layer": 0}


def dprc(qm: dict, qmmm: dict, **options) -> dict[str, Any]:
    parts = {"qm_model": model(qm), "qmmm_model": model(qmmm, fitting={"atom_ener": [0.0, 0.0]})}
    for part in parts.values():
        del part["type_map"]
    vectors = {"neuron": [2, 3], "seed": 5}
    return {"type": "pairwise_dprc", "type_map": ["O", "H"], "type_embedding": vectors, **parts} | options


def pairtab(**options) -> dict[str, Any]:
    return {"type": "pairtab", "tab_file": TABLE, "rcut": 3.0, "sel": 48} | options


TABLE = str(golden("pair_tables", "smooth.tab"))
# DeePMD-kit's soft minimum of distances beyond 46 smin_alpha is zero, so let that be more than the cut-off
SHORT_RANGE = {"use_srtab": TABLE, "smin_alpha": 0.068, "sw_rmin": 0.9, "sw_rmax": 2.4}

CASES = [
    Case("se_e2_a", model(se_e2_a())),
    Case(
        "se_e2_a-two-side-exclusions",
        model(
            se_e2_a(type_one_side=False, resnet_dt=True, exclude_types=[[0, 0]], activation_function="silu"),
            pair_exclude_types=[[1, 1]],
        ),
    ),
    Case(
        "se_e2_a-parameters",
        model(
            se_e2_a(env_protection=0.1, activation_function="gelu"),
            fitting={"numb_fparam": 2, "numb_aparam": 1, "dim_case_embd": 2, "atom_ener": [-3.0, None]},
        ),
    ),
    Case("se_e2_a-series", model(se_e2_a()), grid=Grid(6, 4, 8)),
    Case(
        "se_e2_a-spin",
        model(
            se_e2_a(exclude_types=[[1, 1]]),
            fitting={"numb_aparam": 1, "atom_ener": [-3.0, None]},
            spin={"use_spin": [True, False], "virtual_scale": [0.3]},
        ),
        slow=True,
    ),
    Case(
        "dpa3-spin",
        model(dpa3({"nlayers": 1}), spin={"use_spin": ["O"], "virtual_len": [0.4], "spin_norm": [1.3]}),
        slow=True,
        step=5e-4,
    ),
    Case("nvnmd-v0", model(se_e2_a()), form=nvnmd(), in_pytorch=False, storable=False),
    Case(
        "nvnmd-v1",
        model(se_atten(attn_layer=0, tebd_input_mode="strip", smooth_type_embedding=False)),
        form=nvnmd(1),
        in_pytorch=False,
        storable=False,
        slow=True,
    ),
    Case("se_e2_r", model(se_e2_r(resnet_dt=True, exclude_types=[[0, 0]]))),
    Case(
        "se_e2_r-two-side-series",
        model(se_e2_r(type_one_side=False, env_protection=0.1), pair_exclude_types=[[1, 1]]),
        grid=Grid(6, 4, 8),
        in_pytorch=False,
        slow=True,
    ),
    Case(
        "hybrid",
        model(
            hybrid(se_e2_a(rcut=2.4, exclude_types=[[0, 0]]), se_e2_r(type_one_side=True, neuron=[3])),
            pair_exclude_types=[[1, 1]],
        ),
    ),
    Case(
        "loc_frame",
        model(loc_frame(), fitting={"numb_fparam": 1}),
        in_pytorch=False,
        storable=False,
        smooth=False,
        chiral=True,
        step=1e-4,
    ),
    Case(
        "hybrid-loc_frame",
        model(
            hybrid(loc_frame(axis_rule=[], rcut=2.3), se_e2_a(rcut=2.8, type_one_side=False)),
            pair_exclude_types=[[1, 1]],
        ),
        in_pytorch=False,
        storable=False,
        smooth=False,
        chiral=True,
        step=1e-4,
        slow=True,
    ),
    Case(
        "se_a_mask",
        model(
            se_a_mask(resnet_dt=True, exclude_types=[[0, 0]]), fitting={"numb_aparam": 1, "use_aparam_as_mask": True}
        ),
        in_pytorch=False,
        storable=False,
        whole=True,
    ),
    Case(
        "hybrid-mixed",
        model(
            hybrid(
                se_atten(rcut=2.6, rcut_smth=1.0, exclude_types=[[1, 1]]), se_e2_a(type_one_side=False, neuron=[3, 6])
            )
        ),
        slow=True,
    ),
    Case("se_e3", model(se_e3(resnet_dt=True, activation_function="silu"), pair_exclude_types=[[1, 1]])),
    Case(
        "se_e3_tebd",
        model(se_e3_tebd(resnet_dt=True, activation_function="silu"), pair_exclude_types=[[1, 1]]),
    ),
    Case(
        "se_e3_tebd-strip",
        model(se_e3_tebd(tebd_input_mode="strip", exclude_types=[[0, 0]], use_econf_tebd=True, sel=[20, 28])),
        slow=True,
    ),
    Case("se_atten-lmax", model(se_atten(lmax=3, attn_layer=0)), slow=True),
    Case("se_atten", model(se_atten(attn_layer=2, resnet_dt=True, activation_function="silu"))),
    Case(
        "se_atten_v2",
        model(
            se_atten(type="se_atten_v2", attn_dotr=False, exclude_types=[[0, 0]], sel=[20, 28]),
            pair_exclude_types=[[1, 1]],
            fitting={"atom_ener": [-3.0, None]},
        ),
    ),
    Case(
        "se_e2_a-model-vectors",
        model(
            se_e2_a(type_one_side=False, resnet_dt=True, exclude_types=[[0, 0]]),
            type_embedding={"neuron": [2, 4], "resnet_dt": True, "use_tebd_bias": True, "seed": 5},
            fitting={"numb_fparam": 1, "atom_ener": [-3.0, None], "layer_name": ["a", "b", "c"]},
        ),
        in_pytorch=False,
        storable=False,
        slow=True,
    ),
    Case(
        "se_a_ebd_v2-series",
        model(
            se_e2_a(type="se_a_ebd_v2", type_one_side=False),
            type_embedding={"neuron": [3], "use_econf_tebd": True, "seed": 5},
            pair_exclude_types=[[1, 1]],
        ),
        grid=Grid(6, 4, 8),
        in_pytorch=False,
        storable=False,
        slow=True,
    ),
    Case(
        "se_a_tpe-parameters",
        model(se_e2_a(type="se_a_tpe", numb_aparam=2, type_nchanl=2, type_nlayer=1), fitting={"numb_aparam": 2}),
        in_pytorch=False,
        storable=False,
        slow=True,
        smooth=False,
    ),
    Case(
        "se_a_tpe-two-side-series",
        model(se_e2_a(type="se_a_tpe", type_one_side=False, type_nchanl=2, type_nlayer=1), fitting={"type": "dipole"}),
        grid=Grid(6, 4, 8),
        in_pytorch=False,
        storable=False,
        slow=True,
    ),
    Case(
        "hybrid-model-vectors",
        model(
            hybrid(se_e2_a(rcut=2.4), se_atten(rcut=2.6, rcut_smth=1.0, tebd_input_mode="strip")),
            type_embedding={"neuron": [3, 6], "seed": 5},
        ),
        in_pytorch=False,
        storable=False,
        slow=True,
    ),
    Case("dpa2", model(dpa2(exclude_types=[[0, 0]]), pair_exclude_types=[[1, 1]]), slow=True),
    Case(
        "dpa2-three-body",
        model(
            dpa2(
                {"update_h2": True, "attn2_has_gate": True, "update_style": "res_incr"},
                {"use_three_body": True, "three_body_rcut": 2.4, "three_body_rcut_smth": 1.6, "three_body_sel": 40},
            ),
            fitting={"type": "polar"},
        ),
        slow=True,
    ),
    Case("dpa3", model(dpa3(exclude_types=[[0, 0]]), pair_exclude_types=[[1, 1]])),
    Case(
        "dpa3-charge-spin",
        model(
            dpa3({"update_residual": 0.5}, add_chg_spin_ebd=True, concat_output_tebd=True), fitting={"numb_fparam": 1}
        ),
        slow=True,
    ),
    Case(
        "dpa3-sequential",
        model(
            dpa3({"sequential_update": True, "a_compress_rate": 1, "n_multi_edge_message": 2, "use_dynamic_sel": True}),
            fitting={"type": "dipole"},
        ),
        slow=True,
    ),
    Case(
        "dpa4",
        model(
            dpa4(exclude_types=[[0, 0]], n_focus=2, focus_dim=3, mlp_bias=True, n_blocks=1),
            type="dpa4",
            fitting={"type": "dpa4_ener", "dim_case_embd": 2, "case_film_embd": True},
        ),
        in_pytorch=False,
    ),
    Case(
        "dpa4-bridged",
        model(
            dpa4(
                l_schedule=[2, 1], full_attn_res="dependent", n_atten_head=2, atten_v_proj=True, add_chg_spin_ebd=True
            ),
            type="dpa4",
            fitting={"type": "dpa4_ener", "numb_fparam": 1, "neuron": [0]},
            bridging_method="ZBL",
            bridging_r_inner=0.9,
            bridging_r_outer=1.6,
        ),
        in_pytorch=False,
        storable=False,
        slow=True,
    ),
    Case(
        "dpa4-property",
        model(
            dpa4(n_atten_head=0, s2_activation=[True, False], so2_norm=True, block_attn_res="independent", n_blocks=1),
            type="dpa4",
            fitting={"type": "property", "property_name": "gap", "task_dim": 3},
        ),
        in_pytorch=False,
        slow=True,
    ),
    Case(
        "se_e2_a-dipole-series",
        model(
            se_e2_a(exclude_types=[[0, 0]]),
            fitting={"type": "dipole", "sel_type": [1], "numb_fparam": 2, "numb_aparam": 1},
        ),
        grid=Grid(6, 4, 8),
    ),
    Case(
        "hybrid-dipole",
        model(hybrid(se_e2_a(rcut=2.6, neuron=[6]), se_e3(neuron=[3])), fitting={"type": "dipole"}),
        in_pytorch=False,
        storable=False,
        slow=True,
    ),
    Case(
        "se_e2_a-polar",
        model(se_e2_a(type_one_side=False), fitting={"type": "polar", "sel_type": 0, "scale": [1.5, 0.5]}),
        slow=True,
    ),
    Case("se_atten-polar", model(se_atten(), fitting={"type": "polar", "fit_diag": False, "scale": [2.0, -0.5]})),
    Case(
        "se_atten-dos",
        model(se_atten(attn_layer=0), fitting={"type": "dos", "numb_dos": 4, "numb_fparam": 1}),
        slow=True,
    ),
    Case("se_e2_r-property", model(se_e2_r(), fitting={"type": "property", "property_name": "gap", "task_dim": 3})),
    Case(
        "se_e3_tebd-property",
        model(
            se_e3_tebd(),
            fitting={"type": "property", "property_name": "gap", "intensive": True, "distinguish_types": False},
            atom_exclude_types=[0],
        ),
        slow=True,
    ),
    Case(
        "se_e2_a-short-range",
        model(se_e2_a(), **SHORT_RANGE, srtab_add_bias=False),
        in_pytorch=False,
        storable=False,
        slow=True,
    ),
    Case("se_atten-short-range", model(se_atten(attn_layer=0), pair_exclude_types=[[1, 1]], **SHORT_RANGE), slow=True),
    Case(
        "pairwise_dprc",
        dprc(se_atten(type="se_atten_v2", attn_layer=0), se_atten(type="se_atten_v2", **BETWEEN, rcut=2.8)),
        in_pytorch=False,
        storable=False,
        in_fragments=True,
        slow=True,
    ),
    Case(
        "pairwise_dprc-series",
        dprc(
            se_e2_a(rcut=2.6), se_e2_a(type_one_side=False, set_davg_zero=True, exclude_types=BETWEEN["exclude_types"])
        ),
        grid=Grids((Grid(6, 4, 8), Grid(6, 4, 8))),
        in_pytorch=False,
        storable=False,
        in_fragments=True,
        slow=True,
    ),
    Case(
        "linear",
        linear(
            model(se_atten(attn_layer=0, rcut=2.6, sel=40), pair_exclude_types=[[1, 1]]),
            pairtab(),
            weights=[0.7, 1.6],
            pair_exclude_types=[[0, 0]],
        ),
        in_pytorch=False,  # whose numbers test_parts.py compares
        slow=True,
    ),
    Case(
        "linear-networks-per-type",
        linear(
            model(se_e2_a(rcut=2.6, sel=[28, 20]), type_map=["H", "O"], fitting={"numb_fparam": 1}),
            pairtab(),
            model(se_e2_r()),
        ),
        grid=Grids((Grid(6, 4, 8), Grid(6, 4, 8))),
        in_pytorch=False,
        storable=False,
    ),
    Case(
        "linear-shared-layers",
        linear(
            model(se_e2_a(rcut=2.6), fitting={"layer_name": ["first", "second", "last"]}),
            model(se_e2_a(seed=7), fitting={"layer_name": ["first", None, "last"], "seed": 8}),
            model(se_e2_r(neuron=[6]), fitting={"layer_name": [None, "second", "last"], "seed": 9}),
        ),
        in_pytorch=False,
        storable=False,
        slow=True,
    ),
    Case(
        "linear-messages",
        linear(model(dpa3({"nlayers": 1}), type_map=["H", "O"]), model(se_atten(attn_layer=0)), weights="sum"),
        in_pytorch=False,
        slow=True,
    ),
]


def potential(section: dict[str, Any], seed: int = 0, form: dict[str, Any] | None = None) -> dpjax.Potential:
    """A potential with random parameters and random statistics: nothing is zero, one or equal that need not be.

    ``davg`` is zero where the descriptor has ``set_davg_zero``: with type vectors energies may jump at the cut-off otherwise.
    """
    pot = dpjax.build(copy.deepcopy(section), seed=seed)
    if form is not None:
        config = in_form(pot.config, form)
        pot = dpjax.Potential(config, jax.tree.map(np.asarray, init_variables(build_model(config), seed)))
    rng = np.random.default_rng(seed)
    stats = _statistics(pot.config, pot.variables["stats"], rng)
    params = pot.variables["params"]
    if pot.config.type == "dpa4":  # whose messages begin as zero
        params = jax.tree.map(lambda x: x if np.any(x) else rng.normal(0.0, 0.2, x.shape), params)
    if pot.config.takes_fragments:  # an energy of single atoms would count once for each fragment, however far
        alone = stats["parts_1"]
        alone["out_bias"], alone["fitting_net"]["bias_atom_e"] = np.zeros((2, 2, 1))
    pot.variables = {"params": params, "stats": stats}
    return pot


def _statistics(config: Any, stats: dict, rng: np.random.Generator) -> dict:
    """Random statistics of a model, or of the parts of a sum and of the whole; tables are what they are."""
    parts = {f"parts_{i}": part for i, part in enumerate(getattr(config, "parts", ()))}
    own = members(config.descriptor)
    names = ["descriptor"] if own[0] is config.descriptor else [f"members_{i}" for i in range(len(own))]
    kept = {name for name, part in zip(names, own, strict=True) if getattr(part, "set_davg_zero", False)}

    def filled(path: tuple, value: np.ndarray) -> np.ndarray:
        keys = tuple(key.key for key in path)
        fixed = "pair_table" in keys or (keys[-1] == "davg" and kept.intersection(keys))
        return value if fixed else _random(keys[-1], value, rng)

    return {
        name: _statistics(parts[name], value, rng)
        if name in parts
        else jax.tree_util.tree_map_with_path(filled, {name: value})[name]
        for name, value in stats.items()
    }


def _random(name: str, value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if name == "davg":  # only the radial mean is not zero
        return np.concatenate([rng.uniform(0.05, 0.2, (*value.shape[:-1], 1)), np.zeros_like(value[..., 1:])], axis=-1)
    if name == "dstd":
        if value.shape[-1] > 4:  # every number has its own
            return rng.uniform(0.2, 0.5, value.shape)
        radial, angular = rng.uniform(0.2, 0.5, (2, *value.shape[:-1], 1))
        return np.concatenate([radial, angular, angular, angular], axis=-1)[..., : value.shape[-1]]
    if name.endswith(("std", "inv_std")):
        return rng.uniform(0.5, 2.0, value.shape)
    return rng.normal(size=value.shape)
