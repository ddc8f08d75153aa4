"""Training of hybrids: each member's ``sel``, statistics, settings and trainability."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

import dpjax
from dpjax.checkpoints import load_checkpoint
from dpjax.config import load
from dpjax.descriptors import expansion
from dpjax.errors import ConfigError
from dpjax.models import resolutions
from dpjax.neighbors import search
from dpjax.training import setup as training_setup
from dpjax.training.devices import data_mesh
from dpjax.training.forecast import forecast
from dpjax.training.report import lines
from dpjax.training.setup import prepare
from tests.training import tiny

FAR = tiny.config([])["model"]["descriptor"]
NEAR = {"type": "se_e2_r", "rcut": 2.4, "rcut_smth": 1.0, "sel": [8, 16], "neuron": [3], "seed": 5}
NEAR["type_one_side"] = True
OF_ALL = {"type": "se_atten", "rcut": 3.0, "rcut_smth": 1.0, "sel": 30, "neuron": [3, 6], "axis_neuron": 2}
OF_ALL |= {"tebd_dim": 2, "attn": 4, "attn_layer": 1, "seed": 6}
DESCRIPTOR = {"type": "hybrid", "list": [NEAR, FAR]}
HYBRID = {"model/descriptor": DESCRIPTOR}
LISTED = "model/descriptor/list"


def changed(i: int, **options) -> dict:
    """The hybrid with options of one member changed."""
    return {"type": "hybrid", "list": [part | (options if k == i else {}) for k, part in enumerate([NEAR, FAR])]}


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    return tiny.system(tmp_path_factory.mktemp("hybrid") / "system")


@pytest.fixture(scope="module")
def trained(system, tmp_path_factory):
    """Input, output folder and result of six steps."""
    config = tiny.config([system], HYBRID | tiny.ENERGY_ONLY)
    folder = tmp_path_factory.mktemp("trained")
    return config, folder, dpjax.train(config, folder)


def same(a, b) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def most(system, rcut: float, together: bool = False) -> np.ndarray:
    """(2,) the most neighbours of each type, or () of both ``together``."""
    coord = np.load(system / "set.000" / "coord.npy").reshape(4, 6, 3)
    atype = np.loadtxt(system / "type.raw", dtype=int)
    counts = [search(frame, atype, 2, rcut, tiny.CELL).count for frame in coord]
    return np.max([count.sum(1) if together else count for count in counts], axis=(0, 1))


def test_auto_sel_is_counted_at_the_cutoff_of_each_member(system, tmp_path):
    parts = [NEAR | {"sel": "auto:1.5"}, FAR | {"sel": "auto"}, FAR]
    edits = {"model/descriptor": {"type": "hybrid", "list": parts}, "training/numb_steps": 0}
    dpjax.train(tiny.config([system], edits), tmp_path)
    want = [[4 * -(-int(n * k) // 4) for n in most(system, rcut)] for k, rcut in ((1.5, 2.4), (1.1, 3.0))]
    written = json.loads((tmp_path / "out.json").read_text())["model"]["descriptor"]["list"]
    assert [part["sel"] for part in written] == [*want, [12, 20]]
    assert [part.sel for part in dpjax.load(tmp_path).config.descriptor.list] == [*map(tuple, want), (12, 20)]


def test_auto_sel_of_all_types_together(system, tmp_path):
    """A number, where the option takes one: of a descriptor by itself and in a hybrid, beside one that counts each type."""
    want = [4 * -(-int(most(system, rcut, together=True) * 1.1) // 4) for rcut in (2.4, 3.0)]
    for name, descriptor in (
        ("alone", OF_ALL | {"sel": "auto"}),
        ("hybrid", {"type": "hybrid", "list": [OF_ALL | {"sel": "auto", "rcut": 2.4}, FAR, OF_ALL | {"sel": "auto"}]}),
    ):
        edits = {"model/descriptor": descriptor, "training/numb_steps": 0}
        dpjax.train(tiny.config([system], edits), tmp_path / name)
    alone, both = (json.loads((tmp_path / n / "out.json").read_text())["model"] for n in ("alone", "hybrid"))
    assert alone["descriptor"]["sel"] == want[1]
    assert [part["sel"] for part in both["descriptor"]["list"]] == [want[0], [12, 20], want[1]]
    assert dpjax.load(tmp_path / "hybrid").model.sel == (None, None)


@pytest.mark.slow
def test_training_of_both_kinds_of_members(system, tmp_path, monkeypatch):
    """One fitting net for all types, atoms sorted by type, series for one member; on one device and two, of which one gets less."""
    monkeypatch.setattr(expansion, "SERIES_COST", 0.0)
    descriptor = {"type": "hybrid", "list": [OF_ALL | {"rcut": 2.4, "sel": 9, "attn_layer": 0}, FAR]}
    edits = {"model/descriptor": descriptor, "training/numb_steps": 2, "training/training_data/batch_size": 3}
    config, ends = tiny.config([system], edits | tiny.ENERGY_ONLY), []
    for n_device in (1, 2):
        monkeypatch.setattr(training_setup, "data_mesh", lambda n=n_device: data_mesh(jax.devices()[:n]))
        ends.append(dpjax.train(config, tmp_path / str(n_device)))
    one, two = (load_checkpoint(result.checkpoint)[0] for result in ends)
    assert one["params"]["fitting_net"].keys() == {"net_all"}
    for x, y in zip(*map(jax.tree.leaves, (one["params"], two["params"])), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-11)
    pot = dpjax.load(tmp_path / "1")
    dpjax.save(pot, tmp_path / "model.dp")
    more = dpjax.train(
        tiny.edited(config, {"training/numb_steps": 0}), tmp_path / "3", init_model=tmp_path / "model.dp"
    )
    assert same(load_checkpoint(more.checkpoint)[0]["params"], one["params"])


def test_statistics_are_those_of_the_members_alone(system):
    """Also where a member leaves neighbours out: of its own list, not of the one that the members share."""
    parts = [
        NEAR | {"sel": [1, 2]},
        FAR | {"exclude_types": [[0, 1]]},
        NEAR | {"set_davg_zero": True},
        OF_ALL | {"sel": 5},
    ]

    def stats(descriptor):
        return prepare(load(tiny.config([system], {"model/descriptor": descriptor}))).variables["stats"]["descriptor"]

    together = stats({"type": "hybrid", "list": parts})
    assert together.keys() == {f"members_{i}" for i in range(4)}
    for i, part in enumerate(parts):
        alone = stats(part)
        assert alone.keys() == {"davg", "dstd"}
        assert np.any(alone["dstd"] != 1)
        for name, value in alone.items():
            np.testing.assert_array_equal(together[f"members_{i}"][name], value)


def test_statistics_are_kept_and_not_mixed_up(system, tmp_path):
    """A hybrid of one has the settings of its member, but names of its own."""
    file = {"training/stat_file": str(tmp_path / "stat.h5")}

    def stats(descriptor):
        edits = file | {"model/descriptor": descriptor}
        return prepare(load(tiny.config([system], edits))).variables["stats"]["descriptor"]

    alone, of_one = stats(FAR), stats({"type": "hybrid", "list": [FAR]})
    np.testing.assert_array_equal(of_one["members_0"]["davg"], alone["davg"])
    assert np.any(alone["davg"] != 0)
    first, again, other = stats(DESCRIPTOR), stats(DESCRIPTOR), stats(changed(0, rcut=2.5))
    assert same(first, again)
    assert not same(first["members_0"], other["members_0"])
    assert same(first["members_1"], other["members_1"])


@pytest.mark.slow
def test_one_member_is_frozen(system, tmp_path):
    config = tiny.config([system], {"model/descriptor": changed(1, trainable=False)} | tiny.ENERGY_ONLY)
    dpjax.train(config, tmp_path)
    start = prepare(load(config)).variables["params"]["descriptor"]
    end = load_checkpoint(tmp_path / "model.ckpt-6")[0]["params"]["descriptor"]
    assert same(start["members_1"], end["members_1"])
    assert not same(start["members_0"], end["members_0"])


def test_a_seed_for_each_member(system):
    """Another seed of one member changes the parameters of that member."""
    first, other = (
        prepare(load(tiny.config([system], {"model/descriptor": d}))).variables["params"]["descriptor"]
        for d in (DESCRIPTOR, changed(0, seed=6))
    )
    assert not same(first["members_0"], other["members_0"])
    assert same(first["members_1"], other["members_1"])


@pytest.mark.slow
def test_a_restart_ends_where_the_whole_run_does(trained, tmp_path):
    config, folder, result = trained
    dpjax.train(tiny.edited(config, {"training/numb_steps": 3, "learning_rate/decay_rate": 0.5}), tmp_path)
    resumed = dpjax.train(tiny.edited(config, {"learning_rate/decay_rate": 0.5}), tmp_path, restart=True)
    whole = dpjax.train(tiny.edited(config, {"learning_rate/decay_rate": 0.5}), tmp_path / "whole")
    assert same(load_checkpoint(resumed.checkpoint)[0]["params"], load_checkpoint(whole.checkpoint)[0]["params"])


@pytest.mark.parametrize("kind", ["checkpoint", "dp"])
def test_init_model(trained, tmp_path, kind, caplog):
    config, folder, result = trained
    start = folder if kind == "checkpoint" else tmp_path / "model.dp"
    if kind == "dp":
        dpjax.save(dpjax.load(folder), start)
    auto = changed(0, sel="auto")
    begun = dpjax.train(
        tiny.edited(config, {"training/numb_steps": 0, "model/descriptor": auto}), tmp_path / "out", init_model=start
    )
    want, got = load_checkpoint(result.checkpoint)[0], load_checkpoint(begun.checkpoint)[0]
    assert same(got["params"], want["params"])
    assert same(got["stats"], want["stats"])
    assert dpjax.load(tmp_path / "out").config.descriptor.list[0].sel == (8, 16)
    assert caplog.text == ""


def test_init_model_with_another_meaning_warns(trained, tmp_path, caplog):
    config, folder, _ = trained
    edits = {"model/descriptor": changed(0, rcut=2.5), "training/numb_steps": 0}
    dpjax.train(tiny.edited(config, edits), tmp_path, init_model=folder)
    assert f"{LISTED}/0/rcut: found 2.5, but the model to start from has 2.4" in caplog.text


DIFFERENT = {
    "shape": (changed(1, neuron=[4, 9]), r"list/1/neuron: found \[4, 9\], but the model to start from has \[4, 8\]"),
    "member": (
        {"type": "hybrid", "list": [FAR, FAR]},
        r'list/0/type: found "se_e2_a", but the model to start from has "se_e2_r"',
    ),
    "number": (
        {"type": "hybrid", "list": [NEAR]},
        r'list: found \["se_e2_r"\], but the model to start from has \["se_e2_r", "se_e2_a"\]',
    ),
    "no hybrid": (FAR | {"sel": "auto"}, r'/type: found "se_e2_a", but the model to start from has "hybrid"'),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_init_model_of_another_descriptor(trained, tmp_path, name):
    config, folder, _ = trained
    descriptor, message = DIFFERENT[name]
    with pytest.raises(ConfigError, match="model/descriptor/?" + message):
        dpjax.train(tiny.edited(config, {"model/descriptor": descriptor}), tmp_path, init_model=folder)


def test_the_report(system, caplog):
    def report(descriptor):
        config = load(tiny.config([system], {"model/descriptor": descriptor, "training/numb_steps": 1}))
        return dict(line.split(": ", 1) for line in lines(forecast(config, compiled=False)))

    near, far = most(system, 2.4), most(system, 3.0)
    found = report(DESCRIPTOR)
    assert found["model"].startswith(
        "standard, descriptor hybrid of se_e2_r (rcut 2.4 angstrom, sel 8, 16) and se_e2_a (rcut 3 angstrom, sel 12, 20), fitting"
    )
    assert found["neighbours"] == (
        f"at most {near[0]} O (sel 8), {near[1]} H (sel 16) within 2.4 angstrom for list/0; "
        f"{far[0]} O (sel 12), {far[1]} H (sel 20) within 3 angstrom for list/1; none is left out"
    )
    assert caplog.text == ""
    found = report(changed(0, sel=[8, 1]))
    assert found["neighbours"].endswith("; sel is too small for H in list/0, the farthest are left out")
    [text] = caplog.messages
    assert text.startswith(
        f"{LISTED}/0/sel: an atom in {system} has {near[1]} neighbours of type H within 2.4 angstrom"
    )


def test_series_for_training(system, monkeypatch):
    monkeypatch.setattr(expansion, "SERIES_COST", 0.0)
    found = forecast(load(tiny.config([system], HYBRID | {"training/numb_steps": 1})), compiled=False)
    assert found.series
    [layout] = found.shapes.first
    with jax.enable_x64(True):
        grids = resolutions(found.setup.model, found.setup.variables, layout)
    assert grids[-1] is None
    assert all(None not in grid.members for grid in grids[:-1])
