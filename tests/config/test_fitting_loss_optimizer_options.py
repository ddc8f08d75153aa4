"""Fitting nets, losses and optimizers: what is accepted, and what each mistake is told."""

from __future__ import annotations

import pytest

from dpjax import config
from dpjax.config.fittings import DosFittingConfig, PolarFittingConfig
from dpjax.config.losses import TensorLossConfig
from dpjax.config.optimizers import HybridMuonConfig
from dpjax.config.schema import Context
from dpjax.errors import ConfigError
from tests.config.inputs import water

F, L, O = "model/fitting_net", "loss", "optimizer"  # noqa: E741

FITTINGS = {
    "dos": {"type": "dos"},
    "property": {"type": "property", "property_name": "band_prop"},
    "polar": {"type": "polar"},
    "dipole": {"type": "dipole"},
    "population": {"type": "population"},
}
TENSOR = {"type": "tensor", "pref": 1.0, "pref_atomic": 1.0}


@pytest.mark.parametrize(
    "section",
    [
        {"type": "dos", "numb_dos": 250, "neuron": [], "trainable": [False], "rcond": 1e-3},
        {"type": "dos", "numb_fparam": 2, "default_fparam": [0.0, 1.0], "precision": "float32"},
        {
            **FITTINGS["property"],
            "task_dim": 3,
            "intensive": True,
            "n_neuron": [8, 8],
            "trainable": [True, True, False],
        },
        {**FITTINGS["property"], "property_name": "energy", "distinguish_types": False},
        {"type": "polar", "pol_type": 0, "fit_diag": False, "shift_diag": False, "scale": [1.0, 2]},
        {"type": "polar", "sel_type": None, "scale": -0.5, "n_neuron": [100]},
        {"type": "dipole", "dipole_type": [1, 0]},
        {"type": "dipole", "sel_type": [0], "numb_aparam": 1, "dim_case_embd": 2},
        {"type": "population", "neuron": [240, 240, 240], "resnet_dt": True, "numb_aparam": 1, "trainable": [True] * 4},
        {"type": "population", "trainable": [False, True, True, True]},
    ],
)
def test_fittings_that_are_right(section):
    raw = config.normalize(water({F: section}))
    assert raw["model"]["fitting_net"]["type"] == section["type"]
    assert config.normalize(raw) == raw


@pytest.mark.parametrize(
    ("kind", "edit", "start"),
    [
        ("dos", {"numb_dos": 0}, "numb_dos: found 0; it must be at least 1."),
        ("dos", {"n_neuron": [4]}, "n_neuron: unknown key, found with value [4]."),
        ("dos", {"neuron": [4, -1]}, "neuron/1: found -1; the width of a layer must be at least 1."),
        ("dos", {"trainable": [True]}, "trainable: found 1 entries, expected 4"),
        ("dos", {"rcond": -1.0}, "rcond: found -1.0; it must not be negative."),
        ("dos", {"precision": "float31"}, "precision: unknown precision 'float31'. Did you mean"),
        ("dos", {"default_fparam": [1.0]}, "default_fparam: found 1 numbers, but numb_fparam is 0."),
        ("property", {"property_name": ""}, "property_name: found ''; give the name of the label file"),
        ("property", {"property_name": " "}, "property_name: found ' '; give the name of the label file"),
        (
            "property",
            {"property_name": "fparam"},
            "property_name: found 'fparam'; box, coord, numb_copy, fparam, aparam, charge_spin, mask and names",
        ),
        ("property", {"property_name": "homo_redu"}, "property_name: found 'homo_redu'; box, coord"),
        ("property", {"task_dim": 0}, "task_dim: found 0; it must be at least 1."),
        ("property", {"neuron": [4, -1]}, "neuron/1: found -1; the width of a layer must be at least 1, or 0"),
        ("property", {"neuron": [4, 0]}, "neuron/1: found 0; only in a model of type dpa4"),
        ("property", {"rcond": 1e-3}, "rcond: unknown key"),
        ("polar", {"scale": []}, "scale: found an empty list; give one factor, or one per type."),
        (
            "polar",
            {"scale": [1.0]},
            "scale: found 1 entries, but model/type_map has 2 (O, H). Give one factor per type.",
        ),
        ("polar", {"sel_type": 2}, "sel_type: found type index 2, but model/type_map has 2 types (O, H)"),
        ("polar", {"trainable": True}, "trainable: unknown key"),
        ("polar", {"sel_type": 0, "pol_type": 0}, "sel_type: given 2 times, as sel_type, pol_type"),
        ("polar", {"dipole_type": 0}, "dipole_type: unknown key"),
        ("dipole", {"dipole_type": [0, -1]}, "sel_type: found type index -1"),
        ("dipole", {"sel_type": []}, "sel_type: found an empty list; name at least one type"),
        ("dipole", {"activation_function": "tan"}, "activation_function: unknown activation function 'tan'."),
        ("dipole", {"scale": 1.0}, "scale: unknown key"),
        ("population", {"trainable": [True]}, "trainable: found 1 entries, expected 4"),
        ("population", {"neuron": [0]}, "neuron/0: found 0; the width of a layer must be at least 1."),
        ("population", {"default_fparam": [0.0]}, "default_fparam: unknown key"),
    ],
)
def test_fittings_that_are_wrong(kind, edit, start):
    assert message({F: {**FITTINGS[kind], **edit}}).startswith(f"{F}/{start}")


