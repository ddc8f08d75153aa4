"""Going on from a checkpoint, and starting from another model."""

from __future__ import annotations

import logging
import shutil

import jax
import numpy as np
import pytest

import dpjax
from dpjax.checkpoints import CheckpointStore, load_checkpoint
from dpjax.checkpoints.folder import ARRAYS, META, TEMPORARY, write
from dpjax.checkpoints.manifest import describe
from dpjax.errors import ConfigError, ModelError
from dpjax.training.lcurve import read_lcurve
from dpjax.training.programs import Programs
from dpjax.training.rows import rows_before
from tests.training import tiny

pytestmark = pytest.mark.filterwarnings("ignore:1 of 2 systems have no virial")


class Killed(Exception):
    """Stands for whatever ends a process."""


def same(a, b) -> bool:
    """Whether two trees are equal bit by bit."""
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        np.asarray(x).tobytes() == np.asarray(y).tobytes()
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


@pytest.fixture
def killed(finished, tmp_path, monkeypatch):
    """The output of the same training, killed while it makes its fifth step; checkpoints every third."""
    config = tiny.edited(finished.config, {"training/save_freq": 3})
    update, made = Programs.update, []

    def dying(self, state, data):
        if len(made) == 4:
            raise Killed
        made.append(1)
        return update(self, state, data)

    with monkeypatch.context() as patch:
        patch.setattr(Programs, "update", dying)
        with pytest.raises(Killed):
            dpjax.train(config, tmp_path / "killed")
    return config, tmp_path / "killed"


@pytest.fixture
def half(finished, tmp_path):
    """A folder that holds what was there after the third step."""
    folder = tmp_path / "half"
    folder.mkdir()
    shutil.copytree(finished.output / "model.ckpt-3", folder / "model.ckpt-3")
    (folder / "checkpoint").write_text("model.ckpt-3\n")
    shutil.copy(finished.output / "lcurve.out", folder)
    return folder


def test_a_kill_leaves_the_checkpoints_before_it(finished, killed):
    _, output = killed
    assert (output / "checkpoint").read_text() == "model.ckpt-3\n"
    assert same(load_checkpoint(output / "model.ckpt-3")[0], load_checkpoint(finished.output / "model.ckpt-3")[0])


def test_a_restart_ends_with_the_same_bits(finished, killed):
    """Parameters, moments of the optimizer, statistics and data position, and the rows of the learning curve."""
    config, output = killed
    assert read_lcurve(output / "lcurve.out")["step"].tolist() == [1, 2, 4]
    result = dpjax.train(config, output, restart=True)
    assert (result.steps, result.checkpoint) == (6, output / "model.ckpt-6")
    (want, want_meta), (got, got_meta) = (load_checkpoint(r.checkpoint) for r in (finished.result, result))
    assert set(want) == {"step", "params", "opt_state", "stats"}
    assert same(want, got)
    assert got_meta["data"] == want_meta["data"]
    assert (output / "lcurve.out").read_text() == (finished.output / "lcurve.out").read_text()


def test_restart_from_a_named_checkpoint(finished, tmp_path):
    """The folder may be another one; newer checkpoints of the same run do not matter."""
    result = dpjax.train(finished.config, tmp_path, restart=finished.output / "model.ckpt-4")
    assert same(load_checkpoint(result.checkpoint)[0], load_checkpoint(finished.result.checkpoint)[0])
    assert read_lcurve(tmp_path / "lcurve.out")["step"].tolist() == [6]


def test_restart_with_nothing_to_restart_from(finished, tmp_path):
    with pytest.raises(
        ModelError, match=r"empty: expected a checkpoint named model.ckpt-<step>; steps found here: none"
    ):
        dpjax.train(finished.config, tmp_path / "empty", restart=True)
    with pytest.raises(ModelError, match=r"out.json: not a checkpoint; expected a folder such as model.ckpt-1000"):
        dpjax.train(finished.config, tmp_path, restart=finished.output / "out.json")


@pytest.mark.parametrize("frequency", [1, 2, 3, 7])
def test_rows_before_a_restart_are_counted(frequency):
    """The validation data go on where they were: after so many rows."""
    shown = [step for step in range(1, 21) if step == 1 or step % frequency == 0]
    assert [rows_before(n, frequency) for n in range(21)] == [sum(s <= n for s in shown) for n in range(21)]


