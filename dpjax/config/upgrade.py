"""Inputs of earlier DeePMD-kit versions in the current form.

Version 0 is one flat section; version 1 has sections, with the data keys directly in ``training``; version 2 and
early version 3 have a few keys in other places.  Every change is logged, so that the user can bring the file up to date;
a key that no longer means anything is dropped with a note, and one that asked for something that is gone is reported.
"""

from __future__ import annotations

import copy
import logging
import math
from typing import Any

from dpjax.config.problems import Report
from dpjax.config.suggestions import did_you_mean, show

log = logging.getLogger(__name__)

_LOSS_KEYS = tuple(f"{end}_pref_{term}" for term in ("e", "f", "v", "ae", "pf") for end in ("start", "limit"))
_RATE_KEYS = ("start_lr", "stop_lr", "decay_steps", "decay_rate")
_V1_DATA_KEYS = (
    "systems", "set_prefix", "batch_size", "sys_probs", "sys_weights", "auto_prob", "auto_prob_style",
)  # fmt: skip
_V0_TRAINING_KEYS = (
    "systems", "set_prefix", "stop_batch", "batch_size", "sys_weights", "auto_prob_style", "seed", "disp_file",
    "disp_freq", "numb_test", "save_freq", "save_ckpt", "load_ckpt", "disp_training", "time_training", "profiling",
    "profiling_file",
)  # fmt: skip
_V0_DESCRIPTOR_KEYS = (
    "sel_a", "rcut", "rcut_smth", "filter_neuron", "axis_neuron", "n_axis_neuron", "filter_resnet_dt", "seed",
)  # fmt: skip
_V0_FITTING_KEYS = (
    "n_neuron", "fitting_neuron", "resnet_dt", "fitting_resnet_dt", "numb_fparam", "numb_aparam", "seed",
)  # fmt: skip
_V0_OTHER_KEYS = ("use_smooth", "type_map", "coord_norm", "type_fitting_net", "sel_r", "axis_rule")
_V0_KEYS = frozenset(
    (*_LOSS_KEYS, *_RATE_KEYS, *_V0_TRAINING_KEYS, *_V0_DESCRIPTOR_KEYS, *_V0_FITTING_KEYS, *_V0_OTHER_KEYS)
)
_V0_MARKS = frozenset(("use_smooth", "filter_neuron", "n_neuron", "fitting_neuron", "sel_a"))

_WARMUP_KEYS = ("warmup_steps", "warmup_ratio", "warmup_start_factor")
_OPTIMIZER_KEYS = (
    "opt_type", "kf_blocksize", "kf_start_pref_e", "kf_limit_pref_e", "kf_start_pref_f", "kf_limit_pref_f",
    "weight_decay", "momentum", "muon_momentum", "adam_beta1", "adam_beta2", "lr_adjust", "lr_adjust_coeff",
    "muon_2d_only", "min_2d_dim",
)  # fmt: skip

_STEP_KEYS = ("stop_batch", "numb_steps", "num_steps", "num_step", "numb_step")
_OLD_START_LR = 1e-3  # what versions 0 and 1 used when the input named no rate


def upgraded(data: dict[str, Any], report: Report) -> dict[str, Any]:
    """A copy of ``data`` in the current form; sections that are not dicts are left for the checks that follow.

    ``report`` takes old keys that ask for something that no longer exists, or contradict their new spelling.
    """
    data = copy.deepcopy(data)
    if "model" not in data and _V0_MARKS & data.keys():
        data = _from_flat(data, report)
    training = data.get("training")
    if not isinstance(training, dict):
        return data
    if "systems" in training:
        _split_training_data(data, training, report)
    _drop_obsolete(training, report)
    _move(data, "learning_rate", _WARMUP_KEYS, {}, report)
    _move(data, "optimizer", _OPTIMIZER_KEYS, {"opt_type": "type"}, report)
    return data


def _from_flat(flat: dict[str, Any], report: Report) -> dict[str, Any]:
    """Version 0, one flat section, as version 1."""
    flat = {k: v for k, v in flat.items() if not k.startswith("_")}
    for key in flat:
        if key not in _V0_KEYS:
            report.add(key, f"unknown key in an input of version 0.{did_you_mean(key, _V0_KEYS)}")
    if flat.get("type_fitting_net"):
        report.add("type_fitting_net", "found true; it has no counterpart in the current form. Remove the key.")
    log.warning("The input has the flat form of DeePMD-kit 0.x; it is read as the current form, which has sections.")
    model: dict[str, Any] = {"descriptor": _flat_descriptor(flat), "fitting_net": _flat_fitting(flat)}
    if "type_map" in flat:
        model["type_map"] = flat["type_map"]
    return {
        "model": model,
        "learning_rate": {"type": "exp", **_pick(flat, _RATE_KEYS)},
        "loss": _pick(flat, _LOSS_KEYS),
        "training": _pick(flat, _V0_TRAINING_KEYS),
    }