def test_a_property_needs_a_name():
    assert message({F: {"type": "property"}}).startswith(f"{F}/property_name: missing; it is required")


@pytest.mark.parametrize(
    ("kind", "name"),
    [("dos", "dos"), ("polar", "polarizability"), ("dipole", "dipole"), ("population", "population")],
)
def test_the_preset_bias_is_named_as_the_output(kind, name):
    config.normalize(water({F: FITTINGS[kind], "model/preset_out_bias": {name: [None, [1.0]]}}))
    found = message({F: FITTINGS[kind], "model/preset_out_bias": {"energy": [None, 1.0]}})
    assert found.startswith(f"model/preset_out_bias/energy: unknown output; a model with this fitting net has: {name}.")


def test_the_preset_bias_of_a_property_has_its_name():
    config.normalize(water({F: FITTINGS["property"], "model/preset_out_bias": {"band_prop": [None, [1.0]]}}))


@pytest.mark.parametrize(
    "section",
    [
        {"type": "ener_spin", "start_pref_e": 0.02, "limit_pref_e": 1, "start_pref_fm": 1000, "loss_func": "mae"},
        {"type": "ener_spin", "start_pref_pf": 1.0, "relative_f": 1.0, "intensive_ener_virial": True},
        {"type": "dos"},
        {"type": "dos", "start_pref_ados": 0, "limit_pref_ados": 0, "start_pref_cdf": 1, "limit_pref_cdf": 2.5},
        *({"type": "property", "loss_func": word} for word in ("smooth_mae", "mae", "mse", "rmse", "mape")),
        {"type": "property", "metric": ["smooth_mae", "mae", "mse", "rmse", "mape"], "beta": 2},
        {"type": "property", "metric": []},
        TENSOR,
        {"type": "tensor", "pref": 0, "pref_atomic": 1.0, "enable_atomic_weight": True},
        {"type": "population"},
        {
            "type": "population",
            "start_pref_spin": 0,
            "limit_pref_spin": 0,
            "loss_func": "rmse",
            "metric": ["mae", "rmse"],
        },
    ],
)
def test_losses_that_are_right(section):
    raw = config.normalize(water({L: section}))
    assert raw["loss"]["type"] == section["type"]
    assert config.normalize(raw) == raw


@pytest.mark.parametrize(
    ("section", "start"),
    [
        ({"huber_delta": [0.1, 0.2]}, "/huber_delta: found 2 numbers; give one, or three: energy, force, virial."),
        ({"use_huber": True, "relative_f": 1.0}, "/use_huber: found true, but relative_f has no Huber form."),
        ({"f_use_norm": True}, "/f_use_norm: found true; it needs use_huber true or loss_func mae."),
        ({"start_pref_gf": 1.0, "limit_pref_gf": 1.0}, "/numb_generalized_coord: found 0, but the generalised force"),
        ({"type": "ener_spin", "start_pref_fr": -1}, "/start_pref_fr: found -1; it must not be negative."),
        ({"type": "ener_spin", "loss_func": "huber"}, "/loss_func: found 'huber'. Choose one of: mse, mae."),
        ({"type": "ener_spin", "use_huber": True}, "/use_huber: unknown key"),
        (
            {"type": "ener_spin", "limit_pref_e": 0, "start_pref_fr": 0, "start_pref_fm": 0, "start_pref_pf": 1},
            ": no term is active.",
        ),
        ({"type": "dos", "limit_pref_acdf": -0.5}, "/limit_pref_acdf: found -0.5; it must not be negative."),
        ({"type": "dos", "limit_pref_ados": 0}, ": no term is active."),
        ({"type": "property", "loss_func": "smooth_mea"}, "/loss_func: found 'smooth_mea'. Did you mean `smooth_mae`?"),
        ({"type": "property", "metric": ["mae", "mad"]}, "/metric/1: found 'mad'. Did you mean"),
        (
            {"type": "property", "metric": [["mae"]]},
            '/metric/0: found ["mae"]; choose one of: smooth_mae, mae',
        ),
        ({"type": "property", "metric": "mae"}, "/metric: found 'mae' (str), expected list."),
        ({"type": "property", "beta": 0}, "/beta: found 0; it must be positive."),
        ({"type": "tensor", "pref": 1.0}, "/pref_atomic: missing; it is required"),
        ({**TENSOR, "pref": -1}, "/pref: found -1; it must not be negative."),
        ({**TENSOR, "pref": 0, "pref_atomic": 0.0}, ": no term is active: pref and pref_atomic are both 0."),
        ({"type": "population", "loss_func": "mse"}, "/loss_func: found 'mse'."),
        ({"type": "population", "metric": ["mape"]}, "/metric/0: found 'mape'."),
        ({"type": "population", "start_pref_pop": -1}, "/start_pref_pop: found -1; it must not be negative."),
        ({"type": "population", "beta": -1.0}, "/beta: found -1.0; it must be positive."),
        (
            {
                "type": "population",
                **{
                    f"{end}_pref_{term}": 0
                    for end in ("start", "limit")
                    for term in ("spin", "spin_total", "pop", "pop_alpha_total", "pop_beta_total")
                },
            },
            ": all prefactors are 0, so nothing is minimised.",
        ),
    ],
)
def test_losses_that_are_wrong(section, start):
    assert message({L: section}).startswith(f"{L}{start}")