@pytest.mark.parametrize("steps", [3, 2])
def test_restart_of_what_is_finished(finished, half, steps, caplog):
    """Nothing is trained and nothing is overwritten, whether as many steps were done as asked for or more."""
    before = load_checkpoint(half / "model.ckpt-3")[0]
    with caplog.at_level(logging.WARNING, "dpjax"):
        result = dpjax.train(tiny.edited(finished.config, {"training/numb_steps": steps}), half, restart=True)
    assert f"the checkpoint has 3 steps and {steps} are asked for" in caplog.text
    assert (result.steps, result.checkpoint, result.programs) == (3, half / "model.ckpt-3", 0)
    assert same(load_checkpoint(half / "model.ckpt-3")[0], before)
    assert [p.name for p in half.glob("model.ckpt*")] == ["model.ckpt-3"]


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"model/fitting_net/neuron": [6, 7]}, r"model/fitting_net/neuron: found \[6, 7\], but .* has \[6, 6\]. Copy"),
        ({"model/type_map": ["H", "O"]}, r"model/type_map: found \['H', 'O'\]"),
        ({"model/descriptor/rcut": 3.5}, r"model/descriptor/rcut: found 3\.5, but the model to start from has 3\.0"),
        ({"model/pair_exclude_types": [[0, 1]]}, r"model/pair_exclude_types: found \[\[0, 1\]\], but"),
        ({"model/fitting_net/activation_function": "relu"}, r"model/fitting_net/activation_function: found .relu."),
        ({"optimizer": {"type": "Adam", "weight_decay": 0.1}}, None),
        ({"model/descriptor/trainable": False}, r"restart: .*optimizer state of the checkpoint do not fit"),
    ],
)
def test_restart_with_another_model_or_optimizer(finished, half, edits, message):
    edits = edits | {"training/numb_steps": 3}
    if message is None:  # other numbers of the same optimizer are the user's choice
        assert dpjax.train(tiny.edited(finished.config, edits), half, restart=True).steps == 3
        return
    with pytest.raises(ConfigError, match=message):
        dpjax.train(tiny.edited(finished.config, edits), half, restart=True)
    assert (half / "model.ckpt-3").is_dir()


def test_restart_with_other_data_warns(finished, half, caplog):
    edits = {"training/training_data/systems": [str(finished.systems[0])], "training/validation_data": tiny.REMOVE}
    with caplog.at_level(logging.WARNING, "dpjax"):
        assert dpjax.train(tiny.edited(finished.config, edits), half, restart=True).steps == 6
    assert "frames are drawn anew from step 3 on" in caplog.text


def emptied(path):
    """Files of a machine that lost power: they have names but no content."""
    for file in (path / ARRAYS / "d").iterdir():
        file.write_bytes(b"")


