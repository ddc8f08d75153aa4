"""Whole fine-tuning runs of a very small model: bias, head, types, input, report, errors."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import jax
import numpy as np
import pytest

import dpjax
from dpjax.cli.main import main
from dpjax.errors import ConfigError, ModelError
from dpjax.finetune import Start, chosen_start
from dpjax.formats import read_model_tree, write_model_tree
from tests.contracts.cases import dpa2, dpa3
from tests.training import tiny

NAMES = ["H", "C", "O"]
DESCRIPTOR = {
    "type": "se_atten", "rcut": 3.0, "rcut_smth": 1.0, "sel": 24, "neuron": [2, 4], "axis_neuron": 2, "attn_layer": 0, "attn": 4,
    "tebd_dim": 4, "tebd_input_mode": "strip", "seed": 1,
}  # fmt: skip
EDITS = tiny.ENERGY_ONLY | {"training/numb_steps": 0, "training/training_data/batch_size": 4}


@pytest.fixture(scope="module")
def system(tmp_path_factory) -> Path:
    return tiny.system(tmp_path_factory.mktemp("data") / "water")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> Path:
    pot = dpjax.build({"type_map": ["O", "H"], "descriptor": DESCRIPTOR, "fitting_net": {"neuron": [4], "seed": 2}})
    rng = np.random.default_rng(0)
    pot.variables["stats"] = jax.tree.map(lambda x: rng.uniform(0.5, 1.5, x.shape), pot.variables["stats"])
    pot.variables["stats"]["descriptor"]["davg"][:] = 0
    path = tmp_path_factory.mktemp("model") / "model.dp"
    dpjax.save(pot, path)
    return path


def inputs(system: Path, edits: dict | None = None, **model) -> dict:
    config = tiny.config([system], EDITS | (edits or {}))
    config["model"] = {
        "type_map": NAMES,
        "descriptor": copy.deepcopy(DESCRIPTOR),
        "fitting_net": {"neuron": [4], "seed": 5},
    } | model
    return config


def frames(system: Path):
    part = system / "set.000"
    coord, box, energy = (np.load(part / f"{name}.npy") for name in ("coord", "box", "energy"))
    names = np.array(["O", "H"])[np.loadtxt(system / "type.raw", dtype=int)]
    return coord.reshape(len(coord), -1, 3), names, box.reshape(-1, 3, 3), energy.reshape(-1)


def energies(pot, system: Path) -> np.ndarray:
    coord, names, box, _ = frames(system)
    return pot.evaluate(coord, np.array([pot.type_map.index(name) for name in names]), box)["energy"][:, 0]


def test_without_a_step_only_the_bias_differs(system, pretrained, tmp_path, caplog):
    caplog.set_level("INFO")
    result = dpjax.train(inputs(system), tmp_path, finetune=pretrained)
    new, old = dpjax.load(result.checkpoint), dpjax.load(pretrained)
    label = frames(system)[3]
    before = energies(old, system)
    shift = np.mean(label - before)  # all frames have the same atoms: what can be fitted is the mean
    np.testing.assert_allclose(energies(new, system), before + shift, atol=1e-10)
    # two O and four H: the smallest change that fits; the type without atoms keeps the zero it began with
    bias = {name: float(old.variables["stats"]["out_bias"][i, 0]) for i, name in enumerate(old.type_map)}
    expected = [bias["H"] + shift * 4 / 20, 0.0, bias["O"] + shift * 2 / 20]
    np.testing.assert_allclose(new.variables["stats"]["out_bias"][:, 0], expected, atol=1e-10)
    dstd = old.variables["stats"]["descriptor"]["dstd"]
    np.testing.assert_array_equal(new.variables["stats"]["descriptor"]["dstd"][[2, 0]], dstd)

    report = (tmp_path / "finetune.out").read_text()
    lines = {line.split()[0]: line.split()[1:] for line in report.splitlines() if not line.startswith("#")}
    assert lines["stats.out_bias"][:2] == ["3x1", "remapped"] and "shifted" in report
    assert lines["params.fitting_net.net_all.layers_0.matrix"] == ["12x4", "pretrained"]
    assert lines["params.descriptor.type_embedding.layer.matrix"][1:] == ["remapped", "new:", "C", "(fresh)"]
    assert lines["stats.descriptor.dstd"][1:] == ["remapped", "new:", "C", "(statistics)"]
    assert "types H C O of which new: C" in caplog.text
    assert "fine-tuning: params.fitting_net: 4 pretrained" in caplog.text


def test_a_new_head_has_the_bias_of_the_data(system, pretrained, tmp_path):
    config = inputs(system, fitting_net={"neuron": [3, 3], "seed": 5}, finetune_head="RANDOM")
    result = dpjax.train(config, tmp_path, finetune=pretrained)
    new, old = dpjax.load(result.checkpoint), dpjax.load(pretrained)
    assert new.variables["params"]["fitting_net"]["net_all"]["layers_0"]["matrix"].shape == (12, 3)
    mean = frames(system)[3].mean()
    np.testing.assert_allclose(new.variables["stats"]["out_bias"][:, 0], [mean * 4 / 20, 0, mean * 2 / 20])
    where = ("params", "descriptor", "embedding", "network", "layers_1", "matrix")
    ours, theirs = new.variables, old.variables
    for key in where:
        ours, theirs = ours[key], theirs[key]
    np.testing.assert_array_equal(ours, theirs)


def test_the_script_of_the_pretrained_model_and_frozen_parts(system, pretrained, tmp_path):
    """An input without a model of its own, the descriptor frozen: two steps change the fitting net only."""
    edits = {"training/numb_steps": 2, "training/save_freq": 2, "training/disp_freq": 1}
    config = inputs(system, edits, descriptor={"trainable": False}, fitting_net={})
    result = dpjax.train(config, tmp_path, finetune=pretrained, use_pretrain_script=True)
    assert result.steps == 2
    written = json.loads((tmp_path / "out.json").read_text())["model"]
    assert written["type_map"] == NAMES
    assert written["descriptor"]["type"] == "se_atten" and written["descriptor"]["trainable"] is False
    assert written["fitting_net"]["neuron"] == [4]
    new, old = (dpjax.load(path).variables["params"] for path in (result.checkpoint, pretrained))
    jax.tree.map(np.testing.assert_array_equal, new["descriptor"]["embedding"], old["descriptor"]["embedding"])
    matrices = [p["fitting_net"]["net_all"]["layers_0"]["matrix"] for p in (new, old)]
    assert np.abs(matrices[0] - matrices[1]).max() > 1e-6


def test_sel_that_is_left_open_is_that_of_the_pretrained_model(system, pretrained, tmp_path):
    config = inputs(system)
    config["model"]["descriptor"]["sel"] = "auto"
    dpjax.train(config, tmp_path, finetune=pretrained)
    assert json.loads((tmp_path / "out.json").read_text())["model"]["descriptor"]["sel"] == 24


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        (
            {"model/fitting_net/neuron": [5]},
            r"model/fitting_net/neuron: found \[5\], but .* \[4\].*--use-pretrain-script",
        ),
        ({"model/descriptor/neuron": [2, 8]}, r"model/descriptor/neuron: found \[2, 8\]"),
        (
            {"model/descriptor": {**tiny.config([])["model"]["descriptor"], "sel": [8, 4, 8]}},
            "model/descriptor/type: found se_e2_a, but the model to start from has se_atten",
        ),
        ({"model/finetune_head": "water"}, "model/finetune_head: found 'water', but .*single model"),
    ],
)
def test_what_does_not_fit_is_named(system, pretrained, tmp_path, edits, message):
    config = inputs(system)
    for path, value in edits.items():
        section = config
        *parents, key = path.split("/")
        for name in parents:
            section = section[name]
        section[key] = value
    with pytest.raises(ConfigError, match=message):
        dpjax.train(config, tmp_path, finetune=pretrained)


@pytest.fixture(scope="module", params=["dpa2", "dpa3"])
def passing(request, tmp_path_factory) -> tuple[dict, Path]:
    """A descriptor that passes messages, and the file of a model that has it."""
    descriptor = {"dpa2": dpa2(), "dpa3": dpa3()}[request.param]
    pot = dpjax.build({"type_map": ["O", "H"], "descriptor": descriptor, "fitting_net": {"neuron": [4], "seed": 2}})
    path = tmp_path_factory.mktemp("passing") / "model.dp"
    dpjax.save(pot, path)
    return descriptor, path


@pytest.mark.slow
def test_models_that_pass_messages(passing, system, tmp_path):
    """Other types, and a list whose length is left open: a shifted bias without a step, other parameters after one."""
    descriptor, path = passing
    part, key = ("repinit", "nsel") if descriptor["type"] == "dpa2" else ("repflow", "a_sel")
    own = descriptor | {part: descriptor[part] | {key: "auto"}}
    old, label = dpjax.load(path), frames(system)[3]
    runs = []
    for steps in (0, 1):
        edits = {"training/numb_steps": steps, "training/disp_freq": 1, "training/save_freq": 1}
        result = dpjax.train(inputs(system, edits, descriptor=own), tmp_path / str(steps), finetune=path)
        runs.append(dpjax.load(result.checkpoint))
        written = json.loads((tmp_path / str(steps) / "out.json").read_text())["model"]
        assert written["type_map"] == NAMES and written["descriptor"][part][key] == descriptor[part][key]
    start, end = runs
    before = energies(old, system)
    np.testing.assert_allclose(energies(start, system), before + np.mean(label - before), atol=1e-10)
    assert "new: C (fresh)" in (tmp_path / "0" / "finetune.out").read_text()
    moved = jax.tree.map(lambda a, b: np.any(a != b), start.variables["params"], end.variables["params"])
    assert np.mean(jax.tree.leaves(moved)) > 0.6  # edges and angles of the last layer of dpa3 reach no energy


def test_settings_inside_a_section_that_do_not_fit_are_named(passing, system, tmp_path):
    descriptor, path = passing
    part, key = ("repformer", "g1_dim") if descriptor["type"] == "dpa2" else ("repflow", "n_dim")
    own = descriptor | {part: descriptor[part] | {key: 7}}
    with pytest.raises(ConfigError, match=f"model/descriptor/{part}/{key}: found 7, but the model to start from has 6"):
        dpjax.train(inputs(system, descriptor=own), tmp_path, finetune=path)


def test_contradictions_and_missing_files(system, pretrained, tmp_path):
    config = inputs(system)
    with pytest.raises(ConfigError, match="restart and finetune exclude each other"):
        dpjax.train(config, tmp_path, restart=True, finetune=pretrained)
    with pytest.raises(ConfigError, match="--model-branch: found 'water'"):
        dpjax.train(config, tmp_path, finetune=pretrained, model_branch="water")
    with pytest.raises(ConfigError, match="no model to fine-tune"):
        dpjax.train(config, tmp_path, model_branch="RANDOM")
    with pytest.raises(ConfigError, match="use_pretrain_script: .* none is given"):
        dpjax.train(config, tmp_path, use_pretrain_script=True)
    with pytest.raises(ConfigError, match="model/finetune_head: .*--finetune"):
        dpjax.train(inputs(system, finetune_head="RANDOM"), tmp_path)
    with pytest.raises(ModelError, match="nothing.dp"):
        dpjax.train(config, tmp_path, finetune=tmp_path / "nothing.dp")


def test_networks_of_new_types_need_numbers_of_neighbours(system, tmp_path):
    section = tiny.config([system])["model"]
    path = tmp_path / "model.dp"
    dpjax.save(dpjax.build(section), path)
    config = inputs(system, descriptor={}, fitting_net={})
    with pytest.raises(ConfigError, match="model/descriptor/sel: .* for C"):
        dpjax.train(config, tmp_path / "run", finetune=path, use_pretrain_script=True)


def test_a_file_with_branches_gives_one_of_them(system, pretrained, tmp_path):
    tree = read_model_tree(pretrained)
    path = tmp_path / "several.dp"
    write_model_tree(
        path, {"model": {"model_dict": {"water": tree["model"], "ice": tree["model"]}}, "backend": "dpjax"}
    )
    one, other = dpjax.load(path, head="ice"), dpjax.load(pretrained)
    np.testing.assert_array_equal(one.variables["stats"]["out_bias"], other.variables["stats"]["out_bias"])
    with pytest.raises(ModelError, match="several.dp holds several models and none was chosen"):
        dpjax.load(path)
    with pytest.raises(ConfigError, match="several.dp has the branches water, ice"):
        dpjax.train(inputs(system), tmp_path, finetune=path, model_branch="fire")


def test_init_model_takes_the_whole_section(system, pretrained, tmp_path):
    config = inputs(system, descriptor={}, fitting_net={})
    result = dpjax.train(config, tmp_path, init_model=pretrained, use_pretrain_script=True)
    np.testing.assert_array_equal(
        dpjax.load(result.checkpoint).variables["stats"]["out_bias"],
        dpjax.load(pretrained).variables["stats"]["out_bias"],
    )


@pytest.mark.parametrize("start", ["init_model", "finetune"])
def test_a_model_without_the_layers_of_attention(system, pretrained, tmp_path, caplog, start):
    """They start as in a new model, and a warning or the report says so; without `force_load` they are missed."""
    descriptor = DESCRIPTOR | {"attn_layer": 1}
    names = {"type_map": ["O", "H"]} if start == "init_model" else {}
    config = inputs(system, descriptor=descriptor, **names)
    with pytest.raises(ConfigError, match="model/descriptor/attn_layer: found 1, but the model to start from has 0"):
        dpjax.train(config, tmp_path / "x", **{start: pretrained})
    with pytest.raises(ConfigError, match="force_load: .* none is given"):
        dpjax.train(config, tmp_path / "x", restart=True, force_load=True)
    result = dpjax.train(config, tmp_path / "run", force_load=True, **{start: pretrained})
    ours, theirs, new = (
        pot.variables["params"]
        for pot in (dpjax.load(result.checkpoint), dpjax.load(pretrained), dpjax.build(config["model"]))
    )
    added = set(ours["descriptor"]) - set(theirs["descriptor"])
    assert added
    for name in added:
        jax.tree.map(np.testing.assert_array_equal, ours["descriptor"][name], new["descriptor"][name])
    jax.tree.map(np.testing.assert_array_equal, ours["descriptor"]["embedding"], theirs["descriptor"]["embedding"])
    jax.tree.map(np.testing.assert_array_equal, ours["fitting_net"], theirs["fitting_net"])
    if start == "init_model":
        assert (
            "arrays are not in the model to start from and are those of a new model: params.descriptor." in caplog.text
        )
    else:
        lines = (tmp_path / "run" / "finetune.out").read_text().splitlines()
        assert any("fresh" in line and line.endswith("not in the pretrained model") for line in lines)


def test_the_command_line(monkeypatch, capsys):
    made = []
    monkeypatch.setattr(dpjax, "train", lambda *args, **rest: made.append(rest) or _nothing(), raising=False)
    assert main(["train", "in.json", "-t", "model.dp", "--model-branch", "RANDOM", "--use-pretrain-script"]) == 0
    assert {k: made[0][k] for k in ("finetune", "model_branch", "use_pretrain_script")} == {
        "finetune": "model.dp", "model_branch": "RANDOM", "use_pretrain_script": True,
    }  # fmt: skip
    assert main(["train", "in.json", "-f", "model.dp"]) == 0 and made[1]["init_model"] == "model.dp"
    for argv in (["--model-branch", "a"], ["--use-pretrain-script"], ["-i", "a", "-t", "b"]):
        assert main(["train", "in.json", *argv]) == 2
    assert len(made) == 2 and "--model-branch: chooses a branch" in capsys.readouterr().err


def _nothing():
    from dpjax.training.run import TrainResult

    return TrainResult({}, None, 0, 0.0, 0)


def test_the_branch_that_is_chosen():
    several = ("water", "ice")
    assert chosen_start(None, None, "m") == chosen_start("Default", "x", "m") == Start(None, False)
    assert chosen_start(None, "RANDOM", "m") == Start(None, True)
    assert chosen_start(None, "ice", "m", several) == chosen_start("ice", "water", "m", several) == Start("ice", False)
    assert chosen_start(None, None, "m", several) == chosen_start("RANDOM", "ice", "m", several) == Start("water", True)
    with pytest.raises(ConfigError, match="--model-branch: found 'steam', but m has the branches water, ice"):
        chosen_start("steam", None, "m", several)


def test_an_ensemble_shares_the_descriptor_only(system, pretrained, tmp_path):
    with pytest.raises(ConfigError, match="dpjax/ensemble: found 2, but .* alike"):
        dpjax.train(inputs(system, {"dpjax/ensemble": 2}), tmp_path, finetune=pretrained)
    config = inputs(system, {"dpjax/ensemble": 2}, finetune_head="RANDOM")
    result = dpjax.train(config, tmp_path, finetune=pretrained)
    first, second = (dpjax.load(result.checkpoint, member=i).variables["params"] for i in range(2))
    jax.tree.map(np.testing.assert_array_equal, first["descriptor"]["embedding"], second["descriptor"]["embedding"])
    heads = [p["fitting_net"]["net_all"]["layers_0"]["matrix"] for p in (first, second)]
    assert np.abs(heads[0] - heads[1]).max() > 1e-3