def test_the_older_name_of_the_loss_with_hessians():
    raw = config.normalize(water({L: {"type": "ener_hess", "start_pref_h": 1, "limit_pref_h": 1}}))
    assert raw["loss"]["type"] == "ener"
    cfg = config.load(water({L: {"type": "ener_hess", "start_pref_e": 1}}))
    assert cfg.loss.type == "ener" and cfg.loss.start_pref_e == 1


@pytest.mark.parametrize(
    "section",
    [
        *({"type": name} for name in ("Adam", "AdamW", "LKF", "AdaMuon", "HybridMuon")),
        {"type": "AdamW", "adam_beta1": 0.0, "weight_decay": 0},
        {"type": "LKF", "kf_blocksize": 1, "kf_start_pref_e": 2.0, "kf_limit_pref_e": 0.0},
        {"type": "AdaMuon", "muon_momentum": 0.9, "lr_adjust": -1.0, "lr_adjust_coeff": 0.0},
        *({"type": "HybridMuon", "muon_mode": mode} for mode in ("2d", "2D", "flat", "slice")),
        {"type": "HybridMuon", "enable_gram": False, "flash_muon": False, "magma_muon": False, "lr_adjust": 10},
    ],
)
def test_optimizers_that_are_right(section):
    raw = config.normalize(water({O: section}))
    assert raw["optimizer"]["type"] == section["type"]
    assert config.normalize(raw) == raw


@pytest.mark.parametrize(
    ("section", "start"),
    [
        ({"type": "AdamW", "adam_beta2": 1.0}, "adam_beta2: found 1.0; it must be at least 0 and less than 1."),
        ({"type": "AdamW", "weight_decay": -0.1}, "weight_decay: found -0.1; it must not be negative."),
        ({"type": "LKF", "kf_blocksize": 0}, "kf_blocksize: found 0; it must be at least 1."),
        ({"type": "LKF", "kf_start_pref_f": 0.0}, "kf_start_pref_f: found 0.0; it must be positive."),
        ({"type": "LKF", "kf_limit_pref_e": -1}, "kf_limit_pref_e: found -1; it must not be negative."),
        ({"type": "LKF", "weight_decay": 0.1}, "weight_decay: unknown key"),
        ({"type": "AdaMuon", "momentum": 1}, "momentum: found 1; it must be at least 0 and less than 1."),
        ({"type": "AdaMuon", "adam_beta1": -0.1}, "adam_beta1: found -0.1; it must be at least 0"),
        ({"type": "AdaMuon", "muon_mode": "flat"}, "muon_mode: unknown key"),
        ({"type": "HybridMuon", "muon_mode": "flatt"}, "muon_mode: found 'flatt'. Did you mean `flat`?"),
        ({"type": "HybridMuon", "lr_adjust_coeff": -1.0}, "lr_adjust_coeff: found -1.0; it must not be negative."),
        ({"type": "HybridMuon", "lr_adjust": "auto"}, "lr_adjust: found 'auto' (str), expected float."),
    ],
)
def test_optimizers_that_are_wrong(section, start):
    assert message({O: section}).startswith(f"{O}/{start}")


