"""Several models in one training: what they share, which of them a step changes, restart, and each one alone afterwards."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import dpjax
from dpjax.checkpoints import load_checkpoint
from dpjax.config import load_tasks
from dpjax.errors import ConfigError, ModelError
from dpjax.training.lcurve import read_lcurve
from dpjax.training.task_setup import drawn_moments, prepare_tasks
from dpjax.training.tasks import PieceOptimizer, TaskDraw, arranged, common_tree, taken_apart
from tests.training import tiny
from tests.training.test_restart import same


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
    own = {name: drawn_moments(setup)[0] for name, setup in prepared.setups.items()}
    expected = own["water"] + own["ice"].scaled(2.0)
    for setup in prepared.setups.values():
        np.testing.assert_allclose(setup.variables["stats"]["descriptor"]["davg"], expected.davg(), atol=1e-12)
        np.testing.assert_allclose(setup.variables["stats"]["descriptor"]["dstd"], expected.dstd(), atol=1e-12)


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


def test_a_restart_ends_with_the_same_bits(done, systems, tmp_path):
    result = dpjax.train(inputs(systems), tmp_path, restart=done[1] / "model.ckpt-4")
    assert same(load_checkpoint(result.checkpoint)[0], load_checkpoint(done[0].checkpoint)[0])


def test_epochs_of_each_task_say_how_long(systems):
    edits = {"training/numb_steps": tiny.REMOVE, "training/model_prob": tiny.REMOVE}
    data = inputs(systems, edits | {"training/num_epoch_dict": {"water": 2, "ice": 1.5}})
    prepared = prepare_tasks(load_tasks(data))
    assert prepared.first.num_steps == 2 * 2 + 6  # passes of 2 and of 4 batches
    assert prepared.draw.probabilities.tolist() == [0.4, 0.6]


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"training/acc_freq": 2}, "training/acc_freq: found 2 in an input of several tasks"),
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
