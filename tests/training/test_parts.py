"""Training of sums of models, of models with a pair table at short distances, and with parts that stay as they are."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

import dpjax
from dpjax.errors import ConfigError, DataError, ModelError
from tests.shared import golden
from tests.training import tiny

TABLE = str(golden("pair_tables", "smooth.tab"))
PAIRS = {"type": "pairtab", "tab_file": TABLE, "rcut": 3.0, "sel": "auto"}
BASE = tiny.config([])["model"]
NETWORK = {key: BASE[key] for key in ("descriptor", "fitting_net")}
SHORT_RANGE = {"model/use_srtab": TABLE, "model/smin_alpha": 0.1, "model/sw_rmin": 1.0, "model/sw_rmax": 2.0}


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    return tiny.system(tmp_path_factory.mktemp("parts") / "system")


def config(system, models: list | dict, weights="sum", edits: dict | None = None) -> dict:
    model = {"type": "linear_ener", "type_map": list(tiny.TYPE_MAP), "models": models, "weights": weights}
    return tiny.config([system], {"model": model} | tiny.ENERGY_ONLY | (edits or {}))


def leaves(tree) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


@pytest.fixture(scope="module")
def pretrained(system, tmp_path_factory):
    """A small trained model in a file."""
    folder = tmp_path_factory.mktemp("pretrained")
    dpjax.train(tiny.config([system], tiny.ENERGY_ONLY | {"training/numb_steps": 1}), folder)
    dpjax.save(dpjax.load(folder), folder / "model.dp")
    return folder / "model.dp"


@pytest.fixture(scope="module")
def trained(system, pretrained, tmp_path_factory):
    """A network beside a table and a frozen model: input, folder, result of six steps with a checkpoint after three."""
    frozen = {"type": "frozen", "model_file": str(pretrained)}
    given = config(system, [NETWORK, PAIRS, frozen], [1.0, 0.5, 2.0])
    folder = tmp_path_factory.mktemp("trained")
    return given, folder, dpjax.train(given, folder)


def test_the_network_is_trained_and_the_rest_stays(system, pretrained, trained):
    pot, theirs = dpjax.load(trained[1]), dpjax.load(pretrained)
    params, stats = pot.variables["params"], pot.variables["stats"]
    assert set(params) == {"parts_0", "parts_2"}
    for own, kept in zip(leaves(params["parts_2"]), leaves(theirs.variables["params"]), strict=True):
        np.testing.assert_array_equal(own, kept)
    for own, kept in zip(leaves(stats["parts_2"]), leaves(theirs.variables["stats"]), strict=True):
        np.testing.assert_array_equal(own, kept)
    fresh = dpjax.build(BASE).variables["params"]
    assert all(np.any(own != old) for own, old in zip(leaves(params["parts_0"]), leaves(fresh), strict=True))
    assert not stats["parts_0"]["out_bias"].any()
    assert stats["parts_0"]["descriptor"]["davg"].any()
    np.testing.assert_array_equal(stats["parts_2"]["descriptor"]["davg"], stats["parts_0"]["descriptor"]["davg"])


def test_the_frozen_bias_is_taken_out_of_that_of_the_whole(system, pretrained, trained):
    """The labels say once what an atom of a type has."""
    alone = dpjax.load(pretrained).variables["stats"]["out_bias"]
    own = dpjax.load(trained[1]).variables["stats"]["out_bias"]
    np.testing.assert_allclose(own, alone - 2.0 * alone, atol=1e-12)


def test_the_sum_is_that_of_its_parts(system, pretrained, trained):
    pot = dpjax.load(trained[1])
    raw, stats = pot.config.raw["models"], pot.variables["stats"]
    assert raw[1]["sel"] == pot.config.parts[1].sel > 0
    types = {"type_map": ["O", "H"]}
    network = dpjax.build(types | raw[0]).with_variables({key: tree["parts_0"] for key, tree in pot.variables.items()})
    table, frozen = dpjax.build(types | raw[1]), dpjax.load(pretrained)
    coord, atype = tiny.positions(6, 2, 5), np.array([1, 0, 1, 1, 0, 1])
    inputs = {"coord": coord, "atype": atype, "cell": np.stack([tiny.CELL] * 2)}
    parts = [one.evaluate(**inputs, atomic=True) for one in (network, table, frozen)]
    out = pot.evaluate(**inputs, atomic=True)
    for name in ("force", "virial", "atom_virial"):
        want = sum(w * part[name] for w, part in zip((1.0, 0.5, 2.0), parts, strict=True))
        np.testing.assert_allclose(out[name], want, atol=1e-12)
    want = sum(w * part["atom_energy"] for w, part in zip((1.0, 0.5, 2.0), parts, strict=True))
    np.testing.assert_allclose(out["atom_energy"], want + stats["out_bias"][atype], atol=1e-11)
    assert np.abs(parts[1]["force"]).max() > 1e-3


@pytest.mark.slow
def test_a_restart_repeats_the_run_without_the_table(trained, tmp_path):
    _, folder, _ = trained
    written = json.loads((folder / "out.json").read_text())
    written["model"]["models"][1]["tab_file"] = "gone.tab"
    dpjax.train(written, tmp_path, restart=folder / "model.ckpt-3")
    for own, other in zip(leaves(dpjax.load(tmp_path).variables), leaves(dpjax.load(folder).variables), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_parts_that_share_layers_train_one_array(system, tmp_path):
    """Trained from its half, it is what it was; from a checkpoint, an artifact and in parts by themselves it is one model."""
    net = {**NETWORK["fitting_net"], "layer_name": ["a", "b", "c"]}
    other = {
        "descriptor": {**NETWORK["descriptor"], "seed": 5},
        "fitting_net": {**net, "layer_name": ["a", "own", "c"]},
    }
    given = config(system, [NETWORK | {"fitting_net": net}, other], [1.0, 0.5])
    dpjax.train(given, tmp_path / "run")
    dpjax.train(given, tmp_path / "again", restart=tmp_path / "run" / "model.ckpt-3")
    pot, again = dpjax.load(tmp_path / "run"), dpjax.load(tmp_path / "again")
    for own, repeated in zip(leaves(pot.variables), leaves(again.variables), strict=True):
        np.testing.assert_allclose(own, repeated, rtol=1e-9, atol=1e-12)
    fresh, params = dpjax.build(given["model"], seed=3).variables["params"], pot.variables["params"]
    assert jax.tree.structure(params) == jax.tree.structure(fresh)
    assert set(params["parts_1"]["fitting_net"]["net_0"]) == {"layers_1"}
    assert all(np.any(own != old) for own, old in zip(leaves(params), leaves(fresh), strict=True))
    dpjax.export.save(pot, tmp_path / "model.dpx", platforms=("cpu",))
    inputs = tiny.positions(6, 2, 5), np.array([1, 0, 1, 1, 0, 1]), np.stack([tiny.CELL] * 2)
    stored = dpjax.load(tmp_path / "model.dpx")
    assert jax.tree.structure(stored.variables["params"]) == jax.tree.structure(fresh)
    np.testing.assert_array_equal(stored.evaluate(*inputs)["force"], pot.evaluate(*inputs)["force"])


@pytest.mark.slow
@pytest.mark.parametrize("add_bias", [True, False])
def test_a_table_at_short_distances(system, tmp_path, add_bias):
    edits = SHORT_RANGE | tiny.ENERGY_ONLY | {"model/srtab_add_bias": add_bias, "training/numb_steps": 2}
    result = dpjax.train(tiny.config([system], edits), tmp_path)
    pot = dpjax.load(tmp_path)
    assert result.steps == 2
    bias = pot.variables["stats"]["out_bias"][:, 0]
    assert np.abs(bias).min() > 0.1
    near = pot.evaluate(np.array([[[0, 0, 0], [0.7, 0, 0]]]), [0, 1], atomic=True)["atom_energy"][0, :, 0]
    table = dpjax.build({"type_map": ["O", "H"], **PAIRS, "sel": 40})
    pair = table.evaluate(np.array([[[0, 0, 0], [0.7, 0, 0]]]), [0, 1])["energy"][0, 0]
    np.testing.assert_allclose(near, 0.5 * pair + (bias if add_bias else 0.0), atol=1e-12)
    far = np.array([[[0, 0, 0], [2.5, 0, 0]]])
    plain = dpjax.build(BASE)
    plain = plain.with_variables(
        pot.variables
        | {"stats": {k: v for k, v in pot.variables["stats"].items() if k not in ("pair_table", "table_bias")}}
    )
    np.testing.assert_allclose(pot.evaluate(far, [0, 1])["energy"], plain.evaluate(far, [0, 1])["energy"], atol=1e-12)


def test_structures_below_the_table_are_refused(system):
    pot = dpjax.build({"type_map": ["O", "H"], **PAIRS, "sel": 40})
    with pytest.raises(DataError, match=r"frame 0: two atoms are 0.2 angstrom apart, .* begins at 0.3"):
        pot.evaluate(np.array([[[0, 0, 0], [0.2, 0, 0]]]), [0, 1])


REFUSED = {
    "nothing": ([PAIRS], {}, ConfigError, "of which nothing is trained"),
    "types": ([NETWORK | {"type_map": ["H", "O"]}], {}, ConfigError, r"models/0/type_map: found \['H', 'O'\]"),
    "no-file": ([NETWORK, {"type": "frozen", "model_file": "none.dp"}], {}, ModelError, "models/1/model_file: .*none.dp"),
    "option": (
        [NETWORK, {"type": "frozen", "model_file": "m.dp", "pair_exclude_types": [[0, 0]]}],
        {}, ConfigError, "models/1/pair_exclude_types: a frozen model is what its file says",
    ),
    "table": ([NETWORK, PAIRS | {"tab_file": "none.tab", "sel": 40}], {}, DataError, "models/1/tab_file: none.tab"),
    "srtab": ([NETWORK], {"model/use_srtab": TABLE, "model/smin_alpha": 0.1, "model/sw_rmin": 1.0, "model/sw_rmax": 2.0},
              ConfigError, "model/use_srtab: found .* only one of type standard has it"),
    "output": ([NETWORK | {"fitting_net": {"type": "dipole"}}], {}, ConfigError, "predict energies"),
    "weights": ([NETWORK, PAIRS], {"model/weights": [1.0]}, ConfigError, "weights: found 1 numbers for 2 models"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(system, tmp_path, name):
    models, edits, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        dpjax.train(config(system, models, edits=edits), tmp_path)


def test_a_frozen_model_alone_is_not_trained_but_built(system, pretrained, tmp_path):
    section = {"type": "frozen", "model_file": str(pretrained)}
    with pytest.raises(ConfigError, match="found 'frozen', of which nothing is trained"):
        dpjax.train(tiny.config([system], {"model": section}), tmp_path)
    built, loaded = dpjax.build(section), dpjax.load(pretrained)
    coord = tiny.positions(6, 1, 5)
    args = coord, np.array([1, 0, 1, 1, 0, 1]), tiny.CELL[None]
    np.testing.assert_array_equal(built.evaluate(*args)["force"], loaded.evaluate(*args)["force"])


def test_sums_are_not_fine_tuned(system, trained, pretrained, tmp_path):
    with pytest.raises(ConfigError, match=r"finetune: .* is of type 'linear_ener'"):
        dpjax.train(tiny.config([system]), tmp_path, finetune=trained[1])
    given = config(system, [NETWORK])
    with pytest.raises(ConfigError, match="finetune: the model of the input is of type 'linear_ener'"):
        dpjax.train(given, tmp_path / "other", finetune=pretrained)


def test_sums_are_no_task_among_several(system, tmp_path):
    one = config(system, [NETWORK])
    branches = {"sum": one["model"], "alone": BASE}
    given = {**one, "model": {"model_dict": branches}, "loss_dict": dict.fromkeys(branches, one["loss"])}
    del given["loss"]
    data = {"training_data": one["training"]["training_data"]}
    given["training"] = {key: value for key, value in one["training"].items() if key != "training_data"}
    given["training"] |= {"data_dict": dict.fromkeys(branches, data), "model_prob": dict.fromkeys(branches, 1.0)}
    with pytest.raises(ConfigError, match="model/model_dict/sum/type: found 'linear_ener', which is trained by itself"):
        dpjax.train(given, tmp_path)
