"""Every mistake has one clear error: the path, what was found, what to do."""

from __future__ import annotations

import re

import pytest

from dpjax import config
from dpjax.errors import ConfigError
from tests.config.inputs import REMOVE, water

D, F, T, L = "model/descriptor", "model/fitting_net", "training", "learning_rate"


def message(edits: dict) -> str:
    with pytest.raises(ConfigError) as info:
        config.load(water(edits))
    return str(info.value)


@pytest.mark.parametrize(
    ("edits", "path", "text"),
    [
        ({f"{D}/rcutt": 6.0}, f"{D}/rcutt", "Did you mean `model/descriptor/rcut`?"),
        ({f"{T}/numb_stepp": 6}, f"{T}/numb_stepp", "Did you mean `training/numb_step"),
        ({"modell": {}}, "modell", "Did you mean `model`?"),
        ({f"{T}/Seed": 1}, f"{T}/Seed", "Did you mean `training/seed`?"),
        ({f"{T}/start_lr": 1e-3}, f"{T}/start_lr", "`start_lr` belongs to learning_rate."),
        ({"systems": []}, "systems", "training/training_data or training/validation_data"),
        (
            {L: {"type": "cosine", "start_lr": 1.0, "decay_steps": 3}},
            f"{L}/decay_steps",
            "belongs to learning_rate[exp]",
        ),
        ({f"{D}/qwxz": 1}, f"{D}/qwxz", "Valid keys here: activation_function"),
        ({"dpjax/prefetsh": 1}, "dpjax/prefetsh", "Did you mean `dpjax/prefetch`?"),
    ],
)
def test_unknown_keys(edits, path, text):
    found = message(edits)
    assert found.startswith(f"{path}: unknown key")
    assert text in found


@pytest.mark.parametrize(
    ("edits", "start"),
    [
        ({f"{T}/numb_steps": "10"}, f"{T}/numb_steps: found '10' (str), expected int. Write the number without quotes: 10."),
        ({f"{T}/numb_steps": 1e6}, "training/numb_steps: found 1000000.0 (float), expected int. Write 1000000."),
        ({f"{T}/numb_steps": True}, "training/numb_steps: found true (bool), expected int."),
        ({f"{D}/rcut": "6"}, f"{D}/rcut: found '6' (str), expected float."),
        ({f"{D}/sel": 46}, f"{D}/sel: found 46 (int), expected list of int or str. Write a list: [46]."),
        ({f"{D}/sel": [46, "92"]}, f"{D}/sel/1: found '92' (str), expected int."),
        ({f"{D}/resnet_dt": "true"}, f"{D}/resnet_dt: found 'true' (str), expected bool. Write true or false without quotes."),
        ({f"{D}/neuron": [4, 8.0]}, f"{D}/neuron/1: found 8.0 (float), expected int."),
        ({f"{D}/seed": "1"}, f"{D}/seed: found '1' (str), expected int or null."),
        ({"model/descriptor": []}, "model/descriptor: found [] (list), expected dict."),
        ({"training": None}, "training: found null, expected dict."),
        ({"model/type_map": "OH"}, "model/type_map: found 'OH' (str), expected list of str."),
        ({f"{F}/atom_ener": [1.0, "x"]}, f"{F}/atom_ener/1: found 'x' (str), expected float or null."),
        ({f"{D}/type": 3}, f"{D}/type: found 3 (int), expected str"),
    ],
)  # fmt: skip
def test_wrong_types(edits, start):
    assert message(edits).startswith(start)


@pytest.mark.parametrize(
    ("edits", "start"),
    [
        ({"model": REMOVE}, "model: missing"),
        ({D: REMOVE}, f"{D}: missing"),
        ({F: REMOVE}, f"{F}: missing"),
        (
            {f"{D}/type": REMOVE},
            f"{D}/type: missing; it is required. Choose one of: ",
        ),
        ({"training": REMOVE}, "training: missing"),
        ({f"{T}/training_data": REMOVE}, f"{T}/training_data: missing"),
        ({f"{T}/training_data/systems": REMOVE}, f"{T}/training_data/systems: missing"),
        ({L: REMOVE}, f"{L}: missing"),
        ({f"{L}/start_lr": REMOVE}, f"{L}/start_lr: missing"),
        ({"model/type_map": REMOVE}, "model/type_map: missing"),
        ({"model/type_map": []}, "model/type_map: missing"),
        ({f"{T}/numb_steps": REMOVE}, f"{T}/numb_steps: found neither"),
    ],
)
def test_missing_keys(edits, start):
    assert message(edits).startswith(start)