@pytest.mark.parametrize(
    "path, section",
    [
        (F, FITTINGS["population"]),
        (L, {"type": "population", "start_pref_pop": 1, "limit_pref_pop": 1}),
    ],
)
def test_what_is_not_built_waits_for_what_computes_it(path, section):
    with pytest.raises(ConfigError, match=f"'{section['type']}' is not built yet"):
        config.load(water({path: section}))


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ({"use_huber": True, "loss_func": "mae"}, "use_huber: changes nothing: loss_func mae is linear"),
        ({"use_huber": True, "intensive_ener_virial": True}, "intensive_ener_virial: changes nothing"),
        ({"relative_f": 1.0, "loss_func": "mae"}, "relative_f: changes nothing: with loss_func mae"),
        ({"use_default_pf": True}, "use_default_pf: changes nothing: the weighted force term is not active"),
        ({"numb_generalized_coord": 3}, "numb_generalized_coord: changes nothing"),
    ],
)
def test_options_of_the_loss_that_say_nothing_beside_the_others_are_named(section, text, caplog):
    caplog.set_level("INFO", logger="dpjax")
    config.load(water({L: section}))
    assert f"{L}/{text}" in caplog.text
    caplog.clear()
    config.load(water({L: {"loss_func": "mae", "start_pref_pf": 1, "limit_pref_pf": 1, "relative_f": 1.0}}))
    assert "changes nothing" not in caplog.text


def test_a_loss_of_magnetic_forces_needs_a_model_that_has_them():
    with pytest.raises(ConfigError, match="loss/type: found 'ener_spin', .* but the model has no `model/spin`"):
        config.load(water({L: {"type": "ener_spin"}}))


def test_newer_options_are_kept_and_not_filled_in():
    raw = config.normalize(water({F: {"type": "population", "neuron": [8]}, L: {"type": "population", "beta": 2.0}}))
    assert raw["model"]["fitting_net"] == {"type": "population", "neuron": [8]}
    assert raw["loss"] == {"type": "population", "beta": 2.0}


def test_sections_become_dataclasses():
    raw = config.normalize(water({F: {"type": "polar", "scale": [1.0, 2.0]}, L: TENSOR, O: {"type": "HybridMuon"}}))
    assert parsed("fittings", raw["model"]["fitting_net"]) == PolarFittingConfig(scale=(1.0, 2.0))
    assert parsed("losses", raw["loss"]) == TensorLossConfig(pref=1.0, pref_atomic=1.0)
    assert parsed("optimizers", raw["optimizer"]) == HybridMuonConfig()
    raw = config.normalize(water({F: {"type": "dos"}}))
    assert parsed("fittings", raw["model"]["fitting_net"]) == DosFittingConfig()


def parsed(kind: str, section: dict):
    """The dataclass of a normalised section."""
    registry = {
        "fittings": config.fittings.FITTINGS,
        "losses": config.losses.LOSSES,
        "optimizers": config.optimizers.OPTIMIZERS,
    }
    return registry[kind].parse(section, "", Context(("O", "H")))


def message(edits: dict) -> str:
    with pytest.raises(ConfigError) as info:
        config.normalize(water(edits))
    return str(info.value)


@pytest.mark.parametrize(
    ("kind", "loss", "fitting_loss"),
    [
        ("dos", "ener", "dos"),
        ("property", "tensor", "property"),
        ("polar", "dos", "tensor"),
        ("dipole", "ener", "tensor"),
    ],
)
def test_a_training_refuses_the_loss_of_another_quantity(kind, loss, fitting_loss):
    section = {"type": loss} | ({"pref": 1, "pref_atomic": 0} if loss == "tensor" else {})
    with pytest.raises(
        ConfigError, match=rf"loss/type: found '{loss}', but .* '{kind}' .* is trained with: {fitting_loss}\.$"
    ):
        config.load(water({F: FITTINGS[kind], "loss": section}))


@pytest.mark.parametrize("descriptor", ["se_e2_r", "se_e3"])
@pytest.mark.parametrize("kind", ["dipole", "polar"])
def test_tensors_need_a_descriptor_with_vectors(descriptor, kind):
    section = {"type": descriptor, "rcut": 6.0, "sel": [46, 92]}
    found = message({F: FITTINGS[kind], "model/descriptor": section})
    assert (
        found.startswith(f"model/fitting_net/type: found '{kind}'")
        and f"the descriptor '{descriptor}' has none" in found
    )


def test_types_without_a_part_in_the_prediction():
    """Those excluded, and those that sel_type leaves out."""

    def silent(**fitting):
        section = water({F: {"type": "dipole"} | fitting, "model/type_map": ["O", "H", "N"]})["model"]
        section["descriptor"]["sel"] = [10, 20, 5]
        return config.parse_model(section | {"atom_exclude_types": [0]}).silent_types

    assert silent() == (0,)
    assert silent(sel_type=1) == (0, 2)
    assert silent(sel_type=[1, 2]) == (0,)