def _flat_descriptor(flat: dict[str, Any]) -> dict[str, Any]:
    if not flat.get("use_smooth", False):
        return {"type": "loc_frame", **_pick(flat, ("sel_a", "sel_r", "rcut", "axis_rule"))}
    renamed = {"sel_a": "sel", "filter_neuron": "neuron", "filter_resnet_dt": "resnet_dt"}
    descriptor = {renamed.get(k, k): v for k, v in _pick(flat, _V0_DESCRIPTOR_KEYS).items()}
    if "rcut" in descriptor:
        descriptor.setdefault("rcut_smth", descriptor["rcut"])  # version 0 did not smooth unless told to
    return {"type": "se_e2_a", **descriptor}


def _flat_fitting(flat: dict[str, Any]) -> dict[str, Any]:
    renamed = {"fitting_neuron": "neuron", "fitting_resnet_dt": "resnet_dt"}
    kept = _pick(flat, _V0_FITTING_KEYS)
    if "fitting_resnet_dt" in kept:  # the more specific spelling wins
        kept.pop("resnet_dt", None)
    return {renamed.get(k, k): v for k, v in kept.items()}


def _split_training_data(data: dict[str, Any], training: dict[str, Any], report: Report) -> None:
    """Version 1: the data keys stand directly in ``training``."""
    if "training_data" in training:
        text = "found together with training/training_data, its spelling since version 2. Keep training_data."
        report.add("training/systems", text)
        del training["systems"]
        return
    log.warning("The input has the form of DeePMD-kit 1.x: training/systems is read as training/training_data/systems.")
    training["training_data"] = {k: training.pop(k) for k in _V1_DATA_KEYS if k in training}
    if "with_distrib" in data:
        del data["with_distrib"]
        log.warning("with_distrib: without effect since DeePMD-kit 2; several processes are started from outside.")
    rate = data.setdefault("learning_rate", {})
    if isinstance(rate, dict):
        _old_learning_rate(rate, training)


def _old_learning_rate(rate: dict[str, Any], training: dict[str, Any]) -> None:
    """Versions 0 and 1 gave a decay rate; since version 2 the final rate that it leads to is what counts."""
    if "start_lr" not in rate:
        rate["start_lr"] = _OLD_START_LR
        log.warning(
            "learning_rate/start_lr: not given; DeePMD-kit 0.x and 1.x used %g, and so does this run.", _OLD_START_LR
        )
    steps = next((training[k] for k in _STEP_KEYS if k in training), None)
    decay = rate.get("decay_rate")
    numbers = (steps, decay, rate["start_lr"])
    if any(isinstance(x, bool) or not isinstance(x, int | float) for x in numbers) or decay <= 0:
        return  # left as it is; the checks say what is wrong with it
    interval = rate.setdefault("decay_steps", 5000)
    rate["stop_lr"] = rate["start_lr"] * math.exp(math.log(decay) * (steps / interval))
    del rate["decay_rate"]
    log.warning("learning_rate/decay_rate: %g per %s steps is read as stop_lr %g.", decay, interval, rate["stop_lr"])


def _drop_obsolete(training: dict[str, Any], report: Report) -> None:
    """Keys that lost their meaning before version 2."""
    if "numb_test" in training:
        del training["numb_test"]
        log.warning("training/numb_test: without effect since DeePMD-kit 2.0; use training/validation_data.")
    if "load_ckpt" in training:
        del training["load_ckpt"]
        log.warning("training/load_ckpt: without effect; use `dpjax train --restart` or `--init-model`.")
    for name in ("training_data", "validation_data"):
        section = training.get(name)
        if isinstance(section, dict) and "set_prefix" in section:
            _drop_set_prefix(section, f"training/{name}/set_prefix", report)


def _drop_set_prefix(section: dict[str, Any], path: str, report: Report) -> None:
    prefix = section.pop("set_prefix")
    if prefix != "set":
        report.add(path, f"found {show(prefix)}; only folders set.* are read. Rename them, remove the key.")
        return
    log.warning("%s: without effect since DeePMD-kit 3; folders named set.* are read.", path)


def _move(data: dict[str, Any], section: str, keys: tuple[str, ...], renamed: dict[str, str], report: Report) -> None:
    """Moves keys from ``training`` to the section they belong to now."""
    training, target = data["training"], data.get(section, {})
    moved = [k for k in keys if k in training]
    if not moved or not isinstance(target, dict):
        return
    for key in moved:
        new, value = renamed.get(key, key), training.pop(key)
        if target.setdefault(new, value) != value:
            text = f"found {show(value)}, but {section}/{new} is {show(target[new])}. Keep the latter."
            report.add(f"training/{key}", text)
    data[section] = target
    log.warning("%s in training: moved to %s, where it belongs since DeePMD-kit 3.2.", ", ".join(moved), section)


def _pick(source: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {k: source[k] for k in keys if k in source}