@pytest.mark.parametrize(
    ("edits", "path"),
    [
        ({"model/spin": {"use_spin": [True, False], "scheme": "native"}}, "model/spin/scheme"),
    ],
)
def test_what_is_not_built_is_refused_by_name(edits, path):
    found = message(edits)
    assert found.startswith(f"{path}: ")
    assert "not built yet" in found


def test_neutral_values_of_what_is_not_built_are_accepted():
    neutral = {
        "training/acc_freq": 1,
        "training/enable_ema": False,
        "training/training_data/min_pair_dist": 0,
        "validating/full_validation": False,
    }
    config.load(water(neutral))


def test_zero_is_not_the_neutral_value_of_a_flag():
    assert message({"loss/use_huber": 0}).startswith("loss/use_huber: found 0")


@pytest.mark.parametrize(
    ("edits", "text"),
    [
        ({f"{D}/type": "se_e2a"}, "model/descriptor/type: unknown descriptor 'se_e2a'. Did you mean `se_e2_a`?"),
        ({f"{D}/type": "dpa33"}, "Did you mean `dpa3`?"),
        ({"optimizer/type": "adam"}, "optimizer/type: unknown optimizer 'adam'. Did you mean `Adam`?"),
        ({f"{D}/activation_function": "tanhh"}, "unknown activation function 'tanhh'. Did you mean `tanh`?"),
        ({f"{D}/activation_function": "tanh:2"}, "only silut takes one"),
        ({f"{F}/activation_function": "silut:x"}, "must be a number"),
        (
            {f"{F}/precision": "float46"},
            "model/fitting_net/precision: unknown precision 'float46'. Did you mean `float64`?",
        ),
    ],
)
def test_unknown_names(edits, text):
    assert text in message(edits)


@pytest.mark.parametrize(
    "name", ["Tanh", "GELU", "gelu_tf", "relu6", "silut", "silut:2.5", "custom_silu:1", "None", "linear"]
)
def test_activation_names(name):
    config.load(water({f"{D}/activation_function": name, f"{F}/activation_function": name}))