def cut_off(path):
    """The array file ends in the middle."""
    for file in (path / ARRAYS / "d").iterdir():
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def changed(path):
    """Bits of the arrays flipped while the storage still takes them for whole: only our own checksum tells."""
    arrays, meta = load_checkpoint(path)
    described = describe(arrays)
    shutil.rmtree(path)
    arrays["params"]["fitting_net"] = jax.tree.map(lambda a: a + 1e-15, arrays["params"]["fitting_net"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dpjax.checkpoints.manifest.describe", lambda tree: described)
        write(path, arrays, meta)


def without_description(path):
    (path / META / "metadata").unlink()


def half_a_description(path):
    file = path / META / "metadata"
    file.write_bytes(file.read_bytes()[:200])


def without_arrays(path):
    shutil.rmtree(path / ARRAYS)


DAMAGES = [emptied, cut_off, changed, without_description, half_a_description, without_arrays]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(finished, half, damage, capfd):
    """No step is made, so that the state of the older one is what is there in the end."""
    shutil.copytree(finished.output / "model.ckpt-4", half / "model.ckpt-4")
    (half / "checkpoint").write_text("model.ckpt-4\n")
    damage(half / "model.ckpt-4")
    config = tiny.edited(finished.config, {"training/numb_steps": 3})
    with pytest.warns(UserWarning, match=r"model.ckpt-4: this checkpoint is damaged .*Using the older .*model.ckpt-3"):
        result = dpjax.train(config, half, restart=True)
    assert (result.steps, result.checkpoint) == (3, half / "model.ckpt-3")
    assert same(load_checkpoint(result.checkpoint)[0], load_checkpoint(finished.output / "model.ckpt-3")[0])
    assert "Traceback" not in capfd.readouterr().err


def test_what_cut_off_saves_left_is_no_checkpoint(finished, half):
    """Neither restored nor in the way, even if the file ``checkpoint`` names it, and gone after the next save."""
    temporary, lost, damaged = (half / name for name in (f"model.ckpt-4{TEMPORARY}", "model.ckpt-5", "model.ckpt-4"))
    for left in (temporary, lost, damaged):
        shutil.copytree(finished.output / "model.ckpt-4", left)
    shutil.rmtree(temporary / ARRAYS)
    shutil.rmtree(lost / META)
    emptied(damaged)
    (half / "checkpoint").write_text("model.ckpt-5\n")
    with pytest.warns(UserWarning, match=r"model.ckpt-4: this checkpoint is damaged"):
        result = dpjax.train(finished.config, half, restart=True)
    assert same(load_checkpoint(result.checkpoint)[0], load_checkpoint(finished.result.checkpoint)[0])
    assert sorted(p.name for p in half.glob("model.ckpt*")) == [f"model.ckpt-{step}" for step in (3, 4, 5, 6)]


def test_averaged_parameters_that_the_input_does_not_ask_for(finished, half):
    arrays, meta = load_checkpoint(half / "model.ckpt-3")
    CheckpointStore(half).save(3, arrays | {"ema": arrays["params"]}, meta)
    with pytest.raises(ConfigError, match=r"restart: the checkpoint has averaged parameters \(ema\), but this input"):
        dpjax.train(finished.config, half, restart=True)


@pytest.mark.parametrize("kind", ["checkpoint", "folder", "dp"])
def test_init_model(finished, tmp_path, kind, caplog):
    """Parameters and statistics of another model, a new optimizer, step 0."""
    start = {"checkpoint": finished.result.checkpoint, "folder": finished.output, "dp": tmp_path / "model.dp"}[kind]
    if kind == "dp":
        dpjax.save(dpjax.load(finished.output), start)
    result = dpjax.train(tiny.edited(finished.config, {"training/numb_steps": 0}), tmp_path / "out", init_model=start)
    (want, _), (got, _) = load_checkpoint(finished.result.checkpoint), load_checkpoint(result.checkpoint)
    assert result.steps == got["step"] == 0
    assert same(got["params"], want["params"])
    assert same(got["stats"], want["stats"])
    assert not any(np.any(leaf) for leaf in got["opt_state"].values())
    assert caplog.text == ""


def test_init_model_then_train_moves_on(finished, tmp_path):
    edits = {"training/validation_data": tiny.REMOVE}
    result = dpjax.train(tiny.edited(finished.config, edits), tmp_path, init_model=finished.output)
    assert result.steps == 6
    before, after = (load_checkpoint(r.checkpoint)[0]["params"] for r in (finished.result, result))
    assert not same(before, after)


def test_init_model_of_another_shape(finished, tmp_path):
    config = tiny.edited(finished.config, {"model/fitting_net/neuron": [6, 5]})
    with pytest.raises(ConfigError, match=r"model/fitting_net/neuron: found \[6, 5\], but the model to start from has"):
        dpjax.train(config, tmp_path, init_model=finished.output)


def test_init_model_with_another_meaning_warns(finished, tmp_path, caplog):
    config = tiny.edited(finished.config, {"model/descriptor/rcut": 3.5, "training/numb_steps": 0})
    dpjax.train(config, tmp_path, init_model=finished.output)
    assert "model/descriptor/rcut: found 3.5, but the model to start from has 3.0" in caplog.text


def test_restart_and_init_model_exclude_each_other(finished, tmp_path):
    with pytest.raises(ConfigError, match="exclude each other"):
        dpjax.train(finished.config, tmp_path, restart=True, init_model=finished.output)


def test_auto_sel_takes_that_of_the_model_to_start_from(finished, tmp_path):
    config = tiny.edited(finished.config, {"model/descriptor/sel": "auto", "training/numb_steps": 0})
    result = dpjax.train(config, tmp_path, init_model=finished.output)
    assert load_checkpoint(result.checkpoint)[1]["config"]["model"]["descriptor"]["sel"] == [12, 20]
