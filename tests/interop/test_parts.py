"""Models made of others in DeePMD-kit's files: its TensorFlow variables, round trips, what it would not read, and itself."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest

import dpjax
from dpjax.errors import ModelError
from dpjax.models.shared_layers import completed
from tests.contracts.cases import CASES, linear, model, pairtab, potential, se_atten
from tests.interop.test_peer import SCRIPT, compare, crystal, evaluated_there, peer_python
from tests.shared import shared

SITUATIONS = ("ortho", "triclinic", "cluster")
TENSORFLOW = ("pairtab_one_type", "linear_list", "linear_mean", "linear_sum", "srtab_add_bias", "srtab_no_bias")
NAMED = {case.name: case for case in CASES}
NAMES = {"layer_name": ["first", "second", "last"]}
SHARED = linear(
    model(se_atten(attn_layer=0), fitting=NAMES),
    model(se_atten(attn_layer=0, seed=6), fitting={**NAMES, "seed": 7}, pair_exclude_types=[[1, 1]]),
    weights=[0.7, 1.6],
)
WRITTEN = {
    "shared-layers": SHARED,
    "linear": NAMED["linear"].section,
    "short-range": NAMED["se_atten-short-range"].section,
    "short-range-no-bias": NAMED["se_atten-short-range"].section | {"srtab_add_bias": False},
    "table-excluded": pairtab(type_map=["O", "H"], atom_exclude_types=[0], pair_exclude_types=[[1, 1]]),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", TENSORFLOW)
def test_tensorflow_variables(case):
    folder = shared("golden", "tf", case)
    section = json.loads((folder / "model.json").read_text())["model"]
    pot = dpjax.interop.from_weights(section, dict(np.load(folder / "weights.npz")))
    arrays = np.load(folder / "ref.npz")
    frames = [(s, i) for s in SITUATIONS for i in range(2)]
    cells = [arrays[f"{s}/box"][i] if len(arrays[f"{s}/box"]) else None for s, i in frames]
    coord, atype = [arrays[f"{s}/coord"][i] for s, i in frames], [arrays[f"{s}/atype"] for s, _ in frames]
    out = pot.evaluate(coord, atype, cells, atomic=True)
    names = ["energy", "atom_energy", "force", "virial"]
    # the virial of a table beside networks is shared out otherwise there: half of each pair to either atom
    names += ["atom_virial"] if not case.startswith("srtab") else []
    for name in names:
        for n, (s, i) in enumerate(frames):
            want = arrays[f"{s}/{name}"][i]
            np.testing.assert_allclose(out[name][n].ravel(), want.ravel(), atol=1e-10 * max(1.0, np.abs(want).max()))


def test_variables_that_belong_to_no_part_are_named():
    section = {"type": "linear_ener", "type_map": ["A"], "weights": "sum", "models": [pairtab()]}
    weights = {"model_attr_model0/t_tab_info": np.zeros(4), "stray/matrix": np.zeros(1)}
    with pytest.raises(ModelError, match="stray/matrix|pair table is missing"):
        dpjax.interop.from_weights(section, weights, "tensorflow")
    with pytest.raises(ModelError, match="not read from pytorch names"):
        dpjax.interop.from_weights(section, {"model.Default.x": np.zeros(1)}, "pytorch")


def test_a_table_alone_becomes_a_sum_of_one(tmp_path):
    pot = potential(WRITTEN["table-excluded"])
    dpjax.save(pot, tmp_path / "model.dp")
    loaded = dpjax.load(tmp_path / "model.dp")
    assert loaded.config.type == "linear_ener"
    inputs = crystal(pot)
    want, got = (one.evaluate(**inputs, atomic=True) for one in (pot, loaded))
    for name, array in want.items():
        np.testing.assert_allclose(got[name], array, atol=1e-13, err_msg=name)


def test_models_that_deepmd_kit_would_refuse_are_not_written(tmp_path):
    inner = model(se_atten(attn_layer=0), use_srtab=pairtab()["tab_file"], smin_alpha=0.1, sw_rmin=1.0, sw_rmax=2.0)
    wide = linear(model(se_atten(attn_layer=0, rcut=2.6, sel=60)), pairtab())
    for section, message in (
        (NAMED["linear-networks-per-type"].section, "DeePMD-kit cannot evaluate sums of models"),
        (NAMED["se_e2_a-short-range"].section, "pair tables beside networks"),
        (linear(inner), "models/0/use_srtab: DeePMD-kit has no such table in a part"),
        (wide, "shorter cut-off keeps more neighbours"),
    ):
        with pytest.raises(ModelError, match=message):
            dpjax.save(dpjax.build(section), tmp_path / "model.dp")
    assert not list(tmp_path.iterdir())


def test_parts_that_share_layers_are_written_with_a_copy_each(tmp_path):
    pot = potential(SHARED)
    assert "fitting_net" not in pot.variables["params"]["parts_1"]
    dpjax.save(pot, tmp_path / "model.dp")
    loaded = dpjax.load(tmp_path / "model.dp")
    whole = completed(pot.config, pot.variables["params"])
    assert jax.tree.structure(loaded.variables["params"]) == jax.tree.structure(whole)
    for own, other in zip(jax.tree.leaves(loaded.variables["params"]), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(own, other)


def test_a_damaged_table_is_refused(tmp_path):
    from dpjax.formats import read_model_tree, write_model_tree

    dpjax.save(dpjax.build(pairtab(type_map=["O", "H"])), tmp_path / "model.dp")
    tree = read_model_tree(tmp_path / "model.dp")
    stored = tree["model"]["models"][0]["tab"]["@variables"]
    stored["tab_data"] = stored["tab_data"][:-1]
    write_model_tree(tmp_path / "damaged.dp", tree)
    with pytest.raises(ModelError, match="damaged.dp: .*coefficients for 45 pieces and 2 types"):
        dpjax.load(tmp_path / "damaged.dp")


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITTEN)
def test_deepmd_kit_gives_the_same_numbers(name, tmp_path):
    python = peer_python()
    pot = potential(WRITTEN[name])
    inputs = crystal(pot)
    want = pot.evaluate(**inputs, atomic=True)
    got = evaluated_there(SCRIPT, python, pot, inputs, tmp_path / "model.dp")
    compare(name, got, want, {"energy": 1e-10})


@pytest.mark.slow
def test_an_artifact_holds_the_table(tmp_path, monkeypatch):
    pot = potential(NAMED["linear"].section)
    dpjax.export.save(pot, tmp_path / "model.dpx", platforms=("cpu",))
    program = dpjax.export.Artifact(tmp_path / "model.dpx")
    inputs = crystal(pot)
    want = pot.evaluate(**inputs, atomic=True)
    got = program.evaluate(**inputs, atomic=True)
    for name in ("energy", "force", "virial", "atom_energy"):
        np.testing.assert_allclose(got[name], want[name], atol=1e-11, err_msg=name)
    with pytest.raises(dpjax.export.ArtifactError, match="frame 0: two atoms are 0.2 angstrom apart, .* begins at 0.3"):
        program.evaluate(np.array([[[0, 0, 0], [0.2, 0, 0]]]), np.array([0, 1]))
    again = dpjax.load(tmp_path / "model.dpx")
    for own, other in zip(jax.tree.leaves(again.variables), jax.tree.leaves(pot.variables), strict=True):
        np.testing.assert_array_equal(own, other)
    assert Path(again.config.parts[1].tab_file).name == "smooth.tab"


@pytest.mark.slow
def test_an_artifact_of_parts_that_share_layers_computes_with_one_array(tmp_path):
    pot = potential(NAMED["linear-shared-layers"].section)
    dpjax.export.save(pot, tmp_path / "model.dpx", platforms=("cpu",))
    inputs = crystal(pot)
    want, got = pot.evaluate(**inputs), dpjax.export.Artifact(tmp_path / "model.dpx").evaluate(**inputs)
    for name in ("energy", "force", "virial"):
        np.testing.assert_allclose(got[name], want[name], atol=1e-11, err_msg=name)
    again = dpjax.load(tmp_path / "model.dpx")
    assert jax.tree.structure(again.variables) == jax.tree.structure(pot.variables)