@pytest.mark.parametrize(
    ("edits", "start", "text"),
    [
        ({f"{D}/sel": [46]}, f"{D}/sel: found 1 entries [46], but model/type_map has 2 (O, H)", "neighbor-stat"),
        ({f"{D}/sel": [46, 92, 1]}, f"{D}/sel: found 3 entries", "one number per type"),
        ({f"{D}/sel": [-1, 92]}, f"{D}/sel: found [-1, 92]", "negative"),
        ({f"{D}/sel": "auto:x"}, f'{D}/sel: found "auto:x"', "auto:1.2"),
        ({f"{D}/sel": "auto:0.5"}, f"{D}/sel: ", "at least 1"),
        ({f"{D}/rcut_smth": 6.0}, f"{D}/rcut_smth: found 6.0 with rcut 6.0", "less than rcut"),
        ({f"{D}/rcut": -1.0}, f"{D}/rcut: found -1.0", "positive"),
        ({f"{D}/axis_neuron": 101}, f"{D}/axis_neuron: found 101", "(100)"),
        ({f"{D}/neuron": []}, f"{D}/neuron: found an empty list", "at least one"),
        ({f"{D}/neuron": [4, 0]}, f"{D}/neuron/1: found 0", "at least 1"),
        ({f"{D}/exclude_types": [[0, 2]]}, f"{D}/exclude_types/0: found type index 2", "0 to 1"),
        ({f"{D}/exclude_types": [[0]]}, f"{D}/exclude_types/0: ", "pairs"),
        ({"model/pair_exclude_types": [[0, -1]]}, "model/pair_exclude_types/0: found type index -1", "0 to 1"),
        ({"model/pair_exclude_types": [0]}, "model/pair_exclude_types/0: ", "pairs"),
        ({"model/atom_exclude_types": [2]}, "model/atom_exclude_types: found type index 2", "0 to 1"),
        ({"model/atom_exclude_types": ["H"]}, "model/atom_exclude_types/0: found 'H'", "type index"),
        ({"model/type_map": ["O", "O"]}, "model/type_map/1: 'O' is already entry 0", "own name"),
        ({"model/preset_out_bias": {"energy": [1.0]}}, "model/preset_out_bias/energy: found 1 entries", "per type"),
        ({"model/preset_out_bias": {"enrgy": [1.0, 2.0]}}, "model/preset_out_bias/enrgy: unknown output", "`energy`"),
        ({f"{F}/atom_ener": [1.0]}, f"{F}/atom_ener: found 1 entries", "per type"),
        ({f"{F}/default_fparam": [1.0]}, f"{F}/default_fparam: found 1 numbers, but numb_fparam is 0", "agree"),
        ({f"{F}/trainable": [True]}, f"{F}/trainable: found 1 entries, expected 4", "output layer"),
        ({f"{F}/layer_name": ["a", "b"]}, f"{F}/layer_name: found 2 entries, expected 4", "output layer"),
        ({f"{F}/numb_fparam": -1}, f"{F}/numb_fparam: found -1", "negative"),
        ({f"{F}/use_aparam_as_mask": True}, f"{F}/use_aparam_as_mask: ", "numb_aparam"),
        ({f"{T}/numb_epoch": 2}, f"{T}/numb_steps: found both", "exactly one"),
        ({f"{T}/num_steps": 2}, f"{T}/numb_steps: given 2 times, as numb_steps, num_steps", "Keep one"),
        ({f"{T}/disp_freq": 0}, f"{T}/disp_freq: found 0", "at least 1"),
        ({f"{T}/training_data/batch_size": 0}, f"{T}/training_data/batch_size: found 0", "at least 1"),
        ({f"{T}/training_data/batch_size": "auto:"}, f'{T}/training_data/batch_size: found "auto:"', "max:N"),
        ({f"{T}/training_data/auto_prob": "prob"}, f"{T}/training_data/auto_prob: found 'prob'", "prob_uniform"),
        ({f"{T}/training_data/systems": []}, f"{T}/training_data/systems: found an empty list", "at least one"),
        ({f"{L}/stop_lr_ratio": 0.1}, f"{L}/stop_lr_ratio: found 0.1 together with stop_lr", "Keep one"),
        ({f"{L}/warmup_steps": 1, f"{L}/warmup_ratio": 0.1}, f"{L}/warmup_ratio: found 0.1 together", "Keep one"),
        ({f"{L}/decay_rate": 1.5}, f"{L}/decay_rate: found 1.5", "at most 1"),
        ({f"{L}/scale_by_worker": "sqr"}, f"{L}/scale_by_worker: found 'sqr'", "`sqrt`"),
        ({"loss/limit_pref_e": 0, "loss/start_pref_f": 0}, "loss: no term is active", "both non-zero"),
        ({"loss/start_pref_f": -1}, "loss/start_pref_f: found -1", "negative"),
        ({"optimizer/adam_beta1": 1.0}, "optimizer/adam_beta1: found 1.0", "less than 1"),
        ({"dpjax/progress": "line"}, "dpjax/progress: found 'line'", "`lines`"),
        ({"dpjax/block_size": 0}, "dpjax/block_size: found 0", "at least 1"),
        ({"dpjax/recompute_layers": False}, "dpjax/recompute_layers: found false", "dpa2, dpa3, dpa4"),
    ],
)
def test_contradictions(edits, start, text):
    found = message(edits)
    assert found.startswith(start)
    assert text in found


@pytest.mark.parametrize(
    "rule", ["prob_uniform", "prob_sys_size", "prob_sys_size;0:2:0.3;2:4:0.7", "prob_sys_size; 0:1:1e-1"]
)
def test_probability_rules(rule):
    assert config.load(water({f"{T}/training_data/auto_prob": rule})).training.training_data.auto_prob == rule


@pytest.mark.parametrize("size", [1, [1, 2], "auto", "auto:64", "max:300", "filter:300"])
def test_batch_size_rules(size):
    config.load(water({f"{T}/training_data/batch_size": size}))


def test_errors_do_not_show_the_schema_library():
    assert not re.search(r"dargs|strict mode|\[at ", message({f"{D}/rcutt": 1}))
