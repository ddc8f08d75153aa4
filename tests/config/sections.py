"""A small valid section for every component of the input language, and inputs made of them."""

from __future__ import annotations

import copy
from typing import Any

from tests.config.inputs import WATER
from tests.config.test_multi_task import TASKS

CUT = {"rcut": 6.0, "rcut_smth": 0.5}
_REPINIT = {**CUT, "nsel": 100}
_REPFORMER = {"rcut": 4.0, "rcut_smth": 0.5, "nsel": 40}
_REPFLOW = {"e_rcut": 6.0, "e_rcut_smth": 5.3, "e_sel": 100, "a_rcut": 4.0, "a_rcut_smth": 3.5, "a_sel": 20}

DESCRIPTORS: dict[str, dict[str, Any]] = {
    "loc_frame": {"sel_a": [16, 32], "sel_r": [30, 60], "axis_rule": [0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0]},
    "se_e2_a": {"sel": [46, 92]},
    "se_e2_r": {"sel": [46, 92]},
    "se_e3": {"sel": [4, 8]},
    "se_e3_tebd": {"sel": 40},
    "se_a_tpe": {"sel": [46, 92]},
    "se_a_ebd_v2": {"sel": [46, 92]},
    "se_a_mask": {"sel": [4, 8]},
    "se_atten": {"sel": 120},
    "se_atten_v2": {"sel": "auto"},
    "dpa2": {"repinit": _REPINIT, "repformer": _REPFORMER},
    "dpa3": {"repflow": _REPFLOW},
    "dpa4": {"sel": 40},
    "dpa4c": {},
    "hybrid": {"list": [{"type": "se_e2_a", "sel": [4, 8]}, {"type": "se_r", "sel": [4, 8]}]},
}
FITTINGS: dict[str, dict[str, Any]] = {
    "ener": {"neuron": [24, 24]},
    "dpa4_ener": {},
    "dos": {"numb_dos": 20},
    "property": {"property_name": "band_gap"},
    "polar": {"neuron": [24]},
    "dipole": {"sel_type": [0]},
    "population": {},
}
LOSSES: dict[str, dict[str, Any]] = {
    "ener": {"start_pref_e": 1},
    "dens": {},
    "ener_spin": {},
    "dos": {"start_pref_dos": 1.0, "limit_pref_dos": 1.0},
    "property": {},
    "tensor": {"pref": 1.0, "pref_atomic": 0.0},
    "population": {"start_pref_pop": 1, "limit_pref_pop": 1},
}
OPTIMIZERS: dict[str, dict[str, Any]] = {name: {} for name in ("Adam", "AdamW", "LKF", "AdaMuon", "HybridMuon")}
LEARNING_RATES: dict[str, dict[str, Any]] = {
    "exp": {"start_lr": 1e-3, "stop_lr": 1e-8},
    "cosine": {"start_lr": 1e-3, "stop_lr_ratio": 1e-3, "warmup_steps": 10},
    "wsd": {"start_lr": 1e-3, "stop_lr": 1e-6, "decay_phase_ratio": 0.3},
}
_NETS = {"descriptor": {"type": "se_e2_a", **DESCRIPTORS["se_e2_a"]}, "fitting_net": {"neuron": [24]}}
_TYPES = {"type_map": ["O", "H"]}
MODELS: dict[str, dict[str, Any]] = {
    "standard": _NETS,
    "dpa4": {"descriptor": {"type": "dpa4"}, "fitting_net": {"type": "dpa4_ener"}},
    "frozen": {"model_file": "model.dp"},
    "pairtab": {"tab_file": "h2o.txt", "rcut": 6.0, "sel": 100},
    "pairwise_dprc": {"qm_model": _NETS | _TYPES, "qmmm_model": _NETS | _TYPES},
    "linear_ener": {"models": [_NETS | _TYPES, {"type": "frozen", "model_file": "a.dp"}], "weights": "mean"},
}
PARTS: dict[str, dict[str, Any]] = {
    "spin": {"use_spin": [True, False], "virtual_scale": 0.4},
    "modifier": {
        "type": "dipole_charge", "model_name": "dw.dp", "model_charge_map": [-8.0], "sys_charge_map": [6.0, 1.0],
    },
    "type_embedding": {"neuron": [2, 4, 8]},
    "preset_out_bias": {"energy": [None, -3.0]},
}  # fmt: skip
NVNMD = {
    "version": 0, "max_nnei": 128, "net_size": 128, "map_file": "none", "config_file": "none", "weight_file": "none",
    "enable": True, "restore_descriptor": False, "restore_fitting_net": False, "quantize_descriptor": False,
    "quantize_fitting_net": False,
}  # fmt: skip


def inputs() -> dict[str, dict[str, Any]]:
    """A valid input for every component, by a name that says which."""
    made = {"tasks": copy.deepcopy(TASKS), "nvnmd": {**copy.deepcopy(WATER), "nvnmd": NVNMD}}

    def add(name: str, path: str, section: dict[str, Any]) -> None:
        data = copy.deepcopy(WATER)
        *parents, key = path.split("/")
        place = data
        for parent in parents:
            place = place[parent]
        place[key] = copy.deepcopy(section)
        if section.get("type") == "se_a_mask":  # which needs to be told which atoms are real
            data["model"]["fitting_net"] |= {"numb_aparam": 1, "use_aparam_as_mask": True}
        made[name] = data

    tables = {"descriptor": DESCRIPTORS, "fitting_net": FITTINGS}
    for path, table in [*((f"model/{k}", t) for k, t in tables.items()), ("loss", LOSSES), ("optimizer", OPTIMIZERS)]:
        for name, section in table.items():
            add(f"{path}[{name}]", path, {"type": name, **section})
    for name, section in LEARNING_RATES.items():
        add(f"learning_rate[{name}]", "learning_rate", {"type": name, **section})
    for name, section in MODELS.items():
        add(f"model[{name}]", "model", {"type": name, **_TYPES, **section})
    for name, section in PARTS.items():
        add(f"model/{name}", f"model/{name}", section)
    return made
