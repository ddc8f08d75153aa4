"""Several models in one training: what they share, which of them a step changes, restart, and each one alone afterwards."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import dpjax
from dpjax.checkpoints import load_checkpoint
from dpjax.cli.main import main
from dpjax.config import load_tasks
from dpjax.errors import ConfigError, DataError, ModelError
from dpjax.interfaces.bias import change_bias
from dpjax.training import setup as training_setup
from dpjax.training.lcurve import read_lcurve
from dpjax.training.task_setup import drawn_moments, prepare_tasks
from dpjax.training.tasks import PieceOptimizer, TaskDraw, arranged, common_tree, taken_apart
from tests.contracts.cases import dpa2, dpa3
from tests.training import tiny
from tests.training.test_restart import same

MESSAGES = {"dpa2": dpa2(), "dpa3": dpa3()}


def test_pieces_come_apart_and_together():
    """Type vectors that are shared alone lie inside a descriptor that is not."""
    pieces = {
        "descriptor": "a:descriptor",
        "descriptor.type_embedding": "shared:d.type_embedding",
        "fitting_net": "a:f",
    }
    model = {"descriptor": {"net": 1, "type_embedding": {"w": 2}}, "fitting_net": {"net": 3}}
    apart = taken_apart(model, pieces)
    assert apart == {"a:descriptor": {"net": 1}, "shared:d.type_embedding": {"w": 2}, "a:f": {"net": 3}}
    assert arranged(apart, pieces) == model
    other = {"descriptor": {"net": 5, "type_embedding": {"w": 6}}, "fitting_net": {"net": 7}}
    places = {
        "descriptor": "b:descriptor",
        "descriptor.type_embedding": "shared:d.type_embedding",
        "fitting_net": "b:f",
    }
    tree = common_tree({"a": model, "b": other}, {"a": pieces, "b": places})
    assert tree["shared:d.type_embedding"] == {"w": 2} and tree["b:descriptor"] == {"net": 5}


def test_tasks_are_drawn_by_weight_the_same_on_every_machine():
    draw = TaskDraw({"a": 1.0, "b": 3.0}, seed=7)
    names = [draw.task(step) for step in range(2000)]
    assert names.count("b") / 2000 == pytest.approx(0.75, abs=0.03)
    again = TaskDraw({"a": 1.0, "b": 3.0}, seed=7)
    assert [again.task(step) for step in (1999, 3, 1500)] == [names[step] for step in (1999, 3, 1500)]


def test_a_step_leaves_other_pieces_and_their_optimizers_alone():
    import optax

    from dpjax.optimizers import clip_by_global_norm

    by_piece = {name: optax.with_extra_args_support(optax.trace(0.5)) for name in "abc"}
    optimizer = PieceOptimizer(clip_by_global_norm(1.0), by_piece)
    params = {name: {"w": np.ones(2)} for name in "abc"}
    state = optimizer.init(params)
    gradients = {"a": {"w": np.array([3.0, 0])}, "b": {"w": np.array([0, 4.0])}, "c": {"w": np.full(2, 1e9)}}
    updates, new = optimizer.of(["a", "b"]).update(gradients, state, params, learning_rate=0.1)
    np.testing.assert_allclose(updates["a"]["w"], [0.6, 0], rtol=1e-5)  # clipped with b, without c
    assert np.all(updates["c"]["w"] == 0) and same(jax.device_get(new["c"]), jax.device_get(state["c"]))


def test_gradients_of_several_tasks_are_added_up():
    """Two steps are one update of the sum, clipped as a whole; a piece that neither of them trained stays, with its state."""
    import optax

    from dpjax.optimizers import clip_by_global_norm

    by_piece = {name: optax.with_extra_args_support(optax.trace(0.5)) for name in "abc"}
    optimizer = PieceOptimizer(clip_by_global_norm(1.0), by_piece, accumulate=2)
    params = {name: {"w": np.ones(2)} for name in "abc"}
    state = jax.tree.map(np.asarray, optimizer.init(params))
    state = state._replace(own=state.own | {"c": jax.tree.map(lambda x: x + 7.0, state.own["c"])})  # a momentum
    only = {name: {"w": np.zeros(2)} for name in "abc"}
    waiting, state = optimizer.of(["a", "b"]).update(only | {"a": {"w": np.array([3.0, 0])}}, state, params)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(waiting))
    updates, new = optimizer.of(["b"]).update(only | {"b": {"w": np.array([0, 4.0])}}, state, params)
    np.testing.assert_allclose(updates["a"]["w"], [0.6, 0], rtol=1e-5)
    np.testing.assert_allclose(updates["b"]["w"], [0, 0.8], rtol=1e-5)
    assert np.all(updates["c"]["w"] == 0) and same(jax.device_get(new.own["c"]), jax.device_get(state.own["c"]))
    assert int(new.count) == 0 and not any(map(np.any, jax.tree.leaves((new.total, new.trained))))


@pytest.fixture(scope="module")
def systems(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return [tiny.system(folder / "a", seed=0), tiny.system(folder / "b", n_atom=9, seed=1)]


def inputs(systems, edits=None) -> dict:
    """Two tasks on one descriptor, with energies alone; the second fitting net is its own."""
    single = tiny.config(systems, tiny.ENERGY_ONLY)
    model, training = single["model"], single["training"]
    training.pop("training_data")
    fitting = model["fitting_net"] | {"dim_case_embd": 2}
    data = {
        "model": {
            "shared_dict": {"types": model["type_map"], "d": model["descriptor"]},
            "model_dict": {
                "water": {"type_map": "types", "descriptor": "d", "fitting_net": fitting, "model_branch_alias": ["h2o"]},
                "ice": {"type_map": "types", "descriptor": "d", "fitting_net": fitting},
            },
        },
        "learning_rate": single["learning_rate"],
        "loss_dict": {"water": single["loss"], "ice": single["loss"]},
        "training": training | {
            "data_dict": {
                "water": {"training_data": {"systems": [str(systems[0])], "batch_size": 2}},
                "ice": {
                    "training_data": {"systems": [str(systems[1])], "batch_size": 1},
                    "validation_data": {"systems": [str(systems[0])], "batch_size": 1},
                },
            },
            "model_prob": {"water": 1, "ice": 2}, "numb_steps": 8, "save_freq": 4, "disp_freq": 4, "enable_ema": True,
        },
        "dpjax": single["dpjax"],
    }  # fmt: skip
    return tiny.edited(data, edits)


@pytest.fixture(scope="module")
def done(systems, tmp_path_factory):
    output = tmp_path_factory.mktemp("run")
    return dpjax.train(inputs(systems), output), output


def test_one_run_trains_both(done):
    """Columns of the learning curve name their task; the checkpoint has one tree of pieces and statistics of each task."""
    result, output = done
    header = (output / "lcurve.out").read_text().splitlines()[0].split()
    assert header == [
        "#", "step", "rmse_val_ice", "rmse_trn_ice", "rmse_e_val_ice", "rmse_e_trn_ice", "rmse_val_water", "rmse_trn_water",
        "rmse_e_val_water", "rmse_e_trn_water", "lr",
    ]  # fmt: skip
    assert np.all(np.isnan(read_lcurve(output / "lcurve.out")["rmse_e_val_water"]))
    arrays, _ = load_checkpoint(result.checkpoint)
    assert set(arrays["params"]) == {"shared:d", "water:fitting_net", "ice:fitting_net"}
    assert set(arrays["stats"]) == {"water", "ice"}
    assert arrays["stats"]["ice"]["fitting_net"]["case_embd"].tolist() == [1.0, 0.0]
    assert result.programs <= 4


def test_statistics_of_a_shared_descriptor_are_pooled(systems):
    prepared = prepare_tasks(load_tasks(inputs(systems)))
    own = {name: drawn_moments(setup)[0][""] for name, setup in prepared.setups.items()}
    expected = own["water"] + own["ice"].scaled(2.0)
    for setup in prepared.setups.values():
        np.testing.assert_allclose(setup.variables["stats"]["descriptor"]["davg"], expected.davg(), atol=1e-12)
        np.testing.assert_allclose(setup.variables["stats"]["descriptor"]["dstd"], expected.dstd(), atol=1e-12)


@pytest.mark.slow
def test_a_branch_is_a_model_by_itself(done):
    coord, types = np.array([[[0.0, 0, 0], [1.0, 0, 0], [0, 1.1, 0]]]), np.array([0, 1, 1])
    water, ice = (dpjax.load(done[1], head=head) for head in ("water", "ice"))
    assert water.evaluate(coord, types)["energy"] != ice.evaluate(coord, types)["energy"]
    assert same(water.variables["params"]["descriptor"], ice.variables["params"]["descriptor"])
    alias = dpjax.load(done[0].checkpoint, head="h2o")
    assert alias.evaluate(coord, types)["energy"] == water.evaluate(coord, types)["energy"]
    with pytest.raises(ModelError, match=r"holds several models and none was chosen. Name one with head: water, ice"):
        dpjax.load(done[1])
    with pytest.raises(ModelError, match="and 'steam' is not among them"):
        dpjax.load(done[1], head="steam")


def test_each_branch_is_frozen_unless_one_is_chosen(done, tmp_path, monkeypatch, capsys):
    from dpjax import export

    saved, file = [], tmp_path / "file"
    file.touch()
    monkeypatch.setattr(export, "save", lambda pot, path, **_: saved.append((path, pot)) or file)
    assert main(["freeze", "-c", str(done[1]), "-o", "run/model"]) == 0
    assert main(["freeze", "-c", str(done[1]), "-o", "ice.dpx", "--head", "ice"]) == 0
    assert [path for path, _ in saved] == ["run/model_water.dpx", "run/model_ice.dpx", "ice.dpx"]
    water, ice, again = (pot.variables["params"]["fitting_net"] for _, pot in saved)
    assert same(ice, again) and not same(water, ice)


def test_a_branch_can_be_fine_tuned(done, systems, tmp_path):
    """By its name or its alias; the case vector goes with it, and an unknown name lists those that are there."""
    single = tiny.config(
        systems[:1], tiny.ENERGY_ONLY | {"training/numb_steps": 0, "model/fitting_net/dim_case_embd": 2}
    )
    result = dpjax.train(single, tmp_path, finetune=done[1], model_branch="h2o")
    theirs = load_checkpoint(done[0].checkpoint)[0]
    ours = load_checkpoint(result.checkpoint)[0]
    assert same(ours["params"]["fitting_net"], theirs["params"]["water:fitting_net"])
    assert ours["stats"]["fitting_net"]["case_embd"].tolist() == [0.0, 1.0]
    with pytest.raises(ConfigError, match="found 'steam', but .* has the branches water, ice, h2o"):
        dpjax.train(single, tmp_path / "x", finetune=done[1], model_branch="steam")


def renamed(data: dict, old: str, new: str, **branch) -> dict:
    """The input with another name for a task, and more keys in its branch."""
    swapped = {
        "model/model_dict": data["model"]["model_dict"],
        "training/data_dict": data["training"]["data_dict"],
        "loss_dict": data["loss_dict"],
        "training/model_prob": data["training"]["model_prob"],
    }
    changed = tiny.edited(
        data, {path: {new if k == old else k: v for k, v in d.items()} for path, d in swapped.items()}
    )
    changed["model"]["model_dict"][new] |= branch
    return changed


@pytest.mark.slow
def test_tasks_start_from_the_branches_of_a_pretrained_model(done, systems, tmp_path):
    """By their own names as they are, by `finetune_head` with a shifted bias, else with a new head and a free case vector."""
    data = inputs(systems, {"training/numb_steps": 0, "training/enable_ema": False})
    theirs = load_checkpoint(done[0].checkpoint)[0]

    def started(data: dict, name: str) -> dict:
        return load_checkpoint(dpjax.train(data, tmp_path / name, finetune=done[1]).checkpoint)[0]

    arrays = started(renamed(data, "ice", "rain"), "random")
    assert same(arrays["params"]["shared:d"], theirs["params"]["shared:d"])
    assert same(arrays["params"]["water:fitting_net"], theirs["params"]["water:fitting_net"])
    assert same(arrays["stats"]["water"], theirs["stats"]["water"])
    assert not same(arrays["params"]["rain:fitting_net"], theirs["params"]["ice:fitting_net"])
    assert arrays["stats"]["rain"]["fitting_net"]["case_embd"].tolist() == [1.0, 0.0]  # that of ice, which is gone
    assert "pretrained" in (tmp_path / "random" / "finetune_water.out").read_text()
    arrays = started(renamed(data, "ice", "snow", finetune_head="ice"), "named")
    assert same(arrays["params"]["snow:fitting_net"], theirs["params"]["ice:fitting_net"])
    biases = [tree["stats"][name]["out_bias"] for tree, name in ((arrays, "snow"), (theirs, "ice"))]
    assert not np.allclose(*biases)
    np.testing.assert_allclose(
        change_bias(tmp_path / "named", tmp_path / "again", systems[1], head="snow"), biases[0], atol=1e-9
    )
    with pytest.raises(
        ConfigError, match="model_dict/snow/finetune_head: found 'steam', but .* has the branches water"
    ):
        started(renamed(data, "ice", "snow", finetune_head="steam"), "x")
    with pytest.raises(ConfigError, match="model_dict/snow/finetune_head: found 'ice', .* but no such model is given"):
        dpjax.train(renamed(data, "ice", "snow", finetune_head="ice"), tmp_path / "x")
    with pytest.raises(ConfigError, match="model_branch: found 'water' for an input of several tasks"):
        dpjax.train(data, tmp_path / "x", finetune=done[1], model_branch="water")


@pytest.mark.parametrize("start", ["finetune", "init_model"])
def test_tasks_take_their_sections_from_a_pretrained_model(done, systems, tmp_path, start):
    """Also what they share, which they then still do."""
    data = inputs(systems, {"training/numb_steps": 0, "training/enable_ema": False, "model/shared_dict/d/neuron": [3]})
    for branch in data["model"]["model_dict"].values():
        branch["fitting_net"] = {"neuron": [2], "dim_case_embd": 2}
    result = dpjax.train(data, tmp_path, **{start: done[1]}, use_pretrain_script=True)
    (ours, meta), theirs = load_checkpoint(result.checkpoint), load_checkpoint(done[0].checkpoint)[0]
    assert same(ours["params"], theirs["params"])
    model = meta["config"]["model"]
    assert model["shared_dict"]["d"]["neuron"] == [4, 8]
    assert [branch["descriptor"] for branch in model["model_dict"].values()] == ["d", "d"]


def test_tasks_start_from_parameters_of_the_same_tasks(done, systems, tmp_path):
    data = inputs(systems, {"training/numb_steps": 0})
    result = dpjax.train(data, tmp_path / "run", init_model=done[1])
    ours, theirs = (load_checkpoint(run.checkpoint)[0] for run in (result, done[0]))
    assert same(ours["params"], theirs["params"]) and same(ours["stats"], theirs["stats"]) and int(ours["step"]) == 0
    with pytest.raises(ModelError, match="'rain' is not among them"):
        dpjax.train(renamed(data, "ice", "rain"), tmp_path / "x", init_model=done[1])


@pytest.mark.slow
def test_each_task_has_its_own_bias(done, systems, tmp_path):
    """Shifted after a training: its frames ask for no further shift. Changed afterwards: the other task keeps its own."""
    edits = {"training/numb_steps": 0, "training/change_bias_after_training": True, "training/enable_ema": False}
    result = dpjax.train(inputs(systems, edits), tmp_path / "run")
    before = load_checkpoint(result.checkpoint)[0]["stats"]
    for name, system in zip(("h2o", "ice"), systems, strict=True):
        bias = change_bias(tmp_path / "run", tmp_path / name, system, head=name)
        np.testing.assert_allclose(bias, before[{"h2o": "water"}.get(name, name)]["out_bias"], rtol=0, atol=1e-9)
    assert main(["change-bias", str(done[1]), "-b", "1", "2", "--head", "h2o", "-o", str(tmp_path / "given")]) == 0
    stats, old = (load_checkpoint(path)[0]["stats"] for path in (tmp_path / "given", done[0].checkpoint))
    assert stats["water"]["out_bias"].ravel().tolist() == [1.0, 2.0] and same(stats["ice"], old["ice"])
    with pytest.raises(ModelError, match="holds several models and none was chosen"):
        change_bias(tmp_path / "run", tmp_path / "x", systems[0])


@pytest.mark.slow
def test_tasks_can_be_trained_in_mixed_precision(systems, tmp_path):
    single = {"model/shared_dict/d/precision": "float32"}
    single |= {f"model/model_dict/{name}/fitting_net/precision": "float32" for name in ("water", "ice")}
    mixed = {"training/mixed_precision": {"compute_prec": "float16"}}
    curves = []
    for name, edits in (("exact", single), ("mixed", single | mixed)):
        result = dpjax.train(inputs(systems, edits), tmp_path / name)
        curves.append(read_lcurve(tmp_path / name / "lcurve.out")["rmse_e_trn_ice"])
    assert "scale" in load_checkpoint(result.checkpoint)[0]
    np.testing.assert_allclose(curves[0], curves[1], rtol=0.2)
    assert not np.allclose(curves[0], curves[1], rtol=1e-9)


def test_a_restart_ends_with_the_same_bits(done, systems, tmp_path):
    result = dpjax.train(inputs(systems), tmp_path, restart=done[1] / "model.ckpt-4")
    assert same(load_checkpoint(result.checkpoint)[0], load_checkpoint(done[0].checkpoint)[0])


@pytest.mark.parametrize("kind", MESSAGES)
def test_type_vectors_of_descriptors_that_pass_messages_are_shared_alone(kind, systems):
    edits = {"model/shared_dict/d": MESSAGES[kind]}
    edits |= {f"model/model_dict/{name}/descriptor": "d:1" for name in ("water", "ice")}
    prepared = prepare_tasks(load_tasks(inputs(systems, edits)))
    common = prepared.setups["ice"].variables["params"]
    own = {f"{name}:{part}" for name in ("water", "ice") for part in ("descriptor", "fitting_net")}
    assert set(common) == {"shared:d.type_embedding", *own}
    models = [setup.arrange(common)["descriptor"] for setup in prepared.setups.values()]
    assert models[0]["type_embedding"] is models[1]["type_embedding"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", MESSAGES)
def test_tasks_share_a_descriptor_that_passes_messages(kind, systems, tmp_path):
    """Both train it, each head can be loaded, and a restart ends with the same bits."""
    data = inputs(systems, {"model/shared_dict/d": MESSAGES[kind]})
    result = dpjax.train(data, tmp_path / "run")
    arrays, _ = load_checkpoint(result.checkpoint)
    assert set(arrays["params"]) == {"shared:d", "water:fitting_net", "ice:fitting_net"}
    before = prepare_tasks(load_tasks(data)).setups["ice"].variables["params"]
    for piece, tree in arrays["params"].items():
        assert not same(tree, before[piece]), piece
    water, ice = (dpjax.load(tmp_path / "run", head=head) for head in ("water", "ice"))
    assert same(water.variables["params"]["descriptor"], ice.variables["params"]["descriptor"])
    coord, types = np.array([[[0.0, 0, 0], [1.0, 0, 0], [0, 1.1, 0]]]), np.array([0, 1, 1])
    energies = [pot.evaluate(coord, types)["energy"] for pot in (water, ice)]
    assert np.all(np.isfinite(energies)) and energies[0] != energies[1]
    again = dpjax.train(data, tmp_path / "again", restart=tmp_path / "run" / "model.ckpt-4")
    assert same(load_checkpoint(again.checkpoint)[0], arrays)


@pytest.mark.slow
def test_validated_and_accumulated_with_a_kill_in_between(systems, tmp_path, caplog):
    """A task with validation data has its log and its best checkpoints; a restart between two updates ends with the same."""
    edits = {
        "training/numb_steps": 6, "training/acc_freq": 2, "training/save_freq": 3,
        "validating": {"full_validation": True, "validation_freq": 2, "full_val_start": 0, "ema_full_validation": True},
    }  # fmt: skip
    with caplog.at_level("INFO", "dpjax"):
        dpjax.train(inputs(systems, edits), tmp_path / "whole")
    assert "no full validation of water" in caplog.text
    files = sorted(p.name for p in (tmp_path / "whole").glob("val*"))
    assert files == ["val.ice.log", "val_ema.ice.log"]
    rows = np.loadtxt(tmp_path / "whole" / "val.ice.log")
    assert rows[:, 0].tolist() == [2, 4, 6] and np.all(np.isfinite(rows))
    best = min(rows.tolist(), key=lambda row: row[1])
    pot = dpjax.load(tmp_path / "whole" / f"best.ice.ckpt-{best[0]:.0f}.t-1", head="ice")
    arrays = {p.stem: np.load(p) for p in (systems[0] / "set.000").glob("*.npy")}
    frames, types = len(arrays["coord"]), np.loadtxt(systems[0] / "type.raw", dtype=int)
    out = pot.evaluate(arrays["coord"].reshape(frames, -1, 3), types, arrays["box"].reshape(frames, 3, 3))
    errors = 1e3 * np.abs(out["energy"].ravel() - arrays["energy"].ravel()) / len(types)
    np.testing.assert_allclose(best[1], errors.mean(), rtol=1e-4)
    params = [load_checkpoint(tmp_path / "whole" / f"model.ckpt-{step}")[0]["params"] for step in (3, 6)]
    assert not same(*params)
    dpjax.train(inputs(systems, edits), tmp_path / "again", restart=tmp_path / "whole" / "model.ckpt-3")
    assert same(*(load_checkpoint(tmp_path / run / "model.ckpt-6")[0] for run in ("whole", "again")))


@pytest.mark.slow
@pytest.mark.parametrize("turns", [True, False])
def test_several_tasks_as_an_ensemble(done, systems, tmp_path, monkeypatch, turns):
    """The first member is what the tasks become by themselves; each of a task can be loaded, and a restart goes on."""
    monkeypatch.setattr(training_setup, "take_turns", lambda: turns)
    data = inputs(systems, {"dpjax/ensemble": 2})
    result = dpjax.train(data, tmp_path / "run")
    ours, theirs = (load_checkpoint(path)[0] for path in (result.checkpoint, done[0].checkpoint))
    for name in ("params", "ema"):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b, rtol=0, atol=1e-12), ours[name], theirs[name])
    first, second = (dpjax.load(tmp_path / "run", head="ice", member=i).variables["params"] for i in range(2))
    assert same(first["descriptor"], jax.tree.map(lambda a: a[0], ours["params"]["shared:d"]))
    assert not same(first["fitting_net"], second["fitting_net"])
    again = dpjax.train(data, tmp_path / "again", restart=tmp_path / "run" / "model.ckpt-4")
    assert same(ours, load_checkpoint(again.checkpoint)[0])
    with pytest.raises(ModelError, match="holds an ensemble of 2 models and none was chosen"):
        dpjax.load(tmp_path / "run", head="ice")


@pytest.mark.slow
def test_the_state_of_several_tasks_can_be_split(systems, tmp_path):
    """Over the devices, at any stage, with the numbers of the whole one."""
    wide = {f"model/model_dict/{name}/fitting_net/neuron": [40, 40] for name in ("water", "ice")}
    edits = wide | {"training/enable_ema": False, "training/acc_freq": 2}
    runs = [dpjax.train(inputs(systems, edits | {"training/zero_stage": n}), tmp_path / f"{n}") for n in (0, 1, 3)]
    whole, *split = (load_checkpoint(result.checkpoint)[0] for result in runs)
    for arrays in split:
        for ours, theirs in zip(*map(jax.tree.leaves, (arrays, whole)), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_epochs_of_each_task_say_how_long(systems):
    edits = {"training/numb_steps": tiny.REMOVE, "training/model_prob": tiny.REMOVE}
    data = inputs(systems, edits | {"training/num_epoch_dict": {"water": 2, "ice": 1.5}})
    prepared = prepare_tasks(load_tasks(data))
    assert prepared.first.num_steps == 2 * 2 + 6  # passes of 2 and of 4 batches
    assert prepared.draw.probabilities.tolist() == [0.4, 0.6]


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"training/acc_freq": 9}, "training/acc_freq: found 9, more than training/numb_steps"),
        (
            {"training/data_dict/ice/validation_data": tiny.REMOVE, "validating": {"full_validation": True}},
            "validating/full_validation: found true, but no task has both",
        ),
        ({"optimizer": {"type": "LKF"}}, "optimizer/type: found 'LKF', which trains one model"),
        ({"model/model_dict/ice/descriptor": "d:1"}, "descriptor: found 'd:1'; :0 shares the whole"),
        (
            {"model/model_dict/ice/fitting_net/dim_case_embd": 1},
            "ice/fitting_net/dim_case_embd: found 1, but there are 2",
        ),
        ({"training/model_prob": {"water": 0, "ice": 0}}, "model_prob: found .* needs a weight above 0"),
        ({"loss_dict/ice": {"type": "dos"}}, "task ice: .*the fitting net 'ener' predicts energy"),
    ],
)
def test_what_several_tasks_cannot_do(systems, edits, message):
    with pytest.raises(ConfigError, match=message):
        prepare_tasks(load_tasks(inputs(systems, edits)))


def test_missing_data_are_those_of_a_task(systems, tmp_path):
    data = inputs(systems, {"training/data_dict/ice/training_data/systems": [str(tmp_path / "none")]})
    with pytest.raises(DataError, match="task ice: .*none"):
        prepare_tasks(load_tasks(data))
